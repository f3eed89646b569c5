/* shard/engine/reading.c - see reading.h. A row is counted byte by byte: what is text in it and what is not is not known here. Nearly every
 * page is so far from its end that it fits whatever its bytes are; they are looked at only where that is not so. */
#include "shard/engine/reading.h"

#define ROW_JSON_BYTES 512u /* names and numbers of one row, nested as they are */
#define ESCAPED_BYTES  5u   /* that \u0001 has more than its character */
#define VECTOR_BYTES   48u

static uint64_t base64_bytes(size_t len) { return (len + 2) / 3 * 4; }

static uint8_t escaped_in(const uint8_t *bytes, size_t len)
{
    uint8_t escaped = 0;
    for (size_t i = 0; i < len; i++)
        escaped = (uint8_t)(escaped + (bytes[i] < 0x20 ? ESCAPED_BYTES : 0) + (bytes[i] == '"') + (bytes[i] == '\\'));
    return escaped;
}

/* By pieces of one length, whose sum fits a byte: the compiler makes vectors of that. */
static uint64_t escaped_bytes(const uint8_t *bytes, size_t len)
{
    uint64_t escaped = 0;
    for (; len >= VECTOR_BYTES; bytes += VECTOR_BYTES, len -= VECTOR_BYTES) escaped += escaped_in(bytes, VECTOR_BYTES);
    return escaped + escaped_in(bytes, len);
}

static void count_row(struct page_meter *meter, const uint8_t *bytes, size_t len)
{
    meter->cost += ROW_JSON_BYTES + base64_bytes(len) + (meter->exact ? escaped_bytes(bytes, len) : len * ESCAPED_BYTES);
}

bool page_meter_full(struct page_meter *meter, const struct writer *reply)
{
    if (reply->len > meter->counted) count_row(meter, reply->data + meter->counted, reply->len - meter->counted);
    meter->counted = reply->len;
    if (meter->cost > meter->cost_max && !meter->exact) {
        meter->exact = true;
        meter->cost -= reply->len * ESCAPED_BYTES - escaped_bytes(reply->data, reply->len);
    }
    return meter->cost > meter->cost_max;
}

enum result reading_get(struct store_view *view, const struct key *key, struct writer *value, bool *found)
{
    writer_reset(value);
    enum result result = store_get(view, key_slice(key), value);
    *found = result == RESULT_OK;
    return result == RESULT_MISSING ? RESULT_OK : result;
}
