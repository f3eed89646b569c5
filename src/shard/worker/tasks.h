/* shard/worker/tasks.h - what one thread that is no worker asks of the shards: handed to their workers, and collected.
 * Owns:    nothing: a task belongs to who put it, and is pinned until it is collected.
 * Thread:  tasks_put, tasks_collect: that one thread. With `worker`: that worker. create and destroy: when neither runs.
 * Depends: core/doorbell.h, shard/engine/follower_ask.h.  Start at: shard/engine/shard.h
 * A worker that has none pays one load per turn. Tasks come in any order. */
#ifndef SHARD_TASKS_H
#define SHARD_TASKS_H

#include "core/doorbell.h"
#include "shard/engine/follower_ask.h"

struct tasks;
struct task {
    struct task *next;
    struct tasks *tasks;
    uint16_t shard;
    struct follower_ask ask;
};

NODISCARD enum result tasks_create(struct tasks **out, uint32_t workers);
void tasks_destroy(struct tasks *tasks);
/* Before any task: the bell of the worker's loop. */
void tasks_set_doorbell(struct tasks *tasks, uint32_t worker, struct doorbell *bell);

/* Fills task->tasks and ask.done; the rest is the caller's. */
void tasks_put(struct tasks *tasks, uint32_t worker, struct task *task);
/* Those that are done, linked by `next`; NULL: none. */
struct task *tasks_collect(struct tasks *tasks);
/* Readable when some are done: an eventfd, for poll(). */
int tasks_fd(const struct tasks *tasks);

/* Those that were put for this worker, linked by `next`; NULL: none. */
struct task *tasks_take(struct tasks *tasks, uint32_t worker);
/* After raising the worker's sleeping flag, before sleeping. */
bool tasks_readable(struct tasks *tasks, uint32_t worker);

#endif
