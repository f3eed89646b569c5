/* shard/domain/routes.h - which shard works on a request: one function for each rule that methods have. The contract says which one
 * a method has and what it reads (`// @owner room(room_id)`); tools/contract.py knows the rules and the types of what they read.
 * Thread: any.                    Depends: shard/engine/method.h.  Start at: shard/engine/method.h */
#ifndef SHARD_DOMAIN_ROUTES_H
#define SHARD_DOMAIN_ROUTES_H

#include "shard/engine/method.h"

#define ROUTE(name)                                                                                                    \
    enum error name(const struct method *method, struct slice payload, uint64_t actor_id, uint16_t shard_count,        \
                    uint16_t *shard)

ROUTE(route_actor);   /* the home shard of who asks */
ROUTE(route_name);    /* the shard of the user name in owner_field */
ROUTE(route_refresh); /* the user inside the refresh token in owner_field */
ROUTE(route_room);    /* the partition of the room id in owner_field */
ROUTE(route_send);    /* the room in owner_field, or the home shard of the smaller of two user ids: who asks, other_field */
ROUTE(route_user);    /* the shard of the user name in owner_field, or the partition of the user id in other_field */

#endif
