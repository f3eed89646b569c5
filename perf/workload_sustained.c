/* perf/workload_sustained.c - pairs write to each other until --messages are acknowledged, and every --interval seconds a line says what
 * that interval cost: the store has more in it each time.
 *
 * Closed loop, or open with --rate. With --cold N there are N rooms that nobody writes to, and for every hundred messages somebody
 * reads in one of them. */
#include "perf/cold.h"
#include "perf/curve.h"
#include "perf/traffic.h"
#include <stdio.h>

#define FOREVER_S       1e6
#define MESSAGES_A_READ 100

struct sustained {
    struct traffic *traffic;
    struct cold *cold;
    struct curve curve;
    struct histogram ack, delivery; /* of all intervals */
    uint64_t reads;
};

static void read_when_due(void *context, struct sender *sender, uint32_t sequence, const struct answer *answer)
{
    struct sustained *sustained = context;
    (void)sender, (void)sequence, (void)answer;
    for (; sustained->reads < sustained->traffic->total.acked / MESSAGES_A_READ; sustained->reads++) cold_read(sustained->cold);
}

static void end_interval(void *context)
{
    static struct histogram reads;
    struct sustained *sustained = context;
    struct traffic *traffic = sustained->traffic;
    if (sustained->cold != NULL) cold_take_latencies(sustained->cold, &reads);
    curve_add(&sustained->curve, traffic->total.acked, &traffic->ack_latency, &traffic->delivery_latency, &reads);
    histogram_merge(&sustained->ack, &traffic->ack_latency);
    histogram_merge(&sustained->delivery, &traffic->delivery_latency);
    memset(&traffic->ack_latency, 0, sizeof traffic->ack_latency);
    memset(&traffic->delivery_latency, 0, sizeof traffic->delivery_latency);
}

static void run(struct sustained *sustained, const struct options *options, struct report *report)
{
    struct traffic *traffic = sustained->traffic;
    traffic->context = sustained;
    traffic->on_tick = end_interval;
    traffic->tick_ns = (uint64_t)(options->interval_seconds * (double)NS_PER_S);
    if (sustained->cold != NULL) traffic->on_acked = read_when_due;
    curve_begin(&sustained->curve, options->curve, (int)options->server_pid);
    struct spent before = process_spent((int)options->server_pid);
    traffic_run(traffic, options->rate > 0 ? (double)options->messages / options->rate : FOREVER_S, true);
    struct spent after = process_spent((int)options->server_pid);
    report->cost = process_cost(&before, &after);
    report->messages = traffic->measured.acked;
    traffic_settle(traffic);
    end_interval(sustained);
}

void workload_sustained(struct bench *bench)
{
    static struct sustained sustained;
    const struct options *options = bench->options;
    struct report *report = bench->report;
    struct traffic_plan plan = {.groups = (uint32_t)options->groups,
                                .members = 2,
                                .senders = 2,
                                .window = (uint32_t)options->window,
                                .body_bytes = (uint32_t)options->body_bytes,
                                .rate = options->rate,
                                .messages_max = options->messages,
                                .direct = true};
    if (options->curve == NULL) perf_die("sustained needs --curve FILE");
    if (options->interval_seconds < 0.1) perf_die("--interval must be at least 0.1");
    if (options->cold > 0) sustained.cold = cold_make(bench, (uint32_t)options->cold, 2 * plan.groups, plan.body_bytes);
    sustained.traffic = traffic_create(bench, &plan);
    run(&sustained, options, report);
    snprintf(report->setting, sizeof report->setting, "%s, %u pairs, %llu messages, %llu cold", report->protocol, plan.groups,
             (unsigned long long)options->messages, (unsigned long long)options->cold);
    report->ack = &sustained.ack;
    report->delivery = &sustained.delivery;
    report->value = (double)report->messages / report->cost.seconds;
    report->unit = "messages/s";
    report->refused = sustained.traffic->total.refused;
    if (plan.rate > 0) report_add(report, "unsent", (double)sustained.traffic->unsent);
    traffic_report_faults(sustained.traffic, report);
    traffic_report_sessions(bench->loop, report);
    if (sustained.cold != NULL) report_add_fault(report, "wrong_pages", cold_faults(sustained.cold));
    traffic_destroy(sustained.traffic);
    cold_destroy(sustained.cold);
}
