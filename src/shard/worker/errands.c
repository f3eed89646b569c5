/* shard/worker/errands.c - see errands.h. A list for each worker and one back: pushed by compare and exchange, taken whole by exchange, so that
 * neither side ever waits for the other. */
#include "shard/worker/errands.h"
#include "core/check.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct box {
    _Atomic(struct errand *) first;
    struct doorbell *bell;
};

struct errands {
    uint32_t worker_count;
    int fd;
    _Atomic(struct errand *) done;
    struct box boxes[];
};

enum result errands_create(struct errands **out, uint32_t workers)
{
    struct errands *e = calloc(1, sizeof *e + workers * sizeof *e->boxes);
    *out = NULL;
    if (e == NULL) return RESULT_NOMEM;
    e->worker_count = workers;
    e->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->fd < 0) {
        free(e);
        return RESULT_IO;
    }
    *out = e;
    return RESULT_OK;
}

void errands_destroy(struct errands *e)
{
    if (e == NULL) return;
    close(e->fd);
    free(e);
}

void errands_set_doorbell(struct errands *e, uint32_t worker, struct doorbell *bell)
{
    ASSERT(worker < e->worker_count);
    e->boxes[worker].bell = bell;
}

static void push(_Atomic(struct errand *) *list, struct errand *errand)
{
    errand->next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(list, &errand->next, errand)) continue; /* orders what the errand holds before it */
}

static struct errand *take(_Atomic(struct errand *) *list)
{
    if (atomic_load_explicit(list, memory_order_relaxed) == NULL) return NULL;
    return atomic_exchange(list, NULL);
}

static void on_done(struct follower_ask *ask)
{
    struct errand *errand = CONTAINER_OF(ask, struct errand, ask);
    struct errands *e = errand->errands;
    push(&e->done, errand); /* it is the asker's again */
    uint64_t one = 1;
    ssize_t written = write(e->fd, &one, sizeof one);
    (void)written; /* a counter that is full is readable too */
}

void errands_put(struct errands *e, uint32_t worker, struct errand *errand)
{
    ASSERT(worker < e->worker_count);
    errand->errands = e;
    errand->ask.done = on_done;
    push(&e->boxes[worker].first, errand);
    doorbell_ring(e->boxes[worker].bell);
}

struct errand *errands_bring_back(struct errands *e)
{
    uint64_t count;
    ssize_t got = read(e->fd, &count, sizeof count);
    (void)got; /* nothing to read: none was done since */
    return take(&e->done);
}

int errands_fd(const struct errands *e) { return e->fd; }
struct errand *errands_take(struct errands *e, uint32_t worker) { return take(&e->boxes[worker].first); }
bool errands_readable(struct errands *e, uint32_t worker) { return atomic_load(&e->boxes[worker].first) != NULL; }
