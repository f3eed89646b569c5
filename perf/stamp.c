/* perf/stamp.c - see the header. A sequence that skips some is in order: those it skipped are late when they come, and lost when
 * they do not, which the counts at the end show. */
#include "perf/stamp.h"
#include <endian.h>

#define FILLER 'r'

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stamps are copied as they are");

void stamp_write(const struct stamp *stamp, uint8_t *body, size_t size)
{
    uint32_t words[5] = {STAMP_MAGIC, stamp->run, stamp->group, stamp->sender, stamp->sequence};
    memcpy(body, words, sizeof words);
    memcpy(body + sizeof words, &stamp->intended_ns, sizeof stamp->intended_ns);
    memset(body + STAMP_SIZE, FILLER, size - STAMP_SIZE);
}

static bool is_filler(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == FILLER && memcmp(bytes, bytes + 1, len - 1) == 0);
}

enum stamp_read stamp_read(struct slice body, uint32_t run, size_t size, struct stamp *stamp)
{
    uint32_t words[5];
    if (body.len < STAMP_SIZE) return STAMP_OTHER_RUN;
    memcpy(words, body.data, sizeof words);
    if (words[0] != STAMP_MAGIC || words[1] != run) return STAMP_OTHER_RUN;
    *stamp = (struct stamp){words[1], words[2], words[3], words[4], 0};
    memcpy(&stamp->intended_ns, body.data + sizeof words, sizeof stamp->intended_ns);
    return body.len == size && is_filler(body.data + STAMP_SIZE, size - STAMP_SIZE) ? STAMP_OURS : STAMP_CORRUPT;
}

enum arrival arrivals_add(struct arrivals *arrivals, uint32_t sequence)
{
    if (sequence >= arrivals->next) {
        uint32_t steps = sequence - arrivals->next + 1;
        arrivals->seen = (steps < 64 ? arrivals->seen << steps : 0) | 1;
        arrivals->next = sequence + 1;
        return ARRIVAL_IN_ORDER;
    }
    uint32_t back = arrivals->next - 1 - sequence;
    if (back >= 64 || (arrivals->seen >> back & 1) != 0) return ARRIVAL_TWICE;
    arrivals->seen |= 1ull << back;
    return ARRIVAL_LATE;
}
