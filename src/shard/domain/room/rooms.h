/* shard/domain/room/rooms.h - what a shard keeps in memory of rooms beside the state. A restart forgets it.
 * Owns:    the cache.             Thread:  the shard's worker.   Depends: shard/engine/machine.h.  Start at: shard/domain/room/room.h */
#ifndef SHARD_ROOM_ROOMS_H
#define SHARD_ROOM_ROOMS_H

#include "shard/domain/areas.h"
#include "shard/domain/room/body_cache.h"
#include "shard/engine/machine.h"

struct rooms {
    struct body_cache *bodies; /* of rooms of other shards */
};
static inline struct rooms *rooms_of(const struct machine *machine) { return machine->states[AREA_ROOM]; }

#endif
