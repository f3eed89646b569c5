/* tests/storage/fake_store.h - a store in memory that can fall back to any state a crash may leave; for the simulator.
 * Owns:    keys and values, the queue of batches and jobs, and how to undo every batch that is not durable.
 * Thread:  one.                   Depends: storage/store.h
 *
 * Nothing happens by itself: fake_store_step() runs the oldest batch or job, fake_store_flush() makes what ran durable, fake_store_compact() lets
 * go of what was trimmed. A damaged store keeps what is written to it until the process ends, and no longer. */
#ifndef TESTS_FAKE_STORE_H
#define TESTS_FAKE_STORE_H

#include "storage/store.h"

struct fake_store;

struct fake_store *fake_store_create(uint64_t seed);
/* The queue must be empty (asserted). */
void fake_store_destroy(struct fake_store *store);
struct store *fake_store_base(struct fake_store *store);

uint32_t fake_store_queued(const struct fake_store *store);
/* Runs the oldest batch or job, `done` included; false when there is none. */
bool fake_store_step(struct fake_store *store);
/* The two halves of a step, as a storage thread has them: running the oldest batch or job, and, any time later but in the same order,
 * its `done`. False when there is none. */
bool fake_store_run(struct fake_store *store);
bool fake_store_answer(struct fake_store *store);
/* Runs the oldest job that is no batch before the batches submitted earlier, which no store may do. */
bool fake_store_overtake(struct fake_store *store);
/* Nothing queued, nothing to answer. */
bool fake_store_idle(const struct fake_store *store);
/* All that was written is durable. Or the two ends of a flush that takes its time: what was written when it began is durable when it ends;
 * false: none was under way. */
void fake_store_flush(struct fake_store *store);
void fake_store_begin_flush(struct fake_store *store);
bool fake_store_end_flush(struct fake_store *store);
/* While it holds back (its writes stall, its disk is full) what is written can be read, counts in the backlog, and is lost with the process;
 * no flush ends. */
void fake_store_hold(struct fake_store *store, bool hold);
/* What a crash may keep; fake_store_applied() when nothing is held back. */
uint64_t fake_store_written(const struct fake_store *store);
/* A compaction comes by one trim that is durable, and lets go of some of what that covers, or all; false: there is none. */
bool fake_store_compact(struct fake_store *store, uint64_t choice);
/* The log index the state stands at: after an open, where replay begins. */
uint64_t fake_store_applied(const struct fake_store *store);

/* Queued batches and jobs are lost (`dropped` gets each job, whose `done` never runs; may be NULL), and the state falls back to
 * that after some applied index from the durable one to the last written, chosen by the seed. */
void fake_store_crash(struct fake_store *store, void (*dropped)(struct store_job *job));
/* The same to the last applied index that is <= `index`, which must not be before the durable one or behind the written one. */
void fake_store_crash_to(struct fake_store *store, uint64_t index, void (*dropped)(struct store_job *job));

/* Power fails at the operation after `operations` more of run_now (reads) and write_now: that one and all later ones fail, until the
 * next crash or fake_store_mend(). */
void fake_store_break_after(struct fake_store *store, uint32_t operations);
void fake_store_mend(struct fake_store *store);
/* Another store in the same state, all of it durable. Nothing may be queued. */
struct fake_store *fake_store_clone(const struct fake_store *store);
/* Every read is CORRUPT from now on, and the store says that it is damaged, for as long as it is (NULL: no longer, in no way).
 * With `seen` false, reads find nothing instead, which no store may do. */
void fake_store_set_damage(struct fake_store *store, const char *damage, bool seen);
/* The block of some row is not what was written, and the store will say so when a read meets it: that read is CORRUPT, and then
 * (`reads_fail`) all are. Or the next batch does not get to the disk (EIO). False: there is no row yet. */
bool fake_store_rot(struct fake_store *store, uint64_t choice, bool reads_fail);
void fake_store_fail_write(struct fake_store *store);
/* What no store may do. */
enum fake_store_deceit {
    FAKE_STORE_FLUSHES_AT_ONCE = 1,       /* a flush counts as soon as it begins */
    FAKE_STORE_FORGETS_WHAT_IT_HELD = 2,  /* what was held back is gone when there is room, and counts as written */
    FAKE_STORE_SWALLOWS_ERRORS = 4,       /* a batch that met EIO is gone, and counts as written */
    FAKE_STORE_TRIMS_TOO_MUCH = 8,        /* the first row that a trim leaves goes too */
};
void fake_store_set_deceits(struct fake_store *store, uint32_t deceits); /* any of them together */
/* Puts that `keeps` refuses are lost, and deletes (its value has no data then), which no store may do. NULL: none. */
void fake_store_set_keeps(struct fake_store *store, bool (*keeps)(void *context, struct slice key, struct slice value), void *context);
/* Puts for which `alters` returns true are of `out` instead of their value, which no store may do. NULL: none. */
void fake_store_set_alters(struct fake_store *store, bool (*alters)(void *context, struct slice key, struct slice value, struct writer *out),
                           void *context);
/* The store says that it stands at `index`, whatever it holds, which no store may do. */
void fake_store_claim(struct fake_store *store, uint64_t index);
/* A backup, or what is restored from one: `to` becomes what `from` is, durable. Both idle (asserted). */
void fake_store_copy(struct fake_store *to, const struct fake_store *from);
/* Every value that `rewrite` writes anew (true) becomes that, as if it had been put so. Idle, all of it durable (asserted). */
void fake_store_rewrite(struct fake_store *store, bool (*rewrite)(void *context, struct slice key, struct slice value, struct writer *out),
                        void *context);
/* What has run so far, to look at. */
struct store_view *fake_store_view(struct fake_store *store);

/* Every key and value, in order, into one number: equal states have equal digests. */
uint64_t fake_store_digest(const struct fake_store *store);

#endif
