/* tests/sim/report.h - how a run tells what happened: the trace, its hash, and the one way to fail.
 * Owns:    which run this is; a broken invariant of the engine (core/check.h) ends here too, and a fatal error, unless a step may have one.
 * Thread:  one.                   Depends: core/.                Start at: sim/world.h */
#ifndef TESTS_SIM_REPORT_H
#define TESTS_SIM_REPORT_H

#include "core/cursor.h"
#include <setjmp.h>

struct report {
    uint64_t seed, step, hash;
    const char *plant; /* NULL: the engine as it is */
    bool trace;        /* print every event */
    jmp_buf *death;    /* where a fatal error of the engine goes; NULL: it fails the run */
    char last_words[512];
};
extern struct report report;

void report_begin(uint64_t seed, const char *plant);
/* Mixes bytes into the trace hash. */
void report_hash(struct slice bytes);
void report_hash_u64(uint64_t a, uint64_t b);
/* Prints one line of the trace. */
void report_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints what is wrong and how to see it again; ends the process. */
_Noreturn void report_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define TRACE(...)                                                                                                     \
    do {                                                                                                               \
        if (report.trace) report_trace(__VA_ARGS__);                                                                   \
    } while (0)
/* The simulator's own checks of the engine. */
#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) report_fail(__VA_ARGS__);                                                                    \
    } while (0)

#endif
