/* net/conn_internal.h - struct conn and struct server, shared by the files of the life cycle.
 * Owns:    see the structs.
 * Thread:  the worker.            Depends: core/, the parsers.   Start at: net/net.h
 *
 * Who does what:
 *   server.c     slots, accept, the dirty and the ready list        conn.c       states, operations, feeding, output
 *   conn_time.c  every deadline of a connection, on one timer       conn_move.c  detach and adopt
 *   conn_memory.c  what connections hold, and who goes when it is too much
 *   conn_tls.c   TLS between the socket and the doors        conn_proxy.c the client behind a proxy
 *   door_http.c door_websocket.c door_tcp.c door_mqtt.c   what the events of a parser mean
 *
 * A function that the layer above may call (conn.h) only changes state and puts the connection on a list. Everything
 * with consequences, callbacks and the end of a connection among them, happens in conn_settle(), which the loop runs:
 * as the last thing a completion or a timer does, or for the ready list. So a callback never runs inside a conn_* call,
 * and a connection never ends under the feet of its caller.
 *
 * Memory: an idle connection is this struct and nothing else. One parser of each kind belongs to the server and serves
 * every connection whose frames arrive whole; what arrives in parts moves to the connection's own conn_partial until it
 * is whole. */
#ifndef NET_CONN_INTERNAL_H
#define NET_CONN_INTERNAL_H

#include "core/io.h"
#include "core/timer.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/mqttframe.h"
#include "net/output.h"
#include "net/peers.h"
#include "net/proxies.h"
#include "net/server.h"
#include "net/tcpframe.h"
#include "net/websocket.h"

#define CONN_PROGRESS_MS        5000 /* in each such period at least CONN_PROGRESS_BYTES of what is incomplete arrive */
#define CONN_PROGRESS_BYTES     1024u
#define CONN_WHOLE_MS           30000 /* and all of it in this time */
#define CONN_FAREWELL_MS        1000  /* for the peer's Close frame, then again for its end of stream */
#define CONN_QUIET_MS           3000  /* what was sent before that has arrived: such a connection is closed without ado */
#define CONN_CONTROLS_PER_S_MAX 20    /* control frames and heartbeats: 1008 */
#define CONN_SIZE_MAX           256

/* OPEN -> FAREWELL (conn_close: queued output leaves, the peer's end is awaited) -> CLOSING (what is armed is cancelled) ->
 * CLOSED (no op armed). OPEN | FAREWELL -> CLOSING when the socket failed or a time-out passed. OPEN -> LEAVING
 * (conn_detach: recv is cancelled, the socket is sent) -> CLOSED when its handover is packed. Only conn_enter() writes it. */
enum conn_state { CONN_CLOSED, CONN_OPEN, CONN_LEAVING, CONN_FAREWELL, CONN_CLOSING };

/* FLUSH: output is sent. LISTEN: WebSocket only, our Close is out, theirs is awaited. LINGER: our direction is shut,
 * their end of stream is awaited: closing with unread input would reset the connection and lose what we sent last. */
enum conn_farewell { CONN_FAREWELL_FLUSH, CONN_FAREWELL_LISTEN, CONN_FAREWELL_LINGER };

struct conn_partial { /* heap: a request, message or frame of which only a part is here */
    uint64_t started_ms;
    uint64_t checked_ms; /* begin of the running CONN_PROGRESS_MS */
    uint32_t bytes;      /* received in it */
    uint32_t charged_bytes; /* to the pool; conn_memory.c */
    union {
        struct http_reader http;
        struct websocket_parser websocket;
        struct tcpframe_parser tcp;
        struct mqttframe_parser mqtt;
    } as; /* by door */
};

struct conn_waiting { /* heap: received, not looked at; while paused, while a request is unanswered, while leaving */
    struct writer bytes;
    uint32_t at;
    uint32_t charged_bytes;
};

struct conn {
    struct io_op recv, send;
    struct io_op aside; /* one other thing at a time: a cancel, a shutdown, a reset, the move, the question of progress */
    struct timer timer;
    struct server *server;
    void *user;
    struct conn *next_dirty; /* also: next free slot */
    struct conn *next_ready;
    struct output out;
    struct conn_partial *partial;
    struct conn_waiting *waiting;
    union {
        struct conn_departure *departure; /* LEAVING only; conn_move.c */
        struct in6_addr *client;          /* HTTP through a proxy: for whom the request asks; conn_proxy.c; else NULL */
    };
    struct conn_tls *tls; /* NULL: plain */

    uint64_t phase_deadline_ms; /* 0: none. OPEN: request head, login, next ping; FAREWELL: its phase */
    uint64_t progress_ms;       /* when the send in flight, or the last one, last moved; until then, when it came */
    uint32_t received_ms;       /* low half of the time of the last receive */
    uint32_t sent_bytes;        /* low half of what the kernel took */
    union {
        uint32_t acked_bytes;    /* low half of what the peer had acknowledged when last asked */
        uint32_t expected_bytes; /* evicted: what comes back when no op is armed any more */
    };
    struct in6_addr peer;       /* IPv4 mapped */
    uint16_t peer_port;
    uint16_t request_count; /* HTTP, saturating */
    uint16_t keep_alive_s;  /* MQTT; 0: silence is fine */
    uint16_t held_units;    /* counted for its address; conn_memory.c */
    uint32_t slot, generation;
    struct io_socket socket;

    uint16_t control_second; /* low bits of the second in which control_count counts */
    uint8_t control_count;
    uint8_t state, door;

    uint8_t farewell : 2;
    bool dirty : 1, ready : 1; /* on that list */
    bool paused : 1;           /* by the layer above */
    bool resumed : 1;          /* by it again, on_resumed is owed */
    bool awaiting : 1;         /* HTTP: a request was delivered and is not answered */
    bool keep_alive : 1;       /* that request: the connection may go on */
    bool head_only : 1;        /* that request: HEAD */
    bool old_http : 1;         /* that request: HTTP/1.0 */
    bool authenticated : 1;
    bool above_soft : 1;  /* outbound passed the soft limit, on_drained is owed */
    bool input_ended : 1; /* recv saw the end of the stream */
    bool peer_done : 1;   /* FAREWELL: nothing more is expected (Close frame seen, or protocol broken) */
    bool lost : 1;        /* LEAVING: the socket failed */
    bool proxied : 1;     /* `peer` is a proxy whose X-Forwarded headers are believed */
    bool header_due : 1;  /* its PROXY header is not here yet */
    bool reset : 1;       /* CLOSING: the peer gets a reset and what waits is freed, instead of an orderly end */
    bool evicted : 1;     /* it held too much; CLOSING, or LEAVING and lost */
};
_Static_assert(sizeof(struct conn) <= CONN_SIZE_MAX, "hundreds of thousands of these are idle");

#define SERVER_CHUNK_SLOTS 256 /* slots are made in chunks that never move */

#define SERVER_JUDGED_MAX 16
struct judged {
    uint64_t key, left; /* not looked at again until so much was added */
};

struct server {
    struct server_options options;
    struct server_events events;
    void *context;
    struct io *io;
    struct timer_wheel *timers;
    struct buf_pool *pool;
    int64_t tls_bytes; /* of the TLS sessions here, without their records */
    struct metrics *metrics;

    int listen_fd;
    struct io_accept *accepts; /* accepts_per_turn_max of them, armed again once per turn */
    uint32_t accepts_armed;
    struct io_op accept_cancel;
    struct timer accept_timer; /* pause after the process ran out of descriptors */
    bool accepting, stopping;

    struct conn **chunks;
    uint32_t chunk_count, slot_count; /* slot_count: slots ever used */
    struct conn *free_slots;
    uint32_t connection_count;
    struct peers peers;
    struct proxies proxies, headed; /* trusted_proxies; proxy_protocol_from */

    struct judged judged[SERVER_JUDGED_MAX]; /* addresses above their limit by what is counted, and below it by what it costs */
    uint32_t judged_next;

    struct conn *dirty;
    struct conn *ready, *ready_last;
    int ready_fd; /* always readable: polling it brings the ready list to the front of the next turn */
    struct io_op ready_poll;

    struct conn *handshake_first, *handshake_last; /* wait for their TLS handshake */
    uint32_t handshakes_this_turn;
    uint8_t *plain; /* plaintext of one record, for the length of a call; NULL without TLS */

    uint64_t random;
    struct http_date date;
    struct http_reader http; /* for whole requests, messages and frames; idle between two feeds */
    struct websocket_parser websocket;
    struct tcpframe_parser tcp;
    struct mqttframe_parser mqtt;
};

static inline struct conn *server_slot(const struct server *server, uint32_t slot)
{
    return &server->chunks[slot / SERVER_CHUNK_SLOTS][slot % SERVER_CHUNK_SLOTS];
}
static inline uint64_t server_now_ms(const struct server *server)
{
    return timer_wheel_time_ms(server->timers);
}
static inline uint64_t conn_now_ms(const struct conn *conn)
{
    return server_now_ms(conn->server);
}

/* ---- server.c ---------------------------------------------------------------------------------------------------- */
/* A slot for `socket`, counted, its operations and timer set. NULL at connections_max, when `peer` has `per_ip_max`
 * connections already (0: no limit), or without memory; the caller still owns `socket`. */
struct conn *server_open_slot(struct server *server, struct io_socket socket, const struct in6_addr *peer, uint16_t peer_port,
                              uint32_t per_ip_max);
/* The connection is over: the slot may be used again when it is on no list. */
void server_reap_slot(struct conn *conn);
void server_mark_dirty(struct conn *conn);
void server_mark_ready(struct conn *conn);
/* Brings what waits for a turn to the next one. */
void server_wake(struct server *server);
uint32_t server_random(struct server *server);

/* ---- conn.c ------------------------------------------------------------------------------------------------------ */
/* Sets the operations and the timer of a cleared slot. */
void conn_init(struct conn *conn);
/* One send of what waits, unless one is in flight. */
void conn_flush(struct conn *conn);
void conn_enter(struct conn *conn, enum conn_state state);
void conn_settle(struct conn *conn);
/* Without farewell: what is armed is cancelled, what waits is lost. */
void conn_abort(struct conn *conn);
/* True while bytes may not be delivered. */
bool conn_blocked(const struct conn *conn);
/* Queues parts, and a shared rest, for the next flush. BUSY: no memory, nothing queued. */
NODISCARD enum result conn_queue(struct conn *conn, const struct slice *parts, uint32_t part_count,
                                 struct buf *shared_buf, struct slice shared);
/* Room for a partial; the caller moves a parser into it. NULL: no memory. */
struct conn_partial *conn_begin_partial(struct conn *conn);
void conn_free_partial(struct conn *conn);
void conn_free_waiting(struct conn *conn);
/* Completion of an operation aside that only had to end. */
void conn_on_aside(struct io_op *op, int32_t res, struct slice bytes);
/* Cancels what is armed on the socket, unless an operation aside is under way. True: nothing is armed. */
bool conn_at_rest(struct conn *conn);
/* The end of CLOSING and of LEAVING: everything but the socket is given back. */
void conn_release(struct conn *conn);
void conn_finish(struct conn *conn); /* the socket, on_close, conn_release */

/* Takes what came from the socket, plain or TLS. */
void conn_received(struct conn *conn, struct slice in);
/* Takes plaintext, as it came from the socket or out of TLS. */
void conn_take(struct conn *conn, struct slice in);
/* Keeps what may not be delivered now. */
void conn_keep_waiting(struct conn *conn, struct slice in);

/* ---- conn_proxy.c ------------------------------------------------------------------------------------------------ */
/* How many connections that address may have; 0: any number, it is a proxy's. */
uint32_t conn_limit_of(const struct server *server, const struct in6_addr *address);
/* A connection was accepted: is its peer a proxy? */
void conn_meet(struct conn *conn);
/* header_due: takes what came from the socket. */
void conn_proxy_take(struct conn *conn, struct slice in);
/* proxied: whom and what the request is for, as the proxy tells. False: no memory. */
bool conn_proxy_request(struct conn *conn, struct http_request *request);
/* The request turns the connection into a WebSocket, which is its client's. False: that one has all its connections. */
bool conn_proxy_upgrade(struct conn *conn);
void conn_proxy_forget(struct conn *conn);

/* ---- conn_memory.c ----------------------------------------------------------------------------------------------- */
/* What it holds has changed: its address is charged, and at that one's limit the largest connections of it are evicted. Perhaps this one:
 * its state is then CLOSING, and it is on the ready list. */
void conn_note_held(struct conn *conn);
/* The same after something was received. */
void conn_note_input(struct conn *conn);
/* *charged of the pool becomes `bytes`. */
void conn_charge(struct conn *conn, uint32_t *charged, uint32_t bytes);
/* It leaves, and is charged for nothing any more. */
void conn_forget_held(struct conn *conn);
/* Evicts those that hold most, until `bytes` are free or about to be; the pool's make_room, `context` is the server. */
void server_make_room(void *context, size_t bytes);

/* ---- conn_tls.c -------------------------------------------------------------------------------------------------- */
/* True when `in`, what was received, is TLS: of a session, or it begins one. */
bool conn_tls_begins(struct conn *conn, struct slice in);
void conn_tls_take(struct conn *conn, struct slice in);
uint32_t conn_tls_charged_bytes(const struct conn *conn); /* 0 without TLS */
void conn_tls_note(struct conn *conn);        /* charges what its records take now */
bool conn_tls_waits(const struct conn *conn); /* its handshake is due */
bool conn_tls_holds(const struct conn *conn); /* and nothing more is received until it was made */
/* As many handshakes as a turn may have. */
void conn_tls_run_handshakes(struct server *server);
void conn_tls_begin_turn(struct server *server);
/* Output of the door, or records, wait to be sent. */
bool conn_has_output(const struct conn *conn);
/* What to send next; it stays in place until conn_tls_sent(). False: nothing. */
bool conn_tls_gather(struct conn *conn, struct slice *records);
void conn_tls_sent(struct conn *conn, uint32_t bytes);
/* FAREWELL, all output is sent: says close_notify. True while it is on its way. */
bool conn_tls_says_goodbye(struct conn *conn);
/* The session moves out of its connection, into another one, or ends. NULL is allowed. */
struct conn_tls *conn_tls_leave(struct conn *conn);
void conn_tls_arrive(struct conn *conn, struct conn_tls *own);
void conn_tls_destroy(struct conn_tls *own);

/* ---- conn_time.c ------------------------------------------------------------------------------------------------- */
void conn_on_timer(struct timer *timer);
/* The timer fires not later than `deadline_ms`; it then looks at every deadline. */
void conn_watch(struct conn *conn, uint64_t deadline_ms);
void conn_set_phase_deadline(struct conn *conn, uint64_t deadline_ms);
void conn_heard(struct conn *conn);
/* Its door carries frames, not HTTP requests. */
bool conn_has_frames(const struct conn *conn);
/* Looks again for silence, after a time in which it did not count. */
void conn_watch_silence(struct conn *conn);
/* Counts a control frame; false: too many in this second. */
bool conn_control_allowed(struct conn *conn);

/* ---- conn_move.c ------------------------------------------------------------------------------------------------- */
void conn_leave_step(struct conn *conn);

/* ---- the doors: each consumes from *in and reports through server->events ---------------------------------------- */
void door_http_feed(struct conn *conn, struct slice *in);
/* Answers with a refusal and closes. */
void door_http_refuse(struct conn *conn, enum http_refusal refusal);
void door_websocket_open(struct conn *conn);
void door_websocket_feed(struct conn *conn, struct slice *in);
/* FAREWELL: looks for the peer's Close frame only. */
void door_websocket_listen(struct conn *conn, struct slice *in);
void door_websocket_ping(struct conn *conn);
void door_websocket_close(struct conn *conn, struct conn_goodbye goodbye);
void door_tcp_open(struct conn *conn);
void door_tcp_feed(struct conn *conn, struct slice *in);
void door_tcp_heartbeat(struct conn *conn);
void door_mqtt_open(struct conn *conn);
void door_mqtt_feed(struct conn *conn, struct slice *in);

#endif
