/* perf/curve.c - see the header. Shares and costs of an interval are differences of counters; a thread that came since counts from 0. */
#include "perf/curve.h"
#include "perf/perf.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_SIZE 4096

static struct curve_point point_now(int server_pid, uint64_t messages)
{
    struct curve_point point = {.messages = messages, .spent = process_spent(server_pid), .written = process_written(server_pid)};
    point.thread_count = process_threads(server_pid, point.threads);
    return point;
}

static FILE *curve_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL) perf_die("%s: %s", path, strerror(errno));
    return file;
}

void curve_begin(struct curve *curve, const char *path, int server_pid)
{
    *curve = (struct curve){.server_pid = server_pid, .path = path};
    curve->begun = curve->last = point_now(server_pid, 0);
    (void)fclose(curve_file(path, "w"));
}

/* ---- one line ---- */

struct text {
    char *bytes;
    size_t len, size;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text->bytes + text->len, text->size - text->len, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= text->size - text->len) perf_die("an interval does not fit its line");
    text->len += (size_t)len;
}

static uint64_t thread_before(const struct curve_point *point, const char *name)
{
    for (uint32_t i = 0; i < point->thread_count; i++)
        if (strcmp(point->threads[i].name, name) == 0) return point->threads[i].cpu_ns;
    return 0;
}

static uint64_t since(uint64_t now, uint64_t before) { return now > before ? now - before : 0; }

void curve_line(char *bytes, size_t size, const struct curve *curve, const struct curve_point *now, uint64_t resident_bytes)
{
    struct text text = {bytes, 0, size};
    const struct curve_point *last = &curve->last;
    struct cost cost = process_cost(&last->spent, &now->spent);
    double messages = (double)since(now->messages, last->messages), each = messages > 0 ? 1 / messages : 0;
    put(&text, "\"at_s\":%.3f,\"seconds\":%.3f,\"messages\":%.0f,\"messages_total\":%llu",
        (double)since(now->spent.at_ns, curve->begun.spent.at_ns) / 1e9, cost.seconds, messages, (unsigned long long)now->messages);
    put(&text, ",\"server_us_per_message\":%.4f,\"generator_us_per_message\":%.4f", (cost.server_user_s + cost.server_system_s) * 1e6 * each,
        (cost.generator_user_s + cost.generator_system_s) * 1e6 * each);
    put(&text, ",\"disk_bytes_per_message\":%.2f,\"call_bytes_per_message\":%.2f",
        (double)since(now->written.disk_bytes, last->written.disk_bytes) * each,
        (double)since(now->written.call_bytes, last->written.call_bytes) * each);
    put(&text, ",\"disk_bytes_total\":%llu,\"resident_bytes\":%llu,\"threads_us_per_message\":{",
        (unsigned long long)since(now->written.disk_bytes, curve->begun.written.disk_bytes), (unsigned long long)resident_bytes);
    for (uint32_t i = 0; i < now->thread_count; i++)
        put(&text, "%s\"%s\":%.4f", i == 0 ? "" : ",", now->threads[i].name,
            (double)since(now->threads[i].cpu_ns, thread_before(last, now->threads[i].name)) / 1e3 * each);
    put(&text, "}");
}

static void put_latency(FILE *file, const char *name, const struct histogram *histogram)
{
    if (histogram == NULL || histogram->count == 0) return;
    fprintf(file, ",\"%s_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f,\"count\":%llu}", name,
            (double)histogram_quantile(histogram, 0.5) / 1e6, (double)histogram_quantile(histogram, 0.99) / 1e6,
            (double)histogram_quantile(histogram, 0.999) / 1e6, (double)histogram->largest / 1e6, (unsigned long long)histogram->count);
}

void curve_add(struct curve *curve, uint64_t messages, const struct histogram *ack, const struct histogram *delivery,
               const struct histogram *reads)
{
    char line[LINE_SIZE];
    struct curve_point now = point_now(curve->server_pid, messages);
    curve_line(line, sizeof line, curve, &now, process_memory(curve->server_pid).resident_bytes);
    FILE *file = curve_file(curve->path, "a");
    fprintf(file, "{%s", line);
    put_latency(file, "ack", ack);
    put_latency(file, "delivery", delivery);
    put_latency(file, "read", reads);
    fprintf(file, "}\n");
    (void)fclose(file);
    curve->last = now;
}
