/* shard/domain/setup.h - what the areas are given from outside: options that apply does not read, and the ways to connections and to the
 * threads that hash passwords.
 * Owns:    nothing: the worker that opens the shard fills it, and keeps it for as long as the shard lives.
 * Thread:  the shard's worker.  Depends: shard/engine/request.h.  Start at: shard/engine/shard.h
 * The engine carries it without looking in. The counterpart for apply: shard/domain/limits.h. */
#ifndef SHARD_DOMAIN_SETUP_H
#define SHARD_DOMAIN_SETUP_H

#include "shard/engine/request.h"

struct password_job;
struct session;
struct session_event;
struct session_frame;

struct domain_options {
    uint32_t body_size_max_bytes;
    uint32_t rooms_per_user_max;
    uint32_t unanswered_max; /* 0: no limit */
    uint32_t sessions_per_user_max;
    uint32_t messages_per_second, messages_burst; /* 0: off */
    uint32_t requests_per_second, requests_burst;
    uint32_t access_token_ttl_s, refresh_token_ttl_s, token_leeway_s;
    uint32_t refresh_grace_ms; /* how long a lost answer to a refresh may be asked for again */
};

/* Every function is called on the worker, never nested in another port. */
struct domain_ports {
    void *context;
    enum result (*hash_password)(void *context, struct password_job *job); /* BUSY at password_queue_max, or at the address's share */
    /* The request's connection is authenticated as `session` from now on; false when it is gone. */
    bool (*session_bind)(void *context, const struct origin *origin, struct session *session);
    /* Queues one frame for the session; BUSY: outbound hard limit. *above_soft tells to stop pushing until drained. */
    enum result (*session_send)(void *context, struct session *session, struct slice head, struct buf *body, bool *above_soft);
    /* For sessions whose connection encodes by itself: an event of the stream, a message of a large room; some of the latter were
     * not pushed. */
    void (*session_event)(void *context, struct session *session, uint64_t sync_key, struct session_event *event);
    void (*session_room)(void *context, struct session *session, struct session_frame *message);
    void (*session_missed)(void *context, struct session *session);
    /* Closes the session's connection; session_closed follows later. */
    void (*session_end)(void *context, struct session *session, uint16_t close_code, const char *reason);
};

struct domain_setup {
    struct domain_options options;
    struct domain_ports ports;
};

static inline const struct domain_options *domain_options(const struct shard *shard) { return &shard_setup(shard)->options; }
static inline const struct domain_ports *domain_ports(const struct shard *shard) { return &shard_setup(shard)->ports; }

#endif
