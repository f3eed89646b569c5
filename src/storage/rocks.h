/* storage/rocks.h - one RocksDB as the storage thread needs it: batches that carry their log index, reads, flushes.
 * Owns:    the database at `path` and its options; the block cache is shared by all of the process.
 * Thread:  one at a time: whoever opened it, later the storage thread.
 * Depends: core/, storage/store.h (the form of a batch, the view). Start at: storage/storage.h; its parts: storage/rocks_internal.h */
#ifndef STORAGE_ROCKS_H
#define STORAGE_ROCKS_H

#include "core/result.h"
#include "storage/store.h"

struct rocks;

#define ROCKS_DAMAGE_NAME "DAMAGED"

struct rocks_options {
    const char *path; /* copied */
    uint64_t memtable_size_bytes;
    uint8_t apart_kind; /* see struct storage_thread_options */
    uint64_t block_cache_size_bytes; /* the first one open sets it for all */
    bool look_only; /* nothing on the disk is changed: all that is committed is held back, until the close drops it */
};

/* *applied: the log index of what it holds, 0 when new. IO, CORRUPT, FULL (a new one) with `text`. One that is there and that the full
 * disk does not let be opened for writing is opened for reading: all that is committed is held back until rocks_retry() could open
 * it anew. */
NODISCARD enum result rocks_open(struct rocks **out, const struct rocks_options *options, uint64_t *applied, char *text,
                                 size_t text_size);
/* Flushes what is written, then closes. What is still held back (see rocks_commit) is dropped: the log has it. */
void rocks_close(struct rocks *rocks);

/* Adds one batch of operations to the ones that the next commit writes together. */
void rocks_stage(struct rocks *rocks, struct slice operations);
/* Writes all that is staged as the state after `applied`, as one. True: written. False: RocksDB takes no writes now (a stall, a
 * full disk, damage); they are held back, reads see them all the same, and rocks_retry() or the next commit writes them. Any
 * other failure is fatal. */
bool rocks_commit(struct rocks *rocks, uint64_t applied);
bool rocks_retry(struct rocks *rocks); /* true: nothing is held back any more; between a stage and its commit it waits for that */
bool rocks_holds_back(const struct rocks *rocks);
/* NULL, or what is damaged, in RocksDB's words, which name the file and the place. From then on nothing is written: what is committed is held
 * back. The store says the same when it is opened again, until its directory is replaced: ROCKS_DAMAGE_NAME in it holds the words. */
const char *rocks_damage(const struct rocks *rocks);
/* The last try found no room on the disk, so that there may be none for long. */
bool rocks_is_full(const struct rocks *rocks);

/* Reads everything committed, held back or not; valid until the next call. `loads`: see struct store_job. */
struct store_view *rocks_view(struct rocks *rocks, bool loads);

/* Begins to flush what is written since the last flush, and does not wait for it. False: RocksDB would make it wait for merges; ask again. */
bool rocks_flush(struct rocks *rocks);
/* The log index a crash would leave now; 0 when nothing was ever flushed. */
uint64_t rocks_durable_index(struct rocks *rocks);
/* The log index of the last commit, and of what the last begun flush covers. */
uint64_t rocks_applied_index(const struct rocks *rocks);
uint64_t rocks_flushing_index(const struct rocks *rocks);

/* What it holds in memory: memtables, those being flushed too, and what is kept of each file beside the block cache. */
void rocks_memory(struct rocks *rocks, uint64_t *memtables_bytes, uint64_t *table_readers_bytes);
uint64_t rocks_cache_bytes(void); /* the block cache */

#endif
