/* tests/sim/node.h - one shard with the disk and the store under it, through any number of lives.
 * Owns:    the medium, the store, a copy of every log segment that was recycled; the shard of the present life.
 * Thread:  one.                   Depends: shard/engine/shard.h, storage/fake_disk.h, storage/fake_store.h.  Start at: sim/world.h */
#ifndef TESTS_SIM_NODE_H
#define TESTS_SIM_NODE_H

#include "core/metrics.h"
#include "shard/engine/shard.h"
#include "sim/dice.h"
#include "sim/plant.h"
#include "sim/profile.h"
#include "sim/states.h"
#include "storage/fake_disk.h"
#include "storage/fake_store.h"

struct kept_segment { /* a recycled one, as it was */
    uint64_t number;
    uint8_t *bytes;
};

struct node {
    uint16_t number;
    const struct profile *profile;
    struct shard_options options; /* of every life; the store's index is set at each opening */
    struct fake_disk *disk;
    struct fake_store *store;
    struct shard *shard; /* NULL: between two lives */
    struct metrics metrics;
    struct kept_segment *kept;
    uint32_t kept_count, kept_capacity;
    bool clock_is_wrong;
    enum plant plant;
    struct dice dice; /* of planted bugs only */
    bool full, store_full, damaged;
    bool stuck;                /* stalled in such a way that it does nothing at all */
    uint64_t stalled_until_ns; /* 0: it is not */
    uint64_t shut_index;       /* of its log, when it was shut */
    bool sealed; /* its log, at the last stop in order */
    struct states *states; /* NULL: they are not compared */
};

void node_create(struct node *node, uint16_t number, const struct profile *profile, const struct shard_options *options,
                 enum plant plant, uint64_t seed);
void node_destroy(struct node *node);

/* Opens the shard over what disk and store hold. With `broken`, power fails at some operation on the way, or a read of the log: false, and the
 * store has fallen back again. Fails the run when it does not open for another reason. */
bool node_open(struct node *node, struct dice *dice, bool broken);
/* The process dies, with the machine or (not `power_lost`) alone: what the shard asked of disk and store is torn, lost or undone, then its
 * memory is freed. Its ports must be mute. */
void node_crash(struct node *node, struct dice *dice, bool power_lost);
/* After a stop in order: what the store has not written is lost with the process, the rest is durable. */
void node_end(struct node *node);
/* A copy of disk and store of a node that is closed, and back. */
struct node_copy {
    struct fake_disk *disk;
    struct fake_store *store;
    uint32_t kept_count;
    uint64_t newest_state;
};
void node_copy_make(struct node_copy *copy, const struct node *node);
void node_copy_restore(const struct node_copy *copy, struct node *node);
void node_copy_free(struct node_copy *copy);
/* A copy of disk and store of a closed node, to open and to break; it has no planted bugs. Destroyed by node_destroy(), closed. */
void node_clone(struct node *clone, const struct node *node);
/* Closes a clone that was opened. */
void node_close_clone(struct node *clone);

/* Everything the shard knows, in one number: what the store holds, but the outbox (which empties by letters, not by the log) and the
 * cuts between the blocks of the window of repeated sends (which fall where the batches did). Nothing may be queued. */
uint64_t node_digest(struct node *node);
/* The digest after the whole log was applied to an empty store. */
uint64_t node_digest_of_log(struct node *node);

/* The live shard has just ended a batch. */
void node_note_state(struct node *node);
/* At rest: every other way to its state leads to the same one. */
void node_compare_states(struct node *node);

#endif
