/* tests/shard/engine/rate_limit_test.c - a bucket through bursts, pauses, steps of the clock and its end. */
#include "shard/engine/rate_limit.h"
#include "core/check.h"
#include <criterion/criterion.h>

#define START_MS UINT64_C(1700000000000)

/* Takes as many as the bucket gives at one moment, at most `max`. */
static uint32_t drain(uint64_t *bucket, uint64_t now_ms, uint32_t per_second, uint32_t burst, uint32_t max)
{
    uint32_t taken = 0;
    while (taken < max && rate_limit_take(bucket, now_ms, per_second, burst, NULL)) taken++;
    return taken;
}

Test(rate_limit, gives_the_burst_then_the_rate)
{
    static const struct {
        const char *name;
        uint32_t per_second, burst;
        int64_t pause_ms; /* after the first drain */
        uint32_t want_first, want_second;
    } cases[] = {
        {"nothing comes back at once", 10, 5, 0, 5, 0},
        {"less than an interval", 10, 5, 99, 5, 0},
        {"exactly an interval", 10, 5, 100, 5, 1},
        {"some intervals", 10, 5, 350, 5, 3},
        {"a pause fills it", 10, 5, 500, 5, 5},
        {"a pause of a year fills it no further", 10, 5, 365ll * 86400 * 1000, 5, 5},
        {"a pause of an age", 10, 5, 1ll << 50, 5, 5},
        {"burst 0 counts as 1", 10, 0, 100, 1, 1},
        {"burst 1", 1, 1, 1000, 1, 1},
        {"one a second, not earlier", 1, 1, 999, 1, 0},
        {"a clock that stepped back far starts full", 10, 5, -3600 * 1000, 5, 5},
        {"a clock that stepped back a little", 10, 5, -1, 5, 5},
        {"per_second 0 is no limit", 0, 5, 0, 50, 50},
        {"three a second", 3, 3, 1000, 3, 3},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t bucket = 0;
        uint32_t first = drain(&bucket, START_MS, cases[i].per_second, cases[i].burst, 50);
        uint64_t later = START_MS + (uint64_t)cases[i].pause_ms;
        uint32_t second = drain(&bucket, later, cases[i].per_second, cases[i].burst, 50);
        cr_expect_eq(first, cases[i].want_first, "%s: first %u", cases[i].name, first);
        cr_expect_eq(second, cases[i].want_second, "%s: second %u", cases[i].name, second);
    }
}

Test(rate_limit, says_when_the_next_one_comes)
{
    static const struct {
        uint32_t per_second, burst;
    } cases[] = {{1, 1}, {10, 5}, {3, 2}, {1000, 7}, {999, 1}, {4000, 100}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t bucket = 0;
        uint32_t wait_ms = 0;
        (void)drain(&bucket, START_MS, cases[i].per_second, cases[i].burst, 1000);
        cr_assert(!rate_limit_take(&bucket, START_MS, cases[i].per_second, cases[i].burst, &wait_ms));
        cr_assert_geq(wait_ms, 1);
        if (wait_ms > 1) cr_expect(!rate_limit_take(&bucket, START_MS + wait_ms - 1, cases[i].per_second, cases[i].burst, NULL));
        cr_expect(rate_limit_take(&bucket, START_MS + wait_ms, cases[i].per_second, cases[i].burst, NULL), "case %zu", i);
    }
}

Test(rate_limit, keeps_the_rate_over_a_long_time)
{
    uint64_t bucket = 0;
    uint32_t taken = 0;
    for (uint64_t ms = 0; ms < 60 * 1000; ms++) taken += rate_limit_take(&bucket, START_MS + ms, 20, 100, NULL) ? 1 : 0;
    cr_expect_geq(taken, 100 + 60 * 20 - 1);
    cr_expect_leq(taken, 100 + 60 * 20);
}

/* The bucket's microseconds wrap long before the clock's milliseconds do. */
Test(rate_limit, goes_on_where_its_time_wraps)
{
    uint64_t wrap_ms = UINT64_MAX / 1000;
    for (uint64_t start = wrap_ms - 3; start <= wrap_ms + 3; start++) {
        uint64_t bucket = 0;
        cr_expect_eq(drain(&bucket, start, 10, 5, 50), 5);
        cr_expect_eq(drain(&bucket, start + 250, 10, 5, 50), 2);
        cr_expect_eq(drain(&bucket, start + 10000, 10, 5, 50), 5);
    }
}
