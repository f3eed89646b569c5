/* shard/worker/rules.c - the table, and how a row that does not hold is said.
 * A row bounds one option by the others it names. `bound` is asked only for a configuration whose single values are in their ranges. */
#include "shard/worker/rules.h"
#include "core/check.h"
#include "net/proxies.h"
#include "shard/domain/bounds.h"
#include "shard/engine/command.h"
#include "shard/door/origins.h"
#include "storage/commitlog.h"
#include <stdarg.h>
#include <stdio.h>

#define OTHERS_MAX     4
#define ENVELOPE_BYTES 1024u /* of a frame or a request, for what stands around a message's body */
#define BLOCK_BYTES    4096u /* the log is written in such blocks */

/* ---- what bounds what ---- */

static uint64_t kib_up(uint64_t bytes) { return (bytes + 1023) / 1024 * 1024; }

static uint64_t outbound_least(const struct config *c)
{
    return kib_up(c->outbound_soft_bytes + (uint64_t)bounds_page_span(c->body_size_max_bytes, c->rooms_per_user_max));
}

/* What one connection may hold, in either direction, with the memory it takes beside its bytes. */
static uint64_t held_most(const struct config *c)
{
    uint64_t largest = c->outbound_hard_bytes > c->http_body_size_max_bytes ? c->outbound_hard_bytes : c->http_body_size_max_bytes;
    return largest * 3 / 2;
}

static uint64_t memory_least(const struct config *c) { return kib_up(2 * held_most(c)); }

static uint64_t address_least(const struct config *c) { return c->connection_memory_per_address_bytes == 0 ? 0 : kib_up(held_most(c)); }

static uint64_t frame_most(const struct config *c) { return c->outbound_hard_bytes; }

static uint64_t request_least(const struct config *c) { return kib_up((uint64_t)c->body_size_max_bytes / 3 * 4 + ENVELOPE_BYTES); }

static uint64_t pending_most(const struct config *c) { return c->segment_size_bytes; }

/* A message is acknowledged when the command that sends it is durable, and delivered by one that is larger (bounds.h). */
static uint64_t body_most(const struct config *c)
{
    return commitlog_body_size_max(c->segment_size_bytes, COMMITLOG_BLOCK_SIZE_MAX) - bounds_command(COMMAND_RELAY, 0);
}

static uint64_t segment_most(const struct config *c) { return c->segment_size_bytes / BLOCK_BYTES * BLOCK_BYTES; }

/* A ping comes up to a fifth later than its interval says, and its answer needs a moment. */
static uint64_t heartbeat_least(const struct config *c) { return (uint64_t)c->heartbeat_interval_ms / 5 * 6 + 500; }

static uint64_t access_most(const struct config *c) { return c->refresh_token_ttl_ms; }

static uint64_t leeway_most(const struct config *c) { return c->access_token_ttl_ms; }

static uint64_t request_rate(const struct config *c) { return c->rate_requests_per_second == 0 ? UINT32_MAX : c->rate_requests_per_second; }

static uint64_t request_burst(const struct config *c) { return c->rate_requests_per_second == 0 ? UINT32_MAX : c->rate_requests_burst; }

static uint64_t address_memory_most(const struct config *c) { return c->connection_memory_bytes; }

/* ---- the table ---- */

struct rule {
    enum config_option option;
    enum { RULE_LEAST, RULE_MOST, RULE_NO_EFFECT_ABOVE } kind; /* the last one is a remark, no refusal */
    uint64_t (*bound)(const struct config *config);
    struct {
        enum config_option option;
        enum { RULE_NOT = 0, RULE_RAISE, RULE_LOWER } change; /* what would do as well; RULE_NOT: there are no more */
    } others[OTHERS_MAX];
    const char *why;
};

#define OPTION(name) CONFIG_OPTION_##name
#define RAISE(name)  {CONFIG_OPTION_##name, RULE_RAISE}
#define LOWER(name)  {CONFIG_OPTION_##name, RULE_LOWER}

static const struct rule rules[] = {
    {OPTION(outbound_hard), RULE_LEAST, outbound_least, {LOWER(outbound_soft), LOWER(body_size_max), LOWER(rooms_per_user_max)},
     "a connection is read until outbound_soft waits for it, and the two pages it may have asked for by then must fit, or it is closed for "
     "each of them"},
    {OPTION(connection_memory), RULE_LEAST, memory_least, {LOWER(outbound_hard), LOWER(http_body_size_max)},
     "one connection at its limits, which takes half as much memory again, must leave room for the others"},
    {OPTION(connection_memory_per_address), RULE_LEAST, address_least, {LOWER(outbound_hard), LOWER(http_body_size_max)},
     "one connection at its limits takes half as much memory again, and must not be too much for its address"},
    {OPTION(frame_size_max), RULE_MOST, frame_most, {RAISE(outbound_hard)}, "a frame that is passed on must fit what waits for one connection"},
    {OPTION(frame_size_max), RULE_LEAST, request_least, {LOWER(body_size_max)}, "a message travels in a frame, and JSON writes its body a third longer"},
    {OPTION(http_body_size_max), RULE_LEAST, request_least, {LOWER(body_size_max)},
     "a message travels in a request, and JSON writes its body a third longer"},
    {OPTION(log_pending_max), RULE_MOST, pending_most, {RAISE(segment_size)}, "what waits for the disk must fit one segment of the log"},
    {OPTION(body_size_max), RULE_MOST, body_most, {RAISE(segment_size)},
     "the record that delivers a message to another shard is larger than the one that sends it, and must fit a segment of the log"},
    {OPTION(segment_size), RULE_MOST, segment_most, {{0}}, "it is a multiple of 4KiB, the blocks in which the log is written"},
    {OPTION(heartbeat_timeout), RULE_LEAST, heartbeat_least, {LOWER(heartbeat_interval)},
     "a ping comes up to a fifth later than its interval says, and a healthy connection must have answered by then"},
    {OPTION(access_token_ttl), RULE_MOST, access_most, {RAISE(refresh_token_ttl)}, "the refresh token renews the other one"},
    {OPTION(token_leeway), RULE_MOST, leeway_most, {RAISE(access_token_ttl)}, "a token would be good for longer after its end than before it"},
    {OPTION(rate_messages_per_second), RULE_NO_EFFECT_ABOVE, request_rate, {RAISE(rate_requests_per_second)}, "messages are requests too"},
    {OPTION(connection_memory_per_address), RULE_NO_EFFECT_ABOVE, address_memory_most, {RAISE(connection_memory)}, "all addresses share that"},
    {OPTION(rate_messages_burst), RULE_NO_EFFECT_ABOVE, request_burst, {RAISE(rate_requests_burst)}, "messages are requests too"},
};

static bool holds(const struct rule *rule, const struct config *config)
{
    uint64_t value = config_number(config, rule->option), bound = rule->bound(config);
    return rule->kind == RULE_LEAST ? value >= bound : value <= bound;
}

/* ---- saying it ---- */

struct sentence {
    char *text;
    size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void say(struct sentence *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(s->text + s->len, s->size - s->len, format, arguments);
    va_end(arguments);
    s->len += (size_t)len < s->size - s->len ? (size_t)len : s->size - s->len - 1;
}

static void say_option(struct sentence *s, const struct config *config, enum config_option option)
{
    char described[1024];
    config_describe(config, option, described, sizeof described);
    say(s, "%s", described);
}

/* " with A = 1 (default) and B = 2 (x.conf:1)" */
static void say_others(struct sentence *s, const struct config *config, const struct rule *rule)
{
    for (uint32_t i = 0; i < OTHERS_MAX && rule->others[i].change != RULE_NOT; i++) {
        bool last = i + 1 == OTHERS_MAX || rule->others[i + 1].change == RULE_NOT;
        say(s, "%s", i == 0 ? " with " : last ? " and " : ", ");
        say_option(s, config, rule->others[i].option);
    }
}

/* "A = 1 (default) must be at least 2 with B = 3 (x.conf:1): why. Remedy: raise A to 2, or lower B" */
static void say_refusal(struct sentence *s, const struct config *config, const struct rule *rule)
{
    char bound[64];
    bool least = rule->kind == RULE_LEAST;
    config_number_text(rule->option, rule->bound(config), bound, sizeof bound);
    say_option(s, config, rule->option);
    say(s, " must be at %s %s", least ? "least" : "most", bound);
    say_others(s, config, rule);
    say(s, ": %s. Remedy: %s %s to %s", rule->why, least ? "raise" : "lower", config_name(rule->option), bound);
    for (uint32_t i = 0; i < OTHERS_MAX && rule->others[i].change != RULE_NOT; i++)
        say(s, ", or %s %s", rule->others[i].change == RULE_RAISE ? "raise" : "lower", config_name(rule->others[i].option));
}

static enum result check_tls(const struct config *c, struct sentence *s)
{
    bool certificate = c->tls_certificate_file[0] != '\0', key = c->tls_key_file[0] != '\0';
    if (certificate != key)
        say(s, "%s is set and %s is not: they go together. Remedy: set both for TLS, or none", certificate ? "tls_certificate_file" : "tls_key_file",
            certificate ? "tls_key_file" : "tls_certificate_file");
    else if (c->tls_required && !certificate)
        say(s, "tls_required = true needs a certificate. Remedy: set tls_certificate_file and tls_key_file, or tls_required = false");
    else if (c->hsts_max_age_s > 0 && !certificate)
        say(s, "hsts_max_age_s = %u needs a certificate, for it is said over TLS only. Remedy: set tls_certificate_file and tls_key_file, or "
               "hsts_max_age_s = 0; behind a proxy that ends TLS, let the proxy say it", c->hsts_max_age_s);
    return s->len == 0 ? RESULT_OK : RESULT_MALFORMED;
}

enum result rules_check(const struct config *config, char *text, size_t text_size)
{
    ASSERT(text_size > 0);
    struct sentence s = {.text = text, .size = text_size};
    text[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        if (rules[i].kind == RULE_NO_EFFECT_ABOVE || holds(&rules[i], config)) continue;
        say_refusal(&s, config, &rules[i]);
        return RESULT_MALFORMED;
    }
    enum result result = check_tls(config, &s);
    if (result == RESULT_OK) result = origins_check(&config->allowed_origins, text, text_size);
    return result == RESULT_OK ? proxies_check(config, text, text_size) : result;
}

bool rules_remark(const struct config *config, uint32_t index, char *text, size_t text_size)
{
    struct sentence s = {.text = text, .size = text_size};
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        bool set = config->origins[rules[i].option].source != CONFIG_DEFAULT; /* nobody asked for a default */
        if (rules[i].kind != RULE_NO_EFFECT_ABOVE || !set || holds(&rules[i], config) || index-- > 0) continue;
        char bound[64];
        config_number_text(rules[i].option, rules[i].bound(config), bound, sizeof bound);
        say_option(&s, config, rules[i].option);
        say(&s, " has no effect above %s", bound);
        say_others(&s, config, &rules[i]);
        say(&s, ": %s", rules[i].why);
        return true;
    }
    return false;
}
