/* tests/storage/commitlog_crash_test.c - random runs: append, trim, crash anywhere, fill the disk; every durable record is found
 * again, none twice, none that was not appended. A failure prints the seed; SEED=n runs that one alone. */
#include "storage/log_rig.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SEED_COUNT 300
#define CRASHES_PER_SEED 8
#define STEPS_PER_LIFE 120

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint32_t random_body_size(uint64_t *random)
{
    switch (next_random(random) % 8) {
    case 0: return (uint32_t)(next_random(random) % 8000);
    case 1: return 484; /* a record of exactly one block of 512 */
    case 2: return 0;
    default: return (uint32_t)(next_random(random) % 400);
    }
}

/* One life of the process: from an open to a crash or a clean close. */
static void live(struct log_rig *rig, uint64_t *random, uint64_t *stored)
{
    for (int step = 0; step < STEPS_PER_LIFE; step++) {
        switch (next_random(random) % 10) {
        case 0:
        case 1:
        case 2:
        case 3: (void)log_rig_append(rig, random_body_size(random)); break;
        case 4:
        case 5: commitlog_flush(rig->log); break;
        case 6: fake_disk_complete(rig->disk); break;
        case 7:
            if (commitlog_wants_maintenance(rig->log)) commitlog_maintain(rig->log);
            break;
        case 8:
            if (rig->durable > *stored) *stored += next_random(random) % (rig->durable - *stored + 1);
            commitlog_trim(rig->log, *stored);
            break;
        default:
            rig->now_ns += 400000000;
            if (next_random(random) % 8 == 0) fake_disk_fail_next(rig->disk, RESULT_FULL);
            fake_disk_set_segments_max(rig->disk, next_random(random) % 4 == 0 ? 3 : 0);
            break;
        }
    }
}

static void run_seed(uint64_t seed)
{
    uint64_t random = seed, stored = 0, appended = 0, durable = 0;
    struct log_rig rig;
    log_rig_init(&rig, &(struct fake_disk_options){
                           .block_size_bytes = next_random(&random) % 2 == 0 ? 512 : 4096,
                           .segment_size_bytes = 16384ull << next_random(&random) % 3,
                           .seed = seed,
                       });
    for (int crash = 0; crash < CRASHES_PER_SEED; crash++) {
        cr_assert_eq(log_rig_open(&rig, stored), RESULT_OK, "SEED=%lu, life %d: %s", seed, crash, rig.text);
        uint64_t last = commitlog_last_index(rig.log);
        cr_assert_geq(last, durable, "SEED=%lu, life %d: %lu was durable, %lu found", seed, crash, durable, last);
        cr_assert_leq(last, appended, "SEED=%lu, life %d: %lu appended, %lu found", seed, crash, appended, last);
        cr_assert_eq(rig.first, last > stored ? stored + 1 : 0, "SEED=%lu, life %d", seed, crash);
        cr_assert_eq(rig.last, last > stored ? last : 0, "SEED=%lu, life %d", seed, crash);
        live(&rig, &random, &stored);
        durable = rig.durable;
        appended = commitlog_last_index(rig.log);
        fake_disk_crash(rig.disk);
        log_rig_close(&rig);
        fake_disk_set_segments_max(rig.disk, 0);
    }
    log_rig_deinit(&rig);
}

Test(commitlog_crash, every_durable_record_is_found_again)
{
    const char *chosen = getenv("SEED");
    if (chosen != NULL) {
        run_seed(strtoull(chosen, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) run_seed(seed);
}
