/* net/conn_move.c - a connection leaves its worker and arrives at another.
 * Happy path: conn_detach() -> recv cancelled, a send in flight completes -> no op armed -> the socket is sent to the other worker's io ->
 * parser state, unread input and unsent output are packed into the luggage -> conn_adopt() over there unpacks it, paused, and counts
 * it in. Payload bufs belong to the pool of one worker, so unsent output travels as plain bytes. Failure: the peer is
 * gone, there is no memory or no place over there: no luggage, and the connection ends here like any other. What goes wrong once the
 * socket is over there marks the luggage broken: it is closed there. */
#include "core/check.h"
#include "net/conn_internal.h"
#include <stdlib.h>

#define LUGGAGE_PART_SIZE 16384u /* unsent output is unpacked into bufs of this size */

struct conn_luggage {
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
    void (*gone)(void *context, struct conn_luggage *luggage);
    void *context;
    struct io *to;
    struct conn_luggage *luggage;
    uint32_t number_base; /* from io_move() */
};

void conn_detach(struct conn *conn, struct io *to, void (*gone)(void *context, struct conn_luggage *luggage), void *context)
{
    ASSERT(conn->state == CONN_OPEN && gone != NULL);
    ASSERT(conn_has_frames(conn));
    conn_enter(conn, CONN_LEAVING);
    conn->departure = malloc(sizeof *conn->departure);
    if (conn->departure == NULL) check_fatal("out of memory");
    *conn->departure = (struct conn_departure){gone, context, to, calloc(1, sizeof(struct conn_luggage)), 0};
    if (to == NULL || conn->departure->luggage == NULL) conn->lost = true;
    server_mark_ready(conn);
}

static void conn_pack(struct conn *conn, struct conn_luggage *luggage)
{
    if (!output_empty(&conn->out)) {
        luggage->unsent = malloc(conn->out.bytes);
        if (luggage->unsent == NULL) luggage->broken = true;
    }
    if (luggage->unsent != NULL) {
        luggage->unsent_len = conn->out.bytes;
        output_copy(&conn->out, luggage->unsent);
    }
    if (conn->lost) luggage->broken = true; /* closed while it went */
    luggage->door = conn->door;
    luggage->authenticated = conn->authenticated;
    luggage->peer = conn->peer;
    luggage->peer_port = conn->peer_port;
    if (conn->partial != NULL) conn_charge(conn, &conn->partial->charged_bytes, 0); /* over there it is charged anew */
    if (conn->waiting != NULL) conn_charge(conn, &conn->waiting->charged_bytes, 0);
    luggage->partial = conn->partial;
    luggage->waiting = conn->waiting;
    luggage->tls = conn_tls_leave(conn);
    conn->partial = NULL;
    conn->waiting = NULL;
}

/* There is nothing to be taken over there: the connection ends here. */
static void conn_stay(struct conn *conn)
{
    struct conn_departure departure = *conn->departure;
    free(conn->departure);
    conn->departure = NULL;
    free(departure.luggage);
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
    departure.luggage->socket.number = departure.number_base + (uint32_t)res;
    conn_pack(conn, departure.luggage);
    io_moved(conn->server->io, conn->socket);
    conn->socket = IO_SOCKET_NONE;
    conn_release(conn);
    server_reap_slot(conn);
    departure.gone(departure.context, departure.luggage); /* last line: conn is gone */
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

static void luggage_free(struct conn_luggage *luggage)
{
    struct conn stub = {.door = luggage->door, .partial = luggage->partial, .waiting = luggage->waiting};
    conn_free_partial(&stub);
    conn_free_waiting(&stub);
    conn_tls_destroy(luggage->tls);
    free(luggage->unsent);
    free(luggage);
}

void conn_luggage_free(struct server *server, struct conn_luggage *luggage)
{
    io_arrived(server->io, luggage->socket);
    io_close(server->io, luggage->socket);
    luggage_free(luggage);
}

static bool conn_unpack_output(struct conn *conn, const struct conn_luggage *luggage)
{
    for (uint32_t at = 0; at < luggage->unsent_len; at += LUGGAGE_PART_SIZE) {
        uint32_t left = luggage->unsent_len - at;
        struct slice part = slice_of(luggage->unsent + at, left < LUGGAGE_PART_SIZE ? left : LUGGAGE_PART_SIZE);
        if (conn_queue(conn, &part, 1, NULL, SLICE_EMPTY) != RESULT_OK) return false;
    }
    return true;
}

struct conn *conn_adopt(struct server *server, struct conn_luggage *luggage)
{
    struct conn *conn = NULL;
    if (!server->stopping && !luggage->broken)
        conn = server_open_slot(server, luggage->socket, &luggage->peer, luggage->peer_port, 0);
    if (conn == NULL) {
        metrics_add(&server->metrics->connections_refused, 1);
        conn_luggage_free(server, luggage);
        return NULL;
    }
    io_arrived(server->io, luggage->socket);
    conn->proxied = proxies_believe(&server->proxies, &conn->peer);
    conn->door = luggage->door;
    conn->partial = luggage->partial;
    conn->waiting = luggage->waiting;
    conn->paused = true;
    conn_tls_arrive(conn, luggage->tls);
    if (conn_has_output(conn)) server_mark_dirty(conn);
    luggage->tls = NULL;
    luggage->partial = NULL;
    luggage->waiting = NULL;
    metrics_add(&server->metrics->connections_migrated, 1);
    conn_note_input(conn);
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.authenticate_timeout_ms);
    if (luggage->authenticated) conn_set_authenticated(conn);
    if (!conn_unpack_output(conn, luggage))
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_INTERNAL, "a limit of the server is reached"});
    server_mark_ready(conn);
    luggage_free(luggage);
    return conn;
}
