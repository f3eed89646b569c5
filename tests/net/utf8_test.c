#include "core/check.h"
#include "net/utf8.h"
#include <criterion/criterion.h>
#include <string.h>

static const struct utf8_case {
    const char *name, *bytes;
    size_t len;
    bool valid;
} cases[] = {
    {"empty", "", 0, true},
    {"ascii", "hello, long enough for words", 28, true},
    {"nul inside", "a\0b", 3, true},
    {"two bytes", "\xC2\x80\xDF\xBF", 4, true},
    {"three bytes", "\xE0\xA0\x80\xEF\xBF\xBF", 6, true},
    {"around the surrogates", "\xED\x9F\xBF\xEE\x80\x80", 6, true},
    {"four bytes", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8, true},
    {"mixed", "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5 abcdefgh \xF0\x9F\x98\x80", 25, true},
    {"lone continuation", "\x80", 1, false},
    {"overlong slash", "\xC0\xAF", 2, false},
    {"overlong C1", "\xC1\xBF", 2, false},
    {"overlong three", "\xE0\x9F\xBF", 3, false},
    {"overlong four", "\xF0\x8F\xBF\xBF", 4, false},
    {"surrogate low end", "\xED\xA0\x80", 3, false},
    {"surrogate high end", "\xED\xBF\xBF", 3, false},
    {"past U+10FFFF", "\xF4\x90\x80\x80", 4, false},
    {"lead F5", "\xF5\x80\x80\x80", 4, false},
    {"FE", "\xFE", 1, false},
    {"FF after ascii words", "abcdefghijklmnop\xFF", 17, false},
    {"cut two", "\xC2", 1, false},
    {"cut three", "abc\xE2\x82", 5, false},
    {"cut four", "\xF0\x9F\x98", 3, false},
    {"lead instead of continuation", "\xE2\xE2\x82\xAC", 4, false},
};

Test(utf8, whole_texts)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(utf8_valid((const uint8_t *)cases[i].bytes, cases[i].len), cases[i].valid, "%s", cases[i].name);
}

Test(utf8, same_verdict_at_every_split)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
        for (size_t split = 0; split <= cases[i].len; split++) {
            struct utf8_state state = {0};
            bool valid = utf8_feed(&state, bytes, split) && utf8_feed(&state, bytes + split, cases[i].len - split) &&
                         utf8_complete(&state);
            cr_expect_eq(valid, cases[i].valid, "%s at %zu", cases[i].name, split);
        }
    }
}

Test(utf8, agrees_with_the_definition_for_every_code_point)
{
    for (uint32_t point = 0x80; point <= 0x10FFFF + 0x1000; point++) {
        uint8_t bytes[4];
        size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        for (size_t i = len; i-- > 1;) bytes[i] = (uint8_t)(0x80 | (point >> (6 * (len - 1 - i)) & 0x3F));
        uint8_t lead = len == 2 ? 0xC0 : len == 3 ? 0xE0 : 0xF0;
        bytes[0] = (uint8_t)(lead | point >> (6 * (len - 1)));
        bool surrogate = point >= 0xD800 && point <= 0xDFFF;
        cr_assert_eq(utf8_valid(bytes, len), !surrogate && point <= 0x10FFFF, "U+%X", point);
    }
}

Test(utf8, fails_at_the_first_wrong_byte)
{
    struct utf8_state state = {0};
    cr_expect(utf8_feed(&state, (const uint8_t *)"\xED", 1));
    cr_expect_not(utf8_feed(&state, (const uint8_t *)"\xA0", 1));
}
