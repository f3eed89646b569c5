/* storage/rocks_write.c - staging and committing batches, holding them back while RocksDB takes none, and flushes.
 *
 * Happy path: staged operations go into one WriteBatch, the applied index is added, written. Flushes run in RocksDB's own
 * threads; what they made durable is read back with the "persisted" read tier, which skips the memtables. A trim is only noted: what it lets
 * go of is left out by the compactions that come by once it is durable (trims.h), which changes nothing that anybody reads.
 * (RocksDB's DeleteRange would need the memtable's insert hint switched off: both share the hint of a prefix, and would corrupt each other's list.)
 *
 * Failure modes: a write stall or a full disk makes RocksDB refuse a batch whole. The operations then wait in an indexed batch
 * (`held`) through which all reads go, so reads neither wait for the disk nor see an older state; the next try writes all
 * of it. The shard bounds it by store_backlog_bytes(). Damage (rocks_damage.c) holds everything back for good. Any other write error is
 * fatal: RocksDB does not recover from it while open, and the log holds everything. */
#include "storage/rocks_internal.h"
#include <stdlib.h>
#include <string.h>

#define FLUSHES_WAITING_MAX 4

enum operation { OPERATION_PUT = 1, OPERATION_DELETE = 2, OPERATION_TRIM = 3 };

static void rocks_put(struct rocks *rocks, struct slice key, struct slice value)
{
    const char *k = (const char *)key.data, *v = (const char *)value.data;
    if (rocks->held != NULL) rocksdb_writebatch_wi_put(rocks->held, k, key.len, v, value.len);
    else rocksdb_writebatch_put(rocks->staged, k, key.len, v, value.len);
}

static void rocks_stage_put(struct rocks *rocks, struct slice key, struct slice value)
{
    uint8_t row[APART_ROW_SIZE];
    if (rocks_is_apart(rocks, key)) {
        ASSERT(!rocks_is_place(value));
        if (rocks_put_apart(rocks, value, row)) value = slice_of(row, sizeof row);
    }
    rocks_put(rocks, key, value);
}

void rocks_stage(struct rocks *rocks, struct slice operations)
{
    struct cursor c = cursor_of(operations);
    rocks->half = true;
    rocks->staged_bytes += operations.len;
    while (cursor_left(&c) > 0) {
        uint8_t operation = cursor_u8(&c);
        struct slice key = cursor_bytes(&c);
        ASSERT(!c.bad && key.len > 0 && key.data[0] != 0); /* kind 0x00 is ours */
        ASSERT(operation == OPERATION_PUT || operation == OPERATION_DELETE || operation == OPERATION_TRIM);
        if (operation == OPERATION_TRIM) {
            trims_note(rocks->trims, key);
        } else if (operation == OPERATION_PUT) {
            struct slice value = cursor_bytes(&c);
            ASSERT(!c.bad);
            rocks_stage_put(rocks, key, value);
        } else if (rocks->held != NULL) {
            rocksdb_writebatch_wi_delete(rocks->held, (const char *)key.data, key.len);
        } else {
            rocksdb_writebatch_delete(rocks->staged, (const char *)key.data, key.len);
        }
    }
}

/* ---- room for a write, and flushes ---------------------------------------------------------------------------------- */

enum result rocks_flush_waiting(struct rocks *rocks, bool wait)
{
    char text[LOGGER_LINE_MAX / 2];
    char *error = NULL;
    if (rocks->read_only || rocks->damaged) return RESULT_OK;
    if (!rocks_sync_values(rocks)) return RESULT_FULL;
    rocks->flushing = rocks->written;
    rocksdb_flushoptions_set_wait(rocks->flush_options, wait);
    rocksdb_flush(rocks->db, rocks->flush_options, &error);
    /* A flush that fails shows in the durable index, which stays; nothing is lost by it. */
    enum result result = rocks_result(error, text, sizeof text);
    if (result == RESULT_CORRUPT) rocks_note_damage(rocks, text);
    else if (result != RESULT_OK)
        LOG_WARN("store", "flush failed path=\"%s\" error=\"%s\"", rocks->path, text);
    return result;
}

/* A flush that RocksDB would make wait is not asked for: it waits inside the call. */
static bool flush_would_wait(struct rocks *rocks)
{
    uint64_t waiting = 0, l0_files = 0;
    char *text = rocksdb_property_value(rocks->db, "rocksdb.num-files-at-level0");
    (void)rocksdb_property_int(rocks->db, "rocksdb.num-immutable-mem-table", &waiting);
    if (text != NULL) l0_files = strtoull(text, NULL, 10);
    rocksdb_free(text);
    return waiting >= FLUSHES_WAITING_MAX || l0_files + waiting + 1 >= L0_FILES_STALL;
}

bool rocks_flush(struct rocks *rocks)
{
    if (flush_would_wait(rocks)) return false;
    (void)rocks_flush_waiting(rocks, false);
    return true;
}

static void rocks_weigh_active(struct rocks *rocks)
{
    rocks->active_bytes = 0;
    (void)rocksdb_property_int(rocks->db, "rocksdb.cur-size-active-mem-table", &rocks->active_bytes);
}

/* Before every write: begins the flush of a memtable that is full. OK: write now. BUSY, FULL: hold back. */
static enum result rocks_make_room(struct rocks *rocks)
{
    const uint64_t limit = rocks->options.memtable_size_bytes;
    /* So large a write could fill RocksDB's own memtable. */
    if (rocks->staged_bytes >= limit / 2 && !rocks_sync_values(rocks)) return RESULT_FULL;
    if (rocks->active_bytes < limit) return RESULT_OK;
    rocks_weigh_active(rocks); /* RocksDB flushes by itself after a full disk */
    if (rocks->active_bytes < limit) return RESULT_OK;
    if (flush_would_wait(rocks)) return RESULT_BUSY;
    enum result result = rocks_flush_waiting(rocks, false);
    return result == RESULT_FULL ? RESULT_FULL : result == RESULT_OK ? RESULT_OK : RESULT_BUSY;
}

/* The memtable has what was staged. */
static void rocks_note_written(struct rocks *rocks)
{
    rocks->written = rocks->applied;
    rocks->staged_bytes = 0;
    rocks->full = false;
    rocks_weigh_active(rocks);
}

static void rocks_note_full(struct rocks *rocks, bool full)
{
    if (full && !rocks->full) LOG_WARN("store", "disk is full, writes wait path=\"%s\"", rocks->path);
    if (full) (void)rocks_sync_values(rocks);
    rocks->full = full;
}

/* Judges a write's error: true: written; false: to be tried again. */
static bool rocks_wrote(struct rocks *rocks, char *error)
{
    char text[LOGGER_LINE_MAX / 2];
    enum result result = rocks_result(error, text, sizeof text);
    if (result == RESULT_OK) {
        rocks_note_written(rocks);
        return true;
    }
    bool limited = strstr(text, "File too large") != NULL; /* RocksDB goes on after a full disk, after this it does not */
    if (result == RESULT_CORRUPT) rocks_note_damage(rocks, text);
    else if (result != RESULT_BUSY && result != RESULT_FULL)
        check_fatal("store %s: %s%s", rocks->path, text, limited ? ": the size of a file is limited (ulimit -f, LimitFSIZE=); the log holds everything" : "");
    rocks_note_full(rocks, result == RESULT_FULL);
    return false;
}

static void held_put(void *held, const char *key, size_t key_len, const char *value, size_t value_len)
{
    rocksdb_writebatch_wi_put(held, key, key_len, value, value_len);
}

static void held_delete(void *held, const char *key, size_t key_len) { rocksdb_writebatch_wi_delete(held, key, key_len); }

static void rocks_hold_back(struct rocks *rocks)
{
    ASSERT(rocks->held == NULL);
    rocks->held = rocksdb_writebatch_wi_create(0, 1);
    rocksdb_writebatch_iterate(rocks->staged, rocks->held, held_put, held_delete);
    rocksdb_writebatch_clear(rocks->staged);
}

bool rocks_retry(struct rocks *rocks)
{
    if (rocks->held == NULL) return true;
    if (rocks->damaged || rocks->options.look_only) return false;
    if (rocks->read_only && !rocks_open_for_writing(rocks)) return false;
    if (rocks->half) return false; /* the held ones would go without the index of which they are the state */
    enum result room = rocks_make_room(rocks);
    if (room != RESULT_OK) {
        rocks_note_full(rocks, room == RESULT_FULL);
        return false;
    }
    char *error = NULL;
    rocksdb_write_writebatch_wi(rocks->db, rocks->write_options, rocks->held, &error);
    if (!rocks_wrote(rocks, error)) return false;
    rocksdb_writebatch_wi_destroy(rocks->held);
    rocks->held = NULL;
    return true;
}

static bool rocks_write_staged(struct rocks *rocks)
{
    if (rocks->read_only || rocks->damaged || rocks_make_room(rocks) != RESULT_OK) {
        rocks_hold_back(rocks);
        return rocks_retry(rocks);
    }
    char *error = NULL;
    rocksdb_write(rocks->db, rocks->write_options, rocks->staged, &error);
    bool written = rocks_wrote(rocks, error);
    if (written) rocksdb_writebatch_clear(rocks->staged);
    else rocks_hold_back(rocks);
    return written;
}

bool rocks_commit(struct rocks *rocks, uint64_t applied)
{
    ASSERT(applied >= rocks->applied);
    rocks->applied = applied;
    rocks->half = false;
    struct applied row = {applied, rocks->values == NULL ? 0 : valuelog_end(rocks->values)};
    rocks_put(rocks, slice_of(APPLIED_KEY, APPLIED_KEY_SIZE), slice_of(&row, sizeof row));
    trims_stamp(rocks->trims, applied);
    return rocks->held != NULL ? rocks_retry(rocks) : rocks_write_staged(rocks);
}

bool rocks_holds_back(const struct rocks *rocks) { return rocks->held != NULL; }
bool rocks_is_full(const struct rocks *rocks) { return rocks->full; }

uint64_t rocks_applied_index(const struct rocks *rocks) { return rocks->applied; }
uint64_t rocks_flushing_index(const struct rocks *rocks) { return rocks->flushing; }
