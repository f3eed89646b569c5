/* layers: shard core */
/* tests/fuzz/block_fuzz.c - any bytes as a stored block of a timeline and of a stream: what is given is numbered without holes and the same
 * whichever way it is read, or the block is refused. Input: u8 first number, then the value. */
#include "shard/domain/delivery/events.h"
#include "shard/domain/room/timeline.h"
#include <stdlib.h>

#define ROOM 7
#define USER 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct one_row { /* a store with a single row */
    struct store_view view;
    struct key key;
    struct slice value;
};

static enum result scan_one(struct store_view *view, struct slice from, struct slice until,
                            bool (*each)(void *, struct slice, struct slice), void *context)
{
    const struct one_row *row = CONTAINER_OF(view, struct one_row, view);
    struct slice key = key_slice(&row->key);
    ASSERT(from.len == key.len);
    bool before = memcmp(key.data, from.data, from.len) < 0;
    bool behind = memcmp(key.data, until.data, until.len < key.len ? until.len : key.len) >= 0;
    if (!before && !behind) each(context, key, row->value);
    return RESULT_OK;
}
static const struct store_view_ops one_row_ops = {.scan = scan_one};

struct walk {
    struct timeline_reader *reader;
    uint64_t last, count; /* last: the number given before */
};

static bool take_message(void *context, uint64_t seq, struct slice record)
{
    struct walk *walk = context;
    struct slice same;
    ASSERT(walk->count == 0 || seq == walk->last - 1);
    ASSERT(timeline_reader_get(walk->reader, ROOM, seq, &same) == RESULT_OK && slice_equal(record, same));
    walk->last = seq;
    walk->count++;
    return true;
}

static bool take_event(void *context, uint64_t sync_key, struct slice event)
{
    struct walk *walk = context;
    (void)event;
    ASSERT(walk->count == 0 || sync_key == walk->last + 1);
    walk->last = sync_key;
    walk->count++;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    uint64_t first = 1 + data[0];
    uint8_t *exact = malloc(size - 1); /* so that the sanitizer sees a read past the end */
    ASSERT(exact != NULL || size == 1);
    if (size > 1) memcpy(exact, data + 1, size - 1);
    struct one_row row = {.view = {.ops = &one_row_ops}, .value = slice_of(exact, size - 1)};
    struct timeline_reader reader;
    timeline_reader_init(&reader, &row.view);

    row.key = key_two(KEY_MESSAGE, ROOM, ~first);
    struct walk down = {.reader = &reader}, up = {0};
    enum result result = timeline_down(&row.view, ROOM, UINT64_MAX, take_message, &down);
    ASSERT(result == RESULT_OK ? down.last == first : result == RESULT_CORRUPT && down.count == 0);

    row.key = key_two(KEY_EVENT, USER, first + down.count);
    result = events_scan(&row.view, USER, 0, take_event, &up);
    ASSERT(down.count == 0 || (result == RESULT_OK && up.count == down.count && up.last == first + down.count));
    timeline_reader_deinit(&reader);
    free(exact);
    return 0;
}
