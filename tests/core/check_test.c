/* tests/core/check_test.c - a broken invariant aborts, a broken world exits 1. */
#include "core/check.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>

Test(check, assert_evaluates_once_and_passes)
{
    int evaluated = 0;
    ASSERT(++evaluated > 0);
    cr_assert_eq(evaluated, 1);
}

Test(check, assert_aborts, .signal = SIGABRT)
{
    int zero = 0;
    ASSERT(zero == 1);
}

Test(check, fatal_exits_with_one, .exit_code = 1)
{
    check_fatal("the disk said %d", 5);
}

struct outer {
    char before[24];
    uint64_t inner;
};

Test(check, container_of_finds_the_owner)
{
    struct outer outer;
    uint64_t *inner = &outer.inner;
    cr_assert_eq(CONTAINER_OF(inner, struct outer, inner), &outer);
}
