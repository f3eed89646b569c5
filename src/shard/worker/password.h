/* shard/worker/password.h - argon2id off the workers: slow on purpose and greedy for memory, so done by a few threads, one hash at a time each.
 * Owns:    the threads, and per thread and worker one ring there and one back. Jobs belong to their submitters, pinned until done.
 * Thread:  create, destroy: whoever starts the process. The functions with a `worker`: that worker alone.
 * Depends: core/, api/token.h, shard/domain/account/hashing.h (struct password_job).  Start at: shard/domain/account/hashing.h
 * Limit:   queue_max jobs of all workers together are waiting, being hashed or not yet collected, and queue_per_address_max of one class of
 *          addresses per worker; beyond it BUSY. So one address cannot take every place.
 * The threads run at the lowest ordinary priority (nice 19, batch): a flood of logins takes what the workers leave over. */
#ifndef SHARD_PASSWORD_H
#define SHARD_PASSWORD_H

#include "shard/domain/account/hashing.h"

struct doorbell;
struct password_pool;

struct password_pool_options {
    uint32_t workers;
    uint32_t threads;      /* each hashes one password at a time and takes memory_bytes for it */
    uint32_t queue_max;
    uint32_t queue_per_address_max;
    uint32_t passes;       /* argon2id; of new hashes (a stored hash says its own) */
    uint64_t memory_bytes;
};

/* Starts the threads; they inherit the caller's CPU mask and signal mask. NOMEM or what the thread's creation said. */
NODISCARD enum result password_pool_create(struct password_pool **out, const struct password_pool_options *options);
/* Ends the threads after the hash each is at. Jobs not collected are forgotten with their passwords wiped: their `done` never runs. */
void password_pool_destroy(struct password_pool *pool);
/* Before jobs come: the bell of the worker's loop, rung when there are answers. */
void password_pool_set_doorbell(struct password_pool *pool, uint32_t worker, struct doorbell *bell);

/* OK: done(job) runs exactly once, inside a later collect, with the password wiped. BUSY: a limit is reached; the job stays as it is. */
NODISCARD enum result password_pool_submit(struct password_pool *pool, uint32_t worker, struct password_job *job);
/* Hands what was submitted to the threads; once per turn. */
void password_pool_publish(struct password_pool *pool, uint32_t worker);
/* Runs `done` of at most `budget` finished jobs. Returns how many. */
uint32_t password_pool_collect(struct password_pool *pool, uint32_t worker, uint32_t budget);
/* Whether there are finished jobs; after raising the worker's sleeping flag, before sleeping. */
bool password_pool_readable(struct password_pool *pool, uint32_t worker);

#endif
