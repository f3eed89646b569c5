/* tests/storage/fake_store.h - a store in memory that can fall back to any state a crash may leave; for the simulator.
 * Owns:    keys and values, the queue of batches and jobs, and how to undo every batch that is not durable.
 * Thread:  one.                   Depends: storage/store.h
 *
 * Nothing happens by itself: fake_store_step() runs the oldest batch or job, fake_store_flush() makes what ran durable. */
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
void fake_store_flush(struct fake_store *store);
/* The log index the state stands at: after an open, where replay begins. */
uint64_t fake_store_applied(const struct fake_store *store);

/* Queued batches and jobs are lost (`dropped` gets each job, whose `done` never runs; may be NULL), and the state falls back to
 * that after some applied index from the durable one to the last, chosen by the seed. */
void fake_store_crash(struct fake_store *store, void (*dropped)(struct store_job *job));
/* The same to the last applied index that is <= `index`, which must not be before the durable one. */
void fake_store_crash_to(struct fake_store *store, uint64_t index, void (*dropped)(struct store_job *job));

/* Power fails at the operation after `operations` more of run_now (reads) and write_now: that one and all later ones fail, until the
 * next crash or fake_store_mend(). */
void fake_store_break_after(struct fake_store *store, uint32_t operations);
void fake_store_mend(struct fake_store *store);
/* Another store in the same state, all of it durable. Nothing may be queued. */
struct fake_store *fake_store_clone(const struct fake_store *store);
/* With `seen` false, reads find nothing instead, which no store may do.
 * Every read is CORRUPT from now on, and the store says that it is damaged, for as long as it is (NULL: no longer). */
void fake_store_set_damage(struct fake_store *store, const char *damage, bool seen);
/* Puts that `keeps` refuses are lost, which no store may do. NULL: none. */
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
