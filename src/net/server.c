/* net/server.c - slots, accept, and the two lists of connections that need something.
 * Happy path: accept -> a slot -> recv armed; output puts a connection on the dirty list, server_flush() gives each one
 * send; a step that may not happen inside a conn_* call puts it on the ready list, which the next turn runs first.
 * Limits of memory are in conn_memory.c. connections_max and connections_per_ip_max close the socket at accept and are counted in connections_refused;
 * accepts_per_turn_max accepts are armed, each again in the turn after it completed; out of descriptors, accepting pauses for
 * ACCEPT_PAUSE_MS. */
#include "core/check.h"
#include "core/clock.h"
#include "core/refusal.h"
#include "net/conn_internal.h"
#include "net/tls.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ACCEPT_PAUSE_MS 100
#define READY_PER_TURN_MAX 1024 /* a stop makes all connections ready at once: more would not fit into the rings */

static void server_accept_step(struct server *server);

/* ---- slots ------------------------------------------------------------------------------------------------------- */

struct conn *server_find(struct server *server, struct conn_handle handle)
{
    if (handle.slot >= server->slot_count) return NULL;
    struct conn *conn = server_slot(server, handle.slot);
    return conn->state == CONN_OPEN && conn->generation == handle.generation ? conn : NULL;
}

/* A slot never used before; memory of a chunk is touched slot by slot, so few connections cost few pages. */
static struct conn *server_new_slot(struct server *server)
{
    uint32_t slot = server->slot_count;
    if (slot == server->options.connections_max) return NULL;
    uint32_t chunk = slot / SERVER_CHUNK_SLOTS;
    ASSERT(chunk < server->chunk_count);
    if (server->chunks[chunk] == NULL) server->chunks[chunk] = calloc(SERVER_CHUNK_SLOTS, sizeof(struct conn));
    if (server->chunks[chunk] == NULL) return NULL;
    server->slot_count++;
    struct conn *conn = server_slot(server, slot);
    conn->slot = slot;
    return conn;
}

struct conn *server_open_slot(struct server *server, struct io_socket socket, const struct in6_addr *peer, uint16_t peer_port,
                              uint32_t per_ip_max)
{
    if (server->connection_count >= server->options.connections_max) return NULL;
    struct conn *conn = server->free_slots;
    if (conn == NULL)
        conn = server_new_slot(server);
    else
        server->free_slots = conn->next_dirty;
    if (conn == NULL) return NULL;
    ASSERT(conn->state == CONN_CLOSED && !conn->dirty && !conn->ready);
    if (peers_add(&server->peers, peers_key(peer), per_ip_max) != RESULT_OK) {
        conn->next_dirty = server->free_slots;
        server->free_slots = conn;
        return NULL;
    }
    uint32_t slot = conn->slot, generation = conn->generation + 1;
    *conn = (struct conn){.server = server, .slot = slot, .generation = generation, .socket = socket};
    conn->peer = *peer;
    conn->peer_port = peer_port;
    conn_init(conn);
    conn_enter(conn, CONN_OPEN);
    conn_heard(conn);
    conn->progress_ms = server_now_ms(server);
    server->connection_count++;
    metrics_add(&server->metrics->connections_open, 1);
    return conn;
}

void server_reap_slot(struct conn *conn)
{
    ASSERT(conn->state == CONN_CLOSED);
    if (conn->dirty || conn->ready) return; /* whoever takes it off that list comes here again */
    struct server *server = conn->server;
    conn->next_dirty = server->free_slots;
    server->free_slots = conn;
}

uint64_t server_memory_bytes(const struct server *server)
{
    return (uint64_t)server->slot_count * sizeof(struct conn) + server->chunk_count * sizeof(struct conn *) +
           (uint64_t)server->peers.capacity * sizeof(struct peers_entry) +
           (uint64_t)server->options.accepts_per_turn_max * sizeof *server->accepts;
}

uint64_t server_tls_bytes(const struct server *server) { return server->tls_bytes > 0 ? (uint64_t)server->tls_bytes : 0; }

uint32_t server_connection_count(const struct server *server)
{
    return server->connection_count;
}

uint32_t server_random(struct server *server)
{
    /* xorshift64: jitter needs no secrecy */
    server->random ^= server->random << 13;
    server->random ^= server->random >> 7;
    server->random ^= server->random << 17;
    return (uint32_t)(server->random >> 32);
}

/* ---- the lists --------------------------------------------------------------------------------------------------- */

void server_mark_dirty(struct conn *conn)
{
    if (conn->dirty) return;
    conn->dirty = true;
    conn->next_dirty = conn->server->dirty;
    conn->server->dirty = conn;
}

void server_flush(struct server *server)
{
    struct conn *next = server->dirty;
    server->dirty = NULL;
    while (next != NULL) {
        struct conn *conn = next;
        next = conn->next_dirty;
        conn->dirty = false;
        if (conn->state == CONN_CLOSED)
            server_reap_slot(conn);
        else
            conn_flush(conn);
    }
    server_accept_step(server);
    conn_tls_begin_turn(server);
}

void server_mark_ready(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn->ready) return;
    conn->ready = true;
    conn->next_ready = NULL;
    if (server->ready == NULL)
        server->ready = conn;
    else
        server->ready_last->next_ready = conn;
    server->ready_last = conn;
    server_wake(server);
}

void server_wake(struct server *server)
{
    if (!server->ready_poll.armed) io_poll(server->io, &server->ready_poll, server->ready_fd, POLLIN);
}

static void server_on_ready(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)bytes;
    struct server *server = CONTAINER_OF(op, struct server, ready_poll);
    ASSERT(res > 0);
    struct conn *last = server->ready_last;
    for (uint32_t i = 0; i < READY_PER_TURN_MAX && server->ready != NULL; i++) {
        struct conn *conn = server->ready;
        server->ready = conn->next_ready;
        if (server->ready == NULL) server->ready_last = NULL;
        conn->ready = false;
        if (conn->state == CONN_CLOSED)
            server_reap_slot(conn);
        else
            conn_settle(conn);
        if (conn == last) break; /* those that became ready meanwhile have the next turn */
    }
    if (server->ready != NULL) server_wake(server);
    conn_tls_run_handshakes(server);
}

/* ---- accepting --------------------------------------------------------------------------------------------------- */

static struct in6_addr server_peer_of(const struct sockaddr_in6 *address, uint16_t *port)
{
    if (address->sin6_family == AF_INET6) {
        *port = ntohs(address->sin6_port);
        return address->sin6_addr;
    }
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(mapped.s6_addr + 12, &v4.sin_addr, sizeof v4.sin_addr);
    *port = ntohs(v4.sin_port);
    return mapped;
}

static void server_note_refusal(const struct server *server, const struct in6_addr *peer)
{
    if (server->connection_count >= server->options.connections_max)
        refusal_note(REFUSAL_CONNECTIONS, peer, "limit=%u", server->options.connections_max);
    else
        refusal_note(REFUSAL_CONNECTIONS_OF_ADDRESS, peer, "limit=%u", server->options.connections_per_ip_max);
}

static void server_take(struct server *server, const struct sockaddr_in6 *address, struct io_socket socket)
{
    uint16_t port;
    struct in6_addr peer = server_peer_of(address, &port);
    struct conn *conn = NULL;
    if (!server->stopping) conn = server_open_slot(server, socket, &peer, port, conn_limit_of(server, &peer));
    if (conn == NULL) {
        metrics_add(&server->metrics->connections_refused, 1);
        if (!server->stopping) server_note_refusal(server, &peer);
        io_close(server->io, socket);
        return;
    }
    metrics_add(&server->metrics->connections_accepted, 1);
    conn_meet(conn);
    conn_set_phase_deadline(conn, conn_now_ms(conn) + server->options.header_timeout_ms);
    conn_settle(conn);
}

/* The descriptor may be one of several for the same socket (the lobby's): closed when the accepts have ended, never shut down. */
static void server_stop_listening(struct server *server)
{
    if (server->accept_cancel.armed || server->listen_fd < 0) return;
    for (uint32_t i = 0; i < server->options.accepts_per_turn_max; i++) {
        if (!server->accepts[i].op.armed) continue;
        io_cancel(server->io, &server->accept_cancel, &server->accepts[i].op);
        return;
    }
    close(server->listen_fd);
    server->listen_fd = -1;
}

static void server_accept_later(struct server *server)
{
    timer_arm(server->timers, &server->accept_timer, server_now_ms(server) + ACCEPT_PAUSE_MS);
}

static void server_on_accept(struct io_accept *accept, int32_t res, struct io_socket socket)
{
    struct server *server = accept->context;
    server->accepts_armed--;
    if (res >= 0) server_take(server, &accept->address, socket);
    else if (res != -ECANCELED && !server->stopping) server_accept_later(server); /* out of descriptors or memory */
    if (server->stopping) server_stop_listening(server);
}

/* Once per turn. An accept that completed is armed again here only, so one turn takes accepts_per_turn_max at most. */
static void server_accept_step(struct server *server)
{
    if (server->stopping) server_stop_listening(server);
    if (!server->accepting || server->stopping || timer_armed(&server->accept_timer)) return;
    uint32_t count = server->options.accepts_per_turn_max;
    for (uint32_t i = 0; i < count && server->accepts_armed < count; i++) {
        if (server->accepts[i].op.armed) continue;
        if (!io_accept(server->io, &server->accepts[i], server->listen_fd)) {
            server_accept_later(server);
            return;
        }
        server->accepts_armed++;
    }
}

static void server_on_accept_cancel(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)res, (void)bytes;
    server_accept_step(CONTAINER_OF(op, struct server, accept_cancel));
}

static void server_on_accept_timer(struct timer *timer)
{
    server_accept_step(CONTAINER_OF(timer, struct server, accept_timer));
}

/* ---- start and stop ---------------------------------------------------------------------------------------------- */

static void server_check_options(const struct server_options *options)
{
    ASSERT(options->connections_max > 0 && options->accepts_per_turn_max > 0);
    ASSERT(options->frame_size_max > 0 && options->http_head_size_max > 0);
    ASSERT(options->outbound_soft_bytes > 0 && options->outbound_soft_bytes <= options->outbound_hard_bytes);
    ASSERT(options->outbound_hard_bytes <= UINT32_MAX / 4);
    ASSERT(options->heartbeat_interval_ms > 0 && options->write_timeout_ms > 0);
    ASSERT(options->tls != NULL ? options->tls_handshakes_per_turn_max > 0 : !options->tls_required);
}

enum result server_create(struct server **out, const struct server_options *options, struct io *io,
                          struct timer_wheel *timers, struct buf_pool *pool, struct metrics *metrics, int listen_fd,
                          const struct server_events *events, void *context)
{
    server_check_options(options);
    ASSERT(events->on_http != NULL && events->on_frame != NULL);
    *out = NULL;
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) return RESULT_NOMEM;
    server->options = *options;
    server->events = *events;
    server->context = context;
    server->io = io;
    server->timers = timers;
    server->pool = pool;
    server->metrics = metrics;
    server->listen_fd = listen_fd;
    server->accept_cancel.done = server_on_accept_cancel;
    server->accept_timer.fired = server_on_accept_timer;
    server->ready_poll.done = server_on_ready;
    clock_random(&server->random, sizeof server->random);
    server->random |= 1;
    http_reader_init(&server->http);
    websocket_parser_init(&server->websocket);
    tcpframe_parser_init(&server->tcp);
    mqttframe_parser_init(&server->mqtt);
    proxies_init(&server->proxies, options->trusted_proxies);
    proxies_init(&server->headed, options->proxy_protocol_from);
    enum result res = RESULT_NOMEM;
    server->chunk_count = (options->connections_max - 1) / SERVER_CHUNK_SLOTS + 1;
    server->chunks = calloc(server->chunk_count, sizeof(struct conn *));
    server->accepts = calloc(options->accepts_per_turn_max, sizeof *server->accepts);
    if (server->chunks == NULL || server->accepts == NULL) goto err_chunks;
    for (uint32_t i = 0; i < options->accepts_per_turn_max; i++) {
        server->accepts[i].done = server_on_accept;
        server->accepts[i].context = server;
    }
    if (options->tls != NULL) server->plain = malloc(TLS_RECORD_SIZE_MAX);
    if (options->tls != NULL && server->plain == NULL) goto err_chunks;
    res = peers_init(&server->peers);
    if (res != RESULT_OK) goto err_plain;
    server->ready_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->ready_fd < 0) {
        res = result_from_errno(errno);
        goto err_peers;
    }
    buf_pool_on_full(pool, server_make_room, server);
    *out = server;
    return RESULT_OK;
err_peers:
    peers_deinit(&server->peers);
err_plain:
    free(server->plain);
err_chunks:
    free(server->accepts);
    free(server->chunks);
    free(server);
    return res;
}

void server_start(struct server *server)
{
    if (server->listen_fd < 0) return;
    server->accepting = true;
    server_accept_step(server);
}

void server_stop(struct server *server, struct conn_goodbye goodbye)
{
    if (server->stopping) return;
    server->stopping = true;
    timer_cancel(server->timers, &server->accept_timer);
    server_stop_listening(server);
    for (uint32_t slot = server->slot_count; slot-- > 0;) { /* the newest first: the kernel finds what was armed last soonest */
        struct conn *conn = server_slot(server, slot);
        bool frames = conn->state == CONN_OPEN && conn_has_frames(conn);
        if (frames && server->events.on_stopping != NULL) server->events.on_stopping(server->context, conn);
        if (conn->state == CONN_OPEN) conn_close(conn, goodbye);
    }
}

bool server_idle(const struct server *server)
{
    bool armed = server->accepts_armed > 0 || server->accept_cancel.armed || server->ready_poll.armed;
    return server->connection_count == 0 && !armed;
}

void server_destroy(struct server *server)
{
    if (server == NULL) return;
    ASSERT(server_idle(server));
    buf_pool_on_full(server->pool, NULL, NULL);
    timer_cancel(server->timers, &server->accept_timer);
    if (server->listen_fd >= 0) close(server->listen_fd);
    close(server->ready_fd);
    for (uint32_t i = 0; i < server->chunk_count; i++) free(server->chunks[i]);
    free(server->chunks);
    free(server->accepts);
    peers_deinit(&server->peers);
    http_reader_deinit(&server->http);
    websocket_parser_deinit(&server->websocket);
    tcpframe_parser_deinit(&server->tcp);
    mqttframe_parser_deinit(&server->mqtt);
    free(server->plain);
    if (server->options.tls != NULL) tls_thread_end();
    free(server);
}
