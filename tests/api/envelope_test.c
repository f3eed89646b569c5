/* tests/api/envelope_test.c - frames: what is found in them, and that what we write is what protobuf-c would. */
#include "api/envelope.h"
#include "api/json.h"
#include "api/message_random.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>

#define SEND   RINGPOST__V1__REQUEST__METHOD_SEND
#define ROUNDS 300

static struct writer out, other;
static struct envelope_arena *arena;
static void setup(void)
{
    api_init();
    writer_init(&out, 0);
    writer_init(&other, 0);
    enum result res = envelope_arena_create(&arena, (size_t)16 << 20);
    cr_assert_eq(res, RESULT_OK);
}
static void teardown(void)
{
    writer_deinit(&out);
    writer_deinit(&other);
    envelope_arena_destroy(arena);
}
TestSuite(envelope, .init = setup, .fini = teardown);

static void expect_text(const struct writer *got, const char *want)
{
    cr_expect(slice_equal(writer_slice(got), slice_text(want)), "%.*s", (int)got->len, (char *)got->data);
}

/* ---- binary requests ------------------------------------------------------------------------------------------- */

Test(envelope, parse_finds_id_method_and_payload)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
        uint64_t id;
        uint32_t method, payload_len;
    } cases[] = {
        {"id, method", "\x0a\x07\x08\x07\xa2\x01\x02\x08\x01", 9, 7, 20, 2},
        {"method, id", "\x0a\x07\xa2\x01\x02\x08\x01\x08\x07", 9, 7, 20, 2},
        {"no id", "\x0a\x05\xa2\x01\x02\x08\x01", 7, 0, 20, 2},
        {"empty payload", "\x0a\x04\x08\x01\x62\x00", 6, 1, 12, 0},
        {"largest id", "\x0a\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x62\x00", 15, UINT64_MAX, 12, 0},
        {"method of a newer contract", "\x0a\x05\x08\x01\x9a\x3f\x00", 7, 1, 1011, 0},
        {"method 2", "\x0a\x04\x08\x01\x12\x00", 6, 1, 2, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct envelope_request request;
        enum result res = envelope_parse(&request, slice_of(cases[i].bytes, cases[i].len));
        cr_expect_eq(res, RESULT_OK, "%s", cases[i].name);
        cr_expect_eq(request.id, cases[i].id, "%s", cases[i].name);
        cr_expect_eq(request.method, cases[i].method, "%s", cases[i].name);
        cr_expect_eq(request.payload.len, cases[i].payload_len, "%s", cases[i].name);
    }
}

Test(envelope, parse_refuses_anything_else)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
    } cases[] = {
        {"nothing", "", 0},
        {"no method", "\x0a\x02\x08\x01", 4},
        {"empty request", "\x0a\x00", 2},
        {"two methods", "\x0a\x06\x08\x01\x62\x00\x5a\x00", 8},
        {"one method twice", "\x0a\x06\x08\x01\x62\x00\x62\x00", 8},
        {"two ids", "\x0a\x06\x08\x01\x08\x01\x62\x00", 8},
        {"id as bytes", "\x0a\x04\x0a\x00\x62\x00", 6},
        {"method as a number", "\x0a\x04\x08\x01\x60\x00", 6},
        {"method as four bytes",
         "\x0a\x07\x08\x01\x65"
         "1234",
         9},
        {"a response", "\x12\x04\x08\x01\x62\x00", 6},
        {"a push", "\x1a\x02\x0a\x00", 4},
        {"request as a number", "\x08\x01", 2},
        {"trailing byte", "\x0a\x04\x08\x01\x62\x00\x00", 7},
        {"two requests", "\x0a\x04\x08\x01\x62\x00\x0a\x04\x08\x01\x62\x00", 12},
        {"unknown field behind", "\x0a\x04\x08\x01\x62\x00\x28\x01", 8},
        {"cut in the payload", "\x0a\x06\x08\x01\x62\x02\x08", 7},
        {"payload reaches beyond the request", "\x0a\x04\x08\x01\x62\x01\x00", 7},
        {"request shorter than said", "\x0a\x05\x08\x01\x62\x00", 6},
        {"id of eleven bytes", "\x0a\x0e\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x62\x00", 16},
        {"id above 64 bits", "\x0a\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x62\x00", 15},
        {"group", "\x0a\x06\x08\x01\x63\x64\x62\x00", 8},
        {"number 0", "\x0a\x06\x08\x01\x02\x00\x62\x00", 8},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct envelope_request request;
        cr_expect_eq(envelope_parse(&request, slice_of(cases[i].bytes, cases[i].len)), RESULT_MALFORMED, "%s",
                     cases[i].name);
    }
}

Test(envelope, parse_reads_what_protobuf_packs)
{
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct random random = {.state = seed};
        const ProtobufCFieldDescriptor *fields = ringpost__v1__request__descriptor.fields;
        const ProtobufCFieldDescriptor *method =
            &fields[1 + random_below(&random, ringpost__v1__request__descriptor.n_fields - 1)];
        Ringpost__V1__Request request;
        ringpost__v1__request__init(&request);
        request.id = random_next(&random);
        request.method_case = (Ringpost__V1__Request__MethodCase)method->id;
        ProtobufCMessage *payload = message_random(arena, method->descriptor, &random);
        memcpy((uint8_t *)&request + method->offset, &payload, sizeof payload);
        Ringpost__V1__Envelope envelope;
        ringpost__v1__envelope__init(&envelope);
        envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_REQUEST;
        envelope.request = &request;
        writer_reset(&out);
        writer_reset(&other);
        envelope_pack(&out, &envelope.base);
        envelope_pack(&other, payload);
        struct envelope_request parsed;
        cr_assert_eq(envelope_parse(&parsed, writer_slice(&out)), RESULT_OK);
        cr_assert_eq(parsed.id, request.id);
        cr_assert_eq(parsed.method, method->id);
        cr_assert(slice_equal(parsed.payload, writer_slice(&other)));
        envelope_arena_reset(arena);
    }
}

/* ---- text requests --------------------------------------------------------------------------------------------- */

Test(envelope, parse_json)
{
    static const struct {
        const char *json;
        enum result want;
        uint64_t id;
        uint32_t method;
        const char *text;
    } cases[] = {
        {"{\"request\":{\"id\":\"7\",\"send\":{\"room_id\":\"1\"}}}", RESULT_OK, 7, SEND, ""},
        {"{\"request\":{\"send\":{\"room_id\":\"1\"},\"id\":7}}", RESULT_OK, 7, SEND, ""},
        {"{\"request\":{\"send\":{\"room_id\":\"1\"}}}", RESULT_OK, 0, SEND, ""},
        {"{\"request\":{\"id\":\"18446744073709551615\",\"send\":{\"room_id\":\"1\"}}}", RESULT_OK, UINT64_MAX, SEND,
         ""},
        {"{\"request\":{\"id\":\"7\",\"sing\":{\"song\":1}}}", RESULT_OK, 7, 0, ""},
        {"{\"request\":{\"id\":\"7\",\"send\":{\"room\":1}}}", RESULT_MALFORMED, 7, SEND,
         "field room: SendRequest has no such field"},
        {"{\"request\":{\"id\":\"7\",\"send\":[]}}", RESULT_MALFORMED, 7, SEND, "an object is expected"},
        {"{\"request\":{\"id\":\"7\",\"send\":null}}", RESULT_MALFORMED, 7, SEND, "an object is expected"},
        {"{\"request\":{\"id\":\"7\"}}", RESULT_MALFORMED, 7, 0, "request: one method is expected"},
        {"{\"request\":{}}", RESULT_MALFORMED, 0, 0, "request: one method is expected"},
        {"{\"request\":{\"id\":\"7\",\"send\":{},\"sync\":{}}}", RESULT_MALFORMED, 7, 0,
         "request: one method is expected"},
        {"{\"request\":{\"send\":{},\"sync\":{}}}", RESULT_MALFORMED, 0, 0, "request: one method is expected"},
        {"{\"request\":{\"id\":-1,\"send\":{}}}", RESULT_MALFORMED, 0, 0, "field id: a number is expected"},
        {"{\"request\":{\"id\":null,\"send\":{}}}", RESULT_MALFORMED, 0, 0, "field id: a number is expected"},
        {"{\"request\":[]}", RESULT_MALFORMED, 0, 0, "{\"request\":{…}} is expected"},
        {"{\"request\":{\"id\":\"7\",\"send\":{}},\"push\":{}}", RESULT_MALFORMED, 0, 0,
         "{\"request\":{…}} is expected"},
        {"{\"response\":{}}", RESULT_MALFORMED, 0, 0, "{\"request\":{…}} is expected"},
        {"{}", RESULT_MALFORMED, 0, 0, "{\"request\":{…}} is expected"},
        {"[]", RESULT_MALFORMED, 0, 0, "a JSON object is expected"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct envelope_request request;
        char text[128];
        writer_reset(&out);
        enum result res = envelope_parse_json(&request, slice_text(cases[i].json), &out, text, sizeof text);
        cr_expect_eq(res, cases[i].want, "%s", cases[i].json);
        cr_expect_eq(request.id, cases[i].id, "%s", cases[i].json);
        cr_expect_eq(request.method, cases[i].method, "%s", cases[i].json);
        cr_expect_str_eq(text, cases[i].text, "%s", cases[i].json);
        bool has_payload = res == RESULT_OK && cases[i].method == SEND;
        cr_expect(slice_equal(request.payload, has_payload ? SLICE_TEXT("\x08\x01") : SLICE_EMPTY), "%s",
                  cases[i].json);
    }
}

/* ---- what we write --------------------------------------------------------------------------------------------- */

/* Expects in `out` exactly what protobuf-c packs for `envelope`, then the same as JSON in `other`. */
static void expect_frame(const Ringpost__V1__Envelope *envelope, const struct writer *json)
{
    struct writer want, packed;
    writer_init(&want, 0);
    writer_init(&packed, 0);
    envelope_pack(&want, &envelope->base);
    cr_assert(slice_equal(writer_slice(&out), writer_slice(&want)));
    char text[128];
    enum result res =
        json_to_packed(&ringpost__v1__envelope__descriptor, writer_slice(json), &packed, text, sizeof text);
    cr_assert_eq(res, RESULT_OK, "%s", text);
    cr_assert(slice_equal(writer_slice(&packed), writer_slice(&want)), "%.*s", (int)json->len, (char *)json->data);
    writer_deinit(&packed);
    writer_deinit(&want);
}

Test(envelope, responses_are_what_protobuf_packs)
{
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct random random = {.state = seed};
        const ProtobufCFieldDescriptor *fields = ringpost__v1__response__descriptor.fields;
        const ProtobufCFieldDescriptor *method =
            &fields[2 + random_below(&random, ringpost__v1__response__descriptor.n_fields - 2)];
        Ringpost__V1__Response response;
        ringpost__v1__response__init(&response);
        response.id = random_below(&random, 4) == 0 ? 0 : random_next(&random);
        response.result_case = (Ringpost__V1__Response__ResultCase)method->id;
        ProtobufCMessage *payload = message_random(arena, method->descriptor, &random);
        memcpy((uint8_t *)&response + method->offset, &payload, sizeof payload);
        Ringpost__V1__Envelope envelope;
        ringpost__v1__envelope__init(&envelope);
        envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_RESPONSE;
        envelope.response = &response;

        struct writer packed;
        writer_init(&packed, 0);
        envelope_pack(&packed, payload);
        writer_reset(&out);
        writer_reset(&other);
        envelope_response(&out, response.id, method->id, writer_slice(&packed));
        cr_expect_eq(envelope_response_json(&other, response.id, method->id, writer_slice(&packed)), RESULT_OK);
        expect_frame(&envelope, &other);
        writer_deinit(&packed);
        envelope_arena_reset(arena);
    }
}

Test(envelope, pushes_are_what_protobuf_packs)
{
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct random random = {.state = seed};
        const ProtobufCFieldDescriptor *kind =
            &ringpost__v1__push__descriptor.fields[random_below(&random, ringpost__v1__push__descriptor.n_fields)];
        Ringpost__V1__Push push;
        ringpost__v1__push__init(&push);
        push.kind_case = (Ringpost__V1__Push__KindCase)kind->id;
        ProtobufCMessage *payload = message_random(arena, kind->descriptor, &random);
        memcpy((uint8_t *)&push + kind->offset, &payload, sizeof payload);
        Ringpost__V1__Envelope envelope;
        ringpost__v1__envelope__init(&envelope);
        envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_PUSH;
        envelope.push = &push;

        struct writer packed;
        writer_init(&packed, 0);
        envelope_pack(&packed, payload);
        writer_reset(&out);
        writer_reset(&other);
        envelope_push(&out, kind->id, writer_slice(&packed));
        envelope_push_json(&other, kind->id, writer_slice(&packed));
        expect_frame(&envelope, &other);
        writer_deinit(&packed);
        envelope_arena_reset(arena);
    }
}

/* Head for one user plus bytes shared by all = the whole frame, in both spellings. */
static void expect_event(Ringpost__V1__Event *event, uint64_t sync_key)
{
    struct writer shared;
    writer_init(&shared, 0);
    event->sync_key = 0; /* a default is not packed: these are the fields after it */
    envelope_pack(&shared, &event->base);
    event->sync_key = sync_key;
    Ringpost__V1__Push push;
    ringpost__v1__push__init(&push);
    push.kind_case = RINGPOST__V1__PUSH__KIND_EVENT;
    push.event = event;
    Ringpost__V1__Envelope envelope;
    ringpost__v1__envelope__init(&envelope);
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_PUSH;
    envelope.push = &push;

    uint8_t head[ENVELOPE_EVENT_HEAD_MAX];
    writer_reset(&out);
    writer_raw(&out, head, envelope_event_head(head, sync_key, (uint32_t)shared.len));
    writer_raw(&out, shared.data, shared.len);
    writer_reset(&other);
    writer_raw(&other, head, envelope_event_head_json(head, sync_key));
    envelope_event_json_shared(&other, writer_slice(&shared));
    expect_frame(&envelope, &other);

    struct writer json; /* and the very text the generic mapping would write */
    writer_init(&json, 0);
    json_from_message(&envelope.base, &json, false);
    cr_assert(slice_equal(writer_slice(&json), writer_slice(&other)), "%.*s", (int)other.len, (char *)other.data);
    writer_deinit(&json);
    writer_deinit(&shared);
}

Test(envelope, event_head_and_shared_bytes_make_the_frame)
{
    static const uint64_t keys[] = {0, 1, 127, 128, UINT32_MAX, UINT64_MAX};
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct random random = {.state = seed};
        Ringpost__V1__Event *event;
        do {
            event = (Ringpost__V1__Event *)(void *)message_random(arena, &ringpost__v1__event__descriptor, &random);
        } while (event->kind_case == RINGPOST__V1__EVENT__KIND__NOT_SET);
        expect_event(event, seed < COUNT_OF(keys) ? keys[seed] : random_next(&random));
        envelope_arena_reset(arena);
    }
}

Test(envelope, errors_carry_their_row)
{
    struct envelope_error error = {.error = ERROR_ROOM_FULL};
    envelope_error_json(&out, 7, &error);
    expect_text(&out,
                "{\"response\":{\"id\":\"7\",\"error\":{\"code\":\"RESOURCE_EXHAUSTED\",\"reason\":\"room_full\","
                "\"message\":\"the room has all the members it may have\",\"retryable\":false,\"retry_after_ms\":0,"
                "\"request_id\":\"\"}}}");
    error = (struct envelope_error){ERROR_RATE_LIMITED, "slow \"down\"", 250, "w1-9"};
    writer_reset(&out);
    envelope_error_body(&out, &error);
    expect_text(
        &out,
        "{\"error\":{\"code\":\"RESOURCE_EXHAUSTED\",\"reason\":\"rate_limited\",\"message\":\"slow \\\"down\\\"\","
        "\"retryable\":true,\"retry_after_ms\":250,\"request_id\":\"w1-9\"}}");

    writer_reset(&out);
    envelope_error(&out, 7, &error);
    envelope_error_json(&other, 7, &error);
    struct writer json;
    writer_init(&json, 0);
    cr_assert_eq(json_from_packed(&ringpost__v1__envelope__descriptor, writer_slice(&out), &json), RESULT_OK);
    cr_expect(slice_equal(writer_slice(&json), writer_slice(&other)));
    writer_deinit(&json);
}

Test(envelope, hello_says_what_a_client_needs)
{
    envelope_hello(&out, true, 25000, 65536, 10000, "1.2.3");
    expect_text(&out, "{\"hello\":{\"protocol\":1,\"server_version\":\"1.2.3\",\"heartbeat_interval_ms\":25000,"
                      "\"frame_size_max\":65536,\"authenticate_timeout_ms\":10000}}");
    writer_reset(&out);
    envelope_hello(&out, false, 25000, 65536, 10000, "1.2.3");
    cr_assert_eq(json_from_packed(&ringpost__v1__envelope__descriptor, writer_slice(&out), &other), RESULT_OK);
    writer_reset(&out);
    envelope_hello(&out, true, 25000, 65536, 10000, "1.2.3");
    cr_expect(slice_equal(writer_slice(&out), writer_slice(&other)));
}

/* ---- routing keys and descriptors ------------------------------------------------------------------------------ */

Test(envelope, peek)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
        enum result want;
        uint64_t value;
    } numbers[] = {
        {"nothing", "", 0, RESULT_OK, 0},
        {"the field", "\x08\x05", 2, RESULT_OK, 5},
        {"behind others",
         "\x12\x01x\x19"
         "12345678\x25"
         "1234\x08\xac\x02",
         20, RESULT_OK, 300},
        {"the last counts", "\x08\x05\x08\x06", 4, RESULT_OK, 6},
        {"absent", "\x10\x05", 2, RESULT_OK, 0},
        {"another type", "\x0a\x00", 2, RESULT_MALFORMED, 0},
        {"junk behind", "\x08\x05\x12\x09", 4, RESULT_MALFORMED, 0},
        {"group", "\x08\x05\x0b", 3, RESULT_MALFORMED, 0},
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint64_t value = 99;
        enum result res = envelope_peek_u64(slice_of(numbers[i].bytes, numbers[i].len), 1, &value);
        cr_expect_eq(res, numbers[i].want, "%s", numbers[i].name);
        cr_expect_eq(value, numbers[i].value, "%s", numbers[i].name);
    }
    struct slice value;
    cr_expect_eq(envelope_peek_bytes(SLICE_TEXT("\x08\x05\x12\x02hi"), 2, &value), RESULT_OK);
    cr_expect(slice_equal(value, SLICE_TEXT("hi")));
    cr_expect_eq(envelope_peek_bytes(SLICE_TEXT("\x08\x05"), 2, &value), RESULT_OK);
    cr_expect(slice_equal(value, SLICE_EMPTY));
    cr_expect_eq(envelope_peek_bytes(SLICE_TEXT("\x10\x05"), 2, &value), RESULT_MALFORMED);
}

Test(envelope, descriptors_are_of_methods_only)
{
    cr_expect_eq(envelope_request_descriptor(SEND), &ringpost__v1__send_request__descriptor);
    cr_expect_eq(envelope_response_descriptor(SEND), &ringpost__v1__send_response__descriptor);
    static const uint32_t none[] = {0, 1, 2, 3, 19, 1000, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        cr_expect_null(envelope_request_descriptor(none[i]));
        cr_expect_null(envelope_response_descriptor(none[i]));
    }
}

Test(envelope, two_numbers_in_one_pass_are_what_two_passes_say)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
    } cases[] = {
        {"nothing", "", 0},
        {"both", "\x08\x07\x10\x09", 4},
        {"the last of each", "\x08\x07\x10\x09\x08\x01\x10\x02", 8},
        {"others between", "\x08\x07\x1a\x01x\x10\x09", 7},
        {"one of another type", "\x08\x07\x12\x00", 4},
        {"cut short", "\x08\x07\x10", 3},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice payload = slice_of(cases[i].bytes, cases[i].len);
        uint64_t first, second, want_first, want_second;
        bool want = envelope_peek_u64(payload, 1, &want_first) == RESULT_OK;
        want = envelope_peek_u64(payload, 2, &want_second) == RESULT_OK && want;
        cr_expect_eq(envelope_peek_two(payload, 1, &first, 2, &second) == RESULT_OK, want, "%s", cases[i].name);
        cr_expect(!want || (first == want_first && second == want_second), "%s", cases[i].name);
        cr_expect(want || (first == 0 && second == 0), "%s", cases[i].name);
    }
}
