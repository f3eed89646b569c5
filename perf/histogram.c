/* perf/histogram.c - see the header. Adding is a shift and an increment; only quantiles walk the buckets. */
#include "perf/histogram.h"

static uint32_t bucket_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS) return (uint32_t)value;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(value);
    uint32_t shift = power - HISTOGRAM_STEPS_LOG2;
    return (shift + 1) * HISTOGRAM_STEPS + (uint32_t)(value >> shift) - HISTOGRAM_STEPS;
}

/* The largest value of a bucket. */
static uint64_t bucket_end(uint32_t bucket)
{
    if (bucket < HISTOGRAM_STEPS) return bucket;
    uint32_t shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t start = (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
    return start + ((1ull << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->largest) histogram->largest = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) into->buckets[bucket] += from->buckets[bucket];
    into->count += from->count;
    if (from->largest > into->largest) into->largest = from->largest;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count);
    if ((double)wanted < share * (double)histogram->count || wanted == 0) wanted++;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen < wanted) continue;
        uint64_t end = bucket_end(bucket);
        return end < histogram->largest ? end : histogram->largest;
    }
    return histogram->largest;
}
