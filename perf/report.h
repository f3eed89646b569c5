/* perf/report.h - one measurement: a line of JSON for machines, a row of a table for people.
 * The table is Markdown with padded columns, so that it reads as it is. */
#ifndef PERF_REPORT_H
#define PERF_REPORT_H

#include "perf/histogram.h"
#include "perf/process.h"
#include <stdbool.h>
#include <stdint.h>

#define REPORT_NUMBERS_MAX 24
#define REPORT_FAULTS_MAX  16

struct report_number {
    const char *name;
    double value;
};
struct report_fault {
    const char *name; /* "lost", "duplicated", … */
    uint64_t count;   /* anything but 0 fails the run */
};

struct report {
    const char *workload, *server;
    char protocol[32]; /* "tcp", "tcp+tls" */
    char setting[120];
    double value;
    const char *unit;
    const struct histogram *ack, *delivery; /* nanoseconds; NULL: not measured */
    struct cost cost;
    uint64_t messages; /* what the cost was paid for: deliveries, logins; 0: for nothing that can be counted */
    struct report_number numbers[REPORT_NUMBERS_MAX]; /* beside the value */
    struct report_fault faults[REPORT_FAULTS_MAX];
    uint32_t number_count, fault_count;
    uint64_t checked; /* arrivals or records that were looked at one by one */
    uint64_t redelivered; /* came twice and said so, as QoS 1 allows: shown, no fault */
    uint64_t refused; /* asked to try again later: no fault, but the limit of what the server takes */
};

void report_add(struct report *report, const char *name, double value);
/* To what is there under this name. */
void report_add_fault(struct report *report, const char *name, uint64_t count);
bool report_ok(const struct report *report);
/* Appends to the file (NULL: not) and prints the row on stdout. */
void report_write(const struct report *report, const char *json_path);
void report_print_heading(void);

#endif
