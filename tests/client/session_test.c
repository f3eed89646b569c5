/* tests/client/session_test.c - what is kept between runs, and two processes that share it. */
#include "client/session.h"
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

TestSuite(session, .init = make_state_dir, .fini = remove_state_dir);

static void open_session(struct session *session)
{
    cr_assert_eq(session_open(session, "127.0.0.1:7800", "", text, sizeof text), RESULT_OK, "%s", text);
}

static void save_user(struct session *session, uint64_t user_id)
{
    session_set_user(session, user_id, "alice", "Älice \"A\"");
    cr_assert_eq(session_set_tokens(session, "access", UINT64_MAX, "refresh", 12), RESULT_OK);
    cr_assert_eq(session_lock(session, false), RESULT_OK);
    cr_assert_eq(session_save(session), RESULT_OK);
    session_unlock(session);
}

Test(session, a_new_device_gets_an_id_and_nobody_is_logged_in)
{
    struct session first, second;
    open_session(&first);
    open_session(&second);
    cr_expect_not(session_is_logged_in(&first));
    cr_expect_eq(strlen(first.device_id), 20);
    cr_expect_str_neq(first.device_id, second.device_id, "nothing was saved: each is new");
}

Test(session, comes_back_as_it_was_saved_and_private)
{
    struct session saved, read;
    struct stat status;
    open_session(&saved);
    save_user(&saved, UINT64_MAX);
    cr_assert_eq(session_advance(&saved, UINT64_MAX - 1, true), RESULT_OK);
    open_session(&read);
    cr_expect(session_is_logged_in(&read));
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

Test(session, names_that_could_leave_the_directory_are_refused)
{
    static const struct { const char *server, *profile; enum result want; } cases[] = {
        {"localhost:1", "", RESULT_OK},           {"[::1]:7800", "work", RESULT_OK},
        {"../x:1", "", RESULT_MALFORMED},         {"host/x:1", "", RESULT_MALFORMED},
        {"localhost:1", "../x", RESULT_MALFORMED}, {"localhost:1", "a/b", RESULT_MALFORMED},
        {"localhost:1", ".hidden", RESULT_MALFORMED}, {"localhost:1", "a name", RESULT_MALFORMED},
        {"localhost:1", "123456789012345678901234567890123", RESULT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct session session;
        cr_expect_eq(session_open(&session, cases[i].server, cases[i].profile, text, sizeof text), cases[i].want, "row %zu", i);
    }
}

Test(session, profiles_and_servers_have_files_of_their_own)
{
    struct session main_session, other;
    open_session(&main_session);
    save_user(&main_session, 5);
    cr_assert_eq(session_open(&other, "127.0.0.1:7800", "bob", text, sizeof text), RESULT_OK);
    cr_expect_not(session_is_logged_in(&other));
    cr_assert_eq(session_open(&other, "127.0.0.1:7801", "", text, sizeof text), RESULT_OK);
    cr_expect_not(session_is_logged_in(&other));
}

Test(session, a_file_that_is_no_session_is_reported)
{
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"device_id\": \"x\"}",
        "{\"device_id\":\"d\",\"user_id\":\"-1\",\"name\":\"\",\"display_name\":\"\",\"access_token\":\"\",\"access_expires_ms\":\"0\","
        "\"refresh_token\":\"\",\"refresh_expires_ms\":\"0\",\"sync_key\":\"0\"}"};
    struct session session;
    open_session(&session);
    save_user(&session, 5);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        FILE *file = fopen(session.path, "w");
        cr_assert_not_null(file);
        fputs(bad[i], file);
        fclose(file);
        struct session read;
        cr_expect_eq(session_open(&read, "127.0.0.1:7800", "", text, sizeof text), RESULT_CORRUPT, "row %zu", i);
        cr_expect_not_null(strstr(text, session.path));
    }
}

Test(session, the_position_never_goes_back)
{
    struct session first, second;
    open_session(&first);
    save_user(&first, 5);
    open_session(&second);
    cr_assert_eq(session_advance(&second, 10, true), RESULT_OK);
    cr_assert_eq(session_advance(&first, 7, true), RESULT_OK);
    cr_expect_eq(first.sync_key, 10, "what the other process wrote is taken over");
    struct session read;
    open_session(&read);
    cr_expect_eq(read.sync_key, 10);
}

Test(session, another_login_starts_with_no_position)
{
    struct session session, stale;
    open_session(&session);
    save_user(&session, 5);
    cr_assert_eq(session_advance(&session, 10, true), RESULT_OK);
    open_session(&stale);
    save_user(&session, 6);
    cr_assert_eq(session_advance(&stale, 99, true), RESULT_OK);
    struct session read;
    open_session(&read);
    cr_expect_eq(read.user_id, 6);
    cr_expect_eq(read.sync_key, 0, "the position of the person before must not be written into it");
}

Test(session, one_holds_the_lock)
{
    struct session first, second;
    open_session(&first);
    open_session(&second);
    cr_assert_eq(session_lock(&first, false), RESULT_OK);
    cr_expect_eq(session_lock(&second, false), RESULT_BUSY);
    cr_expect_eq(session_advance(&second, 1, false), RESULT_BUSY);
    session_close(&first);
    cr_expect_eq(session_lock(&second, false), RESULT_OK);
    session_close(&second);
}

Test(session, a_token_longer_than_a_token_is_refused)
{
    static char long_token[TOKEN_SIZE_MAX + 2];
    memset(long_token, 'x', TOKEN_SIZE_MAX + 1);
    struct session session;
    open_session(&session);
    cr_expect_eq(session_set_tokens(&session, long_token, 1, "r", 1), RESULT_TOO_LARGE);
    cr_expect_eq(session_set_tokens(&session, "a", 1, long_token, 1), RESULT_TOO_LARGE);
}
