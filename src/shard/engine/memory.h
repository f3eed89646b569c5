/* shard/engine/memory.h - domain allocations: small, bounded by the entity and request limits, and not survivable when refused. */
#ifndef SHARD_MEMORY_H
#define SHARD_MEMORY_H

#include "core/check.h"
#include "core/cursor.h"
#include <stdlib.h>
#include <sys/mman.h>

#define CACHE_LINE 64 /* bytes */
#define MEMORY_LARGE_PAGE ((size_t)2 << 20)
#define MEMORY_SMALL_PAGE ((size_t)4 << 10)

static inline void *memory_alloc(size_t size) /* zeroed */
{
    void *p = calloc(1, size);
    if (UNLIKELY(p == NULL)) check_fatal("out of memory: %zu bytes for domain state; lower entities_max or add memory", size);
    return p;
}
/* Zeroed, in whole cache lines; the caller frees *memory. Every question goes to another page of a large table: with pages of 2 MiB,
 * which is only an advice, it costs no walk of the page table beside the cache miss. What is not come to stays unused. */
static inline void *memory_alloc_table(void **memory, size_t size)
{
    size_t alignment = size < MEMORY_LARGE_PAGE ? CACHE_LINE : MEMORY_LARGE_PAGE;
    *memory = memory_alloc(size + alignment);
    uint8_t *first = *memory;
    first += -(uintptr_t)first & (alignment - 1);
    if (size >= MEMORY_LARGE_PAGE) (void)madvise(first, size, MADV_HUGEPAGE);
    return first;
}
static inline void *memory_resize(void *old, size_t size)
{
    void *p = realloc(old, size);
    if (UNLIKELY(p == NULL)) check_fatal("out of memory: %zu bytes for domain state; lower entities_max or add memory", size);
    return p;
}
static inline char *memory_text(struct slice text) /* NUL-terminated copy */
{
    char *p = memory_alloc((size_t)text.len + 1);
    if (text.len > 0) memcpy(p, text.data, text.len);
    return p;
}

#endif
