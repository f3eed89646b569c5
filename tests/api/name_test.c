/* tests/api/name_test.c - names that cannot be seen are no names; those that can be read keep what they need. */
#include "api/name.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <string.h>

#define ZERO_WIDTH_SPACE "\xe2\x80\x8b"
#define ZWNJ             "\xe2\x80\x8c"
#define ZWJ              "\xe2\x80\x8d"
#define HANGUL_FILLER    "\xe3\x85\xa4"
#define BRAILLE_BLANK    "\xe2\xa0\x80"
#define BYTE_ORDER_MARK  "\xef\xbb\xbf"
#define OVERRIDE         "\xe2\x80\xae"
#define ISOLATE          "\xe2\x81\xa7"
#define NO_BREAK_SPACE   "\xc2\xa0"
#define SELECTOR         "\xef\xb8\x8f"
#define SOFT_HYPHEN      "\xc2\xad"
#define ACUTE            "\xcc\x81"
#define MAN              "\xf0\x9f\x91\xa8"
#define GIRL             "\xf0\x9f\x91\xa7"
#define TEN              "abcdefghij"

Test(name, is_cleaned)
{
    static const struct {
        const char *name, *given, *want;
    } cases[] = {
        {"plain", "Alice L.", "Alice L."},
        {"nothing given", "", ""},
        {"blanks at the ends", "  Alice\xe3\x80\x80", "Alice"},
        {"blanks inside", "Alice \xe2\x80\x83 " NO_BREAK_SPACE "L.", "Alice L."},
        {"zero width space behind", "alice" ZERO_WIDTH_SPACE, "alice"},
        {"zero width space inside", "al" ZERO_WIDTH_SPACE "ice", "alice"},
        {"byte order mark", BYTE_ORDER_MARK "alice", "alice"},
        {"soft hyphen", "al" SOFT_HYPHEN "ice", "alice"},
        {"filler beside letters", "a" HANGUL_FILLER "b", "ab"},
        {"braille blank is a blank", "a" BRAILLE_BLANK "b", "a b"},
        {"joiner between Latin letters", "al" ZWJ "ice", "alice"},
        {"joiner at the end", MAN ZWJ, MAN},
        {"selector behind a Latin letter", "a" SELECTOR "lice", "alice"},
        {"composed", "Jose" ACUTE, "Jos\xc3\xa9"},
        {"a compatibility form stays", "\xef\xac\x81", "\xef\xac\x81"},
        {"family", MAN ZWJ GIRL, MAN ZWJ GIRL},
        {"skin tone and heart", MAN "\xf0\x9f\x8f\xbd" ZWJ "\xe2\x9d\xa4" SELECTOR, MAN "\xf0\x9f\x8f\xbd" ZWJ "\xe2\x9d\xa4" SELECTOR},
        {"heart with its selector", "\xe2\x9d\xa4" SELECTOR " you", "\xe2\x9d\xa4" SELECTOR " you"},
        {"keycap", "1" SELECTOR "\xe2\x83\xa3", "1" SELECTOR "\xe2\x83\xa3"},
        {"flag of Scotland", "\xf0\x9f\x8f\xb4\xf3\xa0\x81\xa7\xf3\xa0\x81\xa2\xf3\xa0\x81\xb3\xf3\xa0\x81\xa3\xf3\xa0\x81\xb4\xf3\xa0\x81\xbf",
         "\xf0\x9f\x8f\xb4\xf3\xa0\x81\xa7\xf3\xa0\x81\xa2\xf3\xa0\x81\xb3\xf3\xa0\x81\xa3\xf3\xa0\x81\xb4\xf3\xa0\x81\xbf"},
        {"Persian non-joiner", "\xd9\x85\xdb\x8c" ZWNJ "\xd8\xae\xd9\x88", "\xd9\x85\xdb\x8c" ZWNJ "\xd8\xae\xd9\x88"},
        {"Devanagari joiner", "\xe0\xa4\x95\xe0\xa5\x8d" ZWJ, "\xe0\xa4\x95\xe0\xa5\x8d" ZWJ},
        {"Hebrew", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"},
        {"Chinese", "\xe6\xbc\xa2\xe5\xad\x97", "\xe6\xbc\xa2\xe5\xad\x97"},
        {"64 characters of 4 bytes", MAN TEN TEN TEN TEN TEN TEN "abc", MAN TEN TEN TEN TEN TEN TEN "abc"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct name_text got, again;
        const char *refusal = name_clean(&got, slice_text(cases[i].given));
        cr_assert_null(refusal, "%s: %s", cases[i].name, refusal);
        cr_expect(slice_equal(name_slice(&got), slice_text(cases[i].want)), "%s: %.*s", cases[i].name, (int)got.len, (const char *)got.bytes);
        cr_expect_null(name_clean(&again, name_slice(&got)), "%s", cases[i].name);
        cr_expect(slice_equal(name_slice(&again), name_slice(&got)), "%s: a clean name stays", cases[i].name);
    }
}

Test(name, is_refused)
{
    static const struct {
        const char *name;
        struct slice given;
    } cases[] = {
        {"zero width space alone", {(const uint8_t *)ZERO_WIDTH_SPACE, 3}},
        {"spaces alone", {(const uint8_t *)"   ", 3}},
        {"Hangul filler alone", {(const uint8_t *)HANGUL_FILLER, 3}},
        {"braille blank alone", {(const uint8_t *)BRAILLE_BLANK, 3}},
        {"byte order mark alone", {(const uint8_t *)BYTE_ORDER_MARK, 3}},
        {"a mark on nothing", {(const uint8_t *)ACUTE, 2}},
        {"a joiner alone", {(const uint8_t *)ZWJ, 3}},
        {"override", {(const uint8_t *)"abc" OVERRIDE "txt.exe", 13}},
        {"isolate", {(const uint8_t *)"abc" ISOLATE "d", 7}},
        {"line end", {(const uint8_t *)"a\nb", 3}},
        {"NUL", {(const uint8_t *)"a\0b", 3}},
        {"DEL", {(const uint8_t *)"a\x7f", 2}},
        {"C1", {(const uint8_t *)"a\xc2\x85", 3}},
        {"line separator", {(const uint8_t *)"a\xe2\x80\xa8", 4}},
        {"private use", {(const uint8_t *)"a\xee\x80\x80", 4}},
        {"noncharacter", {(const uint8_t *)"a\xef\xbf\xbe", 4}},
        {"tail byte alone", {(const uint8_t *)"a\x80", 2}},
        {"cut short", {(const uint8_t *)"a\xe2\x82", 3}},
        {"overlong", {(const uint8_t *)"\xc0\xaf", 2}},
        {"surrogate", {(const uint8_t *)"\xed\xa0\x80", 3}},
        {"above the last plane", {(const uint8_t *)"\xf4\x90\x80\x80", 4}},
        {"65 characters", {(const uint8_t *)TEN TEN TEN TEN TEN TEN "abcde", 65}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct name_text got;
        cr_expect_not_null(name_clean(&got, cases[i].given), "%s: %.*s", cases[i].name, (int)got.len, (const char *)got.bytes);
        cr_expect_eq(got.len, 0, "%s", cases[i].name);
    }
}

/* 64 characters are counted after cleaning: what goes does not count, what is composed counts once. */
Test(name, is_counted_clean)
{
    char long_text[NAME_CHARACTERS_MAX * 4 + 1] = "";
    for (int i = 0; i < NAME_CHARACTERS_MAX; i++) strcat(long_text, "e" ACUTE);
    struct name_text got;
    cr_assert_null(name_clean(&got, slice_text(long_text)));
    cr_assert_eq(got.len, 2 * NAME_CHARACTERS_MAX);
    static uint8_t huge[100000];
    memset(huge, 'a', sizeof huge);
    cr_assert_not_null(name_clean(&got, slice_of(huge, sizeof huge)));
}
