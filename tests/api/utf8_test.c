/* tests/api/utf8_test.c - the edges of RFC 3629. */
#include "api/utf8.h"
#include "core/check.h"
#include <criterion/criterion.h>

Test(utf8, counts_well_formed_bytes)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len, want;
    } cases[] = {
        {"empty", "", 0, 0},
        {"ASCII with a NUL", "a\0b", 3, 3},
        {"first of two bytes", "\xc2\x80", 2, 2},
        {"overlong of two", "\xc1\xbf", 2, 0},
        {"first of three bytes", "\xe0\xa0\x80", 3, 3},
        {"overlong of three", "\xe0\x9f\xbf", 3, 0},
        {"last before the surrogates", "\xed\x9f\xbf", 3, 3},
        {"first surrogate", "\xed\xa0\x80", 3, 0},
        {"first after the surrogates", "\xee\x80\x80", 3, 3},
        {"first of four bytes", "\xf0\x90\x80\x80", 4, 4},
        {"overlong of four", "\xf0\x8f\xbf\xbf", 4, 0},
        {"U+10FFFF", "\xf4\x8f\xbf\xbf", 4, 4},
        {"above U+10FFFF", "\xf4\x90\x80\x80", 4, 0},
        {"five bytes", "\xf8\x88\x80\x80\x80", 5, 0},
        {"tail byte alone", "a\x80", 2, 1},
        {"cut in a character", "ab\xe2\x82", 4, 2},
        {"head where a tail should be", "\xc3\xc3", 2, 0},
        {"0xff", "\xff", 1, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(utf8_valid_len(slice_of(cases[i].bytes, cases[i].len)), cases[i].want, "%s", cases[i].name);
}
