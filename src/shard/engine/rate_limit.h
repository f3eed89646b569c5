/* shard/engine/rate_limit.h - token buckets of one word each: so many a second on average, so many at once.
 * Owns:    nothing: a bucket is a uint64_t of its holder; 0 is a full one.
 * Thread:  the holder's.          Depends: nothing.              Start at: shard/engine/shard.h */
#ifndef SHARD_RATE_LIMIT_H
#define SHARD_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* Takes one token. False: none is left, nothing changed, and *retry_after_ms (may be NULL; at least 1) is when there will be one.
 * per_second 0: no limit. A burst of 0 counts as 1. */
bool rate_limit_take(uint64_t *bucket, uint64_t now_ms, uint32_t per_second, uint32_t burst, uint32_t *retry_after_ms);

#endif
