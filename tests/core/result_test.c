/* tests/core/result_test.c - every outcome has a text; errno values land where callers expect them. */
#include "core/result.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

Test(result, every_code_has_its_own_text)
{
    for (int i = 0; i < RESULT_COUNT; i++) {
        cr_assert_not_null(result_text((enum result)i), "code %d", i);
        for (int j = 0; j < i; j++)
            cr_expect_neq(strcmp(result_text((enum result)i), result_text((enum result)j)), 0, "%d and %d", i, j);
    }
}

Test(result, from_errno_maps_what_callers_branch_on)
{
    static const struct {
        int error;
        enum result want;
    } cases[] = {
        {ENOMEM, RESULT_NOMEM},       {EAGAIN, RESULT_BUSY},
        {ENOBUFS, RESULT_BUSY},       {EMSGSIZE, RESULT_TOO_LARGE},
        {EACCES, RESULT_DENIED},      {EPERM, RESULT_DENIED},
        {ENOENT, RESULT_MISSING},     {EEXIST, RESULT_EXISTS},
        {EPIPE, RESULT_CLOSED},       {ECONNRESET, RESULT_CLOSED},
        {ETIMEDOUT, RESULT_TIMEOUT},  {ETIME, RESULT_TIMEOUT},
        {EFBIG, RESULT_FULL},
        {ENOSPC, RESULT_FULL},        {EDQUOT, RESULT_FULL},
        {ENOSYS, RESULT_UNSUPPORTED}, {EIO, RESULT_IO},
        {EILSEQ, RESULT_IO},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(result_from_errno(cases[i].error), cases[i].want, "%s", strerror(cases[i].error));
}

Test(result, text_of_an_unknown_code_is_our_bug, .signal = SIGABRT)
{
    (void)result_text(RESULT_COUNT);
}
