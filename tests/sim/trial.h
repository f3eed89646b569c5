/* tests/sim/trial.h - what a start must notice: a log that rotted while nothing ran, one whose newest segments are gone, a shard that is older
 * than the others. Tried on copies of the shards, at a stop in order or after a crash; the world itself goes on as if nothing had been.
 * Thread: one.  Depends: sim/world.h.  Start at: sim/world.h */
#ifndef TESTS_SIM_TRIAL_H
#define TESTS_SIM_TRIAL_H

#include "sim/world.h"

/* All shards are closed, and the world is mute. */
void trial_rot(struct world *world);
void trial_missing_segments(struct world *world); /* after a crash: the stores know less than the logs */
void trial_older_part(struct world *world);
void trial_forget(struct world *world);

#endif
