/* shard/domain/delivery/area.c - the streams of users and the sessions that listen to them: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/engine/domain.h"

extern const struct entity_type inbox_type;

static const struct entity_type *const entities[] = {&inbox_type};

const struct area delivery_area = {.name = "delivery",
                                   .entities = entities,
                                   .entity_count = COUNT_OF(entities)};
