/* shard/engine/block.h - several records under one key: what a room or a user's stream received in one applied batch.
 * Thread:  any.  Depends: core/ only.  Start at: shard/engine/shard.h
 * Messages of a room and events of a stream are numbered without holes, so a block's first number and its count say which it holds.
 *
 *   +-----------+---------+----------+---------+----------+---
 *   | u32 count | u32 len | record 1 | u32 len | record 2 | ...     ascending by number
 *   +-----------+---------+----------+---------+----------+---
 *
 * Keys are chosen so that one forward seek finds the block of a number:
 *   timeline   KEY_MESSAGE | room | ~first seq        the first key from ~seq on
 *   stream     KEY_EVENT   | user | last sync_key     the first key from sync_key on
 * batch.c writes blocks; room/timeline.c and delivery/events.c read them, and nobody else does. */
#ifndef SHARD_BLOCK_H
#define SHARD_BLOCK_H

#include "core/cursor.h"

#define BLOCK_SIZE_MAX_BYTES (64u << 10) /* a block that would grow past it ends, unless it has a single record */
#define BLOCK_HEAD_SIZE      sizeof(uint32_t)
#define BLOCK_RECORD_HEAD_SIZE sizeof(uint32_t)

struct block {
    struct cursor records; /* block_next() */
    uint32_t count;
};

/* False: the bytes are none of ours. */
static inline bool block_open(struct block *block, struct slice value)
{
    block->records = cursor_of(value);
    block->count = cursor_u32(&block->records);
    return !block->records.bad && block->count > 0 && block->count <= cursor_left(&block->records) / BLOCK_RECORD_HEAD_SIZE;
}

/* The next record, borrowed from the value; false: that was the last, or the bytes are bad (block->records.bad). */
static inline bool block_next(struct block *block, struct slice *record)
{
    if (cursor_left(&block->records) == 0) return false;
    *record = cursor_bytes(&block->records);
    return !block->records.bad;
}

#endif
