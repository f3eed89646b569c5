/* tests/storage/disk_uring_test.c - the real disk under a commit log, with a real ring; and what it leaves in its directory. */
#include "storage/disk.h"
#include "core/check.h"
#include "core/clock.h"
#include "storage/commitlog.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT (64u << 10)

struct machine {
    struct scratch scratch;
    struct io *io;
    struct disk *disk;
    struct commitlog *log;
    uint64_t durable, first, last;
    char text[512];
};

static uint64_t now_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static void on_durable(void *context, uint64_t index) { ((struct machine *)context)->durable = index; }

static enum result on_record(void *context, const struct commitlog_record *record)
{
    struct machine *m = context;
    if (m->first == 0) m->first = record->index;
    cr_assert_eq(record->index, m->last == 0 ? m->first : m->last + 1);
    m->last = record->index;
    for (uint32_t i = 0; i < record->body.len; i++) cr_assert_eq(record->body.data[i], (uint8_t)(record->index + i));
    return RESULT_OK;
}

static void machine_open_disk(struct machine *m, bool buffered)
{
    const struct disk_options options = {
        .path = scratch_path(&m->scratch, "log"), .segment_size_bytes = SEGMENT, .spare_count_max = 2, .buffered = buffered};
    cr_assert_eq(disk_open(&m->disk, &options, m->text, sizeof m->text), RESULT_OK, "%s", m->text);
    disk_attach_io(m->disk, m->io);
}

static enum result machine_open_log(struct machine *m, uint64_t after)
{
    const struct commitlog_options options = {.disk = m->disk, .shard = 1, .epoch_base = 1000, .pending_size_bytes_max = 1u << 20,
                                              .now_ns = now_ns, .durable = on_durable, .context = m};
    m->first = m->last = 0;
    return commitlog_open(&m->log, &options, after, on_record, m, m->text, sizeof m->text);
}

/* `small_size_bytes` 0: on the ordinary file system. */
static void machine_start(struct machine *m, bool buffered, unsigned small_size_bytes)
{
    *m = (struct machine){0};
    if (small_size_bytes == 0) scratch_init(&m->scratch);
    else if (!scratch_init_small(&m->scratch, small_size_bytes)) cr_skip_test("no small file system here");
    const struct io_options options = {.entries = 8, .receive_buffer_count = 2, .receive_buffer_size_bytes = 4096};
    if (io_create(&m->io, &options, m->text, sizeof m->text) != RESULT_OK) {
        scratch_deinit(&m->scratch);
        cr_skip_test("%s", m->text);
    }
    machine_open_disk(m, buffered);
}

static void machine_close_log(struct machine *m)
{
    commitlog_close(m->log);
    m->disk->ops->close(m->disk);
}

static void machine_stop(struct machine *m)
{
    machine_close_log(m);
    io_destroy(m->io);
    scratch_deinit(&m->scratch);
}

static void append(struct machine *m, uint32_t body_size)
{
    uint8_t body[9000];
    uint64_t index = commitlog_last_index(m->log) + 1;
    for (uint32_t i = 0; i < body_size; i++) body[i] = (uint8_t)(index + i);
    cr_assert_eq(commitlog_append(m->log, 1, slice_of(body, body_size), &index), RESULT_OK);
}

static void settle(struct machine *m)
{
    while (!commitlog_idle(m->log)) {
        while (commitlog_wants_maintenance(m->log)) commitlog_maintain(m->log);
        commitlog_flush(m->log);
        io_turn(m->io, 1000, 16);
    }
    cr_assert_eq(m->durable, commitlog_last_index(m->log));
}

static uint32_t count_files(struct machine *m, const char *pattern)
{
    char command[PATH_MAX + 64];
    snprintf(command, sizeof command, "ls %s | grep -c '%s'", scratch_path(&m->scratch, "log"), pattern);
    FILE *pipe = popen(command, "r");
    uint32_t count = 0;
    cr_assert_eq(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

static void write_recycle_and_reopen(bool buffered)
{
    struct machine m;
    machine_start(&m, buffered, 0);
    cr_assert_eq(machine_open_log(&m, 0), RESULT_OK, "%s", m.text);
    for (uint32_t i = 0; i < 200; i++) {
        append(&m, i * 40);
        if (i % 3 == 0) settle(&m);
        if (i == 120) commitlog_trim(m.log, 100);
    }
    settle(&m);
    while (commitlog_wants_maintenance(m.log)) commitlog_maintain(m.log);
    cr_expect_leq(count_files(&m, "spare$"), 2);
    cr_expect_eq(count_files(&m, "making"), 0);
    machine_close_log(&m);

    machine_open_disk(&m, buffered);
    cr_assert_eq(machine_open_log(&m, 100), RESULT_OK, "%s", m.text);
    cr_expect_eq(m.first, 101);
    cr_expect_eq(m.last, 200);
    append(&m, 5000);
    settle(&m);
    commitlog_trim(m.log, UINT64_MAX);
    while (commitlog_wants_maintenance(m.log)) commitlog_maintain(m.log);
    cr_expect_eq(count_files(&m, "log$"), 2, "the tail and the one that is ready");
    machine_stop(&m);
}

Test(disk_uring, direct_writes_recycle_and_reopen) { write_recycle_and_reopen(false); }
Test(disk_uring, buffered_writes_recycle_and_reopen) { write_recycle_and_reopen(true); }

/* Room for four segments of 64 KiB and a ballast; then without the ballast. */
static void fill_the_disk(bool buffered)
{
    struct machine m;
    machine_start(&m, buffered, 400 << 10);
    FILE *ballast = fopen(scratch_path(&m.scratch, "ballast"), "w");
    static const uint8_t bytes[128 << 10];
    cr_assert_eq(fwrite(bytes, sizeof bytes, 1, ballast), 1);
    fclose(ballast);
    cr_assert_eq(machine_open_log(&m, 0), RESULT_OK, "%s", m.text);
    uint8_t body[4000];
    uint64_t index = 0, accepted = 0;
    enum result result = RESULT_OK;
    while (accepted < 1000) {
        for (uint32_t i = 0; i < sizeof body; i++) body[i] = (uint8_t)(accepted + 1 + i);
        result = commitlog_append(m.log, 1, slice_of(body, sizeof body), &index);
        if (result != RESULT_OK) break;
        accepted++;
        settle(&m);
    }
    cr_expect_eq(result, RESULT_FULL, "%s", result_text(result));
    cr_expect_eq(m.durable, accepted);
    cr_expect_eq(accepted, 4 * 15);
    cr_expect_eq(count_files(&m, "making"), 0, "what could not be filled does not take the room of others");
    unlink(scratch_path(&m.scratch, "ballast"));
    uint64_t freed_ns = clock_monotonic_ns();
    while (commitlog_append(m.log, 1, SLICE_EMPTY, &index) != RESULT_OK) {
        cr_assert_lt(clock_monotonic_ns() - freed_ns, 30000000000ull, "still full half a minute later");
        commitlog_flush(m.log);
        while (commitlog_wants_maintenance(m.log)) commitlog_maintain(m.log);
    }
    settle(&m);
    machine_close_log(&m);
    machine_open_disk(&m, buffered);
    cr_assert_eq(machine_open_log(&m, 0), RESULT_OK, "%s", m.text);
    cr_expect_eq(m.last, accepted + 1);
    machine_stop(&m);
}

Test(disk_uring, a_full_disk_refuses_and_goes_on) { fill_the_disk(false); }
Test(disk_uring, a_full_disk_refuses_and_goes_on_buffered) { fill_the_disk(true); }

Test(disk_uring, an_offline_scan_changes_nothing)
{
    struct machine m;
    machine_start(&m, false, 0);
    cr_assert_eq(machine_open_log(&m, 0), RESULT_OK, "%s", m.text);
    for (int i = 0; i < 30; i++) append(&m, 4000);
    settle(&m);
    machine_close_log(&m);
    int making = open(scratch_path(&m.scratch, "log/making"), O_CREAT | O_WRONLY, 0600);
    close(making);
    uint32_t before = count_files(&m, ".");

    machine_open_disk(&m, false);
    uint64_t torn_offset = 1;
    m.first = m.last = 0;
    cr_assert_eq(commitlog_scan(m.disk, on_record, &m, &torn_offset, m.text, sizeof m.text), RESULT_OK, "%s", m.text);
    cr_expect_eq(m.last, 30);
    cr_expect_eq(torn_offset, 0);
    cr_expect_eq(count_files(&m, "."), before);
    cr_assert_eq(machine_open_log(&m, 0), RESULT_OK, "%s", m.text);
    for (int i = 0; i < 30; i++) append(&m, 4000);
    settle(&m);
    cr_expect_eq(count_files(&m, "making"), 0, "what an earlier run left half made is gone");
    machine_stop(&m);
}

Test(disk_uring, an_unusable_path_is_refused_in_words)
{
    struct scratch scratch;
    scratch_init(&scratch);
    int file = open(scratch_path(&scratch, "file"), O_CREAT | O_WRONLY, 0600);
    close(file);
    static const char *const paths[] = {"file", "file/log", "absent/log"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct disk *disk;
        char text[256] = "";
        const struct disk_options options = {
            .path = scratch_path(&scratch, paths[i]), .segment_size_bytes = SEGMENT, .spare_count_max = 1};
        cr_expect_neq(disk_open(&disk, &options, text, sizeof text), RESULT_OK, "%s", paths[i]);
        cr_expect_null(disk);
        cr_expect_neq(strstr(text, paths[i]), NULL, "%s: %s", paths[i], text);
    }
    scratch_deinit(&scratch);
}

static void put_note(struct machine *m, const char *text)
{
    FILE *file = fopen(scratch_path(&m->scratch, "SEGMENTS"), "w");
    cr_assert_not_null(file);
    cr_assert(fputs(text, file) >= 0 && fclose(file) == 0);
}

Test(disk_uring, the_newest_segment_is_noted_beside_the_segments)
{
    static const char *const damaged[] = {"", "newest=7\n", "newest=7\nsum=0123456789abcdef\n", "rubbish"};
    struct machine m;
    machine_start(&m, true, 0);
    const struct disk_ops *ops = m.disk->ops;
    uint64_t number;
    cr_expect_eq(ops->newest(m.disk, &number), RESULT_MISSING);
    for (uint64_t i = 1; i < 4; i++) {
        cr_assert_eq(ops->note_newest(m.disk, i * 1000000007), RESULT_OK);
        cr_assert_eq(ops->newest(m.disk, &number), RESULT_OK);
        cr_expect_eq(number, i * 1000000007);
    }
    for (size_t i = 0; i < COUNT_OF(damaged); i++) {
        put_note(&m, damaged[i]);
        cr_expect_eq(ops->newest(m.disk, &number), RESULT_CORRUPT, "\"%s\"", damaged[i]);
    }
    cr_assert_eq(ops->note_newest(m.disk, 8), RESULT_OK);
    cr_assert_eq(ops->newest(m.disk, &number), RESULT_OK);
    cr_expect_eq(number, 8);
    ops->close(m.disk);
    io_destroy(m.io);
    scratch_deinit(&m.scratch);
}
