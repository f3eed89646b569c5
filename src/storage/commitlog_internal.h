/* storage/commitlog_internal.h - what the files of the commit log share: its fields and the shape of its bytes.
 * Read in this order: commitlog_format.c (bytes), commitlog.c (append, flush, maintain), commitlog_recover.c (open, scan).
 * Depends: core/, storage/commitlog.h. Start at: storage/commitlog.h */
#ifndef STORAGE_COMMITLOG_INTERNAL_H
#define STORAGE_COMMITLOG_INTERNAL_H

#include "storage/commitlog.h"
#include <stdatomic.h>

#define COMMITLOG_TERM 1               /* a group of one: nobody else ever wrote to this log */
#define COMMITLOG_RECORD_ALIGNMENT 8   /* so that a record's length never crosses a block */
#define COMMITLOG_RECORD_HEADER_SIZE 28
#define COMMITLOG_BLOCK_SIZE_MIN 512
#define COMMITLOG_RETRY_NS 1000000000ull /* between two tries on a full disk */

/* ---- commitlog_format.c ---- */

struct segment_header {
    uint32_t shard, block_size_bytes;
    uint64_t number, epoch, size_bytes;
};

/* Writes the whole first block. */
void segment_header_encode(const struct segment_header *header, uint8_t *block);
/* OK; UNSUPPORTED: a newer version's that this one cannot read; CORRUPT: none. Reads the first COMMITLOG_BLOCK_SIZE_MIN bytes. */
NODISCARD enum result segment_header_decode(struct segment_header *header, const uint8_t *block);

struct record_header {
    uint32_t len; /* header and body */
    uint16_t type, batch_block;
    uint32_t term;
    uint64_t index, hash;
};

/* Without the hash and batch_block, which only the batch knows. */
void record_header_encode(const struct record_header *header, uint8_t *bytes);
void record_header_decode(struct record_header *header, const uint8_t *bytes);
/* Completes a staged record of record_len(bytes) bytes for its place in a batch of a segment. */
void record_seal(uint8_t *bytes, uint16_t batch_block, uint64_t epoch);
uint32_t record_len(const uint8_t *bytes);
/* `bytes` holds header->len bytes. */
bool record_hash_fits(const struct record_header *header, const uint8_t *bytes, uint64_t epoch);

static inline uint64_t round_up(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
static inline uint64_t round_down(uint64_t value, uint64_t multiple) { return value / multiple * multiple; }

/* The most bytes one write can cover, and so the most a crash can damage. */
static inline uint32_t commitlog_batch_size_max(uint32_t block_size_bytes)
{
    return (uint32_t)round_up(COMMITLOG_RECORD_SIZE_MAX + COMMITLOG_RECORD_HEADER_SIZE, block_size_bytes);
}

/* ---- commitlog.c ---- */

/* COLLECTING -> WRITING (a batch is cut and handed over) -> COLLECTING (durable);
 * WRITING -> FULL (the disk had no room for the batch; it is kept) -> WRITING (a second later);
 * WRITING -> CLOSED (the disk went away). Only commitlog_write() and its completion change it. */
enum commitlog_state { COMMITLOG_COLLECTING, COMMITLOG_WRITING, COMMITLOG_FULL, COMMITLOG_CLOSED };

/* Records as they will be on the disk, from an aligned address: one chunk is one batch, written from where it was collected. */
struct chunk {
    struct chunk *next;
    uint8_t *bytes;        /* aligned to COMMITLOG_BLOCK_SIZE_MAX */
    uint32_t capacity;     /* for records; there is room to pad them to the block size */
    uint32_t used;
    uint64_t last_index;   /* of the last record that was collected here */
    bool closed;           /* takes no more */
};

struct commitlog {
    /* Set by open. */
    struct commitlog_options options;
    uint64_t epoch_base; /* a segment's epoch is this plus its number */
    uint32_t body_size_max;

    /* The worker's. */
    enum commitlog_state state;
    struct chunk *oldest, *newest; /* in log order: released last .. being written .. waiting .. open */
    struct chunk *cutting;         /* the first whose records are not in a batch yet; NULL: none has any */
    struct chunk *batch;           /* the batch: being written, or refused FULL */
    struct chunk *spare;           /* list of empty ones */
    struct chunk *seal;            /* a batch that is always the same but for its index and place */
    uint32_t spare_count, chunk_size_bytes;
    uint32_t staged_size_bytes;    /* records not yet in a batch */
    uint32_t batch_size_bytes;     /* padding included */
    uint64_t held_size_bytes;      /* capacities of all chunks but the spare ones */
    uint64_t released_index;
    const uint8_t *appended;       /* the body appended last */
    struct disk_write write;
    uint64_t write_started_ns, retry_at_ns;
    uint64_t last_index, written_index, durable_index; /* appended >= in a batch >= on the disk */
    uint64_t sealed_index;                             /* the last record's, when a seal stands behind it */
    uint64_t tail_number, tail_offset, tail_size_bytes; /* the segment written to; where its next batch goes */
    uint64_t first_number;                              /* the oldest live segment */
    uint64_t *segment_last; /* index of the last record of each live segment, by number modulo COMMITLOG_SEGMENTS_MAX */
    bool maintenance_paused, full, shut;
    uint64_t maintenance_resumes_ns;

    /* Between worker and storage thread: each has one writer. */
    _Atomic uint64_t wanted_number; /* worker: segments up to this one shall be ready */
    _Atomic uint64_t ready_number;  /* storage thread: segments up to this one can be written */
    _Atomic uint64_t retire_end;    /* worker: segments before this one are no longer needed */
    _Atomic uint64_t retired_end;   /* storage thread: segments before this one are gone */
    _Atomic int trouble;            /* enum result of a failed try, set by the storage thread; OK again: may try, by the worker */
};

static inline uint64_t *commitlog_segment_last(struct commitlog *log, uint64_t number)
{
    return &log->segment_last[number % COMMITLOG_SEGMENTS_MAX];
}

/* Memory and defaults of a log that has no segment yet; NULL without memory. commitlog_destroy() frees, whatever the state. */
struct commitlog *commitlog_create(const struct commitlog_options *options);
void commitlog_destroy(struct commitlog *log);
/* Makes `number` ready on the disk; the result of open_segment. */
NODISCARD enum result commitlog_make_segment(struct commitlog *log, uint64_t number);

#endif
