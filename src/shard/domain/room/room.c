/* shard/domain/room/room.c - the authoritative room: who may enter is decided here, every seq is given here, every shard
 * concerned is told from here. Happy path of a message: room_append -> the room's open timeline block, the local view (inboxes and
 * pushes of members here), one relay per other shard; of a large room those are only told (large.c). Happy path of a change: member record and room record ->
 * room_tell -> the local view, one relay per other shard. */
#include "shard/domain/room/room.h"
#include "shard/domain/followed.h"
#include "shard/domain/limits.h"
#include "shard/domain/relays.h"
#include "shard/domain/room/large.h"
#include "shard/engine/memory.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"

#define DIRECT_MEMBERS 2

/* ---- the entity ---- */

static bool room_read(struct entity *fresh, struct slice value)
{
    struct room *room = room_of(fresh);
    struct room_record record;
    if (!room_record_is(&record, value) || record.shard_counts.len % sizeof(uint32_t) != 0) return false;
    room->type = record.type;
    room->owner_id = record.owner_id;
    room->member_count = record.member_count;
    room->created_ms = record.created_ms;
    room->dismissed = record.dismissed != 0;
    room->joinable = record.joinable != 0;
    room->large = record.large != 0;
    room->unretained_seq = record.unretained_seq;
    room->since_join = record.since_join != 0;
    room->name = memory_text(record.name);
    room->count_count = record.shard_counts.len / (uint32_t)sizeof(uint32_t);
    room->shard_counts = memory_alloc(record.shard_counts.len + 1);
    memcpy(room->shard_counts, record.shard_counts.data, record.shard_counts.len);
    return true;
}

static enum result room_load(struct entity *fresh, struct store_view *view)
{
    return timeline_newest(view, fresh->key.a, NULL, &room_of(fresh)->head_seq);
}

static void room_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    struct room *room = room_of(entity);
    free(room->name);
    free(room->shard_counts);
}

static void room_write(struct entity *entity, struct effects *effects)
{
    const struct room *room = room_of(entity);
    ASSERT(entity->exists);
    struct key key = key_one(KEY_ROOM, room->entity.key.a);
    struct room_record record = {.type = room->type,
                                 .name = slice_text(room->name),
                                 .owner_id = room->owner_id,
                                 .member_count = room->member_count,
                                 .created_ms = room->created_ms,
                                 .dismissed = room->dismissed,
                                 .joinable = room->joinable,
                                 .large = room->large,
                                 .shard_counts = slice_of(room->shard_counts, room->count_count * sizeof(uint32_t)),
                                 .unretained_seq = room->unretained_seq,
                                 .since_join = room->since_join};
    EFFECTS_PUT_ROW(effects, &key, room, &record, &entity->row_hash);
}

const struct entity_type room_type = {.kind = ENTITY_ROOM,
                                      .block_key = KEY_MESSAGE,
                                      .newest_block_first = true,
                                      .name = "room",
                                      .size_bytes = sizeof(struct room),
                                      .row_key = KEY_ROOM,
                                      .read = room_read,
                                      .load = room_load,
                                      .drop = room_drop,
                                      .write = room_write};

uint32_t room_member_max(const struct machine *machine, uint8_t type)
{
    return type == TYPE_DIRECT ? DIRECT_MEMBERS : machine_limit(machine, LIMIT_ROOM_MEMBERS_MAX);
}

void room_snapshot(const struct room *room, const struct machine *machine, struct snapshot_record *snapshot)
{
    *snapshot = (struct snapshot_record){.room_id = room->entity.key.a,
                                         .type = room->type,
                                         .name = slice_text(room->name),
                                         .owner_id = room->owner_id,
                                         .member_count = room->member_count,
                                         .member_max = room_member_max(machine, room->type),
                                         .created_ms = room->created_ms,
                                         .dismissed = room->dismissed,
                                         .joinable = room->joinable,
                                         .large = room->large,
                                         .since_join = room->since_join};
}

Ringpost__V1__RoomHistory room_history(bool since_join)
{
    return since_join ? RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN : RINGPOST__V1__ROOM_HISTORY__ALL;
}

void room_fill(const struct room *room, const struct machine *machine, Ringpost__V1__Room *out)
{
    ringpost__v1__room__init(out);
    out->room_id = room->entity.key.a;
    out->type = room->type == TYPE_DIRECT ? RINGPOST__V1__ROOM_TYPE__DIRECT : RINGPOST__V1__ROOM_TYPE__GROUP;
    out->name = room->name;
    out->owner_id = room->owner_id;
    out->member_count = room->member_count;
    out->member_max = room_member_max(machine, room->type);
    out->head_seq = room->head_seq;
    out->created_ms = room->created_ms;
    out->dismissed = room->dismissed;
    out->joinable = room->joinable;
    out->large = room->large;
    out->history = room_history(room->since_join);
}

enum error room_admits(struct machine *machine, uint64_t room_id, uint64_t actor_id, uint8_t role_min,
                       struct room **out)
{
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, room_id, 0));
    const struct member *member = member_of(machine_entity(machine, ENTITY_MEMBER, room_id, actor_id));
    if (!room->entity.exists || !member->entity.exists) return ERROR_ROOM_NOT_FOUND;
    if (room->type == TYPE_DIRECT) return ERROR_ROOM_IS_DIRECT;
    if (room->dismissed) return ERROR_ROOM_DISMISSED;
    if (member->role < role_min) return ERROR_ROLE_TOO_LOW;
    *out = room;
    return ERROR_NONE;
}

void room_needs_local(struct needs *needs, uint64_t room_id, uint64_t target_id)
{
    if (target_id != 0)
        view_needs_change(needs, room_id, target_id);
    else
        view_needs_message(needs, room_id, 0);
}

/* ---- telling ---- */

static bool room_concerns(struct machine *machine, const struct room *room, const struct relay_change_record *change,
                          bool everywhere, uint16_t shard)
{
    if (change->target_id != 0 && id_partition(change->target_id) == shard) return true;
    if (change->change == CHANGE_ROOM_JOINED) return false; /* first members hear of themselves only */
    if (shard == machine->options.shard) return machine_entity(machine, ENTITY_VIEW, room->entity.key.a, 0)->exists;
    if (room->shard_counts[shard] == 0) return false;
    bool comes_or_goes = change->change == CHANGE_MEMBER_JOINED || change->change == CHANGE_MEMBER_LEFT;
    return everywhere || !room->large || !comes_or_goes;
}

static void room_tell_shards(struct machine *machine, struct room *room, const struct relay_change_record *change,
                             bool everywhere, struct effects *effects)
{
    struct snapshot_record snapshot;
    struct writer snapshot_bytes, payload;
    writer_init(&snapshot_bytes, 0);
    writer_init(&payload, 0);
    room_snapshot(room, machine, &snapshot);
    snapshot_record_write(&snapshot_bytes, &snapshot);
    struct relay_change_record relay = *change;
    relay.snapshot = writer_slice(&snapshot_bytes);
    relay.head_seq = room->head_seq;
    relay_change_record_write(&payload, &relay);
    ASSERT(room->count_count == machine->options.shard_count);
    for (uint16_t shard = 0; shard < machine->options.shard_count; shard++) {
        if (!room_concerns(machine, room, &relay, everywhere, shard)) continue;
        if (shard == machine->options.shard)
            view_apply_change(machine, &relay, effects);
        else
            memcpy(stream_emit(machine->streams, shard, RELAY_CHANGE, (uint32_t)payload.len, SLICE_EMPTY, effects), payload.data,
                   payload.len);
    }
    writer_deinit(&snapshot_bytes);
    writer_deinit(&payload);
}

void room_tell(struct machine *machine, struct room *room, const struct relay_change_record *change,
               struct effects *effects)
{
    room_tell_shards(machine, room, change, false, effects);
}

/* ---- members ---- */

/* Makes the member record and counts it; tells nobody. */
static void room_enrol(struct machine *machine, struct room *room, const struct person_record *person, uint8_t role,
                       uint64_t time_ms, struct effects *effects)
{
    struct member *member = member_of(machine_entity(machine, ENTITY_MEMBER, room->entity.key.a, person->user_id));
    ASSERT(!member->entity.exists);
    member->entity.exists = true;
    member->role = role;
    member->joined_ms = time_ms;
    member->joined_seq = room->head_seq;
    free(member->name);
    member->name = memory_text(person->name);
    member_put(member, effects);
    ASSERT(id_partition(person->user_id) < room->count_count);
    room->shard_counts[id_partition(person->user_id)]++;
    room->member_count++;
    ASSERT(room->member_count <= room_member_max(machine, room->type));
}

static void room_follow_member(struct machine *machine, enum followed_kind kind, const struct room *room,
                               const struct relay_change_record *change, struct effects *effects)
{
    struct followed_member_record record = {.room_id = room->entity.key.a,
                                            .user_id = change->target_id,
                                            .actor_id = change->actor_id,
                                            .time_ms = change->time_ms,
                                            .role = change->role};
    followed_member(machine, kind, &record, effects);
}

void room_add_member(struct machine *machine, struct room *room, const struct person_record *person, uint8_t role,
                     uint64_t actor_id, uint64_t time_ms, struct effects *effects)
{
    room_enrol(machine, room, person, role, time_ms, effects);
    bool grows_large = !room->large && room->member_count > machine_limit(machine, LIMIT_FANOUT_THRESHOLD);
    if (grows_large) room->large = true;
    batch_row(machine->batch, &room->entity);
    struct relay_change_record change = {.change = CHANGE_MEMBER_JOINED,
                                         .actor_id = actor_id,
                                         .target_id = person->user_id,
                                         .target_name = person->name,
                                         .role = role,
                                         .time_ms = time_ms};
    room_tell_shards(machine, room, &change, grows_large, effects);
    if (machine->followed) room_follow_member(machine, FOLLOWED_MEMBER_JOINED, room, &change, effects);
}

void room_remove_member(struct machine *machine, struct room *room, struct member *member, uint64_t actor_id,
                        uint64_t time_ms, struct effects *effects)
{
    ASSERT(member->entity.exists && member->entity.key.a == room->entity.key.a);
    uint64_t user_id = member->entity.key.b;
    member->entity.exists = false;
    struct key key = key_two(KEY_MEMBER, room->entity.key.a, user_id);
    effects_delete_row(effects, &key, &member->entity.row_hash);
    ASSERT(room->member_count > 0 && room->shard_counts[id_partition(user_id)] > 0);
    room->shard_counts[id_partition(user_id)]--;
    room->member_count--;
    if (room->member_count == 0) room->dismissed = true;
    batch_row(machine->batch, &room->entity);
    struct relay_change_record change = {.change = CHANGE_MEMBER_LEFT,
                                         .actor_id = actor_id,
                                         .target_id = user_id,
                                         .target_name = slice_text(member->name),
                                         .role = member->role,
                                         .time_ms = time_ms};
    room_tell(machine, room, &change, effects);
    if (!machine->followed) return;
    room_follow_member(machine, FOLLOWED_MEMBER_LEFT, room, &change, effects);
    if (room->member_count == 0) followed_room(machine, FOLLOWED_ROOM_DISMISSED, room->entity.key.a, actor_id, effects);
}

/* ---- a new room ---- */

/* The entity of a thing that did not exist before this command: nobody could name it in needs, so it is made and pinned
 * here. */
static struct entity *make(struct needs *made, uint32_t kind, uint64_t a, uint64_t b)
{
    entity_create(made->machine->entities, (struct entity_key){.a = a, .b = b, .kind = kind});
    struct entity *entity = needs_entity(made, kind, a, b);
    ASSERT(entity != NULL);
    return entity;
}

static struct room *room_make(struct needs *made, const struct room_draft *draft)
{
    struct machine *machine = made->machine;
    uint64_t room_id = machine_next_id(machine, ID_ROOM);
    struct room *room = room_of(make(made, ENTITY_ROOM, room_id, 0));
    room->entity.exists = true;
    room->type = draft->type;
    room->owner_id = draft->owner_id;
    room->created_ms = draft->time_ms;
    room->joinable = draft->joinable;
    room->since_join = draft->since_join;
    room->name = memory_text(draft->name);
    room->count_count = machine->options.shard_count;
    room->shard_counts = memory_alloc(room->count_count * sizeof(uint32_t));
    make(made, ENTITY_VIEW, room_id, 0);
    for (uint32_t i = 0; i < draft->people_count; i++) {
        uint64_t user_id = draft->people[i].user_id;
        make(made, ENTITY_MEMBER, room_id, user_id);
        if (machine_is_home(machine, user_id)) make(made, ENTITY_CONVERSATION, user_id, room_id);
    }
    return room;
}

static void room_welcome(struct machine *machine, struct room *room, const struct room_draft *draft, uint32_t i,
                         uint8_t role, struct effects *effects)
{
    const struct person_record *person = &draft->people[i];
    struct relay_change_record change = {.change = CHANGE_ROOM_JOINED,
                                         .actor_id = draft->actor_id,
                                         .target_id = person->user_id,
                                         .target_name = person->name,
                                         .role = role,
                                         .time_ms = draft->time_ms};
    if (draft->type == TYPE_DIRECT) {
        change.peer_id = draft->people[1 - i].user_id;
        change.peer_name = draft->people[1 - i].name;
    }
    room_tell(machine, room, &change, effects);
    if (machine->followed) room_follow_member(machine, FOLLOWED_MEMBER_JOINED, room, &change, effects);
}

struct room *room_create(struct machine *machine, const struct room_draft *draft, struct effects *effects)
{
    ASSERT(draft->people_count > 0 && (draft->type != TYPE_DIRECT || draft->people_count == DIRECT_MEMBERS));
    struct needs made;
    needs_init(&made, machine);
    struct room *room = room_make(&made, draft);
    for (uint32_t i = 0; i < draft->people_count; i++) {
        uint8_t role = draft->people[i].user_id == draft->owner_id ? ROLE_OWNER : ROLE_MEMBER;
        room_enrol(machine, room, &draft->people[i], role, draft->time_ms, effects);
    }
    room->large = draft->type == TYPE_GROUP && room->member_count > machine_limit(machine, LIMIT_FANOUT_THRESHOLD);
    batch_row(machine->batch, &room->entity);
    if (machine->followed) followed_room(machine, FOLLOWED_ROOM_CREATED, room->entity.key.a, draft->actor_id, effects);
    for (uint32_t i = 0; i < draft->people_count; i++) {
        uint8_t role = draft->people[i].user_id == draft->owner_id ? ROLE_OWNER : ROLE_MEMBER;
        room_welcome(machine, room, draft, i, role, effects);
    }
    needs_release(&made);
    return room;
}

/* ---- the timeline ---- */

static void room_relay_message(struct machine *machine, const struct room *room, const struct relay_message_record *relay,
                               struct effects *effects)
{
    struct relay_name_record name = {.room_id = relay->room_id, .seq = room->head_seq, .large = relay->large};
    uint32_t len = relay_message_record_size(relay);
    if (room->count_count == 1) return;
    writer_reset(&effects->scratch);
    relay_name_record_write(&effects->scratch, &name);
    for (uint16_t shard = 0; shard < room->count_count; shard++) {
        if (shard == machine->options.shard || room->shard_counts[shard] == 0) continue;
        uint8_t *at = stream_emit(machine->streams, shard, RELAY_MESSAGE, len, writer_slice(&effects->scratch), effects);
        struct writer entry = {.data = at, .capacity = len, .size_max = len};
        relay_message_record_write(&entry, relay);
        ASSERT(entry.len == len && !entry.failed);
    }
}

uint64_t room_message_hash(const struct message_record *message, uint64_t content)
{
    uint64_t ids = state_hash_fold(message->msg_id, message->sender_id);
    uint64_t times = state_hash_fold(message->time_ms, message->published_qos);
    return state_hash_fold(ids + times, content + state_hash_bytes(message->sender_name));
}

/* Into the open block of the timeline; the record as it stands there, until the batch ends. */
static struct slice room_store(struct machine *machine, struct room *room, const struct message_record *message, uint64_t content,
                               struct effects *effects)
{
    uint32_t len = message_record_size(message);
    uint8_t *at = batch_record(machine->batch, &room->entity, message->seq, len, room_message_hash(message, content), effects);
    struct writer record = {.data = at, .capacity = len, .size_max = len};
    message_record_write(&record, message);
    ASSERT(record.len == len && !record.failed);
    return slice_of(at, len);
}

struct message_record room_append(struct machine *machine, struct room *room, const struct message_record *draft, uint64_t content,
                                  struct effects *effects)
{
    ASSERT(room->entity.exists && !room->dismissed && room->count_count == machine->options.shard_count);
    struct message_record message = *draft;
    message.msg_id = machine_next_id(machine, ID_MESSAGE);
    message.seq = ++room->head_seq;
    const struct relay_heard_record heard = {
        .room_id = room->entity.key.a, .seq = message.seq, .sender_id = message.sender_id, .large = room->large};
    const struct relay_message_record relay = {
        .room_id = heard.room_id, .large = heard.large, .message = room_store(machine, room, &message, content, effects)};
    if (machine_entity(machine, ENTITY_VIEW, heard.room_id, 0)->exists) {
        bool applied = view_apply_message(machine, &heard, &message, effects);
        ASSERT(applied);
    }
    if (room->large && machine_limit(machine, LIMIT_LARGE_TOLD) != 0) large_tell(room, &relay, effects);
    else room_relay_message(machine, room, &relay, effects);
    if (UNLIKELY(machine->followed)) followed_message(machine, relay.room_id, message.seq, effects);
    return message;
}
