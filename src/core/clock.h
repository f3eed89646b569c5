/* core/clock.h - wall time, monotonic time and randomness from the system.
 * Thread: any.  Domain code never calls these: time and randomness reach it as arguments, so that it replays. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_wall_ms(void);      /* since 1970, UTC */
uint64_t clock_monotonic_ns(void);
void clock_random(void *out, size_t len); /* from the kernel; never fails (ends the process where it would) */

#endif
