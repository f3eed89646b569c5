/* tests/perf/driver_test.c - both framings: whole frames are taken however the bytes arrive, and what is sent is well formed. */
#include "perf/envelope.h"
#include "perf/session.h"
#include <criterion/criterion.h>

static struct incoming last_message;
static uint32_t message_count;
static uint64_t last_answer;
static const char *closed_reason;

static void on_message(struct session *session, const struct incoming *message)
{
    (void)session;
    message_count++;
    last_message = *message;
}
static void on_answer(struct session *session, const struct answer *answer)
{
    (void)session;
    last_answer = answer->id;
}
static void on_closed(struct session *session, const char *reason)
{
    (void)session;
    closed_reason = reason;
}
static const struct session_events events = {.on_message = on_message, .on_answer = on_answer, .on_closed = on_closed};

static struct loop loop;

static struct session session_of(const struct driver *driver)
{
    message_count = 0;
    closed_reason = NULL;
    loop.counters = (struct loop_counters){0};
    loop.dirty = NULL;
    return (struct session){.driver = driver, .events = &events, .loop = &loop, .fd = -1, .state = SESSION_READY, .sync_key = 6};
}

/* Envelope { push { event { sync_key 7, message { room 5, seq 9, sender 3, body "hi" } } } } */
static const uint8_t push[] = {0x1a, 0x10, 0x0a, 0x0e, 0x08, 7, 0x12, 0x0a, 0x10, 5, 0x18, 9, 0x20, 3, 0x42, 2, 'h', 'i'};
/* Envelope { response { id 300, send {} } } */
static const uint8_t response[] = {0x12, 0x06, 0x08, 0xac, 0x02, 0xa2, 0x01, 0x00};

static size_t put_tcp(uint8_t *at, const void *payload, uint8_t size)
{
    memcpy(at, (uint8_t[]){0, 0, 0, size}, 4);
    if (size > 0) memcpy(at + 4, payload, size);
    return 4u + size;
}
static size_t put_websocket(uint8_t *at, uint8_t first, const void *payload, uint8_t size)
{
    at[0] = first;
    at[1] = size;
    if (size > 0) memcpy(at + 2, payload, size);
    return 2u + size;
}

/* Takes the stream in pieces that end at every place; what is not taken is offered again with more. */
static void feed_in_pieces(const struct driver *driver, uint8_t stage, struct slice stream)
{
    for (size_t cut = 0; cut <= stream.len; cut++) {
        struct session session = session_of(driver);
        session.driver_stage = stage;
        size_t taken = driver->receive(&session, (struct slice){stream.data, cut});
        cr_assert_leq(taken, cut);
        taken += driver->receive(&session, (struct slice){stream.data + taken, stream.len - taken});
        cr_expect_eq(taken, stream.len, "%s cut at %zu", driver->name, cut);
        cr_expect_eq(message_count, 1);
        cr_expect_eq(last_message.room_id, 5);
        cr_expect_eq(last_message.seq, 9);
        cr_expect_eq(last_message.sender_id, 3);
        cr_expect_eq(last_message.body.len, 2);
        cr_expect_eq(last_answer, 300);
        cr_expect_eq(session.sync_key, 7);
        cr_expect_eq(loop.counters.stream_holes, 0);
        cr_expect_null(closed_reason);
        bytes_free(&session.out);
    }
}

Test(driver, tcp_takes_frames_in_pieces)
{
    uint8_t stream[64];
    size_t len = put_tcp(stream, push, sizeof push);
    len += put_tcp(stream + len, NULL, 0);
    len += put_tcp(stream + len, response, sizeof response);
    feed_in_pieces(&driver_tcp, 0, (struct slice){stream, len});
}

Test(driver, websocket_takes_frames_in_pieces)
{
    uint8_t stream[64];
    size_t len = put_websocket(stream, 0x82, push, sizeof push);
    len += put_websocket(stream + len, 0x89, "x", 1);
    len += put_websocket(stream + len, 0x82, response, sizeof response);
    feed_in_pieces(&driver_websocket, 1, (struct slice){stream, len});
}

Test(driver, tcp_answers_a_heartbeat)
{
    struct session session = session_of(&driver_tcp);
    cr_expect_eq(driver_tcp.receive(&session, (struct slice){(const uint8_t *)"\0\0\0", 4}), 4);
    cr_assert_eq(session.out.len, 4);
    cr_expect_arr_eq(session.out.data, "\0\0\0", 4);
    bytes_free(&session.out);
}

Test(driver, websocket_masks_what_it_sends)
{
    for (size_t size = 0; size < 400; size++) {
        uint8_t body[400];
        memset(body, 'b', sizeof body);
        struct session session = session_of(&driver_websocket);
        struct outgoing message = {.id = 1, .room_id = 2, .client_msg_id = {(const uint8_t *)"c", 1}, .body = {body, size}};
        driver_websocket.send(&session, &message);
        struct slice plain = envelope_send(&message);
        size_t head = plain.len < 126 ? 2 : 4;
        const uint8_t *out = session.out.data, *mask = out + head;
        cr_assert_eq(session.out.len, head + 4 + plain.len);
        cr_expect_eq(out[0], 0x82);
        cr_expect_eq(out[1], 0x80 | (plain.len < 126 ? plain.len : 126));
        if (head == 4) cr_expect_eq((size_t)out[2] << 8 | out[3], plain.len);
        for (size_t i = 0; i < plain.len; i++) cr_assert_eq(out[head + 4 + i] ^ mask[i % 4], plain.data[i], "byte %zu", i);
        bytes_free(&session.out);
    }
}

Test(driver, a_sent_message_is_what_the_schema_says)
{
    struct outgoing message = {.id = 1u << 20, .to_user_id = 1ull << 48, .client_msg_id = {(const uint8_t *)"id", 2},
                               .body = {(const uint8_t *)"body", 4}};
    struct slice packed = envelope_send(&message);
    Ringpost__V1__Envelope *envelope = ringpost__v1__envelope__unpack(NULL, packed.len, packed.data);
    cr_assert_not_null(envelope);
    cr_expect_eq(envelope->request->id, message.id);
    const Ringpost__V1__SendRequest *send = envelope->request->send;
    cr_expect_eq(send->to_user_id, message.to_user_id);
    cr_expect_eq(send->room_id, 0);
    cr_expect_str_eq(send->client_msg_id, "id");
    cr_expect_eq(send->kind, RINGPOST__V1__MESSAGE_KIND__CUSTOM);
    cr_expect_eq(send->body.len, 4);
    ringpost__v1__envelope__free_unpacked(envelope, NULL);
}

Test(session, a_hole_in_the_stream_is_counted)
{
    struct session session = session_of(&driver_tcp);
    session_on_event(&session, 7, NULL);
    cr_expect_eq(loop.counters.stream_holes, 0);
    session_on_event(&session, 9, NULL);
    cr_expect_eq(loop.counters.stream_holes, 1);
    session_on_event(&session, 9, NULL);
    cr_expect_eq(loop.counters.stream_holes, 2);
}

Test(session, who_pages_lets_pushes_pass_and_remembers_that_there_were_some)
{
    struct session session = session_of(&driver_tcp);
    session.ignores_pushes = true;
    session_on_event(&session, 9, NULL);
    cr_expect_eq(session.sync_key, 6);
    cr_expect_eq(session.heard_key, 9);
    session.ignores_pushes = false;
    session_on_event(&session, 7, NULL);
    cr_expect_eq(session.sync_key, 7);
    cr_expect_eq(session.heard_key, 9);
    cr_expect_eq(loop.counters.stream_holes, 0);
}

Test(session, who_leaves_hears_nothing_more)
{
    uint8_t stream[64];
    size_t len = put_tcp(stream, push, sizeof push);
    struct session session = session_of(&driver_tcp);
    session_leave(&session);
    cr_expect_eq(driver_tcp.receive(&session, (struct slice){stream, len}), 0);
    cr_expect_eq(message_count, 0);
    bytes_free(&session.out);
}
