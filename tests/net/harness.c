/* tests/net/harness.c - see harness.h. */
#include "net/harness.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_do_recoverable_leak_check() 0
#endif

#define ADVANCE_STEP_MS 100

static uint32_t harness_count; /* alive now */

struct server_options harness_options(void)
{
    return (struct server_options){
        .connections_max = 64,
        .frame_size_max = 65536,
        .http_head_size_max = 16384,
        .http_body_size_max = 262144,
        .outbound_soft_bytes = 262144,
        .outbound_hard_bytes = 1048576,
        .header_timeout_ms = 5000,
        .authenticate_timeout_ms = 10000,
        .keep_alive_timeout_ms = 30000,
        .keep_alive_requests_max = 1000,
        .heartbeat_interval_ms = 25000,
        .heartbeat_timeout_ms = 60000,
        .write_timeout_ms = 10000,
        .accepts_per_turn_max = 64,
    };
}

static void on_http(void *context, struct conn *conn, const struct http_request *request)
{
    struct harness *h = context;
    h->requests++;
    h->conn = conn;
    size_t line_at = h->log.len;
    writer_raw(&h->log, request->method.data, request->method.len);
    writer_raw(&h->log, " ", 1);
    writer_raw(&h->log, request->path.data, request->path.len);
    writer_raw(&h->log, "?", 1);
    writer_raw(&h->log, request->query.data, request->query.len);
    writer_raw(&h->log, " ", 1);
    writer_raw(&h->log, request->body.data, request->body.len);
    writer_raw(&h->log, "\n", 1);
    if (h->on_http != NULL) {
        h->on_http(h, conn, request);
        return;
    }
    struct http_response response = {
        .status = 200,
        .content_type = "text/plain",
        .body = slice_of(h->log.data + line_at, h->log.len - line_at),
    };
    cr_assert_eq(conn_send_http(conn, &response), RESULT_OK);
}

static bool on_upgrade(void *context, struct conn *conn, const struct http_request *request, const char **subprotocol,
                       struct http_response *refusal)
{
    struct harness *h = context;
    h->upgrades++;
    h->conn = conn;
    return h->on_upgrade == NULL || h->on_upgrade(h, conn, request, subprotocol, refusal);
}

static void on_open(void *context, struct conn *conn)
{
    struct harness *h = context;
    h->opens++;
    h->conn = conn;
}

static void on_frame(void *context, struct conn *conn, enum conn_frame encoding, struct slice payload)
{
    struct harness *h = context;
    h->frames++;
    h->conn = conn;
    h->encoding = encoding;
    writer_reset(&h->payload);
    writer_raw(&h->payload, payload.data, payload.len);
    if (h->on_frame != NULL)
        h->on_frame(h, conn, encoding, payload);
    else
        cr_assert_eq(conn_send_frame(conn, encoding, payload, NULL), RESULT_OK);
}

static void on_drained(void *context, struct conn *conn)
{
    struct harness *h = context;
    h->drains++;
    h->conn = conn;
}

static void on_close(void *context, struct conn *conn)
{
    struct harness *h = context;
    h->closes++;
    cr_assert_null(server_find(h->server, conn_handle_of(conn)));
}

uint32_t harness_sockets_max = 1024;

/* As a worker does: whoever comes after a sleep is counted from then. */
static void on_batch(void *context)
{
    struct harness *h = context;
    timer_wheel_tell(&h->wheel, h->now_ms);
}

void harness_init(struct harness *h, const struct server_options *options)
{
    static const struct server_events events = {.on_http = on_http,
                                                 .on_upgrade = on_upgrade,
                                                 .on_open = on_open,
                                                 .on_frame = on_frame,
                                                 .on_drained = on_drained,
                                                 .on_close = on_close};
    if (getenv("NET_TEST_PLAIN_SOCKETS") != NULL) harness_sockets_max = 0;
    struct io_options ring = {.entries = 256,
                              .receive_buffer_count = 64,
                              .receive_buffer_size_bytes = 4096,
                              .sockets_max = harness_sockets_max};
    struct server_options defaults = harness_options();
    *h = (struct harness){.now_ms = 1000000};
    harness_count++;
    writer_init(&h->payload, 0);
    writer_init(&h->log, 0);
    char text[256];
    int fd;
    cr_assert_eq(io_create(&h->io, &ring, text, sizeof text), RESULT_OK, "%s", text);
    timer_wheel_init(&h->wheel, h->now_ms);
    cr_assert_eq(buf_pool_create(&h->pool, 64u << 20), RESULT_OK);
    cr_assert_eq(server_listen("127.0.0.1:0", &fd, &h->port, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(server_create(&h->server, options != NULL ? options : &defaults, h->io, &h->wheel, h->pool,
                               &h->metrics, fd, &events, h),
                 RESULT_OK);
    io_on_batch(h->io, on_batch, h);
    server_start(h->server);
}

void harness_init_small_tables(struct harness *h, const struct server_options *options)
{
    if (getenv("NET_TEST_PLAIN_SOCKETS") != NULL) cr_skip_test("plain descriptors");
    struct rlimit limit, few;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 80;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    harness_init(h, options);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void turn(struct harness *h, uint32_t wait_ms)
{
    io_turn(h->io, wait_ms, 1024);
    timer_wheel_advance(&h->wheel, h->now_ms, 1024);
    server_flush(h->server);
}

void harness_turn(struct harness *h)
{
    turn(h, 1);
}

void harness_turns(struct harness *h, uint32_t count)
{
    while (count-- > 0) harness_turn(h);
}

void harness_advance(struct harness *h, uint64_t ms)
{
    for (uint64_t end_ms = h->now_ms + ms; h->now_ms < end_ms;) {
        uint64_t left_ms = end_ms - h->now_ms;
        h->now_ms += left_ms < ADVANCE_STEP_MS ? left_ms : ADVANCE_STEP_MS;
        turn(h, 0);
        turn(h, 0);
    }
    harness_turns(h, 2);
}

void harness_deinit(struct harness *h)
{
    server_stop(h->server, (struct conn_goodbye){1001, "test ends"});
    for (uint32_t turns = 0; !server_idle(h->server) && turns < 400; turns++) {
        h->now_ms += ADVANCE_STEP_MS;
        harness_turn(h);
    }
    cr_assert(server_idle(h->server));
    cr_assert_eq(harness_metric(&h->metrics.connections_open), 0);
    server_destroy(h->server);
    cr_assert_eq(buf_pool_used_bytes(h->pool), 0);
    cr_assert_eq(h->wheel.armed_count, 0);
    buf_pool_destroy(h->pool);
    io_destroy(h->io);
    writer_deinit(&h->payload);
    writer_deinit(&h->log);
    /* Free bufs of another pool hang in poisoned memory, where the leak check does not look. */
    if (--harness_count == 0) cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

void peer_connect(struct peer *peer, const struct harness *harness)
{
    *peer = (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    writer_init(&peer->received, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(harness->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_geq(peer->fd, 0);
    cr_assert_eq(connect(peer->fd, (struct sockaddr *)&address, sizeof address), 0);
    int on = 1;
    cr_assert_eq(setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

void peer_deinit(struct peer *peer)
{
    if (peer->fd >= 0) close(peer->fd);
    peer->fd = -1;
    writer_deinit(&peer->received);
}

void peer_send(struct peer *peer, const void *data, size_t len)
{
    cr_assert_eq(send(peer->fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

void peer_send_text(struct peer *peer, const char *text)
{
    peer_send(peer, text, strlen(text));
}

void peer_send_frame(struct peer *peer, uint8_t fin_opcode, const void *payload, size_t len)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    uint8_t *frame = malloc(len + WEBSOCKET_HEAD_SIZE_MAX);
    cr_assert_not_null(frame);
    uint32_t head_size = websocket_write_head(frame, WEBSOCKET_BINARY, len);
    frame[0] = fin_opcode;
    frame[1] |= 0x80;
    memcpy(frame + head_size, mask, sizeof mask);
    websocket_unmask(frame + head_size + sizeof mask, payload, len, mask, 0);
    peer_send(peer, frame, head_size + sizeof mask + len);
    free(frame);
}

void peer_send_tcp(struct peer *peer, const void *payload, uint32_t len)
{
    uint8_t head[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    peer_send(peer, head, sizeof head);
    if (len > 0) peer_send(peer, payload, len);
}

static void peer_pump(struct peer *peer)
{
    uint8_t chunk[16384];
    while (!peer->ended && !peer->reset) {
        ssize_t len = recv(peer->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (len < 0 && errno == EAGAIN) return;
        if (len < 0)
            peer->reset = true;
        else if (len == 0)
            peer->ended = true;
        else
            writer_raw(&peer->received, chunk, (size_t)len);
    }
}

bool peer_has(struct peer *peer, size_t len)
{
    peer_pump(peer);
    return peer->received.len >= len;
}

bool peer_has_text(struct peer *peer, const char *text)
{
    peer_pump(peer);
    return peer->received.len > 0 && memmem(peer->received.data, peer->received.len, text, strlen(text)) != NULL;
}

bool peer_ended(struct peer *peer)
{
    peer_pump(peer);
    return peer->ended;
}

bool peer_was_reset(struct peer *peer)
{
    peer_pump(peer);
    return peer->reset;
}

void peer_consume(struct peer *peer, size_t len)
{
    cr_assert_leq(len, peer->received.len);
    memmove(peer->received.data, peer->received.data + len, peer->received.len - len);
    peer->received.len -= len;
}

void peer_open_websocket(struct peer *peer, struct harness *harness)
{
    uint32_t opens = harness->opens;
    peer_connect(peer, harness);
    peer_send_text(peer, HANDSHAKE);
    HARNESS_UNTIL(harness, peer_has_text(peer, "\r\n\r\n"));
    cr_assert_eq(harness->opens, opens + 1);
    peer_consume(peer, peer->received.len);
}

void peer_open_tcp(struct peer *peer, struct harness *harness)
{
    uint32_t opens = harness->opens;
    peer_connect(peer, harness);
    peer_send_text(peer, "RPT1");
    HARNESS_UNTIL(harness, harness->opens == opens + 1);
}
