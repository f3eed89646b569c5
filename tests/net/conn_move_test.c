#include "net/harness.h"

static struct harness a, b; /* two workers, two rings */
static struct peer peer;
static struct conn_handover *handover;
static uint32_t gone_count;

static void setup(void)
{
    harness_init(&a, NULL);
    harness_init(&b, NULL);
    handover = NULL;
    gone_count = 0;
}
static void teardown(void)
{
    peer_deinit(&peer);
    harness_deinit(&a);
    harness_deinit(&b);
}
TestSuite(conn_move, .init = setup, .fini = teardown);

static void gone(void *context, struct conn_handover *packed)
{
    cr_expect_eq(context, &a);
    handover = packed;
    gone_count++;
}

static void detach_at_move(struct harness *harness, struct conn *conn, enum conn_frame encoding, struct slice payload)
{
    if (payload.len == 4 && memcmp(payload.data, "move", 4) == 0) {
        conn_detach(conn, b.io, gone, harness);
        cr_expect_eq(gone_count, 0, "not inside conn_detach()");
        cr_expect_null(server_find(harness->server, conn_handle_of(conn)));
    }
    cr_expect_eq(conn_send_frame(conn, encoding, payload, NULL), RESULT_OK, "travels with it");
}

static struct conn *adopt(void)
{
    struct conn *conn = conn_adopt(b.server, handover);
    handover = NULL;
    return conn;
}

/* Frames before, at and after the move, the last one cut in two by it. */
static void expect_move(bool websocket)
{
    a.on_frame = detach_at_move;
    if (websocket)
        peer_open_websocket(&peer, &a);
    else
        peer_open_tcp(&peer, &a);
    const char *tcp = "\0\0\0\4move\0\0\0\5after\0\0\0\6la",
               *web = "\x81\x84\0\0\0\0move\x81\x85\0\0\0\0after\x81\x86\0\0\0\0la";
    peer_send(&peer, websocket ? web : tcp, websocket ? 29 : 23);
    HARNESS_UNTIL(&a, gone_count == 1);
    cr_assert_not_null(handover);
    cr_expect_eq(a.closes, 0, "it did not close, it moved");
    cr_expect_eq(a.frames, 1);
    cr_expect_eq(server_connection_count(a.server), 0);
    peer_send(&peer, "st", 2);
    struct conn *conn = adopt();
    cr_assert_not_null(conn);
    peer_send(&peer, "++", 2);
    harness_turns(&b, 10);
    cr_expect_eq(b.frames, 0, "paused until resumed");
    conn_resume(conn);
    cr_expect_eq(b.frames, 0);
    HARNESS_UNTIL(&b, b.frames == 2);
    cr_expect(slice_equal(writer_slice(&b.payload), SLICE_TEXT("last++")));
    cr_expect_eq(b.opens, 0);
    cr_expect_eq(harness_metric(&b.metrics.connections_migrated), 1);
    size_t head = websocket ? 2 : 4;
    HARNESS_UNTIL(&b, peer_has(&peer, 3 * head + 15));
    cr_expect_eq(memcmp(peer.received.data + head, "move", 4), 0);
    cr_expect_eq(memcmp(peer.received.data + 2 * head + 4, "after", 5), 0);
    cr_expect_eq(memcmp(peer.received.data + 3 * head + 9, "last++", 6), 0);
}

Test(conn_move, tcp_with_bytes_in_flight_both_ways)
{
    expect_move(false);
}
Test(conn_move, websocket_with_bytes_in_flight_both_ways)
{
    expect_move(true);
}

Test(conn_move, fragmented_message_travels)
{
    peer_open_websocket(&peer, &a);
    peer_send_frame(&peer, 0x01, "he\xE2\x82", 4);
    harness_turns(&a, 5);
    conn_detach(a.conn, b.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    conn_resume(adopt());
    peer_send_frame(&peer, 0x80, "\xAC", 1);
    HARNESS_UNTIL(&b, b.frames == 1);
    cr_expect(slice_equal(writer_slice(&b.payload), SLICE_TEXT("he\xE2\x82\xAC")));
}

Test(conn_move, much_unsent_output_travels)
{
    peer_open_tcp(&peer, &a);
    struct buf *buf = buf_try_get(a.pool, 60000);
    memset(buf->data, 'f', 60000);
    buf->len = 60000;
    for (int i = 0; i < 16; i++) cr_assert_eq(conn_send_frame(a.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf), RESULT_OK);
    conn_detach(a.conn, b.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    cr_expect_eq(buf->refs, 1, "bufs stay with their worker");
    buf_unref(&buf);
    cr_assert_not_null(adopt());
    HARNESS_UNTIL(&b, peer_has(&peer, 16 * 60004));
    for (int i = 0; i < 16; i++)
        cr_expect_eq(memcmp(peer.received.data + i * 60004,
                            "\0\0\xEA\x60"
                            "f",
                            5),
                     0);
}

Test(conn_move, authenticated_travels)
{
    peer_open_tcp(&peer, &a);
    conn_set_authenticated(a.conn);
    conn_detach(a.conn, b.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    conn_resume(adopt());
    harness_advance(&b, 30200);
    cr_expect(peer_has(&peer, 4), "a heartbeat, not the end of the time to log in");
    cr_expect_not(peer_ended(&peer));
}

Test(conn_move, adopted_but_never_authenticated_times_out)
{
    peer_open_tcp(&peer, &a);
    conn_detach(a.conn, b.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    cr_assert_not_null(adopt());
    harness_turn(&a); /* its side of the socket is closed */
    harness_advance(&b, 10200);
    HARNESS_UNTIL(&b, peer_ended(&peer));
}

Test(conn_move, peer_that_left_meanwhile_gives_no_handover)
{
    peer_open_tcp(&peer, &a);
    struct conn *conn = a.conn;
    peer_deinit(&peer);
    conn_detach(conn, b.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    /* The end of the stream may be seen before or after the recv is cancelled; either way nothing is lost. */
    if (handover == NULL) {
        cr_expect_eq(a.closes, 1);
    } else {
        conn_resume(adopt());
        HARNESS_UNTIL(&b, b.closes == 1);
        cr_expect_eq(a.closes, 0);
    }
}

Test(conn_move, close_while_leaving)
{
    peer_open_tcp(&peer, &a);
    conn_detach(a.conn, b.io, gone, &a);
    conn_close(a.conn, (struct conn_goodbye){1000, NULL});
    HARNESS_UNTIL(&a, gone_count == 1);
    cr_expect_null(handover);
    cr_expect_eq(a.closes, 1);
    HARNESS_UNTIL(&a, peer_ended(&peer));
}

Test(conn_move, no_room_over_there)
{
    struct harness full;
    struct server_options options = harness_options();
    options.connections_max = 1;
    harness_init(&full, &options);
    struct peer first;
    peer_open_tcp(&first, &full);
    peer_open_tcp(&peer, &a);
    conn_detach(a.conn, full.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    cr_expect_null(conn_adopt(full.server, handover));
    harness_turn(&a); /* which lets go of the socket, too */
    HARNESS_UNTIL(&full, peer_ended(&peer));
    peer_deinit(&first);
    harness_deinit(&full);
}

/* With room for 70 sockets in a table, those who move fill three over there. */
Test(conn_move, many_move_into_small_tables)
{
    struct harness small;
    struct server_options options = harness_options();
    options.connections_max = 1000;
    options.connections_per_ip_max = 0;
    harness_init_small_tables(&small, &options);
    static struct peer peers[200];
    for (uint32_t i = 0; i < COUNT_OF(peers); i++) {
        peer_open_tcp(&peers[i], &a);
        conn_detach(a.conn, small.io, gone, &a);
        HARNESS_UNTIL(&a, gone_count == i + 1);
        cr_assert_not_null(handover);
        struct conn *conn = conn_adopt(small.server, handover);
        cr_assert_not_null(conn);
        conn_resume(conn);
        harness_turn(&small);
    }
    for (uint32_t i = 0; i < COUNT_OF(peers); i++) {
        peer_send_tcp(&peers[i], "ping", 4);
        HARNESS_UNTIL(&small, peer_has(&peers[i], 8));
    }
    for (uint32_t i = 0; i < COUNT_OF(peers); i++) peer_deinit(&peers[i]);
    HARNESS_UNTIL(&small, server_connection_count(small.server) == 0);
    harness_deinit(&small);
}

/* More arrive than are taken in over there: its table fills up, and those who find no place end where they are. */
Test(conn_move, no_place_over_there)
{
    struct harness small;
    struct server_options options = harness_options();
    options.connections_max = 1000;
    harness_init_small_tables(&small, &options);
    static struct peer peers[100];
    static struct conn_handover *taken[COUNT_OF(peers)];
    uint32_t refused = 0;
    for (uint32_t i = 0; i < COUNT_OF(peers); i++) {
        peer_open_tcp(&peers[i], &a);
        conn_detach(a.conn, small.io, gone, &a);
        for (uint32_t turns = 0; gone_count == i && turns < HARNESS_TURNS_MAX; turns++) {
            harness_turn(&a);
            harness_turn(&small);
        }
        cr_assert_eq(gone_count, i + 1);
        taken[i] = handover;
        refused += handover == NULL;
    }
    cr_expect_geq(refused, COUNT_OF(peers) - 80);
    cr_expect_eq(a.closes, refused);
    for (uint32_t i = 0; i < COUNT_OF(peers); i++) {
        if (taken[i] == NULL) {
            HARNESS_UNTIL(&a, peer_ended(&peers[i]));
        } else {
            struct conn *conn = conn_adopt(small.server, taken[i]);
            cr_assert_not_null(conn);
            conn_resume(conn);
            peer_send_tcp(&peers[i], "ping", 4);
            HARNESS_UNTIL(&small, peer_has(&peers[i], 8));
        }
    }
    for (uint32_t i = 0; i < COUNT_OF(peers); i++) peer_deinit(&peers[i]);
    HARNESS_UNTIL(&small, server_connection_count(small.server) == 0);
    harness_deinit(&small);
}

Test(conn_move, handover_nobody_takes)
{
    peer_open_websocket(&peer, &a);
    peer_send_frame(&peer, 0x01, "part", 4);
    harness_turns(&a, 3);
    cr_assert_eq(conn_send_frame(a.conn, CONN_FRAME_TEXT, SLICE_TEXT("unsent"), NULL), RESULT_OK);
    conn_detach(a.conn, b.io, gone, &a);
    HARNESS_UNTIL(&a, gone_count == 1);
    conn_handover_free(b.server, handover);
    harness_turn(&a);
    HARNESS_UNTIL(&b, peer_ended(&peer) || peer.reset);
}
