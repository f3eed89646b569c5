/* shard/domain/room/conversation.c - see conversation.h. Made and deleted by room changes (room/view.c), moved by mark_read.
 */
#include "shard/domain/room/conversation.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "shard/engine/reading.h"

static enum result conversation_load(struct entity *fresh, struct store_view *view)
{
    struct conversation *conversation = conversation_of(fresh);
    struct key key = key_two(KEY_CONVERSATION, fresh->key.a, fresh->key.b);
    struct writer value;
    writer_init(&value, 0);
    enum result result = entity_load_row(fresh, view, &key, &value);
    if (result == RESULT_OK && fresh->exists) {
        struct conversation_record record;
        struct cursor c = cursor_of(writer_slice(&value));
        if (conversation_record_read(&record, &c) && cursor_done(&c)) {
            conversation->joined_seq = record.joined_seq;
            conversation->read_seq = record.read_seq;
            conversation->peer_id = record.peer_id;
            conversation->peer_name = record.peer_id == 0 ? NULL : memory_text(record.peer_name);
        } else {
            result = RESULT_CORRUPT;
        }
    }
    writer_deinit(&value);
    return result;
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
                                              .load = conversation_load,
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
