/* tests/perf/histogram_test.c - a latency is never reported smaller than it was, and hardly larger. */
#include "perf/histogram.h"
#include <criterion/criterion.h>
#include <string.h>

static struct histogram histogram;

Test(histogram, one_value_is_every_quantile)
{
    static const uint64_t values[] = {0, 1, 63, 64, 65, 127, 128, 129, 1000, 123456789, 1ull << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        histogram = (struct histogram){0};
        histogram_add(&histogram, values[i]);
        cr_expect_eq(histogram_quantile(&histogram, 0.5), values[i]);
        cr_expect_eq(histogram_quantile(&histogram, 0.999), values[i]);
    }
}

Test(histogram, a_quantile_is_at_most_a_64th_above_the_truth)
{
    for (uint64_t value = 1; value < 1ull << 50; value = value * 3 / 2 + 1) {
        histogram = (struct histogram){0};
        histogram_add(&histogram, value);
        histogram_add(&histogram, UINT64_MAX); /* so that the largest value does not hide the bucket's end */
        uint64_t answer = histogram_quantile(&histogram, 0.5);
        cr_expect(answer >= value && answer - value <= value / 64, "%lu answered as %lu", value, answer);
    }
}

Test(histogram, quantiles_of_a_hundred)
{
    histogram = (struct histogram){0};
    for (uint64_t value = 1; value <= 60; value++) histogram_add(&histogram, value);
    for (uint32_t i = 0; i < 39; i++) histogram_add(&histogram, 62);
    histogram_add(&histogram, 63);
    cr_expect_eq(histogram.count, 100);
    cr_expect_eq(histogram_quantile(&histogram, 0.5), 50);
    cr_expect_eq(histogram_quantile(&histogram, 0.6), 60);
    cr_expect_eq(histogram_quantile(&histogram, 0.99), 62);
    cr_expect_eq(histogram_quantile(&histogram, 0.999), 63);
}

Test(histogram, nothing_added) { cr_expect_eq(histogram_quantile(&histogram, 0.99), 0); }

Test(histogram, merging_is_adding_all)
{
    static struct histogram other, all;
    histogram = other = all = (struct histogram){0};
    for (uint64_t value = 1; value < 3000; value += 7) {
        histogram_add(value % 2 == 0 ? &histogram : &other, value);
        histogram_add(&all, value);
    }
    histogram_merge(&histogram, &other);
    cr_expect_eq(memcmp(&histogram, &all, sizeof all), 0);
}
