/* tests/api/json_query_test.c - URL queries, read as the JSON object they stand for. */
#include "api/envelope.h"
#include "api/json.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>

#define HISTORY   &ringpost__v1__history_request__descriptor
#define USER      &ringpost__v1__user_request__descriptor
#define PRESENCE  &ringpost__v1__presence_request__descriptor
#define SEND      &ringpost__v1__send_request__descriptor
#define TYPING    &ringpost__v1__typing_request__descriptor
#define PLATFORMS &ringpost__v1__presence__descriptor

Test(json_query, stands_for_a_json_object)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        const char *query, *json;
    } cases[] = {
        {HISTORY, "", "{}"},
        {HISTORY, "room_id=5", "{\"room_id\":\"5\"}"},
        {HISTORY, "room_id=18446744073709551615&limit=50", "{\"room_id\":\"18446744073709551615\",\"limit\":50}"},
        {HISTORY, "limit=50&room_id=5", "{\"room_id\":5,\"limit\":50}"},
        {HISTORY, "room%5Fid=%35", "{\"room_id\":\"5\"}"},
        {USER, "name=", "{}"},
        {USER, "name=a+b%2Bc%20d%3D%26", "{\"name\":\"a b+c d=&\"}"},
        {USER, "name=a=b", "{\"name\":\"a=b\"}"},
        {USER, "name=%E6%bc%A2", "{\"name\":\"漢\"}"},
        {PRESENCE, "user_ids=1&user_ids=2", "{\"user_ids\":[\"1\",\"2\"]}"},
        {PLATFORMS, "platforms=web&user_id=1&platforms=", "{\"user_id\":1,\"platforms\":[\"web\",\"\"]}"},
        {TYPING, "stopped=true&room_id=1", "{\"stopped\":true,\"room_id\":1}"},
        {TYPING, "stopped=false", "{}"},
        {SEND, "kind=IMAGE&body=-_8", "{\"kind\":\"IMAGE\",\"body\":\"+/8=\"}"},
        {SEND, "kind=2", "{\"kind\":\"IMAGE\"}"},
    };
    struct writer got, want;
    writer_init(&got, 0);
    writer_init(&want, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[128];
        writer_reset(&got);
        writer_reset(&want);
        enum result res =
            json_query_to_packed(cases[i].descriptor, slice_text(cases[i].query), &got, text, sizeof text);
        cr_expect_eq(res, RESULT_OK, "%s: %s", cases[i].query, text);
        res = json_to_packed(cases[i].descriptor, slice_text(cases[i].json), &want, text, sizeof text);
        cr_expect_eq(res, RESULT_OK, "%s: %s", cases[i].json, text);
        cr_expect(slice_equal(writer_slice(&got), writer_slice(&want)), "%s", cases[i].query);
    }
    writer_deinit(&got);
    writer_deinit(&want);
}

Test(json_query, refuses_what_stands_for_nothing)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        const char *query, *why;
    } cases[] = {
        {HISTORY, "before_seq=1&after_seq=1", "field after_seq: another one of these is set already"},
        {HISTORY, "room_id", "query: name=value is expected between the &"},
        {HISTORY, "&", "query: name=value is expected between the &"},
        {HISTORY, "room_id=1&", "query: name=value is expected between the &"},
        {HISTORY, "=1", "query: no such field"},
        {HISTORY, "roomId=1", "query: no such field"},
        {HISTORY, "a_name_that_is_longer_than_any_name_of_a_field_in_the_whole_contract=1", "query: no such field"},
        {HISTORY, "room_id=1&room_id=1", "field room_id: given twice"},
        {HISTORY, "limit=", "field limit: a whole number from 0 to 4294967295 is expected"},
        {HISTORY, "limit=-1", "field limit: a whole number from 0 to 4294967295 is expected"},
        {HISTORY, "limit=+1", "field limit: a whole number from 0 to 4294967295 is expected"},
        {USER, "name=%", "query: bad percent-encoding"},
        {USER, "name=%4", "query: bad percent-encoding"},
        {USER, "name=%4g", "query: bad percent-encoding"},
        {USER, "name=a%00", "query: bad percent-encoding"},
        {USER, "name=%ff", "field name: the text is not UTF-8"},
        {TYPING, "stopped=1", "field stopped: true or false is expected"},
        {TYPING, "stopped=TRUE", "field stopped: true or false is expected"},
        {SEND, "kind=image", "field kind: no such name of MessageKind"},
        {SEND, "body=%21", "field body: base64 is expected"},
        {PRESENCE, "user_ids=1&user_ids=x",
         "field user_ids[1]: a whole number from 0 to 18446744073709551615 is expected"},
        {&ringpost__v1__event__descriptor, "message=1", "field message: an object does not fit into a query"},
    };
    struct writer out;
    writer_init(&out, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[128] = "";
        enum result res =
            json_query_to_packed(cases[i].descriptor, slice_text(cases[i].query), &out, text, sizeof text);
        cr_expect_eq(res, RESULT_MALFORMED, "%s", cases[i].query);
        cr_expect_str_eq(text, cases[i].why, "%s said: %s", cases[i].query, text);
        cr_expect_eq(out.len, 0, "%s", cases[i].query);
    }
    writer_deinit(&out);
}
