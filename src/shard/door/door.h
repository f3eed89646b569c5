/* shard/door/door.h - between connections and shards: bytes that are whole requests become letters, answers become frames.
 * Owns:    a client record per WebSocket or TCP connection; nothing per idle HTTP connection.
 * Thread:  its worker.            Depends: net/, api/, shard/domain/delivery/session.h.  Start at: shard/engine/shard.h
 *
 *   socket before login: one request at a time (the connection is paused until its answer); register, login, refresh, auth
 *   auth: token verified here -> the connection moves to its user's home worker (once) -> the home shard checks the device and opens the session
 *   socket after login: every request goes through session_request(); at most DOOR_IN_FLIGHT_MAX under way, DOOR_PAGES_IN_FLIGHT_MAX
 *     of them pages, then the connection is paused until answers have gone out
 *   a request went to a shard that is full (shard_is_full; of another worker: our share of requests_parked_max is unanswered there):
 *     the connection is held, and released first come first served when there is room; so each is at most one request too many
 *   a request that left for a shard of another worker and has no answer after INFLIGHT_TIMEOUT_NS is answered NO_ANSWER; it may have
 *     been carried out. Answers that nobody waits for are dropped: inflight.h
 *   HTTP: token verified here -> letter to the user's home shard -> owner -> reply to this connection */
#ifndef SHARD_DOOR_H
#define SHARD_DOOR_H

#include "api/token.h"
#include "net/conn.h"
#include "net/server.h"
#include "shard/domain/bounds.h" /* DOOR_IN_FLIGHT_MAX, DOOR_PAGES_IN_FLIGHT_MAX */
#include "shard/engine/shard.h"


struct door;
struct session;
struct session_event;
struct session_frame;
struct timer_wheel;

enum host_state { HOST_RECOVERING, HOST_SERVING, HOST_STOPPING };
struct host_pages { /* what /readyz, /metrics, /version and /openapi.json say; of the whole process */
    _Atomic int state; /* enum host_state */
    struct metrics *const *metrics;
    uint32_t worker_count, shard_count;
    struct slice openapi;
    const char *version, *instance_id;
};

struct door_ports { /* what the worker gives */
    void *context;
    void (*post)(void *context, struct letter *letter); /* takes; to letter->to_shard, or for DOOR_MAIL_MOVE to its worker */
    bool (*is_local)(void *context, uint16_t shard);
    bool (*is_full)(void *context, uint16_t shard); /* its clients wait, until it is not */
    struct io *(*io_of)(void *context, uint16_t shard); /* of its worker; only for a shard that is not local */
    uint64_t (*now_ms)(void *context);
    uint64_t (*now_ns)(void *context);
};

struct door_options {
    struct door_ports ports;
    uint16_t worker, shard_count;
    const struct token_keys *token_keys;
    struct token_terms token_terms;
    uint32_t logins_per_second, logins_burst; /* of one address; 0: no limit */
    uint32_t heartbeat_interval_ms, frame_size_max, authenticate_timeout_ms, outbound_soft_bytes;
    const struct host_pages *pages; /* health, metrics, version, OpenAPI */
    const struct config_items *allowed_origins;
    struct metrics *metrics;
    struct timer_wheel *timers; /* of the worker */
    const char *server_version;
    uint64_t first_generation; /* of origins; random */
};

NODISCARD enum result door_create(struct door **out, const struct door_options *options);
void door_destroy(struct door *door);
void door_set_server(struct door *door, struct server *server);
extern const struct server_events door_events; /* context: the door */

/* A REPLY letter for this worker; borrows it. */
void door_on_reply(struct door *door, const struct letter *letter);
/* A letter goes to a shard of another worker: if it is a request of a connection of this one, its answer may be long in coming. */
void door_on_leave(struct door *door, const struct letter *letter);
/* How many requests of sockets that shard of another worker has not answered. */
uint32_t door_asked(const struct door *door, uint16_t shard);
/* About once a second: answers for shards that have not. */
void door_tick(struct door *door);
/* Once per turn: reads again from clients that were held. True: from more of them next turn. */
bool door_release(struct door *door);
/* Mail to the worker of to_shard, in this process: a connection, whose struct move (door.c) the payload is. */
#define DOOR_MAIL_MOVE ((uint16_t)LETTER_KIND_COUNT)
/* Such mail for this worker; takes it. */
void door_on_move(struct door *door, struct letter *letter);
void door_drop_move(struct door *door, struct letter *letter); /* closes what it carries; for a worker that stops */

/* Ports of the shards of this worker (context: the door). */
bool door_session_bind(struct door *door, const struct origin *origin, struct session *session);
enum result door_session_send(struct door *door, struct session *session, struct slice head, struct buf *body, bool *above_soft);
/* Of sessions that encode: mqtt/. */
void door_session_event(struct session *session, uint64_t sync_key, struct session_event *event);
void door_session_room(struct session *session, struct session_frame *message);
void door_session_missed(struct session *session);
void door_session_end(struct door *door, struct session *session, uint16_t close_code, const char *reason);

#endif
