/* net/conn_tls.c - TLS between the socket and the doors of one connection.
 * Happy path: the first byte is a ClientHello's -> records are kept until one is whole -> the connection queues for its
 * handshake -> from then on what arrives is decrypted and taken as if it had come plain, and once per turn what waits
 * in the output becomes records of up to 16 KiB and one send. Failure: a broken session drops what was not said yet,
 * sends its alert and ends like any other connection. A peer that says close_notify is like one that shuts its direction:
 * what it asked before is answered.
 *
 * Handshakes cost 0.1 to 0.8 ms each: tls_handshakes_per_turn_max of them run in a turn, first come, first served, and
 * the others wait in a list, so that a crowd that connects cannot hold up those who are here. */
#include "core/check.h"
#include "core/heap.h"
#include "core/logger.h"
#include "net/conn_internal.h"
#include "net/tls.h"
#include <stdlib.h>

#define CONN_PEER_SIZE         64
#define CONN_TLS_SEND_SIZE_MAX 65536u /* plaintext of one send: 0.2 ms of encryption with the slowest library */
#define CONN_TLS_KEPT_MAX      32768u /* input of a waiting handshake, above which no more is received */

struct conn_tls {
    struct tls *tls;
    struct conn *before, *after; /* in the server's list of handshakes */
    bool queued;                 /* in it */
    bool opened;                 /* counted as an open TLS connection */
    uint32_t charged_bytes;      /* to the pool, for what tls holds; conn_memory.c */
    int64_t session_bytes;       /* what the library keeps for it, told from the heap: two loads before and after a step */
};

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static void conn_tls_grew(struct conn *conn, int64_t bytes)
{
    conn->tls->session_bytes += bytes;
    conn->server->tls_bytes += bytes;
}

bool conn_tls_begins(struct conn *conn, struct slice in)
{
    struct server *server = conn->server;
    bool begins = conn->tls == NULL && conn->state == CONN_OPEN && conn->door == CONN_DOOR_NONE &&
                  conn->waiting == NULL && server->options.tls != NULL && in.data[0] == TLS_FIRST_BYTE;
    if (!begins) return conn->tls != NULL;
    int64_t before = heap_thread_bytes();
    conn->tls = calloc(1, sizeof *conn->tls);
    if (conn->tls != NULL) conn->tls->tls = tls_create_server(server->options.tls);
    if (conn->tls != NULL && conn->tls->tls != NULL) {
        conn_tls_grew(conn, heap_thread_bytes() - before);
        return true;
    }
    free(conn->tls);
    conn->tls = NULL;
    conn_abort(conn);
    return false;
}

static void conn_tls_unqueue(struct conn *conn)
{
    struct conn_tls *own = conn->tls;
    struct server *server = conn->server;
    if (!own->queued) return;
    own->queued = false;
    if (own->before != NULL)
        own->before->tls->after = own->after;
    else
        server->handshake_first = own->after;
    if (own->after != NULL)
        own->after->tls->before = own->before;
    else
        server->handshake_last = own->before;
    own->before = own->after = NULL;
}

static void conn_tls_queue(struct conn *conn)
{
    struct conn_tls *own = conn->tls;
    struct server *server = conn->server;
    if (own->queued) return;
    own->queued = true;
    own->before = server->handshake_last;
    if (own->before != NULL)
        own->before->tls->after = conn;
    else
        server->handshake_first = conn;
    server->handshake_last = conn;
    if (server->handshakes_this_turn < server->options.tls_handshakes_per_turn_max) server_wake(server);
}

uint32_t conn_tls_charged_bytes(const struct conn *conn)
{
    return conn->tls == NULL ? 0 : conn->tls->charged_bytes;
}

void conn_tls_note(struct conn *conn)
{
    if (conn->tls != NULL) conn_charge(conn, &conn->tls->charged_bytes, tls_held_bytes(conn->tls->tls));
}

struct conn_tls *conn_tls_leave(struct conn *conn)
{
    struct conn_tls *own = conn->tls;
    if (own == NULL) return NULL;
    conn_charge(conn, &own->charged_bytes, 0);
    conn_tls_unqueue(conn);
    conn->server->tls_bytes -= own->session_bytes;
    if (own->opened)
        metrics_sub(&conn->server->metrics->tls_connections_open, 1);
    else
        metrics_add(&conn->server->metrics->tls_handshakes_failed, 1);
    conn->tls = NULL;
    return own;
}

void conn_tls_arrive(struct conn *conn, struct conn_tls *own)
{
    ASSERT(conn->tls == NULL);
    conn->tls = own;
    conn_tls_note(conn);
    if (own != NULL) conn->server->tls_bytes += own->session_bytes;
    if (own != NULL && own->opened) metrics_add(&conn->server->metrics->tls_connections_open, 1);
}

void conn_tls_destroy(struct conn_tls *own)
{
    if (own == NULL) return;
    ASSERT(!own->queued);
    tls_destroy(own->tls);
    free(own);
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

/* The session is of no use any more: what was queued for it cannot be said, and nothing the peer sends will be heard.
 */
static void conn_tls_break(struct conn *conn, const char *why)
{
    char peer[CONN_PEER_SIZE];
    LOG_DEBUG("tls", "session failed peer=%s reason=\"%s\"", conn_peer(conn, peer, sizeof peer), why);
    conn->peer_done = true;
    conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_PROTOCOL, "TLS failed"});
    output_clear(&conn->out); /* the send in flight, if any, is of records */
}

void conn_tls_take(struct conn *conn, struct slice in)
{
    struct tls *tls = conn->tls->tls;
    uint8_t *plain = conn->server->plain;
    bool more = true;
    while (more && conn->state != CONN_CLOSING) {
        uint32_t plain_len;
        enum tls_event event = tls_read(tls, &in, plain, &plain_len);
        if (event == TLS_DATA) conn_take(conn, slice_of(plain, plain_len));
        if (event == TLS_STEP) conn_tls_queue(conn);
        if (event == TLS_CLOSED) conn->input_ended = true;
        bool flood = event == TLS_CONTROL && !conn_control_allowed(conn);
        if (event == TLS_FAILED && !conn->peer_done) conn_tls_break(conn, tls_failure(tls));
        if (flood) conn_tls_break(conn, "too many records without data");
        more = !flood && (event == TLS_DATA || event == TLS_CONTROL);
    }
    if (tls_has_output(tls)) server_mark_dirty(conn); /* an alert, an answer to a key update */
}

/* ---- handshakes -------------------------------------------------------------------------------------------------- */

bool conn_tls_waits(const struct conn *conn)
{
    return conn->tls != NULL && conn->tls->queued;
}

bool conn_tls_holds(const struct conn *conn)
{
    return conn_tls_waits(conn) && tls_kept_bytes(conn->tls->tls) > CONN_TLS_KEPT_MAX;
}

static void conn_tls_opened(struct conn *conn)
{
    struct metrics *metrics = conn->server->metrics;
    conn->tls->opened = true;
    metrics_add(&metrics->tls_connections_open, 1);
    metrics_add(tls_is_resumed(conn->tls->tls) ? &metrics->tls_handshakes_resumed : &metrics->tls_handshakes_full, 1);
    conn_tls_take(conn, SLICE_EMPTY); /* what came with the end of the handshake */
}

static void conn_tls_step(struct conn *conn)
{
    struct tls *tls = conn->tls->tls;
    if (conn->state == CONN_OPEN) {
        int64_t before = heap_thread_bytes() - tls_held_bytes(tls); /* records are the pool's */
        enum tls_event event = tls_handshake(tls);
        conn_tls_grew(conn, heap_thread_bytes() - tls_held_bytes(tls) - before);
        if (event == TLS_OPENED) conn_tls_opened(conn);
        if (event == TLS_FAILED) conn_tls_break(conn, tls_failure(tls));
        if (tls_has_output(tls)) server_mark_dirty(conn);
        conn_note_input(conn);
    }
    conn_settle(conn); /* last line: conn may be gone */
}

void conn_tls_run_handshakes(struct server *server)
{
    while (server->handshake_first != NULL &&
           server->handshakes_this_turn < server->options.tls_handshakes_per_turn_max) {
        struct conn *conn = server->handshake_first;
        conn_tls_unqueue(conn);
        server->handshakes_this_turn++;
        conn_tls_step(conn);
    }
}

void conn_tls_begin_turn(struct server *server)
{
    server->handshakes_this_turn = 0;
    if (server->handshake_first != NULL) server_wake(server);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

bool conn_has_output(const struct conn *conn)
{
    return !output_empty(&conn->out) || (conn->tls != NULL && tls_has_output(conn->tls->tls));
}

/* Turns what waits into records, as few as there can be. */
static void conn_tls_encrypt(struct conn *conn)
{
    struct tls *tls = conn->tls->tls;
    uint32_t encrypted = 0;
    while (!output_empty(&conn->out) && encrypted < CONN_TLS_SEND_SIZE_MAX) {
        struct slice plain = output_peek(&conn->out, conn->server->plain, TLS_RECORD_SIZE_MAX);
        enum result res = tls_write(tls, plain);
        if (res != RESULT_OK) {
            output_clear(&conn->out);
            if (res == RESULT_NOMEM) conn_abort(conn);
            server_mark_ready(conn);
            return;
        }
        output_sent(&conn->out, plain.len);
        encrypted += plain.len;
    }
}

bool conn_tls_gather(struct conn *conn, struct slice *records)
{
    struct tls *tls = conn->tls->tls;
    /* Not while records wait: they are beyond the outbound limits, and a slow reader takes a send in many parts. */
    if (conn->tls->opened && !tls_has_output(tls)) conn_tls_encrypt(conn);
    if (conn->state == CONN_CLOSING || !tls_has_output(tls)) return false;
    *records = tls_output(tls);
    return true;
}

void conn_tls_sent(struct conn *conn, uint32_t bytes)
{
    tls_sent(conn->tls->tls, bytes);
    conn_tls_note(conn); /* what was sent is free, and nothing else may come for long */
}

bool conn_tls_says_goodbye(struct conn *conn)
{
    if (conn->tls == NULL) return false;
    struct tls *tls = conn->tls->tls;
    tls_write_close(tls);
    if (!tls_has_output(tls) || conn_now_ms(conn) >= conn->phase_deadline_ms) return false;
    server_mark_dirty(conn);
    return true;
}
