/* tests/sim/audit.c - see audit.h.
 * Order: accounts, rooms with their members and timelines, what each shard keeps of the rooms, the streams of events, the streams
 * between shards, and last the oracle's list: is everything there that an answer promised? */
#include "sim/audit.h"
#include "core/check.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/keys.h"
#include "shard/domain/delivery/events.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/records.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "sim/oracle.h"
#include "sim/people.h"
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- reading stores --------------------------------------------------------------------------------------------------- */

static void each_row(struct world *w, uint16_t shard, struct key from, struct key until,
                     bool (*each)(void *context, struct slice key, struct slice value), void *context)
{
    ASSERT(fake_store_idle(w->nodes[shard].store));
    enum result result =
        store_scan(fake_store_view(w->nodes[shard].store), key_slice(&from), key_slice(&until), each, context);
    ASSERT(result == RESULT_OK);
}

static void each_of_kind(struct world *w, uint16_t shard, uint8_t kind,
                         bool (*each)(void *context, struct slice key, struct slice value), void *context)
{
    each_row(w, shard, key_make(kind), key_make((uint8_t)(kind + 1)), each, context);
}

/* False: there is no such row. */
static bool row_of(struct world *w, uint16_t shard, struct key key, struct writer *value)
{
    writer_reset(value);
    enum result result = store_get(fake_store_view(w->nodes[shard].store), key_slice(&key), value);
    ASSERT(result == RESULT_OK || result == RESULT_MISSING);
    return result == RESULT_OK;
}

struct counting {
    uint64_t user_id; /* 0: all */
    uint32_t count;
};

static bool count_row(void *context, struct slice key, struct slice value)
{
    struct counting *counting = context;
    (void)key, (void)value;
    counting->count++;
    return true;
}

static uint32_t count_of(struct world *w, uint16_t shard, uint8_t kind, uint64_t a)
{
    struct counting counting = {0};
    each_row(w, shard, key_one(kind, a), key_after(kind, a), count_row, &counting);
    return counting.count;
}

static struct store_view *view_of_shard(struct world *w, uint16_t shard)
{
    ASSERT(fake_store_idle(w->nodes[shard].store));
    return fake_store_view(w->nodes[shard].store);
}

struct sought {
    uint64_t seq;
    bool found;
};

static bool seek_message(void *context, uint64_t seq, struct slice record)
{
    struct sought *sought = context;
    (void)record;
    sought->found = seq == sought->seq;
    return false;
}

static bool has_message(struct world *w, uint16_t shard, uint64_t room_id, uint64_t seq)
{
    struct sought sought = {.seq = seq};
    enum result result = timeline_down(view_of_shard(w, shard), room_id, seq, seek_message, &sought);
    ASSERT(result == RESULT_OK);
    return sought.found;
}

static bool count_message(void *context, uint64_t seq, struct slice record)
{
    uint32_t *count = context;
    (void)seq, (void)record;
    ++*count;
    return true;
}

static uint32_t count_messages(struct world *w, uint16_t shard, uint64_t room_id)
{
    uint32_t count = 0;
    enum result result = timeline_down(view_of_shard(w, shard), room_id, UINT64_MAX, count_message, &count);
    ASSERT(result == RESULT_OK);
    return count;
}

/* ---- rooms ------------------------------------------------------------------------------------------------------------ */

struct room_audit {
    struct world *world;
    uint16_t shard;
    uint64_t room_id;
    struct room_record record;
    uint64_t head_seq, expected_seq, later_ms; /* newest first: the time of the row before */
    uint32_t member_count, owner_count;
    uint32_t at[SHARDS_MAX]; /* members by home */
};

static bool take_message(void *context, uint64_t seq, struct slice record)
{
    struct room_audit *a = context;
    struct message_record m;
    struct cursor c = cursor_of(record);
    EXPECT(message_record_read(&m, &c) && cursor_done(&c) && m.seq == seq, "room %lx, seq %lu: a bad row",
           (unsigned long)a->room_id, (unsigned long)seq);
    if (a->head_seq == 0) a->head_seq = a->expected_seq = seq;
    EXPECT(seq == a->expected_seq, "room %lx: seq %lu is missing", (unsigned long)a->room_id, (unsigned long)a->expected_seq);
    a->expected_seq--;
    EXPECT(a->later_ms == 0 || m.time_ms <= a->later_ms || a->world->profile.clock_leaps, "room %lx: time goes back after seq %lu", (unsigned long)a->room_id, (unsigned long)seq);
    a->later_ms = m.time_ms;
    struct oracle *o = a->world->oracle;
    if (a->world->guests != NULL) return true; /* guests.h knows who has said what */
    uint32_t number = oracle_attempt_of(o, a->room_id, m.sender_id, m.client_msg_id, m.body);
    EXPECT(!o->attempts[number].seen, "message m%u is twice in the timelines", number);
    o->attempts[number].seen = true;
    uint64_t place[2] = {a->room_id, seq};
    oracle_learn(o, FACT_MESSAGE, a->room_id, seq,
                 oracle_message_hash(m.msg_id, m.sender_id, m.time_ms, m.kind, m.client_msg_id, m.body), "message (room, seq)");
    oracle_learn(o, FACT_MESSAGE_ID, m.msg_id, 0, XXH3_64bits(place, sizeof place), "place of message");
    return true;
}

static bool take_member(void *context, struct slice key, struct slice value)
{
    struct room_audit *a = context;
    struct member_record m;
    struct cursor c = cursor_of(value);
    uint64_t user_id = key_u64_at(key, 9);
    EXPECT(member_record_read(&m, &c) && cursor_done(&c), "room %lx: a bad member row", (unsigned long)a->room_id);
    uint16_t home = id_partition(user_id);
    ASSERT(home < SHARDS_MAX);
    a->member_count++;
    a->at[home]++;
    a->owner_count += m.role == ROLE_OWNER;
    EXPECT(m.role != ROLE_OWNER || user_id == a->record.owner_id, "room %lx has another owner", (unsigned long)a->room_id);
    struct writer unused;
    writer_init(&unused, 0);
    EXPECT(row_of(a->world, home, key_two(KEY_CONVERSATION, user_id, a->room_id), &unused) &&
               row_of(a->world, home, key_two(KEY_LOCAL, a->room_id, user_id), &unused),
           "member %lx of room %lx does not know it at home", (unsigned long)user_id, (unsigned long)a->room_id);
    writer_deinit(&unused);
    uint32_t user = oracle_user_index(a->world->oracle, user_id);
    const struct membership *promised = user == USERS_MAX ? NULL : &oracle_room(a->world->oracle, a->room_id)->members[user];
    EXPECT(promised == NULL || promised->known != 0, "user %u has left room %lx and is in it", user, (unsigned long)a->room_id);
    EXPECT(promised == NULL || promised->known != 1 || promised->role < 0 || promised->role == (int8_t)m.role,
           "user %u has role %d in room %lx, not %d", user, m.role, (unsigned long)a->room_id, promised->role);
    return true;
}

static void audit_view(struct room_audit *a, uint16_t shard)
{
    struct world *w = a->world;
    struct view_value stored;
    struct writer value;
    uint32_t locals = count_of(w, shard, KEY_LOCAL, a->room_id);
    EXPECT(locals == a->at[shard], "shard %u knows %u members of room %lx, there are %u", shard, locals,
           (unsigned long)a->room_id, a->at[shard]);
    if (locals == 0) return;
    writer_init(&value, 0);
    EXPECT(row_of(w, shard, key_one(KEY_VIEW, a->room_id), &value) && view_value_read(writer_slice(&value), &stored),
           "shard %u has members of room %lx and does not know it", shard, (unsigned long)a->room_id);
    const struct room_record *r = &a->record;
    struct snapshot_record s = stored.snapshot;
    EXPECT(s.dismissed == r->dismissed && s.joinable == r->joinable && s.large == r->large && s.type == r->type &&
               s.since_join == r->since_join &&
               slice_equal(s.name, r->name) && s.created_ms == r->created_ms,
           "shard %u has an old picture of room %lx", shard, (unsigned long)a->room_id);
    EXPECT(r->large || s.member_count == r->member_count, "shard %u believes that room %lx has %u members, not %u", shard,
           (unsigned long)a->room_id, s.member_count, r->member_count);
    writer_deinit(&value);
    uint32_t copies = count_messages(w, shard, a->room_id);
    EXPECT(copies == (shard == a->shard ? a->head_seq : 0), "shard %u has %u messages of room %lx", shard, copies, (unsigned long)a->room_id);
}

/* Who is online in a large room is no part of the state: it is kept beside it, and must say the same. */
static void audit_roster(const struct room_audit *a, uint16_t shard)
{
    struct world *w = a->world;
    if (w->guests != NULL) return;
    uint32_t online_count = 0, expected = 0;
    struct inbox *const *online = roster_online(delivery_of(shard_machine(w->nodes[shard].shard))->roster, a->room_id, &online_count);
    struct writer unused;
    writer_init(&unused, 0);
    for (uint32_t i = 0; i < w->people->person_count; i++) {
        const struct person *person = &w->people->persons[i];
        bool here = person->user_id != 0 && id_partition(person->user_id) == shard && person_is_online(w->people, person);
        bool member = here && row_of(w, a->shard, key_two(KEY_MEMBER, a->room_id, person->user_id), &unused);
        bool listed = false;
        for (uint32_t n = 0; n < online_count; n++) listed |= online[n]->entity.key.a == person->user_id;
        bool wanted = member && a->record.large;
        EXPECT(listed == wanted, "user %u is %s for the messages of room %lx", i, listed ? "listed" : "not listed", (unsigned long)a->room_id);
        expected += wanted;
    }
    writer_deinit(&unused);
    EXPECT(online_count == expected, "room %lx lists somebody nobody knows", (unsigned long)a->room_id);
}

static bool take_room(void *context, struct slice key, struct slice value)
{
    struct room_audit a = *(struct room_audit *)context;
    struct cursor c = cursor_of(value);
    a.room_id = key_u64_at(key, 1);
    EXPECT(room_record_read(&a.record, &c) && cursor_done(&c), "room %lx: a bad row", (unsigned long)a.room_id);
    EXPECT(id_partition(a.room_id) == a.shard && id_type(a.room_id) == ID_ROOM, "room %lx lives elsewhere", (unsigned long)a.room_id);
    enum result result = timeline_down(view_of_shard(a.world, a.shard), a.room_id, UINT64_MAX, take_message, &a);
    EXPECT(result == RESULT_OK, "room %lx: a bad block", (unsigned long)a.room_id);
    EXPECT(a.expected_seq == 0, "room %lx: seq %lu is missing", (unsigned long)a.room_id, (unsigned long)a.expected_seq);
    each_row(a.world, a.shard, key_one(KEY_MEMBER, a.room_id), key_after(KEY_MEMBER, a.room_id), take_member, &a);
    EXPECT(a.member_count == a.record.member_count, "room %lx says %u members and has %u", (unsigned long)a.room_id,
           a.record.member_count, a.member_count);
    uint32_t member_max = a.record.type == TYPE_DIRECT ? 2 : a.world->profile.room_members_max_ever;
    EXPECT(a.member_count <= member_max, "room %lx has %u members, at most %u may be", (unsigned long)a.room_id, a.member_count, member_max);
    bool owned = a.record.type == TYPE_DIRECT || a.record.dismissed || a.owner_count == 1;
    EXPECT(owned, "room %lx has %u owners", (unsigned long)a.room_id, a.owner_count);
    const uint32_t *counts = (const uint32_t *)(const void *)a.record.shard_counts.data;
    for (uint16_t shard = 0; shard < world_shard_count(a.world); shard++) {
        uint32_t count;
        memcpy(&count, counts + shard, sizeof count);
        EXPECT(count == a.at[shard], "room %lx counts %u members on shard %u, not %u", (unsigned long)a.room_id, count, shard, a.at[shard]);
        audit_view(&a, shard);
        audit_roster(&a, shard);
    }
    const struct known_room *known = oracle_room(a.world->oracle, a.room_id);
    EXPECT(known->head_seq <= a.head_seq, "room %lx ends at seq %lu, somebody has seen %lu", (unsigned long)a.room_id,
           (unsigned long)a.head_seq, (unsigned long)known->head_seq);
    return true;
}

static void audit_promised_members(struct world *w)
{
    struct oracle *o = w->oracle;
    struct writer unused;
    writer_init(&unused, 0);
    for (uint32_t i = 0; i < o->room_count; i++)
        for (uint32_t user = 0; user < USERS_MAX; user++) {
            if (o->rooms[i].members[user].known != 1 || o->user_ids[user] == 0) continue;
            EXPECT(row_of(w, id_partition(o->rooms[i].room_id), key_two(KEY_MEMBER, o->rooms[i].room_id, o->user_ids[user]), &unused),
                   "user %u is promised to be in room %lx and is not", user, (unsigned long)o->rooms[i].room_id);
        }
    writer_deinit(&unused);
}

static bool take_direct(void *context, struct slice key, struct slice value)
{
    struct room_audit *a = context;
    struct cursor c = cursor_of(value);
    uint64_t room_id = cursor_u64(&c), low = key_u64_at(key, 1), high = key_u64_at(key, 9);
    EXPECT(cursor_done(&c) && low < high && id_partition(low) == a->shard, "a bad row of two people");
    oracle_learn(a->world->oracle, FACT_DIRECT, low, high, room_id, "room of two");
    return true;
}

/* ---- the streams of events -------------------------------------------------------------------------------------------- */

struct stream_room { /* a user's stream, as far as it concerns one room */
    uint64_t room_id, last_seq; /* last_seq: every message up to it has come, or came before the stream says that one joined */
    bool member, large, anchored; /* anchored: last_seq is known */
};

struct stream_audit {
    struct world *world;
    uint16_t shard;
    uint64_t user_id, first_key, last_key;
    struct stream_room *rooms;
    uint32_t room_count, room_capacity;
    uint32_t conversation_count, direct_count, unanswered_count;
};

static struct stream_room *stream_room(struct stream_audit *a, uint64_t room_id)
{
    for (uint32_t i = 0; i < a->room_count; i++)
        if (a->rooms[i].room_id == room_id) return &a->rooms[i];
    if (a->room_count == a->room_capacity) {
        a->room_capacity = a->room_capacity == 0 ? 16 : a->room_capacity * 2;
        a->rooms = realloc(a->rooms, a->room_capacity * sizeof *a->rooms);
        ASSERT(a->rooms != NULL);
    }
    a->rooms[a->room_count] = (struct stream_room){.room_id = room_id};
    return &a->rooms[a->room_count++];
}

static void take_message_event(struct stream_audit *a, struct cursor *c)
{
    struct event_message_record event;
    EXPECT(event_message_record_read(&event, c), "user %lx: a bad event", (unsigned long)a->user_id);
    struct stream_room *room = stream_room(a, event.room_id);
    EXPECT(!room->anchored || event.seq == room->last_seq + 1, "user %lx got seq %lu of room %lx after %lu", (unsigned long)a->user_id,
           (unsigned long)event.seq, (unsigned long)event.room_id, (unsigned long)room->last_seq);
    EXPECT(!room->anchored || (room->member && !room->large), "user %lx got a message of room %lx", (unsigned long)a->user_id,
           (unsigned long)event.room_id);
    if (!room->anchored) room->member = true;
    room->anchored = true;
    room->last_seq = event.seq;
    EXPECT(has_message(a->world, id_partition(event.room_id), event.room_id, event.seq), "user %lx has an event of a message that is not there",
           (unsigned long)a->user_id);
}

static void take_change_event(struct stream_audit *a, struct cursor *c)
{
    struct relay_change_record change;
    struct snapshot_record snapshot = {0};
    bool read = relay_change_record_read(&change, c);
    struct cursor inner = cursor_of(change.snapshot);
    EXPECT(read && snapshot_record_read(&snapshot, &inner), "user %lx: a bad change", (unsigned long)a->user_id);
    struct stream_room *room = stream_room(a, snapshot.room_id);
    bool complete = room->anchored && room->member && !room->large;
    if (change.change == CHANGE_ROOM_JOINED) {
        EXPECT(!room->anchored || !room->member, "user %lx joined room %lx twice", (unsigned long)a->user_id, (unsigned long)snapshot.room_id);
        *room = (struct stream_room){.room_id = snapshot.room_id, .last_seq = change.head_seq, .member = true, .anchored = true};
    } else {
        EXPECT(!complete || room->last_seq == change.head_seq, "user %lx missed messages of room %lx: %lu of %lu", (unsigned long)a->user_id,
               (unsigned long)snapshot.room_id, (unsigned long)room->last_seq, (unsigned long)change.head_seq);
        EXPECT(!room->anchored || room->member, "user %lx hears of room %lx after leaving", (unsigned long)a->user_id,
               (unsigned long)snapshot.room_id);
    }
    if (change.change == CHANGE_ROOM_LEFT) {
        room->member = false;
        room->anchored = true;
    }
    if (snapshot.large) room->large = true;
}

static bool take_event(void *context, uint64_t sync_key, struct slice event)
{
    struct stream_audit *a = context;
    if (a->last_key != 0 && sync_key != a->last_key + 1) { /* what is not kept goes in any order; audit_stream() says where that must end */
        a->first_key = sync_key;
        a->room_count = 0;
    }
    if (a->last_key == 0) a->first_key = sync_key;
    a->last_key = sync_key;
    struct cursor c = cursor_of(event);
    uint8_t kind = cursor_u8(&c);
    struct event_read_record read;
    struct event_device_record ended;
    if (kind == EVENT_MESSAGE) take_message_event(a, &c);
    else if (kind == EVENT_CHANGE) take_change_event(a, &c);
    else if (kind == EVENT_DEVICE) EXPECT(event_device_record_read(&ended, &c) && cursor_done(&c), "user %lx: a bad event", (unsigned long)a->user_id);
    else EXPECT(kind == EVENT_READ && event_read_record_read(&read, &c), "user %lx: a bad event", (unsigned long)a->user_id);
    return true;
}

struct senders {
    uint64_t first;  /* who sent the first message */
    bool others; /* somebody else sent one, too */
};

static bool take_sender(void *context, uint64_t seq, struct slice record)
{
    struct senders *senders = context;
    struct message_record m;
    struct cursor c = cursor_of(record);
    (void)seq;
    EXPECT(message_record_read(&m, &c), "a bad message");
    senders->others |= senders->first != 0 && senders->first != m.sender_id;
    senders->first = m.sender_id; /* newest first: the last one is seq 1's */
    return true;
}

/* Whether a conversation of two waits for its first answer, as this shard, the home of `user_id`, has it: checked against the timeline. */
static bool audit_opener(struct world *w, uint16_t shard, uint64_t room_id, uint64_t user_id)
{
    struct senders senders = {0};
    struct view_value stored;
    struct writer value;
    writer_init(&value, 0);
    enum result result = timeline_down(view_of_shard(w, id_partition(room_id)), room_id, UINT64_MAX, take_sender, &senders);
    ASSERT(result == RESULT_OK);
    EXPECT(row_of(w, shard, key_one(KEY_VIEW, room_id), &value) && view_value_read(writer_slice(&value), &stored), "room %lx is not known",
           (unsigned long)room_id);
    bool home_of_opener = id_partition(senders.first) == shard, unanswered = senders.first != 0 && !senders.others;
    uint64_t expected = home_of_opener && unanswered ? senders.first : 0;
    bool by_older = w->profile.begins_old && stored.opener_id == 0; /* which did not note it */
    EXPECT(stored.opener_id == expected || by_older, "room %lx waits for an answer to %lx, not %lx", (unsigned long)room_id, (unsigned long)stored.opener_id,
           (unsigned long)expected);
    writer_deinit(&value);
    return stored.opener_id == user_id;
}

static bool take_conversation(void *context, struct slice key, struct slice value)
{
    struct stream_audit *a = context;
    struct world *w = a->world;
    struct conversation_record conversation;
    struct cursor c = cursor_of(value);
    uint64_t room_id = key_u64_at(key, 9);
    EXPECT(conversation_record_read(&conversation, &c) && cursor_done(&c), "user %lx: a bad conversation", (unsigned long)a->user_id);
    a->conversation_count++;
    a->direct_count += conversation.peer_id != 0;
    a->unanswered_count += conversation.peer_id != 0 && audit_opener(w, a->shard, room_id, a->user_id);
    struct counting newest = {.count = count_messages(w, id_partition(room_id), room_id)}; /* gapless: the head */
    EXPECT(conversation.read_seq <= newest.count && conversation.joined_seq <= conversation.read_seq,
           "user %lx has read room %lx up to %lu of %u", (unsigned long)a->user_id, (unsigned long)room_id,
           (unsigned long)conversation.read_seq, newest.count);
    const struct stream_room *room = stream_room(a, room_id);
    EXPECT(!room->anchored || room->member, "user %lx has a conversation of room %lx, which the stream says was left", (unsigned long)a->user_id,
           (unsigned long)room_id);
    EXPECT(!room->anchored || room->large || room->last_seq == newest.count, "user %lx got room %lx up to %lu of %u", (unsigned long)a->user_id,
           (unsigned long)room_id, (unsigned long)room->last_seq, newest.count);
    struct writer unused;
    writer_init(&unused, 0);
    EXPECT(row_of(w, id_partition(room_id), key_two(KEY_MEMBER, room_id, a->user_id), &unused), "user %lx is no member of room %lx",
           (unsigned long)a->user_id, (unsigned long)room_id);
    writer_deinit(&unused);
    uint32_t user = oracle_user_index(w->oracle, a->user_id);
    uint64_t floor = user == USERS_MAX ? 0 : oracle_room(w->oracle, room_id)->members[user].read_floor;
    EXPECT(conversation.read_seq >= floor, "user %lx had read room %lx up to %lu, and now %lu", (unsigned long)a->user_id,
           (unsigned long)room_id, (unsigned long)floor, (unsigned long)conversation.read_seq);
    return true;
}

static void audit_stream(struct stream_audit *a)
{
    struct world *w = a->world;
    uint64_t kept = w->profile.inbox_events_min_ever;
    enum result result = events_scan(view_of_shard(w, a->shard), a->user_id, 0, take_event, a);
    EXPECT(result == RESULT_OK, "user %lx: a bad block", (unsigned long)a->user_id);
    uint64_t first = a->last_key > kept ? a->last_key - kept + 1 : 1;
    bool enough = a->first_key <= first;
    EXPECT(a->last_key == 0 || enough, "the stream of user %lx begins at %lu, not %lu", (unsigned long)a->user_id,
           (unsigned long)a->first_key, (unsigned long)first);
    each_row(w, a->shard, key_one(KEY_CONVERSATION, a->user_id), key_after(KEY_CONVERSATION, a->user_id), take_conversation, a);
    uint32_t user = oracle_user_index(w->oracle, a->user_id);
    if (user == USERS_MAX) return; /* made by a request whose answer was lost */
    struct person *person = people_person(w->people, a->user_id);
    person->stream_head = a->last_key;
    EXPECT(person->newest_event <= a->last_key, "the stream of user %u ends at %lu, a device has seen %lu", user,
           (unsigned long)a->last_key, (unsigned long)person->newest_event);
}

static bool take_inbox(void *context, struct slice key, struct slice value)
{
    struct stream_audit a = *(struct stream_audit *)context;
    struct inbox_record inbox;
    struct cursor c = cursor_of(value);
    a.user_id = key_u64_at(key, 1);
    EXPECT(inbox_record_read(&inbox, &c) && cursor_done(&c), "user %lx: a bad inbox", (unsigned long)a.user_id);
    audit_stream(&a);
    bool by_older = a.world->profile.begins_old && inbox.counted == 0; /* they are counted when it is loaded */
    EXPECT(by_older || (inbox.counted != 0 && inbox.direct_count == a.direct_count), "user %lx has %u conversations of two, not %u",
           (unsigned long)a.user_id, a.direct_count, inbox.direct_count);
    EXPECT(inbox.unanswered_count == a.unanswered_count, "user %lx has %u conversations without an answer, not %u", (unsigned long)a.user_id,
           a.unanswered_count, inbox.unanswered_count);
    EXPECT(inbox.room_count == a.conversation_count, "user %lx is in %u rooms, not %u", (unsigned long)a.user_id, a.conversation_count,
           inbox.room_count);
    free(a.rooms);
    return true;
}

/* ---- accounts --------------------------------------------------------------------------------------------------------- */

static bool take_name(void *context, struct slice key, struct slice value)
{
    const struct stream_audit *a = context;
    struct name_record name;
    struct cursor c = cursor_of(value);
    (void)key;
    EXPECT(name_record_read(&name, &c) && cursor_done(&c) && id_partition(name.user_id) == a->shard, "a bad name");
    uint64_t hash = XXH3_64bits(name.name.data, name.name.len) | 1;
    oracle_learn(a->world->oracle, FACT_NAME, hash, 0, name.user_id, "owner of a name");
    oracle_learn(a->world->oracle, FACT_USER, name.user_id, 0, hash, "name of a user");
    struct writer unused;
    writer_init(&unused, 0);
    EXPECT(row_of(a->world, a->shard, key_one(KEY_ACCOUNT, name.user_id), &unused) &&
               row_of(a->world, a->shard, key_one(KEY_INBOX, name.user_id), &unused),
           "user %lx has a name and nothing else", (unsigned long)name.user_id);
    writer_deinit(&unused);
    return true;
}

static void audit_promised_users(struct world *w)
{
    struct writer unused;
    writer_init(&unused, 0);
    for (uint32_t i = 0; i < USERS_MAX; i++) {
        uint64_t user_id = w->oracle->user_ids[i];
        if (user_id == 0) continue;
        EXPECT(row_of(w, id_partition(user_id), key_one(KEY_ACCOUNT, user_id), &unused), "user %u is gone", i);
    }
    writer_deinit(&unused);
}

/* ---- streams between shards ------------------------------------------------------------------------------------------- */

static struct stream_record stream_of(struct world *w, uint16_t shard, uint16_t peer)
{
    struct stream_record record = {0};
    struct writer value;
    writer_init(&value, 0);
    if (row_of(w, shard, key_one(KEY_STREAM, peer), &value)) {
        struct cursor c = cursor_of(writer_slice(&value));
        EXPECT(stream_record_read(&record, &c) && cursor_done(&c), "shard %u: a bad stream", shard);
    }
    writer_deinit(&value);
    return record;
}

static void audit_streams_between(struct world *w)
{
    for (uint16_t from = 0; from < world_shard_count(w); from++)
        for (uint16_t to = 0; to < world_shard_count(w); to++) {
            uint64_t emitted = stream_of(w, from, to).emitted, applied = stream_of(w, to, from).applied;
            EXPECT(emitted == applied, "shard %u sent %lu entries to shard %u, which has applied %lu", from, (unsigned long)emitted, to,
                   (unsigned long)applied);
        }
}

/* ---- what was promised ------------------------------------------------------------------------------------------------ */

static void audit_promises(struct world *w)
{
    struct oracle *o = w->oracle;
    for (uint32_t i = 0; i < o->attempt_count; i++)
        EXPECT(!o->attempts[i].acked || o->attempts[i].seen, "message m%u was acknowledged and is in no timeline", i);
    uint32_t count;
    const struct fact *facts = facts_all(o->facts, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (facts[i].kind != FACT_MESSAGE) continue;
        EXPECT(has_message(w, id_partition(facts[i].a), facts[i].a, facts[i].b),
               "somebody has seen seq %lu of room %lx; it is gone", (unsigned long)facts[i].b, (unsigned long)facts[i].a);
    }
}

/* Shards of one server understand each other, however late what they say arrives. */
static void audit_letters(const struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        EXPECT(w->nodes[i].metrics.letters_refused == 0, "shard %u has refused %lu letters of the others", i,
               (unsigned long)w->nodes[i].metrics.letters_refused);
}

void audit(struct world *w)
{
    audit_letters(w);
    for (uint32_t i = 0; i < w->oracle->attempt_count; i++) w->oracle->attempts[i].seen = false;
    for (uint32_t i = 0; i < w->people->person_count; i++) w->people->persons[i].stream_head = 0;
    for (uint16_t shard = 0; shard < world_shard_count(w); shard++) {
        struct room_audit rooms = {.world = w, .shard = shard};
        struct stream_audit streams = {.world = w, .shard = shard};
        each_of_kind(w, shard, KEY_NAME, take_name, &streams);
        each_of_kind(w, shard, KEY_ROOM, take_room, &rooms);
        each_of_kind(w, shard, KEY_DIRECT, take_direct, &rooms);
        each_of_kind(w, shard, KEY_INBOX, take_inbox, &streams);
    }
    audit_promised_users(w);
    audit_promised_members(w);
    audit_streams_between(w);
    audit_promises(w);
}
