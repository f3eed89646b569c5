/* storage/rocks.c - the one file that calls RocksDB.
 *
 * The promise (after a crash: the state after some log index, exactly) rests on five things: one column family, no WAL, the
 * applied index in the same write batch as its operations, memtables that RocksDB flushes oldest first, and a value log (below) that is
 * synced before a flush begins. Atomic flush is not used: with one column family it adds nothing, and through the C API it is unsafe.
 *
 * Values apart. The values of one kind, which are written once and kept (messages), go into the value log (valuelog.h), and the row has
 * their place. So merging, which would write them again at every level, moves 20 bytes for each:
 *
 *   row of a value apart  +---------+---------+--------------+-----------+      a value of that kind never begins with four zero bytes,
 *                         | u32 0   | u32 len | u64 position | u32 check |      so a row that holds the value itself (older ones, those of a
 *                         +---------+---------+--------------+-----------+      full disk) is told from this
 *   applied index         | u64 index | u64 end of the value log |              the end is missing: 0
 *
 * A flush makes rows durable, so RocksDB must not begin one by itself: its own limit of a memtable is far above the one kept here
 * (rocks_make_room), and it does not flush when it closes. One case remains: after a flush found the disk full, RocksDB flushes the memtable that has
 * filled meanwhile when there is room again. The values are synced as soon as the full disk shows in a write. Should power fail before,
 * the end beside the applied index lies behind the end of the file, and the open finds damage: it never reads another state.
 *
 * Happy path: staged operations go into one WriteBatch, the applied index is added, written. Flushes run in RocksDB's own
 * threads; what they made durable is read back with the "persisted" read tier, which skips the memtables. A trim is only noted: what it lets
 * go of is left out by the compactions that come by once it is durable (trims.h), which changes nothing that anybody reads.
 * (RocksDB's DeleteRange would need the memtable's insert hint switched off: both share the hint of a prefix, and would corrupt each other's list.)
 *
 * RocksDB writes a few files of its own when it opens, so on a full disk it is opened for reading only, with everything held back as
 * below, and for writing as soon as there is room.
 *
 * Failure modes: a write stall or a full disk makes RocksDB refuse a batch whole. The operations then wait in an indexed batch
 * (`held`) through which all reads go, so reads neither wait for the disk nor see an older state; the next try writes all
 * of it. The shard bounds it by store_backlog_bytes(). A block that is not what was written, met by a read, a flush or a compaction, is
 * damage: noted once, in a file too, so that a start which does not meet it says the same. Any other write error is fatal: RocksDB does
 * not recover from it while open, and the log holds everything. */
#include "storage/rocks.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/logger.h"
#include "storage/trims.h"
#include "storage/valuelog.h"
#include "storage/wholefile.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define APPLIED_KEY "\0applied"
#define APPLIED_KEY_SIZE 8
#define ROCKS_READ_PERSISTED 2 /* kPersistedTier */
#define ROCKS_BACKGROUND_THREADS 2
#define DAMAGE_SIZE_MAX 512
#define MERGE_NICE 10
#define REOPEN_NS 1000000000ull /* between two tries to open for writing ... */
#define REOPEN_ROOM_BYTES (1u << 20) /* ... for which so much must be free */
#define LEVEL_MEMTABLES 32 /* the first level below L0, in memtables */
#define APART_ROW_SIZE 20
#define GROUP_SIZE 9 /* kind byte and id, see store.h: what a scan mostly stays within */
#define APART_SIZE_MIN 64 /* shorter values cost less where they are */
#define APART_FILE_SIZE (1ull << 30)
/* RocksDB's own limits of a memtable and of those that wait for their flush; what is kept here is smaller. */
#define OWN_MEMTABLES 4 /* ... are one of RocksDB's; so much must be free, too, before it goes on after a full disk */
#define ARENA_BLOCK_MAX (1u << 20)
#define FLUSHES_WAITING_MAX 4
#define L0_FILES_STALL 52

/* What the C API has no function for, and what reads best as text. */
static const char rocks_options_text[] =
    "create_if_missing=true;"
    "max_open_files=-1;"
    "keep_log_file_num=3;"
    "info_log_level=HEADER_LEVEL;" /* none of its own log: on a full disk the line after a failed one is an assertion in RocksDB */
    "periodic_compaction_seconds=0;" /* a compaction filter would set it to 30 days, in which all that is stored is written anew */
    "stats_dump_period_sec=0;"
    "stats_persist_period_sec=0;"
    "max_background_jobs=2;"
    "avoid_unnecessary_blocking_io=true;"
    "allow_concurrent_memtable_write=false;"
    "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.9;" /* kind byte and id, see store.h */
    "max_write_buffer_number=6;"
    "avoid_flush_during_shutdown=true;" /* rocks_close() flushes, after the value log's sync */
    "bytes_per_sync=1048576;" /* the disk begins with what a flush or a merge writes at once: the log's writes do not wait behind all of it */
    "soft_pending_compaction_bytes_limit=0;" /* how much there is to merge below L0 is no reason to wait: reads feel it, a little */
    "hard_pending_compaction_bytes_limit=0;"
    /* Compaction is most of what a stored message costs, so it is rare: L0 gathers 24 memtables, and the level below it may grow to
     * LEVEL_MEMTABLES before it is merged into the next. Writes wait only far behind that, because
     * compaction has a low priority. They take no delay, so the slowdown is where they stop. */
    "level0_file_num_compaction_trigger=24;"
    "level0_slowdown_writes_trigger=52;" /* L0_FILES_STALL */
    "level0_stop_writes_trigger=60;"
    "level_compaction_dynamic_level_bytes=true;"
    "optimize_filters_for_hits=true;" /* no filters on the last level, where nine rows of ten are: what is looked up is nearly always there */
    "compression=kNoCompression;" /* what is young is written again soon; only what has come to rest is compressed */
    "bottommost_compression=kLZ4Compression";

enum operation { OPERATION_PUT = 1, OPERATION_DELETE = 2, OPERATION_TRIM = 3 };

struct rocks {
    struct store_view view;
    rocksdb_t *db;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options, *load_options, *persisted_options; /* load: what is read once does not fill the cache */
    const rocksdb_readoptions_t *reading; /* the view's: read_options or load_options */
    rocksdb_flushoptions_t *flush_options;
    rocksdb_writebatch_t *staged;
    struct trims *trims;
    rocksdb_cache_t *cache;        /* the shared one */
    struct valuelog *values;       /* NULL: a store that is looked at and is not there */
    struct writer value;           /* one that is read from there */
    uint64_t active_bytes;         /* in the memtable that fills, after the last write */
    uint64_t staged_bytes;         /* of the operations since the last write */
    rocksdb_writebatch_wi_t *held; /* NULL: nothing is held back */
    bool half;                     /* operations were staged since the last commit */
    bool full;                     /* the last write found no room on the disk; warned of once */
    bool read_only;                /* opened on a full disk, or to be looked at */
    rocksdb_env_t *env;            /* NULL: the disk; else one in memory, of a store that is looked at and is not there */
    bool damaged;
    char damage[DAMAGE_SIZE_MAX];
    uint64_t reopen_at_ns;
    struct rocks_options options;  /* for that */
    uint64_t applied, written, flushing; /* committed >= in RocksDB >= covered by a begun flush */
    char path[];
};

/* ---- RocksDB's errors ----------------------------------------------------------------------------------------------- */

/* RocksDB reports in text. Gives the outcome and frees `error`; *copy gets the text. */
static enum result rocks_result(char *error, char *copy, size_t copy_size)
{
    if (copy_size > 0) copy[0] = '\0';
    if (error == NULL) return RESULT_OK;
    snprintf(copy, copy_size, "%s", error);
    enum result result = RESULT_IO;
    if (strncmp(error, "Result incomplete", 17) == 0) result = RESULT_BUSY;
    else if (strstr(error, "No space left") != NULL) result = RESULT_FULL;
    else if (strncmp(error, "Corruption", 10) == 0 || strstr(error, "Input/output error") != NULL) result = RESULT_CORRUPT;
    rocksdb_free(error);
    return result;
}

static int open_directory(const char *path) { return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

static void rocks_note_damage(struct rocks *rocks, const char *text)
{
    if (rocks->damaged) return;
    rocks->damaged = true;
    snprintf(rocks->damage, sizeof rocks->damage, "%s", text);
    if (rocks->options.look_only) return;
    int fd = open_directory(rocks->path);
    enum result result = fd < 0 ? RESULT_IO : wholefile_write(fd, ROCKS_DAMAGE_NAME, rocks->damage, strlen(rocks->damage));
    if (fd >= 0) close(fd);
    LOG_ERROR("store", "damaged path=\"%s\" damage=\"%s\" noted_in=" ROCKS_DAMAGE_NAME " note=\"%s\"", rocks->path, rocks->damage,
              result_text(result));
}

/* What an earlier life noted. */
static bool find_damage(const char *path, char *text, size_t text_size)
{
    size_t len = 0;
    int fd = open_directory(path);
    enum result result = fd < 0 ? RESULT_MISSING : wholefile_read(fd, ROCKS_DAMAGE_NAME, text, text_size - 1, &len);
    if (fd >= 0) close(fd);
    text[len] = '\0';
    return result == RESULT_OK;
}

static enum result rocks_read_result(struct rocks *rocks, char *error)
{
    char text[LOGGER_LINE_MAX / 2];
    enum result result = rocks_result(error, text, sizeof text);
    if (result == RESULT_CORRUPT) rocks_note_damage(rocks, text);
    else if (result != RESULT_OK) LOG_ERROR("store", "read failed path=\"%s\" error=\"%s\"", rocks->path, text);
    return result == RESULT_OK || result == RESULT_CORRUPT ? result : RESULT_IO;
}

/* ---- the shared block cache ----------------------------------------------------------------------------------------- */

static pthread_mutex_t cache_mutex = PTHREAD_MUTEX_INITIALIZER;
static rocksdb_cache_t *cache;
static uint32_t cache_users;

static rocksdb_cache_t *cache_ref(uint64_t size_bytes)
{
    pthread_mutex_lock(&cache_mutex);
    if (cache_users++ == 0) cache = rocksdb_cache_create_lru(size_bytes);
    rocksdb_cache_t *shared = cache;
    pthread_mutex_unlock(&cache_mutex);
    return shared;
}

static void cache_unref(void)
{
    pthread_mutex_lock(&cache_mutex);
    ASSERT(cache_users > 0);
    if (--cache_users == 0) {
        rocksdb_cache_destroy(cache);
        cache = NULL;
    }
    pthread_mutex_unlock(&cache_mutex);
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

static rocksdb_readoptions_t *read_options_make(bool fill_cache)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_background_purge_on_iterator_cleanup(options, 1);
    rocksdb_readoptions_set_fill_cache(options, fill_cache);
    rocksdb_readoptions_set_total_order_seek(options, 1);
    return options;
}

static int compare_keys(struct slice a, struct slice b)
{
    uint32_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct rocks *rocks_of(struct store_view *view) { return CONTAINER_OF(view, struct rocks, view); }

static bool is_apart(const struct rocks *rocks, struct slice key)
{
    return key.data[0] == rocks->options.apart_kind && rocks->options.apart_kind != 0;
}

static bool is_place(struct slice row)
{
    uint32_t first = 1;
    if (row.len == APART_ROW_SIZE) memcpy(&first, row.data, sizeof first);
    return first == 0;
}

static struct valuelog_place place_of_row(struct slice row)
{
    struct valuelog_place place;
    memcpy(&place.len, row.data + 4, sizeof place.len);
    memcpy(&place.position, row.data + 8, sizeof place.position);
    memcpy(&place.check, row.data + 16, sizeof place.check);
    return place;
}

/* Appends the value that a row stands for. */
static enum result rocks_read_apart(struct rocks *rocks, struct slice row, struct writer *value)
{
    char text[LOGGER_LINE_MAX / 2] = "there is no value log";
    struct valuelog_place place = place_of_row(row);
    enum result result = rocks->values == NULL ? RESULT_CORRUPT : valuelog_read(rocks->values, &place, value, text, sizeof text);
    if (result == RESULT_CORRUPT) rocks_note_damage(rocks, text);
    else if (result != RESULT_OK) LOG_ERROR("store", "read failed path=\"%s\" error=\"%s\"", rocks->path, text);
    return result == RESULT_NOMEM ? RESULT_IO : result;
}

/* The value of a row that a scan stands on: the row itself, or borrowed until the next one. */
static enum result rocks_value(struct rocks *rocks, struct slice key, struct slice row, struct slice *value)
{
    *value = row;
    if (!is_apart(rocks, key) || !is_place(row)) return RESULT_OK;
    writer_reset(&rocks->value);
    enum result result = rocks_read_apart(rocks, row, &rocks->value);
    *value = writer_slice(&rocks->value);
    return result;
}

static enum result rocks_get(struct store_view *view, struct slice key, struct writer *value)
{
    struct rocks *rocks = rocks_of(view);
    ASSERT(key.len > 0 && key.data[0] != 0);
    size_t len = 0;
    char *error = NULL;
    const char *name = (const char *)key.data;
    char *found = rocks->held != NULL
                      ? rocksdb_writebatch_wi_get_from_batch_and_db(rocks->held, rocks->db, rocks->reading, name, key.len,
                                                                    &len, &error)
                      : rocksdb_get(rocks->db, rocks->reading, name, key.len, &len, &error);
    if (error != NULL) return rocks_read_result(rocks, error);
    if (found == NULL) return RESULT_MISSING;
    struct slice row = slice_of(found, len);
    enum result result = RESULT_OK;
    if (value != NULL && is_apart(rocks, key) && is_place(row)) result = rocks_read_apart(rocks, row, value);
    else if (value != NULL) writer_raw(value, found, len);
    rocksdb_free(found);
    return result;
}

static rocksdb_iterator_t *rocks_iterate(struct rocks *rocks, const rocksdb_readoptions_t *options)
{
    rocksdb_iterator_t *base = rocksdb_create_iterator(rocks->db, options);
    return rocks->held != NULL ? rocksdb_writebatch_wi_create_iterator_with_base(rocks->held, base) : base;
}

/* An invalid iterator is the end of the data only when it has no error. */
static enum result rocks_iterated(struct rocks *rocks, rocksdb_iterator_t *iterator)
{
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    return rocks_read_result(rocks, error);
}

static struct slice iterator_key(const rocksdb_iterator_t *iterator)
{
    size_t len;
    const char *key = rocksdb_iter_key(iterator, &len);
    return slice_of(key, len);
}

static struct slice iterator_value(const rocksdb_iterator_t *iterator)
{
    size_t len;
    const char *value = rocksdb_iter_value(iterator, &len);
    return slice_of(value, len);
}

/* The store's own keys come before all others. */
static struct slice behind_own_keys(struct slice from) { return from.len == 0 || from.data[0] == 0 ? SLICE_TEXT("\1") : from; }

/* All keys of [from, until) begin with the same kind and id. */
static bool within_group(struct slice from, struct slice until)
{
    uint64_t first, last;
    if (from.len < GROUP_SIZE || until.len < GROUP_SIZE || from.data[0] != until.data[0]) return false;
    memcpy(&first, from.data + 1, sizeof first);
    memcpy(&last, until.data + 1, sizeof last);
    first = __builtin_bswap64(first);
    last = __builtin_bswap64(last);
    return last == first || (last == first + 1 && until.len == GROUP_SIZE);
}

/* A scan within one group looks only into files whose filters know the group. RocksDB asks every key that it meets for its group, so it must
 * not meet those behind the end, which may be too short to have one. */
static rocksdb_readoptions_t *group_options_make(const struct rocks *rocks, struct slice until)
{
    rocksdb_readoptions_t *options = read_options_make(rocks->reading != rocks->load_options);
    rocksdb_readoptions_set_total_order_seek(options, 0);
    rocksdb_readoptions_set_prefix_same_as_start(options, 1);
    rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)until.data, until.len);
    return options;
}

static enum result rocks_scan(struct store_view *view, struct slice from, struct slice until,
                              bool (*each)(void *context, struct slice key, struct slice value), void *context)
{
    struct rocks *rocks = rocks_of(view);
    from = behind_own_keys(from);
    rocksdb_readoptions_t *group = within_group(from, until) ? group_options_make(rocks, until) : NULL;
    rocksdb_iterator_t *iterator = rocks_iterate(rocks, group != NULL ? group : rocks->reading);
    enum result result = RESULT_OK;
    for (rocksdb_iter_seek(iterator, (const char *)from.data, from.len); rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        struct slice key = iterator_key(iterator), value;
        if (until.len > 0 && compare_keys(key, until) >= 0) break;
        result = rocks_value(rocks, key, iterator_value(iterator), &value);
        if (result != RESULT_OK || !each(context, key, value)) break;
    }
    enum result iterated = rocks_iterated(rocks, iterator);
    if (group != NULL) rocksdb_readoptions_destroy(group);
    return result != RESULT_OK ? result : iterated;
}

static enum result rocks_last(struct store_view *view, struct slice from, struct slice until, struct writer *key,
                              struct writer *value)
{
    struct rocks *rocks = rocks_of(view);
    from = behind_own_keys(from);
    rocksdb_iterator_t *iterator = rocks_iterate(rocks, rocks->reading);
    if (until.len == 0) {
        rocksdb_iter_seek_to_last(iterator);
    } else {
        rocksdb_iter_seek_for_prev(iterator, (const char *)until.data, until.len);
        if (rocksdb_iter_valid(iterator) && slice_equal(iterator_key(iterator), until)) rocksdb_iter_prev(iterator);
    }
    bool found = rocksdb_iter_valid(iterator) && compare_keys(iterator_key(iterator), from) >= 0;
    enum result read = RESULT_OK;
    if (found && key != NULL) writer_raw(key, iterator_key(iterator).data, iterator_key(iterator).len);
    if (found && value != NULL) {
        struct slice bytes;
        read = rocks_value(rocks, iterator_key(iterator), iterator_value(iterator), &bytes);
        writer_raw(value, bytes.data, bytes.len);
    }
    enum result result = rocks_iterated(rocks, iterator);
    if (result == RESULT_OK) result = read;
    return result != RESULT_OK ? result : found ? RESULT_OK : RESULT_MISSING;
}

static const struct store_view_ops rocks_view_ops = {.get = rocks_get, .scan = rocks_scan, .last = rocks_last};

struct store_view *rocks_view(struct rocks *rocks, bool loads)
{
    rocks->reading = loads ? rocks->load_options : rocks->read_options;
    return &rocks->view;
}

struct applied { /* as it is stored */
    uint64_t index, values_end;
};
_Static_assert(sizeof(struct applied) == 16, "the row of the applied index");

/* The applied index in the memtables and files, or in the files alone. */
static enum result rocks_read_applied(struct rocks *rocks, const rocksdb_readoptions_t *options, struct applied *applied, char *text, size_t text_size)
{
    size_t len = 0;
    char *error = NULL;
    *applied = (struct applied){0};
    char *value = rocksdb_get(rocks->db, options, APPLIED_KEY, APPLIED_KEY_SIZE, &len, &error);
    enum result result = rocks_result(error, text, text_size);
    if (result == RESULT_OK && value != NULL && len != sizeof applied->index && len != sizeof *applied) {
        snprintf(text, text_size, "the applied index has %zu bytes", len);
        result = RESULT_CORRUPT;
    } else if (result == RESULT_OK && value != NULL) {
        memcpy(applied, value, len);
    }
    rocksdb_free(value);
    return result;
}

uint64_t rocks_durable_index(struct rocks *rocks)
{
    char text[LOGGER_LINE_MAX / 2];
    struct applied applied;
    if (rocks->read_only) return rocks->written;
    enum result result = rocks_read_applied(rocks, rocks->persisted_options, &applied, text, sizeof text);
    if (result == RESULT_OK) trims_settle(rocks->trims, applied.index);
    else LOG_ERROR("store", "durable index unknown path=\"%s\" error=\"%s\"", rocks->path, text);
    return applied.index;
}

void rocks_memory(struct rocks *rocks, uint64_t *memtables_bytes, uint64_t *table_readers_bytes)
{
    *memtables_bytes = *table_readers_bytes = 0;
    (void)rocksdb_property_int(rocks->db, "rocksdb.size-all-mem-tables", memtables_bytes);
    (void)rocksdb_property_int(rocks->db, "rocksdb.estimate-table-readers-mem", table_readers_bytes);
}

uint64_t rocks_cache_bytes(void)
{
    pthread_mutex_lock(&cache_mutex);
    uint64_t bytes = cache == NULL ? 0 : rocksdb_cache_get_usage(cache);
    pthread_mutex_unlock(&cache_mutex);
    return bytes;
}

uint64_t rocks_applied_index(const struct rocks *rocks) { return rocks->applied; }
uint64_t rocks_flushing_index(const struct rocks *rocks) { return rocks->flushing; }

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static bool rocks_open_for_writing(struct rocks *rocks);

static void rocks_put(struct rocks *rocks, struct slice key, struct slice value)
{
    const char *k = (const char *)key.data, *v = (const char *)value.data;
    if (rocks->held != NULL) rocksdb_writebatch_wi_put(rocks->held, k, key.len, v, value.len);
    else rocksdb_writebatch_put(rocks->staged, k, key.len, v, value.len);
}

/* Into the value log, and its place into `row`. False: there is no room, the value stays in the row. */
static bool rocks_put_apart(struct rocks *rocks, struct slice value, uint8_t row[APART_ROW_SIZE])
{
    struct valuelog_place place;
    const uint32_t zero = 0;
    if (value.len < APART_SIZE_MIN || rocks->values == NULL) return false;
    enum result result = valuelog_append(rocks->values, value, &place);
    if (result == RESULT_FULL) return false;
    if (result != RESULT_OK) check_fatal("store %s: values cannot be written; the log holds everything", rocks->path);
    memcpy(row, &zero, sizeof zero);
    memcpy(row + 4, &place.len, sizeof place.len);
    memcpy(row + 8, &place.position, sizeof place.position);
    memcpy(row + 16, &place.check, sizeof place.check);
    return true;
}

static void rocks_stage_put(struct rocks *rocks, struct slice key, struct slice value)
{
    uint8_t row[APART_ROW_SIZE];
    if (is_apart(rocks, key)) {
        ASSERT(!is_place(value));
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

/* All values are on the disk. False: it is full. */
static bool rocks_sync_values(struct rocks *rocks)
{
    if (rocks->values == NULL) return true;
    enum result result = valuelog_sync(rocks->values);
    if (result != RESULT_OK && result != RESULT_FULL)
        check_fatal("store %s: values cannot be synced, what the disk holds of them is unknown; the log holds everything", rocks->path);
    return result == RESULT_OK;
}

static enum result rocks_flush_waiting(struct rocks *rocks, bool wait)
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

void rocks_flush(struct rocks *rocks) { (void)rocks_flush_waiting(rocks, false); }

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
const char *rocks_damage(const struct rocks *rocks) { return rocks->damaged ? rocks->damage : NULL; }

/* ---- what compaction leaves out ------------------------------------------------------------------------------------- */

struct leaving_out { /* one compaction: keys come in order, so a group is looked up once */
    struct trims *trims;
    uint8_t group[TRIM_GROUP_SIZE];
    uint64_t first_kept;
};

static unsigned char leave_out(void *state, int level, const char *key, size_t key_len, const char *value, size_t value_len,
                               char **new_value, size_t *new_value_len, unsigned char *value_changed)
{
    (void)level, (void)value, (void)value_len, (void)new_value, (void)new_value_len, (void)value_changed;
    struct leaving_out *out = state;
    const uint8_t *bytes = (const uint8_t *)key;
    if (key_len != TRIM_KEY_SIZE) return 0;
    if (memcmp(out->group, bytes, TRIM_GROUP_SIZE) != 0) {
        memcpy(out->group, bytes, TRIM_GROUP_SIZE);
        out->first_kept = trims_first_kept(out->trims, out->group);
    }
    return trim_number(bytes) < out->first_kept;
}

static const char *leaving_out_name(void *state)
{
    (void)state;
    return "ringpost.trims";
}

/* Compaction can wait, but not for ever: at nice 19, which is what RocksDB offers, it gets a seventieth of a core that the workers want whole, which is
 * less than it needs, so files pile up until writes wait for it. At MERGE_NICE it gets a tenth and needs a twentieth. A thread's
 * priority is its own on Linux, and this runs on the one that compacts. */
static void step_back(void)
{
    static _Thread_local bool done;
    if (done) return;
    done = true;
    (void)setpriority(PRIO_PROCESS, 0, MERGE_NICE);
}

static rocksdb_compactionfilter_t *leaving_out_create(void *trims, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    step_back();
    struct leaving_out *out = calloc(1, sizeof *out);
    if (out == NULL) check_fatal("out of memory for a compaction; the log holds everything");
    out->trims = trims;
    return rocksdb_compactionfilter_create(out, free, leave_out, leaving_out_name);
}

static void keep_state(void *state) { (void)state; }

/* ---- open and close ------------------------------------------------------------------------------------------------- */

static rocksdb_options_t *rocks_make_options(const struct rocks *rocks, char **error)
{
    const struct rocks_options *options = &rocks->options;
    rocksdb_options_t *plain = rocksdb_options_create();
    rocksdb_options_t *made = rocksdb_options_create();
    rocksdb_get_options_from_string(plain, rocks_options_text, made, error);
    rocksdb_options_destroy(plain);
    rocksdb_options_set_write_buffer_size(made, OWN_MEMTABLES * options->memtable_size_bytes);
    rocksdb_options_set_arena_block_size(made, options->memtable_size_bytes / 8 < ARENA_BLOCK_MAX ? options->memtable_size_bytes / 8 : ARENA_BLOCK_MAX);
    rocksdb_options_set_prefix_extractor(made, rocksdb_slicetransform_create_fixed_prefix(GROUP_SIZE));
    rocksdb_options_set_max_bytes_for_level_base(made, LEVEL_MEMTABLES * options->memtable_size_bytes);

    rocksdb_options_set_compaction_filter_factory(
        made, rocksdb_compactionfilterfactory_create(rocks->trims, keep_state, leaving_out_create, leaving_out_name));

    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_block_size(table, 8 << 10);
    /* Filters that are made quickly at a flush, and small ones after merges. */
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_ribbon_hybrid(10, 0));
    rocksdb_block_based_options_set_block_cache(table, rocks->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(made, table);
    rocksdb_block_based_options_destroy(table);
    return made;
}

/* ---- what RocksDB throws -------------------------------------------------------------------------------------------- */

/* C++ tells of exhausted memory and threads by exceptions, which end the process where nobody catches them, and RocksDB catches few. Its
 * last words shall be ours. */
static void on_no_memory(void)
{
    check_fatal("out of memory: the store needs more than the address space or the machine gives (ulimit -v, ulimit -d, MemoryMax=); the log holds "
                "everything");
}

static void on_uncaught(void)
{
    check_fatal("the store ended on an error it cannot report: most likely no more threads (ulimit -u, LimitNPROC=, TasksMax=); the log holds everything");
}

/* std::set_new_handler and std::set_terminate, which have no C header. */
static void take_exceptions(void)
{
    static const struct {
        const char *symbol;
        void (*handler)(void);
    } hooks[] = {{"_ZSt15set_new_handlerPFvvE", on_no_memory}, {"_ZSt13set_terminatePFvvE", on_uncaught}};
    for (size_t i = 0; i < COUNT_OF(hooks); i++) {
        void (*(*set)(void (*)(void)))(void);
        void *found = dlsym(RTLD_DEFAULT, hooks[i].symbol);
        ASSERT(found != NULL);
        memcpy(&set, &found, sizeof set);
        (void)set(hooks[i].handler);
    }
}

/* RocksDB's threads are the process's; two flush, two compact, however many shards there are. */
static void rocks_start_threads(void)
{
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(env, ROCKS_BACKGROUND_THREADS);
    rocksdb_env_set_high_priority_background_threads(env, ROCKS_BACKGROUND_THREADS);
    rocksdb_env_destroy(env);
}

static void rocks_make_handles(struct rocks *rocks)
{
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocksdb_writeoptions_set_no_slowdown(rocks->write_options, 1);
    rocks->read_options = read_options_make(true);
    rocks->load_options = read_options_make(false);
    rocks->persisted_options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(rocks->persisted_options, ROCKS_READ_PERSISTED);
    rocks->flush_options = rocksdb_flushoptions_create();
    rocks->staged = rocksdb_writebatch_create();
}

static void rocks_destroy(struct rocks *rocks)
{
    if (rocks->held != NULL) rocksdb_writebatch_wi_destroy(rocks->held);
    rocksdb_writebatch_destroy(rocks->staged);
    rocksdb_flushoptions_destroy(rocks->flush_options);
    rocksdb_readoptions_destroy(rocks->persisted_options);
    rocksdb_readoptions_destroy(rocks->load_options);
    rocksdb_readoptions_destroy(rocks->read_options);
    rocksdb_writeoptions_destroy(rocks->write_options);
    if (rocks->db != NULL) rocksdb_close(rocks->db); /* ends its compactions, which ask for the trims */
    if (rocks->env != NULL) rocksdb_env_destroy(rocks->env);
    valuelog_close(rocks->values);
    writer_deinit(&rocks->value);
    trims_destroy(rocks->trims);
    cache_unref();
    free(rocks);
}

static enum result rocks_open_db(struct rocks *rocks, bool read_only, char *text, size_t text_size)
{
    char *error = NULL;
    rocksdb_options_t *options = rocks_make_options(rocks, &error);
    if (rocks->env != NULL) rocksdb_options_set_env(options, rocks->env);
    if (error == NULL)
        rocks->db = read_only ? rocksdb_open_for_read_only(options, rocks->path, 0, &error) : rocksdb_open(options, rocks->path, &error);
    rocksdb_options_destroy(options);
    return rocks_result(error, text, text_size);
}

static enum result rocks_open_values(struct rocks *rocks, uint64_t end, char *text, size_t text_size)
{
    const struct valuelog_options options = {.path = rocks->path, .file_size_bytes = APART_FILE_SIZE, .end = end, .read_only = rocks->read_only};
    if (rocks->env != NULL) return RESULT_OK; /* there is no directory */
    return valuelog_open(&rocks->values, &options, text, text_size);
}

/* Every try that fails leaves a file behind. */
static bool has_room(const char *path)
{
    struct statvfs status;
    return statvfs(path, &status) == 0 && (uint64_t)status.f_bavail * status.f_frsize >= REOPEN_ROOM_BYTES;
}

/* RocksDB does not change from one to the other: it is opened once more, and the reader closed. Whoever reads is this thread. */
static bool rocks_open_for_writing(struct rocks *rocks)
{
    char text[LOGGER_LINE_MAX / 2];
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns < rocks->reopen_at_ns) return false;
    rocks->reopen_at_ns = now_ns + REOPEN_NS;
    if (!has_room(rocks->path)) return false;
    rocksdb_t *reader = rocks->db;
    enum result result = rocks_open_db(rocks, false, text, sizeof text);
    if (result == RESULT_FULL) {
        rocks->db = reader;
        return false;
    }
    if (result != RESULT_OK) check_fatal("store %s: %s", rocks->path, text);
    rocksdb_close(reader);
    rocks->read_only = false;
    uint64_t values_end = valuelog_end(rocks->values);
    valuelog_close(rocks->values);
    result = rocks_open_values(rocks, values_end, text, sizeof text);
    if (result != RESULT_OK) check_fatal("store %s: %s", rocks->path, text);
    LOG_INFO("store", "there is room again, opened for writing path=\"%s\"", rocks->path);
    return true;
}

static bool is_there(const char *path)
{
    int fd = open_directory(path);
    bool found = fd >= 0 && faccessat(fd, "CURRENT", F_OK, 0) == 0;
    if (fd >= 0) close(fd);
    return found;
}

static enum result rocks_open_as_asked(struct rocks *rocks, char *text, size_t text_size)
{
    if (rocks->options.look_only) {
        bool found = is_there(rocks->path);
        if (!found) rocks->env = rocksdb_create_mem_env();
        rocks->read_only = rocks->full = found;
        return rocks_open_db(rocks, found, text, text_size);
    }
    enum result result = rocks_open_db(rocks, false, text, text_size);
    if (result != RESULT_FULL || rocks_open_db(rocks, true, text, text_size) != RESULT_OK) return result;
    LOG_WARN("store", "disk is full, opened for reading path=\"%s\"", rocks->path);
    rocks->read_only = rocks->full = true;
    return RESULT_OK;
}

enum result rocks_open(struct rocks **out, const struct rocks_options *options, uint64_t *applied, char *text, size_t text_size)
{
    *out = NULL;
    *applied = 0;
    char reason[LOGGER_LINE_MAX / 2] = "";
    if (find_damage(options->path, reason, sizeof reason)) {
        snprintf(text, text_size, "store %s: %s", options->path, reason);
        return RESULT_CORRUPT;
    }
    size_t path_size = strlen(options->path) + 1;
    struct rocks *rocks = calloc(1, sizeof *rocks + path_size);
    if (rocks == NULL) {
        snprintf(text, text_size, "store %s: %s", options->path, result_text(RESULT_NOMEM));
        return RESULT_NOMEM;
    }
    memcpy(rocks->path, options->path, path_size);
    rocks->options = *options;
    rocks->options.path = rocks->path;
    rocks->view.ops = &rocks_view_ops;
    rocks->trims = trims_create();
    writer_init(&rocks->value, 0);
    rocks->cache = cache_ref(options->block_cache_size_bytes);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, take_exceptions);
    rocks_start_threads();
    rocks_make_handles(rocks);

    enum result result = rocks_open_as_asked(rocks, reason, sizeof reason);
    struct applied found = {0};
    if (result == RESULT_OK) result = rocks_read_applied(rocks, rocks->read_options, &found, reason, sizeof reason);
    if (result == RESULT_OK) result = rocks_open_values(rocks, found.values_end, reason, sizeof reason);
    if (result != RESULT_OK) {
        snprintf(text, text_size, "store %s: %s", options->path, reason);
        rocks_destroy(rocks);
        return result;
    }
    rocks->written = rocks->flushing = *applied = rocks->applied = found.index;
    *out = rocks;
    return RESULT_OK;
}

void rocks_close(struct rocks *rocks)
{
    (void)rocks_flush_waiting(rocks, true);
    rocks_destroy(rocks);
}
