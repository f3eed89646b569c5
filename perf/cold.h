/* perf/cold.h - many rooms that nobody writes to any more, and people who read in them now and then: what a store that has lived for
 * years holds beside the rooms that are busy.
 * Owns:    the sessions of its people, who are none of the traffic's. */
#ifndef PERF_COLD_H
#define PERF_COLD_H

#include "perf/histogram.h"
#include "perf/workload.h"

struct cold;

/* `rooms` conversations of COLD_MESSAGES each, between as few people as that takes, who come after the first `users_before` of the
 * data directory. The messages of one room are written far apart. */
#define COLD_MESSAGES 4
struct cold *cold_make(struct bench *bench, uint32_t rooms, uint32_t users_before, uint32_t body_bytes);
void cold_destroy(struct cold *cold);
/* Asks for the newest page of a room, drawn among all; the answer is timed. */
void cold_read(struct cold *cold);
/* Of the answers since the last time; empties it into `out`. */
void cold_take_latencies(struct cold *cold, struct histogram *out);
uint64_t cold_faults(const struct cold *cold); /* answers that were refused for good, or had not the messages they should */
/* So many people know each other in so many pairs, at least. */
uint32_t cold_people(uint32_t rooms);

#endif
