/* core/clock.h - wall time, monotonic time and randomness from the system, and the clock that the server trusts.
 * Thread: any; a trusted clock is observed by one owner and read by all.
 * Domain code never calls these: time and randomness reach it as arguments, so that it replays.
 *
 * The trusted clock runs on the time since boot, from an anchor, and follows the wall clock: differences up to `skew_ms` at once. A
 * larger step, forward or back, is only reported; it is followed when it has held without interruption for `hold_ms`. So a wall
 * clock that is a month ahead for some seconds changes nothing, and one that was set right is believed after a while.
 *
 *     FOLLOWS --step--> STEPPED --back within skew_ms--> FOLLOWS
 *                       STEPPED --another step--> STEPPED, held from now on
 *                       STEPPED --held for hold_ms--> FOLLOWS, with the wall clock's time
 * At the start there is nothing to compare the wall clock with: it is believed. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t clock_wall_ms(void);      /* since 1970, UTC */
uint64_t clock_monotonic_ns(void);
uint64_t clock_boot_ms(void);      /* monotonic, and runs on while the machine sleeps */
/* The wall clock and the time since boot of one moment. */
void clock_read_both(uint64_t *boot_ms, uint64_t *wall_ms);
void clock_random(void *out, size_t len); /* from the kernel; never fails (ends the process where it would) */

struct trusted_clock {
    _Atomic int64_t offset_ms; /* trusted time less the time since boot; read by any thread */
    /* The owner's: */
    uint64_t skew_ms, hold_ms;
    bool stepped;                /* the wall clock is elsewhere */
    int64_t candidate_ms;        /* then: its offset */
    uint64_t since_boot_ms;      /* then: since when */
};

enum clock_observed {
    CLOCK_FOLLOWED, /* nothing to tell */
    CLOCK_STEPPED,  /* a step larger than skew_ms; not followed */
    CLOCK_RETURNED, /* the step is over: the wall clock is back at the trusted one */
    CLOCK_ADOPTED,  /* the step has held: followed from now on */
};

void trusted_clock_init(struct trusted_clock *clock, uint64_t skew_ms, uint64_t hold_ms, uint64_t boot_ms, uint64_t wall_ms);
/* The owner, about once a second. *step_ms: how far the wall clock is ahead of what was trusted until now. */
enum clock_observed trusted_clock_observe(struct trusted_clock *clock, uint64_t boot_ms, uint64_t wall_ms, int64_t *step_ms);
/* The trusted time, since 1970, at that time since boot. */
static inline uint64_t trusted_clock_at(const struct trusted_clock *clock, uint64_t boot_ms)
{
    return boot_ms + (uint64_t)atomic_load_explicit(&clock->offset_ms, memory_order_relaxed);
}
static inline uint64_t trusted_clock_now_ms(const struct trusted_clock *clock)
{
    return trusted_clock_at(clock, clock_boot_ms());
}

#endif
