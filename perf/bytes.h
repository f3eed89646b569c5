/* perf/bytes.h - slices, growing buffers, and the protobuf wire format on both.
 * Owns:    struct bytes owns its memory; a slice borrows. */
#ifndef PERF_BYTES_H
#define PERF_BYTES_H

#include "perf/perf.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

struct bytes {
    uint8_t *data;
    size_t len, capacity;
};

/* Room for `more` bytes at the end; they count only once `len` is raised. */
static inline uint8_t *bytes_reserve(struct bytes *bytes, size_t more)
{
    if (bytes->capacity - bytes->len < more) {
        size_t capacity = (bytes->len + more) * 2;
        uint8_t *data = realloc(bytes->data, capacity);
        if (data == NULL) perf_die("out of memory for a buffer of %zu bytes", capacity);
        bytes->data = data;
        bytes->capacity = capacity;
    }
    return bytes->data + bytes->len;
}
static inline void bytes_append(struct bytes *bytes, const void *data, size_t len)
{
    if (len == 0) return;
    memcpy(bytes_reserve(bytes, len), data, len);
    bytes->len += len;
}
static inline void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

/* ---- protobuf: varints and length-delimited fields, all this contract has ---- */

#define WIRE_VARINT     0u
#define WIRE_BYTES      2u
#define WIRE_VARINT_MAX 10

static inline uint32_t wire_varint_size(uint64_t value)
{
    return (uint32_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}
static inline uint8_t *wire_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}
static inline uint8_t *wire_put_head(uint8_t *at, uint32_t field, size_t len)
{
    return wire_put_varint(wire_put_varint(at, field << 3 | WIRE_BYTES), len);
}
static inline uint8_t *wire_put_bytes(uint8_t *at, uint32_t field, struct slice bytes)
{
    at = wire_put_head(at, field, bytes.len);
    memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}
static inline uint8_t *wire_put_u64(uint8_t *at, uint32_t field, uint64_t value)
{
    return wire_put_varint(wire_put_varint(at, field << 3 | WIRE_VARINT), value);
}
static inline size_t wire_bytes_size(uint32_t field, size_t len)
{
    return wire_varint_size(field << 3) + wire_varint_size(len) + len;
}
static inline size_t wire_u64_size(uint32_t field, uint64_t value)
{
    return wire_varint_size(field << 3) + wire_varint_size(value);
}

struct wire_field {
    uint32_t number;
    uint64_t value;     /* of a varint */
    struct slice bytes; /* of a length-delimited field; borrowed */
};

static inline bool wire_take_varint(struct slice *in, uint64_t *value)
{
    *value = 0;
    for (uint32_t i = 0; i < WIRE_VARINT_MAX && i < in->len; i++) {
        *value |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
        if (in->data[i] >= 0x80) continue;
        in->data += i + 1;
        in->len -= i + 1;
        return true;
    }
    return false;
}

/* Takes the next field from the front of `in`. False at the end, and when what follows is no field: then in->len is not 0. */
static inline bool wire_next(struct slice *in, struct wire_field *field)
{
    struct slice rest = *in;
    uint64_t tag, number;
    if (!wire_take_varint(&rest, &tag) || !wire_take_varint(&rest, &number)) return false;
    *field = (struct wire_field){.number = (uint32_t)(tag >> 3), .value = number};
    if ((tag & 7) == WIRE_BYTES) {
        if (number > rest.len) return false;
        field->bytes = (struct slice){rest.data, number};
        rest.data += number;
        rest.len -= number;
    } else if ((tag & 7) != WIRE_VARINT) {
        return false;
    }
    *in = rest;
    return true;
}

#endif
