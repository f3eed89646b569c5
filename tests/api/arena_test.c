/* tests/api/arena_test.c - a bump allocator with a limit, and strict unpacking into it. */
#include "api/envelope.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <criterion/criterion.h>

static struct envelope_arena *arena;
static void setup(void)
{
    enum result res = envelope_arena_create(&arena, 64 * 1024);
    cr_assert_eq(res, RESULT_OK);
}
static void teardown(void)
{
    envelope_arena_destroy(arena);
}
TestSuite(arena, .init = setup, .fini = teardown);

Test(arena, memory_is_zeroed_aligned_and_apart)
{
    static const size_t sizes[] = {1, 15, 16, 17, 4000, 5000, 0, 9000};
    uint8_t *taken[COUNT_OF(sizes)];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            taken[i] = envelope_arena_alloc(arena, sizes[i]);
            cr_assert_not_null(taken[i]);
            cr_expect_eq((uintptr_t)taken[i] % 16, 0);
            for (size_t n = 0; n < sizes[i]; n++) cr_assert_eq(taken[i][n], 0);
            memset(taken[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT_OF(sizes); i++)
            for (size_t n = 0; n < sizes[i]; n++) cr_assert_eq(taken[i][n], i + 1);
        envelope_arena_reset(arena);
    }
}

Test(arena, the_limit_holds_and_reset_lifts_it)
{
    cr_expect_null(envelope_arena_alloc(arena, SIZE_MAX));
    cr_expect_null(envelope_arena_alloc(arena, 64 * 1024 + 1));
    size_t taken = 0;
    while (envelope_arena_alloc(arena, 1024) != NULL) taken += 1024;
    cr_expect_gt(taken, 48 * 1024);
    cr_expect_leq(taken, 64 * 1024);
    envelope_arena_reset(arena);
    cr_expect_not_null(envelope_arena_alloc(arena, 20 * 1024));
}

Test(arena, the_whole_limit_can_be_one_piece)
{
    cr_expect_not_null(envelope_arena_alloc(arena, 64 * 1024));
    cr_expect_null(envelope_arena_alloc(arena, 1));
    envelope_arena_reset(arena);
    cr_expect_not_null(envelope_arena_alloc(arena, 64 * 1024));
}

Test(arena, unpacking_is_strict_about_text)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
        enum result want;
    } cases[] = {
        {"nothing", "", 0, RESULT_OK},
        {"text", "\x0a\x02hi", 4, RESULT_OK},
        {"characters", "\x0a\x04\xf0\x9f\x98\x80", 6, RESULT_OK},
        {"a NUL in text",
         "\x0a\x03"
         "a\0b",
         5, RESULT_MALFORMED},
        {"not UTF-8", "\x0a\x01\xff", 3, RESULT_MALFORMED},
        {"an unknown field", "\xfa\x01\x01\xff\x0a\x02hi", 8, RESULT_OK},
        {"cut", "\x0a\x05hi", 4, RESULT_MALFORMED},
        {"a string as a number", "\x08\x05", 2, RESULT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ProtobufCMessage *message;
        struct slice packed = slice_of(cases[i].bytes, cases[i].len);
        cr_expect_eq(envelope_unpack(arena, &ringpost__v1__register_request__descriptor, packed, &message),
                     cases[i].want, "%s", cases[i].name);
        cr_expect_eq(message != NULL, cases[i].want == RESULT_OK, "%s", cases[i].name);
    }
}

Test(arena, unpacking_looks_into_nested_messages)
{
    ProtobufCMessage *message; /* Event { room_change { room { name: ff } } } */
    struct slice packed = slice_of("\x22\x05\x12\x03\x1a\x01\xff", 7);
    cr_expect_eq(envelope_unpack(arena, &ringpost__v1__event__descriptor, packed, &message), RESULT_MALFORMED);
    cr_expect_eq(envelope_unpack_stored(arena, &ringpost__v1__event__descriptor, packed, &message), RESULT_OK);
}

Test(arena, unpacking_tells_the_limit_from_bad_bytes)
{
    struct envelope_arena *small;
    cr_assert_eq(envelope_arena_create(&small, 48), RESULT_OK);
    ProtobufCMessage *message;
    struct slice packed = slice_of("\x0a\x02hi", 4);
    cr_expect_eq(envelope_unpack(small, &ringpost__v1__register_request__descriptor, packed, &message), RESULT_NOMEM);
    envelope_arena_destroy(small);
}
