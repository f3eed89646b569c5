/* layers: api core */
/* tests/fuzz/json_fuzz.c - the JSON mapping, both ways. The first byte chooses the message (a method's request, or its
 * response with the high bit, else Envelope); the rest is taken once as JSON and once as packed protobuf. What is read
 * must come back the same. */
#include "api/envelope.h"
#include "api/json.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *choose(uint8_t byte)
{
    const ProtobufCMessageDescriptor *chosen =
        byte >= 128 ? envelope_response_descriptor(byte - 128u) : envelope_request_descriptor(byte);
    return chosen != NULL ? chosen : &ringpost__v1__envelope__descriptor;
}

/* JSON that was read gives bytes; these, shown as JSON and read again, are the same bytes. */
static void try_json(const ProtobufCMessageDescriptor *type, struct slice json, struct writer w[static 3])
{
    char text[100];
    if (json_to_packed(type, json, &w[0], text, sizeof text) != RESULT_OK) {
        ASSERT(text[0] != '\0');
        ASSERT(w[0].len == 0);
        return;
    }
    enum result shown = json_from_packed(type, writer_slice(&w[0]), &w[1]);
    ASSERT(shown == RESULT_OK);
    enum result again = json_to_packed(type, writer_slice(&w[1]), &w[2], text, sizeof text);
    ASSERT(again == RESULT_OK);
    ASSERT(slice_equal(writer_slice(&w[0]), writer_slice(&w[2])));
}

/* A message that unpacks strictly shows as JSON that reads as what shows as the same JSON. */
static void try_packed(const ProtobufCMessageDescriptor *type, struct slice packed, struct envelope_arena *arena,
                       struct writer w[static 3])
{
    char text[100];
    ProtobufCMessage *message;
    bool is_strict = envelope_unpack(arena, type, packed, &message) == RESULT_OK;
    if (json_from_packed(type, packed, &w[0]) != RESULT_OK) {
        ASSERT(!is_strict);
        return;
    }
    enum result again = json_to_packed(type, writer_slice(&w[0]), &w[1], text, sizeof text);
    ASSERT(again == RESULT_OK);
    enum result shown = json_from_packed(type, writer_slice(&w[1]), &w[2]);
    ASSERT(shown == RESULT_OK);
    ASSERT(slice_equal(writer_slice(&w[0]), writer_slice(&w[2])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    api_init();
    const ProtobufCMessageDescriptor *type = choose(data[0]);
    struct slice rest = slice_of(data + 1, size - 1);
    struct envelope_arena *arena;
    if (envelope_arena_create(&arena, (size_t)16 << 20) != RESULT_OK) return 0;
    struct writer w[6] = {0};
    try_json(type, rest, w);
    try_packed(type, rest, arena, w + 3);
    for (size_t i = 0; i < COUNT_OF(w); i++) writer_deinit(&w[i]);
    envelope_arena_destroy(arena);
    return 0;
}
