/* core/buf.c - the payload pool: bufs in size classes, each class with a list of free ones.
 * A capacity up to 64 KiB is rounded up to a power of two and recycled through its class's list; a larger
 * one is rounded up to a page and goes back to malloc at once. The pool counts capacities, not requests, so its limit
 * bounds memory: at most size_max given out, plus a quarter of that waiting in the lists.
 * Under AddressSanitizer the bytes of a free buf are poisoned: a holder that kept the pointer is caught. */
#include "core/buf.h"
#include "core/check.h"
#include <stdlib.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define BUF_POISONS 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define BUF_POISONS 1
#endif
#ifdef BUF_POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define BUF_CLASS_CAPACITY_MIN 64u
#define BUF_CLASS_COUNT        11u /* 64 bytes << 0 .. 64 bytes << 10 = 64 KiB */

#define BUF_CLASS_LARGE BUF_CLASS_COUNT
#define BUF_PAGE_SIZE   4096u

/* What stands in the data bytes of a free buf. */
struct buf_link {
    struct buf *next;
};

struct buf_pool {
    size_t size_max_bytes;
    size_t used_bytes; /* capacities given out */
    size_t free_bytes; /* capacities waiting in the lists */
    uint64_t used_count;
    struct buf *free[BUF_CLASS_COUNT];
};

enum result buf_pool_create(struct buf_pool **out, size_t size_max_bytes)
{
    ASSERT(size_max_bytes > 0);
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return RESULT_NOMEM;
    (*out)->size_max_bytes = size_max_bytes;
    return RESULT_OK;
}

static struct buf *buf_pool_pop(struct buf_pool *pool, uint32_t size_class)
{
    struct buf *buf = pool->free[size_class];
    if (buf == NULL) return NULL;
    ASAN_UNPOISON_MEMORY_REGION(buf->data, buf->capacity);
    struct buf_link link;
    memcpy(&link, buf->data, sizeof link);
    pool->free[size_class] = link.next;
    pool->free_bytes -= buf->capacity;
    return buf;
}

static void buf_pool_push(struct buf_pool *pool, struct buf *buf)
{
    struct buf_link link = {pool->free[buf->size_class]};
    memcpy(buf->data, &link, sizeof link);
    pool->free[buf->size_class] = buf;
    pool->free_bytes += buf->capacity;
    ASAN_POISON_MEMORY_REGION(buf->data, buf->capacity);
}

void buf_pool_destroy(struct buf_pool *pool)
{
    if (pool == NULL) return;
    ASSERT(pool->used_count == 0);
    for (uint32_t i = 0; i < BUF_CLASS_COUNT; i++)
        for (struct buf *buf; (buf = buf_pool_pop(pool, i)) != NULL;) free(buf);
    free(pool);
}

size_t buf_pool_used_bytes(const struct buf_pool *pool)
{
    return pool->used_bytes;
}

static uint32_t buf_class_of(uint32_t capacity)
{
    uint32_t size_class = 0;
    while (size_class < BUF_CLASS_COUNT && (BUF_CLASS_CAPACITY_MIN << size_class) < capacity) size_class++;
    return size_class;
}

struct buf *buf_try_get(struct buf_pool *pool, uint32_t capacity)
{
    if (capacity > UINT32_MAX - BUF_PAGE_SIZE) return NULL;
    uint32_t size_class = buf_class_of(capacity);
    uint32_t rounded = size_class == BUF_CLASS_LARGE ? (capacity + BUF_PAGE_SIZE - 1) / BUF_PAGE_SIZE * BUF_PAGE_SIZE
                                                     : BUF_CLASS_CAPACITY_MIN << size_class;
    if (rounded > pool->size_max_bytes - pool->used_bytes) return NULL;
    struct buf *buf = size_class == BUF_CLASS_LARGE ? NULL : buf_pool_pop(pool, size_class);
    if (buf == NULL) buf = malloc(sizeof *buf + rounded);
    if (buf == NULL) return NULL;
    *buf = (struct buf){.pool = pool, .refs = 1, .capacity = rounded, .size_class = size_class};
    pool->used_bytes += rounded;
    pool->used_count++;
    return buf;
}

struct buf *buf_ref(struct buf *buf)
{
    ASSERT(buf->refs > 0 && buf->refs < UINT32_MAX);
    buf->refs++;
    return buf;
}

void buf_unref(struct buf **buf)
{
    struct buf *mine = *buf;
    *buf = NULL;
    if (mine == NULL) return;
    ASSERT(mine->refs > 0 && mine->len <= mine->capacity);
    if (--mine->refs > 0) return;
    struct buf_pool *pool = mine->pool;
    ASSERT(pool->used_bytes >= mine->capacity && pool->used_count > 0);
    pool->used_bytes -= mine->capacity;
    pool->used_count--;
    bool keep = mine->size_class != BUF_CLASS_LARGE && pool->free_bytes + mine->capacity <= pool->size_max_bytes / 4;
    if (keep)
        buf_pool_push(pool, mine);
    else
        free(mine);
}
