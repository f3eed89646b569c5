/* core/record.h - one list of fields gives a struct, its writer and its strict reader.
 * Thread:  any.                   Depends: core/cursor.h         Start at: core/core.h
 *
 *     #define SEND_FIELDS(F) F(u64, room_id) F(u8, kind) F(bytes, body)
 *     RECORD(send, SEND_FIELDS)
 *
 * gives `struct send_record {uint64_t room_id; uint8_t kind; struct slice body;}`, `send_record_write(w, &r)`,
 * `send_record_size(&r)` (what write adds), `send_record_read(&r, &cursor)` (false on short input; slices borrow the input), and
 * `send_record_is(&r, slice)`, which reads the one record that all of the slice is.
 *
 *     +---------+----------------+-----------------------------+
 *     | u8 ver  | fixed, LE      | bytes: u32 len LE | raw     |   fields in list order, no padding
 *     +---------+----------------+-----------------------------+
 *
 * A record grows at its end, by steps; each begins with the version that brings it, and the list stays in one place:
 *
 *     #define SEND_FIELDS(F, SINCE) F(u64, room_id) F(u8, kind) F(bytes, body) SINCE(2) F(u8, published_qos) SINCE(3) F(u64, expires_ms)
 *     RECORD_GROWN(send, SEND_FIELDS)
 *
 * writes all of it under version byte 3, and reads the versions before as well: what they do not have is zero and empty. What the fields of a
 * written list mean never changes. A version byte beyond `send_record_version` is refused. Records may follow each other in one slice. */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "core/check.h"
#include "core/cursor.h"
#include <stdbool.h>

/* Whether what grew is written with what it has grown by. The simulator alone is built with RECORD_SIMULATES_OLDER, and then may write as an
 * older version did, under version byte 1 (tests/sim/world.c); the server has no such switch. */
#ifdef RECORD_SIMULATES_OLDER
extern bool record_first_lists_only;
#define RECORD_WRITES_GROWN (!record_first_lists_only)
#else
#define RECORD_WRITES_GROWN 1
#endif

#define RECORD_TYPE_u8 uint8_t
#define RECORD_TYPE_u16 uint16_t
#define RECORD_TYPE_u32 uint32_t
#define RECORD_TYPE_u64 uint64_t
#define RECORD_TYPE_bytes struct slice

#define RECORD_SIZE_u8(value) sizeof(value)
#define RECORD_SIZE_u16(value) sizeof(value)
#define RECORD_SIZE_u32(value) sizeof(value)
#define RECORD_SIZE_u64(value) sizeof(value)
#define RECORD_SIZE_bytes(value) (sizeof(uint32_t) + (value).len)

/* What a field and a step of a list are in each of the places where the list stands. The steps set `absent`, which compilers know. */
#define RECORD_FIELD_DECLARE(type, name) RECORD_TYPE_##type name;
#define RECORD_FIELD_PUT(type, name) if (!absent) at = record_put_##type(at, r->name);
#define RECORD_FIELD_SIZE(type, name) if (!absent) size += RECORD_SIZE_##type(r->name);
#define RECORD_FIELD_READ(type, name) if (!absent) r->name = cursor_##type(c); else memset(&r->name, 0, sizeof r->name);
#define RECORD_FIELD_NOTHING(type, name)
#define RECORD_SINCE(version_) absent = version < (version_);
#define RECORD_SINCE_NOTHING(version_)
#define RECORD_SINCE_COUNT(version_) + 1
#define RECORD_SINCE_NEWEST(version_) *0 + (version_)

/* Each gives the place behind what it wrote: the room is reserved for a whole record at once. */
#define RECORD_PUT(type, name)                                                                                         \
    static inline uint8_t *record_put_##name(uint8_t *at, type value)                                                  \
    {                                                                                                                  \
        memcpy(at, &value, sizeof value);                                                                              \
        return at + sizeof value;                                                                                      \
    }
RECORD_PUT(uint8_t, u8)
RECORD_PUT(uint16_t, u16)
RECORD_PUT(uint32_t, u32)
RECORD_PUT(uint64_t, u64)
#undef RECORD_PUT
static inline uint8_t *record_put_bytes(uint8_t *at, struct slice value)
{
    at = record_put_u32(at, value.len);
    if (value.len > 0) memcpy(at, value.data, value.len);
    return at + value.len;
}

#define RECORD(name, FIELDS)                                                                                           \
    RECORD_DEFINE(name, 1, FIELDS(RECORD_FIELD_DECLARE), FIELDS(RECORD_FIELD_SIZE), FIELDS(RECORD_FIELD_PUT), FIELDS(RECORD_FIELD_READ))
#define RECORD_GROWN(name, FIELDS)                                                                                     \
    _Static_assert((1 FIELDS(RECORD_FIELD_NOTHING, RECORD_SINCE_NEWEST)) == (1 FIELDS(RECORD_FIELD_NOTHING, RECORD_SINCE_COUNT)), \
                   "the steps are 2, 3, 4 ...");                                                                       \
    RECORD_DEFINE(name, 1 FIELDS(RECORD_FIELD_NOTHING, RECORD_SINCE_NEWEST), FIELDS(RECORD_FIELD_DECLARE, RECORD_SINCE_NOTHING), \
              FIELDS(RECORD_FIELD_SIZE, RECORD_SINCE), FIELDS(RECORD_FIELD_PUT, RECORD_SINCE), FIELDS(RECORD_FIELD_READ, RECORD_SINCE))

#define RECORD_DEFINE(name, newest, DECLARED, SIZED, PUT, READ)                                                        \
    struct name##_record {                                                                                             \
        DECLARED                                                                                                       \
    };                                                                                                                 \
    enum { name##_record_version = newest };                                                                           \
    static inline uint32_t name##_record_size(const struct name##_record *r)                                           \
    {                                                                                                                  \
        const uint8_t version = RECORD_WRITES_GROWN ? name##_record_version : 1;                                       \
        bool absent = false;                                                                                           \
        size_t size = sizeof version;                                                                                  \
        SIZED                                                                                                          \
        (void)absent;                                                                                                  \
        return (uint32_t)size;                                                                                         \
    }                                                                                                                  \
    static inline void name##_record_write(struct writer *w, const struct name##_record *r)                            \
    {                                                                                                                  \
        const uint8_t version = RECORD_WRITES_GROWN ? name##_record_version : 1;                                       \
        bool absent = false;                                                                                           \
        uint8_t *at = writer_reserve(w, name##_record_size(r));                                                        \
        if (at == NULL) return;                                                                                        \
        *at++ = version;                                                                                               \
        PUT                                                                                                            \
        (void)at;                                                                                                      \
        (void)absent;                                                                                                  \
    }                                                                                                                  \
    static inline __attribute__((always_inline)) bool name##_record_read(struct name##_record *r, struct cursor *c)    \
    {                                                                                                                  \
        const uint8_t version = cursor_u8(c);                                                                          \
        bool absent = false;                                                                                           \
        if (version < 1 || version > name##_record_version) c->bad = true;                                             \
        READ                                                                                                           \
        (void)absent;                                                                                                  \
        return !c->bad;                                                                                                \
    }                                                                                                                  \
    static inline bool name##_record_is(struct name##_record *r, struct slice bytes)                                   \
    {                                                                                                                  \
        struct cursor c = cursor_of(bytes);                                                                            \
        return name##_record_read(r, &c) && cursor_done(&c);                                                           \
    }

/* The one record that `slice` is, of bytes that are our own: reading them cannot fail. */
#define RECORD_OF(name, slice_)                                                                                        \
    __extension__({                                                                                                    \
        struct name##_record record_;                                                                                  \
        struct cursor cursor_ = cursor_of(slice_);                                                                     \
        bool read_ = name##_record_read(&record_, &cursor_);                                                           \
        ASSERT(read_ && cursor_done(&cursor_));                                                                        \
        record_;                                                                                                       \
    })

#endif
