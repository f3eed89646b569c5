/* perf/traffic.c - see the header.
 * Happy path: create -> run (warm-up) -> run (measured) -> settle -> missing, faults -> destroy. */
#include "perf/traffic.h"
#include <stdio.h>

#define PENDING_MIN        128 /* messages under way of one sender in an open loop; the server takes 256 requests */
#define SETTLE_PATIENCE_NS (5 * NS_PER_S)
#define RETRY_AFTER_MS_MIN 10
#define CLIENT_ID_SIZE     16
#define LOGIN_SETTLE_S     0.5 /* the server looks up the large rooms of those who logged in after its answer */

/* ---- sending ---- */

bool traffic_may_send(const struct traffic *traffic, const struct sender *sender)
{
    return !traffic->stopping && sender->resume_ns == 0 && sender->member->session != NULL &&
           sender->next - sender->oldest < traffic->plan.window &&
           (traffic->plan.messages_each == 0 || sender->next <= traffic->plan.messages_each);
}

static void put_hex(uint8_t *at, uint32_t value)
{
    for (uint32_t i = 0; i < 8; i++) at[i] = (uint8_t)"0123456789abcdef"[value >> (28 - 4 * i) & 15];
}

void traffic_send(struct traffic *traffic, struct sender *sender, uint64_t intended_ns)
{
    static uint8_t body[STAMP_BODY_MAX];
    uint8_t client_id[CLIENT_ID_SIZE];
    struct member *member = sender->member;
    uint32_t sequence = sender->next++;
    sender->pending[sequence & traffic->pending_mask] =
        (struct pending){.intended_ns = intended_ns, .readers_left = traffic->online_readers};
    put_hex(client_id, traffic->run);
    put_hex(client_id + 8, sequence);
    struct stamp stamp = {traffic->run, member->group->index, member->index, sequence, intended_ns};
    stamp_write(&stamp, body, traffic->plan.body_bytes);
    struct outgoing message = {.id = traffic->plan.id_base + sequence,
                               .room_id = member->group->room_id,
                               .to_user_id = member->peer_id,
                               .client_msg_id = {client_id, sizeof client_id},
                               .body = {body, traffic->plan.body_bytes}};
    member->session->driver->send(member->session, &message);
    traffic->total.sent++;
    traffic->measured.sent += traffic->measuring;
}

static void sender_fill_window(struct traffic *traffic, struct sender *sender)
{
    if (traffic->plan.rate > 0) return;
    if (traffic->on_space != NULL) {
        traffic->on_space(traffic->context, sender);
        return;
    }
    while (traffic_may_send(traffic, sender)) traffic_send(traffic, sender, traffic->loop->now_ns);
}

/* Moves past what is finished. */
static void sender_advance(struct traffic *traffic, struct sender *sender)
{
    while (sender->oldest < sender->next) {
        const struct pending *pending = &sender->pending[sender->oldest & traffic->pending_mask];
        if (!pending->acked || pending->readers_left > 0) break;
        sender->oldest++;
    }
    sender_fill_window(traffic, sender);
}

/* In an open loop a message that arrives after the end is timed too, or the slowest would be left out. */
static bool is_timed(const struct traffic *traffic, uint64_t intended_ns)
{
    if (traffic->plan.rate <= 0) return traffic->measuring;
    return intended_ns >= traffic->due_from_ns && intended_ns < traffic->due_until_ns;
}

static struct pending *sender_pending(const struct traffic *traffic, const struct sender *sender, uint64_t sequence)
{
    if (sequence < sender->oldest || sequence >= sender->next) return NULL;
    return &sender->pending[sequence & traffic->pending_mask];
}

void traffic_resume_paused(struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->sender_count && traffic->paused_count > 0; i++) {
        struct sender *sender = &traffic->senders[i];
        if (sender->resume_ns == 0 || sender->resume_ns > traffic->loop->now_ns) continue;
        sender->resume_ns = 0;
        traffic->paused_count--;
        sender_fill_window(traffic, sender);
    }
}

/* ---- what comes back ---- */

/* A refused message is as if it had never been sent: nobody waits for it. */
static void on_refused(struct traffic *traffic, struct sender *sender, struct pending *pending, const struct answer *answer)
{
    if (!answer->retryable && traffic->total.rejected++ == 0)
        fprintf(stderr, "load: a message was refused: %.*s\n", (int)answer->reason.len, (const char *)answer->reason.data);
    traffic->total.refused++;
    traffic->measured.refused += traffic->measuring;
    *pending = (struct pending){.acked = true};
    if (sender->resume_ns == 0) traffic->paused_count++;
    sender->resume_ns = traffic->loop->now_ns + (answer->retry_after_ms + RETRY_AFTER_MS_MIN) * NS_PER_MS;
}

void traffic_on_answer(struct traffic *traffic, struct member *member, const struct answer *answer)
{
    struct sender *sender = member->sender;
    uint64_t sequence = answer->id - traffic->plan.id_base;
    struct pending *pending = sender == NULL ? NULL : sender_pending(traffic, sender, sequence);
    if (pending == NULL || pending->acked) {
        traffic->total.duplicated++;
        return;
    }
    if (answer->refused) {
        on_refused(traffic, sender, pending, answer);
    } else {
        pending->acked = true;
        traffic->total.acked++;
        traffic->measured.acked += traffic->measuring;
        if (is_timed(traffic, pending->intended_ns))
            histogram_add(&traffic->ack_latency, traffic->loop->now_ns - pending->intended_ns);
        if (traffic->on_acked != NULL) traffic->on_acked(traffic->context, sender, (uint32_t)sequence, answer);
    }
    sender_advance(traffic, sender);
}

static void on_delivered(struct traffic *traffic, const struct member *reader, const struct stamp *stamp)
{
    struct sender *sender = reader->group->members[stamp->sender].sender;
    if (sender->member == reader) {
        traffic->total.echoed++;
        traffic->measured.echoed += traffic->measuring;
        return;
    }
    traffic->total.delivered++;
    traffic->measured.delivered += traffic->measuring;
    if (is_timed(traffic, stamp->intended_ns) && stamp->intended_ns >= reader->since_ns)
        histogram_add(&traffic->delivery_latency, traffic->loop->now_ns - stamp->intended_ns);
    struct pending *pending = sender_pending(traffic, sender, stamp->sequence);
    if (pending == NULL || pending->readers_left == 0) return; /* to a reader that was not waited for */
    pending->readers_left--;
    if (pending->readers_left == 0) sender_advance(traffic, sender);
}

void traffic_on_arrival(struct traffic *traffic, struct member *member, const struct incoming *message)
{
    struct stamp stamp;
    enum stamp_read read = stamp_read(message->body, traffic->run, traffic->plan.body_bytes, &stamp);
    if (read == STAMP_OTHER_RUN) return;
    if (read == STAMP_CORRUPT || stamp.group != member->group->index || stamp.sender >= traffic->plan.senders ||
        (message->sender_id != 0 && message->sender_id != member->group->members[stamp.sender].user_id)) {
        traffic->total.corrupted++;
        return;
    }
    enum arrival arrival = arrivals_add(&member->arrivals[stamp.sender], stamp.sequence);
    traffic->total.redelivered += arrival == ARRIVAL_TWICE && message->repeated;
    traffic->total.duplicated += arrival == ARRIVAL_TWICE && !message->repeated;
    traffic->total.reordered += arrival == ARRIVAL_LATE;
    if (arrival != ARRIVAL_TWICE) on_delivered(traffic, member, &stamp);
}

/* ---- sessions of its own ---- */

static void on_session_answer(struct session *session, const struct answer *answer)
{
    struct member *member = session->context;
    traffic_on_answer(member->group->traffic, member, answer);
}

static void on_session_message(struct session *session, const struct incoming *message)
{
    struct member *member = session->context;
    traffic_on_arrival(member->group->traffic, member, message);
}

static void on_session_closed(struct session *session, const char *reason)
{
    struct member *member = session->context;
    member->session = NULL;
    if (!member->group->traffic->expects_end && session->loop->counters.closed_by_server == 1)
        fprintf(stderr, "load: a session has ended: %s\n", reason);
}

static const struct session_events traffic_events = {
    .on_answer = on_session_answer, .on_message = on_session_message, .on_closed = on_session_closed};

/* ---- set-up ---- */

static void link_people(struct traffic *traffic, const uint64_t *ids)
{
    const struct traffic_plan *plan = &traffic->plan;
    for (uint32_t g = 0; g < plan->groups; g++) {
        struct traffic_group *group = &traffic->groups[g];
        *group = (struct traffic_group){.traffic = traffic, .members = &traffic->members[(size_t)g * plan->members], .index = g};
        for (uint32_t m = 0; m < plan->members; m++) {
            size_t place = (size_t)g * plan->members + m;
            struct member *member = &group->members[m];
            *member = (struct member){.group = group, .index = m, .user_id = ids[place]};
            member->arrivals = &traffic->arrivals[place * plan->senders];
            if (m >= plan->senders) continue;
            member->sender = &traffic->senders[(size_t)g * plan->senders + m];
            *member->sender = (struct sender){.member = member, .next = 1, .oldest = 1};
            member->sender->pending = perf_alloc(traffic->pending_mask + 1, sizeof(struct pending));
        }
    }
    for (uint32_t g = 0; plan->direct && g < plan->groups; g++)
        for (uint32_t m = 0; m < 2; m++) traffic->groups[g].members[m].peer_id = traffic->groups[g].members[1 - m].user_id;
}

/* By people who are online alone, or every invitation would be pushed to everybody invited before. */
static void make_rooms(struct traffic *traffic)
{
    const struct traffic_plan *plan = &traffic->plan;
    struct login *logins = perf_alloc(plan->groups, sizeof *logins);
    struct session **sessions = perf_alloc(plan->groups, sizeof *sessions);
    for (uint32_t g = 0; g < plan->groups; g++) logins[g].user_id = traffic->groups[g].members[0].user_id;
    session_open_all(traffic->loop, &driver_tcp, logins, plan->groups, sessions);
    uint64_t *ids = perf_alloc(plan->members, sizeof *ids);
    for (uint32_t g = 0; g < plan->groups; g++) {
        char name[48];
        for (uint32_t m = 1; m < plan->members; m++) ids[m - 1] = traffic->groups[g].members[m].user_id;
        snprintf(name, sizeof name, "bench-%08x-%u", traffic->run, g);
        traffic->groups[g].room_id = call_create_room(sessions[g], name, ids, plan->members - 1);
    }
    for (uint32_t g = 0; g < plan->groups; g++) session_close(sessions[g]);
    free(ids);
    free(sessions);
    free(logins);
}

/* A plain broker's rooms need only names that no other run used. */
static void name_rooms(struct traffic *traffic)
{
    for (uint32_t g = 0; g < traffic->plan.groups; g++) traffic->groups[g].room_id = ((uint64_t)traffic->run << 20) + g;
}

struct login traffic_login(const struct traffic *traffic, const struct member *member)
{
    return (struct login){.user_id = member->user_id,
                          .room_id = member->group->room_id,
                          .hears_direct = traffic->plan.direct,
                          .persistent = traffic->plan.readers_offline && member->sender == NULL};
}

static void log_in(struct traffic *traffic, struct bench *bench)
{
    const struct traffic_plan *plan = &traffic->plan;
    uint32_t count = plan->groups * plan->members;
    struct login *logins = perf_alloc(count, sizeof *logins);
    struct session **sessions = perf_alloc(count, sizeof *sessions);
    for (uint32_t i = 0; i < count; i++) logins[i] = traffic_login(traffic, &traffic->members[i]);
    session_open_all(bench->loop, bench->driver, logins, count, sessions);
    for (uint32_t i = 0; i < count; i++) {
        struct member *member = &traffic->members[i];
        member->session = sessions[i];
        member->sync_key_start = member->session->sync_key;
        member->session->context = member;
        member->session->events = &traffic_events;
        if (!plan->readers_offline || member->sender != NULL) continue;
        session_close(member->session);
        member->session = NULL;
    }
    free(sessions);
    free(logins);
    loop_turn_for(bench->loop, LOGIN_SETTLE_S);
}

static uint32_t random_run(void)
{
    uint64_t now_ns = perf_now_ns();
    return (uint32_t)((now_ns * 0x9e3779b97f4a7c15ull) >> 32);
}

struct traffic *traffic_prepare(struct bench *bench, const struct traffic_plan *plan)
{
    size_t people = (size_t)plan->groups * plan->members;
    struct traffic *traffic = perf_alloc(1, sizeof *traffic);
    traffic->plan = *plan;
    traffic->loop = bench->loop;
    traffic->run = random_run();
    traffic->sender_count = plan->groups * plan->senders;
    traffic->online_readers = (plan->readers_offline ? plan->senders : plan->members) - 1;
    if (plan->rate > 0) traffic->plan.window = PENDING_MIN;
    uint32_t slots = 1;
    while (slots < traffic->plan.window) slots *= 2;
    traffic->pending_mask = slots - 1;
    traffic->groups = perf_alloc(plan->groups, sizeof *traffic->groups);
    traffic->members = perf_alloc(people, sizeof *traffic->members);
    traffic->senders = perf_alloc(traffic->sender_count, sizeof *traffic->senders);
    traffic->arrivals = perf_alloc(people * plan->senders, sizeof *traffic->arrivals);
    for (size_t i = 0; i < people * plan->senders; i++) traffic->arrivals[i].next = 1;
    if (plan->across) {
        uint64_t *ids = users_across(bench->users, bench->loop, plan->groups);
        link_people(traffic, ids);
        free(ids);
    } else {
        users_need(bench->users, bench->loop, (uint32_t)people);
        link_people(traffic, bench->users->ids);
    }
    if (!plan->direct && bench->loop->broker.plain) name_rooms(traffic);
    else if (!plan->direct) make_rooms(traffic);
    return traffic;
}

struct traffic *traffic_create(struct bench *bench, const struct traffic_plan *plan)
{
    struct traffic *traffic = traffic_prepare(bench, plan);
    log_in(traffic, bench);
    return traffic;
}

void traffic_close(struct traffic *traffic)
{
    for (size_t i = 0; i < (size_t)traffic->plan.groups * traffic->plan.members; i++) {
        if (traffic->members[i].session != NULL) session_close(traffic->members[i].session);
        traffic->members[i].session = NULL;
    }
    loop_turn(traffic->loop, 0);
}

void traffic_destroy(struct traffic *traffic)
{
    traffic_close(traffic);
    for (uint32_t i = 0; i < traffic->sender_count; i++) free(traffic->senders[i].pending);
    free(traffic->arrivals);
    free(traffic->senders);
    free(traffic->members);
    free(traffic->groups);
    free(traffic);
}

/* ---- running ---- */

static bool messages_done(const struct traffic *traffic)
{
    return traffic->plan.messages_max > 0 && traffic->total.acked >= traffic->plan.messages_max;
}

static void turn(struct traffic *traffic, uint64_t wait_ns)
{
    loop_turn(traffic->loop, wait_ns);
    if (traffic->paused_count > 0) traffic_resume_paused(traffic);
    if (traffic->on_tick == NULL || traffic->loop->now_ns < traffic->next_tick_ns) return;
    while (traffic->next_tick_ns <= traffic->loop->now_ns) traffic->next_tick_ns += traffic->tick_ns;
    traffic->on_tick(traffic->context);
}

static void run_closed(struct traffic *traffic, uint64_t end_ns)
{
    for (uint32_t i = 0; i < traffic->sender_count; i++) sender_fill_window(traffic, &traffic->senders[i]);
    while (traffic->loop->now_ns < end_ns && !messages_done(traffic) && traffic->loop->counters.closed_by_server == 0)
        turn(traffic, 10 * NS_PER_MS);
}

struct schedule {
    uint64_t start_ns, count;
    double interval_ns;
};

/* Sends what is due; returns the time of the first message that is not. */
static uint64_t send_due(struct traffic *traffic, const struct schedule *schedule, uint64_t *due)
{
    for (; *due < schedule->count; (*due)++) {
        uint64_t due_ns = schedule->start_ns + (uint64_t)((double)*due * schedule->interval_ns);
        struct sender *sender = &traffic->senders[*due % traffic->sender_count];
        if (due_ns > traffic->loop->now_ns) return due_ns;
        if (!traffic_may_send(traffic, sender)) break;
        traffic_send(traffic, sender, due_ns);
    }
    return traffic->loop->now_ns + NS_PER_MS;
}

/* Sleeps between two messages: a generator that spins keeps the kernel's own threads from its core, and with them the completions of
 * the disk that the server waits for. What the timer is late counts as latency; it is some tens of microseconds. */
static void run_open(struct traffic *traffic, uint64_t end_ns)
{
    uint64_t start_ns = traffic->loop->now_ns, due = 0;
    struct schedule schedule = {.start_ns = start_ns, .interval_ns = (double)NS_PER_S / traffic->plan.rate};
    schedule.count = (uint64_t)((double)(end_ns - start_ns) / schedule.interval_ns);
    while (traffic->loop->now_ns < end_ns && traffic->loop->counters.closed_by_server == 0) {
        uint64_t next_ns = send_due(traffic, &schedule, &due), now_ns = perf_now_ns();
        turn(traffic, next_ns > now_ns ? next_ns - now_ns : 0);
    }
    if (traffic->measuring) traffic->unsent = schedule.count - due;
}

void traffic_run(struct traffic *traffic, double seconds, bool measure)
{
    traffic->loop->now_ns = perf_now_ns();
    uint64_t end_ns = traffic->loop->now_ns + (uint64_t)(seconds * (double)NS_PER_S);
    traffic->stopping = false;
    traffic->measuring = measure;
    traffic->next_tick_ns = traffic->loop->now_ns + traffic->tick_ns;
    if (measure) traffic->due_from_ns = traffic->loop->now_ns;
    if (measure) traffic->due_until_ns = end_ns;
    if (traffic->plan.rate > 0) run_open(traffic, end_ns);
    else run_closed(traffic, end_ns);
    traffic->measuring = false;
}

static bool under_way(const struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->sender_count; i++)
        if (traffic->senders[i].oldest < traffic->senders[i].next) return true;
    return false;
}

void traffic_settle(struct traffic *traffic)
{
    uint64_t last = 0, since_ns = perf_now_ns();
    traffic->stopping = true;
    while (under_way(traffic) && perf_now_ns() - since_ns < SETTLE_PATIENCE_NS) {
        loop_turn(traffic->loop, 10 * NS_PER_MS);
        uint64_t progress = traffic->total.acked + traffic->total.delivered + traffic->total.refused;
        if (progress != last) since_ns = perf_now_ns();
        last = progress;
    }
}

struct traffic_missing traffic_missing(const struct traffic *traffic)
{
    struct traffic_missing missing = {0};
    for (uint32_t i = 0; i < traffic->sender_count; i++) {
        const struct sender *sender = &traffic->senders[i];
        for (uint32_t sequence = sender->oldest; sequence < sender->next; sequence++) {
            const struct pending *pending = &sender->pending[sequence & traffic->pending_mask];
            missing.unacknowledged += !pending->acked;
            if (pending->acked) missing.lost += pending->readers_left;
        }
    }
    return missing;
}

void traffic_report_faults(const struct traffic *traffic, struct report *report)
{
    struct traffic_missing missing = traffic_missing(traffic);
    report->checked += traffic->total.delivered + traffic->total.echoed;
    report->redelivered += traffic->total.redelivered;
    report_add_fault(report, "lost", missing.lost);
    report_add_fault(report, "unacknowledged", missing.unacknowledged);
    report_add_fault(report, "duplicated", traffic->total.duplicated);
    report_add_fault(report, "reordered", traffic->total.reordered);
    report_add_fault(report, "corrupted", traffic->total.corrupted);
    report_add_fault(report, "rejected", traffic->total.rejected);
}

void traffic_report_sessions(const struct loop *loop, struct report *report)
{
    const struct loop_counters *counters = &loop->counters;
    report_add_fault(report, "stream_holes", counters->stream_holes);
    report_add_fault(report, "behind", counters->behind);
    report_add_fault(report, "disconnected", counters->closed_by_server);
}
