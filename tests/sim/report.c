/* tests/sim/report.c - see report.h. It defines check_failed and check_fatal in place of core/check.c, so that an invariant
 * the engine finds broken names the seed that broke it. */
#include "sim/report.h"
#include "core/check.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct report report;

void report_begin(uint64_t seed, const char *plant)
{
    report.seed = seed;
    report.step = 0;
    report.hash = 0;
    report.plant = plant;
    report.death = NULL;
}

void report_hash(struct slice bytes) { report.hash = XXH3_64bits_withSeed(bytes.data, bytes.len, report.hash + report.step); }

void report_hash_u64(uint64_t a, uint64_t b)
{
    uint64_t words[2] = {a, b};
    report_hash(slice_of(words, sizeof words));
}

void report_trace(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%6lu  ", (unsigned long)report.step);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

_Noreturn static void fail(const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    if (report.plant != NULL) printf("step %lu: %s\n", (unsigned long)report.step, text);
    else printf("not ok sim seed %lu, step %lu: %s\n# again, with a trace: make sim SEED=%lu\n", (unsigned long)report.seed,
                (unsigned long)report.step, text, (unsigned long)report.seed);
    fflush(stdout);
    abort();
}

void report_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(format, arguments);
}

void check_failed(const char *expression, const char *file, int line)
{
    report_fail("%s:%d: invariant broken: %s", file, line, expression);
}

void check_fatal(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (report.death == NULL) fail(format, arguments);
    vsnprintf(report.last_words, sizeof report.last_words, format, arguments);
    va_end(arguments);
    longjmp(*report.death, 1);
}
