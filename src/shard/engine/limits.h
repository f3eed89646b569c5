/* shard/engine/limits.h - the limits that apply reads, as a part of the state.
 * Thread:  the shard's worker; recovery before it serves.  Depends: shard/engine/machine.h.  Start at: shard/engine/machine.h
 * A replayed command must meet the limits it met when it was first applied, or an acknowledged join could be refused after a
 * restart with a smaller room_members_max. So the configured values take effect by a LIMITS command in the log: the first one of a
 * start whose configuration differs from the limits in force. What they are called and mean is written by the areas (struct limit_row).
 *
 *   the record of the command, and the row of KEY_LIMITS:
 *   +---------+-------------------------+     form 1: limits 0 to 4; form n > 1: limits 0 to n + 4. One that is missing
 *   | u8 form | u32 limit 0, 1, 2 … n   |     (the record is older than the limit) is 0.
 *   +---------+-------------------------+ */
#ifndef SHARD_LIMITS_H
#define SHARD_LIMITS_H

#include "shard/engine/machine.h"

/* The form that holds so many limits: 5, or 7 and more. */
static inline uint8_t limits_form(uint32_t count)
{
    ASSERT(count == 5 || (count > 6 && count <= LIMITS_MAX));
    return count == 5 ? 1 : (uint8_t)(count - 5);
}
/* Recovery: what was in force after the store's applied index; nothing stored: the configured values stay. */
NODISCARD enum result limits_load(struct machine *machine, struct store_view *view);
/* True when `configured` is not what is in force; then `record` gets what to propose. */
bool limits_differ(const struct machine *machine, const struct machine_options *configured, struct writer *record);

#endif
