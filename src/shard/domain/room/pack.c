/* shard/domain/room/pack.c - messages, rooms and changes as the contract has them, written straight from records.
 * A message is packed once per shard and an event once per shard, however many users get it; protobuf-c's structs would
 * cost five times as much. Field numbers are those of schemas/ringpost/v1/ringpost.proto; the unit test unpacks with
 * protobuf-c. */
#include "api/wire.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/view.h"

void message_pack(struct writer *out, uint64_t room_id, const struct message_record *message)
{
    wire_write_u64(out, FIELD_MESSAGE_MSG_ID, message->msg_id);
    wire_write_u64(out, FIELD_MESSAGE_ROOM_ID, room_id);
    wire_write_u64(out, FIELD_MESSAGE_SEQ, message->seq);
    wire_write_u64(out, FIELD_MESSAGE_SENDER_ID, message->sender_id);
    wire_write_bytes(out, FIELD_MESSAGE_SENDER_NAME, message->sender_name);
    wire_write_u64(out, FIELD_MESSAGE_TIME_MS, message->time_ms);
    wire_write_u64(out, FIELD_MESSAGE_KIND, message->kind);
    wire_write_bytes(out, FIELD_MESSAGE_BODY, message->body);
    wire_write_bytes(out, FIELD_MESSAGE_CLIENT_MSG_ID, message->client_msg_id);
    wire_write_bytes(out, FIELD_MESSAGE_PROPERTIES, message->properties);
    wire_write_u64(out, FIELD_MESSAGE_PUBLISHED_QOS, message->published_qos);
}

void snapshot_pack(struct writer *out, const struct snapshot_record *snapshot, uint64_t head_seq)
{
    wire_write_u64(out, FIELD_ROOM_ROOM_ID, snapshot->room_id);
    wire_write_u64(out, FIELD_ROOM_TYPE, snapshot->type);
    wire_write_bytes(out, FIELD_ROOM_NAME, snapshot->name);
    wire_write_u64(out, FIELD_ROOM_OWNER_ID, snapshot->owner_id);
    wire_write_u64(out, FIELD_ROOM_MEMBER_COUNT, snapshot->member_count);
    wire_write_u64(out, FIELD_ROOM_MEMBER_MAX, snapshot->member_max);
    wire_write_u64(out, FIELD_ROOM_HEAD_SEQ, head_seq);
    wire_write_u64(out, FIELD_ROOM_CREATED_MS, snapshot->created_ms);
    wire_write_u64(out, FIELD_ROOM_DISMISSED, snapshot->dismissed);
    wire_write_u64(out, FIELD_ROOM_JOINABLE, snapshot->joinable);
    wire_write_u64(out, FIELD_ROOM_LARGE, snapshot->large);
    wire_write_u64(out, FIELD_ROOM_HISTORY, room_history(snapshot->since_join != 0));
}

void view_pack_change(struct writer *out, const struct relay_change_record *change, uint64_t read_seq)
{
    struct snapshot_record snapshot;
    struct cursor c = cursor_of(change->snapshot);
    bool read = snapshot_record_read(&snapshot, &c);
    ASSERT(read);
    wire_write_u64(out, FIELD_ROOM_CHANGE_CHANGE, change->change);
    size_t room = wire_message_begin(out, FIELD_ROOM_CHANGE_ROOM);
    snapshot_pack(out, &snapshot, change->head_seq);
    wire_nest_end(out, room);
    wire_write_u64(out, FIELD_ROOM_CHANGE_ACTOR_ID, change->actor_id);
    wire_write_u64(out, FIELD_ROOM_CHANGE_TARGET_ID, change->target_id);
    wire_write_bytes(out, FIELD_ROOM_CHANGE_TARGET_NAME, change->target_name);
    wire_write_u64(out, FIELD_ROOM_CHANGE_ROLE, change->role);
    wire_write_u64(out, FIELD_ROOM_CHANGE_TIME_MS, change->time_ms);
    wire_write_u64(out, FIELD_ROOM_CHANGE_PEER_ID, change->peer_id);
    wire_write_bytes(out, FIELD_ROOM_CHANGE_PEER_NAME, change->peer_name);
    wire_write_u64(out, FIELD_ROOM_CHANGE_READ_SEQ, read_seq);
}

void event_pack_message(struct writer *out, uint64_t room_id, const struct message_record *message)
{
    size_t begin = wire_message_begin(out, FIELD_EVENT_MESSAGE);
    message_pack(out, room_id, message);
    wire_nest_end(out, begin);
}

void event_pack_change(struct writer *out, const struct relay_change_record *change)
{
    size_t begin = wire_message_begin(out, FIELD_EVENT_ROOM);
    view_pack_change(out, change, change->change == CHANGE_ROOM_JOINED ? change->head_seq : 0);
    wire_nest_end(out, begin);
}

void event_pack_device(struct writer *out, const struct event_device_record *device)
{
    size_t begin = wire_message_begin(out, FIELD_EVENT_DEVICE);
    wire_write_bytes(out, FIELD_DEVICE_END_DEVICE_ID, device->device_id);
    wire_write_bytes(out, FIELD_DEVICE_END_NAME, device->name);
    wire_write_bytes(out, FIELD_DEVICE_END_FOR_DEVICE_ID, device->for_device_id);
    wire_nest_end(out, begin);
}

void event_pack_read(struct writer *out, const struct event_read_record *read)
{
    size_t begin = wire_message_begin(out, FIELD_EVENT_READ);
    wire_write_u64(out, FIELD_READ_MARK_ROOM_ID, read->room_id);
    wire_write_u64(out, FIELD_READ_MARK_READ_SEQ, read->read_seq);
    wire_nest_end(out, begin);
}
