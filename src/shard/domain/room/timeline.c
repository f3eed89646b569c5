/* shard/domain/room/timeline.c - see timeline.h.
 * A scan lands on the block that holds the seq asked for; the records of a block are indexed once and given from the last back. The
 * newest message is the last record of the first block: one step of a forward scan.
 * A reader for single messages keeps what it read, block by block, because the next message asked is mostly the one after. Blocks of
 * a quiet room hold one message each: then it reads ahead, more with every load. */
#include "shard/domain/room/timeline.h"
#include "shard/engine/memory.h"

#define AHEAD_MAX (TIMELINE_RUN_BLOCKS_MAX - 1) /* each block behind the one asked holds one of these at least */

static struct key timeline_key(uint64_t room_id, uint64_t seq) { return key_two(KEY_MESSAGE, room_id, ~seq); }
static uint64_t block_first(struct slice key) { return ~key_u64_at(key, 9); }

/* ---- downwards ---- */

struct down {
    timeline_each *each;
    void *context;
    uint64_t newest_seq;
    struct slice *records; /* of one block, ascending; owned */
    uint32_t capacity;
    bool bad;
};

/* Index of the block's records; false: bad bytes. */
static bool down_index(struct down *down, struct block *block)
{
    if (block->count > down->capacity) {
        down->capacity = block->count;
        down->records = memory_resize(down->records, down->capacity * sizeof *down->records);
    }
    uint32_t count = 0;
    while (count < block->count && block_next(block, &down->records[count])) count++;
    return count == block->count && cursor_left(&block->records) == 0;
}

static bool down_block(void *context, struct slice key, struct slice value)
{
    struct down *down = context;
    uint64_t first = block_first(key);
    struct block block;
    down->bad = !block_open(&block, value) || !down_index(down, &block);
    if (down->bad) return false;
    uint64_t wanted = down->newest_seq - first + 1;
    for (uint64_t i = wanted < block.count ? wanted : block.count; i > 0; i--)
        if (!down->each(down->context, first + i - 1, down->records[i - 1])) return false;
    return true;
}

enum result timeline_down(struct store_view *view, uint64_t room_id, uint64_t newest_seq, timeline_each *each, void *context)
{
    struct down down = {.each = each, .context = context, .newest_seq = newest_seq};
    struct key from = timeline_key(room_id, newest_seq), until = key_after(KEY_MESSAGE, room_id);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), down_block, &down);
    free(down.records);
    return result == RESULT_OK && down.bad ? RESULT_CORRUPT : result;
}

struct newest {
    struct writer *value;
    uint64_t seq;
};

static bool take_newest(void *context, uint64_t seq, struct slice record)
{
    struct newest *newest = context;
    newest->seq = seq;
    if (newest->value != NULL) writer_raw(newest->value, record.data, record.len);
    return false;
}

enum result timeline_newest(struct store_view *view, uint64_t room_id, struct writer *value, uint64_t *seq)
{
    struct newest newest = {.value = value};
    if (value != NULL) writer_reset(value);
    enum result result = timeline_down(view, room_id, UINT64_MAX, take_newest, &newest);
    *seq = newest.seq;
    return result;
}

/* ---- one by one ---- */

void timeline_reader_init(struct timeline_reader *reader, struct store_view *view)
{
    *reader = (struct timeline_reader){.view = view};
}

void timeline_reader_deinit(struct timeline_reader *reader)
{
    for (uint32_t i = 0; i < TIMELINE_RUNS; i++) writer_deinit(&reader->runs[i].bytes);
}

/* The run of this room, or the one that was not asked for longest, emptied. */
static struct timeline_run *run_of(struct timeline_reader *reader, uint64_t room_id)
{
    struct timeline_run *oldest = &reader->runs[0];
    for (uint32_t i = 0; i < TIMELINE_RUNS; i++) {
        struct timeline_run *run = &reader->runs[i];
        if (run->room_id == room_id) return run;
        if (run->used < oldest->used) oldest = run;
    }
    oldest->room_id = room_id;
    oldest->ahead = oldest->block_count = 0;
    return oldest;
}

struct run_load {
    struct timeline_run *run;
    uint64_t seq;
    bool bad;
};

static bool run_take(void *context, struct slice key, struct slice value)
{
    struct run_load *load = context;
    struct timeline_run *run = load->run;
    struct block block;
    load->bad = !block_open(&block, value);
    if (load->bad) return false;
    ASSERT(run->block_count < TIMELINE_RUN_BLOCKS_MAX);
    run->blocks[run->block_count++] = (struct run_block){
        .first = block_first(key), .count = block.count, .start = (uint32_t)run->bytes.len, .len = value.len};
    writer_raw(&run->bytes, value.data, value.len);
    return block_first(key) > load->seq;
}

/* Reads the block of `seq` and those with the messages up to `ahead` beyond it. */
static enum result run_load(struct timeline_run *run, struct store_view *view, uint64_t seq)
{
    struct run_load load = {.run = run, .seq = seq};
    struct key from = timeline_key(run->room_id, seq + run->ahead), until = key_after(KEY_MESSAGE, run->room_id);
    writer_reset(&run->bytes);
    run->block_count = 0;
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), run_take, &load);
    if (result == RESULT_OK && (load.bad || run->bytes.failed)) result = RESULT_CORRUPT;
    if (result != RESULT_OK) run->block_count = 0;
    run->at_block = run->block_count; /* none */
    bool more = run->bytes.len < BLOCK_SIZE_MAX_BYTES;
    run->ahead = !more ? 0 : 2 * run->ahead + 1 < AHEAD_MAX ? 2 * run->ahead + 1 : AHEAD_MAX;
    return result;
}

static bool run_find(const struct timeline_run *run, uint64_t seq, uint32_t *block)
{
    for (*block = 0; *block < run->block_count; ++*block) {
        const struct run_block *b = &run->blocks[*block];
        if (seq >= b->first && seq - b->first < b->count) return true;
    }
    return false;
}

static enum result run_record(struct timeline_run *run, uint32_t number, uint64_t seq, struct slice *record)
{
    const struct run_block *b = &run->blocks[number];
    if (run->at_block != number || run->at_seq > seq) {
        bool opened = block_open(&run->at, slice_of(run->bytes.data + b->start, b->len));
        ASSERT(opened); /* by run_take */
        run->at_block = number;
        run->at_seq = b->first;
    }
    do {
        if (!block_next(&run->at, record)) return RESULT_CORRUPT;
    } while (run->at_seq++ != seq);
    return RESULT_OK;
}

enum result timeline_reader_get(struct timeline_reader *reader, uint64_t room_id, uint64_t seq, struct slice *record)
{
    struct timeline_run *run = run_of(reader, room_id);
    run->used = ++reader->clock;
    uint32_t block;
    if (!run_find(run, seq, &block)) {
        enum result result = run_load(run, reader->view, seq);
        if (result != RESULT_OK) return result;
        if (!run_find(run, seq, &block)) return RESULT_MISSING;
    }
    return run_record(run, block, seq, record);
}
