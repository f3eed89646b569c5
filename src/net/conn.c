/* net/conn.c - the life of one connection: bytes in, bytes out, and how it ends.
 * Happy path: recv delivers a chunk -> conn_feed() gives it to the door's parser -> callbacks queue output -> the
 * connection is dirty -> server_flush() sends once -> the completion frees what was sent.
 * Failure: whatever goes wrong on the socket leads to conn_abort(); whatever the peer does wrong leads to conn_close().
 * Both only change the state; conn_settle() takes the next step when the loop is in the right place. */
#include "core/check.h"
#include "core/refusal.h"
#include "net/conn_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void conn_enter(struct conn *conn, enum conn_state state)
{
    static const uint8_t from[] = {
        [CONN_CLOSED] = 1 << CONN_CLOSING | 1 << CONN_LEAVING,
        [CONN_OPEN] = 1 << CONN_CLOSED,
        [CONN_LEAVING] = 1 << CONN_OPEN,
        [CONN_FAREWELL] = 1 << CONN_OPEN,
        [CONN_CLOSING] = 1 << CONN_OPEN | 1 << CONN_FAREWELL,
    };
    ASSERT(state < COUNT_OF(from) && (from[state] & 1 << conn->state) != 0);
    conn->state = (uint8_t)state;
}

/* ---- what others may ask ----------------------------------------------------------------------------------------- */

enum conn_door conn_door_of(const struct conn *conn)
{
    return (enum conn_door)conn->door;
}

struct conn_handle conn_handle_of(const struct conn *conn)
{
    return (struct conn_handle){conn->slot, conn->generation};
}

void **conn_user(struct conn *conn)
{
    return &conn->user;
}

uint32_t conn_outbound_bytes(const struct conn *conn)
{
    return conn->out.bytes;
}

struct in6_addr conn_address(const struct conn *conn)
{
    bool asks = conn->door == CONN_DOOR_HTTP && conn->client != NULL;
    return asks ? *conn->client : conn->peer;
}

const char *conn_peer(const struct conn *conn, char *out, size_t out_size)
{
    char address[INET6_ADDRSTRLEN] = "?";
    bool mapped = IN6_IS_ADDR_V4MAPPED(&conn->peer);
    if (mapped)
        inet_ntop(AF_INET, conn->peer.s6_addr + 12, address, sizeof address);
    else
        inet_ntop(AF_INET6, &conn->peer, address, sizeof address);
    if (conn->peer_port == 0) snprintf(out, out_size, "%s", address); /* a proxy does not tell it */
    else snprintf(out, out_size, mapped ? "%s:%u" : "[%s]:%u", address, (unsigned)conn->peer_port);
    return out;
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

struct conn_partial *conn_begin_partial(struct conn *conn)
{
    ASSERT(conn->partial == NULL);
    struct conn_partial *partial = calloc(1, sizeof *partial);
    if (partial == NULL) return NULL;
    partial->started_ms = partial->checked_ms = conn_now_ms(conn);
    conn->partial = partial;
    conn_watch(conn, partial->checked_ms + CONN_PROGRESS_MS);
    return partial;
}

void conn_free_partial(struct conn *conn)
{
    if (conn->partial == NULL) return;
    switch ((enum conn_door)conn->door) {
    case CONN_DOOR_HTTP: http_reader_deinit(&conn->partial->as.http); break;
    case CONN_DOOR_WEBSOCKET: websocket_parser_deinit(&conn->partial->as.websocket); break;
    case CONN_DOOR_TCP: tcpframe_parser_deinit(&conn->partial->as.tcp); break;
    case CONN_DOOR_MQTT: mqttframe_parser_deinit(&conn->partial->as.mqtt); break;
    case CONN_DOOR_NONE: break;
    }
    if (conn->partial->charged_bytes > 0) conn_charge(conn, &conn->partial->charged_bytes, 0);
    free(conn->partial);
    conn->partial = NULL;
}

void conn_free_waiting(struct conn *conn)
{
    if (conn->waiting == NULL) return;
    if (conn->waiting->charged_bytes > 0) conn_charge(conn, &conn->waiting->charged_bytes, 0);
    writer_deinit(&conn->waiting->bytes);
    free(conn->waiting);
    conn->waiting = NULL;
}

bool conn_blocked(const struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->paused || conn->awaiting) return true;
    /* Answers to pipelined requests pile up when the client does not read: it gets the next one when it has. */
    return conn->door == CONN_DOOR_HTTP && conn->out.bytes > conn->server->options.outbound_soft_bytes;
}

/* What arrives while it may not be delivered waits. Its size is bounded: the first such chunk cancels the recv, so only
 * what the kernel delivers until the end of this turn is added. */
void conn_keep_waiting(struct conn *conn, struct slice in)
{
    if (conn->waiting == NULL) {
        conn->waiting = calloc(1, sizeof *conn->waiting);
        if (conn->waiting == NULL) {
            conn_abort(conn);
            return;
        }
        writer_init(&conn->waiting->bytes, 0);
    }
    writer_raw(&conn->waiting->bytes, in.data, in.len);
    if (conn->waiting->bytes.failed) conn_abort(conn);
}

/* This server speaks TLS only, and these are the first bytes of a plain connection. */
static void conn_refuse_plain(struct conn *conn, struct slice in)
{
    if (in.data[0] == MQTTFRAME_FIRST_BYTE || tcpframe_magic_check(in) != TCPFRAME_MAGIC_NO) {
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_POLICY, "TLS is required"});
    } else {
        conn->door = CONN_DOOR_HTTP;
        door_http_refuse(conn, HTTP_REFUSAL_TLS_REQUIRED);
    }
}

/* The first bytes choose the door; false: too few of them. */
static bool conn_detect(struct conn *conn, struct slice *in)
{
    if (conn->server->options.tls_required && conn->tls == NULL) {
        refusal_note(REFUSAL_TLS_REQUIRED, &conn->peer, "%s", "");
        conn_refuse_plain(conn, *in);
        return true;
    }
    if (in->data[0] == MQTTFRAME_FIRST_BYTE) {
        door_mqtt_open(conn);
        return true;
    }
    switch (tcpframe_magic_check(*in)) {
    case TCPFRAME_MAGIC_MORE: return false;
    case TCPFRAME_MAGIC_NO: conn->door = CONN_DOOR_HTTP; return true;
    case TCPFRAME_MAGIC_YES: break;
    }
    in->data += TCPFRAME_MAGIC_SIZE;
    in->len -= TCPFRAME_MAGIC_SIZE;
    door_tcp_open(conn);
    return true;
}

/* Delivers until `in` is used up or the connection is blocked. */
static void conn_feed(struct conn *conn, struct slice *in)
{
    while (in->len > 0 && !conn_blocked(conn)) {
        switch ((enum conn_door)conn->door) {
        case CONN_DOOR_NONE:
            if (!conn_detect(conn, in)) return;
            break;
        case CONN_DOOR_HTTP: door_http_feed(conn, in); break;
        case CONN_DOOR_WEBSOCKET: door_websocket_feed(conn, in); break;
        case CONN_DOOR_TCP: door_tcp_feed(conn, in); break;
        case CONN_DOOR_MQTT: door_mqtt_feed(conn, in); break;
        }
    }
}

static void conn_deliver_waiting(struct conn *conn)
{
    struct conn_waiting *waiting = conn->waiting;
    if (waiting == NULL || conn->header_due || conn_blocked(conn)) return;
    struct slice in = slice_of(waiting->bytes.data + waiting->at, waiting->bytes.len - waiting->at);
    conn_feed(conn, &in);
    ASSERT(conn->waiting == waiting);
    waiting->at = (uint32_t)waiting->bytes.len - in.len;
    if (in.len == 0) conn_free_waiting(conn);
    conn_note_input(conn); /* what waited may be part of a message now */
}

static void conn_tell_resumed(struct conn *conn)
{
    if (!conn->resumed || conn->paused) return;
    conn->resumed = false;
    const struct server *server = conn->server;
    if (server->events.on_resumed != NULL) server->events.on_resumed(server->context, conn);
}

/* FAREWELL: only the peer's Close frame still matters. It may stand behind what waited. */
static void conn_listen(struct conn *conn, struct slice in)
{
    bool listening = conn->door == CONN_DOOR_WEBSOCKET && !conn->peer_done;
    if (listening && conn->waiting != NULL) {
        struct conn_waiting *waiting = conn->waiting;
        struct slice first = slice_of(waiting->bytes.data + waiting->at, waiting->bytes.len - waiting->at);
        door_websocket_listen(conn, &first);
    }
    conn_free_waiting(conn);
    if (listening) door_websocket_listen(conn, &in);
}

void conn_take(struct conn *conn, struct slice in)
{
    if (conn->state == CONN_OPEN && conn->waiting == NULL) conn_feed(conn, &in);
    switch ((enum conn_state)conn->state) {
    case CONN_OPEN:
    case CONN_LEAVING:
        if (in.len > 0) conn_keep_waiting(conn, in);
        break;
    case CONN_FAREWELL: conn_listen(conn, in); break;
    case CONN_CLOSING:
    case CONN_CLOSED: break;
    }
}

void conn_received(struct conn *conn, struct slice in)
{
    if (conn_tls_begins(conn, in))
        conn_tls_take(conn, in);
    else
        conn_take(conn, in);
}

static void conn_on_recv(struct io_op *op, int32_t res, struct slice bytes)
{
    struct conn *conn = CONTAINER_OF(op, struct conn, recv);
    ASSERT(conn->state != CONN_CLOSED);
    if (res > 0) {
        conn_heard(conn);
        metrics_add(&conn->server->metrics->received_bytes, (uint64_t)res);
        if (conn->partial != NULL) conn->partial->bytes += (uint32_t)res;
        if (conn->header_due)
            conn_proxy_take(conn, bytes);
        else
            conn_received(conn, bytes);
        conn_note_input(conn);
    } else if (res == 0) {
        conn->input_ended = true;
    } else if (res != -ENOBUFS && res != -ECANCELED && res != -EINTR && res != -EAGAIN) {
        conn->input_ended = true;
        conn_abort(conn);
    }
    /* -ENOBUFS: every buffer was lent out. Each goes back when its callback returns, so the recv that conn_settle()
     * arms again finds them when the ring is entered next. */
    conn_settle(conn);
}

void conn_on_aside(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)res, (void)bytes; /* whatever became of it, what it was to end completes on its own */
    conn_settle(CONTAINER_OF(op, struct conn, aside));
}

/* Keeps the recv armed, or cancels it while bytes wait that may not be delivered. */
static void conn_receive(struct conn *conn)
{
    bool blocked = (conn->waiting != NULL && conn_blocked(conn)) || conn_tls_holds(conn);
    bool hold = blocked && conn->state != CONN_FAREWELL;
    if (hold && conn->recv.armed && !conn->aside.armed) {
        conn->aside.done = conn_on_aside;
        io_cancel(conn->server->io, &conn->aside, &conn->recv);
    }
    if (hold || conn->recv.armed || conn->aside.armed || conn->input_ended) return;
    io_recv(conn->server->io, &conn->recv, conn->socket);
}

void conn_pause(struct conn *conn)
{
    conn->paused = true;
}

void conn_resume(struct conn *conn)
{
    if (!conn->paused) return;
    conn->paused = false;
    conn->resumed = true;
    conn_heard(conn); /* silence while nobody listened does not count against the peer */
    conn_watch_silence(conn);
    if (conn->partial != NULL) conn->partial->started_ms = conn->partial->checked_ms = conn_now_ms(conn);
    server_mark_ready(conn);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

enum result conn_queue(struct conn *conn, const struct slice *parts, uint32_t part_count, struct buf *shared_buf,
                       struct slice shared)
{
    struct server *server = conn->server;
    uint32_t held = conn->out.held_bytes;
    if (!output_append(&conn->out, server->pool, parts, part_count, shared_buf, shared)) return RESULT_BUSY;
    if (conn->out.held_bytes != held) conn_note_held(conn);
    if (conn->out.bytes > server->options.outbound_soft_bytes) conn->above_soft = true;
    server_mark_dirty(conn);
    return RESULT_OK;
}

enum result conn_send_frame(struct conn *conn, enum conn_frame encoding, struct slice head, struct buf *body)
{
    if (conn->state != CONN_OPEN && conn->state != CONN_LEAVING) return RESULT_CLOSED;
    ASSERT(conn_has_frames(conn));
    struct slice rest = body == NULL ? SLICE_EMPTY : buf_slice(body);
    uint64_t size = (uint64_t)head.len + rest.len;
    uint64_t hard = conn->server->options.outbound_hard_bytes;
    if (conn->out.bytes + size + WEBSOCKET_HEAD_SIZE_MAX > hard) return RESULT_BUSY;
    uint8_t frame_head[WEBSOCKET_HEAD_SIZE_MAX];
    uint32_t frame_head_size = 0; /* an MQTT packet brings its own */
    if (conn->door == CONN_DOOR_TCP) {
        tcpframe_write_head(frame_head, (uint32_t)size);
        frame_head_size = TCPFRAME_HEAD_SIZE;
    } else if (conn->door == CONN_DOOR_WEBSOCKET) {
        frame_head_size =
            websocket_write_head(frame_head, encoding == CONN_FRAME_TEXT ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, size);
    }
    bool copied = rest.len <= CONN_COPY_MAX;
    struct slice parts[] = {slice_of(frame_head, frame_head_size), head, rest};
    enum result res = conn_queue(conn, parts, copied ? 3 : 2, copied ? NULL : body, rest);
    if (res == RESULT_OK) metrics_add(&conn->server->metrics->frames_sent, 1);
    return res;
}

/* Called by server_flush() for each dirty connection. */
void conn_flush(struct conn *conn)
{
    bool may_send = conn->state == CONN_OPEN || conn->state == CONN_FAREWELL;
    if (!may_send || conn->send.armed || !conn_has_output(conn)) return;
    struct server *server = conn->server;
    struct slice data;
    if (conn->tls != NULL && !conn_tls_gather(conn, &data)) return;
    conn->progress_ms = conn_now_ms(conn);
    conn_watch(conn, conn->progress_ms + server->options.write_timeout_ms);
    metrics_add(&server->metrics->sends, 1);
    const struct msghdr *message = conn->tls != NULL ? NULL : output_gather(&conn->out, &data);
    if (message != NULL)
        io_sendmsg(server->io, &conn->send, conn->socket, message);
    else
        io_send(server->io, &conn->send, conn->socket, data.data, data.len);
    if (conn->tls != NULL) conn_note_input(conn); /* records instead of output */
}

static void conn_drained_some(struct conn *conn)
{
    const struct server *server = conn->server;
    if (!conn->above_soft || conn->out.bytes >= server->options.outbound_soft_bytes / 2) return;
    conn->above_soft = false;
    if (conn->state == CONN_OPEN && conn_has_frames(conn) && server->events.on_drained != NULL)
        server->events.on_drained(server->context, conn);
}

static void conn_on_send(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)bytes;
    struct conn *conn = CONTAINER_OF(op, struct conn, send);
    ASSERT(conn->state != CONN_CLOSED);
    if (conn->tls != NULL)
        conn_tls_sent(conn, res > 0 ? (uint32_t)res : 0);
    else
        output_sent(&conn->out, res > 0 ? (uint32_t)res : 0);
    conn_note_held(conn);
    if (res > 0) {
        conn->sent_bytes += (uint32_t)res;
        conn->progress_ms = conn_now_ms(conn);
        metrics_add(&conn->server->metrics->sent_bytes, (uint64_t)res);
        conn_drained_some(conn);
        if (conn_has_output(conn)) server_mark_dirty(conn);
    } else {
        conn_abort(conn);
    }
    conn_settle(conn);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void conn_close(struct conn *conn, struct conn_goodbye goodbye)
{
    if (conn->state == CONN_LEAVING) conn->lost = true; /* it leaves for nowhere */
    if (conn->state == CONN_LEAVING) server_mark_ready(conn);
    if (conn->state != CONN_OPEN) return;
    if (conn->awaiting) door_http_refuse(conn, HTTP_REFUSAL_CLOSING);
    if (conn->state != CONN_OPEN) return; /* the refusal closed it */
    if (conn->door == CONN_DOOR_WEBSOCKET && !conn->input_ended) door_websocket_close(conn, goodbye);
    if (conn->state != CONN_OPEN) return; /* room for the Close frame was made by evicting this one */
    conn_enter(conn, CONN_FAREWELL);
    conn->farewell = CONN_FAREWELL_FLUSH;
    conn_set_phase_deadline(conn, conn_now_ms(conn) + conn->server->options.write_timeout_ms);
    server_mark_ready(conn);
}

void conn_close_slow(struct conn *conn, const char *reason)
{
    struct in6_addr address = conn_address(conn);
    if (conn->state == CONN_OPEN)
        refusal_note(REFUSAL_SLOW_READER, &address, "queued_bytes=%u limit=outbound_hard", conn->out.bytes);
    conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_TRY_AGAIN, reason});
}

void conn_abort(struct conn *conn)
{
    if (conn->state == CONN_CLOSING) return;
    if (conn->state == CONN_LEAVING)
        conn->lost = true;
    else
        conn_enter(conn, CONN_CLOSING);
}

void conn_release(struct conn *conn)
{
    struct server *server = conn->server;
    ASSERT(!conn->recv.armed && !conn->send.armed && !conn->aside.armed);
    conn_enter(conn, CONN_CLOSED);
    timer_cancel(server->timers, &conn->timer);
    conn_forget_held(conn);
    output_clear(&conn->out);
    conn_tls_destroy(conn_tls_leave(conn));
    conn_free_partial(conn);
    conn_free_waiting(conn);
    conn_proxy_forget(conn);
    peers_remove(&server->peers, peers_key(&conn->peer));
    ASSERT(server->connection_count > 0);
    server->connection_count--;
    metrics_sub(&server->metrics->connections_open, 1);
}

void conn_finish(struct conn *conn)
{
    struct server *server = conn->server;
    conn_release(conn);
    io_close(server->io, conn->socket);
    conn->socket = IO_SOCKET_NONE;
    if (server->events.on_close != NULL) server->events.on_close(server->context, conn);
    server_reap_slot(conn);
}

bool conn_at_rest(struct conn *conn)
{
    struct io_op *armed = conn->recv.armed ? &conn->recv : conn->send.armed ? &conn->send : NULL;
    if (conn->aside.armed || armed == NULL) return !conn->aside.armed;
    conn->aside.done = conn_on_aside;
    if (conn->reset) io_reset(conn->server->io, &conn->aside, conn->socket);
    else io_cancel(conn->server->io, &conn->aside, armed);
    conn->reset = false; /* should anything be left, it is cancelled */
    return false;
}

/* Every completion while CLOSING comes here. */
static void conn_close_step(struct conn *conn)
{
    if (conn_at_rest(conn)) conn_finish(conn); /* last line: conn is gone */
}

static bool conn_farewell_awaits_close(const struct conn *conn)
{
    return conn->door == CONN_DOOR_WEBSOCKET && !conn->peer_done && !conn->input_ended &&
           conn_now_ms(conn) < conn->phase_deadline_ms;
}

/* Nothing was said lately that a reset, should the peer speak just when the socket is closed, could make it lose; and it has not just come. */
static bool conn_is_quiet(const struct conn *conn)
{
    return conn->progress_ms + CONN_QUIET_MS < conn_now_ms(conn);
}

static void conn_farewell_step(struct conn *conn)
{
    conn_listen(conn, SLICE_EMPTY);
    if (conn->farewell == CONN_FAREWELL_FLUSH) {
        if (conn_has_output(conn)) {
            conn_receive(conn);
            return;
        }
        conn->farewell = CONN_FAREWELL_LISTEN;
        conn_set_phase_deadline(conn, conn_now_ms(conn) + CONN_FAREWELL_MS);
    }
    if (conn->farewell == CONN_FAREWELL_LISTEN) {
        if (conn_farewell_awaits_close(conn) || conn_tls_says_goodbye(conn)) {
            conn_receive(conn);
            return;
        }
        if (!conn->input_ended && !conn_is_quiet(conn)) { /* otherwise closing says the same */
            if (conn->aside.armed) return;
            conn->aside.done = conn_on_aside;
            io_shutdown(conn->server->io, &conn->aside, conn->socket);
        }
        conn->farewell = CONN_FAREWELL_LINGER;
        conn_set_phase_deadline(conn, conn_now_ms(conn) + CONN_FAREWELL_MS);
    }
    if (!conn->input_ended && !conn_is_quiet(conn) && conn_now_ms(conn) < conn->phase_deadline_ms) {
        conn_receive(conn);
        return;
    }
    conn_abort(conn);
    conn_close_step(conn);
}

/* The peer sends no more and all it sent is handled. */
static bool conn_input_over(const struct conn *conn)
{
    if (conn_tls_waits(conn)) return false;
    return conn->input_ended && !conn->awaiting && (conn->waiting == NULL || !conn_blocked(conn));
}

/* The next step of a connection, whatever it is. The last thing a completion or timer does: conn may be gone after it.
 */
void conn_settle(struct conn *conn)
{
    if (conn->state == CONN_OPEN) conn_tell_resumed(conn);
    if (conn->state == CONN_OPEN) conn_deliver_waiting(conn);
    if (conn->state == CONN_OPEN && conn_input_over(conn))
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_NORMAL, NULL});
    switch ((enum conn_state)conn->state) {
    case CONN_OPEN: conn_receive(conn); break;
    case CONN_LEAVING: conn_leave_step(conn); break;
    case CONN_FAREWELL: conn_farewell_step(conn); break;
    case CONN_CLOSING: conn_close_step(conn); break;
    case CONN_CLOSED: break;
    }
}

void conn_init(struct conn *conn)
{
    conn->recv.done = conn_on_recv;
    conn->send.done = conn_on_send;
    conn->timer.fired = conn_on_timer;
}
