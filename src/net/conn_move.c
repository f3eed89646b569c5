/* net/conn_move.c - a connection leaves its worker and arrives at another.
 * Happy path: conn_detach() -> recv cancelled, a send in flight completes -> no op armed -> descriptor, parser state,
 * unread input and unsent output are packed into the luggage -> conn_adopt() over there unpacks it, paused, and counts
 * it in. Payload bufs belong to the pool of one worker, so unsent output travels as plain bytes. Failure: the peer is
 * gone, or there is no memory: no luggage, and the connection ends here like any other. */
#include "core/check.h"
#include "net/conn_internal.h"
#include <stdlib.h>
#include <unistd.h>

#define LUGGAGE_PART_SIZE 16384u /* unsent output is unpacked into bufs of this size */

struct conn_luggage {
    int fd;
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

void conn_detach(struct conn *conn, void (*gone)(void *context, struct conn_luggage *luggage), void *context)
{
    ASSERT(conn->state == CONN_OPEN && gone != NULL);
    ASSERT(conn_has_frames(conn));
    conn_enter(conn, CONN_LEAVING);
    conn->gone = gone;
    conn->gone_context = context;
    server_mark_ready(conn);
}

/* NULL: no memory. */
static struct conn_luggage *conn_pack(struct conn *conn)
{
    struct conn_luggage *luggage = calloc(1, sizeof *luggage);
    if (luggage == NULL) return NULL;
    if (!output_empty(&conn->out)) {
        luggage->unsent = malloc(conn->out.bytes);
        if (luggage->unsent == NULL) {
            free(luggage);
            return NULL;
        }
        luggage->unsent_len = conn->out.bytes;
        output_copy(&conn->out, luggage->unsent);
    }
    luggage->fd = conn->fd;
    luggage->door = conn->door;
    luggage->authenticated = conn->authenticated;
    luggage->peer = conn->peer;
    luggage->peer_port = conn->peer_port;
    luggage->partial = conn->partial;
    luggage->waiting = conn->waiting;
    luggage->tls = conn_tls_leave(conn);
    conn->fd = -1;
    conn->partial = NULL;
    conn->waiting = NULL;
    return luggage;
}

void conn_leave_step(struct conn *conn)
{
    ASSERT(conn->state == CONN_LEAVING);
    if (conn->recv.armed && !conn->cancel.armed) io_cancel(conn->server->io, &conn->cancel, &conn->recv);
    if (conn->recv.armed || conn->send.armed || conn->cancel.armed) return;
    void (*gone)(void *context, struct conn_luggage *luggage) = conn->gone;
    void *context = conn->gone_context;
    struct conn_luggage *luggage = conn->lost || conn->input_ended ? NULL : conn_pack(conn);
    if (luggage == NULL) {
        gone(context, NULL);
        conn_finish(conn);
        return;
    }
    conn_release(conn);
    server_reap_slot(conn);
    gone(context, luggage); /* last line: conn is gone */
}

void conn_luggage_free(struct conn_luggage *luggage)
{
    if (luggage == NULL) return;
    if (luggage->fd >= 0) close(luggage->fd);
    struct conn stub = {.door = luggage->door, .partial = luggage->partial, .waiting = luggage->waiting};
    conn_free_partial(&stub);
    conn_free_waiting(&stub);
    conn_tls_destroy(luggage->tls);
    free(luggage->unsent);
    free(luggage);
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
    if (!server->stopping) conn = server_open_slot(server, luggage->fd, &luggage->peer, luggage->peer_port, 0);
    if (conn == NULL) {
        metrics_add(&server->metrics->connections_refused, 1);
        conn_luggage_free(luggage);
        return NULL;
    }
    conn->door = luggage->door;
    conn->partial = luggage->partial;
    conn->waiting = luggage->waiting;
    conn->paused = true;
    conn_tls_arrive(conn, luggage->tls);
    if (conn_has_output(conn)) server_mark_dirty(conn);
    luggage->tls = NULL;
    luggage->fd = -1;
    luggage->partial = NULL;
    luggage->waiting = NULL;
    metrics_add(&server->metrics->connections_migrated, 1);
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.authenticate_timeout_ms);
    if (luggage->authenticated) conn_set_authenticated(conn);
    if (!conn_unpack_output(conn, luggage))
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_INTERNAL, "a limit of the server is reached"});
    server_mark_ready(conn);
    conn_luggage_free(luggage);
    return conn;
}
