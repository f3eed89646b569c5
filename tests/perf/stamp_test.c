/* tests/perf/stamp_test.c - every way a message can arrive wrongly is seen: twice, late, changed. */
#include "perf/stamp.h"
#include <criterion/criterion.h>

#define RUN       7
#define BODY_SIZE 100

Test(stamp, reads_what_was_written_in_every_size)
{
    static const size_t sizes[] = {STAMP_SIZE, STAMP_SIZE + 1, BODY_SIZE, STAMP_BODY_MAX};
    static uint8_t body[STAMP_BODY_MAX];
    struct stamp in = {RUN, 1, 2, 3, 1234567890123}, out;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        stamp_write(&in, body, sizes[i]);
        cr_assert_eq(stamp_read((struct slice){body, sizes[i]}, RUN, sizes[i], &out), STAMP_OURS);
        cr_expect_arr_eq(&in, &out, sizeof in);
    }
}

Test(stamp, a_changed_body_is_corrupt_and_a_foreign_one_is_not_ours)
{
    uint8_t body[BODY_SIZE];
    struct stamp in = {RUN, 1, 2, 3, 4}, out;
    stamp_write(&in, body, sizeof body);
    struct slice whole = {body, sizeof body};
    cr_expect_eq(stamp_read(whole, RUN + 1, BODY_SIZE, &out), STAMP_OTHER_RUN);
    cr_expect(stamp_is_of(whole, RUN));
    cr_expect(!stamp_is_of(whole, RUN + 1));
    cr_expect(!stamp_is_of((struct slice){body, STAMP_SIZE - 1}, RUN));
    cr_expect_eq(stamp_read((struct slice){body, STAMP_SIZE - 1}, RUN, BODY_SIZE, &out), STAMP_OTHER_RUN);
    cr_expect_eq(stamp_read((struct slice){body, BODY_SIZE - 1}, RUN, BODY_SIZE, &out), STAMP_CORRUPT);
    for (size_t at = STAMP_SIZE; at < BODY_SIZE; at++) {
        body[at] ^= 1;
        cr_expect_eq(stamp_read(whole, RUN, BODY_SIZE, &out), STAMP_CORRUPT, "byte %zu", at);
        body[at] ^= 1;
    }
    cr_expect_eq(stamp_read(whole, RUN, BODY_SIZE, &out), STAMP_OURS);
}

Test(arrivals, tells_order_lateness_and_repetition)
{
    static const struct {
        uint32_t sequence;
        enum arrival want;
    } steps[] = {
        {1, ARRIVAL_IN_ORDER}, {2, ARRIVAL_IN_ORDER}, {2, ARRIVAL_TWICE},     {1, ARRIVAL_TWICE},    {5, ARRIVAL_IN_ORDER},
        {4, ARRIVAL_LATE},     {4, ARRIVAL_TWICE},    {3, ARRIVAL_LATE},      {6, ARRIVAL_IN_ORDER}, {5, ARRIVAL_TWICE},
        {69, ARRIVAL_IN_ORDER}, {7, ARRIVAL_LATE},    {6, ARRIVAL_TWICE},     {68, ARRIVAL_LATE},    {300, ARRIVAL_IN_ORDER},
        {300, ARRIVAL_TWICE},  {299, ARRIVAL_LATE},   {236, ARRIVAL_TWICE},   {237, ARRIVAL_LATE},
    };
    struct arrivals arrivals = {.next = 1};
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        cr_expect_eq(arrivals_add(&arrivals, steps[i].sequence), steps[i].want, "step %zu", i);
}
