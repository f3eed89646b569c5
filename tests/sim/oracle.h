/* tests/sim/oracle.h - what the server has promised: kept outside of it, from what clients see alone.
 * Owns:    every attempt to send, the facts, and what is certain about rooms and their members.
 * Thread:  one.                   Depends: sim/facts.h.          Start at: sim/world.h
 *
 * Certain is what an answer said and nothing else can have changed since: two requests about one membership that were under way at the
 * same time, or one whose answer a crash swallowed, leave it open until the next undisturbed one. */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include "ringpost/v1/ringpost.pb-c.h"
#include "sim/facts.h"
#include "sim/world.h"

struct person;

/* Something that was asked for the first time. */
struct first_try {
    uint32_t sends; /* that its person had asked for, this one included */
    uint64_t time_ms;
    uint32_t clock_eras; /* of the world then */
};

/* One message somebody wants to send; its client_msg_id, body and properties follow from its number. */
struct attempt {
    uint32_t number;
    uint64_t sender_id, room_id, to_user_id; /* room_id or to_user_id; room_id is filled in by the first answer */
    uint32_t kind, tries;
    bool acked, seen;                /* seen: by the audit now running */
    uint64_t msg_id, seq, time_ms;   /* of the first ack */
    struct first_try first;
    uint64_t first_right_ms;         /* when it was first sent */
    bool doubtful;                   /* under a clock that may have been wrong, then or later */
    uint64_t floor_seq;              /* somebody had seen this seq in the room before it was sent the first time */
};

#define ATTEMPT_TEXT_MAX 400
/* "m<number>" */
void attempt_client_id(uint32_t number, char out[24]);
enum variant { VARIANT_SAME, VARIANT_OTHER_BODY, VARIANT_OTHER_PROPERTIES, VARIANT_COUNT }; /* for conflicts */
/* The body: begins with its own number. */
struct slice attempt_body(uint32_t number, enum variant variant, char out[ATTEMPT_TEXT_MAX]);
/* The content type in its properties; "": it has none. */
void attempt_content_type(uint32_t number, enum variant variant, char out[24]);

struct membership { /* of one user in one room */
    int8_t known;   /* 1: member, 0: not, -1: who knows */
    int8_t before;  /* what was known when the one request under way began */
    int8_t role;    /* Ringpost__V1__Role; -1: who knows */
    bool overlapped; /* several were under way at the same time */
    uint32_t under_way;
    uint32_t version; /* counts beginnings and ends */
    uint64_t read_floor; /* an answer said so, and no leaving was tried since */
    bool joined_known;   /* of a known member: */
    uint64_t joined_seq; /* the newest message when the member came in */
};

struct known_name { /* the display name of one user; names are numbered, 0 is the one from the registration */
    int32_t known, before; /* -1: who knows */
    uint32_t asked;        /* names that the user ever wanted */
    uint32_t changes, version; /* under way; counts beginnings and ends */
    bool overlapped;
};

struct known_room {
    uint64_t room_id, head_seq; /* head: the newest anybody has seen */
    bool direct, joinable, ended; /* ended: a dismissal was tried */
    uint32_t role_changes; /* under way */
    int8_t since_join, since_join_before; /* its history is SINCE_JOIN: 1, 0; -1: who knows; before: like a membership's */
    bool history_overlapped;
    uint32_t history_changes, history_version; /* under way; counts beginnings and ends */
    struct membership members[USERS_MAX];
};

struct oracle {
    struct world *world;
    struct facts *facts;
    struct attempt *attempts;
    uint32_t attempt_count, attempt_capacity;
    struct known_room *rooms;
    uint32_t room_count, room_capacity;
    uint64_t user_ids[USERS_MAX]; /* 0: not registered as far as anybody knows */
    struct known_name names[USERS_MAX];
};

struct oracle *oracle_create(struct world *world);
void oracle_destroy(struct oracle *oracle);
/* What it knows now, for a server that falls back to what it is now. */
struct oracle *oracle_copy(const struct oracle *oracle);

/* ---- things that stay ---- */
/* A message as somebody saw it: the same for everybody, for ever; sent by one who wanted to, once. */
void oracle_saw_message(struct oracle *oracle, const Ringpost__V1__Message *message);
/* An event of a user's stream as some device got it. */
void oracle_saw_event(struct oracle *oracle, uint64_t user_id, const Ringpost__V1__Event *event);
void oracle_saw_ack(struct oracle *oracle, uint32_t attempt, const Ringpost__V1__SendResponse *response);
/* The same value under the same key, or the run fails; `what` is said then. */
void oracle_learn(struct oracle *oracle, enum fact_kind kind, uint64_t a, uint64_t b, uint64_t value, const char *what);
void oracle_saw_room(struct oracle *oracle, const Ringpost__V1__Room *room);
/* The newest event of the user that any device has seen. */
uint64_t oracle_newest_event(const struct oracle *oracle, uint64_t user_id);
/* What a timeline row or a message says, in one number. */
uint64_t oracle_message_hash(uint64_t msg_id, uint64_t sender_id, uint64_t time_ms, uint32_t kind, struct slice client_id, struct slice body);

/* ---- attempts ---- */
uint32_t oracle_attempt(struct oracle *oracle, uint64_t sender_id, uint64_t room_id, uint64_t to_user_id, uint32_t kind);
/* Number of the attempt that a message with this client_msg_id and body is; fails the run when nobody ever made it. */
uint32_t oracle_attempt_of(const struct oracle *oracle, uint64_t room_id, uint64_t sender_id, struct slice client_id, struct slice body);

/* What the server promises, whatever others do: asked again, it is known. */
struct first_try oracle_first_try(const struct oracle *oracle, struct person *person);
bool oracle_is_promised(const struct oracle *oracle, const struct person *person, const struct first_try *first);

/* ---- rooms ---- */
/* The room, made known when it was not. The pointer lives until the next one is. */
struct known_room *oracle_room(struct oracle *oracle, uint64_t room_id);
/* USERS_MAX: nobody we know. */
uint32_t oracle_user_index(const struct oracle *oracle, uint64_t user_id);
/* A request about the membership begins; ends: +1 member, 0 not a member, -1 no change (refused), -2 unknown (the answer was lost).
 * head_seq: of the room, as an answer that makes members says. */
void oracle_membership_begin(struct oracle *oracle, uint64_t room_id, uint64_t user_id);
void oracle_membership_end(struct oracle *oracle, uint64_t room_id, uint64_t user_id, int outcome, uint64_t head_seq);
/* The same about what a room's history is. Outcome: 1 SINCE_JOIN, 0 ALL, -1, -2. */
void oracle_history_begin(struct oracle *oracle, uint64_t room_id);
void oracle_history_end(struct oracle *oracle, uint64_t room_id, int outcome);
/* Another display name: the number of the next one of this user, whose request begins. */
uint32_t oracle_name_begin(struct oracle *oracle, uint32_t user);
/* Outcome: the number, -1 no change (refused), -2 unknown (the answer was lost). */
void oracle_name_end(struct oracle *oracle, uint32_t user, int outcome);
/* Somebody was shown that user under that name; `version`: of what was known when that was asked for, UINT32_MAX: it may be an older one.
 * Returns its number. */
int32_t oracle_saw_name(const struct oracle *oracle, uint32_t user, const char *text, uint32_t version);
#define DISPLAY_NAME_MAX 40
void oracle_name_text(uint32_t user, uint32_t number, char text[DISPLAY_NAME_MAX]);
/* Certain: the user, a member, may read no message up to *hidden_seq, and every later one. */
bool oracle_knows_hidden(const struct known_room *room, uint32_t user, uint64_t *hidden_seq);
/* An older version has not noted when its members came in, nor does what it left behind say so. */
void oracle_forget_joining(struct oracle *oracle);
/* Certain and undisturbed: 1, 0; else -1. */
int oracle_is_member(const struct oracle *oracle, uint64_t room_id, uint64_t user_id);

#endif
