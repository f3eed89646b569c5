/* tests/storage/identity_test.c - whose directory it is that stands for a shard, and every state that a crash may leave of it. */
#include "storage/identity.h"
#include "core/check.h"
#include "storage/datadir.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As a start does it when nothing refuses the directory. */
static enum result open_settled(struct datadir **dir, const char *path, uint32_t shards_wanted, uint32_t shards_default, char *text, size_t text_size)
{
    enum result result = datadir_open(dir, path, shards_wanted, shards_default, text, text_size);
    return result == RESULT_OK ? datadir_settle(*dir, text, text_size) : result;
}

#define SHARDS 2
#define FILES 6 /* in the order in which a raise writes them the first time, FORMAT once more at its end */

static const char *const files[FILES] = {
    "FORMAT.copy", "FORMAT", "shard-0000/IDENTITY.copy", "shard-0000/IDENTITY", "shard-0001/IDENTITY.copy", "shard-0001/IDENTITY",
};

struct snapshot { /* of a data directory: those files, "" for one that is not there */
    char bytes[FILES][FORMAT_SIZE_MAX];
};

static void put(struct scratch *scratch, const char *name, const char *text)
{
    FILE *file = fopen(scratch_path(scratch, name), "w");
    cr_assert_neq(file, NULL, "%s", name);
    fputs(text, file);
    fclose(file);
}

static void get(struct scratch *scratch, const char *name, char text[FORMAT_SIZE_MAX])
{
    memset(text, 0, FORMAT_SIZE_MAX);
    FILE *file = fopen(scratch_path(scratch, name), "r");
    if (file == NULL) return;
    (void)!fread(text, 1, FORMAT_SIZE_MAX - 1, file);
    fclose(file);
}

static void take(struct scratch *scratch, struct snapshot *snapshot)
{
    for (size_t i = 0; i < FILES; i++) get(scratch, files[i], snapshot->bytes[i]);
}

static void bring(struct scratch *scratch, const char *name, const char *text)
{
    if (text[0] != '\0') put(scratch, name, text);
    else unlink(scratch_path(scratch, name));
}

/* The name of a directory in another one. */
static const char *inside(struct scratch *scratch, const char *name)
{
    static char path[2][PATH_MAX];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s", scratch_path(scratch, name));
    return path[turn];
}

/* One start of the server as far as the directory sees it; gives the result of the open. */
static enum result start(struct scratch *scratch, char text[512])
{
    struct datadir *dir;
    text[0] = '\0';
    enum result result = open_settled(&dir, scratch->path, 0, SHARDS, text, 512);
    if (result != RESULT_OK) return result;
    uint64_t run = datadir_run(dir);
    cr_expect_eq(datadir_raise(dir, text, 512), RESULT_OK, "%s", text);
    cr_expect_eq(datadir_run(dir), run + 1);
    datadir_close(dir);
    return RESULT_OK;
}

static void starts(struct scratch *scratch, int times)
{
    char text[512];
    for (int i = 0; i < times; i++) cr_assert_eq(start(scratch, text), RESULT_OK, "%s", text);
}

static void refused(struct scratch *scratch, const char *says)
{
    struct snapshot before, after;
    char text[512];
    take(scratch, &before);
    cr_expect_eq(start(scratch, text), RESULT_CORRUPT, "%s: %s", says, text);
    cr_expect_neq(strstr(text, says), NULL, "%s is not in: %s", says, text);
    take(scratch, &after);
    cr_expect_arr_eq(&before, &after, sizeof before, "%s: something was changed", says);
}

static void copy_identity(struct scratch *to, const char *to_shard, struct scratch *from, const char *from_shard)
{
    static const char *const names[] = {"IDENTITY", "IDENTITY.copy"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char text[FORMAT_SIZE_MAX], name[64];
        snprintf(name, sizeof name, "%s/%s", from_shard, names[i]);
        get(from, name, text);
        snprintf(name, sizeof name, "%s/%s", to_shard, names[i]);
        put(to, name, text);
    }
}

Test(identity, every_start_is_a_run_and_all_files_say_so)
{
    struct scratch scratch;
    struct snapshot snapshot;
    struct identity identity;
    struct format format;
    scratch_init(&scratch);
    for (uint64_t run = 1; run <= 3; run++) {
        starts(&scratch, 1);
        take(&scratch, &snapshot);
        cr_assert_eq(format_parse(&format, snapshot.bytes[1], strlen(snapshot.bytes[1])), RESULT_OK);
        cr_expect(format.run == run && !format.raising);
        for (size_t i = 2; i < FILES; i++) {
            cr_assert(identity_parse(&identity, snapshot.bytes[i], strlen(snapshot.bytes[i])), "%s", files[i]);
            cr_expect(identity.run == run && identity.mark == format.mark && identity.shard == (i - 2) / 2);
            cr_expect_str_eq(identity.id, format.id);
        }
    }
    scratch_deinit(&scratch);
}

Test(identity, a_shard_that_is_missing_or_of_another_time_or_place_is_refused)
{
    struct scratch scratch, other;
    scratch_init(&scratch);
    scratch_init(&other);
    starts(&other, 2);
    starts(&scratch, 2);
    struct snapshot second, third;
    take(&scratch, &second);
    starts(&scratch, 1);
    take(&scratch, &third);

    cr_assert_eq(rename(inside(&scratch, "shard-0001"), inside(&scratch, "away")), 0);
    refused(&scratch, "shard-0001 is missing");
    cr_assert_eq(mkdir(scratch_path(&scratch, "shard-0001"), 0700), 0);
    refused(&scratch, "shard-0001 has no IDENTITY");
    copy_identity(&scratch, "shard-0001", &scratch, "shard-0000");
    refused(&scratch, "shard-0001 is the directory of shard 0, or a copy of it");
    copy_identity(&scratch, "shard-0001", &other, "shard-0001");
    refused(&scratch, "shard-0001 belongs to another installation");
    for (size_t i = 4; i < FILES; i++) put(&scratch, files[i], second.bytes[i]);
    refused(&scratch, "shard-0001 is a copy from run 2 of the server, the last was run 3");
    for (size_t i = 4; i < FILES; i++) put(&scratch, files[i], "rubbish\n");
    refused(&scratch, "IDENTITY is damaged");
    for (size_t i = 4; i < FILES; i++) put(&scratch, files[i], third.bytes[i]);
    for (size_t i = 0; i < 4; i++) put(&scratch, files[i], second.bytes[i]);
    refused(&scratch, "shard-0001 is from run 3 of the server, but FORMAT only from run 2");
    for (size_t i = 4; i < FILES; i++) put(&scratch, files[i], second.bytes[i]);
    starts(&scratch, 1); /* the whole of the second run, from a backup: another third one begins */
    for (size_t i = 4; i < FILES; i++) put(&scratch, files[i], third.bytes[i]);
    refused(&scratch, "shard-0001 is from another life of this installation");
    for (size_t i = 0; i < 4; i++) put(&scratch, files[i], third.bytes[i]);
    cr_assert_eq(mkdir(scratch_path(&scratch, "shard-0002"), 0700), 0);
    refused(&scratch, "shard-0002 is there, but FORMAT says that there are 2 shards");
    cr_assert_eq(rmdir(scratch_path(&scratch, "shard-0002")), 0);
    starts(&scratch, 1);
    scratch_deinit(&other);
    scratch_deinit(&scratch);
}

Test(identity, a_crash_at_every_step_of_a_start_leaves_a_directory_that_starts)
{
    for (int first = 0; first < 2; first++) { /* the first run of all, and a later one */
        struct scratch scratch;
        struct snapshot before = {0}, after;
        char raising[FORMAT_SIZE_MAX], text[512];
        struct format format, old = {0};
        scratch_init(&scratch);
        struct datadir *dir;
        cr_assert_eq(open_settled(&dir, scratch.path, 0, SHARDS, text, sizeof text), RESULT_OK, "%s", text);
        datadir_close(dir);
        if (first == 0) starts(&scratch, 2);
        take(&scratch, &before);
        starts(&scratch, 1);
        take(&scratch, &after);
        cr_assert_eq(format_parse(&old, before.bytes[1], strlen(before.bytes[1])), RESULT_OK);
        cr_assert_eq(format_parse(&format, after.bytes[1], strlen(after.bytes[1])), RESULT_OK);
        format.raising = true;
        format.before = old.mark;
        format_render(&format, raising);
        for (size_t step = 0; step <= FILES + 2; step++) {
            for (size_t i = 0; i < FILES; i++) {
                bool is_format = i < 2, written = step > i, ended = step > FILES + i;
                bring(&scratch, files[i], !written ? before.bytes[i] : is_format && !ended ? raising : after.bytes[i]);
            }
            cr_expect_eq(start(&scratch, text), RESULT_OK, "step %zu: %s", step, text);
            starts(&scratch, 1);
        }
        scratch_deinit(&scratch);
    }
}

/* While a run is being raised a shard may be of the one before, but of no other. */
Test(identity, a_crash_does_not_make_an_older_copy_good)
{
    struct scratch scratch;
    struct snapshot first, third;
    char text[FORMAT_SIZE_MAX];
    struct format format;
    scratch_init(&scratch);
    starts(&scratch, 1);
    take(&scratch, &first);
    starts(&scratch, 2);
    take(&scratch, &third);
    cr_assert_eq(format_parse(&format, third.bytes[1], strlen(third.bytes[1])), RESULT_OK);
    format.before = format.mark;
    format.mark++;
    format.run++;
    format.raising = true;
    format_render(&format, text);
    put(&scratch, "FORMAT", text);
    put(&scratch, "FORMAT.copy", text);
    for (size_t i = 4; i < FILES; i++) put(&scratch, files[i], first.bytes[i]);
    refused(&scratch, "shard-0001 is a copy from run 1");
    scratch_deinit(&scratch);
}

Test(identity, a_flipped_bit_or_a_torn_file_is_mended_from_the_other)
{
    struct scratch scratch;
    struct snapshot good;
    scratch_init(&scratch);
    starts(&scratch, 1);
    for (size_t file = 4; file < FILES; file++) {
        take(&scratch, &good);
        for (size_t bit = 0; bit < strlen(good.bytes[file]) * 8; bit++) {
            char bad[FORMAT_SIZE_MAX];
            struct identity identity;
            size_t len = strlen(good.bytes[file]);
            memcpy(bad, good.bytes[file], len + 1);
            bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
            cr_expect(!identity_parse(&identity, bad, len), "bit %zu", bit);
        }
        for (size_t at = 0; at < strlen(good.bytes[file]); at += 13) {
            char torn[FORMAT_SIZE_MAX];
            snprintf(torn, sizeof torn, "%.*s", (int)at, good.bytes[file]);
            put(&scratch, files[file], torn);
            starts(&scratch, 1);
        }
    }
    scratch_deinit(&scratch);
}

/* ---- the format before, which had no identities ---- */

#define FORMAT_3 "format=3\nshards=2\nid=00112233445566778899aabbccddeeff\n"

Test(identity, shards_of_the_format_before_get_theirs_when_all_are_there)
{
    struct scratch scratch;
    scratch_init(&scratch);
    put(&scratch, "FORMAT", FORMAT_3);
    cr_assert_eq(mkdir(scratch_path(&scratch, "shard-0000"), 0700), 0);
    refused(&scratch, "shard-0001 is missing");
    cr_assert_eq(mkdir(scratch_path(&scratch, "shard-0001"), 0700), 0);
    cr_assert_eq(mkdir(scratch_path(&scratch, "shard-0002"), 0700), 0);
    refused(&scratch, "shard-0002 is there");
    cr_assert_eq(rmdir(scratch_path(&scratch, "shard-0002")), 0);

    struct datadir *dir;
    char text[512];
    cr_assert_eq(open_settled(&dir, scratch.path, 0, SHARDS, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(datadir_run(dir), 0);
    datadir_close(dir); /* a crash before the shards were found to fit */
    cr_assert_eq(rename(inside(&scratch, "shard-0001"), inside(&scratch, "away")), 0);
    refused(&scratch, "shard-0001 is missing");
    cr_assert_eq(rename(inside(&scratch, "away"), inside(&scratch, "shard-0001")), 0);
    starts(&scratch, 2);
    scratch_deinit(&scratch);
}

Test(identity, a_directory_of_the_format_before_that_was_never_served_is_made)
{
    struct scratch scratch;
    struct stat status;
    scratch_init(&scratch);
    put(&scratch, "FORMAT", FORMAT_3);
    starts(&scratch, 1);
    cr_expect_eq(stat(scratch_path(&scratch, "shard-0001/IDENTITY"), &status), 0);
    scratch_deinit(&scratch);
}
