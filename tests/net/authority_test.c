#include "net/authority.h"
#include "core/check.h"
#include <criterion/criterion.h>

Test(authority, hosts_and_ports)
{
    static const struct {
        const char *text, *host; /* host NULL: none */
        uint16_t port;
    } cases[] = {
        {"x", "x", 0},
        {"Chat.example.com:443", "Chat.example.com", 443},
        {"x:", "x", 0},
        {"127.0.0.1:7800", "127.0.0.1", 7800},
        {"[::1]", "[::1]", 0},
        {"[2001:db8::1]:65535", "[2001:db8::1]", 65535},
        {"", NULL, 0},
        {":80", NULL, 0},
        {"x:0", NULL, 0},
        {"x:65536", NULL, 0},
        {"x:123456", NULL, 0},
        {"x:8o", NULL, 0},
        {"a b", NULL, 0},
        {"a,b", NULL, 0},
        {"a%20b", NULL, 0},
        {"u@x", NULL, 0},
        {"x/", NULL, 0},
        {"::1", NULL, 0},
        {"[]", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]x", NULL, 0},
        {"[fe80::1%25eth0]", NULL, 0},
        {"[1.2.3.4]", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct authority authority;
        bool parsed = authority_parse(&authority, slice_text(cases[i].text));
        cr_assert_eq(parsed, cases[i].host != NULL, "%s", cases[i].text);
        if (!parsed) continue;
        cr_expect(slice_equal(authority.host, slice_text(cases[i].host)), "%s", cases[i].text);
        cr_expect_eq(authority.port, cases[i].port, "%s", cases[i].text);
    }
}

Test(authority, origins_are_compared_as_origins)
{
    static const struct {
        const char *one, *other;
        bool equal;
    } cases[] = {
        {"https://chat.example.com", "https://chat.example.com", true},
        {"https://chat.example.com", "HTTPS://Chat.Example.COM", true},
        {"https://chat.example.com", "https://chat.example.com:443", true},
        {"http://chat.example.com:80", "http://chat.example.com", true},
        {"https://chat.example.com", "http://chat.example.com", false},
        {"https://chat.example.com:80", "http://chat.example.com", false},
        {"https://chat.example.com", "https://chat.example.com:8443", false},
        {"https://chat.example.com", "https://example.com", false},
        {"https://chat.example.com", "https://chat.example.org", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct web_origin one, other;
        cr_assert(web_origin_parse(&one, slice_text(cases[i].one)));
        cr_assert(web_origin_parse(&other, slice_text(cases[i].other)));
        cr_expect_eq(web_origin_equal(&one, &other), cases[i].equal, "%s, %s", cases[i].one, cases[i].other);
    }
}

Test(authority, what_no_browser_says_is_refused_with_the_reason)
{
    static const struct {
        const char *origin, *reason;
    } cases[] = {
        {"https://chat.example.com/", "at its end"}, {"https://chat.example.com/chat", "a path"},
        {"https://*.example.com", "'*'"},            {"*", "'*'"},
        {"chat.example.com", "no scheme"},           {"null", "no scheme"},
        {"ws://x", "no scheme"},                     {"https://", "is not"},
        {"https://a b", "is not"},                   {"https://x:99999", "is not"},
        {"https://u@x", "is not"},
    };
    char text[256];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_assert_eq(web_origin_check(cases[i].origin, text, sizeof text), RESULT_MALFORMED, "%s", cases[i].origin);
        cr_expect_not_null(strstr(text, cases[i].reason), "%s: %s", cases[i].origin, text);
    }
    cr_expect_eq(web_origin_check("https://chat.example.com", text, sizeof text), RESULT_OK);
    cr_expect_eq(web_origin_check("http://[::1]:8080", text, sizeof text), RESULT_OK);
}
