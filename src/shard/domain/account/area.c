/* shard/domain/account/area.c - accounts, their devices and names: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/domain/account/account_internal.h"
#include "shard/domain/limits.h"

#define COMMANDS(X) X(user_create) X(device_put) X(refresh) X(device_revoke) X(revocation_time) X(user_rename)
#define ENTITIES(X) X(name) X(account)
#define FOLLOWED(X) X(user_created) X(user_updated) X(device_added) X(device_revoked)
AREA_COMMANDS(COMMANDS)
AREA_ENTITIES(ENTITIES)
AREA_FOLLOWED(FOLLOWED)
static const struct limit_row limits[] = {{LIMIT_DEVICES_PER_USER_MAX, "devices_per_user_max", 0}};

const struct area account_area = {.name = "account",
                                  AREA_ROWS(command, commands),
                                  AREA_ROWS(entity, entities),
                                  AREA_ROWS(followed, followed),
                                  AREA_ROWS(limit, limits),
                                  .admit = admit_run};
