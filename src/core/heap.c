/* core/heap.c - jemalloc's control interface. It is linked by name only: where another malloc is in its place the functions below are
 * not there, and nothing is told. */
#include "core/heap.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define HEAP_WORKERS_MAX 256

extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));
extern const char *malloc_conf; /* read by jemalloc before the first allocation */
const char *malloc_conf = HEAP_CONFIG;

static _Atomic uint32_t worker_count;
static _Atomic unsigned worker_arenas[HEAP_WORKERS_MAX];

void heap_enter_worker(void)
{
    unsigned arena = 0;
    size_t size = sizeof arena;
    if (mallctl == NULL || mallctl("arenas.create", &arena, &size, NULL, 0) != 0) return;
    if (mallctl("thread.arena", NULL, NULL, &arena, sizeof arena) != 0) return;
    uint32_t place = atomic_fetch_add(&worker_count, 1);
    if (place < HEAP_WORKERS_MAX) atomic_store(&worker_arenas[place], arena);
}

static uint64_t read_size(const char *name)
{
    size_t value = 0, size = sizeof value;
    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

static uint64_t read_arena(unsigned arena, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "stats.arenas.%u.%s.allocated", arena, what);
    return read_size(name);
}

static const uint64_t *thread_counter(const char *name)
{
    static const uint64_t nothing = 0;
    const uint64_t *counter = NULL;
    size_t size = sizeof counter;
    return mallctl != NULL && mallctl(name, &counter, &size, NULL, 0) == 0 ? counter : &nothing;
}

int64_t heap_thread_bytes(void)
{
    static _Thread_local const uint64_t *given, *back;
    if (given == NULL) {
        given = thread_counter("thread.allocatedp");
        back = thread_counter("thread.deallocatedp");
    }
    return (int64_t)(*given - *back);
}

struct heap_stats heap_read(void)
{
    if (mallctl == NULL) return (struct heap_stats){0};
    uint64_t epoch = 1;
    (void)mallctl("epoch", NULL, NULL, &epoch, sizeof epoch); /* what is read below is of this moment */
    struct heap_stats stats = {.resident_bytes = read_size("stats.resident"), .allocated_bytes = read_size("stats.allocated")};
    uint32_t count = atomic_load(&worker_count);
    for (uint32_t i = 0; i < count && i < HEAP_WORKERS_MAX; i++) {
        unsigned arena = atomic_load(&worker_arenas[i]);
        stats.workers_allocated_bytes += read_arena(arena, "small") + read_arena(arena, "large");
    }
    return stats;
}
