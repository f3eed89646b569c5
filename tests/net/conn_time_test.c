#include "net/harness.h"

static struct harness h;
static struct peer peer;
static void setup(void)
{
    harness_init(&h, NULL);
}
static void teardown(void)
{
    peer_deinit(&peer);
    harness_deinit(&h);
}
TestSuite(conn_time, .init = setup, .fini = teardown);

static uint64_t timed_out(void)
{
    return harness_metric(&h.metrics.connections_timed_out);
}

Test(conn_time, silent_newcomer_is_closed)
{
    peer_connect(&peer, &h);
    HARNESS_UNTIL(&h, server_connection_count(h.server) == 1);
    harness_advance(&h, 4900);
    cr_expect_not(peer_ended(&peer));
    harness_advance(&h, 200);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(peer.received.len, 0);
    cr_expect_eq(timed_out(), 1);
}

/* The loop slept: its timers stand where they stood before, the time does not. */
Test(conn_time, a_newcomer_has_its_whole_time_though_the_loop_slept_before)
{
    peer_connect(&peer, &h);
    h.now_ms += 4000;
    HARNESS_UNTIL(&h, server_connection_count(h.server) == 1);
    harness_advance(&h, 4900);
    cr_expect_not(peer_ended(&peer));
    harness_advance(&h, 200);
    HARNESS_UNTIL(&h, peer_ended(&peer));
}

Test(conn_time, what_was_heard_after_a_sleep_was_heard_then)
{
    peer_open_websocket(&peer, &h);
    conn_set_authenticated(h.conn);
    uint32_t silence_ms = harness_options().heartbeat_timeout_ms;
    for (int i = 0; i < 3; i++) {
        peer_send_frame(&peer, 0x81, "x", 1);
        h.now_ms += silence_ms / 10 * 9;
        uint32_t frames = h.frames;
        HARNESS_UNTIL(&h, h.frames > frames);
    }
    harness_advance(&h, silence_ms / 10 * 9);
    cr_expect_not(peer_ended(&peer), "the last frame came less than the time of silence ago");
    cr_expect_eq(timed_out(), 0);
}

Test(conn_time, an_mqtt_client_whose_packets_come_in_time_is_kept_though_the_loop_sleeps_between)
{
    peer_connect(&peer, &h);
    peer_send(&peer, "\x10\x00", 2);
    HARNESS_UNTIL(&h, h.frames == 1);
    conn_set_authenticated(h.conn);
    conn_set_keep_alive(h.conn, 1);
    for (uint32_t ping = 0; ping < 8; ping++) {
        bool slept = ping % 2 == 0;
        harness_advance(&h, slept ? 370 : 970);
        peer_send(&peer, "\xC0\x00", 2);
        if (slept) h.now_ms += 600;
        HARNESS_UNTIL(&h, h.frames == 2 + ping || peer_ended(&peer));
        cr_assert_not(peer_ended(&peer), "ping %u", ping);
    }
    harness_advance(&h, 1600);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(timed_out(), 1);
}

Test(conn_time, head_in_drops_gets_408)
{
    peer_connect(&peer, &h);
    for (int i = 0; i < 12 && !peer_ended(&peer); i++) {
        peer_send_text(&peer, i == 0 ? "GET / HTTP/1.1\r\n" : "A: b\r\n");
        harness_advance(&h, 500);
    }
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 408 Request Timeout\r\n") && peer_has_text(&peer, "request_timeout"));
    cr_expect_eq(timed_out(), 1);
}

Test(conn_time, body_must_make_progress)
{
    peer_connect(&peer, &h);
    peer_send_text(&peer, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    char kilobyte[1100] = {0};
    for (int i = 0; i < 3; i++) {
        harness_advance(&h, 4900);
        peer_send(&peer, kilobyte, sizeof kilobyte);
        cr_expect_not(peer_ended(&peer));
    }
    harness_advance(&h, 10200);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 408"));
}

Test(conn_time, body_is_whole_in_thirty_seconds)
{
    peer_connect(&peer, &h);
    peer_send_text(&peer, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    char kilobyte[1100] = {0};
    for (int i = 0; i < 29; i++) {
        harness_advance(&h, 1000);
        peer_send(&peer, kilobyte, sizeof kilobyte);
        cr_expect_not(peer_ended(&peer), "after %d s", i);
    }
    harness_advance(&h, 1500);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 408"));
}

Test(conn_time, idle_keep_alive_ends_quietly)
{
    peer_connect(&peer, &h);
    peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "GET /? \n"));
    size_t len = peer.received.len;
    harness_advance(&h, 29800);
    cr_expect_not(peer_ended(&peer));
    harness_advance(&h, 400);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(peer.received.len, len);
    cr_expect_eq(timed_out(), 0, "that is how keep-alive ends");
}

Test(conn_time, second_request_has_its_own_head_deadline)
{
    peer_connect(&peer, &h);
    peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "GET /? \n"));
    harness_advance(&h, 20000);
    peer_send_text(&peer, "GET /2 HTTP/1.1\r\n");
    harness_advance(&h, 4800);
    cr_expect_not(peer_ended(&peer));
    harness_advance(&h, 400);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 408"));
}

static void keep_request(struct harness *harness, struct conn *conn, const struct http_request *request)
{
    (void)harness, (void)conn, (void)request;
}

Test(conn_time, unanswered_request_has_no_deadline)
{
    h.on_http = keep_request;
    peer_connect(&peer, &h);
    peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    HARNESS_UNTIL(&h, h.requests == 1);
    harness_advance(&h, 100000);
    cr_expect_not(peer_ended(&peer));
    struct http_response response = {.status = 200};
    cr_expect_eq(conn_send_http(h.conn, &response), RESULT_OK);
    HARNESS_UNTIL(&h, peer_has_text(&peer, "200 OK"));
}

Test(conn_time, login_in_ten_seconds)
{
    peer_open_websocket(&peer, &h);
    harness_advance(&h, 9800);
    cr_expect_not(peer_ended(&peer));
    harness_advance(&h, 400);
    cr_expect(peer_has(&peer, 4));
    cr_expect_eq(memcmp(peer.received.data, "\x88\x1B\x11\x31not auth", 12), 0);
    cr_expect_eq(timed_out(), 1);
}

Test(conn_time, quiet_websocket_is_pinged_then_closed)
{
    peer_open_websocket(&peer, &h);
    conn_set_authenticated(h.conn);
    harness_advance(&h, 19800);
    cr_expect_not(peer_has(&peer, 1), "not before 80 %% of the interval");
    harness_advance(&h, 10400);
    cr_expect(peer_has(&peer, 2));
    cr_expect_eq(memcmp(peer.received.data, "\x89\x00", 2), 0);
    harness_advance(&h, 29600);
    cr_expect_eq(h.closes, 0);
    peer_consume(&peer, peer.received.len - peer.received.len % 2);
    harness_advance(&h, 800);
    cr_expect(peer_has_text(&peer, "\x11\x38nothing heard"), "4408");
    cr_expect_eq(timed_out(), 1);
}

Test(conn_time, anything_received_keeps_it_alive)
{
    peer_open_websocket(&peer, &h);
    conn_set_authenticated(h.conn);
    for (int i = 0; i < 10; i++) {
        harness_advance(&h, 31000);
        cr_expect(peer_has(&peer, 1), "a ping");
        peer_consume(&peer, peer.received.len);
        peer_send_frame(&peer, 0x8A, "", 0);
        harness_turns(&h, 3);
    }
    cr_expect_eq(h.closes, 0);
    cr_expect_not(peer_ended(&peer));
}

Test(conn_time, busy_websocket_is_not_pinged)
{
    peer_open_websocket(&peer, &h);
    conn_set_authenticated(h.conn);
    for (int i = 0; i < 30; i++) {
        harness_advance(&h, 4000);
        peer_send_frame(&peer, 0x81, "x", 1);
        HARNESS_UNTIL(&h, peer_has(&peer, 3));
        cr_expect_eq(peer.received.data[0], 0x81);
        peer_consume(&peer, peer.received.len);
    }
}

Test(conn_time, quiet_tcp_gets_an_empty_frame)
{
    peer_open_tcp(&peer, &h);
    conn_set_authenticated(h.conn);
    harness_advance(&h, 30200);
    cr_expect(peer_has(&peer, 4));
    cr_expect_eq(memcmp(peer.received.data, "\0\0\0\0", 4), 0);
    harness_advance(&h, 30200);
    HARNESS_UNTIL(&h, peer_ended(&peer));
}

Test(conn_time, message_in_drops_is_closed)
{
    peer_open_websocket(&peer, &h);
    conn_set_authenticated(h.conn);
    peer_send(&peer, "\x82\xFE\x10\x00\1\2\3\4", 8);
    for (int i = 0; i < 6 && !peer_has(&peer, 4); i++) {
        peer_send(&peer, "x", 1);
        harness_advance(&h, 1000);
    }
    cr_expect(peer_has(&peer, 4));
    cr_expect_eq(memcmp(peer.received.data + 2, "\x03\xF0", 2), 0);
    cr_expect_eq(timed_out(), 1);
}

Test(conn_time, paused_connection_is_not_blamed_for_silence)
{
    peer_open_tcp(&peer, &h);
    conn_set_authenticated(h.conn);
    conn_pause(h.conn);
    harness_advance(&h, 200000);
    cr_expect_not(peer_ended(&peer));
    conn_resume(h.conn);
    harness_advance(&h, 40000);
    cr_expect_not(peer_ended(&peer));
    harness_advance(&h, 60000);
    HARNESS_UNTIL(&h, peer_ended(&peer));
}

static void fill(void)
{
    struct buf *buf = buf_try_get(h.pool, 60000);
    memset(buf->data, 'f', 60000);
    buf->len = 60000;
    while (conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf) == RESULT_OK) harness_turns(&h, 2);
    buf_unref(&buf);
}

Test(conn_time, peer_that_takes_nothing_is_reset)
{
    peer_open_tcp(&peer, &h);
    conn_set_authenticated(h.conn);
    fill();
    harness_advance(&h, 21000);
    cr_expect_eq(h.closes, 1);
    cr_expect_eq(timed_out(), 1);
    HARNESS_UNTIL(&h, peer_was_reset(&peer));
}

Test(conn_time, peer_that_takes_little_is_kept)
{
    peer_open_tcp(&peer, &h);
    conn_set_authenticated(h.conn);
    fill();
    static uint8_t chunk[600000];
    for (int i = 0; i < 5; i++) {
        harness_advance(&h, 9000);
        (void)!recv(peer.fd, chunk, sizeof chunk, MSG_DONTWAIT);
    }
    cr_expect_eq(h.closes, 0);
}

/* The kernel took the last of it only now, and the peer has not got it yet: it is not lost when the peer speaks meanwhile. */
Test(conn_time, what_was_taken_lately_is_not_lost_at_the_end)
{
    peer_open_tcp(&peer, &h);
    conn_set_authenticated(h.conn);
    struct buf *buf = buf_try_get(h.pool, 60000);
    memset(buf->data, 'f', 60000);
    buf->len = 60000;
    size_t sent = 0;
    for (; conn_outbound_bytes(h.conn) == 0; sent += 60000 + sizeof(uint32_t)) {
        cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf), RESULT_OK);
        harness_turns(&h, 2);
    }
    buf_unref(&buf);
    harness_advance(&h, 4000);
    static uint8_t chunk[100000];
    size_t read = 0;
    while (conn_outbound_bytes(h.conn) > 0) {
        ssize_t len = recv(peer.fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (len > 0) read += (size_t)len;
        harness_turn(&h);
    }
    conn_close(h.conn, (struct conn_goodbye){1000, NULL});
    harness_turns(&h, 5);
    peer_send_text(&peer, "what the server does not wait for");
    harness_turns(&h, 5);
    HARNESS_UNTIL(&h, peer_ended(&peer) || peer.reset);
    cr_expect_eq(read + peer.received.len, sent);
    cr_expect_not(peer.reset);
}

Test(conn_time, farewell_to_a_peer_that_takes_nothing_is_bounded)
{
    peer_open_tcp(&peer, &h);
    conn_set_authenticated(h.conn);
    fill();
    conn_close(h.conn, (struct conn_goodbye){1000, NULL});
    harness_advance(&h, 9000);
    cr_expect_eq(h.closes, 0);
    harness_advance(&h, 1500);
    cr_expect_eq(h.closes, 1);
}
