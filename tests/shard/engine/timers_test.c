/* tests/shard/engine/timers_test.c - timers in the state of one machine: what a DUE command does depends on the state and on its own time. */
#include "shard/alarm.h"
#include "shard/machine_fixture.h"
#include <criterion/criterion.h>

#define HEARD_MAX 64

static struct fixture *f;
static struct alarm_fired heard[HEARD_MAX];
static uint32_t heard_count;

static void hear(void *context, const struct alarm_fired *alarm, bool fired)
{
    (void)context;
    if (fired) heard[heard_count++ % HEARD_MAX] = *alarm;
}

static void setup(void)
{
    struct machine_options options = fixture_options(0, 1);
    options.domain = alarm_domain();
    f = fixture_create(&options);
    alarm_heard = hear;
}

static void teardown(void) { fixture_destroy(f); }

TestSuite(timers, .init = setup, .fini = teardown);

static void set(uint64_t id, uint64_t when_ms)
{
    cr_assert_eq(FIXTURE_RUN(f, 0, ALARM, alarm_set, &((struct alarm_set_record){.id = id, .when_ms = when_ms})), ERROR_NONE);
}

static uint32_t rows(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->store.count; i++) count += f->store.rows[i].key[0] == KEY_DUE;
    return count;
}

static struct alarm *alarm_now(uint64_t id) { return (struct alarm *)fixture_entity(f, ENTITY_ALARM, id, 0); }

static enum error due(const struct timer_entry *entries, uint32_t count)
{
    struct writer w;
    writer_init(&w, 0);
    for (uint32_t i = 0; i < count; i++) {
        writer_u64(&w, entries[i].slot);
        writer_u64(&w, entries[i].id);
    }
    struct due_record record = {.entries = writer_slice(&w)};
    enum error error = FIXTURE_RUN(f, 0, DUE, due, &record);
    writer_deinit(&w);
    return error;
}

Test(timers, a_thing_has_one_row_or_none)
{
    uint64_t at_ms = f->now_ms + 1000;
    set(1, at_ms);
    cr_expect_eq(rows(), 1);
    cr_expect_eq(alarm_now(1)->due_ms, at_ms);
    set(1, at_ms); /* the same */
    set(1, at_ms + 500);
    cr_expect_eq(rows(), 1);
    cr_expect_eq(f->machine->timers.waiting, 1);
    set(2, at_ms);
    cr_expect_eq(f->machine->timers.waiting, 2);
    set(1, 0);
    set(1, 0);
    cr_expect_eq(rows(), 1);
    cr_expect_eq(alarm_now(1)->due_ms, 0);
    cr_expect_eq(f->machine->timers.waiting, 1);
}

Test(timers, what_is_due_fires_once_in_order_and_nothing_else_does)
{
    uint64_t at_ms = f->now_ms + 1000;
    static const struct { uint64_t id, after_ms; } alarms[] = {{5, 20}, {4, 10}, {9, 10}, {3, 5000}, {1, 0}};
    for (size_t i = 0; i < COUNT_OF(alarms); i++) set(alarms[i].id, at_ms + alarms[i].after_ms);
    fixture_due(f);
    cr_expect_eq(heard_count, 0, "nothing is due yet");
    f->now_ms = at_ms + 100;
    fixture_due(f);
    static const uint64_t want[] = {1, 4, 9, 5};
    cr_assert_eq(heard_count, COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++) cr_expect_eq(heard[i].id, want[i]);
    cr_expect_eq(heard[0].due_ms, at_ms);
    cr_expect_eq(rows(), 1);
    cr_expect_eq(f->machine->timers.waiting, 1);
    fixture_due(f);
    cr_expect_eq(heard_count, COUNT_OF(want));
}

Test(timers, a_command_takes_nothing_beyond_its_time_whatever_it_names)
{
    uint64_t at_ms = f->now_ms + 1000;
    set(1, at_ms);
    set(2, at_ms + 1);
    const struct timer_entry entries[] = {timer_entry_of(at_ms, TIMER_ALARM, 1), timer_entry_of(at_ms + 1, TIMER_ALARM, 2)};
    f->now_ms = at_ms - 1;
    cr_expect_eq(due(entries, 2), ERROR_NONE);
    cr_expect_eq(heard_count, 0);
    f->now_ms = at_ms;
    cr_expect_eq(due(entries, 2), ERROR_NONE);
    cr_expect_eq(heard_count, 1);
    cr_expect_eq(rows(), 1, "the other one is still there");
}

Test(timers, a_thing_that_has_moved_on_is_left_alone)
{
    uint64_t at_ms = f->now_ms + 1000;
    const struct timer_entry stale[] = {timer_entry_of(at_ms, TIMER_ALARM, 1), timer_entry_of(at_ms, TIMER_ALARM, 2),
                                        timer_entry_of(at_ms, TIMER_ALARM, 3), timer_entry_of(at_ms, TIMER_ALARM + 1, 1)};
    set(1, at_ms);
    set(1, at_ms + 10000); /* moved */
    set(2, at_ms);
    set(2, 0); /* cancelled; 3 never was, nor that other kind */
    f->now_ms = at_ms;
    cr_expect_eq(due(stale, COUNT_OF(stale)), ERROR_NONE);
    cr_expect_eq(heard_count, 0);
    cr_expect_eq(rows(), 1);
    cr_expect_eq(f->machine->timers.waiting, 1);
    f->now_ms = at_ms + 10000;
    fixture_due(f);
    cr_expect_eq(heard_count, 1);
    const struct timer_entry twice[] = {timer_entry_of(at_ms + 10000, TIMER_ALARM, 1), timer_entry_of(at_ms + 10000, TIMER_ALARM, 1)};
    cr_expect_eq(due(twice, 2), ERROR_NONE);
    cr_expect_eq(heard_count, 1, "it has fired");
}

Test(timers, what_fires_may_set_the_next_one)
{
    uint64_t at_ms = f->now_ms + 1000;
    struct alarm_set_record in = {.id = 1, .when_ms = at_ms, .again_ms = 500};
    cr_assert_eq(FIXTURE_RUN(f, 0, ALARM, alarm_set, &in), ERROR_NONE);
    f->now_ms = at_ms;
    fixture_due(f);
    cr_expect_eq(heard_count, 1);
    cr_expect_eq(alarm_now(1)->due_ms, at_ms + 500);
    f->now_ms = at_ms + 500;
    fixture_due(f);
    cr_expect_eq(heard_count, 2);
    cr_expect_eq(rows(), 0);
}

Test(timers, the_next_start_is_a_time_too)
{
    struct incarnation_record start = {.ordinal = 1, .random = 1};
    struct alarm_set_record in = {.id = 1, .next_start = 1};
    cr_assert_eq(FIXTURE_RUN(f, 0, INCARNATION, incarnation, &start), ERROR_NONE);
    cr_assert_eq(FIXTURE_RUN(f, 0, ALARM, alarm_set, &in), ERROR_NONE);
    f->now_ms += 1000000;
    fixture_due(f);
    cr_expect_eq(heard_count, 0);
    start.ordinal = 2;
    cr_assert_eq(FIXTURE_RUN(f, 0, INCARNATION, incarnation, &start), ERROR_NONE);
    fixture_due(f);
    cr_expect_eq(heard_count, 1);
    cr_expect_eq(rows(), 0);
}

/* A clock without a battery begins in 1970, until something sets it. */
Test(timers, a_time_of_any_clock_is_one)
{
    uint64_t now_ms = f->now_ms;
    static const struct { uint64_t id, when_ms, due_ms; } cases[] = {
        {1, 1, TIMER_CLOCK_MIN},
        {2, 30000, TIMER_CLOCK_MIN},
        {3, TIMER_STARTS_MAX, TIMER_CLOCK_MIN},
        {4, TIMER_CLOCK_MIN, TIMER_CLOCK_MIN},
        {5, TIMER_CLOCK_MIN + 1, TIMER_CLOCK_MIN + 1},
        {6, TIMER_TIME_MAX, TIMER_TIME_MAX},
        {7, UINT64_MAX, TIMER_TIME_MAX},
    };
    f->now_ms = 10000;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        set(cases[i].id, cases[i].when_ms);
        cr_expect_eq(alarm_now(cases[i].id)->due_ms, cases[i].due_ms, "%zu", i);
    }
    for (uint32_t ordinal = 1; ordinal <= 3; ordinal++) {
        struct incarnation_record start = {.ordinal = ordinal, .random = 1};
        cr_assert_eq(FIXTURE_RUN(f, 0, INCARNATION, incarnation, &start), ERROR_NONE);
    }
    fixture_due(f);
    cr_expect_eq(heard_count, 0, "none of them waits for a start");
    f->now_ms = now_ms;
    fixture_due(f);
    cr_expect_eq(heard_count, 5);
    set(7, 0);
    set(6, 0);
    cr_expect_eq(rows(), 0);
}

Test(timers, a_replay_does_the_same)
{
    f->forgetful = true;
    uint64_t at_ms = f->now_ms + 1000;
    for (uint64_t id = 1; id <= 40; id++) set(id, at_ms + id * 7 % 13 * 100);
    for (uint64_t id = 1; id <= 40; id += 3) set(id, id % 2 == 0 ? 0 : at_ms + 300);
    for (f->now_ms = at_ms; f->now_ms < at_ms + 2000; f->now_ms += 250) fixture_due(f);
    uint32_t fired = heard_count;
    struct machine_options options = fixture_options(0, 1);
    options.domain = alarm_domain();
    options.timers_resident_max = 1000;
    struct fixture *again = fixture_create(&options);
    fixture_replay(f, again, 0);
    cr_expect_eq(heard_count, 2 * fired);
    cr_expect_eq(again->journal.len, f->journal.len);
    cr_expect_eq(memcmp(again->journal.data, f->journal.data, f->journal.len), 0);
    fixture_destroy(again);
}
