/* perf/workload.h - one measurement: what it is given and how it answers.
 * A workload fills a report and returns; load.c writes it. Whatever it opened it closes. */
#ifndef PERF_WORKLOAD_H
#define PERF_WORKLOAD_H

#include "perf/report.h"
#include "perf/session.h"

struct options {
    const char *server, *data_dir, *users_file, *protocol, *tls, *broker, *name, *note, *user, *password, *ledger, *json, *curve;
    uint64_t groups, members, window, connections, subscribe, messages, body_bytes, qos, across, cold, server_pid;
    double rate, seconds, warmup_seconds, interval_seconds, took_ms;
};

struct bench {
    const struct options *options;
    const struct driver *driver;
    struct loop *loop;
    struct users *users;
    struct report *report;
};

void workload_pair(struct bench *bench);
void workload_fanout(struct bench *bench);
void workload_chatter(struct bench *bench);
void workload_mixed(struct bench *bench);
void workload_rate(struct bench *bench);
void workload_connect(struct bench *bench);
void workload_idle(struct bench *bench);
void workload_drain(struct bench *bench);
void workload_crash(struct bench *bench);
void workload_restart(struct bench *bench);
void workload_sustained(struct bench *bench);

#endif
