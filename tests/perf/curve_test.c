/* tests/perf/curve_test.c - one interval of a long run as its line says it: differences, divided by the messages of that interval. */
#include "perf/curve.h"
#include "perf/perf.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct curve curve_with(struct curve_point last)
{
    return (struct curve){.last = last, .begun = {.spent.at_ns = NS_PER_S}};
}

static void expect_in(const char *line, const char *text) { cr_expect(strstr(line, text) != NULL, "no %s in %s", text, line); }

Test(curve, an_interval_is_the_difference_for_each_message)
{
    char line[1024];
    struct curve curve = curve_with((struct curve_point){.messages = 100, .spent = {.server_user_ns = 1000, .at_ns = 2 * NS_PER_S},
                                                         .written = {10, 20}, .threads = {{"worker-0", 1000}}, .thread_count = 1});
    struct curve_point now = {.messages = 150, .spent = {.server_user_ns = 91000, .server_system_ns = 10000, .at_ns = 4 * NS_PER_S},
                              .written = {5010, 20}, .threads = {{"rocksdb:low", 25000}, {"worker-0", 76000}}, .thread_count = 2};
    curve_line(line, sizeof line, &curve, &now, 7);
    expect_in(line, "\"at_s\":3.000,\"seconds\":2.000,\"messages\":50,\"messages_total\":150");
    expect_in(line, "\"server_us_per_message\":2.0000");
    expect_in(line, "\"disk_bytes_per_message\":100.00,\"call_bytes_per_message\":0.00");
    expect_in(line, "\"threads_us_per_message\":{\"rocksdb:low\":0.5000,\"worker-0\":1.5000}");
    expect_in(line, "\"resident_bytes\":7");
}

Test(curve, an_interval_without_messages_costs_nothing_each)
{
    char line[1024];
    struct curve curve = curve_with((struct curve_point){.messages = 5, .spent.at_ns = NS_PER_S});
    struct curve_point now = {.messages = 5, .spent = {.server_user_ns = 5000, .at_ns = 2 * NS_PER_S}};
    curve_line(line, sizeof line, &curve, &now, 0);
    expect_in(line, "\"messages\":0,\"messages_total\":5,\"server_us_per_message\":0.0000");
}

Test(curve, a_process_is_read_with_its_threads_and_what_it_wrote)
{
    struct thread_spent threads[THREADS_MAX];
    cr_expect_gt(process_threads(getpid(), threads), 0);
    cr_expect_eq(process_threads(0, threads), 0);
    char byte = 0;
    FILE *file = tmpfile();
    uint64_t before = process_written(getpid()).call_bytes;
    cr_assert_eq(write(fileno(file), &byte, 1), 1);
    cr_expect_geq(process_written(getpid()).call_bytes, before + 1);
    fclose(file);
    cr_expect_eq(process_written(0).call_bytes, 0);
}
