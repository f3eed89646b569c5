/* perf/workload_connections.c - what connections cost: how many can log in per second, and what one holds while it is idle.
 *
 * connect: a number of clients, each in a loop of its own: connect, TLS if asked for, log in, close, again. The latency is from connect()
 * to the answer of the login. With --tls resumed each client shows the ticket of its last connection. Several people take turns at one
 * client, so that nobody comes back before the server has seen him go.
 * idle: the server's memory before and after many people are online and silent. */
#include "perf/workload.h"
#include <stdio.h>

#define PEOPLE_EACH      4
#define DRAIN_TIMEOUT_NS (10 * NS_PER_S)

/* ---- connect ---- */

struct client {
    struct connect_run *run;
    uint32_t index, turn;
    uint64_t began_ns;
    tls_ticket ticket;
};

struct connect_run {
    struct bench *bench;
    uint64_t logged_in, measured, failed, not_resumed;
    uint32_t client_count, people_each;
    bool measuring, stopping, resumes;
    struct histogram latency;
};

static void client_begin(struct client *client);

static void client_on_ready(struct session *session)
{
    struct client *client = session->context;
    struct connect_run *run = client->run;
    run->logged_in++;
    if (run->measuring) {
        run->measured++;
        run->not_resumed += run->resumes && client->turn > 1 && !tls_was_resumed(session->tls);
        histogram_add(&run->latency, run->bench->loop->now_ns - client->began_ns);
    }
    session_close(session);
    if (!run->stopping) client_begin(client);
}

static void client_on_closed(struct session *session, const char *reason)
{
    struct client *client = session->context;
    if (client->run->failed++ == 0) fprintf(stderr, "load: a login failed: %s\n", reason);
}

static const struct session_events client_events = {.on_ready = client_on_ready, .on_closed = client_on_closed};

static void client_begin(struct client *client)
{
    struct bench *bench = client->run->bench;
    client->began_ns = perf_now_ns();
    const struct connect_run *run = client->run;
    uint32_t person = client->index + client->turn++ % run->people_each * run->client_count;
    struct login login = {.user_id = bench->users->ids[person], .ticket = run->resumes ? &client->ticket : NULL};
    (void)session_open(bench->loop, bench->driver, &login, &client_events, client);
}

static void finish_clients(struct connect_run *run)
{
    struct loop *loop = run->bench->loop;
    uint64_t deadline = perf_now_ns() + DRAIN_TIMEOUT_NS;
    run->stopping = true;
    while (loop->session_count > 0 && perf_now_ns() < deadline) loop_turn(loop, 10 * NS_PER_MS);
}

void workload_connect(struct bench *bench)
{
    static struct connect_run run;
    const struct options *options = bench->options;
    struct report *report = bench->report;
    uint32_t count = (uint32_t)options->connections;
    struct client *clients = perf_alloc(count, sizeof *clients);
    run = (struct connect_run){.bench = bench, .client_count = count, .people_each = PEOPLE_EACH};
    run.resumes = strcmp(options->tls, "resumed") == 0;
    users_need(bench->users, bench->loop, count * run.people_each);
    for (uint32_t i = 0; i < count; i++) {
        clients[i] = (struct client){.run = &run, .index = i};
        client_begin(&clients[i]);
    }
    loop_turn_for(bench->loop, options->warmup_seconds);
    struct spent before = process_spent((int)options->server_pid);
    run.measuring = true;
    loop_turn_for(bench->loop, options->seconds);
    run.measuring = false;
    struct spent after = process_spent((int)options->server_pid);
    finish_clients(&run);
    snprintf(report->setting, sizeof report->setting, "%s, %u at a time%s", bench->report->protocol, count,
             bench->loop->tls == NULL ? "" : run.resumes ? ", resumed" : ", full handshakes");
    report->cost = process_cost(&before, &after);
    report->messages = run.measured;
    report->value = (double)run.measured / report->cost.seconds;
    report->unit = "logins/s";
    report->ack = &run.latency;
    report->checked = run.logged_in;
    report_add_fault(report, "failed", run.failed);
    report_add_fault(report, "unanswered", bench->loop->session_count);
    if (run.resumes) report_add_fault(report, "not_resumed", run.not_resumed);
    for (uint32_t i = 0; i < count; i++) tls_ticket_free(&clients[i].ticket);
    free(clients);
}

/* ---- idle ---- */

static uint64_t grown_per(uint64_t before, uint64_t after, uint32_t count)
{
    return after > before ? (after - before) / count : 0;
}

void workload_idle(struct bench *bench)
{
    const struct options *options = bench->options;
    struct report *report = bench->report;
    uint32_t count = (uint32_t)options->connections;
    struct session **sessions = perf_alloc(count, sizeof *sessions);
    struct login *logins = perf_alloc(count, sizeof *logins);
    users_need(bench->users, bench->loop, count);
    loop_turn_for(bench->loop, options->warmup_seconds);
    struct memory before = process_memory((int)options->server_pid);
    for (uint32_t i = 0; i < count; i++)
        logins[i] = (struct login){.user_id = bench->users->ids[i], .hears_direct = options->subscribe != 0};
    session_open_all(bench->loop, bench->driver, logins, count, sessions);
    loop_turn_for(bench->loop, options->warmup_seconds);
    struct memory after = process_memory((int)options->server_pid);
    struct spent idle_from = process_spent((int)options->server_pid);
    loop_turn_for(bench->loop, options->seconds);
    struct spent idle_to = process_spent((int)options->server_pid);
    snprintf(report->setting, sizeof report->setting, "%s, %u connections%s", bench->report->protocol, count,
             options->subscribe != 0 ? ", subscribed" : ", not subscribed");
    report->value = (double)grown_per(before.resident_bytes, after.resident_bytes, count);
    report->unit = "bytes/connection";
    report->cost = process_cost(&idle_from, &idle_to);
    report->checked = bench->loop->counters.ready;
    report_add(report, "server_rss_before", (double)before.resident_bytes);
    report_add(report, "server_rss_after", (double)after.resident_bytes);
    report_add(report, "kernel_bytes_both_ends", (double)grown_per(before.kernel_bytes, after.kernel_bytes, count));
    report_add_fault(report, "disconnected", bench->loop->counters.closed_by_server);
    for (uint32_t i = 0; i < count && bench->loop->counters.closed_by_server == 0; i++) session_close(sessions[i]);
    loop_turn(bench->loop, 0);
    free(sessions);
    free(logins);
}
