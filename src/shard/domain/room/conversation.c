/* shard/domain/room/conversation.c - see conversation.h. Made and deleted by room changes (room/view.c), moved by mark_read.
 */
#include "shard/domain/room/conversation.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "shard/engine/reading.h"

static bool conversation_read(struct entity *fresh, struct slice value)
{
    struct conversation *conversation = conversation_of(fresh);
    struct conversation_record record;
    if (!conversation_record_is(&record, value)) return false;
    conversation->joined_seq = record.joined_seq;
    conversation->read_seq = record.read_seq;
    conversation->peer_id = record.peer_id;
    conversation->peer_name = record.peer_id == 0 ? NULL : memory_text(record.peer_name);
    return true;
}

static void conversation_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    free(conversation_of(entity)->peer_name);
}

static void conversation_write(struct entity *entity, struct effects *effects)
{
    const struct conversation *conversation = conversation_of(entity);
    struct key key = key_two(KEY_CONVERSATION, entity->key.a, entity->key.b);
    if (!entity->exists) {
        effects_delete_row(effects, &key, &entity->row_hash);
        return;
    }
    struct conversation_record record = {
        .joined_seq = conversation->joined_seq,
        .read_seq = conversation->read_seq,
        .peer_id = conversation->peer_id,
        .peer_name = conversation->peer_name == NULL ? SLICE_EMPTY : slice_text(conversation->peer_name)};
    EFFECTS_PUT_ROW(effects, &key, conversation, &record, &entity->row_hash);
}

const struct entity_type conversation_type = {.kind = ENTITY_CONVERSATION,
                                              .name = "conversation",
                                              .size_bytes = sizeof(struct conversation),
                                              .row_key = KEY_CONVERSATION,
                                              .row_of_two = true,
                                              .read = conversation_read,
                                              .drop = conversation_drop,
                                              .write = conversation_write};

enum result conversation_row_read(struct conversation_row *row, struct store_view *view, uint16_t shard, struct slice key,
                                  struct slice value, struct writer *scratch)
{
    row->room_id = key_u64_at(key, 9);
    struct cursor c = cursor_of(value);
    if (!conversation_record_read(&row->conversation, &c)) return RESULT_CORRUPT;
    struct key view_key = key_one(KEY_VIEW, row->room_id);
    bool found;
    uint64_t newest = 0;
    enum result result = reading_get(view, &view_key, scratch, &found);
    if (result != RESULT_OK) return result;
    struct view_value stored;
    if (!found || !view_value_read(writer_slice(scratch), &stored)) return RESULT_CORRUPT;
    row->snapshot = stored.snapshot;
    row->head_seq = stored.head_seq;
    if (id_partition(row->room_id) != shard) return RESULT_OK;
    result = timeline_newest(view, row->room_id, NULL, &newest);
    if (newest > row->head_seq) row->head_seq = newest;
    return result;
}
