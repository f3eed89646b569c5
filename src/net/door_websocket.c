/* net/door_websocket.c - what WebSocket frames mean: pings are answered, Close is answered, messages go to the layer
 * above. Failure: a violation gets the Close code the RFC names and nothing more is expected from that peer. */
#include "core/check.h"
#include "net/conn_internal.h"

#define CONTROL_FRAME_SIZE_MAX (WEBSOCKET_HEAD_SIZE_MAX + WEBSOCKET_CONTROL_SIZE_MAX)

void door_websocket_open(struct conn *conn)
{
    struct server *server = conn->server;
    ASSERT(conn->partial == NULL);
    conn->door = CONN_DOOR_WEBSOCKET;
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.authenticate_timeout_ms);
    if (server->events.on_open != NULL) server->events.on_open(server->context, conn);
}

/* Queues a control frame; left out at the outbound limit, which the RFC allows for pongs and which a ping survives. */
static void door_websocket_control(struct conn *conn, enum websocket_opcode opcode, struct slice payload)
{
    if (conn->out.bytes + CONTROL_FRAME_SIZE_MAX > conn->server->options.outbound_hard_bytes) return;
    uint8_t head[WEBSOCKET_HEAD_SIZE_MAX];
    struct slice parts[] = {slice_of(head, websocket_write_head(head, opcode, payload.len)), payload};
    (void)!conn_queue(conn, parts, COUNT_OF(parts), NULL, SLICE_EMPTY);
}

void door_websocket_ping(struct conn *conn)
{
    door_websocket_control(conn, WEBSOCKET_PING, SLICE_EMPTY);
}

void door_websocket_close(struct conn *conn, struct conn_goodbye goodbye)
{
    uint8_t frame[CONTROL_FRAME_SIZE_MAX];
    struct slice part = slice_of(frame, websocket_write_close(frame, goodbye.websocket_code, goodbye.reason));
    /* Without memory the peer sees the end of the stream only. */
    (void)!conn_queue(conn, &part, 1, NULL, SLICE_EMPTY);
}

/* The parser's state moves to the connection when a message is incomplete, and back when it is whole. */
static bool door_websocket_place(struct conn *conn, struct websocket_parser *parser)
{
    bool idle = websocket_parser_idle(parser);
    if (idle) conn_free_partial(conn);
    if (idle || conn->partial != NULL) return true;
    struct conn_partial *partial = conn_begin_partial(conn);
    if (partial != NULL && websocket_parser_move(&partial->as.websocket, parser)) return true;
    websocket_parser_reset(parser);
    return false;
}

static struct websocket_parser *door_websocket_parser(struct conn *conn)
{
    return conn->partial != NULL ? &conn->partial->as.websocket : &conn->server->websocket;
}

/* Nothing more is expected of the peer: it said goodbye, or broke the protocol. */
static void door_websocket_end(struct conn *conn, uint16_t code, const char *reason)
{
    conn->peer_done = true;
    conn_close(conn, (struct conn_goodbye){code, reason});
}

static void door_websocket_event(struct conn *conn, const struct websocket_event *event)
{
    struct server *server = conn->server;
    switch (event->kind) {
    case WEBSOCKET_EVENT_MORE: break;
    case WEBSOCKET_EVENT_MESSAGE: {
        enum conn_frame encoding = event->opcode == WEBSOCKET_TEXT ? CONN_FRAME_TEXT : CONN_FRAME_BINARY;
        server->events.on_frame(server->context, conn, encoding, event->payload);
        break;
    }
    case WEBSOCKET_EVENT_PING:
    case WEBSOCKET_EVENT_PONG:
        if (!conn_control_allowed(conn))
            door_websocket_end(conn, WEBSOCKET_CODE_POLICY, "too many control frames");
        else if (event->kind == WEBSOCKET_EVENT_PING)
            door_websocket_control(conn, WEBSOCKET_PONG, event->payload);
        break;
    case WEBSOCKET_EVENT_CLOSE: door_websocket_end(conn, event->code, NULL); break;
    case WEBSOCKET_EVENT_VIOLATION: door_websocket_end(conn, event->code, event->reason); break;
    }
}

void door_websocket_feed(struct conn *conn, struct slice *in)
{
    struct websocket_parser *parser = door_websocket_parser(conn);
    struct websocket_event event = websocket_parser_feed(parser, in, conn->server->options.frame_size_max);
    door_websocket_event(conn, &event);
    if (event.kind == WEBSOCKET_EVENT_VIOLATION) websocket_parser_reset(parser);
    if (!door_websocket_place(conn, parser)) door_websocket_end(conn, WEBSOCKET_CODE_INTERNAL, "out of memory");
}

void door_websocket_listen(struct conn *conn, struct slice *in)
{
    while (in->len > 0 && !conn->peer_done) {
        struct websocket_parser *parser = door_websocket_parser(conn);
        struct websocket_event event = websocket_parser_feed(parser, in, conn->server->options.frame_size_max);
        bool violation = event.kind == WEBSOCKET_EVENT_VIOLATION;
        if (violation) websocket_parser_reset(parser);
        bool placed = door_websocket_place(conn, parser);
        conn->peer_done = violation || !placed || event.kind == WEBSOCKET_EVENT_CLOSE;
    }
}
