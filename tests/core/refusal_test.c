/* tests/core/refusal_test.c - a refusal's line, that a peer cannot forge one, that a flood is counted and not written. */
#include "core/refusal.h"
#include "core/check.h"
#include "core/log_capture.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct in6_addr address_of(const char *text)
{
    struct in6_addr address;
    cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
    return address;
}

static char *line_of(const char *address, const char *user)
{
    struct in6_addr peer = address_of(address);
    capture_start();
    refusal_note(REFUSAL_WRONG_PASSWORD, &peer, "user=%s", refusal_text(slice_of(user, (uint32_t)strlen(user))).text);
    return capture_end();
}

Test(refusal, a_line_names_reason_address_and_what_was_said)
{
    static const struct {
        const char *name, *address, *user, *want;
    } cases[] = {
        {"IPv4", "::ffff:192.0.2.7", "alice", "message=refused reason=wrong_password address=192.0.2.7 user=alice\n"},
        {"IPv6", "2001:db8::7", "bob", "message=refused reason=wrong_password address=2001:db8::7 user=bob\n"},
        {"another address is not forged", "::ffff:192.0.2.7", "x address=192.0.2.8",
         "reason=wrong_password address=192.0.2.7 user=x?address?192.0.2.8\n"},
        {"nor another line", "::ffff:192.0.2.7", "x\nlevel=info", "address=192.0.2.7 user=x?level?info\n"},
        {"nor a quoted value", "::ffff:192.0.2.7", "\"\\", "address=192.0.2.7 user=??\n"},
        {"nothing was said", "::ffff:192.0.2.7", "", "address=192.0.2.7 user=-\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *got = line_of(cases[i].address, cases[i].user);
        cr_expect(strstr(got, cases[i].want) != NULL, "%s: %s", cases[i].name, got);
        free(got);
    }
}

Test(refusal, a_long_text_is_cut)
{
    uint8_t bytes[REFUSAL_TEXT_MAX + 1];
    memset(bytes, 'a', sizeof bytes);
    struct refusal_text whole = refusal_text(slice_of(bytes, REFUSAL_TEXT_MAX)), cut = refusal_text(slice_of(bytes, sizeof bytes));
    cr_assert_eq(strlen(whole.text), REFUSAL_TEXT_MAX);
    cr_assert_eq(strlen(cut.text), REFUSAL_TEXT_MAX + 3);
    cr_assert_str_eq(cut.text + REFUSAL_TEXT_MAX, "...");
}

/* Until a second is over, so that a line says what the one before left out; then all are written or said to be left out. */
Test(refusal, a_flood_is_counted_and_its_lines_are_few)
{
    uint64_t before = refusal_count(REFUSAL_TOKEN), noted = 0, lines = 0, left_out = 0;
    while (left_out == 0) {
        capture_start();
        refusal_note(REFUSAL_TOKEN, NULL, "%s", "");
        char *got = capture_end();
        noted++;
        if (got[0] != '\0') lines++;
        const char *unwritten = strstr(got, "unwritten=");
        if (unwritten != NULL) cr_assert_eq(sscanf(unwritten, "unwritten=%lu", &left_out), 1);
        free(got);
    }
    cr_assert_eq(refusal_count(REFUSAL_TOKEN) - before, noted);
    cr_assert_eq(lines + left_out, noted);
    cr_assert_leq(lines, 2 * REFUSAL_LINES_PER_SECOND + 1);
}
