/* tests/perf/traffic_test.c - what is under way, lost, doubled, late: counted as it happened. People without sockets: a driver that only
 * remembers what was sent. */
#include "perf/traffic.h"
#include "perf/users.h"
#include <criterion/criterion.h>

#define SENT_MAX 64

static struct {
    uint64_t id, to_user_id, room_id;
    uint8_t body[100];
} sent[SENT_MAX];
static uint32_t sent_count;

static void fake_send(struct session *session, const struct outgoing *message)
{
    (void)session;
    cr_assert_lt(sent_count, SENT_MAX);
    sent[sent_count].id = message->id;
    sent[sent_count].to_user_id = message->to_user_id;
    sent[sent_count].room_id = message->room_id;
    memcpy(sent[sent_count++].body, message->body.data, message->body.len);
}
static const struct driver fake_driver = {.name = "fake", .send = fake_send};

static struct loop loop;
static struct users users;
static struct session sessions[8];

static struct traffic *begin(struct traffic_plan plan)
{
    struct bench bench = {.driver = &fake_driver, .loop = &loop, .users = &users};
    struct broker broker = {.plain = true};
    loop_init(&loop, "127.0.0.1:1", &broker, NULL);
    loop.now_ns = 1000;
    plan.body_bytes = 100;
    sent_count = 0;
    struct traffic *traffic = traffic_prepare(&bench, &plan);
    for (uint32_t i = 0; i < plan.groups * plan.members; i++) {
        sessions[i] = (struct session){.driver = &fake_driver, .loop = &loop};
        traffic->members[i].session = &sessions[i];
    }
    traffic->measuring = true;
    return traffic;
}

static void end(struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->plan.groups * traffic->plan.members; i++) traffic->members[i].session = NULL;
    traffic_destroy(traffic);
    users_deinit(&users);
    loop_deinit(&loop);
}

static void fill(struct traffic *traffic, uint32_t sender)
{
    while (traffic_may_send(traffic, &traffic->senders[sender])) traffic_send(traffic, &traffic->senders[sender], loop.now_ns);
}
static void answer(struct traffic *traffic, uint32_t member, uint64_t id)
{
    struct answer out = {.id = id};
    traffic_on_answer(traffic, &traffic->members[member], &out);
}
static void arrive(struct traffic *traffic, uint32_t member, uint32_t which, bool repeated)
{
    struct incoming message = {.body = {sent[which].body, 100}, .repeated = repeated};
    traffic_on_arrival(traffic, &traffic->members[member], &message);
}

Test(traffic, a_message_is_under_way_until_it_is_acknowledged_and_everywhere)
{
    struct traffic *traffic = begin((struct traffic_plan){.groups = 1, .members = 3, .senders = 1, .window = 2});
    fill(traffic, 0);
    cr_assert_eq(sent_count, 2);
    answer(traffic, 0, sent[0].id);
    arrive(traffic, 1, 0, false);
    cr_expect_eq(sent_count, 2);
    arrive(traffic, 0, 0, false); /* the sender's own copy is no delivery */
    cr_expect_eq(sent_count, 2);
    arrive(traffic, 2, 0, false);
    cr_expect_eq(sent_count, 3);
    cr_expect_eq(traffic->measured.delivered, 2);
    cr_expect_eq(traffic->measured.echoed, 1);
    cr_expect_eq(traffic->measured.acked, 1);
    end(traffic);
}

Test(traffic, what_is_missing_at_the_end_is_counted)
{
    struct traffic *traffic = begin((struct traffic_plan){.groups = 1, .members = 4, .senders = 1, .window = 4});
    fill(traffic, 0);
    answer(traffic, 0, sent[0].id);
    arrive(traffic, 1, 0, false);
    arrive(traffic, 2, 1, false);
    struct traffic_missing missing = traffic_missing(traffic);
    cr_expect_eq(missing.lost, 2); /* acknowledged, and two have not got it */
    cr_expect_eq(missing.unacknowledged, 3);
    end(traffic);
}

Test(traffic, twice_late_and_changed_are_told_apart)
{
    struct traffic *traffic = begin((struct traffic_plan){.groups = 1, .members = 2, .senders = 1, .window = 4});
    fill(traffic, 0);
    arrive(traffic, 1, 1, false);
    arrive(traffic, 1, 0, false);
    cr_expect_eq(traffic->total.reordered, 1);
    arrive(traffic, 1, 0, false);
    cr_expect_eq(traffic->total.duplicated, 1);
    arrive(traffic, 1, 0, true);
    cr_expect_eq(traffic->total.redelivered, 1);
    cr_expect_eq(traffic->total.duplicated, 1);
    arrive(traffic, 1, 2, true); /* says that it may have come before, and has not */
    cr_expect_eq(traffic->total.redelivered, 1);
    sent[3].body[99] ^= 1;
    arrive(traffic, 1, 3, false);
    cr_expect_eq(traffic->total.corrupted, 1);
    cr_expect_eq(traffic->total.delivered, 3);
    answer(traffic, 0, sent[0].id);
    answer(traffic, 0, sent[0].id);
    cr_expect_eq(traffic->total.duplicated, 2);
    end(traffic);
}

Test(traffic, a_plain_broker_needs_no_accounts_and_every_run_has_rooms_of_its_own)
{
    struct traffic *traffic = begin((struct traffic_plan){.groups = 2, .members = 2, .senders = 2, .window = 1});
    cr_expect_neq(traffic->groups[0].room_id, traffic->groups[1].room_id);
    cr_expect_neq(traffic->groups[0].room_id, 0);
    cr_expect_neq(traffic->members[0].user_id, traffic->members[1].user_id);
    end(traffic);
    traffic = begin((struct traffic_plan){.groups = 1, .members = 2, .senders = 2, .window = 1, .direct = true, .id_base = 1000});
    fill(traffic, 1);
    cr_expect_eq(sent[0].to_user_id, traffic->members[0].user_id);
    cr_expect_eq(sent[0].room_id, 0);
    cr_expect_eq(sent[0].id, 1001);
    end(traffic);
}

Test(traffic, an_open_loop_times_what_was_due_whenever_it_arrives)
{
    struct traffic *traffic = begin((struct traffic_plan){.groups = 1, .members = 2, .senders = 1, .window = 4, .rate = 1000});
    traffic->due_from_ns = 1000;
    traffic->due_until_ns = 2000;
    traffic->measuring = false; /* the run is over */
    traffic_send(traffic, &traffic->senders[0], 999);
    traffic_send(traffic, &traffic->senders[0], 1500);
    loop.now_ns = 5000;
    arrive(traffic, 1, 0, false);
    arrive(traffic, 1, 1, false);
    cr_expect_eq(traffic->delivery_latency.count, 1);
    cr_expect_eq(traffic->delivery_latency.largest, 3500);
    end(traffic);
}

Test(traffic, a_refused_message_is_waited_for_by_nobody)
{
    struct traffic *traffic = begin((struct traffic_plan){.groups = 1, .members = 2, .senders = 1, .window = 1});
    fill(traffic, 0);
    struct answer refusal = {.id = sent[0].id, .refused = true, .retryable = true};
    traffic_on_answer(traffic, &traffic->members[0], &refusal);
    cr_expect_eq(sent_count, 1); /* the server asked for a pause */
    struct traffic_missing missing = traffic_missing(traffic);
    cr_expect_eq(missing.lost + missing.unacknowledged, 0);
    cr_expect_eq(traffic->total.refused, 1);
    loop.now_ns += NS_PER_S;
    traffic_resume_paused(traffic);
    cr_expect_eq(sent_count, 2);
    end(traffic);
}

static void count_tick(void *context) { ++*(uint32_t *)context; }

Test(traffic, ticks_come_once_for_each_interval_however_late)
{
    uint32_t ticks = 0;
    struct traffic *traffic = begin((struct traffic_plan){.groups = 1, .members = 2, .senders = 2, .window = 1, .direct = true});
    traffic->on_tick = count_tick;
    traffic->context = &ticks;
    traffic->tick_ns = 20 * NS_PER_MS;
    traffic_run(traffic, 0.05, true);
    cr_expect_geq(ticks, 1);
    cr_expect_leq(ticks, 2);
    end(traffic);
}
