/* tests/sim/people.h - those who use the server: persons with devices, connections that read slowly or break, streams that converge.
 * Owns:    every device's state as an app would keep it, its connection, its requests under way.
 * Thread:  one.                   Depends: sim/world.h.          Start at: sim/world.h
 *
 * A device follows the contract and nothing else: it applies the next event of its stream, syncs when it sees a gap, was told that it is
 * behind or has just connected, and starts over from `conversations` after a reset. A device that is connected when the world rests must
 * have converged by that alone. What it asks for is in calls.h. */
#ifndef TESTS_SIM_PEOPLE_H
#define TESTS_SIM_PEOPLE_H

#include "api/api.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/engine/letter.h"
#include "sim/oracle.h"
#include "sim/world.h"

struct session;
struct person;
struct call;

struct frame { /* on its way to a device */
    struct frame *next;
    struct letter *answer; /* NULL: a push */
    struct buf *body;      /* a reference of ours */
    uint32_t head_len;
    uint8_t head[];
};

struct app_room { /* what a device knows of a room */
    uint64_t room_id, read_seq, head_seq;
    uint64_t as_of; /* sync_key of the page of conversations it was read from: earlier events are in it */
    bool member, large;
};

/* AUTHENTICATING -> OPEN (the session is bound) -> ENDED (by the server, which waits for the close) -> freed */
enum link_state { LINK_AUTHENTICATING, LINK_OPEN, LINK_ENDED };

struct link { /* a connection */
    struct link *next;
    struct person *person;
    struct app *app; /* NULL: the other end is gone and the server has not heard of it; nobody reads any more */
    enum link_state state;
    uint32_t generation; /* no other link has it */
    struct session *session;
    struct token_claims claims; /* shown last */
    uint64_t expires_s;         /* as the server has said; 0: not yet */
    bool doubtful;
    struct frame *first, *last;
    uint32_t queued_bytes;
    bool above_soft;
};

/* A device does one thing at a time, and syncs beside it. */
enum lane { LANE_MAIN, LANE_SYNC, LANE_COUNT };

struct app {
    struct person *person;
    uint32_t number; /* of all devices */
    char device_id[16];
    bool json;

    struct token_claims claims, old_claims; /* user_id 0: none; old: of a token that was revoked */
    char refresh_token[TOKEN_REFRESH_MAX + 1], used_token[TOKEN_REFRESH_MAX + 1]; /* "": none */
    bool used_is_newest;       /* the refresh token has the place of the used one */
    uint64_t refreshed_ms;     /* when it got that, as the device's server said the time */
    bool doubtful;             /* a clock that may have been wrong had a part in its tokens */
    uint64_t generation;       /* the newest of the tokens it ever had */
    /* An answer said that these are refused: of a backend, issued before; the server's, of a generation below that. */
    uint64_t revoked_before_s, revoked_below;

    struct link *link; /* NULL: not connected */

    struct call *lanes[LANE_COUNT];
    uint64_t patience_ns; /* nothing before this time on the main lane */
    uint32_t sending;     /* number + 1 of the attempt that has no final answer; 0: none */

    uint64_t sync_key;
    char stream_epoch[24]; /* that came with it */
    uint32_t epoch_life;   /* of the world, when that was given */
    bool in_step;          /* synced over this connection: what is pushed follows */
    bool wants_sync, wants_compare, reloading;
    uint64_t reload_key, cursor; /* of the conversations being read; reload_key: where to sync from then */
    char reload_epoch[24];
    uint64_t *seen;              /* what it got of its stream: hashes of the entries up to sync_key */
    uint32_t seen_count, seen_capacity;
    uint32_t compared_count;     /* rooms seen in this comparison */
    struct app_room *rooms;
    uint32_t room_count, room_capacity;

    bool watches, missed_pushes; /* subscribed with this connection; was behind since */
    bool subscribed_twice;       /* at once, as the first thing */
    uint32_t subscriptions;      /* asked for with this connection */
    bool watched[USERS_MAX];
    int8_t online[USERS_MAX];    /* as told; -1: never told */
    int32_t called[USERS_MAX];   /* then: the number of the display name */
};

struct person {
    uint32_t number, name_number;
    char name[16], password[24];
    uint64_t user_id; /* 0: not registered, as far as the person knows */
    uint64_t newest_event;
    uint64_t stream_head; /* as the last audit found it */
    uint32_t sends;       /* messages and rooms asked for, again and again too */
    uint32_t repeats_open; /* asked again and not answered: until they are, nothing new may push them out of what is promised */
    struct client_room {
        uint32_t number; /* in its client_room_id; 0: none was asked for */
        struct first_try first;
        bool of_older; /* asked for in an older version, which knew of no history */
    } client_rooms[6];
    struct app devices[DEVICES_MAX];
};

struct people {
    struct world *world;
    struct person *persons;
    uint32_t person_count, device_count; /* devices: of each person */
    struct call *calls; /* under way, newest first */
    struct link *links; /* of all, newest first */
    uint32_t next_generation;
    uint64_t next_request_id;
    uint64_t answers, refusals, pushes; /* how much happened */
};

struct people *people_create(struct world *world);
void people_destroy(struct people *people);
/* The one with that user id; fails the run when there is none. */
struct person *people_person(struct people *people, uint64_t user_id);
struct app *people_app(struct people *people, uint32_t number);
struct app_room *app_room(struct app *device, uint64_t room_id);

/* ---- steps ---- */
void people_act(struct world *world);  /* somebody does something */
void people_read(struct world *world); /* some device reads what came */
/* Towards rest: reads everything, finishes what was begun, syncs. True when everybody is content. */
bool people_pursue(struct world *world);
/* At rest, after an audit: every device is compared with what the server says of its user. */
void people_compare(struct world *world);
void people_disconnect_all(struct world *world);
/* The process is gone: connections, and answers that will never come. */
void people_lose_connections(struct world *world);
void people_explain(const struct world *world);

/* What the server knows of them and they of it, when a copy of the server is made; what a device keeps for itself is not in it. */
struct roll;
struct roll *people_call_roll(const struct people *people);
/* The server is what it was then; its people keep their places in its streams. */
void people_fall_back(struct world *world, const struct roll *roll);
void people_free_roll(struct roll *roll);

/* ---- what a device hears ---- */
void app_take_event(struct world *world, struct app *device, const Ringpost__V1__Event *event);
void app_take_head(struct app *device, uint64_t room_id, uint64_t head_seq);
/* Nothing it knows has to be true any more. */
void app_forget(struct app *device);
/* It is up to date: nothing is missing in what it got, and nothing in it is of a stream that is no more. */
void app_expect_memory(const struct world *world, const struct app *device);
/* Its connection is open and has a session that the server has not ended. */
static inline bool app_is_connected(const struct app *app) { return app->link != NULL && app->link->state == LINK_OPEN; }
/* A new connection, not yet authenticated. */
void app_connect(struct world *world, struct app *app);
void app_disconnect(struct world *world, struct app *app);
/* Some device of the person has a session, as the server sees it. */
bool person_is_online(const struct people *people, const struct person *person);
/* An answer has said that this token is refused from now on. */
bool app_is_revoked(const struct app *device, const struct token_claims *claims);
/* The trusted clock may be wrong from now on, or is right again: what was judged by the other time is doubtful. */
void people_on_clock_era(struct world *world);
/* The token is of no use any more. */
void app_forget_token(struct world *world, struct app *device);

/* ---- ports ---- */
void people_on_reply(struct world *world, const struct letter *letter);
/* Presence and typing are told once: whom this LETTER_NOTIFY is for may not hear of it, or too late. */
void people_may_miss(struct world *world, const struct letter *notify);
/* As the doors do: what was not answered in time, because a letter was lost, is answered so. */
void people_end_overdue(struct world *world);
bool people_on_bind(struct world *world, const struct origin *origin, struct session *session);
enum result people_on_push(struct world *world, struct session *session, struct slice head, struct buf *body, bool *above_soft);
void people_on_end(struct world *world, struct session *session, uint16_t close_code, const char *reason);

#endif
