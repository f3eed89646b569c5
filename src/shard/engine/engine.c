/* shard/engine/engine.c - the engine's own area: the commands that any product on it has. */
#include "shard/engine/domain.h"

extern const struct command_row relay_command, limits_command, incarnation_command, stream_ack_command, follower_begin_command,
    follower_ack_command, follower_end_command, due_command;

static const struct command_row *const commands[] = {&relay_command,        &limits_command,         &incarnation_command,
                                                     &stream_ack_command,   &follower_begin_command, &follower_ack_command,
                                                     &follower_end_command, &due_command};

const struct area engine_area = {.name = "engine", .commands = commands, .command_count = COUNT_OF(commands)};
