/* api/wire.h - the protobuf wire format, for what is read and written without protobuf-c's structs.
 * Thread: any.                    Depends: core/cursor.h.        Start at: api/api.h
 *
 *     +------------------------------+-----------------------------------------------------------------+
 *     | varint: number << 3 | type   | by type: 0 varint | 1 eight bytes | 2 varint len, bytes | 5 four |
 *     +------------------------------+-----------------------------------------------------------------+
 *
 * Groups (types 3 and 4) are refused: proto3 has none. A varint has at most ten bytes, the tenth at most 1. */
#ifndef API_WIRE_H
#define API_WIRE_H

#include "core/check.h"
#include "core/cursor.h"

#define WIRE_VARINT     0u
#define WIRE_FIXED64    1u
#define WIRE_BYTES      2u
#define WIRE_FIXED32    5u
#define WIRE_VARINT_MAX 10 /* bytes */

struct wire_field {
    uint32_t number;
    uint32_t type;
    uint64_t value;     /* WIRE_VARINT */
    struct slice bytes; /* WIRE_BYTES; borrowed */
};

static inline uint64_t wire_varint(struct cursor *c)
{
    if (!c->bad && c->at != c->end && *c->at < 0x80) return *c->at++; /* tags and most lengths are one byte */
    uint64_t value = 0;
    if (!c->bad && c->end - c->at >= WIRE_VARINT_MAX) { /* ids have seven bytes or eight: the end need not be looked for at each */
        const uint8_t *p = c->at;
        for (uint32_t shift = 0; shift < 63; shift += 7) {
            value |= (uint64_t)(*p & 0x7f) << shift;
            if (*p++ >= 0x80) continue;
            c->at = p;
            return value;
        }
        value = 0; /* ten bytes */
    }
    for (uint32_t i = 0; i < WIRE_VARINT_MAX; i++) {
        uint8_t byte = cursor_u8(c);
        if (i == WIRE_VARINT_MAX - 1 && byte > 1) break;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) return value;
    }
    c->bad = true;
    return 0;
}

/* Reads the next field; false at the end and when `c` is bad. */
static inline bool wire_next(struct cursor *c, struct wire_field *field)
{
    if (c->bad || c->at == c->end) return false;
    uint64_t tag = wire_varint(c);
    *field = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (uint32_t)(tag & 7)};
    if (tag > UINT32_MAX || field->number == 0) c->bad = true;
    if (field->type == WIRE_VARINT) {
        field->value = wire_varint(c);
    } else if (field->type == WIRE_BYTES) {
        uint64_t len = wire_varint(c);
        const uint8_t *data = cursor_take(c, len);
        if (data != NULL) field->bytes = slice_of(data, len);
    } else if (field->type == WIRE_FIXED64) {
        (void)cursor_take(c, 8);
    } else if (field->type == WIRE_FIXED32) {
        (void)cursor_take(c, 4);
    } else {
        c->bad = true;
    }
    return !c->bad;
}

static inline uint32_t wire_varint_size(uint64_t value)
{
    return (uint32_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

/* Returns the first byte after it; at most WIRE_VARINT_MAX are written. */
static inline uint8_t *wire_put_varint(uint8_t *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) *p++ = (uint8_t)(value | 0x80);
    *p++ = (uint8_t)value;
    return p;
}

static inline uint32_t wire_tag(uint32_t number, uint32_t type)
{
    return number << 3 | type;
}
static inline uint32_t wire_tag_size(uint32_t number)
{
    return wire_varint_size(wire_tag(number, 0));
}
/* Size of a whole field of type WIRE_BYTES. */
static inline uint64_t wire_bytes_size(uint32_t number, uint64_t len)
{
    return wire_tag_size(number) + wire_varint_size(len) + len;
}

/* Up to two varints, most often straight into the writer. */
static inline void wire_write_varints(struct writer *out, const uint64_t *values, uint32_t count)
{
    uint8_t bytes[2 * WIRE_VARINT_MAX];
    ASSERT(count <= 2);
    bool fits = !out->failed && out->capacity - out->len >= sizeof bytes;
    uint8_t *begin = fits ? out->data + out->len : bytes, *p = begin;
    for (uint32_t i = 0; i < count; i++) p = wire_put_varint(p, values[i]);
    if (fits) out->len += (size_t)(p - begin);
    else writer_raw(out, bytes, (size_t)(p - begin));
}
static inline void wire_write_varint(struct writer *out, uint64_t value) { wire_write_varints(out, &value, 1); }
static inline void wire_write_tag(struct writer *out, uint32_t number, uint32_t type)
{
    wire_write_varint(out, wire_tag(number, type));
}
/* Tag and length; `len` bytes must follow. */
static inline void wire_write_head(struct writer *out, uint32_t number, uint64_t len)
{
    wire_write_varints(out, (uint64_t[]){wire_tag(number, WIRE_BYTES), len}, 2);
}

/* Fields as proto3 writes them: one that holds its default is left out. */
static inline void wire_write_u64(struct writer *out, uint32_t number, uint64_t value)
{
    if (value != 0) wire_write_varints(out, (uint64_t[]){wire_tag(number, WIRE_VARINT), value}, 2);
}
static inline void wire_write_bytes(struct writer *out, uint32_t number, struct slice bytes)
{
    if (bytes.len == 0) return;
    wire_write_head(out, number, bytes.len);
    writer_raw(out, bytes.data, bytes.len);
}

/* A nested message of unknown length: remember wire_nest_begin()'s place after the tag, write the content, then
 * wire_nest_end() moves the content up by the size of its length. Nesting is shallow, so the moves cost less than
 * counting first. */
static inline size_t wire_nest_begin(const struct writer *out)
{
    return out->len;
}
/* With its tag. */
static inline size_t wire_message_begin(struct writer *out, uint32_t number)
{
    wire_write_tag(out, number, WIRE_BYTES);
    return wire_nest_begin(out);
}
static inline void wire_nest_end(struct writer *out, size_t begin)
{
    if (out->failed) return;
    ASSERT(begin <= out->len);
    size_t content_len = out->len - begin;
    uint32_t size = wire_varint_size(content_len);
    if (writer_reserve(out, size) == NULL) return;
    memmove(out->data + begin + size, out->data + begin, content_len);
    (void)wire_put_varint(out->data + begin, content_len);
}

#endif
