/* tests/storage/trims_test.c - a trim counts when its index is durable, for its group alone; and RocksDB's compactions go by it. */
#include "storage/trims.h"
#include "core/check.h"
#include "storage/rocks.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define KIND 0x14

struct trim_key {
    uint8_t bytes[TRIM_KEY_SIZE];
};

static struct trim_key key_of(uint8_t kind, uint64_t id, uint64_t number)
{
    struct trim_key key = {.bytes = {kind}};
    id = __builtin_bswap64(id);
    number = __builtin_bswap64(number);
    memcpy(key.bytes + 1, &id, sizeof id);
    memcpy(key.bytes + TRIM_GROUP_SIZE, &number, sizeof number);
    return key;
}
static struct slice slice_of_key(const struct trim_key *key) { return slice_of(key->bytes, sizeof key->bytes); }

static void note(struct trims *trims, uint8_t kind, uint64_t id, uint64_t number)
{
    struct trim_key key = key_of(kind, id, number);
    trims_note(trims, slice_of_key(&key));
}

static uint64_t kept(struct trims *trims, uint8_t kind, uint64_t id)
{
    struct trim_key key = key_of(kind, id, 0);
    return trims_first_kept(trims, key.bytes);
}

Test(trims, counts_when_its_index_is_durable)
{
    static const struct {
        uint64_t durable, want;
    } cases[] = {{0, 0}, {6, 0}, {7, 100}, {8, 100}, {9, 200}, {UINT64_MAX, 200}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trims *trims = trims_create();
        note(trims, KIND, 1, 100);
        trims_stamp(trims, 7);
        trims_stamp(trims, 8); /* a batch without trims */
        note(trims, KIND, 1, 200);
        trims_stamp(trims, 9);
        note(trims, KIND, 1, 300); /* its batch is not complete */
        trims_settle(trims, cases[i].durable);
        cr_expect_eq(kept(trims, KIND, 1), cases[i].want, "durable %lu: %lu", cases[i].durable, kept(trims, KIND, 1));
        trims_destroy(trims);
    }
}

Test(trims, concerns_its_kind_and_id_alone)
{
    struct trims *trims = trims_create();
    note(trims, KIND, 1, 100);
    note(trims, KIND + 1, 2, 200);
    trims_stamp(trims, 1);
    trims_settle(trims, 1);
    cr_expect_eq(kept(trims, KIND, 1), 100);
    cr_expect_eq(kept(trims, KIND + 1, 2), 200);
    cr_expect_eq(kept(trims, KIND, 2), 0);
    cr_expect_eq(kept(trims, KIND + 1, 1), 0);
    cr_expect_eq(kept(trims, 0, 0), 0);
    trims_destroy(trims);
}

/* However many come and go, each group has its last trim, an older one, or none: never another's; and most have theirs. */
Test(trims, many_groups_never_mix)
{
    enum { GROUPS = 200000, ROUNDS = 3 };
    struct trims *trims = trims_create();
    for (uint64_t round = 1; round <= ROUNDS; round++)
        for (uint64_t id = 1; id <= GROUPS; id++) {
            note(trims, KIND, id, id * 10 + round);
            trims_stamp(trims, round * GROUPS + id);
            if (id % 1000 == 0) trims_settle(trims, round * GROUPS + id - 500);
        }
    trims_settle(trims, UINT64_MAX);
    uint64_t known = 0;
    for (uint64_t id = 1; id <= GROUPS; id++) {
        uint64_t first = kept(trims, KIND, id);
        cr_assert(first == 0 || first == id * 10 + ROUNDS, "group %lu: %lu", id, first);
        known += first != 0;
    }
    cr_expect_gt(known, GROUPS / 2, "%lu groups of %d", known, GROUPS);
    trims_destroy(trims);
}

/* ---- in RocksDB ---- */

#define ROW_SIZE 1024
#define LAST_MAX 100000

static struct rocks *open_rocks(struct scratch *scratch)
{
    struct rocks *rocks;
    uint64_t applied;
    char text[512] = "";
    const struct rocks_options options = {
        .path = scratch_path(scratch, "store"), .memtable_size_bytes = 64 << 10, .block_cache_size_bytes = 1 << 20};
    cr_assert_eq(rocks_open(&rocks, &options, &applied, text, sizeof text), RESULT_OK, "%s", text);
    return rocks;
}

/* Index i puts row i of group 1 and of group 2; `trim`: and lets go of group 1's rows before it. */
static void write_rows(struct rocks *rocks, uint64_t i, bool trim)
{
    static const uint8_t row[ROW_SIZE];
    struct trim_key one = key_of(KIND, 1, i), two = key_of(KIND, 2, i);
    struct writer batch;
    writer_init(&batch, 0);
    store_batch_put(&batch, slice_of_key(&one), slice_of(row, sizeof row));
    store_batch_put(&batch, slice_of_key(&two), slice_of(row, sizeof row));
    if (trim) store_batch_trim(&batch, slice_of_key(&one));
    rocks_stage(rocks, writer_slice(&batch));
    writer_deinit(&batch);
    if (!rocks_commit(rocks, i))
        while (!rocks_retry(rocks)) continue;
}

struct seen {
    uint64_t count, first, last;
};

static bool see(void *context, struct slice key, struct slice value)
{
    struct seen *seen = context;
    cr_assert_eq(value.len, ROW_SIZE);
    if (seen->count++ == 0) seen->first = trim_number(key.data);
    seen->last = trim_number(key.data);
    return true;
}

static struct seen rows_of(struct rocks *rocks, uint64_t id)
{
    struct seen seen = {0};
    struct trim_key from = key_of(KIND, id, 0), until = key_of(KIND, id + 1, 0);
    cr_assert_eq(store_scan(rocks_view(rocks, false), slice_of_key(&from), slice_of_key(&until), see, &seen), RESULT_OK);
    return seen;
}

Test(trims, compaction_leaves_out_what_a_durable_trim_lets_go_of, .timeout = 60)
{
    enum { BEFORE = 50 };
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_rocks(&scratch);
    uint64_t last = 0;
    while (last < BEFORE) write_rows(rocks, ++last, false);
    write_rows(rocks, ++last, true);
    uint64_t trimmed = last;
    while (rows_of(rocks, 1).first < trimmed && last < LAST_MAX) {
        write_rows(rocks, ++last, false); /* memtables fill, and files are merged */
        rocks_durable_index(rocks);
    }
    cr_assert_lt(last, LAST_MAX, "never merged");
    struct seen one = rows_of(rocks, 1), two = rows_of(rocks, 2);
    cr_expect_eq(one.first, trimmed);
    cr_expect_eq(one.last, last);
    cr_expect_eq(one.count, last - trimmed + 1, "a row that is still read is gone");
    cr_expect_eq(two.count, last, "a row of another group is gone");
    rocks_close(rocks);
    rocks = open_rocks(&scratch);
    cr_expect_eq(rocks_applied_index(rocks), last);
    cr_expect_eq(rows_of(rocks, 1).count, one.count);
    cr_expect_eq(rows_of(rocks, 2).count, last);
    rocks_close(rocks);
    scratch_deinit(&scratch);
}
