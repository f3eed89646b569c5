/* perf/histogram.h - counts of latencies in buckets whose width is at most 1/64 of their value.
 *
 * A value below 64 has a bucket of its own; above, each power of two is cut into 64 equal buckets. A quantile answers with the
 * upper end of its bucket, so it never flatters, and never more than the largest value seen. */
#ifndef PERF_HISTOGRAM_H
#define PERF_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS_LOG2 6
#define HISTOGRAM_STEPS      (1u << HISTOGRAM_STEPS_LOG2)
#define HISTOGRAM_BUCKETS    ((64 - HISTOGRAM_STEPS_LOG2 + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t count, largest;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The smallest bound that `share` (0 to 1) of all values do not pass; 0 when there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
