/* perf/calls.h - requests that a workload waits for: set-up and checks, never what is measured. */
#ifndef PERF_CALLS_H
#define PERF_CALLS_H

#include "ringpost/v1/ringpost.pb-c.h"
#include <stdbool.h>
#include <stdint.h>

struct session;
struct answer;

#define CALL_ID_FIRST (1ull << 40) /* below are the ids of messages */

struct call {
    uint64_t id;
    bool answered;
    uint32_t retry_after_ms; /* of a refusal that time cures; else 0 */
    char refusal[64];        /* reason, or empty */
    Ringpost__V1__Response *response; /* owned; NULL when refused */
};

/* Sends `request` with an id of its own and turns the loop until the answer is there. Ends the program when none comes or it is
 * a refusal that time does not cure. The caller frees with ringpost__v1__response__free_unpacked(). */
Ringpost__V1__Response *call_wait(struct session *session, Ringpost__V1__Request *request);
/* Takes the answer when it is for the call under way. */
bool call_on_answer(struct session *session, const struct answer *answer);

/* A room of the session's user and `user_ids`, by as many requests as it takes. Returns its id. */
uint64_t call_create_room(struct session *session, const char *name, uint64_t *user_ids, uint32_t count);

#endif
