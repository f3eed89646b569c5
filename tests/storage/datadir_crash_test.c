/* tests/storage/datadir_crash_test.c - a start of the server ends at every one of its steps, alone or with the machine: the next one finds a data
 * directory, with the key that was in use. A failure prints how it came about. */
#include "core/check.h"
#include "storage/datadir.h"
#include "storage/power.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SHARDS 2
#define STEPS_MAX 400
#define TRIES 12 /* at each step: what gets to the disk is up to chance */

struct place {
    struct scratch scratch;
    char path[PATH_MAX / 2];
    bool used;                           /* a start has come to its end */
    uint8_t key[DATADIR_TOKEN_KEY_SIZE]; /* of that */
    char id[64];
    uint64_t run;
};

static void place_init(struct place *place, uint64_t seed)
{
    *place = (struct place){0};
    scratch_init_in_memory(&place->scratch);
    snprintf(place->path, sizeof place->path, "%s", place->scratch.path);
    power_begin(place->path, seed);
}

static void place_deinit(struct place *place)
{
    power_end();
    scratch_deinit(&place->scratch);
}

/* What the server does with its directory before it serves. OK: it serves. */
static enum result start(struct place *place, char *text, size_t text_size)
{
    struct datadir *dir;
    uint8_t key[DATADIR_TOKEN_KEY_SIZE];
    enum result result = datadir_open(&dir, place->path, 0, SHARDS, text, text_size);
    if (result != RESULT_OK) return result;
    result = datadir_settle(dir, text, text_size);
    if (result == RESULT_OK) result = datadir_key(dir, DATADIR_TOKEN_KEY, key, sizeof key, text, text_size);
    if (result == RESULT_OK) result = datadir_raise(dir, text, text_size);
    if (result == RESULT_OK && place->used) {
        cr_expect_arr_eq(key, place->key, sizeof key, "another key");
        cr_expect_str_eq(datadir_id(dir), place->id);
        cr_expect_gt(datadir_run(dir), place->run);
    }
    if (result == RESULT_OK) {
        place->used = true;
        memcpy(place->key, key, sizeof key);
        snprintf(place->id, sizeof place->id, "%s", datadir_id(dir));
        place->run = datadir_run(dir);
    }
    datadir_close(dir);
    return result;
}

static void must_start(struct place *place, const char *when, uint32_t step, uint64_t seed)
{
    char text[512] = "";
    enum result result = start(place, text, sizeof text);
    cr_expect_eq(result, RESULT_OK, "%s, step %u, seed %lu: %s (%s)", when, step, seed, text, result_text(result));
}

/* False: the start has no such step. */
static bool start_ends_at(struct place *place, uint32_t step, bool lost)
{
    char text[512];
    struct place before = *place;
    power_cut_after(step);
    enum result result = start(place, text, sizeof text);
    bool cut = power_is_cut();
    power_restore(lost);
    cr_expect(cut || result == RESULT_OK, "%s", text);
    if (cut) *place = before; /* whatever it did, it served nobody */
    return cut;
}

/* Some start of a directory that was started `earlier` times ends at `step`, with the machine or alone; then others come to their end, and
 * after the first of them power may be lost. */
static bool end_at(uint32_t earlier, uint32_t step, uint64_t seed)
{
    struct place place;
    place_init(&place, seed);
    for (uint32_t i = 0; i < earlier; i++) must_start(&place, "before", step, seed);
    bool cut = start_ends_at(&place, step, seed % 2 != 0);
    if (seed % 3 == 0) (void)start_ends_at(&place, (uint32_t)(seed * 11 % 40), seed % 4 == 0); /* and the next one, too */
    must_start(&place, "after that", step, seed);
    power_restore(seed % 5 != 0);
    must_start(&place, "and after a loss of power", step, seed);
    place_deinit(&place);
    return cut;
}

static void end_at_every_step(uint32_t earlier)
{
    uint32_t step = 0;
    for (bool cut = true; cut; step++) {
        cr_assert_lt(step, STEPS_MAX);
        for (uint64_t i = 0; i < TRIES; i++) cut = end_at(earlier, step, step * 7 + i);
    }
    cr_expect_gt(step, 20, "steps are not noticed");
}

Test(datadir_crash, the_first_start_may_end_at_every_step) { end_at_every_step(0); }
Test(datadir_crash, a_later_start_may_end_at_every_step) { end_at_every_step(2); }

Test(datadir_crash, on_a_full_disk_what_a_start_left_half_written_can_be_opened)
{
    bool cut = true;
    for (uint32_t step = 0; cut; step++) {
        struct place place;
        struct datadir *dir;
        uint8_t key[DATADIR_TOKEN_KEY_SIZE];
        char text[512] = "";
        place_init(&place, step);
        must_start(&place, "before", step, step);
        cut = start_ends_at(&place, step, step % 2 == 0);
        power_set_full(true);
        enum result result = datadir_open(&dir, place.path, 0, SHARDS, text, sizeof text);
        cr_expect_eq(result, RESULT_OK, "step %u: %s", step, text);
        if (result == RESULT_OK) {
            cr_expect_eq(datadir_settle(dir, text, sizeof text), RESULT_OK, "step %u: %s", step, text);
            cr_expect_eq(datadir_key(dir, DATADIR_TOKEN_KEY, key, sizeof key, text, sizeof text), RESULT_OK, "step %u: %s", step, text);
            cr_expect_eq(datadir_raise(dir, text, sizeof text), RESULT_FULL);
            datadir_close(dir);
        }
        power_set_full(false);
        must_start(&place, "with room", step, step);
        place_deinit(&place);
    }
}

/* Made by a start that ended at one of its steps, or by one that came to its end. */
Test(datadir_crash, the_name_of_a_new_directory_is_on_the_disk_when_it_is_served)
{
    bool cut = true;
    for (uint32_t step = 0; cut; step++) {
        struct place place;
        char text[512] = "";
        place_init(&place, step + 1);
        strcat(place.path, "/data");
        power_cut_after(step);
        (void)start(&place, text, sizeof text);
        cut = power_is_cut();
        power_restore(false);
        place.used = false;
        must_start(&place, "after that", step, step + 1);
        power_restore(true);
        struct datadir_seen seen = {0};
        cr_assert_eq(datadir_look(place.path, 0, &seen, text, sizeof text), RESULT_OK, "step %u: %s", step, text);
        cr_expect_eq(seen.shards, SHARDS, "step %u", step);
        place_deinit(&place);
    }
}

Test(datadir_crash, a_disk_that_forgets_to_sync_is_noticed)
{
    bool forgotten = false;
    for (uint64_t seed = 1; seed <= 20 && !forgotten; seed++) {
        struct place place;
        char text[512];
        place_init(&place, seed);
        power_set_lying(true);
        cr_assert_eq(start(&place, text, sizeof text), RESULT_OK, "%s", text);
        power_restore(true);
        uint8_t key[DATADIR_TOKEN_KEY_SIZE];
        memcpy(key, place.key, sizeof key);
        place.used = false;
        forgotten = start(&place, text, sizeof text) != RESULT_OK || memcmp(key, place.key, sizeof key) != 0;
        place_deinit(&place);
    }
    cr_expect(forgotten, "the directory of this test does not forget");
}

Test(datadir_crash, a_full_disk_is_told_and_passes)
{
    struct place place;
    char text[512] = "";
    place_init(&place, 1);
    must_start(&place, "before", 0, 1);
    power_set_full(true);
    cr_expect_eq(start(&place, text, sizeof text), RESULT_FULL, "%s", text);
    power_set_full(false);
    must_start(&place, "with room", 0, 1);
    place_deinit(&place);
}
