/* storage/rocks_read.c - reads: through what is held back, with values apart filled in; scans within one group by the filters of groups. */
#include "storage/rocks_internal.h"
#include <stdio.h>
#include <string.h>

static int compare_keys(struct slice a, struct slice b)
{
    uint32_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct rocks *rocks_of(struct store_view *view) { return CONTAINER_OF(view, struct rocks, view); }

/* The value of a row that a scan stands on: the row itself, or borrowed until the next one. */
static enum result rocks_value(struct rocks *rocks, struct slice key, struct slice row, struct slice *value)
{
    *value = row;
    if (!rocks_is_apart(rocks, key) || !rocks_is_place(row)) return RESULT_OK;
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
    if (value != NULL && rocks_is_apart(rocks, key) && rocks_is_place(row)) result = rocks_read_apart(rocks, row, value);
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
    rocksdb_readoptions_t *options = rocks_read_options_make(rocks->reading != rocks->load_options);
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

const struct store_view_ops rocks_view_ops = {.get = rocks_get, .scan = rocks_scan, .last = rocks_last};

struct store_view *rocks_view(struct rocks *rocks, bool loads)
{
    rocks->reading = loads ? rocks->load_options : rocks->read_options;
    return &rocks->view;
}

enum result rocks_read_applied(struct rocks *rocks, const rocksdb_readoptions_t *options, struct applied *applied, char *text, size_t text_size)
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
    if (result != RESULT_OK) {
        LOG_ERROR("store", "durable index unknown path=\"%s\" error=\"%s\"", rocks->path, text);
        return 0;
    }
    bool synced = rocks->values == NULL || applied.values_end <= valuelog_synced_end(rocks->values);
    if (!synced && !rocks_sync_values(rocks)) return rocks->durable; /* RocksDB has flushed by itself: see rocks_apart.c */
    trims_settle(rocks->trims, applied.index);
    rocks->durable = applied.index;
    return applied.index;
}
