/* storage/commitlog.h - the ordered, durable record of every command of one shard.
 * Owns:    the batch being collected, the one write in flight, the list of live segments.
 * Thread:  the shard's worker; open and replay before it serves (any one thread). Spares and retired segments are worked on
 *          by the storage thread through commitlog_maintain().
 * Depends: core/, storage/disk.h. Start at: storage/storage.h
 *
 * Happy path: append copies records into the open batch; once per turn commitlog_flush() hands the batch to the disk if no
 * write is in flight; its completion reports durable(index) and the next turn's flush takes all that came meanwhile. Never a timer.
 *
 *   segment file, `segment_size_bytes`, first block:
 *   +----------+---------+-----------+--------------+-------------+-----------+------ - - zeros to the block size
 *   | "RPLOG1" | u16 ver | u32 shard | u64 number   | u64 epoch   | u64 first | u64 xxh3 of the above
 *   +----------+---------+-----------+--------------+-------------+-----------+
 *   then batches, each padded with zeros to the block size; a batch never crosses a segment. A record:
 *   +---------+----------+-----------+----------+-----------+-----------------------------------+----------+
 *   | u32 len | u16 type | u16 flags | u32 term | u64 index | u64 xxh3(epoch, header, body)     | body len |
 *   +---------+----------+-----------+----------+-----------+-----------------------------------+----------+
 *   len == 0 is padding: the next record starts at the next block. index rises by one from record to record.
 *   A recycled segment holds old records: their epoch differs, so their hash does not fit and they are not records.
 *
 * Failure modes: a torn tail (bytes after the last good record that hold no good record of this epoch further on) is cut;
 * a bad record with a good one of the same epoch behind it, or a missing segment, is CORRUPT with its position. A failed
 * sync ends the process (check_fatal): what the disk holds is unknown. A full disk refuses appends (FULL) until space is back. */
#ifndef STORAGE_COMMITLOG_H
#define STORAGE_COMMITLOG_H

#include "core/cursor.h"
#include "core/metrics.h"
#include "core/result.h"
#include "storage/disk.h"
#include <stdbool.h>

#define COMMITLOG_RECORD_SIZE_MAX (1u << 20) /* bytes of one body */
#define COMMITLOG_BATCH_SIZE_MAX (128u << 10) /* bytes handed to the disk at once, unless a single record is larger */

struct commitlog;

struct commitlog_record {
    uint64_t index;
    uint32_t term;
    uint16_t type;
    uint16_t flags;
    struct slice body; /* borrowed for the callback */
    uint64_t segment, offset; /* where it stands, for messages and `log inspect` */
};
/* Returns OK to go on; anything else ends the replay with it. */
typedef enum result (*commitlog_record_f)(void *context, const struct commitlog_record *record);

struct commitlog_options {
    struct disk *disk;            /* borrowed until close */
    uint16_t shard;
    uint32_t pending_size_bytes_max; /* collected and in flight, before BUSY */
    uint64_t (*now_ns)(void *context);
    void (*durable)(void *context, uint64_t index); /* all records up to index are on disk; never inside append or flush */
    void *context;
    struct metrics *metrics; /* may be NULL */
};

/* Reads all segments, cuts a torn tail, and calls `each` for every record with index > after. OK: the caller owns *out.
 * CORRUPT: `text` says segment, offset and what is wrong; nothing stays open. IO, NOMEM alike. Blocks; start-up only.
 * A log whose first record's index is > after + 1 is CORRUPT (a hole between the store and the log). */
NODISCARD enum result commitlog_open(struct commitlog **out, const struct commitlog_options *options, uint64_t after,
                                     commitlog_record_f each, void *each_context, char *text, size_t text_size);
/* Nothing may be in flight (asserted). */
void commitlog_close(struct commitlog *log);

/* Adds one record to the open batch; *index gets its place. Copies `body`. OK; BUSY: pending_size_bytes_max; FULL: the disk is
 * full (tried again by itself on each flush once per second); TOO_LARGE. */
NODISCARD enum result commitlog_append(struct commitlog *log, uint16_t type, struct slice body, uint64_t *index);
/* Hands the open batch to the disk unless a write is in flight. Once per turn, and from the write's completion path. */
void commitlog_flush(struct commitlog *log);

uint64_t commitlog_last_index(const struct commitlog *log);    /* appended; 0 when empty */
uint64_t commitlog_durable_index(const struct commitlog *log);
bool commitlog_idle(const struct commitlog *log); /* nothing collected, nothing in flight */

/* The state up to `index` is elsewhere (store flushed, every stream acknowledged): whole segments before it may go. */
void commitlog_trim(struct commitlog *log, uint64_t index);
/* Storage thread: makes the spare segment that is wanted and retires trimmed ones. Cheap when there is nothing to do. */
void commitlog_maintain(struct commitlog *log);
/* True when commitlog_maintain() has work; asked by the worker each turn. */
bool commitlog_wants_maintenance(const struct commitlog *log);

/* Offline reading for `ringpost log inspect|verify`: like open's replay, but changes nothing (a torn tail is only reported in
 * *torn_offset of the last segment, 0 = none). */
NODISCARD enum result commitlog_scan(struct disk *disk, commitlog_record_f each, void *context, uint64_t *torn_offset, char *text,
                                     size_t text_size);

#endif
