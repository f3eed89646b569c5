/* shard/worker/worker.h - one thread pinned to a core: its loop, its connections, its shards.
 * Owns:    the io_uring, timers, payload pool, server, door, storage thread and shards of this worker.
 * Thread:  worker_prepare on an unpinned thread (recovery; RocksDB's pools inherit its mask), worker_run on the worker's own.
 * Depends: everything below main.  Start at: shard/engine/shard.h
 *
 * A turn: collect completions and run their callbacks -> answers of the storage and password threads -> letters of the other
 * workers -> due timers -> apply newly durable commands -> open log batches to the disk -> one send per dirty connection ->
 * publish to the rings, one doorbell per sleeping peer -> submit and wait. Every stage has a budget. */
#ifndef SHARD_WORKER_H
#define SHARD_WORKER_H

#include "core/clock.h"
#include "core/config.h"
#include "core/doorbell.h"
#include "shard/door/door.h"
#include "shard/worker/tasks.h"
#include "shard/worker/mailbox.h"
#include "shard/worker/password.h"
#include "storage/datadir.h"

struct worker;

struct worker_options {
    uint16_t number, worker_count, shard_count; /* this worker runs the shards s with s % worker_count == number */
    int listen_fd;
    const struct config *config;
    struct datadir *datadir;
    struct mailbox *mailbox;
    struct password_pool *passwords;
    struct tasks *tasks;
    const struct token_keys *token_keys;
    struct tls_identity *tls; /* NULL: no TLS */
    const struct host_pages *pages;
    struct trusted_clock *clock; /* observed by worker 0, read by all */
    struct metrics *metrics;
    struct io *_Atomic *ios;   /* of each worker, from when it has one: where connections move to */
    const _Atomic bool *shut;  /* the start could not be written down: the disk is full, and writes are refused while it is true */
    _Atomic uint32_t *settled; /* of all workers: how many ask nothing of the others any more */
};

/* Opens and recovers the shards. Failure: `text`, nothing stays open. *replayed is added to. */
NODISCARD enum result worker_prepare(struct worker **out, const struct worker_options *options, uint64_t *replayed, char *text,
                                     size_t text_size);
/* A shard of this worker, by its number, while nothing serves. */
struct shard *worker_shard(const struct worker *worker, uint16_t number);
/* Makes the ring (on the calling thread, which must be the one that runs) and serves until worker_stop(). Failure: `text`. */
NODISCARD enum result worker_run(struct worker *worker, void (*serving)(void *context), void *context, char *text, size_t text_size);
/* Any thread: connections are closed (1001), then the shards come to rest, then worker_run returns. All workers stop together: each
 * answers the others until none asks any more. */
void worker_stop(struct worker *worker);
/* After worker_run returned (or when it never ran). */
void worker_destroy(struct worker *worker);

#endif
