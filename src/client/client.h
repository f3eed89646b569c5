/* client/client.h - one person's view of a Ringpost server: calls, the stream of events, staying connected.
 * Read in this order:
 *   client.h   this file: the handle, calls, events
 *   identity.h who is logged in, kept in a file between runs
 *   wire.h     one TCP connection, plain or in TLS
 *   model.h    conversations and timelines as a screen shows them, built from events; pure
 *   text.h     text that is safe to show and fits a width; pure
 * Owns:    the connection, the calls under way, the events not yet taken.
 * Thread:  one at a time; nothing blocks except the look-up of the host's name, client_wait() and client_call_wait().
 * Depends: core/, api/ (contract only), net/tls.h. Knows no terminal.
 *
 *   OFFLINE --due--> CONNECTING --hello--> (REFRESHING) --> AUTHENTICATING --> READY     anonymous: READY at hello
 *      ^-------------------- connection lost, time-out, server busy -------------'
 *   REFUSED (the server no longer takes this login) and UNREACHABLE (the very first connection failed) are final.
 *
 * Who was connected once is connected again for ever, after a random time below a bound that doubles from 0.5 s to 20 s and starts over
 * when a connection lasted. Calls whose repetition is
 * harmless (reads, sends with their client_msg_id, marks) survive that and are sent again as they were; the others end with CLOSED.
 * Sends go out one at a time, each after the answer to the one before: nothing can change their order.
 *
 * The stream: after client_follow() every entry of the user's stream is delivered once and in order, whatever happens to connections;
 * pushes are used while they are gapless, otherwise sync fills in.
 *
 * An access token that expires is replaced through the refresh token, also under an open connection; the identity file's lock makes
 * sure that only one process spends it. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "client/identity.h"
#include "core/result.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <stdbool.h>
#include <stdint.h>

#define CLIENT_CALLS_MAX 256        /* under way at one time */
#define CLIENT_EVENTS_MAX 1024      /* not yet taken; beyond it nothing more is read from the server */
#define CLIENT_TIMEOUT_MS 10000     /* of a call that names none */
#define CLIENT_BACKOFF_MIN_MS 500
#define CLIENT_BACKOFF_MAX_MS 20000
#define CLIENT_TEXT_MAX 512

struct client;
struct tls_trust;

struct client_options {
    const char *host, *port;  /* copied */
    struct tls_trust *trust;  /* borrowed until destroy; NULL: a plain connection */
    struct identity *identity;  /* borrowed until destroy; NULL or nobody logged in: anonymous */
    uint32_t backoff_min_ms, backoff_max_ms; /* 0: the defaults */
};

enum client_state {
    CLIENT_OFFLINE,
    CLIENT_CONNECTING,
    CLIENT_REFRESHING,
    CLIENT_AUTHENTICATING,
    CLIENT_READY,
    CLIENT_REFUSED,
    CLIENT_UNREACHABLE,
};

/* OK: the caller owns *out; it begins to connect at the first turn. NOMEM. */
NODISCARD enum result client_create(struct client **out, const struct client_options *options);
/* Calls under way end without their reply. */
void client_destroy(struct client *client);

enum client_state client_state(const struct client *client);
/* Why it is not READY, for people: "127.0.0.1:7800: cannot connect: Connection refused". Empty when it is. */
const char *client_text(const struct client *client);
uint32_t client_retry_ms(const struct client *client); /* OFFLINE: until the next attempt */
/* Newest entry of the user's stream: at login, or later once the stream is followed. */
uint64_t client_newest_key(const struct client *client);
const char *client_newest_epoch(const struct client *client); /* of the login */

/* ---- turning it ---- */

/* For a caller's own poll(): descriptor (-1: none), events to wait for, and how long at most (-1: for ever). */
int client_fd(const struct client *client);
short client_poll_events(const struct client *client);
int client_wait_ms(const struct client *client);
/* Does everything that is due and possible without waiting; replies are called from here. */
void client_turn(struct client *client);
/* Waits for the socket or a timer, at most timeout_ms (-1: for ever) or until a signal, then turns once. */
void client_wait(struct client *client, int timeout_ms);

/* ---- calls ---- */

/* The end of a call. OK: `response` is there, with an error in it when the server refused. Otherwise NULL and why:
 * TIMEOUT; CLOSED (connection lost, and repeating might do it twice); DENIED (login not taken); IO (unreachable);
 * TOO_LARGE (for this server's frames).
 * A TIMEOUT or CLOSED call may have been carried out. `response` is borrowed for the call. */
typedef void (*client_reply_f)(void *context, enum result result, const Ringpost__V1__Response *response);

/* Sends `request` (borrowed; its id is overwritten) when the client is READY; `reply` runs exactly once, from a later client_turn(),
 * unless the client is destroyed before. timeout_ms 0: CLIENT_TIMEOUT_MS. BUSY: CLIENT_CALLS_MAX; TOO_LARGE; NOMEM. */
NODISCARD enum result client_call(struct client *client, Ringpost__V1__Request *request, uint32_t timeout_ms, client_reply_f reply,
                                  void *context);
/* The same, turning the client until the reply. OK: the caller frees *response with ringpost__v1__response__free_unpacked(). */
NODISCARD enum result client_call_wait(struct client *client, Ringpost__V1__Request *request, uint32_t timeout_ms,
                                       Ringpost__V1__Response **response);

/* ---- events ---- */

enum client_event_kind {
    CLIENT_EVENT_ONLINE,  /* READY again: subscriptions ended with the old connection */
    CLIENT_EVENT_OFFLINE,
    CLIENT_EVENT_PUSH,    /* `push`: an entry of the stream, or something that passes by (typing, presence, room_message) */
    CLIENT_EVENT_HEAD,    /* `head`: a large room moved on */
    CLIENT_EVENT_RESET,   /* the stream goes on elsewhere: load the conversations again */
};
struct client_event {
    enum client_event_kind kind;
    Ringpost__V1__Push *push;                 /* owned by the event; PUSH only, else NULL */
    uint64_t head_room_id, head_seq, read_seq; /* HEAD only */
    bool other_stream; /* RESET only: the server was restored from a backup, and nothing that was seen has to be true any more; else entries
                          older than it keeps were missed */
};

#define CLIENT_EPOCH_MAX 63 /* bytes of what tells one history of a server from another */

/* Delivers the stream after `sync_key`, which came with that epoch ("": unknown), from now on. Called again it starts over from there. */
void client_follow(struct client *client, uint64_t sync_key, const char *stream_epoch);
/* The next event; the caller ends it with client_event_release(). False: none. */
bool client_next(struct client *client, struct client_event *event);
void client_event_release(struct client_event *event);
/* Position after the last stream entry taken with client_next(): what to keep and to follow from next time. */
uint64_t client_taken_key(const struct client *client);
/* What goes with it. */
const char *client_taken_epoch(const struct client *client);

/* Full jitter: a time in [0, min(max, min * 2^attempt)), at least 1 ms; `random` is 64 random bits. Pure. */
uint32_t client_backoff_ms(uint32_t attempt, uint32_t min_ms, uint32_t max_ms, uint64_t random);

#endif
