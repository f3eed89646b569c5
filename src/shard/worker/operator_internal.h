/* shard/worker/operator_internal.h - what the files of the operator's door share: connections, and what they ask the shards.
 * Reading order: operator.c (socket, thread, frames) operator_follower.c (status, rebuild, remove) operator_tail.c (following). */
#ifndef SHARD_OPERATOR_INTERNAL_H
#define SHARD_OPERATOR_INTERNAL_H

#include "core/clock.h"
#include "net/tcpframe.h"
#include <pthread.h>
#include <semaphore.h>
#include "ringpost/v1/operator.pb-c.h"
#include "shard/worker/operator.h"

struct channel { /* a connection and one shard */
    struct task command, read;
    bool commanding, reading;
    struct follower_place told;   /* queued for the client up to here */
    struct follower_place wanted; /* acknowledged by the client */
    struct follower_place acked;  /* told to the shard, or on its way */
    uint64_t again_ns;            /* the shard had no room: not before then; 0: it had */
    bool ended;                   /* of a connection that ends: its own follower is gone there */
};

struct connection {
    struct operator *op;
    int fd; /* -1: free, unless it still waits for the shards */
    struct tcpframe_parser parser;
    struct writer out;
    size_t out_at;
    bool used;
    bool closing; /* reads nothing more; ends when `out` is written */
    uint32_t under_way; /* tasks with the workers */
    struct channel *channels; /* shard_count, made by the first request */
    /* The request being carried out. */
    enum { OPERATOR_IDLE, OPERATOR_ASKING, OPERATOR_TAILING, OPERATOR_ENDED } state;
    void (*then)(struct connection *connection); /* ASKING: when every shard has answered */
    char name[FOLLOWER_NAME_MAX + 1];
    bool temporary, follows; /* follows: nobody else may read that follower */
    uint64_t kinds;
    bool bodies;
    uint16_t refused_shard; /* why it did not begin */
    enum follower_outcome refusal;
};

struct operator {
    struct operator_options options;
    int listen_fd, stop_fd, dir_fd;
    _Atomic bool stopping;
    sem_t quiet; /* posted once: nothing more is put */
    uint64_t next_temporary;
    pthread_t thread;
    struct connection connections[OPERATOR_CONNECTIONS_MAX];
};

#define OPERATOR_RETRY_MS 100 /* what found no room in a shard is tried again so often */

static inline void channel_pause(struct channel *channel) { channel->again_ns = clock_monotonic_ns() + OPERATOR_RETRY_MS * 1000000ull; }
static inline bool channel_may_ask(struct channel *channel)
{
    if (channel->again_ns != 0 && clock_monotonic_ns() < channel->again_ns) return false;
    channel->again_ns = 0;
    return true;
}
static inline bool follower_found_no_room(enum follower_outcome outcome)
{
    return outcome == FOLLOWER_OUTCOME_BUSY || outcome == FOLLOWER_OUTCOME_FULL;
}

/* ---- operator.c ---- */
void connection_answer(struct connection *connection, const Ringpost__V1__OperatorResponse *response);
void connection_done(struct connection *connection);
/* The request ends with it; a tail, and with it the connection, too. */
void connection_refuse(struct connection *connection, const char *reason, const char *message);
void connection_refuse_outcome(struct connection *connection, uint16_t shard, enum follower_outcome outcome);
/* The same command to every shard; each ask begins as `draft`. `then` runs when all are done: channels[i].command.ask has the answers. */
void connection_ask_all(struct connection *connection, const struct follower_ask *draft, void (*then)(struct connection *connection));
/* END to those shards where the answers to BEGIN say that it was made by this connection. */
void connection_end_made(struct connection *connection, void (*then)(struct connection *connection));
void connection_put(struct connection *connection, struct task *task, uint16_t shard);
/* Somebody else's tail goes by that name. */
bool operator_in_use(const struct operator *op, const char *name);

/* ---- operator_follower.c ---- */
void follower_serve_status(struct connection *connection);
void follower_serve_rebuild(struct connection *connection, const char *name);
void follower_serve_remove(struct connection *connection, const char *name);

/* ---- operator_tail.c ---- */
void tail_begin(struct connection *connection, const Ringpost__V1__TailRequest *request);
void tail_acknowledge(struct connection *connection, const Ringpost__V1__TailAcknowledge *request);
void tail_on_page(struct connection *connection, struct channel *channel);
void tail_on_acked(struct connection *connection, struct channel *channel);
/* There may be room for more pages now; acks that found no room are tried again. */
void tail_go_on(struct connection *connection);

#endif
