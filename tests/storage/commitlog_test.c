/* tests/storage/commitlog_test.c - what the commit log promises, and the tables of torn and rotten bytes. */
#include "storage/commitlog.h"
#include "core/check.h"
#include "core/metrics.h"
#include "storage/log_rig.h"
#include <criterion/criterion.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include <stdlib.h>

#define BLOCK 512u
#define SEGMENT (16u << 10)
#define HEADER 28u

static const struct fake_disk_options small_disk = {.block_size_bytes = BLOCK, .segment_size_bytes = SEGMENT, .seed = 1};

/* ---- append and flush ----------------------------------------------------------------------------------------------- */

Test(commitlog, a_new_log_is_empty_and_stays_so)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
        cr_expect_eq(commitlog_last_index(rig.log), 0);
        cr_expect_eq(commitlog_durable_index(rig.log), 0);
        cr_expect(commitlog_idle(rig.log));
        log_rig_close(&rig);
    }
    cr_expect_eq(fake_disk_segment_count(rig.disk), 1);
    log_rig_deinit(&rig);
}

Test(commitlog, what_comes_during_a_write_is_the_next_batch)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    cr_assert_eq(log_rig_append(&rig, 10), RESULT_OK);
    cr_expect_eq(fake_disk_pending(rig.disk), 0, "append alone does not write");
    commitlog_flush(rig.log);
    cr_expect_eq(fake_disk_pending(rig.disk), 1);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(log_rig_append(&rig, 20), RESULT_OK);
        commitlog_flush(rig.log);
    }
    cr_expect_eq(fake_disk_pending(rig.disk), 1, "one write in flight");
    cr_expect_eq(rig.durable, 0, "nothing is told before it is on the disk");
    cr_assert(fake_disk_complete(rig.disk));
    cr_expect_eq(rig.durable, 1);
    cr_expect_eq(fake_disk_pending(rig.disk), 0, "a completion does not write by itself");
    commitlog_flush(rig.log);
    cr_assert(fake_disk_complete(rig.disk));
    cr_expect_eq(rig.durable, 6);
    cr_expect_eq(rig.durable_calls, 2);
    cr_expect(commitlog_idle(rig.log));
    log_rig_deinit(&rig);
}

Test(commitlog, bodies_of_all_sizes_come_back)
{
    static const uint32_t sizes[] = {0, 1, 7, 8, 100, BLOCK - HEADER - 1, BLOCK - HEADER, BLOCK - HEADER + 1, 5000,
                                     (128u << 10) - HEADER, 128u << 10, 1000000, COMMITLOG_RECORD_SIZE_MAX};
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){.block_size_bytes = 4096, .segment_size_bytes = 4u << 20, .seed = 2});
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) log_rig_commit(&rig, 1, sizes[i]);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) cr_assert_eq(log_rig_append(&rig, sizes[i]), RESULT_OK);
    log_rig_settle(&rig);
    cr_expect_eq(log_rig_append(&rig, COMMITLOG_RECORD_SIZE_MAX + 1), RESULT_TOO_LARGE);
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.first, 1);
    cr_expect_eq(rig.last, 2 * COUNT_OF(sizes));
    log_rig_deinit(&rig);
}

Test(commitlog, a_batch_is_bounded_unless_one_record_is_larger)
{
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){.block_size_bytes = 4096, .segment_size_bytes = 8u << 20, .seed = 2});
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    for (int i = 0; i < 100; i++) cr_assert_eq(log_rig_append(&rig, 10000 - HEADER), RESULT_OK);
    log_rig_settle(&rig);
    cr_expect_eq(rig.durable, 100);
    cr_expect_eq(rig.durable_calls, 8, "13 records of 10000 bytes fit into 128 KiB: %u batches", rig.durable_calls);
    log_rig_deinit(&rig);
}

Test(commitlog, pending_bytes_are_bounded)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    rig.pending_size_bytes_max = 4096;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    uint32_t accepted = 0;
    while (log_rig_append(&rig, 100) == RESULT_OK) accepted++;
    cr_expect_eq(accepted, 4096 / 128);
    cr_expect_eq(log_rig_append(&rig, 100), RESULT_BUSY);
    commitlog_flush(rig.log);
    cr_expect_eq(log_rig_append(&rig, 100), RESULT_BUSY, "what is in flight counts too");
    for (int round = 0; round < 20; round++) {
        log_rig_settle(&rig);
        for (uint32_t i = 0; i < accepted; i++) cr_assert_eq(log_rig_append(&rig, 100), RESULT_OK);
    }
    cr_expect_eq(log_rig_append(&rig, 100), RESULT_BUSY);
    log_rig_settle(&rig);
    log_rig_deinit(&rig);
}

Test(commitlog, counters_follow)
{
    static struct metrics metrics;
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    rig.metrics = &metrics;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 3, 600);
    cr_expect_eq(metrics.log_commits, 3);
    cr_expect_eq(metrics.log_written_bytes, 3 * 2 * BLOCK);
    cr_expect_eq(metrics.commit_ns.count, 3);
    log_rig_deinit(&rig);
}

/* ---- segments ------------------------------------------------------------------------------------------------------- */

Test(commitlog, index_goes_on_over_many_segments_and_reopens)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    uint64_t last = 0;
    for (int round = 0; round < 10; round++) {
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
        cr_assert_eq(commitlog_last_index(rig.log), last);
        cr_assert_eq(rig.last, last);
        log_rig_commit(&rig, 50, (uint32_t)(100 * round));
        last += 50;
        log_rig_close(&rig);
    }
    cr_expect_gt(fake_disk_segment_count(rig.disk), 10);
    log_rig_deinit(&rig);
}

Test(commitlog, replay_begins_behind_after)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 100, 700);
    log_rig_close(&rig);
    static const uint64_t afters[] = {0, 1, 50, 99, 100};
    for (size_t i = 0; i < COUNT_OF(afters); i++) {
        cr_assert_eq(log_rig_open(&rig, afters[i]), RESULT_OK, "%s", rig.text);
        cr_expect_eq(rig.first, afters[i] == 100 ? 0 : afters[i] + 1);
        cr_expect_eq(rig.last, afters[i] == 100 ? 0 : 100);
        log_rig_close(&rig);
    }
    cr_expect_eq(log_rig_open(&rig, 101), RESULT_CORRUPT, "the store cannot be ahead of the log");
    cr_expect_neq(strstr(rig.text, "ends at index 100"), NULL, "%s", rig.text);
    log_rig_deinit(&rig);
}

Test(commitlog, trimmed_segments_are_recycled)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    for (int i = 0; i < 40; i++) {
        log_rig_commit(&rig, 10, 1000);
        commitlog_trim(rig.log, rig.durable - 5);
        log_rig_maintain(&rig);
        cr_assert_leq(fake_disk_segment_count(rig.disk) + fake_disk_spare_count(rig.disk), 5);
    }
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 395), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.first, 396);
    cr_expect_eq(rig.last, 400);
    log_rig_close(&rig);
    cr_expect_eq(log_rig_open(&rig, 100), RESULT_CORRUPT, "a hole between store and log");
    cr_expect_neq(strstr(rig.text, "records between them are missing"), NULL, "%s", rig.text);
    log_rig_deinit(&rig);
}

Test(commitlog, trim_keeps_the_last_record)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    /* Fill the first segment to the last block, and let the write that would go to the second not arrive. */
    log_rig_commit(&rig, SEGMENT / BLOCK - 1, BLOCK - HEADER);
    log_rig_maintain(&rig);
    cr_assert_eq(log_rig_append(&rig, 10), RESULT_OK);
    commitlog_flush(rig.log);
    cr_assert_eq(fake_disk_pending(rig.disk), 1);
    commitlog_trim(rig.log, UINT64_MAX);
    log_rig_maintain(&rig);
    fake_disk_crash_keeping(rig.disk, 0);
    cr_expect_eq(log_rig_append(&rig, 10), RESULT_CLOSED);
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 31), RESULT_OK, "%s", rig.text);
    cr_expect_eq(commitlog_last_index(rig.log), SEGMENT / BLOCK - 1, "the next index is still known");
    log_rig_commit(&rig, 1, 10);
    commitlog_trim(rig.log, UINT64_MAX);
    log_rig_maintain(&rig);
    cr_expect_null(fake_disk_bytes(rig.disk, 1), "now the second segment knows it");
    log_rig_deinit(&rig);
}

Test(commitlog, other_sizes_after_a_restart)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 45, 700);
    log_rig_close(&rig);
    fake_disk_base(rig.disk)->block_size_bytes = 4096;
    fake_disk_base(rig.disk)->segment_size_bytes = 2 * SEGMENT;
    for (int round = 1; round <= 3; round++) {
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
        cr_assert_eq(rig.last, 45u * (uint32_t)round);
        log_rig_commit(&rig, 45, 700);
        log_rig_close(&rig);
    }
    log_rig_deinit(&rig);
}

/* ---- torn ----------------------------------------------------------------------------------------------------------- */

/* One batch in flight at the crash, of three records: sector 0; sectors 1 and 2; sector 3. */
static const struct {
    const char *name;
    uint64_t sectors;
    uint64_t last; /* found afterwards; four records were durable before */
} torn_cases[] = {
    {"nothing arrived", 0x0, 4},
    {"all arrived", 0xf, 7},
    {"the first record", 0x1, 5},
    {"the first, and half of the second", 0x3, 5},
    {"all but the last", 0x7, 6},
    {"only the last", 0x8, 4},
    {"only the second", 0x6, 4},
    {"all but the first", 0xe, 4},
    {"all but half of the second", 0xb, 5},
    {"all but the other half", 0xd, 5},
    {"first and last", 0x9, 5},
};

static void append_three(struct log_rig *rig)
{
    cr_assert_eq(log_rig_append(rig, BLOCK - HEADER), RESULT_OK);
    cr_assert_eq(log_rig_append(rig, 2 * BLOCK - HEADER), RESULT_OK);
    cr_assert_eq(log_rig_append(rig, BLOCK - HEADER), RESULT_OK);
}

/* Recycles a segment first when asked, so that the torn bytes lie over old records instead of zeros. */
static void prepare_torn(struct log_rig *rig, bool recycled, uint32_t block)
{
    struct fake_disk_options options = small_disk;
    options.block_size_bytes = block;
    log_rig_init(rig, &options);
    cr_assert_eq(log_rig_open(rig, 0), RESULT_OK);
    uint64_t start = 0;
    if (recycled) {
        /* Segments 1 and 2 full, 1 retired and used again as 3 (or 4), whose tail holds 1's records. */
        while (fake_disk_bytes(rig->disk, 4) == NULL) {
            log_rig_commit(rig, 1, 300);
            commitlog_trim(rig->log, rig->durable);
            log_rig_maintain(rig);
        }
        start = rig->durable;
    }
    log_rig_commit(rig, 4, 600);
    cr_assert_eq(rig->durable, start + 4);
}

static void check_torn(bool recycled, uint32_t block)
{
    for (size_t i = 0; i < COUNT_OF(torn_cases); i++) {
        struct log_rig rig;
        prepare_torn(&rig, recycled, block);
        uint64_t start = rig.durable - 4;
        append_three(&rig);
        commitlog_flush(rig.log);
        cr_assert_eq(fake_disk_pending(rig.disk), 1);
        fake_disk_crash_keeping(rig.disk, torn_cases[i].sectors);
        log_rig_close(&rig);
        for (int round = 0; round < 2; round++) {
            uint64_t last = start + torn_cases[i].last + (uint64_t)round * 2;
            cr_assert_eq(log_rig_open(&rig, start), RESULT_OK, "%s: %s", torn_cases[i].name, rig.text);
            cr_assert_eq(rig.last, last, "%s: found up to %lu, not %lu", torn_cases[i].name, rig.last, last);
            log_rig_commit(&rig, 2, 40);
            log_rig_close(&rig);
        }
        log_rig_deinit(&rig);
    }
}

Test(commitlog, a_torn_batch_is_cut) { check_torn(false, 512); }
Test(commitlog, a_torn_batch_over_recycled_bytes_is_cut) { check_torn(true, 512); }
Test(commitlog, a_torn_batch_in_blocks_of_many_sectors_is_cut) { check_torn(false, 4096); }

Test(commitlog, a_torn_first_batch_of_a_segment_is_cut)
{
    for (uint64_t sectors = 0; sectors < 16; sectors++) {
        struct log_rig rig;
        log_rig_init(&rig, &small_disk);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        log_rig_commit(&rig, SEGMENT / BLOCK - 1, BLOCK - HEADER);
        log_rig_maintain(&rig);
        append_three(&rig);
        commitlog_flush(rig.log);
        fake_disk_crash_keeping(rig.disk, sectors);
        log_rig_close(&rig);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "sectors %lx: %s", sectors, rig.text);
        uint64_t extra = (sectors & 1) == 0 ? 0 : (sectors & 6) != 6 ? 1 : (sectors & 8) == 0 ? 2 : 3;
        cr_assert_eq(rig.last, SEGMENT / BLOCK - 1 + extra, "sectors %lx", sectors);
        log_rig_commit(&rig, 3, 700);
        log_rig_close(&rig);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "sectors %lx: %s", sectors, rig.text);
        log_rig_deinit(&rig);
    }
}

static enum result note_index(void *context, const struct commitlog_record *record)
{
    *(uint64_t *)context = record->index;
    return RESULT_OK;
}

Test(commitlog, a_torn_tail_is_reported_by_scan_and_left_alone)
{
    for (size_t i = 0; i < COUNT_OF(torn_cases); i++) {
        struct log_rig rig;
        prepare_torn(&rig, false, 512);
        append_three(&rig);
        commitlog_flush(rig.log);
        fake_disk_crash_keeping(rig.disk, torn_cases[i].sectors);
        log_rig_close(&rig);
        uint8_t before[SEGMENT];
        memcpy(before, fake_disk_bytes(rig.disk, 1), SEGMENT);
        uint64_t torn_offset = 1, last = 0;
        cr_assert_eq(commitlog_scan(fake_disk_base(rig.disk), note_index, &last, &torn_offset, rig.text, sizeof rig.text), RESULT_OK);
        cr_expect_eq(last, torn_cases[i].last, "%s", torn_cases[i].name);
        bool torn = torn_cases[i].sectors != 0 && torn_cases[i].sectors != 0xf;
        /* The part of the batch that is whole leaves no trace of there having been more. */
        if (torn_cases[i].sectors == 0x1 || torn_cases[i].sectors == 0x7) torn = false;
        cr_expect_eq(torn_offset != 0, torn, "%s: torn at %lu", torn_cases[i].name, torn_offset);
        cr_expect_arr_eq(before, fake_disk_bytes(rig.disk, 1), SEGMENT, "%s", torn_cases[i].name);
        log_rig_deinit(&rig);
    }
}

Test(commitlog, a_torn_tail_is_left_alone_by_an_open_that_only_looks)
{
    struct log_rig rig;
    prepare_torn(&rig, false, 512);
    append_three(&rig);
    commitlog_flush(rig.log);
    fake_disk_crash_keeping(rig.disk, 0x3);
    log_rig_close(&rig);
    uint8_t before[SEGMENT];
    memcpy(before, fake_disk_bytes(rig.disk, 1), SEGMENT);
    rig.look_only = true;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.last, 5);
    cr_expect_arr_eq(before, fake_disk_bytes(rig.disk, 1), SEGMENT);
    cr_expect_eq(log_rig_append(&rig, 10), RESULT_FULL);
    log_rig_close(&rig);
    log_rig_deinit(&rig);
    log_rig_init(&rig, &small_disk);
    rig.look_only = true;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(fake_disk_segment_count(rig.disk), 0, "nothing is made");
    log_rig_deinit(&rig);
}

/* ---- rotten --------------------------------------------------------------------------------------------------------- */

enum damage { FLIP, ZERO_BLOCK, REMOVE, TRUNCATE, RENUMBER };

/* Three full segments of one record per block, the third half full: records 1-31, 32-62, 63-75; the fourth is ready. */
static const struct {
    const char *name;
    enum damage damage;
    uint64_t segment, offset;
    enum result want;
    const char *says;
} rot_cases[] = {
    {"first record of the log", FLIP, 1, BLOCK + 40, RESULT_CORRUPT, "0000000000000001.log, offset 512"},
    {"a record in the middle of a full segment", FLIP, 2, 10 * BLOCK + 40, RESULT_CORRUPT, "0000000000000002.log, offset 5120"},
    {"last record of a full segment", FLIP, 1, SEGMENT - 1, RESULT_CORRUPT, "0000000000000001.log, offset 15872"},
    {"its length", FLIP, 2, 10 * BLOCK + 1, RESULT_CORRUPT, "should be record"},
    {"its index", FLIP, 2, 10 * BLOCK + 12, RESULT_CORRUPT, "offset 5120"},
    {"its place in the batch", FLIP, 2, 10 * BLOCK + 6, RESULT_CORRUPT, "offset 5120"},
    {"a whole block lost before the tail", ZERO_BLOCK, 3, 5 * BLOCK, RESULT_CORRUPT, "0000000000000003.log, offset 2560"},
    {"first block of the last segment", FLIP, 3, BLOCK + 100, RESULT_CORRUPT, "record 63"},
    {"the record before the last", FLIP, 3, 12 * BLOCK + 40, RESULT_CORRUPT, "record 75, written after it"},
    {"the last record, no seal behind it: cannot be told from torn", FLIP, 3, 13 * BLOCK + 40, RESULT_OK, ""},
    {"bytes behind the tail", FLIP, 3, 20 * BLOCK + 40, RESULT_OK, ""},
    {"header of a live segment", FLIP, 2, 20, RESULT_CORRUPT, "0000000000000002.log: bad header"},
    {"header of the ready segment", FLIP, 4, 20, RESULT_CORRUPT, "0000000000000004.log: bad header"},
    {"first segment lost", REMOVE, 1, 0, RESULT_CORRUPT, "begins at index 32"},
    {"segment in the middle lost", REMOVE, 2, 0, RESULT_CORRUPT, "0000000000000002.log is missing"},
    {"newest segment lost, and nobody can tell what it held", REMOVE, 4, 0, RESULT_CORRUPT, "0000000000000004.log is missing: it was made"},
    {"segment cut short", TRUNCATE, 2, SEGMENT - BLOCK, RESULT_CORRUPT, "shorter than"},
    {"segment under another number", RENUMBER, 2, 5, RESULT_CORRUPT, "is missing"},
};

static void do_damage(struct fake_disk *disk, enum damage damage, uint64_t segment, uint64_t offset)
{
    uint8_t copy[SEGMENT];
    memcpy(copy, fake_disk_bytes(disk, segment), SEGMENT);
    switch (damage) {
    case FLIP: fake_disk_bytes(disk, segment)[offset] ^= 0x10; break;
    case ZERO_BLOCK: memset(fake_disk_bytes(disk, segment) + offset, 0, BLOCK); break;
    case REMOVE: fake_disk_remove(disk, segment); break;
    case TRUNCATE: fake_disk_put(disk, segment, copy, offset); break;
    case RENUMBER:
        fake_disk_remove(disk, segment);
        fake_disk_put(disk, offset, copy, SEGMENT);
        break;
    }
}

Test(commitlog, rot_is_refused_with_its_place)
{
    for (size_t i = 0; i < COUNT_OF(rot_cases); i++) {
        struct log_rig rig;
        log_rig_init(&rig, &small_disk);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        log_rig_commit(&rig, 75, BLOCK - HEADER);
        log_rig_maintain(&rig);
        log_rig_close(&rig);
        cr_assert_eq(fake_disk_segment_count(rig.disk), 4);
        do_damage(rig.disk, rot_cases[i].damage, rot_cases[i].segment, rot_cases[i].offset);
        cr_expect_eq(log_rig_open(&rig, 0), rot_cases[i].want, "%s: %s", rot_cases[i].name, rig.text);
        if (i != 3) cr_expect_neq(strstr(rig.text, rot_cases[i].says), NULL, "%s: %s", rot_cases[i].name, rig.text);
        cr_expect_eq(rig.log == NULL, rot_cases[i].want != RESULT_OK);
        log_rig_deinit(&rig);
    }
}

/* ---- of another version ------------------------------------------------------------------------------------------------ */

/* Of the header: who can read the segment, and what its writer had added. */
static enum result open_with_header(uint8_t needed, uint8_t added, char text[LOG_RIG_TEXT_SIZE])
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 3, 100);
    log_rig_close(&rig);
    uint8_t *header = fake_disk_bytes(rig.disk, 1);
    cr_expect_eq(header[6], 1);
    cr_expect_eq(header[7], 0);
    header[6] = needed;
    header[7] = added;
    const uint64_t hash = XXH3_64bits(header, 40);
    memcpy(header + 40, &hash, sizeof hash);
    enum result result = log_rig_open(&rig, 0);
    cr_expect_eq(result != RESULT_OK || rig.last == 3, true);
    memcpy(text, rig.text, LOG_RIG_TEXT_SIZE);
    log_rig_deinit(&rig);
    return result;
}

Test(commitlog, a_newer_segment_is_read_where_it_says_that_it_can_be)
{
    char text[LOG_RIG_TEXT_SIZE];
    cr_expect_eq(open_with_header(1, 0, text), RESULT_OK);
    cr_expect_eq(open_with_header(1, 7, text), RESULT_OK, "%s", text);
    cr_expect_eq(open_with_header(2, 0, text), RESULT_UNSUPPORTED);
    cr_expect_not_null(strstr(text, "written by a newer version"), "%s", text);
    cr_expect_eq(open_with_header(0, 1, text), RESULT_CORRUPT, "no version");
}

/* ---- the newest segments are gone -------------------------------------------------------------------------------------- */

Test(commitlog, newest_segments_that_are_missing_are_noticed_without_anybody_who_knows_of_their_records)
{
    for (uint64_t lost = 1; lost <= 5; lost++) {
        struct log_rig rig;
        log_rig_init(&rig, &small_disk);
        rig.made_before = false;
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        log_rig_commit(&rig, 3 * (SEGMENT / BLOCK - 1) + 5, BLOCK - HEADER); /* four segments, and one is ready */
        log_rig_maintain(&rig);
        log_rig_seal(&rig);
        log_rig_close(&rig);
        cr_assert_eq(fake_disk_segment_count(rig.disk), 5);
        for (uint64_t i = 0; i < lost; i++) fake_disk_remove(rig.disk, 5 - i);
        cr_expect_eq(log_rig_open(&rig, 0), RESULT_CORRUPT, "%lu lost", lost);
        const char *says = lost == 5 ? "the log is missing" : "0000000000000005.log is missing: it was made, and the log ends with segment";
        cr_expect_not_null(strstr(rig.text, says), "%lu lost: %s", lost, rig.text);
        uint64_t torn_offset, last = 0;
        if (lost < 5)
            cr_expect_eq(commitlog_scan(fake_disk_base(rig.disk), note_index, &last, &torn_offset, rig.text, sizeof rig.text), RESULT_CORRUPT);
        log_rig_deinit(&rig);
    }
}

Test(commitlog, a_ready_segment_that_was_not_needed_yet_may_be_missing)
{
    struct fake_disk_options roomy = small_disk;
    roomy.segment_size_bytes = 4u << 20;
    struct log_rig rig;
    log_rig_init(&rig, &roomy);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 20, BLOCK - HEADER);
    log_rig_maintain(&rig);
    log_rig_close(&rig);
    cr_assert_eq(fake_disk_segment_count(rig.disk), 2);
    fake_disk_remove(rig.disk, 2);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.last, 20);
    log_rig_maintain(&rig);
    log_rig_close(&rig);
    cr_assert_eq(fake_disk_segment_count(rig.disk), 2, "made again");
    log_rig_deinit(&rig);
}

Test(commitlog, a_lost_note_is_made_again_and_one_of_other_sizes_follows_what_is_retired)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 75, BLOCK - HEADER);
    log_rig_maintain(&rig);
    log_rig_close(&rig);
    rig.made_before = true;
    fake_disk_forget_note(rig.disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    log_rig_close(&rig);
    fake_disk_base(rig.disk)->segment_size_bytes = 2 * SEGMENT; /* what was ready is retired */
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(fake_disk_segment_count(rig.disk), 3);
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    log_rig_close(&rig);
    fake_disk_remove(rig.disk, 3);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_CORRUPT);
    log_rig_deinit(&rig);
}

/* Spares that wait need no room; a note does. */
Test(commitlog, without_room_for_a_note_the_log_goes_on_into_the_segments_that_are_there)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    fake_disk_refuse_notes(rig.disk, true);
    log_rig_commit(&rig, 2 * (SEGMENT / BLOCK - 1) + 5, BLOCK - HEADER);
    log_rig_maintain(&rig);
    cr_expect_eq(fake_disk_segment_count(rig.disk), 4, "none was made twice");
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    fake_disk_refuse_notes(rig.disk, false);
    log_rig_commit(&rig, SEGMENT / BLOCK, BLOCK - HEADER);
    log_rig_close(&rig);
    fake_disk_remove(rig.disk, 5);
    fake_disk_remove(rig.disk, 4);
    cr_expect_eq(log_rig_open(&rig, 0), RESULT_CORRUPT, "noted again when there is room");
    log_rig_deinit(&rig);
}

/* Six segments of eight blocks: batches of several records, the last of two blocks in the middle of the last segment. */
static const struct fake_disk_options tiny_disk = {.block_size_bytes = BLOCK, .segment_size_bytes = 8 * BLOCK, .seed = 11};
#define TINY_LAST 25 /* records; the last batch holds two */

static void make_tiny(struct log_rig *rig, bool seal)
{
    log_rig_init(rig, &tiny_disk);
    cr_assert_eq(log_rig_open(rig, 0), RESULT_OK);
    log_rig_commit(rig, 15, 300);
    for (uint32_t batch = 0; batch < 5; batch++) {
        for (uint32_t i = 0; i < 2; i++) cr_assert_eq(log_rig_append(rig, 250 + 100 * i), RESULT_OK);
        log_rig_settle(rig);
    }
    if (seal) log_rig_seal(rig);
    log_rig_close(rig);
}

/* What the next open makes of the log with one bit changed; the medium is as before afterwards. */
static enum result open_with_flipped(struct log_rig *rig, uint64_t segment, uint64_t bit)
{
    uint8_t before[8 * BLOCK];
    memcpy(before, fake_disk_bytes(rig->disk, segment), sizeof before);
    fake_disk_bytes(rig->disk, segment)[bit / 8] ^= (uint8_t)(1 << bit % 8);
    enum result result = log_rig_open(rig, 0);
    if (result == RESULT_OK) log_rig_close(rig);
    fake_disk_put(rig->disk, segment, before, sizeof before);
    return result;
}

/* Its own bytes, that the walk cannot miss, and one bit of every other byte: all of them take a minute. */
static bool is_looked_at(uint64_t bit) { return bit / 8 % BLOCK < 64 || bit % 8 == bit / 8 % 8; }

Test(commitlog, no_flipped_bit_costs_a_record_of_a_sealed_log_without_a_word)
{
    struct log_rig rig;
    make_tiny(&rig, true);
    uint64_t count = fake_disk_segment_count(rig.disk), refused = 0;
    for (uint64_t segment = 1; segment <= count; segment++)
        for (uint64_t bit = 0; bit < tiny_disk.segment_size_bytes * 8; bit++) {
            if (!is_looked_at(bit)) continue;
            enum result result = open_with_flipped(&rig, segment, bit);
            refused += result == RESULT_CORRUPT;
            cr_assert(result == RESULT_CORRUPT || rig.last == TINY_LAST, "segment %lu, bit %lu: %s, the last record is %lu", segment, bit,
                      result_text(result), rig.last);
        }
    cr_expect_gt(refused, 1000);
    log_rig_deinit(&rig);
}

/* After a crash right behind it the last batch may be cut, never more than that, and what is said of it claims no more than is known. */
Test(commitlog, without_a_seal_a_flipped_bit_costs_the_last_batch_at_most_and_it_is_said)
{
    struct log_rig rig;
    make_tiny(&rig, false);
    uint64_t count = fake_disk_segment_count(rig.disk), cut = 0;
    for (uint64_t segment = 1; segment <= count; segment++)
        for (uint64_t bit = 0; bit < tiny_disk.segment_size_bytes * 8; bit++) {
            if (!is_looked_at(bit)) continue;
            enum result result = open_with_flipped(&rig, segment, bit);
            cr_assert(result == RESULT_CORRUPT || (result == RESULT_OK && rig.last >= TINY_LAST - 2), "segment %lu, bit %lu", segment, bit);
            if (result != RESULT_OK || rig.last == TINY_LAST) continue;
            cut++;
            uint64_t torn_offset = 0, last = 0;
            fake_disk_bytes(rig.disk, segment)[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_eq(commitlog_scan(fake_disk_base(rig.disk), note_index, &last, &torn_offset, rig.text, sizeof rig.text), RESULT_OK);
            fake_disk_bytes(rig.disk, segment)[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (torn_offset != 0) cr_expect_neq(strstr(rig.text, "the log cannot tell them apart"), NULL, "%s", rig.text);
        }
    cr_expect_gt(cut, 100);
    log_rig_deinit(&rig);
}

Test(commitlog, a_seal_is_written_once_and_the_log_goes_on_behind_it)
{
    struct log_rig rig;
    log_rig_init(&rig, &tiny_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    commitlog_seal(rig.log);
    cr_expect(!commitlog_writing(rig.log), "there is nothing to seal");
    for (uint32_t life = 1; life <= 20; life++) {
        log_rig_commit(&rig, 1, 100);
        cr_assert_eq(log_rig_append(&rig, 100), RESULT_OK);
        log_rig_seal(&rig); /* of the first; the second is not written yet */
        cr_expect_eq(rig.durable, 2 * life - 1);
        log_rig_settle(&rig);
        log_rig_seal(&rig);
        commitlog_seal(rig.log);
        cr_expect(!commitlog_writing(rig.log), "it is sealed already");
        cr_expect_eq(commitlog_last_index(rig.log), 2 * life);
        log_rig_close(&rig);
        cr_assert_eq(log_rig_open(&rig, life % 2 == 0 ? 0 : 2 * life - 1), RESULT_OK, "life %u: %s", life, rig.text);
        cr_expect_eq(rig.last, 2 * life);
        commitlog_seal(rig.log);
        bool full = fake_disk_pending(rig.disk) > 0; /* the last block of a segment has no other behind it */
        if (full) log_rig_settle(&rig);
        cr_expect(!full || life % 2 == 1, "life %u: it was sealed before", life);
    }
    log_rig_deinit(&rig);
}

Test(commitlog, a_torn_seal_costs_nothing)
{
    for (uint64_t sectors = 0; sectors < 2; sectors++) {
        struct log_rig rig;
        log_rig_init(&rig, &tiny_disk);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        log_rig_commit(&rig, 2, 100);
        commitlog_seal(rig.log);
        fake_disk_crash_keeping(rig.disk, sectors);
        log_rig_close(&rig);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        cr_expect_eq(rig.last, 2);
        log_rig_commit(&rig, 2, 100);
        log_rig_close(&rig);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        cr_expect_eq(rig.last, 4);
        log_rig_deinit(&rig);
    }
}

/* The same three segments, when what is stored elsewhere covers some of them. */
static const struct {
    const char *name;
    uint64_t after, segment, offset;
    enum result want;
} covered_cases[] = {
    {"what is stored ends before the second segment", 30, 1, 10 * BLOCK + 40, RESULT_CORRUPT},
    {"right before it", 31, 1, 10 * BLOCK + 40, RESULT_OK},
    {"and the second itself is rotten", 31, 2, 10 * BLOCK + 40, RESULT_CORRUPT},
    {"behind its first record", 32, 1, BLOCK + 40, RESULT_OK},
    {"the segment that is read first, before what is asked for", 40, 2, 2 * BLOCK + 40, RESULT_CORRUPT},
    {"everything before the last segment", 62, 2, 31 * BLOCK + 40, RESULT_OK},
    {"everything", 75, 1, BLOCK + 40, RESULT_OK},
    {"everything, and the last segment begins rotten", 75, 3, BLOCK + 40, RESULT_CORRUPT},
};

Test(commitlog, segments_that_are_covered_are_not_read)
{
    for (size_t i = 0; i < COUNT_OF(covered_cases); i++) {
        struct log_rig rig;
        uint64_t after = covered_cases[i].after;
        log_rig_init(&rig, &small_disk);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        log_rig_commit(&rig, 75, BLOCK - HEADER);
        log_rig_maintain(&rig);
        log_rig_close(&rig);
        do_damage(rig.disk, FLIP, covered_cases[i].segment, covered_cases[i].offset);
        cr_expect_eq(log_rig_open(&rig, after), covered_cases[i].want, "%s: %s", covered_cases[i].name, rig.text);
        if (rig.log != NULL) {
            cr_expect_eq(rig.first, after == 75 ? 0 : after + 1, "%s", covered_cases[i].name);
            cr_expect_eq(commitlog_last_index(rig.log), 75);
            log_rig_commit(&rig, 1, 10);
            uint32_t before = fake_disk_segment_count(rig.disk);
            commitlog_trim(rig.log, after);
            log_rig_maintain(&rig);
            uint64_t covered = after < 75 ? after / 31 : 2; /* segments with no record behind it, the tail aside */
            cr_expect_eq(before - fake_disk_segment_count(rig.disk), covered, "%s", covered_cases[i].name);
        }
        log_rig_deinit(&rig);
    }
}

Test(commitlog, a_segment_of_another_shard_or_log_is_refused)
{
    struct log_rig rig, other;
    log_rig_init(&rig, &small_disk);
    log_rig_init(&other, &small_disk);
    other.epoch_base = 5;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    cr_assert_eq(log_rig_open(&other, 0), RESULT_OK);
    log_rig_commit(&rig, 75, BLOCK - HEADER);
    log_rig_commit(&other, 75, BLOCK - HEADER);
    log_rig_close(&rig);
    log_rig_close(&other);
    fake_disk_put(rig.disk, 2, fake_disk_bytes(other.disk, 2), SEGMENT);
    cr_expect_eq(log_rig_open(&rig, 0), RESULT_CORRUPT);
    cr_expect_neq(strstr(rig.text, "0000000000000002.log: is of another log"), NULL, "%s", rig.text);
    log_rig_deinit(&rig);
    log_rig_deinit(&other);
}

static enum result refuse_third(void *context, const struct commitlog_record *record)
{
    (void)record;
    return ++*(uint32_t *)context == 3 ? RESULT_MALFORMED : RESULT_OK;
}

Test(commitlog, one_that_was_made_before_is_not_made_again)
{
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){.block_size_bytes = 512, .segment_size_bytes = 4096});
    rig.made_before = true;
    cr_expect_eq(log_rig_open(&rig, 0), RESULT_CORRUPT);
    cr_expect_neq(strstr(rig.text, "the log is missing"), NULL, "%s", rig.text);
    cr_expect_eq(fake_disk_segment_count(rig.disk), 0);
    rig.made_before = false;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    log_rig_close(&rig);
    rig.made_before = true;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    log_rig_deinit(&rig);
}

Test(commitlog, a_refused_record_ends_the_replay)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 5, 10);
    log_rig_close(&rig);
    uint32_t seen = 0;
    uint64_t torn_offset;
    cr_expect_eq(commitlog_scan(fake_disk_base(rig.disk), refuse_third, &seen, &torn_offset, rig.text, sizeof rig.text),
                 RESULT_MALFORMED);
    cr_expect_eq(seen, 3);
    cr_expect_neq(strstr(rig.text, "record 3"), NULL, "%s", rig.text);
    log_rig_deinit(&rig);
}

/* ---- full and failing disks ----------------------------------------------------------------------------------------- */

Test(commitlog, a_full_disk_refuses_and_goes_on_when_there_is_room)
{
    struct log_rig rig;
    struct fake_disk_options options = small_disk;
    options.segments_max = 3;
    log_rig_init(&rig, &options);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    uint64_t accepted = 0;
    enum result result;
    while ((result = log_rig_append(&rig, 600)) == RESULT_OK && accepted < 1000) {
        accepted++;
        log_rig_settle(&rig);
    }
    cr_assert_eq(result, RESULT_FULL, "%s", result_text(result));
    cr_expect_eq(rig.durable, accepted, "what was accepted is durable");
    cr_expect_eq(accepted, 3 * ((SEGMENT - BLOCK) / (2 * BLOCK)), "refused only when there was no room left");

    fake_disk_set_segments_max(rig.disk, 4);
    log_rig_settle(&rig);
    cr_expect_eq(log_rig_append(&rig, 600), RESULT_FULL, "tried again once per second, not at once");
    rig.now_ns += 1000000000;
    log_rig_settle(&rig); /* a second has passed: it may be tried again */
    log_rig_settle(&rig); /* and is */
    cr_assert_eq(log_rig_append(&rig, 600), RESULT_OK);
    log_rig_settle(&rig);
    cr_expect_eq(rig.durable, accepted + 1);
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.last, accepted + 1);
    log_rig_deinit(&rig);
}

Test(commitlog, while_it_is_shut_it_refuses_as_a_full_disk_does)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    cr_assert_eq(log_rig_append(&rig, 100), RESULT_OK);
    commitlog_set_shut(rig.log, true);
    cr_expect_eq(log_rig_append(&rig, 100), RESULT_FULL);
    log_rig_settle(&rig);
    cr_expect_eq(rig.durable, 1, "what was taken before is written");
    commitlog_set_shut(rig.log, false);
    log_rig_commit(&rig, 2, 100);
    log_rig_deinit(&rig);
}

Test(commitlog, a_batch_refused_for_space_is_kept_and_tried_again)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 2, 100);
    cr_assert_eq(log_rig_append(&rig, 3000), RESULT_OK);
    for (int i = 0; i < 3; i++) {
        fake_disk_fail_next(rig.disk, RESULT_FULL);
        commitlog_flush(rig.log);
        cr_assert(fake_disk_complete(rig.disk));
        cr_expect_eq(rig.durable, 2);
        cr_expect_eq(log_rig_append(&rig, 100), RESULT_FULL);
        cr_expect_not(commitlog_idle(rig.log));
        commitlog_flush(rig.log);
        cr_expect_eq(fake_disk_pending(rig.disk), 0, "not before a second has passed");
        rig.now_ns += 1000000000;
    }
    log_rig_settle(&rig);
    cr_expect_eq(rig.durable, 3);
    log_rig_commit(&rig, 2, 100);
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.last, 5);
    log_rig_deinit(&rig);
}

Test(commitlog, a_failed_sync_ends_the_process, .exit_code = 1)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    cr_assert_eq(log_rig_append(&rig, 100), RESULT_OK);
    commitlog_flush(rig.log);
    fake_disk_fail_next(rig.disk, RESULT_IO);
    fake_disk_complete(rig.disk);
    exit(0); /* reached only when the log went on */
}

/* ---- what the owner holds ---- */

Test(commitlog, bodies_stay_readable_until_they_are_released)
{
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){.block_size_bytes = 512, .segment_size_bytes = 512 * 8});
    rig.hold = true;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    const uint8_t *bodies[40];
    uint8_t copies[40][109];
    for (size_t i = 0; i < COUNT_OF(bodies); i++) { /* over several batches and segments, some cut in two */
        cr_assert_eq(log_rig_append(&rig, sizeof copies[i]), RESULT_OK);
        bodies[i] = commitlog_appended(rig.log);
        memcpy(copies[i], bodies[i], sizeof copies[i]);
        if (i % 13 == 12) log_rig_settle(&rig);
    }
    log_rig_settle(&rig);
    cr_assert_eq(rig.durable, COUNT_OF(bodies));
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        cr_expect_arr_eq(bodies[i], copies[i], sizeof copies[i], "body %zu", i);
        commitlog_release(rig.log, i + 1);
    }
    log_rig_commit(&rig, 10, 100); /* in the memory of the released ones */
    log_rig_deinit(&rig);
}

Test(commitlog, an_owner_that_releases_nothing_is_busy)
{
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){.block_size_bytes = 4096, .segment_size_bytes = 4u << 20});
    rig.hold = true;
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    uint32_t count = 0;
    while (log_rig_append(&rig, 1000000) == RESULT_OK) {
        cr_assert_lt(++count, 100u);
        log_rig_settle(&rig);
    }
    cr_expect_gt(count, COMMITLOG_HELD_SIZE_MAX / 1100000);
    cr_expect_eq(log_rig_append(&rig, 1), RESULT_BUSY);
    commitlog_release(rig.log, rig.durable / 2);
    log_rig_commit(&rig, 1, 1000000);
    log_rig_deinit(&rig);
}

/* ---- what a failed sync left ---- */

/* The process ended while a sync failed, or before it was told; the next one reads what was written, goes on behind it, and only then power
 * is lost. */
static uint64_t found_after_a_failed_sync(uint32_t deceits)
{
    struct log_rig rig;
    log_rig_init(&rig, &small_disk);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 3, 100);
    fake_disk_set_deceits(rig.disk, FAKE_DISK_SYNCS_SILENTLY | deceits);
    fake_disk_fail_next(rig.disk, RESULT_IO);
    log_rig_commit(&rig, 1, 2000);
    fake_disk_kill(rig.disk);
    log_rig_close(&rig);

    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_expect_eq(rig.last, 4, "what was written can be read");
    log_rig_commit(&rig, 1, 100);
    fake_disk_crash(rig.disk);
    log_rig_close(&rig);
    fake_disk_set_deceits(rig.disk, 0);
    uint64_t last = log_rig_open(&rig, 0) == RESULT_OK ? rig.last : 0;
    log_rig_deinit(&rig);
    return last;
}

Test(commitlog, a_start_writes_the_last_batch_again_for_its_sync_may_have_failed)
{
    cr_expect_eq(found_after_a_failed_sync(0), 5);
    cr_expect_neq(found_after_a_failed_sync(FAKE_DISK_CUTS_ONLY), 5, "the disk of this test does not forget");
}

/* The process ended between the two steps that give a segment its name; the next one writes into it, and then power is lost. */
static enum result opens_behind_a_name_in_doubt(uint32_t deceits)
{
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){.block_size_bytes = 512, .segment_size_bytes = 512 * 3, .seed = 1});
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
    log_rig_commit(&rig, 2, 100);
    log_rig_maintain(&rig);
    cr_assert_not_null(fake_disk_bytes(rig.disk, 2), "the next segment is ready");
    fake_disk_doubt_name(rig.disk, 2);
    fake_disk_set_deceits(rig.disk, deceits);
    fake_disk_kill(rig.disk);
    log_rig_close(&rig);
    cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
    cr_assert_eq(log_rig_append(&rig, 100), RESULT_OK);
    commitlog_flush(rig.log); /* without another segment, whose making would sync the directory */
    fake_disk_complete(rig.disk);
    cr_assert_eq(rig.durable, 3);
    fake_disk_crash(rig.disk);
    log_rig_close(&rig);
    enum result result = log_rig_open(&rig, 0);
    if (result == RESULT_OK && rig.last != 3) result = RESULT_MISSING;
    log_rig_deinit(&rig);
    return result;
}

Test(commitlog, a_start_syncs_the_names_of_the_segments_it_writes_to)
{
    cr_expect_eq(opens_behind_a_name_in_doubt(0), RESULT_OK);
    cr_expect_neq(opens_behind_a_name_in_doubt(FAKE_DISK_CUTS_ONLY), RESULT_OK, "the disk of this test does not forget");
}

Test(commitlog, a_read_that_fails_is_no_end_of_the_log)
{
    for (uint32_t operations = 0;; operations++) {
        struct log_rig rig;
        log_rig_init(&rig, &small_disk);
        cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK);
        log_rig_commit(&rig, 40, 300);
        log_rig_close(&rig);
        fake_disk_fail_read(rig.disk, operations);
        enum result result = log_rig_open(&rig, 0);
        bool met = fake_disk_read_failed(rig.disk);
        cr_expect_eq(result, met ? RESULT_IO : RESULT_OK, "read %u: %s", operations, rig.text);
        fake_disk_no_faults(rig.disk);
        if (met) cr_assert_eq(log_rig_open(&rig, 0), RESULT_OK, "%s", rig.text);
        cr_expect_eq(rig.last, 40, "read %u: nothing was changed", operations);
        log_rig_deinit(&rig);
        if (!met) break;
        cr_assert_lt(operations, 1000u);
    }
}
