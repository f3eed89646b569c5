/* shard/worker/tasks.c - see tasks.h. A list for each worker and one back: pushed by compare and exchange, taken whole by exchange, so that
 * neither side ever waits for the other. */
#include "shard/worker/tasks.h"
#include "core/check.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct box {
    _Atomic(struct task *) first;
    struct doorbell *bell;
};

struct tasks {
    uint32_t worker_count;
    int fd;
    _Atomic(struct task *) done;
    struct box boxes[];
};

enum result tasks_create(struct tasks **out, uint32_t workers)
{
    struct tasks *e = calloc(1, sizeof *e + workers * sizeof *e->boxes);
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

void tasks_destroy(struct tasks *e)
{
    if (e == NULL) return;
    close(e->fd);
    free(e);
}

void tasks_set_doorbell(struct tasks *e, uint32_t worker, struct doorbell *bell)
{
    ASSERT(worker < e->worker_count);
    e->boxes[worker].bell = bell;
}

static void push(_Atomic(struct task *) *list, struct task *task)
{
    task->next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(list, &task->next, task)) continue; /* orders what the task holds before it */
}

static struct task *take(_Atomic(struct task *) *list)
{
    if (atomic_load_explicit(list, memory_order_relaxed) == NULL) return NULL;
    return atomic_exchange(list, NULL);
}

static void on_done(struct follower_ask *ask)
{
    struct task *task = CONTAINER_OF(ask, struct task, ask);
    struct tasks *e = task->tasks;
    push(&e->done, task); /* it is the asker's again */
    uint64_t one = 1;
    ssize_t written = write(e->fd, &one, sizeof one);
    (void)written; /* a counter that is full is readable too */
}

void tasks_put(struct tasks *e, uint32_t worker, struct task *task)
{
    ASSERT(worker < e->worker_count);
    task->tasks = e;
    task->ask.done = on_done;
    push(&e->boxes[worker].first, task);
    doorbell_ring(e->boxes[worker].bell);
}

struct task *tasks_collect(struct tasks *e)
{
    uint64_t count;
    ssize_t got = read(e->fd, &count, sizeof count);
    (void)got; /* nothing to read: none was done since */
    return take(&e->done);
}

int tasks_fd(const struct tasks *e) { return e->fd; }
struct task *tasks_take(struct tasks *e, uint32_t worker) { return take(&e->boxes[worker].first); }
bool tasks_readable(struct tasks *e, uint32_t worker) { return atomic_load(&e->boxes[worker].first) != NULL; }
