/* tests/net/harness.h - a real server and its clients on the loopback, turned by one thread, with a clock the test
 * owns. A test says what the peers do and turns the loop until a condition holds, a bounded number of times. Time-outs
 * are tested by moving the clock, never by waiting. */
#ifndef TESTS_NET_HARNESS_H
#define TESTS_NET_HARNESS_H

#include "core/check.h"
#include "core/io.h"
#include "core/metrics.h"
#include "core/timer.h"
#include "net/net.h"
#include "net/websocket.h"
#include <criterion/criterion.h>
#include <stdatomic.h>

#define HARNESS_TURNS_MAX 3000

struct harness {
    struct io *io;
    struct timer_wheel wheel;
    struct buf_pool *pool;
    struct metrics metrics;
    struct server *server;
    uint64_t now_ms;
    uint16_t port;
    void *test; /* the test's own */

    /* what the server told */
    uint32_t opens, closes, frames, requests, drains, upgrades;
    struct conn *conn; /* of the last open, frame or request */
    enum conn_frame encoding;
    struct writer payload; /* of the last frame */
    struct writer log;     /* of each request: "METHOD path?query body\n" */

    /* what the test wants; NULL: the default */
    void (*on_frame)(struct harness *harness, struct conn *conn, enum conn_frame encoding,
                     struct slice payload); /* echo */
    void (*on_http)(struct harness *harness, struct conn *conn,
                    const struct http_request *request); /* 200 and the log line */
    bool (*on_upgrade)(struct harness *harness, struct conn *conn, const struct http_request *request,
                       const char **subprotocol, struct http_response *refusal); /* yes */
};

struct peer { /* a client */
    int fd;
    struct writer received;
    bool ended; /* the server shut its direction */
    bool reset;
};

/* Of the rings that harness_init() makes; 0, also with NET_TEST_PLAIN_SOCKETS in the environment: sockets are plain descriptors. */
extern uint32_t harness_sockets_max;
struct server_options harness_options(void);
/* `options` NULL: harness_options(). */
void harness_init(struct harness *harness, const struct server_options *options);
/* The same with so few places in a table of sockets (80) that a hundred connections need several. Skips the test on plain descriptors. */
void harness_init_small_tables(struct harness *harness, const struct server_options *options);
/* Ends every connection and asserts that nothing is left behind. */
void harness_deinit(struct harness *harness);
void harness_turn(struct harness *harness);
void harness_turns(struct harness *harness, uint32_t count);
/* Moves the clock by small steps, turning the loop at each. */
void harness_advance(struct harness *harness, uint64_t ms);
static inline uint64_t harness_metric(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

#define HARNESS_UNTIL(harness, condition)                                                                              \
    do {                                                                                                               \
        uint32_t turns_ = 0;                                                                                           \
        while (!(condition) && turns_++ < HARNESS_TURNS_MAX) harness_turn(harness);                                    \
        cr_assert((condition), "not within %d turns: %s", HARNESS_TURNS_MAX, #condition);                              \
    } while (0)

void peer_connect(struct peer *peer, const struct harness *harness);
void peer_deinit(struct peer *peer);
void peer_send(struct peer *peer, const void *data, size_t len);
void peer_send_text(struct peer *peer, const char *text);
/* A masked frame; byte 0 and byte 1 of the head as given by `fin_opcode` and the length. */
void peer_send_frame(struct peer *peer, uint8_t fin_opcode, const void *payload, size_t len);
void peer_send_tcp(struct peer *peer, const void *payload, uint32_t len);
/* Takes what arrived; call it in a condition. */
bool peer_has(struct peer *peer, size_t len);
bool peer_has_text(struct peer *peer, const char *text);
bool peer_ended(struct peer *peer);
bool peer_was_reset(struct peer *peer);
/* Drops the first `len` received bytes. */
void peer_consume(struct peer *peer, size_t len);
/* Connects and completes the WebSocket handshake, received bytes consumed. */
void peer_open_websocket(struct peer *peer, struct harness *harness);
void peer_open_tcp(struct peer *peer, struct harness *harness);

#define HANDSHAKE                                                                                                      \
    "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                                 \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

#endif
