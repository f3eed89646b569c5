/* storage/rocks.c - one RocksDB with the values beside it: opening, closing, what it knows of itself.
 *
 * The promise (after a crash: the state after some log index, exactly) rests on five things: one column family, no WAL, the
 * applied index in the same write batch as its operations, memtables that RocksDB flushes oldest first, and a value log
 * (rocks_apart.c) that is synced before a flush begins. Atomic flush is not used: with one column family it adds nothing, and through
 * the C API it is unsafe.
 *
 * RocksDB writes a few files of its own when it opens, so on a full disk it is opened for reading only, with everything held back
 * (rocks_write.c), and for writing as soon as there is room. */
#include "storage/rocks_internal.h"
#include "core/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ROCKS_READ_PERSISTED 2 /* kPersistedTier */
#define REOPEN_NS 1000000000ull /* between two tries to open for writing ... */
#define REOPEN_ROOM_BYTES (1u << 20) /* ... for which so much must be free */

static void rocks_make_handles(struct rocks *rocks)
{
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocksdb_writeoptions_set_no_slowdown(rocks->write_options, 1);
    rocks->read_options = rocks_read_options_make(true);
    rocks->load_options = rocks_read_options_make(false);
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
    rocks_cache_unref();
    free(rocks);
}

static enum result rocks_open_db(struct rocks *rocks, bool read_only, char *text, size_t text_size)
{
    char *error = NULL;
    rocksdb_options_t *options = rocks_options_make(rocks, &error);
    if (rocks->env != NULL) rocksdb_options_set_env(options, rocks->env);
    if (error == NULL)
        rocks->db = read_only ? rocksdb_open_for_read_only(options, rocks->path, 0, &error) : rocksdb_open(options, rocks->path, &error);
    rocksdb_options_destroy(options);
    return rocks_result(error, text, text_size);
}

/* Every try that fails leaves a file behind. */
static bool has_room(const char *path)
{
    struct statvfs status;
    return statvfs(path, &status) == 0 && (uint64_t)status.f_bavail * status.f_frsize >= REOPEN_ROOM_BYTES;
}

/* RocksDB does not change from one to the other: it is opened once more, and the reader closed. Whoever reads is this thread. */
bool rocks_open_for_writing(struct rocks *rocks)
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
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
    if (rocks_find_damage(options->path, reason, sizeof reason)) {
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
    rocks->cache = rocks_cache_ref(options->block_cache_size_bytes);
    rocks_prepare_process();
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

void rocks_memory(struct rocks *rocks, uint64_t *memtables_bytes, uint64_t *table_readers_bytes)
{
    *memtables_bytes = *table_readers_bytes = 0;
    (void)rocksdb_property_int(rocks->db, "rocksdb.size-all-mem-tables", memtables_bytes);
    (void)rocksdb_property_int(rocks->db, "rocksdb.estimate-table-readers-mem", table_readers_bytes);
}
