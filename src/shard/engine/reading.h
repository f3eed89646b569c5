/* shard/engine/reading.h - reading rows of the store back, for loads and for pages.
 * Thread:  the storage thread.    Depends: storage/store.h, shard/engine/keys.h.  Start at: shard/domain/room/room.h */
#ifndef SHARD_ROOM_READING_H
#define SHARD_ROOM_READING_H

#include "shard/engine/keys.h"
#include "storage/store.h"

/* A page ends early when the next row might not fit what its reader's connection takes. Told is what the answer has as JSON, the longest
 * of its forms, at most: names and numbers of each row, bytes as base64, control characters in texts escaped. */
struct page_meter {
    uint64_t cost, cost_max; /* cost_max: bounds_page_cost() */
    size_t counted;          /* bytes of the reply that are in `cost` */
    bool exact;              /* `cost` is no mere upper bound any more */
};
/* True when the page ends before the next row. Called before each row, first with an empty reply. */
bool page_meter_full(struct page_meter *meter, const struct writer *reply);

/* The value under `key` into `value` (reset before); *found tells whether there is one. OK, IO, CORRUPT. */
NODISCARD enum result reading_get(struct store_view *view, const struct key *key, struct writer *value, bool *found);

#endif
