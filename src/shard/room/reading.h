/* shard/room/reading.h - reading rows of the store back, for loads and for pages.
 * Thread:  the storage thread.    Depends: storage/store.h, shard/keys.h.  Start at: shard/room/room.h */
#ifndef SHARD_ROOM_READING_H
#define SHARD_ROOM_READING_H

#include "shard/keys.h"
#include "storage/store.h"

/* A page ends early when its reply has grown to this: half of what an outbound queue takes before it stops pushing. */
#define PAGE_SIZE_MAX_BYTES (128u << 10)

/* The value under `key` into `value` (reset before); *found tells whether there is one. OK, IO, CORRUPT. */
NODISCARD enum result reading_get(struct store_view *view, const struct key *key, struct writer *value, bool *found);

#endif
