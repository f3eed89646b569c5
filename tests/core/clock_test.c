/* tests/core/clock_test.c - time goes forward, randomness differs, and the trusted clock follows what can be believed. */
#include "core/clock.h"
#include <criterion/criterion.h>
#include <string.h>

#define SKEW_MS 5000
#define HOLD_MS 60000
#define WALL_MS INT64_C(1700000000000)
#define HOUR_MS INT64_C(3600000)

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

/* ---- the trusted clock ---- */

Test(clock, two_clocks_are_read_at_one_moment)
{
    uint64_t boot_ms, wall_ms, before_ms = clock_wall_ms();
    clock_read_both(&boot_ms, &wall_ms);
    cr_expect_geq(wall_ms, before_ms);
    cr_expect_leq(boot_ms, clock_boot_ms());
}

/* What the owner sees at one time since boot, and what is trusted then. */
struct look {
    uint64_t boot_s;
    int64_t error_ms; /* of the wall clock */
    enum clock_observed want;
    int64_t want_error_ms; /* of the trusted one */
};

static void expect_looks(const char *name, const struct look *looks, size_t count)
{
    struct trusted_clock clock;
    trusted_clock_init(&clock, SKEW_MS, HOLD_MS, 1000000, (uint64_t)WALL_MS);
    for (size_t i = 0; i < count; i++) {
        uint64_t boot_ms = 1000000 + looks[i].boot_s * 1000, right_ms = (uint64_t)WALL_MS + looks[i].boot_s * 1000;
        int64_t step_ms;
        enum clock_observed got = trusted_clock_observe(&clock, boot_ms, right_ms + (uint64_t)looks[i].error_ms, &step_ms);
        cr_expect_eq(got, looks[i].want, "%s, look %zu", name, i);
        cr_expect_eq((int64_t)(trusted_clock_at(&clock, boot_ms) - right_ms), looks[i].want_error_ms, "%s, look %zu", name, i);
    }
}
#define EXPECT_LOOKS(name, ...)                                                                                        \
    expect_looks(name, (const struct look[]){__VA_ARGS__}, sizeof((const struct look[]){__VA_ARGS__}) / sizeof(struct look))

Test(clock, small_differences_are_followed)
{
    EXPECT_LOOKS("drift", {1, 3, CLOCK_FOLLOWED, 3}, {2, -5, CLOCK_FOLLOWED, -5}, {3, 4995, CLOCK_FOLLOWED, 4995},
                 {4, -5, CLOCK_FOLLOWED, -5}, {5, 0, CLOCK_FOLLOWED, 0});
}

Test(clock, a_short_step_changes_nothing)
{
    EXPECT_LOOKS("a month ahead for two seconds", {1, 32 * 24 * HOUR_MS, CLOCK_STEPPED, 0}, {2, 32 * 24 * HOUR_MS, CLOCK_FOLLOWED, 0},
                 {3, 10, CLOCK_RETURNED, 10}, {4, 10, CLOCK_FOLLOWED, 10});
    EXPECT_LOOKS("an hour back for a minute less a second", {1, -HOUR_MS, CLOCK_STEPPED, 0}, {60, -HOUR_MS, CLOCK_FOLLOWED, 0},
                 {61, 0, CLOCK_RETURNED, 0});
    EXPECT_LOOKS("a step of just more than is followed", {1, SKEW_MS + 1, CLOCK_STEPPED, 0}, {2, 0, CLOCK_RETURNED, 0});
}

Test(clock, a_step_that_holds_is_adopted)
{
    EXPECT_LOOKS("forward", {1, HOUR_MS, CLOCK_STEPPED, 0}, {60, HOUR_MS + 100, CLOCK_FOLLOWED, 0},
                 {61, HOUR_MS + 200, CLOCK_ADOPTED, HOUR_MS + 200}, {62, HOUR_MS, CLOCK_FOLLOWED, HOUR_MS});
    EXPECT_LOOKS("back", {1, -HOUR_MS, CLOCK_STEPPED, 0}, {61, -HOUR_MS, CLOCK_ADOPTED, -HOUR_MS}, {62, 0, CLOCK_STEPPED, -HOUR_MS},
                 {122, 0, CLOCK_ADOPTED, 0});
}

Test(clock, what_interrupts_a_step_begins_it_anew)
{
    EXPECT_LOOKS("another step", {1, HOUR_MS, CLOCK_STEPPED, 0}, {50, 2 * HOUR_MS, CLOCK_STEPPED, 0}, {70, 2 * HOUR_MS, CLOCK_FOLLOWED, 0},
                 {110, 2 * HOUR_MS, CLOCK_ADOPTED, 2 * HOUR_MS});
    EXPECT_LOOKS("a return", {1, HOUR_MS, CLOCK_STEPPED, 0}, {50, 0, CLOCK_RETURNED, 0}, {51, HOUR_MS, CLOCK_STEPPED, 0},
                 {70, HOUR_MS, CLOCK_FOLLOWED, 0}, {111, HOUR_MS, CLOCK_ADOPTED, HOUR_MS});
}
