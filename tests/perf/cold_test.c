/* tests/perf/cold_test.c - so many people that everybody's conversations with everybody are the rooms asked for. */
#include "perf/cold.h"
#include <criterion/criterion.h>

Test(cold, as_few_people_as_have_so_many_pairs)
{
    static const struct {
        uint32_t rooms, people;
    } cases[] = {{1, 2}, {2, 3}, {3, 3}, {4, 4}, {6, 4}, {7, 5}, {1000000, 1415}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) cr_expect_eq(cold_people(cases[i].rooms), cases[i].people, "%u rooms", cases[i].rooms);
}
