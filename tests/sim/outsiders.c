/* tests/sim/outsiders.c - see outsiders.h. A line is one outsider and one shard:
 *
 *   UNKNOWN --BEGIN--> FOLLOWING --READ--> a page is held --done--> memory, place --ACK--> …
 *      ^---- its own death, the server's, lost, removed ----'
 *
 * What it acknowledged is never ahead of what it has done: a BEGIN tells where the server thinks it is. */
#include "sim/outsiders.h"
#include "core/check.h"
#include "ringpost/v1/operator.pb-c.h"
#include "shard/domain/keys.h"
#include "shard/engine/follower_ask.h"
#include "shard/engine/ids.h"
#include "shard/engine/shard_internal.h"
#include "sim/report.h"
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define TOLD_KINDS 3 /* users, rooms, messages: enum id_type - 1 */

struct membership_seen {
    uint64_t room_id, user_id;
    bool is_in;
};

struct line {
    struct world *world;
    char name[FOLLOWER_NAME_MAX + 1];
    uint16_t shard;
    struct follower_ask command, read;
    bool commanding, reading, holds; /* holds: read.page is to be done */
    enum { LINE_UNKNOWN, LINE_FOLLOWING, LINE_LOST } state;
    uint64_t generation; /* of the follower it knows; 0: none */
    bool must_rebuild;
    struct follower_place at;    /* it has seen all up to here, some of it again */
    struct follower_place done;  /* the farthest it ever did */
    struct follower_place acked; /* an ack of it was applied */
    /* What it knows for ever. */
    uint64_t next[TOLD_KINDS];   /* sequence of the next one to be told as it happens */
    uint8_t *has[TOLD_KINDS];    /* by sequence */
    uint64_t has_capacity[TOLD_KINDS];
    uint64_t *hashes; /* of entry n, [n]; 0: not seen */
    uint64_t hash_capacity, floor_room; /* it knows all members of rooms from this sequence on */
    struct membership_seen *members;
    uint32_t member_count, member_capacity;
};

struct outsiders {
    struct line lines[OUTSIDERS_MAX][SHARDS_MAX];
};

/* ---- memory ---- */

static void *grow(void *array, uint64_t *capacity, uint64_t wanted, size_t size)
{
    if (wanted < *capacity) return array;
    uint64_t larger = wanted * 2 + 64;
    array = realloc(array, larger * size);
    ASSERT(array != NULL);
    memset((uint8_t *)array + *capacity * size, 0, (larger - *capacity) * size);
    *capacity = larger;
    return array;
}

static void mark(struct line *l, enum id_type type, uint64_t sequence)
{
    uint32_t kind = (uint32_t)type - 1;
    l->has[kind] = grow(l->has[kind], &l->has_capacity[kind], sequence, 1);
    l->has[kind][sequence] = 1;
}

static bool has(const struct line *l, enum id_type type, uint64_t sequence)
{
    uint32_t kind = (uint32_t)type - 1;
    return sequence < l->has_capacity[kind] && l->has[kind][sequence] != 0;
}

static void set_member(struct line *l, uint64_t room_id, uint64_t user_id, bool is_in)
{
    for (uint32_t i = 0; i < l->member_count; i++) {
        if (l->members[i].room_id != room_id || l->members[i].user_id != user_id) continue;
        l->members[i].is_in = is_in;
        return;
    }
    if (l->member_count == l->member_capacity) {
        l->member_capacity = l->member_capacity * 2 + 16;
        l->members = realloc(l->members, l->member_capacity * sizeof *l->members);
        ASSERT(l->members != NULL);
    }
    l->members[l->member_count++] = (struct membership_seen){room_id, user_id, is_in};
}

static bool knows_member(const struct line *l, uint64_t room_id, uint64_t user_id)
{
    for (uint32_t i = 0; i < l->member_count; i++)
        if (l->members[i].room_id == room_id && l->members[i].user_id == user_id) return l->members[i].is_in;
    return false;
}

static const struct machine *machine_of(const struct line *l) { return shard_machine(l->world->nodes[l->shard].shard); }

/* It begins with the next thing that happens; `all`: it will be told of everything before that, too. */
static void begin_memory(struct line *l, bool all)
{
    const struct machine *m = machine_of(l);
    for (uint32_t kind = 0; kind < TOLD_KINDS; kind++) {
        if (l->has[kind] != NULL) memset(l->has[kind], 0, l->has_capacity[kind]);
        l->next[kind] = m->next_sequence[kind + 1];
        for (uint64_t s = 1; !all && s < l->next[kind]; s++) mark(l, (enum id_type)(kind + 1), s);
    }
    l->member_count = 0;
    l->floor_room = all ? 1 : l->next[ID_ROOM - 1];
}

/* ---- entries ---- */

static uint64_t entry_hash(const Ringpost__V1__FollowerEntry *e)
{
    uint64_t words[6] = {(uint64_t)e->kind_case};
    switch ((int)e->kind_case) {
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_MESSAGE:
        words[1] = e->message->room_id, words[2] = e->message->seq, words[3] = e->message->msg_id, words[4] = e->message->sender_id;
        words[5] = XXH3_64bits(e->message->body.data, e->message->body.len);
        break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_USER_CREATED: words[1] = e->user_created->user->user_id; break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_CREATED:
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_UPDATED:
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_DISMISSED: words[1] = e->room_created->room_id, words[2] = e->room_created->actor_id; break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_JOINED:
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_LEFT:
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROLE_CHANGED:
        words[1] = e->member_joined->room_id, words[2] = e->member_joined->user_id, words[3] = e->member_joined->actor_id;
        break;
    default: words[1] = e->time_ms;
    }
    return XXH3_64bits(words, sizeof words) | 1;
}

static uint64_t sequence_of(uint64_t id) { return id & ID_SEQUENCE_MAX; }

/* As it happens, ids follow each other. */
static void take_new(struct line *l, enum id_type type, uint64_t id, const Ringpost__V1__FollowerEntry *e)
{
    uint64_t *next = &l->next[type - 1];
    EXPECT(id_partition(id) == l->shard && id_type(id) == (uint32_t)type, "%s: entry %s is about %lx", l->name, e->id, (unsigned long)id);
    if (!e->rebuilt) EXPECT(sequence_of(id) == *next, "%s: entry %s tells of number %lu of its kind, the next one is %lu", l->name, e->id,
                            (unsigned long)sequence_of(id), (unsigned long)*next);
    if (!e->rebuilt) ++*next;
    mark(l, type, sequence_of(id));
}

static void take_content(struct line *l, const Ringpost__V1__FollowerEntry *e)
{
    EXPECT(!e->gone, "%s: what entry %s names is gone", l->name, e->id);
    switch ((int)e->kind_case) {
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_MESSAGE: take_new(l, ID_MESSAGE, e->message->msg_id, e); break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_USER_CREATED: take_new(l, ID_USER, e->user_created->user->user_id, e); break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_CREATED: take_new(l, ID_ROOM, e->room_created->room_id, e); break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_JOINED: set_member(l, e->member_joined->room_id, e->member_joined->user_id, true); break;
    case RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_LEFT: set_member(l, e->member_left->room_id, e->member_left->user_id, false); break;
    default: break;
    }
}

static void take_entry(struct line *l, const Ringpost__V1__FollowerEntry *e)
{
    report_hash_u64(e->place->number, e->place->a);
    if (e->rebuilt) {
        take_content(l, e);
        return;
    }
    uint64_t number = e->place->number, hash = entry_hash(e);
    EXPECT(number == l->at.number + 1, "%s: entry %s comes behind %lu", l->name, e->id, (unsigned long)l->at.number);
    l->hashes = grow(l->hashes, &l->hash_capacity, number, sizeof *l->hashes);
    EXPECT(l->hashes[number] == 0 || l->hashes[number] == hash, "%s: entry %s was another one before", l->name, e->id);
    if (number > l->done.number) take_content(l, e);
    l->hashes[number] = hash;
    l->at.number = number;
}

static void do_page(struct line *l)
{
    struct cursor c = cursor_of(writer_slice(&l->read.page.bytes));
    l->holds = false;
    TRACE("%s takes what shard %u says happened behind %lu%s, up to %lu%s", l->name, l->shard, (unsigned long)l->at.number,
          l->at.rebuilding ? " (rebuilding)" : "", (unsigned long)l->read.page.next.number, l->read.page.next.rebuilding ? " (rebuilding)" : "");
    while (cursor_left(&c) > 0) {
        struct slice bytes = cursor_bytes(&c);
        Ringpost__V1__FollowerEntry *e = ringpost__v1__follower_entry__unpack(NULL, bytes.len, bytes.data);
        EXPECT(!c.bad && e != NULL && e->place != NULL, "%s: an entry of shard %u cannot be read", l->name, l->shard);
        take_entry(l, e);
        ringpost__v1__follower_entry__free_unpacked(e, NULL);
    }
    l->at = l->read.page.next;
    if (follower_place_compare(&l->at, &l->done) > 0) l->done = l->at;
}

/* ---- asking ---- */

static void drop_line(struct line *l)
{
    l->holds = false;
    if (l->state != LINE_LOST) l->state = LINE_UNKNOWN;
}

static bool may_fail(const struct line *l)
{
    const struct node *node = &l->world->nodes[l->shard];
    return l->world->mute || node->shard == NULL || node->shard->closing || store_damage(node->options.store) != NULL;
}

static void on_begun(struct line *l)
{
    const struct follower_ask *ask = &l->command;
    bool rebuilt = ask->made && ask->start == FOLLOWER_REBUILD;
    if (ask->outcome == FOLLOWER_OUTCOME_LOST) l->state = LINE_LOST;
    if (ask->outcome != FOLLOWER_OUTCOME_OK) return;
    l->holds = false; /* a page of before, when it was not yet known to be lost */
    if (!ask->made && ask->generation != l->generation) { /* it began in a life that did not tell us where */
        l->must_rebuild = true;
        return;
    }
    if (ask->made) {
        begin_memory(l, rebuilt);
        l->done = ask->place;
        l->must_rebuild = false;
    }
    EXPECT(follower_place_compare(&ask->place, &l->done) <= 0, "%s: shard %u takes it to be at %lu, it has done %lu", l->name, l->shard,
           (unsigned long)ask->place.number, (unsigned long)l->done.number);
    l->generation = ask->generation;
    l->at = l->acked = ask->place;
    l->state = LINE_FOLLOWING;
}

/* Who was lost while a page was being worked on may hear of it first when that is acknowledged. */
static void on_acked(struct line *l)
{
    const struct follower_ask *ask = &l->command;
    if (ask->outcome == FOLLOWER_OUTCOME_OK) l->acked = ask->page.place;
    if (ask->outcome == FOLLOWER_OUTCOME_LOST) l->state = LINE_LOST;
    if (ask->outcome == FOLLOWER_OUTCOME_UNKNOWN) drop_line(l);
}

static void on_command(struct follower_ask *ask)
{
    struct line *l = CONTAINER_OF(ask, struct line, command);
    l->commanding = false;
    TRACE("%s: shard %u answers command %d with %d, generation %lu, place %lu", l->name, l->shard, (int)ask->kind, (int)ask->outcome,
          (unsigned long)ask->generation, (unsigned long)ask->place.number);
    EXPECT(ask->outcome != FOLLOWER_OUTCOME_FAILED || may_fail(l), "%s: shard %u refuses command %d", l->name, l->shard, (int)ask->kind);
    if (ask->kind == FOLLOWER_ASK_BEGIN) on_begun(l);
    if (ask->kind == FOLLOWER_ASK_ACK) on_acked(l);
    if (ask->kind == FOLLOWER_ASK_END && ask->outcome != FOLLOWER_OUTCOME_BUSY && ask->outcome != FOLLOWER_OUTCOME_FULL) drop_line(l);
}

static void on_read(struct follower_ask *ask)
{
    struct line *l = CONTAINER_OF(ask, struct line, read);
    l->reading = false;
    TRACE("%s: shard %u has read behind %lu%s, outcome %d", l->name, l->shard, (unsigned long)ask->page.place.number,
          ask->page.place.rebuilding ? " (rebuilding)" : "", (int)ask->outcome);
    EXPECT(ask->outcome != FOLLOWER_OUTCOME_FAILED || may_fail(l), "%s: shard %u cannot tell what happened behind %lu", l->name, l->shard,
           (unsigned long)ask->page.next.number);
    l->holds = ask->outcome == FOLLOWER_OUTCOME_OK && l->state == LINE_FOLLOWING;
    if (ask->outcome == FOLLOWER_OUTCOME_LOST) {
        EXPECT(ask->newest - l->acked.number > l->world->profile.limits.follower_backlog_max, "%s: lost, and only %lu behind", l->name,
               (unsigned long)(ask->newest - l->acked.number));
        l->state = LINE_LOST;
    }
    if (ask->outcome == FOLLOWER_OUTCOME_UNKNOWN) drop_line(l);
}

static void put(struct line *l, struct follower_ask *ask, int kind)
{
    ask->kind = kind;
    ask->done = kind == FOLLOWER_ASK_READ ? on_read : on_command;
    memcpy(ask->name, l->name, sizeof ask->name);
    if (kind == FOLLOWER_ASK_READ) l->reading = true;
    else l->commanding = true;
    follower_ask(l->world->nodes[l->shard].shard, ask);
}

static void ask_begin(struct line *l)
{
    bool rebuilds = l->must_rebuild || l->state == LINE_LOST;
    l->command.temporary = false;
    l->command.start = rebuilds ? FOLLOWER_REBUILD : FOLLOWER_NOW;
    l->state = LINE_UNKNOWN;
    put(l, &l->command, FOLLOWER_ASK_BEGIN);
}

static void ask_page(struct line *l, struct dice *dice)
{
    writer_reset(&l->read.page.bytes);
    l->read.generation = l->generation;
    l->read.page.place = l->at;
    l->read.page.kinds = UINT64_MAX;
    l->read.page.bodies = true;
    l->read.page.entries_max = dice_between(dice, 1, 40);
    l->read.page.bytes_max = dice_between(dice, 1, 4000);
    put(l, &l->read, FOLLOWER_ASK_READ);
}

static void ask_ack(struct line *l)
{
    bool ahead = l->world->plant == PLANT_follower_ahead && l->holds;
    l->command.generation = l->generation;
    l->command.page.place = ahead ? l->read.page.next : l->at;
    put(l, &l->command, FOLLOWER_ASK_ACK);
}

static bool has_news(const struct line *l) { return l->at.rebuilding || l->at.number < follower_emitted(machine_of(l)->followers); }
static bool owes_ack(const struct line *l)
{
    bool ahead = l->world->plant == PLANT_follower_ahead && l->holds;
    return ahead || follower_place_compare(&l->at, &l->acked) > 0;
}

static void act_on(struct line *l, struct dice *dice)
{
    if (l->state != LINE_FOLLOWING) {
        bool waits = l->commanding || l->reading || (l->state == LINE_LOST && !dice_one_in(dice, 10));
        if (!waits) ask_begin(l);
        return;
    }
    if (dice_one_in(dice, 150)) drop_line(l); /* it dies */
    else if (dice_one_in(dice, 400) && !l->commanding) put(l, &l->command, FOLLOWER_ASK_END);
    else if (l->holds && dice_one_in(dice, 2)) do_page(l);
    else if (!l->commanding && owes_ack(l) && dice_one_in(dice, 2)) ask_ack(l);
    else if (!l->reading && !l->holds) ask_page(l, dice);
}

static struct line *line_at(struct world *w, uint32_t outsider, uint16_t shard) { return &w->outsiders->lines[outsider][shard]; }

void outsiders_act(struct world *w)
{
    struct line *l = line_at(w, dice_below(&w->dice, w->profile.outsiders), (uint16_t)dice_below(&w->dice, world_shard_count(w)));
    bool slow = l->name[1] == '2'; /* one of them is */
    if (!slow || dice_one_in(&w->dice, 20)) act_on(l, &w->dice);
}

void outsiders_lose_connections(struct world *w)
{
    for (uint32_t o = 0; o < w->profile.outsiders; o++)
        for (uint16_t i = 0; i < world_shard_count(w); i++) {
            struct line *l = line_at(w, o, i);
            EXPECT(!l->commanding && !l->reading, "%s: shard %u ended and has not answered", l->name, i);
            drop_line(l);
        }
}

/* ---- at rest ---- */

static bool pursue(struct line *l)
{
    if (l->commanding || l->reading) return false;
    if (l->state != LINE_FOLLOWING) {
        ask_begin(l);
        return false;
    }
    if (l->holds) do_page(l);
    if (has_news(l)) ask_page(l, &l->world->dice);
    else if (owes_ack(l)) ask_ack(l);
    return !l->commanding && !l->reading;
}

bool outsiders_pursue(struct world *w)
{
    bool content = true;
    for (uint32_t o = 0; o < w->profile.outsiders; o++)
        for (uint16_t i = 0; i < world_shard_count(w); i++) content &= pursue(line_at(w, o, i));
    return content;
}

struct member_audit {
    const struct line *line;
    uint32_t count;
};

static bool audit_member(void *context, struct slice key, struct slice value)
{
    struct member_audit *audit = context;
    const struct line *l = audit->line;
    uint64_t room_id = key_u64_at(key, 1), user_id = key_u64_at(key, 9);
    (void)value;
    if (sequence_of(room_id) < l->floor_room) return true;
    EXPECT(knows_member(l, room_id, user_id), "%s: was not told that %lx is in room %lx", l->name, (unsigned long)user_id, (unsigned long)room_id);
    audit->count++;
    return true;
}

static void audit_members(const struct line *l)
{
    struct member_audit audit = {.line = l};
    struct key from = key_make(KEY_MEMBER), until = key_make(KEY_MEMBER + 1);
    enum result result = store_scan(fake_store_view(l->world->nodes[l->shard].store), key_slice(&from), key_slice(&until), audit_member, &audit);
    ASSERT(result == RESULT_OK);
    uint32_t known = 0;
    for (uint32_t i = 0; i < l->member_count; i++) known += l->members[i].is_in && sequence_of(l->members[i].room_id) >= l->floor_room;
    EXPECT(known == audit.count, "%s: knows %u members of rooms of shard %u, there are %u", l->name, known, l->shard, audit.count);
}

static void audit_line(const struct line *l)
{
    const struct machine *m = machine_of(l);
    EXPECT(l->state == LINE_FOLLOWING && !has_news(l), "%s: does not follow shard %u", l->name, l->shard);
    for (uint32_t type = 1; type <= TOLD_KINDS; type++) {
        EXPECT(l->next[type - 1] == m->next_sequence[type], "%s: was told up to number %lu of kind %u, shard %u has given %lu", l->name,
               (unsigned long)l->next[type - 1] - 1, type, l->shard, (unsigned long)m->next_sequence[type] - 1);
        for (uint64_t s = 1; s < m->next_sequence[type]; s++)
            EXPECT(has(l, (enum id_type)type, s), "%s: was never told of number %lu of kind %u of shard %u", l->name, (unsigned long)s, type, l->shard);
    }
    audit_members(l);
}

void outsiders_audit(struct world *w)
{
    for (uint32_t o = 0; o < w->profile.outsiders; o++)
        for (uint16_t i = 0; i < world_shard_count(w); i++)
            if (line_at(w, o, i)->state == LINE_FOLLOWING) audit_line(line_at(w, o, i)); /* after a crash nobody is connected yet */
}

/* ---- life ---- */

void outsiders_fall_back(struct world *w)
{
    for (uint32_t o = 0; o < w->profile.outsiders; o++)
        for (uint16_t i = 0; i < world_shard_count(w); i++) {
            struct line *l = line_at(w, o, i);
            l->must_rebuild = true;
            if (l->hashes != NULL) memset(l->hashes, 0, l->hash_capacity * sizeof *l->hashes);
        }
}

struct outsiders *outsiders_create(struct world *w)
{
    struct outsiders *outsiders = calloc(1, sizeof *outsiders);
    ASSERT(outsiders != NULL);
    for (uint32_t o = 0; o < OUTSIDERS_MAX; o++)
        for (uint16_t i = 0; i < SHARDS_MAX; i++) {
            struct line *l = &outsiders->lines[o][i];
            l->world = w;
            l->shard = i;
            snprintf(l->name, sizeof l->name, "f%u", o);
            writer_init(&l->read.page.bytes, 0);
        }
    return outsiders;
}

void outsiders_destroy(struct outsiders *outsiders)
{
    for (uint32_t o = 0; o < OUTSIDERS_MAX; o++)
        for (uint16_t i = 0; i < SHARDS_MAX; i++) {
            struct line *l = &outsiders->lines[o][i];
            writer_deinit(&l->read.page.bytes);
            for (uint32_t kind = 0; kind < TOLD_KINDS; kind++) free(l->has[kind]);
            free(l->hashes);
            free(l->members);
        }
    free(outsiders);
}
