/* shard/domain/delivery/session.h - one authenticated connection, on its user's home shard.
 * Owns:    its place in the inbox's list and in the table; pins the inbox.
 * Thread:  the shard's worker.    Depends: shard/engine/shard.h.        Start at: shard/engine/shard.h
 * Slow readers: above the outbound soft limit a session is `behind`: events and the messages of large rooms are no longer pushed, it is
 * told once (push `behind`) when its queue has drained, and it is pushed to again after a sync that reached the head. */
#ifndef SHARD_SESSION_H
#define SHARD_SESSION_H

#include "api/token.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/engine/shard.h"

struct session {
    struct session *next;   /* of the same user */
    struct inbox *inbox;    /* pinned */
    struct shard *shard;
    uint64_t id;            /* slot | generation << 32: names it in letters */
    uint64_t issued_s, expires_s; /* session_set_times() changes them */
    void *connection;       /* the port's */
    struct watch_list *watching; /* presence/watch.c; NULL: nothing */
    bool json : 1, behind : 1, told_behind : 1;
    bool encodes : 1; /* its connection takes events as they are and reads on by itself: it is never behind */
    bool owed_behind : 1; /* it could not be told: no memory; tried again by the sweep */
    bool missed_room : 1; /* a large room's message was not pushed since its last sync began */
    bool ending : 1; /* kicked: its connection is being closed */
    uint8_t platform_at, platform_len;
    char device_id[]; /* NUL-terminated; at platform_at then the platform */
};
static inline const char *session_platform(const struct session *session) { return session->device_id + session->platform_at; }
/* Who asks, for a letter. Borrows the session. */
struct actor_record session_actor(const struct session *session);

/* Makes one for a user whose inbox is resident; BUSY: sessions_per_user_max and none of them is of this device. */
NODISCARD enum result session_open(struct session **out, struct shard *shard, struct inbox *inbox, const struct actor_record *actor);
/* The connection is gone: forgets the session, its subscriptions and, with the last one, tells watchers and notes last_seen. */
void session_close(struct session *session);
struct session *session_find(struct shard *shard, uint64_t id);

/* What the MQTT door made of a message, once for all who get it. */
struct session_form {
    uint64_t number;  /* of its reading of the message; 0: none yet */
    struct buf *body; /* of a large message, whose bytes are not copied to each connection; NULL: not made yet */
};
void session_form_done(struct session_form *form);
/* NULL: the payload pool is empty. */
struct buf *session_try_get_buf(struct session *session, uint32_t size);
/* Events of the user's stream: encoded once per encoding and shared. */
struct session_event {
    struct slice fields;      /* packed fields of Event after sync_key */
    struct buf *binary, *json; /* made at first use; unref'd by session_event_done */
    struct session_form form;
};
void session_push_event(struct session *session, uint64_t sync_key, struct session_event *event);
void session_event_done(struct session_event *event);
/* Any other push that several sessions get: encoded once per encoding. `droppable`: it is left out for a session that is behind, and the
 * session is not told that it missed something. */
struct session_frame {
    uint32_t push_field;
    struct slice packed;
    struct buf *binary, *json;
    struct session_form form;
};
void session_push_frame(struct session *session, struct session_frame *frame, bool droppable);
/* A message of a large room: a session that misses it learns of it by a sync. */
void session_push_room(struct session *session, struct session_frame *frame);
/* One went by that was not pushed: the session has to sync to hear of it. */
void session_miss_room(struct session *session);
void session_frame_done(struct session_frame *frame);
/* Any other push: field of Push, packed message. Ephemeral ones are dropped for a session that is behind. */
void session_push(struct session *session, uint32_t push_field, struct slice packed, bool ephemeral);
/* A frame of the session's connection: admitted, then on to the owner's shard, which is returned; refused: the home shard. */
struct method;
uint16_t session_request(struct session *session, const struct method *method, struct slice payload, const struct origin *origin);
/* The same of one that session_take() has let pass. */
uint16_t session_forward(struct session *session, const struct method *method, struct slice payload, const struct origin *origin);
/* Takes one request of that kind from its user's rates. NONE, TOKEN_EXPIRED; RATE_LIMITED, with when to come again. */
enum error session_take(struct session *session, const struct method *method, uint32_t *retry_after_ms);
/* The connection's queue fell below half of the soft limit. */
void session_drained(struct session *session);
/* A sync of the session is about to read; then it answered its last page, up to `sync_key`: if that is still the head, pushing goes on. */
void session_syncing(struct session *session);
void session_synced(struct session *session, uint64_t sync_key);
/* Tells why (push session_end) and closes. */
void session_kick(struct session *session, uint16_t close_code, const char *reason);
/* It lives as long as this token. */
void session_set_times(struct session *session, uint64_t issued_s, uint64_t expires_s);
/* Its token is over. Leeway is for accepting one, not for staying with it. */
bool session_expired(const struct session *session, uint64_t now_s);
/* About once a second: ends sessions whose token expired, tells those that are owed a `behind`. */
void sessions_sweep(struct shard *shard);
/* Of all that are open. */
void sessions_each(struct shard *shard, void (*each)(struct session *session));
uint64_t sessions_memory_bytes(const struct shard *shard);

#endif
