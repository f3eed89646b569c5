/* perf/workload_messages.c - messages per second and their latencies: pairs, rooms with one speaker, rooms where all speak, and a
 * fixed rate. All four are one shape: warm up, measure, let everything arrive, look for faults. */
#include "perf/traffic.h"
#include <stdio.h>

static void measure(struct bench *bench, const struct traffic_plan *plan, bool count_deliveries)
{
    struct report *report = bench->report;
    struct traffic *traffic = traffic_create(bench, plan);
    traffic_run(traffic, bench->options->warmup_seconds, false);
    struct spent before = process_spent((int)bench->options->server_pid);
    traffic_run(traffic, bench->options->seconds, true);
    struct spent after = process_spent((int)bench->options->server_pid);
    traffic_settle(traffic);
    report->cost = process_cost(&before, &after);
    report->messages = traffic->measured.delivered;
    double elapsed = report->cost.seconds;
    static struct histogram ack, delivery;
    ack = traffic->ack_latency;
    delivery = traffic->delivery_latency;
    report->ack = &ack;
    report->delivery = &delivery;
    report->value = (double)(count_deliveries ? traffic->measured.delivered : traffic->measured.acked) / elapsed;
    report->unit = count_deliveries ? "deliveries/s" : "messages/s";
    report_add(report, "messages_per_s", (double)traffic->measured.acked / elapsed);
    report_add(report, "deliveries_per_s", (double)traffic->measured.delivered / elapsed);
    report_add(report, "echoes_per_s", (double)traffic->measured.echoed / elapsed);
    report->refused = traffic->total.refused;
    if (plan->rate > 0) report_add(report, "unsent", (double)traffic->unsent);
    traffic_report_faults(traffic, report);
    traffic_report_sessions(bench->loop, report);
    traffic_destroy(traffic);
}

static struct traffic_plan plan_of(const struct options *options)
{
    return (struct traffic_plan){.groups = (uint32_t)options->groups,
                                 .members = (uint32_t)options->members,
                                 .window = (uint32_t)options->window,
                                 .body_bytes = (uint32_t)options->body_bytes};
}

void workload_pair(struct bench *bench)
{
    struct traffic_plan plan = plan_of(bench->options);
    plan.members = plan.senders = 2;
    plan.direct = true;
    plan.across = bench->options->across != 0;
    snprintf(bench->report->setting, sizeof bench->report->setting, "%s, %u pairs%s, window %u", bench->report->protocol, plan.groups,
             plan.across ? " across shards" : "", plan.window);
    measure(bench, &plan, false);
}

void workload_fanout(struct bench *bench)
{
    struct traffic_plan plan = plan_of(bench->options);
    plan.senders = 1;
    snprintf(bench->report->setting, sizeof bench->report->setting, "%s, %u x %u members, window %u", bench->report->protocol,
             plan.groups, plan.members, plan.window);
    measure(bench, &plan, true);
}

void workload_chatter(struct bench *bench)
{
    struct traffic_plan plan = plan_of(bench->options);
    plan.senders = plan.members;
    snprintf(bench->report->setting, sizeof bench->report->setting, "%s, %u x %u all send, window %u", bench->report->protocol,
             plan.groups, plan.members, plan.window);
    measure(bench, &plan, true);
}

void workload_rate(struct bench *bench)
{
    struct traffic_plan plan = plan_of(bench->options);
    plan.direct = plan.members == 2;
    plan.senders = plan.direct ? 2 : 1;
    plan.rate = bench->options->rate;
    plan.across = plan.direct && bench->options->across != 0;
    if (plan.rate <= 0) perf_die("rate needs --rate above 0");
    snprintf(bench->report->setting, sizeof bench->report->setting, "%s, %u x %u%s, %.0f/s", bench->report->protocol, plan.groups,
             plan.members, plan.across ? " across shards" : "", plan.rate);
    measure(bench, &plan, false);
}
