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

static inline struct key timeline_key(uint64_t room_id, uint64_t seq)
{
    return key_two(KEY_MESSAGE, room_id, ~seq);
}
static inline uint64_t timeline_seq(struct slice key)
{
    return ~key_u64_at(key, 9);
}
/* Seq of the newest message stored here, 0 when there is none; its record into `value` (reset before; may be NULL). */
NODISCARD enum result timeline_newest(struct store_view *view, uint64_t room_id, struct writer *value, uint64_t *seq);

#endif
