/* shard/domain/commands.h - the numbers of the domain's commands: their types in the log, for ever, never used again.
 * Thread: any.  Depends: shard/engine/command.h, which has the engine's own.  Start at: shard/engine/shard.h */
#ifndef SHARD_DOMAIN_COMMANDS_H
#define SHARD_DOMAIN_COMMANDS_H

#include "shard/engine/command.h"

enum domain_command_type {
    COMMAND_USER_CREATE = 10,     /* account/register.c */
    COMMAND_DEVICE_PUT = 11,      /* account/login.c */
    COMMAND_REFRESH = 12,         /* account/refresh.c */
    COMMAND_DEVICE_REVOKE = 13,   /* account/device.c */
    COMMAND_SEEN = 14,            /* presence/seen.c */
    COMMAND_REVOCATION_TIME = 15, /* account/device.c */
    COMMAND_USER_RENAME = 16,     /* account/display_name.c */
    COMMAND_SEND = 20,            /* chat/send.c */
    COMMAND_READ = 21,            /* chat/mark_read.c */
    COMMAND_ROOM_CREATE = 30,     /* room/create.c */
    COMMAND_ROOM_UPDATE = 31,     /* room/update.c */
    COMMAND_ROOM_DISMISS = 32,    /* room/update.c */
    COMMAND_MEMBERS_ADD = 33,     /* room/membership.c */
    COMMAND_MEMBERS_REMOVE = 34,  /* room/membership.c */
    COMMAND_ROLE_SET = 35,        /* room/role.c */
    COMMAND_MQTT_SESSION = 50,    /* mqtt/state.c */
    COMMAND_RETAINED_CLEAR = 51,  /* mqtt/retained.c */
    COMMAND_MQTT_WILL = 52,       /* mqtt/wills.c */
    COMMAND_MQTT_WILL_SENT = 53,  /* mqtt/wills.c */
    COMMAND_MQTT_WILL_BACK = 54,  /* mqtt/wills.c */
};

#endif
