/* net/door_http.c - what HTTP events mean: requests go to the layer above one at a time, WebSocket handshakes change
 * the door. Happy path: a request is delivered and the connection is blocked until conn_send_http(); the next one,
 * pipelined or not, follows. Failure: a refusal is answered with a small JSON body and the connection closed, because
 * where the next request would begin is not certain any more. */
#include "core/check.h"
#include "core/clock.h"
#include "net/conn_internal.h"
#include <stdio.h>

#define HANDSHAKE_SIZE_MAX 256

#define HSTS_SIZE_MAX 64

static const struct conn_goodbye goodbye_done = {WEBSOCKET_CODE_NORMAL, NULL};

static enum http_connection door_http_connection(const struct conn *conn, bool keep)
{
    if (!keep) return HTTP_CONNECTION_CLOSE;
    return conn->old_http ? HTTP_CONNECTION_KEEP_ALIVE : HTTP_CONNECTION_DEFAULT;
}

static enum result door_http_queue(struct conn *conn, const struct http_response *response, bool keep)
{
    char head[HTTP_RESPONSE_HEAD_SIZE_MAX];
    const char *date = http_date_text(&conn->server->date, clock_wall_ms());
    uint32_t head_size = http_write_head(head, response, door_http_connection(conn, keep), date);
    bool bodiless = response->head_only || conn->head_only || !http_status_has_body(response->status);
    struct slice body = bodiless ? SLICE_EMPTY : response->body;
    bool shared = response->body_buf != NULL && body.len > CONN_COPY_MAX;
    char secure[HSTS_SIZE_MAX] = ""; /* RFC 6797 7.2: never over plain HTTP */
    uint32_t hsts_s = conn->tls != NULL ? conn->server->options.hsts_max_age_s : 0;
    if (hsts_s > 0) snprintf(secure, sizeof secure, "Strict-Transport-Security: max-age=%u\r\n", hsts_s);
    struct slice parts[] = {slice_of(head, head_size), slice_text(secure), response->headers, SLICE_TEXT("\r\n"), body};
    enum result res = conn_queue(conn, parts, shared ? 4 : 5, shared ? response->body_buf : NULL, body);
    if (res == RESULT_OK) metrics_add(&conn->server->metrics->frames_sent, 1);
    return res;
}

enum result conn_send_http(struct conn *conn, const struct http_response *response)
{
    if (conn->state != CONN_OPEN) return RESULT_CLOSED;
    ASSERT(conn->door == CONN_DOOR_HTTP && conn->awaiting);
    const struct server_options *options = &conn->server->options;
    bool keep =
        conn->keep_alive && !conn->server->stopping && conn->request_count + 1u < options->keep_alive_requests_max;
    enum result res = door_http_queue(conn, response, keep);
    if (res != RESULT_OK) return res;
    conn->awaiting = false;
    if (conn->request_count < UINT16_MAX) conn->request_count++;
    conn_set_phase_deadline(conn, conn_now_ms(conn) + options->keep_alive_timeout_ms);
    if (!keep)
        conn_close(conn, goodbye_done);
    else
        server_mark_ready(conn);
    return RESULT_OK;
}

void door_http_refuse(struct conn *conn, enum http_refusal refusal)
{
    if (conn->state != CONN_OPEN) return;
    char body[HTTP_ERROR_BODY_SIZE_MAX];
    struct http_response response = http_refusal_response(refusal, body);
    if (!conn->awaiting) conn->head_only = false; /* that was an earlier request */
    conn->awaiting = false;
    /* Without memory the peer sees the end of the stream only. */
    (void)!door_http_queue(conn, &response, false);
    conn_close(conn, goodbye_done);
}

static void door_http_continue(struct conn *conn)
{
    struct slice line = SLICE_TEXT("HTTP/1.1 100 Continue\r\n\r\n");
    if (conn_queue(conn, &line, 1, NULL, SLICE_EMPTY) != RESULT_OK) door_http_refuse(conn, HTTP_REFUSAL_BUSY);
}

static enum result door_http_switch(struct conn *conn, const char *accept, const char *subprotocol)
{
    char head[HANDSHAKE_SIZE_MAX];
    int size =
        snprintf(head, sizeof head,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
                 accept, subprotocol == NULL ? "" : "Sec-WebSocket-Protocol: ", subprotocol == NULL ? "" : subprotocol,
                 subprotocol == NULL ? "" : "\r\n");
    ASSERT(size > 0 && size < HANDSHAKE_SIZE_MAX);
    struct slice part = slice_of(head, (size_t)size);
    return conn_queue(conn, &part, 1, NULL, SLICE_EMPTY);
}

static void door_http_answer_refusal(struct conn *conn, const struct http_response *refusal)
{
    if (conn->state != CONN_OPEN || !conn->awaiting) return;
    if (refusal->status == 0)
        door_http_refuse(conn, HTTP_REFUSAL_ORIGIN);
    else if (conn_send_http(conn, refusal) != RESULT_OK)
        conn_close(conn, goodbye_done);
}

/* True: 101 is queued and the door may change. */
static bool door_http_upgrade(struct conn *conn, const struct http_request *request)
{
    struct server *server = conn->server;
    char accept[WEBSOCKET_ACCEPT_SIZE + 1];
    const char *why;
    uint16_t status = websocket_handshake(request, accept, &why);
    if (status != 0) {
        door_http_refuse(conn, status == 426   ? HTTP_REFUSAL_UPGRADE_VERSION
                               : status == 400 ? HTTP_REFUSAL_WEBSOCKET
                                               : HTTP_REFUSAL_NONE);
        return false;
    }
    const char *subprotocol = NULL;
    struct http_response refusal = {0};
    bool accepted = server->events.on_upgrade != NULL &&
                    server->events.on_upgrade(server->context, conn, request, &subprotocol, &refusal);
    if (!accepted) door_http_answer_refusal(conn, &refusal);
    if (!accepted || conn->state != CONN_OPEN) return false;
    if (!conn_proxy_upgrade(conn)) {
        door_http_refuse(conn, HTTP_REFUSAL_BUSY);
        return false;
    }
    conn->awaiting = false;
    if (door_http_switch(conn, accept, subprotocol) == RESULT_OK) return true;
    conn_close(conn, goodbye_done);
    return false;
}

/* True when the connection becomes a WebSocket. */
static bool door_http_deliver(struct conn *conn, const struct http_reader *reader)
{
    struct server *server = conn->server;
    struct http_request request;
    http_reader_request(reader, &request);
    request.scheme = conn->tls != NULL ? HTTP_SCHEME_SECURE : HTTP_SCHEME_UNKNOWN;
    conn->awaiting = true;
    conn->keep_alive = request.keep_alive;
    conn->old_http = request.old;
    conn->head_only = slice_equal(request.method, SLICE_TEXT("HEAD"));
    conn_set_phase_deadline(conn, 0);
    if (conn->proxied && !conn_proxy_request(conn, &request)) {
        door_http_refuse(conn, HTTP_REFUSAL_BUSY);
        return false;
    }
    if (websocket_asked(&request)) return door_http_upgrade(conn, &request);
    server->events.on_http(server->context, conn, &request);
    return false;
}

/* The reader's state moves to the connection when a request is incomplete, and back when it is whole. */
static bool door_http_place(struct conn *conn, struct http_reader *reader)
{
    bool idle = http_reader_idle(reader);
    if (idle) conn_free_partial(conn);
    if (idle || conn->partial != NULL) return true;
    struct conn_partial *partial = conn_begin_partial(conn);
    if (partial == NULL || !http_reader_move(&partial->as.http, reader)) {
        http_reader_reset(reader);
        return false;
    }
    /* The first request has its time from accept on. */
    uint64_t now_ms = conn_now_ms(conn);
    if (conn->request_count > 0) conn_set_phase_deadline(conn, now_ms + conn->server->options.header_timeout_ms);
    return true;
}

/* The head's deadline ends with the head; from there on the body has to make progress. */
static void door_http_watch_body(struct conn *conn)
{
    struct conn_partial *partial = conn->partial;
    if (partial == NULL || !http_reader_in_body(&partial->as.http) || conn->phase_deadline_ms == 0) return;
    conn->phase_deadline_ms = 0;
    partial->checked_ms = conn_now_ms(conn);
    partial->bytes = 0;
    conn_watch(conn, partial->checked_ms + CONN_PROGRESS_MS);
}

void door_http_feed(struct conn *conn, struct slice *in)
{
    struct server *server = conn->server;
    struct http_reader *reader = conn->partial != NULL ? &conn->partial->as.http : &server->http;
    struct http_limits limits = {server->options.http_head_size_max, server->options.http_body_size_max};
    bool upgraded = false;
    switch (http_reader_feed(reader, in, &limits)) {
    case HTTP_EVENT_MORE: break;
    case HTTP_EVENT_CONTINUE: door_http_continue(conn); break;
    case HTTP_EVENT_REQUEST:
        upgraded = door_http_deliver(conn, reader);
        http_reader_reset(reader);
        break;
    case HTTP_EVENT_REFUSED: {
        enum http_refusal refusal = (enum http_refusal)reader->refusal;
        http_reader_reset(reader);
        door_http_refuse(conn, refusal);
        break;
    }
    }
    if (!door_http_place(conn, reader)) door_http_refuse(conn, HTTP_REFUSAL_BUSY);
    door_http_watch_body(conn);
    if (upgraded && conn->state == CONN_OPEN) door_websocket_open(conn);
}
