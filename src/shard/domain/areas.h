/* shard/domain/areas.h - the areas that keep something in memory beside the state: their places in machine.states.
 * Thread: any.  Depends: nothing.  Start at: shard/engine/domain.h */
#ifndef SHARD_DOMAIN_AREAS_H
#define SHARD_DOMAIN_AREAS_H

enum area_slot { AREA_DELIVERY, AREA_PRESENCE, AREA_ROOM, AREA_MQTT };

#endif
