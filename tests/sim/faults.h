/* tests/sim/faults.h - what disks and stores do to those above them: they fill up, stall, fail, rot; and what a process must do then.
 * Thread: one.  Depends: sim/world.h, sim/place.h.  Start at: sim/world.h
 *
 * A log that met EIO ends the process: faults_end_process() runs a step in which that may happen, and fails the run when the process goes on or
 * ends for another reason. What a write left that failed may be in doubt (storage/fake_disk.h), until power is lost or not.
 * A full disk is that of the log, that of the store, or both; the start of a process on one is shut until there is room. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "sim/world.h"

/* ---- steps ---- */
/* The disk of a shard's log, of its store, or both, fill up; or every disk has room again. */
void faults_fill(struct world *world, struct node *node);
/* The next write to a log, or work on its segments, fails. */
void faults_break(struct world *world, struct node *node);
/* A store takes no writes, or does nothing at all, for a while. */
void faults_stall(struct world *world, struct node *node);
/* A store is damaged, or will turn out to be. */
void faults_damage(struct world *world, struct node *node);
/* Before the store of a node does something; false: it does nothing now. */
bool faults_let_run(struct world *world, struct node *node);

/* All of it is over, but for damage. */
void faults_heal(struct world *world);
/* The process ended: what it was in the middle of is over, what is full stays so. */
void faults_outlive(struct world *world);
/* The store of a backup takes the place of a damaged one, of all or some; what that lacks is in the log. */
void faults_repair(struct world *world, bool all);

/* ---- a process that must end ---- */
/* Runs `act`; true: the process ended in it, as it must. */
bool faults_end_process(struct world *world, void (*act)(struct world *world, enum action action), enum action action);

/* ---- a start on a full disk ---- */
/* All shards are open. The start is written down, unless the disk is full: then they are shut. */
void faults_begin_start(struct world *world);
/* Once a second: tries again. */
void faults_retry_start(struct world *world);
/* Nothing was logged since a start that is not written down. */
void faults_expect_shut(const struct world *world);

#endif
