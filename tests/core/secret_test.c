/* tests/core/secret_test.c - which files are private, which bytes are a key. */
#include "core/secret.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOMEBODY 12345

Test(secret, a_file_is_private_or_refused_with_the_remedy)
{
    bool root = geteuid() == 0;
    const struct {
        const char *name;
        mode_t mode;
        uid_t user; /* 0: ours */
        enum secret_owner owner;
        enum result want;
        const char *want_text;
    } cases[] = {
        {"ours alone", 0600, 0, SECRET_OURS, RESULT_OK, ""},
        {"ours, read only", 0400, 0, SECRET_OURS, RESULT_OK, ""},
        {"the group may read", 0640, 0, SECRET_OURS, RESULT_DENIED, "mode 0640: others can read or change it. Remedy: chmod 600"},
        {"all may read", 0644, 0, SECRET_OURS, RESULT_DENIED, "chmod 600"},
        {"all may write", 0602, 0, SECRET_OURS, RESULT_DENIED, "chmod 600"},
        {"put there, ours alone", 0600, 0, SECRET_OURS_OR_ROOT, RESULT_OK, ""},
        {"put there, all may read", 0604, 0, SECRET_OURS_OR_ROOT, RESULT_DENIED, "chmod 600"},
        {"root's, the group may read", 0640, 0, SECRET_OURS_OR_ROOT, root ? RESULT_OK : RESULT_DENIED, ""},
        {"root's, the group may write", 0660, 0, SECRET_OURS_OR_ROOT, RESULT_DENIED, root ? "chmod 640" : "chmod 600"},
        {"somebody's", 0600, SOMEBODY, SECRET_OURS, RESULT_DENIED, "belongs to user 12345"},
        {"put there, somebody's", 0600, SOMEBODY, SECRET_OURS_OR_ROOT, RESULT_DENIED, "belongs to user 12345"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[] = "/tmp/ringpost-secret-XXXXXX", text[512] = "";
        int fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        cr_assert_eq(fchmod(fd, cases[i].mode), 0);
        bool can = cases[i].user == 0 || (root && fchown(fd, cases[i].user, (gid_t)-1) == 0);
        if (can) {
            cr_expect_eq(secret_check_file(fd, path, cases[i].owner, text, sizeof text), cases[i].want, "%s: %s", cases[i].name, text);
            cr_expect_not_null(strstr(text, cases[i].want_text), "%s: %s", cases[i].name, text);
        }
        close(fd);
        unlink(path);
    }
    char text[512] = "";
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY);
    cr_expect_eq(secret_check_file(fd, "/tmp", SECRET_OURS, text, sizeof text), RESULT_MALFORMED);
    close(fd);
}

Test(secret, bytes_that_nobody_drew_are_no_key)
{
    uint8_t zeros[32] = {0}, ones[32], seven[32], eight[32], text[32];
    memset(ones, 0xff, sizeof ones);
    for (uint8_t i = 0; i < 32; i++) {
        seven[i] = i % 7;
        eight[i] = i % 8;
    }
    memcpy(text, "0123456789abcdef0123456789abcdef", sizeof text);
    const struct {
        const char *name;
        struct slice key;
        bool want;
    } cases[] = {{"nothing", SLICE_EMPTY, false},
                 {"zeros", slice_of(zeros, 32), false},
                 {"ones", slice_of(ones, 32), false},
                 {"seven values", slice_of(seven, 32), false},
                 {"eight values", slice_of(eight, 32), true},
                 {"digits", slice_of(text, 32), true}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) cr_expect_eq(secret_is_random(cases[i].key), cases[i].want, "%s", cases[i].name);
}
