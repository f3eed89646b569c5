/* tests/storage/rocks_test.c - what happens while RocksDB takes no writes: a stall, a full disk. Reads go on and see everything;
 * what was held back is written when it can be. The rest of rocks.c is tested through the store (store_test.c). */
#include "storage/rocks.h"
#include "core/check.h"
#include "core/logger.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define VALUE_SIZE (16u << 10)
#define WRITES_MAX 20000

static struct rocks *open_with(struct scratch *scratch, struct rocks_options options)
{
    struct rocks *rocks;
    uint64_t applied;
    char text[512] = "";
    options.path = scratch_path(scratch, "store");
    options.block_cache_size_bytes = 1 << 20;
    cr_assert_eq(rocks_open(&rocks, &options, &applied, text, sizeof text), RESULT_OK, "%s", text);
    return rocks;
}

static struct rocks *open_rocks(struct scratch *scratch, uint64_t memtable_size_bytes)
{
    return open_with(scratch, (struct rocks_options){.memtable_size_bytes = memtable_size_bytes});
}

static struct rocks *look_at_rocks(struct scratch *scratch)
{
    return open_with(scratch, (struct rocks_options){.memtable_size_bytes = 1 << 20, .look_only = true});
}

static void key_of(char text[32], uint64_t number) { snprintf(text, 32, "key-%06lu", number); }

/* Index i puts i under a key of its own, and deletes the key of i - 2. */
static bool write_index(struct rocks *rocks, uint64_t i)
{
    static uint8_t value[VALUE_SIZE];
    struct writer batch;
    char key[32];
    for (uint32_t b = 0; b < VALUE_SIZE; b++) value[b] = (uint8_t)((i * 2654435761u + b * b) >> 3); /* hard to compress */
    memcpy(value, &i, sizeof i);
    writer_init(&batch, 0);
    key_of(key, i);
    store_batch_put(&batch, slice_text(key), slice_of(value, sizeof value));
    if (i > 2) {
        key_of(key, i - 2);
        store_batch_delete(&batch, slice_text(key));
    }
    rocks_stage(rocks, writer_slice(&batch));
    writer_deinit(&batch);
    return rocks_commit(rocks, i);
}

struct seen {
    uint64_t count, last;
};

static bool see(void *context, struct slice key, struct slice value)
{
    struct seen *seen = context;
    (void)key;
    memcpy(&seen->last, value.data, sizeof seen->last);
    seen->count++;
    return true;
}

/* The state after index `last`: the keys of last - 1 and last, and no other. */
static void check_state(struct rocks *rocks, uint64_t last, const char *when)
{
    struct store_view *view = rocks_view(rocks, last % 2 == 0);
    struct seen seen = {0};
    struct writer key, value;
    char text[32];
    writer_init(&key, 0);
    writer_init(&value, 0);
    cr_assert_eq(store_scan(view, SLICE_EMPTY, SLICE_EMPTY, see, &seen), RESULT_OK);
    cr_assert_eq(seen.count, 2, "%s: %lu keys after index %lu", when, seen.count, last);
    cr_assert_eq(seen.last, last, "%s: the last value is of index %lu, not %lu", when, seen.last, last);
    cr_assert_eq(store_last(view, SLICE_EMPTY, SLICE_EMPTY, &key, &value), RESULT_OK);
    key_of(text, last);
    cr_assert(slice_equal(writer_slice(&key), slice_text(text)));
    cr_assert_eq(store_get(view, slice_text(text), NULL), RESULT_OK);
    key_of(text, last - 2);
    cr_assert_eq(store_get(view, slice_text(text), NULL), RESULT_MISSING);
    cr_assert_eq(rocks_applied_index(rocks), last);
    writer_deinit(&key);
    writer_deinit(&value);
}

Test(rocks, a_stall_holds_writes_back_and_reads_go_on, .timeout = 60)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_rocks(&scratch, 64 << 10); /* six memtables of four values each are soon full */
    uint64_t last = 0;
    while (last < WRITES_MAX && write_index(rocks, last + 1)) last++;
    cr_assert_lt(last, WRITES_MAX, "RocksDB never stalled");
    last++; /* the one that was held back */
    cr_assert(rocks_holds_back(rocks));
    check_state(rocks, last, "held back");
    for (int i = 0; i < 10; i++) write_index(rocks, ++last);
    check_state(rocks, last, "more held back");
    while (!rocks_retry(rocks)) check_state(rocks, last, "waiting");
    cr_expect_not(rocks_holds_back(rocks));
    check_state(rocks, last, "written");
    rocks_close(rocks);

    rocks = open_rocks(&scratch, 64 << 10);
    check_state(rocks, last, "opened again");
    cr_expect_eq(rocks_durable_index(rocks), last);
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

Test(rocks, a_look_applies_in_memory_and_changes_nothing)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = look_at_rocks(&scratch); /* not there: an empty one */
    cr_expect_eq(rocks_applied_index(rocks), 0);
    for (uint64_t i = 1; i <= 5; i++) (void)write_index(rocks, i);
    check_state(rocks, 5, "one that is not there");
    rocks_close(rocks);
    cr_expect_eq(access(scratch_path(&scratch, "store"), F_OK), -1, "nothing was made");

    rocks = open_rocks(&scratch, 1 << 20);
    for (uint64_t i = 1; i <= 5; i++) cr_assert(write_index(rocks, i));
    rocks_close(rocks);
    rocks = look_at_rocks(&scratch);
    check_state(rocks, 5, "as it is");
    for (uint64_t i = 6; i <= 9; i++) cr_expect_not(write_index(rocks, i));
    check_state(rocks, 9, "applied in memory");
    cr_expect_not(rocks_retry(rocks), "never written");
    rocks_close(rocks);
    rocks = open_rocks(&scratch, 1 << 20);
    check_state(rocks, 5, "unchanged");
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

/* Between a stage and its commit there is no index that what is held back would be the state of. */
Test(rocks, a_retry_does_not_write_half_of_a_batch, .timeout = 60)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_rocks(&scratch, 64 << 10);
    uint64_t last = 0;
    while (last < WRITES_MAX && write_index(rocks, last + 1)) last++;
    cr_assert_lt(last, WRITES_MAX, "RocksDB never stalled");
    last++; /* the one that was held back */
    struct writer batch;
    writer_init(&batch, 0);
    store_batch_put(&batch, SLICE_TEXT("staged"), SLICE_TEXT("of the next index"));
    rocks_stage(rocks, writer_slice(&batch));
    writer_deinit(&batch);
    while (rocks_durable_index(rocks) < last - 1) { /* until the stall is over */
        cr_assert_not(rocks_retry(rocks));
        rocks_flush(rocks);
    }
    cr_assert_not(rocks_retry(rocks));
    rocks_commit(rocks, ++last);
    while (!rocks_retry(rocks)) continue;
    rocks_close(rocks);

    rocks = open_rocks(&scratch, 64 << 10);
    cr_expect_eq(rocks_applied_index(rocks), last);
    cr_expect_eq(store_get(rocks_view(rocks, true), SLICE_TEXT("staged"), NULL), RESULT_OK);
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

static void fill_disk(struct scratch *scratch)
{
    FILE *ballast = fopen(scratch_path(scratch, "ballast"), "w");
    static const uint8_t kilobyte[1024];
    while (fwrite(kilobyte, sizeof kilobyte, 1, ballast) == 1 && fflush(ballast) == 0) {}
    fclose(ballast);
}

Test(rocks, a_full_disk_holds_writes_back_and_reads_go_on, .timeout = 60)
{
    struct scratch scratch;
    if (!scratch_init_small(&scratch, 16 << 20)) cr_skip_test("no small file system here");
    struct rocks *rocks = open_rocks(&scratch, 64 << 10);
    fill_disk(&scratch);
    uint64_t last = 0, held_for = 0;
    while (last < WRITES_MAX && held_for < 200) held_for = write_index(rocks, ++last) ? 0 : held_for + 1;
    cr_assert_lt(last, WRITES_MAX, "the disk was never full");
    check_state(rocks, last, "full");
    cr_expect_lt(rocks_durable_index(rocks), last);

    unlink(scratch_path(&scratch, "ballast"));
    while (!rocks_retry(rocks)) usleep(1000); /* RocksDB looks for room by itself every few seconds */
    write_index(rocks, ++last);
    check_state(rocks, last, "written when there was room");
    /* A flush during RocksDB's own recovery may end without having flushed; what it calls durable is, and a later one does it. */
    cr_expect_leq(rocks_durable_index(rocks), last);
    while (rocks_durable_index(rocks) < last) rocks_flush(rocks);
    rocks_close(rocks);
    rocks = open_rocks(&scratch, 64 << 10);
    check_state(rocks, last, "opened again");
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

/* What a start finds then; RocksDB itself cannot be opened for writing. */
Test(rocks, on_a_full_disk_it_is_opened_for_reading_and_for_writing_when_there_is_room, .timeout = 60)
{
    struct scratch scratch;
    if (!scratch_init_small(&scratch, 16 << 20)) cr_skip_test("no small file system here");
    struct rocks *rocks = open_rocks(&scratch, 1 << 20);
    uint64_t last = 0;
    while (last < 10) cr_assert(write_index(rocks, ++last));
    rocks_close(rocks);
    fill_disk(&scratch);
    for (int start = 0; start < 2; start++) { /* what is held back is lost with a stop: the log has it */
        rocks = open_rocks(&scratch, 1 << 20);
        check_state(rocks, 10, "opened on a full disk");
        cr_expect_not(rocks_holds_back(rocks));
        last = 10;
        while (last < 15) cr_assert_not(write_index(rocks, ++last));
        cr_expect(rocks_is_full(rocks));
        check_state(rocks, last, "held back");
        cr_expect_eq(rocks_durable_index(rocks), 10);
        rocks_flush(rocks);
        if (start == 0) rocks_close(rocks);
    }
    unlink(scratch_path(&scratch, "ballast"));
    while (!rocks_retry(rocks)) check_state(rocks, last, "waiting");
    cr_expect_not(rocks_holds_back(rocks) || rocks_is_full(rocks));
    cr_assert(write_index(rocks, ++last));
    check_state(rocks, last, "opened for writing");
    rocks_close(rocks);
    rocks = open_rocks(&scratch, 1 << 20);
    check_state(rocks, last, "opened again");
    rocks_close(rocks);

    fill_disk(&scratch); /* there is nothing to read in a new one */
    uint64_t applied;
    char text[512] = "";
    const struct rocks_options options = {.path = scratch_path(&scratch, "new"), .memtable_size_bytes = 1 << 20, .block_cache_size_bytes = 1 << 20};
    cr_expect_eq(rocks_open(&rocks, &options, &applied, text, sizeof text), RESULT_FULL, "%s", text);
    scratch_deinit(&scratch);
}

#ifndef __SANITIZE_ADDRESS__ /* whose allocator has last words of its own */
/* What C++ throws when it gets no memory ends in a sentence of ours, not in a signal. */
Test(rocks, exhausted_memory_ends_in_order, .exit_code = 1)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_rocks(&scratch, 64 << 20);
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    cr_assert_eq(fscanf(statm, "%lu", &pages), 1);
    const struct rlimit limit = {pages * 4096 + (16 << 20), pages * 4096 + (16 << 20)}; /* less than a memtable more */
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    for (uint64_t i = 1; i < WRITES_MAX; i++) (void)write_index(rocks, i);
}
#endif
