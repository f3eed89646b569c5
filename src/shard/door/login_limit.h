/* shard/door/login_limit.h - how often one address may try to log in, register or refresh on one worker.
 * Owns:    a fixed table of token buckets; addresses whose hashes meet share one.
 * Thread:  the worker.            Depends: shard/engine/rate_limit.h.   Start at: shard/door/door.h
 * Slows the guessing of passwords and the making of accounts down before argon2id or a shard does any work. IPv6 addresses count by
 * their /64, which is what one customer has. */
#ifndef SHARD_LOGIN_LIMIT_H
#define SHARD_LOGIN_LIMIT_H

#include "core/result.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define LOGIN_LIMIT_BUCKETS 16384 /* 128 KiB per worker */

struct login_limit;
/* The bucket of an address, below LOGIN_LIMIT_BUCKETS: also whose share of the password threads a login takes. */
uint16_t login_limit_class(const struct in6_addr *peer);
/* per_second 0: no limit. */
NODISCARD enum result login_limit_create(struct login_limit **out, uint32_t per_second, uint32_t burst);
void login_limit_destroy(struct login_limit *limit);
/* Takes one attempt of `peer` (IPv4 as a mapped address). False: too many; *retry_after_ms says how long to wait. */
bool login_limit_take(struct login_limit *limit, const struct in6_addr *peer, uint64_t now_ms, uint32_t *retry_after_ms);

#endif
