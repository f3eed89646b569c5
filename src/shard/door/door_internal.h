/* shard/door/door_internal.h - what door.c (sockets) and door_http.c share. */
#ifndef SHARD_DOOR_INTERNAL_H
#define SHARD_DOOR_INTERNAL_H

#include "shard/door/door.h"
#include "core/refusal.h"
#include "shard/domain/methods.h"
#include "shard/door/inflight.h"
#include "shard/door/origins.h"
#include "shard/domain/delivery/session.h"

#define DOOR_ORIGIN_TEXT_MAX (2 * REFUSAL_TEXT_MAX + 200)
#define DOOR_HEADERS_MAX 768 /* further lines of one answer; an origin is bounded by CONFIG_TEXT_MAX */

struct door_line { /* clients held until a shard has room, in the order they came */
    struct client *first, *last;
};

struct door {
    struct door_options options;
    struct server *server;
    struct writer packed, frame; /* scratch of one request or answer */
    struct writer detail;
    struct origins origins;
    char origin_text[DOOR_ORIGIN_TEXT_MAX];
    char refusal_lines[DOOR_HEADERS_MAX]; /* header lines of one refusal */
    struct mqtt_door *mqtt; /* what its MQTT connections share */
    struct login_limit *logins;
    struct inflight_table *inflight;
    struct door_line *lines; /* by shard */
    uint32_t held_count;     /* in all of them */
};

struct client { /* of a WebSocket or TCP connection: *conn_user() */
    struct session *session; /* NULL before login */
    struct conn *conn;
    struct door *door;
    uint16_t in_flight, pages_in_flight;
    bool json, paused;
    bool held; /* in the line of held_for, between these */
    uint16_t held_for;
    struct client *line_before, *line_after;
    struct mqtt *mqtt; /* NULL: it speaks envelopes */
};

/* NONE and the claims; or TOKEN_INVALID, TOKEN_EXPIRED, which are noted; *detail: what the peer may be told of the reason, or NULL. */
enum error door_verify(const struct door *door, const struct conn *conn, struct slice token, struct token_claims *claims,
                       const char **detail);
struct actor_record door_actor(const struct token_claims *claims);
/* A token that is good but not here: noted. */
void door_note_token(const struct conn *conn, const char *because, uint64_t user_id);
/* No further frames until its requests under way are fewer, and nothing is waited for. */
void door_client_pause(struct client *client);
/* Its request went to that shard: no further frames while that is full. */
void door_client_asked(struct client *client, uint16_t shard);
/* If so, frames again. */
void door_client_resume(struct client *client);
/* The claims are verified: the connection goes to its user's home worker and is authenticated there. */
void door_enter(struct door *door, struct client *client, const struct token_claims *claims);
/* False: this peer tried to log in or register too often; *retry_after_ms says how long to wait. */
uint16_t door_address_class(const struct conn *conn); /* for the letter of who logs in */
bool door_login_allowed(struct door *door, const struct conn *conn, uint32_t *retry_after_ms);
/* What the connection asks is under way from now on, and is answered by that origin. False: too much is; to be refused SERVER_BUSY. */
NODISCARD bool door_take(struct door *door, const struct conn *conn, struct inflight request, struct origin *origin);
/* Logs the refusal of a request's Origin; the sentence for its sender, borrowed until the next one. */
const char *door_note_origin(struct door *door, const struct conn *conn, const struct http_request *request);
bool door_origin_allowed(const struct door *door, const struct http_request *request);
/* `detail` and `retry_after_ms` as in the envelope; `allow`: what the path takes, for METHOD_NOT_ALLOWED. Borrowed until the next one. */
struct http_response door_refusal(struct door *door, struct conn *conn, enum error error, const char *detail, uint32_t retry_after_ms,
                                  const char *allow, uint8_t cors);
enum door_socket { DOOR_SOCKET_NONE, DOOR_SOCKET_ENVELOPES, DOOR_SOCKET_MQTT };
/* Which WebSockets a path is for. */
enum door_socket door_socket_of(struct slice path);
void door_reply_http(struct door *door, struct conn *conn, const struct inflight *request, const struct letter *letter);
/* Says that its answer is none that a shard would give; see letters_refused. */
void door_note_answer(struct door *door, const struct inflight *request, const struct letter *letter);
void door_on_http(void *context, struct conn *conn, const struct http_request *request);

#endif
