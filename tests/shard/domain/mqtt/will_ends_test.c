/* tests/shard/domain/mqtt/will_ends_test.c - the table of ends that are not durable yet. When they are said again is in
 * tests/shard/door/mqtt/will_test.c. */
#include "shard/domain/mqtt/will_ends.h"
#include "shard/domain/mqtt/wills.h"
#include <criterion/criterion.h>

static struct machine machine; /* nothing of it is looked at */
static struct will_ends *ends;

static void setup(void)
{
    void *state;
    cr_assert_eq(will_ends_open(&machine, &state), RESULT_OK);
    ends = state;
}

static void teardown(void) { will_ends_close(&machine, ends); }

TestSuite(will_ends, .init = setup, .fini = teardown);

static bool keep(uint64_t epoch, enum will_word word)
{
    return will_ends_keep(ends, &(struct will_end){.user_id = 1, .epoch = epoch, .word = (uint8_t)word, .expiry_s = 7});
}

Test(will_ends, each_is_found_by_its_epoch_until_it_is_forgotten)
{
    const uint64_t apart = 1u << 20; /* in one bucket */
    for (uint64_t i = 1; i <= 3; i++) cr_expect(keep(i * apart, WILL_DROPPED));
    cr_expect(keep(2 * apart, WILL_RELEASED), "once more");
    cr_expect_eq(will_ends_count(ends), 3);
    cr_expect_eq(will_ends_find(ends, 2 * apart)->word, WILL_DROPPED, "the first word counts");
    will_ends_forget(ends, 2 * apart);
    cr_expect_null(will_ends_find(ends, 2 * apart));
    cr_assert_not_null(will_ends_find(ends, 3 * apart));
    struct will_record record = will_end_record(will_ends_find(ends, 3 * apart));
    cr_expect(record.state == WILL_DROPPED && record.epoch == 3 * apart && record.expiry_s == 7);
    will_ends_forget(ends, 99);
    cr_expect_eq(will_ends_count(ends), 2);
}

Test(will_ends, there_is_a_limit)
{
    for (uint64_t epoch = 1; epoch <= WILL_ENDS_MAX; epoch++) cr_assert(keep(epoch, WILL_RELEASED));
    cr_expect(!keep(WILL_ENDS_MAX + 1, WILL_RELEASED));
    cr_expect_null(will_ends_find(ends, WILL_ENDS_MAX + 1));
    cr_expect(keep(5, WILL_RELEASED), "it is there");
    will_ends_forget(ends, 5);
    cr_expect(keep(WILL_ENDS_MAX + 1, WILL_RELEASED));
}
