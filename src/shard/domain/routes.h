/* shard/domain/routes.h - which shard works on a request: one function for each rule that methods have.
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
ROUTE(route_send);    /* the room, or the home shard of the smaller of the two user ids */
ROUTE(route_user);    /* the partition of the user id, or the shard of the name */

#endif
