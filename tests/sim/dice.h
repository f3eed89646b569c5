/* tests/sim/dice.h - the only source of chance in the simulator: one number from the seed to the last decision.
 * Thread: one.  Depends: nothing.  Start at: sim/world.h */
#ifndef TESTS_SIM_DICE_H
#define TESTS_SIM_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

/* splitmix64 */
static inline uint64_t dice_next(struct dice *dice)
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
/* 0 to count - 1. */
static inline uint32_t dice_below(struct dice *dice, uint32_t count) { return (uint32_t)(dice_next(dice) % count); }
/* Both ends included. */
static inline uint32_t dice_between(struct dice *dice, uint32_t low, uint32_t high)
{
    return low + dice_below(dice, high - low + 1);
}
static inline bool dice_percent(struct dice *dice, uint32_t percent) { return dice_below(dice, 100) < percent; }
static inline bool dice_one_in(struct dice *dice, uint32_t count) { return dice_below(dice, count) == 0; }

#endif
