/* perf/workload_mixed.c - everything at once: --groups rooms of --members. Each person keeps --window messages under way; four of five
 * go to a partner, the fifth to the room. Every second one person in a hundred leaves, is away for a tenth of a second, comes back and
 * catches up (native: login and sync; MQTT: the session the broker kept). Messages of one person to partner and room are two orders,
 * each checked.
 *
 *   HERE -> FINISHING (sends no more, waits for acknowledgements) -> LEAVING -> AWAY -> RETURNING (logs in, catches up) -> HERE
 *
 * A message to somebody who is away stays under way until he has caught up: that holds its sender up, as it is defined everywhere
 * here. What was sent to him before he was back is checked but not timed. */
#include "perf/catchup.h"
#include "perf/traffic.h"
#include <stdio.h>

#define ROOM_EVERY         5u
#define ROOM_ID_BASE       (1ull << 32)
#define LEAVING_PER_SECOND 0.01 /* of all people */
#define AWAY_NS            (100 * NS_PER_MS)
#define SETTLE_PATIENCE_NS (10 * NS_PER_S)
#define SETTLE_BEFORE_S    0.5

enum whereabouts { HERE, FINISHING, LEAVING, AWAY, RETURNING };

struct person {
    struct session *session;
    uint32_t index, sent, unacknowledged;
    enum whereabouts whereabouts;
    uint64_t sync_key, back_ns;
};

struct mixed {
    struct bench *bench;
    struct traffic *direct, *rooms; /* the same people in the same order in both */
    struct person *people;
    struct person **away; /* ring, in the order of their return */
    uint32_t count, window, next_to_leave, away_first, away_count, not_here;
    uint64_t next_leave_ns, returns, broken;
    bool stopping;
};

static struct mixed *the_mixed; /* sessions have their person as context */

static struct member *direct_member(const struct person *person) { return &the_mixed->direct->members[person->index]; }
static struct member *room_member(const struct person *person) { return &the_mixed->rooms->members[person->index]; }

/* ---- sending ---- */

static uint32_t under_way(const struct person *person)
{
    const struct sender *direct = direct_member(person)->sender, *room = room_member(person)->sender;
    return direct->next - direct->oldest + (room->next - room->oldest);
}

static void person_fill(struct person *person)
{
    while (person->whereabouts == HERE && under_way(person) < the_mixed->window) {
        bool to_room = person->sent % ROOM_EVERY == ROOM_EVERY - 1;
        struct traffic *traffic = to_room ? the_mixed->rooms : the_mixed->direct;
        struct sender *sender = traffic->members[person->index].sender;
        if (!traffic_may_send(traffic, sender)) return;
        person->sent++;
        person->unacknowledged++;
        traffic_send(traffic, sender, traffic->loop->now_ns);
    }
}

static void mixed_on_space(void *context, struct sender *sender)
{
    const struct mixed *mixed = context;
    const struct traffic *traffic = sender->member->group->traffic;
    person_fill(&mixed->people[sender->member - traffic->members]);
}

/* ---- coming and going ---- */

static void person_set_session(struct person *person, struct session *session)
{
    direct_member(person)->session = room_member(person)->session = session;
    person->session = session;
}

static void person_is_here(struct person *person)
{
    struct session *session = person->session;
    person->whereabouts = HERE;
    person_set_session(person, session);
    direct_member(person)->since_ns = room_member(person)->since_ns = session->loop->now_ns;
    the_mixed->not_here--;
    the_mixed->returns++;
    person_fill(person);
}

static void person_try_to_leave(struct person *person)
{
    struct session *session = person->session;
    if (person->whereabouts != FINISHING || person->unacknowledged > 0) return;
    person->whereabouts = LEAVING;
    person->sync_key = session->sync_key;
    person_set_session(person, NULL);
    session_leave(session);
}

static void person_on_left(struct session *session)
{
    struct mixed *mixed = the_mixed;
    struct person *person = session->context;
    person->whereabouts = AWAY;
    person->back_ns = session->loop->now_ns + AWAY_NS;
    mixed->away[(mixed->away_first + mixed->away_count++) % mixed->count] = person;
}

static void person_on_ready(struct session *session)
{
    struct person *person = session->context;
    if (session->driver->call != NULL) {
        catchup_begin(session, person->sync_key);
        return;
    }
    the_mixed->broken += !session->resumed;
    person_is_here(person);
}

static void person_on_answer(struct session *session, const struct answer *answer)
{
    struct person *person = session->context;
    if (answer->id == CATCHUP_ID) {
        enum catchup step = catchup_on_answer(session, answer);
        the_mixed->broken += step == CATCHUP_BROKEN;
        if (step != CATCHUP_MORE) person_is_here(person);
        return;
    }
    bool of_room = answer->id >= ROOM_ID_BASE;
    person->unacknowledged--;
    if (of_room) traffic_on_answer(the_mixed->rooms, room_member(person), answer);
    else traffic_on_answer(the_mixed->direct, direct_member(person), answer);
    person_try_to_leave(person);
}

static void person_on_message(struct session *session, const struct incoming *message)
{
    const struct person *person = session->context;
    if (stamp_is_of(message->body, the_mixed->rooms->run)) traffic_on_arrival(the_mixed->rooms, room_member(person), message);
    else traffic_on_arrival(the_mixed->direct, direct_member(person), message);
}

static void person_on_closed(struct session *session, const char *reason)
{
    if (session->loop->counters.closed_by_server == 1) fprintf(stderr, "load: a session has ended: %s\n", reason);
    person_set_session(session->context, NULL);
}

static const struct session_events person_events = {.on_ready = person_on_ready,
                                                    .on_answer = person_on_answer,
                                                    .on_message = person_on_message,
                                                    .on_closed = person_on_closed,
                                                    .on_left = person_on_left};

static struct login person_login(const struct person *person)
{
    const struct member *member = room_member(person);
    return (struct login){
        .user_id = member->user_id, .room_id = member->group->room_id, .hears_direct = true, .persistent = true};
}

static void send_somebody_away(struct mixed *mixed, uint64_t now_ns)
{
    double interval_ns = (double)NS_PER_S / (LEAVING_PER_SECOND * mixed->count);
    for (; mixed->next_leave_ns <= now_ns; mixed->next_leave_ns += (uint64_t)interval_ns) {
        /* A stride over the rooms, so that the members of one do not leave together. */
        struct person *person = &mixed->people[mixed->next_to_leave];
        uint32_t next = mixed->next_to_leave + mixed->rooms->plan.members;
        mixed->next_to_leave = next < mixed->count ? next : (next + 1) % mixed->count % mixed->rooms->plan.members;
        if (person->whereabouts != HERE || person->session == NULL) continue;
        person->whereabouts = FINISHING;
        mixed->not_here++;
        person_try_to_leave(person);
    }
}

static void bring_back(struct mixed *mixed, uint64_t now_ns)
{
    while (mixed->away_count > 0 && mixed->away[mixed->away_first]->back_ns <= now_ns) {
        struct person *person = mixed->away[mixed->away_first];
        struct login login = person_login(person);
        mixed->away_first = (mixed->away_first + 1) % mixed->count;
        mixed->away_count--;
        person->whereabouts = RETURNING;
        person->session = session_open(mixed->bench->loop, mixed->bench->driver, &login, &person_events, person);
    }
}

static void mixed_turn(struct mixed *mixed)
{
    struct loop *loop = mixed->bench->loop;
    loop_turn(loop, NS_PER_MS);
    uint64_t now_ns = perf_now_ns();
    if (!mixed->stopping) send_somebody_away(mixed, now_ns);
    bring_back(mixed, now_ns);
    traffic_resume_paused(mixed->direct);
    traffic_resume_paused(mixed->rooms);
}

/* ---- the whole ---- */

static void everybody_comes(struct mixed *mixed)
{
    struct bench *bench = mixed->bench;
    struct login *logins = perf_alloc(mixed->count, sizeof *logins);
    struct session **sessions = perf_alloc(mixed->count, sizeof *sessions);
    for (uint32_t i = 0; i < mixed->count; i++) logins[i] = person_login(&mixed->people[i]);
    if (bench->driver->call == NULL) session_forget_all(bench->loop, bench->driver, logins, mixed->count);
    session_open_all(bench->loop, bench->driver, logins, mixed->count, sessions);
    for (uint32_t i = 0; i < mixed->count; i++) {
        sessions[i]->context = &mixed->people[i];
        sessions[i]->events = &person_events;
        person_set_session(&mixed->people[i], sessions[i]);
    }
    loop_turn_for(bench->loop, SETTLE_BEFORE_S);
    free(sessions);
    free(logins);
}

static void mixed_create(struct mixed *mixed, struct bench *bench)
{
    const struct options *options = bench->options;
    struct traffic_plan rooms = {.groups = (uint32_t)options->groups,
                                 .members = (uint32_t)options->members,
                                 .senders = (uint32_t)options->members,
                                 .window = (uint32_t)options->window,
                                 .body_bytes = (uint32_t)options->body_bytes,
                                 .id_base = ROOM_ID_BASE};
    struct traffic_plan direct = rooms;
    uint32_t count = rooms.groups * rooms.members;
    if (count % 2 != 0) perf_die("mixed needs an even number of people");
    direct.groups = count / 2;
    direct.members = direct.senders = 2;
    direct.direct = true;
    direct.id_base = 0;
    *mixed = (struct mixed){.bench = bench, .count = count, .window = rooms.window};
    the_mixed = mixed;
    mixed->rooms = traffic_prepare(bench, &rooms);
    mixed->direct = traffic_prepare(bench, &direct);
    mixed->rooms->on_space = mixed->direct->on_space = mixed_on_space;
    mixed->rooms->context = mixed->direct->context = mixed;
    mixed->people = perf_alloc(count, sizeof *mixed->people);
    mixed->away = perf_alloc(count, sizeof(struct person *));
    for (uint32_t i = 0; i < count; i++) mixed->people[i].index = i;
    everybody_comes(mixed);
}

static void mixed_run(struct mixed *mixed, double seconds, bool measure)
{
    struct loop *loop = mixed->bench->loop;
    loop->now_ns = mixed->next_leave_ns = perf_now_ns();
    uint64_t end_ns = loop->now_ns + (uint64_t)(seconds * (double)NS_PER_S);
    mixed->direct->measuring = mixed->rooms->measuring = measure;
    for (uint32_t i = 0; i < mixed->count; i++) person_fill(&mixed->people[i]);
    while (perf_now_ns() < end_ns && loop->counters.closed_by_server == 0) mixed_turn(mixed);
    mixed->direct->measuring = mixed->rooms->measuring = false;
}

static bool all_done(const struct mixed *mixed)
{
    for (uint32_t i = 0; i < mixed->count; i++)
        if (under_way(&mixed->people[i]) > 0) return false;
    return mixed->not_here == 0;
}

static void mixed_settle(struct mixed *mixed)
{
    uint64_t last = 0, since_ns = perf_now_ns();
    mixed->stopping = mixed->direct->stopping = mixed->rooms->stopping = true;
    while (!all_done(mixed) && perf_now_ns() - since_ns < SETTLE_PATIENCE_NS) {
        mixed_turn(mixed);
        uint64_t progress = mixed->returns + mixed->direct->total.delivered + mixed->rooms->total.delivered;
        if (progress != last) since_ns = perf_now_ns();
        last = progress;
    }
}

static void mixed_report(const struct mixed *mixed, struct report *report)
{
    static struct histogram ack, delivery;
    struct traffic *both[] = {mixed->direct, mixed->rooms};
    for (uint32_t i = 0; i < COUNT_OF(both); i++) {
        histogram_merge(&ack, &both[i]->ack_latency);
        histogram_merge(&delivery, &both[i]->delivery_latency);
        report->messages += both[i]->measured.delivered;
        report->refused += both[i]->total.refused;
        traffic_report_faults(both[i], report);
    }
    report->ack = &ack;
    report->delivery = &delivery;
    report->value = (double)report->messages / report->cost.seconds;
    report->unit = "deliveries/s";
    report_add(report, "direct_deliveries_per_s", (double)mixed->direct->measured.delivered / report->cost.seconds);
    report_add(report, "room_deliveries_per_s", (double)mixed->rooms->measured.delivered / report->cost.seconds);
    report_add(report, "returns", (double)mixed->returns);
    traffic_report_sessions(mixed->bench->loop, report);
    report_add_fault(report, "broken_returns", mixed->broken);
    report_add_fault(report, "not_returned", mixed->not_here);
}

static void everybody_goes(struct mixed *mixed)
{
    struct bench *bench = mixed->bench;
    struct login *logins = perf_alloc(mixed->count, sizeof *logins);
    for (uint32_t i = 0; i < mixed->count; i++) {
        logins[i] = person_login(&mixed->people[i]);
        if (mixed->people[i].session != NULL) session_close(mixed->people[i].session);
        person_set_session(&mixed->people[i], NULL);
    }
    loop_turn(bench->loop, 0);
    if (bench->driver->call == NULL) session_forget_all(bench->loop, bench->driver, logins, mixed->count);
    free(logins);
}

void workload_mixed(struct bench *bench)
{
    static struct mixed mixed;
    const struct options *options = bench->options;
    struct report *report = bench->report;
    mixed_create(&mixed, bench);
    mixed_run(&mixed, options->warmup_seconds, false);
    struct spent before = process_spent((int)options->server_pid);
    mixed_run(&mixed, options->seconds, true);
    struct spent after = process_spent((int)options->server_pid);
    mixed_settle(&mixed);
    report->cost = process_cost(&before, &after);
    snprintf(report->setting, sizeof report->setting, "%s, %u people, rooms of %u, window %u", bench->report->protocol, mixed.count,
             mixed.rooms->plan.members, mixed.window);
    mixed_report(&mixed, report);
    everybody_goes(&mixed);
    traffic_destroy(mixed.direct);
    traffic_destroy(mixed.rooms);
    free(mixed.away);
    free(mixed.people);
}
