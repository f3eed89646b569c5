/* tests/sim/guests.h - people who use the doors: sockets with envelopes (TCP, WebSocket) and MQTT, over simulated wires.
 * Owns:    what each of them has said and heard.
 * Thread:  one.                   Depends: sim/doors.h, sim/wires.h.      Start at: sim/doors.h
 *
 * Each guest has an app on a socket, which sends and syncs, and a thing that speaks MQTT in a persistent session: it publishes with QoS 1 and 2,
 * leaves wills, listens to everything, and keeps its own side of the promises over every reconnect. Both break off at any byte.
 * What holds, from what crossed the wires alone:
 *   acknowledged (response, PUBACK, PUBREC)      it is in its timeline once when the world rests; else at most once
 *   a will                                        once, when its connection was accepted and ended without DISCONNECT
 *   the app's stream                              every event once, by sync_key; of each room every message, in order
 *   the thing's session                           never gone; each message that was said when it listened: with QoS 1 at least once, with QoS 2 once;
 *                                                 heard first in the order of its room */
#ifndef TESTS_SIM_GUESTS_H
#define TESTS_SIM_GUESTS_H

#include "sim/world.h"

struct guests *guests_create(struct world *world);
void guests_destroy(struct guests *guests);
void guests_act(struct world *world);
void guests_read(struct world *world);
/* Towards rest: true when all have what they wanted, and nothing has moved for a while. */
bool guests_pursue(struct world *world);
/* The server stops: they read what it says, and go. */
void guests_take_leave(struct world *world);
/* What was acknowledged is there, once. */
void guests_audit_stored(struct world *world);
/* At a rest: everything. */
void guests_audit(struct world *world);
uint64_t guests_acked_count(const struct guests *guests); /* NULL: none */

#endif
