/* core/spsc.c - the ring of spsc.h: two positions that only grow, each written by one thread.
 * The producer's `tail` is released after the slots it covers are filled; the consumer's `head` is released after the
 * slots it gives back were read. Each side keeps a copy of the other's position and looks at the real one only when the
 * copy says full or empty, so that a busy ring moves one cache line per batch and not one per item. */
#include "core/spsc.h"
#include "core/check.h"
#include <stdatomic.h>
#include <stdlib.h>

#define CACHE_LINE 64

struct spsc {
    uint32_t mask; /* set once */

    /* producer */
    _Alignas(CACHE_LINE) _Atomic uint32_t tail; /* published; the consumer reads it */
    uint32_t staged;                            /* position after the last staged item */
    uint32_t head_copy;

    /* consumer */
    _Alignas(CACHE_LINE) _Atomic uint32_t head; /* given back; the producer reads it */
    uint32_t tail_copy;

    _Alignas(CACHE_LINE) void *slots[];
};

enum result spsc_create(struct spsc **out, uint32_t capacity)
{
    ASSERT(capacity > 0 && (capacity & (capacity - 1)) == 0 && capacity <= UINT32_MAX / 2);
    size_t size = sizeof(struct spsc) + capacity * sizeof(void *);
    *out = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    if (*out == NULL) return RESULT_NOMEM;
    **out = (struct spsc){.mask = capacity - 1};
    return RESULT_OK;
}

uint64_t spsc_memory_bytes(const struct spsc *ring) { return sizeof *ring + (ring->mask + 1ull) * sizeof(void *); }

void spsc_destroy(struct spsc *ring)
{
    free(ring);
}

bool spsc_try_stage(struct spsc *ring, void *item)
{
    ASSERT(item != NULL);
    if (ring->staged - ring->head_copy > ring->mask) {
        /* Acquire: the consumer has read a slot before we overwrite it. */
        ring->head_copy = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (ring->staged - ring->head_copy > ring->mask) return false;
    }
    ring->slots[ring->staged++ & ring->mask] = item;
    return true;
}

bool spsc_publish(struct spsc *ring)
{
    if (atomic_load_explicit(&ring->tail, memory_order_relaxed) == ring->staged) return false;
    /* Release: the slots, and what their items point to, are written before the consumer sees the position. */
    atomic_store_explicit(&ring->tail, ring->staged, memory_order_release);
    return true;
}

uint32_t spsc_take(struct spsc *ring, void **items, uint32_t max)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (ring->tail_copy - head < max) ring->tail_copy = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint32_t visible = ring->tail_copy - head;
    uint32_t count = visible < max ? visible : max;
    for (uint32_t i = 0; i < count; i++) items[i] = ring->slots[(head + i) & ring->mask];
    /* Release: our reads of the slots end before the producer may fill them again. */
    if (count > 0) atomic_store_explicit(&ring->head, head + count, memory_order_release);
    return count;
}

bool spsc_readable(struct spsc *ring)
{
    ring->tail_copy = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return ring->tail_copy != atomic_load_explicit(&ring->head, memory_order_relaxed);
}
