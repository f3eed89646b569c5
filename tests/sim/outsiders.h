/* tests/sim/outsiders.h - those who follow the server from outside: askers with a memory of their own, slow, forgetful, sometimes lost.
 * Owns:    what each of them knows, and its asks.
 * Thread:  one.                   Depends: shard/engine/follower_ask.h.  Start at: sim/world.h
 *
 * An outsider reads a page, does it some time later, and acknowledges what it has done; when it dies it forgets what it has not done. Ids of
 * users, rooms and messages are given in the order of a shard's log without holes, so what comes next is known: entries have to come so,
 * whichever side died in between, each with its own number for ever. At rest everything is there. */
#ifndef TESTS_SIM_OUTSIDERS_H
#define TESTS_SIM_OUTSIDERS_H

#include "sim/world.h"

#define OUTSIDERS_MAX 3

struct outsiders *outsiders_create(struct world *world);
/* After the shards are closed. */
void outsiders_destroy(struct outsiders *outsiders);
/* One of them does something with one shard. */
void outsiders_act(struct world *world);
/* The process has ended: every ask was answered. */
void outsiders_lose_connections(struct world *world);
/* At a rest: true when each has done all that happened. */
bool outsiders_pursue(struct world *world);
/* Everything is there. All stores are idle. */
void outsiders_audit(struct world *world);
/* The server fell back to what it was: numbers are given again, for other things. */
void outsiders_fall_back(struct world *world);

#endif
