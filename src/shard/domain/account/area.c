/* shard/domain/account/area.c - accounts, their devices and names: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/domain/account/account_internal.h"
#include "shard/domain/limits.h"

extern const struct command_row user_create_command, device_put_command, refresh_command, device_revoke_command, revocation_time_command,
    user_rename_command;
extern const struct entity_type name_type, account_type;
extern const struct follower_row followed_user_created, followed_user_updated, followed_device_added, followed_device_revoked;

static const struct command_row *const commands[] = {&user_create_command, &device_put_command, &refresh_command, &device_revoke_command,
                                                     &revocation_time_command, &user_rename_command};
static const struct entity_type *const entities[] = {&name_type, &account_type};
static const struct follower_row *const followed[] = {&followed_user_created, &followed_user_updated, &followed_device_added,
                                                      &followed_device_revoked};
static const struct limit_row limits[] = {{LIMIT_DEVICES_PER_USER_MAX, "devices_per_user_max", 0}};

const struct area account_area = {.name = "account",
                                  .commands = commands,
                                  .command_count = COUNT_OF(commands),
                                  .entities = entities,
                                  .entity_count = COUNT_OF(entities),
                                  .followed = followed,
                                  .followed_count = COUNT_OF(followed),
                                  .limits = limits,
                                  .limit_count = COUNT_OF(limits),
                                  .admit = admit_run};
