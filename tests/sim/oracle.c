/* tests/sim/oracle.c - see oracle.h. */
#include "sim/oracle.h"
#include "core/check.h"
#include "shard/engine/ids.h"
#include "sim/people.h"
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct oracle *oracle_create(struct world *world)
{
    struct oracle *o = calloc(1, sizeof *o);
    ASSERT(o != NULL);
    o->world = world;
    o->facts = facts_create();
    return o;
}

void oracle_destroy(struct oracle *o)
{
    facts_destroy(o->facts);
    free(o->attempts);
    free(o->rooms);
    free(o);
}

static void *copy_items(const void *items, uint32_t count, size_t item_size)
{
    void *copy = calloc(count + 1u, item_size);
    ASSERT(copy != NULL);
    if (count > 0) memcpy(copy, items, count * item_size);
    return copy;
}

struct oracle *oracle_copy(const struct oracle *o)
{
    struct oracle *copy = copy_items(o, 1, sizeof *o);
    copy->facts = facts_copy(o->facts);
    copy->attempts = copy_items(o->attempts, o->attempt_count, sizeof *o->attempts);
    copy->attempt_capacity = o->attempt_count + 1;
    copy->rooms = copy_items(o->rooms, o->room_count, sizeof *o->rooms);
    copy->room_capacity = o->room_count + 1;
    return copy;
}

/* ---- facts ------------------------------------------------------------------------------------------------------------ */

void oracle_learn(struct oracle *o, enum fact_kind kind, uint64_t a, uint64_t b, uint64_t value, const char *what)
{
    uint64_t known = facts_learn(o->facts, kind, a, b, value);
    EXPECT(known == value, "%s (%lx, %lu) was %lx and is %lx now", what, (unsigned long)a, (unsigned long)b,
           (unsigned long)known, (unsigned long)value);
}

uint64_t oracle_message_hash(uint64_t msg_id, uint64_t sender_id, uint64_t time_ms, uint32_t kind, struct slice client_id,
                             struct slice body)
{
    uint64_t words[4] = {msg_id, sender_id, time_ms, kind};
    uint64_t hash = XXH3_64bits(words, sizeof words);
    hash = XXH3_64bits_withSeed(client_id.data, client_id.len, hash);
    return XXH3_64bits_withSeed(body.data, body.len, hash);
}

static void learn_message(struct oracle *o, uint64_t room_id, uint64_t seq, uint64_t msg_id, uint64_t hash)
{
    uint64_t place[2] = {room_id, seq};
    EXPECT(seq > 0 && id_type(msg_id) == ID_MESSAGE && id_partition(msg_id) == id_partition(room_id),
           "message %lx has no place in room %lx", (unsigned long)msg_id, (unsigned long)room_id);
    oracle_learn(o, FACT_MESSAGE, room_id, seq, hash, "message (room, seq)");
    oracle_learn(o, FACT_MESSAGE_ID, msg_id, 0, XXH3_64bits(place, sizeof place), "place of message");
    struct known_room *room = oracle_room(o, room_id);
    if (room->head_seq < seq) TRACE("room %lx has seq %lu", (unsigned long)room_id, (unsigned long)seq);
    if (room->head_seq < seq) room->head_seq = seq;
}

void oracle_saw_message(struct oracle *o, const Ringpost__V1__Message *m)
{
    struct slice client_id = slice_text(m->client_msg_id), body = slice_of(m->body.data, m->body.len);
    uint32_t number = oracle_attempt_of(o, m->room_id, m->sender_id, client_id, body);
    char content_type[24];
    attempt_content_type(number, VARIANT_SAME, content_type);
    const char *shown = m->properties == NULL ? "" : m->properties->content_type;
    EXPECT(strcmp(shown, content_type) == 0, "message m%u has content type \"%s\"", number, shown);
    learn_message(o, m->room_id, m->seq, m->msg_id,
                  oracle_message_hash(m->msg_id, m->sender_id, m->time_ms, (uint32_t)m->kind, client_id, body));
}

void oracle_saw_ack(struct oracle *o, uint32_t number, const Ringpost__V1__SendResponse *r)
{
    struct attempt *a = &o->attempts[number];
    char client_id[24], text[ATTEMPT_TEXT_MAX];
    attempt_client_id(number, client_id);
    struct slice body = attempt_body(number, VARIANT_SAME, text);
    if (a->acked) {
        EXPECT(a->msg_id == r->msg_id && a->seq == r->seq && a->time_ms == r->time_ms && a->room_id == r->room_id,
               "message %s was sent as %lx, seq %lu; asked again it is %lx, seq %lu", client_id, (unsigned long)a->msg_id,
               (unsigned long)a->seq, (unsigned long)r->msg_id, (unsigned long)r->seq);
        return;
    }
    EXPECT(a->room_id == 0 || a->room_id == r->room_id, "message %s went to another room", client_id);
    EXPECT(r->seq > a->floor_seq, "message %s got seq %lu, but seq %lu had been seen before it was sent", client_id,
           (unsigned long)r->seq, (unsigned long)a->floor_seq);
    a->acked = true;
    a->room_id = r->room_id;
    a->msg_id = r->msg_id;
    a->seq = r->seq;
    a->time_ms = r->time_ms;
    learn_message(o, r->room_id, r->seq, r->msg_id,
                  oracle_message_hash(r->msg_id, a->sender_id, r->time_ms, a->kind, slice_text(client_id), body));
}

static uint64_t event_hash(const Ringpost__V1__Event *event)
{
    uint8_t bytes[4096];
    size_t size = ringpost__v1__event__get_packed_size(event);
    EXPECT(size <= sizeof bytes, "an event of %zu bytes", size);
    ringpost__v1__event__pack(event, bytes);
    return XXH3_64bits(bytes, size);
}

void oracle_saw_event(struct oracle *o, uint64_t user_id, const Ringpost__V1__Event *event)
{
    EXPECT(event->sync_key > 0, "an event without a place in the stream");
    EXPECT(event->kind_case != RINGPOST__V1__EVENT__KIND__NOT_SET, "an event of no kind");
    oracle_learn(o, FACT_EVENT, user_id, event->sync_key, event_hash(event), "event (user, sync_key)");
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_MESSAGE) oracle_saw_message(o, event->message);
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_ROOM) oracle_saw_room(o, event->room->room);
    struct person *person = people_person(o->world->people, user_id);
    if (person->newest_event < event->sync_key) person->newest_event = event->sync_key;
}

uint64_t oracle_newest_event(const struct oracle *o, uint64_t user_id)
{
    return people_person(o->world->people, user_id)->newest_event;
}

void oracle_saw_room(struct oracle *o, const Ringpost__V1__Room *room)
{
    bool direct = room->type == RINGPOST__V1__ROOM_TYPE__DIRECT;
    const struct profile *profile = &o->world->profile;
    uint32_t member_max = direct ? 2 : profile->room_members_max_ever;
    EXPECT(room->member_max == member_max || (profile->limits_change && room->member_max <= member_max), "room %lx may have %u members", (unsigned long)room->room_id, room->member_max);
    EXPECT(room->member_count <= member_max, "room %lx has %u members", (unsigned long)room->room_id, room->member_count);
    struct known_room *known = oracle_room(o, room->room_id);
    known->direct = direct;
    known->joinable = room->joinable;
}

/* ---- attempts --------------------------------------------------------------------------------------------------------- */

void attempt_client_id(uint32_t number, char out[24]) { snprintf(out, 24, "m%u", number); }

void attempt_content_type(uint32_t number, enum variant variant, char out[24])
{
    out[0] = '\0';
    if (variant == VARIANT_OTHER_PROPERTIES || number % 3 == 0) snprintf(out, 24, "t%u.%u", number, variant == VARIANT_OTHER_PROPERTIES);
}

struct slice attempt_body(uint32_t number, enum variant variant, char out[ATTEMPT_TEXT_MAX])
{
    int len = snprintf(out, ATTEMPT_TEXT_MAX, "%u.%u:", number, variant == VARIANT_OTHER_BODY);
    uint32_t want = number * 2654435761u >> 20;
    want = want % 8 == 0 ? want % 380 : want % 40;
    while ((uint32_t)len < want + 12) {
        out[len] = (char)('a' + len % 26);
        len++;
    }
    return slice_of(out, (size_t)len);
}

uint32_t oracle_attempt(struct oracle *o, uint64_t sender_id, uint64_t room_id, uint64_t to_user_id, uint32_t kind)
{
    if (o->attempt_count == o->attempt_capacity) {
        o->attempt_capacity = o->attempt_capacity == 0 ? 256 : o->attempt_capacity * 2;
        o->attempts = realloc(o->attempts, o->attempt_capacity * sizeof *o->attempts);
        ASSERT(o->attempts != NULL);
    }
    if (to_user_id != 0) {
        const struct fact *direct = facts_find(o->facts, FACT_DIRECT, sender_id < to_user_id ? sender_id : to_user_id,
                                               sender_id < to_user_id ? to_user_id : sender_id);
        if (direct != NULL) room_id = direct->value;
    }
    o->attempts[o->attempt_count] = (struct attempt){.number = o->attempt_count, .sender_id = sender_id, .room_id = room_id,
                                                     .to_user_id = to_user_id, .kind = kind,
                                                     .floor_seq = room_id == 0 ? 0 : oracle_room(o, room_id)->head_seq};
    return o->attempt_count++;
}

uint32_t oracle_attempt_of(const struct oracle *o, uint64_t room_id, uint64_t sender_id, struct slice client_id, struct slice body)
{
    uint32_t number = 0;
    for (uint32_t i = 1; i < client_id.len; i++) number = number * 10 + (client_id.data[i] - (uint32_t)'0');
    char text[ATTEMPT_TEXT_MAX];
    bool ours = client_id.len > 1 && client_id.data[0] == 'm' && number < o->attempt_count;
    EXPECT(ours, "a message nobody sent: client id %.*s", (int)client_id.len, (const char *)client_id.data);
    const struct attempt *a = &o->attempts[number];
    EXPECT(a->sender_id == sender_id, "message m%u has another sender", number);
    EXPECT(slice_equal(body, attempt_body(number, VARIANT_SAME, text)), "message m%u has another body", number);
    EXPECT(a->room_id == 0 || a->room_id == room_id, "message m%u is in another room", number);
    return number;
}

/* ---- what is promised of repeats ---------------------------------------------------------------------------------------- */

#define REPEAT_MARGIN_MS 25000 /* until it is applied, and for clocks that are set back */

struct first_try oracle_first_try(const struct oracle *o, struct person *person)
{
    return (struct first_try){.sends = ++person->sends, .time_ms = world_now_ms(o->world), .clock_eras = o->world->clock_eras};
}

/* Sends of other devices that were under way at the time may have been stored later. What was sent before the clock of commands stepped
 * by more than the window is kept no longer than anything else. */
bool oracle_is_promised(const struct oracle *o, const struct person *person, const struct first_try *first)
{
    const struct profile *profile = &o->world->profile;
    uint32_t since = person->sends - first->sends + profile->devices - 1;
    bool same_clock = world_clock_is_right(o->world) && first->clock_eras == o->world->clock_eras;
    return same_clock && since < profile->repeats_kept_ever &&
           world_now_ms(o->world) + REPEAT_MARGIN_MS < first->time_ms + profile->repeat_window_ms_ever;
}

/* ---- rooms ------------------------------------------------------------------------------------------------------------ */

struct known_room *oracle_room(struct oracle *o, uint64_t room_id)
{
    for (uint32_t i = 0; i < o->room_count; i++)
        if (o->rooms[i].room_id == room_id) return &o->rooms[i];
    if (o->room_count == o->room_capacity) {
        o->room_capacity = o->room_capacity == 0 ? 16 : o->room_capacity * 2;
        o->rooms = realloc(o->rooms, o->room_capacity * sizeof *o->rooms);
        ASSERT(o->rooms != NULL);
    }
    struct known_room *room = &o->rooms[o->room_count++];
    *room = (struct known_room){.room_id = room_id, .since_join = -1, .since_join_before = -1};
    for (uint32_t i = 0; i < USERS_MAX; i++) room->members[i] = (struct membership){.known = -1, .before = -1, .role = -1};
    return room;
}

uint32_t oracle_user_index(const struct oracle *o, uint64_t user_id)
{
    uint32_t i = 0;
    while (i < USERS_MAX && (o->user_ids[i] == 0 || o->user_ids[i] != user_id)) i++;
    return i;
}

static struct membership *membership_of(struct oracle *o, uint64_t room_id, uint64_t user_id)
{
    uint32_t user = oracle_user_index(o, user_id);
    return user == USERS_MAX ? NULL : &oracle_room(o, room_id)->members[user];
}

void oracle_membership_begin(struct oracle *o, uint64_t room_id, uint64_t user_id)
{
    struct membership *m = membership_of(o, room_id, user_id);
    if (m == NULL) return;
    m->version++;
    m->role = -1;
    m->read_floor = 0;
    if (m->under_way++ == 0) m->before = m->known;
    else m->overlapped = true;
    m->known = -1;
}

void oracle_membership_end(struct oracle *o, uint64_t room_id, uint64_t user_id, int outcome, uint64_t head_seq)
{
    struct membership *m = membership_of(o, room_id, user_id);
    if (m == NULL) return;
    ASSERT(m->under_way > 0);
    m->version++;
    m->under_way--;
    if (outcome == -2) m->overlapped = true;
    if (!m->overlapped) m->known = outcome >= 0 ? (int8_t)outcome : m->before;
    bool stays = !m->overlapped && m->before == 1 && m->known == 1, comes = !m->overlapped && m->before == 0 && m->known == 1;
    m->joined_known = comes || (stays && m->joined_known);
    if (comes) m->joined_seq = head_seq;
    if (m->under_way == 0) m->overlapped = false;
}

void oracle_history_begin(struct oracle *o, uint64_t room_id)
{
    struct known_room *room = oracle_room(o, room_id);
    room->history_version++;
    if (room->history_changes++ == 0) room->since_join_before = room->since_join;
    else room->history_overlapped = true;
    room->since_join = -1;
}

void oracle_history_end(struct oracle *o, uint64_t room_id, int outcome)
{
    struct known_room *room = oracle_room(o, room_id);
    ASSERT(room->history_changes > 0);
    room->history_version++;
    room->history_changes--;
    if (outcome == -2) room->history_overlapped = true;
    if (!room->history_overlapped) room->since_join = outcome >= 0 ? (int8_t)outcome : room->since_join_before;
    if (room->history_changes == 0) room->history_overlapped = false;
}

bool oracle_knows_hidden(const struct known_room *room, uint32_t user, uint64_t *hidden_seq)
{
    *hidden_seq = 0;
    if (user == USERS_MAX || room->members[user].known != 1 || room->since_join < 0) return false;
    if (room->since_join == 1) *hidden_seq = room->members[user].joined_seq;
    return room->since_join == 0 || room->members[user].joined_known;
}

void oracle_forget_joining(struct oracle *o)
{
    for (uint32_t i = 0; i < o->room_count; i++)
        for (uint32_t user = 0; user < USERS_MAX; user++)
            if (o->rooms[i].members[user].joined_seq > 0) o->rooms[i].members[user].joined_known = false;
}

int oracle_is_member(const struct oracle *o, uint64_t room_id, uint64_t user_id)
{
    uint32_t user = oracle_user_index(o, user_id);
    for (uint32_t i = 0; i < o->room_count && user < USERS_MAX; i++)
        if (o->rooms[i].room_id == room_id) return o->rooms[i].members[user].known;
    return -1;
}

/* ---- display names ---------------------------------------------------------------------------------------------------- */

void oracle_name_text(uint32_t user, uint32_t number, char text[DISPLAY_NAME_MAX])
{
    int len = snprintf(text, DISPLAY_NAME_MAX, "Person %u", user);
    if (number > 0) snprintf(text + len, DISPLAY_NAME_MAX - (size_t)len, ", no. %u", number);
}

uint32_t oracle_name_begin(struct oracle *o, uint32_t user)
{
    struct known_name *name = &o->names[user];
    name->version++;
    if (name->changes++ == 0) name->before = name->known;
    else name->overlapped = true;
    name->known = -1;
    return ++name->asked;
}

void oracle_name_end(struct oracle *o, uint32_t user, int outcome)
{
    struct known_name *name = &o->names[user];
    ASSERT(name->changes > 0);
    name->version++;
    name->changes--;
    if (outcome == -2) name->overlapped = true;
    if (!name->overlapped) name->known = outcome >= 0 ? outcome : name->before;
    if (name->changes == 0) name->overlapped = false;
}

int32_t oracle_saw_name(const struct oracle *o, uint32_t user, const char *text, uint32_t version)
{
    const struct known_name *name = &o->names[user];
    unsigned person = 0, number = 0;
    int count = sscanf(text, "Person %u, no. %u", &person, &number);
    char whole[DISPLAY_NAME_MAX];
    oracle_name_text(user, number, whole);
    EXPECT(count >= 1 && person == user && strcmp(whole, text) == 0 && number <= name->asked, "user %u is called \"%s\"", user, text);
    EXPECT(version != name->version || name->known < 0 || (uint32_t)name->known == number, "user %u is called \"%s\", and not number %d", user,
           text, name->known);
    return (int32_t)number;
}
