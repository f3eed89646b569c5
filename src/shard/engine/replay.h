/* shard/engine/replay.h - the commands of a log applied to a machine for which nobody waits: at a start, and wherever else a log is read again.
 * Owns:    nothing; borrows the machine, its store and the effects.
 * Thread:  the one that owns the machine; it reads and writes the store there and then, so before anything else is asked of that.
 * Depends: shard/engine/machine.h, storage/commitlog.h.  Start at: shard/engine/shard.h
 *
 *   replay_load -> replay_command … -> replay_end_batch          a batch ends by itself after `batch_max` commands */
#ifndef SHARD_REPLAY_H
#define SHARD_REPLAY_H

#include "shard/engine/machine.h"
#include "storage/commitlog.h"

#define REPLAY_REASON_SIZE 256

struct replay { /* the first four are given */
    struct machine *machine;
    struct store *store;
    struct effects *effects;
    uint32_t batch_max;
    struct needs needs;
    struct store_job job;
    enum result result;
    uint64_t applied_index; /* what replay_load was asked for */
    uint64_t commands; /* applied so far */
    uint32_t batched; /* commands since the last store batch */
    char reason[REPLAY_REASON_SIZE]; /* of UNSUPPORTED */
};

/* The machine as the store has it, which is as of `applied_index`. */
NODISCARD enum result replay_load(struct replay *replay, uint64_t applied_index);
/* OK; UNSUPPORTED: a newer version's, and `reason` says what it is and where; CORRUPT, IO, ... */
NODISCARD enum result replay_command(struct replay *replay, const struct commitlog_record *record);
/* What was applied since the last one goes to the store. */
NODISCARD enum result replay_end_batch(struct replay *replay);
/* After a command that was refused. */
void replay_end(struct replay *replay);

#endif
