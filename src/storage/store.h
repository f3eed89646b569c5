/* storage/store.h - what a shard knows, by key. Batches go in and reads come out in the order they were asked.
 * Owns:    a job belongs to its caller and is pinned from submit to done.
 * Thread:  submit and done on the worker; run on the storage thread (in the simulator: later, on the one thread).
 * Depends: core/ only.            Start at: storage/storage.h
 *
 * The rule of the house: after a crash the store equals the state after some log index k, exactly. So every batch carries its
 * applied index, batches are written in order, values are absolute. Jobs run in submit order, so a read sees every batch submitted before
 * it: an evicted entity may be read back at any time without looking at what is still unwritten.
 *
 * Keys: a kind byte, then usually a big-endian 64-bit id (these nine bytes are what the memtable's insert hint goes by). Kind 0x00
 * is the store's own (its applied index): no batch may write it (asserted) and no scan meets it.
 *
 *   a batch's operations, one after another:
 *   put     +----+---------+-----+---------+-------+      delete  +----+---------+-----+
 *           | 01 | u32 len | key | u32 len | value |              | 02 | u32 len | key |
 *           +----+---------+-----+---------+-------+              +----+---------+-----+
 *   trim    +----+---------+-------+   until: kind, id and a big-endian u64. Nobody reads or writes a key of that kind and id any
 *           | 03 | u32 len | until |   more that comes before it: the store deletes them some time, all at once or not, or keeps them
 *           +----+---------+-------+   until a later trim of that kind and id. The last one of them is never trimmed. */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "core/cursor.h"
#include "core/result.h"
#include <stdbool.h>

static inline void store_batch_put(struct writer *batch, struct slice key, struct slice value)
{
    writer_u8(batch, 1);
    writer_bytes(batch, key);
    writer_bytes(batch, value);
}
/* The same with a value of `len` bytes that the caller writes there now. */
static inline uint8_t *store_batch_put_open(struct writer *batch, struct slice key, uint32_t len)
{
    writer_u8(batch, 1);
    writer_bytes(batch, key);
    writer_u32(batch, len);
    return writer_reserve(batch, len);
}
static inline void store_batch_trim(struct writer *batch, struct slice until)
{
    writer_u8(batch, 3);
    writer_bytes(batch, until);
}
static inline void store_batch_delete(struct writer *batch, struct slice key)
{
    writer_u8(batch, 2);
    writer_bytes(batch, key);
}

/* What a job may read; valid inside run only. */
struct store_view;
struct store_view_ops {
    /* OK and the value appended to `value` (may be NULL: only asks), or MISSING, or IO/CORRUPT. */
    enum result (*get)(struct store_view *view, struct slice key, struct writer *value);
    /* Calls `each` for the keys in [from, until) in ascending order until it returns false; `until` empty: to the end. */
    enum result (*scan)(struct store_view *view, struct slice from, struct slice until,
                        bool (*each)(void *context, struct slice key, struct slice value), void *context);
    /* The last key in [from, until): OK with the key and value appended, or MISSING. For one row only: backward reads are slow. */
    enum result (*last)(struct store_view *view, struct slice from, struct slice until, struct writer *key, struct writer *value);
};
struct store_view {
    const struct store_view_ops *ops;
};
static inline enum result store_get(struct store_view *v, struct slice key, struct writer *value)
{
    return v->ops->get(v, key, value);
}
static inline enum result store_scan(struct store_view *v, struct slice from, struct slice until,
                                     bool (*each)(void *, struct slice, struct slice), void *context)
{
    return v->ops->scan(v, from, until, each, context);
}
static inline enum result store_last(struct store_view *v, struct slice from, struct slice until, struct writer *key,
                                     struct writer *value)
{
    return v->ops->last(v, from, until, key, value);
}

struct store_job {
    void (*run)(struct store_job *job, struct store_view *view); /* storage thread; touches only the job and the view */
    void (*done)(struct store_job *job);                         /* worker; may free the job */
    struct store *store;                                         /* set by submit */
    bool loads; /* what it reads stays in the reader's memory: no need to keep it in the store's cache as well */
    struct store_job *next;
};

struct store_ops {
    /* Takes the operations (copied or swapped out of `batch`, which comes back empty) as the state after log index `applied`,
     * which rises with every batch that has operations (asserted): a crash may fall between any two batches. */
    void (*write)(struct store *store, struct writer *batch, uint64_t applied);
    void (*submit)(struct store *store, struct store_job *job);
    /* Log index that would survive a crash now (flushed); rises as the storage thread flushes. */
    uint64_t (*durable_index)(const struct store *store);
    /* Bytes submitted by write and not yet written; the shard refuses new writes beyond its limit. */
    uint64_t (*backlog_bytes)(const struct store *store);
    /* NULL, or what is damaged, for people; it stays so. What is written then is lost with the process (the log has it), and reads may fail. */
    const char *(*damage)(const struct store *store);
    /* Both on the calling thread, at once, and only before the first write or submit (recovery). */
    void (*run_now)(struct store *store, struct store_job *job); /* runs job->run, not done */
    /* On a full disk it is OK as well: held back, read through, and written when there is room. */
    enum result (*write_now)(struct store *store, struct writer *batch, uint64_t applied);
};
struct store {
    const struct store_ops *ops;
};
static inline void store_write(struct store *s, struct writer *batch, uint64_t applied) { s->ops->write(s, batch, applied); }
static inline void store_submit(struct store *s, struct store_job *job) { s->ops->submit(s, job); }
static inline uint64_t store_durable_index(const struct store *s) { return s->ops->durable_index(s); }
static inline uint64_t store_backlog_bytes(const struct store *s) { return s->ops->backlog_bytes(s); }
static inline const char *store_damage(const struct store *s) { return s->ops->damage(s); }
static inline void store_run_now(struct store *s, struct store_job *job) { s->ops->run_now(s, job); }
NODISCARD static inline enum result store_write_now(struct store *s, struct writer *batch, uint64_t applied)
{
    return s->ops->write_now(s, batch, applied);
}

/* ---- the real one: RocksDB behind one storage thread per worker (storage/rocks.h, storage/storage_thread.c) ---- */
struct storage_thread; /* owns the RocksDB instances of one worker's shards and the thread that alone calls them */

struct storage_thread_options {
    const char *name;               /* thread name, <= 15 bytes */
    uint32_t queue_length_max;      /* jobs and batches under way, power of two; more wait in a list on the worker's side, which
                                       backlog_bytes and the worker's own limit on readers bound */
    uint64_t memtable_size_bytes;   /* per shard; 16-32 MiB measured best */
    uint64_t block_cache_size_bytes; /* shared by all instances of the process */
    uint8_t apart_kind;             /* keys of this kind are written once and kept, and their values never begin with four zero bytes: so
                                       they lie where merging does not write them again; 0: none do */
    bool look_only;                 /* its stores change nothing on the disk; one that is not there is an empty one */
    uint32_t flush_interval_ms;     /* at most this much time between flushes, so that the log can be trimmed */
};
/* After logger_start(): the thread attaches to it. */
NODISCARD enum result storage_thread_start(struct storage_thread **out, const struct storage_thread_options *options);
/* Runs everything that was submitted, `done` included (on the calling thread), ends the thread, flushes and closes every store. */
void storage_thread_stop(struct storage_thread *thread);

/* Opens (creating when absent) the RocksDB of one shard at `path`; *applied = its log index. Blocks; before the worker serves.
 * On a full disk one that is there is opened for reading; what is written is held back, and the thread opens it anew when there is room.
 * The caller must be an unpinned thread (RocksDB's pools inherit its mask). A damaged one is OK as well: it has store_damage(), holds
 * nothing, and every read of it is CORRUPT. Else IO and the like with `text`. */
NODISCARD enum result storage_thread_open_store(struct storage_thread *thread, const char *path, struct store **out,
                                                uint64_t *applied, char *text, size_t text_size);

/* Worker, before it serves: the bell of its loop. */
struct doorbell;
void storage_thread_set_doorbell(struct storage_thread *thread, struct doorbell *worker_bell); /* rung when there are answers */
/* Worker: publish hands staged work to the thread, once per turn; batches alone gather for some turns first, so one may wait for as
 * long as the worker sleeps. collect runs `done` of at most `budget` finished jobs and returns how many. */
void storage_thread_publish(struct storage_thread *thread);
uint32_t storage_thread_collect(struct storage_thread *thread, uint32_t budget);
bool storage_thread_readable(struct storage_thread *thread); /* after raising the worker's sleeping flag, before sleeping */
/* Any thread. What the thread's stores hold in memory, as its last look at them found it (one a second, while there is something to do). */
struct store_memory {
    uint64_t memtables_bytes, table_readers_bytes;
    uint64_t block_cache_bytes; /* of all stores of the process */
};
struct store_memory storage_thread_memory(const struct storage_thread *thread);
uint64_t storage_thread_rings_bytes(const struct storage_thread *thread);
/* Worker. Batches under way to the thread, and those kept to be filled again. */
uint64_t storage_thread_batches_bytes(const struct storage_thread *thread);
/* Lets the storage thread call `maintain(context)` between jobs, e.g. commitlog_maintain. Worker. While one such call is under way
 * another for the same context is not queued, so it may be asked for every turn. */
#define STORAGE_THREAD_STORES_MAX 1024 /* and as many contexts */
void storage_thread_run(struct storage_thread *thread, void (*maintain)(void *context), void *context);

#endif
