/* net/door_tcp.c - what frames on raw TCP mean: heartbeats end here, envelopes go to the layer above.
 * Failure: too large a frame, or too many heartbeats, close the connection; this door has no way to say why. */
#include "core/check.h"
#include "net/conn_internal.h"

void door_tcp_open(struct conn *conn)
{
    struct server *server = conn->server;
    conn->door = CONN_DOOR_TCP;
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.authenticate_timeout_ms);
    if (server->events.on_open != NULL) server->events.on_open(server->context, conn);
}

/* The parser's state moves to the connection when a frame is incomplete, and back when it is whole. */
static bool door_tcp_place(struct conn *conn, struct tcpframe_parser *parser)
{
    bool idle = tcpframe_parser_idle(parser);
    if (idle) conn_free_partial(conn);
    if (idle || conn->partial != NULL) return true;
    struct conn_partial *partial = conn_begin_partial(conn);
    if (partial != NULL && tcpframe_parser_move(&partial->as.tcp, parser)) return true;
    tcpframe_parser_reset(parser);
    return false;
}

static void door_tcp_fail(struct conn *conn, struct tcpframe_parser *parser, uint16_t code, const char *reason)
{
    tcpframe_parser_reset(parser);
    conn_close(conn, (struct conn_goodbye){code, reason});
}

void door_tcp_feed(struct conn *conn, struct slice *in)
{
    struct server *server = conn->server;
    struct tcpframe_parser *parser = conn->partial != NULL ? &conn->partial->as.tcp : &server->tcp;
    struct slice payload;
    switch (tcpframe_parser_feed(parser, in, server->options.frame_size_max, &payload)) {
    case TCPFRAME_MORE: break;
    case TCPFRAME_FRAME: server->events.on_frame(server->context, conn, CONN_FRAME_BINARY, payload); break;
    case TCPFRAME_HEARTBEAT:
        if (!conn_control_allowed(conn)) door_tcp_fail(conn, parser, WEBSOCKET_CODE_POLICY, "too many heartbeats");
        break;
    case TCPFRAME_TOO_LARGE: door_tcp_fail(conn, parser, WEBSOCKET_CODE_TOO_LARGE, "frame too large"); break;
    case TCPFRAME_NOMEM: door_tcp_fail(conn, parser, WEBSOCKET_CODE_INTERNAL, "out of memory"); break;
    }
    if (!door_tcp_place(conn, parser))
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_INTERNAL, "out of memory"});
}

void door_tcp_heartbeat(struct conn *conn)
{
    uint8_t head[TCPFRAME_HEAD_SIZE];
    tcpframe_write_head(head, 0);
    struct slice frame = slice_of(head, sizeof head);
    /* Without memory this beat is left out; silence for too long ends the connection as always. */
    (void)!conn_queue(conn, &frame, 1, NULL, SLICE_EMPTY);
}
