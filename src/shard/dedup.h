/* shard/dedup.h - the window in which a repeated client id gives the first result again.
 * Owns:    the last `capacity` entries of the shard, oldest forgotten first; 56 bytes each on disk, 72 to 88 in memory.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: core/, shard/effects.h.  Start at: shard/machine.h
 * The window is counted in sends of the whole shard (option dedup_entries), so it is the same after replay. On disk: one value per
 * applied batch, key = its last log index; a block whose entries have all left the window is deleted. */
#ifndef SHARD_DEDUP_H
#define SHARD_DEDUP_H

#include "core/result.h"
#include "shard/effects.h"

#define DEDUP_CAPACITY_MIN 1024 /* also the most commands of one applied batch; of one replayed: the capacity in force */

struct dedup;
struct dedup_entry {
    uint64_t id_low, id_high;  /* 128-bit hash of scope, sender and client id; dedup_id() */
    uint64_t body_hash;
    uint64_t result_id, room_id, seq; /* what the first one gave: message id (or room id), room, seq */
    uint64_t time_ms;
};

NODISCARD enum result dedup_create(struct dedup **out, uint32_t capacity);
void dedup_destroy(struct dedup *dedup);
/* Another window from now on; a smaller one forgets the oldest. */
void dedup_resize(struct dedup *dedup, uint32_t capacity);
/* Fills the id of `entry`. `scope`: the room, or 0 for room creation. */
void dedup_id(struct dedup_entry *entry, uint64_t scope, uint64_t actor_id, struct slice client_id);
/* The memory that dedup_find() looks at first, for a prefetch and nothing else: it is nearly never in a cache. */
const void *dedup_place(const struct dedup *dedup, const struct dedup_entry *id);
/* NULL when not in the window. */
const struct dedup_entry *dedup_find(const struct dedup *dedup, const struct dedup_entry *id);
void dedup_add(struct dedup *dedup, const struct dedup_entry *entry);
/* Puts what was added since the last time under `index`, deletes blocks that left the window. */
void dedup_end_batch(struct dedup *dedup, uint64_t index, struct effects *effects);
/* Recovery: one stored block, in ascending order of index. False when the bytes are none of ours. */
bool dedup_load_block(struct dedup *dedup, uint64_t index, struct slice block);

#endif
