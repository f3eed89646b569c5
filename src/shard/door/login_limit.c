/* shard/door/login_limit.c - one bucket per hashed address. */
#include "shard/door/login_limit.h"
#include "shard/engine/memory.h"
#include "shard/engine/rate_limit.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define PREFIX_V6_BYTES 8 /* a /64 */

struct login_limit {
    uint32_t per_second, burst;
    uint64_t buckets[LOGIN_LIMIT_BUCKETS];
};

enum result login_limit_create(struct login_limit **out, uint32_t per_second, uint32_t burst)
{
    *out = memory_alloc(sizeof **out);
    (*out)->per_second = per_second;
    (*out)->burst = burst;
    return RESULT_OK;
}

void login_limit_destroy(struct login_limit *limit) { free(limit); }

uint16_t login_limit_class(const struct in6_addr *peer)
{
    size_t significant = IN6_IS_ADDR_V4MAPPED(peer) ? sizeof *peer : PREFIX_V6_BYTES;
    return (uint16_t)(XXH3_64bits(peer, significant) % LOGIN_LIMIT_BUCKETS);
}

bool login_limit_take(struct login_limit *limit, const struct in6_addr *peer, uint64_t now_ms, uint32_t *retry_after_ms)
{
    uint64_t *bucket = &limit->buckets[login_limit_class(peer)];
    return rate_limit_take(bucket, now_ms, limit->per_second, limit->burst, retry_after_ms);
}
