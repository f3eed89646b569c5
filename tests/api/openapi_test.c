/* tests/api/openapi_test.c - the document is JSON, whole, and complete: routes, references, descriptions, error
 * reasons. */
#include "api/envelope.h"
#include "api/message_random.h"
#include "api/openapi.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>

#define SEND     RINGPOST__V1__REQUEST__METHOD_SEND
#define PRESENCE RINGPOST__V1__REQUEST__METHOD_PRESENCE
#define MEMBERS  RINGPOST__V1__REQUEST__METHOD_MEMBERS
#define REGISTER RINGPOST__V1__REQUEST__METHOD_REGISTER

static const struct openapi_route routes[] = {
    {REGISTER, "/v1/account/register", false, false},
    {SEND, "/v1/chat/send", false, true},
    {MEMBERS, "/v1/room/members", true, true},
    {PRESENCE, "/v1/presence/get", true, true},
};

static json_t *document;
static void setup(void)
{
    struct writer out;
    api_init();
    writer_init(&out, 0);
    openapi_render(&out, routes, COUNT_OF(routes), "1.2.3");
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

Test(openapi, every_route_is_there)
{
    cr_expect_eq(json_object_size(at("paths")), COUNT_OF(routes));
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        json_t *path = json_object_get(at("paths"), routes[i].path), *post = json_object_get(path, "post");
        cr_assert_not_null(post, "%s", routes[i].path);
        cr_expect_eq(json_object_get(path, "get") != NULL, routes[i].is_read, "%s", routes[i].path);
        cr_expect_eq(json_array_size(json_object_get(post, "security")), routes[i].needs_token ? 1 : 0);
        cr_expect_gt(strlen(text_at(post, "description")), 0, "%s", routes[i].path);
        cr_expect_null(strstr(text_at(post, "description"), "/v1/"), "%s", routes[i].path);
        cr_expect_not_null(json_object_get(json_object_get(post, "responses"), "200"));
        cr_expect_not_null(json_object_get(json_object_get(post, "responses"), "default"));
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
    cr_expect_gt(follow_references(document), 100);
}

Test(openapi, every_field_of_every_message_is_described)
{
    const ProtobufCMessageDescriptor *types[MESSAGE_TYPES_MAX];
    uint32_t count = message_types(types);
    for (uint32_t i = 0; i < count; i++) {
        json_t *schema = json_object_get(at("components/schemas"), types[i]->short_name);
        cr_assert_not_null(schema, "%s", types[i]->short_name);
        cr_expect_gt(strlen(text_at(schema, "description")), 0, "%s", types[i]->short_name);
        json_t *properties = json_object_get(schema, "properties");
        cr_expect_eq(json_object_size(properties), types[i]->n_fields, "%s", types[i]->short_name);
        for (uint32_t n = 0; n < types[i]->n_fields; n++) {
            const char *name = types[i]->fields[n].name;
            json_t *property = json_object_get(properties, name);
            cr_expect_gt(strlen(text_at(property, "description")), 0, "%s.%s", types[i]->short_name, name);
        }
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
