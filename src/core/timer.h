/* core/timer.h - a hierarchical timer wheel: arm, re-arm and cancel in constant time.
 * Owns:    nothing; timers are embedded in their owners and pinned while armed.
 * Thread:  the worker that owns the wheel.
 * Depends: core/ only.            Start at: core/core.h
 * Resolution is one tick (TIMER_TICK_MS); a timer never fires early and at most one tick plus one turn late. */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_TICK_MS 4
#define TIMER_LEVELS 4
#define TIMER_SLOTS 64 /* per level: 4 levels of 64 slots of 4 ms reach 18.6 hours; later deadlines wait in the last slot */

struct timer {
    struct timer *next, **link; /* link == NULL: not armed */
    uint64_t deadline_ms;
    void (*fired)(struct timer *timer); /* may arm it again, or free its owner */
};

struct timer_wheel {
    uint64_t now_ms;  /* how far its timers were run */
    uint64_t time_ms; /* the time as last told; never behind now_ms */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
    uint32_t armed_count;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);
/* Tells the time without running timers: once the loop has slept, before anything counts a deadline from it. */
static inline void timer_wheel_tell(struct timer_wheel *wheel, uint64_t time_ms)
{
    if (wheel->time_ms < time_ms) wheel->time_ms = time_ms;
}
/* What deadlines count from. Not now_ms: while the loop sleeps, and while timers catch up, the wheel is behind the time. */
static inline uint64_t timer_wheel_time_ms(const struct timer_wheel *wheel) { return wheel->time_ms; }
static inline bool timer_armed(const struct timer *timer) { return timer->link != NULL; }
/* Arms, or moves when armed. `timer->fired` must be set. */
void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms);
/* Does nothing when not armed. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);
/* Tells the time and runs at most `budget` due timers; returns how many ran. Not reentrant. */
uint32_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, uint32_t budget);
/* Milliseconds until the next due timer as far as known without walking, at most `most_ms`. */
uint32_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint32_t most_ms);

#endif
