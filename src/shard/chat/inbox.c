/* shard/chat/inbox.c - loading the light part of a user and appending to their stream.
 * The head is the last stored key of the stream: an append writes one row and no inbox record. */
#include "shard/chat/inbox.h"
#include "shard/memory.h"
#include "shard/records.h"
#include "shard/room/reading.h"

static enum result load_names(struct inbox *inbox, struct store_view *view, struct writer *value)
{
    struct key key = key_one(KEY_ACCOUNT, inbox->entity.key.a);
    enum result result = reading_get(view, &key, value, &inbox->entity.exists);
    if (result != RESULT_OK || !inbox->entity.exists) return result;
    struct account_record record;
    struct cursor c = cursor_of(writer_slice(value));
    if (!account_record_read(&record, &c) || !cursor_done(&c)) return RESULT_CORRUPT;
    inbox->name = memory_text(record.name);
    inbox->display_name = memory_text(record.display_name);
    return RESULT_OK;
}

static enum result load_state(struct inbox *inbox, struct store_view *view, struct writer *value)
{
    struct key key = key_one(KEY_INBOX, inbox->entity.key.a);
    bool found;
    enum result result = reading_get(view, &key, value, &found);
    if (result != RESULT_OK || !found) return result;
    struct inbox_record record;
    struct cursor c = cursor_of(writer_slice(value));
    if (!inbox_record_read(&record, &c) || !cursor_done(&c)) return RESULT_CORRUPT;
    inbox->room_count = record.room_count;
    inbox->large_count = record.large_count;
    inbox->last_seen_ms = record.last_seen_ms;
    return RESULT_OK;
}

static enum result load_head(struct inbox *inbox, struct store_view *view, struct writer *last)
{
    struct key from = key_one(KEY_EVENT, inbox->entity.key.a), until = key_after(KEY_EVENT, inbox->entity.key.a);
    writer_reset(last);
    enum result result = store_last(view, key_slice(&from), key_slice(&until), last, NULL);
    if (result == RESULT_MISSING) return RESULT_OK;
    if (result == RESULT_OK) inbox->head = key_u64_at(writer_slice(last), 9);
    return result;
}

static enum result inbox_load(struct entity *fresh, struct store_view *view)
{
    struct inbox *inbox = inbox_of(fresh);
    struct writer value;
    writer_init(&value, 0);
    enum result result = load_names(inbox, view, &value);
    if (result == RESULT_OK && fresh->exists) result = load_state(inbox, view, &value);
    if (result == RESULT_OK && fresh->exists) result = load_head(inbox, view, &value);
    writer_deinit(&value);
    return result;
}

static void inbox_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    struct inbox *inbox = inbox_of(entity);
    ASSERT(inbox->sessions == NULL && inbox->watchers == NULL); /* each pins it */
    free(inbox->name);
    free(inbox->display_name);
}

const struct entity_type inbox_type = {
    .name = "inbox", .size_bytes = sizeof(struct inbox), .load = inbox_load, .drop = inbox_drop};

void inbox_append(struct machine *machine, struct inbox *inbox, uint32_t event, struct slice value,
                  struct effects *effects)
{
    uint64_t user_id = inbox->entity.key.a, kept = machine->options.inbox_events_max;
    struct key key = key_two(KEY_EVENT, user_id, ++inbox->head);
    effects_put(effects, &key, value);
    if (inbox->head > kept) {
        key = key_two(KEY_EVENT, user_id, inbox->head - kept);
        effects_delete(effects, &key);
    }
    effects_push(effects, inbox, inbox->head, event);
}

void inbox_put(const struct inbox *inbox, struct effects *effects)
{
    struct key key = key_one(KEY_INBOX, inbox->entity.key.a);
    struct inbox_record record = {
        .room_count = inbox->room_count, .large_count = inbox->large_count, .last_seen_ms = inbox->last_seen_ms};
    EFFECTS_PUT(effects, &key, inbox, &record);
}
