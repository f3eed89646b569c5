/* api/json_write.c - protobuf to JSON: a walk over the descriptor writes straight into the writer, no tree between.
 * Fields come in the order of their numbers. Recursion is as deep as the contract nests, which api_init() bounds. */
#include "api/envelope.h"
#include "api/json_internal.h"
#include "api/utf8.h"
#include "core/check.h"
#include <sodium.h>

/* protobuf-c's structs are larger than their wire form; no message comes near so many times its size. */
#define UNPACKED_SIZE_FACTOR 256

static void write_members(const ProtobufCMessage *message, struct writer *out);

void json_write_raw(struct writer *out, const char *text)
{
    writer_raw(out, text, strlen(text));
}

uint32_t json_decimal(char digits[JSON_DECIMAL_MAX], uint64_t value)
{
    char reversed[JSON_DECIMAL_MAX];
    uint32_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (uint32_t i = 0; i < len; i++) digits[i] = reversed[len - 1 - i];
    return len;
}

/* ---- strings and bytes ----------------------------------------------------------------------------------------- */

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

static void write_escaped(struct writer *out, uint8_t byte)
{
    static const char short_forms[] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char hex[] = "0123456789abcdef";
    if (byte < sizeof short_forms && short_forms[byte] != 0) {
        writer_raw(out, (char[]){'\\', short_forms[byte]}, 2);
    } else {
        writer_raw(out, (char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 6);
    }
}

void json_write_string(struct writer *out, struct slice text)
{
    const uint8_t *p = text.data, *end = text.len == 0 ? p : p + text.len;
    writer_u8(out, '"');
    while (p < end) {
        const uint8_t *run = p;
        while (p < end && is_plain(*p)) p++;
        writer_raw(out, run, (size_t)(p - run));
        if (p == end) break;
        uint32_t len = utf8_char_len(p, end);
        if (len > 1) {
            writer_raw(out, p, len);
        } else if (len == 1) {
            write_escaped(out, *p);
        } else {
            json_write_raw(out, "\xef\xbf\xbd");
            len = 1;
        }
        p += len;
    }
    writer_u8(out, '"');
}

static void write_base64(struct writer *out, const ProtobufCBinaryData *data)
{
    writer_u8(out, '"');
    size_t size = sodium_base64_encoded_len(data->len, sodium_base64_VARIANT_ORIGINAL); /* with a NUL */
    uint8_t *room = writer_reserve(out, size);
    if (room == NULL) return;
    sodium_bin2base64((char *)room, size, data->data, data->len, sodium_base64_VARIANT_ORIGINAL);
    room[size - 1] = '"';
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

static void write_decimal(struct writer *out, uint64_t value, bool quoted)
{
    char digits[JSON_DECIMAL_MAX];
    uint32_t len = json_decimal(digits, value);
    if (quoted) writer_u8(out, '"');
    writer_raw(out, digits, len);
    if (quoted) writer_u8(out, '"');
}

static void write_enum(struct writer *out, const ProtobufCEnumDescriptor *descriptor, int32_t number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    if (value != NULL) {
        json_write_string(out, slice_text(value->name));
        return;
    }
    if (number < 0) writer_u8(out, '-'); /* a number of a newer contract; proto3 keeps it */
    write_decimal(out, number < 0 ? 0 - (uint64_t)(int64_t)number : (uint64_t)number, false);
}

/* One value of `field`'s type that lies at `at`. */
static void write_value(struct writer *out, const ProtobufCFieldDescriptor *field, const void *at)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_UINT32: write_decimal(out, *(const uint32_t *)at, false); break;
    case PROTOBUF_C_TYPE_UINT64: write_decimal(out, *(const uint64_t *)at, true); break;
    case PROTOBUF_C_TYPE_BOOL: json_write_raw(out, *(const protobuf_c_boolean *)at ? "true" : "false"); break;
    case PROTOBUF_C_TYPE_ENUM: write_enum(out, field->descriptor, *(const int32_t *)at); break;
    case PROTOBUF_C_TYPE_BYTES: write_base64(out, at); break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)at;
        json_write_string(out, text == NULL ? SLICE_EMPTY : slice_text(text));
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE: json_from_message(*(const ProtobufCMessage *const *)at, out, false); break;
    default: ASSERT(false); /* api_init() knows the types */
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_UINT64: return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    default: return sizeof(uint32_t);
    }
}

static void write_array(struct writer *out, const ProtobufCFieldDescriptor *field, const uint8_t *items, size_t count)
{
    writer_u8(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) writer_u8(out, ',');
        write_value(out, field, items + i * value_size(field));
    }
    writer_u8(out, ']');
}

/* Whether JSON shows the field: not when it is an unset message, an unset oneof or an empty list. */
static bool is_shown(const uint8_t *base, const ProtobufCFieldDescriptor *field)
{
    const void *quantifier = base + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) return *(const size_t *)quantifier > 0;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 && *(const uint32_t *)quantifier != field->id) return false;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) return true;
    return *(const ProtobufCMessage *const *)(const void *)(base + field->offset) != NULL;
}

static void write_members(const ProtobufCMessage *message, struct writer *out)
{
    const uint8_t *base = (const uint8_t *)message;
    bool is_first = true;
    for (uint32_t i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (!is_shown(base, field)) continue;
        if (!is_first) writer_u8(out, ',');
        is_first = false;
        json_write_string(out, slice_text(field->name));
        writer_u8(out, ':');
        const void *at = base + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
            write_array(out, field, *(const uint8_t *const *)at, count);
        } else {
            write_value(out, field, at);
        }
    }
}

void json_from_message(const ProtobufCMessage *message, struct writer *out, bool bare)
{
    ASSERT(message->descriptor != NULL);
    if (!bare) writer_u8(out, '{');
    write_members(message, out);
    if (!bare) writer_u8(out, '}');
}

enum result json_from_packed(const ProtobufCMessageDescriptor *descriptor, struct slice packed, struct writer *out)
{
    struct envelope_arena *arena;
    enum result res = envelope_arena_create(&arena, (packed.len + (size_t)1024) * UNPACKED_SIZE_FACTOR);
    if (res != RESULT_OK) return res;
    ProtobufCMessage *message;
    res = envelope_unpack_stored(arena, descriptor, packed, &message);
    if (res == RESULT_OK) json_from_message(message, out, false);
    envelope_arena_destroy(arena);
    return res;
}
