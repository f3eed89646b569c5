/* shard/room/reading.c - see reading.h. A row is counted byte by byte: what is text in it and what is not is not known here. */
#include "shard/room/reading.h"

#define ROW_JSON_BYTES 512u /* names and numbers of one row, nested as they are */
#define ESCAPED_BYTES  5u   /* that \u0001 has more than its character */

static uint64_t json_cost(const uint8_t *bytes, size_t len)
{
    uint64_t escaped = 0;
    for (size_t i = 0; i < len; i++) escaped += bytes[i] < 0x20 ? ESCAPED_BYTES : bytes[i] == '"' || bytes[i] == '\\';
    return ROW_JSON_BYTES + (len + 2) / 3 * 4 + escaped;
}

bool page_meter_full(struct page_meter *meter, const struct writer *reply)
{
    if (reply->len > meter->counted) meter->cost += json_cost(reply->data + meter->counted, reply->len - meter->counted);
    meter->counted = reply->len;
    return meter->cost > meter->cost_max;
}

enum result reading_get(struct store_view *view, const struct key *key, struct writer *value, bool *found)
{
    writer_reset(value);
    enum result result = store_get(view, key_slice(key), value);
    *found = result == RESULT_OK;
    return result == RESULT_MISSING ? RESULT_OK : result;
}
