/* shard/memory.h - domain allocations: small, bounded by the entity and request limits, and not survivable when refused. */
#ifndef SHARD_MEMORY_H
#define SHARD_MEMORY_H

#include "core/check.h"
#include "core/cursor.h"
#include <stdlib.h>

#define CACHE_LINE 64 /* bytes */

static inline void *memory_alloc(size_t size) /* zeroed */
{
    void *p = calloc(1, size);
    if (UNLIKELY(p == NULL)) check_fatal("out of memory: %zu bytes for domain state; lower entities_max or add memory", size);
    return p;
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
