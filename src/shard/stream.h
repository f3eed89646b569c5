/* shard/stream.h - durable streams between shards: every consequence elsewhere arrives exactly once and in order.
 * Owns:    per peer: the outbox (emitted, not yet acknowledged) and the index of the last entry applied from it.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: core/, shard/effects.h, shard/letter.h.  Start at: shard/machine.h
 *
 *   source shard                                             destination shard
 *   apply: stream_emit -> outbox entry n (a put of the batch)
 *   after the batch: stream_pump -> letter STREAM {n: entry} -> n <= received? drop (repeat)
 *                                                            -> in order: log a RELAY command -> durable -> apply: applied = n
 *   stream_on_ack(n): entries <= n leave the outbox  <-letter-- STREAM_ACK {applied}
 *   After a restart the source sends all that is left in the outbox; the destination drops what it has.
 * Limits: STREAM_WINDOW entries under way per peer; outbox_entries_max waiting per peer, beyond it the shard refuses new
 * writes (stream_full). */
#ifndef SHARD_STREAM_H
#define SHARD_STREAM_H

#include "shard/effects.h"
#include "shard/letter.h"

#define STREAM_WINDOW 1024
#define STREAM_LETTER_BYTES_MAX (128u << 10) /* of entries in one letter, unless a single one is larger */

enum relay_kind { RELAY_MESSAGE = 1, RELAY_CHANGE = 2 };

struct stream_set;
NODISCARD enum result stream_set_create(struct stream_set **out, uint16_t shard, uint16_t shard_count, uint32_t outbox_entries_max);
void stream_set_destroy(struct stream_set *streams);

/* Apply: adds one entry for `peer`, which is another shard. */
void stream_emit(struct stream_set *streams, uint16_t peer, enum relay_kind kind, struct slice payload, struct effects *effects);
/* Apply of a RELAY command: the entry is applied now. */
void stream_mark_applied(struct stream_set *streams, uint16_t peer, uint64_t index);
uint64_t stream_applied(const struct stream_set *streams, uint16_t peer);
void stream_end_batch(struct stream_set *streams, struct effects *effects);
/* Some outbox is at its limit. */
bool stream_full(const struct stream_set *streams);

/* Source, after a batch: posts what the windows allow. */
void stream_pump(struct stream_set *streams, void (*post)(void *context, struct letter *letter), void *context);
/* Source: deletes acknowledged entries (into the puts of the next batch). */
void stream_on_ack(struct stream_set *streams, uint16_t peer, uint64_t index, struct effects *effects);

/* Recovery: all positions, then the entries in ascending order. False when the bytes are none of ours. */
bool stream_load_position(struct stream_set *streams, uint16_t peer, struct slice value);
bool stream_load_entry(struct stream_set *streams, uint16_t peer, uint64_t index, struct slice value);
/* After the log was replayed: entries not yet acknowledged, of all peers (for tests and metrics). */
uint64_t stream_waiting(const struct stream_set *streams);

#endif
