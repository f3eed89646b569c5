/* shard/engine/rate_limit.c - the buckets of rate_limit.h.
 * A bucket holds one time in microseconds: when it will be full again. Each token taken moves that time by the interval between two
 * tokens; none is left when it stands a whole burst ahead of now. Times are of a monotonic clock and compared by their difference, so
 * neither a wrapped clock nor a pause of any length matters; a time farther ahead than any bucket can be was never put there, and
 * the bucket starts full. */
#include "shard/engine/rate_limit.h"
#include <stddef.h>

#define SECOND_US UINT64_C(1000000)
#define MS_US UINT64_C(1000)

bool rate_limit_take(uint64_t *bucket, uint64_t now_ms, uint32_t per_second, uint32_t burst, uint32_t *retry_after_ms)
{
    if (per_second == 0) return true;
    uint64_t interval_us = SECOND_US / per_second;
    uint64_t window_us = interval_us * (burst == 0 ? 1 : burst);
    uint64_t now_us = now_ms * MS_US;
    int64_t ahead = (int64_t)(*bucket - now_us);
    bool is_full = *bucket == 0 || ahead < 0 || (uint64_t)ahead > window_us;
    uint64_t ahead_us = is_full ? 0 : (uint64_t)ahead;
    if (ahead_us + interval_us > window_us) {
        uint64_t wait_us = ahead_us + interval_us - window_us;
        if (retry_after_ms != NULL) *retry_after_ms = (uint32_t)((wait_us + MS_US - 1) / MS_US);
        return false;
    }
    *bucket = now_us + ahead_us + interval_us;
    return true;
}
