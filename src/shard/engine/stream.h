/* shard/engine/stream.h - durable streams between shards: every consequence elsewhere arrives exactly once and in order.
 * Owns:    per peer: the outbox (emitted, not yet acknowledged) and the index of the last entry applied from it.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: core/, shard/engine/effects.h, shard/engine/letter.h.  Start at: shard/engine/machine.h
 *
 *   source shard                                             destination shard
 *   apply: stream_emit -> entry n joins the open bundle
 *   end of the batch: the bundle is one put of the batch
 *   stream_pump -> letter STREAM {entries m … n}             -> n <= received? drop (repeat)
 *                                                            -> m > received + 1? drop (gap): STREAM_ACK {applied, received, gap}
 *                                                            -> in order: log a RELAY command -> durable -> apply: applied = n
 *   stream_hear(n)                                       <-letter-- STREAM_ACK {applied, received}
 *   log a STREAM_ACK command -> durable -> apply: stream_acknowledge(n): bundles up to n leave the outbox
 *   After a restart the source sends all that is left in the outbox; the destination drops what it has.
 *
 * Letters may be lost, late, repeated, out of order. A destination that finds a gap says so, and the source goes back to what comes first
 * there; what it has no more in memory is read from the outbox (resend.c). A source that hears of no progress for RESEND_MS_MIN posts the
 * first bundle again, as a question, and goes on from what the answer says was received; it asks again after twice as long each time, up to
 * RESEND_MS_MAX. So nothing that is lost stops a stream, and a destination that is slow is not sent everything again and again.
 *
 *   entries to one peer, of which each position is a number:
 *   1 …… acknowledged …… logged …… heard …… posted …… emitted
 *        in the log,     in the     told by  a letter
 *        applied: gone   log        the peer went
 * `acknowledged` and `emitted` are state: every replay of the log comes to the same. The ones between are this life's and begin at
 * `acknowledged` (posted too: what is behind it goes again).
 *
 * A bundle (relay_record) is what one batch emitted for one peer, of one kind: the payload of the letter, and the record in the destination's
 * log. Outbox and log may keep less of an entry (relay.h). What changes who gets the next entries goes alone, because
 * it must be visible before they are delivered. Replay may draw other bounds between bundles than the first life did, so a destination may know the first part of one.
 * Limits: STREAM_WINDOW entries under way per peer; outbox_entries_max waiting per peer, beyond it the shard refuses new
 * writes (stream_full). */
#ifndef SHARD_STREAM_H
#define SHARD_STREAM_H

#include "shard/engine/effects.h"
#include "shard/engine/letter.h"
#include "shard/engine/records.h"

#define STREAM_WINDOW 4096
#define STREAM_BUNDLE_ENTRIES_MAX 128
#define STREAM_BUNDLE_BYTES_MAX (64u << 10) /* unless a single entry is larger */

struct domain;
struct stream_set;
NODISCARD enum result stream_set_create(struct stream_set **out, const struct domain *domain, uint16_t shard, uint16_t shard_count,
                                      uint32_t outbox_entries_max);
void stream_set_destroy(struct stream_set *streams);

/* Apply: adds one entry of that kind (relay.h) for `peer`, which is another shard: `len` bytes for the caller to fill now. `stored`: what the
 * outbox keeps of it, where the kind has a stored_kind. */
uint8_t *stream_emit(struct stream_set *streams, uint16_t peer, uint16_t kind, uint32_t len, struct slice stored, struct effects *effects);
/* Apply of a RELAY command: `count` entries from `first` on are applied now. */
void stream_mark_applied(struct stream_set *streams, uint16_t peer, uint64_t first, uint32_t count);
uint64_t stream_applied(const struct stream_set *streams, uint16_t peer);
struct stream_position { /* of entries to and from one peer, see positions.h */
    uint64_t emitted, acknowledged; /* to it, ever */
    uint64_t applied;               /* from it */
};
struct stream_position stream_position(const struct stream_set *streams, uint16_t peer);
/* Puts the open bundles and the positions that changed. */
void stream_end_batch(struct stream_set *streams, struct effects *effects);
/* Some outbox is at its limit. */
bool stream_full(const struct stream_set *streams);

/* Source, after a batch: posts what the windows allow, up to a bundle that is not in memory. */
void stream_pump(struct stream_set *streams, void (*post)(void *context, struct letter *letter), void *context);
#define STREAM_RESEND_MS_MIN 2000
#define STREAM_RESEND_MS_MAX 32000
/* Source: the peer says it has applied and received all up to those. False: it says so of entries that never were. */
struct stream_answer {
    uint64_t applied, received;
    bool gap;
};
NODISCARD bool stream_hear(struct stream_set *streams, uint16_t peer, const struct stream_answer *answer);
/* About once a second: asks peers of which nothing was heard. Returns how many, now. */
uint32_t stream_ask_again(struct stream_set *streams, uint64_t now_ms);
/* A bundle that is to be posted to the peer is not in memory, and nobody is reading it: now the caller is, from key outbox(peer, *first)
 * on; it supplies what it read, as outbox_read gives it, and says when that is over. */
bool stream_lacks(const struct stream_set *streams);
bool stream_begin_reading(struct stream_set *streams, uint16_t peer, uint64_t *first);
void stream_supply(struct stream_set *streams, uint16_t peer, uint64_t first, struct slice bundle);
/* Not well: the reading is tried again when the peer is asked again. */
void stream_end_reading(struct stream_set *streams, uint16_t peer, bool well);
/* As many entries as it says. */
bool stream_bundle_is_whole(const struct relay_record *relay);
/* Some of that is not in the log yet. */
bool stream_has_news(const struct stream_set *streams);
/* And somebody waits for the room that it makes in an outbox, or soon will. */
bool stream_news_press(const struct stream_set *streams);
#define STREAM_NEWS_MAX 64 /* peers in one command; of the others in the next */
/* acknowledged_records of it; then that counts as logged. */
void stream_news(const struct stream_set *streams, struct writer *acks);
void stream_news_logged(struct stream_set *streams);
/* Apply of a STREAM_ACK command: bundles up to index leave the outbox. */
void stream_acknowledge(struct stream_set *streams, uint16_t peer, uint64_t index, struct effects *effects);

/* Recovery: all positions, then the bundles (as outbox_read gives them) in ascending order. False when the bytes are none of ours. */
bool stream_load_position(struct stream_set *streams, uint16_t peer, struct slice value);
bool stream_load_bundle(struct stream_set *streams, uint16_t peer, uint64_t first, struct slice value);
/* Then this: false when there is less than was emitted and not acknowledged. */
bool stream_load_end(struct stream_set *streams);
/* After the log was replayed: entries not yet acknowledged, of all peers (for tests and metrics). */
uint64_t stream_waiting(const struct stream_set *streams);

#endif
