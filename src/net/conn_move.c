/* net/conn_move.c - a connection leaves its worker and arrives at another.
 * Happy path: conn_detach() -> recv cancelled, a send in flight completes -> no op armed -> the socket is sent to the other worker's io ->
 * parser state, unread input and unsent output are packed into the handover -> conn_adopt() over there unpacks it, paused, and counts
 * it in. Payload bufs belong to the pool of one worker, so unsent output travels as plain bytes. Failure: the peer is
 * gone, there is no memory or no place over there: no handover, and the connection ends here like any other. What goes wrong once the
 * socket is over there marks the handover broken: it is closed there. */
#include "core/check.h"
#include "net/conn_internal.h"
#include <stdlib.h>

#define LUGGAGE_PART_SIZE 16384u /* unsent output is unpacked into bufs of this size */

struct conn_handover {
    struct io_socket socket; /* as the other side's io numbers it */
    bool broken;
    uint8_t door;
    bool authenticated;
    struct in6_addr peer;
    uint16_t peer_port;
    struct conn_partial *partial;
    struct conn_waiting *waiting;
    struct conn_tls *tls;
    uint8_t *unsent; /* not encrypted yet */
    uint32_t unsent_len;
};

struct conn_departure {
    void (*gone)(void *context, struct conn_handover *handover);
    void *context;
    struct io *to;
    struct conn_handover *handover;
    uint32_t number_base; /* from io_move() */
};

void conn_detach(struct conn *conn, struct io *to, void (*gone)(void *context, struct conn_handover *handover), void *context)
{
    ASSERT(conn->state == CONN_OPEN && gone != NULL);
    ASSERT(conn_has_frames(conn));
    conn_enter(conn, CONN_LEAVING);
    conn->departure = malloc(sizeof *conn->departure);
    if (conn->departure == NULL) check_fatal("out of memory");
    *conn->departure = (struct conn_departure){gone, context, to, calloc(1, sizeof(struct conn_handover)), 0};
    if (to == NULL || conn->departure->handover == NULL) conn->lost = true;
    server_mark_ready(conn);
}

static void conn_pack(struct conn *conn, struct conn_handover *handover)
{
    if (!output_empty(&conn->out)) {
        handover->unsent = malloc(conn->out.bytes);
        if (handover->unsent == NULL) handover->broken = true;
    }
    if (handover->unsent != NULL) {
        handover->unsent_len = conn->out.bytes;
        output_copy(&conn->out, handover->unsent);
    }
    if (conn->lost) handover->broken = true; /* closed while it went */
    handover->door = conn->door;
    handover->authenticated = conn->authenticated;
    handover->peer = conn->peer;
    handover->peer_port = conn->peer_port;
    if (conn->partial != NULL) conn_charge(conn, &conn->partial->charged_bytes, 0); /* over there it is charged anew */
    if (conn->waiting != NULL) conn_charge(conn, &conn->waiting->charged_bytes, 0);
    handover->partial = conn->partial;
    handover->waiting = conn->waiting;
    handover->tls = conn_tls_leave(conn);
    conn->partial = NULL;
    conn->waiting = NULL;
}

/* There is nothing to be taken over there: the connection ends here. */
static void conn_stay(struct conn *conn)
{
    struct conn_departure departure = *conn->departure;
    free(conn->departure);
    conn->departure = NULL;
    free(departure.handover);
    departure.gone(departure.context, NULL);
    conn_finish(conn); /* last line: conn is gone */
}

static void conn_on_moved(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)bytes;
    struct conn *conn = CONTAINER_OF(op, struct conn, aside);
    ASSERT(conn->state == CONN_LEAVING);
    if (res < 0) {
        conn_stay(conn);
        return;
    }
    struct conn_departure departure = *conn->departure;
    free(conn->departure);
    conn->departure = NULL;
    departure.handover->socket.number = departure.number_base + (uint32_t)res;
    conn_pack(conn, departure.handover);
    io_moved(conn->server->io, conn->socket);
    conn->socket = IO_SOCKET_NONE;
    conn_release(conn);
    server_reap_slot(conn);
    departure.gone(departure.context, departure.handover); /* last line: conn is gone */
}

void conn_leave_step(struct conn *conn)
{
    ASSERT(conn->state == CONN_LEAVING);
    struct io *io = conn->server->io;
    if (conn->aside.armed) return;
    if (conn->lost) {
        if (conn_at_rest(conn)) conn_stay(conn);
    } else if (conn->recv.armed) {
        conn->aside.done = conn_on_aside;
        io_cancel(io, &conn->aside, &conn->recv);
    } else if (!conn->send.armed) {
        if (conn->input_ended) {
            conn_stay(conn);
            return;
        }
        conn->aside.done = conn_on_moved;
        conn->departure->number_base = io_move(io, &conn->aside, conn->socket, conn->departure->to);
    }
}

static void handover_free(struct conn_handover *handover)
{
    struct conn stub = {.door = handover->door, .partial = handover->partial, .waiting = handover->waiting};
    conn_free_partial(&stub);
    conn_free_waiting(&stub);
    conn_tls_destroy(handover->tls);
    free(handover->unsent);
    free(handover);
}

void conn_handover_free(struct server *server, struct conn_handover *handover)
{
    io_arrived(server->io, handover->socket);
    io_close(server->io, handover->socket);
    handover_free(handover);
}

static bool conn_unpack_output(struct conn *conn, const struct conn_handover *handover)
{
    for (uint32_t at = 0; at < handover->unsent_len; at += LUGGAGE_PART_SIZE) {
        uint32_t left = handover->unsent_len - at;
        struct slice part = slice_of(handover->unsent + at, left < LUGGAGE_PART_SIZE ? left : LUGGAGE_PART_SIZE);
        if (conn_queue(conn, &part, 1, NULL, SLICE_EMPTY) != RESULT_OK) return false;
    }
    return true;
}

struct conn *conn_adopt(struct server *server, struct conn_handover *handover)
{
    struct conn *conn = NULL;
    if (!server->stopping && !handover->broken)
        conn = server_open_slot(server, handover->socket, &handover->peer, handover->peer_port, 0);
    if (conn == NULL) {
        metrics_add(&server->metrics->connections_refused, 1);
        conn_handover_free(server, handover);
        return NULL;
    }
    io_arrived(server->io, handover->socket);
    conn->proxied = proxies_believe(&server->proxies, &conn->peer);
    conn->door = handover->door;
    conn->partial = handover->partial;
    conn->waiting = handover->waiting;
    conn->paused = true;
    conn_tls_arrive(conn, handover->tls);
    if (conn_has_output(conn)) server_mark_dirty(conn);
    handover->tls = NULL;
    handover->partial = NULL;
    handover->waiting = NULL;
    metrics_add(&server->metrics->connections_migrated, 1);
    conn_note_input(conn);
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.authenticate_timeout_ms);
    if (handover->authenticated) conn_set_authenticated(conn);
    if (!conn_unpack_output(conn, handover))
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_INTERNAL, "a limit of the server is reached"});
    server_mark_ready(conn);
    handover_free(handover);
    return conn;
}
