#include "net/harness.h"

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
TestSuite(door_tcp, .init = setup, .fini = teardown);

Test(door_tcp, echo)
{
    cr_expect_eq(conn_door_of(h.conn), CONN_DOOR_TCP);
    peer_send_tcp(&peer, "hello", 5);
    HARNESS_UNTIL(&h, peer_has(&peer, 9));
    cr_expect_eq(memcmp(peer.received.data, "\0\0\0\5hello", 9), 0);
    cr_expect_eq(h.encoding, CONN_FRAME_BINARY);
}

Test(door_tcp, everything_byte_by_byte)
{
    struct peer slow;
    static const char bytes[] = "RPT1\0\0\0\3abc\0\0\0\0\0\0\0\1d";
    peer_connect(&slow, &h);
    for (size_t i = 0; i + 1 < sizeof bytes; i++) {
        peer_send(&slow, bytes + i, 1);
        harness_turn(&h);
    }
    HARNESS_UNTIL(&h, peer_has(&slow, 12));
    cr_expect_eq(memcmp(slow.received.data, "\0\0\0\3abc\0\0\0\1d", 12), 0);
    cr_expect_eq(h.frames, 2);
    peer_deinit(&slow);
}

Test(door_tcp, almost_the_magic_is_http)
{
    struct peer other;
    peer_connect(&other, &h);
    peer_send_text(&other, "RPT");
    harness_turns(&h, 3);
    peer_send_text(&other, "2");
    HARNESS_UNTIL(&h, peer_has_text(&other, "HTTP/1.1 501 Not Implemented\r\n"));
    peer_deinit(&other);
}

Test(door_tcp, largest_frame)
{
    static uint8_t payload[65536];
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (uint8_t)(i * 17 >> 2);
    peer_send_tcp(&peer, payload, sizeof payload);
    HARNESS_UNTIL(&h, peer_has(&peer, sizeof payload + 4));
    cr_expect_eq(memcmp(peer.received.data + 4, payload, sizeof payload), 0);
}

Test(door_tcp, too_large_closes)
{
    peer_send(&peer, "\0\1\0\1", 4);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(peer.received.len, 0);
    cr_expect_eq(h.frames, 0);
}

Test(door_tcp, heartbeats_are_not_answered_and_not_unlimited)
{
    for (int i = 0; i < 20; i++) peer_send_tcp(&peer, "", 0);
    harness_turns(&h, 5);
    cr_expect_not(peer_ended(&peer));
    cr_expect_eq(peer.received.len, 0);
    peer_send_tcp(&peer, "", 0);
    HARNESS_UNTIL(&h, peer_ended(&peer));
}

Test(door_tcp, many_frames_in_one_chunk)
{
    char bytes[1000 * 5];
    for (size_t i = 0; i < 1000; i++) memcpy(bytes + i * 5, "\0\0\0\1x", 5);
    peer_send(&peer, bytes, sizeof bytes);
    HARNESS_UNTIL(&h, peer_has(&peer, sizeof bytes));
    cr_expect_eq(h.frames, 1000);
    cr_expect_leq(harness_metric(&h.metrics.sends), 3, "answers to one chunk share a send");
}
