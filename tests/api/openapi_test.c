/* tests/api/openapi_test.c - the document is JSON, whole, and complete: routes, references, descriptions, error
 * reasons. */
#include "api/envelope.h"
#include "api/message_random.h"
#include "api/openapi.h"
#include "api/openapi_internal.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>

/* What HTTP shows. */
static const struct {
    const char *path;
    bool is_read, needs_token;
} routes[] = {
    {"/v1/account/register", false, false}, {"/v1/chat/sync", true, true},    {"/v1/chat/send", false, true},
    {"/v1/room/members", true, true},       {"/v1/presence/get", true, true},
};

static json_t *document;
static void setup(void)
{
    struct writer out;
    api_init();
    writer_init(&out, 0);
    openapi_render(&out, "1.2.3");
    json_error_t error;
    document = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(document, "%s at %d", error.text, error.position);
    writer_deinit(&out);
}
static void teardown(void)
{
    json_decref(document);
}
TestSuite(openapi, .init = setup, .fini = teardown);

/* "a/b/c" below the document; the names of the document have no '/' but paths, which are looked up by hand. */
static json_t *at(const char *path)
{
    json_t *node = document;
    char name[128];
    while (*path != '\0' && node != NULL) {
        size_t len = strcspn(path, "/");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        node = json_object_get(node, name);
        path += len + (path[len] == '/');
    }
    return node;
}

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

Test(openapi, says_what_it_is)
{
    cr_expect_str_eq(text_at(document, "openapi"), "3.0.3");
    cr_expect_str_eq(text_at(at("info"), "title"), "Ringpost");
    cr_expect_str_eq(text_at(at("info"), "version"), "1.2.3");
    cr_expect_gt(strlen(text_at(at("info"), "description")), 100);
}

Test(openapi, methods_of_http_are_there)
{
    cr_expect_null(json_object_get(at("paths"), "/v1/account/auth"), "sockets only");
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        json_t *path = json_object_get(at("paths"), routes[i].path), *post = json_object_get(path, "post");
        cr_assert_not_null(post, "%s", routes[i].path);
        cr_expect_eq(json_object_get(path, "get") != NULL, routes[i].is_read, "%s", routes[i].path);
        cr_expect_eq(json_array_size(json_object_get(post, "security")), routes[i].needs_token ? 1 : 0);
        cr_expect_gt(strlen(text_at(post, "description")), 0, "%s", routes[i].path);
        cr_expect_null(strstr(text_at(post, "description"), "/v1/"), "%s", routes[i].path);
        cr_expect_not_null(json_object_get(json_object_get(post, "responses"), "200"));
        cr_expect_not_null(json_object_get(json_object_get(post, "responses"), "4XX"));
        cr_expect_not_null(json_object_get(json_object_get(post, "responses"), "5XX"));
        cr_expect_not_null(json_object_get(post, "requestBody"));
    }
}

Test(openapi, reads_take_their_fields_in_the_query)
{
    json_t *get = json_object_get(json_object_get(at("paths"), "/v1/room/members"), "get");
    json_t *parameters = json_object_get(get, "parameters");
    static const char *const names[] = {"room_id", "cursor", "limit"};
    cr_assert_eq(json_array_size(parameters), COUNT_OF(names));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_t *parameter = json_array_get(parameters, i);
        cr_expect_str_eq(text_at(parameter, "name"), names[i]);
        cr_expect_str_eq(text_at(parameter, "in"), "query");
        cr_expect_gt(strlen(text_at(parameter, "description")), 0);
    }
    cr_expect_null(json_object_get(get, "requestBody"));
}

/* Returns how many references there are below `node`; each must lead somewhere. */
static uint32_t follow_references(const json_t *node)
{
    uint32_t count = 0;
    if (json_is_array(node)) {
        for (size_t i = 0; i < json_array_size(node); i++) count += follow_references(json_array_get(node, i));
        return count;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)node, key, value)
    {
        if (strcmp(key, "$ref") != 0) {
            count += follow_references(value);
            continue;
        }
        const char *target = json_string_value(value);
        cr_expect_eq(strncmp(target, "#/", 2), 0, "%s", target);
        cr_expect_not_null(at(target + 2), "%s", target);
        cr_expect_eq(json_object_size(node), 1, "%s has siblings", target);
        count++;
    }
    return count;
}

Test(openapi, every_reference_leads_somewhere)
{
    cr_expect_gt(follow_references(document), 40);
}

static bool has_comment(const char *type, const char *member)
{
    for (size_t i = 0; i < openapi_comment_count; i++)
        if (strcmp(openapi_comments[i].type, type) == 0 && strcmp(openapi_comments[i].member, member) == 0) return true;
    return false;
}

/* The whole contract, also what only sockets carry; a field of a message's type may leave the text to that. */
Test(openapi, every_field_of_the_contract_has_a_comment)
{
    const ProtobufCMessageDescriptor *types[MESSAGE_TYPES_MAX];
    uint32_t count = message_types(types);
    for (uint32_t i = 0; i < count; i++) {
        cr_expect(has_comment(types[i]->short_name, ""), "%s", types[i]->short_name);
        for (uint32_t n = 0; n < types[i]->n_fields; n++) {
            const ProtobufCFieldDescriptor *field = &types[i]->fields[n];
            bool leaves_it = field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_ENUM;
            cr_expect(leaves_it || has_comment(types[i]->short_name, field->name), "%s.%s", types[i]->short_name, field->name);
        }
    }
}

Test(openapi, every_schema_and_property_is_described)
{
    const char *name, *property_name;
    json_t *schema, *property;
    json_object_foreach(at("components/schemas"), name, schema)
    {
        cr_expect_gt(strlen(text_at(schema, "description")), 0, "%s", name);
        json_object_foreach(json_object_get(schema, "properties"), property_name, property)
            cr_expect_gt(strlen(text_at(property, "description")), 0, "%s.%s", name, property_name);
    }
}

/* An answer may gain fields, a request may not have others; in an answer whatever JSON always shows is required. */
Test(openapi, requests_are_closed_and_answers_are_open)
{
    static const struct {
        const char *schema;
        bool is_closed;
        const char *required[5], *optional[2];
    } cases[] = {
        {"SendRequest", true, {NULL}, {"room_id", "properties"}},
        {"PropertiesInput", true, {NULL}, {"content_type", "user"}},
        {"SendResponse", false, {"msg_id", "room_id", "seq", "time_ms"}, {NULL}},
        {"MembersResponse", false, {"next_cursor"}, {"members"}},
        {"Member", false, {"user_id", "name", "role"}, {NULL}},
        {"Error", false, {"code", "reason", "retryable", "retry_after_ms"}, {NULL}},
        {"ErrorBody", false, {"error"}, {NULL}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *schema = json_object_get(at("components/schemas"), cases[i].schema), *required = json_object_get(schema, "required");
        cr_assert_not_null(schema, "%s", cases[i].schema);
        cr_expect_eq(json_is_false(json_object_get(schema, "additionalProperties")), cases[i].is_closed, "%s", cases[i].schema);
        if (cases[i].is_closed) cr_expect_null(required, "%s", cases[i].schema);
        char *names = json_dumps(required, JSON_ENCODE_ANY | JSON_COMPACT);
        for (size_t n = 0; n < COUNT_OF(cases[i].required) && cases[i].required[n] != NULL; n++)
            cr_expect(names != NULL && strstr(names, cases[i].required[n]) != NULL, "%s: %s is not required", cases[i].schema, cases[i].required[n]);
        for (size_t n = 0; n < COUNT_OF(cases[i].optional) && cases[i].optional[n] != NULL; n++) {
            cr_expect(names == NULL || strstr(names, cases[i].optional[n]) == NULL, "%s: %s is required", cases[i].schema, cases[i].optional[n]);
            cr_expect_not_null(json_object_get(json_object_get(schema, "properties"), cases[i].optional[n]), "%s.%s", cases[i].schema,
                               cases[i].optional[n]);
        }
        free(names);
    }
}

Test(openapi, every_enum_value_is_named_and_described)
{
    const ProtobufCEnumDescriptor *kind = &ringpost__v1__message_kind__descriptor;
    json_t *schema = at("components/schemas/MessageKind");
    cr_assert_eq(json_array_size(json_object_get(schema, "enum")), kind->n_values);
    for (uint32_t i = 0; i < kind->n_values; i++)
        cr_expect_str_eq(json_string_value(json_array_get(json_object_get(schema, "enum"), i)), kind->values[i].name);
    static const char *const enums[] = {"MessageKind", "RoomType", "Role", "RoomChangeKind"};
    for (size_t i = 0; i < COUNT_OF(enums); i++) {
        const char *text = text_at(json_object_get(at("components/schemas"), enums[i]), "description");
        cr_expect_not_null(strstr(text, "\n- "), "%s", enums[i]);
        cr_expect_null(strstr(text, ": \n"), "%s has a value without a description: %s", enums[i], text);
        cr_expect_neq(text[strlen(text) - 1], ' ', "%s", enums[i]);
    }
}

Test(openapi, every_reason_of_an_error_is_listed)
{
    json_t *reasons = at("components/responses/Error/x-reasons");
    cr_assert_eq(json_array_size(reasons), ERROR_COUNT - 1);
    for (uint32_t i = ERROR_NONE + 1; i < ERROR_COUNT; i++) {
        const struct error_row *row = error_row((enum error)i);
        json_t *listed = json_array_get(reasons, i - 1);
        cr_expect_str_eq(text_at(listed, "reason"), row->reason);
        cr_expect_str_eq(text_at(listed, "code"), row->code);
        cr_expect_eq(json_integer_value(json_object_get(listed, "status")), row->status);
        cr_expect_not_null(strstr(text_at(at("components/responses/Error"), "description"), row->reason));
    }
}
