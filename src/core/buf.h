/* core/buf.h - refcounted payload bytes, from a pool with a stated limit.
 * Owns:    a pool owns every buf it gave out; it may be destroyed only when all came back.
 * Thread:  the worker that owns the pool; counts are plain ints. Bytes for another worker travel in a letter.
 * Depends: core/ only.            Start at: core/core.h */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "core/cursor.h"
#include "core/result.h"

struct buf_pool;

struct buf {
    struct buf_pool *pool;
    uint32_t refs;
    uint32_t len;      /* bytes in use */
    uint32_t capacity; /* bytes available in data */
    uint32_t size_class;
    uint8_t data[];
};

/* `size_max_bytes`: the sum of all capacities given out at one time; beyond it buf_try_get() gives NULL. */
NODISCARD enum result buf_pool_create(struct buf_pool **out, size_t size_max_bytes);
/* Asserts that every buf came back. */
void buf_pool_destroy(struct buf_pool *pool);
size_t buf_pool_used_bytes(const struct buf_pool *pool);

/* One reference, len 0, capacity >= `capacity`. NULL at the limit: backpressure, not a crash. */
struct buf *buf_try_get(struct buf_pool *pool, uint32_t capacity);
struct buf *buf_ref(struct buf *buf);
/* Drops the reference at *buf and leaves NULL there; NULL is allowed. */
void buf_unref(struct buf **buf);
static inline struct slice buf_slice(const struct buf *buf) { return slice_of(buf->data, buf->len); }

#endif
