/* api/openapi.c - one walk over methods, descriptors and error rows writes the document; nothing in it is kept by hand.
 *
 *     paths       one per route: POST with the request message as body, reads also as GET with its fields in the query
 *     components  every message and enum that a route takes or gives, the error body
 *
 * What a client sends is closed: an unknown field is refused. What it gets is open, because answers may gain fields; in them whatever
 * JSON always shows is required. A message that goes both ways has two schemas, the one that is sent with "Input" behind its name.
 * Texts are the comments of the .proto. A field without one of its own takes that of its message or enum. */
#include "api/openapi.h"
#include "api/envelope.h"
#include "api/error.h"
#include "api/json_internal.h"
#include "api/openapi_internal.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.methods.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <stdio.h>

#define TYPES_MAX        160 /* messages plus enums of the contract */
#define SCHEMA_REFERENCE "#/components/schemas/"

/* Every type once, in the order a walk over the routes meets them. */
struct types {
    const ProtobufCMessageDescriptor *sent[TYPES_MAX], *given[TYPES_MAX]; /* by clients, by the server */
    const ProtobufCEnumDescriptor *enums[TYPES_MAX];
    uint32_t sent_count, given_count, enum_count;
};

struct document {
    struct writer *out;
    struct types types;
};

struct route { /* one method as HTTP shows it */
    uint32_t method;
    const char *path;
    bool is_read; /* also as GET with the fields in the query */
    bool needs_token;
};

#define ROUTE_OPEN(...)   {__VA_ARGS__, false},
#define ROUTE_USER(...)   {__VA_ARGS__, true},
#define ROUTE_SOCKET(...) /* there is no HTTP */
#define ROUTE_ROW(name, number, path, owner, field, other_field, access, is_read, is_page, rate) ROUTE_##access(number, path, is_read)
static const struct route routes[] = {METHODS(ROUTE_ROW)};

enum direction { SENT, GIVEN };

/* ---- small pieces ---------------------------------------------------------------------------------------------- */

static const char *comment_of(const char *type, const char *member)
{
    for (size_t i = 0; i < openapi_comment_count; i++) {
        const struct openapi_comment *comment = &openapi_comments[i];
        if (strcmp(comment->type, type) == 0 && strcmp(comment->member, member) == 0) return comment->text;
    }
    return "";
}

static void write_string(struct writer *out, const char *text)
{
    json_write_string(out, slice_text(text));
}

/* "name":"text", and the comma before it unless it opens an object */
static void write_pair(struct writer *out, const char *name, const char *text)
{
    if (out->len > 0 && out->data[out->len - 1] != '{') writer_u8(out, ',');
    write_string(out, name);
    writer_u8(out, ':');
    write_string(out, text);
}

static void write_description(struct writer *out, const char *text)
{
    if (text[0] != '\0') write_pair(out, "description", text);
}

static void write_number(struct writer *out, uint64_t number)
{
    char digits[JSON_DECIMAL_MAX];
    writer_raw(out, digits, json_decimal(digits, number));
}

/* ---- types --------------------------------------------------------------------------------------------------- */

static bool is_among(const ProtobufCMessageDescriptor *const *messages, uint32_t count, const ProtobufCMessageDescriptor *message)
{
    for (uint32_t i = 0; i < count; i++)
        if (messages[i] == message) return true;
    return false;
}

static void collect_enum(struct types *types, const ProtobufCEnumDescriptor *descriptor)
{
    for (uint32_t i = 0; i < types->enum_count; i++)
        if (types->enums[i] == descriptor) return;
    ASSERT(types->enum_count < TYPES_MAX);
    types->enums[types->enum_count++] = descriptor;
}

static void collect(struct types *types, enum direction direction, const ProtobufCMessageDescriptor *message)
{
    const ProtobufCMessageDescriptor **messages = direction == SENT ? types->sent : types->given;
    uint32_t *count = direction == SENT ? &types->sent_count : &types->given_count;
    if (is_among(messages, *count, message)) return;
    ASSERT(*count < TYPES_MAX);
    messages[(*count)++] = message;
    for (uint32_t i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) collect(types, direction, field->descriptor);
        if (field->type == PROTOBUF_C_TYPE_ENUM) collect_enum(types, field->descriptor);
    }
}

static void collect_all(struct document *document)
{
    collect(&document->types, GIVEN, &ringpost__v1__error__descriptor);
    for (uint32_t i = 0; i < COUNT_OF(routes); i++) {
        collect(&document->types, SENT, envelope_request_descriptor(routes[i].method));
        collect(&document->types, GIVEN, envelope_response_descriptor(routes[i].method));
    }
}

/* ---- schemas --------------------------------------------------------------------------------------------------- */

static void write_schema_name(const struct document *document, enum direction direction, const ProtobufCMessageDescriptor *message)
{
    json_write_raw(document->out, message->short_name);
    const struct types *types = &document->types;
    if (direction == SENT && is_among(types->given, types->given_count, message)) json_write_raw(document->out, "Input");
}

static void write_reference(const struct document *document, enum direction direction, const ProtobufCMessageDescriptor *message)
{
    json_write_raw(document->out, "{\"$ref\":\"" SCHEMA_REFERENCE);
    write_schema_name(document, direction, message);
    json_write_raw(document->out, "\"}");
}

static const char *type_name(const ProtobufCFieldDescriptor *field)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return ((const ProtobufCMessageDescriptor *)field->descriptor)->short_name;
    if (field->type == PROTOBUF_C_TYPE_ENUM) return ((const ProtobufCEnumDescriptor *)field->descriptor)->short_name;
    return NULL;
}

/* The members of the schema of one value. References have no siblings in OpenAPI 3.0: described ones are wrapped. */
static void write_type(const struct document *document, enum direction direction, const ProtobufCFieldDescriptor *field, bool described)
{
    struct writer *out = document->out;
    const char *text = NULL;
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_UINT32: text = "\"type\":\"integer\",\"minimum\":0,\"maximum\":4294967295"; break;
    case PROTOBUF_C_TYPE_UINT64:
        text = "\"type\":\"string\",\"format\":\"uint64\",\"pattern\":\"^[0-9]{1,20}$\"";
        break;
    case PROTOBUF_C_TYPE_BOOL: text = "\"type\":\"boolean\""; break;
    case PROTOBUF_C_TYPE_STRING: text = "\"type\":\"string\""; break;
    case PROTOBUF_C_TYPE_BYTES: text = "\"type\":\"string\",\"format\":\"byte\""; break;
    default:
        json_write_raw(out, described ? "\"allOf\":[{\"$ref\":\"" SCHEMA_REFERENCE : "\"$ref\":\"" SCHEMA_REFERENCE);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) write_schema_name(document, direction, field->descriptor);
        else json_write_raw(out, type_name(field));
        json_write_raw(out, described ? "\"}]" : "\"");
        return;
    }
    json_write_raw(out, text);
}

static void write_field_schema(const struct document *document, enum direction direction, const ProtobufCFieldDescriptor *field,
                               const char *description)
{
    struct writer *out = document->out;
    bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;
    json_write_raw(out, is_list ? "{\"type\":\"array\",\"items\":{" : "{");
    write_type(document, direction, field, !is_list && description[0] != '\0');
    if (is_list) json_write_raw(out, "}");
    write_description(out, description);
    json_write_raw(out, "}");
}

static const char *field_comment(const ProtobufCMessageDescriptor *message, const ProtobufCFieldDescriptor *field)
{
    const char *own = comment_of(message->short_name, field->name);
    return own[0] != '\0' || type_name(field) == NULL ? own : comment_of(type_name(field), "");
}

/* Whether JSON shows the field whatever its value: json_write.c leaves out unset messages, unset members of a oneof and empty lists. */
static bool is_always_there(const ProtobufCFieldDescriptor *field)
{
    return field->label != PROTOBUF_C_LABEL_REPEATED && field->type != PROTOBUF_C_TYPE_MESSAGE &&
           (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0;
}

static void write_required(struct writer *out, const ProtobufCMessageDescriptor *message)
{
    bool is_first = true;
    for (uint32_t i = 0; i < message->n_fields; i++) {
        if (!is_always_there(&message->fields[i])) continue;
        json_write_raw(out, is_first ? ",\"required\":[" : ",");
        write_string(out, message->fields[i].name);
        is_first = false;
    }
    if (!is_first) json_write_raw(out, "]");
}

static void write_message_schema(const struct document *document, enum direction direction, const ProtobufCMessageDescriptor *message)
{
    struct writer *out = document->out;
    writer_u8(out, '"');
    write_schema_name(document, direction, message);
    json_write_raw(out, direction == SENT ? "\":{\"type\":\"object\",\"additionalProperties\":false" : "\":{\"type\":\"object\"");
    write_description(out, comment_of(message->short_name, ""));
    if (direction == GIVEN) write_required(out, message);
    json_write_raw(out, ",\"properties\":{");
    for (uint32_t i = 0; i < message->n_fields; i++) {
        if (i > 0) writer_u8(out, ',');
        write_string(out, message->fields[i].name);
        writer_u8(out, ':');
        write_field_schema(document, direction, &message->fields[i], field_comment(message, &message->fields[i]));
    }
    json_write_raw(out, "}}");
}

static void write_enum_schema(struct writer *out, const ProtobufCEnumDescriptor *descriptor)
{
    write_string(out, descriptor->short_name);
    json_write_raw(out, ":{\"type\":\"string\",\"enum\":[");
    for (uint32_t i = 0; i < descriptor->n_values; i++) {
        if (i > 0) writer_u8(out, ',');
        write_string(out, descriptor->values[i].name);
    }
    json_write_raw(out, "]");
    char text[2048];
    size_t len = (size_t)snprintf(text, sizeof text, "%s", comment_of(descriptor->short_name, ""));
    for (uint32_t i = 0; i < descriptor->n_values && len < sizeof text; i++) {
        const char *name = descriptor->values[i].name;
        len += (size_t)snprintf(text + len, sizeof text - len, "\n- %s: %s", name,
                                comment_of(descriptor->short_name, name));
    }
    ASSERT(len < sizeof text);
    write_description(out, text);
    json_write_raw(out, "}");
}

/* ---- errors ---------------------------------------------------------------------------------------------------- */

static void write_error_row(struct writer *out, const struct error_row *row)
{
    json_write_raw(out, "{");
    write_pair(out, "reason", row->reason);
    write_pair(out, "code", row->code);
    write_pair(out, "message", row->message);
    json_write_raw(out, ",\"status\":");
    write_number(out, row->status);
    json_write_raw(out, row->retryable ? ",\"retryable\":true}" : ",\"retryable\":false}");
}

/* The response every operation has beside its result: for people as a list, for programs as x-reasons. */
static void write_error_response(struct writer *out)
{
    struct writer text;
    writer_init(&text, 0);
    json_write_raw(&text, "Refused. `reason` is one of:");
    for (uint32_t i = ERROR_NONE + 1; i < ERROR_COUNT; i++) {
        const struct error_row *row = error_row((enum error)i);
        char line[256];
        int len = snprintf(line, sizeof line, "\n- `%s` (%s, HTTP %u%s): %s", row->reason, row->code, row->status,
                           row->retryable ? ", retryable" : "", row->message);
        ASSERT(len > 0 && (size_t)len < sizeof line);
        json_write_raw(&text, line);
    }
    if (text.failed) out->failed = true;
    json_write_raw(out, "\"responses\":{\"Error\":{\"description\":");
    json_write_string(out, writer_slice(&text));
    writer_deinit(&text);
    json_write_raw(out, ",\"content\":{\"application/json\":{\"schema\":");
    json_write_raw(out, "{\"$ref\":\"" SCHEMA_REFERENCE "ErrorBody\"}");
    json_write_raw(out, "}},\"x-reasons\":[");
    for (uint32_t i = ERROR_NONE + 1; i < ERROR_COUNT; i++) {
        if (i > ERROR_NONE + 1) writer_u8(out, ',');
        write_error_row(out, error_row((enum error)i));
    }
    json_write_raw(out, "]}}");
}

/* ---- operations ------------------------------------------------------------------------------------------------ */

static void write_query_parameters(const struct document *document, const ProtobufCMessageDescriptor *request)
{
    struct writer *out = document->out;
    bool is_first = true;
    json_write_raw(out, ",\"parameters\":[");
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &request->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) continue;
        if (!is_first) writer_u8(out, ',');
        is_first = false;
        json_write_raw(out, "{\"in\":\"query\"");
        write_pair(out, "name", field->name);
        write_description(out, field_comment(request, field));
        json_write_raw(out, ",\"schema\":");
        write_field_schema(document, SENT, field, "");
        json_write_raw(out, "}");
    }
    json_write_raw(out, "]");
}

static void write_body(const struct document *document, const ProtobufCMessageDescriptor *request)
{
    json_write_raw(document->out, ",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
    write_reference(document, SENT, request);
    json_write_raw(document->out, "}}}");
}

/* The service is the path's second part: /v1/<service>/<method>. */
static struct slice service_of(const char *path)
{
    const char *begin = strchr(path + 1, '/');
    ASSERT(path[0] == '/' && begin != NULL);
    const char *end = strchr(begin + 1, '/');
    ASSERT(end != NULL);
    return slice_of(begin + 1, (size_t)(end - begin - 1));
}

static void write_operation(const struct document *document, const struct route *route, bool is_get)
{
    struct writer *out = document->out;
    const ProtobufCMessageDescriptor *request = envelope_request_descriptor(route->method);
    const ProtobufCMessageDescriptor *response = envelope_response_descriptor(route->method);
    ASSERT(request != NULL && response != NULL);
    const char *name = protobuf_c_message_descriptor_get_field(&ringpost__v1__request__descriptor, route->method)->name;
    json_write_raw(out, is_get ? "\"get\":{\"tags\":[" : "\"post\":{\"tags\":[");
    json_write_string(out, service_of(route->path));
    json_write_raw(out, "],\"operationId\":\"");
    json_write_raw(out, name);
    json_write_raw(out, is_get ? "_by_query\"" : "\"");
    write_pair(out, "summary", name);
    write_description(out, comment_of(request->short_name, ""));
    json_write_raw(out, route->needs_token ? ",\"security\":[{\"token\":[]}]" : ",\"security\":[]");
    if (is_get)
        write_query_parameters(document, request);
    else
        write_body(document, request);
    json_write_raw(out, ",\"responses\":{\"200\":{");
    write_pair(out, "description", comment_of(response->short_name, ""));
    json_write_raw(out, ",\"content\":{\"application/json\":{\"schema\":");
    write_reference(document, GIVEN, response);
    json_write_raw(out, "}}},\"4XX\":{\"$ref\":\"#/components/responses/Error\"},\"5XX\":{\"$ref\":\"#/components/responses/Error\"}}}");
}

static void write_paths(const struct document *document)
{
    struct writer *out = document->out;
    json_write_raw(out, "\"paths\":{");
    for (uint32_t i = 0; i < COUNT_OF(routes); i++) {
        const struct route *route = &routes[i];
        if (i > 0) writer_u8(out, ',');
        write_string(out, route->path);
        json_write_raw(out, ":{");
        write_operation(document, route, false);
        if (route->is_read) {
            writer_u8(out, ',');
            write_operation(document, route, true);
        }
        json_write_raw(out, "}");
    }
    json_write_raw(out, "}");
}

/* ---- the document ---------------------------------------------------------------------------------------------- */

static void write_schemas(const struct document *document)
{
    struct writer *out = document->out;
    const struct types *types = &document->types;
    json_write_raw(out, "\"schemas\":{\"ErrorBody\":{\"type\":\"object\",\"required\":[\"error\"],"
                        "\"description\":\"The body of every refusal over HTTP.\",\"properties\":{\"error\":{\"allOf\":[");
    write_reference(document, GIVEN, &ringpost__v1__error__descriptor);
    json_write_raw(out, "]");
    write_description(out, comment_of(ringpost__v1__error__descriptor.short_name, ""));
    json_write_raw(out, "}}}");
    for (uint32_t i = 0; i < types->sent_count; i++) {
        writer_u8(out, ',');
        write_message_schema(document, SENT, types->sent[i]);
    }
    for (uint32_t i = 0; i < types->given_count; i++) {
        writer_u8(out, ',');
        write_message_schema(document, GIVEN, types->given[i]);
    }
    for (uint32_t i = 0; i < types->enum_count; i++) {
        writer_u8(out, ',');
        write_enum_schema(out, types->enums[i]);
    }
    json_write_raw(out, "}");
}

static void write_components(const struct document *document)
{
    struct writer *out = document->out;
    json_write_raw(out, "\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\","
                        "\"bearerFormat\":\"JWT\",\"description\":\"An access token of login or refresh.\"}},");
    write_error_response(out);
    json_write_raw(out, ",");
    write_schemas(document);
    json_write_raw(out, "}");
}

void openapi_render(struct writer *out, const char *server_version)
{
    struct document document = {.out = out};
    collect_all(&document);
    json_write_raw(out, "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"Ringpost\"");
    write_pair(out, "version", server_version);
    write_description(out, comment_of("", ""));
    json_write_raw(out, ",\"license\":{\"name\":\"Apache-2.0\",\"url\":\"https://www.apache.org/licenses/LICENSE-2.0\"}"
                        "},\"servers\":[{\"url\":\"/\"}],");
    write_paths(&document);
    json_write_raw(out, ",");
    write_components(&document);
    json_write_raw(out, "}\n");
}
