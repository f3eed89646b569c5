/* tests/shard/engine/due_test.c - a whole shard and its timers: the window that runs dry, restarts, clocks that step, disks without room. */
#include "shard/alarm.h"
#include "shard/engine/shard_internal.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>

#define HEARD_MAX 512
#define HOUR_MS 3600000

static struct alarm_fired heard[HEARD_MAX];
static uint32_t heard_count;

static void hear(void *context, const struct alarm_fired *alarm, bool fired)
{
    (void)context;
    cr_assert_lt(heard_count, HEARD_MAX);
    if (fired) heard[heard_count++] = *alarm;
}

static void setup(void)
{
    rig_begin(1);
    rig.machine.domain = alarm_domain();
    alarm_heard = hear;
    rig_open();
    rig_pump();
}

TestSuite(due, .init = setup, .fini = rig_close);

static void propose(const struct alarm_set_record *in)
{
    struct writer w;
    writer_init(&w, 0);
    alarm_set_record_write(&w, in);
    shard_propose_internal(rig.shards[0], COMMAND_ALARM, 0, writer_slice(&w));
    writer_deinit(&w);
}

static void set(uint64_t id, uint64_t when_ms) { propose(&(struct alarm_set_record){.id = id, .when_ms = when_ms}); }

static uint64_t metric(const _Atomic uint64_t *value) { return atomic_load_explicit(value, memory_order_relaxed); }

static void advance(uint64_t ms)
{
    rig.now_ms += ms;
    rig_pump();
}

static struct timers *timers(void) { return &shard_machine(rig.shards[0])->timers; }

Test(due, more_than_the_window_holds_fire_in_order)
{
    uint64_t at_ms = rig.now_ms + 10000;
    for (uint64_t id = 1; id <= 300; id++) set(id, at_ms + id * 97 % 300);
    rig_pump();
    cr_expect_eq(timers()->waiting, 300);
    cr_expect_eq(heard_count, 0);
    for (uint32_t step = 0; step < 400; step++) {
        advance(step == 0 ? 10000 : 1);
        cr_expect_leq(timers()->clock.count, 4);
    }
    cr_assert_eq(heard_count, 300);
    for (uint32_t i = 0; i < heard_count; i++) {
        cr_expect_geq(heard[i].time_ms, heard[i].due_ms);
        if (i > 0) cr_expect_geq(heard[i].due_ms, heard[i - 1].due_ms);
    }
    cr_expect_eq(timers()->waiting, 0);
    cr_expect_eq(metric(&rig.metrics.timers_fired), 300);
    cr_expect_eq(metric(&rig.metrics.timers_waiting), 0);
    cr_expect_eq(metric(&rig.metrics.timers_late), 0);
}

Test(due, a_restart_loses_none_and_doubles_none)
{
    uint64_t at_ms = rig.now_ms + 10000;
    for (uint64_t id = 1; id <= 20; id++) set(id, at_ms + id % 2 * HOUR_MS);
    propose(&(struct alarm_set_record){.id = 99, .next_start = 1});
    rig_pump();
    advance(10000);
    cr_expect_eq(heard_count, 10);
    rig_close_shard(0);
    rig.now_ms += HOUR_MS + 5000;
    rig_open_shard(0);
    cr_expect_eq(metric(&rig.metrics.timers_waiting), 11);
    rig_pump();
    cr_assert_eq(heard_count, 21);
    uint32_t of_the_start = 0;
    for (uint32_t i = 10; i < heard_count; i++) of_the_start += heard[i].id == 99;
    cr_expect_eq(of_the_start, 1);
    cr_expect_eq(metric(&rig.metrics.timers_late), 10);
    rig_close_shard(0);
    rig_open_shard(0);
    rig_pump();
    cr_expect_eq(heard_count, 21);
}

Test(due, a_clock_that_steps_loses_none_and_doubles_none)
{
    uint64_t at_ms = rig.now_ms + 10000;
    for (uint64_t id = 1; id <= 9; id++) set(id, at_ms + id * HOUR_MS);
    rig_pump();
    rig.clock_error_ms = 5 * HOUR_MS + 10000;
    rig_pump();
    cr_expect_eq(heard_count, 5, "they are due by the time that counts");
    rig.clock_error_ms = 0;
    set(20, rig.now_ms + 1000);
    rig_pump();
    cr_expect_eq(heard_count, 5);
    advance(1000);
    cr_expect_eq(heard_count, 6);
    for (uint32_t hour = 0; hour < 12; hour++) advance(HOUR_MS);
    cr_expect_eq(heard_count, 10);
}

Test(due, without_room_it_is_tried_again)
{
    set(1, rig.now_ms + 1000);
    rig_pump();
    shard_set_shut(rig.shards[0], true);
    advance(1000);
    cr_expect_eq(heard_count, 0);
    cr_expect_leq(shard_wait_ms(rig.shards[0], 10000), 200, "and soon");
    shard_set_shut(rig.shards[0], false);
    advance(200);
    cr_expect_eq(heard_count, 1);
}

Test(due, the_worker_hears_how_long_it_may_sleep)
{
    cr_expect_eq(shard_wait_ms(rig.shards[0], 5000), 5000);
    set(1, rig.now_ms + 1200);
    set(2, rig.now_ms + HOUR_MS);
    rig_pump();
    cr_expect_eq(shard_wait_ms(rig.shards[0], 5000), 1200);
    cr_expect_eq(shard_wait_ms(rig.shards[0], 1000), 1000);
    advance(1200);
    cr_expect_eq(heard_count, 1);
    cr_expect_eq(shard_wait_ms(rig.shards[0], 5000), 5000);
}

Test(due, no_timer_costs_nothing)
{
    uint64_t reads = metric(&rig.metrics.store_reads);
    for (uint32_t i = 0; i < 100; i++) advance(1000);
    cr_expect_eq(metric(&rig.metrics.store_reads), reads);
    cr_expect_null(timers()->clock.entries);
}
