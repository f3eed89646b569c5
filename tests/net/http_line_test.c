#include "net/http_line.h"
#include "core/check.h"
#include <criterion/criterion.h>

Test(http_line, entity_tags)
{
    static const struct {
        const char *list, *etag;
        bool listed;
    } cases[] = {
        {"\"a\"", "\"a\"", true},
        {"W/\"a\"", "\"a\"", true},
        {"\"a\"", "W/\"a\"", true},
        {"*", "\"a\"", true},
        {"\"b\", \"a\"", "\"a\"", true},
        {"\"b\",\tW/\"a\" , \"c\"", "\"a\"", true},
        {"\"b,\", \"a\"", "\"a\"", true},
        {"\"b, \"a\"", "\"a\"", false},
        {"\"ab\"", "\"a\"", false},
        {"a", "\"a\"", false},
        {"w/\"a\"", "\"a\"", false},
        {"\"b\", *", "\"a\"", false},
        {"", "\"a\"", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(http_lists_etag(slice_text(cases[i].list), cases[i].etag), cases[i].listed, "%s", cases[i].list);
}

Test(http_line, lists)
{
    struct slice list = SLICE_TEXT("a,\tb ,, c"), element;
    static const char *const want[] = {"a", "b", "", "c"};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        cr_assert(http_list_next(&list, &element));
        cr_expect(slice_equal(element, slice_text(want[i])), "%zu", i);
    }
    cr_expect_not(http_list_next(&list, &element));
}
