/* layers: api core */
/* tests/fuzz/send_fuzz.c - any bytes as a SendRequest: what is read by hand is what the generic reader says. */
#include "api/envelope.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct envelope_arena *arena;
    if (arena == NULL && envelope_arena_create(&arena, 4 << 20) != RESULT_OK) return 0;
    struct envelope_send mine;
    if (!envelope_unpack_send(&mine, slice_of(data, size))) return 0;
    ProtobufCMessage *message = NULL;
    enum result result = envelope_unpack(arena, &ringpost__v1__send_request__descriptor, slice_of(data, size), &message);
    ASSERT(result == RESULT_OK);
    const Ringpost__V1__SendRequest *book = (const Ringpost__V1__SendRequest *)(const void *)message;
    ASSERT(mine.room_id == book->room_id && mine.to_user_id == book->to_user_id && mine.kind == (int32_t)book->kind);
    ASSERT(slice_equal(mine.client_msg_id, slice_text(book->client_msg_id)));
    ASSERT(slice_equal(mine.body, slice_of(book->body.data, book->body.len)));
    ASSERT(mine.properties == NULL && book->properties == NULL);
    envelope_arena_reset(arena);
    return 0;
}
