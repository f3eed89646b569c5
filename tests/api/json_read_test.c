/* tests/api/json_read_test.c - JSON to protobuf, rule by rule. What is accepted is shown as JSON again. */
#include "api/envelope.h"
#include "api/json.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define MESSAGE  &ringpost__v1__message__descriptor
#define SEND     &ringpost__v1__send_request__descriptor
#define CREATE   &ringpost__v1__create_room_request__descriptor
#define PRESENCE &ringpost__v1__presence__descriptor
#define EVENT    &ringpost__v1__event__descriptor
#define SYNC     &ringpost__v1__sync_response__descriptor
#define HISTORY  &ringpost__v1__history_request__descriptor
#define ROOM     &ringpost__v1__room__descriptor

typedef const ProtobufCMessageDescriptor *descriptor_t;
static struct writer packed, json;
static char text[256];

static void setup(void)
{
    api_init();
    writer_init(&packed, 0);
    writer_init(&json, 0);
}
static void teardown(void)
{
    writer_deinit(&packed);
    writer_deinit(&json);
}
TestSuite(json_read, .init = setup, .fini = teardown);

static enum result read_json(descriptor_t descriptor, struct slice given)
{
    writer_reset(&packed);
    return json_to_packed(descriptor, given, &packed, text, sizeof text);
}

struct accepted {
    descriptor_t descriptor;
    const char *given, *shown; /* `shown`: the part of the JSON that comes back */
};

static void expect_accepted(const struct accepted *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum result res = read_json(cases[i].descriptor, slice_text(cases[i].given));
        cr_expect_eq(res, RESULT_OK, "%s: %s", cases[i].given, text);
        writer_reset(&json);
        cr_assert_eq(json_from_packed(cases[i].descriptor, writer_slice(&packed), &json), RESULT_OK);
        writer_u8(&json, 0);
        cr_expect_not_null(strstr((char *)json.data, cases[i].shown), "%s gave %s", cases[i].given, (char *)json.data);
    }
}

struct refused {
    descriptor_t descriptor;
    const char *given, *why; /* the whole text, or its beginning when it ends with '~' */
};

static void expect_refused(const struct refused *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(read_json(cases[i].descriptor, slice_text(cases[i].given)), RESULT_MALFORMED, "%s",
                     cases[i].given);
        cr_expect_eq(packed.len, 0, "%s", cases[i].given);
        size_t len = strlen(cases[i].why);
        bool is_beginning = cases[i].why[len - 1] == '~';
        bool fits = is_beginning ? strncmp(text, cases[i].why, len - 1) == 0 : strcmp(text, cases[i].why) == 0;
        cr_expect(fits, "%s said: %s", cases[i].given, text);
    }
}

Test(json_read, numbers)
{
    static const struct accepted accepted[] = {
        {HISTORY, "{\"after_seq\":\"0\"}", "\"after_seq\":\"0\""},
        {HISTORY, "{\"limit\":0}", "\"limit\":0"},
        {HISTORY, "{\"limit\":4294967295}", "\"limit\":4294967295"},
        {HISTORY, "{\"limit\":\"7\"}", "\"limit\":7"},
        {HISTORY, "{\"room_id\":9223372036854775807}", "\"room_id\":\"9223372036854775807\""},
        {HISTORY, "{\"room_id\":\"18446744073709551615\"}", "\"room_id\":\"18446744073709551615\""},
        {HISTORY, "{\"room_id\":\"0\"}", "\"room_id\":\"0\""},
        {HISTORY, "{\"room_id\":null}", "\"room_id\":\"0\""},
        {HISTORY, " {\t\"room_id\" :\n12 } ", "\"room_id\":\"12\""},
    };
    static const struct refused refused[] = {
        {HISTORY, "{\"limit\":4294967296}", "field limit: a whole number from 0 to 4294967295 is expected"},
        {HISTORY, "{\"limit\":\"4294967296\"}", "field limit: ~"},
        {HISTORY, "{\"limit\":-1}", "field limit: ~"},
        {HISTORY, "{\"limit\":1.0}", "field limit: ~"},
        {HISTORY, "{\"limit\":1e3}", "field limit: ~"},
        {HISTORY, "{\"limit\":true}", "field limit: ~"},
        {HISTORY, "{\"limit\":[1]}", "field limit: ~"},
        {HISTORY, "{\"limit\":{}}", "field limit: ~"},
        {HISTORY, "{\"room_id\":\"18446744073709551616\"}",
         "field room_id: a whole number from 0 to 18446744073709551615 is expected"},
        {HISTORY, "{\"room_id\":\"99999999999999999999\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\"100000000000000000000\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":9223372036854775808}", "not JSON: ~"},
        {HISTORY, "{\"room_id\":\"\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\"-1\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\"+1\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\" 1\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\"1 \"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\"01\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":\"0x1\"}", "field room_id: ~"},
        {HISTORY, "{\"room_id\":01}", "not JSON: ~"},
    };
    expect_accepted(accepted, COUNT_OF(accepted));
    expect_refused(refused, COUNT_OF(refused));
}

Test(json_read, booleans_and_enums)
{
    static const struct accepted accepted[] = {
        {ROOM, "{\"dismissed\":true}", "\"dismissed\":true"},
        {ROOM, "{\"dismissed\":false}", "\"dismissed\":false"},
        {ROOM, "{\"type\":\"DIRECT\"}", "\"type\":\"DIRECT\""},
        {ROOM, "{\"type\":1}", "\"type\":\"DIRECT\""},
        {ROOM, "{\"type\":0}", "\"type\":\"GROUP\""},
        {ROOM, "{\"type\":77}", "\"type\":77"},
        {ROOM, "{\"type\":-2147483648}", "\"type\":-2147483648"},
        {ROOM, "{\"type\":null}", "\"type\":\"GROUP\""},
    };
    static const struct refused refused[] = {
        {ROOM, "{\"dismissed\":\"true\"}", "field dismissed: true or false is expected"},
        {ROOM, "{\"dismissed\":1}", "field dismissed: ~"},
        {ROOM, "{\"type\":\"direct\"}", "field type: no such name of RoomType"},
        {ROOM, "{\"type\":\"1\"}", "field type: no such name of RoomType"},
        {ROOM, "{\"type\":\"\"}", "field type: ~"},
        {ROOM, "{\"type\":2147483648}", "field type: a name of RoomType is expected"},
        {ROOM, "{\"type\":-2147483649}", "field type: ~"},
        {ROOM, "{\"type\":1.0}", "field type: ~"},
        {ROOM, "{\"type\":true}", "field type: ~"},
    };
    expect_accepted(accepted, COUNT_OF(accepted));
    expect_refused(refused, COUNT_OF(refused));
}

Test(json_read, strings)
{
    static const struct accepted accepted[] = {
        {ROOM, "{\"name\":\"\"}", "\"name\":\"\""},
        {ROOM, "{\"name\":\"\\u0061\\/\\b\\f\\n\\r\\t\\\"\\\\\"}", "\"name\":\"a/\\b\\f\\n\\r\\t\\\"\\\\\""},
        {ROOM, "{\"name\":\"\\u00e9\\u6f22\"}", "\"name\":\"é漢\""},
        {ROOM, "{\"name\":\"\\ud83d\\ude00\"}", "\"name\":\"😀\""},
        {ROOM, "{\"name\":\"\\u0001\\u001f\"}", "\"name\":\"\\u0001\\u001f\""},
        {ROOM, "{\"na\\u006de\":\"x\"}", "\"name\":\"x\""},
    };
    static const struct refused refused[] = {
        {ROOM, "{\"name\":5}", "field name: a string is expected"},
        {ROOM, "{\"name\":{}}", "field name: a string is expected"},
        {ROOM, "{\"name\":\"a\\u0000b\"}", "U+0000 is not allowed: ~"},
        {ROOM, "{\"na\\u0000me\":\"\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"\\ud83d\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"\\ude00\\ud83d\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"\xff\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"\xed\xa0\x80\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"\xc0\x80\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"a\nb\"}", "not JSON: ~"},
        {ROOM, "{\"name\":\"\\x41\"}", "not JSON: ~"},
        {ROOM, "{\"name\":'a'}", "not JSON: ~"},
    };
    expect_accepted(accepted, COUNT_OF(accepted));
    expect_refused(refused, COUNT_OF(refused));
}

Test(json_read, bytes)
{
    static const struct accepted accepted[] = {
        {SEND, "{\"body\":\"\"}", "\"body\":\"\""},
        {SEND, "{\"body\":\"aGVsbG8=\"}", "\"body\":\"aGVsbG8=\""},
        {SEND, "{\"body\":\"aGVsbG8\"}", "\"body\":\"aGVsbG8=\""},
        {SEND, "{\"body\":\"+/8=\"}", "\"body\":\"+/8=\""},
        {SEND, "{\"body\":\"-_8=\"}", "\"body\":\"+/8=\""},
        {SEND, "{\"body\":\"-_8\"}", "\"body\":\"+/8=\""},
        {SEND, "{\"body\":\"AA==\"}", "\"body\":\"AA==\""},
        {SEND, "{\"body\":\"AAAA\"}", "\"body\":\"AAAA\""},
    };
    static const struct refused refused[] = {
        {SEND, "{\"body\":\"+_8=\"}", "field body: base64 is expected"},
        {SEND, "{\"body\":\"A\"}", "field body: base64 is expected"},
        {SEND, "{\"body\":\"AAAAA\"}", "field body: ~"},
        {SEND, "{\"body\":\"AA=\"}", "field body: ~"},
        {SEND, "{\"body\":\"AA===\"}", "field body: ~"},
        {SEND, "{\"body\":\"=\"}", "field body: ~"},
        {SEND, "{\"body\":\"====\"}", "field body: ~"},
        {SEND, "{\"body\":\"A=A=\"}", "field body: ~"},
        {SEND, "{\"body\":\"AB==\"}", "field body: ~"}, /* stray bits: not the only spelling */
        {SEND, "{\"body\":\"AA A\"}", "field body: ~"},
        {SEND, "{\"body\":\"AA\\nA\"}", "field body: ~"},
        {SEND, "{\"body\":\"é\"}", "field body: ~"},
        {SEND, "{\"body\":\"éé\"}", "field body: ~"},
        {SEND, "{\"body\":\"AAAAA\u00e9A=\"}", "field body: ~"},
        {SEND, "{\"body\":[65]}", "field body: a base64 string is expected"},
    };
    expect_accepted(accepted, COUNT_OF(accepted));
    expect_refused(refused, COUNT_OF(refused));
}

Test(json_read, lists)
{
    static const struct accepted accepted[] = {
        {CREATE, "{\"member_ids\":[]}", "{\"name\":\"\",\"joinable\":false"},
        {CREATE, "{\"member_ids\":null}", "{\"name\":\"\",\"joinable\":false"},
        {CREATE, "{\"member_ids\":[\"1\",2,0]}", "\"member_ids\":[\"1\",\"2\",\"0\"]"},
        {PRESENCE, "{\"platforms\":[\"web\",\"\"]}", "\"platforms\":[\"web\",\"\"]"},
        {SYNC, "{\"events\":[{},{\"sync_key\":\"2\"}]}", "\"events\":[{\"sync_key\":\"0\"},{\"sync_key\":\"2\"}]"},
    };
    static const struct refused refused[] = {
        {CREATE, "{\"member_ids\":1}", "field member_ids: a list is expected"},
        {CREATE, "{\"member_ids\":{}}", "field member_ids: a list is expected"},
        {CREATE, "{\"member_ids\":[1,null]}", "field member_ids[1]: ~"},
        {CREATE, "{\"member_ids\":[1,[2]]}", "field member_ids[1]: ~"},
        {PRESENCE, "{\"platforms\":[\"a\",\"b\",3]}", "field platforms[2]: a string is expected"},
        {SYNC, "{\"events\":[null]}", "field events[0]: an object is expected"},
        {SYNC, "{\"events\":[{},{\"room\":{\"room\":{\"name\":1}}}]}",
         "field events[1].room.room.name: a string is expected"},
    };
    expect_accepted(accepted, COUNT_OF(accepted));
    expect_refused(refused, COUNT_OF(refused));
}

Test(json_read, messages_and_oneofs)
{
    static const struct accepted accepted[] = {
        {EVENT, "{}", "{\"sync_key\":\"0\"}"},
        {EVENT, "{\"read\":{}}", "\"read\":{\"room_id\":\"0\",\"read_seq\":\"0\"}"},
        {EVENT, "{\"read\":null,\"message\":null}", "{\"sync_key\":\"0\"}"},
        {EVENT, "{\"message\":null,\"read\":{\"read_seq\":\"3\"}}", "\"read\":{\"room_id\":\"0\",\"read_seq\":\"3\"}"},
        {EVENT, "{\"room\":{\"room\":{}}}", "\"room\":{\"room_id\":\"0\""},
    };
    static const struct refused refused[] = {
        {EVENT, "{\"read\":{},\"message\":{}}", "field read: another one of these is set already"},
        {EVENT, "{\"message\":{},\"room\":{}}", "field room: another one of these is set already"},
        {EVENT, "{\"read\":[]}", "field read: an object is expected"},
        {EVENT, "{\"read\":\"x\"}", "field read: an object is expected"},
        {EVENT, "{\"syncKey\":\"1\"}", "field syncKey: Event has no such field"},
        {EVENT, "{\"read\":{\"x\":1}}", "field read.x: ReadMark has no such field"},
        {EVENT, "{\"\":1}", "field : Event has no such field"},
        {EVENT, "{\"unknown\":null}", "field unknown: ~"},
        {EVENT, "{\"read\":{},\"read\":{}}", "not JSON: ~"},
        {EVENT, "{\"sync_key\":1,\"sync_key\":1}", "not JSON: ~"},
    };
    expect_accepted(accepted, COUNT_OF(accepted));
    expect_refused(refused, COUNT_OF(refused));
}

Test(json_read, documents_that_are_no_object)
{
    static const struct refused refused[] = {
        {EVENT, "", "not JSON: ~"},
        {EVENT, " ", "not JSON: ~"},
        {EVENT, "null", "not JSON: ~"},
        {EVENT, "[]", "a JSON object is expected"},
        {EVENT, "{", "not JSON: ~"},
        {EVENT, "{}}", "not JSON: ~"},
        {EVENT, "{}{}", "not JSON: ~"},
        {EVENT, "{} x", "not JSON: ~"},
        {EVENT, "{,}", "not JSON: ~"},
        {EVENT, "{\"sync_key\":1,}", "not JSON: ~"},
        {EVENT, "\xef\xbb\xbf{}", "not JSON: ~"},
        {EVENT, "{\"sync_key\":NaN}", "not JSON: ~"},
        {EVENT, "/* */{}", "not JSON: ~"},
    };
    expect_refused(refused, COUNT_OF(refused));
    cr_expect_eq(read_json(EVENT, slice_of("{}\0", 3)), RESULT_MALFORMED);
    cr_expect_eq(read_json(EVENT, SLICE_EMPTY), RESULT_MALFORMED);
}

/* `depth` brackets around nothing, under an unknown key: only the depth may decide what is said. */
static const char *nested(uint32_t depth)
{
    static char given[4096];
    size_t len = (size_t)snprintf(given, sizeof given, "{\"x\":\"[[\\\"[[\",\"deep\":");
    for (uint32_t i = 1; i < depth; i++) given[len++] = '[';
    for (uint32_t i = 1; i < depth; i++) given[len++] = ']';
    given[len++] = '}';
    given[len] = '\0';
    return given;
}

Test(json_read, depth_is_bounded_before_parsing)
{
    const struct refused refused[] = {
        {EVENT, nested(JSON_DEPTH_MAX), "field x: Event has no such field"},
    };
    expect_refused(refused, COUNT_OF(refused));
    const struct refused deeper[] = {
        {EVENT, nested(JSON_DEPTH_MAX + 1), "the JSON nests deeper than 16"},
    };
    expect_refused(deeper, COUNT_OF(deeper));
    cr_expect_eq(read_json(EVENT, slice_text(nested(1500))), RESULT_MALFORMED);
    cr_expect_str_eq(text, "the JSON nests deeper than 16");
}

Test(json_read, defaults_take_no_bytes_and_fields_are_in_order)
{
    cr_expect_eq(read_json(MESSAGE, SLICE_TEXT("{\"body\":\"\",\"kind\":0,\"seq\":\"0\"}")), RESULT_OK);
    cr_expect_eq(packed.len, 0);
    cr_expect_eq(read_json(HISTORY, SLICE_TEXT("{\"limit\":3,\"room_id\":\"1\"}")), RESULT_OK);
    cr_expect(slice_equal(writer_slice(&packed), SLICE_TEXT("\x08\x01\x20\x03")));
}

Test(json_read, appends_and_takes_back_when_refused)
{
    writer_raw(&packed, "head", 4);
    enum result res =
        json_to_packed(HISTORY, SLICE_TEXT("{\"room_id\":1,\"limit\":\"x\"}"), &packed, text, sizeof text);
    cr_expect_eq(res, RESULT_MALFORMED);
    cr_expect(slice_equal(writer_slice(&packed), SLICE_TEXT("head")));
    res = json_to_packed(HISTORY, SLICE_TEXT("{\"room_id\":1}"), &packed, text, sizeof text);
    cr_expect_eq(res, RESULT_OK);
    cr_expect(slice_equal(writer_slice(&packed), SLICE_TEXT("head\x08\x01")));
}

Test(json_read, a_full_writer_is_told)
{
    struct writer small;
    writer_init(&small, 3);
    enum result res = json_to_packed(ROOM, SLICE_TEXT("{\"name\":\"too long\"}"), &small, text, sizeof text);
    cr_expect_eq(res, RESULT_TOO_LARGE);
    writer_deinit(&small);
}

Test(json_read, what_is_wrong_fits_any_buffer_and_stays_text)
{
    static const char given[] = "{\"éééééééééééééééé\":1}";
    for (size_t size = 0; size < 64; size++) {
        char small[64];
        memset(small, 'x', sizeof small);
        writer_reset(&packed);
        cr_expect_eq(json_to_packed(EVENT, slice_text(given), &packed, small, size), RESULT_MALFORMED);
        if (size == 0) continue;
        cr_assert_lt(strnlen(small, size), size);
        cr_expect(((uint8_t)small[strlen(small) - (strlen(small) > 0)] & 0xc0) != 0xc0,
                  "no head of a character at the end");
    }
    cr_expect_eq(json_to_packed(EVENT, SLICE_TEXT("["), &packed, NULL, 0), RESULT_MALFORMED);
}
