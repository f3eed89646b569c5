/* shard/engine/dedup.h - the window in which a repeated client id gives the first result again.
 * Owns:    `capacity` entries of 64 bytes, with their table 80 to 96 in memory, and who sent them (senders.h).
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: core/, shard/engine/senders.h, shard/engine/effects.h.  Start at: shard/engine/machine.h
 *
 * The promise: a send is known for `window_ms`, unless its sender has made `per_sender` sends since. Other people's sends do not
 * push it out: an entry that is still promised and comes to the end of the ring goes round once more. So that there is room for
 * that, what is promised may fill half of the ring. When more people wrote more than that within the window, each keeps fewer of his
 * last sends, the same number for all (senders.h), at least one; and when more than `capacity` / 2 people wrote, the oldest go.
 * dedup_report() tells how far that went.
 *
 * Time is that of commands, so the window is the same after replay. Where it was set back or forward by more than the window, what was
 * stored before keeps its place for one round only.
 *
 * On disk: one value per applied batch, key = its last log index. What goes round again is in the block of the batch that sent it
 * round, and a block whose entries have all left is deleted: the blocks are the ring.
 *
 *     +----------------------------+----------------------------+-------------------------+
 *     | u64 number of the first    | u64 number of the oldest   | entries, 64 bytes each  |   numbers count all that was ever added
 *     |     entry of this block    |     entry still in the ring|                         |
 *     +----------------------------+----------------------------+-------------------------+
 *
 * Blocks of format 3 have entries of 56 bytes without a sender, and no head. Each of them counts as the only send of a sender of its own. */
#ifndef SHARD_DEDUP_H
#define SHARD_DEDUP_H

#include "core/result.h"
#include "shard/engine/effects.h"

#define DEDUP_CAPACITY_MIN 64

struct dedup_limits {
    uint32_t capacity;
    uint32_t window_ms, per_sender; /* 0, as before format 4: nothing goes round again */
};

struct dedup;
struct dedup_entry {
    uint64_t id_low, id_high;         /* 128-bit hash of scope, sender and client id; dedup_id() */
    uint64_t result_id, room_id, seq; /* what the first one gave: message id (or room id), room, seq */
    uint64_t time_ms;
    uint64_t sender_id;
    uint32_t content; /* hash of all that the sender gave beside the client id; dedup_same() */
    uint32_t ordinal; /* of the send among the sender's; filled in here */
};
_Static_assert(sizeof(struct dedup_entry) == 64, "entries are stored as they are, and each is one cache line");

NODISCARD enum result dedup_create(struct dedup **out, const struct dedup_limits *limits);
void dedup_destroy(struct dedup *dedup);
/* Other limits from now on. For what a smaller capacity has no room for, the new limits are applied at once. */
void dedup_set_limits(struct dedup *dedup, const struct dedup_limits *limits, uint64_t now_ms);
/* Fills the id and the sender of `entry`. `scope`: the room, or 0 for room creation. */
void dedup_id(struct dedup_entry *entry, uint64_t scope, uint64_t sender_id, struct slice client_id);
/* The memory that dedup_find() and dedup_add() look at first, for a prefetch and nothing else: it is nearly never in a cache. */
const void *dedup_place(const struct dedup *dedup, const struct dedup_entry *id);
const void *dedup_sender_place(const struct dedup *dedup, uint64_t sender_id);
/* NULL when not in the window. */
const struct dedup_entry *dedup_find(const struct dedup *dedup, const struct dedup_entry *id);
/* Of an entry of format 3, whose content was hashed another way: `former_content` is the hash as it was made then. */
bool dedup_same(const struct dedup_entry *first, const struct dedup_entry *again, uint64_t former_content);
/* `entry` is not in the window. `now_ms`: time of the command. */
void dedup_add(struct dedup *dedup, const struct dedup_entry *entry, uint64_t now_ms);
/* Puts what was added since the last time under `index`, deletes blocks that left the window. */
void dedup_end_batch(struct dedup *dedup, uint64_t index, struct effects *effects);

/* Recovery: the limits first; then the stored blocks in ascending order of index, those of format 3 before the others; then the end.
 * False when the bytes are none of ours, or a block is missing. */
bool dedup_load_former_block(struct dedup *dedup, uint64_t index, struct slice block);
bool dedup_load_block(struct dedup *dedup, uint64_t index, struct slice block);
void dedup_load_end(struct dedup *dedup);

/* What of the window is state: the entries from number `first` up to, without it, number `next`. Which they are follows from what was added,
 * which counts as appended records (state_hash.h), and from how many of them have left. */
struct dedup_state {
    uint64_t first, next;
};
struct dedup_state dedup_state(const struct dedup *dedup);

struct dedup_report {
    uint64_t window_ms;       /* every send of so long ago is known, but those beyond per_sender; at most the limit's */
    uint64_t forgotten_early; /* promised sends that were forgotten for want of room, since the start */
    uint32_t allowance;       /* of each sender's last sends, so many are known for the whole window */
};
void dedup_report(const struct dedup *dedup, uint64_t now_ms, struct dedup_report *out);
struct dedup_memory {
    uint64_t touched_bytes;
    uint64_t untouched_bytes; /* asked for, but the system has not given a page for it yet */
};
struct dedup_memory dedup_memory(const struct dedup *dedup);

#endif
