/* tests/sim/audit.h - the world at rest, looked at from within: what the stores hold agrees with itself, shard with shard, and with
 * everything that was promised.
 * Thread: one.  Depends: sim/oracle.h, sim/people.h.  Start at: sim/world.h */
#ifndef TESTS_SIM_AUDIT_H
#define TESTS_SIM_AUDIT_H

#include "sim/world.h"

/* Nothing may be under way. Fails the run at the first thing that is wrong. Notes where each user's stream ends. */
void audit(struct world *world);

#endif
