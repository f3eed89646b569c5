/* layers: api core */
/* tests/fuzz/envelope_fuzz.c - frames. The hand-written scan must agree with protobuf-c about every frame it accepts,
 * and the JSON frame with the binary one the generic mapping makes of it. */
#include "api/envelope.h"
#include "api/json.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_binary(struct slice frame, struct envelope_arena *arena)
{
    struct envelope_request request;
    if (envelope_parse(&request, frame) != RESULT_OK) return;
    uint64_t number;
    struct slice bytes;
    (void)(envelope_peek_u64(request.payload, 1, &number) == RESULT_OK);
    (void)(envelope_peek_bytes(request.payload, 3, &bytes) == RESULT_OK);

    const ProtobufCMessageDescriptor *type = envelope_request_descriptor(request.method);
    ProtobufCMessage *payload, *whole;
    enum result res = envelope_unpack_stored(arena, &ringpost__v1__envelope__descriptor, frame, &whole);
    if (type == NULL || res != RESULT_OK) return; /* protobuf-c looked into the payload, the scan did not */
    const Ringpost__V1__Envelope *envelope = (const Ringpost__V1__Envelope *)(const void *)whole;
    ASSERT(envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_REQUEST);
    ASSERT(envelope->request->id == request.id);
    ASSERT((uint32_t)envelope->request->method_case == request.method);
    res = envelope_unpack_stored(arena, type, request.payload, &payload);
    ASSERT(res == RESULT_OK);
}

static void try_json(struct slice frame)
{
    struct writer scratch = {0}, binary = {0};
    struct envelope_request request, same;
    char text[100];
    if (envelope_parse_json(&request, frame, &scratch, text, sizeof text) != RESULT_OK) {
        ASSERT(text[0] != '\0');
    } else if (request.method != 0) {
        enum result res = json_to_packed(&ringpost__v1__envelope__descriptor, frame, &binary, text, sizeof text);
        ASSERT(res == RESULT_OK);
        res = envelope_parse(&same, writer_slice(&binary));
        ASSERT(res == RESULT_OK);
        ASSERT(same.id == request.id && same.method == request.method && slice_equal(same.payload, request.payload));
    }
    writer_deinit(&scratch);
    writer_deinit(&binary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope_arena *arena;
    api_init();
    if (envelope_arena_create(&arena, (size_t)16 << 20) != RESULT_OK) return 0;
    try_binary(slice_of(data, size), arena);
    try_json(slice_of(data, size));
    envelope_arena_destroy(arena);
    return 0;
}
