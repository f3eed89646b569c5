/* net/door_mqtt.c - MQTT on raw TCP: whole packets go to the layer above, head and all; it speaks the protocol.
 * Failure: what is no packet, or too large a one, is the end of the connection; the layer above may say so first. Nobody is pinged:
 * MQTT's keep-alive is the client's, conn_set_keep_alive() says how long it may be silent. */
#include "core/check.h"
#include "net/conn_internal.h"

void door_mqtt_open(struct conn *conn)
{
    struct server *server = conn->server;
    conn->door = CONN_DOOR_MQTT;
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.authenticate_timeout_ms);
    if (server->events.on_open != NULL) server->events.on_open(server->context, conn);
}

/* The parser's state moves to the connection when a packet is incomplete, and back when it is whole. */
static bool door_mqtt_place(struct conn *conn, struct mqttframe_parser *parser)
{
    bool idle = mqttframe_parser_idle(parser);
    if (idle) conn_free_partial(conn);
    if (idle || conn->partial != NULL) return true;
    struct conn_partial *partial = conn_begin_partial(conn);
    if (partial != NULL && mqttframe_parser_move(&partial->as.mqtt, parser)) return true;
    mqttframe_parser_reset(parser);
    return false;
}

static void door_mqtt_fail(struct conn *conn, struct mqttframe_parser *parser, uint16_t code, const char *reason)
{
    const struct server *server = conn->server;
    mqttframe_parser_reset(parser);
    if (server->events.on_broken != NULL && code != WEBSOCKET_CODE_INTERNAL) server->events.on_broken(server->context, conn, code);
    else conn_close(conn, (struct conn_goodbye){code, reason});
    ASSERT(conn->paused || conn->state != CONN_OPEN);
}

void door_mqtt_feed(struct conn *conn, struct slice *in)
{
    struct server *server = conn->server;
    struct mqttframe_parser *parser = conn->partial != NULL ? &conn->partial->as.mqtt : &server->mqtt;
    struct slice packet;
    switch (mqttframe_parser_feed(parser, in, server->options.frame_size_max, &packet)) {
    case MQTTFRAME_MORE: break;
    case MQTTFRAME_PACKET: server->events.on_frame(server->context, conn, CONN_FRAME_BINARY, packet); break;
    case MQTTFRAME_MALFORMED: door_mqtt_fail(conn, parser, WEBSOCKET_CODE_PROTOCOL, "no MQTT packet"); break;
    case MQTTFRAME_TOO_LARGE: door_mqtt_fail(conn, parser, WEBSOCKET_CODE_TOO_LARGE, "packet too large"); break;
    case MQTTFRAME_NOMEM: door_mqtt_fail(conn, parser, WEBSOCKET_CODE_INTERNAL, "out of memory"); break;
    }
    if (!door_mqtt_place(conn, parser))
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_INTERNAL, "out of memory"});
}
