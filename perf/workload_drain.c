/* perf/workload_drain.c - people come back: how fast they catch up with what was written while they were away.
 *
 * Rooms with one speaker, everybody else offline. The speakers send; --seconds later all others connect at once. On the native doors they
 * page through their streams from the SyncKey they had; with MQTT the broker has kept their sessions and sends. Every message must come
 * exactly once, in the order of its sender. The latency is one person's, from the first connect() to the last message. */
#include "perf/catchup.h"
#include "perf/traffic.h"
#include <stdio.h>

#define CATCH_UP_MAX_NS (120 * NS_PER_S)
#define SEND_MAX_S      300.0
#define QUIET_S         0.5 /* after the last message: what comes twice comes then */

struct drain {
    struct traffic *traffic;
    uint32_t waiting; /* people who have not caught up */
    uint64_t began_ns, pages, events, broken;
    struct histogram latency;
};

static struct drain *the_drain; /* the context of a session is its member */

static void one_caught_up(const struct session *session)
{
    the_drain->waiting--;
    histogram_add(&the_drain->latency, session->loop->now_ns - the_drain->began_ns);
}

/* ---- by pages ---- */

static void drain_on_ready(struct session *session)
{
    struct member *member = session->context;
    if (session->driver->call == NULL) {
        if (!session->resumed) the_drain->broken++;
        return;
    }
    catchup_begin(session, member->sync_key_start);
}

static void drain_finish(struct session *session)
{
    struct member *member = session->context;
    one_caught_up(session);
    session_close(session);
    member->session = NULL;
}

static void drain_on_answer(struct session *session, const struct answer *answer)
{
    uint64_t before = session->sync_key;
    enum catchup step = catchup_on_answer(session, answer);
    the_drain->pages++;
    the_drain->events += session->sync_key - before;
    the_drain->broken += step == CATCHUP_BROKEN;
    if (step != CATCHUP_MORE) drain_finish(session);
}

/* ---- by themselves ---- */

static bool has_all(const struct member *member)
{
    return member->arrivals[0].next == member->group->members[0].sender->next;
}

static void drain_on_message(struct session *session, const struct incoming *message)
{
    struct member *member = session->context;
    bool had_all = has_all(member);
    traffic_on_arrival(the_drain->traffic, member, message);
    if (session->driver->call == NULL && !had_all && has_all(member)) one_caught_up(session);
}

static void drain_on_closed(struct session *session, const char *reason)
{
    struct member *member = session->context;
    member->session = NULL;
    if (the_drain->broken++ == 0) fprintf(stderr, "load: a session has ended: %s\n", reason);
    if (session->driver->call != NULL || !has_all(member)) the_drain->waiting--;
}

static const struct session_events drain_events = {
    .on_ready = drain_on_ready, .on_answer = drain_on_answer, .on_message = drain_on_message, .on_closed = drain_on_closed};

static void everybody_returns(struct bench *bench, struct drain *drain)
{
    const struct traffic_plan *plan = &drain->traffic->plan;
    the_drain = drain;
    drain->began_ns = perf_now_ns();
    for (size_t i = 0; i < (size_t)plan->groups * plan->members; i++) {
        struct member *member = &drain->traffic->members[i];
        if (member->sender != NULL) continue;
        struct login login = traffic_login(drain->traffic, member);
        drain->waiting++;
        member->session = session_open(bench->loop, bench->driver, &login, &drain_events, member);
    }
    while (drain->waiting > 0 && perf_now_ns() - drain->began_ns < CATCH_UP_MAX_NS) loop_turn(bench->loop, 10 * NS_PER_MS);
}

static void forget_sessions(struct bench *bench, const struct traffic *traffic)
{
    uint32_t count = 0, people = traffic->plan.groups * traffic->plan.members;
    struct login *logins = perf_alloc(people, sizeof *logins);
    for (uint32_t i = 0; i < people; i++)
        if (traffic->members[i].sender == NULL) logins[count++].user_id = traffic->members[i].user_id;
    session_forget_all(bench->loop, bench->driver, logins, count);
    free(logins);
}

static void report_drain(struct bench *bench, const struct drain *drain, uint64_t expected)
{
    const struct traffic *traffic = drain->traffic;
    struct report *report = bench->report;
    report->ack = &drain->latency;
    report->unit = "messages/s";
    report->refused = traffic->total.refused;
    if (bench->driver->call != NULL) report_add(report, "events", (double)drain->events);
    if (bench->driver->call != NULL) report_add(report, "pages", (double)drain->pages);
    traffic_report_faults(traffic, report);
    traffic_report_sessions(bench->loop, report);
    report_add_fault(report, "not_in_stream", expected > traffic->total.delivered ? expected - traffic->total.delivered : 0);
    if (!bench->loop->broker.plain) report_add_fault(report, "redelivered", traffic->total.redelivered);
    report_add_fault(report, "not_caught_up", drain->waiting);
    report_add_fault(report, "broken_pages", drain->broken);
}

void workload_drain(struct bench *bench)
{
    static struct drain drain;
    const struct options *options = bench->options;
    struct traffic_plan plan = {.groups = (uint32_t)options->groups,
                                .members = (uint32_t)options->members,
                                .senders = 1,
                                .window = (uint32_t)options->window,
                                .body_bytes = (uint32_t)options->body_bytes,
                                .messages_max = options->messages * options->groups,
                                .messages_each = (uint32_t)options->messages,
                                .readers_offline = true};
    drain = (struct drain){.traffic = traffic_create(bench, &plan)};
    traffic_run(drain.traffic, SEND_MAX_S, false);
    traffic_settle(drain.traffic);
    uint64_t expected = drain.traffic->total.acked * (plan.members - 1);
    if (drain.traffic->total.acked < plan.messages_max) perf_die("the messages to catch up with could not be sent");
    loop_turn_for(bench->loop, options->seconds);
    struct spent before = process_spent((int)options->server_pid);
    everybody_returns(bench, &drain);
    struct spent after = process_spent((int)options->server_pid);
    bench->report->cost = process_cost(&before, &after);
    bench->report->messages = drain.traffic->total.delivered;
    bench->report->value = (double)drain.traffic->total.delivered / bench->report->cost.seconds;
    snprintf(bench->report->setting, sizeof bench->report->setting, "%s, %u people x %llu messages", bench->report->protocol,
             plan.groups * (plan.members - 1), (unsigned long long)options->messages);
    loop_turn_for(bench->loop, QUIET_S);
    report_drain(bench, &drain, expected);
    traffic_close(drain.traffic);
    if (bench->driver->call == NULL) forget_sessions(bench, drain.traffic);
    traffic_destroy(drain.traffic);
}
