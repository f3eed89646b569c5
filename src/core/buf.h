/* core/buf.h - refcounted payload bytes, from a pool with a stated limit.
 * Owns:    a pool owns every buf it gave out; it may be destroyed only when all came back.
 * Thread:  the worker that owns the pool; counts are plain ints. Bytes for another worker travel in a letter.
 * Depends: core/ only.            Start at: core/core.h
 *
 * The pool keeps the account of everything that is under way to and from connections: its bufs by the memory they take, and what
 * holders keep elsewhere for the same purpose (buf_pool_charge). At the limit it asks its owner to make room, before it refuses. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "core/cursor.h"
#include "core/result.h"

struct buf_pool;

#define BUF_KEPT_SIZE_MAX 2097152u /* of free blocks that are kept to be given out again */

struct buf {
    struct buf_pool *pool;
    uint32_t refs;
    uint32_t len;      /* bytes in use */
    uint32_t capacity; /* bytes available in data */
    _Alignas(8) uint8_t data[];
};
#define BUF_HEAD_SIZE ((uint32_t)offsetof(struct buf, data))

/* `size_max_bytes`: of what is given out and charged at one time; beyond it buf_try_get() gives NULL. */
NODISCARD enum result buf_pool_create(struct buf_pool **out, size_t size_max_bytes);
/* Asserts that every buf came back and nothing is charged. */
void buf_pool_destroy(struct buf_pool *pool);
/* Memory of the bufs given out; of the free blocks that are kept beside them; and of all that counts against the limit. */
size_t buf_pool_used_bytes(const struct buf_pool *pool);
size_t buf_pool_kept_bytes(const struct buf_pool *pool);
size_t buf_pool_charged_bytes(const struct buf_pool *pool);
size_t buf_pool_size_max_bytes(const struct buf_pool *pool);

/* `make_room` runs inside buf_try_get() and buf_pool_charge() when `bytes` more than may be are wanted: it gives bufs back, or says
 * which are about to come (buf_pool_expect). */
void buf_pool_on_full(struct buf_pool *pool, void (*make_room)(void *context, size_t bytes), void *context);
/* Counts memory beside the bufs that serves the same purpose; it is there already, so this does not refuse. A negative number counts less. */
void buf_pool_charge(struct buf_pool *pool, int64_t bytes);
/* So much of what is given out or charged comes back as soon as the kernel lets go of it, and does not count until then. */
void buf_pool_expect(struct buf_pool *pool, int64_t bytes);

/* One reference, len 0, capacity >= `capacity`. NULL at the limit: backpressure, not a crash. */
struct buf *buf_try_get(struct buf_pool *pool, uint32_t capacity);
struct buf *buf_ref(struct buf *buf);
/* Drops the reference at *buf and leaves NULL there; NULL is allowed. */
void buf_unref(struct buf **buf);
static inline struct slice buf_slice(const struct buf *buf) { return slice_of(buf->data, buf->len); }
/* What it takes of the pool. */
static inline uint32_t buf_memory_bytes(const struct buf *buf) { return BUF_HEAD_SIZE + buf->capacity; }

#endif
