/* storage/rocks_apart.c - values apart: those of one kind lie in the value log, their rows have the place.
 *
 * They are written once and kept (messages), and merging would write them again at every level; so it moves 20 bytes for each:
 *
 *   row of a value apart  +---------+---------+--------------+-----------+      a value of that kind never begins with four zero bytes,
 *                         | u32 0   | u32 len | u64 position | u32 check |      so a row that holds the value itself (older ones, those of a
 *                         +---------+---------+--------------+-----------+      full disk) is told from this
 *   applied index         | u64 index | u64 end of the value log |              the end is missing: 0
 *
 * A flush makes rows durable, so RocksDB must not begin one by itself: its own limit of a memtable is far above the one kept here
 * (rocks_make_room), and it does not flush when it closes. One case remains: after a flush found the disk full, RocksDB flushes all it has as soon as
 * there is room again. So the values are synced when the full disk shows in a write, and whatever RocksDB calls durable is so only when its values
 * are: rocks_durable_index() syncs them before it says so. Should the process or the power go in between, the end beside the applied index lies
 * behind the end of the file, and the open finds damage: it never reads another state, and the log, which was not trimmed, has it all. */
#include "storage/rocks_internal.h"
#include <string.h>

#define APART_SIZE_MIN 64 /* shorter values cost less where they are */
#define APART_FILE_SIZE (1ull << 30)

static struct valuelog_place place_of_row(struct slice row)
{
    struct valuelog_place place;
    memcpy(&place.len, row.data + 4, sizeof place.len);
    memcpy(&place.position, row.data + 8, sizeof place.position);
    memcpy(&place.check, row.data + 16, sizeof place.check);
    return place;
}

enum result rocks_read_apart(struct rocks *rocks, struct slice row, struct writer *value)
{
    char text[LOGGER_LINE_MAX / 2] = "there is no value log";
    struct valuelog_place place = place_of_row(row);
    enum result result = rocks->values == NULL ? RESULT_CORRUPT : valuelog_read(rocks->values, &place, value, text, sizeof text);
    if (result == RESULT_CORRUPT) rocks_note_damage(rocks, text);
    else if (result != RESULT_OK) LOG_ERROR("store", "read failed path=\"%s\" error=\"%s\"", rocks->path, text);
    return result == RESULT_NOMEM ? RESULT_IO : result;
}

bool rocks_put_apart(struct rocks *rocks, struct slice value, uint8_t row[APART_ROW_SIZE])
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

bool rocks_sync_values(struct rocks *rocks)
{
    if (rocks->values == NULL) return true;
    enum result result = valuelog_sync(rocks->values);
    if (result != RESULT_OK && result != RESULT_FULL)
        check_fatal("store %s: values cannot be synced, what the disk holds of them is unknown; the log holds everything", rocks->path);
    return result == RESULT_OK;
}

enum result rocks_open_values(struct rocks *rocks, uint64_t end, char *text, size_t text_size)
{
    const struct valuelog_options options = {.path = rocks->path, .file_size_bytes = APART_FILE_SIZE, .end = end, .read_only = rocks->read_only};
    if (rocks->env != NULL) return RESULT_OK; /* there is no directory */
    return valuelog_open(&rocks->values, &options, text, text_size);
}
