/* tests/api/send_request_test.c - the hand-written reader of SendRequest says what the generic one says. */
#include "api/envelope.h"
#include "api/message_random.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>

/* What is read by hand is read the same by the book. Returns whether it was. */
static bool check_same(struct envelope_arena *arena, struct slice packed)
{
    struct envelope_send mine;
    if (!envelope_unpack_send(&mine, packed)) return false;
    ProtobufCMessage *message = NULL;
    cr_assert_eq(envelope_unpack(arena, &ringpost__v1__send_request__descriptor, packed, &message), RESULT_OK);
    const Ringpost__V1__SendRequest *book = (const Ringpost__V1__SendRequest *)(const void *)message;
    cr_assert(mine.room_id == book->room_id && mine.to_user_id == book->to_user_id && mine.kind == (int32_t)book->kind);
    cr_assert_eq(mine.published_qos, (int32_t)book->published_qos);
    cr_assert(slice_equal(mine.client_msg_id, slice_text(book->client_msg_id)));
    cr_assert(slice_equal(mine.body, slice_of(book->body.data, book->body.len)));
    cr_assert(mine.properties == NULL && book->properties == NULL);
    envelope_arena_reset(arena);
    return true;
}

Test(send_request, plain_forms_and_others)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        bool want;
    } cases[] = {
        {"nothing", "", 0, true},
        {"a room, an id, a body", "\x08\x07\x1a\x01x\x2a\x02hi", 9, true},
        {"in another order", "\x2a\x02hi\x1a\x01x\x08\x07", 9, true},
        {"a kind", "\x20\x01", 2, true},
        {"a kind that is none", "\x20\xff\xff\xff\xff\x07", 6, true},
        {"a negative kind", "\x20\xff\xff\xff\xff\x0f", 6, false},
        {"an empty id", "\x1a\x00", 2, true},
        {"an id with a NUL", "\x1a\x01\x00", 3, false},
        {"an id that is not UTF-8", "\x1a\x01\xff", 3, false},
        {"a room twice", "\x08\x07\x08\x07", 4, false},
        {"properties", "\x32\x00", 2, false},
        {"a quality of service", "\x38\x01", 2, true},
        {"a quality that is negative", "\x38\xff\xff\xff\xff\x0f", 6, false},
        {"a field of a newer contract", "\x40\x01", 2, false},
        {"field 33, whose bit is field 1's", "\x88\x02\x01", 3, false},
        {"a room of another type", "\x0a\x00", 2, false},
        {"a body cut short", "\x2a\x03hi", 4, false},
        {"a tag cut short", "\x08", 1, false},
        {"a tag of more bytes than it needs", "\x9a\x80\x00\x01x", 5, false},
        {"a tag of more bytes than there may be", "\x9a\x80\x80\x80\x80\x00\x01x", 8, false},
        {"a length of five bytes", "\x1a\x81\x80\x80\x80\x00x", 7, true},
        {"a length of more bytes than there may be", "\x1a\x81\x80\x80\x80\x80\x00x", 8, false},
        {"a number of ten bytes", "\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11, true},
    };
    struct envelope_arena *arena;
    cr_assert_eq(envelope_arena_create(&arena, 1 << 20), RESULT_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(check_same(arena, slice_of(cases[i].bytes, cases[i].len)), cases[i].want, "%s", cases[i].name);
    envelope_arena_destroy(arena);
}

Test(send_request, random_messages_and_damaged_ones)
{
    struct envelope_arena *arena, *made;
    cr_assert_eq(envelope_arena_create(&arena, 1 << 20), RESULT_OK);
    cr_assert_eq(envelope_arena_create(&made, 1 << 20), RESULT_OK);
    struct random random = {.state = 20};
    struct writer packed;
    writer_init(&packed, 0);
    uint32_t plain_count = 0, damaged_count = 0;
    for (uint32_t round = 0; round < 20000; round++) {
        ProtobufCMessage *message = message_random(made, &ringpost__v1__send_request__descriptor, &random);
        writer_reset(&packed);
        envelope_pack(&packed, message);
        plain_count += check_same(arena, writer_slice(&packed));
        for (uint32_t n = 0; n < 3 && packed.len > 0; n++) packed.data[random_below(&random, (uint32_t)packed.len)] = (uint8_t)random_next(&random);
        damaged_count += check_same(arena, writer_slice(&packed));
        envelope_arena_reset(made);
    }
    cr_expect(plain_count > 1000 && damaged_count > 100, "%u plain, %u damaged", plain_count, damaged_count);
    writer_deinit(&packed);
    envelope_arena_destroy(made);
    envelope_arena_destroy(arena);
}
