/* tests/core/clock_test.c - time goes forward, randomness differs. */
#include "core/clock.h"
#include <criterion/criterion.h>
#include <string.h>

Test(clock, wall_time_is_after_this_was_written)
{
    cr_assert_gt(clock_wall_ms(), UINT64_C(1700000000000));
}

Test(clock, monotonic_never_goes_back)
{
    uint64_t last = clock_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_monotonic_ns();
        cr_assert_geq(now, last);
        last = now;
    }
}

Test(clock, random_fills_exactly_what_was_asked)
{
    enum { LEN = 1000 };
    unsigned char first[LEN + 1], second[LEN + 1];
    first[LEN] = second[LEN] = 0x5a;
    clock_random(first, LEN);
    clock_random(second, LEN);
    cr_assert_neq(memcmp(first, second, LEN), 0);
    cr_assert_eq(first[LEN], 0x5a);
    cr_assert_eq(second[LEN], 0x5a);
    unsigned char tail_or = 0;
    for (int i = LEN - 32; i < LEN; i++) tail_or |= first[i];
    cr_assert_neq(tail_or, 0, "the last 32 bytes were never written");
}
