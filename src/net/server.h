/* net/server.h - the listener, the connections and the limits of one worker.
 * Owns:    the slot table of connections, the dirty list, the listening descriptor given to it.
 * Thread:  the worker.            Depends: core/ only.           Start at: net/net.h */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "core/io.h"
#include "core/metrics.h"
#include "core/timer.h"
#include "net/conn.h"

/* What the layer above does with bytes that are whole requests or frames. Called from the loop, never nested in a conn_* call.
 * A callback may send, pause, detach or close the connection. */
struct server_events {
    void (*on_http)(void *context, struct conn *conn, const struct http_request *request);
    /* A WebSocket handshake arrived and is well formed. True: *subprotocol is NULL or one the client offered (static text),
     * and net answers 101. False: *refusal is what to answer (e.g. 403 for a foreign Origin). */
    bool (*on_upgrade)(void *context, struct conn *conn, const struct http_request *request, const char **subprotocol,
                       struct http_response *refusal);
    void (*on_open)(void *context, struct conn *conn); /* the door is known and it is WEBSOCKET or TCP: frames may flow */
    void (*on_frame)(void *context, struct conn *conn, enum conn_frame encoding, struct slice payload);
    /* MQTT: what comes is no packet (CODE_PROTOCOL) or too large a one (CODE_TOO_LARGE), nothing further can be read. The handler closes
     * the connection, or pauses it for good and closes it later. May be NULL: net closes it. */
    void (*on_broken)(void *context, struct conn *conn, uint16_t websocket_code);
    void (*on_drained)(void *context, struct conn *conn); /* outbound fell from above the soft limit to below half of it */
    void (*on_stopping)(void *context, struct conn *conn); /* the server stops: a last word, before it closes the connection; may be NULL */
    void (*on_resumed)(void *context, struct conn *conn); /* after conn_resume(), before the frames that wait; may be NULL */
    void (*on_close)(void *context, struct conn *conn);   /* the handle is dead already; last chance for *conn_user() */
};

struct config_items;
struct tls_identity;

struct server_options { /* limits: what happens at each is in net/server.c beside its use and in docs/operations.md */
    uint32_t connections_max;
    uint32_t connections_per_ip_max;     /* 0: no limit; counted per worker */
    uint32_t frame_size_max;             /* WebSocket message and TCP frame, bytes: close 1009 */
    uint32_t http_head_size_max;         /* request line and headers: 431 */
    uint32_t http_body_size_max;         /* 413 */
    uint32_t outbound_soft_bytes;        /* on_drained is told about it; the layer above stops pushing */
    uint32_t outbound_hard_bytes;        /* BUSY */
    uint64_t memory_per_address_max_bytes; /* held by all connections of one address: the largest are reset; 0: no limit */
    uint32_t header_timeout_ms;          /* accept -> first complete request: 408 */
    uint32_t authenticate_timeout_ms;    /* WebSocket/TCP open -> conn_set_authenticated(): close 4401 */
    uint32_t keep_alive_timeout_ms;      /* idle HTTP connection */
    uint32_t keep_alive_requests_max;
    uint32_t heartbeat_interval_ms;      /* WebSocket ping / TCP empty frame, jittered +-20 % */
    uint32_t heartbeat_timeout_ms;       /* nothing received for so long: close 4408 */
    uint32_t write_timeout_ms;           /* no progress of a send: close */
    uint32_t accepts_per_turn_max;
    /* Proxies may have any number of connections; their clients count. NULL: none; both are read by server_create() only. */
    const struct config_items *trusted_proxies;     /* their X-Forwarded headers are believed */
    const struct config_items *proxy_protocol_from; /* their connections begin with a PROXY header; others' never do */
    struct tls_identity *tls;             /* NULL: plain connections only. Else the first byte tells; borrowed */
    bool tls_required;                    /* plain ones are refused: 403, or just closed where the door cannot say why */
    uint32_t hsts_max_age_s;              /* answers over TLS tell browsers to use nothing else for so long; 0: they do not */
    uint32_t tls_handshakes_per_turn_max; /* the others wait; > 0 with tls */
};

/* `listen_fd`: bound and listening, one per worker (SO_REUSEPORT), taken over when OK; -1: none (the worker only
 * adopts). */
NODISCARD enum result server_create(struct server **out, const struct server_options *options, struct io *io,
                                    struct timer_wheel *timers, struct buf_pool *pool, struct metrics *metrics, int listen_fd,
                                    const struct server_events *events, void *context);
/* Begins accepting; before it only adopting works. */
void server_start(struct server *server);
/* Stops accepting and closes every connection with `goodbye`; server_idle() turns true when all are gone. */
void server_stop(struct server *server, struct conn_goodbye goodbye);
bool server_idle(const struct server *server);
void server_destroy(struct server *server);
/* One send for each dirty connection; once per turn. */
void server_flush(struct server *server);
/* Of slots that were ever used and the table of addresses; what connections hold beside is the pool's account. */
uint64_t server_memory_bytes(const struct server *server);
uint64_t server_tls_bytes(const struct server *server); /* of TLS sessions, without their records */
uint32_t server_connection_count(const struct server *server);

/* MALFORMED, with the reason in `text`, for what server_listen_group() would not understand; binds nothing. */
NODISCARD enum result server_check_address(const char *address, char *text, size_t text_size);
/* Whether it could be bound now, in words as server_listen_group() has them; OK with a `text` when another process listens there, which may
 * be the server that runs. */
NODISCARD enum result server_try_address(const char *address, char *text, size_t text_size);
/* Binds `count` listening sockets, one per worker, to one "host:port" ("127.0.0.1:7800", "[::]:7800"; port 0 lets the kernel choose)
 * with SO_REUSEPORT; TCP_NODELAY and cubic are inherited by what they accept. *port gets the real port. A port another process
 * listens on is refused (EXISTS), even when that process shares it with itself. OK: the caller owns fds[0..count-1].
 * Failure: no descriptor stays open and `text` says what is wrong and the remedy. */
NODISCARD enum result server_listen_group(const char *address, uint32_t count, int *fds, uint16_t *port, char *text,
                                          size_t text_size);
/* A group of one. Calling it twice for the same port is refused: workers that share a port need server_listen_group(). */
NODISCARD enum result server_listen(const char *address, int *fd, uint16_t *port, char *text, size_t text_size);

#endif
