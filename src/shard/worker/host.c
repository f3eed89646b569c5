/* shard/worker/host.c - starting and stopping the process.
 * Happy path: listeners -> data directory opened -> lobby answers -> it is settled -> keys -> every worker recovers its shards on its own thread, all at
 * once -> they fit together -> the next run begins -> lobby ends -> workers serve -> signal -> workers stop -> stores flushed -> directory closed.
 * Failure mode: whatever fails before serving undoes the rest and says why. */
#include "shard/worker/host.h"
#include "api/envelope.h"
#include "api/openapi.h"
#include "api/token.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/heap.h"
#include "core/host.h"
#include "core/io.h"
#include "core/logger.h"
#include "core/stack.h"
#include "core/version.h"
#include "net/server.h"
#include "net/tls_identity.h"
#include "shard/worker/lobby.h"
#include "shard/worker/operator.h"
#include "shard/engine/memory.h"
#include "shard/domain/methods.h"
#include "shard/worker/rehearsal.h"
#include "shard/worker/worker.h"
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_MAX 512

struct crew { /* one worker and its thread */
    struct host *host;
    struct worker *worker;
    struct worker_options options;
    pthread_t thread;
    bool started;
    enum result result;
    uint64_t replayed;
    char text[TEXT_MAX];
};

struct host {
    const struct config *config;
    struct datadir *datadir;
    struct token_keys *token_keys;
    struct tls_identity *tls; /* NULL: no certificate is configured */
    struct mailbox *mailbox;
    struct password_pool *passwords;
    struct tasks *tasks;
    struct operator *operator; /* NULL: its socket cannot be made */
    struct lobby *lobby;
    struct host_pages pages;
    struct writer openapi;
    struct metrics **metrics;
    uint32_t worker_count, shard_count;
    int *listen_fds;
    uint16_t port;
    struct crew *crew;
    struct trusted_clock clock;
    sem_t prepared, serving;  /* posted once by each worker */
    sem_t go;                 /* posted once for each worker when all are prepared, or one failed */
    _Atomic bool failed;
    _Atomic bool shut;        /* the next run could not be written down on a full disk */
    bool runs; /* written before `go`: every worker is prepared, so all of them run */
    _Atomic uint32_t settled;
    struct io *_Atomic *ios; /* each worker's, see worker.h */
};

/* ---- the parts ---- */

/* Before the data directory, so that a port that is taken leaves nothing behind. */
static enum result open_listeners(struct host *h, char *text, size_t text_size)
{
    const struct config *c = h->config;
    h->worker_count = c->workers != 0 ? c->workers : host_core_count();
    h->listen_fds = memory_alloc(h->worker_count * sizeof *h->listen_fds);
    for (uint32_t i = 0; i < h->worker_count; i++) h->listen_fds[i] = -1;
    return server_listen_group(c->listen, h->worker_count, h->listen_fds, &h->port, text, text_size);
}

static enum result open_data(struct host *h, char *text, size_t text_size)
{
    const struct config *c = h->config;
    enum result result = datadir_open(&h->datadir, c->data_dir, c->shards, c->shards != 0 ? c->shards : host_core_count(), text, text_size);
    if (result != RESULT_OK) return result;
    h->shard_count = datadir_shards(h->datadir);
    while (h->worker_count > h->shard_count) close(h->listen_fds[--h->worker_count]);
    return RESULT_OK;
}

/* An older version could not read what recovery writes; so one that would be refused afterwards is refused before. */
static enum result rehearse_upgrade(struct host *h, char *text, size_t text_size)
{
    if (!datadir_upgrades(h->datadir)) return RESULT_OK;
    LOG_INFO("host", "the shards are recovered in memory and compared, before the upgrade writes anything shards=%u", h->shard_count);
    const struct rehearsal_options options = {.config = h->config,
                                              .path = h->config->data_dir,
                                              .shard_count = (uint16_t)h->shard_count,
                                              .made_before = datadir_run(h->datadir) > 0};
    return rehearsal_run(&options, text, text_size);
}

static enum result open_keys(struct host *h, char *text, size_t text_size)
{
    uint8_t secret[DATADIR_TOKEN_KEY_SIZE];
    enum result result = datadir_key(h->datadir, DATADIR_TOKEN_KEY, secret, sizeof secret, text, text_size);
    if (result != RESULT_OK) return result;
    result = token_keys_create(&h->token_keys);
    if (result == RESULT_OK) result = token_keys_add(h->token_keys, DATADIR_TOKEN_KEY, slice_of(secret, sizeof secret));
    explicit_bzero(secret, sizeof secret);
    if (result != RESULT_OK) snprintf(text, text_size, "cannot keep the token key: %s", result_text(result));
    return result;
}

/* The last to be done before anything is written. */
static enum result settle_data(struct host *h, char *text, size_t text_size)
{
    enum result result = rehearse_upgrade(h, text, text_size);
    if (result == RESULT_OK) result = datadir_settle(h->datadir, text, text_size);
    return result == RESULT_OK ? open_keys(h, text, text_size) : result;
}

static enum result open_tls(struct host *h, char *text, size_t text_size)
{
    const struct config *c = h->config;
    if (c->tls_certificate_file[0] == '\0') return RESULT_OK;
    enum result result = tls_identity_create(&h->tls, c->tls_certificate_file, c->tls_key_file, text, text_size);
    if (result != RESULT_OK || text[0] == '\0') return result;
    LOG_WARN("tls", "%s", text);
    text[0] = '\0';
    return RESULT_OK;
}

static void reload_tls(struct host *h)
{
    char text[TEXT_MAX];
    if (tls_identity_reload(h->tls, text, sizeof text) != RESULT_OK)
        LOG_ERROR("tls", "the certificate stays the one before: %s", text);
    else if (text[0] != '\0')
        LOG_WARN("tls", "%s", text);
    else
        LOG_INFO("tls", "reloaded certificate=%s", h->config->tls_certificate_file);
}

static void start_clock(struct host *h)
{
    uint64_t boot_ms, wall_ms;
    clock_read_both(&boot_ms, &wall_ms);
    trusted_clock_init(&h->clock, h->config->clock_skew_max_ms, h->config->clock_step_hold_ms, boot_ms, wall_ms);
}

static enum result open_parts(struct host *h, char *text, size_t text_size)
{
    const struct config *c = h->config;
    h->metrics = memory_alloc(h->worker_count * sizeof *h->metrics);
    h->ios = memory_alloc(h->worker_count * sizeof *h->ios);
    for (uint32_t i = 0; i < h->worker_count; i++) h->metrics[i] = memory_alloc(sizeof **h->metrics);
    h->pages = (struct host_pages){.state = HOST_RECOVERING,
                                   .metrics = h->metrics,
                                   .worker_count = h->worker_count,
                                   .shard_count = h->shard_count,
                                   .openapi = writer_slice(&h->openapi),
                                   .version = version_text,
                                   .instance_id = datadir_id(h->datadir)};
    struct password_pool_options passwords = {.workers = h->worker_count,
                                              .threads = c->password_threads,
                                              .queue_max = c->password_queue_max,
                                              .queue_per_address_max = c->password_queue_per_address_max,
                                              .passes = c->password_ops,
                                              .memory_bytes = c->password_memory_bytes};
    enum result result = mailbox_create(&h->mailbox, h->worker_count, c->mailbox_slots);
    if (result == RESULT_OK) result = password_pool_create(&h->passwords, &passwords);
    if (result == RESULT_OK) result = tasks_create(&h->tasks, h->worker_count);
    if (result != RESULT_OK) {
        snprintf(text, text_size, "cannot start: %s", result_text(result));
        return result;
    }
    return lobby_start(&h->lobby, c, h->tls, &h->pages, h->listen_fds, h->worker_count, text, text_size);
}

/* ---- the crew ---- */

static void on_worker_serving(void *context)
{
    struct crew *member = context;
    sem_post(&member->host->serving);
}

static void *crew_main(void *context)
{
    struct crew *member = context;
    struct host *h = member->host;
    heap_enter_worker();
    stack_enter();
    member->result = worker_prepare(&member->worker, &member->options, &member->replayed, member->text, sizeof member->text);
    if (member->result != RESULT_OK) h->failed = true;
    sem_post(&h->prepared);
    while (sem_wait(&h->go) != 0) continue;
    if (h->runs) {
        member->result = worker_run(member->worker, on_worker_serving, member, member->text, sizeof member->text);
        if (member->result != RESULT_OK) {
            h->failed = true;
            sem_post(&h->serving);
        }
    }
    return NULL;
}

static void crew_start(struct host *h)
{
    h->crew = memory_alloc(h->worker_count * sizeof *h->crew);
    for (uint32_t i = 0; i < h->worker_count; i++) {
        struct crew *member = &h->crew[i];
        member->host = h;
        member->options = (struct worker_options){.number = (uint16_t)i,
                                                  .worker_count = (uint16_t)h->worker_count,
                                                  .shard_count = (uint16_t)h->shard_count,
                                                  .listen_fd = h->listen_fds[i],
                                                  .config = h->config,
                                                  .datadir = h->datadir,
                                                  .mailbox = h->mailbox,
                                                  .passwords = h->passwords,
                                                  .tasks = h->tasks,
                                                  .token_keys = h->token_keys,
                                                  .tls = h->tls,
                                                  .pages = &h->pages,
                                                  .clock = &h->clock,
                                                  .metrics = h->metrics[i],
                                                  .ios = h->ios,
                                                  .shut = &h->shut,
                                                  .settled = &h->settled};
        if (pthread_create(&member->thread, NULL, crew_main, member) != 0)
            check_fatal("cannot start a worker thread: raise the process limit (ulimit -u, LimitNPROC=)");
        member->started = true;
    }
}

static void wait_each(struct host *h, sem_t *semaphore)
{
    for (uint32_t i = 0; i < h->worker_count; i++)
        while (sem_wait(semaphore) != 0) continue;
}

static enum result crew_result(const struct host *h, char *text, size_t text_size)
{
    for (uint32_t i = 0; i < h->worker_count; i++) {
        if (h->crew[i].result == RESULT_OK) continue;
        snprintf(text, text_size, "%s", h->crew[i].text);
        return h->crew[i].result;
    }
    return RESULT_OK;
}

static void crew_release(struct host *h)
{
    lobby_stop(h->lobby); /* before the workers accept */
    h->lobby = NULL;
    for (uint32_t i = 0; i < h->worker_count; i++) sem_post(&h->go);
}

static void crew_join(struct host *h)
{
    for (uint32_t i = 0; i < h->worker_count; i++)
        if (h->crew[i].started) pthread_join(h->crew[i].thread, NULL);
    password_pool_destroy(h->passwords); /* its threads ring the workers' bells */
    h->passwords = NULL;
    for (uint32_t i = 0; i < h->worker_count; i++) worker_destroy(h->crew[i].worker);
    operator_stop(h->operator); /* what it had asked of them is answered now */
    h->operator = NULL;
}

/* ---- the life of the process ---- */

static void close_parts(struct host *h)
{
    lobby_stop(h->lobby);
    free(h->crew);
    free(h->ios);
    free(h->listen_fds);
    password_pool_destroy(h->passwords);
    mailbox_destroy(h->mailbox);
    tasks_destroy(h->tasks);
    if (h->metrics != NULL)
        for (uint32_t i = 0; i < h->worker_count; i++) free(h->metrics[i]);
    free(h->metrics);
    token_keys_destroy(h->token_keys);
    tls_identity_destroy(h->tls);
    writer_deinit(&h->openapi);
    datadir_close(h->datadir);
}

/* Started by nohup: it outlives its terminal. A blocked signal is delivered although it is ignored. */
static bool ignores_hangup(void)
{
    struct sigaction action;
    return sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void raise_later(struct host *h)
{
    char text[TEXT_MAX];
    enum result result = datadir_raise(h->datadir, text, sizeof text);
    if (result == RESULT_FULL) return;
    if (result != RESULT_OK) check_fatal("%s", text);
    LOG_INFO("host", "there is room again: writes are served");
    h->shut = false;
}

/* SIGHUP reloads the certificate; without one it ends the server, as the end of a terminal does. */
static int wait_for_end(struct host *h, const sigset_t *signals)
{
    const struct timespec second = {.tv_sec = 1};
    for (;;) {
        int signal = h->shut ? sigtimedwait(signals, NULL, &second) : sigwaitinfo(signals, NULL);
        if (h->shut) raise_later(h);
        if (signal < 0) continue;
        if (signal != SIGHUP) return signal;
        if (h->tls != NULL) reload_tls(h);
        else if (!ignores_hangup()) return signal;
    }
}

/* Nobody is served yet, and no shard moves. */
static bool shards_fit(struct host *h, char *text, size_t text_size)
{
    struct shard **shards = memory_alloc(h->shard_count * sizeof *shards);
    for (uint32_t i = 0; i < h->shard_count; i++) shards[i] = worker_shard(h->crew[i % h->worker_count].worker, (uint16_t)i);
    bool fit = rehearsal_judge(shards, (uint16_t)h->shard_count, h->config->data_dir, text, text_size);
    free(shards);
    return fit;
}

/* What is left to do before anything is served, when every shard is recovered. */
static enum result take_into_use(struct host *h, char *text, size_t text_size)
{
    if (h->failed) return crew_result(h, text, text_size);
    if (!shards_fit(h, text, text_size)) return RESULT_CORRUPT;
    enum result result = datadir_raise(h->datadir, text, text_size);
    if (result != RESULT_FULL || datadir_run(h->datadir) == 0) return result;
    LOG_WARN("host", "the disk is full: reads are served, writes are refused until there is room reason=\"%s\"", text);
    text[0] = '\0';
    h->shut = true;
    return RESULT_OK;
}

/* A file system without sockets is no reason not to serve. */
static void open_operator(struct host *h)
{
    char text[TEXT_MAX];
    const struct operator_options options = {.data_dir = h->config->data_dir,
                                             .tasks = h->tasks,
                                             .worker_count = (uint16_t)h->worker_count,
                                             .shard_count = (uint16_t)h->shard_count};
    if (operator_start(&h->operator, &options, text, sizeof text) != RESULT_OK)
        LOG_WARN("operator", "%s: the commands of an operator cannot reach this server", text);
}

static enum result serve(struct host *h, const sigset_t *signals, void (*on_serving)(const char *, uint16_t), char *text, size_t text_size)
{
    uint64_t started = clock_monotonic_ns(), replayed = 0;
    crew_start(h);
    wait_each(h, &h->prepared);
    for (uint32_t i = 0; i < h->worker_count; i++) replayed += h->crew[i].replayed;
    enum result result = take_into_use(h, text, text_size);
    h->runs = result == RESULT_OK;
    crew_release(h);
    if (h->runs) {
        wait_each(h, &h->serving);
        if (!h->failed) {
            h->pages.state = HOST_SERVING;
            LOG_INFO("host", "serving address=%s port=%u workers=%u shards=%u replayed=%llu start_ms=%llu", h->config->listen, h->port,
                     h->worker_count, h->shard_count, (unsigned long long)replayed,
                     (unsigned long long)((clock_monotonic_ns() - started) / 1000000));
            open_operator(h);
            if (on_serving != NULL) on_serving(h->config->listen, h->port);
            int signal = wait_for_end(h, signals);
            LOG_INFO("host", "stopping signal=%d", signal);
        }
        h->pages.state = HOST_STOPPING;
        operator_quiesce(h->operator);
        for (uint32_t i = 0; i < h->worker_count; i++) worker_stop(h->crew[i].worker);
    }
    crew_join(h);
    return result != RESULT_OK ? result : crew_result(h, text, text_size);
}

enum result host_run(const struct config *config, void (*on_serving)(const char *, uint16_t), char *text, size_t text_size)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* inherited by every thread: the main one waits for them */
    signal(SIGPIPE, SIG_IGN);
    host_ignore_file_size_signal();
    struct host h = {.config = config};
    text[0] = '\0';
    sem_init(&h.prepared, 0, 0);
    sem_init(&h.serving, 0, 0);
    sem_init(&h.go, 0, 0);
    api_init();
    writer_init(&h.openapi, 0);
    openapi_render(&h.openapi, version_text);
    start_clock(&h);
    enum result result = open_tls(&h, text, text_size);
    if (result == RESULT_OK) result = open_listeners(&h, text, text_size);
    if (result == RESULT_OK) result = open_data(&h, text, text_size);
    if (result == RESULT_OK) result = open_parts(&h, text, text_size);
    if (result == RESULT_OK) result = settle_data(&h, text, text_size);
    if (result == RESULT_OK) result = serve(&h, &signals, on_serving, text, text_size);
    close_parts(&h);
    sem_destroy(&h.prepared);
    sem_destroy(&h.serving);
    sem_destroy(&h.go);
    return result;
}
