/* core/buf.c - the payload pool: the account of what malloc gave, and lists of small blocks that wait to be given out again.
 * A block is rounded up to a quarter of a power of two, which malloc's own classes waste nothing of, so a buf is at most a quarter
 * larger than what was asked. The few small blocks that are kept are those of a usual turn: they cost no malloc, and the last one back is
 * the first one out, so its memory is in the processor's cache. All else that a crowd of slow readers held is malloc's again when they
 * have gone, and malloc gives it to the system (core/heap.h). */
#include "core/buf.h"
#include "core/check.h"
#include <stdlib.h>

#define BUF_BLOCK_STEP_MIN  16u
#define BUF_BLOCK_SIZE_MAX  (1u << 30)
#define KEPT_BLOCK_SIZE_MAX 65536u
#define KEPT_CLASS_COUNT    64u /* quarters of powers of two, up to that size */
#ifdef __SANITIZE_ADDRESS__
#define KEEPS false /* a freed block is the sanitizer's, so that it sees who goes on using it */
#else
#define KEEPS true
#endif

/* What stands in the data of a free block. */
struct kept_link {
    struct buf *next;
};

struct buf_pool {
    size_t size_max_bytes;
    size_t used_bytes;     /* blocks given out */
    size_t charged_bytes;  /* beside them */
    size_t expected_bytes; /* of both, about to come back */
    uint64_t used_count;
    void (*make_room)(void *context, size_t bytes); /* NULL: nobody does */
    void *make_room_context;
    bool making_room;
    struct buf *kept[KEPT_CLASS_COUNT]; /* free blocks of one size each */
    size_t kept_bytes;
};

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* The power of two below `size`: 2^power < size <= 2^(power + 1). */
static uint32_t block_power(uint32_t size) { return 31u - (uint32_t)__builtin_clz(size - 1u); }

static uint32_t block_size(uint32_t size)
{
    uint32_t step = 1u << (block_power(size) - 2u);
    if (step < BUF_BLOCK_STEP_MIN) step = BUF_BLOCK_STEP_MIN;
    return (size + step - 1u) & ~(step - 1u);
}

/* The list for a size that block_size() gave. */
static struct buf **kept_of(struct buf_pool *pool, uint32_t size)
{
    uint32_t power = block_power(size);
    return &pool->kept[power * 4u + ((size - 1u) >> (power - 2u) & 3u)];
}

static struct buf *kept_pop(struct buf_pool *pool, struct buf **first)
{
    struct buf *block = *first;
    if (block == NULL) return NULL;
    struct kept_link link;
    memcpy(&link, block->data, sizeof link);
    *first = link.next;
    pool->kept_bytes -= buf_memory_bytes(block);
    return block;
}

static void kept_free_all(struct buf_pool *pool)
{
    for (uint32_t i = 0; i < KEPT_CLASS_COUNT; i++)
        for (struct buf *block; (block = kept_pop(pool, &pool->kept[i])) != NULL;) free(block);
}

static struct buf *block_get(struct buf_pool *pool, uint32_t size)
{
    struct buf *block = size > KEPT_BLOCK_SIZE_MAX ? NULL : kept_pop(pool, kept_of(pool, size));
    return block != NULL ? block : malloc(size);
}

/* At the limit all go, so that sizes that are no longer asked for do not stay. */
static void block_put(struct buf_pool *pool, struct buf *block)
{
    uint32_t size = buf_memory_bytes(block);
    if (size > KEPT_BLOCK_SIZE_MAX || !KEEPS) {
        free(block);
        return;
    }
    if (pool->kept_bytes + size > BUF_KEPT_SIZE_MAX) kept_free_all(pool);
    struct buf **first = kept_of(pool, size);
    struct kept_link link = {*first};
    memcpy(block->data, &link, sizeof link);
    *first = block;
    pool->kept_bytes += size;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

enum result buf_pool_create(struct buf_pool **out, size_t size_max_bytes)
{
    ASSERT(size_max_bytes > 0);
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return RESULT_NOMEM;
    (*out)->size_max_bytes = size_max_bytes;
    return RESULT_OK;
}

void buf_pool_destroy(struct buf_pool *pool)
{
    if (pool == NULL) return;
    ASSERT(pool->used_count == 0 && pool->used_bytes == 0 && pool->charged_bytes == 0 && pool->expected_bytes == 0);
    kept_free_all(pool);
    free(pool);
}

size_t buf_pool_used_bytes(const struct buf_pool *pool) { return pool->used_bytes; }
size_t buf_pool_kept_bytes(const struct buf_pool *pool) { return pool->kept_bytes; }
size_t buf_pool_charged_bytes(const struct buf_pool *pool) { return pool->used_bytes + pool->charged_bytes; }
size_t buf_pool_size_max_bytes(const struct buf_pool *pool) { return pool->size_max_bytes; }

/* ---- the limit --------------------------------------------------------------------------------------------------- */

/* How much `bytes` more are too many. */
static size_t buf_pool_excess(const struct buf_pool *pool, size_t bytes)
{
    size_t counted = pool->used_bytes + pool->charged_bytes + bytes;
    size_t allowed = pool->size_max_bytes + pool->expected_bytes;
    return counted > allowed ? counted - allowed : 0;
}

/* True when `bytes` more are within the limit, if need be after the owner made room. */
static bool buf_pool_has_room(struct buf_pool *pool, size_t bytes)
{
    size_t excess = buf_pool_excess(pool, bytes);
    if (excess == 0) return true;
    if (pool->make_room == NULL || pool->making_room || bytes > pool->size_max_bytes) return false;
    pool->making_room = true;
    pool->make_room(pool->make_room_context, excess);
    pool->making_room = false;
    return buf_pool_excess(pool, bytes) == 0;
}

void buf_pool_on_full(struct buf_pool *pool, void (*make_room)(void *context, size_t bytes), void *context)
{
    pool->make_room = make_room;
    pool->make_room_context = context;
}

void buf_pool_charge(struct buf_pool *pool, int64_t bytes)
{
    ASSERT(bytes >= 0 || pool->charged_bytes >= (size_t)-bytes);
    pool->charged_bytes += (size_t)bytes;
    if (bytes > 0) (void)buf_pool_has_room(pool, 0);
}

void buf_pool_expect(struct buf_pool *pool, int64_t bytes)
{
    ASSERT(bytes >= 0 || pool->expected_bytes >= (size_t)-bytes);
    pool->expected_bytes += (size_t)bytes;
}

/* ---- bufs -------------------------------------------------------------------------------------------------------- */

struct buf *buf_try_get(struct buf_pool *pool, uint32_t capacity)
{
    if (capacity > BUF_BLOCK_SIZE_MAX - BUF_HEAD_SIZE) return NULL;
    uint32_t size = block_size(BUF_HEAD_SIZE + capacity);
    if (!buf_pool_has_room(pool, size)) return NULL;
    struct buf *buf = block_get(pool, size);
    if (buf == NULL) return NULL;
    *buf = (struct buf){.pool = pool, .refs = 1, .capacity = size - BUF_HEAD_SIZE};
    pool->used_bytes += size;
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
    ASSERT(pool->used_bytes >= buf_memory_bytes(mine) && pool->used_count > 0);
    pool->used_bytes -= buf_memory_bytes(mine);
    pool->used_count--;
    block_put(pool, mine);
}
