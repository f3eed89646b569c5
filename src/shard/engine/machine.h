/* shard/engine/machine.h - the deterministic state machine of one shard: commands in, entities changed, effects out.
 * Owns:    the entities, the counters of ids, the stream positions, the window of repeated sends.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: shard/engine/entity.h, shard/engine/command.h, shard/engine/effects.h.  Start at: shard/engine/shard.h
 * The same commands in the same order give the same state and the same puts, on any machine, live or at recovery;
 * other bounds between batches give other blocks (block.h) of the same records. */
#ifndef SHARD_MACHINE_H
#define SHARD_MACHINE_H

#include "shard/engine/batch.h"
#include "shard/engine/command.h"
#include "shard/engine/dedup.h"
#include "shard/engine/domain.h"
#include "shard/engine/effects.h"
#include "shard/engine/entity.h"
#include "shard/engine/follower.h"
#include "shard/engine/ids.h"
#include "shard/engine/incarnation.h"
#include "shard/engine/state_hash.h"
#include "shard/engine/stream.h"
#include "shard/engine/timers.h"

enum engine_limit { /* the engine's own numbers of limits; the others: shard/domain/limits.h */
    LIMIT_DEDUP_ENTRIES = 4,
    LIMIT_REPEAT_WINDOW_MS = 5,
    LIMIT_REPEATS_PER_SENDER = 6,
};

struct machine_options {
    const struct domain *domain;
    uint16_t shard, shard_count;
    uint32_t limits[LIMITS_MAX]; /* by number; part of the state: changed only by a LIMITS command, see limits.h */
    uint32_t entities_max;
    uint32_t outbox_entries_max;
    uint32_t timers_resident_max;
    uint64_t body_cache_bytes; /* of messages of rooms that other shards own; 0: none are kept */
};

struct machine {
    struct machine_options options;
    struct metrics *metrics;
    struct entity_table *entities;
    struct batch *batch; /* what the commands since the last machine_end_batch() changed */
    struct dedup *dedup;
    struct stream_set *streams;
    struct follower_set *followers;
    bool followed; /* somebody follows: what happens is emitted */
    void *states[AREAS_MAX]; /* of the areas, by slot: not part of the state that commands make */
    uint64_t next_sequence[ID_TYPE_COUNT];
    uint64_t applied_index;
    uint64_t time_ms;    /* of the command being applied, or of the last one; 0: an older version did not store it */
    uint64_t last_id_ms; /* of the command that gave the newest id */
    /* Called for every entity that a command makes; NULL: nobody wants it. A load of the same key that is still under way has read the
     * store too early, from before the entity existed, and must be done again. */
    void (*on_created)(void *context, struct entity_key key);
    void *on_created_context;
    uint64_t entities_made;     /* by commands, ever; while it stays, what a command needs stays, too (command.h) */
    const struct needs *pinned; /* what the command being checked or applied needs: looked at before the table; NULL: unknown */
    struct slice carried;       /* what brought the RELAY command being applied: a relay_record with its entries whole; empty: nothing did, it is
                                   applied again. No part of the state may depend on it */
    bool limits_known; /* a LIMITS command was applied, now or before the last start */
    struct incarnations incarnations;
    struct timers timers;
    struct state_hash hash; /* of everything up to the last end of a batch */
    uint64_t limits_hash;   /* of the row of the limits */
};

NODISCARD enum result machine_create(struct machine **out, const struct machine_options *options, struct metrics *metrics);
void machine_destroy(struct machine *machine);

/* Recovery: reads counters, stream positions, the outbox and the dedup window as the store holds them after `applied_index`. */
NODISCARD enum result machine_load(struct machine *machine, struct store_view *view, uint64_t applied_index);
/* Recovery: makes resident what `needs` misses, on the calling thread. */
NODISCARD enum result machine_load_missing(struct needs *needs, struct store_view *view);

/* The next command of the log. Its needs are resident and pinned by the caller. Fills effects. */
void machine_apply(struct machine *machine, const struct command *command, struct effects *effects);
/* The same from its begin on, live and at recovery alike. `needs`: its own, or NULL when the caller does not know them. */
void machine_step(struct machine *machine, const struct command *command, const struct needs *needs, bool wants_reply, struct effects *effects);
/* Completes the puts of a batch: open blocks, changed rows, counters, stream positions, dedup block. Call before handing effects->puts to the store. */
void machine_end_batch(struct machine *machine, struct effects *effects);

/* Between two batches: the whole state as of applied_index in one number. Two machines that applied the same log have the same, whatever
 * was loaded, evicted or written when; what an older version had written is counted from hash.from on. */
uint64_t machine_state_hash(const struct machine *machine);

uint64_t machine_next_id(struct machine *machine, enum id_type type);
/* A pinned, resident entity; asserted: needs must have named it. */
struct entity *machine_entity(struct machine *machine, uint32_t kind, uint64_t a, uint64_t b);
static inline uint32_t machine_limit(const struct machine *m, uint32_t number) { return m->options.limits[number]; }
static inline bool machine_is_home(const struct machine *m, uint64_t id) { return id_partition(id) == m->options.shard; }

#endif
