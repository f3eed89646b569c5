#include "net/harness.h"

static struct harness h;
static struct peer peer;
static void setup(void)
{
    harness_init(&h, NULL);
    peer_open_websocket(&peer, &h);
}
static void teardown(void)
{
    peer_deinit(&peer);
    harness_deinit(&h);
}
TestSuite(door_websocket, .init = setup, .fini = teardown);

static bool peer_got(struct peer *p, const void *bytes, size_t len)
{
    return peer_has(p, len) && memcmp(p->received.data, bytes, len) == 0;
}

Test(door_websocket, echo_of_text_and_binary)
{
    peer_send_frame(&peer, 0x81, "hello", 5);
    HARNESS_UNTIL(&h, peer_has(&peer, 7));
    cr_expect(peer_got(&peer, "\x81\x05hello", 7));
    peer_consume(&peer, 7);
    peer_send_frame(&peer, 0x82, "\0\xFF", 2);
    HARNESS_UNTIL(&h, peer_has(&peer, 4));
    cr_expect(peer_got(&peer, "\x82\x02\0\xFF", 4));
}

Test(door_websocket, frames_right_behind_the_handshake)
{
    struct peer eager;
    peer_connect(&eager, &h);
    peer_send_text(&eager, HANDSHAKE "\x81\x82\1\1\1\1ih");
    HARNESS_UNTIL(&h, peer_has_text(&eager, "\r\n\r\n\x81\x02hi"));
    peer_deinit(&eager);
}

Test(door_websocket, handshake_and_frame_byte_by_byte)
{
    struct peer slow;
    peer_connect(&slow, &h);
    const char *text = HANDSHAKE "\x81\x82\1\1\1\1ih";
    for (size_t i = 0; i < strlen(text); i++) {
        peer_send(&slow, text + i, 1);
        harness_turn(&h);
    }
    HARNESS_UNTIL(&h, peer_has_text(&slow, "\r\n\r\n\x81\x02hi"));
    peer_deinit(&slow);
}

Test(door_websocket, fragments_with_a_ping_between)
{
    peer_send_frame(&peer, 0x01, "he", 2);
    harness_turns(&h, 3);
    peer_send_frame(&peer, 0x89, "now", 3);
    HARNESS_UNTIL(&h, peer_has(&peer, 5));
    cr_expect(peer_got(&peer, "\x8A\x03now", 5));
    peer_consume(&peer, 5);
    peer_send_frame(&peer, 0x80, "llo", 3);
    HARNESS_UNTIL(&h, peer_has(&peer, 7));
    cr_expect(peer_got(&peer, "\x81\x05hello", 7));
}

Test(door_websocket, largest_message_in_many_chunks)
{
    static uint8_t payload[65536];
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (uint8_t)(i * 31 >> 3);
    peer_send_frame(&peer, 0x82, payload, sizeof payload);
    HARNESS_UNTIL(&h, peer_has(&peer, sizeof payload + 10));
    cr_expect_eq(memcmp(peer.received.data + 10, payload, sizeof payload), 0);
}

/* The client's frame, then the Close frame it gets. */
Test(door_websocket, close_codes)
{
    static const struct {
        const char *name;
        uint8_t fin_opcode;
        const char *payload;
        size_t len;
        const char *want;
        size_t want_len;
    } cases[] = {
        {"normal", 0x88, "\x03\xE8", 2, "\x88\x02\x03\xE8", 4},
        {"own code and reason", 0x88, "\x0F\xA1why", 5, "\x88\x02\x0F\xA1", 4},
        {"without code", 0x88, "", 0, "\x88\x00", 2},
        {"bad code", 0x88, "\x03\xED", 2, "\x88\x18\x03\xEA", 4},
        {"bad reason", 0x88, "\x03\xE8\xFF", 3, "\x88\x1B\x03\xEF", 4},
        {"bad text", 0x81, "\xFF", 1, "\x88\x13\x03\xEF", 4},
        {"reserved bit", 0xC1, "x", 1, "\x88\x12\x03\xEA", 4},
        {"unknown opcode", 0x83, "x", 1, "\x88\x10\x03\xEA", 4},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct peer p;
        uint32_t closes = h.closes;
        peer_open_websocket(&p, &h);
        peer_send_frame(&p, cases[i].fin_opcode, cases[i].payload, cases[i].len);
        HARNESS_UNTIL(&h, peer_ended(&p));
        cr_expect(p.received.len >= cases[i].want_len && memcmp(p.received.data, cases[i].want, cases[i].want_len) == 0,
                  "%s: %02x %02x", cases[i].name, p.received.data[0], p.received.data[1]);
        peer_deinit(&p);
        HARNESS_UNTIL(&h, h.closes == closes + 1);
    }
    cr_expect_eq(h.frames, 0);
}

Test(door_websocket, unmasked_frame_is_refused)
{
    peer_send(&peer, "\x81\x02hi", 4);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_got(&peer,
                       "\x88\x15\x03\xEA"
                       "frame is not masked",
                       23));
}

Test(door_websocket, too_large_is_refused_from_the_head)
{
    peer_send(&peer, "\x82\xFF\0\0\0\0\0\1\0\1\1\2\3\4", 14);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_got(&peer,
                       "\x88\x13\x03\xF1"
                       "message too large",
                       21));
}

Test(door_websocket, twenty_control_frames_a_second)
{
    for (int i = 0; i < 20; i++) peer_send_frame(&peer, i % 2 == 0 ? 0x89 : 0x8A, "", 0);
    HARNESS_UNTIL(&h, peer_has(&peer, 20));
    harness_advance(&h, 1000);
    for (int i = 0; i < 20; i++) peer_send_frame(&peer, 0x89, "", 0);
    HARNESS_UNTIL(&h, peer_has(&peer, 60));
    cr_expect_not(peer_ended(&peer));
    peer_consume(&peer, 60);
    peer_send_frame(&peer, 0x89, "", 0);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_got(&peer,
                       "\x88\x19\x03\xF0"
                       "too many control frames",
                       27));
}

Test(door_websocket, server_close_waits_for_the_answer)
{
    conn_close(h.conn, (struct conn_goodbye){4403, "revoked"});
    cr_expect_null(server_find(h.server, conn_handle_of(h.conn)), "closing is gone for finders");
    cr_expect_eq(conn_send_frame(h.conn, CONN_FRAME_TEXT, SLICE_TEXT("late"), NULL), RESULT_CLOSED);
    HARNESS_UNTIL(&h, peer_has(&peer, 11));
    cr_expect(peer_got(&peer, "\x88\x09\x11\x33revoked", 11));
    harness_turns(&h, 10);
    cr_expect_not(peer_ended(&peer), "the peer has a second to answer");
    peer_send_frame(&peer, 0x81, "still sending", 13);
    peer_send_frame(&peer, 0x88, "\x11\x33", 2);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(h.frames, 0, "nothing is delivered after conn_close()");
    cr_expect_eq(h.closes, 0, "the end of the client's stream is awaited");
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.closes == 1);
}

Test(door_websocket, server_close_does_not_wait_for_ever)
{
    conn_close(h.conn, (struct conn_goodbye){1000, NULL});
    HARNESS_UNTIL(&h, peer_has(&peer, 4));
    harness_advance(&h, 1100);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(h.closes, 0);
    harness_advance(&h, 1100);
    cr_expect_eq(h.closes, 1);
}

Test(door_websocket, queued_output_leaves_before_the_close)
{
    for (int i = 0; i < 100; i++)
        cr_assert_eq(conn_send_frame(h.conn, CONN_FRAME_TEXT, SLICE_TEXT("x"), NULL), RESULT_OK);
    conn_close(h.conn, (struct conn_goodbye){1000, NULL});
    HARNESS_UNTIL(&h, peer_has(&peer, 304));
    cr_expect_eq(memcmp(peer.received.data + 300, "\x88\x02\x03\xE8", 4), 0);
    cr_expect_eq(harness_metric(&h.metrics.sends), 2, "the handshake's, and one for all of this");
}
