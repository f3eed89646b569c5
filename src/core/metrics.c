/* core/metrics.c - histograms and the Prometheus text of every metric.
 * A bucket is a quarter of a power of two, so a quantile is at most 25 % too high. The text carries one bucket per
 * power of two: finer ones would cost a scraper 128 lines per histogram and worker. */
#include "core/metrics.h"
#include "core/check.h"
#include "core/heap.h"
#include "core/stack.h"
#include "core/logger.h"
#include "core/refusal.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKET_FIRST_BIT  8 /* bucket 0 ends at 320 ns and holds everything below */
#define BUCKETS_PER_POWER 4
#define POWER_COUNT       (METRICS_HISTOGRAM_BUCKETS / BUCKETS_PER_POWER)

static uint32_t bucket_of(uint64_t value_ns)
{
    if (value_ns < UINT64_C(1) << BUCKET_FIRST_BIT) return 0;
    uint32_t top_bit = 63 - (uint32_t)__builtin_clzll(value_ns);
    uint32_t index = (top_bit - BUCKET_FIRST_BIT) * BUCKETS_PER_POWER + ((uint32_t)(value_ns >> (top_bit - 2)) & 3);
    return index < METRICS_HISTOGRAM_BUCKETS ? index : METRICS_HISTOGRAM_BUCKETS - 1;
}

/* The first value above the bucket. */
static uint64_t bucket_end_ns(uint32_t index)
{
    uint32_t power = index / BUCKETS_PER_POWER, quarter = index % BUCKETS_PER_POWER;
    return UINT64_C(1) * (BUCKETS_PER_POWER + 1 + quarter) << (power + BUCKET_FIRST_BIT - 2);
}

void metrics_observe(struct metrics_histogram *histogram, uint64_t value_ns)
{
    metrics_add(&histogram->buckets[bucket_of(value_ns)], 1);
    metrics_add(&histogram->sum_ns, value_ns);
    metrics_add(&histogram->count, 1);
}

static uint64_t read_relaxed(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

uint64_t metrics_quantile_ns(const struct metrics_histogram *histogram, double quantile)
{
    ASSERT(quantile >= 0 && quantile <= 1);
    uint64_t count = 0, below = 0;
    for (uint32_t i = 0; i < METRICS_HISTOGRAM_BUCKETS; i++) count += read_relaxed(&histogram->buckets[i]);
    if (count == 0) return 0;
    double rank = quantile * (double)count;
    for (uint32_t i = 0; i < METRICS_HISTOGRAM_BUCKETS; i++) {
        uint64_t here = read_relaxed(&histogram->buckets[i]);
        below += here;
        if (here > 0 && (double)below >= rank) return bucket_end_ns(i);
    }
    return bucket_end_ns(METRICS_HISTOGRAM_BUCKETS - 1); /* the worker added while we looked */
}

/* ---- the text -------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void put(struct writer *out, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    ASSERT(len >= 0 && (size_t)len < sizeof line);
    writer_raw(out, line, (size_t)len);
}

static void put_head(struct writer *out, const char *name, const char *kind, const char *help)
{
    put(out, "# HELP %s %s\n", name, help);
    put(out, "# TYPE %s %s\n", name, kind);
}

static void put_value(struct writer *out, const char *name, uint32_t worker, const _Atomic uint64_t *value)
{
    put(out, "%s{worker=\"%" PRIu32 "\"} %" PRIu64 "\n", name, worker, read_relaxed(value));
}

static void put_reason(struct writer *out, const char *name, const char *reason, uint32_t worker, const _Atomic uint64_t *value)
{
    put(out, "%s{worker=\"%" PRIu32 "\",reason=\"%s\"} %" PRIu64 "\n", name, worker, reason, read_relaxed(value));
}

static void put_histogram(struct writer *out, const char *name, uint32_t worker,
                          const struct metrics_histogram *histogram)
{
    uint64_t below = 0;
    for (uint32_t power = 0; power < POWER_COUNT; power++) {
        for (uint32_t i = 0; i < BUCKETS_PER_POWER; i++)
            below += read_relaxed(&histogram->buckets[power * BUCKETS_PER_POWER + i]);
        if (power == POWER_COUNT - 1) break; /* its last bucket has no upper end */
        double end_seconds = (double)bucket_end_ns(power * BUCKETS_PER_POWER + BUCKETS_PER_POWER - 1) / 1e9;
        put(out, "%s_bucket{worker=\"%" PRIu32 "\",le=\"%.9g\"} %" PRIu64 "\n", name, worker, end_seconds, below);
    }
    /* The count is the sum of the buckets as they were read, so that it agrees with them. */
    put(out, "%s_bucket{worker=\"%" PRIu32 "\",le=\"+Inf\"} %" PRIu64 "\n", name, worker, below);
    put(out, "%s_sum{worker=\"%" PRIu32 "\"} %.9f\n", name, worker, (double)read_relaxed(&histogram->sum_ns) / 1e9);
    put(out, "%s_count{worker=\"%" PRIu32 "\"} %" PRIu64 "\n", name, worker, below);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

/* The field "name:" of /proc/self/status, in bytes; 0 when it is not there. */
static uint64_t status_bytes(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    uint64_t kib = 0;
    if (at == NULL || sscanf(at + strlen(name), ": %" SCNu64, &kib) != 1) return 0;
    return kib << 10;
}

static void put_part(struct writer *out, const char *part, uint64_t bytes)
{
    put(out, "ringpost_memory_bytes{part=\"%s\"} %" PRIu64 "\n", part, bytes);
}

static uint64_t above_zero(uint64_t all, uint64_t part) { return all > part ? all - part : 0; }

enum { HEAP_NONE, HEAP_WORKERS, HEAP_OTHERS, HEAP_COUNT };

static uint64_t untouched(struct metrics *const *sets, uint32_t set_count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < set_count; i++) bytes += read_relaxed(&sets[i]->memory_untouched);
    return bytes;
}

/* Sums by heap, of all workers. */
static void put_parts(struct writer *out, struct metrics *const *sets, uint32_t set_count, uint64_t sums[HEAP_COUNT])
{
#define PUT_PART(NAME, part, heap)                                                                                     \
    for (uint32_t i = 0; i < set_count; i++) {                                                                         \
        uint64_t bytes = read_relaxed(&sets[i]->memory[METRICS_MEMORY_##NAME]);                                        \
        sums[HEAP_##heap] += bytes;                                                                                    \
        put(out, "ringpost_memory_bytes{worker=\"%" PRIu32 "\",part=\"%s\"} %" PRIu64 "\n", i, part, bytes);             \
    }
    METRICS_MEMORY_LIST(PUT_PART)
#undef PUT_PART
}

/* The parts sum to the resident memory. Of the workers' heap what no part counts are users, rooms and requests. `other` is what is
 * not known: libraries' own memory, RocksDB's beside its parts, their threads' stacks. Where it grows something leaks. */
static void put_memory(struct writer *out, struct metrics *const *sets, uint32_t set_count)
{
    char status[4096];
    FILE *file = fopen("/proc/self/status", "re");
    size_t len = file == NULL ? 0 : fread(status, 1, sizeof status - 1, file);
    if (file != NULL) fclose(file);
    status[len] = '\0';
    uint64_t resident = status_bytes(status, "VmRSS"), sums[HEAP_COUNT] = {0};
    struct heap_stats heap = heap_read();
    put_head(out, "ringpost_memory_bytes", "gauge", "Resident memory by what it is for; the parts sum to process_resident_memory_bytes");
    put_parts(out, sets, set_count, sums);
    uint64_t files = status_bytes(status, "RssFile") + status_bytes(status, "RssShmem");
    uint64_t domain = above_zero(heap.workers_allocated_bytes, sums[HEAP_WORKERS] + untouched(sets, set_count));
    uint64_t stacks = stack_resident_bytes();
    uint64_t known = sums[HEAP_NONE] + sums[HEAP_WORKERS] + sums[HEAP_OTHERS] + domain + files + stacks;
    uint64_t unused = above_zero(heap.resident_bytes, heap.allocated_bytes), left = above_zero(resident, known);
    if (unused > left) unused = left; /* malloc counts what it never touched, too */
    put_part(out, "users_rooms", domain);
    put_part(out, "stacks", stacks);
    put_part(out, "malloc_unused", unused);
    put_part(out, "program", files);
    put_part(out, "other", left - unused);
    put_head(out, "process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM");
    put(out, "process_resident_memory_bytes %" PRIu64 "\n", resident);
}

/* The size of the directory is the count since Linux 6.2. An older kernel says 0 and the gauge is left out: counting
 * the entries of 200,000 connections would hold up the worker that renders. */
static void put_open_descriptors(struct writer *out)
{
    struct stat status;
    if (stat("/proc/self/fd", &status) != 0 || status.st_size <= 0) return;
    put_head(out, "process_open_fds", "gauge", "Open file descriptors of the process");
    put(out, "process_open_fds %lld\n", (long long)status.st_size);
}

static void put_refusals(struct writer *out)
{
    put_head(out, "ringpost_refusals_total", "counter", "Peers refused, by reason");
    for (unsigned reason = 0; reason < REFUSAL_COUNT; reason++)
        put(out, "ringpost_refusals_total{reason=\"%s\"} %" PRIu64 "\n", refusal_reason(reason), refusal_count(reason));
}

void metrics_render(struct writer *out, struct metrics *const *sets, uint32_t set_count)
{
#define KIND_COUNTER "counter"
#define KIND_GAUGE   "gauge"
#define MQTT_DROPPED "ringpost_mqtt_dropped_total"
#define RENDER(field, name, kind, help)                                                                                \
    put_head(out, name, KIND_##kind, help);                                                                            \
    for (uint32_t i = 0; i < set_count; i++) put_value(out, name, i, &sets[i]->field);
    METRICS_LIST(RENDER)
#undef RENDER
    put_head(out, MQTT_DROPPED, "counter", "Messages of MQTT clients that were dropped, by reason");
#define RENDER(field, reason)                                                                                          \
    for (uint32_t i = 0; i < set_count; i++) put_reason(out, MQTT_DROPPED, reason, i, &sets[i]->field);
    METRICS_MQTT_DROPPED_LIST(RENDER)
#undef RENDER
#define RENDER(field, name, help)                                                                                      \
    put_head(out, name, "histogram", help);                                                                            \
    for (uint32_t i = 0; i < set_count; i++) put_histogram(out, name, i, &sets[i]->field);
    METRICS_HISTOGRAM_LIST(RENDER)
#undef RENDER
    put_memory(out, sets, set_count);
    put_open_descriptors(out);
    put_refusals(out);
    put_head(out, "ringpost_logger_dropped_total", "counter", "Log lines dropped because the log is read too slowly");
    put(out, "ringpost_logger_dropped_total %" PRIu64 "\n", logger_dropped_count());
}
