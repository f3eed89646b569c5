/* shard/engine/senders.h - who has entries in the window of repeats (dedup.h), and how many of his last sends each may keep there.
 * Owns:    32 to 64 bytes for each sender with entries, and 4 for each place up to per_sender.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: core/.                 Start at: shard/engine/dedup.h
 *
 * The allowance is one number for all: the largest that makes the sum of min(his entries, allowance) over all senders at most
 * `limit`. So somebody who writes little keeps everything, whatever others do; it is those who write most that come to the bound, and
 * the more people write, the lower it is. It follows from the entries alone, in whatever order they came. */
#ifndef SHARD_SENDERS_H
#define SHARD_SENDERS_H

#include <stdbool.h>
#include <stdint.h>

struct sender {
    uint64_t id;
    uint32_t sends;   /* ever, as far as his entries tell: the next one gets this ordinal */
    uint32_t entries; /* in the window; 0: the slot is free */
};

struct senders {
    struct sender *slots; /* open addressing, at most half full; in `memory`, aligned */
    void *memory;
    uint32_t slot_count, count;
    uint32_t limit, per_sender;
    uint32_t *holders; /* [n - 1]: senders with at least n entries, for n up to per_sender */
    uint32_t level;    /* the allowance, unless all fits, which needs none */
    uint64_t within;   /* the sum for that level */
};

void senders_init(struct senders *senders, uint32_t limit, uint32_t per_sender);
void senders_deinit(struct senders *senders);
/* The memory that the others look at first, for a prefetch and nothing else. */
const void *senders_place(const struct senders *senders, uint64_t id);
/* NULL: he has no entries. The pointer lives until the next change. */
struct sender *senders_find(const struct senders *senders, uint64_t id);
/* One more entry: a new send, whose ordinal is returned; or one that comes back from the store with its ordinal. */
uint32_t senders_add(struct senders *senders, uint64_t id);
void senders_add_stored(struct senders *senders, uint64_t id, uint32_t ordinal);
/* One of his entries left. The sender is dead afterwards. */
void senders_remove(struct senders *senders, struct sender *sender);
/* 1 to per_sender. */
uint32_t senders_allowance(const struct senders *senders);

#endif
