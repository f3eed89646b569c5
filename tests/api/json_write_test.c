/* tests/api/json_write_test.c - protobuf to JSON, and every message there and back. */
#include "api/json_internal.h"
#include "api/message_random.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>

#define ROUNDS_PER_TYPE 60

static struct writer out;
static void setup(void)
{
    api_init();
    writer_init(&out, 0);
}
static void teardown(void)
{
    writer_deinit(&out);
}
TestSuite(json_write, .init = setup, .fini = teardown);

Test(json_write, strings_are_escaped)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain / text", 12, "\"plain / text\""},
        {"\"\\", 2, "\"\\\"\\\\\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x01\x0b\x1f", 4, "\"\\u0000\\u0001\\u000b\\u001f\""},
        {"\x7f", 1, "\"\x7f\""},
        {"é漢😀", 9, "\"é漢😀\""},
        {"a\xff"
         "b",
         3,
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xe6\xbc", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        writer_reset(&out);
        json_write_string(&out, slice_of(cases[i].text, cases[i].len));
        cr_expect(slice_equal(writer_slice(&out), slice_text(cases[i].want)), "case %zu: %.*s", i, (int)out.len,
                  (char *)out.data);
    }
}

Test(json_write, decimals_have_all_their_digits)
{
    static const struct {
        uint64_t value;
        const char *want;
    } cases[] = {
        {0, "0"}, {9, "9"}, {10, "10"}, {1234567890, "1234567890"}, {UINT64_MAX, "18446744073709551615"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char digits[JSON_DECIMAL_MAX];
        cr_expect(slice_equal(slice_of(digits, json_decimal(digits, cases[i].value)), slice_text(cases[i].want)));
    }
}

static void expect_json(const ProtobufCMessageDescriptor *descriptor, struct slice packed, const char *want)
{
    writer_reset(&out);
    cr_assert_eq(json_from_packed(descriptor, packed, &out), RESULT_OK);
    cr_expect(slice_equal(writer_slice(&out), slice_text(want)), "%.*s", (int)out.len, (char *)out.data);
}

Test(json_write, all_fields_are_shown_but_unset_messages_and_empty_lists)
{
    expect_json(&ringpost__v1__logout_response__descriptor, SLICE_EMPTY, "{}");
    expect_json(&ringpost__v1__mark_read_request__descriptor, SLICE_EMPTY, "{\"room_id\":\"0\",\"seq\":\"0\"}");
    expect_json(&ringpost__v1__event__descriptor, SLICE_EMPTY, "{\"sync_key\":\"0\"}");
    expect_json(&ringpost__v1__user_response__descriptor, SLICE_EMPTY, "{}");
    expect_json(&ringpost__v1__create_room_request__descriptor, SLICE_EMPTY,
                "{\"name\":\"\",\"joinable\":false,\"client_room_id\":\"\",\"history\":\"NOT_CHOSEN\"}");
    expect_json(
        &ringpost__v1__send_request__descriptor, SLICE_TEXT("\x08\x01\x20\x06\x2a\x02\xfb\xff"),
        "{\"room_id\":\"1\",\"to_user_id\":\"0\",\"client_msg_id\":\"\",\"kind\":\"CUSTOM\",\"body\":\"+/8=\",\"published_qos\":\"NOT_SAID\"}");
    expect_json(&ringpost__v1__presence__descriptor,
                SLICE_TEXT("\x10\x01\x22\x01"
                           "a\x22\x00"),
                "{\"user_id\":\"0\",\"online\":true,\"last_seen_ms\":\"0\",\"platforms\":[\"a\",\"\"],\"display_name\":\"\"}");
}

Test(json_write, bytes_that_are_no_message_are_refused)
{
    cr_expect_eq(json_from_packed(&ringpost__v1__user__descriptor, SLICE_TEXT("\x0a"), &out), RESULT_MALFORMED);
    cr_expect_eq(out.len, 0);
}

Test(json_write, bare_members_can_be_spliced)
{
    Ringpost__V1__ReadMark mark;
    ringpost__v1__read_mark__init(&mark);
    mark.room_id = 7;
    json_from_message(&mark.base, &out, true);
    cr_expect(slice_equal(writer_slice(&out), SLICE_TEXT("\"room_id\":\"7\",\"read_seq\":\"0\"")));
}

static void expect_back(const ProtobufCMessageDescriptor *type, struct slice packed)
{
    struct writer again;
    writer_init(&again, 0);
    char text[256];
    writer_reset(&out);
    cr_assert_eq(json_from_packed(type, packed, &out), RESULT_OK);
    enum result res = json_to_packed(type, writer_slice(&out), &again, text, sizeof text);
    cr_assert_eq(res, RESULT_OK, "%s: %s in %.*s", type->name, text, (int)out.len, (char *)out.data);
    cr_assert(slice_equal(writer_slice(&again), packed), "%s: %.*s", type->name, (int)out.len, (char *)out.data);
    writer_deinit(&again);
}

Test(json_write, every_message_comes_back_as_protobuf_packs_it)
{
    const ProtobufCMessageDescriptor *types[MESSAGE_TYPES_MAX];
    uint32_t count = message_types(types);
    cr_assert_gt(count, 60);
    struct envelope_arena *arena;
    cr_assert_eq(envelope_arena_create(&arena, (size_t)16 << 20), RESULT_OK);
    struct writer packed;
    writer_init(&packed, 0);
    for (uint64_t seed = 0; seed < (uint64_t)count * ROUNDS_PER_TYPE; seed++) {
        struct random random = {.state = seed};
        writer_reset(&packed);
        envelope_pack(&packed, message_random(arena, types[seed % count], &random));
        expect_back(types[seed % count], writer_slice(&packed));
        envelope_arena_reset(arena);
    }
    writer_deinit(&packed);
    envelope_arena_destroy(arena);
}
