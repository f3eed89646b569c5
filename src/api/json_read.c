/* api/json_read.c - JSON to protobuf: jansson parses, a walk over the descriptor writes wire bytes straight into the
 * writer. Nothing is believed: depth is counted before the parser recurses, every key must be a field, every value must
 * fit its field. Fields are written in the order of their numbers and defaults are left out, so the same object always
 * gives the same bytes, the ones protobuf-c would pack. What is wrong is told with its place: "field rooms[2].name: a
 * string is expected". */
#include "api/base64.h"
#include "api/json_internal.h"
#include "api/utf8.h"
#include "api/wire.h"
#include "core/check.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define PLACE_TEXT_MAX 160

/* Where in the document we are; the chain lies on the C stack. */
struct place {
    const struct place *parent;
    const char *name;  /* a field, or NULL: */
    size_t item_index; /* an item of the parent, which is a list */
};

struct reader {
    struct writer *out;
    char *text;
    size_t text_size;
};

static bool read_message(const struct reader *r, const struct place *place,
                         const ProtobufCMessageDescriptor *descriptor, const json_t *value);

/* ---- telling what is wrong ------------------------------------------------------------------------------------- */

static size_t place_render(const struct place *place, char *text, size_t size)
{
    if (place == NULL) return 0;
    size_t len = place_render(place->parent, text, size);
    if (len >= size) return len;
    int added = place->name == NULL ? snprintf(text + len, size - len, "[%zu]", place->item_index)
                                    : snprintf(text + len, size - len, "%s%s", len > 0 ? "." : "", place->name);
    return len + (size_t)added;
}

/* Says `format` about `place` in the caller's text. Returns false, so that a reader can return it. */
__attribute__((format(printf, 3, 4))) static bool refuse(const struct reader *r, const struct place *place,
                                                         const char *format, ...)
{
    if (r->text_size == 0) return false;
    char where[PLACE_TEXT_MAX] = "";
    (void)place_render(place, where, sizeof where);
    int len = place == NULL ? 0 : snprintf(r->text, r->text_size, "field %s: ", where);
    size_t used = (size_t)len < r->text_size ? (size_t)len : r->text_size - 1;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(r->text + used, r->text_size - used, format, args);
    va_end(args);
    r->text[utf8_valid_len(slice_text(r->text))] = '\0'; /* a cut may have split a character */
    return false;
}

/* ---- the document ---------------------------------------------------------------------------------------------- */

/* Counts brackets outside strings. Input that is not JSON may count wrong; then the parser refuses it. */
static bool is_too_deep(struct slice json)
{
    uint32_t depth = 0;
    bool in_string = false;
    for (uint32_t i = 0; i < json.len; i++) {
        uint8_t byte = json.data[i];
        if (in_string) {
            if (byte == '\\') i++;
            if (byte == '"') in_string = false;
        } else if (byte == '"') {
            in_string = true;
        } else if (byte == '{' || byte == '[') {
            if (++depth > JSON_DEPTH_MAX) return true;
        } else if ((byte == '}' || byte == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *json_tree_parse(struct slice json, char *text, size_t text_size)
{
    const struct reader r = {.text = text, .text_size = text_size};
    if (is_too_deep(json)) {
        (void)refuse(&r, NULL, "the JSON nests deeper than %d", JSON_DEPTH_MAX);
        return NULL;
    }
    json_error_t error;
    json_t *tree = json_loadb(json.len == 0 ? "" : (const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &error);
    if (tree == NULL && json_error_code(&error) == json_error_null_character) {
        (void)refuse(&r, NULL, "U+0000 is not allowed: line %d, column %d", error.line, error.column);
    } else if (tree == NULL) {
        (void)refuse(&r, NULL, "not JSON: line %d, column %d: %s", error.line, error.column, error.text);
    } else if (!json_is_object(tree)) {
        (void)refuse(&r, NULL, "a JSON object is expected");
        json_decref(tree);
        tree = NULL;
    }
    return tree;
}

/* ---- scalars --------------------------------------------------------------------------------------------------- */

static bool decimal_parse(const char *digits, size_t len, uint64_t max, uint64_t *number)
{
    if (len == 0 || len > JSON_DECIMAL_MAX || (digits[0] == '0' && len > 1)) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(digits[i] - '0'), &value)) return false;
    }
    *number = value;
    return value <= max;
}

bool json_tree_u64(const json_t *value, uint64_t max, uint64_t *number)
{
    if (json_is_string(value)) return decimal_parse(json_string_value(value), json_string_length(value), max, number);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *number = (uint64_t)json_integer_value(value);
    return *number <= max;
}

static bool read_enum(const struct reader *r, const struct place *place, const ProtobufCEnumDescriptor *descriptor,
                      const json_t *value, uint64_t *number)
{
    if (json_is_string(value)) {
        const ProtobufCEnumValue *found =
            protobuf_c_enum_descriptor_get_value_by_name(descriptor, json_string_value(value));
        if (found == NULL) return refuse(r, place, "no such name of %s", descriptor->short_name);
        *number = (uint64_t)(int64_t)found->value;
        return true;
    }
    json_int_t given = json_is_integer(value) ? json_integer_value(value) : INT64_MAX;
    if (given < INT32_MIN || given > INT32_MAX)
        return refuse(r, place, "a name of %s is expected", descriptor->short_name);
    *number = (uint64_t)given; /* negative ones take ten bytes on the wire, as protobuf has it */
    return true;
}

/* A value whose wire form is one varint. */
static bool read_number(const struct reader *r, const struct place *place, const ProtobufCFieldDescriptor *field,
                        const json_t *value, uint64_t *number)
{
    if (field->type == PROTOBUF_C_TYPE_ENUM) return read_enum(r, place, field->descriptor, value, number);
    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        *number = json_is_true(value);
        return json_is_boolean(value) || refuse(r, place, "true or false is expected");
    }
    uint64_t max = field->type == PROTOBUF_C_TYPE_UINT32 ? UINT32_MAX : UINT64_MAX;
    return json_tree_u64(value, max, number) ||
           refuse(r, place, "a whole number from 0 to %" PRIu64 " is expected", max);
}

static bool is_number(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_UINT32 || field->type == PROTOBUF_C_TYPE_UINT64 ||
           field->type == PROTOBUF_C_TYPE_BOOL || field->type == PROTOBUF_C_TYPE_ENUM;
}

/* Standard or URL-safe, with or without padding; not a mixture. */
static bool read_base64(const struct reader *r, const struct place *place, uint32_t number, const char *text,
                        size_t len)
{
    bool is_urlsafe = memchr(text, '-', len) != NULL || memchr(text, '_', len) != NULL;
    bool is_padded = text[len - 1] == '=';
    int variant = is_urlsafe  ? is_padded ? sodium_base64_VARIANT_URLSAFE : sodium_base64_VARIANT_URLSAFE_NO_PADDING
                  : is_padded ? sodium_base64_VARIANT_ORIGINAL
                              : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    size_t char_count = len;
    while (char_count > 0 && text[char_count - 1] == '=') char_count--;
    size_t decoded_len = char_count / 4 * 3 + char_count % 4 * 3 / 4;
    wire_write_head(r->out, number, decoded_len);
    uint8_t *room = writer_reserve(r->out, decoded_len);
    if (room == NULL) return true; /* the writer's failure is told at the end */
    size_t got_len;
    bool is_decoded = base64_decode(slice_of(text, len), variant, room, decoded_len, &got_len);
    return (is_decoded && got_len == decoded_len) || refuse(r, place, "base64 is expected");
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

/* One value with its tag; a default is left out unless it says something: as an item of a list, as the chosen member of a oneof. */
static bool read_value(const struct reader *r, const struct place *place, const ProtobufCFieldDescriptor *field,
                       const json_t *value, bool default_says)
{
    if (is_number(field)) {
        uint64_t number = 0;
        if (!read_number(r, place, field, value, &number)) return false;
        if (number == 0 && !default_says) return true;
        wire_write_tag(r->out, field->id, WIRE_VARINT);
        wire_write_varint(r->out, number);
        return true;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        size_t begin = wire_message_begin(r->out, field->id);
        if (!read_message(r, place, field->descriptor, value)) return false;
        wire_nest_end(r->out, begin);
        return true;
    }
    bool is_bytes = field->type == PROTOBUF_C_TYPE_BYTES;
    if (!json_is_string(value))
        return refuse(r, place, is_bytes ? "a base64 string is expected" : "a string is expected");
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (len == 0 && !default_says) return true;
    if (is_bytes && len > 0) return read_base64(r, place, field->id, text, len);
    wire_write_head(r->out, field->id, len);
    writer_raw(r->out, text, len);
    return true;
}

static bool read_packed_list(const struct reader *r, const struct place *place, const ProtobufCFieldDescriptor *field,
                             const json_t *list)
{
    size_t begin = wire_message_begin(r->out, field->id);
    for (size_t i = 0; i < json_array_size(list); i++) {
        uint64_t number = 0;
        const struct place item = {.parent = place, .item_index = i};
        if (!read_number(r, &item, field, json_array_get(list, i), &number)) return false;
        wire_write_varint(r->out, number);
    }
    wire_nest_end(r->out, begin);
    return true;
}

static bool read_list(const struct reader *r, const struct place *place, const ProtobufCFieldDescriptor *field,
                      const json_t *list)
{
    if (!json_is_array(list)) return refuse(r, place, "a list is expected");
    if (json_array_size(list) == 0) return true;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0) return read_packed_list(r, place, field, list);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const struct place item = {.parent = place, .item_index = i};
        if (!read_value(r, &item, field, json_array_get(list, i), true)) return false;
    }
    return true;
}

/* null stands for the default, as in the Protobuf JSON mapping. */
static const json_t *value_of(const json_t *object, const ProtobufCFieldDescriptor *field)
{
    const json_t *value = json_object_get(object, field->name);
    return json_is_null(value) ? NULL : value;
}

/* Two members of one oneof share their quantifier. */
static bool has_oneof_rival(const ProtobufCMessageDescriptor *descriptor, const json_t *object,
                            const ProtobufCFieldDescriptor *field)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0) return false;
    for (const ProtobufCFieldDescriptor *other = descriptor->fields; other < field; other++) {
        bool is_rival =
            (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 && other->quantifier_offset == field->quantifier_offset;
        if (is_rival && value_of(object, other) != NULL) return true;
    }
    return false;
}

static bool check_keys(const struct reader *r, const struct place *place, const ProtobufCMessageDescriptor *descriptor,
                       const json_t *object)
{
    const char *key;
    json_t *value;
    /* jansson's iteration takes a mutable object and changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (protobuf_c_message_descriptor_get_field_by_name(descriptor, key) != NULL) continue;
        const struct place unknown = {.parent = place, .name = key};
        return refuse(r, &unknown, "%s has no such field", descriptor->short_name);
    }
    return true;
}

static bool read_message(const struct reader *r, const struct place *place,
                         const ProtobufCMessageDescriptor *descriptor, const json_t *object)
{
    if (!json_is_object(object)) return refuse(r, place, "an object is expected");
    if (!check_keys(r, place, descriptor, object)) return false;
    for (uint32_t i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const json_t *value = value_of(object, field);
        if (value == NULL) continue;
        const struct place here = {.parent = place, .name = field->name};
        if (has_oneof_rival(descriptor, object, field)) return refuse(r, &here, "another one of these is set already");
        bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED, is_chosen = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        bool is_read = is_list ? read_list(r, &here, field, value) : read_value(r, &here, field, value, is_chosen);
        if (!is_read) return false;
    }
    return true;
}

/* ---- the doors ------------------------------------------------------------------------------------------------- */

enum result json_tree_to_packed(const ProtobufCMessageDescriptor *descriptor, const json_t *object, struct writer *out,
                                char *text, size_t text_size)
{
    const struct reader r = {.out = out, .text = text, .text_size = text_size};
    size_t begin = out->len;
    if (text_size > 0) text[0] = '\0';
    bool is_read = read_message(&r, NULL, descriptor, object);
    if (is_read && !out->failed) return RESULT_OK;
    out->len = begin;
    return is_read ? RESULT_TOO_LARGE : RESULT_MALFORMED;
}

enum result json_to_packed(const ProtobufCMessageDescriptor *descriptor, struct slice json, struct writer *out,
                           char *text, size_t text_size)
{
    json_t *tree = json_tree_parse(json, text, text_size);
    if (tree == NULL) return RESULT_MALFORMED;
    enum result res = json_tree_to_packed(descriptor, tree, out, text, text_size);
    json_decref(tree);
    return res;
}
