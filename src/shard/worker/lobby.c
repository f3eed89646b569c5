/* shard/worker/lobby.c - a worker without shards, for the seconds of recovery. */
#include "shard/worker/lobby.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/io.h"
#include "core/timer.h"
#include "core/stack.h"
#include "shard/engine/memory.h"
#include "shard/worker/settings.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#define LOBBY_CONNECTIONS_MAX 1024
#define LOBBY_WAIT_MS 20 /* how soon it notices that it should end */

struct lobby {
    const struct config *config;
    struct tls_identity *tls; /* borrowed; NULL: no TLS */
    const struct host_pages *pages;
    uint32_t count;
    int *fds;
    struct io *io;
    struct timer_wheel timers;
    struct buf_pool *pool;
    struct door *door;
    struct server **servers;
    struct metrics metrics;
    pthread_t thread;
    sem_t ready;
    enum result result;
    char *text;
    size_t text_size;
    _Atomic bool stopping;
};

static void no_post(void *context, struct letter *letter)
{
    (void)context;
    letter_free(letter);
    ASSERT(!"the lobby refuses every request before it becomes a letter");
}

static bool is_local(void *context, uint16_t shard)
{
    (void)context;
    (void)shard;
    return true;
}

static uint64_t now_ms(void *context)
{
    (void)context;
    return clock_wall_ms();
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static void on_batch(void *context)
{
    struct lobby *l = context;
    timer_wheel_tell(&l->timers, clock_monotonic_ns() / 1000000);
}

#define LOBBY_RING .entries = 256, .receive_buffer_count = 64

uint64_t lobby_locked_bytes(void) { return io_locked_bytes(&(struct io_options){LOBBY_RING}); }

static enum result open_lobby(struct lobby *l)
{
    const struct config *c = l->config;
    struct io_options io = {LOBBY_RING, .receive_buffer_size_bytes = c->receive_buffer_size_bytes};
    enum result result = io_create(&l->io, &io, l->text, l->text_size);
    if (result == RESULT_OK) io_on_batch(l->io, on_batch, l);
    if (result == RESULT_OK) result = buf_pool_create(&l->pool, 16u << 20);
    struct door_options door = {.ports = {.context = l, .post = no_post, .is_local = is_local, .now_ms = now_ms, .now_ns = now_ns},
                                .shard_count = 1,
                                .heartbeat_interval_ms = c->heartbeat_interval_ms,
                                .frame_size_max = c->frame_size_max_bytes,
                                .authenticate_timeout_ms = c->authenticate_timeout_ms,
                                .outbound_soft_bytes = c->outbound_soft_bytes,
                                .pages = l->pages,
                                .allowed_origins = &c->allowed_origins,
                                .metrics = &l->metrics,
                                .timers = &l->timers,
                                .server_version = l->pages->version};
    if (result == RESULT_OK) result = door_create(&l->door, &door);
    timer_wheel_init(&l->timers, clock_monotonic_ns() / 1000000);
    struct server_options options = settings_server(c, LOBBY_CONNECTIONS_MAX, l->tls);
    for (uint32_t i = 0; i < l->count && result == RESULT_OK; i++) {
        int fd = dup(l->fds[i]);
        if (fd < 0) return RESULT_IO;
        result = server_create(&l->servers[i], &options, l->io, &l->timers, l->pool, &l->metrics, fd, &door_events, l->door);
    }
    return result;
}

static void close_lobby(struct lobby *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->servers[i] != NULL) server_destroy(l->servers[i]);
    door_destroy(l->door);
    if (l->pool != NULL) buf_pool_destroy(l->pool);
    if (l->io != NULL) io_destroy(l->io);
}

static void lobby_turn(struct lobby *l)
{
    io_turn(l->io, LOBBY_WAIT_MS, 256);
    timer_wheel_advance(&l->timers, clock_monotonic_ns() / 1000000, 256);
    for (uint32_t i = 0; i < l->count; i++) server_flush(l->servers[i]);
}

static bool lobby_empty(const struct lobby *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (!server_idle(l->servers[i])) return false;
    return true;
}

static void *lobby_main(void *context)
{
    struct lobby *l = context;
    stack_enter();
    pthread_setname_np(pthread_self(), "lobby");
    l->result = open_lobby(l);
    bool good = l->result == RESULT_OK;
    for (uint32_t i = 0; i < l->count && good; i++) server_start(l->servers[i]);
    sem_post(&l->ready); /* from here on the result is the starter's */
    while (good && !l->stopping) lobby_turn(l);
    for (uint32_t i = 0; i < l->count && good; i++)
        server_stop(l->servers[i], (struct conn_goodbye){1012, "the server has started: connect again"});
    while (good && !lobby_empty(l)) lobby_turn(l);
    close_lobby(l);
    return NULL;
}

enum result lobby_start(struct lobby **out, const struct config *config, struct tls_identity *tls, const struct host_pages *pages,
                        const int *listen_fds, uint32_t count, char *text, size_t text_size)
{
    struct lobby *l = memory_alloc(sizeof *l);
    l->config = config;
    l->tls = tls;
    l->pages = pages;
    l->count = count;
    l->text = text;
    l->text_size = text_size;
    l->fds = memory_alloc(count * sizeof *l->fds);
    memcpy(l->fds, listen_fds, count * sizeof *l->fds);
    l->servers = memory_alloc(count * sizeof(struct server *));
    sem_init(&l->ready, 0, 0);
    if (pthread_create(&l->thread, NULL, lobby_main, l) != 0) check_fatal("cannot start a thread: raise the process limit (ulimit -u)");
    while (sem_wait(&l->ready) != 0) continue;
    *out = l;
    enum result result = l->result;
    if (result == RESULT_OK) return RESULT_OK;
    if (text[0] == '\0') snprintf(text, text_size, "cannot serve: %s", result_text(result));
    lobby_stop(l);
    *out = NULL;
    return result;
}

void lobby_stop(struct lobby *l)
{
    if (l == NULL) return;
    l->stopping = true;
    pthread_join(l->thread, NULL);
    sem_destroy(&l->ready);
    free(l->fds);
    free(l->servers);
    free(l);
}
