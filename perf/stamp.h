/* perf/stamp.h - what the body of every message says, so that each arrival can be told from all others and timed; and the memory of
 * one reader about one sender.
 *
 *   +-----------+-------+---------+----------+---------------+-----------------+-----------------+
 *   | u32 magic | run   | group   | sender   | sequence 1, 2 | u64 intended_ns | filler …        |    little-endian
 *   +-----------+-------+---------+----------+---------------+-----------------+-----------------+ */
#ifndef PERF_STAMP_H
#define PERF_STAMP_H

#include "perf/bytes.h"

#define STAMP_MAGIC    0x504c5052u
#define STAMP_SIZE     28
#define STAMP_BODY_MAX 32768

struct stamp {
    uint32_t run, group, sender, sequence;
    uint64_t intended_ns; /* when the message should have been sent: latency counts from here */
};

/* Writes a body of `size` bytes. */
void stamp_write(const struct stamp *stamp, uint8_t *body, size_t size);

/* Whether the body says that it is one of this run: a glance. */
static inline bool stamp_is_of(struct slice body, uint32_t run)
{
    uint32_t words[2];
    if (body.len < STAMP_SIZE) return false;
    memcpy(words, body.data, sizeof words);
    return words[0] == STAMP_MAGIC && words[1] == run;
}

enum stamp_read { STAMP_OURS, STAMP_OTHER_RUN, STAMP_CORRUPT };
enum stamp_read stamp_read(struct slice body, uint32_t run, size_t size, struct stamp *stamp);

/* The sequences of one sender that one reader has seen: the next one expected and which of the 64 before it came. */
struct arrivals {
    uint32_t next;
    uint64_t seen; /* bit i: next - 1 - i */
};
enum arrival { ARRIVAL_IN_ORDER, ARRIVAL_LATE, ARRIVAL_TWICE };
enum arrival arrivals_add(struct arrivals *arrivals, uint32_t sequence);

#endif
