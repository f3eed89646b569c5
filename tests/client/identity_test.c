/* tests/client/identity_test.c - what is kept between runs, and two processes that share it. */
#include "client/identity.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char state_dir[64], text[512];

static void make_state_dir(void)
{
    snprintf(state_dir, sizeof state_dir, "/tmp/ringpost-session-test-XXXXXX");
    cr_assert_not_null(mkdtemp(state_dir));
    cr_assert_eq(setenv("XDG_STATE_HOME", state_dir, 1), 0);
}

static void remove_state_dir(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", state_dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(identity, .init = make_state_dir, .fini = remove_state_dir);

static void open_identity(struct identity *identity)
{
    cr_assert_eq(identity_open(identity, "127.0.0.1:7800", "", text, sizeof text), RESULT_OK, "%s", text);
}

static void save_user(struct identity *identity, uint64_t user_id)
{
    identity_set_user(identity, user_id, "alice", "Älice \"A\"");
    cr_assert_eq(identity_set_tokens(identity, "access", UINT64_MAX, "refresh", 12), RESULT_OK);
    cr_assert_eq(identity_lock(identity, false), RESULT_OK);
    cr_assert_eq(identity_save(identity), RESULT_OK);
    identity_unlock(identity);
}

Test(identity, a_new_device_gets_an_id_and_nobody_is_logged_in)
{
    struct identity first, second;
    open_identity(&first);
    open_identity(&second);
    cr_expect_not(identity_is_logged_in(&first));
    cr_expect_eq(strlen(first.device_id), 20);
    cr_expect_str_neq(first.device_id, second.device_id, "nothing was saved: each is new");
}

Test(identity, comes_back_as_it_was_saved_and_private)
{
    struct identity saved, read;
    struct stat status;
    open_identity(&saved);
    save_user(&saved, UINT64_MAX);
    cr_assert_eq(identity_advance(&saved, UINT64_MAX - 1, "3-aa", true), RESULT_OK);
    open_identity(&read);
    cr_expect(identity_is_logged_in(&read));
    cr_expect_eq(read.user_id, UINT64_MAX);
    cr_expect_str_eq(read.device_id, saved.device_id);
    cr_expect_str_eq(read.name, "alice");
    cr_expect_str_eq(read.display_name, "Älice \"A\"");
    cr_expect_str_eq(read.access_token, "access");
    cr_expect_eq(read.access_expires_ms, UINT64_MAX);
    cr_expect_str_eq(read.refresh_token, "refresh");
    cr_expect_eq(read.refresh_expires_ms, 12);
    cr_expect_eq(read.sync_key, UINT64_MAX - 1);
    cr_assert_eq(stat(read.path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
}

Test(identity, names_that_could_leave_the_directory_are_refused)
{
    static const struct { const char *server, *profile; enum result want; } cases[] = {
        {"localhost:1", "", RESULT_OK},           {"[::1]:7800", "work", RESULT_OK},
        {"../x:1", "", RESULT_MALFORMED},         {"host/x:1", "", RESULT_MALFORMED},
        {"localhost:1", "../x", RESULT_MALFORMED}, {"localhost:1", "a/b", RESULT_MALFORMED},
        {"localhost:1", ".hidden", RESULT_MALFORMED}, {"localhost:1", "a name", RESULT_MALFORMED},
        {"localhost:1", "123456789012345678901234567890123", RESULT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct identity identity;
        cr_expect_eq(identity_open(&identity, cases[i].server, cases[i].profile, text, sizeof text), cases[i].want, "row %zu", i);
    }
}

Test(identity, profiles_and_servers_have_files_of_their_own)
{
    struct identity first_identity, other;
    open_identity(&first_identity);
    save_user(&first_identity, 5);
    cr_assert_eq(identity_open(&other, "127.0.0.1:7800", "bob", text, sizeof text), RESULT_OK);
    cr_expect_not(identity_is_logged_in(&other));
    cr_assert_eq(identity_open(&other, "127.0.0.1:7801", "", text, sizeof text), RESULT_OK);
    cr_expect_not(identity_is_logged_in(&other));
}

Test(identity, a_file_that_is_no_identity_is_reported)
{
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"device_id\": \"x\"}",
        "{\"device_id\":\"d\",\"user_id\":\"-1\",\"name\":\"\",\"display_name\":\"\",\"access_token\":\"\",\"access_expires_ms\":\"0\","
        "\"refresh_token\":\"\",\"refresh_expires_ms\":\"0\",\"sync_key\":\"0\"}"};
    struct identity identity;
    open_identity(&identity);
    save_user(&identity, 5);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        FILE *file = fopen(identity.path, "w");
        cr_assert_not_null(file);
        fputs(bad[i], file);
        fclose(file);
        struct identity read;
        cr_expect_eq(identity_open(&read, "127.0.0.1:7800", "", text, sizeof text), RESULT_CORRUPT, "row %zu", i);
        cr_expect_not_null(strstr(text, identity.path));
    }
}

Test(identity, a_file_that_others_can_read_is_refused)
{
    struct identity identity, read;
    open_identity(&identity);
    save_user(&identity, 7);
    cr_assert_eq(chmod(identity.path, 0640), 0);
    cr_expect_eq(identity_open(&read, "127.0.0.1:7800", "", text, sizeof text), RESULT_DENIED);
    cr_expect_not_null(strstr(text, "chmod 600"), "%s", text);
}

Test(identity, the_position_never_goes_back)
{
    struct identity first, second;
    open_identity(&first);
    save_user(&first, 5);
    open_identity(&second);
    cr_assert_eq(identity_advance(&second, 10, "3-aa", true), RESULT_OK);
    cr_assert_eq(identity_advance(&first, 7, "3-aa", true), RESULT_OK);
    cr_expect_eq(first.sync_key, 10, "what the other process wrote is taken over");
    struct identity read;
    open_identity(&read);
    cr_expect_eq(read.sync_key, 10);
    cr_expect_str_eq(read.stream_epoch, "3-aa");
}

Test(identity, a_stream_that_begins_anew_moves_the_position_back_once)
{
    struct identity first, second, read;
    open_identity(&first);
    save_user(&first, 5);
    cr_assert_eq(identity_advance(&first, 10, "3-aa", true), RESULT_OK);
    open_identity(&second);
    cr_assert_eq(identity_move(&first, 4, "3-bb", true), RESULT_OK);
    cr_assert_eq(identity_advance(&first, 8, "3-bb", true), RESULT_OK);
    cr_assert_eq(identity_move(&second, 4, "3-bb", true), RESULT_OK);
    cr_expect_eq(second.sync_key, 8, "the other process has moved it already, and on from there");
    cr_assert_eq(identity_advance(&first, 8, "4-cc", true), RESULT_OK);
    open_identity(&read);
    cr_expect_eq(read.sync_key, 8);
    cr_expect_str_eq(read.stream_epoch, "4-cc");
}

Test(identity, another_login_starts_with_no_position)
{
    struct identity identity, stale;
    open_identity(&identity);
    save_user(&identity, 5);
    cr_assert_eq(identity_advance(&identity, 10, "3-aa", true), RESULT_OK);
    open_identity(&stale);
    save_user(&identity, 6);
    cr_assert_eq(identity_advance(&stale, 99, "3-aa", true), RESULT_OK);
    struct identity read;
    open_identity(&read);
    cr_expect_eq(read.user_id, 6);
    cr_expect_eq(read.sync_key, 0, "the position of the person before must not be written into it");
}

Test(identity, one_holds_the_lock)
{
    struct identity first, second;
    open_identity(&first);
    open_identity(&second);
    cr_assert_eq(identity_lock(&first, false), RESULT_OK);
    cr_expect_eq(identity_lock(&second, false), RESULT_BUSY);
    cr_expect_eq(identity_advance(&second, 1, "3-aa", false), RESULT_BUSY);
    identity_close(&first);
    cr_expect_eq(identity_lock(&second, false), RESULT_OK);
    identity_close(&second);
}

Test(identity, a_token_longer_than_a_token_is_refused)
{
    static char long_token[TOKEN_SIZE_MAX + 2];
    memset(long_token, 'x', TOKEN_SIZE_MAX + 1);
    struct identity identity;
    open_identity(&identity);
    cr_expect_eq(identity_set_tokens(&identity, long_token, 1, "r", 1), RESULT_TOO_LARGE);
    cr_expect_eq(identity_set_tokens(&identity, "a", 1, long_token, 1), RESULT_TOO_LARGE);
}
