/* shard/domain/delivery/events.h - a user's stream as the store holds it: in blocks (block.h), oldest first.
 * Thread:  a job's: the storage thread; recovery.  Depends: shard/engine/block.h, shard/engine/keys.h.  Start at: shard/domain/delivery/inbox.h
 * The only reader of KEY_EVENT rows. */
#ifndef SHARD_CHAT_EVENTS_H
#define SHARD_CHAT_EVENTS_H

#include "core/result.h"
#include "shard/engine/block.h"
#include "shard/domain/keys.h"
#include "storage/store.h"

/* Gets an event (u8 event_kind, record), borrowed for the call; false ends the scan. */
typedef bool events_each(void *context, uint64_t sync_key, struct slice event);
/* The events from `first_key` on that are there: the oldest ones may have been trimmed. OK, IO, CORRUPT. */
NODISCARD enum result events_scan(struct store_view *view, uint64_t user_id, uint64_t first_key, events_each *each, void *context);

/* The newest sync_key, 0 when there is none; `scratch` is overwritten. */
NODISCARD enum result events_head(struct store_view *view, uint64_t user_id, struct writer *scratch, uint64_t *head);

#endif
