/* storage/commitlog_recover.c - what a start finds in the log: reads all of it, decides between torn and rotten, goes on.
 *
 * Happy path: segments that hold nothing but what is stored elsewhere are left alone. From the next on, the walk reads
 * segment after segment, record after record, until one is not the next record of the log: the end
 * of that segment's data. The log goes on in the next segment, or this was the tail. Then everything behind the tail is
 * searched, block by block, for records that may not be there (walk_prove_nothing_behind), what a crash may have left there is
 * overwritten with zeros, and the segment is synced. The last batch is written again before: when its sync had failed, or was never
 * asked for, it may have been read from a cache that no later sync empties, and the log goes on behind it.
 *
 * Failure modes: every refusal writes segment, offset and reason to `text`. commitlog_scan() is the same walk, changing
 * nothing. A header never tears: it was synced before its segment got its name. */
#include "core/check.h"
#include "core/logger.h"
#include "storage/commitlog_internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WALK_WINDOW_SIZE (4u << 20) /* bytes read at once; more than the longest record */
_Static_assert(WALK_WINDOW_SIZE >= 2 * COMMITLOG_RECORD_SIZE_MAX, "a record fits behind any aligned window start");

#define WALK_ANY_SHARD (-1)

struct walk {
    struct disk *disk;
    int32_t shard; /* that every segment must belong to; WALK_ANY_SHARD until the first header said */
    uint64_t after; /* records up to it are checked but not handed out */
    commitlog_record_f each;
    void *each_context;
    char *text;
    size_t text_size;

    uint64_t *numbers; /* all segments on the disk, ascending */
    uint32_t count;
    uint64_t noted; /* the newest there was; 0: not known */
    uint8_t *window;
    uint64_t window_number, window_offset;
    uint32_t window_len, window_capacity; /* capacity: of a block, until the sizes of the segments are known */

    uint64_t first_index; /* 0: no record yet */
    uint64_t expected;    /* index of the next record; 0: any, at the start of a trimmed log */
    uint64_t epoch_base;
    struct segment_header *headers; /* of all segments */
    uint64_t *lasts;                /* index of the last record up to the end of each segment */
    uint32_t tail;                  /* position of the last segment with a record, or of the first */
    uint64_t tail_end;              /* offset behind its last record */
    uint64_t tail_batch;            /* where the batch of that one begins; tail_end: there is none */
    uint64_t tail_next;             /* where its next record would stand: tail_end, or the next block behind padding */
    bool torn;                      /* something of an unfinished batch stands behind the tail */
    bool sealed;                    /* the last record is a seal */
};

struct record {
    bool good; /* whole, of this segment's epoch */
    struct record_header header;
    const uint8_t *bytes; /* in the window, until the next read */
    uint64_t offset;
};

__attribute__((format(printf, 3, 4))) static enum result walk_refuse(struct walk *w, enum result result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->text, w->text_size, format, arguments);
    va_end(arguments);
    return result;
}

/* A window of `capacity` bytes, with nothing in it. */
static enum result walk_widen(struct walk *w, uint32_t capacity)
{
    free(w->window);
    w->window = malloc(capacity);
    w->window_capacity = capacity;
    w->window_len = 0;
    return w->window != NULL ? RESULT_OK : walk_refuse(w, RESULT_NOMEM, "%s", result_text(RESULT_NOMEM));
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

/* *bytes: `len` bytes of the segment, NULL when it ends before. Valid until the next call. */
static enum result walk_bytes(struct walk *w, uint64_t number, uint64_t offset, uint32_t len, const uint8_t **bytes)
{
    bool inside = w->window_number == number && offset >= w->window_offset &&
                  offset + len <= w->window_offset + w->window_len;
    *bytes = NULL;
    if (!inside) {
        w->window_number = number;
        w->window_offset = round_down(offset, COMMITLOG_BLOCK_SIZE_MAX);
        w->window_len = 0;
        enum result result = w->disk->ops->read(w->disk, number, w->window_offset, w->window, w->window_capacity,
                                                 &w->window_len);
        if (result != RESULT_OK)
            return walk_refuse(w, result, "segment " DISK_SEGMENT_NAME ": cannot be read at offset %" PRIu64 " (%s)", number,
                               w->window_offset, result_text(result));
    }
    uint64_t at = offset - w->window_offset;
    *bytes = at + len <= w->window_len ? w->window + at : NULL;
    return RESULT_OK;
}

static enum result walk_header(struct walk *w, uint32_t position)
{
    const uint64_t number = w->numbers[position];
    struct segment_header *header = &w->headers[position];
    const uint8_t *bytes = NULL;
    enum result result = walk_bytes(w, number, 0, COMMITLOG_BLOCK_SIZE_MIN, &bytes);
    if (result != RESULT_OK) return result;
    result = bytes == NULL ? RESULT_CORRUPT : segment_header_decode(header, bytes);
    if (result == RESULT_UNSUPPORTED)
        return walk_refuse(w, result, "segment " DISK_SEGMENT_NAME " was written by a newer version, which alone can read it: go on with that", number);
    if (result != RESULT_OK || header->number != number)
        return walk_refuse(w, RESULT_CORRUPT, "segment " DISK_SEGMENT_NAME ": bad header", number);
    if (w->shard == WALK_ANY_SHARD) w->shard = (int32_t)(header->shard & UINT16_MAX);
    if (header->shard != (uint32_t)w->shard)
        return walk_refuse(w, RESULT_CORRUPT, "segment " DISK_SEGMENT_NAME ": belongs to shard %u, not %d", number,
                           header->shard, w->shard);
    if (position == 0) w->epoch_base = header->epoch - number;
    else if (number != w->numbers[position - 1] + 1)
        return walk_refuse(w, RESULT_CORRUPT, "segment " DISK_SEGMENT_NAME " is missing", w->numbers[position - 1] + 1);
    if (header->epoch != w->epoch_base + number)
        return walk_refuse(w, RESULT_CORRUPT, "segment " DISK_SEGMENT_NAME ": is of another log", number);
    result = walk_bytes(w, number, header->size_bytes - 1, 1, &bytes);
    if (result == RESULT_OK && bytes == NULL)
        return walk_refuse(w, RESULT_CORRUPT, "segment " DISK_SEGMENT_NAME ": shorter than the %" PRIu64 " bytes it should have",
                           number, header->size_bytes);
    return result;
}

/* Reads what stands at `offset`, whatever it is. A header that cannot be the one looked for saves reading a body: with
 * `index_min`, lower ones are not good. */
static enum result walk_record(struct walk *w, const struct segment_header *segment, uint64_t offset, uint64_t index_min,
                               struct record *record)
{
    *record = (struct record){.offset = offset};
    const uint8_t *bytes = NULL;
    uint64_t room = segment->size_bytes - offset;
    if (room < COMMITLOG_RECORD_HEADER_SIZE) return RESULT_OK;
    enum result result = walk_bytes(w, segment->number, offset, COMMITLOG_RECORD_HEADER_SIZE, &bytes);
    if (result != RESULT_OK || bytes == NULL) return result;
    record_header_decode(&record->header, bytes);
    const uint32_t len = record->header.len;
    bool plausible = len >= COMMITLOG_RECORD_HEADER_SIZE && len <= COMMITLOG_RECORD_SIZE_MAX + COMMITLOG_RECORD_HEADER_SIZE &&
                     len <= room && record->header.index >= index_min && record->header.index > 0 &&
                     record->header.index < UINT64_MAX;
    if (!plausible) return RESULT_OK;
    result = walk_bytes(w, segment->number, offset, len, &record->bytes);
    if (result != RESULT_OK || record->bytes == NULL) return result;
    record->good = record_hash_fits(&record->header, record->bytes, segment->epoch);
    return RESULT_OK;
}

/* Where the batch of a record begins; nowhere (UINT64_MAX) when it claims a place before the segment's first batch. */
static uint64_t batch_start_of(const struct segment_header *segment, const struct record *record)
{
    uint64_t block_start = round_down(record->offset, segment->block_size_bytes);
    uint64_t distance = (uint64_t)record->header.batch_block * segment->block_size_bytes;
    return distance + segment->block_size_bytes > block_start ? UINT64_MAX : block_start - distance;
}

/* ---- the walk ------------------------------------------------------------------------------------------------------- */

static enum result walk_deliver(struct walk *w, const struct segment_header *segment, const struct record *record)
{
    const uint64_t index = record->header.index;
    if (w->first_index == 0) {
        w->first_index = index;
        if (index > w->after && index - w->after > 1 && w->after != UINT64_MAX)
            return walk_refuse(w, RESULT_CORRUPT,
                               "segment " DISK_SEGMENT_NAME ": the log begins at index %" PRIu64
                               ", but what is stored ends at %" PRIu64 ": records between them are missing",
                               segment->number, index, w->after);
    }
    w->expected = index + 1;
    if (w->after != UINT64_MAX && index <= w->after) return RESULT_OK;
    const struct commitlog_record out = {
        .index = index,
        .term = record->header.term,
        .type = record->header.type,
        .batch_block = record->header.batch_block,
        .body = slice_of(record->bytes + COMMITLOG_RECORD_HEADER_SIZE, record->header.len - COMMITLOG_RECORD_HEADER_SIZE),
        .segment = segment->number,
        .offset = record->offset,
    };
    enum result result = w->each(w->each_context, &out);
    if (result != RESULT_OK)
        return walk_refuse(w, result, "segment " DISK_SEGMENT_NAME ", offset %" PRIu64 ": record %" PRIu64 " was refused (%s)",
                           segment->number, record->offset, index, result_text(result));
    return RESULT_OK;
}

/* Whether a good record is the next of the log. */
static bool walk_is_next(const struct walk *w, const struct record *record)
{
    if (record->header.type == COMMITLOG_SEAL) return w->first_index != 0 && record->header.index + 1 == w->expected;
    return w->expected == 0 || record->header.index == w->expected;
}

/* Hands out the records of one segment. *end: behind the last one; its padding is not counted in, because a lost sector of an
 * unfinished batch looks like padding. *last_batch: where the batch of the last one begins. */
static enum result walk_segment(struct walk *w, const struct segment_header *segment, uint64_t *last_batch, uint64_t *end)
{
    const uint32_t block = segment->block_size_bytes;
    uint64_t offset = block, batch_start = block;
    *last_batch = *end = block;
    while (offset < segment->size_bytes) {
        struct record record;
        enum result result = walk_record(w, segment, offset, 0, &record);
        if (result != RESULT_OK) return result;
        if (!record.good) {
            bool padding = record.header.len == 0 && offset % block != 0;
            if (!padding) return RESULT_OK;
            offset = batch_start = round_up(offset, block);
            continue;
        }
        if (offset % block == 0 && record.header.batch_block == 0) batch_start = offset;
        bool in_place = batch_start_of(segment, &record) == batch_start;
        if (!in_place || !walk_is_next(w, &record)) return RESULT_OK; /* walk_prove_nothing_behind() judges it */
        w->sealed = record.header.type == COMMITLOG_SEAL;
        if (!w->sealed) result = walk_deliver(w, segment, &record);
        if (result != RESULT_OK) return result;
        offset += round_up(record.header.len, COMMITLOG_RECORD_ALIGNMENT);
        *last_batch = batch_start;
        *end = offset;
    }
    return RESULT_OK;
}

/* Searches the segment for good records from `from` on, where the next record of the log should stand and does not. One whose
 * batch began at or before `from` is the rest of the batch a crash tore. One whose batch began later, or that itself begins a
 * batch at `from` and yet is not the next of the log, proves that the bytes missing at `from` had been acknowledged. */
static enum result walk_prove_nothing_behind(struct walk *w, const struct segment_header *segment, uint64_t from)
{
    const uint32_t block = segment->block_size_bytes;
    uint64_t offset = round_up(from, block);
    if (offset == 0) offset = block;
    for (; offset < segment->size_bytes; offset += block) {
        struct record record;
        enum result result = walk_record(w, segment, offset, w->expected, &record);
        if (result != RESULT_OK) return result;
        if (!record.good) continue;
        uint64_t batch_start = batch_start_of(segment, &record);
        if (batch_start > from || (batch_start == from && offset == from))
            return walk_refuse(w, RESULT_CORRUPT,
                               "segment " DISK_SEGMENT_NAME ", offset %" PRIu64 ": bad bytes where record %" PRIu64
                               " should be; record %" PRIu64 ", written after it, is whole in segment " DISK_SEGMENT_NAME
                               " at offset %" PRIu64,
                               w->numbers[w->tail], w->tail_next, w->expected, record.header.index, segment->number, offset);
        w->torn = true;
    }
    return RESULT_OK;
}

/* Finds where the next record would stand: behind padding, if what follows the last one is padding; else right there, and the
 * batch is visibly torn. So it is when the next record's header stands there without the rest. */
static enum result walk_look_at_tail(struct walk *w)
{
    const struct segment_header *segment = &w->headers[w->tail];
    const uint64_t block_end = round_up(w->tail_end, segment->block_size_bytes);
    const uint32_t padding = (uint32_t)(block_end - w->tail_end);
    const uint8_t *bytes;
    enum result result = walk_bytes(w, segment->number, w->tail_end, padding, &bytes);
    if (result != RESULT_OK) return result;
    ASSERT(bytes != NULL); /* the header was checked against the segment's size */
    w->tail_next = block_end;
    for (uint32_t i = 0; i < padding; i++)
        if (bytes[i] != 0) w->tail_next = w->tail_end;
    w->torn = w->tail_next != block_end;
    if (w->torn || block_end == segment->size_bytes) return RESULT_OK;
    struct record record;
    result = walk_record(w, segment, block_end, 0, &record);
    bool begun = record.header.index == w->expected || (record.header.type == COMMITLOG_SEAL && record.header.index + 1 == w->expected);
    if (w->expected != 0 && record.header.len != 0 && begun) w->torn = true;
    return result;
}

static enum result walk_tail(struct walk *w)
{
    if (w->first_index == 0 && w->count > 0 && w->numbers[0] != 1)
        return walk_refuse(w, RESULT_CORRUPT,
                           "segment " DISK_SEGMENT_NAME ", offset %u: no record where the oldest of the log should be", w->numbers[0],
                           w->headers[0].block_size_bytes);
    enum result result = walk_look_at_tail(w);
    for (uint32_t i = w->tail; i < w->count && result == RESULT_OK; i++) {
        /* The batch under way at a crash stood at the tail's end or, when it did not fit there, first in the next segment. */
        uint64_t from = i == w->tail ? w->tail_next : i == w->tail + 1 ? w->headers[i].block_size_bytes : 0;
        result = walk_prove_nothing_behind(w, &w->headers[i], from);
    }
    return result;
}

/* A segment is ready before it is needed. So the one that was made last has no records while the one before it has none, or has room for
 * any record: to lose it is to lose nothing. Of every other that is missing nobody can tell. */
static bool walk_missing_is_empty(const struct walk *w)
{
    const struct segment_header *last = &w->headers[w->count - 1];
    if (w->noted != last->number + 1) return false;
    if (w->tail < w->count - 1) return true;
    uint64_t room = last->size_bytes - round_up(w->tail_end, last->block_size_bytes);
    return room >= commitlog_body_size_max(last->size_bytes, last->block_size_bytes) + COMMITLOG_RECORD_HEADER_SIZE + COMMITLOG_RECORD_ALIGNMENT;
}

static enum result walk_compare_note(struct walk *w)
{
    const uint64_t last = w->numbers[w->count - 1];
    if (last >= w->noted || walk_missing_is_empty(w)) return RESULT_OK;
    return walk_refuse(w, RESULT_CORRUPT, "segment " DISK_SEGMENT_NAME " is missing: it was made, and the log ends with segment " DISK_SEGMENT_NAME
                       "; put back what is missing, or restore the whole directory from a backup", w->noted, last);
}

static enum result walk_headers(struct walk *w)
{
    uint64_t size_bytes_max = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        enum result result = walk_header(w, i);
        if (result != RESULT_OK) return result;
        if (w->headers[i].size_bytes > size_bytes_max) size_bytes_max = w->headers[i].size_bytes;
    }
    return walk_widen(w, size_bytes_max < WALK_WINDOW_SIZE ? (uint32_t)size_bytes_max : WALK_WINDOW_SIZE);
}

/* Finds where to begin: nobody asks for records up to `after`, so the segments before the last one whose first record is not behind
 * after + 1 are not read. */
static enum result walk_skip_covered(struct walk *w, uint32_t *first)
{
    *first = 0;
    w->expected = w->numbers[0] == 1 ? 1 : 0;
    if (w->after == 0 || w->after == UINT64_MAX) return RESULT_OK; /* nothing is stored elsewhere */
    for (uint32_t i = w->count - 1; i > 0; i--) {
        struct record record;
        enum result result = walk_record(w, &w->headers[i], w->headers[i].block_size_bytes, 0, &record);
        if (result != RESULT_OK) return result;
        if (!record.good || record.header.batch_block != 0 || record.header.index > w->after + 1) continue;
        for (uint32_t skipped = 0; skipped < i; skipped++) w->lasts[skipped] = w->after; /* at the most */
        *first = i;
        w->expected = record.header.index;
        break;
    }
    return RESULT_OK;
}

static enum result walk_all(struct walk *w)
{
    enum result headers = walk_headers(w);
    if (headers != RESULT_OK) return headers;
    uint32_t first;
    enum result skip = walk_skip_covered(w, &first);
    if (skip != RESULT_OK) return skip;
    for (uint32_t i = first; i < w->count; i++) {
        uint64_t last_batch, end;
        uint64_t before = w->expected;
        enum result result = walk_segment(w, &w->headers[i], &last_batch, &end);
        if (result != RESULT_OK) return result;
        bool empty = w->expected == before;
        w->lasts[i] = w->first_index == 0 ? 0 : w->expected - 1;
        if (empty && i > first) break;
        w->tail = i;
        w->tail_batch = last_batch;
        w->tail_end = end;
    }
    enum result tail = walk_tail(w);
    return tail == RESULT_OK ? walk_compare_note(w) : tail;
}

static enum result walk_init(struct walk *w)
{
    enum result result = w->disk->ops->list(w->disk, &w->numbers, &w->count);
    if (result != RESULT_OK) return walk_refuse(w, result, "cannot list the segments (%s)", result_text(result));
    if (w->count > COMMITLOG_SEGMENTS_MAX)
        return walk_refuse(w, RESULT_TOO_LARGE, "%u segments, more than %u", w->count, COMMITLOG_SEGMENTS_MAX);
    result = w->disk->ops->newest(w->disk, &w->noted);
    if (result == RESULT_MISSING || result == RESULT_CORRUPT) w->noted = 0;
    else if (result != RESULT_OK) return walk_refuse(w, result, "cannot read which segment is the newest (%s)", result_text(result));
    w->headers = calloc((size_t)w->count + 1, sizeof *w->headers);
    w->lasts = calloc((size_t)w->count + 1, sizeof *w->lasts);
    if (w->headers == NULL || w->lasts == NULL) return walk_refuse(w, RESULT_NOMEM, "%s", result_text(RESULT_NOMEM));
    return walk_widen(w, COMMITLOG_BLOCK_SIZE_MAX);
}

static void walk_deinit(struct walk *w)
{
    free(w->numbers);
    free(w->window);
    free(w->headers);
    free(w->lasts);
}

/* What is known of a torn tail, and what is not. */
static const char torn_note[] =
    "either what was being written when the server ended, of which nobody was told, or the last batch before that, damaged on the disk "
    "since; after a crash the log cannot tell them apart (after a stop in order, or a second without writes, it can, and refuses)";

/* ---- open ----------------------------------------------------------------------------------------------------------- */

/* The last batch, as it was read; the batches before it were durable before it was begun. */
static enum result walk_last_batch(struct walk *w, struct slice *batch)
{
    const uint8_t *bytes;
    const uint32_t len = (uint32_t)(w->tail_end - w->tail_batch);
    enum result result = walk_bytes(w, w->headers[w->tail].number, w->tail_batch, len, &bytes);
    ASSERT(result != RESULT_OK || bytes != NULL); /* the header was checked against the segment's size */
    *batch = result == RESULT_OK ? slice_of(bytes, len) : SLICE_EMPTY;
    return result;
}

/* Overwrites what an unfinished batch may have left behind the tail, and makes what was read durable. */
static enum result walk_clean(struct walk *w)
{
    struct disk *disk = w->disk;
    struct slice last = SLICE_EMPTY;
    enum result result = walk_last_batch(w, &last);
    for (uint32_t i = w->tail; i < w->count && result == RESULT_OK; i++) {
        const struct segment_header *segment = &w->headers[i];
        if (i != w->tail) last = SLICE_EMPTY;
        uint64_t from = i == w->tail ? w->tail_end : segment->block_size_bytes;
        uint64_t until = round_up(from, segment->block_size_bytes) + commitlog_batch_size_max(segment->block_size_bytes);
        if (until > segment->size_bytes) until = segment->size_bytes;
        result = disk->ops->cut(disk, segment->number, from - last.len, last, until);
        if (result != RESULT_OK)
            return walk_refuse(w, result, "segment " DISK_SEGMENT_NAME ": cannot cut the tail at offset %" PRIu64 " (%s)",
                               segment->number, from, result_text(result));
    }
    return result;
}

/* Whether the log can go on writing into segments of this shape. */
static bool segment_suits(const struct segment_header *segment, const struct disk *disk)
{
    return segment->block_size_bytes == disk->block_size_bytes && segment->size_bytes == disk->segment_size_bytes;
}

/* A note that is behind, after a crash or on a full disk, only notices less; one that is ahead would refuse the next start. */
static enum result walk_note(struct walk *w, uint64_t newest)
{
    if (newest == w->noted) return RESULT_OK;
    enum result result = w->disk->ops->note_newest(w->disk, newest);
    if (result == RESULT_OK || (result == RESULT_FULL && newest > w->noted)) return RESULT_OK;
    return walk_refuse(w, result, "cannot note that segment " DISK_SEGMENT_NAME " is the newest (%s)", newest, result_text(result));
}

/* The segments behind the tail are empty and ready, unless they were made for other sizes. *ready: the last one that is. */
static enum result walk_keep_ready(struct walk *w, uint64_t *ready)
{
    struct disk *disk = w->disk;
    uint32_t keep = w->tail + 1;
    while (keep < w->count && segment_suits(&w->headers[keep], disk)) keep++;
    *ready = w->numbers[keep - 1];
    enum result noted = walk_note(w, *ready);
    if (noted != RESULT_OK) return noted;
    for (uint32_t i = w->count; i > keep; i--) {
        enum result result = disk->ops->retire(disk, w->numbers[i - 1]);
        if (result != RESULT_OK)
            return walk_refuse(w, result, "segment " DISK_SEGMENT_NAME ": cannot be retired (%s)", w->numbers[i - 1],
                               result_text(result));
    }
    return RESULT_OK;
}

/* Makes the log what was read of it. *ready: the last segment that can be written. */
static enum result walk_take(struct walk *w, bool made_before, uint64_t *ready)
{
    if (made_before && w->noted == 0)
        LOG_WARN("log", "what was noted of the newest segment is missing or damaged: a loss of the newest segments would not be noticed "
                 "shard=%d newest=" DISK_SEGMENT_NAME " note=\"it is noted again\"", w->shard, w->numbers[w->count - 1]);
    if (w->torn)
        LOG_WARN("log", "the tail is cut shard=%d segment=" DISK_SEGMENT_NAME " offset=%" PRIu64 " note=\"%s\"", w->shard,
                 w->numbers[w->tail], w->tail_next, torn_note);
    enum result result = walk_clean(w);
    return result == RESULT_OK ? walk_keep_ready(w, ready) : result;
}

static enum result commitlog_begin(struct commitlog *log, struct walk *w)
{
    if (log->options.made_before || w->noted > 0)
        return walk_refuse(w, RESULT_CORRUPT, "the log is missing: not one of its segments is there");
    if (w->after > 0)
        return walk_refuse(w, RESULT_CORRUPT, "the log is missing: what is stored holds everything up to index %" PRIu64, w->after);
    log->epoch_base = log->options.epoch_base;
    enum result result = log->options.look_only ? RESULT_OK : commitlog_make_segment(log, 1);
    if (result != RESULT_OK)
        return walk_refuse(w, result, "cannot make the first segment, %" PRIu64 " bytes (%s)",
                           log->options.disk->segment_size_bytes, result_text(result));
    log->first_number = log->tail_number = 1;
    log->tail_offset = log->options.disk->block_size_bytes;
    log->tail_size_bytes = log->options.disk->segment_size_bytes;
    atomic_store(&log->ready_number, 1);
    return RESULT_OK;
}

static enum result commitlog_resume(struct commitlog *log, struct walk *w)
{
    enum result result = walk_all(w);
    if (result != RESULT_OK) return result;
    uint64_t last = w->first_index == 0 ? 0 : w->expected - 1;
    if (last < w->after)
        return walk_refuse(w, RESULT_CORRUPT,
                           "segment " DISK_SEGMENT_NAME ", offset %" PRIu64 ": the log ends at index %" PRIu64
                           ", but what is stored holds everything up to %" PRIu64,
                           w->numbers[w->tail], w->tail_next, last, w->after);
    uint64_t ready = w->numbers[w->count - 1];
    result = log->options.look_only ? RESULT_OK : walk_take(w, log->options.made_before, &ready);
    if (result != RESULT_OK) return result;

    const struct segment_header *tail = &w->headers[w->tail];
    log->epoch_base = w->epoch_base;
    log->first_number = w->numbers[0];
    log->tail_number = tail->number;
    log->tail_size_bytes = tail->size_bytes;
    /* A tail in blocks of another size takes no more: the log goes on in the next segment. */
    bool same_blocks = tail->block_size_bytes == log->options.disk->block_size_bytes;
    log->tail_offset = same_blocks ? round_up(w->tail_end, tail->block_size_bytes) : tail->size_bytes;
    for (uint32_t i = 0; i < w->tail; i++) *commitlog_segment_last(log, w->numbers[i]) = w->lasts[i];
    log->last_index = log->written_index = log->durable_index = last;
    log->sealed_index = w->sealed ? last : 0;
    atomic_store(&log->ready_number, ready);
    return RESULT_OK;
}

enum result commitlog_open(struct commitlog **out, const struct commitlog_options *options, uint64_t after,
                           commitlog_record_f each, void *each_context, char *text, size_t text_size)
{
    *out = NULL;
    struct walk w = {.disk = options->disk, .shard = options->shard, .after = after, .each = each,
                     .each_context = each_context, .text = text, .text_size = text_size};
    ASSERT(after != UINT64_MAX && each != NULL);
    struct commitlog *log = commitlog_create(options);
    enum result result = log == NULL ? walk_refuse(&w, RESULT_NOMEM, "%s", result_text(RESULT_NOMEM)) : walk_init(&w);
    if (result == RESULT_OK) result = w.count == 0 ? commitlog_begin(log, &w) : commitlog_resume(log, &w);
    walk_deinit(&w);
    if (result != RESULT_OK) {
        if (log != NULL) commitlog_destroy(log);
        return result;
    }
    atomic_store(&log->retire_end, log->first_number);
    atomic_store(&log->retired_end, log->first_number);
    atomic_store(&log->wanted_number, log->tail_number + 1);
    log->shut = options->look_only;
    *out = log;
    return RESULT_OK;
}

enum result commitlog_scan(struct disk *disk, commitlog_record_f each, void *context, uint64_t *torn_offset, char *text,
                           size_t text_size)
{
    /* UINT64_MAX: nothing is stored elsewhere that the log would have to continue. */
    struct walk w = {.disk = disk, .shard = WALK_ANY_SHARD, .after = UINT64_MAX, .each = each, .each_context = context,
                     .text = text, .text_size = text_size};
    ASSERT(each != NULL);
    *torn_offset = 0;
    enum result result = walk_init(&w);
    if (result == RESULT_OK && w.count > 0) result = walk_all(&w);
    if (result == RESULT_OK && w.torn) {
        *torn_offset = w.tail_next;
        walk_refuse(&w, RESULT_OK, "segment " DISK_SEGMENT_NAME ", offset %" PRIu64
                    ": cut by the next start: %s", w.numbers[w.tail], w.tail_next, torn_note);
    }
    walk_deinit(&w);
    return result;
}
