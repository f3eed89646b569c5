/* shard/worker/password.c - the threads of password.h.
 *
 *   worker: submit -> ring[worker] of a thread, in turn -> thread: hash, wipe -> ring back[worker] -> worker: collect -> done(job)
 *
 * A thread takes one job of one worker after another, so that a flood of logins on one worker delays the others by one hash only.
 * Rings hold queue_max each and the whole pool holds queue_max jobs, so staging never fails. */
#include "shard/worker/password.h"
#include "api/token.h"
#include "core/doorbell.h"
#include "core/spsc.h"
#include "core/stack.h"
#include "shard/door/login_limit.h"
#include <pthread.h>
#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define THREAD_SLEEP_MS 1000 /* a net under a lost wake */
#define COLLECT_AT_ONCE 16
#define LOWEST_PRIORITY 19 /* nice */

struct lane { /* between one thread and one worker */
    struct spsc *to_thread, *to_worker;
};

struct password_thread {
    struct password_pool *pool;
    pthread_t id;
    bool started;
    struct doorbell bell;
    bool has_bell;
    struct lane *lanes; /* one per worker */
};

struct desk { /* what one worker touches */
    struct doorbell *bell;
    uint32_t next_thread;
    uint32_t waiting[LOGIN_LIMIT_BUCKETS]; /* jobs of each class of addresses: submitted, not collected */
};

struct password_pool {
    struct password_pool_options options;
    _Atomic uint32_t job_count; /* submitted, not collected */
    atomic_bool stopping;
    struct password_thread *threads;
    struct desk *desks;
};

/* ---- the thread ------------------------------------------------------------------------------------------------------- */

static void hash_one(const struct password_pool *pool, struct password_job *job)
{
    struct slice password = slice_text(job->password);
    if (job->verify) {
        job->fits = token_password_fits(job->hash, password);
        job->result = RESULT_OK;
    } else {
        job->result = token_password_hash(password, pool->options.passes, pool->options.memory_bytes, job->hash);
    }
    sodium_memzero(job->password, sizeof job->password);
}

/* One job of each worker. False: there was none. */
static bool hash_round(struct password_thread *thread)
{
    struct password_pool *pool = thread->pool;
    bool any = false;
    for (uint32_t worker = 0; worker < pool->options.workers && !atomic_load(&pool->stopping); worker++) {
        void *item = NULL;
        if (spsc_take(thread->lanes[worker].to_thread, &item, 1) == 0) continue;
        any = true;
        hash_one(pool, item);
        bool staged = spsc_try_stage(thread->lanes[worker].to_worker, item);
        ASSERT(staged);
        (void)spsc_publish(thread->lanes[worker].to_worker);
        if (pool->desks[worker].bell != NULL) doorbell_ring(pool->desks[worker].bell);
    }
    return any;
}

static bool has_work(struct password_thread *thread)
{
    bool readable = atomic_load(&thread->pool->stopping);
    for (uint32_t worker = 0; worker < thread->pool->options.workers && !readable; worker++)
        readable = spsc_readable(thread->lanes[worker].to_thread);
    return readable;
}

/* On Linux a priority belongs to a thread. Nobody is refused the lower one. */
static void take_lowest_priority(void)
{
    const struct sched_param none = {0};
    int scheduled = sched_setscheduler(0, SCHED_BATCH, &none), lowered = setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
    ASSERT(scheduled == 0 && lowered == 0);
}

static void *thread_run(void *context)
{
    struct password_thread *thread = context;
    stack_enter();
    take_lowest_priority();
    while (!atomic_load(&thread->pool->stopping)) {
        if (hash_round(thread)) continue;
        doorbell_sleep(&thread->bell);
        if (!has_work(thread)) doorbell_wait(&thread->bell, THREAD_SLEEP_MS);
        doorbell_awake(&thread->bell);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

static uint32_t power_of_two_from(uint32_t value)
{
    uint32_t power = 1;
    while (power < value) power *= 2;
    return power;
}

static enum result thread_start(struct password_pool *pool, struct password_thread *thread)
{
    thread->pool = pool;
    thread->lanes = calloc(pool->options.workers, sizeof *thread->lanes);
    if (thread->lanes == NULL) return RESULT_NOMEM;
    uint32_t capacity = power_of_two_from(pool->options.queue_max);
    for (uint32_t i = 0; i < pool->options.workers; i++) {
        enum result res = spsc_create(&thread->lanes[i].to_thread, capacity);
        if (res == RESULT_OK) res = spsc_create(&thread->lanes[i].to_worker, capacity);
        if (res != RESULT_OK) return res;
    }
    enum result res = doorbell_init(&thread->bell);
    thread->has_bell = res == RESULT_OK;
    if (res != RESULT_OK) return res;
    int error = pthread_create(&thread->id, NULL, thread_run, thread);
    thread->started = error == 0;
    if (!thread->started) return result_from_errno(error);
    (void)pthread_setname_np(thread->id, "password");
    return RESULT_OK;
}

enum result password_pool_create(struct password_pool **out, const struct password_pool_options *options)
{
    ASSERT(options->workers > 0 && options->threads > 0 && options->queue_max > 0 && options->queue_per_address_max > 0);
    *out = NULL;
    struct password_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) return RESULT_NOMEM;
    pool->options = *options;
    size_t threads_size = options->threads * sizeof *pool->threads;
    pool->threads = aligned_alloc(_Alignof(struct password_thread), threads_size); /* calloc knows nothing of cache lines */
    if (pool->threads != NULL) memset(pool->threads, 0, threads_size);
    pool->desks = calloc(options->workers, sizeof *pool->desks);
    enum result res = pool->threads == NULL || pool->desks == NULL ? RESULT_NOMEM : RESULT_OK;
    for (uint32_t i = 0; i < options->threads && res == RESULT_OK; i++) res = thread_start(pool, &pool->threads[i]);
    if (res != RESULT_OK) {
        password_pool_destroy(pool);
        return res;
    }
    *out = pool;
    return RESULT_OK;
}

/* The thread has ended: this side reads the ring in its place. */
static void forget_jobs(struct spsc *ring)
{
    void *item = NULL;
    while (ring != NULL && spsc_take(ring, &item, 1) == 1) {
        struct password_job *job = item;
        sodium_memzero(job->password, sizeof job->password);
    }
}

static void thread_stop(struct password_pool *pool, struct password_thread *thread)
{
    if (thread->started) {
        doorbell_ring(&thread->bell);
        (void)pthread_join(thread->id, NULL);
    }
    for (uint32_t i = 0; i < pool->options.workers && thread->lanes != NULL; i++) {
        struct lane *lane = &thread->lanes[i];
        if (lane->to_thread != NULL) (void)spsc_publish(lane->to_thread);
        forget_jobs(lane->to_thread);
        spsc_destroy(lane->to_thread);
        spsc_destroy(lane->to_worker);
    }
    free(thread->lanes);
    if (thread->has_bell) doorbell_deinit(&thread->bell);
}

void password_pool_destroy(struct password_pool *pool)
{
    if (pool == NULL) return;
    atomic_store(&pool->stopping, true);
    for (uint32_t i = 0; i < pool->options.threads && pool->threads != NULL; i++) thread_stop(pool, &pool->threads[i]);
    free(pool->threads);
    free(pool->desks);
    free(pool);
}

void password_pool_set_doorbell(struct password_pool *pool, uint32_t worker, struct doorbell *bell)
{
    ASSERT(worker < pool->options.workers);
    pool->desks[worker].bell = bell;
}

/* ---- the workers ------------------------------------------------------------------------------------------------------ */

enum result password_pool_submit(struct password_pool *pool, uint32_t worker, struct password_job *job)
{
    ASSERT(worker < pool->options.workers && job->done != NULL);
    if (job->address_class >= LOGIN_LIMIT_BUCKETS) return RESULT_BUSY; /* it came in a letter that no door wrote */
    struct desk *desk = &pool->desks[worker];
    if (desk->waiting[job->address_class] >= pool->options.queue_per_address_max) return RESULT_BUSY;
    if (atomic_fetch_add(&pool->job_count, 1) >= pool->options.queue_max) {
        atomic_fetch_sub(&pool->job_count, 1);
        return RESULT_BUSY;
    }
    desk->waiting[job->address_class]++;
    bool staged = spsc_try_stage(pool->threads[desk->next_thread].lanes[worker].to_thread, job);
    ASSERT(staged);
    desk->next_thread = (desk->next_thread + 1) % pool->options.threads;
    return RESULT_OK;
}

void password_pool_publish(struct password_pool *pool, uint32_t worker)
{
    for (uint32_t i = 0; i < pool->options.threads; i++)
        if (spsc_publish(pool->threads[i].lanes[worker].to_thread)) doorbell_ring(&pool->threads[i].bell);
}

uint32_t password_pool_collect(struct password_pool *pool, uint32_t worker, uint32_t budget)
{
    uint32_t collected = 0;
    void *items[COLLECT_AT_ONCE];
    for (uint32_t i = 0; i < pool->options.threads; i++) {
        struct spsc *ring = pool->threads[i].lanes[worker].to_worker;
        for (uint32_t count = 1; count > 0 && collected < budget; collected += count) {
            uint32_t wanted = budget - collected < COLLECT_AT_ONCE ? budget - collected : COLLECT_AT_ONCE;
            count = spsc_take(ring, items, wanted);
            for (uint32_t k = 0; k < count; k++) {
                struct password_job *job = items[k];
                atomic_fetch_sub(&pool->job_count, 1);
                pool->desks[worker].waiting[job->address_class]--;
                job->done(job);
            }
        }
    }
    return collected;
}

bool password_pool_readable(struct password_pool *pool, uint32_t worker)
{
    bool readable = false;
    for (uint32_t i = 0; i < pool->options.threads && !readable; i++)
        readable = spsc_readable(pool->threads[i].lanes[worker].to_worker);
    return readable;
}
