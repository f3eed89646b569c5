/* tests/shard/alarm.h - an area made for tests: alarms, things whose whole purpose is a timer (shard/engine/timers.h). Numbers are far from
 * those of the domain.
 * Thread: one.  Used by the tests of timers and by the simulator. */
#ifndef TESTS_SHARD_ALARM_H
#define TESTS_SHARD_ALARM_H

#include "core/record.h"
#include "shard/engine/machine.h"

#define ENTITY_ALARM  30u
#define COMMAND_ALARM 250u
#define KEY_ALARM     0xf0u
#define TIMER_ALARM   62u

/* The command: it is set to `when_ms`, 0: not any more; next_start: to the next start instead; again_ms: when it fires it is set once more,
 * to so much later. */
#define ALARM_SET_FIELDS(F) F(u64, id) F(u64, when_ms) F(u8, next_start) F(u32, again_ms)
RECORD(alarm_set, ALARM_SET_FIELDS)
/* The row. number: how often it was set */
#define ALARM_FIELDS(F) F(u64, due_ms) F(u64, number) F(u64, fired) F(u32, again_ms)
RECORD(alarm, ALARM_FIELDS)

struct alarm {
    struct entity entity; /* key.a = id */
    uint64_t due_ms;
    uint64_t number, fired;
    uint32_t again_ms;
};

struct alarm_fired {
    uint16_t shard;
    uint64_t id, number, due_ms; /* what it was set to */
    uint64_t index, time_ms;     /* of the command that it fired in */
};
/* Told of each one that fires, and of each that is set (fired false). NULL: nobody is. */
extern void (*alarm_heard)(void *context, const struct alarm_fired *alarm, bool fired);
extern void *alarm_context;

/* The product with alarms. */
const struct domain *alarm_domain(void);

#endif
