/* perf/catchup.h - a native session that was away pages through its user's stream until it has everything. What is pushed meanwhile is
 * let pass: it comes with the pages. MQTT needs none of this; there the server sends what it kept. */
#ifndef PERF_CATCHUP_H
#define PERF_CATCHUP_H

#include "perf/session.h"

/* Asks for what came after `sync_key`; the answers have the id CATCHUP_ID. */
#define CATCHUP_ID (CALL_ID_FIRST - 2)
void catchup_begin(struct session *session, uint64_t sync_key);

enum catchup { CATCHUP_MORE, CATCHUP_DONE, CATCHUP_BROKEN };
/* Takes an answer: hands its events to session_on_event() and asks for the next page while there is one. */
enum catchup catchup_on_answer(struct session *session, const struct answer *answer);

#endif
