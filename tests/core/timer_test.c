/* tests/core/timer_test.c - the wheel against a plain array of deadlines, and its edges. */
#include "core/timer.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <stdlib.h>

struct probe {
    struct timer timer;
    struct timer_wheel *wheel;
    uint64_t fired_at_ms;
    uint64_t rearm_after_ms; /* 0: not again */
    uint32_t fired_count;
    struct probe *cancels;
};

static void probe_on_fired(struct timer *timer)
{
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    probe->fired_count++;
    probe->fired_at_ms = probe->wheel->now_ms;
    if (probe->cancels != NULL) timer_cancel(probe->wheel, &probe->cancels->timer);
    if (probe->rearm_after_ms > 0) timer_arm(probe->wheel, timer, probe->wheel->now_ms + probe->rearm_after_ms);
}

static struct probe probe_of(struct timer_wheel *wheel)
{
    return (struct probe){.timer = {.fired = probe_on_fired}, .wheel = wheel};
}

Test(timer, fires_at_its_deadline_never_before)
{
    static const uint64_t delays_ms[] = {
        0,     1,     3,     4,      5,       100,     251,     252,      253,      255,      256,      257,      1000,
        16383, 16384, 16385, 999999, 1048575, 1048576, 1048577, 67108863, 67108864, 67108865, 70000000, 200000000};
    for (uint64_t start = 1000000; start < 1000008; start += 3) {
        for (size_t i = 0; i < COUNT_OF(delays_ms); i++) {
            struct timer_wheel wheel;
            timer_wheel_init(&wheel, start);
            struct probe probe = probe_of(&wheel);
            uint64_t deadline = start + delays_ms[i];
            timer_arm(&wheel, &probe.timer, deadline);
            timer_wheel_advance(&wheel, deadline > start ? deadline - 1 : start, 10);
            cr_assert_eq(probe.fired_count, 0, "early: delay %lu", (unsigned long)delays_ms[i]);
            timer_wheel_advance(&wheel, deadline + TIMER_TICK_MS, 10);
            cr_assert_eq(probe.fired_count, 1, "late: delay %lu", (unsigned long)delays_ms[i]);
            cr_assert_not(timer_armed(&probe.timer));
            cr_assert_eq(wheel.armed_count, 0);
        }
    }
}

Test(timer, agrees_with_a_list_of_deadlines)
{
    enum { COUNT = 300, STEPS = 4000 };
    static struct probe probes[COUNT];
    uint64_t wants[COUNT] = {0}; /* deadline, 0 when not armed */
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 12345);
    for (int i = 0; i < COUNT; i++) probes[i] = probe_of(&wheel);
    srand(7);
    uint64_t now = 12345;
    for (int step = 0; step < STEPS; step++) {
        int i = rand() % COUNT;
        if (rand() % 5 == 0) {
            timer_cancel(&wheel, &probes[i].timer);
            wants[i] = 0;
        } else {
            uint64_t delay = (uint64_t)rand() % (UINT64_C(1) << (rand() % 24));
            timer_arm(&wheel, &probes[i].timer, now + delay);
            wants[i] = now + delay;
        }
        uint32_t wait = timer_wheel_wait_ms(&wheel, 5000);
        uint64_t next = now + (uint64_t)rand() % (UINT64_C(1) << (rand() % 14));
        timer_wheel_advance(&wheel, next, UINT32_MAX);
        for (int k = 0; k < COUNT; k++) {
            if (wants[k] == 0) {
                cr_assert_eq(probes[k].fired_count, 0);
                continue;
            }
            if (probes[k].fired_count > 0) {
                cr_assert_leq(wants[k], next, "fired early");
                cr_assert_geq(next, now + wait, "the wheel said nothing would happen before");
                probes[k].fired_count = 0;
                wants[k] = 0;
            } else {
                cr_assert_gt(wants[k] + 2 * TIMER_TICK_MS, next, "not fired");
            }
        }
        now = next;
    }
}

Test(timer, arming_again_moves_it)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 0);
    struct probe probe = probe_of(&wheel);
    timer_arm(&wheel, &probe.timer, 100);
    timer_arm(&wheel, &probe.timer, 1000);
    cr_assert_eq(wheel.armed_count, 1);
    timer_wheel_advance(&wheel, 500, 10);
    cr_assert_eq(probe.fired_count, 0);
    timer_wheel_advance(&wheel, 1000, 10);
    cr_assert_eq(probe.fired_count, 1);
}

Test(timer, the_budget_leaves_the_rest_for_the_next_turn)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 0);
    struct probe probes[10];
    for (size_t i = 0; i < COUNT_OF(probes); i++) {
        probes[i] = probe_of(&wheel);
        timer_arm(&wheel, &probes[i].timer, 40);
    }
    cr_assert_eq(timer_wheel_advance(&wheel, 100, 4), 4);
    cr_assert_eq(timer_wheel_wait_ms(&wheel, 1000), 0, "due timers are left");
    cr_assert_eq(timer_wheel_advance(&wheel, 100, 100), 6);
    cr_assert_eq(wheel.now_ms, 100);
}

Test(timer, one_that_rearms_itself_in_the_past_does_not_hold_the_loop)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 0);
    struct probe probe = probe_of(&wheel);
    probe.rearm_after_ms = 1;
    timer_arm(&wheel, &probe.timer, 0);
    cr_assert_leq(timer_wheel_advance(&wheel, TIMER_TICK_MS * 5, UINT32_MAX), 5, "at most once a tick");
    timer_cancel(&wheel, &probe.timer);
}

Test(timer, a_callback_may_cancel_a_timer_of_the_same_tick)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 0);
    struct probe first = probe_of(&wheel), second = probe_of(&wheel);
    first.cancels = &second;
    second.cancels = &first;
    timer_arm(&wheel, &first.timer, 8);
    timer_arm(&wheel, &second.timer, 8);
    timer_wheel_advance(&wheel, 100, 10);
    cr_assert_eq(first.fired_count + second.fired_count, 1);
    cr_assert_eq(wheel.armed_count, 0);
}

Test(timer, wait_is_short_enough_and_not_zero_for_nothing)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 1002);
    cr_assert_eq(timer_wheel_wait_ms(&wheel, 700), 700);
    struct probe probe = probe_of(&wheel);
    timer_arm(&wheel, &probe.timer, 1050);
    uint32_t wait = timer_wheel_wait_ms(&wheel, 700);
    cr_assert(wait >= 46 && wait <= 50, "%u", wait);
    cr_assert_eq(timer_wheel_wait_ms(&wheel, 10), 10);
    timer_arm(&wheel, &probe.timer, 1002 + 3600000);
    cr_assert_gt(timer_wheel_wait_ms(&wheel, 700), 0);
}

Test(timer, a_deadline_counts_from_the_time_and_not_from_where_the_wheel_stands)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 1000);
    struct probe probe = probe_of(&wheel);
    timer_wheel_tell(&wheel, 1400); /* the loop slept */
    timer_wheel_tell(&wheel, 1300);
    cr_expect_eq(timer_wheel_time_ms(&wheel), 1400, "never back");
    timer_arm(&wheel, &probe.timer, timer_wheel_time_ms(&wheel) + 500);
    timer_wheel_advance(&wheel, 1890, 10);
    cr_expect_eq(probe.fired_count, 0);
    timer_wheel_advance(&wheel, 1904, 10);
    cr_expect_eq(probe.fired_count, 1);
    cr_expect_eq(timer_wheel_time_ms(&wheel), 1904);
}

static void rearm(struct timer *timer)
{
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    probe->fired_count++;
    timer_arm(probe->wheel, timer, timer_wheel_time_ms(probe->wheel) + 500);
}

Test(timer, a_timer_that_arms_itself_has_its_whole_time_while_the_wheel_catches_up)
{
    struct timer_wheel wheel;
    timer_wheel_init(&wheel, 1000);
    struct probe probe = probe_of(&wheel);
    probe.timer.fired = rearm;
    timer_arm(&wheel, &probe.timer, 1100);
    timer_wheel_advance(&wheel, 5000, 10);
    cr_expect_eq(probe.fired_count, 1);
    timer_wheel_advance(&wheel, 5490, 10);
    cr_expect_eq(probe.fired_count, 1);
    timer_wheel_advance(&wheel, 5508, 10);
    cr_expect_eq(probe.fired_count, 2);
    timer_cancel(&wheel, &probe.timer);
}
