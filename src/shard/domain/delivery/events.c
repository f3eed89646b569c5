/* shard/domain/delivery/events.c - see events.h. The key of a block is its last sync_key, so the first key from sync_key on is the block that
 * holds it, and the head of a stream is its last key. */
#include "shard/domain/delivery/events.h"

struct events_scan {
    events_each *each;
    void *context;
    uint64_t first_key;
    bool bad;
};

static bool take_block(void *context, struct slice key, struct slice value)
{
    struct events_scan *scan = context;
    struct block block;
    uint64_t last = key_u64_at(key, 9);
    scan->bad = !block_open(&block, value) || block.count > last;
    if (scan->bad) return false;
    struct slice event;
    uint64_t sync_key = last - block.count;
    while (block_next(&block, &event))
        if (++sync_key >= scan->first_key && !scan->each(scan->context, sync_key, event)) return false;
    scan->bad = block.records.bad || sync_key != last;
    return !scan->bad;
}

enum result events_scan(struct store_view *view, uint64_t user_id, uint64_t first_key, events_each *each, void *context)
{
    struct events_scan scan = {.each = each, .context = context, .first_key = first_key};
    struct key from = key_two(KEY_EVENT, user_id, first_key), until = key_after(KEY_EVENT, user_id);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_block, &scan);
    return result == RESULT_OK && scan.bad ? RESULT_CORRUPT : result;
}

enum result events_head(struct store_view *view, uint64_t user_id, struct writer *scratch, uint64_t *head)
{
    struct key from = key_one(KEY_EVENT, user_id), until = key_after(KEY_EVENT, user_id);
    writer_reset(scratch);
    *head = 0;
    enum result result = store_last(view, key_slice(&from), key_slice(&until), scratch, NULL);
    if (result == RESULT_OK) *head = key_u64_at(writer_slice(scratch), 9);
    return result == RESULT_MISSING ? RESULT_OK : result;
}
