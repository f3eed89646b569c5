/* shard/domain/room/timeline.h - the messages of a room as the store holds them: in blocks (block.h), newest first.
 * Thread:  a job's: the storage thread; recovery.  Depends: shard/engine/block.h, shard/engine/keys.h.  Start at: shard/domain/room/room.h
 * The only reader of KEY_MESSAGE rows. A shard that had no members of the room for a while has holes in its copy. */
#ifndef SHARD_ROOM_TIMELINE_H
#define SHARD_ROOM_TIMELINE_H

#include "core/result.h"
#include "shard/engine/block.h"
#include "shard/domain/keys.h"
#include "storage/store.h"

/* Gets a message_record, borrowed for the call; false ends the scan. */
typedef bool timeline_each(void *context, uint64_t seq, struct slice record);
/* From the newest message with at most that seq on downwards. OK, IO, CORRUPT. */
NODISCARD enum result timeline_down(struct store_view *view, uint64_t room_id, uint64_t newest_seq, timeline_each *each, void *context);

/* Seq of the newest message stored here, 0 when there is none; its record into `value` (reset before; may be NULL). */
NODISCARD enum result timeline_newest(struct store_view *view, uint64_t room_id, struct writer *value, uint64_t *seq);

/* ---- messages one by one, in any order, usually ascending within each of a few rooms: what a page of events names ---- */

#define TIMELINE_RUNS     8 /* rooms at a time */
#define TIMELINE_RUN_BLOCKS_MAX 32

struct timeline_run { /* neighbouring blocks of one room, newest first */
    uint64_t room_id; /* 0: empty */
    uint64_t used;    /* when last asked, by timeline_reader.clock */
    uint32_t ahead;   /* messages that the next load reads beyond the one asked: doubles with every load, so a run pays for itself */
    struct writer bytes;
    uint32_t block_count;
    struct run_block {
        uint64_t first;
        uint32_t count, start, len;
    } blocks[TIMELINE_RUN_BLOCKS_MAX];
    /* The next record of the block read last, so that ascending questions take one step each. */
    struct block at;
    uint64_t at_seq;
    uint32_t at_block;
};
struct timeline_reader {
    struct store_view *view;
    uint64_t clock;
    struct timeline_run runs[TIMELINE_RUNS];
};
void timeline_reader_init(struct timeline_reader *reader, struct store_view *view);
void timeline_reader_deinit(struct timeline_reader *reader);
/* The message_record of that seq, borrowed until the next call. OK, MISSING, IO, CORRUPT. */
NODISCARD enum result timeline_reader_get(struct timeline_reader *reader, uint64_t room_id, uint64_t seq, struct slice *record);

#endif
