/* tests/core/metrics_test.c - the text obeys Prometheus' grammar and its own arithmetic; quantiles are within a bucket.
 */
#include "core/metrics.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct metrics first, second;
static struct metrics *const sets[] = {&first, &second};

static char *render(void)
{
    struct writer out;
    writer_init(&out, 0);
    metrics_render(&out, sets, COUNT_OF(sets));
    writer_u8(&out, 0);
    cr_assert_not(out.failed);
    return (char *)out.data; /* the caller frees it */
}

static bool matches(const char *pattern, const char *text)
{
    regex_t regex;
    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool matched = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return matched;
}

Test(metrics, every_line_obeys_the_grammar_and_follows_its_type)
{
    metrics_observe(&first.turn_ns, 12345);
    char *text = render(), *rest = text, family[128] = "";
    size_t samples = 0;
    cr_assert_eq(text[strlen(text) - 1], '\n');
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '\0') continue;
        if (strncmp(line, "# HELP", 6) == 0) {
            cr_expect(matches("^# HELP [a-z_]+ [^\\]+$", line), "%s", line);
        } else if (line[0] == '#') {
            cr_expect(matches("^# TYPE [a-z_]+ (counter|gauge|histogram)$", line), "%s", line);
            sscanf(line, "# TYPE %127s", family);
        } else {
            cr_expect(
                matches("^[a-z_]+([{](worker=\"[0-9]+\"(,le=\"([0-9.e+-]+|[+]Inf)\"|,(reason|part)=\"[a-z_]+\")?|[a-z]+=\"[a-z_]+\")[}])? [0-9]+([.][0-9]+)?$", line),
                "%s", line);
            cr_expect_eq(strncmp(line, family, strlen(family)), 0, "%s stands under %s", line, family);
            samples++;
        }
    }
    cr_expect_gt(samples, 60);
    free(text);
}

Test(metrics, values_carry_their_worker)
{
    metrics_add(&first.turns, 3);
    metrics_add(&second.turns, 4);
    metrics_add(&second.connections_open, 10);
    metrics_sub(&second.connections_open, 1);
    metrics_set(&first.store_backlog_bytes, UINT64_MAX);
    char *text = render();
    static const char *const wants[] = {
        "# TYPE ringpost_turns_total counter\n",
        "\nringpost_turns_total{worker=\"0\"} 3\n",
        "\nringpost_turns_total{worker=\"1\"} 4\n",
        "# TYPE ringpost_connections_open gauge\n",
        "\nringpost_connections_open{worker=\"1\"} 9\n",
        "\nringpost_store_backlog_bytes{worker=\"0\"} 18446744073709551615\n",
        "\nprocess_resident_memory_bytes ",
        "\nringpost_logger_dropped_total 0\n",
        "\nringpost_refusals_total{reason=\"origin\"} 0\n",
        "\nringpost_mqtt_dropped_total{worker=\"1\",reason=\"topic\"} 0\n",
    };
    for (size_t i = 0; i < COUNT_OF(wants); i++) cr_expect_not_null(strstr(text, wants[i]), "%s", wants[i]);
    free(text);
}

static uint64_t sum_of_memory(const char *text, uint64_t *resident)
{
    uint64_t sum = 0;
    for (const char *at = text; (at = strstr(at, "\nringpost_memory_bytes{")) != NULL;) {
        at = strstr(at, "} ") + 2;
        sum += strtoull(at, NULL, 10);
    }
    *resident = strtoull(strstr(text, "\nprocess_resident_memory_bytes ") + strlen("\nprocess_resident_memory_bytes "), NULL, 10);
    return sum;
}

Test(metrics, parts_of_the_memory_sum_to_what_is_resident)
{
    static const size_t sizes[] = {0, 1 << 20, 64 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char *taken = sizes[i] == 0 ? NULL : malloc(sizes[i]);
        if (taken != NULL) memset(taken, 1, sizes[i]);
        metrics_set(&first.memory[METRICS_MEMORY_MEMTABLES], sizes[i]); /* it is known what this is for */
        uint64_t resident;
        char *text = render();
        cr_expect_eq(sum_of_memory(text, &resident), resident, "with %zu bytes", sizes[i]);
        cr_expect_gt(resident, sizes[i]);
        free(text);
        free(taken);
    }
}

Test(metrics, histogram_text_is_cumulative_and_adds_up)
{
    static const uint64_t values[] = {0, 255, 256, 1000, 1000000, UINT64_C(3000000000), UINT64_C(1) << 41};
    uint64_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        metrics_observe(&second.commit_ns, values[i]);
        sum += values[i];
    }
    char *text = render(), *at = text;
    uint64_t last = 0, lines = 0;
    double last_end = 0;
    while ((at = strstr(at, "ringpost_log_commit_seconds_bucket{worker=\"1\",le=\"")) != NULL) {
        at += strlen("ringpost_log_commit_seconds_bucket{worker=\"1\",le=\"");
        double end = strtod(at, NULL);
        uint64_t below = strtoull(strstr(at, "} ") + 2, NULL, 10), want = 0;
        for (size_t i = 0; i < COUNT_OF(values); i++) want += (double)values[i] / 1e9 < end;
        cr_expect_eq(below, want, "le=%g: %lu", end, (unsigned long)below);
        cr_expect_gt(end, last_end);
        cr_expect_geq(below, last);
        last = below;
        last_end = end;
        lines++;
    }
    cr_expect_eq(lines, 32);
    cr_expect_eq(last, COUNT_OF(values), "+Inf counts all");
    char want[128];
    snprintf(want, sizeof want, "\nringpost_log_commit_seconds_sum{worker=\"1\"} %.9f\n", (double)sum / 1e9);
    cr_expect_not_null(strstr(text, want));
    cr_expect_not_null(strstr(text, "\nringpost_log_commit_seconds_count{worker=\"1\"} 7\n"));
    cr_expect_not_null(strstr(text, "\nringpost_log_commit_seconds_count{worker=\"0\"} 0\n"));
    free(text);
}

Test(metrics, a_quantile_is_at_most_a_quarter_too_high)
{
    for (uint64_t value = 256; value < UINT64_C(1) << 40; value = value * 5 / 4 + 1) {
        struct metrics_histogram histogram = {0};
        metrics_observe(&histogram, value);
        uint64_t got = metrics_quantile_ns(&histogram, 0.5);
        cr_assert_gt(got, value);
        cr_assert_leq((double)got, (double)value * 1.25);
    }
}

Test(metrics, quantiles_of_a_known_distribution)
{
    struct metrics_histogram histogram = {0};
    cr_assert_eq(metrics_quantile_ns(&histogram, 0.99), 0, "nothing observed");
    for (uint64_t i = 1; i <= 1000; i++) metrics_observe(&histogram, i * 1000);
    static const struct {
        double quantile;
        uint64_t exact_ns;
    } cases[] = {{0, 1000}, {0.5, 500000}, {0.9, 900000}, {0.99, 990000}, {1, 1000000}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double got = (double)metrics_quantile_ns(&histogram, cases[i].quantile), exact = (double)cases[i].exact_ns;
        cr_expect(got >= exact && got <= exact * 1.26, "q%g: %g for %g", cases[i].quantile, got, exact);
    }
    cr_expect_eq(atomic_load(&histogram.count), 1000);
    cr_expect_eq(atomic_load(&histogram.sum_ns), UINT64_C(500500000));
}
