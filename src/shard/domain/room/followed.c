/* shard/domain/room/followed.c - what followers are told of rooms, their members and messages, on the room's own shard.
 * Emitted by room.c, update.c and role.c; written, as they are now, on the storage thread. A rebuilding tells of every room, then of every
 * member, then of every message in the order of its room. */
#include "api/wire.h"
#include "ringpost/v1/operator.fields.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/domain/followed.h"
#include "shard/domain/room/gate.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "shard/engine/memory.h"
#include "shard/engine/reading.h"

/* ---- apply ---- */

#define EMIT(machine, kind, name, record, effects)                                                                     \
    do {                                                                                                               \
        uint32_t len_ = name##_record_size(record);                                                                    \
        struct writer w_ = {.data = follower_emit(machine, (uint8_t)(kind), len_, effects), .capacity = len_, .size_max = len_}; \
        name##_record_write(&w_, record);                                                                              \
        ASSERT(!w_.failed && w_.len == len_);                                                                          \
    } while (0)

void followed_room(struct machine *machine, enum followed_kind kind, uint64_t room_id, uint64_t actor_id, struct effects *effects)
{
    struct followed_room_record record = {.room_id = room_id, .actor_id = actor_id, .time_ms = machine->time_ms};
    EMIT(machine, kind, followed_room, &record, effects);
}

void followed_member(struct machine *machine, enum followed_kind kind, const struct followed_member_record *member, struct effects *effects)
{
    EMIT(machine, kind, followed_member, member, effects);
}

void followed_message(struct machine *machine, uint64_t room_id, uint64_t seq, struct effects *effects)
{
    struct followed_message_record record = {.room_id = room_id, .seq = seq};
    EMIT(machine, FOLLOWED_MESSAGE, followed_message, &record, effects);
}

/* A record for take(), on the stack. */
#define TAKE(take, context, a, b, name, record)                                                                        \
    __extension__({                                                                                                    \
        uint8_t bytes_[FOLLOWER_RECORD_MAX];                                                                           \
        struct writer w_ = {.data = bytes_, .capacity = sizeof bytes_, .size_max = sizeof bytes_};                     \
        name##_record_write(&w_, record);                                                                              \
        ASSERT(!w_.failed);                                                                                            \
        take(context, a, b, writer_slice(&w_));                                                                        \
    })

/* ---- rooms ---- */

static enum result write_as_it_is(struct follower_reader *reader, uint64_t room_id, struct slice value, struct writer *entry)
{
    struct room_record room;
    struct cursor c = cursor_of(value);
    if (!room_record_read(&room, &c)) return RESULT_CORRUPT;
    uint64_t head_seq;
    enum result result = timeline_newest(reader->view, room_id, NULL, &head_seq);
    if (result != RESULT_OK) return result;
    struct snapshot_record snapshot = {.room_id = room_id,
                                       .type = room.type,
                                       .name = room.name,
                                       .owner_id = room.owner_id,
                                       .member_count = room.member_count,
                                       .created_ms = room.created_ms,
                                       .dismissed = room.dismissed,
                                       .joinable = room.joinable,
                                       .large = room.large,
                                       .since_join = room.since_join};
    size_t begin = wire_message_begin(entry, FIELD_FOLLOWED_ROOM_ROOM);
    snapshot_pack(entry, &snapshot, head_seq);
    wire_nest_end(entry, begin);
    return RESULT_OK;
}

static enum result write_room(struct follower_reader *reader, struct slice bytes, struct writer *entry, uint32_t field)
{
    struct followed_room_record record;
    if (!followed_room_record_is(&record, bytes)) return RESULT_CORRUPT;
    struct key key = key_one(KEY_ROOM, record.room_id);
    bool found = true;
    enum result result = reader->bodies ? reading_get(reader->view, &key, &reader->scratch, &found) : RESULT_OK;
    if (result != RESULT_OK) return result;
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_TIME_MS, record.time_ms);
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_GONE, !found);
    size_t begin = wire_message_begin(entry, field);
    wire_write_u64(entry, FIELD_FOLLOWED_ROOM_ROOM_ID, record.room_id);
    wire_write_u64(entry, FIELD_FOLLOWED_ROOM_ACTOR_ID, record.actor_id);
    if (reader->bodies && found) result = write_as_it_is(reader, record.room_id, writer_slice(&reader->scratch), entry);
    wire_nest_end(entry, begin);
    return result;
}

struct row_scan {
    follower_take *take;
    void *context;
    bool bad;
};

static bool take_room(void *context, struct slice key, struct slice value)
{
    struct row_scan *scan = context;
    struct room_record room;
    struct cursor c = cursor_of(value);
    scan->bad = key.len != 9 || !room_record_read(&room, &c);
    if (scan->bad) return false;
    struct followed_room_record record = {.room_id = key_u64_at(key, 1), .time_ms = room.created_ms};
    return TAKE(scan->take, scan->context, record.room_id, 0, followed_room, &record);
}

static enum result scan_rooms(struct follower_reader *reader, uint64_t a, uint64_t b, follower_take *take, void *context)
{
    (void)b;
    struct row_scan scan = {.take = take, .context = context};
    struct key from = key_one(KEY_ROOM, a + 1), until = key_make(KEY_ROOM + 1);
    enum result result = store_scan(reader->view, key_slice(&from), key_slice(&until), take_room, &scan);
    return result == RESULT_OK && scan.bad ? RESULT_CORRUPT : result;
}

FOLLOWED_ROW(room_created, ROOM_CREATED, write_room, scan_rooms);
FOLLOWED_ROW(room_updated, ROOM_UPDATED, write_room, NULL);
FOLLOWED_ROW(room_dismissed, ROOM_DISMISSED, write_room, NULL);

/* ---- members ---- */

static enum result write_member(struct follower_reader *reader, struct slice bytes, struct writer *entry, uint32_t field)
{
    (void)reader;
    struct followed_member_record record;
    if (!followed_member_record_is(&record, bytes)) return RESULT_CORRUPT;
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_TIME_MS, record.time_ms);
    size_t begin = wire_message_begin(entry, field);
    wire_write_u64(entry, FIELD_FOLLOWED_MEMBER_ROOM_ID, record.room_id);
    wire_write_u64(entry, FIELD_FOLLOWED_MEMBER_USER_ID, record.user_id);
    wire_write_u64(entry, FIELD_FOLLOWED_MEMBER_ACTOR_ID, record.actor_id);
    wire_write_u64(entry, FIELD_FOLLOWED_MEMBER_ROLE, record.role);
    wire_nest_end(entry, begin);
    return RESULT_OK;
}

static bool take_member(void *context, struct slice key, struct slice value)
{
    struct row_scan *scan = context;
    struct member_record member;
    struct cursor c = cursor_of(value);
    scan->bad = key.len != 17 || !member_record_read(&member, &c);
    if (scan->bad) return false;
    struct followed_member_record record = {
        .room_id = key_u64_at(key, 1), .user_id = key_u64_at(key, 9), .time_ms = member.joined_ms, .role = member.role};
    return TAKE(scan->take, scan->context, record.room_id, record.user_id, followed_member, &record);
}

static enum result scan_members(struct follower_reader *reader, uint64_t a, uint64_t b, follower_take *take, void *context)
{
    struct row_scan scan = {.take = take, .context = context};
    struct key from = key_two(KEY_MEMBER, a, b + 1), until = key_make(KEY_MEMBER + 1);
    enum result result = store_scan(reader->view, key_slice(&from), key_slice(&until), take_member, &scan);
    return result == RESULT_OK && scan.bad ? RESULT_CORRUPT : result;
}

FOLLOWED_ROW(member_joined, MEMBER_JOINED, write_member, scan_members);
FOLLOWED_ROW(member_left, MEMBER_LEFT, write_member, NULL);
FOLLOWED_ROW(role_changed, ROLE_CHANGED, write_member, NULL);

/* ---- messages ---- */

static void free_timeline(void *state)
{
    timeline_reader_deinit(state);
    free(state);
}

/* One for the page: the message behind the one that was read is mostly the next to be asked. */
static struct timeline_reader *timeline_of(struct follower_reader *reader)
{
    if (reader->state == NULL) {
        reader->state = memory_alloc(sizeof(struct timeline_reader));
        reader->free_state = free_timeline;
        timeline_reader_init(reader->state, reader->view);
    }
    return reader->state;
}

static enum result write_message(struct follower_reader *reader, struct slice bytes, struct writer *entry, uint32_t field)
{
    struct followed_message_record record;
    struct message_record message = {0};
    if (!followed_message_record_is(&record, bytes)) return RESULT_CORRUPT;
    bool shown = reader->bodies && record.seq > gate_hidden_seq_of_operator();
    struct slice stored = SLICE_EMPTY;
    enum result result = shown ? timeline_reader_get(timeline_of(reader), record.room_id, record.seq, &stored) : RESULT_OK;
    bool gone = result == RESULT_MISSING;
    if (result != RESULT_OK && !gone) return result;
    if (shown && !gone && !message_record_is(&message, stored)) return RESULT_CORRUPT;
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_TIME_MS, message.time_ms);
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_GONE, gone);
    size_t begin = wire_message_begin(entry, field);
    message.seq = record.seq;
    message_pack(entry, record.room_id, &message);
    wire_nest_end(entry, begin);
    return RESULT_OK;
}

static bool take_key(void *context, struct slice key, struct slice value)
{
    uint64_t *room_id = context;
    (void)value;
    *room_id = key.len == 9 ? key_u64_at(key, 1) : 0;
    return false;
}

/* The first room from `room_id` on; 0: there is none. */
static enum result next_room(struct follower_reader *reader, uint64_t *room_id)
{
    struct key from = key_one(KEY_ROOM, *room_id), until = key_make(KEY_ROOM + 1);
    *room_id = 0;
    return store_scan(reader->view, key_slice(&from), key_slice(&until), take_key, room_id);
}

/* Of a room those behind `seq`. Its place without one, (room_id, 0), is where a room begins that the scan has come to. */
static enum result scan_room(struct follower_reader *reader, uint64_t room_id, uint64_t seq, follower_take *take, void *context, bool *more)
{
    uint64_t head_seq;
    enum result result = timeline_newest(reader->view, room_id, NULL, &head_seq);
    while (result == RESULT_OK && *more && seq < head_seq) {
        struct followed_message_record record = {.room_id = room_id, .seq = ++seq};
        *more = TAKE(take, context, room_id, seq, followed_message, &record);
    }
    return result;
}

static enum result scan_messages(struct follower_reader *reader, uint64_t a, uint64_t b, follower_take *take, void *context)
{
    uint64_t room_id = a;
    bool more = true;
    enum result result = next_room(reader, &room_id);
    while (result == RESULT_OK && room_id != 0 && more) {
        if (room_id != a) more = take(context, room_id, 0, SLICE_EMPTY);
        if (more) result = scan_room(reader, room_id, room_id == a ? b : 0, take, context, &more);
        if (result != RESULT_OK || !more) break;
        room_id++;
        result = next_room(reader, &room_id);
    }
    return result;
}

const struct follower_row followed_message_stored = {FOLLOWED_MESSAGE, "message", FIELD_FOLLOWER_ENTRY_MESSAGE, write_message, scan_messages};
