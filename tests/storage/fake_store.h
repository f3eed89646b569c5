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
void fake_store_flush(struct fake_store *store);
/* The log index the state stands at: after an open, where replay begins. */
uint64_t fake_store_applied(const struct fake_store *store);

/* Queued batches and jobs are lost (`dropped` gets each job, whose `done` never runs; may be NULL), and the state falls back to
 * that after some applied index from the durable one to the last, chosen by the seed. */
void fake_store_crash(struct fake_store *store, void (*dropped)(struct store_job *job));
/* The same to the last applied index that is <= `index`, which must not be before the durable one. */
void fake_store_crash_to(struct fake_store *store, uint64_t index, void (*dropped)(struct store_job *job));

/* Every key and value, in order, into one number: equal states have equal digests. */
uint64_t fake_store_digest(const struct fake_store *store);

#endif
