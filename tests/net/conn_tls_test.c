#include "net/conn_internal.h"
#include "net/harness.h"
#include "net/tls.h"
#include "net/tls_fixture.h"
#include <stdlib.h>

static struct harness a;
static struct tls_identity *identity;
static struct tls_trust *trust;
static char path_certificate[FIXTURE_PATH_SIZE], path_key[FIXTURE_PATH_SIZE];

struct secure { /* a client that speaks TLS over a peer */
    struct peer peer;
    struct tls *tls;
    struct writer received; /* plaintext */
    bool closed;            /* close_notify came */
    bool failed;
};

static void start(const struct server_options *changes)
{
    char text[256];
    struct server_options options = changes != NULL ? *changes : harness_options();
    fixture_write(path_certificate, fixture_certificate);
    fixture_write(path_key, fixture_key);
    cr_assert_eq(tls_identity_create(&identity, path_certificate, path_key, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(tls_trust_create(&trust, path_certificate, text, sizeof text), RESULT_OK, "%s", text);
    options.tls = identity;
    if (options.tls_handshakes_per_turn_max == 0) options.tls_handshakes_per_turn_max = 2;
    harness_init(&a, &options);
}

static void teardown(void)
{
    harness_deinit(&a);
    tls_trust_destroy(trust);
    tls_identity_destroy(identity);
    unlink(path_certificate);
    unlink(path_key);
    tls_thread_end();
}
TestSuite(conn_tls, .fini = teardown);

static void secure_begin(struct secure *client, struct peer peer)
{
    *client = (struct secure){.peer = peer, .tls = tls_create_client(trust, "localhost")};
    cr_assert_not_null(client->tls);
    writer_init(&client->received, 0);
}

static void secure_deinit(struct secure *client)
{
    tls_destroy(client->tls);
    writer_deinit(&client->received);
    peer_deinit(&client->peer);
}

static void secure_flush(struct secure *client)
{
    while (tls_has_output(client->tls)) {
        struct slice out = tls_output(client->tls);
        peer_send(&client->peer, out.data, out.len);
        tls_sent(client->tls, out.len);
    }
}

/* Takes what arrived and answers it; always true, so that it stands in a condition. */
static bool secure_pump(struct secure *client)
{
    static uint8_t plain[TLS_RECORD_SIZE_MAX];
    secure_flush(client);
    if (!peer_has(&client->peer, 1)) return true;
    struct slice in = writer_slice(&client->peer.received);
    enum tls_event event = TLS_DATA;
    while (event == TLS_DATA || event == TLS_CONTROL || event == TLS_STEP) {
        uint32_t plain_len;
        event = tls_read(client->tls, &in, plain, &plain_len);
        if (event == TLS_DATA) writer_raw(&client->received, plain, plain_len);
        if (event == TLS_STEP && tls_handshake(client->tls) == TLS_OPENED) event = TLS_DATA;
    }
    client->closed |= event == TLS_CLOSED;
    client->failed |= event == TLS_FAILED;
    peer_consume(&client->peer, client->peer.received.len);
    secure_flush(client);
    return true;
}

static void secure_open(struct secure *client)
{
    struct peer peer;
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0); /* the one before is gone */
    peer_connect(&peer, &a);
    secure_begin(client, peer);
    HARNESS_UNTIL(&a, secure_pump(client) && tls_is_open(client->tls) &&
                          harness_metric(&a.metrics.tls_connections_open) == 1);
}

static void secure_send(struct secure *client, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        uint32_t part = len < TLS_RECORD_SIZE_MAX ? (uint32_t)len : TLS_RECORD_SIZE_MAX;
        cr_assert_eq(tls_write(client->tls, slice_of(at, part)), RESULT_OK);
        at += part;
        len -= part;
    }
}

static bool secure_has(struct secure *client, const char *text)
{
    secure_pump(client);
    return client->received.len >= strlen(text) &&
           memmem(client->received.data, client->received.len, text, strlen(text)) != NULL;
}

/* With a first frame of the raw door, "one", sent and given back. */
static void secure_open_heard(struct secure *client)
{
    secure_open(client);
    secure_send(client, "RPT1\0\0\0\3one", 11);
    HARNESS_UNTIL(&a, secure_has(client, "one"));
}

Test(conn_tls, every_door_stands_behind_it)
{
    static const struct {
        const char *name, *sent;
        size_t sent_len;
        const char *want;
    } cases[] = {
        {"HTTP", "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", 0, "GET /a?b \n"},
        {"WebSocket", HANDSHAKE, 0, "101 Switching Protocols"},
        {"TCP", "RPT1\0\0\0\3one", 11, "one"},
        {"MQTT", "\x10\x02hi", 4, "\x10\x02hi"},
    };
    start(NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct secure client;
        secure_open(&client);
        secure_send(&client, cases[i].sent, cases[i].sent_len != 0 ? cases[i].sent_len : strlen(cases[i].sent));
        HARNESS_UNTIL(&a, secure_has(&client, cases[i].want));
        secure_deinit(&client);
        HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
    }
    cr_expect_eq(harness_metric(&a.metrics.tls_handshakes_full), COUNT_OF(cases));
    cr_expect_eq(harness_metric(&a.metrics.tls_connections_open), 0);
}

Test(conn_tls, plain_connections_come_on_the_same_port)
{
    start(NULL);
    struct peer peer;
    peer_connect(&peer, &a);
    peer_send_text(&peer, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n");
    HARNESS_UNTIL(&a, peer_has_text(&peer, "GET /plain"));
    peer_deinit(&peer);
}

Test(conn_tls, hsts_is_said_over_tls_only)
{
    struct server_options options = harness_options();
    options.hsts_max_age_s = 300;
    start(&options);
    struct secure client;
    secure_open(&client);
    secure_send(&client, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", 28);
    HARNESS_UNTIL(&a, secure_has(&client, "GET /a"));
    cr_expect(secure_has(&client, "\r\nStrict-Transport-Security: max-age=300\r\n"));
    secure_deinit(&client);
    struct peer peer;
    peer_connect(&peer, &a);
    peer_send_text(&peer, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n");
    HARNESS_UNTIL(&a, peer_has_text(&peer, "GET /plain"));
    cr_expect_not(peer_has_text(&peer, "Strict-Transport-Security"));
    peer_deinit(&peer);
}

Test(conn_tls, plain_connections_are_refused_where_it_is_required)
{
    static const struct {
        const char *name, *sent, *want;
    } cases[] = {
        {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "tls_required"},
        {"WebSocket", HANDSHAKE, "403"},
        {"TCP", "RPT1", NULL},
        {"part of TCP's magic", "RP", NULL},
        {"MQTT", "\x10\x02hi", NULL},
    };
    struct server_options options = harness_options();
    options.tls_required = true;
    start(&options);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct peer peer;
        peer_connect(&peer, &a);
        peer_send_text(&peer, cases[i].sent);
        HARNESS_UNTIL(&a, peer_ended(&peer));
        if (cases[i].want != NULL)
            cr_expect(peer_has_text(&peer, cases[i].want), "%s", cases[i].name);
        else
            cr_expect_not(peer_has(&peer, 1), "%s", cases[i].name);
        peer_deinit(&peer);
    }
    cr_expect_eq(a.opens + a.requests + a.upgrades, 0);
    struct secure client;
    secure_open(&client);
    secure_deinit(&client);
}

Test(conn_tls, a_slow_handshake_succeeds_byte_by_byte)
{
    start(NULL);
    struct secure client;
    struct peer peer;
    peer_connect(&peer, &a);
    secure_begin(&client, peer);
    struct slice hello = tls_output(client.tls);
    for (uint32_t at = 0; at < hello.len; at++) {
        peer_send(&client.peer, hello.data + at, 1);
        harness_turn(&a);
        cr_assert_not(at + 1 < hello.len && peer_has(&client.peer, 1));
    }
    tls_sent(client.tls, hello.len);
    HARNESS_UNTIL(&a, secure_pump(&client) && tls_is_open(client.tls));
    secure_send(&client, "RPT1\0\0\0\3one", 11);
    HARNESS_UNTIL(&a, secure_has(&client, "one"));
    secure_deinit(&client);
}

Test(conn_tls, an_unfinished_handshake_ends_in_time)
{
    static const char *const begun[] = {"\x16", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01\x00"};
    start(NULL);
    for (size_t i = 0; i < COUNT_OF(begun); i++) {
        struct peer peer;
        peer_connect(&peer, &a);
        peer_send(&peer, begun[i], i == 2 ? 7 : strlen(begun[i]));
        harness_turns(&a, 5);
        cr_expect_not(peer_ended(&peer));
        harness_advance(&a, 5200);
        HARNESS_UNTIL(&a, peer_ended(&peer));
        peer_deinit(&peer);
    }
    cr_expect_eq(harness_metric(&a.metrics.connections_timed_out), COUNT_OF(begun));
}

Test(conn_tls, garbage_is_answered_with_an_end)
{
    static const struct {
        const char *name, *sent;
        size_t len;
    } cases[] = {
        {"no record", "\x16hello, this is no TLS", 22},
        {"a record of garbage", "\x16\x03\x01\x00\x05hello", 10},
        {"a record too long", "\x16\x03\x01\xff\xff", 5},
    };
    start(NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct peer peer;
        peer_connect(&peer, &a);
        peer_send(&peer, cases[i].sent, cases[i].len);
        HARNESS_UNTIL(&a, peer_ended(&peer));
        peer_deinit(&peer);
        HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
    }
    cr_expect_eq(harness_metric(&a.metrics.tls_handshakes_failed), COUNT_OF(cases));
    cr_expect_eq(a.requests, 0);
}

#define CROWD 12

/* All of them at once, where one step of a handshake is made in a turn. */
static void crowd_begin(struct secure crowd[CROWD])
{
    struct server_options options = harness_options();
    options.tls_handshakes_per_turn_max = 1;
    start(&options);
    for (size_t i = 0; i < CROWD; i++) {
        struct peer peer;
        peer_connect(&peer, &a);
        secure_begin(&crowd[i], peer);
        secure_flush(&crowd[i]);
    }
}

Test(conn_tls, handshakes_of_a_turn_are_bounded)
{
    static struct secure crowd[CROWD];
    crowd_begin(crowd);
    /* Each needs two steps: the answer to its hello, and the end. */
    uint32_t turns = 0, open = 0;
    while (open < CROWD && turns < HARNESS_TURNS_MAX) {
        uint64_t before = harness_metric(&a.metrics.tls_handshakes_full);
        harness_turn(&a);
        turns++;
        cr_assert_leq(harness_metric(&a.metrics.tls_handshakes_full), before + 1);
        open = 0;
        for (size_t i = 0; i < CROWD; i++) open += secure_pump(&crowd[i]) && tls_is_open(crowd[i].tls);
    }
    HARNESS_UNTIL(&a, harness_metric(&a.metrics.tls_handshakes_full) == CROWD);
    cr_expect_geq(turns, CROWD);
    for (size_t i = 0; i < CROWD; i++) secure_deinit(&crowd[i]);
}

/* Those who leave while they wait leave no trace in the list. */
Test(conn_tls, one_that_waits_for_its_handshake_may_go)
{
    static struct secure crowd[CROWD];
    crowd_begin(crowd);
    harness_turns(&a, 2);
    for (size_t i = 0; i < CROWD; i += 3) secure_deinit(&crowd[i]);
    for (size_t i = 0; i < CROWD; i++)
        if (i % 3 != 0) HARNESS_UNTIL(&a, secure_pump(&crowd[i]) && tls_is_open(crowd[i].tls));
    for (size_t i = 0; i < CROWD; i++)
        if (i % 3 != 0) secure_deinit(&crowd[i]);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
}

Test(conn_tls, large_payloads_pass_both_ways)
{
    static const uint32_t records[] = {100, 1460, TLS_RECORD_SIZE_MAX};
    const uint32_t size = 60000, count = 10;
    uint8_t *frame = malloc(4 + size);
    start(NULL);
    memcpy(frame, "\0\0\xEA\x60", 4);
    for (uint32_t i = 0; i < size; i++) frame[4 + i] = (uint8_t)(i * 7 >> 2);
    for (size_t k = 0; k < COUNT_OF(records); k++) {
        struct secure client;
        secure_open(&client);
        secure_send(&client, "RPT1", 4);
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t at = 0; at < 4 + size; at += records[k])
                secure_send(&client, frame + at, 4 + size - at < records[k] ? 4 + size - at : records[k]);
        HARNESS_UNTIL(&a, secure_pump(&client) && client.received.len == (size_t)count * (4 + size));
        for (uint32_t i = 0; i < count; i++)
            cr_expect_eq(memcmp(client.received.data + (size_t)i * (4 + size), frame, 4 + size), 0);
        secure_deinit(&client);
    }
    free(frame);
}

/* What a turn queues for a connection is one record, however many frames it is. */
static void answer_with_ten(struct harness *harness, struct conn *conn, enum conn_frame encoding, struct slice payload)
{
    (void)harness;
    for (int i = 0; i < 10; i++) cr_assert_eq(conn_send_frame(conn, encoding, payload, NULL), RESULT_OK);
}
Test(conn_tls, one_record_for_all_that_a_turn_queued)
{
    start(NULL);
    struct secure client;
    secure_open(&client);
    a.on_frame = answer_with_ten;
    for (int i = 0; i < 5; i++) harness_turn(&a);
    secure_pump(&client); /* the session ticket */
    secure_send(&client, "RPT1\0\0\0\3one", 11);
    secure_flush(&client);
    HARNESS_UNTIL(&a, peer_has(&client.peer, 70));
    const uint8_t *record = client.peer.received.data;
    cr_expect_eq(record[0], 0x17);
    cr_expect_eq(5u + ((uint32_t)record[3] << 8 | record[4]), client.peer.received.len, "and nothing behind it");
    HARNESS_UNTIL(&a, secure_pump(&client) && client.received.len == 70);
    secure_deinit(&client);
}

/* What was encrypted is gone with the send that took it, and is charged no longer, though the client says nothing. */
Test(conn_tls, who_has_been_told_holds_nothing)
{
    static const uint8_t payload[5000];
    start(NULL);
    struct secure client;
    secure_open_heard(&client);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(conn_send_frame(a.conn, CONN_FRAME_BINARY, slice_of(payload, sizeof payload), NULL), RESULT_OK);
    size_t whole = client.received.len + 10 * (4 + sizeof payload);
    HARNESS_UNTIL(&a, secure_pump(&client) && client.received.len == whole);
    HARNESS_UNTIL(&a, !a.conn->send.armed);
    cr_expect_eq(buf_pool_charged_bytes(a.pool), 0);
    secure_deinit(&client);
}

Test(conn_tls, both_say_goodbye)
{
    start(NULL);
    struct secure client;
    secure_open_heard(&client);
    conn_close(a.conn, (struct conn_goodbye){1000, NULL});
    HARNESS_UNTIL(&a, secure_pump(&client) && client.closed && peer_ended(&client.peer));
    secure_deinit(&client);

    secure_open_heard(&client);
    tls_write_close(client.tls);
    HARNESS_UNTIL(&a, secure_pump(&client) && client.closed && peer_ended(&client.peer));
    secure_deinit(&client);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
}

Test(conn_tls, slow_reader_meets_the_limits_and_recovers)
{
    start(NULL);
    struct secure client;
    secure_open_heard(&client);
    struct buf *buf = buf_try_get(a.pool, 60000);
    memset(buf->data, 'f', 60000);
    buf->len = 60000;
    uint64_t queued = 7; /* "one" */
    enum result res = RESULT_OK;
    while (res == RESULT_OK) {
        res = conn_send_frame(a.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf);
        if (res == RESULT_OK) queued += 60004;
        harness_turn(&a);
        cr_assert_lt(queued, 100u << 20);
    }
    cr_expect_eq(res, RESULT_BUSY);
    cr_expect_leq(conn_outbound_bytes(a.conn), 1048576);
    cr_expect_eq(a.drains, 0);
    HARNESS_UNTIL(&a, secure_pump(&client) && client.received.len == queued);
    HARNESS_UNTIL(&a, a.drains == 1);
    buf_unref(&buf);
    secure_deinit(&client);
}

/* What is encrypted is beyond the outbound limits, so it is never more than one send, however small the parts are that the kernel
 * takes of it. */
Test(conn_tls, what_is_encrypted_for_a_slow_reader_is_bounded)
{
    start(NULL);
    struct secure client;
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const int window = 16384;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(a.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    writer_init(&peer.received, 0);
    cr_assert_eq(setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window), 0);
    cr_assert_eq(connect(peer.fd, (struct sockaddr *)&address, sizeof address), 0);
    secure_begin(&client, peer);
    HARNESS_UNTIL(&a, secure_pump(&client) && tls_is_open(client.tls));
    secure_send(&client, "RPT1\0\0\0\3one", 11);
    HARNESS_UNTIL(&a, secure_has(&client, "one"));
    struct buf *buf = buf_try_get(a.pool, 60000);
    memset(buf->data, 'f', 60000);
    buf->len = 60000;
    uint64_t queued = 0, taken = 0;
    while (taken < 2u << 20) {
        uint8_t part[16384];
        while (conn_send_frame(a.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf) == RESULT_OK) queued += 60004;
        ssize_t got = recv(client.peer.fd, part, sizeof part, MSG_DONTWAIT);
        if (got > 0) taken += (uint64_t)got;
        harness_turn(&a);
    }
    uint64_t sent = harness_metric(&a.metrics.sent_bytes);
    cr_expect_leq(queued, sent + 1048576 + 2 * 65536, "%llu bytes are held", (unsigned long long)(queued - sent));
    buf_unref(&buf);
    secure_deinit(&client);
}

Test(conn_tls, a_peer_that_takes_nothing_is_reset)
{
    start(NULL);
    struct secure client;
    secure_open_heard(&client);
    conn_set_authenticated(a.conn);
    struct buf *buf = buf_try_get(a.pool, 60000);
    memset(buf->data, 'f', 60000);
    buf->len = 60000;
    while (conn_send_frame(a.conn, CONN_FRAME_BINARY, SLICE_EMPTY, buf) == RESULT_OK) harness_turn(&a);
    harness_advance(&a, 3 * harness_options().write_timeout_ms);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
    HARNESS_UNTIL(&a, peer_was_reset(&client.peer));
    cr_expect_eq(harness_metric(&a.metrics.connections_timed_out), 1);
    buf_unref(&buf);
    secure_deinit(&client);
}

static void answer_large(struct harness *harness, struct conn *conn, const struct http_request *request)
{
    (void)request;
    (void)harness;
    static uint8_t body[300000];
    memset(body, 'x', sizeof body);
    const struct http_response response = {.status = 200, .content_type = "text/plain", .body = slice_of(body, sizeof body)};
    cr_assert_eq(conn_send_http(conn, &response), RESULT_OK);
}

/* The end of what a client says is not the end of what it wants to hear. */
Test(conn_tls, a_client_that_says_no_more_is_answered)
{
    start(NULL);
    struct secure client;
    secure_open(&client);
    a.on_http = answer_large;
    secure_send(&client, "GET /last HTTP/1.1\r\nHost: x\r\n\r\n", 32);
    tls_write_close(client.tls);
    HARNESS_UNTIL(&a, secure_pump(&client) && client.closed && peer_ended(&client.peer));
    cr_expect_gt(client.received.len, 300000);
    secure_deinit(&client);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
}

Test(conn_tls, a_websocket_is_told_why_inside_tls)
{
    start(NULL);
    struct secure client;
    secure_open(&client);
    secure_send(&client, HANDSHAKE, strlen(HANDSHAKE));
    HARNESS_UNTIL(&a, secure_has(&client, "101 Switching"));
    conn_close(a.conn, (struct conn_goodbye){4408, "reason given"});
    HARNESS_UNTIL(&a, secure_has(&client, "reason given"));
    secure_send(&client, "\x88\x82\0\0\0\0\x03\xe8", 8);
    HARNESS_UNTIL(&a, secure_pump(&client) && client.closed);
    secure_deinit(&client);
}

Test(conn_tls, a_damaged_record_ends_it)
{
    start(NULL);
    struct secure client;
    secure_open(&client);
    secure_send(&client, HANDSHAKE, strlen(HANDSHAKE));
    HARNESS_UNTIL(&a, secure_has(&client, "101 Switching"));
    peer_send(&client.peer, "\x17\x03\x03\x00\x20 this was never encrypted, oh no!", 37);
    HARNESS_UNTIL(&a, secure_pump(&client) && client.failed && peer_ended(&client.peer));
    cr_expect_eq(a.frames, 0);
    secure_deinit(&client);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
}

/* The peer's process dies in each state of a session. */
Test(conn_tls, a_peer_may_be_gone_at_any_time)
{
    start(NULL);
    struct secure client;
    struct peer peer;
    for (uint32_t sent = 0; sent < 300; sent += 50) {
        peer_connect(&peer, &a);
        secure_begin(&client, peer);
        struct slice hello = tls_output(client.tls);
        peer_send(&client.peer, hello.data, sent < hello.len ? sent : hello.len);
        harness_turns(&a, sent % 3);
        secure_deinit(&client);
        HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
    }
    peer_connect(&peer, &a);
    secure_begin(&client, peer);
    secure_flush(&client);
    HARNESS_UNTIL(&a, peer_has(&client.peer, 1));
    secure_deinit(&client);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
    for (int queued = 0; queued < 2; queued++) {
        secure_open(&client);
        secure_send(&client, "RPT1\0\0\0\3one", 11);
        if (queued == 0) HARNESS_UNTIL(&a, secure_has(&client, "one"));
        secure_flush(&client);
        secure_deinit(&client);
        HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
    }
    cr_expect_eq(harness_metric(&a.metrics.tls_connections_open), 0);
}

static struct conn_handover *handover;
static uint32_t gone_count;
static void gone(void *context, struct conn_handover *packed)
{
    (void)context;
    handover = packed;
    gone_count++;
}

/* A session moves with a frame that is half here, a record that is half here, and output that is not encrypted yet. */
Test(conn_tls, a_session_moves_to_another_worker)
{
    static struct harness b;
    start(NULL);
    struct server_options options = harness_options();
    options.tls = identity;
    options.tls_handshakes_per_turn_max = 2;
    harness_init(&b, &options);
    struct secure client;
    secure_open(&client);
    secure_send(&client, "RPT1\0\0\0\3one\0\0\0\5ha", 17);
    HARNESS_UNTIL(&a, secure_has(&client, "one"));
    secure_send(&client, "lf!", 3);
    struct slice record = tls_output(client.tls);
    uint32_t half = record.len / 2;
    peer_send(&client.peer, record.data, half);
    harness_turns(&a, 5);
    cr_assert_eq(conn_send_frame(a.conn, CONN_FRAME_BINARY, SLICE_TEXT("said before"), NULL), RESULT_OK);
    conn_detach(a.conn, b.io, gone, NULL);
    HARNESS_UNTIL(&a, gone_count == 1);
    cr_assert_not_null(handover);
    cr_expect_eq(harness_metric(&a.metrics.tls_connections_open), 0);
    struct conn *conn = conn_adopt(b.server, handover);
    cr_assert_not_null(conn);
    cr_expect_eq(harness_metric(&b.metrics.tls_connections_open), 1);
    conn_resume(conn);
    peer_send(&client.peer, record.data + half, record.len - half);
    tls_sent(client.tls, record.len);
    HARNESS_UNTIL(&b, secure_has(&client, "said before") && secure_has(&client, "half!"));
    cr_expect_eq(b.frames, 1);
    cr_expect_eq(a.closes, 0);
    harness_deinit(&a); /* the session does not need the worker it began on */
    secure_send(&client, "\0\0\0\5after", 9);
    HARNESS_UNTIL(&b, secure_has(&client, "after"));
    secure_deinit(&client);
    harness_deinit(&b);
    harness_init(&a, NULL);
}

Test(conn_tls, handover_nobody_takes_frees_its_session)
{
    static struct harness b;
    start(NULL);
    harness_init(&b, NULL);
    struct secure client;
    secure_open_heard(&client);
    conn_detach(a.conn, b.io, gone, NULL);
    HARNESS_UNTIL(&a, gone_count == 1);
    conn_handover_free(b.server, handover);
    secure_deinit(&client);
    harness_deinit(&b);
}

Test(conn_tls, stopping_ends_every_state)
{
    start(NULL);
    static struct secure clients[3];
    struct peer peer;
    secure_open(&clients[0]);
    peer_connect(&peer, &a);
    secure_begin(&clients[1], peer);
    peer_send(&clients[1].peer, "\x16\x03", 2);
    peer_connect(&peer, &a);
    secure_begin(&clients[2], peer);
    secure_flush(&clients[2]);
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 3);
    server_stop(a.server, (struct conn_goodbye){1001, "server is stopping"});
    for (size_t i = 0; i < 3; i++) {
        HARNESS_UNTIL(&a, peer_ended(&clients[i].peer));
        secure_deinit(&clients[i]);
    }
    HARNESS_UNTIL(&a, server_connection_count(a.server) == 0);
}
