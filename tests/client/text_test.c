/* tests/client/text_test.c - nothing that acts on a terminal gets through, and nothing is cut in the middle of a character. */
#include "client/text.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static void use_utf8(void)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
}
TestSuite(text, .init = use_utf8);

Test(text, decode_takes_exactly_what_is_utf8)
{
    static const struct { const char *bytes; size_t len; uint32_t code; } cases[] = {
        {"a", 1, 'a'},
        {"\xC3\xA9", 2, 0xE9},
        {"\xE4\xB8\xAD", 3, 0x4E2D},
        {"\xF0\x9F\x98\x80", 4, 0x1F600},
        {"\xF4\x8F\xBF\xBF", 4, 0x10FFFF},
        {"\xF4\x90\x80\x80", 1, TEXT_REPLACEMENT}, /* beyond Unicode */
        {"\xED\xA0\x80", 1, TEXT_REPLACEMENT},     /* half of a pair */
        {"\xC0\x9B", 1, TEXT_REPLACEMENT},         /* an escape in two bytes */
        {"\xE0\x80\x9B", 1, TEXT_REPLACEMENT},
        {"\x9B", 1, TEXT_REPLACEMENT},
        {"\xE4\xB8", 1, TEXT_REPLACEMENT},
        {"\xE4" "ab", 1, TEXT_REPLACEMENT},
        {"\xFF", 1, TEXT_REPLACEMENT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const uint8_t *at = (const uint8_t *)cases[i].bytes;
        uint32_t code;
        cr_expect_eq(text_decode(at, at + strlen(cases[i].bytes), &code), cases[i].len, "row %zu", i);
        cr_expect_eq(code, cases[i].code, "row %zu: %x", i, code);
    }
}

Test(text, clean_leaves_nothing_that_acts)
{
    static const struct { const char *name, *in, *want; bool lines; } cases[] = {
        {"plain", "hello", "hello", true},
        {"accents, Chinese, emoji", "é中😀", "é中😀", true},
        {"colour", "\x1b[31mred\x1b[0m", "[31mred[0m", true},
        {"title", "\x1b]0;owned\x07" "x", "]0;ownedx", true},
        {"C1 control sequence introducer as UTF-8", "a\xC2\x9B" "31m", "a31m", true},
        {"C1 as a raw byte", "a\x9B" "31m", "a\xEF\xBF\xBD" "31m", true},
        {"backspaces", "ok\b\bno", "okno", true},
        {"bell and delete", "a\a\x7F", "a", true},
        {"line ends kept", "a\nb\r\nc\rd", "a\nb\nc\nd", true},
        {"line ends as spaces", "a\nb\r\nc", "a b c", false},
        {"separators are line ends", "a\xE2\x80\xA8" "b\xE2\x80\xA9" "c", "a\nb\nc", true},
        {"tab", "a\tb", "a b", true},
        {"direction override", "abc\xE2\x80\xAE" "gpj.exe", "abcgpj.exe", true},
        {"isolates and marks", "\xE2\x81\xA6" "a\xE2\x81\xA9\xE2\x80\x8F\xD8\x9C", "a", true},
        {"invisible tags", "a\xF3\xA0\x81\x81" "b", "ab", true},
        {"joined emoji stay joined", "👩\xE2\x80\x8D💻", "👩\xE2\x80\x8D💻", true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[64];
        bool cut;
        size_t len = text_clean(out, sizeof out, cases[i].in, strlen(cases[i].in), cases[i].lines, &cut);
        cr_expect_str_eq(out, cases[i].want, "%s", cases[i].name);
        cr_expect_eq(len, strlen(out), "%s", cases[i].name);
        cr_expect_not(cut, "%s", cases[i].name);
    }
    char out[8];
    cr_expect_eq(text_clean(out, sizeof out, "a\0b", 3, true, NULL), 2, "NUL is a control character too");
    cr_expect_str_eq(out, "ab");
}

Test(text, every_single_byte_comes_out_harmless)
{
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            const uint8_t in[] = {(uint8_t)first, (uint8_t)second};
            char out[16];
            size_t len = text_clean(out, sizeof out, in, sizeof in, false, NULL);
            for (size_t i = 0; i < len; i++) cr_assert((uint8_t)out[i] >= 0x20 && out[i] != 0x7F, "%u %u", first, second);
            cr_assert_null(strstr(out, "\xC2\x9B"));
        }
}

Test(text, clean_cuts_between_characters)
{
    char out[6];
    bool cut;
    cr_expect_eq(text_clean(out, sizeof out, "中中", 6, true, &cut), 3);
    cr_expect(cut);
    cr_expect_str_eq(out, "中");
    cr_expect_eq(text_clean(out, sizeof out, "abcde", 5, true, &cut), 5);
    cr_expect_not(cut);
}

Test(text, fit_counts_columns)
{
    static const struct { const char *text; int columns; size_t want; } cases[] = {
        {"abc", 2, 2}, {"abc", 3, 3}, {"abc", 9, 3}, {"中中", 3, 3}, {"中中", 4, 6}, {"中", 1, 0},
        {"e\xCC\x81x", 1, 3}, /* e with a combining accent is one column */
        {"", 5, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(text_fit(cases[i].text, strlen(cases[i].text), cases[i].columns), cases[i].want, "row %zu", i);
    cr_expect_eq(text_width("a中e\xCC\x81", 7), 4);
}

Test(text, wrap_breaks_at_spaces_and_line_ends)
{
    static const struct { const char *text; int columns; const char *want; } cases[] = {
        {"", 10, "[]"},
        {"short", 10, "[short]"},
        {"one two three", 7, "[one two][three]"},
        {"one two three", 8, "[one two][three]"},
        {"onetwothree", 4, "[onet][woth][ree]"},
        {"a longword", 6, "[a][longwo][rd]"},
        {"a\nb", 10, "[a][b]"},
        {"a\n\nb", 10, "[a][][b]"},
        {"中中中", 5, "[中中][中]"},
        {"exact", 5, "[exact]"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct text_line lines[8];
        char got[64] = "";
        size_t count = text_wrap(cases[i].text, strlen(cases[i].text), cases[i].columns, lines, COUNT_OF(lines));
        cr_assert_leq(count, COUNT_OF(lines));
        for (size_t j = 0; j < count; j++) {
            char part[32];
            snprintf(part, sizeof part, "[%.*s]", (int)lines[j].len, cases[i].text + lines[j].start);
            strcat(got, part);
        }
        cr_expect_str_eq(got, cases[i].want);
    }
    struct text_line one;
    cr_expect_eq(text_wrap("a b c d", 7, 2, &one, 1), 4, "counted beyond the room given");
}
