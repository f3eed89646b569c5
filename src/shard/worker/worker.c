/* shard/worker/worker.c - the loop. Failure modes: a ring that cannot be made ends the start with the remedy; everything later is
 * handled by the part that met it. Stopping: close connections (bounded by their write time-out), let shards finish what is in their
 * logs (bounded by STOP_SHARDS_MS), then wait only for what the disk and the storage thread still hold. */
#include "shard/domain/letters.h"
#include "shard/domain/keys.h"
#include "shard/worker/worker.h"
#include "core/check.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/host.h"
#include "core/io.h"
#include "core/logger.h"
#include "core/timer.h"
#include "shard/domain/room/rooms.h"
#include "shard/engine/memory.h"
#include "shard/domain/delivery/session.h"
#include "shard/worker/settings.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#define BUDGET_COMPLETIONS 512
#define BUDGET_ANSWERS 512
#define BUDGET_LETTERS 512
#define BUDGET_TIMERS 512
#define BUDGET_APPLY 1000
#define WAIT_MS_MAX 1000         /* a lost wake-up is latency, not a hang */
#define TICK_MS 1000
#define STALLED_POLL_MS 2        /* what makes room for writes that wait does not ring: a disk, a store, another shard */
#define CONGESTED_NAP_NS 20000   /* a peer that takes letters does not ring */
#define STOP_POLL_MS 10
#define STOP_SHARDS_MS 5000

struct owned_shard {
    struct shard *shard;
    struct disk *disk;
    struct store *store;
};

struct worker {
    struct worker_options options;
    struct io *io;
    struct timer_wheel timers;
    struct buf_pool *pool;
    struct server *server;
    struct door *door;
    struct domain_setup setup; /* of its shards */
    struct storage_thread *storage;
    struct doorbell bell;
    struct io_op bell_op; /* the read of the bell's counter */
    uint64_t bell_rings;
    struct timer tick;
    struct owned_shard *shards; /* shard s stands at s / worker_count */
    uint32_t shard_count;
    _Atomic bool stopping;
    bool bell_ready;
    uint64_t now_ms, now_ns; /* of this stage of the turn; 0: not read yet */
    uint64_t stop_started_ms;
    const char *audiences[CONFIG_ITEMS_MAX], *issuers[CONFIG_ITEMS_MAX]; /* the door's */
    bool settled; /* counted in *options.settled */
    enum { RUN_SERVING, RUN_CLOSING_CONNECTIONS, RUN_SETTLING, RUN_WAITING, RUN_SEALING, RUN_ENDED } phase;
};

/* ---- ports ---- */

/* Each stage of a turn, and each batch of completions, reads the clocks at most once; what it does takes them as one moment. */
static void clock_stale(struct worker *w) { w->now_ms = w->now_ns = 0; }

static uint64_t port_now_ms(void *context)
{
    struct worker *w = context;
    if (w->now_ms == 0) w->now_ms = trusted_clock_now_ms(w->options.clock);
    return w->now_ms;
}

static uint64_t port_now_ns(void *context)
{
    struct worker *w = context;
    if (w->now_ns == 0) w->now_ns = clock_monotonic_ns();
    return w->now_ns;
}

/* A stage begins that counts deadlines: they must not count from before it. */
static uint64_t clock_look(void *context)
{
    struct worker *w = context;
    clock_stale(w);
    timer_wheel_tell(&w->timers, port_now_ns(w) / 1000000);
    return w->now_ns;
}

static void on_batch(void *context) { clock_look(context); }

static void port_random(void *context, void *out, size_t len)
{
    (void)context;
    clock_random(out, len);
}

static void posted(struct worker *w, bool within)
{
    metrics_add(&w->options.metrics->letters_sent, 1);
    if (!within) metrics_add(&w->options.metrics->letters_overflowed, 1);
}

static bool is_ours(const struct worker *w, uint16_t shard) { return shard % w->options.worker_count == w->options.number; }

static struct shard *own_shard(const struct worker *w, uint16_t shard) { return w->shards[shard / w->options.worker_count].shard; }

static void port_post(void *context, struct letter *letter)
{
    struct worker *w = context;
    bool asks = letter->kind == LETTER_REQUEST || letter->kind == LETTER_MQTT;
    if (asks && !is_ours(w, letter->to_shard)) door_on_leave(w->door, letter);
    posted(w, mailbox_post(w->options.mailbox, w->options.number, letter->to_shard % w->options.worker_count, letter));
}

static void port_reply(void *context, const struct letter *letter)
{
    struct worker *w = context;
    if (letter->origin.worker == w->options.number) door_on_reply(w->door, letter);
    else if (letter->origin.worker >= w->options.worker_count) metrics_add(&w->options.metrics->letters_refused, 1); /* another host wrote it */
    else posted(w, mailbox_post_copy(w->options.mailbox, w->options.number, letter->origin.worker, letter));
}

static enum result port_hash_password(void *context, struct password_job *job)
{
    struct worker *w = context;
    return password_pool_submit(w->options.passwords, w->options.number, job);
}

static bool port_session_bind(void *context, const struct origin *origin, struct session *session)
{
    struct worker *w = context;
    return origin->worker == w->options.number && door_session_bind(w->door, origin, session);
}

static enum result port_session_send(void *context, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    struct worker *w = context;
    return door_session_send(w->door, session, head, body, above_soft);
}

static void port_session_event(void *context, struct session *session, uint64_t sync_key, struct session_event *event)
{
    (void)context;
    door_session_event(session, sync_key, event);
}

static void port_session_room(void *context, struct session *session, struct session_frame *message)
{
    (void)context;
    door_session_room(session, message);
}

static void port_session_missed(void *context, struct session *session)
{
    (void)context;
    door_session_missed(session);
}

static void port_session_end(void *context, struct session *session, uint16_t close_code, const char *reason)
{
    struct worker *w = context;
    door_session_end(w->door, session, close_code, reason);
}

static bool port_is_local(void *context, uint16_t shard) { return is_ours(context, shard); }

/* Of what a shard of another worker lets wait, each worker has its share: it knows without being told what it may still ask. */
static bool port_is_full(void *context, uint16_t shard)
{
    const struct worker *w = context;
    if (is_ours(w, shard)) return shard_is_full(own_shard(w, shard));
    uint32_t share = w->options.config->requests_parked_max / w->options.worker_count;
    return door_asked(w->door, shard) >= (share > 0 ? share : 1);
}

static struct io *port_io_of(void *context, uint16_t shard)
{
    struct worker *w = context;
    return atomic_load(&w->options.ios[shard % w->options.worker_count]);
}

/* ---- preparing ---- */

static enum result open_shard(struct worker *w, struct owned_shard *owned, uint16_t number, uint64_t *replayed, char *text,
                              size_t text_size)
{
    char part[64], path[1024];
    snprintf(part, sizeof part, "shard-%04u/log", number);
    enum result result = datadir_path(w->options.datadir, part, path, sizeof path);
    struct disk_options disk = {.path = path, .segment_size_bytes = w->options.config->segment_size_bytes, .spare_count_max = 2};
    if (result == RESULT_OK) result = disk_open(&owned->disk, &disk, text, text_size);
    if (result != RESULT_OK) return result;
    snprintf(part, sizeof part, "shard-%04u/store", number);
    result = datadir_path(w->options.datadir, part, path, sizeof path);
    uint64_t applied = 0;
    if (result == RESULT_OK)
        result = storage_thread_open_store(w->storage, path, &owned->store, &applied, text, text_size);
    if (result != RESULT_OK) return result;
    struct shard_options options = {
        .machine = settings_machine(w->options.config, number, w->options.shard_count),
        .limits = settings_shard(w->options.config),
        .ports = {.context = w,
                  .now_ms = port_now_ms,
                  .now_ns = port_now_ns,
                  .random = port_random,
                  .post = port_post,
                  .reply = port_reply},
        .setup = &w->setup,
        .disk = owned->disk,
        .log_made_before = datadir_run(w->options.datadir) > 0,
        .store = owned->store,
        .store_applied_index = applied,
        .log_pending_max_bytes = w->options.config->log_pending_max_bytes,
        .pool = w->pool,
        .metrics = w->options.metrics,
        .token_keys = w->options.token_keys,
    };
    uint64_t commands = 0;
    result = shard_open(&owned->shard, &options, &commands, text, text_size);
    *replayed += commands;
    return result;
}

static void set_up(struct worker *w)
{
    w->setup = (struct domain_setup){.options = settings_domain(w->options.config),
                                     .ports = {.context = w,
                                               .hash_password = port_hash_password,
                                               .session_bind = port_session_bind,
                                               .session_send = port_session_send,
                                               .session_event = port_session_event,
                                               .session_room = port_session_room,
                                               .session_missed = port_session_missed,
                                               .session_end = port_session_end}};
}

static enum result prepare(struct worker *w, uint64_t *replayed, char *text, size_t text_size)
{
    const struct config *c = w->options.config;
    char name[16];
    set_up(w);
    snprintf(name, sizeof name, "storage-%u", w->options.number);
    struct storage_thread_options storage = {.name = name,
                                             .queue_length_max = 4096,
                                             .memtable_size_bytes = c->memtable_size_bytes,
                                             .block_cache_size_bytes = c->block_cache_bytes,
                                             .apart_kind = KEY_MESSAGE,
                                             .flush_interval_ms = c->flush_interval_ms};
    enum result result = buf_pool_create(&w->pool, c->connection_memory_bytes);
    if (result == RESULT_OK) result = doorbell_init(&w->bell);
    w->bell_ready = result == RESULT_OK;
    if (result == RESULT_OK) result = storage_thread_start(&w->storage, &storage);
    if (result != RESULT_OK) return result;
    storage_thread_set_doorbell(w->storage, &w->bell);
    password_pool_set_doorbell(w->options.passwords, w->options.number, &w->bell);
    mailbox_set_doorbell(w->options.mailbox, w->options.number, &w->bell);
    tasks_set_doorbell(w->options.tasks, w->options.number, &w->bell);
    for (uint32_t s = w->options.number; s < w->options.shard_count && result == RESULT_OK; s += w->options.worker_count)
        result = open_shard(w, &w->shards[w->shard_count++], (uint16_t)s, replayed, text, text_size);
    return result;
}

enum result worker_prepare(struct worker **out, const struct worker_options *options, uint64_t *replayed, char *text, size_t text_size)
{
    struct worker *w = memory_alloc(sizeof *w);
    w->options = *options;
    w->shards = memory_alloc((options->shard_count / options->worker_count + 1u) * sizeof *w->shards);
    text[0] = '\0';
    enum result result = prepare(w, replayed, text, text_size);
    if (result == RESULT_OK) {
        *out = w;
        return RESULT_OK;
    }
    if (text[0] == '\0') snprintf(text, text_size, "worker %u: %s", options->number, result_text(result));
    worker_destroy(w);
    *out = NULL;
    return result;
}

struct shard *worker_shard(const struct worker *w, uint16_t number)
{
    ASSERT(is_ours(w, number));
    return own_shard(w, number);
}

void worker_destroy(struct worker *w)
{
    if (w == NULL) return;
    for (uint32_t i = 0; i < w->shard_count; i++)
        if (w->shards[i].shard != NULL) shard_close(w->shards[i].shard);
    if (w->storage != NULL) storage_thread_stop(w->storage);
    for (uint32_t i = 0; i < w->shard_count; i++)
        if (w->shards[i].disk != NULL) w->shards[i].disk->ops->close(w->shards[i].disk);
    if (w->bell_ready) doorbell_deinit(&w->bell);
    if (w->pool != NULL) buf_pool_destroy(w->pool);
    free(w->shards);
    free(w);
}

/* ---- the turn ---- */

static void on_bell(struct io_op *op, int32_t res, struct slice bytes)
{
    struct worker *w = CONTAINER_OF(op, struct worker, bell_op);
    (void)bytes;
    if (res != -ECANCELED) io_read(w->io, &w->bell_op, w->bell.fd, &w->bell_rings, sizeof w->bell_rings, 0);
}

static void on_cancelled(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)op; /* the bell's own completion says that it ended */
    (void)res;
    (void)bytes;
}

static void receive_letters(struct worker *w)
{
    struct letter *letters[BUDGET_LETTERS];
    uint32_t count = mailbox_take(w->options.mailbox, w->options.number, letters, BUDGET_LETTERS);
    for (uint32_t i = 0; i < count; i++) {
        struct letter *letter = letters[i];
        if (letter->kind == LETTER_REPLY) {
            door_on_reply(w->door, letter);
            letter_free(letter);
        } else if (letter->kind == DOOR_MAIL_MOVE && w->phase != RUN_SERVING) {
            door_drop_move(w->door, letter);
        } else if (letter->kind == DOOR_MAIL_MOVE) {
            door_on_move(w->door, letter);
        } else {
            shard_receive(own_shard(w, letter->to_shard), letter);
        }
    }
}

static void maintain_log(void *context) { commitlog_maintain(context); }

/* The first worker owns the process's clock. */
static void observe_clock(struct worker *w)
{
    if (w->options.number != 0) return;
    uint64_t boot_ms, wall_ms;
    int64_t step_ms;
    clock_read_both(&boot_ms, &wall_ms);
    long long hold_s = (long long)(w->options.config->clock_step_hold_ms / 1000);
    switch (trusted_clock_observe(w->options.clock, boot_ms, wall_ms, &step_ms)) {
    case CLOCK_FOLLOWED: break;
    case CLOCK_STEPPED:
        metrics_add(&w->options.metrics->clock_steps, 1);
        LOG_WARN("clock", "the wall clock has stepped; it is followed if that holds by_ms=%lld hold_s=%lld", (long long)step_ms, hold_s);
        break;
    case CLOCK_RETURNED: LOG_WARN("clock", "the wall clock is back where it was before its step by_ms=%lld", (long long)step_ms); break;
    case CLOCK_ADOPTED:
        metrics_add(&w->options.metrics->clock_steps_adopted, 1);
        LOG_WARN("clock", "the step of the wall clock has held and is followed by_ms=%lld hold_s=%lld", (long long)step_ms, hold_s);
        break;
    }
}

static void report_followers(const struct worker *w)
{
    uint64_t count = 0, lost = 0, backlog = 0;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        const struct follower_set *set = shard_machine(w->shards[i].shard)->followers;
        const struct follower *f;
        for (uint32_t at = 0; (f = follower_at(set, at)) != NULL; at++) {
            count++;
            lost += f->lost;
            if (backlog < follower_backlog(set, f)) backlog = follower_backlog(set, f);
        }
    }
    metrics_set(&w->options.metrics->followers, count);
    metrics_set(&w->options.metrics->followers_lost, lost);
    metrics_set(&w->options.metrics->follower_backlog, backlog);
}

/* What is true of all its shards. */
static void report_shards(const struct worker *w)
{
    uint64_t backlog = 0, early = 0, window_ms = UINT64_MAX;
    uint32_t allowance = UINT32_MAX;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        struct dedup_report repeats;
        shard_report_repeats(w->shards[i].shard, &repeats);
        if (window_ms > repeats.window_ms) window_ms = repeats.window_ms;
        if (allowance > repeats.allowance) allowance = repeats.allowance;
        early += repeats.forgotten_early;
        backlog += store_backlog_bytes(w->shards[i].store);
    }
    struct metrics *metrics = w->options.metrics;
    metrics_set(&metrics->store_backlog_bytes, backlog);
    metrics_set(&metrics->repeat_window_s, window_ms / 1000);
    metrics_set(&metrics->repeats_per_sender, allowance);
    metrics_set(&metrics->repeats_forgotten_early, early);
}

static void heed_shut(struct worker *w)
{
    bool shut = atomic_load_explicit(w->options.shut, memory_order_relaxed);
    for (uint32_t i = 0; i < w->shard_count; i++) shard_set_shut(w->shards[i].shard, shut);
}

static void report_memory(const struct worker *w)
{
    _Atomic uint64_t *memory = w->options.metrics->memory;
    uint64_t repeats = 0, batches = 0, untouched = 0, sessions = 0, bodies = 0;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        const struct machine *machine = shard_machine(w->shards[i].shard);
        struct dedup_memory window = dedup_memory(machine->dedup);
        const struct body_cache *cache = rooms_of(machine)->bodies;
        bodies += body_cache_bytes(cache) - body_cache_untouched_bytes(cache);
        untouched += body_cache_untouched_bytes(cache);
        repeats += window.touched_bytes;
        sessions += sessions_memory_bytes(w->shards[i].shard);
        untouched += window.untouched_bytes + entity_table_untouched_bytes(machine->entities);
        const struct commitlog *log = shard_log(w->shards[i].shard); /* NULL: damaged when it was opened */
        if (log != NULL) batches += commitlog_memory_bytes(log);
    }
    struct store_memory store = storage_thread_memory(w->storage);
    size_t payloads = buf_pool_used_bytes(w->pool);
    metrics_set(&memory[METRICS_MEMORY_PAYLOADS], payloads + buf_pool_kept_bytes(w->pool));
    metrics_set(&memory[METRICS_MEMORY_INPUT], buf_pool_charged_bytes(w->pool) - payloads);
    metrics_set(&memory[METRICS_MEMORY_CONNECTIONS], server_memory_bytes(w->server));
    metrics_set(&memory[METRICS_MEMORY_TLS], server_tls_bytes(w->server));
    metrics_set(&memory[METRICS_MEMORY_SESSIONS], sessions);
    metrics_set(&memory[METRICS_MEMORY_RINGS], mailbox_memory_bytes(w->options.mailbox, w->options.number) + storage_thread_rings_bytes(w->storage));
    metrics_set(&memory[METRICS_MEMORY_BODY_CACHE], bodies);
    metrics_set(&memory[METRICS_MEMORY_REPEAT_WINDOW], repeats);
    metrics_set(&w->options.metrics->memory_untouched, untouched);
    metrics_set(&memory[METRICS_MEMORY_LOG_BATCHES], batches);
    metrics_set(&memory[METRICS_MEMORY_STORE_BATCHES], storage_thread_batches_bytes(w->storage));
    metrics_set(&memory[METRICS_MEMORY_MEMTABLES], store.memtables_bytes);
    metrics_set(&memory[METRICS_MEMORY_TABLE_READERS], store.table_readers_bytes);
    metrics_set(&memory[METRICS_MEMORY_BLOCK_CACHE], w->options.number == 0 ? store.block_cache_bytes : 0);
    metrics_set(&memory[METRICS_MEMORY_RECEIVE_BUFFERS], io_memory_bytes(w->io));
}

static void on_tick(struct timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, tick);
    heed_shut(w);
    observe_clock(w);
    for (uint32_t i = 0; i < w->shard_count; i++) shard_tick(w->shards[i].shard);
    door_tick(w->door);
    report_shards(w);
    report_followers(w);
    report_memory(w);
    timer_arm(&w->timers, &w->tick, timer_wheel_time_ms(&w->timers) + TICK_MS);
}

/* True when a shard has more to do at once. */
static bool run_shards(struct worker *w)
{
    bool more = false;
    for (uint32_t i = 0; i < w->shard_count; i++) more |= shard_apply(w->shards[i].shard, BUDGET_APPLY) == BUDGET_APPLY;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        struct commitlog *log = shard_log(w->shards[i].shard);
        shard_flush(w->shards[i].shard);
        if (log != NULL && commitlog_wants_maintenance(log)) storage_thread_run(w->storage, maintain_log, log);
    }
    return more;
}

static bool any_stalled(const struct worker *w)
{
    for (uint32_t i = 0; i < w->shard_count; i++)
        if (shard_is_stalled(w->shards[i].shard)) return true;
    return false;
}

static uint32_t wait_ms_max(const struct worker *w)
{
    if (any_stalled(w)) return STALLED_POLL_MS;
    uint32_t wait_ms = w->stopping ? STOP_POLL_MS : WAIT_MS_MAX;
    for (uint32_t i = 0; i < w->shard_count; i++) wait_ms = shard_wait_ms(w->shards[i].shard, wait_ms);
    return wait_ms;
}

static bool work_waits(struct worker *w)
{
    return mailbox_readable(w->options.mailbox, w->options.number) || storage_thread_readable(w->storage) ||
           tasks_readable(w->options.tasks, w->options.number) ||
           password_pool_readable(w->options.passwords, w->options.number);
}

/* Looks for work for `spin` microseconds before the thread may sleep. */
static bool spin_finds_work(struct worker *w)
{
    if (w->options.config->spin_us == 0) return false;
    uint64_t until = clock_monotonic_ns() + (uint64_t)w->options.config->spin_us * 1000;
    do {
        if (work_waits(w)) return true;
        if (io_turn(w->io, 0, BUDGET_COMPLETIONS) > 0) return true;
    } while (clock_monotonic_ns() < until);
    return false;
}

static void collect(struct worker *w, bool busy)
{
    bool has_clients = w->phase == RUN_SERVING; /* a worker that has ended takes nothing: only clients wait for room, never the stop */
    if (has_clients && mailbox_congested(w->options.mailbox, w->options.number)) { /* clients wait until the peers have taken theirs */
        nanosleep(&(struct timespec){.tv_nsec = CONGESTED_NAP_NS}, NULL);
        return;
    }
    uint32_t wait_ms = busy ? 0 : timer_wheel_wait_ms(&w->timers, wait_ms_max(w));
    if (wait_ms > 0 && spin_finds_work(w)) wait_ms = 0;
    if (wait_ms > 0) {
        doorbell_sleep(&w->bell);
        if (work_waits(w) || (w->stopping && w->phase == RUN_SERVING)) wait_ms = 0;
    }
    io_turn(w->io, wait_ms, BUDGET_COMPLETIONS);
    doorbell_awake(&w->bell);
}

static void run_tasks(struct worker *w)
{
    struct task *task = tasks_take(w->options.tasks, w->options.number);
    while (task != NULL) {
        struct task *next = task->next; /* when it is done it is the asker's */
        follower_ask(own_shard(w, task->shard), &task->ask);
        task = next;
    }
}

static bool turn(struct worker *w, bool busy)
{
    collect(w, busy);
    uint64_t started = clock_look(w);
    storage_thread_collect(w->storage, BUDGET_ANSWERS);
    password_pool_collect(w->options.passwords, w->options.number, BUDGET_ANSWERS);
    receive_letters(w);
    run_tasks(w);
    timer_wheel_advance(&w->timers, started / 1000000, BUDGET_TIMERS);
    clock_look(w);
    bool more = run_shards(w);
    more |= door_release(w->door);
    clock_look(w);
    server_flush(w->server);
    storage_thread_publish(w->storage);
    password_pool_publish(w->options.passwords, w->options.number);
    metrics_add(&w->options.metrics->doorbells_rung, mailbox_publish(w->options.mailbox, w->options.number));
    metrics_add(&w->options.metrics->turns, 1);
    metrics_observe(&w->options.metrics->turn_ns, clock_monotonic_ns() - started);
    return more || work_waits(w);
}

/* ---- stopping ---- */

static bool all(struct worker *w, bool (*test)(const struct shard *))
{
    for (uint32_t i = 0; i < w->shard_count; i++)
        if (!test(w->shards[i].shard)) return false;
    return true;
}

/* This worker asks nothing more of the others, but goes on answering them until all have come so far. */
static void settle(struct worker *w)
{
    if (w->settled) return;
    w->settled = true;
    atomic_fetch_add(w->options.settled, 1); /* orders what was published to the rings before it */
}

static bool all_settled(const struct worker *w) { return atomic_load(w->options.settled) == w->options.worker_count; }

static void stop_step(struct worker *w, uint64_t now_ms)
{
    uint64_t since = now_ms - w->stop_started_ms;
    switch (w->phase) {
    case RUN_SERVING:
        if (!w->stopping) return;
        w->stop_started_ms = now_ms;
        server_stop(w->server, (struct conn_goodbye){CLOSE_GOING_AWAY, "server is stopping"});
        w->phase = RUN_CLOSING_CONNECTIONS;
        break;
    case RUN_CLOSING_CONNECTIONS:
        if (server_idle(w->server)) w->phase = RUN_SETTLING;
        break;
    case RUN_SETTLING:
        if ((all(w, shard_idle) && !mailbox_congested(w->options.mailbox, w->options.number)) || since >= STOP_SHARDS_MS) settle(w);
        if (!w->settled || !all_settled(w)) return;
        for (uint32_t i = 0; i < w->shard_count; i++) shard_begin_close(w->shards[i].shard);
        w->phase = RUN_WAITING;
        break;
    case RUN_WAITING:
        if (!all(w, shard_quiet)) return;
        for (uint32_t i = 0; i < w->shard_count; i++) shard_seal(w->shards[i].shard);
        w->phase = RUN_SEALING;
        break;
    case RUN_SEALING:
        if (all(w, shard_quiet)) w->phase = RUN_ENDED;
        break;
    case RUN_ENDED: break;
    }
}

void worker_stop(struct worker *w)
{
    w->stopping = true;
    doorbell_ring(&w->bell);
}

/* ---- running ---- */

static void pin(const struct worker *w)
{
    char name[16];
    snprintf(name, sizeof name, "worker-%u", w->options.number);
    pthread_setname_np(pthread_self(), name);
    if (logger_attach(name) != RESULT_OK) LOG_WARN("worker", "no log ring of its own worker=%u", w->options.number);
    if (w->options.config->pin_workers && host_pin_thread(w->options.number) != RESULT_OK)
        LOG_WARN("worker", "cannot pin worker=%u", w->options.number);
}

static void list_names(const struct config_items *items, const char *names[CONFIG_ITEMS_MAX])
{
    for (uint32_t i = 0; i < items->count; i++) names[i] = config_item(items, i);
}

static enum result make_door(struct worker *w)
{
    const struct config *c = w->options.config;
    list_names(&c->token_audiences, w->audiences);
    list_names(&c->token_issuers, w->issuers);
    struct door_options options = {
        .ports = {.context = w, .post = port_post, .is_local = port_is_local, .is_full = port_is_full, .io_of = port_io_of,
                  .now_ms = port_now_ms, .now_ns = port_now_ns},
        .worker = w->options.number,
        .shard_count = w->options.shard_count,
        .token_keys = w->options.token_keys,
        .token_terms = {.leeway_s = c->token_leeway_ms / 1000,
                        .lifetime_max_s = c->access_token_ttl_ms / 1000,
                        .audiences = w->audiences,
                        .audience_count = c->token_audiences.count,
                        .issuers = w->issuers,
                        .issuer_count = c->token_issuers.count},
        .logins_per_second = c->rate_logins_per_second,
        .logins_burst = c->rate_logins_burst,
        .heartbeat_interval_ms = c->heartbeat_interval_ms,
        .frame_size_max = c->frame_size_max_bytes,
        .authenticate_timeout_ms = c->authenticate_timeout_ms,
        .outbound_soft_bytes = c->outbound_soft_bytes,
        .pages = w->options.pages,
        .allowed_origins = &c->allowed_origins,
        .metrics = w->options.metrics,
        .timers = &w->timers,
        .server_version = w->options.pages->version,
    };
    clock_random(&options.first_generation, sizeof options.first_generation);
    return door_create(&w->door, &options);
}

static enum result open_outside(struct worker *w, char *text, size_t text_size)
{
    const struct config *c = w->options.config;
    uint32_t connections_max = (c->connections_max + w->options.worker_count - 1) / w->options.worker_count; /* an equal share */
    struct io_options io = {.entries = c->ring_entries,
                            .sockets_max = c->direct_descriptors ? connections_max + c->accepts_per_turn_max : 0,
                            .receive_buffer_count = c->receive_buffers,
                            .receive_buffer_size_bytes = c->receive_buffer_size_bytes};
    enum result result = io_create(&w->io, &io, text, text_size);
    if (result == RESULT_OK) io_on_batch(w->io, on_batch, w);
    if (result != RESULT_OK) return result;
    timer_wheel_init(&w->timers, clock_monotonic_ns() / 1000000);
    result = make_door(w);
    if (result != RESULT_OK) return result;
    struct server_options server = settings_server(c, connections_max, w->options.tls);
    result = server_create(&w->server, &server, w->io, &w->timers, w->pool, w->options.metrics, w->options.listen_fd, &door_events,
                           w->door);
    if (result != RESULT_OK) {
        snprintf(text, text_size, "worker %u: cannot make the connection table: %s", w->options.number, result_text(result));
        return result;
    }
    door_set_server(w->door, w->server);
    for (uint32_t i = 0; i < w->shard_count; i++) disk_attach_io(w->shards[i].disk, w->io);
    w->bell_op.done = on_bell;
    io_read(w->io, &w->bell_op, w->bell.fd, &w->bell_rings, sizeof w->bell_rings, 0);
    heed_shut(w);
    w->tick.fired = on_tick;
    report_shards(w);
    report_memory(w);
    timer_arm(&w->timers, &w->tick, timer_wheel_time_ms(&w->timers) + TICK_MS);
    atomic_store(&w->options.ios[w->options.number], w->io); /* from here on nothing fails: until all have settled it stays */
    return RESULT_OK;
}

static void close_outside(struct worker *w)
{
    if (w->io == NULL) return;
    storage_thread_stop(w->storage); /* it may be making a segment for one of the logs */
    w->storage = NULL;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        shard_close(w->shards[i].shard); /* before the server: its sessions are gone already, its log is at rest */
        w->shards[i].shard = NULL;
    }
    timer_cancel(&w->timers, &w->tick);
    if (w->bell_op.armed) {
        struct io_op cancel = {.done = on_cancelled};
        io_cancel(w->io, &cancel, &w->bell_op);
        while (cancel.armed || w->bell_op.armed) io_turn(w->io, 10, BUDGET_COMPLETIONS);
    }
    if (w->server != NULL) server_destroy(w->server);
    door_destroy(w->door);
    io_destroy(w->io);
    w->io = NULL;
}

/* Before a connection may move, every worker has its io. */
static void wait_for_the_others(const struct worker *w)
{
    for (uint32_t i = 0; i < w->options.worker_count; i++)
        while (atomic_load(&w->options.ios[i]) == NULL && !w->stopping) sched_yield();
}

enum result worker_run(struct worker *w, void (*serving)(void *), void *context, char *text, size_t text_size)
{
    pin(w);
    enum result result = open_outside(w, text, text_size);
    if (result == RESULT_OK) {
        serving(context); /* before the wait: the start is reported, good or failed, when every worker has reported its own result */
        wait_for_the_others(w);
        server_start(w->server);
        for (bool busy = true; w->phase != RUN_ENDED;) {
            busy = turn(w, busy);
            stop_step(w, timer_wheel_time_ms(&w->timers));
        }
    }
    settle(w);
    close_outside(w);
    return result;
}
