/* core/refusal.c - counts a refusal and writes its line, unless this second has had its lines of that reason.
 * Happy path: add to the counter, take a place among the second's lines, format, hand the line to the logger. Threads race for the
 * places with atomics only; two that open a new second at once may write a line more than the limit, never lose the count. */
#include "core/refusal.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/logger.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#define DETAIL_MAX 320

static struct {
    _Atomic uint64_t count, unwritten, second;
    _Atomic uint32_t lines; /* in that second */
} refusals[REFUSAL_COUNT];

static const char *const reasons[REFUSAL_COUNT] = {
#define REFUSAL_AS_TEXT(NAME, text) [REFUSAL_##NAME] = text,
    REFUSAL_LIST(REFUSAL_AS_TEXT)
#undef REFUSAL_AS_TEXT
};

const char *refusal_reason(enum refusal reason)
{
    ASSERT((unsigned)reason < REFUSAL_COUNT);
    return reasons[reason];
}

uint64_t refusal_count(enum refusal reason)
{
    ASSERT((unsigned)reason < REFUSAL_COUNT);
    return atomic_load_explicit(&refusals[reason].count, memory_order_relaxed);
}

static bool may_write(enum refusal reason)
{
    uint64_t second = clock_monotonic_ns() / 1000000000u + 1;
    if (atomic_exchange_explicit(&refusals[reason].second, second, memory_order_relaxed) != second)
        atomic_store_explicit(&refusals[reason].lines, 0, memory_order_relaxed);
    return atomic_fetch_add_explicit(&refusals[reason].lines, 1, memory_order_relaxed) < REFUSAL_LINES_PER_SECOND;
}

static void put_address(char out[INET6_ADDRSTRLEN], const struct in6_addr *address)
{
    if (address == NULL)
        snprintf(out, INET6_ADDRSTRLEN, "-");
    else if (IN6_IS_ADDR_V4MAPPED(address))
        inet_ntop(AF_INET, &address->s6_addr[12], out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

void refusal_note(enum refusal reason, const struct in6_addr *address, const char *format, ...)
{
    ASSERT((unsigned)reason < REFUSAL_COUNT);
    atomic_fetch_add_explicit(&refusals[reason].count, 1, memory_order_relaxed);
    if (!may_write(reason)) {
        atomic_fetch_add_explicit(&refusals[reason].unwritten, 1, memory_order_relaxed);
        return;
    }
    char detail[DETAIL_MAX], peer[INET6_ADDRSTRLEN], unwritten[40] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    put_address(peer, address);
    uint64_t left_out = atomic_exchange_explicit(&refusals[reason].unwritten, 0, memory_order_relaxed);
    if (left_out > 0) snprintf(unwritten, sizeof unwritten, " unwritten=%" PRIu64, left_out);
    LOG_INFO("refusal", "refused reason=%s address=%s%s%s%s", reasons[reason], peer, detail[0] == '\0' ? "" : " ", detail, unwritten);
}

struct refusal_text refusal_text(struct slice bytes)
{
    struct refusal_text out;
    uint32_t len = bytes.len < REFUSAL_TEXT_MAX ? bytes.len : REFUSAL_TEXT_MAX;
    for (uint32_t i = 0; i < len; i++) {
        uint8_t byte = bytes.data[i];
        bool plain = byte > 0x20 && byte < 0x7f && byte != '=' && byte != '"' && byte != '\\';
        out.text[i] = plain ? (char)byte : '?';
    }
    const char *end = bytes.len > len ? "..." : bytes.len == 0 ? "-" : "";
    snprintf(out.text + len, sizeof out.text - len, "%s", end);
    return out;
}
