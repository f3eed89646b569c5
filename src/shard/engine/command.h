/* shard/engine/command.h - the table of commands: all that can change a shard, and the only way to change it.
 * Thread: the shard's worker.  Depends: api/error.h, shard/engine/entity.h.  Start at: shard/engine/shard.h
 * A command's number is its type in the log, for ever. */
#ifndef SHARD_COMMAND_H
#define SHARD_COMMAND_H

#include "api/error.h"
#include "core/cursor.h"
#include "shard/engine/entity.h"

struct effects;

/*    NAME             number  owner file */
#define COMMAND_LIST(X)                                                                                                \
    X(RELAY, 1, relay)                   /* relay.c */                                                                \
    X(LIMITS, 2, limits)                 /* limits.c */                                                               \
    X(INCARNATION, 3, incarnation)       /* incarnation.c */                                                          \
    X(STREAM_ACK, 4, stream_ack)         /* acknowledge.c */                                                          \
    X(FOLLOWER_BEGIN, 6, follower_begin) /* follower.c */                                                             \
    X(FOLLOWER_ACK, 7, follower_ack)     /* follower.c */                                                             \
    X(FOLLOWER_END, 8, follower_end)     /* follower.c */                                                             \
    X(USER_CREATE, 10, user_create)      /* account/register.c */                                                     \
    X(DEVICE_PUT, 11, device_put)        /* account/login.c */                                                        \
    X(REFRESH, 12, refresh)              /* account/refresh.c */                                                      \
    X(DEVICE_REVOKE, 13, device_revoke)  /* account/device.c */                                                       \
    X(REVOCATION_TIME, 15, revocation_time) /* account/device.c */                                                    \
    X(SEEN, 14, seen)                    /* presence/seen.c */                                                        \
    X(SEND, 20, send)                    /* chat/send.c */                                                            \
    X(READ, 21, read)                    /* chat/mark_read.c */                                                       \
    X(ROOM_CREATE, 30, room_create)      /* room/create.c */                                                          \
    X(ROOM_UPDATE, 31, room_update)      /* room/update.c */                                                          \
    X(ROOM_DISMISS, 32, room_dismiss)    /* room/update.c */                                                          \
    X(MEMBERS_ADD, 33, members_add)      /* room/membership.c */                                                      \
    X(MEMBERS_REMOVE, 34, members_remove) /* room/membership.c */                                                     \
    X(ROLE_SET, 35, role_set)            /* room/role.c */                                                            \
    X(MQTT_SESSION, 50, mqtt_session)    /* mqtt/state.c */                                                           \
    X(RETAINED_CLEAR, 51, retained_clear) /* mqtt/retained.c */

#define COMMAND_AS_ENUM(NAME, number, name) COMMAND_##NAME = number,
enum command_type { COMMAND_LIST(COMMAND_AS_ENUM) };
#undef COMMAND_AS_ENUM

struct command {
    enum command_type type;
    uint64_t index;   /* in the log; 0 while it is only being checked */
    uint64_t time_ms; /* when it was proposed: the only clock apply has */
    uint64_t actor_id;
    struct slice body; /* the record of its type */
};

struct command_row {
    const char *name;
    /* Names every entity that check and apply read or write. Called again until none is missing; what it learns from a
     * resident entity may lead to more. Since that one is pinned from then on, only something that a command makes
     * (entity_create) may change the answer: then it is called once more before apply. */
    void (*needs)(struct needs *needs, const struct command *command);
    /* May it happen? Reads resident state only, changes nothing. Run before the log and again before apply. */
    enum error (*check)(struct machine *machine, const struct command *command);
    /* Makes it happen: changes entities and says the effects. Pure: no clock, no randomness, no I/O. */
    void (*apply)(struct machine *machine, const struct command *command, struct effects *effects);
};
/* NULL when there is no such type. */
const struct command_row *command_row(uint16_t type);
/* "SEND", or "?" */
const char *command_name(uint16_t type);
/* False when the bytes are no command (foreign or damaged log). */
bool command_decode(struct command *out, uint16_t type, uint64_t index, struct slice body);

#define COMMAND_AS_PROTOTYPE(NAME, number, name)                                                                       \
    void needs_##name(struct needs *needs, const struct command *command);                                             \
    enum error check_##name(struct machine *machine, const struct command *command);                                   \
    void apply_##name(struct machine *machine, const struct command *command, struct effects *effects);
COMMAND_LIST(COMMAND_AS_PROTOTYPE)
#undef COMMAND_AS_PROTOTYPE

/* The record of a command whose bytes are our own: decoding cannot fail. */
#define COMMAND_RECORD(name, command)                                                                                  \
    __extension__({                                                                                                    \
        struct name##_record record_;                                                                                  \
        struct cursor cursor_ = cursor_of((command)->body);                                                            \
        bool read_ = name##_record_read(&record_, &cursor_);                                                           \
        ASSERT(read_ && cursor_done(&cursor_));                                                                        \
        record_;                                                                                                       \
    })

#endif
