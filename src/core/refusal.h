/* core/refusal.h - the trace that a refusal of a peer leaves: one counted, rate-limited line at level info.
 * Owns:    per reason a counter and the lines of the current second, of the whole process.
 * Thread:  any.                   Depends: core/ only.           Start at: core/core.h
 *
 *   level=info module=refusal thread=worker-0 message=refused reason=wrong_password address=192.0.2.7 user=alice
 *
 * `reason` and `address` always come first, so that a program that bans addresses (fail2ban) can rely on them: docs/operations.md
 * has an example. Of one reason at most REFUSAL_LINES_PER_SECOND lines are written in a second; the next line after that says
 * how many were left out (unwritten=N). Counted are all: ringpost_refusals_total{reason="…"}. */
#ifndef CORE_REFUSAL_H
#define CORE_REFUSAL_H

#include "core/cursor.h"
#include <netinet/in.h>
#include <stdint.h>

#define REFUSAL_LINES_PER_SECOND 20
#define REFUSAL_TEXT_MAX 96

/*    NAME                 text: stable, what metrics and lines say */
#define REFUSAL_LIST(X)                                                                                                \
    X(WRONG_PASSWORD, "wrong_password")                                                                                \
    X(UNKNOWN_USER, "unknown_user")                                                                                    \
    X(TOKEN, "token")                                                                                                  \
    X(LOGIN_RATE, "login_rate")                                                                                        \
    X(ORIGIN, "origin")                                                                                                \
    X(TLS_REQUIRED, "tls_required")                                                                                    \
    X(CONNECTIONS, "connections")                                                                                      \
    X(CONNECTIONS_OF_ADDRESS, "connections_of_address")                                                                \
    X(SLOW_READER, "slow_reader")                                                                                      \
    X(MQTT_MESSAGE, "mqtt_message")                                                                                    \
    X(MQTT_WILL, "mqtt_will")                                                                                          \
    X(PROXY_HEADER, "proxy_header")

#define REFUSAL_AS_ENUM(NAME, text) REFUSAL_##NAME,
enum refusal { REFUSAL_LIST(REFUSAL_AS_ENUM) REFUSAL_COUNT };
#undef REFUSAL_AS_ENUM

/* `address`: the peer's, IPv4 mapped; NULL when there is none. `format`: further "key=value" pairs, "" for none; what comes from
 * a peer goes through refusal_text() first, or it could forge a key. */
void refusal_note(enum refusal reason, const struct in6_addr *address, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct refusal_text {
    char text[REFUSAL_TEXT_MAX + 4];
};
/* A peer's bytes as one word: what is not printable ASCII, a space, '=', '"' and '\' become '?'; cut with "..." at
 * REFUSAL_TEXT_MAX; "-" when empty. */
struct refusal_text refusal_text(struct slice bytes);

uint64_t refusal_count(enum refusal reason);
const char *refusal_reason(enum refusal reason);

#endif
