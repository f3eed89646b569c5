/* tests/sim/alarms.h - timers: things that are set to times and to starts, moved, cancelled, and what must become of each.
 * Owns:    nothing; what was set and what has fired are facts of the oracle.
 * Thread:  one.                   Depends: shard/alarm.h, sim/oracle.h.  Start at: sim/world.h
 *
 * Heard is every apply, live and replayed. So while it runs: each setting fires in one command only, the same in every replay; only after
 * it was made, and not before a time that the trusted clock has told. At rest: what is due has fired, what has not been set to another time
 * is still to come, and there is a row for it, and no row for anything else. */
#ifndef TESTS_SIM_ALARMS_H
#define TESTS_SIM_ALARMS_H

#include "sim/world.h"

/* Before the first life: the world hears of its alarms. */
void alarms_begin(struct world *world);
/* Around the opening of a shard. counts: it is open, and what it has applied is there for good. */
void alarms_begin_start(void);
void alarms_end_start(struct world *world, bool counts);
/* Somebody sets one, moves it, cancels it. */
void alarms_act(struct world *world, struct node *node);
/* Something is due that has not fired. Stores are idle. */
bool alarms_are_due(struct world *world);
/* At rest. */
void alarms_audit(struct world *world);

#endif
