/* shard/engine/follower_page.c - see follower_page.h.
 * Happy path: entries behind a number: the first block whose last one is beyond it, then the next ones. While it is rebuilding: the rows
 * of each kind that has a scan, in ascending order; behind the last kind the place is a number again. */
#include "shard/engine/follower_page.h"
#include "api/wire.h"
#include "core/check.h"
#include "ringpost/v1/operator.fields.h"
#include "shard/engine/block.h"
#include "shard/engine/domain.h"
#include "shard/engine/keys.h"
#include <inttypes.h>
#include <stdio.h>

#define ID_TEXT_MAX 80

/* Numbers of FollowerEntry and FollowerPlace. */

struct reading {
    struct follower_page *page;
    struct follower_reader reader;
    uint32_t looked_at;
    uint8_t kind; /* being scanned */
    enum result result;
};

static bool is_full(const struct reading *r)
{
    const struct follower_page *page = r->page;
    return r->looked_at >= page->entries_max || page->bytes.len >= page->bytes_max;
}

static void write_place(struct writer *out, const struct follower_place *place)
{
    size_t begin = wire_message_begin(out, FIELD_FOLLOWER_ENTRY_PLACE);
    wire_write_u64(out, FIELD_FOLLOWER_PLACE_NUMBER, place->number);
    wire_write_u64(out, FIELD_FOLLOWER_PLACE_REBUILDING, place->rebuilding);
    wire_write_u64(out, FIELD_FOLLOWER_PLACE_KIND, place->kind);
    wire_write_u64(out, FIELD_FOLLOWER_PLACE_A, place->a);
    wire_write_u64(out, FIELD_FOLLOWER_PLACE_B, place->b);
    wire_nest_end(out, begin);
}

/* Of an entry: shard and number. Of a row: shard, kind and place of what it is about, whenever and how often it is told. */
static void write_head(struct writer *out, uint16_t shard, const struct follower_place *place)
{
    char id[ID_TEXT_MAX];
    int len = place->rebuilding ? snprintf(id, sizeof id, "%u-rebuilt-%" PRIu32 "-%" PRIu64 "-%" PRIu64, shard, place->kind, place->a, place->b)
                                : snprintf(id, sizeof id, "%u-%" PRIu64, shard, place->number);
    wire_write_bytes(out, FIELD_FOLLOWER_ENTRY_ID, slice_of(id, (size_t)len));
    wire_write_u64(out, FIELD_FOLLOWER_ENTRY_SHARD, shard);
    write_place(out, place);
    wire_write_u64(out, FIELD_FOLLOWER_ENTRY_REBUILT, place->rebuilding);
}

static void pass(struct reading *r, const struct follower_place *place)
{
    r->looked_at++;
    r->page->next = *place;
}

static void add(struct reading *r, uint8_t kind, const struct follower_place *place, struct slice record)
{
    struct follower_page *page = r->page;
    pass(r, place);
    const struct follower_row *row = domain_followed(page->domain, kind);
    if (row == NULL) r->result = RESULT_CORRUPT;
    if (row == NULL || (page->kinds >> kind & 1) == 0) return;
    size_t begin = page->bytes.len;
    writer_u32(&page->bytes, 0);
    write_head(&page->bytes, page->shard, place);
    r->result = row->write(&r->reader, record, &page->bytes, row->field);
    if (r->result == RESULT_OK && page->bytes.failed) r->result = RESULT_NOMEM;
    if (r->result != RESULT_OK) return;
    uint32_t len = (uint32_t)(page->bytes.len - begin - sizeof len);
    memcpy(page->bytes.data + begin, &len, sizeof len);
    page->count++;
}

/* ---- entries ---- */

/* False: the page is full, or the block is not what it should be. */
static bool take_entries(struct reading *r, struct block *block, uint64_t number)
{
    struct slice record;
    while (block_next(block, &record)) {
        number++;
        if (number <= r->page->next.number) continue;
        if (number != r->page->next.number + 1 || record.len == 0) r->result = RESULT_CORRUPT; /* one is missing */
        else add(r, record.data[0], &(struct follower_place){.number = number}, slice_of(record.data + 1, record.len - 1));
        if (r->result != RESULT_OK || is_full(r)) return false;
    }
    if (block->records.bad) r->result = RESULT_CORRUPT;
    return !block->records.bad;
}

static bool take_block(void *context, struct slice key, struct slice value)
{
    struct reading *r = context;
    struct block block;
    uint64_t last = key.len == 17 ? key_u64_at(key, 9) : 0;
    bool good = block_open(&block, value) && block.count <= last;
    if (!good) r->result = RESULT_CORRUPT;
    return good && take_entries(r, &block, last - block.count);
}

static enum result read_entries(struct reading *r)
{
    struct key from = key_two(KEY_FOLLOWED, 0, r->page->next.number + 1), until = key_after(KEY_FOLLOWED, 0);
    enum result result = store_scan(r->reader.view, key_slice(&from), key_slice(&until), take_block, r);
    return result == RESULT_OK ? r->result : result;
}

/* ---- rows ---- */

static bool take_row(void *context, uint64_t a, uint64_t b, struct slice record)
{
    struct reading *r = context;
    struct follower_place place = {
        .number = r->page->next.number, .rebuilding = true, .kind = r->kind, .a = a, .b = b};
    if (follower_place_compare(&r->page->next, &place) >= 0) {
        r->result = RESULT_CORRUPT; /* the place, which somebody outside remembered, or the store */
        return false;
    }
    if (record.len > 0) add(r, r->kind, &place, record);
    else pass(r, &place);
    return r->result == RESULT_OK && !is_full(r);
}

static enum result scan_rows(struct reading *r)
{
    struct follower_place *next = &r->page->next;
    for (uint32_t kind = next->kind; kind < FOLLOWER_KINDS_MAX; kind++) {
        const struct follower_row *row = domain_followed(r->page->domain, kind);
        if (row == NULL || row->scan == NULL) continue;
        bool goes_on = kind == next->kind;
        r->kind = (uint8_t)kind;
        enum result result = row->scan(&r->reader, goes_on ? next->a : 0, goes_on ? next->b : 0, take_row, r);
        if (result == RESULT_OK) result = r->result;
        if (result != RESULT_OK || is_full(r)) return result;
    }
    *next = (struct follower_place){.number = next->number};
    return RESULT_OK;
}

enum result follower_page_read(struct follower_page *page, struct store_view *view)
{
    struct reading r = {.page = page, .reader = {.view = view, .shard = page->shard, .bodies = page->bodies}};
    ASSERT(page->entries_max > 0 && page->bytes_max > 0);
    writer_init(&r.reader.scratch, 0);
    page->next = page->place;
    page->count = 0;
    enum result result = page->place.rebuilding ? scan_rows(&r) : read_entries(&r);
    if (r.reader.state != NULL) r.reader.free_state(r.reader.state);
    writer_deinit(&r.reader.scratch);
    return result;
}
