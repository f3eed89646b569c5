/* tests/sim/facts.h - what somebody has seen once and what therefore stays true for ever: the content of a message, of an
 * event, the owner of a name.
 * Owns:    the facts, in the order they were learned.
 * Thread:  one.                   Depends: nothing.              Start at: sim/oracle.h */
#ifndef TESTS_SIM_FACTS_H
#define TESTS_SIM_FACTS_H

#include <stdbool.h>
#include <stdint.h>

enum fact_kind {
    FACT_MESSAGE = 1, /* room, seq -> hash of who sent what when, under which id */
    FACT_MESSAGE_ID,  /* message id, 0 -> hash of room and seq */
    FACT_EVENT,       /* user, sync_key -> hash of the event */
    FACT_NAME,        /* hash of a user name, 0 -> user id */
    FACT_USER,        /* user id, 0 -> hash of the user name */
    FACT_CLIENT_ROOM, /* hash of user and client_room_id, 0 -> room id */
    FACT_DIRECT,      /* lower user, higher user -> room id */
    FACT_ALARM_SET,   /* shard and id, number of the setting -> the time; 0: cancelled */
    FACT_ALARM_FIRED, /* likewise -> index of the command */
};

struct fact {
    enum fact_kind kind;
    uint64_t a, b, value;
};
struct facts;

struct facts *facts_create(void);
void facts_destroy(struct facts *facts);
struct facts *facts_copy(const struct facts *facts);
/* The value known for (kind, a, b): `value` when nothing was known before. */
uint64_t facts_learn(struct facts *facts, enum fact_kind kind, uint64_t a, uint64_t b, uint64_t value);
/* NULL: nothing is known. */
const struct fact *facts_find(const struct facts *facts, enum fact_kind kind, uint64_t a, uint64_t b);
/* All of them, in the order they were learned. */
const struct fact *facts_all(const struct facts *facts, uint32_t *count);

#endif
