/* tests/shard/worker/rules_test.c - options that do not fit each other are refused with both values, their places and what would do; what is said
 * to do does; and what is allowed to wait for a connection holds the pages it may ask for. */
#include "shard/worker/rules.h"
#include "core/check.h"
#include "shard/domain/bounds.h"
#include "shard/worker/settings.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct config config;
static char text[2048];

static enum result load(const char *file)
{
    config_init_defaults(&config);
    FILE *stream = tmpfile();
    fputs(file, stream);
    rewind(stream);
    enum result result = config_load_stream(&config, stream, "x.conf", text, sizeof text);
    fclose(stream);
    cr_assert_eq(result, RESULT_OK, "%s", text);
    return rules_check(&config, text, sizeof text);
}

Test(rules, the_defaults_fit)
{
    cr_assert_eq(load(""), RESULT_OK, "%s", text);
    cr_assert_not(rules_remark(&config, 0, text, sizeof text), "%s", text);
}

static const struct {
    const char *file, *says, *remedy;
} refused[] = {
    {"outbound_hard = 256KiB\n", "outbound_hard = 256KiB (x.conf:1) must be at least ", "outbound_hard = "},
    {"outbound_soft = 8KiB\noutbound_hard = 128KiB\n", "with outbound_soft = 8KiB (x.conf:1), body_size_max = 32KiB (default) and rooms_per_user_max = 1k",
     "outbound_hard = "},
    {"rooms_per_user_max = 100k\n", "lower rooms_per_user_max", "outbound_hard = "},
    {"frame_size_max = 2MiB\n", "frame_size_max = 2MiB (x.conf:1) must be at most 1MiB with outbound_hard = 1MiB (default)", "frame_size_max = "},
    {"body_size_max = 64KiB\n", "frame_size_max = 64KiB (default) must be at least 87KiB with body_size_max = 64KiB (x.conf:1)", "frame_size_max = "},
    {"http_body_size_max = 32KiB\n", "http_body_size_max = 32KiB (x.conf:1) must be at least 44KiB", "http_body_size_max = "},
    {"connection_memory = 4MiB\nhttp_body_size_max = 8MiB\n", "connection_memory = 4MiB (x.conf:1) must be at least 24MiB with outbound_hard = 1MiB (default)",
     "connection_memory = "},
    {"connection_memory_per_address = 1MiB\n", "connection_memory_per_address = 1MiB (x.conf:1) must be at least 1536KiB",
     "connection_memory_per_address = "},
    {"heartbeat_timeout = 25s\n", "heartbeat_timeout = 25s (x.conf:1) must be at least 30500ms with heartbeat_interval = 25s (default)",
     "heartbeat_timeout = "},
    {"segment_size = 4MiB\n", "log_pending_max = 8MiB (default) must be at most 4MiB with segment_size = 4MiB (x.conf:1)", "log_pending_max = "},
    {"segment_size = 67108865\n", "segment_size = 67108865 (x.conf:1) must be at most 64MiB: it is a multiple of 4KiB", "segment_size = "},
    {"segment_size = 1MiB\nlog_pending_max = 1MiB\nbody_size_max = 1MiB\nframe_size_max = 2MiB\nhttp_body_size_max = 2MiB\noutbound_hard = 16MiB\n",
     "body_size_max = 1MiB (x.conf:3) must be at most ", "body_size_max = "},
    {"access_token_ttl = 1m\ntoken_leeway = 2m\n", "token_leeway = 2m (x.conf:2) must be at most 1m with access_token_ttl = 1m (x.conf:1)",
     "token_leeway = "},
};

/* What the refusal says would do: the number behind "at least" or "at most". */
static void take_advice(const char *option)
{
    char name[64], value[64], ignored[512];
    const char *at = strstr(text, "must be at ");
    cr_assert_not_null(at, "%s", text);
    at = strpbrk(at, "0123456789");
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, " :"), at);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(option, " "), option);
    cr_assert_eq(config_set(&config, name, value, ignored, sizeof ignored), RESULT_OK, "%s", ignored);
}

Test(rules, what_does_not_fit_is_refused_and_the_remedy_helps)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        cr_expect_eq(load(refused[i].file), RESULT_MALFORMED, "%s", refused[i].file);
        cr_expect_not_null(strstr(text, refused[i].says), "%s", text);
        cr_expect_not_null(strstr(text, "Remedy: "), "%s", text);
        take_advice(refused[i].remedy);
        cr_expect_eq(rules_check(&config, text, sizeof text), RESULT_OK, "%s: %s", refused[i].file, text);
    }
}

Test(rules, no_limit_is_no_small_limit)
{
    cr_expect_eq(load("outbound_hard = 64MiB\nconnection_memory_per_address = 0\n"), RESULT_OK, "%s", text);
}

Test(rules, tls_needs_both_files)
{
    cr_expect_eq(load("tls_certificate_file = a\n"), RESULT_MALFORMED);
    cr_expect_not_null(strstr(text, "tls_certificate_file is set and tls_key_file is not"), "%s", text);
    cr_expect_eq(load("tls_key_file = a\n"), RESULT_MALFORMED);
    cr_expect_not_null(strstr(text, "tls_key_file is set and tls_certificate_file is not"), "%s", text);
    cr_expect_eq(load("tls_required = true\n"), RESULT_MALFORMED);
    cr_expect_eq(load("tls_required = true\ntls_certificate_file = a\ntls_key_file = b\n"), RESULT_OK, "%s", text);
}

Test(rules, an_option_without_effect_is_remarked_when_somebody_set_it)
{
    cr_assert_eq(load("rate_messages_per_second = 1000\nrate_messages_burst = 1k\n"), RESULT_OK, "%s", text);
    static const char *const says[] = {
        "rate_messages_per_second = 1k (x.conf:1) has no effect above 50 with rate_requests_per_second = 50 (default)",
        "rate_messages_burst = 1k (x.conf:2) has no effect above 200",
    };
    for (uint32_t i = 0; i < COUNT_OF(says); i++) {
        cr_assert(rules_remark(&config, i, text, sizeof text));
        cr_expect_not_null(strstr(text, says[i]), "%s", text);
    }
    cr_expect_not(rules_remark(&config, COUNT_OF(says), text, sizeof text));
    cr_assert_eq(load("rate_requests_per_second = 0\nrate_messages_per_second = 1k\n"), RESULT_OK);
    cr_expect_not(rules_remark(&config, 0, text, sizeof text), "no limit of requests");
}

Test(rules, pages_fit_what_may_wait_for_a_connection)
{
    static const uint32_t bodies[] = {1, 1000, 32768, 1 << 20}, rooms[] = {1, 1000, 100000};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        for (size_t j = 0; j < COUNT_OF(rooms); j++) {
            uint32_t span = bounds_page_span(bodies[i], rooms[j]);
            cr_expect_eq(bounds_page_cost(span - 2, bodies[i], rooms[j]), 0);
            cr_expect_gt(bounds_page_cost(span, bodies[i], rooms[j]), 0);
            cr_expect_gt(bounds_page_cost(span + 4096, bodies[i], rooms[j]), bounds_page_cost(span, bodies[i], rooms[j]));
            cr_expect_eq(bounds_page_cost(UINT32_MAX, bodies[i], rooms[j]), 512 << 10, "whatever would fit");
        }
    }
    config_init_defaults(&config);
    cr_expect_gt(settings_shard(&config).page_cost_max, 128 << 10, "a page of the defaults is a page");
}
