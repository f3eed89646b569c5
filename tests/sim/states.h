/* tests/sim/states.h - the state of one shard in one number (shard/engine/state_hash.h), compared between machines that came to it in other ways.
 * Owns:    what the shard's own machine was at every end of a batch of which somebody was told; a twin.
 * Thread:  one.                   Depends: shard/engine/replay.h, sim/node.h.  Start at: sim/world.h
 *
 *   live       after every shard_apply(), which ends a batch: noted, and the same index must give the same number in every life
 *   recovered  at every opening: the store as of some index, and the log from there on, in batches of recovery
 *   twin       the whole log from its first record, one command in a batch, everything evicted after each: compared at every index noted
 *   loaded     at rest: what the store alone makes of it, and its rows counted one by one
 *
 * What is only known at the end of a batch (a row is written once for all that changed it) is compared there; the twin ends one with every
 * command, so that is every index at which the live shard ended one. */
#ifndef TESTS_SIM_STATES_H
#define TESTS_SIM_STATES_H

#include "storage/fake_disk.h"
#include <stdint.h>

struct node;
struct states;

struct states *states_create(void);
void states_destroy(struct states *states);

/* The live shard has just ended a batch, or was recovered. */
void states_note(struct states *states, struct node *node);
/* At rest: the loaded machine and the twin. `log`: a copy of all that was ever in the shard's log. */
void states_compare_loaded(struct states *states, struct node *node);
void states_compare_twin(struct states *states, struct node *node, struct fake_disk *log);

/* A copy of the shard is made; and it falls back to that. */
uint64_t states_newest(const struct states *states);
void states_fall_back(struct states *states, uint64_t index);

#endif
