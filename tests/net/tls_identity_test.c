#include "net/tls_identity.h"
#include "core/check.h"
#include "net/tls_fixture.h"
#include <stdlib.h>
#include <sys/stat.h>

Test(tls_identity, says_what_is_wrong_with_a_file)
{
    char path_certificate[FIXTURE_PATH_SIZE], path_key[FIXTURE_PATH_SIZE];
    static const struct { const char *name, *certificate, *key; enum result want; const char *text; } cases[] = {
        { "a pair",             fixture_certificate,         fixture_key,           RESULT_OK,        "" },
        { "expired",            fixture_certificate_expired, fixture_key,           RESULT_OK,        "expired on 2021-01-01" },
        { "of the future",      fixture_certificate_future,  fixture_key,           RESULT_OK,        "not valid before 2110-01-01" },
        { "not a pair",         fixture_certificate,         fixture_key_other,     RESULT_MALFORMED, "does not belong to" },
        { "no certificate",     "",                          fixture_key,           RESULT_MALFORMED, "there is no certificate" },
        { "garbage",            "hello\n",                   fixture_key,           RESULT_MALFORMED, "there is no certificate" },
        { "files exchanged",    fixture_key,                 fixture_certificate,   RESULT_MALFORMED, "no key that can be used" },
        { "no key",             fixture_certificate,         "",                    RESULT_MALFORMED, "no key that can be used" },
        { "certificate as key", fixture_certificate,         fixture_certificate,   RESULT_MALFORMED, "no key that can be used" },
        { "encrypted key",      fixture_certificate,         fixture_key_encrypted, RESULT_MALFORMED, "is encrypted" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_identity *identity;
        char text[256];
        fixture_write(path_certificate, cases[i].certificate);
        fixture_write(path_key, cases[i].key);
        enum result res = tls_identity_create(&identity, path_certificate, path_key, text, sizeof text);
        cr_expect_eq(res, cases[i].want, "%s: %s", cases[i].name, text);
        cr_expect_not_null(strstr(text, cases[i].text), "%s: %s", cases[i].name, text);
        cr_expect((cases[i].text[0] == '\0') == (text[0] == '\0'), "%s: %s", cases[i].name, text);
        tls_identity_destroy(identity);
        unlink(path_certificate);
        unlink(path_key);
    }
}

Test(tls_identity, names_a_file_that_cannot_be_read, .timeout = 10)
{
    static const struct { const char *path, *text; } cases[] = {
        { "/nowhere/tls.crt", "tls_certificate_file: cannot open /nowhere/tls.crt: No such file" },
        { "/tmp",             "/tmp is not a regular file" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_identity *identity;
        char text[256];
        cr_expect_neq(tls_identity_create(&identity, cases[i].path, "/nowhere/tls.key", text, sizeof text), RESULT_OK);
        cr_expect_null(identity);
        cr_expect_not_null(strstr(text, cases[i].text), "%s", text);
    }
    char pipe[FIXTURE_PATH_SIZE], text[256];
    struct tls_identity *identity;
    fixture_write(pipe, "");
    cr_assert_eq(unlink(pipe), 0);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    cr_expect_neq(tls_identity_create(&identity, pipe, "/nowhere/tls.key", text, sizeof text), RESULT_OK);
    cr_expect_not_null(strstr(text, "is not a regular file"), "%s", text);
    unlink(pipe);
}

Test(tls_identity, a_key_that_others_can_read_is_refused)
{
    char path_certificate[FIXTURE_PATH_SIZE], path_key[FIXTURE_PATH_SIZE], text[512];
    struct tls_identity *identity;
    fixture_write(path_certificate, fixture_certificate);
    fixture_write(path_key, fixture_key);
    cr_assert_eq(chmod(path_certificate, 0644), 0);
    cr_assert_eq(chmod(path_key, 0644), 0);
    cr_expect_eq(tls_identity_create(&identity, path_certificate, path_key, text, sizeof text), RESULT_DENIED);
    cr_expect_not_null(strstr(text, path_key), "%s", text);
    cr_expect_not_null(strstr(text, "Remedy: chmod 6"), "%s", text);
    cr_assert_eq(chmod(path_key, 0600), 0);
    cr_assert_eq(tls_identity_create(&identity, path_certificate, path_key, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(chmod(path_key, 0604), 0);
    cr_expect_eq(tls_identity_reload(identity, text, sizeof text), RESULT_DENIED, "%s", text);
    tls_identity_destroy(identity);
    unlink(path_key);
    unlink(path_certificate);
}

Test(tls_identity, a_reload_that_fails_changes_nothing)
{
    char path_certificate[FIXTURE_PATH_SIZE], path_key[FIXTURE_PATH_SIZE], text[256];
    struct tls_identity *identity;
    fixture_write(path_certificate, fixture_certificate);
    fixture_write(path_key, fixture_key);
    cr_assert_eq(tls_identity_create(&identity, path_certificate, path_key, text, sizeof text), RESULT_OK);
    cr_expect_eq(tls_identity_reload(identity, text, sizeof text), RESULT_OK);
    unlink(path_key);
    cr_expect_eq(tls_identity_reload(identity, text, sizeof text), RESULT_MISSING, "%s", text);
    unlink(path_certificate);
    tls_identity_destroy(identity);
}
