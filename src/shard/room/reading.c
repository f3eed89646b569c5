/* shard/room/reading.c - see reading.h. */
#include "shard/room/reading.h"

enum result reading_get(struct store_view *view, const struct key *key, struct writer *value, bool *found)
{
    writer_reset(value);
    enum result result = store_get(view, key_slice(key), value);
    *found = result == RESULT_OK;
    return result == RESULT_MISSING ? RESULT_OK : result;
}
