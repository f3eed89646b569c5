/* tests/sim/place.h - the data directory of a world: real files, read and written by the real code, that say what the shards are.
 * Owns:    a directory in memory, one per process, removed at the end.
 * Thread:  one.                   Depends: storage/datadir.h, sim/dice.h, sim/plant.h.  Start at: sim/world.h
 * A start opens it, and raises the run when the shards are recovered. A crash leaves the files as they were before or after each of the
 * writes of a raise; what else happens to such files is tried now and then: bits change, they tear, a shard's directory is lost, left
 * behind, exchanged. */
#ifndef TESTS_SIM_PLACE_H
#define TESTS_SIM_PLACE_H

#include "sim/dice.h"
#include "sim/plant.h"
#include <stdbool.h>
#include <stdint.h>

struct place;

struct place *place_create(uint16_t shard_count, enum plant plant);
void place_destroy(struct place *place);
/* Of a process that ended without. */
void place_remove_of(int pid);

/* One start, to its end or (`breaks`) to some write of it. Fails the run when a directory that no more than a crash has touched does not
 * open. */
void place_start(struct place *place, struct dice *dice, bool breaks);
/* Something happens to the files of one shard that no crash does; the next start must refuse it. Puts it right again. */
void place_try_damage(struct place *place, struct dice *dice);

#endif
