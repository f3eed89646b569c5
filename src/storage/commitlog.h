/* storage/commitlog.h - the ordered, durable record of every command of one shard.
 * Owns:    the batch being collected, the one write in flight, the list of live segments.
 * Thread:  the shard's worker; open and replay before it serves (any one thread). Spares and retired segments are worked on
 *          by the storage thread through commitlog_maintain().
 * Depends: core/, storage/disk.h. Start at: storage/storage.h
 *
 * Happy path: append copies records into the open batch, where they stay readable until they are released; once per turn commitlog_flush() hands the batch to the disk if no
 * write is in flight; its completion reports durable(index) and the next turn's flush takes all that came meanwhile. Never a timer.
 *
 *   segment file; its first block, written and synced before the file gets its name:
 *   +----------+-----------+----------+-----------+-----------+------------+-----------+----------+-----------------------+
 *   | "RPLOG1" | u8 needed | u8 added | u32 shard | u32 block | u64 number | u64 epoch | u64 size | u64 xxh3 of the above | zeros
 *   +----------+-----------+----------+-----------+-----------+------------+-----------+----------+-----------------------+
 *   needed: the oldest version of this drawing that can read the segment, 1; added: how much newer than that its writer was, which a reader
 *   may leave alone. What a newer version's commands are is told by each of them (shard/engine/command.h).
 *   then batches, each starting at a block and padded with zeros to the block size; a batch never crosses a segment. A record,
 *   starting at a multiple of 8:
 *   +---------+----------+-----------------+----------+-----------+----------+----------------+ - - - - - - - -
 *   | u32 len | u16 type | u16 batch_block | u32 term | u64 index | u64 hash | body           | zeros to 8 bytes
 *   +---------+----------+-----------------+----------+-----------+----------+----------------+ - - - - - - - -
 *   len counts header and body; 0 is padding: the next record starts at the next block. index rises by one from record to
 *   record. batch_block: whole blocks between the block its batch starts in and the block it starts in itself, so every
 *   record tells where its batch began. hash = xxh3(body, seed = xxh3(the 20 bytes before it, seed = epoch)). The epoch rises
 *   by one with each segment: what a recycled segment still holds has another epoch, so its hash does not fit.
 *
 * A seal is a record of type COMMITLOG_SEAL without a body, in a batch of its own, with the index of the record before it: no command,
 * and it counts no index. It is written when the log stops in order or has been idle for a while.
 *
 * Torn or rotten? Batch N+1 is written only after batch N is durable, so a crash can damage only the last batch, but of that
 * one any sectors may be there or missing: a bad record may be followed by good ones. Those all say (batch_block) that their
 * batch began at or before the bad place, and all from the bad place on is cut. A good record or seal whose batch began after it proves
 * that the damaged batch had been acknowledged: that is CORRUPT, never cut. What cannot be told apart from a torn batch is rot in the
 * last batch before a crash, while no seal stands behind it; whoever cuts or reports it says so.
 *
 * The newest segments missing? When a segment has been made its number is noted where the segments are not (disk.h). A log that ends before it
 * lacks what nobody else may know of, and is CORRUPT; but for a segment that was only made ready, which is told by the room in the one before.
 *
 * Failure modes: a torn tail is cut (zeros, synced), and the last batch before it is written again, for its sync may have failed; rot before
 * the tail in what a start reads, a missing segment, or one of another shard is CORRUPT with its position. A failed write or sync ends the
 * process (check_fatal): what the disk holds is unknown. On a full disk appends are refused (FULL) as soon as they would not fit the room
 * already made; what was accepted before is kept and written when there is space again. */
#ifndef STORAGE_COMMITLOG_H
#define STORAGE_COMMITLOG_H

#include "core/cursor.h"
#include "core/metrics.h"
#include "core/result.h"
#include "storage/disk.h"
#include <stdbool.h>

#define COMMITLOG_RECORD_SIZE_MAX ((1u << 20) + (64u << 10)) /* bytes of one body; less when the segments are smaller */
#define COMMITLOG_BATCH_SIZE_MAX (128u << 10) /* bytes handed to the disk at once, unless a single record is larger */
#define COMMITLOG_HELD_SIZE_MAX (64u << 20)   /* bytes collected, in flight and not yet released together, before BUSY */
#define COMMITLOG_SEAL 0xffffu                /* a type that no record of an owner has */
#define COMMITLOG_SEGMENTS_MAX 16384          /* live at one time; beyond it appends are refused as on a full disk */

struct commitlog;

struct commitlog_record {
    uint64_t index;
    uint32_t term;
    uint16_t type;
    uint16_t batch_block;     /* blocks since its batch began; 0 and a block's start: the first of its batch */
    struct slice body;        /* borrowed for the callback */
    uint64_t segment, offset; /* where it stands, for messages and `log inspect` */
};
/* Returns OK to go on; anything else ends the replay with it. */
typedef enum result (*commitlog_record_f)(void *context, const struct commitlog_record *record);

struct commitlog_options {
    struct disk *disk;            /* borrowed until close */
    uint16_t shard;
    uint64_t epoch_base; /* for a log made new: random, so that nobody can forge records inside a body; any value in tests */
    uint32_t pending_size_bytes_max; /* collected and in flight, before BUSY */
    bool made_before;                /* there is a log: one without a segment is CORRUPT, not new */
    bool look_only;                  /* open changes nothing, and appends are refused FULL; the disk may be one that is only looked at */
    bool hold;                       /* durable records stay in memory until commitlog_release(); else they are released at once */
    uint64_t (*now_ns)(void *context); /* monotonic; asked on the worker */
    void (*durable)(void *context, uint64_t index); /* all records up to index are on disk; never inside append or flush */
    void *context;
    struct metrics *metrics; /* may be NULL */
};

/* Reads the segments with records behind `after`, cuts a torn tail, and calls `each` for every record with index > after. OK: the caller owns *out.
 * CORRUPT: `text` says segment, offset and what is wrong; nothing stays open. IO, NOMEM alike. Blocks; start-up only.
 * A log whose first record's index is > after + 1 (a hole between the store and the log) or that ends before `after` is CORRUPT.
 * FULL: a new log, and no room for its first segment. */
NODISCARD enum result commitlog_open(struct commitlog **out, const struct commitlog_options *options, uint64_t after,
                                     commitlog_record_f each, void *each_context, char *text, size_t text_size);
/* Nothing may be in flight (asserted), and commitlog_maintain() must not be running. What is collected is dropped. */
void commitlog_close(struct commitlog *log);

/* While it is shut, appends are refused FULL, as on a full disk. A log that was opened is not shut. */
void commitlog_set_shut(struct commitlog *log, bool shut);

/* Adds one record to the open batch; *index gets its place. Copies `body`. OK; BUSY: pending_size_bytes_max, unless nothing is pending, or,
 * because the owner is slow to release, COMMITLOG_HELD_SIZE_MAX: it ends by itself; FULL: the disk is
 * full (tried again by flush once per second); TOO_LARGE, for ever; NOMEM; CLOSED: the disk was closed under the log. */
NODISCARD enum result commitlog_append(struct commitlog *log, uint16_t type, struct slice body, uint64_t *index);
/* The largest body that is not TOO_LARGE. */
uint32_t commitlog_body_limit(const struct commitlog *log);
/* The same, of a log that is not open: the longest body that fits into one segment behind its header block. */
uint32_t commitlog_body_size_max(uint64_t segment_size_bytes, uint32_t block_size_bytes);
#define COMMITLOG_BLOCK_SIZE_MAX 4096 /* of the disks there are */
/* The body appended last, as the log holds it; readable, with option `hold`, until it is released. */
const uint8_t *commitlog_appended(const struct commitlog *log);
/* The owner needs the bodies up to index no more. */
void commitlog_release(struct commitlog *log, uint64_t index);
/* Hands the open batch to the disk unless a write is in flight. Once per turn, after the completions: the turn that saw the last
 * write complete starts the next one with all that came meanwhile. */
void commitlog_flush(struct commitlog *log);

/* Begins to write a seal behind the last durable record, which is then proven to have been that, unless one stands there, something is
 * under way, or the segment is full to the last block. Nobody is told when it is there; commitlog_writing() is true meanwhile. */
void commitlog_seal(struct commitlog *log);
bool commitlog_is_sealed(const struct commitlog *log); /* the last durable record; or there is none */

uint64_t commitlog_last_index(const struct commitlog *log);    /* appended; 0 when empty */
uint64_t commitlog_memory_bytes(const struct commitlog *log);  /* batches under way, and chunks kept for the next */
uint64_t commitlog_durable_index(const struct commitlog *log);
bool commitlog_idle(const struct commitlog *log); /* nothing collected, nothing in flight */
bool commitlog_collects(const struct commitlog *log); /* the next flush hands something to the disk that was never there */
bool commitlog_writing(const struct commitlog *log); /* a write is in flight: it may not be closed */

/* The state up to `index` is elsewhere (store flushed, every stream acknowledged): whole segments before it may go. */
void commitlog_trim(struct commitlog *log, uint64_t index);
/* Storage thread: one bounded step of making the next segment ready or of retiring trimmed ones. Cheap when there is nothing to
 * do. The next segment is ready long before it is needed, so the worker itself never touches a directory. */
void commitlog_maintain(struct commitlog *log);
/* True when commitlog_maintain() has work; asked by the worker each turn. */
bool commitlog_wants_maintenance(const struct commitlog *log);

/* Offline reading for `ringpost log inspect|verify`: like open's replay, but changes nothing. A torn tail is only reported: where
 * it starts in *torn_offset (0: none), and in `text` with its segment and what is known of it. Seals are checked and not handed out. */
NODISCARD enum result commitlog_scan(struct disk *disk, commitlog_record_f each, void *context, uint64_t *torn_offset, char *text,
                                     size_t text_size);

#endif
