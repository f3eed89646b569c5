/* tests/sim/calls.h - every method as a device calls it: making the request, and judging the answer.
 * Owns:    a call from its request to its one answer, or to the crash that swallows it.
 * Thread:  one.                   Depends: sim/people.h, sim/oracle.h.  Start at: sim/world.h */
#ifndef TESTS_SIM_CALLS_H
#define TESTS_SIM_CALLS_H

#include "api/error.h"
#include "sim/oracle.h"
#include "sim/people.h"

struct call_type;

struct call {
    struct call *next;
    const struct call_type *type;
    struct app *device;
    enum lane lane;
    uint64_t request_id, asked_ns;
    bool answered; /* it is on its way to the device */
    struct writer payload;
    bool over_session;
    uint32_t link_generation;   /* of the connection that its device had then; 0: none */
    struct token_claims claims; /* shown with it */
    bool must_fail;             /* an answer without error is a fault of the server */
    bool may_be_bad;            /* the request is not what the contract says */
    bool is_repeat;             /* counted in its person's repeats_open */
    /* What the answer is judged by, as the method needs it. */
    uint64_t room_id, seq, floor, began_s;
    uint64_t user_ids[USERS_MAX];
    uint32_t user_count, number;
    uint32_t clock_steps, clock_eras; /* of the world, when the call began */
    bool clock_was_right;
    uint64_t began_right_ms; /* and when that was */
    uint64_t expires_s;      /* of its session, as the server has said; 0: unknown */
    uint64_t generation;     /* REVOKE: the newest the device had then */
    char successor[TOKEN_REFRESH_MAX + 1]; /* REFRESH of a used token: what it was traded for; "": nothing may come of it */
    uint32_t version; /* of the caller's membership, when the call began */
    uint32_t history_version; /* of the room's history, then */
    int history;              /* what was asked for: enum RoomHistory */
    int is_member;
    uint32_t name_versions[USERS_MAX]; /* of everybody's display name, when the call began */
};

/* Makes a call of one of the kinds people choose among, weighted; false when it is not possible just now. */
bool calls_choose(struct world *world, struct app *device);
/* A certain one. */
bool calls_register(struct world *world, struct app *device);
bool calls_login(struct world *world, struct app *device);
bool calls_auth(struct world *world, struct app *device);
bool calls_send(struct world *world, struct app *device); /* the attempt device->sending, again or for the first time */
bool calls_sync(struct world *world, struct app *device);
bool calls_conversations(struct world *world, struct app *device);
bool calls_presence(struct world *world, struct app *device);
/* Of calls_choose: a new message. */
bool calls_talk(struct world *world, struct app *device);

/* The answer; frees the call. */
void calls_answer(struct world *world, struct call *call, const struct letter *letter);
/* There will be no answer; frees the call. */
void calls_lose(struct world *world, struct call *call);
const char *calls_name(const struct call *call);

#endif
