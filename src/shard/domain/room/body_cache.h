/* shard/domain/room/body_cache.h - the last messages of rooms that other shards own, as their streams brought them: what is read of a
 * user's stream is mostly young, and need not be asked for.
 * Owns:    copies of message_records, at most `size_bytes`; the oldest go.
 * Thread:  the shard's worker.    Depends: core/ only.           Start at: shard/domain/room/owner_read.h
 * Not part of the machine's state: nothing that a command does depends on it. Its memory is asked for at once and used as it fills.
 *
 *   one ring; a record does not cross its end
 *   | u64 room | u64 seq | u32 len | u32 0 | message_record, padded to 8 bytes | next ...
 *
 * A table has for each (room, seq) one place, and there the position in the ring that was written for it last: where two come to the same
 * place the later one stays. */
#ifndef SHARD_ROOM_BODY_CACHE_H
#define SHARD_ROOM_BODY_CACHE_H

#include "core/cursor.h"

struct body_cache;

/* 0: nothing is kept. */
struct body_cache *body_cache_create(uint64_t size_bytes);
void body_cache_destroy(struct body_cache *cache);
void body_cache_put(struct body_cache *cache, uint64_t room_id, uint64_t seq, struct slice record);
/* Borrowed until the next put; false: it is not there. */
bool body_cache_get(const struct body_cache *cache, uint64_t room_id, uint64_t seq, struct slice *record);
/* What it has been given memory for, and what of that it has never used. */
uint64_t body_cache_bytes(const struct body_cache *cache);
uint64_t body_cache_untouched_bytes(const struct body_cache *cache);

#endif
