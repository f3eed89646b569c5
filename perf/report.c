/* perf/report.c - see the header. */
#include "perf/report.h"
#include "perf/perf.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CELL_SIZE 192
#define ROW_SIZE  (7 * CELL_SIZE)

void report_add(struct report *report, const char *name, double value)
{
    if (report->number_count == REPORT_NUMBERS_MAX) perf_die("too many numbers in one report");
    report->numbers[report->number_count++] = (struct report_number){name, value};
}

void report_add_fault(struct report *report, const char *name, uint64_t count)
{
    for (uint32_t i = 0; i < report->fault_count; i++) {
        if (strcmp(report->faults[i].name, name) != 0) continue;
        report->faults[i].count += count;
        return;
    }
    if (report->fault_count == REPORT_FAULTS_MAX) perf_die("too many faults in one report");
    report->faults[report->fault_count++] = (struct report_fault){name, count};
}

bool report_ok(const struct report *report)
{
    for (uint32_t i = 0; i < report->fault_count; i++)
        if (report->faults[i].count > 0) return false;
    return true;
}

static double server_cpu_s(const struct report *report) { return report->cost.server_user_s + report->cost.server_system_s; }
static double generator_cpu_s(const struct report *report) { return report->cost.generator_user_s + report->cost.generator_system_s; }

static double us_per_message(const struct report *report, double cpu_s)
{
    return report->messages == 0 ? 0 : cpu_s * 1e6 / (double)report->messages;
}

static double cores_of(const struct report *report, double cpu_s)
{
    return report->cost.seconds <= 0 ? 0 : cpu_s / report->cost.seconds;
}

/* ---- the table ---- */

#define ROW_FORMAT "| %-8s | %-42s | %25s | %-24s | %-24s | %13s | %11s | %-34s |"

static void cell_latency(char cell[CELL_SIZE], const struct histogram *histogram)
{
    cell[0] = '\0';
    if (histogram == NULL || histogram->count == 0) return;
    snprintf(cell, CELL_SIZE, "%.2f / %.2f / %.2f", (double)histogram_quantile(histogram, 0.5) / 1e6,
             (double)histogram_quantile(histogram, 0.99) / 1e6, (double)histogram_quantile(histogram, 0.999) / 1e6);
}

static void cell_check(char cell[CELL_SIZE], const struct report *report)
{
    int len = snprintf(cell, CELL_SIZE, "%llu %s", (unsigned long long)report->checked, report_ok(report) ? "ok" : "FAILED:");
    if (report->refused > 0)
        len += snprintf(cell + len, CELL_SIZE - (size_t)len, ", %llu refused", (unsigned long long)report->refused);
    if (report->redelivered > 0)
        len += snprintf(cell + len, CELL_SIZE - (size_t)len, ", %llu redelivered", (unsigned long long)report->redelivered);
    for (uint32_t i = 0; i < report->fault_count; i++) {
        if (report->faults[i].count == 0 || len >= CELL_SIZE) continue;
        len += snprintf(cell + len, CELL_SIZE - (size_t)len, " %s %llu", report->faults[i].name,
                        (unsigned long long)report->faults[i].count);
    }
}

static void table_row(char row[ROW_SIZE], const struct report *report)
{
    char value[CELL_SIZE], ack[CELL_SIZE], delivery[CELL_SIZE], cpu[CELL_SIZE] = "", cores[CELL_SIZE], check[CELL_SIZE];
    snprintf(value, sizeof value, report->value < 100 ? "%.2f %s" : "%.0f %s", report->value, report->unit);
    cell_latency(ack, report->ack);
    cell_latency(delivery, report->delivery);
    if (report->messages > 0)
        snprintf(cpu, sizeof cpu, "%.2f / %.2f", us_per_message(report, server_cpu_s(report)),
                 us_per_message(report, generator_cpu_s(report)));
    snprintf(cores, sizeof cores, "%.2f / %.2f", cores_of(report, server_cpu_s(report)), cores_of(report, generator_cpu_s(report)));
    cell_check(check, report);
    snprintf(row, ROW_SIZE, ROW_FORMAT, report->workload, report->setting, value, ack, delivery, cpu, cores, check);
}

/* ---- JSON; all names and settings are our own and need no escapes ---- */

static void json_latency(FILE *out, const char *name, const struct histogram *histogram)
{
    if (histogram == NULL || histogram->count == 0) return;
    fprintf(out, ",\"%s_us\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f,\"count\":%llu}", name,
            (double)histogram_quantile(histogram, 0.5) / 1e3, (double)histogram_quantile(histogram, 0.99) / 1e3,
            (double)histogram_quantile(histogram, 0.999) / 1e3, (double)histogram->largest / 1e3,
            (unsigned long long)histogram->count);
}

static void json_cost(FILE *out, const struct report *report)
{
    const struct cost *cost = &report->cost;
    fprintf(out, ",\"measured_s\":%.3f,\"messages\":%llu", cost->seconds, (unsigned long long)report->messages);
    fprintf(out, ",\"server_user_s\":%.2f,\"server_system_s\":%.2f,\"generator_user_s\":%.3f,\"generator_system_s\":%.3f",
            cost->server_user_s, cost->server_system_s, cost->generator_user_s, cost->generator_system_s);
    fprintf(out, ",\"server_cores\":%.3f,\"generator_cores\":%.3f", cores_of(report, server_cpu_s(report)),
            cores_of(report, generator_cpu_s(report)));
    if (report->messages == 0) return;
    fprintf(out, ",\"server_us_per_message\":%.3f,\"generator_us_per_message\":%.3f,\"generator_user_us_per_message\":%.3f",
            us_per_message(report, server_cpu_s(report)), us_per_message(report, generator_cpu_s(report)),
            us_per_message(report, cost->generator_user_s));
}

/* `row` is the table's, so that who takes medians need not know its columns. */
static void json_line(FILE *out, const struct report *report, const char *row)
{
    fprintf(out, "{\"server\":\"%s\",\"protocol\":\"%s\",\"workload\":\"%s\",\"setting\":\"%s\"", report->server,
            report->protocol, report->workload, report->setting);
    fprintf(out, ",\"value\":%.2f,\"unit\":\"%s\"", report->value, report->unit);
    json_latency(out, "ack", report->ack);
    json_latency(out, "delivery", report->delivery);
    json_cost(out, report);
    fprintf(out, ",\"checked\":%llu,\"refused\":%llu,\"redelivered\":%llu", (unsigned long long)report->checked,
            (unsigned long long)report->refused, (unsigned long long)report->redelivered);
    for (uint32_t i = 0; i < report->number_count; i++)
        fprintf(out, ",\"%s\":%.2f", report->numbers[i].name, report->numbers[i].value);
    fprintf(out, ",\"faults\":{");
    for (uint32_t i = 0; i < report->fault_count; i++)
        fprintf(out, "%s\"%s\":%llu", i == 0 ? "" : ",", report->faults[i].name, (unsigned long long)report->faults[i].count);
    fprintf(out, "},\"ok\":%s,\"row\":\"%s\"}\n", report_ok(report) ? "true" : "false", row);
}

void report_print_heading(void)
{
    printf(ROW_FORMAT, "workload", "setting", "result", "ack p50/p99/p99.9 ms", "delivery p50/p99/p99.9", "us/msg s / g", "cores s / g",
           "checked");
    printf("\n|----------|--------------------------------------------|--------------------------:|--------------------------|"
           "--------------------------|--------------:|------------:|------------------------------------|\n");
}

static FILE *open_to_append(const char *path)
{
    FILE *file = fopen(path, "a");
    if (file == NULL) perf_die("%s: %s", path, strerror(errno));
    return file;
}

void report_write(const struct report *report, const char *json_path)
{
    char row[ROW_SIZE];
    table_row(row, report);
    printf("%s\n", row);
    fflush(stdout);
    if (json_path != NULL) {
        FILE *file = open_to_append(json_path);
        json_line(file, report, row);
        (void)fclose(file);
    }
}
