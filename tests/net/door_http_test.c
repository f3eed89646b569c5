#include "net/harness.h"
#include <stdio.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static struct harness h;
static struct peer peer;
static void setup(void)
{
    harness_init(&h, NULL);
    peer_connect(&peer, &h);
}
static void teardown(void)
{
    peer_deinit(&peer);
    harness_deinit(&h);
}
TestSuite(door_http, .init = setup, .fini = teardown);

Test(door_http, request_and_response)
{
    peer_send_text(&peer, "POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "POST /a?b hello\n"));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 200 OK\r\nDate: ") && peer_has_text(&peer, " GMT\r\nContent-Type: text/plain\r\n"));
    cr_expect(peer_has_text(&peer, "\r\nContent-Length: 16\r\n\r\n"));
    cr_expect_eq(conn_door_of(h.conn), CONN_DOOR_HTTP);
    cr_expect_not(peer_ended(&peer));
}

Test(door_http, request_byte_by_byte)
{
    const char *text = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (size_t i = 0; i < strlen(text); i++) {
        peer_send(&peer, text + i, 1);
        harness_turn(&h);
    }
    HARNESS_UNTIL(&h, peer_has_text(&peer, "POST /a? hello\n"));
}

static void keep_request(struct harness *harness, struct conn *conn, const struct http_request *request)
{
    (void)harness, (void)conn, (void)request; /* answered later */
}

static void answer(const char *body)
{
    struct http_response response = {.status = 200, .body = slice_text(body)};
    cr_assert_eq(conn_send_http(h.conn, &response), RESULT_OK);
}

Test(door_http, pipelined_requests_are_delivered_one_at_a_time)
{
    h.on_http = keep_request;
    peer_send_text(&peer, GET("/1") GET("/2") GET("/3"));
    HARNESS_UNTIL(&h, h.requests == 1);
    harness_turns(&h, 5);
    cr_expect_eq(h.requests, 1);
    answer("one");
    cr_expect_eq(h.requests, 1, "never inside conn_send_http()");
    HARNESS_UNTIL(&h, h.requests == 2);
    peer_send_text(&peer, GET("/4"));
    harness_turns(&h, 5);
    cr_expect_eq(h.requests, 2);
    answer("two");
    HARNESS_UNTIL(&h, h.requests == 3);
    answer("three");
    HARNESS_UNTIL(&h, h.requests == 4);
    answer("four");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "four"));
    cr_expect(peer_has_text(&peer, "one") && peer_has_text(&peer, "two") && peer_has_text(&peer, "three"));
    cr_expect(slice_equal(writer_slice(&h.log), SLICE_TEXT("GET /1? \nGET /2? \nGET /3? \nGET /4? \n")));
}

Test(door_http, head_has_the_length_but_no_body)
{
    peer_send_text(&peer, "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n" GET("/y"));
    HARNESS_UNTIL(&h, peer_has_text(&peer, "GET /y? \n"));
    cr_expect(peer_has_text(&peer, "Content-Length: 10\r\n\r\nHTTP/1.1 200 OK"));
}

Test(door_http, connection_close_ends_after_the_response)
{
    peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "Connection: close\r\n\r\nGET /? \n"));
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, h.closes == 1);
}

Test(door_http, old_clients_are_told_that_the_connection_stays)
{
    peer_send_text(&peer, "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "Connection: keep-alive\r\n\r\nGET /1? \n"));
    peer_send_text(&peer, "GET /2 HTTP/1.0\r\n\r\n");
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "Connection: close\r\n\r\nGET /2? \n"));
}

Test(door_http, half_closed_client_gets_its_answers)
{
    h.on_http = keep_request;
    peer_send_text(&peer, GET("/1") GET("/2"));
    cr_assert_eq(shutdown(peer.fd, SHUT_WR), 0);
    HARNESS_UNTIL(&h, h.requests == 1);
    harness_turns(&h, 5);
    answer("one");
    HARNESS_UNTIL(&h, h.requests == 2);
    answer("two");
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "one") && peer_has_text(&peer, "two"));
    HARNESS_UNTIL(&h, h.closes == 1);
}

Test(door_http, expect_continue)
{
    peer_send_text(&peer, "POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send_text(&peer, "hello");
    HARNESS_UNTIL(&h, peer_has_text(&peer, "POST /a? hello\n"));
}

Test(door_http, refusals_are_answered_and_close)
{
    static const struct {
        const char *request, *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/2.0\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\n"},
        {"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\n\r\n",
         "HTTP/1.1 426 Upgrade Required\r\n"},
        {"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
         "HTTP/1.1 400 Bad Request\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct peer bad;
        peer_connect(&bad, &h);
        peer_send_text(&bad, cases[i].request);
        HARNESS_UNTIL(&h, peer_ended(&bad));
        cr_expect(peer_has_text(&bad, cases[i].status), "%.*s", (int)bad.received.len, (const char *)bad.received.data);
        cr_expect(peer_has_text(&bad, "Connection: close") && peer_has_text(&bad, "{\"error\":{\"code\":\""));
        peer_deinit(&bad);
        HARNESS_UNTIL(&h, h.closes == i + 1);
    }
    cr_expect_eq(h.requests, 0);
}

/* What is refused gets one answer and the end, whatever stands behind it: never two answers, never a request more. */
Test(door_http, bad_framing_gets_exactly_one_answer)
{
#define NEXT    "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
#define CHUNKED "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    static const struct {
        const char *name, *bytes, *status;
    } cases[] = {
        {"CR and any byte end the head", "GET / HTTP/1.1\r\nHost: a\r\n\rX" NEXT, "400"},
        {"bare LF", "GET / HTTP/1.1\nHost: a\n\n" NEXT, "400"},
        {"folded header", "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n" NEXT, "400"},
        {"space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc" NEXT, "400"},
        {"LF in an extension", CHUNKED "2;a\nX\r\n{}\r\n0\r\n\r\n" NEXT, "400"},
        {"CR and any byte behind a size", CHUNKED "2\rX{}\r\n0\r\n\r\n" NEXT, "400"},
        {"two bytes behind a chunk", CHUNKED "2\r\n{}XY0\r\n\r\n" NEXT, "400"},
        {"CR and any byte at the end", CHUNKED "2\r\n{}\r\n0\r\n\rX" NEXT, "400"},
        {"length and chunks", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT, "400"},
        {"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" NEXT, "400"},
        {"chunked is not last", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" NEXT, "400"},
        {"chunks in 1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT, "400"},
        {"HTTP/0.9", "GET /\r\n" NEXT, "505"},
        {"CONNECT", "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n" NEXT, "501"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct peer bad;
        peer_connect(&bad, &h);
        peer_send_text(&bad, cases[i].bytes);
        HARNESS_UNTIL(&h, peer_ended(&bad));
        char begin[32];
        snprintf(begin, sizeof begin, "HTTP/1.1 %s ", cases[i].status);
        struct slice got = writer_slice(&bad.received);
        cr_expect(got.len > strlen(begin) && memcmp(got.data, begin, strlen(begin)) == 0, "%s: %.*s", cases[i].name,
                  (int)got.len, (const char *)got.data);
        const uint8_t *head_end = memmem(got.data, got.len, "\r\n\r\n", 4);
        cr_assert_not_null(head_end, "%s", cases[i].name);
        size_t rest = got.len - (size_t)(head_end + 4 - got.data);
        cr_expect_null(memmem(head_end + 4, rest, "\r\n\r\n", 4), "%s: two answers", cases[i].name);
        cr_expect(peer_has_text(&bad, "Connection: close\r\n"), "%s", cases[i].name);
        peer_deinit(&bad);
        HARNESS_UNTIL(&h, h.closes == i + 1);
    }
    cr_expect_eq(h.requests, 0);
}

Test(door_http, refused_upload_is_read_on_so_that_the_answer_arrives)
{
    static char body[100000];
    peer_send_text(&peer, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n");
    peer_send(&peer, body, sizeof body);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 413"));
    cr_expect_not(peer.reset);
}

static bool refuse_upgrade(struct harness *harness, struct conn *conn, const struct http_request *request,
                           const char **subprotocol, struct http_response *refusal)
{
    (void)harness, (void)conn, (void)subprotocol;
    bool stated = http_request_header(request, "Origin").data != NULL;
    if (stated) *refusal = (struct http_response){.status = 403, .body = SLICE_TEXT("not from there")};
    return false;
}

Test(door_http, upgrade_may_be_refused)
{
    h.on_upgrade = refuse_upgrade;
    peer_send_text(&peer,
                   "GET / HTTP/1.1\r\nOrigin: y\r\n"
                   "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" GET("/next"));
    HARNESS_UNTIL(&h, peer_has_text(&peer, "GET /next? \n"));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 403 Forbidden\r\n") && peer_has_text(&peer, "not from there"));
    peer_send_text(&peer, HANDSHAKE);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "upgrade_refused"));
    cr_expect_eq(h.opens, 0);
}

static bool choose_subprotocol(struct harness *harness, struct conn *conn, const struct http_request *request,
                               const char **subprotocol, struct http_response *refusal)
{
    (void)harness, (void)conn, (void)request, (void)refusal;
    *subprotocol = "ringpost.v1";
    return true;
}

Test(door_http, upgrade_answers_with_proof_and_subprotocol)
{
    h.on_upgrade = choose_subprotocol;
    peer_send_text(&peer, HANDSHAKE);
    HARNESS_UNTIL(&h, peer_has_text(&peer, "\r\n\r\n"));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 101 Switching Protocols\r\n"));
    cr_expect(peer_has_text(&peer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    cr_expect(peer_has_text(&peer, "Sec-WebSocket-Protocol: ringpost.v1\r\n"));
    cr_expect_eq(h.opens, 1);
    cr_expect_eq(conn_door_of(h.conn), CONN_DOOR_WEBSOCKET);
}

static void send_large(struct harness *harness, struct conn *conn, const struct http_request *request)
{
    (void)request;
    struct buf *buf = buf_try_get(harness->pool, 60000);
    memset(buf->data, 'L', 60000);
    buf->len = 60000;
    struct http_response response = {
        .status = 200, .headers = SLICE_TEXT("ETag: \"1\"\r\n"), .body = buf_slice(buf), .body_buf = buf};
    cr_assert_eq(conn_send_http(conn, &response), RESULT_OK);
    cr_expect_eq(buf->refs, 2, "referenced, not copied");
    buf_unref(&buf);
}

Test(door_http, large_body_is_referenced)
{
    h.on_http = send_large;
    peer_send_text(&peer, GET("/"));
    const char *head = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 60000\r\nETag: \"1\"\r\n\r\n";
    HARNESS_UNTIL(&h, peer_has(&peer, strlen(head) + 60000));
    cr_expect(peer_has_text(&peer, "\r\nContent-Length: 60000\r\nETag: \"1\"\r\n\r\nLLL"));
    cr_expect_eq(peer.received.len, strlen(head) + 60000);
    cr_expect_eq(peer.received.data[peer.received.len - 1], 'L');
    cr_expect_eq(harness_metric(&h.metrics.sends), 1);
}

Test(door_http, pipelining_without_reading_stops_at_the_soft_limit)
{
    h.on_http = send_large;
    for (int i = 0; i < 200; i++) peer_send_text(&peer, GET("/"));
    harness_turns(&h, 200);
    uint32_t delivered = h.requests;
    cr_expect_lt(delivered, 200, "12 MB of answers do not fit");
    HARNESS_UNTIL(&h, peer_has(&peer, 200 * 60000));
    cr_expect_eq(h.requests, 200);
}

Test(door_http, close_while_unanswered_says_503)
{
    h.on_http = keep_request;
    peer_send_text(&peer, GET("/"));
    HARNESS_UNTIL(&h, h.requests == 1);
    conn_close(h.conn, (struct conn_goodbye){1001, "stopping"});
    struct http_response late = {.status = 200};
    cr_expect_eq(conn_send_http(h.conn, &late), RESULT_CLOSED);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 503 Service Unavailable\r\n"));
}

Test(door_http, requests_per_connection_are_limited)
{
    struct harness own;
    struct server_options options = harness_options();
    options.keep_alive_requests_max = 2;
    harness_init(&own, &options);
    struct peer p;
    peer_connect(&p, &own);
    peer_send_text(&p, GET("/1") GET("/2") GET("/3"));
    HARNESS_UNTIL(&own, peer_ended(&p));
    cr_expect_eq(own.requests, 2);
    cr_expect(peer_has_text(&p, "Connection: close\r\n\r\nGET /2? \n"));
    peer_deinit(&p);
    harness_deinit(&own);
}
