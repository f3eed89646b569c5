/* tests/storage/datadir_test.c - what a data directory refuses, and what it makes. */
#include "storage/datadir.h"
#include "core/check.h"
#include "storage/format.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* As a start does it when nothing refuses the directory. */
static enum result open_settled(struct datadir **dir, const char *path, uint32_t shards_wanted, uint32_t shards_default, char *text, size_t text_size)
{
    enum result result = datadir_open(dir, path, shards_wanted, shards_default, text, text_size);
    return result == RESULT_OK ? datadir_settle(*dir, text, text_size) : result;
}

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
    cr_assert_eq(open_settled(&dir, path, 0, 5, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(datadir_shards(dir), 5);
    cr_expect_eq(strlen(datadir_id(dir)), 32);
    snprintf(id, sizeof id, "%s", datadir_id(dir));
    datadir_close(dir);
    static const uint32_t wanted[] = {0, 5};
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        cr_assert_eq(open_settled(&dir, path, wanted[i], 9, text, sizeof text), RESULT_OK, "%s", text);
        cr_expect_eq(datadir_shards(dir), 5, "the default is for new ones only");
        cr_expect_str_eq(datadir_id(dir), id);
        datadir_close(dir);
    }
    scratch_deinit(&scratch);
}

#define ID "00112233445566778899aabbccddeeff"
#define FORMAT_3 "format=3\nshards=4\nid=" ID "\n"

/* With the line that makes it whole. */
static void put_summed(struct scratch *scratch, const char *name, const char *lines)
{
    char content[FORMAT_SIZE_MAX];
    snprintf(content, sizeof content, "%ssum=%016" PRIx64 "\n", lines, (uint64_t)XXH3_64bits(lines, strlen(lines)));
    put_file(scratch, name, content);
}

static const struct {
    const char *name, *file, *content;
    bool summed;
    uint32_t shards_wanted;
    enum result want;
    const char *says;
} format_cases[] = {
    {"empty directory", NULL, NULL, false, 0, RESULT_OK, ""},
    {"as the version before wrote it", "FORMAT", FORMAT_3, false, 0, RESULT_OK, ""},
    {"the same shard count", "FORMAT", FORMAT_3, false, 4, RESULT_OK, ""},
    {"another shard count", "FORMAT", FORMAT_3, false, 8, RESULT_DENIED, "made with 4 shards, 8 were asked"},
    {"a line of later versions", "FORMAT", "format=4\nshards=4\nid=" ID "\nnote=x\n", true, 0, RESULT_OK, ""},
    {"an older format", "FORMAT", "format=2\nwhatever\n", false, 0, RESULT_UNSUPPORTED,
     "has format 2, this version reads formats 3 to 5; go on with the older version"},
    {"a newer format", "FORMAT", "format=6\nwhatever\n", true, 0, RESULT_UNSUPPORTED, "go on with the newer version"},
    {"a newer format in the copy", "FORMAT.copy", "format=6\nwhatever\n", true, 0, RESULT_UNSUPPORTED, "go on with the newer version"},
    {"a newer format that this version can read", "FORMAT", "format=7\nreadable=4\nshards=4\nid=" ID "\nnote=x\n", true, 0, RESULT_OK, ""},
    {"a newer format that needs a newer version", "FORMAT", "format=7\nreadable=6\nshards=4\nid=" ID "\n", true, 0, RESULT_UNSUPPORTED,
     "has format 7, this version reads formats 3 to 5; go on with the newer version"},
    {"a newer format that says nothing of others", "FORMAT", "format=6\nshards=4\nid=" ID "\n", true, 0, RESULT_UNSUPPORTED, "format 6"},
    {"a newer format that is damaged", "FORMAT", "format=5\nwhatever\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"the number of a format without a checksum, and a checksum", "FORMAT",
     "format=1\nshards=4\nid=" ID "\nsum=0123456789abcdef\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"no checksum", "FORMAT", "format=4\nshards=4\nid=" ID "\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"no format", "FORMAT", "shards=4\nid=" ID "\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"no shards", "FORMAT", "format=4\nid=" ID "\n", true, 0, RESULT_CORRUPT, "damaged"},
    {"no shards", "FORMAT", "format=3\nid=" ID "\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"shards not a number", "FORMAT", "format=3\nshards=4x\nid=" ID "\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"a number written otherwise", "FORMAT", "format=3\nshards=04\nid=" ID "\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"more than that version wrote", "FORMAT", FORMAT_3 "note=x\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"too many shards", "FORMAT", "format=4\nshards=1025\nid=" ID "\n", true, 0, RESULT_CORRUPT, "damaged"},
    {"bad id", "FORMAT", "format=3\nshards=4\nid=00112233445566778899aabbccddeefg\n", false, 0, RESULT_CORRUPT, "damaged"},
    {"cut short", "FORMAT", "form", false, 0, RESULT_CORRUPT, "damaged"},
    {"empty", "FORMAT", "", false, 0, RESULT_CORRUPT, "damaged"},
    {"only the copy, damaged", "FORMAT.copy", "form", false, 0, RESULT_CORRUPT, "damaged"},
    {"foreign directory", "thesis.txt", "precious", false, 0, RESULT_DENIED, "holds \"thesis.txt\" but no FORMAT"},
    {"interrupted first open", "FORMAT.new", "format=", false, 0, RESULT_OK, ""},
    {"interrupted first open, of the copy", "FORMAT.copy.new", "format=", false, 0, RESULT_OK, ""},
    {"too many asked", NULL, NULL, false, 1025, RESULT_TOO_LARGE, "at most 1024"},
};

Test(datadir, refuses_what_it_should_and_says_why)
{
    for (size_t i = 0; i < COUNT_OF(format_cases); i++) {
        struct scratch scratch;
        scratch_init(&scratch);
        if (format_cases[i].summed) put_summed(&scratch, format_cases[i].file, format_cases[i].content);
        else if (format_cases[i].file != NULL) put_file(&scratch, format_cases[i].file, format_cases[i].content);
        struct datadir *dir;
        char text[512] = "";
        cr_expect_eq(open_settled(&dir, scratch.path, format_cases[i].shards_wanted, 2, text, sizeof text), format_cases[i].want,
                     "%s: %s", format_cases[i].name, text);
        cr_expect_neq(strstr(text, format_cases[i].says), NULL, "%s: %s", format_cases[i].name, text);
        cr_expect_eq(dir == NULL, format_cases[i].want != RESULT_OK, "%s", format_cases[i].name);
        if (dir != NULL) datadir_close(dir);
        scratch_deinit(&scratch);
    }
}

/* ---- FORMAT and its copy -------------------------------------------------------------------------------------------- */

static size_t get_file(struct scratch *scratch, const char *name, char content[FORMAT_SIZE_MAX])
{
    memset(content, 0, FORMAT_SIZE_MAX);
    FILE *file = fopen(scratch_path(scratch, name), "r");
    if (file == NULL) return 0;
    size_t len = fread(content, 1, FORMAT_SIZE_MAX - 1, file);
    fclose(file);
    return len;
}

static void put_bytes(struct scratch *scratch, const char *name, const char *bytes, size_t len)
{
    FILE *file = fopen(scratch_path(scratch, name), "w");
    cr_assert_eq(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* Who wrote it last may go on with it. */
Test(datadir, a_newer_format_that_this_version_can_read_stays_what_it_is)
{
    struct scratch scratch;
    scratch_init(&scratch);
    put_summed(&scratch, "FORMAT", "format=6\nreadable=4\nshards=4\nid=" ID "\n");
    struct datadir *dir;
    char text[512] = "", content[FORMAT_SIZE_MAX];
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_not(datadir_upgrades(dir));
    cr_assert_eq(datadir_raise(dir, text, sizeof text), RESULT_OK, "%s", text);
    datadir_close(dir);
    cr_expect_gt(get_file(&scratch, "FORMAT", content), 0);
    cr_expect_eq(strncmp(content, "format=6\nreadable=4\nshards=4\n", 29), 0, "%s", content);
    scratch_deinit(&scratch);
}

/* A directory of four shards; FORMAT's bytes. */
static size_t make_directory(struct scratch *scratch, char content[FORMAT_SIZE_MAX])
{
    struct datadir *dir;
    char text[512];
    scratch_init(scratch);
    cr_assert_eq(open_settled(&dir, scratch->path, 0, 4, text, sizeof text), RESULT_OK, "%s", text);
    datadir_close(dir);
    return get_file(scratch, "FORMAT", content);
}

/* Opens, and both files are `want` afterwards. */
static void expect_healed(struct scratch *scratch, const char *want, const char *what, size_t at)
{
    struct datadir *dir;
    char text[512], content[FORMAT_SIZE_MAX];
    cr_assert_eq(open_settled(&dir, scratch->path, 0, 9, text, sizeof text), RESULT_OK, "%s at %zu: %s", what, at, text);
    cr_expect_eq(datadir_shards(dir), 4, "%s at %zu", what, at);
    datadir_close(dir);
    get_file(scratch, "FORMAT", content);
    cr_expect_str_eq(content, want, "%s at %zu", what, at);
    get_file(scratch, "FORMAT.copy", content);
    cr_expect_str_eq(content, want, "%s at %zu", what, at);
}

Test(datadir, a_flipped_bit_in_one_of_the_two_is_mended_and_in_both_refused)
{
    struct scratch scratch;
    char good[FORMAT_SIZE_MAX], bad[FORMAT_SIZE_MAX], text[512];
    size_t len = make_directory(&scratch, good);
    for (size_t bit = 0; bit < len * 8; bit++) {
        memcpy(bad, good, len);
        bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
        put_bytes(&scratch, "FORMAT", bad, len);
        expect_healed(&scratch, good, "bit of FORMAT", bit);
        put_bytes(&scratch, "FORMAT.copy", bad, len);
        expect_healed(&scratch, good, "bit of FORMAT.copy", bit);
        put_bytes(&scratch, "FORMAT", bad, len);
        put_bytes(&scratch, "FORMAT.copy", bad, len);
        struct datadir *dir;
        cr_expect_eq(open_settled(&dir, scratch.path, 0, 9, text, sizeof text), RESULT_CORRUPT, "bit %zu", bit);
        put_bytes(&scratch, "FORMAT", good, len);
        put_bytes(&scratch, "FORMAT.copy", good, len);
    }
    scratch_deinit(&scratch);
}

Test(datadir, a_file_that_is_torn_missing_or_half_made_is_made_again)
{
    struct scratch scratch;
    char good[FORMAT_SIZE_MAX];
    static const char *const names[] = {"FORMAT", "FORMAT.copy", "FORMAT.new", "FORMAT.copy.new"};
    size_t len = make_directory(&scratch, good);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (size_t at = 0; at < len; at++) {
            put_bytes(&scratch, names[i], good, at);
            expect_healed(&scratch, good, names[i], at);
        }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(unlink(scratch_path(&scratch, names[i])), 0);
        expect_healed(&scratch, good, "missing", i);
    }
    scratch_deinit(&scratch);
}

Test(datadir, two_of_different_directories_are_refused)
{
    struct scratch scratch, other;
    char good[FORMAT_SIZE_MAX], foreign[FORMAT_SIZE_MAX], text[512];
    make_directory(&scratch, good);
    size_t len = make_directory(&other, foreign);
    put_bytes(&scratch, "FORMAT.copy", foreign, len);
    struct datadir *dir;
    cr_expect_eq(open_settled(&dir, scratch.path, 0, 9, text, sizeof text), RESULT_CORRUPT);
    cr_expect_neq(strstr(text, "of two different directories"), NULL, "%s", text);
    scratch_deinit(&other);
    scratch_deinit(&scratch);
}

/* So that the version before, which cannot read what is written from now on, refuses it: its own reader looks at the first line. */
Test(datadir, the_format_before_becomes_the_newest_also_after_a_crash_between_the_two)
{
    struct scratch scratch;
    char content[FORMAT_SIZE_MAX], copy[FORMAT_SIZE_MAX], text[512];
    scratch_init(&scratch);
    for (int crashed = 0; crashed < 2; crashed++) {
        put_file(&scratch, "FORMAT", FORMAT_3);
        struct datadir *dir;
        cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK, "%s", text);
        cr_expect_eq(datadir_shards(dir), 4);
        cr_expect_str_eq(datadir_id(dir), ID);
        datadir_close(dir);
        get_file(&scratch, "FORMAT", content);
        get_file(&scratch, "FORMAT.copy", copy);
        cr_expect_eq(strncmp(content, "format=5\n", 9), 0, "%s", content);
        cr_expect_str_eq(content, copy);
    }
    scratch_deinit(&scratch);
}

Test(datadir, a_foreign_directory_stays_untouched)
{
    struct scratch scratch;
    scratch_init(&scratch);
    put_file(&scratch, "thesis.txt", "precious");
    struct datadir *dir;
    char text[512];
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_DENIED);
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
        if (open_settled(&dir, path, 0, 2, text, sizeof text) != RESULT_OK || write(opened[1], &byte, 1) != 1) _exit(1);
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
    cr_expect_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_BUSY);
    cr_expect_neq(strstr(text, pid_text), NULL, "%s", text);
    close(release_fd);
    /* Whether the holder is gone yet or not: an open waits for it. */
    cr_expect_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK, "%s", text);
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
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK);
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

Test(datadir, what_is_no_key_is_refused, .timeout = 10)
{
    static const struct {
        const char *name;
        size_t len;
        uint8_t step; /* from byte to byte */
        mode_t mode;
        enum result want;
        const char *want_text;
    } cases[] = {
        {"as drawn", 32, 7, 0600, RESULT_OK, ""},
        {"empty", 0, 7, 0600, RESULT_CORRUPT, "has fewer than 32 bytes"},
        {"cut", 31, 7, 0600, RESULT_CORRUPT, "has fewer than 32 bytes"},
        {"too long", 33, 7, 0600, RESULT_CORRUPT, "has more than 32 bytes"},
        {"zeros", 32, 0, 0600, RESULT_CORRUPT, "nearly all its bytes are the same"},
        {"readable for all", 32, 7, 0644, RESULT_DENIED, "chmod 600"},
        {"readable for all, and zeros", 32, 0, 0644, RESULT_CORRUPT, "nearly all its bytes are the same"},
    };
    struct scratch scratch;
    scratch_init(&scratch);
    struct datadir *dir;
    char text[512];
    uint8_t key[32];
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK);
    cr_assert_eq(datadir_key(dir, "token", key, sizeof key, text, sizeof text), RESULT_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[40];
        for (size_t n = 0; n < sizeof bytes; n++) bytes[n] = (uint8_t)(n * cases[i].step);
        int fd = open(scratch_path(&scratch, "keys/token"), O_WRONLY | O_TRUNC);
        cr_assert_eq(write(fd, bytes, cases[i].len), (ssize_t)cases[i].len);
        cr_assert_eq(fchmod(fd, cases[i].mode), 0);
        close(fd);
        text[0] = '\0';
        cr_expect_eq(datadir_key(dir, "token", key, sizeof key, text, sizeof text), cases[i].want, "%s: %s", cases[i].name, text);
        cr_expect_not_null(strstr(text, cases[i].want_text), "%s: %s", cases[i].name, text);
        cr_expect(cases[i].want == RESULT_OK || strstr(text, "keys/token") != NULL, "%s: %s", cases[i].name, text);
        char seen[512] = "";
        cr_expect_eq(datadir_look_at_key(scratch.path, "token", sizeof key, seen, sizeof seen), cases[i].want, "%s: %s", cases[i].name, seen);
        cr_expect_str_eq(seen, text);
    }
    const char *file = scratch_path(&scratch, "keys/token");
    for (int is_pipe = 0; is_pipe < 2; is_pipe++) { /* nobody writes to the pipe: who opened it to read would wait for ever */
        cr_assert_eq(remove(file), 0);
        cr_assert_eq(is_pipe ? mkfifo(file, 0600) : mkdir(file, 0700), 0);
        cr_expect_eq(datadir_key(dir, "token", key, sizeof key, text, sizeof text), RESULT_CORRUPT, "%s", text);
        cr_expect_not_null(strstr(text, "keys/token is not a regular file"), "%s", text);
        cr_expect_eq(datadir_look_at_key(scratch.path, "token", sizeof key, text, sizeof text), RESULT_CORRUPT, "%s", text);
    }
    datadir_close(dir);
    scratch_deinit(&scratch);
}

Test(datadir, small_files_that_are_pipes_are_not_waited_for, .timeout = 10)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct datadir *dir;
    char text[512];
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK);
    datadir_close(dir);
    static const char *const names[] = {"LOCK", "FORMAT"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *file = scratch_path(&scratch, names[i]);
        cr_assert_eq(remove(file), 0);
        cr_assert_eq(mkfifo(file, 0600), 0);
    }
    cr_assert_eq(datadir_inspect(&dir, scratch.path, text, sizeof text), RESULT_OK, "%s", text);
    datadir_close(dir);
    cr_assert_eq(remove(scratch_path(&scratch, "LOCK")), 0);
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK, "%s", text);
    datadir_close(dir);
    struct stat status;
    cr_assert_eq(stat(scratch_path(&scratch, "FORMAT"), &status), 0);
    cr_expect(S_ISREG(status.st_mode), "it is mended from its copy");
    scratch_deinit(&scratch);
}

Test(datadir, keys_are_made_once_and_private)
{
    struct scratch scratch;
    scratch_init(&scratch);
    struct datadir *dir;
    char text[256];
    uint8_t first[32], again[32], other[32];
    cr_assert_eq(open_settled(&dir, scratch.path, 0, 2, text, sizeof text), RESULT_OK);
    cr_expect_eq(datadir_look_at_key(scratch.path, "token", sizeof first, text, sizeof text), RESULT_OK, "it will be made");
    cr_assert_eq(datadir_key(dir, "token", first, sizeof first, text, sizeof text), RESULT_OK);
    cr_assert_eq(datadir_key(dir, "token", again, sizeof again, text, sizeof text), RESULT_OK);
    cr_assert_eq(datadir_key(dir, "refresh", other, sizeof other, text, sizeof text), RESULT_OK);
    cr_expect_arr_eq(first, again, sizeof first);
    cr_expect_arr_neq(first, other, sizeof first);
    struct stat status;
    cr_assert_eq(stat(scratch_path(&scratch, "keys/token"), &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
    cr_expect_eq(status.st_size, 32);
    datadir_close(dir);
    scratch_deinit(&scratch);
}

static void expect_file(struct scratch *scratch, const char *name, const char *content, const char *when)
{
    char found[FORMAT_SIZE_MAX + 1] = "";
    FILE *file = fopen(scratch_path(scratch, name), "r");
    if (content == NULL) cr_expect_null(file, "%s: %s is there", when, name);
    else cr_assert_not_null(file, "%s: %s", when, name);
    if (file == NULL) return;
    size_t len = fread(found, 1, sizeof found - 1, file);
    found[len] = '\0';
    fclose(file);
    cr_expect_str_eq(found, content == NULL ? "" : content, "%s: %s", when, name);
}

Test(datadir, an_open_writes_nothing_before_it_is_settled)
{
    static const struct {
        const char *name, *format, *copy;
        bool upgrades;
    } cases[] = {
        {"a new one", NULL, NULL, false},
        {"of the format before", FORMAT_3, NULL, true},
        {"damaged in one of two", "rubbish", FORMAT_3, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct scratch scratch;
        struct datadir *dir;
        char text[512] = "";
        scratch_init(&scratch);
        if (cases[i].format != NULL) put_file(&scratch, "FORMAT", cases[i].format);
        if (cases[i].copy != NULL) put_file(&scratch, "FORMAT.copy", cases[i].copy);
        cr_assert_eq(datadir_open(&dir, scratch.path, 0, 4, text, sizeof text), RESULT_OK, "%s: %s", cases[i].name, text);
        cr_expect_eq(datadir_shards(dir), 4);
        cr_expect_eq(datadir_upgrades(dir), cases[i].upgrades, "%s", cases[i].name);
        expect_file(&scratch, "FORMAT", cases[i].format, cases[i].name);
        expect_file(&scratch, "FORMAT.copy", cases[i].copy, cases[i].name);
        cr_expect_eq(access(scratch_path(&scratch, "shard-0000"), F_OK), -1, "%s", cases[i].name);
        cr_assert_eq(datadir_settle(dir, text, sizeof text), RESULT_OK, "%s: %s", cases[i].name, text);
        cr_expect_not(datadir_upgrades(dir), "%s", cases[i].name);
        cr_expect_eq(access(scratch_path(&scratch, "shard-0003"), F_OK), 0, "%s", cases[i].name);
        struct datadir_seen seen;
        cr_assert_eq(datadir_look(scratch.path, 0, &seen, text, sizeof text), RESULT_OK, "%s: %s", cases[i].name, text);
        cr_expect_eq(seen.format, DATADIR_FORMAT, "%s", cases[i].name);
        datadir_close(dir);
        scratch_deinit(&scratch);
    }
}

Test(datadir, whoever_inspects_keeps_servers_out_and_nobody_else)
{
    struct scratch scratch;
    scratch_init(&scratch);
    char path[PATH_MAX], text[512] = "";
    struct datadir *dir, *first, *second;
    snprintf(path, sizeof path, "%s", scratch_path(&scratch, "data"));
    cr_assert_eq(datadir_inspect(&first, path, text, sizeof text), RESULT_MISSING);
    cr_expect_eq(access(path, F_OK), -1);
    cr_assert_eq(open_settled(&dir, path, 3, 0, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(datadir_raise(dir, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(datadir_inspect(&first, path, text, sizeof text), RESULT_BUSY);
    cr_expect_not_null(strstr(text, "open in another process"), "%s", text);
    datadir_close(dir);
    cr_assert_eq(datadir_inspect(&first, path, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(datadir_inspect(&second, path, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(datadir_shards(first), 3);
    cr_expect_eq(datadir_run(first), 1);
    datadir_close(first);
    cr_assert_eq(open_settled(&dir, path, 0, 3, text, sizeof text), RESULT_BUSY);
    datadir_close(second);
    put_file(&scratch, "data/shard-0001/IDENTITY", "rotten");
    cr_assert_eq(unlink(scratch_path(&scratch, "data/shard-0001/IDENTITY.copy")), 0);
    cr_assert_eq(datadir_inspect(&first, path, text, sizeof text), RESULT_CORRUPT);
    cr_expect_not_null(strstr(text, "shard-0001 IDENTITY is damaged"), "%s", text);
    scratch_deinit(&scratch);
}

Test(datadir, a_look_says_the_same_and_makes_nothing)
{
    struct scratch scratch;
    scratch_init(&scratch);
    char path[PATH_MAX], text[512] = "";
    struct datadir_seen seen = {9, 9};
    snprintf(path, sizeof path, "%s", scratch_path(&scratch, "data"));
    cr_assert_eq(datadir_look(path, 0, &seen, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(seen.shards, 0, "still to be made");
    cr_expect_eq(seen.format, 0);
    cr_expect_eq(access(path, F_OK), -1);
    struct datadir *dir;
    cr_assert_eq(open_settled(&dir, path, 3, 0, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(datadir_look(path, 0, &seen, text, sizeof text), RESULT_OK, "also while it is open: %s", text);
    cr_expect_eq(seen.shards, 3);
    cr_expect_eq(seen.format, DATADIR_FORMAT);
    cr_assert_eq(datadir_look(path, 4, &seen, text, sizeof text), RESULT_DENIED);
    cr_expect_not_null(strstr(text, "made with 3 shards, 4 were asked"), "%s", text);
    datadir_close(dir);
    cr_assert_eq(datadir_look(scratch_path(&scratch, "data/FORMAT"), 0, &seen, text, sizeof text), RESULT_MISSING);
    cr_assert_neq(datadir_look("/nowhere/data", 0, &seen, text, sizeof text), RESULT_OK);
    cr_expect_not_null(strstr(text, "/nowhere/data: cannot be created"), "%s", text);
    put_file(&scratch, "thesis.txt", "precious");
    snprintf(path, sizeof path, "%s", scratch_path(&scratch, "thesis.txt"));
    *strrchr(path, '/') = '\0';
    cr_assert_eq(datadir_look(path, 0, &seen, text, sizeof text), RESULT_DENIED);
    cr_expect_not_null(strstr(text, "not a Ringpost directory"), "%s", text);
    scratch_deinit(&scratch);
}
