/* shard/worker/errands.h - what one thread that is no worker asks of the shards: handed to their workers, and brought back.
 * Owns:    nothing: an errand belongs to who put it, and is pinned until it is brought back.
 * Thread:  errands_put, errands_bring_back: that one thread. With `worker`: that worker. create and destroy: when neither runs.
 * Depends: core/doorbell.h, shard/engine/follower_ask.h.  Start at: shard/engine/shard.h
 * A worker that has none pays one load per turn. Errands come in any order. */
#ifndef SHARD_ERRANDS_H
#define SHARD_ERRANDS_H

#include "core/doorbell.h"
#include "shard/engine/follower_ask.h"

struct errands;
struct errand {
    struct errand *next;
    struct errands *errands;
    uint16_t shard;
    struct follower_ask ask;
};

NODISCARD enum result errands_create(struct errands **out, uint32_t workers);
void errands_destroy(struct errands *errands);
/* Before any errand: the bell of the worker's loop. */
void errands_set_doorbell(struct errands *errands, uint32_t worker, struct doorbell *bell);

/* Fills errand->errands and ask.done; the rest is the caller's. */
void errands_put(struct errands *errands, uint32_t worker, struct errand *errand);
/* Those that are done, linked by `next`; NULL: none. */
struct errand *errands_bring_back(struct errands *errands);
/* Readable when some are done: an eventfd, for poll(). */
int errands_fd(const struct errands *errands);

/* Those that were put for this worker, linked by `next`; NULL: none. */
struct errand *errands_take(struct errands *errands, uint32_t worker);
/* After raising the worker's sleeping flag, before sleeping. */
bool errands_readable(struct errands *errands, uint32_t worker);

#endif
