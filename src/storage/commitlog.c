/* storage/commitlog.c - the living half of the commit log: append, flush, durable; trim and maintenance. commitlog_recover.c
 * is the other half: what open finds and decides.
 *
 * Happy path: append puts a whole record, all but its place in a batch, behind the others in the open chunk. flush closes the
 * oldest chunk: there each record gets batch_block and hash (both need the segment, known only now), and the disk writes it from
 * where it stands. The completion moves durable_index and tells the owner; what is released too becomes a spare chunk. The
 * storage thread has the next segment ready long before the tail is full, so going on to it is an assignment.
 *
 * Failure modes: a disk without room for the next segment makes append refuse what would not fit the tail any more; one
 * without room for a write keeps the batch and tries it again a second later. A failed write or sync is fatal. */
#include "core/check.h"
#include "storage/commitlog_internal.h"
#include <stdlib.h>

#define SPARE_COUNT_MAX 32 /* empty chunks kept for the next batches */

static void commitlog_on_written(struct disk_write *write, enum result result);

/* ---- chunks --------------------------------------------------------------------------------------------------------- */

static struct chunk *chunk_create(uint32_t capacity)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL) return NULL;
    chunk->capacity = capacity;
    chunk->bytes = aligned_alloc(COMMITLOG_BLOCK_SIZE_MAX, round_up(capacity, COMMITLOG_BLOCK_SIZE_MAX));
    if (chunk->bytes != NULL) return chunk;
    free(chunk);
    return NULL;
}

static void chunk_destroy(struct chunk *chunk)
{
    free(chunk->bytes);
    free(chunk);
}

static void chunks_destroy(struct chunk *chunk)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        chunk_destroy(chunk);
        chunk = next;
    }
}

static void spare_push(struct commitlog *log, struct chunk *chunk)
{
    chunk->next = log->spare;
    log->spare = chunk;
    log->spare_count++;
}

/* An empty one of the usual size; NULL without memory. */
static struct chunk *chunk_take(struct commitlog *log)
{
    struct chunk *chunk = log->spare;
    if (chunk == NULL) return chunk_create(log->chunk_size_bytes);
    log->spare = chunk->next;
    log->spare_count--;
    chunk->next = NULL;
    chunk->used = 0;
    chunk->closed = false;
    return chunk;
}

/* Behind `before`, NULL: the first of all. */
static void chunk_insert(struct commitlog *log, struct chunk *before, struct chunk *chunk)
{
    struct chunk **link = before == NULL ? &log->oldest : &before->next;
    chunk->next = *link;
    *link = chunk;
    if (chunk->next == NULL) log->newest = chunk;
    log->held_size_bytes += chunk->capacity;
}

/* Where the next record of `size_bytes` goes; NULL without memory. */
static struct chunk *chunk_open(struct commitlog *log, uint32_t size_bytes)
{
    struct chunk *chunk = log->newest;
    if (chunk != NULL && !chunk->closed && size_bytes <= chunk->capacity - chunk->used) return chunk;
    chunk = size_bytes > log->chunk_size_bytes ? chunk_create(size_bytes) : chunk_take(log);
    if (chunk != NULL) chunk_insert(log, log->newest, chunk);
    return chunk;
}

static struct chunk *chunk_copy(struct commitlog *log, struct chunk *before, const uint8_t *bytes, uint32_t size_bytes,
                                uint64_t last_index)
{
    struct chunk *copy = chunk_take(log);
    if (copy == NULL) check_fatal("commit log of shard %u: out of memory for a batch", log->options.shard);
    memcpy(copy->bytes, bytes, size_bytes);
    copy->used = size_bytes;
    copy->last_index = last_index;
    chunk_insert(log, before, copy);
    return copy;
}

/* Only the bytes before `at` fit into what is left of a segment: two copies are written in place of `chunk`, which stays for
 * whoever reads its bodies. Gives the first of them. */
static struct chunk *chunk_split(struct commitlog *log, struct chunk *chunk, uint32_t at)
{
    ASSERT(at > 0 && at < chunk->used && chunk->used <= log->chunk_size_bytes);
    struct chunk *head = chunk_copy(log, chunk, chunk->bytes, at, log->written_index);
    struct chunk *rest = chunk_copy(log, head, chunk->bytes + at, chunk->used - at, chunk->last_index);
    rest->closed = chunk->closed;
    chunk->closed = true;
    return head;
}

void commitlog_release(struct commitlog *log, uint64_t index)
{
    if (index > log->released_index) log->released_index = index;
    while (log->oldest != NULL && log->oldest->closed && log->oldest->last_index <= log->durable_index &&
           log->oldest->last_index <= log->released_index) {
        struct chunk *chunk = log->oldest;
        log->oldest = chunk->next;
        if (log->oldest == NULL) log->newest = NULL;
        log->held_size_bytes -= chunk->capacity;
        if (chunk->capacity == log->chunk_size_bytes && log->spare_count < SPARE_COUNT_MAX) spare_push(log, chunk);
        else chunk_destroy(chunk);
    }
}

const uint8_t *commitlog_appended(const struct commitlog *log) { return log->appended; }

/* ---- life ----------------------------------------------------------------------------------------------------------- */

struct commitlog *commitlog_create(const struct commitlog_options *options)
{
    const struct disk *disk = options->disk;
    ASSERT(disk->block_size_bytes >= COMMITLOG_BLOCK_SIZE_MIN && disk->block_size_bytes <= COMMITLOG_BLOCK_SIZE_MAX);
    ASSERT(disk->segment_size_bytes % disk->block_size_bytes == 0);
    ASSERT(disk->segment_size_bytes >= 2ull * disk->block_size_bytes);
    ASSERT(options->now_ns != NULL && options->durable != NULL);

    struct commitlog *log = calloc(1, sizeof *log);
    if (log == NULL) return NULL;
    log->options = *options;
    log->body_size_max = commitlog_body_size_max(disk->segment_size_bytes, disk->block_size_bytes);
    log->write.done = commitlog_on_written;
    uint64_t room = disk->segment_size_bytes - disk->block_size_bytes;
    log->chunk_size_bytes = room < COMMITLOG_BATCH_SIZE_MAX ? (uint32_t)room : COMMITLOG_BATCH_SIZE_MAX;
    log->segment_last = calloc(COMMITLOG_SEGMENTS_MAX, sizeof *log->segment_last);
    log->seal = chunk_create(disk->block_size_bytes);
    if (log->segment_last == NULL || log->seal == NULL) {
        commitlog_destroy(log);
        return NULL;
    }
    return log;
}

void commitlog_destroy(struct commitlog *log)
{
    chunks_destroy(log->oldest);
    chunks_destroy(log->spare);
    chunks_destroy(log->seal);
    free(log->segment_last);
    free(log);
}

void commitlog_close(struct commitlog *log)
{
    ASSERT(log->state != COMMITLOG_WRITING);
    commitlog_destroy(log);
}

/* ---- append --------------------------------------------------------------------------------------------------------- */

/* Whether `size_bytes` more would still find room: in the tail, or in the segment that is ready behind it. */
static bool commitlog_has_room(const struct commitlog *log, uint32_t size_bytes)
{
    if (log->state == COMMITLOG_FULL || log->shut) return false;
    if (!log->full || atomic_load_explicit(&log->ready_number, memory_order_acquire) > log->tail_number) return true;
    uint64_t staged = round_up((uint64_t)log->staged_size_bytes + size_bytes, log->options.disk->block_size_bytes);
    uint64_t in_flight = log->state == COMMITLOG_WRITING ? log->batch_size_bytes : 0;
    return log->tail_offset + in_flight + staged <= log->tail_size_bytes;
}

enum result commitlog_append(struct commitlog *log, uint16_t type, struct slice body, uint64_t *index)
{
    ASSERT(type != COMMITLOG_SEAL);
    if (log->state == COMMITLOG_CLOSED) return RESULT_CLOSED;
    if (body.len > log->body_size_max) return RESULT_TOO_LARGE;
    uint32_t len = COMMITLOG_RECORD_HEADER_SIZE + body.len;
    uint32_t size_bytes = (uint32_t)round_up(len, COMMITLOG_RECORD_ALIGNMENT);
    if (!commitlog_has_room(log, size_bytes)) {
        if (log->options.metrics != NULL) metrics_add(&log->options.metrics->log_refused_full, 1);
        return RESULT_FULL;
    }
    uint64_t in_flight = log->state == COMMITLOG_WRITING ? log->batch_size_bytes : 0;
    uint64_t pending = in_flight + log->staged_size_bytes;
    if (pending > 0 && pending + size_bytes > log->options.pending_size_bytes_max) return RESULT_BUSY;
    if (log->held_size_bytes > COMMITLOG_HELD_SIZE_MAX) return RESULT_BUSY;

    struct chunk *chunk = chunk_open(log, size_bytes);
    if (chunk == NULL) return RESULT_NOMEM;
    uint8_t *bytes = chunk->bytes + chunk->used;
    *index = chunk->last_index = ++log->last_index;
    record_header_encode(&(struct record_header){.len = len, .type = type, .term = COMMITLOG_TERM, .index = *index}, bytes);
    if (body.len > 0) memcpy(bytes + COMMITLOG_RECORD_HEADER_SIZE, body.data, body.len);
    memset(bytes + len, 0, size_bytes - len);
    chunk->used += size_bytes;
    log->staged_size_bytes += size_bytes;
    log->appended = bytes + COMMITLOG_RECORD_HEADER_SIZE;
    if (log->cutting == NULL) log->cutting = chunk;
    return RESULT_OK;
}

void commitlog_set_shut(struct commitlog *log, bool shut) { log->shut = shut; }

uint32_t commitlog_body_limit(const struct commitlog *log) { return log->body_size_max; }

uint32_t commitlog_body_size_max(uint64_t segment_size_bytes, uint32_t block_size_bytes)
{
    uint64_t room = segment_size_bytes - block_size_bytes - COMMITLOG_RECORD_HEADER_SIZE;
    return room < COMMITLOG_RECORD_SIZE_MAX ? (uint32_t)room : COMMITLOG_RECORD_SIZE_MAX;
}

/* ---- flush ---------------------------------------------------------------------------------------------------------- */

/* Makes a batch of at most `room` bytes of the first chunk that waits. Gives the batch's size, padding included; 0 when not even the
 * first record fits. */
static uint32_t commitlog_cut(struct commitlog *log, uint64_t room)
{
    const uint32_t block = log->options.disk->block_size_bytes;
    const uint64_t epoch = log->epoch_base + log->tail_number;
    struct chunk *chunk = log->cutting;
    uint32_t used = 0;
    while (used < chunk->used) {
        uint8_t *record = chunk->bytes + used;
        uint32_t size_bytes = (uint32_t)round_up(record_len(record), COMMITLOG_RECORD_ALIGNMENT);
        ASSERT(size_bytes <= chunk->used - used);
        if (used + size_bytes > room) break;
        record_seal(record, (uint16_t)(used / block), epoch);
        used += size_bytes;
        log->written_index++;
    }
    if (used == 0) return 0;
    if (used < chunk->used) chunk = chunk_split(log, chunk, used);
    chunk->closed = true;
    log->batch = chunk;
    log->cutting = chunk->next;
    log->staged_size_bytes -= used;
    uint32_t padded = (uint32_t)round_up(used, block);
    memset(chunk->bytes + used, 0, padded - used);
    return padded;
}

/* Says which segments the worker wants ready: the one behind the tail, as long as another may live. */
static void commitlog_want_next(struct commitlog *log)
{
    bool may_live = log->tail_number + 1 - log->first_number < COMMITLOG_SEGMENTS_MAX;
    if (may_live) atomic_store_explicit(&log->wanted_number, log->tail_number + 1, memory_order_relaxed);
    else log->full = true;
}

/* The tail goes on to the next segment; false when that is not ready. */
static bool commitlog_advance(struct commitlog *log)
{
    if (atomic_load_explicit(&log->ready_number, memory_order_acquire) == log->tail_number) return false;
    *commitlog_segment_last(log, log->tail_number) = log->written_index;
    log->tail_number++;
    log->tail_offset = log->options.disk->block_size_bytes;
    log->tail_size_bytes = log->options.disk->segment_size_bytes;
    commitlog_want_next(log);
    return true;
}

/* Hands the batch to the disk, for the first time or after it was refused. */
static void commitlog_write(struct commitlog *log)
{
    ASSERT(log->state == COMMITLOG_COLLECTING || log->state == COMMITLOG_FULL);
    ASSERT(log->batch_size_bytes > 0 && log->tail_offset + log->batch_size_bytes <= log->tail_size_bytes);
    struct disk *disk = log->options.disk;
    log->state = COMMITLOG_WRITING;
    log->write_started_ns = log->options.now_ns(log->options.context);
    disk->ops->write_durable(disk, &log->write, log->tail_number, log->tail_offset, log->batch->bytes, log->batch_size_bytes);
}

static void commitlog_on_durable(struct commitlog *log)
{
    struct metrics *metrics = log->options.metrics;
    if (metrics != NULL) {
        metrics_add(&metrics->log_commits, 1);
        metrics_add(&metrics->log_written_bytes, log->batch_size_bytes);
        metrics_observe(&metrics->commit_ns, log->options.now_ns(log->options.context) - log->write_started_ns);
    }
    log->state = COMMITLOG_COLLECTING;
    log->tail_offset += log->batch_size_bytes;
    log->batch_size_bytes = 0;
    log->batch = NULL;
    log->durable_index = log->written_index;
    commitlog_release(log, log->options.hold ? log->released_index : log->durable_index);
    log->options.durable(log->options.context, log->durable_index);
}

/* Nothing new is durable. Without room for it the log does without. */
static void commitlog_on_sealed(struct commitlog *log, enum result result)
{
    log->state = COMMITLOG_COLLECTING;
    if (result == RESULT_OK) {
        log->tail_offset += log->batch_size_bytes;
        log->sealed_index = log->written_index;
    }
    log->batch_size_bytes = 0;
    log->batch = NULL;
}

static void commitlog_on_written(struct disk_write *write, enum result result)
{
    struct commitlog *log = CONTAINER_OF(write, struct commitlog, write);
    ASSERT(log->state == COMMITLOG_WRITING);
    if (log->batch == log->seal && (result == RESULT_OK || result == RESULT_FULL)) {
        commitlog_on_sealed(log, result);
    } else if (result == RESULT_OK) {
        commitlog_on_durable(log);
    } else if (result == RESULT_FULL) {
        log->state = COMMITLOG_FULL;
        log->retry_at_ns = log->options.now_ns(log->options.context) + COMMITLOG_RETRY_NS;
    } else if (result == RESULT_CLOSED) {
        log->state = COMMITLOG_CLOSED;
    } else {
        check_fatal("commit log of shard %u: writing %u bytes at offset %" PRIu64 " of segment " DISK_SEGMENT_NAME
                    " failed (%s); what the disk holds is unknown, so nothing more is acknowledged. Check the disk and start again",
                    log->options.shard, log->batch_size_bytes, log->tail_offset, log->tail_number, result_text(result));
    }
}

/* Sees what became of the wanted segment: after a failed try the next one waits a second, and a full disk refuses appends. */
static void commitlog_watch_maintenance(struct commitlog *log)
{
    enum result trouble = (enum result)atomic_load_explicit(&log->trouble, memory_order_relaxed);
    if (trouble == RESULT_OK) {
        if (atomic_load_explicit(&log->ready_number, memory_order_acquire) > log->tail_number) log->full = false;
        return;
    }
    uint64_t now_ns = log->options.now_ns(log->options.context);
    if (!log->maintenance_paused) {
        log->maintenance_paused = true;
        log->maintenance_resumes_ns = now_ns + COMMITLOG_RETRY_NS;
        log->full = trouble == RESULT_FULL;
    } else if (now_ns >= log->maintenance_resumes_ns) {
        log->maintenance_paused = false;
        atomic_store_explicit(&log->trouble, RESULT_OK, memory_order_relaxed);
    }
}

void commitlog_flush(struct commitlog *log)
{
    commitlog_watch_maintenance(log);
    switch (log->state) {
    case COMMITLOG_COLLECTING:
        if (log->staged_size_bytes == 0) return;
        log->batch_size_bytes = commitlog_cut(log, log->tail_size_bytes - log->tail_offset);
        if (log->batch_size_bytes == 0 && commitlog_advance(log)) {
            log->batch_size_bytes = commitlog_cut(log, log->tail_size_bytes - log->tail_offset);
            ASSERT(log->batch_size_bytes > 0);
        }
        if (log->batch_size_bytes > 0) commitlog_write(log);
        return;
    case COMMITLOG_FULL:
        if (log->options.now_ns(log->options.context) >= log->retry_at_ns) commitlog_write(log);
        return;
    case COMMITLOG_WRITING:
    case COMMITLOG_CLOSED: return;
    }
}

void commitlog_seal(struct commitlog *log)
{
    const uint32_t block = log->options.disk->block_size_bytes;
    bool useful = log->written_index > 0 && log->sealed_index != log->written_index;
    if (!useful || log->state != COMMITLOG_COLLECTING) return;
    if (log->tail_size_bytes - log->tail_offset < block) return;
    memset(log->seal->bytes, 0, block);
    record_header_encode(&(struct record_header){.len = COMMITLOG_RECORD_HEADER_SIZE, .type = COMMITLOG_SEAL, .term = COMMITLOG_TERM,
                                                 .index = log->written_index}, log->seal->bytes);
    record_seal(log->seal->bytes, 0, log->epoch_base + log->tail_number);
    log->batch = log->seal;
    log->batch_size_bytes = block;
    commitlog_write(log);
}

bool commitlog_is_sealed(const struct commitlog *log) { return log->sealed_index == log->durable_index; }

uint64_t commitlog_last_index(const struct commitlog *log) { return log->last_index; }
uint64_t commitlog_memory_bytes(const struct commitlog *log)
{
    return log->held_size_bytes + (uint64_t)log->spare_count * log->chunk_size_bytes;
}

uint64_t commitlog_durable_index(const struct commitlog *log) { return log->durable_index; }

bool commitlog_idle(const struct commitlog *log)
{
    return log->state != COMMITLOG_WRITING && log->state != COMMITLOG_FULL && log->staged_size_bytes == 0;
}

bool commitlog_collects(const struct commitlog *log) { return log->state == COMMITLOG_COLLECTING && log->staged_size_bytes > 0; }

bool commitlog_writing(const struct commitlog *log) { return log->state == COMMITLOG_WRITING; }

/* ---- segments ------------------------------------------------------------------------------------------------------- */

void commitlog_trim(struct commitlog *log, uint64_t index)
{
    /* The segment of the last durable record stays, whatever `index` says: from it the next start learns where to go on. */
    while (log->first_number < log->tail_number && *commitlog_segment_last(log, log->first_number) <= index &&
           *commitlog_segment_last(log, log->first_number) < log->durable_index)
        log->first_number++;
    atomic_store_explicit(&log->retire_end, log->first_number, memory_order_relaxed);
    commitlog_want_next(log);
}

enum result commitlog_make_segment(struct commitlog *log, uint64_t number)
{
    struct disk *disk = log->options.disk;
    _Alignas(COMMITLOG_BLOCK_SIZE_MAX) uint8_t block[COMMITLOG_BLOCK_SIZE_MAX];
    const struct segment_header header = {
        .shard = log->options.shard,
        .block_size_bytes = disk->block_size_bytes,
        .number = number,
        .epoch = log->epoch_base + number,
        .size_bytes = disk->segment_size_bytes,
    };
    segment_header_encode(&header, block);
    enum result result = disk->ops->open_segment(disk, number, block);
    if (result != RESULT_OK) return result;
    result = disk->ops->note_newest(disk, number);
    return result == RESULT_FULL ? RESULT_OK : result; /* the segment is there; a note that is behind only notices less */
}

static void commitlog_retire_one(struct commitlog *log, uint64_t number)
{
    struct disk *disk = log->options.disk;
    enum result result = disk->ops->retire(disk, number);
    if (result != RESULT_OK)
        check_fatal("commit log of shard %u: cannot retire segment " DISK_SEGMENT_NAME " (%s)", log->options.shard, number,
                    result_text(result));
    atomic_store_explicit(&log->retired_end, number + 1, memory_order_relaxed);
}

static void commitlog_prepare_one(struct commitlog *log, uint64_t number)
{
    struct disk *disk = log->options.disk;
    enum result result = disk->ops->prepare_spare(disk);
    if (result == RESULT_OK) {
        result = commitlog_make_segment(log, number);
        /* Release: the worker that sees the number also sees what the disk noted about the segment. */
        if (result == RESULT_OK) atomic_store_explicit(&log->ready_number, number, memory_order_release);
    } else if (result == RESULT_BUSY) {
        return; /* a step was made; the worker asks again */
    }
    if (result == RESULT_IO || result == RESULT_CORRUPT)
        check_fatal("commit log of shard %u: cannot make segment " DISK_SEGMENT_NAME " (%s)", log->options.shard, number,
                    result_text(result));
    if (result != RESULT_OK) atomic_store_explicit(&log->trouble, (int)result, memory_order_relaxed);
}

void commitlog_maintain(struct commitlog *log)
{
    uint64_t retired_end = atomic_load_explicit(&log->retired_end, memory_order_relaxed);
    uint64_t ready_number = atomic_load_explicit(&log->ready_number, memory_order_relaxed);
    if (retired_end < atomic_load_explicit(&log->retire_end, memory_order_relaxed)) {
        commitlog_retire_one(log, retired_end);
    } else if (ready_number < atomic_load_explicit(&log->wanted_number, memory_order_relaxed) &&
               atomic_load_explicit(&log->trouble, memory_order_relaxed) == RESULT_OK) {
        commitlog_prepare_one(log, ready_number + 1);
    }
}

bool commitlog_wants_maintenance(const struct commitlog *log)
{
    bool retire = atomic_load_explicit(&log->retired_end, memory_order_relaxed) <
                  atomic_load_explicit(&log->retire_end, memory_order_relaxed);
    bool prepare = atomic_load_explicit(&log->ready_number, memory_order_relaxed) <
                       atomic_load_explicit(&log->wanted_number, memory_order_relaxed) &&
                   atomic_load_explicit(&log->trouble, memory_order_relaxed) == RESULT_OK;
    return retire || prepare;
}
