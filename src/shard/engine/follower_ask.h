/* shard/engine/follower_ask.h - what somebody outside of the workers asks a shard about its followers: begin, read, acknowledge, end, status.
 * Owns:    an ask belongs to its asker and is pinned from follower_ask() until its `done`, which runs exactly once.
 * Thread:  follower_ask and `done`: the shard's worker.  Depends: shard/engine/follower_page.h.  Start at: shard/engine/follower.h
 *
 *   BEGIN, ACK, END   a command each; done when it is applied
 *   READ              a page: at once when there is something behind the place, else when there is, else after about a second without
 *   STATUS            of every follower, as it is now
 *
 * Failure modes are outcomes; what is BUSY or FULL may be asked again. A shard that stops or is found damaged answers what waits. */
#ifndef SHARD_FOLLOWER_ASK_H
#define SHARD_FOLLOWER_ASK_H

#include "shard/engine/follower_page.h"

struct shard;

#define FOLLOWER_OUTCOME_LIST(X)                                                                                       \
    X(OK, "done")                                                                                                      \
    X(UNKNOWN, "there is no such follower")                                                                            \
    X(LOST, "it fell behind by more than follower_backlog_max, and what it missed is not kept: rebuild it or remove it") \
    X(NO_PLACE, "there are as many followers as there may be")                                                        \
    X(NOT_KEPT, "what follows that position is not kept, or was never there")                                         \
    X(BUSY, "a limit of the server is reached: try again")                                                             \
    X(FULL, "the server's disk is full: nothing can be written")                                                       \
    X(FAILED, "the shard is damaged, or the server is stopping")
#define FOLLOWER_OUTCOME_AS_ENUM(NAME, text) FOLLOWER_OUTCOME_##NAME,
enum follower_outcome { FOLLOWER_OUTCOME_LIST(FOLLOWER_OUTCOME_AS_ENUM) FOLLOWER_OUTCOME_COUNT };
#undef FOLLOWER_OUTCOME_AS_ENUM
const char *follower_outcome_text(enum follower_outcome outcome);

struct follower_ask {
    /* The asker's. */
    enum { FOLLOWER_ASK_BEGIN, FOLLOWER_ASK_READ, FOLLOWER_ASK_ACK, FOLLOWER_ASK_END, FOLLOWER_ASK_STATUS } kind;
    void (*done)(struct follower_ask *ask);
    char name[FOLLOWER_NAME_MAX + 1];
    bool temporary;            /* BEGIN */
    enum follower_start start; /* BEGIN; with FOLLOWER_AFTER page.place.number is where */
    uint64_t generation;       /* READ, ACK: of which follower of that name; END: 0: of any. Answer of BEGIN */
    struct follower_page page; /* READ: what is wanted, and the answer; page.bytes is the asker's. ACK: page.place */
    /* The answer. */
    enum follower_outcome outcome;
    struct follower_place place; /* BEGIN: where it is */
    bool made;                   /* BEGIN: there was none, or it began anew */
    uint64_t newest;             /* number of the newest entry */
    uint32_t status_count;       /* STATUS */
    struct follower_seen {
        char name[FOLLOWER_NAME_MAX + 1];
        bool lost;
        struct follower_place place;
        uint64_t backlog;
    } status[FOLLOWERS_MAX];
    /* The shard's. */
    struct shard *shard;
    struct store_job job;
    struct follower_ask *next;
    bool waited; /* a whole second without anything new */
};

void follower_ask(struct shard *shard, struct follower_ask *ask);

#endif
