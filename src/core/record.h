/* core/record.h - one list of fields gives a struct, its writer and its strict reader.
 * Thread:  any.                   Depends: core/cursor.h         Start at: core/core.h
 *
 *     #define SEND_FIELDS(F) F(u64, room_id) F(u8, kind) F(bytes, body)
 *     RECORD(send, SEND_FIELDS)
 *
 * gives `struct send_record {uint64_t room_id; uint8_t kind; struct slice body;}`, `send_record_write(w, &r)`,
 * `send_record_size(&r)` (what write adds) and `send_record_read(&r, &cursor)` (false on short input; slices borrow the input).
 *
 *     +---------+----------------+-----------------------------+
 *     | u8 ver  | fixed, LE      | bytes: u32 len LE | raw     |   fields in list order, no padding
 *     +---------+----------------+-----------------------------+
 *
 * A record grows by a second list: RECORD_2(send, SEND_FIELDS, SEND_FIELDS_2) writes both lists under version byte 2. It reads
 * version 1 as well, whose second list is zero and empty. What the fields of a written list mean never changes. A version byte
 * beyond the record's newest is refused. Records may follow each other in one slice. */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "core/check.h"
#include "core/cursor.h"

/* Whether what grew is written with its second list. The simulator alone is built with RECORD_SIMULATES_OLDER, and then may write as an
 * older version did, under version byte 1 (tests/sim/world.c); the server has no such switch. */
#ifdef RECORD_SIMULATES_OLDER
#include <stdbool.h>
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

#define RECORD_FIELD_DECLARE(type, name) RECORD_TYPE_##type name;
#define RECORD_FIELD_PUT(type, name) at = record_put_##type(at, r->name);
#define RECORD_FIELD_SIZE(type, name) size += RECORD_SIZE_##type(r->name);
#define RECORD_FIELD_READ(type, name) r->name = cursor_##type(c);

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

#define RECORD_NO_FIELDS(F)
#define RECORD(name, FIELDS) RECORD_OF_VERSION(1, name, FIELDS, RECORD_NO_FIELDS)
#define RECORD_2(name, FIELDS, FIELDS_2) RECORD_OF_VERSION(2, name, FIELDS, FIELDS_2)

#define RECORD_IS_WHOLE(newest) ((newest) == 1 || RECORD_WRITES_GROWN)
#define RECORD_FIELD_ZERO(type, name) memset(&r->name, 0, sizeof r->name);
#define RECORD_OF_VERSION(newest, name, FIELDS, FIELDS_2)                                                              \
    struct name##_record {                                                                                             \
        FIELDS(RECORD_FIELD_DECLARE)                                                                                   \
        FIELDS_2(RECORD_FIELD_DECLARE)                                                                                 \
    };                                                                                                                 \
    static inline uint32_t name##_record_size(const struct name##_record *r)                                           \
    {                                                                                                                  \
        size_t size = 1;                                                                                               \
        FIELDS(RECORD_FIELD_SIZE)                                                                                      \
        if (RECORD_IS_WHOLE(newest)) {                                                                                 \
            FIELDS_2(RECORD_FIELD_SIZE)                                                                                \
        }                                                                                                              \
        return (uint32_t)size;                                                                                         \
    }                                                                                                                  \
    static inline void name##_record_write(struct writer *w, const struct name##_record *r)                            \
    {                                                                                                                  \
        uint8_t *at = writer_reserve(w, name##_record_size(r));                                                        \
        if (at == NULL) return;                                                                                        \
        *at++ = RECORD_IS_WHOLE(newest) ? newest : 1;                                                                  \
        FIELDS(RECORD_FIELD_PUT)                                                                                       \
        if (RECORD_IS_WHOLE(newest)) {                                                                                 \
            FIELDS_2(RECORD_FIELD_PUT)                                                                                 \
        }                                                                                                              \
        (void)at;                                                                                                      \
    }                                                                                                                  \
    static inline __attribute__((always_inline)) bool name##_record_read(struct name##_record *r, struct cursor *c)    \
    {                                                                                                                  \
        uint8_t version = cursor_u8(c);                                                                                \
        if (version < 1 || version > newest) c->bad = true;                                                            \
        FIELDS(RECORD_FIELD_READ)                                                                                      \
        if (version >= 2) {                                                                                            \
            FIELDS_2(RECORD_FIELD_READ)                                                                                \
        } else {                                                                                                       \
            FIELDS_2(RECORD_FIELD_ZERO)                                                                                \
        }                                                                                                              \
        return !c->bad;                                                                                                \
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
