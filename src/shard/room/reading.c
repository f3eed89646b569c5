/* shard/room/reading.c - see reading.h. The newest message is the first row of a timeline: one step of a forward scan.
 */
#include "shard/room/reading.h"

enum result reading_get(struct store_view *view, const struct key *key, struct writer *value, bool *found)
{
    writer_reset(value);
    enum result result = store_get(view, key_slice(key), value);
    *found = result == RESULT_OK;
    return result == RESULT_MISSING ? RESULT_OK : result;
}

struct newest {
    struct writer *value;
    uint64_t seq;
};

static bool take_first(void *context, struct slice key, struct slice value)
{
    struct newest *newest = context;
    newest->seq = timeline_seq(key);
    if (newest->value != NULL) writer_raw(newest->value, value.data, value.len);
    return false;
}

enum result timeline_newest(struct store_view *view, uint64_t room_id, struct writer *value, uint64_t *seq)
{
    struct newest newest = {.value = value};
    if (value != NULL) writer_reset(value);
    struct key from = key_one(KEY_MESSAGE, room_id), until = key_after(KEY_MESSAGE, room_id);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_first, &newest);
    *seq = newest.seq;
    return result;
}
