/* storage/storage_thread.c - the one thread per worker that may block: it alone calls RocksDB, and makes log segments.
 *
 * Everything the worker asks is a job: a read is the caller's, a batch and a maintenance step are jobs of this file. Jobs
 * go through one ring in the order they were asked and come back through another. The worker has at most `queue_length_max`
 * jobs under way; the rest wait in its list. So the ring of answers, equally long, is never full.
 *
 * Happy path: batches are in no hurry, the log has them: the worker hands them over when a reader comes behind them, or GATHER_BYTES
 * or GATHER_NS of them have gathered. This thread takes what is there and stages batches; those of one store become one write before a
 * reader of that store runs (which is the promise of store.h), when COMMIT_BYTES are staged, and when nothing else is left to do. It
 * publishes the answers; then house-keeping: a flush when due, a look at what the flushes made durable. Then it sleeps until rung
 * or the next one is due. A batch's bytes change owner and come back empty to be filled again: they are copied once, into RocksDB's.
 * A store that holds back what recovery wrote (a start on a full disk) is in the care of this thread from its first job on.
 * Failure modes: while RocksDB takes no writes (a stall, a full disk) they are held back and read through (rocks.h), tried
 * again every RETRY_MS; backlog_bytes keeps counting them. */
#include "core/check.h"
#include "core/clock.h"
#include "core/doorbell.h"
#include "core/logger.h"
#include "core/spsc.h"
#include "core/stack.h"
#include "storage/rocks.h"
#include "storage/store.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TAKE_MAX 64          /* jobs per round: house-keeping and answers wait no longer */
#define COMMIT_BYTES (1u << 20)  /* staged, at which they are written: how long a reader behind them waits for the one write */
#define GATHER_BYTES (256u << 10) /* of batches the worker hands over at once ... */
#define GATHER_NS 2000000ull      /* ... or so long after the first of them */
#define SPARES_MAX 32        /* batches a worker keeps to fill again ... */
#define SPARE_SIZE_MAX (1u << 20) /* ... of at most so many bytes */
#define RETRY_MS 5           /* between two tries to write what is held back */
#define POLL_MS 20           /* between two looks at a flush under way */
#define WEIGH_MS 1000        /* between two looks at RocksDB's memory */
#define IDLE_MS 60000        /* a net under a lost wake */
#define STOP_RETRY_MAX 200   /* tries to write what is held back before the thread ends without */
#define NOW_RETRY_MAX 2000   /* tries of write_now */
#define NS_PER_MS 1000000ull

/* One shard's store. */
struct store_slot {
    struct store store;
    struct storage_thread *thread;
    struct rocks *rocks; /* the opener's; from the first job on the storage thread's; NULL: damaged when it was opened */
    struct store_view nothing;      /* what is read then */
    char opening_damage[512];
    _Atomic(const char *) damage;   /* for the worker; NULL: none */
    bool served;         /* worker: a job was submitted */
    uint64_t applied;    /* worker: of the last batch */
    _Atomic uint64_t backlog_bytes; /* worker adds, storage thread subtracts */
    _Atomic uint64_t durable_index; /* storage thread writes */
    /* Storage thread. */
    bool kept; /* in house-keeping */
    uint64_t staged_bytes, staged_applied; /* of batches that the next commit writes, the index of the last */
    uint64_t unwritten_bytes, flushed_ns, polled_ns;
};

struct write_job {
    struct store_job job;
    uint64_t applied;
    struct writer operations;
};

struct maintenance {
    struct store_job job;
    void (*maintain)(void *context);
    void *context;
    bool under_way; /* worker */
};

struct storage_thread {
    struct storage_thread_options options;
    char name[16];
    pthread_t pthread;
    struct spsc *asks, *answers;
    struct doorbell bell;         /* this thread sleeps on it */
    struct doorbell *worker_bell; /* NULL until set */
    atomic_bool stopping;

    /* Worker, and whoever opens stores before it serves. */
    struct store_job *waiting_first, *waiting_last; /* asked, but the ring had no room */
    uint32_t under_way;                             /* in a ring or being run */
    bool urgent;                                    /* not only batches wait to be published */
    uint64_t gathered_bytes, gathering_since_ns;    /* of batches that do */
    struct store_job *spares;                       /* write jobs to be used again */
    uint32_t spare_count;
    uint32_t slot_count, maintenance_count;
    struct store_slot *slots[STORAGE_THREAD_STORES_MAX];
    struct maintenance *maintenances[STORAGE_THREAD_STORES_MAX];

    /* Storage thread. */
    uint32_t kept_count;
    struct store_slot *kept[STORAGE_THREAD_STORES_MAX];
    uint64_t weighed_ns;

    /* Storage thread writes, any reads. */
    _Atomic uint64_t memtables_bytes, table_readers_bytes, block_cache_bytes;
};

static struct store_slot *slot_of(struct store *store) { return CONTAINER_OF(store, struct store_slot, store); }

/* ---- storage thread: jobs ------------------------------------------------------------------------------------------- */

static void write_job_run(struct store_job *job, struct store_view *view);
static void maintenance_run(struct store_job *job, struct store_view *view);

static bool is_write(const struct store_job *job) { return job->run == write_job_run; }

/* What a batch counts in the backlog: never 0, for an empty one moves the applied index. */
static uint64_t write_job_size(const struct write_job *write) { return sizeof *write + write->operations.len; }

/* What was unwritten is in RocksDB now. */
static void slot_settle(struct store_slot *slot)
{
    atomic_fetch_sub_explicit(&slot->backlog_bytes, slot->unwritten_bytes, memory_order_relaxed);
    slot->unwritten_bytes = 0;
}

static void slot_tell_damage(struct store_slot *slot)
{
    const char *damage = rocks_damage(slot->rocks);
    if (damage != NULL) atomic_store_explicit(&slot->damage, damage, memory_order_release);
}

/* Writes what is staged, if anything is. */
static void slot_commit(struct store_slot *slot)
{
    slot_tell_damage(slot);
    if (slot->staged_bytes == 0) return;
    slot->unwritten_bytes += slot->staged_bytes;
    slot->staged_bytes = 0;
    if (rocks_commit(slot->rocks, slot->staged_applied)) slot_settle(slot);
    slot_tell_damage(slot);
}

static enum result nothing_get(struct store_view *view, struct slice key, struct writer *value)
{
    (void)view, (void)key, (void)value;
    return RESULT_CORRUPT;
}

static enum result nothing_scan(struct store_view *view, struct slice from, struct slice until,
                                bool (*each)(void *context, struct slice key, struct slice value), void *context)
{
    (void)view, (void)from, (void)until, (void)each, (void)context;
    return RESULT_CORRUPT;
}

static enum result nothing_last(struct store_view *view, struct slice from, struct slice until, struct writer *key, struct writer *value)
{
    (void)view, (void)from, (void)until, (void)key, (void)value;
    return RESULT_CORRUPT;
}

static const struct store_view_ops nothing_ops = {.get = nothing_get, .scan = nothing_scan, .last = nothing_last};

static struct store_view *slot_view(struct store_slot *slot, bool loads)
{
    return slot->rocks == NULL ? &slot->nothing : rocks_view(slot->rocks, loads);
}

static void write_job_run(struct store_job *job, struct store_view *view)
{
    const struct write_job *write = CONTAINER_OF(job, struct write_job, job);
    struct store_slot *slot = slot_of(job->store);
    (void)view;
    ASSERT(slot->rocks != NULL); /* of a damaged one nothing is applied */
    rocks_stage(slot->rocks, writer_slice(&write->operations));
    slot->staged_bytes += write_job_size(write);
    slot->staged_applied = write->applied;
    if (slot->staged_bytes >= COMMIT_BYTES) slot_commit(slot);
}

static void maintenance_run(struct store_job *job, struct store_view *view)
{
    const struct maintenance *m = CONTAINER_OF(job, struct maintenance, job);
    (void)view;
    m->maintain(m->context);
}

static void keep_slot(struct storage_thread *thread, struct store_slot *slot)
{
    if (slot->kept) return;
    ASSERT(thread->kept_count < STORAGE_THREAD_STORES_MAX);
    slot->kept = true;
    slot->flushed_ns = slot->polled_ns = clock_monotonic_ns();
    thread->kept[thread->kept_count++] = slot;
}

static void publish_answers(struct storage_thread *thread)
{
    if (spsc_publish(thread->answers) && thread->worker_bell != NULL) doorbell_ring(thread->worker_bell);
}

static void run_job(struct storage_thread *thread, struct store_job *job)
{
    struct store_slot *slot = job->store == NULL ? NULL : slot_of(job->store);
    bool reads = slot != NULL && !is_write(job);
    bool whole = slot != NULL && slot->rocks != NULL;
    if (whole) keep_slot(thread, slot);
    if (reads && whole) slot_commit(slot);
    job->run(job, slot == NULL ? NULL : slot_view(slot, job->loads));
    if (reads && whole) slot_tell_damage(slot);
    bool answered = spsc_try_stage(thread->answers, job);
    ASSERT(answered); /* as long as the ring of asks, and no more under way than that */
    if (reads) publish_answers(thread); /* a reader does not wait for what was asked after it */
}

static void commit_all(struct storage_thread *thread)
{
    for (uint32_t i = 0; i < thread->kept_count; i++) slot_commit(thread->kept[i]);
}

/* ---- storage thread: house-keeping ---------------------------------------------------------------------------------- */

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void slot_poll(struct store_slot *slot, uint64_t now_ns)
{
    slot->polled_ns = now_ns;
    uint64_t index = rocks_durable_index(slot->rocks);
    if (index > atomic_load_explicit(&slot->durable_index, memory_order_relaxed))
        atomic_store_explicit(&slot->durable_index, index, memory_order_relaxed);
}

/* What is due for one store; gives the milliseconds until it wants to be looked at again. */
static uint32_t keep_house_of(struct store_slot *slot, uint64_t now_ns, uint32_t flush_interval_ms)
{
    uint32_t wait_ms = IDLE_MS;
    slot_tell_damage(slot);
    if (rocks_damage(slot->rocks) != NULL) return wait_ms;
    if (rocks_holds_back(slot->rocks)) {
        if (rocks_retry(slot->rocks)) slot_settle(slot);
        else wait_ms = RETRY_MS;
    }
    if (rocks_applied_index(slot->rocks) > rocks_flushing_index(slot->rocks)) {
        uint64_t since_ms = (now_ns - slot->flushed_ns) / NS_PER_MS;
        if (since_ms >= flush_interval_ms) {
            if (rocks_flush(slot->rocks)) slot->flushed_ns = now_ns;
            else wait_ms = RETRY_MS;
        } else {
            wait_ms = least(wait_ms, flush_interval_ms - (uint32_t)since_ms);
        }
    }
    uint64_t durable = atomic_load_explicit(&slot->durable_index, memory_order_relaxed);
    if (durable < rocks_applied_index(slot->rocks) && now_ns - slot->polled_ns >= POLL_MS * NS_PER_MS) {
        slot_poll(slot, now_ns);
        durable = atomic_load_explicit(&slot->durable_index, memory_order_relaxed);
    }
    if (durable < rocks_flushing_index(slot->rocks)) wait_ms = least(wait_ms, POLL_MS);
    return wait_ms;
}

/* Asks RocksDB what it holds, which takes its mutex: once in a while. */
static void weigh(struct storage_thread *thread, uint64_t now_ns)
{
    if (now_ns - thread->weighed_ns < WEIGH_MS * NS_PER_MS) return;
    thread->weighed_ns = now_ns;
    uint64_t memtables = 0, table_readers = 0;
    for (uint32_t i = 0; i < thread->kept_count; i++) {
        uint64_t own_memtables, own_readers;
        rocks_memory(thread->kept[i]->rocks, &own_memtables, &own_readers);
        memtables += own_memtables;
        table_readers += own_readers;
    }
    atomic_store_explicit(&thread->memtables_bytes, memtables, memory_order_relaxed);
    atomic_store_explicit(&thread->table_readers_bytes, table_readers, memory_order_relaxed);
    atomic_store_explicit(&thread->block_cache_bytes, rocks_cache_bytes(), memory_order_relaxed);
}

static uint32_t keep_house(struct storage_thread *thread)
{
    uint64_t now_ns = clock_monotonic_ns();
    uint32_t wait_ms = thread->kept_count > 0 ? WEIGH_MS : IDLE_MS; /* what RocksDB's own threads do changes its memory, too */
    weigh(thread, now_ns);
    for (uint32_t i = 0; i < thread->kept_count; i++)
        wait_ms = least(wait_ms, keep_house_of(thread->kept[i], now_ns, thread->options.flush_interval_ms));
    return wait_ms;
}

static void sleep_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(ms * NS_PER_MS)}, NULL);
}

/* The last tries to write what is held back. What stays unwritten is still in the log. */
static void write_held_back(struct storage_thread *thread)
{
    for (uint32_t i = 0; i < thread->kept_count; i++)
        for (uint32_t tries = 0; tries < STOP_RETRY_MAX && rocks_damage(thread->kept[i]->rocks) == NULL; tries++) {
            if (rocks_retry(thread->kept[i]->rocks)) break;
            sleep_ms(RETRY_MS);
        }
}

static void *storage_thread_main(void *context)
{
    struct storage_thread *thread = context;
    stack_enter();
    if (logger_attach(thread->name) != RESULT_OK) LOG_WARN("store", "no ring for log lines thread=%s", thread->name);
    for (;;) {
        void *jobs[TAKE_MAX];
        uint32_t count = spsc_take(thread->asks, jobs, TAKE_MAX);
        for (uint32_t i = 0; i < count; i++) run_job(thread, jobs[i]);
        if (count < TAKE_MAX) commit_all(thread); /* nothing else waits */
        publish_answers(thread);
        uint32_t wait_ms = keep_house(thread);
        if (count > 0) continue;
        if (atomic_load(&thread->stopping)) break;
        doorbell_sleep(&thread->bell);
        if (!spsc_readable(thread->asks) && !atomic_load(&thread->stopping)) doorbell_wait(&thread->bell, (int)wait_ms);
        doorbell_awake(&thread->bell);
    }
    write_held_back(thread);
    return NULL;
}

/* ---- worker: asking and collecting ---------------------------------------------------------------------------------- */

static bool stage_job(struct storage_thread *thread, struct store_job *job)
{
    if (thread->under_way == thread->options.queue_length_max || !spsc_try_stage(thread->asks, job)) return false;
    thread->under_way++;
    return true;
}

static void ask(struct storage_thread *thread, struct store_job *job)
{
    job->next = NULL;
    if (!is_write(job)) thread->urgent = true;
    if (thread->waiting_first == NULL && stage_job(thread, job)) return;
    thread->urgent = true;
    if (thread->waiting_first == NULL) thread->waiting_first = job;
    else thread->waiting_last->next = job;
    thread->waiting_last = job;
}

/* Batches alone wait until it pays to wake the thread for them; the worker comes by every turn. */
static bool gathers(const struct storage_thread *thread)
{
    if (thread->urgent || thread->gathered_bytes >= GATHER_BYTES) return false;
    return thread->gathered_bytes == 0 || clock_monotonic_ns() - thread->gathering_since_ns < GATHER_NS;
}

void storage_thread_publish(struct storage_thread *thread)
{
    while (thread->waiting_first != NULL) {
        struct store_job *next = thread->waiting_first->next; /* before staging: then the job is the other thread's */
        if (!stage_job(thread, thread->waiting_first)) break;
        thread->waiting_first = next;
    }
    if (gathers(thread)) return;
    thread->urgent = thread->waiting_first != NULL;
    thread->gathered_bytes = 0;
    if (spsc_publish(thread->asks)) doorbell_ring(&thread->bell);
}

uint32_t storage_thread_collect(struct storage_thread *thread, uint32_t budget)
{
    uint32_t collected = 0;
    while (collected < budget) {
        void *items[TAKE_MAX];
        uint32_t count = spsc_take(thread->answers, items, least(budget - collected, TAKE_MAX));
        if (count == 0) break;
        ASSERT(count <= thread->under_way);
        thread->under_way -= count;
        collected += count;
        for (uint32_t i = 0; i < count; i++) {
            struct store_job *job = items[i];
            job->done(job);
        }
    }
    return collected;
}

bool storage_thread_readable(struct storage_thread *thread) { return spsc_readable(thread->answers); }

void storage_thread_set_doorbell(struct storage_thread *thread, struct doorbell *worker_bell)
{
    thread->worker_bell = worker_bell; /* seen by the thread with the first job published after it */
}

static void slot_submit(struct store *store, struct store_job *job)
{
    ASSERT(job->run != NULL && job->done != NULL);
    struct store_slot *slot = slot_of(store);
    slot->served = true;
    job->store = store;
    ask(slot->thread, job);
}

/* A crash may leave the store between any two batches, so no two may claim the same index. */
static void slot_note_applied(struct store_slot *slot, const struct writer *batch, uint64_t applied)
{
    ASSERT(!batch->failed);
    ASSERT(applied > slot->applied || (applied == slot->applied && batch->len == 0));
    slot->applied = applied;
}

static void write_job_done(struct store_job *job)
{
    struct write_job *write = CONTAINER_OF(job, struct write_job, job);
    struct storage_thread *thread = slot_of(job->store)->thread;
    if (thread->spare_count == SPARES_MAX || write->operations.capacity > SPARE_SIZE_MAX) {
        writer_deinit(&write->operations);
        free(write);
        return;
    }
    writer_reset(&write->operations);
    job->next = thread->spares;
    thread->spares = job;
    thread->spare_count++;
}

static struct write_job *write_job_take(struct storage_thread *thread)
{
    if (thread->spares != NULL) {
        struct write_job *spare = CONTAINER_OF(thread->spares, struct write_job, job);
        thread->spares = spare->job.next;
        thread->spare_count--;
        return spare;
    }
    struct write_job *made = calloc(1, sizeof *made);
    if (made == NULL) check_fatal("out of memory for a batch; the log holds it");
    made->job = (struct store_job){.run = write_job_run, .done = write_job_done};
    writer_init(&made->operations, 0);
    return made;
}

static void free_spares(struct storage_thread *thread)
{
    while (thread->spares != NULL) {
        struct write_job *spare = write_job_take(thread);
        writer_deinit(&spare->operations);
        free(spare);
    }
}

static void slot_write(struct store *store, struct writer *batch, uint64_t applied)
{
    struct store_slot *slot = slot_of(store);
    struct storage_thread *thread = slot->thread;
    ASSERT(batch->size_max == 0);
    slot_note_applied(slot, batch, applied);
    struct write_job *write = write_job_take(thread);
    struct writer empty = write->operations;
    write->operations = *batch;
    *batch = empty;
    write->applied = applied;
    atomic_fetch_add_explicit(&slot->backlog_bytes, write_job_size(write), memory_order_relaxed);
    if (thread->gathered_bytes == 0) thread->gathering_since_ns = clock_monotonic_ns();
    thread->gathered_bytes += write_job_size(write);
    slot_submit(store, &write->job);
}

_Static_assert(offsetof(struct store_slot, store) == 0, "a const store is the start of its slot");
static const struct store_slot *slot_of_const(const struct store *store) { return (const void *)store; }

static uint64_t slot_durable_index(const struct store *store)
{
    return atomic_load_explicit(&slot_of_const(store)->durable_index, memory_order_relaxed);
}

static uint64_t slot_backlog_bytes(const struct store *store)
{
    return atomic_load_explicit(&slot_of_const(store)->backlog_bytes, memory_order_relaxed);
}

static const char *slot_damage(const struct store *store)
{
    return atomic_load_explicit(&slot_of_const(store)->damage, memory_order_acquire);
}

static void slot_run_now(struct store *store, struct store_job *job)
{
    struct store_slot *slot = slot_of(store);
    ASSERT(!slot->served);
    job->store = store;
    job->run(job, slot_view(slot, job->loads));
    if (slot->rocks != NULL) slot_tell_damage(slot);
}

static enum result slot_write_now(struct store *store, struct writer *batch, uint64_t applied)
{
    struct store_slot *slot = slot_of(store);
    ASSERT(!slot->served);
    slot_note_applied(slot, batch, applied);
    const uint64_t size_bytes = batch->len + 1; /* an empty one moves the applied index */
    rocks_stage(slot->rocks, writer_slice(batch));
    writer_reset(batch);
    bool written = rocks_commit(slot->rocks, applied);
    slot_tell_damage(slot);
    if (rocks_damage(slot->rocks) != NULL) return RESULT_CORRUPT;
    for (uint32_t tries = 0; tries < NOW_RETRY_MAX && !written && !rocks_is_full(slot->rocks); tries++) {
        sleep_ms(RETRY_MS);
        written = rocks_retry(slot->rocks);
    }
    if (written) return RESULT_OK;
    if (!rocks_is_full(slot->rocks)) return RESULT_BUSY; /* a stall that does not pass */
    slot->unwritten_bytes += size_bytes;
    atomic_fetch_add_explicit(&slot->backlog_bytes, size_bytes, memory_order_relaxed);
    return RESULT_OK;
}

static const struct store_ops slot_ops = {
    .write = slot_write,
    .submit = slot_submit,
    .durable_index = slot_durable_index,
    .backlog_bytes = slot_backlog_bytes,
    .damage = slot_damage,
    .run_now = slot_run_now,
    .write_now = slot_write_now,
};

static void maintenance_done(struct store_job *job) { CONTAINER_OF(job, struct maintenance, job)->under_way = false; }

static struct maintenance *find_maintenance(struct storage_thread *thread, void (*maintain)(void *), void *context)
{
    for (uint32_t i = 0; i < thread->maintenance_count; i++) {
        struct maintenance *m = thread->maintenances[i];
        if (m->context == context && m->maintain == maintain) return m;
    }
    ASSERT(thread->maintenance_count < STORAGE_THREAD_STORES_MAX);
    struct maintenance *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->job = (struct store_job){.run = maintenance_run, .done = maintenance_done};
    made->maintain = maintain;
    made->context = context;
    thread->maintenances[thread->maintenance_count++] = made;
    return made;
}

void storage_thread_run(struct storage_thread *thread, void (*maintain)(void *context), void *context)
{
    struct maintenance *m = find_maintenance(thread, maintain, context);
    if (m == NULL || m->under_way) return; /* without memory: asked again next turn */
    m->under_way = true;
    ask(thread, &m->job);
}

struct store_memory storage_thread_memory(const struct storage_thread *thread)
{
    return (struct store_memory){
        .memtables_bytes = atomic_load_explicit(&thread->memtables_bytes, memory_order_relaxed),
        .table_readers_bytes = atomic_load_explicit(&thread->table_readers_bytes, memory_order_relaxed),
        .block_cache_bytes = atomic_load_explicit(&thread->block_cache_bytes, memory_order_relaxed),
    };
}

uint64_t storage_thread_rings_bytes(const struct storage_thread *thread)
{
    return spsc_memory_bytes(thread->asks) + spsc_memory_bytes(thread->answers);
}

uint64_t storage_thread_batches_bytes(const struct storage_thread *thread)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < thread->slot_count; i++)
        bytes += atomic_load_explicit(&thread->slots[i]->backlog_bytes, memory_order_relaxed);
    for (const struct store_job *job = thread->spares; job != NULL; job = job->next) {
        const struct write_job *spare = (const struct write_job *)(const void *)job;
        bytes += sizeof *spare + spare->operations.capacity;
    }
    return bytes;
}

/* ---- start and stop -------------------------------------------------------------------------------------------------- */

enum result storage_thread_open_store(struct storage_thread *thread, const char *path, struct store **out, uint64_t *applied,
                                      char *text, size_t text_size)
{
    *out = NULL;
    if (thread->slot_count == STORAGE_THREAD_STORES_MAX) {
        snprintf(text, text_size, "store %s: more than %d on one storage thread", path, STORAGE_THREAD_STORES_MAX);
        return RESULT_BUSY;
    }
    struct store_slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL) {
        snprintf(text, text_size, "store %s: %s", path, result_text(RESULT_NOMEM));
        return RESULT_NOMEM;
    }
    const struct rocks_options options = {
        .path = path,
        .memtable_size_bytes = thread->options.memtable_size_bytes,
        .block_cache_size_bytes = thread->options.block_cache_size_bytes,
        .apart_kind = thread->options.apart_kind,
        .look_only = thread->options.look_only,
    };
    enum result result = rocks_open(&slot->rocks, &options, applied, text, text_size);
    if (result == RESULT_CORRUPT) {
        snprintf(slot->opening_damage, sizeof slot->opening_damage, "%s", text);
        slot->nothing.ops = &nothing_ops;
        atomic_init(&slot->damage, slot->opening_damage);
        if (text_size > 0) text[0] = '\0';
    } else if (result != RESULT_OK) {
        free(slot);
        return result;
    }
    slot->store.ops = &slot_ops;
    slot->thread = thread;
    slot->applied = *applied;
    atomic_init(&slot->durable_index, *applied); /* without a WAL, what an open finds is all in files */
    thread->slots[thread->slot_count++] = slot;
    *out = &slot->store;
    return RESULT_OK;
}

enum result storage_thread_start(struct storage_thread **out, const struct storage_thread_options *options)
{
    *out = NULL;
    struct storage_thread *thread = aligned_alloc(_Alignof(struct storage_thread), sizeof *thread);
    if (thread == NULL) return RESULT_NOMEM;
    memset(thread, 0, sizeof *thread);
    thread->options = *options;
    snprintf(thread->name, sizeof thread->name, "%s", options->name); /* cut to what a thread name may have */
    thread->options.name = thread->name;
    enum result result = spsc_create(&thread->asks, options->queue_length_max);
    if (result != RESULT_OK) goto err_free;
    result = spsc_create(&thread->answers, options->queue_length_max);
    if (result != RESULT_OK) goto err_asks;
    result = doorbell_init(&thread->bell);
    if (result != RESULT_OK) goto err_answers;
    int error = pthread_create(&thread->pthread, NULL, storage_thread_main, thread);
    if (error != 0) {
        result = result_from_errno(error);
        goto err_bell;
    }
    pthread_setname_np(thread->pthread, thread->name);
    *out = thread;
    return RESULT_OK;
err_bell:    doorbell_deinit(&thread->bell);
err_answers: spsc_destroy(thread->answers);
err_asks:    spsc_destroy(thread->asks);
err_free:    free(thread);
    return result;
}

void storage_thread_stop(struct storage_thread *thread)
{
    while (thread->under_way > 0 || thread->waiting_first != NULL) {
        storage_thread_publish(thread);
        if (storage_thread_collect(thread, UINT32_MAX) == 0) sleep_ms(1);
    }
    atomic_store(&thread->stopping, true);
    doorbell_ring(&thread->bell);
    pthread_join(thread->pthread, NULL);
    for (uint32_t i = 0; i < thread->slot_count; i++) {
        if (thread->slots[i]->rocks != NULL) rocks_close(thread->slots[i]->rocks);
        free(thread->slots[i]);
    }
    for (uint32_t i = 0; i < thread->maintenance_count; i++) free(thread->maintenances[i]);
    free_spares(thread);
    doorbell_deinit(&thread->bell);
    spsc_destroy(thread->answers);
    spsc_destroy(thread->asks);
    free(thread);
}
