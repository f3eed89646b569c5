/* perf/curve.h - what a server spent from one moment to the next: one line of JSON for each, so that a cost that grows with what is
 * stored shows as a curve where an average would hide it.
 * Owns:    the file, the counters at the end of the last interval. */
#ifndef PERF_CURVE_H
#define PERF_CURVE_H

#include "perf/histogram.h"
#include "perf/process.h"
#include <stddef.h>

struct curve_point { /* counters so far */
    uint64_t messages;
    struct spent spent;
    struct written written;
    struct thread_spent threads[THREADS_MAX];
    uint32_t thread_count;
};

struct curve {
    int server_pid;
    const char *path;
    struct curve_point begun, last;
};

/* From now on; empties the file at `path`. */
void curve_begin(struct curve *curve, const char *path, int server_pid);
/* Ends an interval: appends its line. The latencies are those of the interval, in ns; `reads` NULL: there were none. */
void curve_add(struct curve *curve, uint64_t messages, const struct histogram *ack, const struct histogram *delivery,
               const struct histogram *reads);

/* The text of one interval, without its end; for curve_add(). */
void curve_line(char *text, size_t size, const struct curve *curve, const struct curve_point *now, uint64_t resident_bytes);

#endif
