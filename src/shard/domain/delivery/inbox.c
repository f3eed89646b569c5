/* shard/domain/delivery/inbox.c - loading the light part of a user and appending to their stream.
 * The head is the last stored key of the stream: an append adds to the open block of events and writes no inbox record.
 * Entries that are not kept any more are invisible to sync; letting go of their rows is garbage collection, and rare. */
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/delivery/events.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"
#include "shard/engine/reading.h"

void inbox_set_names(struct inbox *inbox, struct slice name, struct slice display_name)
{
    char *former = inbox->name; /* what is given may stand in it */
    inbox->name = memory_alloc((size_t)name.len + 1 + display_name.len + 1);
    inbox->display_name = inbox->name + name.len + 1;
    if (name.len > 0) memcpy(inbox->name, name.data, name.len);
    if (display_name.len > 0) memcpy(inbox->display_name, display_name.data, display_name.len);
    free(former);
}

static enum result load_names(struct inbox *inbox, struct store_view *view, struct writer *value)
{
    struct key key = key_one(KEY_ACCOUNT, inbox->entity.key.a);
    enum result result = reading_get(view, &key, value, &inbox->entity.exists);
    if (result != RESULT_OK || !inbox->entity.exists) return result;
    struct account_record record;
    struct cursor c = cursor_of(writer_slice(value));
    if (!account_record_read(&record, &c) || !cursor_done(&c)) return RESULT_CORRUPT;
    inbox_set_names(inbox, record.name, record.display_name);
    return RESULT_OK;
}

struct direct_scan {
    uint32_t count;
    bool bad;
};

static bool count_direct(void *context, struct slice key, struct slice value)
{
    struct direct_scan *scan = context;
    struct conversation_record record;
    struct cursor c = cursor_of(value);
    (void)key;
    scan->bad = !conversation_record_read(&record, &c);
    scan->count += !scan->bad && record.peer_id != 0;
    return !scan->bad;
}

/* Of a record written before they were counted. */
static enum result count_directs(struct inbox *inbox, struct store_view *view)
{
    struct direct_scan scan = {0};
    struct key from = key_one(KEY_CONVERSATION, inbox->entity.key.a), until = key_after(KEY_CONVERSATION, inbox->entity.key.a);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), count_direct, &scan);
    inbox->direct_count = scan.count;
    return result == RESULT_OK && scan.bad ? RESULT_CORRUPT : result;
}

#define INCARNATION_SIZE 12u

static bool load_incarnations(struct inbox *inbox, struct slice list)
{
    inbox->incarnation_count = list.len / INCARNATION_SIZE;
    if (list.len % INCARNATION_SIZE != 0 || inbox->incarnation_count > INBOX_INCARNATIONS_MAX) return false;
    if (list.len == 0) return true;
    inbox->incarnations = memory_alloc(inbox->incarnation_count * sizeof *inbox->incarnations);
    struct cursor c = cursor_of(list);
    for (uint32_t i = 0; i < inbox->incarnation_count; i++) {
        uint32_t ordinal = cursor_u32(&c);
        inbox->incarnations[i] = (struct inbox_incarnation){.ordinal = ordinal, .first = cursor_u64(&c)};
        inbox->incarnation = ordinal;
    }
    return cursor_done(&c);
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
    inbox->entity.row_hash = state_hash_row(key_slice(&key), writer_slice(value));
    inbox->room_count = record.room_count;
    inbox->large_count = record.large_count;
    inbox->last_seen_ms = record.last_seen_ms;
    inbox->direct_count = record.direct_count;
    inbox->unanswered_count = record.unanswered_count;
    if (!load_incarnations(inbox, record.incarnations)) return RESULT_CORRUPT;
    return record.counted != 0 ? RESULT_OK : count_directs(inbox, view);
}

static enum result inbox_load(struct entity *fresh, struct store_view *view)
{
    struct inbox *inbox = inbox_of(fresh);
    struct writer value;
    writer_init(&value, 0);
    enum result result = load_names(inbox, view, &value);
    if (result == RESULT_OK && fresh->exists) result = load_state(inbox, view, &value);
    if (result == RESULT_OK && fresh->exists) result = events_head(view, fresh->key.a, &value, &inbox->head);
    writer_deinit(&value);
    return result;
}

static void inbox_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    struct inbox *inbox = inbox_of(entity);
    ASSERT(inbox->sessions == NULL && inbox->watchers == NULL); /* each pins it */
    free(inbox->name);
    free(inbox->incarnations);
}

static void inbox_write(struct entity *entity, struct effects *effects)
{
    const struct inbox *inbox = inbox_of(entity);
    struct key key = key_one(KEY_INBOX, entity->key.a);
    uint8_t list[INBOX_INCARNATIONS_MAX * INCARNATION_SIZE], *at = list;
    for (uint32_t i = 0; i < inbox->incarnation_count; i++)
        at = record_put_u64(record_put_u32(at, inbox->incarnations[i].ordinal), inbox->incarnations[i].first);
    struct inbox_record record = {.room_count = inbox->room_count,
                                  .large_count = inbox->large_count,
                                  .last_seen_ms = inbox->last_seen_ms,
                                  .counted = 1,
                                  .direct_count = inbox->direct_count,
                                  .unanswered_count = inbox->unanswered_count,
                                  .incarnations = slice_of(list, (uint32_t)(at - list))};
    EFFECTS_PUT_ROW(effects, &key, inbox, &record, &entity->row_hash);
}

const struct entity_type inbox_type = {.kind = ENTITY_INBOX,
                                       .block_key = KEY_EVENT,
                                       .name = "inbox",
                                       .size_bytes = sizeof(struct inbox),
                                       .load = inbox_load,
                                       .drop = inbox_drop,
                                       .write = inbox_write};

/* Rows are keyed by their last entry, so one that reaches into the window stays. */
static void inbox_trim(const struct machine *machine, struct inbox *inbox, struct effects *effects)
{
    uint64_t user_id = inbox->entity.key.a, kept = machine_limit(machine, LIMIT_INBOX_EVENTS_MAX);
    if (inbox->head <= inbox->trimmed + kept) return;
    uint64_t kept_first = inbox->head - kept + 1;
    struct key until = key_two(KEY_EVENT, user_id, kept_first);
    effects_trim(effects, &until);
    inbox->trimmed = kept_first;
}

/* Once for a user and a start of the shard. */
static void inbox_note_incarnation(struct machine *machine, struct inbox *inbox)
{
    if (inbox->incarnation_count == INBOX_INCARNATIONS_MAX) {
        inbox->incarnation_count--;
        memmove(inbox->incarnations, inbox->incarnations + 1, inbox->incarnation_count * sizeof *inbox->incarnations);
    }
    inbox->incarnations = memory_resize(inbox->incarnations, (inbox->incarnation_count + 1) * sizeof *inbox->incarnations);
    inbox->incarnation = machine->incarnations.newest;
    inbox->incarnations[inbox->incarnation_count++] =
        (struct inbox_incarnation){.ordinal = machine->incarnations.newest, .first = inbox->head};
    batch_row(machine->batch, &inbox->entity);
}

/* True: what was given out up to incarnation `ordinal` is known to be in this stream up to *last. */
static bool inbox_last_of(const struct inbox *inbox, uint32_t ordinal, uint64_t *last)
{
    *last = inbox->head;
    for (uint32_t i = 0; i < inbox->incarnation_count; i++) {
        if (inbox->incarnations[i].ordinal <= ordinal) continue;
        *last = inbox->incarnations[i].first - 1;
        return i > 0 || inbox->incarnation_count < INBOX_INCARNATIONS_MAX; /* else there may have been others in between */
    }
    return true;
}

enum inbox_answer inbox_judge(const struct machine *machine, const struct inbox *inbox, uint64_t sync_key, const struct epoch *epoch)
{
    uint64_t last = inbox->head;
    if (sync_key > 0 && epoch != NULL && (!epoch_is_known(machine, *epoch) || !inbox_last_of(inbox, epoch->ordinal, &last)))
        return INBOX_OTHER_STREAM;
    if (sync_key > last) return INBOX_OTHER_STREAM;
    return sync_key + 1 < inbox_first_kept(machine, inbox) ? INBOX_TOO_OLD : INBOX_GOES_ON;
}

void inbox_append(struct machine *machine, struct inbox *inbox, struct event_bytes event, struct slice value, uint64_t content,
                  struct effects *effects)
{
    uint64_t kept = machine_limit(machine, LIMIT_INBOX_EVENTS_MAX), step = kept < INBOX_TRIM_EVENTS ? kept : INBOX_TRIM_EVENTS;
    inbox->head++;
    if (inbox->incarnation != machine->incarnations.newest) inbox_note_incarnation(machine, inbox);
    memcpy(batch_record(machine->batch, &inbox->entity, inbox->head, value.len, content, effects), value.data, value.len);
    if (inbox->head % step == 0) inbox_trim(machine, inbox, effects);
    push_event(effects, inbox, inbox->head, event);
}
