/* tests/sim/place.h - the data directory of a world: real files, read and written by the real code, that say what the shards are.
 * Owns:    a directory in memory, one per process, removed at the end.
 * Thread:  one.                   Depends: storage/datadir.h, sim/dice.h, sim/plant.h.  Start at: sim/world.h
 * A start opens it, reads the key that signs tokens or makes it, and raises the run when the shards are recovered. It may end at each of its steps,
 * and then or later what was not synced is lost (storage/power.h); it may find no room. What else happens to such files is tried now and
 * then: bits change, they tear, a shard's directory is lost, left behind, exchanged. */
#ifndef TESTS_SIM_PLACE_H
#define TESTS_SIM_PLACE_H

#include "sim/dice.h"
#include "sim/plant.h"
#include <stdbool.h>
#include <stdint.h>

struct place;

struct place *place_create(uint16_t shard_count, enum plant plant, uint64_t seed);
void place_destroy(struct place *place);
/* Of a process that ended without. */
void place_remove_of(int pid);

/* One start. Fails the run when a directory that no more than a crash has touched does not open, or has another key than before. False: the disk is
 * full, and the run is not raised. */
bool place_start(struct place *place, struct dice *dice, bool full);
/* A start that ends at some step of it, alone or with the machine. */
void place_break(struct place *place, struct dice *dice);
/* The process ends, with the machine or alone. */
void place_end(struct place *place, bool power_lost);
/* Something happens to the files of one shard that no crash does; the next start must refuse it. Puts it right again. */
void place_try_damage(struct place *place, struct dice *dice);

#endif
