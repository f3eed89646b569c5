/* tests/shard/dedup_test.c - the window of repeated client ids: what is in it, what left it, and that loading its stored blocks gives
 * the same window, whatever its size became meanwhile. */
#include "shard/dedup.h"
#include "shard/memory.h"
#include <criterion/criterion.h>

#define CAPACITY DEDUP_CAPACITY_MIN
#define BLOCKS_MAX 64

/* The stored blocks, as the store would hold them. */
struct shelf {
    uint64_t index;
    struct slice block; /* owned */
};

static struct box {
    struct dedup *dedup;
    struct effects effects;
    struct shelf shelves[BLOCKS_MAX]; /* ascending index */
    uint32_t shelf_count;
    uint64_t index; /* of the last batch */
} box;

static void open_box(uint32_t capacity)
{
    cr_assert_eq(dedup_create(&box.dedup, capacity), RESULT_OK);
    effects_init(&box.effects);
}

static void close_box(void)
{
    for (uint32_t i = 0; i < box.shelf_count; i++) free((void *)(uintptr_t)box.shelves[i].block.data);
    effects_deinit(&box.effects);
    dedup_destroy(box.dedup);
}

TestSuite(dedup, .fini = close_box);

static struct dedup_entry entry(uint64_t n)
{
    struct dedup_entry e = {.body_hash = n, .result_id = n, .room_id = 1, .seq = n, .time_ms = n};
    dedup_id(&e, 1, 2, slice_of((const uint8_t *)&n, sizeof n));
    return e;
}

static bool knows(const struct dedup *dedup, uint64_t n)
{
    struct dedup_entry id = entry(n);
    const struct dedup_entry *found = dedup_find(dedup, &id);
    if (found != NULL) cr_expect(found->body_hash == n && found->seq == n && found->result_id == n);
    return found != NULL;
}

/* The first of 1 … last that is known; all after it are. */
static uint64_t first_known(const struct dedup *dedup, uint64_t last)
{
    uint64_t n = last + 1;
    while (n > 1 && knows(dedup, n - 1)) n--;
    for (uint64_t older = 1; older < n; older++) cr_assert(!knows(dedup, older), "%lu", (unsigned long)older);
    return n;
}

static void shelve(uint64_t index, struct slice value)
{
    uint32_t at = 0;
    while (at < box.shelf_count && box.shelves[at].index < index) at++;
    bool there = at < box.shelf_count && box.shelves[at].index == index;
    if (there) free((void *)(uintptr_t)box.shelves[at].block.data);
    else memmove(box.shelves + at + 1, box.shelves + at, (box.shelf_count++ - at) * sizeof *box.shelves);
    cr_assert_leq(box.shelf_count, BLOCKS_MAX);
    uint8_t *copy = memory_alloc(value.len);
    memcpy(copy, value.data, value.len);
    box.shelves[at] = (struct shelf){index, slice_of(copy, value.len)};
}

static void unshelve(uint64_t index)
{
    uint32_t at = 0;
    while (at < box.shelf_count && box.shelves[at].index != index) at++;
    cr_assert_lt(at, box.shelf_count, "a block that is not there is deleted");
    free((void *)(uintptr_t)box.shelves[at].block.data);
    memmove(box.shelves + at, box.shelves + at + 1, (--box.shelf_count - at) * sizeof *box.shelves);
}

static void end_batch(void)
{
    dedup_end_batch(box.dedup, ++box.index, &box.effects);
    struct cursor c = cursor_of(writer_slice(&box.effects.puts));
    while (cursor_left(&c) > 0) {
        bool is_put = cursor_u8(&c) == 1;
        struct slice key = cursor_bytes(&c);
        uint64_t index = key_u64_at(key, 1);
        cr_assert(key.data[0] == KEY_DEDUP);
        if (is_put) shelve(index, cursor_bytes(&c));
        else unshelve(index);
    }
    cr_assert(!c.bad);
    writer_reset(&box.effects.puts);
}

/* Entries first … last in batches of `size`. */
static void add(uint64_t first, uint64_t last, uint32_t size)
{
    for (uint64_t n = first; n <= last; n++) {
        struct dedup_entry e = entry(n);
        cr_assert_null(dedup_find(box.dedup, &e));
        dedup_add(box.dedup, &e);
        if (n == last || (n - first + 1) % size == 0) end_batch();
    }
}

static struct dedup *load(uint32_t capacity)
{
    struct dedup *loaded;
    cr_assert_eq(dedup_create(&loaded, capacity), RESULT_OK);
    for (uint32_t i = 0; i < box.shelf_count; i++)
        cr_assert(dedup_load_block(loaded, box.shelves[i].index, box.shelves[i].block));
    return loaded;
}

/* ---- the window ---- */

Test(dedup, ids_differ_by_each_of_their_parts)
{
    open_box(CAPACITY);
    static const struct {
        uint64_t scope, actor;
        const char *client_id;
    } parts[] = {{1, 2, "a"}, {2, 2, "a"}, {1, 1, "a"}, {2, 1, "a"}, {1, 2, "b"}, {1, 2, ""}, {0, 2, "a"}, {1, 2, "aa"}};
    struct dedup_entry ids[COUNT_OF(parts)];
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        ids[i] = (struct dedup_entry){.result_id = i};
        dedup_id(&ids[i], parts[i].scope, parts[i].actor, slice_text(parts[i].client_id));
        cr_expect_null(dedup_find(box.dedup, &ids[i]), "case %zu", i);
        dedup_add(box.dedup, &ids[i]);
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const struct dedup_entry *found = dedup_find(box.dedup, &ids[i]);
        cr_assert_not_null(found, "case %zu", i);
        cr_expect_eq(found->result_id, i);
    }
}

Test(dedup, the_oldest_are_forgotten_at_the_limit)
{
    open_box(CAPACITY);
    add(1, CAPACITY, 100);
    cr_expect_eq(first_known(box.dedup, CAPACITY), 1);
    add(CAPACITY + 1, CAPACITY + 1, 100);
    cr_expect_eq(first_known(box.dedup, CAPACITY + 1), 2);
    add(CAPACITY + 2, 5 * CAPACITY, 100);
    cr_expect_eq(first_known(box.dedup, 5 * CAPACITY), 4 * CAPACITY + 1);
}

/* All belong to the last few slots of the table, whatever its size, so they run on over its end; and some differ in one half only. */
static struct dedup_entry crowded(uint64_t n)
{
    return (struct dedup_entry){.id_low = (n % 5 << 40) | (0xffffffffu - n % 3), .id_high = n / 15, .result_id = n};
}

Test(dedup, entries_that_crowd_together_are_told_apart_and_forgotten_one_by_one)
{
    open_box(CAPACITY);
    for (uint64_t n = 0; n < 3 * CAPACITY; n++) {
        struct dedup_entry e = crowded(n);
        cr_assert_null(dedup_find(box.dedup, &e), "%lu", (unsigned long)n);
        dedup_add(box.dedup, &e);
        if (n % 97 != 0) continue;
        uint64_t first = n + 1 > CAPACITY ? n + 1 - CAPACITY : 0;
        for (uint64_t i = first > 50 ? first - 50 : 0; i <= n; i++) {
            struct dedup_entry id = crowded(i);
            const struct dedup_entry *found = dedup_find(box.dedup, &id);
            if (i < first) cr_assert_null(found, "%lu of %lu", (unsigned long)i, (unsigned long)n);
            else cr_assert(found != NULL && found->result_id == i, "%lu of %lu", (unsigned long)i, (unsigned long)n);
        }
    }
}

/* ---- blocks ---- */

Test(dedup, stored_blocks_make_the_same_window)
{
    open_box(CAPACITY);
    static const uint64_t counts[] = {1, 99, 100, 101, CAPACITY - 1, CAPACITY, CAPACITY + 1, 3 * CAPACITY, 3 * CAPACITY + 57};
    uint64_t added = 0;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        add(added + 1, counts[i], 100);
        added = counts[i];
        struct dedup *loaded = load(CAPACITY);
        cr_expect_eq(first_known(loaded, added), first_known(box.dedup, added), "%lu entries", (unsigned long)added);
        dedup_destroy(loaded);
        cr_expect_leq(box.shelf_count, CAPACITY / 100 + 2 + i, "blocks that left the window are deleted");
    }
}

Test(dedup, a_loaded_window_goes_on_like_the_one_it_was)
{
    open_box(CAPACITY);
    add(1, CAPACITY + 500, 77);
    struct dedup *loaded = load(CAPACITY);
    dedup_destroy(box.dedup);
    box.dedup = loaded;
    add(CAPACITY + 501, 3 * CAPACITY, 77); /* unshelve() asserts that each block is deleted once */
    cr_expect_eq(first_known(box.dedup, 3 * CAPACITY), 2 * CAPACITY + 1);
    loaded = load(CAPACITY);
    cr_expect_eq(first_known(loaded, 3 * CAPACITY), 2 * CAPACITY + 1);
    dedup_destroy(loaded);
}

Test(dedup, a_batch_without_entries_stores_nothing)
{
    open_box(CAPACITY);
    end_batch();
    cr_expect_eq(box.shelf_count, 0);
    add(1, 1, 1);
    end_batch();
    cr_expect_eq(box.shelf_count, 1);
}

Test(dedup, foreign_bytes_are_refused)
{
    open_box(CAPACITY);
    uint8_t bytes[sizeof(struct dedup_entry) + 1] = {0};
    cr_expect(!dedup_load_block(box.dedup, 1, slice_of(bytes, sizeof bytes)));
    cr_expect(dedup_load_block(box.dedup, 1, slice_of(bytes, sizeof bytes - 1)));
}

/* ---- another size ---- */

/* Live, and loaded from the blocks: the window after each change is the same, or a replay would differ from what was answered. */
Test(dedup, a_changed_size_holds_and_is_the_same_after_loading)
{
    static const struct {
        const char *name;
        uint32_t before, after;
        uint64_t added, then;
    } cases[] = {
        {"larger, before it was full", CAPACITY, 2 * CAPACITY, 500, 100},
        {"larger, after entries left", CAPACITY, 2 * CAPACITY, CAPACITY + 450, 100},
        {"larger, many left", CAPACITY, 4 * CAPACITY, 3 * CAPACITY + 50, 2 * CAPACITY},
        {"larger, a whole number of blocks left", CAPACITY, 2 * CAPACITY, CAPACITY + 400, 100},
        {"smaller, before it was full", 2 * CAPACITY, CAPACITY, 500, 100},
        {"smaller, some must go", 2 * CAPACITY, CAPACITY, CAPACITY + 450, 100},
        {"smaller, full", 2 * CAPACITY, CAPACITY, 3 * CAPACITY + 50, CAPACITY},
        {"the same", CAPACITY, CAPACITY, CAPACITY + 450, 100},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        open_box(cases[i].before);
        add(1, cases[i].added, 100);
        uint64_t kept = first_known(box.dedup, cases[i].added);
        dedup_resize(box.dedup, cases[i].after);
        end_batch();
        uint64_t last = cases[i].added, oldest = last > cases[i].after ? last - cases[i].after + 1 : 1;
        cr_expect_eq(first_known(box.dedup, last), kept > oldest ? kept : oldest, "%s", cases[i].name);
        for (int pass = 0; pass < 2; pass++) {
            struct dedup *loaded = load(cases[i].after);
            cr_expect_eq(first_known(loaded, last), first_known(box.dedup, last), "%s, pass %d", cases[i].name, pass);
            dedup_destroy(loaded);
            if (pass > 0) break;
            add(last + 1, last + cases[i].then, 100);
            last += cases[i].then;
        }
        close_box();
        box = (struct box){0};
    }
    open_box(CAPACITY);
}

/* The command that changes the limits stands in a batch with others. */
Test(dedup, a_size_that_changes_within_a_batch)
{
    open_box(CAPACITY);
    add(1, CAPACITY + 150, 100);
    uint64_t last = CAPACITY + 150;
    for (uint64_t n = last + 1; n <= last + 120; n++) {
        if (n == last + 60) dedup_resize(box.dedup, 2 * CAPACITY);
        struct dedup_entry e = entry(n);
        dedup_add(box.dedup, &e);
    }
    end_batch();
    cr_expect_eq(first_known(box.dedup, last + 120), 150 + 59 + 1);
    struct dedup *loaded = load(2 * CAPACITY);
    cr_expect_eq(first_known(loaded, last + 120), 150 + 59 + 1);
    dedup_destroy(loaded);
}
