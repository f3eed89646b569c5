/* shard/worker/rehearsal.h - what a start would find in a data directory: its shards are recovered as for serving, and compared, without a change.
 * Owns:    nothing between calls.   Thread: one, which serves nothing; blocks.
 * Depends: shard/engine/shard.h, shard/engine/positions.h, core/config.h.  Start at: shard/worker/host.h
 *
 * What the stores lack of the logs is applied in memory only, and dropped at the end. */
#ifndef SHARD_REHEARSAL_H
#define SHARD_REHEARSAL_H

#include "core/config.h"
#include "shard/engine/shard.h"

struct rehearsal_options {
    const struct config *config;
    const char *path;     /* the data directory; its identity was found right, and nobody has it open */
    uint16_t shard_count;
    bool made_before;     /* see commitlog_options */
    /* A shard whose store is damaged: it would serve nothing, the others would. May be NULL. */
    void (*on_damage)(void *context, uint16_t shard, const char *damage);
    void (*on_state)(void *context, uint16_t shard, uint64_t index, uint64_t hash); /* of each that is not damaged; may be NULL */
    void *context;
};

/* OK: a start gets as far as serving. Else what it would say, with its result. */
NODISCARD enum result rehearsal_run(const struct rehearsal_options *options, char *text, size_t text_size);

/* Whether shards that were recovered, the one with number i at place i, are of one time; one that is damaged fits everywhere. False with
 * `text`: the reason and the remedy. */
NODISCARD bool rehearsal_judge(struct shard *const *shards, uint16_t shard_count, const char *path, char *text, size_t text_size);

#endif
