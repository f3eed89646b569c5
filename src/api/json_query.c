/* api/json_query.c - a URL query read as if it were the JSON object it stands for: "limit=5&user_ids=1&user_ids=2" is
 * {"limit":"5","user_ids":["1","2"]}. So there is one mapping, with one set of rules, for both.
 * Percent-encoding and '+' are decoded; a part without '=' is refused, and so is a second value for a field that is no
 * list. */
#include "api/json_internal.h"
#include "core/check.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE_MAX 64

/* What is being read; `key` and `value` are the current part, decoded. */
struct query {
    const ProtobufCMessageDescriptor *descriptor;
    json_t *object;
    char *key, *value;
    size_t value_len;
    char *text;
    size_t text_size;
};

/* The key is shown only when it is one of ours: the rest of a URL may hold anything. */
static bool refuse(const struct query *q, const ProtobufCFieldDescriptor *field, const char *what)
{
    if (field == NULL) {
        (void)snprintf(q->text, q->text_size, "query: %s", what);
    } else {
        (void)snprintf(q->text, q->text_size, "field %s: %s", field->name, what);
    }
    return false;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes into `to`, which has room for coded.len bytes. Returns the length; -1: bad coding, or a NUL. */
static ssize_t percent_decode(struct slice coded, char *to)
{
    size_t len = 0;
    for (uint32_t i = 0; i < coded.len; i++) {
        uint8_t c = coded.data[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < coded.len ? hex_digit(coded.data[i + 1]) : -1;
            int low = i + 2 < coded.len ? hex_digit(coded.data[i + 2]) : -1;
            if (high < 0 || low < 0) return -1;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (c == 0) return -1;
        to[len++] = (char)c;
    }
    return (ssize_t)len;
}

/* The JSON value a query's text stands for. A new reference; NULL when the text is not UTF-8. */
static json_t *json_of_text(const ProtobufCFieldDescriptor *field, const char *text, size_t len)
{
    struct slice given = slice_of(text, len);
    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        if (slice_equal(given, SLICE_TEXT("true"))) return json_true();
        if (slice_equal(given, SLICE_TEXT("false"))) return json_false();
    }
    json_t *string = json_stringn(text, len);
    uint64_t number;
    if (field->type != PROTOBUF_C_TYPE_ENUM || !json_tree_u64(string, INT32_MAX, &number)) return string;
    json_decref(string);
    return json_integer((json_int_t)number);
}

static bool add_value(const struct query *q, const ProtobufCFieldDescriptor *field)
{
    json_t *value = json_of_text(field, q->value, q->value_len);
    if (value == NULL) return refuse(q, field, "the text is not UTF-8");
    json_t *present = json_object_get(q->object, field->name);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        if (present == NULL) {
            present = json_array();
            int set = json_object_set_new(q->object, field->name, present);
            ASSERT(set == 0);
        }
        int appended = json_array_append_new(present, value);
        ASSERT(appended == 0);
        return true;
    }
    if (present != NULL) {
        json_decref(value);
        return refuse(q, field, "given twice");
    }
    int set = json_object_set_new(q->object, field->name, value);
    ASSERT(set == 0);
    return true;
}

static bool read_part(struct query *q, struct slice part)
{
    const uint8_t *equals = part.len == 0 ? NULL : memchr(part.data, '=', part.len);
    if (equals == NULL) return refuse(q, NULL, "name=value is expected between the &");
    struct slice key = slice_of(part.data, (size_t)(equals - part.data));
    struct slice value = slice_of(equals + 1, part.len - key.len - 1);
    if (key.len > KEY_SIZE_MAX) return refuse(q, NULL, "no such field");
    ssize_t key_len = percent_decode(key, q->key), value_len = percent_decode(value, q->value);
    if (key_len < 0 || value_len < 0) return refuse(q, NULL, "bad percent-encoding");
    q->key[key_len] = '\0';
    q->value_len = (size_t)value_len;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(q->descriptor, q->key);
    if (field == NULL) return refuse(q, NULL, "no such field");
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) return refuse(q, field, "an object does not fit into a query");
    return add_value(q, field);
}

static bool read_parts(struct query *q, struct slice query)
{
    const uint8_t *at = query.data, *end = at + query.len;
    while (true) {
        const uint8_t *ampersand = memchr(at, '&', (size_t)(end - at));
        const uint8_t *stop = ampersand == NULL ? end : ampersand;
        if (!read_part(q, slice_of(at, (size_t)(stop - at)))) return false;
        if (ampersand == NULL) return true;
        at = ampersand + 1;
    }
}

enum result json_query_to_packed(const ProtobufCMessageDescriptor *descriptor, struct slice query, struct writer *out,
                                 char *text, size_t text_size)
{
    char key[KEY_SIZE_MAX + 1];
    struct query q = {.descriptor = descriptor, .key = key, .text = text, .text_size = text_size};
    q.object = json_object();
    q.value = malloc(query.len + (size_t)1);
    enum result res = q.object == NULL || q.value == NULL ? RESULT_NOMEM : RESULT_OK;
    if (res == RESULT_OK && query.len > 0 && !read_parts(&q, query)) res = RESULT_MALFORMED;
    if (res == RESULT_OK) res = json_tree_to_packed(descriptor, q.object, out, text, text_size);
    json_decref(q.object);
    free(q.value);
    return res;
}
