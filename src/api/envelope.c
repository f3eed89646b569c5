/* api/envelope.c - frames, read and written as wire bytes around payloads that stay packed.
 *
 *     Envelope{1: Request{1: id  <method>: payload}}         in:  envelope_parse() finds the three, copies nothing
 *     Envelope{2: Response{1: id  <method>: payload}}        out: lengths are known beforehand, one pass writes it
 *     Envelope{3: Push{1: Event{1: sync_key  shared...}}}    out: head for one user, shared bytes for all
 *
 * Errors and the hello are rare and small: they go through protobuf-c's structs, in both spellings. The numbers used
 * here are the contract's; api_init() asserts that. */
#include "api/envelope.h"
#include "api/json_internal.h"
#include "api/wire.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <sodium.h>
#include <stdio.h>

#define ENVELOPE_REQUEST  RINGPOST__V1__ENVELOPE__BODY_REQUEST
#define ENVELOPE_RESPONSE RINGPOST__V1__ENVELOPE__BODY_RESPONSE
#define ENVELOPE_PUSH     RINGPOST__V1__ENVELOPE__BODY_PUSH
#define PUSH_EVENT        RINGPOST__V1__PUSH__KIND_EVENT
#define REQUEST_ID        1u
#define RESPONSE_ID       1u
#define RESPONSE_ERROR    2u
#define EVENT_SYNC_KEY    1u
#define PROTOCOL          1u
#define NESTING_MAX       8u /* of the contract's messages; bounds every recursion over descriptors */

typedef const ProtobufCMessageDescriptor *descriptor_t;

/* ---- schemas and code agree ------------------------------------------------------------------------------------ */

static void assert_number(descriptor_t descriptor, const char *name, uint32_t number)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(descriptor, name);
    ASSERT(field != NULL);
    ASSERT(field->id == number);
}

/* The contract stays within what the JSON mapping, envelope_unpack() and the OpenAPI document know. */
static void assert_mappable(descriptor_t descriptor, uint32_t depth)
{
    ASSERT(depth < NESTING_MAX);
    for (uint32_t i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        bool is_message = field->type == PROTOBUF_C_TYPE_MESSAGE;
        ASSERT(field->type == PROTOBUF_C_TYPE_UINT32 || field->type == PROTOBUF_C_TYPE_UINT64 ||
               field->type == PROTOBUF_C_TYPE_BOOL || field->type == PROTOBUF_C_TYPE_ENUM ||
               field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES || is_message);
        ASSERT(field->label == PROTOBUF_C_LABEL_REPEATED || field->label == PROTOBUF_C_LABEL_NONE ||
               (field->label == PROTOBUF_C_LABEL_OPTIONAL && is_message));
        if (is_message) assert_mappable(field->descriptor, depth + 1);
    }
}

static void assert_methods_answered(void)
{
    descriptor_t request = &ringpost__v1__request__descriptor;
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const ProtobufCFieldDescriptor *method = &request->fields[i];
        if (method->id == REQUEST_ID) continue;
        ASSERT(envelope_request_descriptor(method->id) != NULL);
        ASSERT(envelope_response_descriptor(method->id) != NULL);
        assert_number(&ringpost__v1__response__descriptor, method->name, method->id);
    }
    ASSERT(ringpost__v1__response__descriptor.n_fields == request->n_fields + 1); /* `error` is the one more */
}

void api_init(void)
{
    int sodium = sodium_init();
    ASSERT(sodium >= 0);
    json_object_seed(0); /* from the system's randomness, once: keys that collide on purpose do not */
    assert_number(&ringpost__v1__request__descriptor, "id", REQUEST_ID);
    assert_number(&ringpost__v1__response__descriptor, "id", RESPONSE_ID);
    assert_number(&ringpost__v1__response__descriptor, "error", RESPONSE_ERROR);
    assert_number(&ringpost__v1__event__descriptor, "sync_key", EVENT_SYNC_KEY);
    assert_mappable(&ringpost__v1__envelope__descriptor, 0);
    assert_methods_answered();
    ASSERT(error_row(ERROR_NONE)->status == 200);
}

/* The message type of a oneof's member, NULL when `number` is none. */
static descriptor_t oneof_member(descriptor_t descriptor, uint32_t number)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, number);
    if (field == NULL || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0) return NULL;
    return field->descriptor;
}

descriptor_t envelope_request_descriptor(uint32_t method)
{
    return oneof_member(&ringpost__v1__request__descriptor, method);
}

descriptor_t envelope_response_descriptor(uint32_t method)
{
    return oneof_member(&ringpost__v1__response__descriptor, method);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

enum result envelope_parse(struct envelope_request *out, struct slice frame)
{
    *out = (struct envelope_request){0};
    struct cursor c = cursor_of(frame);
    struct wire_field body, field;
    if (!wire_next(&c, &body) || !cursor_done(&c)) return RESULT_MALFORMED;
    if (body.number != ENVELOPE_REQUEST || body.type != WIRE_BYTES) return RESULT_MALFORMED;

    bool has_id = false, has_method = false;
    c = cursor_of(body.bytes);
    while (wire_next(&c, &field)) {
        bool is_id = field.number == REQUEST_ID;
        if (field.type != (is_id ? WIRE_VARINT : WIRE_BYTES)) return RESULT_MALFORMED;
        if (is_id ? has_id : has_method) return RESULT_MALFORMED;
        if (is_id) {
            has_id = true;
            out->id = field.value;
        } else {
            has_method = true;
            out->method = field.number;
            out->payload = field.bytes;
        }
    }
    return cursor_done(&c) && has_method ? RESULT_OK : RESULT_MALFORMED;
}

static enum result say(char *text, size_t text_size, const char *what)
{
    (void)snprintf(text, text_size, "%s", what);
    return RESULT_MALFORMED;
}

/* Finds id and method of the "request" object; *payload is borrowed, *name the method's key. */
static enum result find_method(const json_t *request, struct envelope_request *out, const char **name,
                               const json_t **payload, char *text, size_t text_size)
{
    const json_t *id = json_object_get(request, "id");
    if (id != NULL && !json_tree_u64(id, UINT64_MAX, &out->id))
        return say(text, text_size, "field id: a number is expected");
    if (json_object_size(request) != (id == NULL ? 1u : 2u))
        return say(text, text_size, "request: one method is expected");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)request, key, value) /* changes nothing, takes a mutable object */
    {
        if (strcmp(key, "id") == 0) continue;
        *name = key;
        *payload = value;
        return RESULT_OK;
    }
    return say(text, text_size, "request: one method is expected");
}

static enum result parse_request(struct envelope_request *out, const json_t *tree, struct writer *scratch, char *text,
                                 size_t text_size)
{
    const json_t *request = json_object_get(tree, "request"), *payload;
    const char *name;
    if (!json_is_object(request) || json_object_size(tree) != 1)
        return say(text, text_size, "{\"request\":{…}} is expected");
    enum result res = find_method(request, out, &name, &payload, text, text_size);
    if (res != RESULT_OK) return res;
    const ProtobufCFieldDescriptor *method =
        protobuf_c_message_descriptor_get_field_by_name(&ringpost__v1__request__descriptor, name);
    if (method == NULL) return RESULT_OK;
    out->method = method->id;
    size_t begin = scratch->len;
    res = json_tree_to_packed(method->descriptor, payload, scratch, text, text_size);
    if (res == RESULT_OK && scratch->len > begin) out->payload = slice_of(scratch->data + begin, scratch->len - begin);
    return res;
}

enum result envelope_parse_json(struct envelope_request *out, struct slice frame, struct writer *scratch, char *text,
                                size_t text_size)
{
    *out = (struct envelope_request){0};
    if (text_size > 0) text[0] = '\0';
    json_t *tree = json_tree_parse(frame, text, text_size);
    if (tree == NULL) return RESULT_MALFORMED;
    enum result res = parse_request(out, tree, scratch, text, text_size);
    json_decref(tree);
    return res;
}

/* ---- responses and pushes -------------------------------------------------------------------------------------- */

void envelope_response(struct writer *out, uint64_t id, uint32_t method, struct slice payload)
{
    ASSERT(envelope_response_descriptor(method) != NULL);
    uint64_t id_size = id == 0 ? 0 : wire_tag_size(RESPONSE_ID) + wire_varint_size(id);
    wire_write_head(out, ENVELOPE_RESPONSE, id_size + wire_bytes_size(method, payload.len));
    if (id != 0) {
        wire_write_tag(out, RESPONSE_ID, WIRE_VARINT);
        wire_write_varint(out, id);
    }
    wire_write_head(out, method, payload.len);
    writer_raw(out, payload.data, payload.len);
}

/* `"name":{…}` of a oneof's member, from its packed message. MALFORMED: that is none. */
static enum result write_member_json(struct writer *out, descriptor_t owner, uint32_t number, struct slice payload)
{
    descriptor_t member = oneof_member(owner, number);
    ASSERT(member != NULL);
    json_write_string(out, slice_text(protobuf_c_message_descriptor_get_field(owner, number)->name));
    writer_u8(out, ':');
    enum result res = json_from_packed(member, payload, out);
    if (res != RESULT_OK) out->failed = true;
    return res;
}

/* One that we packed. */
static void write_own_member_json(struct writer *out, descriptor_t owner, uint32_t number, struct slice payload)
{
    enum result res = write_member_json(out, owner, number, payload);
    ASSERT(res != RESULT_MALFORMED);
}

enum result envelope_response_json(struct writer *out, uint64_t id, uint32_t method, struct slice payload)
{
    char digits[JSON_DECIMAL_MAX];
    json_write_raw(out, "{\"response\":{\"id\":\"");
    writer_raw(out, digits, json_decimal(digits, id));
    json_write_raw(out, "\",");
    enum result res = write_member_json(out, &ringpost__v1__response__descriptor, method, payload);
    json_write_raw(out, "}}");
    return res;
}

void envelope_push(struct writer *out, uint32_t field, struct slice payload)
{
    ASSERT(oneof_member(&ringpost__v1__push__descriptor, field) != NULL);
    wire_write_head(out, ENVELOPE_PUSH, wire_bytes_size(field, payload.len));
    wire_write_head(out, field, payload.len);
    writer_raw(out, payload.data, payload.len);
}

void envelope_push_json(struct writer *out, uint32_t field, struct slice payload)
{
    json_write_raw(out, "{\"push\":{");
    write_own_member_json(out, &ringpost__v1__push__descriptor, field, payload);
    json_write_raw(out, "}}");
}

/* ---- fan-out --------------------------------------------------------------------------------------------------- */

#define EVENT_JSON_HEAD "{\"push\":{\"event\":{\"sync_key\":\""
#define EVENT_JSON_TAIL "}}}"
_Static_assert(sizeof EVENT_JSON_HEAD - 1 + JSON_DECIMAL_MAX + 2 <= ENVELOPE_EVENT_HEAD_MAX, "the JSON head fits");
_Static_assert(3 * (1 + WIRE_VARINT_MAX) <= ENVELOPE_EVENT_HEAD_MAX, "the binary head fits");

uint32_t envelope_event_head(uint8_t *head, uint64_t sync_key, uint32_t shared_len)
{
    uint64_t key_size = sync_key == 0 ? 0 : wire_tag_size(EVENT_SYNC_KEY) + wire_varint_size(sync_key);
    uint64_t event_len = key_size + shared_len;
    uint8_t *p = wire_put_varint(head, wire_tag(ENVELOPE_PUSH, WIRE_BYTES));
    p = wire_put_varint(p, wire_bytes_size(PUSH_EVENT, event_len));
    p = wire_put_varint(p, wire_tag(PUSH_EVENT, WIRE_BYTES));
    p = wire_put_varint(p, event_len);
    if (sync_key != 0) {
        p = wire_put_varint(p, wire_tag(EVENT_SYNC_KEY, WIRE_VARINT));
        p = wire_put_varint(p, sync_key);
    }
    return (uint32_t)(p - head);
}

uint32_t envelope_event_head_json(uint8_t *head, uint64_t sync_key)
{
    char digits[JSON_DECIMAL_MAX];
    uint32_t digit_count = json_decimal(digits, sync_key);
    uint8_t *p = mempcpy(head, EVENT_JSON_HEAD, sizeof EVENT_JSON_HEAD - 1);
    p = mempcpy(p, digits, digit_count);
    p = mempcpy(p, "\",", 2);
    return (uint32_t)(p - head);
}

void envelope_event_json_shared(struct writer *out, struct slice event_fields)
{
    struct cursor c = cursor_of(event_fields);
    struct wire_field kind;
    bool is_one_kind = wire_next(&c, &kind) && cursor_done(&c) && kind.type == WIRE_BYTES;
    ASSERT(is_one_kind);
    write_own_member_json(out, &ringpost__v1__event__descriptor, kind.number, kind.bytes);
    json_write_raw(out, EVENT_JSON_TAIL);
}

/* ---- errors and hello ------------------------------------------------------------------------------------------ */

/* protobuf-c's structs have no const strings; packing only reads them. */
static char *borrowed(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

static Ringpost__V1__Error error_message(const struct envelope_error *error)
{
    const struct error_row *row = error_row(error->error);
    Ringpost__V1__Error message;
    ringpost__v1__error__init(&message);
    message.code = borrowed(row->code);
    message.reason = borrowed(row->reason);
    message.message = borrowed(error->detail != NULL ? error->detail : row->message);
    message.retryable = row->retryable;
    message.retry_after_ms = error->retry_after_ms;
    message.request_id = borrowed(error->request_id);
    return message;
}

static void write_error_response(struct writer *out, uint64_t id, const struct envelope_error *error, bool json)
{
    Ringpost__V1__Error message = error_message(error);
    Ringpost__V1__Response response;
    ringpost__v1__response__init(&response);
    response.id = id;
    response.error = &message;
    Ringpost__V1__Envelope envelope;
    ringpost__v1__envelope__init(&envelope);
    envelope.body_case = ENVELOPE_RESPONSE;
    envelope.response = &response;
    if (json)
        json_from_message(&envelope.base, out, false);
    else
        envelope_pack(out, &envelope.base);
}

void envelope_error(struct writer *out, uint64_t id, const struct envelope_error *error)
{
    write_error_response(out, id, error, false);
}

void envelope_error_json(struct writer *out, uint64_t id, const struct envelope_error *error)
{
    write_error_response(out, id, error, true);
}

void envelope_error_body(struct writer *out, const struct envelope_error *error)
{
    Ringpost__V1__Error message = error_message(error);
    json_write_raw(out, "{\"error\":");
    json_from_message(&message.base, out, false);
    json_write_raw(out, "}");
}

void envelope_hello(struct writer *out, bool json, uint32_t heartbeat_interval_ms, uint32_t frame_size_max,
                    uint32_t authenticate_timeout_ms, const char *server_version)
{
    Ringpost__V1__Hello hello;
    ringpost__v1__hello__init(&hello);
    hello.protocol = PROTOCOL;
    hello.server_version = borrowed(server_version);
    hello.heartbeat_interval_ms = heartbeat_interval_ms;
    hello.frame_size_max = frame_size_max;
    hello.authenticate_timeout_ms = authenticate_timeout_ms;
    Ringpost__V1__Envelope envelope;
    ringpost__v1__envelope__init(&envelope);
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    if (json)
        json_from_message(&envelope.base, out, false);
    else
        envelope_pack(out, &envelope.base);
}

void envelope_pack(struct writer *out, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *room = writer_reserve(out, size);
    if (room == NULL) return;
    size_t packed = protobuf_c_message_pack(message, room);
    ASSERT(packed == size);
}

/* ---- payloads -------------------------------------------------------------------------------------------------- */

/* The last occurrence of `number`, which must have `type` each time; `found` is untouched when there is none. */
static enum result peek(struct slice payload, uint32_t number, uint32_t type, struct wire_field *found)
{
    struct cursor c = cursor_of(payload);
    struct wire_field field;
    while (wire_next(&c, &field)) {
        if (field.number != number) continue;
        if (field.type != type) return RESULT_MALFORMED;
        *found = field;
    }
    return cursor_done(&c) ? RESULT_OK : RESULT_MALFORMED;
}

enum result envelope_peek_u64(struct slice payload, uint32_t field, uint64_t *value)
{
    struct wire_field found = {0};
    enum result res = peek(payload, field, WIRE_VARINT, &found);
    *value = res == RESULT_OK ? found.value : 0;
    return res;
}

enum result envelope_peek_two(struct slice payload, uint32_t number, uint64_t *value, uint32_t other, uint64_t *other_value)
{
    struct cursor c = cursor_of(payload);
    struct wire_field field;
    uint64_t found[2] = {0, 0};
    *value = *other_value = 0;
    while (wire_next(&c, &field)) {
        if (field.number != number && field.number != other) continue;
        if (field.type != WIRE_VARINT) return RESULT_MALFORMED;
        found[field.number == other] = field.value;
    }
    if (!cursor_done(&c)) return RESULT_MALFORMED;
    *value = found[0];
    *other_value = found[1];
    return RESULT_OK;
}

enum result envelope_peek_bytes(struct slice payload, uint32_t field, struct slice *value)
{
    struct wire_field found = {0};
    enum result res = peek(payload, field, WIRE_BYTES, &found);
    *value = res == RESULT_OK ? found.bytes : SLICE_EMPTY;
    return res;
}
