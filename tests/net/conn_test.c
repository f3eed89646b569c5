#include "net/harness.h"
#include "net/conn_internal.h"
#include <netinet/in.h>
#include <stdio.h>

static struct harness h;
static struct peer peer;
static void setup(void)
{
    harness_init(&h, NULL);
    peer_open_tcp(&peer, &h);
}
static void teardown(void)
{
    peer_deinit(&peer);
    harness_deinit(&h);
}
TestSuite(conn, .init = setup, .fini = teardown);

static struct buf *filled_buf(uint32_t len)
{
    struct buf *buf = buf_try_get(h.pool, len);
    cr_assert_not_null(buf);
    memset(buf->data, 'f', len);
    buf->len = len;
    return buf;
}

Test(conn, frames_of_one_turn_share_one_send)
{
    for (int i = 0; i < 50; i++)
        cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("0123456789"), NULL), RESULT_OK);
    HARNESS_UNTIL(&h, peer_has(&peer, 50 * 14));
    cr_expect_eq(harness_metric(&h.metrics.sends), 1);
    cr_expect_eq(harness_metric(&h.metrics.frames_sent), 50);
    cr_expect_eq(harness_metric(&h.metrics.sent_bytes), 50 * 14);
    cr_expect_eq(buf_pool_used_bytes(h.pool), 0, "nothing is held when nothing waits");
}

Test(conn, shared_payloads_are_copied_when_small_and_referenced_when_large)
{
    struct buf *small = filled_buf(CONN_COPY_MAX), *large = filled_buf(CONN_COPY_MAX + 1);
    cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("s"), small), RESULT_OK);
    cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("l"), large), RESULT_OK);
    cr_expect_eq(small->refs, 1);
    cr_expect_eq(large->refs, 2);
    HARNESS_UNTIL(&h, peer_has(&peer, 4 + 1 + CONN_COPY_MAX + 4 + 1 + CONN_COPY_MAX + 1));
    cr_expect_eq(harness_metric(&h.metrics.sends), 1);
    HARNESS_UNTIL(&h, large->refs == 1);
    buf_unref(&small);
    buf_unref(&large);
}

Test(conn, output_while_a_send_is_in_flight_waits_for_it)
{
    cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("a"), NULL), RESULT_OK);
    server_flush(h.server);
    cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("b"), NULL), RESULT_OK);
    server_flush(h.server);
    cr_expect_eq(harness_metric(&h.metrics.sends), 1);
    HARNESS_UNTIL(&h, peer_has(&peer, 10));
    cr_expect_eq(memcmp(peer.received.data, "\0\0\0\1a\0\0\0\1b", 10), 0);
    cr_expect_eq(harness_metric(&h.metrics.sends), 2);
}

Test(conn, slow_reader_meets_the_limits_and_recovers)
{
    struct buf *buf = filled_buf(60000);
    uint64_t queued = 0;
    enum result res = RESULT_OK;
    while (res == RESULT_OK) {
        res = conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("12345678"), buf);
        if (res == RESULT_OK) queued += 60012;
        harness_turn(&h);
        cr_assert_lt(queued, 100u << 20);
    }
    cr_expect_eq(res, RESULT_BUSY);
    cr_expect_leq(conn_outbound_bytes(h.conn), 1048576);
    cr_expect_gt(conn_outbound_bytes(h.conn), 1048576 - 60030);
    cr_expect_eq(h.drains, 0);
    HARNESS_UNTIL(&h, peer_has(&peer, queued));
    cr_expect_eq(peer.received.len, queued, "what was refused left no trace");
    HARNESS_UNTIL(&h, h.drains == 1);
    harness_turns(&h, 5);
    cr_expect_eq(h.drains, 1);
    cr_expect_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("again"), NULL), RESULT_OK);
    HARNESS_UNTIL(&h, peer_has(&peer, queued + 9));
    buf_unref(&buf);
}

Test(conn, refused_when_the_pool_is_empty)
{
    int64_t all = (int64_t)buf_pool_size_max_bytes(h.pool);
    buf_pool_charge(h.pool, all);
    cr_expect_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("x"), NULL), RESULT_BUSY);
    buf_pool_charge(h.pool, -all);
    cr_expect_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_TEXT("x"), NULL), RESULT_OK);
    HARNESS_UNTIL(&h, peer_has(&peer, 5));
}

Test(conn, peer_closes)
{
    peer_send_tcp(&peer, "last", 4);
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.closes == 1);
    cr_expect_eq(h.frames, 1);
    cr_expect_eq(server_connection_count(h.server), 0);
}

Test(conn, half_closed_peer_still_gets_what_is_queued)
{
    peer_send_tcp(&peer, "last", 4);
    cr_assert_eq(shutdown(peer.fd, SHUT_WR), 0);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(peer.received.len, 8);
    HARNESS_UNTIL(&h, h.closes == 1);
}

Test(conn, peer_resets)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.closes == 1);
}

Test(conn, peer_resets_with_a_send_in_flight)
{
    struct buf *buf = filled_buf(60000);
    for (int i = 0; i < 15; i++) cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf), RESULT_OK);
    harness_turns(&h, 3);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.closes == 1);
    cr_expect_eq(buf->refs, 1);
    buf_unref(&buf);
}

static void close_at_once(struct harness *harness, struct conn *conn, enum conn_frame encoding, struct slice payload)
{
    (void)harness, (void)payload;
    cr_assert_eq(conn_send_frame(conn, encoding, SLICE_TEXT("bye"), NULL), RESULT_OK);
    conn_close(conn, (struct conn_goodbye){1000, NULL});
    conn_close(conn, (struct conn_goodbye){1000, "twice is once"});
}

Test(conn, close_inside_a_callback)
{
    h.on_frame = close_at_once;
    char three[] = "\0\0\0\1a\0\0\0\1b\0\0\0\1c";
    peer_send(&peer, three, sizeof three - 1);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(h.frames, 1, "nothing is delivered after conn_close()");
    cr_expect_eq(memcmp(peer.received.data, "\0\0\0\3bye", 7), 0);
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.closes == 1);
}

static void pause_at_a(struct harness *harness, struct conn *conn, enum conn_frame encoding, struct slice payload)
{
    (void)harness, (void)encoding;
    if (payload.data[0] == 'a') conn_pause(conn);
}

Test(conn, pause_keeps_the_rest_and_resume_delivers_it)
{
    h.on_frame = pause_at_a;
    struct conn *conn = h.conn;
    char three[] = "\0\0\0\1a\0\0\0\1b\0\0\0\1c";
    peer_send(&peer, three, sizeof three - 1);
    HARNESS_UNTIL(&h, h.frames == 1);
    peer_send_tcp(&peer, "d", 1);
    harness_turns(&h, 10);
    cr_expect_eq(h.frames, 1);
    conn_resume(conn);
    cr_expect_eq(h.frames, 1, "not inside conn_resume()");
    HARNESS_UNTIL(&h, h.frames == 4);
    cr_expect_eq(h.payload.data[0], 'd');
    peer_send_tcp(&peer, "e", 1);
    HARNESS_UNTIL(&h, h.frames == 5);
}

Test(conn, paused_connection_takes_a_bounded_amount)
{
    static uint8_t frame[4 + 60000] = {0, 0, 0xEA, 0x60};
    struct conn *conn = h.conn;
    conn_pause(conn);
    size_t sent = 0;
    for (int quiet = 0; quiet < 20;) {
        ssize_t len = send(peer.fd, frame + sent % sizeof frame, sizeof frame - sent % sizeof frame, MSG_DONTWAIT);
        if (len > 0) sent += (size_t)len;
        quiet = len > 0 ? 0 : quiet + 1;
        harness_turn(&h);
    }
    cr_expect_gt(sent, 200000, "the sockets hold more than the connection");
    cr_expect_leq(conn->waiting->bytes.len, 64 * 4096);
    conn_resume(conn);
    h.on_frame = pause_at_a;
    HARNESS_UNTIL(&h, h.frames == sent / sizeof frame);
}

Test(conn, paused_peer_that_leaves_is_noticed_after_its_input)
{
    h.on_frame = pause_at_a;
    struct conn *conn = h.conn;
    char two[] = "\0\0\0\1a\0\0\0\1b";
    peer_send(&peer, two, sizeof two - 1);
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.frames == 1);
    harness_turns(&h, 10);
    cr_expect_eq(h.closes, 0);
    conn_resume(conn);
    HARNESS_UNTIL(&h, h.closes == 1);
    cr_expect_eq(h.frames, 2);
}

Test(conn, more_receivers_than_buffers)
{
    enum { PEERS = 60 };
    static uint8_t payload[30000];
    struct peer peers[PEERS];
    for (int i = 0; i < PEERS; i++) peer_open_tcp(&peers[i], &h);
    for (int i = 0; i < PEERS; i++) peer_send_tcp(&peers[i], payload, sizeof payload);
    for (int i = 0; i < PEERS; i++) HARNESS_UNTIL(&h, peer_has(&peers[i], sizeof payload + 4));
    for (int i = 0; i < PEERS; i++) peer_deinit(&peers[i]);
}

Test(conn, idle_connection_holds_nothing)
{
    peer_send_tcp(&peer, "x", 1);
    HARNESS_UNTIL(&h, peer_has(&peer, 5));
    harness_turns(&h, 2);
    cr_expect_null(h.conn->partial);
    cr_expect_null(h.conn->waiting);
    cr_expect(output_empty(&h.conn->out));
    cr_expect_leq(sizeof(struct conn), CONN_SIZE_MAX);
}

Test(conn, partial_is_given_back)
{
    peer_send(&peer, "\0\0\0\5ab", 6);
    HARNESS_UNTIL(&h, h.conn->partial != NULL);
    peer_send(&peer, "cde", 3);
    HARNESS_UNTIL(&h, h.frames == 1);
    cr_expect_null(h.conn->partial);
}

Test(conn, peer_address)
{
    char text[64];
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    cr_assert_eq(getsockname(peer.fd, (struct sockaddr *)&address, &size), 0);
    char want[64];
    snprintf(want, sizeof want, "127.0.0.1:%u", ntohs(address.sin_port));
    cr_expect_str_eq(conn_peer(h.conn, text, sizeof text), want);
    struct conn stub = {.peer = IN6ADDR_LOOPBACK_INIT, .peer_port = 5};
    cr_expect_str_eq(conn_peer(&stub, text, sizeof text), "[::1]:5");
}
