/* client/client_internal.h - what the files of a client share.
 *   client.c  the connection's life        login.c  token, auth, refresh
 *   calls.c   calls and their repetition   stream.c events, sync
 * Each file writes only the fields of its own group. */
#ifndef CLIENT_CLIENT_INTERNAL_H
#define CLIENT_CLIENT_INTERNAL_H

#include "client/client.h"
#include "client/wire.h"

#define CLIENT_NEVER UINT64_MAX

/* WAITING (to be sent at due_ns) --sent--> SENT --answered--> gone; SENT --connection lost--> WAITING if repeatable, else LOST;
 * SENT --"try again later"--> WAITING. LOST and what is past its deadline end in client_calls_turn(). */
enum call_state { CALL_WAITING, CALL_SENT, CALL_LOST };

struct call {
    enum call_state state;
    bool repeatable; /* may be sent again without knowing whether it was carried out */
    bool is_send;
    bool internal;   /* of login.c: sent before READY, dropped with its connection */
    uint64_t id;
    uint64_t due_ns, deadline_ns;
    uint8_t *frame;  /* packed Envelope, owned */
    uint32_t frame_len;
    client_reply_f reply;
    void *context;
};

enum login_step { LOGIN_IDLE, LOGIN_LOCKING, LOGIN_REFRESHING, LOGIN_AUTHENTICATING };

struct client {
    /* client.c */
    enum client_state state;
    char host[IDENTITY_SERVER_MAX + 1], port[16], name[IDENTITY_SERVER_MAX + 28];
    char text[CLIENT_TEXT_MAX];
    struct identity *identity;
    uint32_t backoff_min_ms, backoff_max_ms, attempt;
    bool was_ready;             /* at least once: from then on it reconnects for ever */
    uint64_t ready_at_ns;       /* when it last became READY */
    uint64_t retry_at_ns;       /* OFFLINE: the next attempt */
    uint64_t quiet_deadline_ns; /* READY: nothing heard until then means lost */
    bool greeted;               /* hello came on this connection */
    uint32_t heartbeat_interval_ms, frame_size_max; /* of that hello */
    uint64_t heard_count;
    struct wire wire;
    /* login.c */
    enum login_step login_step;
    bool token_refused;         /* the access token we have was not taken, whatever its expiry says */
    bool refresh_tried;         /* since the last successful auth */
    uint64_t lock_retry_at_ns;  /* LOCKING: another process holds the identity */
    uint64_t renew_at_ns;       /* READY: time for a new token */
    uint64_t login_deadline_ns; /* not READY by then: start over */
    /* calls.c */
    struct call calls[CLIENT_CALLS_MAX]; /* in the order they were made */
    uint32_t call_count;
    uint64_t next_id;
    /* stream.c */
    struct client_event events[CLIENT_EVENTS_MAX]; /* ring */
    uint32_t event_head, event_count;
    bool following, syncing, sync_wanted;
    bool sync_stale;            /* the sync under way belongs to an earlier client_follow() */
    uint64_t sync_key, taken_key, newest_key; /* queued, taken, known to exist */
    char sync_epoch[CLIENT_EPOCH_MAX + 1], taken_epoch[CLIENT_EPOCH_MAX + 1], newest_epoch[CLIENT_EPOCH_MAX + 1];
    uint32_t resets_queued;
    uint64_t sync_at_ns;        /* not before */
};

/* client.c */
void client_become_ready(struct client *client);
void client_lose(struct client *client, const char *why);   /* this connection is of no use: OFFLINE, or UNREACHABLE */
void client_refuse(struct client *client, const char *why); /* REFUSED */
bool client_is_final(const struct client *client);

/* login.c */
void client_login_start(struct client *client, uint64_t now_ns); /* hello came */
void client_login_turn(struct client *client, uint64_t now_ns);
void client_login_end(struct client *client); /* the connection is gone */
uint64_t client_login_due_ns(const struct client *client);

/* calls.c */
NODISCARD enum result client_calls_add(struct client *client, Ringpost__V1__Request *request, uint64_t timeout_ms, bool internal,
                                client_reply_f reply, void *context);
void client_calls_on_response(struct client *client, const Ringpost__V1__Response *response);
void client_calls_turn(struct client *client, uint64_t now_ns); /* sends what is due, ends what is too late */
void client_calls_on_disconnect(struct client *client);
void client_calls_drop_all(struct client *client);
uint64_t client_calls_due_ns(const struct client *client);

/* stream.c */
bool client_stream_has_room(const struct client *client);
void client_stream_note(struct client *client, enum client_event_kind kind);  /* ONLINE, OFFLINE, RESET */
void client_stream_on_push(struct client *client, Ringpost__V1__Push *push);  /* takes push */
void client_stream_on_auth(struct client *client, uint64_t sync_key, const char *stream_epoch);
void client_stream_turn(struct client *client, uint64_t now_ns);
void client_stream_drop_all(struct client *client);
uint64_t client_stream_due_ns(const struct client *client);

/* A deadline so many milliseconds from now. */
static inline uint64_t after_ms(uint64_t now_ns, uint64_t ms)
{
    return now_ns + ms * 1000000u;
}

#endif
