#include "shard/door/origins.h"
#include "core/check.h"
#include <criterion/criterion.h>

static struct config config;
static struct origins origins;
static char text[512];

static void allow(const char *list)
{
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, "allowed_origins", list, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(origins_check(&config.allowed_origins, text, sizeof text), RESULT_OK, "%s", text);
    origins_init(&origins, &config.allowed_origins);
}

Test(origins, what_is_listed_is_found_as_browsers_say_it)
{
    allow("https://Chat.Example.com:443, http://localhost:3000");
    cr_expect_str_eq(origins.items[0].text, "https://chat.example.com", "it is said back to the browser");
    cr_expect_eq(origins_find(&origins, SLICE_TEXT("https://chat.example.com")), 1);
    cr_expect_eq(origins_find(&origins, SLICE_TEXT("http://localhost:3000")), 2);
    cr_expect_eq(origins_find(&origins, SLICE_TEXT("http://chat.example.com")), 0);
    cr_expect_eq(origins_find(&origins, SLICE_TEXT("https://chat.example.com.evil.example")), 0);
    cr_expect_eq(origins_find(&origins, SLICE_TEXT("null")), 0);
    cr_expect_eq(origins_find(&origins, SLICE_EMPTY), 0);
}

Test(origins, the_servers_own_pages)
{
    static const struct {
        const char *origin, *authority;
        enum http_scheme scheme;
        bool own;
    } cases[] = {
        {"http://127.0.0.1:7800", "127.0.0.1:7800", HTTP_SCHEME_UNKNOWN, true},
        {"https://chat.example.com", "chat.example.com", HTTP_SCHEME_UNKNOWN, true},
        {"https://chat.example.com", "chat.example.com:443", HTTP_SCHEME_UNKNOWN, true},
        {"https://chat.example.com", "CHAT.example.COM", HTTP_SCHEME_UNKNOWN, true},
        {"https://chat.example.com:443", "chat.example.com", HTTP_SCHEME_SECURE, true},
        {"http://chat.example.com", "chat.example.com:443", HTTP_SCHEME_UNKNOWN, false},
        {"http://chat.example.com", "chat.example.com", HTTP_SCHEME_SECURE, false},
        {"https://chat.example.com", "chat.example.com", HTTP_SCHEME_PLAIN, false},
        {"https://chat.example.com", "ringpost:7800", HTTP_SCHEME_UNKNOWN, false},
        {"https://chat.example.com", "chat.example.com:8443", HTTP_SCHEME_UNKNOWN, false},
        {"https://chat.example.com", "", HTTP_SCHEME_UNKNOWN, false},
        {"null", "null", HTTP_SCHEME_UNKNOWN, false},
        {"file://", "", HTTP_SCHEME_UNKNOWN, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http_request request = {.authority = slice_text(cases[i].authority), .scheme = cases[i].scheme};
        cr_expect_eq(origins_is_own(&request, slice_text(cases[i].origin)), cases[i].own, "%s at %s", cases[i].origin,
                     cases[i].authority);
    }
}

Test(origins, spellings_that_never_match_are_refused_at_start)
{
    static const char *const lists[] = {"https://a.example/", "https://a.example, *", "a.example", "https://a.example/chat",
                                        "https://*.example", "log_level = debug"};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        config_init_defaults(&config);
        if (config_set(&config, "allowed_origins", lists[i], text, sizeof text) != RESULT_OK) continue;
        cr_expect_eq(origins_check(&config.allowed_origins, text, sizeof text), RESULT_MALFORMED, "%s", lists[i]);
        cr_expect(strncmp(text, "allowed_origins: ", 17) == 0 && strstr(text, "as in https://") != NULL, "%s", text);
    }
}
