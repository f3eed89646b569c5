/* shard/engine/state_hash.h - what a shard knows in one number, kept up to date as it changes, so that two of them can be compared at one log index.
 * Owns:    nothing; machine.h has the sums.
 * Thread:  any; a scan on the thread of a job.  Depends: core/, shard/engine/keys.h, storage/store.h.  Start at: shard/engine/machine.h
 *
 * Two sums modulo 2^64, so that neither the order of what is summed counts nor where one batch ended and the next began:
 *
 *   rows     of the hash of every row of an entity that is in the store now: what is put adds its hash, and that of the row before it goes.
 *            Who owns the row keeps its hash (0: there is none), from the load or from the last put: effects_put_row()
 *   records  of the hash of every record ever appended: messages, events, entries of streams. Letting go of old ones changes nothing
 *
 * machine_state_hash() adds what is neither: counters, positions of the streams, the window of repeats. */
#ifndef SHARD_STATE_HASH_H
#define SHARD_STATE_HASH_H

#include "core/result.h"
#include "storage/store.h"

struct state_hash {
    uint64_t rows, records;
    uint64_t from; /* log index of the first command counted: 1, or later where an older version had written the directory; then the sums
                      are those of what has changed since */
};

/* One multiplication: each bit of both reaches each bit of the result. */
static inline uint64_t state_hash_fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xd6e8feb86659fd93ull);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
uint64_t state_hash_bytes(struct slice bytes);

/* Never 0, which is the hash of no row. */
uint64_t state_hash_row(struct slice key, struct slice value);
/* Of record `number` of that kind and id. `content`: state_hash_bytes() of it, or a hash of everything it is made of: messages
 * and events are many, and much of what they are made of was hashed already. */
static inline uint64_t state_hash_record(uint32_t kind, uint64_t id, uint64_t number, uint64_t content)
{
    return state_hash_fold(state_hash_fold(id, number ^ (uint64_t)kind << 56), content);
}
/* The hash of a sequence, word by word. */
static inline uint64_t state_hash_add(uint64_t hash, uint64_t word) { return state_hash_fold(hash, word) + word; }

/* The sum of the rows that are there: reads every one. It is what was counted, where that began with the first command. OK, IO, CORRUPT. */
struct domain;
NODISCARD enum result state_hash_scan(const struct domain *domain, struct store_view *view, uint64_t *rows);

#endif
