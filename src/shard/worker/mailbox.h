/* shard/worker/mailbox.h - letters between workers: N x N single-producer rings, published once per turn, a doorbell for sleepers.
 * Owns:    the rings and what lies in them; what was posted and not yet published.
 * Thread:  functions with `from` or `to`: that worker. create and destroy: when no worker runs.
 * Depends: core/spsc.h, core/doorbell.h, shard/engine/letter.h.  Start at: shard/engine/shard.h
 * Limit: `letters_max` under way per pair. Beyond it letters still go, in order, but the sender is congested: its worker stops reading from
 * its clients until the peer has taken some, and goes on taking letters, so two full workers cannot wait for each other. */
#ifndef SHARD_MAILBOX_H
#define SHARD_MAILBOX_H

#include "core/doorbell.h"
#include "core/metrics.h"
#include "shard/engine/letter.h"

struct mailbox;
NODISCARD enum result mailbox_create(struct mailbox **out, uint32_t workers, uint32_t letters_max);
/* Frees the letters left. */
void mailbox_destroy(struct mailbox *mailbox);
/* The bell of a worker's loop; before any letter. */
void mailbox_set_doorbell(struct mailbox *mailbox, uint32_t worker, struct doorbell *bell);

/* Takes the letter. Visible to `to` after the next publish. from == to is allowed. False: more are under way than may be. */
bool mailbox_post(struct mailbox *mailbox, uint32_t from, uint32_t to, struct letter *letter);
/* Borrows the letter. */
bool mailbox_post_copy(struct mailbox *mailbox, uint32_t from, uint32_t to, const struct letter *letter);
/* Once per turn: makes what was posted visible, rings sleepers. Returns how many were woken. */
uint32_t mailbox_publish(struct mailbox *mailbox, uint32_t from);
bool mailbox_congested(struct mailbox *mailbox, uint32_t from);
/* Up to max letters for `to`, a fair share from each peer; the caller owns them. */
uint32_t mailbox_take(struct mailbox *mailbox, uint32_t to, struct letter **letters, uint32_t max);
/* Of the rings to the other workers; letters under way are not counted. */
uint64_t mailbox_memory_bytes(const struct mailbox *mailbox, uint32_t from);
/* Anything visible for `to`; after raising the sleeping flag. */
bool mailbox_readable(struct mailbox *mailbox, uint32_t to);

#endif
