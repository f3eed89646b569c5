/* tests/storage/rocks_test.c - what happens while RocksDB takes no writes: a stall, a full disk. Reads go on and see everything;
 * what was held back is written when it can be. And values that lie apart: read as all others, and there after a power loss. The rest of
 * rocks.c is tested through the store (store_test.c). */
#include "storage/rocks_internal.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/logger.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

/* RocksDB's own threads tell nobody when they are done: they are asked every millisecond, for half a minute. */
#define ASK_NS 30000000000ull

static void write_held_back(struct rocks *rocks)
{
    for (uint64_t give_up_ns = clock_monotonic_ns() + ASK_NS; !rocks_retry(rocks); usleep(1000))
        cr_assert_lt(clock_monotonic_ns(), give_up_ns, "still held back");
}

static void await_durable(struct rocks *rocks, uint64_t index)
{
    for (uint64_t give_up_ns = clock_monotonic_ns() + ASK_NS; rocks_durable_index(rocks) < index; usleep(1000))
        cr_assert_lt(clock_monotonic_ns(), give_up_ns, "never durable");
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
        (void)rocks_flush(rocks); /* one is refused while RocksDB would make it wait */
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
    write_held_back(rocks); /* RocksDB looks for room by itself every few seconds */
    write_index(rocks, ++last);
    check_state(rocks, last, "written when there was room");
    /* A flush during RocksDB's own recovery may end without having flushed; what it calls durable is, and a later one does it. */
    cr_expect_leq(rocks_durable_index(rocks), last);
    while (rocks_durable_index(rocks) < last) (void)rocks_flush(rocks);
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
        cr_assert(rocks_flush(rocks));
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

/* ---- values apart --------------------------------------------------------------------------------------------------- */

#define APART_KIND 'm'
#define APART_VALUE_SIZE 1000

static struct rocks *open_apart(struct scratch *scratch, uint8_t kind)
{
    return open_with(scratch, (struct rocks_options){.memtable_size_bytes = 64 << 10, .apart_kind = kind});
}

static void apart_value(uint8_t value[APART_VALUE_SIZE], uint64_t i)
{
    for (uint32_t b = 0; b < APART_VALUE_SIZE; b++) value[b] = (uint8_t)(1 + (i * 2654435761u + b * b) % 255);
}

/* Index i puts a value under a key of the kind that lies apart, and i under one key of another. */
static bool write_apart(struct rocks *rocks, uint64_t i)
{
    uint8_t value[APART_VALUE_SIZE];
    char key[32];
    struct writer batch;
    apart_value(value, i);
    snprintf(key, sizeof key, "%c%016lu", APART_KIND, i);
    writer_init(&batch, 0);
    store_batch_put(&batch, slice_text(key), slice_of(value, sizeof value));
    store_batch_put(&batch, slice_text("last"), slice_of(&i, sizeof i));
    rocks_stage(rocks, writer_slice(&batch));
    writer_deinit(&batch);
    return rocks_commit(rocks, i);
}

static bool check_apart(void *context, struct slice key, struct slice value)
{
    uint64_t *count = context;
    uint8_t want[APART_VALUE_SIZE];
    char text[32];
    apart_value(want, ++*count);
    snprintf(text, sizeof text, "%c%016lu", APART_KIND, *count);
    cr_assert(slice_equal(key, slice_text(text)));
    cr_assert(slice_equal(value, slice_of(want, sizeof want)), "value %lu", *count);
    return true;
}

/* The state after index `last`, by all three ways to read. */
static void expect_apart(struct rocks *rocks, uint64_t last)
{
    struct store_view *view = rocks_view(rocks, false);
    struct slice from = SLICE_TEXT("m"), until = SLICE_TEXT("n");
    struct writer key, value;
    uint64_t count = 0, said = 0;
    writer_init(&key, 0);
    writer_init(&value, 0);
    cr_assert_eq(store_scan(view, from, until, check_apart, &count), RESULT_OK);
    cr_expect_eq(count, last);
    if (last > 0) {
        cr_assert_eq(store_last(view, from, until, &key, &value), RESULT_OK);
        count = last - 1;
        (void)check_apart(&count, writer_slice(&key), writer_slice(&value));
        writer_reset(&value);
        cr_assert_eq(store_get(view, writer_slice(&key), &value), RESULT_OK);
        count = last - 1;
        (void)check_apart(&count, writer_slice(&key), writer_slice(&value));
        writer_reset(&value);
        cr_assert_eq(store_get(view, slice_text("last"), &value), RESULT_OK);
        memcpy(&said, value.data, sizeof said);
    }
    cr_expect_eq(said, last);
    writer_deinit(&key);
    writer_deinit(&value);
}

/* Bytes of the files in the store whose names hold `part`. */
static uint64_t files_bytes(struct scratch *scratch, const char *part)
{
    uint64_t bytes = 0;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path(scratch, "store"));
    DIR *directory = opendir(path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat status;
        if (strstr(entry->d_name, part) != NULL && fstatat(dirfd(directory), entry->d_name, &status, 0) == 0) bytes += (uint64_t)status.st_size;
    }
    closedir(directory);
    return bytes;
}

Test(rocks, values_apart_are_read_as_if_they_were_not_and_are_in_no_file_that_is_merged, .timeout = 60)
{
    enum { COUNT = 3000 };
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_apart(&scratch, APART_KIND);
    for (uint64_t i = 1; i <= COUNT; i++)
        if (!write_apart(rocks, i))
            write_held_back(rocks);
    expect_apart(rocks, COUNT);
    rocks_close(rocks);
    cr_expect_eq(files_bytes(&scratch, "values-"), (uint64_t)COUNT * APART_VALUE_SIZE);
    cr_expect_lt(files_bytes(&scratch, ".sst"), (uint64_t)COUNT * APART_VALUE_SIZE / 5);
    rocks = open_apart(&scratch, APART_KIND);
    expect_apart(rocks, COUNT);
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

Test(rocks, a_store_from_before_values_lay_apart_goes_on, .timeout = 60)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_apart(&scratch, 0);
    for (uint64_t i = 1; i <= 100; i++) cr_assert(write_apart(rocks, i));
    rocks_close(rocks);
    rocks = open_apart(&scratch, APART_KIND);
    expect_apart(rocks, 100);
    for (uint64_t i = 101; i <= 200; i++) cr_assert(write_apart(rocks, i));
    expect_apart(rocks, 200);
    rocks_close(rocks);
    cr_expect_eq(files_bytes(&scratch, "values-"), 100 * APART_VALUE_SIZE);
    rocks = open_apart(&scratch, APART_KIND);
    expect_apart(rocks, 200);
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

Test(rocks, a_value_apart_that_rots_is_damage)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_apart(&scratch, APART_KIND);
    for (uint64_t i = 1; i <= 10; i++) cr_assert(write_apart(rocks, i));
    rocks_close(rocks);
    char path[512];
    snprintf(path, sizeof path, "%s/values-00000000", scratch_path(&scratch, "store"));
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "", 1, 5 * APART_VALUE_SIZE + 7), 1); /* none of its bytes is 0 */
    close(fd);
    rocks = open_apart(&scratch, APART_KIND);
    uint64_t count = 0;
    cr_expect_eq(store_scan(rocks_view(rocks, false), SLICE_TEXT("m"), SLICE_TEXT("n"), check_apart, &count), RESULT_CORRUPT);
    cr_expect_eq(count, 5);
    cr_assert_not_null(rocks_damage(rocks));
    cr_expect(strstr(rocks_damage(rocks), "values-00000000: value of 1000 bytes at 5000") != NULL, "%s", rocks_damage(rocks));
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

/* ---- scans within one kind and id: only files that know it are looked into ---- */

struct group_key {
    uint8_t bytes[17];
};

static struct slice group_key(struct group_key *key, uint64_t id, uint64_t number)
{
    id = __builtin_bswap64(id);
    number = __builtin_bswap64(number);
    key->bytes[0] = 'g';
    memcpy(key->bytes + 1, &id, sizeof id);
    memcpy(key->bytes + 9, &number, sizeof number);
    return slice_of(key->bytes, sizeof key->bytes);
}

static bool count_numbers(void *context, struct slice key, struct slice value)
{
    uint64_t *next = context, number;
    memcpy(&number, value.data, sizeof number);
    cr_assert_eq(key.len, sizeof(struct group_key));
    cr_assert_eq(number, (*next)++);
    return true;
}

/* Numbers [from, ...) of the group, until its end or until `until_number`. */
static uint64_t numbers_of(struct rocks *rocks, uint64_t id, uint64_t from, uint64_t until_number)
{
    struct group_key first, end;
    uint64_t next = from;
    struct slice until = until_number > 0 ? group_key(&end, id, until_number) : group_key(&end, id + 1, 0);
    if (until_number == 0) until.len = 9;
    cr_assert_eq(store_scan(rocks_view(rocks, id % 2 == 0), group_key(&first, id, from), until, count_numbers, &next), RESULT_OK);
    return next - from;
}

static void write_numbers(struct rocks *rocks, uint64_t applied, uint64_t first_id, uint64_t last_id, uint64_t number)
{
    struct writer batch;
    struct group_key key;
    writer_init(&batch, 0);
    for (uint64_t id = first_id; id <= last_id; id++)
        store_batch_put(&batch, group_key(&key, id, number), slice_of(&number, sizeof number));
    rocks_stage(rocks, writer_slice(&batch));
    writer_deinit(&batch);
    cr_assert(rocks_commit(rocks, applied));
}

Test(rocks, a_scan_of_one_group_finds_all_of_it_in_whatever_files_it_lies)
{
    enum { GROUPS = 40, ROUNDS = 8 };
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_rocks(&scratch, 1 << 20);
    for (uint64_t round = 0; round < ROUNDS; round++) { /* file `round` has the groups from 5 * round on; the last ones stay in memory */
        write_numbers(rocks, round + 1, 5 * round, GROUPS - 1, round);
        if (round == ROUNDS - 1) break;
        cr_assert(rocks_flush(rocks));
        await_durable(rocks, round + 1);
    }
    for (int opened = 0; opened < 2; opened++) {
        for (uint64_t id = 0; id < GROUPS; id++) {
            cr_expect_eq(numbers_of(rocks, id, 0, 0), id / 5 + 1, "group %lu", id);
            cr_expect_eq(numbers_of(rocks, id, 1, 0), id / 5, "group %lu from 1", id);
            cr_expect_eq(numbers_of(rocks, id, 0, 1), 1, "group %lu until 1", id);
        }
        cr_expect_eq(numbers_of(rocks, GROUPS, 0, 0), 0);
        cr_expect_eq(numbers_of(rocks, UINT64_MAX - 1, 0, 0), 0);
        rocks_close(rocks);
        rocks = open_rocks(&scratch, 1 << 20);
    }
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

/* The row behind a group may have a key of one byte. */
Test(rocks, a_scan_of_one_group_ends_before_a_short_key)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct rocks *rocks = open_rocks(&scratch, 1 << 20);
    write_numbers(rocks, 1, 1, 1, 0);
    struct writer batch;
    writer_init(&batch, 0);
    store_batch_put(&batch, SLICE_TEXT("h"), SLICE_TEXT("short"));
    rocks_stage(rocks, writer_slice(&batch));
    writer_deinit(&batch);
    cr_assert(rocks_commit(rocks, 2));
    for (int flushed = 0; flushed < 2; flushed++) {
        cr_expect_eq(numbers_of(rocks, 1, 0, 0), 1);
        cr_expect_eq(numbers_of(rocks, 2, 0, 0), 0, "from a group that nobody has");
        cr_assert(rocks_flush(rocks));
        await_durable(rocks, 2);
    }
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

/* ---- power loss: of the values' files, only what was synced is there ---- */

static uint64_t synced_bytes; /* of values-00000000 */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    char link[64], path[512];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len > 0) path[len] = '\0';
    int result = __real_fdatasync(fd);
    if (len > 0 && strstr(path, "/values-00000000") != NULL && fstat(fd, &status) == 0) synced_bytes = (uint64_t)status.st_size;
    return result;
}

/* What a machine would find that lost power now: the files of `from` in `to`. RocksDB syncs a file before it names it. */
static void lose_power(struct scratch *from, struct scratch *to)
{
    char command[2048], source[512];
    snprintf(source, sizeof source, "%s", scratch_path(from, "store"));
    snprintf(command, sizeof command, "mkdir -p '%s' && cp -r '%s/.' '%s/'", scratch_path(to, "store"), source, scratch_path(to, "store"));
    cr_assert_eq(system(command), 0);
    char values[600];
    snprintf(values, sizeof values, "%s/values-00000000", scratch_path(to, "store"));
    if (access(values, F_OK) == 0) cr_assert_eq(truncate(values, (off_t)synced_bytes), 0);
}

Test(rocks, after_a_power_loss_the_values_are_those_of_the_state_that_is_there, .timeout = 120)
{
    struct scratch scratch;
    scratch_init(&scratch);
    synced_bytes = 0;
    struct rocks *rocks = open_apart(&scratch, APART_KIND);
    uint64_t last = 0, most = 0;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 250 + 37 * round; i++)
            if (!write_apart(rocks, ++last))
                write_held_back(rocks);
        if (round % 3 == 2) cr_assert(rocks_flush(rocks));
        await_durable(rocks, rocks_flushing_index(rocks));
        struct scratch after;
        scratch_init(&after);
        lose_power(&scratch, &after);
        struct rocks *found = open_apart(&after, APART_KIND);
        uint64_t k = rocks_applied_index(found);
        cr_expect_geq(k, most);
        cr_expect_eq(k, rocks_flushing_index(rocks));
        expect_apart(found, k);
        cr_assert(write_apart(found, k + 1));
        expect_apart(found, k + 1);
        rocks_close(found);
        most = k;
        scratch_deinit(&after);
    }
    cr_expect_gt(most, 0);
    rocks_close(rocks);
    scratch_deinit(&scratch);
}

/* As RocksDB does when there is room again after a full disk: it asks nobody. */
static void let_rocksdb_flush(struct rocks *rocks)
{
    char *error = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush(rocks->db, options, &error);
    rocksdb_flushoptions_destroy(options);
    cr_assert_null(error);
}

Test(rocks, what_rocksdb_flushed_by_itself_is_durable_with_its_values)
{
    struct scratch scratch, after;
    scratch_init(&scratch);
    scratch_init(&after);
    synced_bytes = 0;
    struct rocks *rocks = open_apart(&scratch, APART_KIND);
    for (uint64_t i = 1; i <= 20; i++) cr_assert(write_apart(rocks, i));
    let_rocksdb_flush(rocks);
    cr_expect_eq(rocks_durable_index(rocks), 20);
    lose_power(&scratch, &after);
    struct rocks *found = open_apart(&after, APART_KIND);
    cr_expect_eq(rocks_applied_index(found), 20);
    expect_apart(found, 20);
    rocks_close(found);
    rocks_close(rocks);
    scratch_deinit(&scratch);
    scratch_deinit(&after);
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
