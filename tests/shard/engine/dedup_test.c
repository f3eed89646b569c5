/* tests/shard/engine/dedup_test.c - the window of repeated client ids: what is in it, what left it, who may push out whose entries, and that
 * loading its stored blocks gives the same window, whatever its limits became meanwhile. */
#include "shard/engine/dedup.h"
#include "shard/engine/memory.h"
#include <criterion/criterion.h>

#define CAPACITY 1024u
#define BLOCKS_MAX 256
#define WINDOW_MS 1000u
#define PER_SENDER 64u

/* The stored blocks, as the store would hold them. */
struct shelf {
    uint8_t kind;
    uint64_t index;
    struct slice block; /* owned */
};

static struct box {
    struct dedup *dedup;
    struct effects effects;
    struct shelf shelves[BLOCKS_MAX]; /* ascending kind and index */
    uint32_t shelf_count;
    uint64_t index; /* of the last batch */
    uint64_t now_ms;
} box;

/* Nothing goes round again: a window counted in entries. */
static struct dedup_limits of_capacity(uint32_t capacity) { return (struct dedup_limits){.capacity = capacity}; }

static struct dedup_limits of_time(uint32_t capacity)
{
    return (struct dedup_limits){.capacity = capacity, .window_ms = WINDOW_MS, .per_sender = PER_SENDER};
}

static void open_box(struct dedup_limits limits)
{
    cr_assert_eq(dedup_create(&box.dedup, &limits), RESULT_OK);
    effects_init(&box.effects);
    box.now_ms = 1000000;
}

static void close_box(void)
{
    for (uint32_t i = 0; i < box.shelf_count; i++) free((void *)(uintptr_t)box.shelves[i].block.data);
    effects_deinit(&box.effects);
    dedup_destroy(box.dedup);
}

TestSuite(dedup, .fini = close_box);

/* Send n of somebody. */
static struct dedup_entry entry_of(uint64_t sender_id, uint64_t n)
{
    struct dedup_entry e = {.content = (uint32_t)n, .result_id = n, .room_id = 1, .seq = n, .time_ms = box.now_ms};
    dedup_id(&e, 1, sender_id, slice_of((const uint8_t *)&n, sizeof n));
    return e;
}

static struct dedup_entry entry(uint64_t n) { return entry_of(2, n); }

static void add_one(uint64_t sender_id, uint64_t n)
{
    struct dedup_entry e = entry_of(sender_id, n);
    cr_assert_null(dedup_find(box.dedup, &e));
    dedup_add(box.dedup, &e, box.now_ms);
}

static bool knows_of(const struct dedup *dedup, uint64_t sender_id, uint64_t n)
{
    struct dedup_entry id = entry_of(sender_id, n);
    const struct dedup_entry *found = dedup_find(dedup, &id);
    if (found != NULL) cr_expect(found->content == (uint32_t)n && found->seq == n && found->result_id == n);
    return found != NULL;
}

static bool knows(const struct dedup *dedup, uint64_t n) { return knows_of(dedup, 2, n); }

/* The first of 1 … last that is known; all after it are. */
static uint64_t first_known(const struct dedup *dedup, uint64_t last)
{
    uint64_t n = last + 1;
    while (n > 1 && knows(dedup, n - 1)) n--;
    for (uint64_t older = 1; older < n; older++) cr_assert(!knows(dedup, older), "%lu", (unsigned long)older);
    return n;
}

static void shelve(uint8_t kind, uint64_t index, struct slice value)
{
    cr_assert_lt(box.shelf_count, BLOCKS_MAX);
    uint32_t at = box.shelf_count++; /* indexes go up, and the former kind is the smaller one */
    uint8_t *copy = memory_alloc(value.len);
    memcpy(copy, value.data, value.len);
    box.shelves[at] = (struct shelf){kind, index, slice_of(copy, value.len)};
}

static void unshelve(uint8_t kind, uint64_t index)
{
    uint32_t at = 0;
    while (at < box.shelf_count && (box.shelves[at].index != index || box.shelves[at].kind != kind)) at++;
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
        uint8_t kind = (uint8_t)key.data[0];
        cr_assert(kind == KEY_REPEATS || (kind == KEY_DEDUP && !is_put));
        if (is_put) shelve(kind, index, cursor_bytes(&c));
        else unshelve(kind, index);
    }
    cr_assert(!c.bad);
    writer_reset(&box.effects.puts);
}

/* Entries first … last in batches of `size`. */
static void add(uint64_t first, uint64_t last, uint32_t size)
{
    for (uint64_t n = first; n <= last; n++) {
        add_one(2, n);
        if (n == last || (n - first + 1) % size == 0) end_batch();
    }
}

static struct dedup *load(struct dedup_limits limits)
{
    struct dedup *loaded;
    cr_assert_eq(dedup_create(&loaded, &limits), RESULT_OK);
    for (uint32_t i = 0; i < box.shelf_count; i++) {
        const struct shelf *shelf = &box.shelves[i];
        bool took = shelf->kind == KEY_DEDUP ? dedup_load_former_block(loaded, shelf->index, shelf->block)
                                             : dedup_load_block(loaded, shelf->index, shelf->block);
        cr_assert(took);
    }
    dedup_load_end(loaded);
    return loaded;
}

/* The process ends and starts again. */
static void reload(struct dedup_limits limits)
{
    struct dedup *loaded = load(limits);
    dedup_destroy(box.dedup);
    box.dedup = loaded;
}

/* ---- the window ---- */

Test(dedup, ids_differ_by_each_of_their_parts)
{
    open_box(of_capacity(CAPACITY));
    static const struct {
        uint64_t scope, actor;
        const char *client_id;
    } parts[] = {{1, 2, "a"}, {2, 2, "a"}, {1, 1, "a"}, {2, 1, "a"}, {1, 2, "b"}, {1, 2, ""}, {0, 2, "a"}, {1, 2, "aa"}};
    struct dedup_entry ids[COUNT_OF(parts)];
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        ids[i] = (struct dedup_entry){.result_id = i};
        dedup_id(&ids[i], parts[i].scope, parts[i].actor, slice_text(parts[i].client_id));
        cr_expect_null(dedup_find(box.dedup, &ids[i]), "case %zu", i);
        dedup_add(box.dedup, &ids[i], box.now_ms);
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const struct dedup_entry *found = dedup_find(box.dedup, &ids[i]);
        cr_assert_not_null(found, "case %zu", i);
        cr_expect_eq(found->result_id, i);
    }
}

Test(dedup, the_oldest_are_forgotten_at_the_limit)
{
    open_box(of_capacity(CAPACITY));
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
    return (struct dedup_entry){.id_low = (n % 5 << 40) | (0xffffffffu - n % 3), .id_high = n / 15, .result_id = n, .sender_id = 2};
}

Test(dedup, entries_that_crowd_together_are_told_apart_and_forgotten_one_by_one)
{
    open_box(of_capacity(CAPACITY));
    for (uint64_t n = 0; n < 3 * CAPACITY; n++) {
        struct dedup_entry e = crowded(n);
        cr_assert_null(dedup_find(box.dedup, &e), "%lu", (unsigned long)n);
        dedup_add(box.dedup, &e, box.now_ms);
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
    open_box(of_capacity(CAPACITY));
    static const uint64_t counts[] = {1, 99, 100, 101, CAPACITY - 1, CAPACITY, CAPACITY + 1, 3 * CAPACITY, 3 * CAPACITY + 57};
    uint64_t added = 0;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        add(added + 1, counts[i], 100);
        added = counts[i];
        struct dedup *loaded = load(of_capacity(CAPACITY));
        cr_expect_eq(first_known(loaded, added), first_known(box.dedup, added), "%lu entries", (unsigned long)added);
        dedup_destroy(loaded);
        cr_expect_leq(box.shelf_count, CAPACITY / 100 + 2 + i, "blocks that left the window are deleted");
    }
}

Test(dedup, a_loaded_window_goes_on_like_the_one_it_was)
{
    open_box(of_capacity(CAPACITY));
    add(1, CAPACITY + 500, 77);
    struct dedup *loaded = load(of_capacity(CAPACITY));
    dedup_destroy(box.dedup);
    box.dedup = loaded;
    add(CAPACITY + 501, 3 * CAPACITY, 77); /* unshelve() asserts that each block is deleted once */
    cr_expect_eq(first_known(box.dedup, 3 * CAPACITY), 2 * CAPACITY + 1);
    loaded = load(of_capacity(CAPACITY));
    cr_expect_eq(first_known(loaded, 3 * CAPACITY), 2 * CAPACITY + 1);
    dedup_destroy(loaded);
}

Test(dedup, a_batch_without_entries_stores_nothing)
{
    open_box(of_capacity(CAPACITY));
    end_batch();
    cr_expect_eq(box.shelf_count, 0);
    add(1, 1, 1);
    end_batch();
    cr_expect_eq(box.shelf_count, 1);
}

Test(dedup, foreign_bytes_are_refused)
{
    open_box(of_capacity(CAPACITY));
    static const struct {
        const char *name;
        uint64_t first, oldest, sender_id;
        uint32_t cut;
        bool want;
    } cases[] = {
        {"ours", 7, 7, 2, 0, true},
        {"an entry that is cut", 7, 7, 2, 1, false},
        {"no whole head", 7, 7, 2, sizeof(struct dedup_entry) + 1, false},
        {"a ring that begins behind its end", 7, 9, 2, 0, false},
        {"nobody's entry", 7, 7, 0, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct writer w;
        writer_init(&w, 0);
        writer_u64(&w, cases[i].first);
        writer_u64(&w, cases[i].oldest);
        struct dedup_entry e = entry(1);
        e.sender_id = cases[i].sender_id;
        writer_raw(&w, &e, sizeof e);
        struct dedup *loaded;
        cr_assert_eq(dedup_create(&loaded, &(struct dedup_limits){.capacity = CAPACITY}), RESULT_OK);
        cr_expect_eq(dedup_load_block(loaded, 1, slice_of(w.data, (uint32_t)w.len - cases[i].cut)), cases[i].want, "%s", cases[i].name);
        dedup_destroy(loaded);
        writer_deinit(&w);
    }
}

Test(dedup, a_missing_block_is_noticed)
{
    open_box(of_capacity(CAPACITY));
    add(1, 300, 100);
    struct dedup *loaded;
    cr_assert_eq(dedup_create(&loaded, &(struct dedup_limits){.capacity = CAPACITY}), RESULT_OK);
    cr_expect(dedup_load_block(loaded, 1, box.shelves[0].block));
    cr_expect(!dedup_load_block(loaded, 3, box.shelves[2].block));
    dedup_destroy(loaded);
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
        open_box(of_capacity(cases[i].before));
        add(1, cases[i].added, 100);
        uint64_t kept = first_known(box.dedup, cases[i].added);
        struct dedup_limits after = of_capacity(cases[i].after);
        dedup_set_limits(box.dedup, &after, box.now_ms);
        end_batch();
        uint64_t last = cases[i].added, oldest = last > cases[i].after ? last - cases[i].after + 1 : 1;
        cr_expect_eq(first_known(box.dedup, last), kept > oldest ? kept : oldest, "%s", cases[i].name);
        for (int pass = 0; pass < 2; pass++) {
            struct dedup *loaded = load(of_capacity(cases[i].after));
            cr_expect_eq(first_known(loaded, last), first_known(box.dedup, last), "%s, pass %d", cases[i].name, pass);
            dedup_destroy(loaded);
            if (pass > 0) break;
            add(last + 1, last + cases[i].then, 100);
            last += cases[i].then;
        }
        close_box();
        box = (struct box){0};
    }
    open_box(of_capacity(CAPACITY));
}

/* The command that changes the limits stands in a batch with others. */
Test(dedup, a_size_that_changes_within_a_batch)
{
    open_box(of_capacity(CAPACITY));
    add(1, CAPACITY + 150, 100);
    uint64_t last = CAPACITY + 150;
    struct dedup_limits twice = of_capacity(2 * CAPACITY);
    for (uint64_t n = last + 1; n <= last + 120; n++) {
        if (n == last + 60) dedup_set_limits(box.dedup, &twice, box.now_ms);
        add_one(2, n);
    }
    end_batch();
    cr_expect_eq(first_known(box.dedup, last + 120), 150 + 59 + 1);
    struct dedup *loaded = load(of_capacity(2 * CAPACITY));
    cr_expect_eq(first_known(loaded, last + 120), 150 + 59 + 1);
    dedup_destroy(loaded);
}

/* ---- time, and other people ---- */

#define OTHERS 1000u /* ids of those who flood */

/* `count` sends of `people` people, one after the other. */
static void flood(uint64_t first, uint64_t count, uint32_t people)
{
    for (uint64_t n = first; n < first + count; n++) {
        add_one(OTHERS + n % people, n);
        if (n % 100 == 0) end_batch();
    }
    end_batch();
}

static uint32_t known_of(uint64_t sender_id, uint64_t first, uint64_t last)
{
    uint32_t count = 0;
    for (uint64_t n = first; n <= last; n++) count += knows_of(box.dedup, sender_id, n);
    return count;
}

Test(dedup, nobodys_flood_pushes_out_somebody_elses_sends)
{
    static const struct {
        const char *name;
        uint32_t people, own, known; /* who flood; own sends before it; of them still known */
    } cases[] = {
        {"one", 1, 10, 10},
        {"a few", 7, PER_SENDER, PER_SENDER},
        {"more than per_sender are not promised", 7, PER_SENDER + 20, PER_SENDER},
        {"many: everybody keeps fewer", 100, 10, 5},
        {"as many as there is room for", CAPACITY / 2 - 1, 3, 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        open_box(of_time(CAPACITY));
        for (uint32_t n = 1; n <= cases[i].own; n++) add_one(2, n);
        end_batch();
        for (uint32_t round = 0; round < 5; round++) {
            flood(1 + round * 4 * CAPACITY, 4 * CAPACITY, cases[i].people);
            cr_expect_eq(known_of(2, cases[i].own - cases[i].known + 1, cases[i].own), cases[i].known, "%s, round %u", cases[i].name, round);
            reload(of_time(CAPACITY));
        }
        box.now_ms += WINDOW_MS - 1;
        flood(1u << 20, 2 * CAPACITY, 3);
        cr_expect_eq(known_of(2, cases[i].own, cases[i].own), 1, "%s: the window is not over", cases[i].name);
        box.now_ms++;
        flood(2u << 20, 2 * CAPACITY, 3);
        cr_expect_eq(known_of(2, 1, cases[i].own), 0, "%s: the window is over", cases[i].name);
        close_box();
        box = (struct box){0};
    }
    open_box(of_time(CAPACITY));
}

Test(dedup, a_smaller_window_keeps_what_is_promised)
{
    open_box(of_time(4 * CAPACITY));
    for (uint32_t n = 1; n <= 10; n++) add_one(2, n);
    flood(1, 3 * CAPACITY, 9);
    struct dedup_limits smaller = of_time(CAPACITY);
    dedup_set_limits(box.dedup, &smaller, box.now_ms);
    end_batch();
    cr_expect_eq(known_of(2, 1, 10), 10);
    reload(smaller);
    cr_expect_eq(known_of(2, 1, 10), 10);
}

Test(dedup, what_was_forgotten_early_is_reported)
{
    open_box(of_time(CAPACITY));
    struct dedup_report report;
    flood(1, 20 * CAPACITY, 5);
    dedup_report(box.dedup, box.now_ms, &report);
    cr_expect_eq(report.forgotten_early, 0, "beyond per_sender nothing is promised");
    cr_expect_eq(report.window_ms, WINDOW_MS);
    cr_expect_eq(report.allowance, PER_SENDER);
    flood(1u << 20, 4 * CAPACITY, 2 * CAPACITY);
    box.now_ms += 30;
    dedup_report(box.dedup, box.now_ms, &report);
    cr_expect_gt(report.forgotten_early, CAPACITY);
    cr_expect_eq(report.window_ms, 30, "all of this window is known from then on");
    cr_expect_eq(report.allowance, 1);
    box.now_ms += WINDOW_MS;
    flood(2u << 20, 3 * CAPACITY, 5);
    dedup_report(box.dedup, box.now_ms, &report);
    cr_expect_eq(report.window_ms, WINDOW_MS);
    cr_expect_eq(report.allowance, PER_SENDER);
}

/* However far; what was stored before is no longer kept on purpose, and everything goes on. */
Test(dedup, a_clock_that_is_set_back_or_forward)
{
    static const int64_t steps[] = {-500, 500, -900000, 900000};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        open_box(of_time(CAPACITY));
        for (uint32_t n = 1; n <= 10; n++) add_one(2, n);
        box.now_ms = (uint64_t)((int64_t)box.now_ms + steps[i]);
        for (uint32_t n = 11; n <= 20; n++) add_one(2, n);
        flood(1, 4 * CAPACITY, 5);
        bool near = steps[i] > -(int64_t)WINDOW_MS && steps[i] < (int64_t)WINDOW_MS;
        cr_expect_eq(known_of(2, 1, 10), near ? 10 : 0, "%ld", (long)steps[i]);
        cr_expect_eq(known_of(2, 11, 20), 10, "%ld", (long)steps[i]);
        close_box();
        box = (struct box){0};
    }
    open_box(of_time(CAPACITY));
}

/* ---- what format 3 stored ---- */

/* As that format wrote them: entries 1 … 500 of somebody, 50 a block. */
static void shelve_former(void)
{
    for (uint64_t n = 1; n <= 500; n += 50) {
        struct writer w;
        writer_init(&w, 0);
        for (uint64_t i = n; i < n + 50; i++) {
            struct dedup_entry e = entry(i);
            const uint64_t words[7] = {e.id_low, e.id_high, i | i << 32, e.result_id, e.room_id, e.seq, e.time_ms};
            writer_raw(&w, words, sizeof words);
        }
        shelve(KEY_DEDUP, ++box.index, writer_slice(&w));
        writer_deinit(&w);
    }
}

Test(dedup, entries_of_the_former_format_are_kept_like_the_others)
{
    open_box(of_time(CAPACITY));
    shelve_former();
    reload(of_time(CAPACITY));
    cr_expect_eq(first_known(box.dedup, 500), 1);
    struct dedup_entry again = entry(7);
    const struct dedup_entry *first = dedup_find(box.dedup, &again);
    again.content++; /* hashed in another way now */
    cr_expect(dedup_same(first, &again, 7 | UINT64_C(7) << 32));
    cr_expect(!dedup_same(first, &again, 8));
    flood(1, 5 * CAPACITY, 5);
    cr_expect_eq(first_known(box.dedup, 500), 1, "a flood does not push them out");
    reload(of_time(CAPACITY));
    cr_expect_eq(first_known(box.dedup, 500), 1);
    for (uint32_t i = 0; i < box.shelf_count; i++) cr_expect_eq(box.shelves[i].kind, KEY_REPEATS, "their blocks are gone");
    first = dedup_find(box.dedup, &again);
    cr_expect(dedup_same(first, &again, 7));
    box.now_ms += WINDOW_MS;
    flood(1u << 20, 3 * CAPACITY, 5);
    cr_expect_eq(known_of(2, 1, 500), 0);
}

/* Some of the former blocks are gone and some are there when it starts again. */
Test(dedup, blocks_of_both_formats_are_one_ring)
{
    open_box(of_capacity(CAPACITY));
    shelve_former();
    reload(of_capacity(CAPACITY));
    for (uint64_t n = 501; n <= 3 * CAPACITY; n += 100) {
        uint64_t last = n + 99;
        add(n, last, 100);
        uint64_t kept = last > CAPACITY ? last - CAPACITY + 1 : 1;
        cr_assert_eq(first_known(box.dedup, last), kept);
        reload(of_capacity(CAPACITY));
        cr_assert_eq(first_known(box.dedup, last), kept, "%lu", (unsigned long)last);
    }
}

/* ---- any life, beside a model that is slow and plain ---- */

#define MODEL_MAX 40000
#define MODEL_PEOPLE 600

static struct model {
    struct model_entry {
        uint64_t sender_id, n, time_ms, ordinal;
    } *ring; /* oldest first: ring[first .. last) */
    uint32_t first, last;
    uint64_t sends[MODEL_PEOPLE]; /* while somebody has entries */
    uint32_t entries[MODEL_PEOPLE];
    struct dedup_limits limits;
    uint64_t state;
} model;

static uint32_t roll(uint32_t count)
{
    uint64_t z = model.state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (uint32_t)((z ^ (z >> 31)) % count);
}

static uint32_t model_allowance(void)
{
    for (uint32_t allowance = model.limits.per_sender; allowance > 1; allowance--) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < MODEL_PEOPLE; i++) sum += model.entries[i] < allowance ? model.entries[i] : allowance;
        if (sum <= model.limits.capacity / 2) return allowance;
    }
    return 1;
}

static void model_sweep(bool full)
{
    struct model_entry e = model.ring[model.first++];
    uint64_t away = e.time_ms > box.now_ms ? e.time_ms - box.now_ms : box.now_ms - e.time_ms;
    uint64_t since = model.sends[e.sender_id] - 1 - e.ordinal;
    bool stays = !full && away < model.limits.window_ms && since < model.limits.per_sender && since < model_allowance();
    if (stays || (since == 0 && model.entries[e.sender_id] > 1)) model.ring[model.last++] = e;
    else if (--model.entries[e.sender_id] == 0) model.sends[e.sender_id] = 0;
}

static void model_add(uint64_t sender_id, uint64_t n)
{
    uint32_t enough = model.limits.capacity - model.limits.capacity / 8;
    for (uint32_t i = 0; i < 4 && model.last - model.first >= enough; i++) model_sweep(false);
    while (model.last - model.first == model.limits.capacity) model_sweep(true);
    model.ring[model.last++] = (struct model_entry){sender_id, n, box.now_ms, model.sends[sender_id]++};
    model.entries[sender_id]++;
}

/* Others in force; what they have no room for goes. */
static void model_limits(struct dedup_limits limits)
{
    model.limits = limits;
    for (uint32_t left = model.last - model.first; left > 0 && model.last - model.first > limits.capacity; left--) model_sweep(false);
    while (model.last - model.first > limits.capacity) model_sweep(true);
}

static void expect_like_model(void)
{
    static bool known[MODEL_MAX];
    memset(known, 0, sizeof known);
    uint64_t newest = 0;
    for (uint32_t i = model.first; i < model.last; i++) {
        const struct model_entry *e = &model.ring[i];
        cr_assert(knows_of(box.dedup, e->sender_id, e->n), "send %lu of %lu is not known", (unsigned long)e->n, (unsigned long)e->sender_id);
        known[e->n] = true;
        if (newest < e->n) newest = e->n;
    }
    struct dedup_report report;
    dedup_report(box.dedup, box.now_ms, &report);
    cr_assert_eq(report.allowance, model_allowance());
    for (uint64_t n = 1; n < newest; n++) /* forgotten by both; each send has one sender, but any will do */
        for (uint64_t sender = 1; sender < MODEL_PEOPLE && !known[n]; sender += 97) cr_assert(!knows_of(box.dedup, sender, n));
}

/* Crowds that change: everybody, a few, one, all of them once. */
static uint64_t model_sender(uint32_t phase)
{
    switch (phase) {
    case 0: return 1 + roll(MODEL_PEOPLE - 1);
    case 1: return 1 + roll(5);
    case 2: return 1 + roll(40);
    case 3: return 7;
    default: return 1 + roll(2) * roll(MODEL_PEOPLE - 1);
    }
}

static void live_beside_model(uint64_t seed)
{
    model = (struct model){.state = seed, .ring = memory_alloc(20 * MODEL_MAX * sizeof *model.ring)};
    open_box(of_time(CAPACITY));
    model_limits(of_time(CAPACITY));
    uint32_t phase = 0;
    for (uint64_t n = 1; n < 12000; n++) {
        if (roll(500) == 0) phase = roll(5);
        if (roll(40) == 0) box.now_ms += roll(phase == 3 ? 2 : 100);
        if (roll(2000) == 0) box.now_ms -= roll(3 * WINDOW_MS);
        uint64_t sender = model_sender(phase);
        add_one(sender, n);
        model_add(sender, n);
        if (roll(60) == 0) end_batch();
        if (roll(1500) == 0) {
            struct dedup_limits limits = of_time(CAPACITY + roll(2) * roll(CAPACITY));
            limits.per_sender = 1 + roll(2 * PER_SENDER);
            dedup_set_limits(box.dedup, &limits, box.now_ms);
            model_limits(limits);
        }
        if (roll(400) != 0) continue;
        end_batch();
        expect_like_model();
        reload(model.limits);
        expect_like_model();
    }
    free(model.ring);
    close_box();
    box = (struct box){0};
}

Test(dedup, any_life_is_that_of_the_model)
{
    for (uint64_t seed = 1; seed <= 6; seed++) live_beside_model(seed);
    open_box(of_time(CAPACITY));
}
