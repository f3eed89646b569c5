/* tests/api/follower_place_test.c - positions as text: what is written is read back, and nothing else is read. */
#include "api/follower_place.h"
#include <criterion/criterion.h>

#define SHARDS 3

Test(follower_place, a_position_is_read_as_it_was_written)
{
    const struct follower_place places[SHARDS] = {
        {.number = 1507}, {.number = 33, .rebuilding = true, .kind = 20, .a = UINT64_MAX - 1, .b = 40}, {.number = UINT64_MAX}};
    struct follower_place again[SHARDS];
    struct writer text;
    writer_init(&text, 0);
    follower_places_write(&text, places, SHARDS);
    cr_expect(slice_equal(writer_slice(&text), SLICE_TEXT("0:1507,1:33@20.18446744073709551614.40,2:18446744073709551615")));
    cr_assert_eq(follower_places_read(again, SHARDS, writer_slice(&text)), RESULT_OK);
    for (int i = 0; i < SHARDS; i++) cr_expect_eq(follower_place_compare(&places[i], &again[i]), 0);
    writer_deinit(&text);
}

Test(follower_place, reads_nothing_else)
{
    static const char *const texts[] = {"",        "0:1",           "0:1,1:2,",     "0:1,1:2,2:3", "1:1,0:2",  "0:1;1:2",
                                        "0:01,1:2", "0:-1,1:2",      "0:+1,1:2",     "0: 1,1:2",    "0:1 ,1:2", "0:1,1:18446744073709551616",
                                        "0:1@,1:2", "0:1@20.1,1:2", "0:1@20.1.,1:2", "0:1@4294967296.1.1,1:2", "now", "0:1,1:2\n",
                                        "0:1@20.18446744073709551615.1,1:2", "0:1@20.1.18446744073709551615,1:2"};
    struct follower_place places[2];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_expect_eq(follower_places_read(places, 2, slice_text(texts[i])), RESULT_MALFORMED, "%s", texts[i]);
}

Test(follower_place, rows_come_before_the_entries_they_go_on_with)
{
    static const struct follower_place order[] = {
        {.number = 5, .rebuilding = true},
        {.number = 5, .rebuilding = true, .kind = 1, .a = 7},
        {.number = 5, .rebuilding = true, .kind = 1, .a = 7, .b = 1},
        {.number = 5, .rebuilding = true, .kind = 2},
        {.number = 5},
        {.number = 6, .rebuilding = true},
        {.number = 6},
    };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
            int want = (i > k) - (i < k), is = follower_place_compare(&order[i], &order[k]);
            cr_expect_eq((is > 0) - (is < 0), want, "%zu, %zu", i, k);
        }
}

Test(follower_place, names)
{
    static const struct { const char *name; bool valid; } cases[] = {
        {"export", true}, {"a", true}, {"search-2.main_x", true}, {"", false}, {".7", false}, {"Export", false}, {"a b", false},
        {"12345678901234567890123456789012", true}, {"123456789012345678901234567890123", false}, {"a/b", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(follower_name_valid(slice_text(cases[i].name)), cases[i].valid, "%s", cases[i].name);
}
