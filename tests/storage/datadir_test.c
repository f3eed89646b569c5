/* tests/storage/datadir_test.c - what a data directory refuses, and what it makes. */
#include "storage/datadir.h"
#include "core/check.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void put_file(struct scratch *scratch, const char *name, const char *content)
{
    FILE *file = fopen(scratch_path(scratch, name), "w");
    fputs(content, file);
    fclose(file);
}

Test(datadir, is_made_once_and_keeps_what_it_is)
{
    struct scratch scratch;
    scratch_init(&scratch);
    char path[PATH_MAX], id[64], text[256] = "";
    snprintf(path, sizeof path, "%s", scratch_path(&scratch, "data"));
    struct datadir *dir;
    cr_assert_eq(datadir_open(&dir, path, 0, 5, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(datadir_shards(dir), 5);
    cr_expect_eq(strlen(datadir_id(dir)), 32);
    snprintf(id, sizeof id, "%s", datadir_id(dir));
    datadir_close(dir);
    static const uint32_t wanted[] = {0, 5};
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        cr_assert_eq(datadir_open(&dir, path, wanted[i], 9, text, sizeof text), RESULT_OK, "%s", text);
        cr_expect_eq(datadir_shards(dir), 5, "the default is for new ones only");
        cr_expect_str_eq(datadir_id(dir), id);
        datadir_close(dir);
    }
    scratch_deinit(&scratch);
}

static const struct {
    const char *name, *file, *content;
    uint32_t shards_wanted;
    enum result want;
    const char *says;
} format_cases[] = {
    {"empty directory", NULL, NULL, 0, RESULT_OK, ""},
    {"as written", "FORMAT", "format=3\nshards=4\nid=00112233445566778899aabbccddeeff\n", 0, RESULT_OK, ""},
    {"the same shard count", "FORMAT", "format=3\nshards=4\nid=00112233445566778899aabbccddeeff\n", 4, RESULT_OK, ""},
    {"another shard count", "FORMAT", "format=3\nshards=4\nid=00112233445566778899aabbccddeeff\n", 8, RESULT_DENIED,
     "made with 4 shards, 8 were asked"},
    {"later keys are allowed", "FORMAT", "format=3\nshards=4\nid=00112233445566778899aabbccddeeff\nnote=x\n", 0, RESULT_OK, ""},
    {"an older format", "FORMAT", "format=1\nwhatever\n", 0, RESULT_UNSUPPORTED, "has format 1, this version reads formats 2 to 3; go on with the older version"},
    {"a newer format", "FORMAT", "format=4\nwhatever\n", 0, RESULT_UNSUPPORTED, "go on with the newer version"},
    {"no format", "FORMAT", "shards=4\nid=00112233445566778899aabbccddeeff\n", 0, RESULT_CORRUPT, "damaged"},
    {"no shards", "FORMAT", "format=3\nid=00112233445566778899aabbccddeeff\n", 0, RESULT_CORRUPT, "damaged"},
    {"shards not a number", "FORMAT", "format=3\nshards=4x\nid=00112233445566778899aabbccddeeff\n", 0, RESULT_CORRUPT, "damaged"},
    {"too many shards", "FORMAT", "format=3\nshards=1025\nid=00112233445566778899aabbccddeeff\n", 0, RESULT_CORRUPT, "damaged"},
    {"bad id", "FORMAT", "format=3\nshards=4\nid=00112233445566778899aabbccddeefg\n", 0, RESULT_CORRUPT, "damaged"},
    {"cut short", "FORMAT", "form", 0, RESULT_CORRUPT, "damaged"},
    {"empty", "FORMAT", "", 0, RESULT_CORRUPT, "damaged"},
    {"foreign directory", "thesis.txt", "precious", 0, RESULT_DENIED, "holds \"thesis.txt\" but no FORMAT"},
    {"interrupted first open", "FORMAT.new", "format=", 0, RESULT_OK, ""},
    {"too many asked", NULL, NULL, 1025, RESULT_TOO_LARGE, "at most 1024"},
};

Test(datadir, refuses_what_it_should_and_says_why)
{
    for (size_t i = 0; i < COUNT_OF(format_cases); i++) {
        struct scratch scratch;
        scratch_init(&scratch);
        if (format_cases[i].file != NULL) put_file(&scratch, format_cases[i].file, format_cases[i].content);
        struct datadir *dir;
        char text[512] = "";
        cr_expect_eq(datadir_open(&dir, scratch.path, format_cases[i].shards_wanted, 2, text, sizeof text), format_cases[i].want,
                     "%s: %s", format_cases[i].name, text);
        cr_expect_neq(strstr(text, format_cases[i].says), NULL, "%s: %s", format_cases[i].name, text);
        cr_expect_eq(dir == NULL, format_cases[i].want != RESULT_OK, "%s", format_cases[i].name);
        if (dir != NULL) datadir_close(dir);
        scratch_deinit(&scratch);
    }
}

/* So that the version before, which cannot read what is written from now on, refuses it. */
Test(datadir, the_format_before_becomes_the_newest)
{
    struct scratch scratch;
    scratch_init(&scratch);
    put_file(&scratch, "FORMAT", "format=2\nshards=4\nid=00112233445566778899aabbccddeeff\n");
    struct datadir *dir;
    char text[512], content[128] = "";
    cr_assert_eq(datadir_open(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(datadir_shards(dir), 4);
    datadir_close(dir);
    FILE *file = fopen(scratch_path(&scratch, "FORMAT"), "r");
    cr_assert_neq(file, NULL);
    cr_expect_gt(fread(content, 1, sizeof content - 1, file), 0);
    fclose(file);
    cr_expect_str_eq(content, "format=3\nshards=4\nid=00112233445566778899aabbccddeeff\n");
    scratch_deinit(&scratch);
}

Test(datadir, a_foreign_directory_stays_untouched)
{
    struct scratch scratch;
    scratch_init(&scratch);
    put_file(&scratch, "thesis.txt", "precious");
    struct datadir *dir;
    char text[512];
    cr_assert_eq(datadir_open(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_DENIED);
    cr_expect_neq(access(scratch_path(&scratch, "LOCK"), F_OK), 0);
    scratch_deinit(&scratch);
}

/* The other process holds the directory until our end of the pipe is closed. */
static pid_t hold_open(const char *path, int *release_fd)
{
    int opened[2], release[2];
    cr_assert_eq(pipe(opened), 0);
    cr_assert_eq(pipe(release), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct datadir *dir;
        char text[256], byte = 'x';
        close(release[1]);
        if (datadir_open(&dir, path, 0, 2, text, sizeof text) != RESULT_OK || write(opened[1], &byte, 1) != 1) _exit(1);
        if (read(release[0], &byte, 1) != 0) _exit(1);
        _exit(0); /* without closing: the kernel gives the lock back */
    }
    char byte;
    close(release[0]);
    close(opened[1]);
    cr_assert_eq(read(opened[0], &byte, 1), 1);
    close(opened[0]);
    *release_fd = release[1];
    return pid;
}

Test(datadir, one_process_at_a_time_and_it_is_named)
{
    struct scratch scratch;
    scratch_init(&scratch);
    int release_fd;
    pid_t holder = hold_open(scratch.path, &release_fd);
    struct datadir *dir;
    char text[512], pid_text[32];
    snprintf(pid_text, sizeof pid_text, "pid %d", (int)holder);
    cr_expect_eq(datadir_open(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_BUSY);
    cr_expect_neq(strstr(text, pid_text), NULL, "%s", text);
    close(release_fd);
    /* Whether the holder is gone yet or not: an open waits for it. */
    cr_expect_eq(datadir_open(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK, "%s", text);
    int status;
    cr_expect_eq(waitpid(holder, &status, 0), holder);
    cr_expect_eq(status, 0);
    datadir_close(dir);
    scratch_deinit(&scratch);
}

Test(datadir, makes_paths_of_parts)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct datadir *dir;
    char text[256], path[PATH_MAX], small[8];
    struct stat status;
    cr_assert_eq(datadir_open(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(datadir_path(dir, "shard-0001/log", path, sizeof path), RESULT_OK);
        cr_expect_str_eq(path, scratch_path(&scratch, "shard-0001/log"));
        cr_assert_eq(stat(path, &status), 0);
        cr_expect(S_ISDIR(status.st_mode));
        cr_expect_eq(status.st_mode & 0777, 0700);
    }
    cr_expect_eq(datadir_path(dir, "shard-0002/log", small, sizeof small), RESULT_TOO_LARGE);
    datadir_close(dir);
    scratch_deinit(&scratch);
}

Test(datadir, keys_are_made_once_and_private)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct datadir *dir;
    char text[256];
    uint8_t first[32], again[32], other[32];
    cr_assert_eq(datadir_open(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK);
    cr_assert_eq(datadir_key(dir, "token", first, sizeof first), RESULT_OK);
    cr_assert_eq(datadir_key(dir, "token", again, sizeof again), RESULT_OK);
    cr_assert_eq(datadir_key(dir, "refresh", other, sizeof other), RESULT_OK);
    cr_expect_arr_eq(first, again, sizeof first);
    cr_expect_arr_neq(first, other, sizeof first);
    struct stat status;
    cr_assert_eq(stat(scratch_path(&scratch, "keys/token"), &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
    cr_expect_eq(status.st_size, 32);
    cr_assert_eq(truncate(scratch_path(&scratch, "keys/token"), 31), 0);
    cr_expect_eq(datadir_key(dir, "token", again, sizeof again), RESULT_CORRUPT);
    datadir_close(dir);
    scratch_deinit(&scratch);
}
