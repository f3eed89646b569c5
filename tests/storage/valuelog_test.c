/* tests/storage/valuelog_test.c - values beside RocksDB: what was added can be read, what was synced stays, what came after the end that the
 * store knows is cut off, and what is not what was written is told as damage. */
#include "storage/valuelog.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE 10000u

static struct valuelog *open_log(const struct scratch *scratch, uint64_t end, bool read_only, enum result want, char text[256])
{
    struct valuelog *log;
    const struct valuelog_options options = {.path = scratch->path, .file_size_bytes = FILE_SIZE, .end = end, .read_only = read_only};
    text[0] = '\0';
    enum result result = valuelog_open(&log, &options, text, 256);
    cr_assert_eq(result, want, "%s: %s", result_text(result), text);
    return log;
}

static struct slice value_of(uint64_t i, uint32_t len)
{
    static uint8_t bytes[FILE_SIZE + 1];
    for (uint32_t b = 0; b < len; b++) bytes[b] = (uint8_t)(i * 31 + b * 7);
    return slice_of(bytes, len);
}

static uint32_t len_of(uint64_t i) { return 1 + (uint32_t)(i * 977 % 3000); }

static void add(struct valuelog *log, struct valuelog_place *places, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) cr_assert_eq(valuelog_append(log, value_of(i, len_of(i)), &places[i]), RESULT_OK);
}

static void expect_values(const struct valuelog *log, const struct valuelog_place *places, uint64_t count)
{
    struct writer value;
    char text[256] = "";
    writer_init(&value, 0);
    for (uint64_t i = 0; i < count; i++) {
        writer_reset(&value);
        cr_assert_eq(valuelog_read(log, &places[i], &value, text, sizeof text), RESULT_OK, "value %lu: %s", i, text);
        cr_assert(slice_equal(writer_slice(&value), value_of(i, len_of(i))), "value %lu", i);
    }
    writer_deinit(&value);
}

static long size_of_file(struct scratch *scratch, const char *name)
{
    struct stat status;
    return stat(scratch_path(scratch, name), &status) == 0 ? (long)status.st_size : -1;
}

Test(valuelog, what_was_added_can_be_read_before_and_after_a_sync_and_an_open)
{
    enum { COUNT = 60 };
    struct valuelog_place places[COUNT];
    struct scratch scratch;
    char text[256];
    scratch_init(&scratch);
    struct valuelog *log = open_log(&scratch, 0, false, RESULT_OK, text);
    cr_expect_eq(size_of_file(&scratch, "values-00000000"), -1); /* nothing is made for nothing */
    add(log, places, 0, COUNT / 2);
    expect_values(log, places, COUNT / 2);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    expect_values(log, places, COUNT / 2);
    add(log, places, COUNT / 2, COUNT / 2);
    expect_values(log, places, COUNT);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    uint64_t end = valuelog_end(log);
    cr_expect_gt(end, 4 * FILE_SIZE);
    for (int i = 1; i < COUNT; i++) cr_expect_geq(places[i].position, places[i - 1].position + places[i - 1].len);
    for (int i = 0; i < COUNT; i++)
        cr_expect_eq(places[i].position / FILE_SIZE, (places[i].position + places[i].len - 1) / FILE_SIZE, "value %d lies in two files", i);
    valuelog_close(log);
    for (int read_only = 0; read_only < 2; read_only++) {
        log = open_log(&scratch, end, read_only, RESULT_OK, text);
        expect_values(log, places, COUNT);
        struct valuelog_place more;
        cr_expect_eq(valuelog_append(log, value_of(1, 1), &more), read_only ? RESULT_FULL : RESULT_OK);
        valuelog_close(log);
    }
    scratch_deinit(&scratch);
}

Test(valuelog, what_came_behind_the_end_is_cut_off_and_written_anew)
{
    enum { COUNT = 40, KEPT = 10 };
    struct valuelog_place places[COUNT];
    struct scratch scratch;
    char text[256];
    scratch_init(&scratch);
    struct valuelog *log = open_log(&scratch, 0, false, RESULT_OK, text);
    add(log, places, 0, KEPT);
    uint64_t end = valuelog_end(log);
    add(log, places, KEPT, COUNT - KEPT);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    uint64_t whole_end = valuelog_end(log);
    valuelog_close(log);

    valuelog_close(open_log(&scratch, end, true, RESULT_OK, text)); /* who looks changes nothing */
    log = open_log(&scratch, whole_end, true, RESULT_OK, text);
    expect_values(log, places, COUNT);
    valuelog_close(log);

    log = open_log(&scratch, end, false, RESULT_OK, text);
    cr_expect_eq(size_of_file(&scratch, "values-00000001"), (long)(end % FILE_SIZE)); /* ten are in two files */
    cr_expect_eq(size_of_file(&scratch, "values-00000002"), -1);
    expect_values(log, places, KEPT);
    add(log, places, KEPT, COUNT - KEPT);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    cr_expect_eq(valuelog_end(log), whole_end);
    expect_values(log, places, COUNT);
    valuelog_close(log);
    valuelog_close(open_log(&scratch, 0, false, RESULT_OK, text)); /* a store that lost all of it */
    cr_expect_eq(size_of_file(&scratch, "values-00000000"), -1);
    scratch_deinit(&scratch);
}

Test(valuelog, a_file_that_is_missing_or_too_short_is_damage_at_once)
{
    enum { COUNT = 30 };
    struct valuelog_place places[COUNT];
    struct scratch scratch;
    char text[256];
    scratch_init(&scratch);
    struct valuelog *log = open_log(&scratch, 0, false, RESULT_OK, text);
    add(log, places, 0, COUNT);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    uint64_t end = valuelog_end(log);
    valuelog_close(log);
    char last[32];
    snprintf(last, sizeof last, "values-%08u", (unsigned)(end / FILE_SIZE));
    cr_assert_eq(truncate(scratch_path(&scratch, last), (off_t)(end % FILE_SIZE) - 1), 0);
    (void)open_log(&scratch, end, false, RESULT_CORRUPT, text);
    cr_expect(strstr(text, last) != NULL && strstr(text, "ends at byte") != NULL, "%s", text);
    cr_assert_eq(unlink(scratch_path(&scratch, "values-00000000")), 0);
    (void)open_log(&scratch, end, true, RESULT_CORRUPT, text);
    cr_expect(strstr(text, "values-00000000: is missing") != NULL, "%s", text);
    scratch_deinit(&scratch);
}

Test(valuelog, a_flipped_bit_is_told_with_its_place)
{
    struct valuelog_place places[3];
    struct scratch scratch;
    struct writer value;
    char text[256];
    uint8_t byte;
    scratch_init(&scratch);
    struct valuelog *log = open_log(&scratch, 0, false, RESULT_OK, text);
    add(log, places, 0, 3);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    int fd = open(scratch_path(&scratch, "values-00000000"), O_RDWR);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)places[1].position), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)places[1].position), 1);
    close(fd);
    writer_init(&value, 0);
    cr_expect_eq(valuelog_read(log, &places[0], &value, text, sizeof text), RESULT_OK);
    cr_expect_eq(valuelog_read(log, &places[1], &value, text, sizeof text), RESULT_CORRUPT);
    char place[64];
    snprintf(place, sizeof place, "values-00000000: value of %u bytes at %lu", places[1].len, places[1].position);
    cr_expect(strstr(text, place) != NULL, "%s", text);
    struct valuelog_place beyond = {.position = 50 * FILE_SIZE, .len = 10};
    cr_expect_eq(valuelog_read(log, &beyond, &value, text, sizeof text), RESULT_CORRUPT);
    writer_deinit(&value);
    valuelog_close(log);
    scratch_deinit(&scratch);
}

Test(valuelog, a_full_disk_takes_no_more_and_loses_nothing)
{
    enum { MAX = 20000 };
    static struct valuelog_place places[MAX];
    struct scratch scratch;
    if (!scratch_init_small(&scratch, 4 << 20)) cr_skip_test("no small file system here");
    char text[256];
    struct valuelog *log = open_log(&scratch, 0, false, RESULT_OK, text);
    uint64_t count = 0;
    while (count < MAX && valuelog_append(log, value_of(count, len_of(count)), &places[count]) == RESULT_OK) count++;
    cr_assert_lt(count, MAX, "never full");
    cr_expect_eq(valuelog_sync(log), RESULT_FULL);
    expect_values(log, places, count);
    cr_assert_eq(unlink(scratch_path(&scratch, "values-00000000")), 0); /* room: the file is held open, so its values can still be read ... */
    cr_assert_eq(truncate(scratch_path(&scratch, "values-00000001"), 0), 0); /* ... these are gone */
    cr_expect_eq(valuelog_sync(log), RESULT_OK);
    cr_expect_eq(valuelog_append(log, value_of(count, len_of(count)), &places[count]), RESULT_OK);
    valuelog_close(log);
    scratch_deinit(&scratch);
}

Test(valuelog, a_value_larger_than_a_file_has_no_place)
{
    struct valuelog_place place;
    struct scratch scratch;
    char text[256];
    scratch_init(&scratch);
    struct valuelog *log = open_log(&scratch, 0, false, RESULT_OK, text);
    cr_expect_eq(valuelog_append(log, value_of(1, FILE_SIZE + 1), &place), RESULT_FULL);
    cr_expect_eq(valuelog_append(log, value_of(1, FILE_SIZE), &place), RESULT_OK);
    cr_expect_eq(valuelog_end(log), FILE_SIZE);
    cr_expect_eq(valuelog_append(log, value_of(2, 5), &place), RESULT_OK); /* behind one that ends with its file */
    cr_expect_eq(place.position, FILE_SIZE);
    cr_assert_eq(valuelog_sync(log), RESULT_OK);
    cr_expect_eq(size_of_file(&scratch, "values-00000000"), FILE_SIZE);
    cr_expect_eq(size_of_file(&scratch, "values-00000001"), 5);
    valuelog_close(log);
    scratch_deinit(&scratch);
}
