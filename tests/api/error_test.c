/* tests/api/error_test.c - the rows of errors are usable API. */
#include "api/error.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <string.h>

Test(error, rows_say_what_the_list_says)
{
    static const struct {
        enum error error;
        const char *reason, *code;
        uint16_t status;
        bool retryable;
    } cases[] = {
        {ERROR_NONE, "none", "OK", 200, false},
        {ERROR_ROOM_FULL, "room_full", "RESOURCE_EXHAUSTED", 409, false},
        {ERROR_ROLE_TOO_LOW, "role_too_low", "PERMISSION_DENIED", 403, false},
        {ERROR_DISK_FULL, "disk_full", "RESOURCE_EXHAUSTED", 507, true},
        {ERROR_INTERNAL, "internal", "INTERNAL", 500, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct error_row *row = error_row(cases[i].error);
        cr_expect_str_eq(row->reason, cases[i].reason);
        cr_expect_str_eq(row->code, cases[i].code);
        cr_expect_eq(row->status, cases[i].status);
        cr_expect_eq(row->retryable, cases[i].retryable);
    }
}

Test(error, every_reason_is_lower_case_and_its_own)
{
    for (uint32_t i = 0; i < ERROR_COUNT; i++) {
        const struct error_row *row = error_row((enum error)i);
        cr_expect_gt(strlen(row->reason), 0);
        cr_expect_eq(strspn(row->reason, "abcdefghijklmnopqrstuvwxyz_"), strlen(row->reason), "%s", row->reason);
        cr_expect(i == ERROR_NONE || row->status >= 400, "%s", row->reason);
        for (uint32_t j = 0; j < i; j++) cr_expect_str_neq(row->reason, error_row((enum error)j)->reason);
    }
}
