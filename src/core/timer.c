/* core/timer.c - the wheel of timer.h.
 *
 *   level 0: 64 slots of one tick       a timer due in 1..63 ticks, in the slot of its tick
 *   level 1: 64 slots of 64 ticks       due in 64..4095 ticks
 *   level 2: 64 slots of 4096 ticks     ...
 *   level 3: 64 slots of 262144 ticks   later than that: in the farthest slot, placed again when the wheel gets there
 *
 * When the tick reaches the first tick of an upper slot, that slot's timers are placed again, each in a finer one. A
 * timer's tick is its deadline rounded up and the wheel's tick is the time rounded down, so no timer fires early. A
 * deadline already past goes to the next tick, never to the current one: a timer that arms itself again and again
 * cannot hold the loop. */
#include "core/timer.h"
#include "core/check.h"
#include <stddef.h>

#define TIMER_LEVEL_BITS 6
#define TIMER_SPAN_TICKS (UINT64_C(1) << (TIMER_LEVEL_BITS * TIMER_LEVELS))
_Static_assert(TIMER_SLOTS == 1 << TIMER_LEVEL_BITS, "a level is one digit of the tick");

static uint64_t timer_wheel_tick(const struct timer_wheel *wheel)
{
    return wheel->now_ms / TIMER_TICK_MS;
}

static struct timer **timer_wheel_slot(struct timer_wheel *wheel, unsigned level, uint64_t tick)
{
    return &wheel->slots[level][(tick >> (level * TIMER_LEVEL_BITS)) % TIMER_SLOTS];
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct timer_wheel){.now_ms = now_ms, .time_ms = now_ms};
}

static void timer_link(struct timer_wheel *wheel, struct timer *timer, uint64_t tick_min)
{
    uint64_t now = timer_wheel_tick(wheel);
    uint64_t tick = timer->deadline_ms / TIMER_TICK_MS + (timer->deadline_ms % TIMER_TICK_MS != 0);
    if (tick < tick_min) tick = tick_min;
    if (tick - now >= TIMER_SPAN_TICKS) tick = now + TIMER_SPAN_TICKS - 1;
    unsigned level = 0;
    while ((tick - now) >> ((level + 1) * TIMER_LEVEL_BITS) != 0) level++;
    struct timer **slot = timer_wheel_slot(wheel, level, tick);
    timer->next = *slot;
    if (timer->next != NULL) timer->next->link = &timer->next;
    timer->link = slot;
    *slot = timer;
    wheel->armed_count++;
}

static void timer_unlink(struct timer_wheel *wheel, struct timer *timer)
{
    ASSERT(*timer->link == timer && wheel->armed_count > 0);
    *timer->link = timer->next;
    if (timer->next != NULL) timer->next->link = timer->link;
    timer->next = NULL;
    timer->link = NULL;
    wheel->armed_count--;
}

void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms)
{
    ASSERT(timer->fired != NULL);
    timer_cancel(wheel, timer);
    timer->deadline_ms = deadline_ms;
    timer_link(wheel, timer, timer_wheel_tick(wheel) + 1);
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (timer_armed(timer)) timer_unlink(wheel, timer);
}

/* Steps one tick and brings down the upper slots that begin with it. */
static void timer_wheel_step(struct timer_wheel *wheel)
{
    uint64_t tick = timer_wheel_tick(wheel) + 1;
    wheel->now_ms = tick * TIMER_TICK_MS;
    for (unsigned level = 1; level < TIMER_LEVELS; level++) {
        if (tick % (UINT64_C(1) << (level * TIMER_LEVEL_BITS)) != 0) return;
        struct timer **slot = timer_wheel_slot(wheel, level, tick);
        struct timer *list = *slot;
        *slot = NULL;
        while (list != NULL) {
            struct timer *timer = list;
            list = timer->next;
            wheel->armed_count--;
            timer_link(wheel, timer, tick);
        }
    }
}

uint32_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, uint32_t budget)
{
    uint32_t ran = 0;
    timer_wheel_tell(wheel, now_ms);
    for (;;) {
        /* Timers that the budget left over wait in the current slot, so it is looked at before every step. */
        struct timer **due = timer_wheel_slot(wheel, 0, timer_wheel_tick(wheel));
        while (*due != NULL) {
            if (ran == budget) return ran;
            struct timer *timer = *due;
            timer_unlink(wheel, timer);
            ran++;
            timer->fired(timer);
        }
        bool reached = timer_wheel_tick(wheel) >= now_ms / TIMER_TICK_MS;
        if (reached || wheel->armed_count == 0) break;
        timer_wheel_step(wheel);
    }
    if (wheel->now_ms < now_ms) wheel->now_ms = now_ms;
    return ran;
}

uint32_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint32_t most_ms)
{
    if (wheel->armed_count == 0) return most_ms;
    uint64_t now = timer_wheel_tick(wheel);
    if (wheel->slots[0][now % TIMER_SLOTS] != NULL) return 0;
    uint64_t wait_ms = most_ms;
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        unsigned shift = level * TIMER_LEVEL_BITS;
        for (uint64_t step = 1; step <= TIMER_SLOTS; step++) {
            uint64_t slot_number = (now >> shift) + step;
            uint64_t slot_ms = (slot_number << shift) * TIMER_TICK_MS - wheel->now_ms;
            if (slot_ms >= wait_ms) break;
            if (wheel->slots[level][slot_number % TIMER_SLOTS] == NULL) continue;
            wait_ms = slot_ms;
            break;
        }
    }
    return (uint32_t)wait_ms;
}
