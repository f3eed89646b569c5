#include "net/proxies.h"
#include "core/check.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>

static struct config config;
static struct proxies proxies;
static char text[512];

static void trust(const char *list)
{
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, "trusted_proxies", list, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(proxies_check(&config, text, sizeof text), RESULT_OK, "%s", text);
    proxies_init(&proxies, &config.trusted_proxies);
}

static struct http_request request_of(const char *first, const char *second)
{
    struct http_request request = {.header_count = 3};
    request.headers[0] = (struct http_header){SLICE_TEXT("x-forwarded-for"), slice_text(first)};
    request.headers[1] = (struct http_header){SLICE_TEXT("Host"), SLICE_TEXT("9.9.9.9")};
    request.headers[2] = (struct http_header){SLICE_TEXT("X-Forwarded-For"), slice_text(second)};
    if (second[0] == '\0') request.header_count = 2;
    return request;
}

Test(proxies, the_client_is_the_rightmost_address_that_is_no_proxy)
{
    static const struct {
        const char *first, *second, *client;
    } cases[] = {
        {"203.0.113.7", "", "203.0.113.7"},
        {"1.2.3.4, 203.0.113.7", "", "203.0.113.7"},
        {"1.2.3.4, 203.0.113.7, 10.0.0.9", "", "203.0.113.7"},
        {"1.2.3.4,203.0.113.7", "10.0.0.9 ,\t10.0.0.8", "203.0.113.7"},
        {"1.2.3.4", "203.0.113.7", "203.0.113.7"},
        {"[2001:db8::7]:4711", "", "2001:db8::7"},
        {"203.0.113.7:4711", "", "203.0.113.7"},
        {"10.0.0.9, 10.0.0.8", "", "10.0.0.9"},
        {"203.0.113.7, unknown", "", "10.0.0.1"},
        {"203.0.113.7, unknown, 10.0.0.9", "", "10.0.0.9"},
        {"203.0.113.7, ", "", "10.0.0.1"},
        {"", "", "10.0.0.1"},
        {"10.0.0.9", "203.0.113.7, 10.0.0.8", "203.0.113.7"},
    };
    trust("10.0.0.0/8, 2001:db8:ffff::/48");
    struct in6_addr peer, want, got;
    cr_assert(address_parse(&peer, SLICE_TEXT("10.0.0.1")));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http_request request = request_of(cases[i].first, cases[i].second);
        got = proxies_client(&proxies, &request, &peer);
        cr_assert(address_parse(&want, slice_text(cases[i].client)));
        cr_expect(IN6_ARE_ADDR_EQUAL(&got, &want), "%s | %s", cases[i].first, cases[i].second);
    }
}

Test(proxies, scheme_and_authority_are_those_of_the_nearest_proxy)
{
    static const struct {
        const char *proto, *host, *authority;
        enum http_scheme scheme;
    } cases[] = {
        {"https", "chat.example.com", "chat.example.com", HTTP_SCHEME_SECURE},
        {"HTTPS", "chat.example.com:8443", "chat.example.com:8443", HTTP_SCHEME_SECURE},
        {"wss", "a, b", "b", HTTP_SCHEME_SECURE},
        {"https, http", "", "up", HTTP_SCHEME_PLAIN},
        {"http", "a b", "up", HTTP_SCHEME_PLAIN},
        {"gopher", "a/b", "up", HTTP_SCHEME_UNKNOWN},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http_request request = {.header_count = 2, .authority = SLICE_TEXT("up"), .scheme = HTTP_SCHEME_SECURE};
        request.headers[0] = (struct http_header){SLICE_TEXT("X-Forwarded-Proto"), slice_text(cases[i].proto)};
        request.headers[1] = (struct http_header){SLICE_TEXT("X-Forwarded-Host"), slice_text(cases[i].host)};
        proxies_amend(&request);
        cr_expect_eq(request.scheme, cases[i].scheme, "%s", cases[i].proto);
        cr_expect(slice_equal(request.authority, slice_text(cases[i].authority)), "%s", cases[i].host);
    }
}

Test(proxies, options_that_are_refused)
{
    static const char *const lists[] = {"10.0.0.0/33", "10.0.0.1/8", "localhost", "10.0.0.1, nginx"};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        config_init_defaults(&config);
        cr_assert_eq(config_set(&config, "trusted_proxies", lists[i], text, sizeof text), RESULT_OK, "%s", text);
        cr_expect_eq(proxies_check(&config, text, sizeof text), RESULT_MALFORMED, "%s", lists[i]);
        cr_expect_not_null(strstr(text, "as in 10.0.0.0/8"), "%s", text);
    }
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, "proxy_protocol_from", "10.0.0.1, x", text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(proxies_check(&config, text, sizeof text), RESULT_MALFORMED);
    cr_expect(strncmp(text, "proxy_protocol_from: x ", 23) == 0, "%s", text);
}
