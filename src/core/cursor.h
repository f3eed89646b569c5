/* core/cursor.h - reading and writing flat little-endian bytes; the base of log, ring and store records.
 * Owns:    a writer owns its growing bytes; a cursor borrows what it reads.
 * Thread:  any one thread at a time.
 * Depends: nothing.               Start at: core/core.h
 * A cursor is sticky: after the first read past the end every read gives zero and `bad` stays set, so a decoder reads
 * all its fields and asks once, cursor_done(). A writer is sticky too: `failed` is set when memory or `size_max` ran out. */
#ifndef CORE_CURSOR_H
#define CORE_CURSOR_H

#include "core/check.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice { /* borrowed bytes */
    const uint8_t *data;
    uint32_t len;
};
#define SLICE_EMPTY ((struct slice){NULL, 0})
#define SLICE_TEXT(literal) ((struct slice){(const uint8_t *)(literal), (uint32_t)sizeof(literal) - 1})

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, (uint32_t)len};
}
static inline struct slice slice_text(const char *text) { return slice_of(text, strlen(text)); }
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct cursor cursor_of(struct slice bytes)
{
    /* Nothing is added to a NULL pointer, not even 0: C leaves that undefined. */
    return (struct cursor){bytes.data, bytes.len == 0 ? bytes.data : bytes.data + bytes.len, false};
}
static inline size_t cursor_left(const struct cursor *c) { return (size_t)(c->end - c->at); }
/* True when every read was inside and nothing trails. */
static inline bool cursor_done(const struct cursor *c) { return !c->bad && c->at == c->end; }

static inline const uint8_t *cursor_take(struct cursor *c, size_t len)
{
    if (c->bad || cursor_left(c) < len) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    if (len > 0) c->at += len;
    return p;
}

#define CURSOR_READ(type, name)                                                                                        \
    static inline type cursor_##name(struct cursor *c)                                                                 \
    {                                                                                                                  \
        type value = 0;                                                                                                \
        const uint8_t *p = cursor_take(c, sizeof value);                                                               \
        if (p != NULL) memcpy(&value, p, sizeof value);                                                                \
        return value;                                                                                                  \
    }
CURSOR_READ(uint8_t, u8)
CURSOR_READ(uint16_t, u16)
CURSOR_READ(uint32_t, u32)
CURSOR_READ(uint64_t, u64)
#undef CURSOR_READ

/* u32 length, then the bytes; borrowed from what the cursor reads. */
static inline struct slice cursor_bytes(struct cursor *c)
{
    uint32_t len = cursor_u32(c);
    const uint8_t *p = cursor_take(c, len);
    return p == NULL ? SLICE_EMPTY : slice_of(p, len);
}

struct writer {
    uint8_t *data; /* owned; writer_deinit() frees */
    size_t len, capacity;
    size_t size_max; /* 0: only memory limits it */
    bool failed;
};

void writer_init(struct writer *w, size_t size_max);
void writer_deinit(struct writer *w);
/* The rare half of writer_reserve(): grows, or fails. */
uint8_t *writer_reserve_grown(struct writer *w, size_t len);
/* Room for `len` more bytes; NULL, and `failed` set, when there is none. The pointer lives until the next write. */
static inline uint8_t *writer_reserve(struct writer *w, size_t len)
{
    if (w->failed || w->data == NULL || len > w->capacity - w->len) return writer_reserve_grown(w, len);
    uint8_t *at = w->data + w->len;
    w->len += len;
    return at;
}
static inline void writer_reset(struct writer *w)
{
    w->len = 0;
    w->failed = false;
}
static inline struct slice writer_slice(const struct writer *w) { return slice_of(w->data, w->len); }

static inline void writer_raw(struct writer *w, const void *data, size_t len)
{
    uint8_t *p = writer_reserve(w, len);
    if (p != NULL && len > 0) memcpy(p, data, len);
}
/* Of a queue of bytes, of which those before *at are of no use any more: moves the others to its begin. */
static inline void writer_forget(struct writer *w, size_t *at)
{
    ASSERT(*at <= w->len);
    if (*at > 0) memmove(w->data, w->data + *at, w->len - *at);
    w->len -= *at;
    *at = 0;
}
static inline void writer_u8(struct writer *w, uint8_t v) { writer_raw(w, &v, sizeof v); }
static inline void writer_u16(struct writer *w, uint16_t v) { writer_raw(w, &v, sizeof v); }
static inline void writer_u32(struct writer *w, uint32_t v) { writer_raw(w, &v, sizeof v); }
static inline void writer_u64(struct writer *w, uint64_t v) { writer_raw(w, &v, sizeof v); }
/* Big-endian, for store keys that must sort by number. */
static inline void writer_u64be(struct writer *w, uint64_t v) { writer_u64(w, __builtin_bswap64(v)); }
static inline void writer_u16be(struct writer *w, uint16_t v) { writer_u16(w, __builtin_bswap16(v)); }
static inline void writer_bytes(struct writer *w, struct slice s)
{
    writer_u32(w, s.len);
    writer_raw(w, s.data, s.len);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "flat records are written as the machine holds them");

#endif
