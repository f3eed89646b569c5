/* shard/engine/engine.c - the engine's own area: the commands that any product on it has. */
#include "shard/engine/machine.h"

extern const struct command_row relay_command, limits_command, incarnation_command, stream_ack_command, follower_begin_command,
    follower_ack_command, follower_end_command, due_command;

static const struct command_row *const commands[] = {&relay_command,        &limits_command,         &incarnation_command,
                                                     &stream_ack_command,   &follower_begin_command, &follower_ack_command,
                                                     &follower_end_command, &due_command};

static const struct limit_row limits[] = {{LIMIT_DEDUP_ENTRIES, "dedup_entries", DEDUP_CAPACITY_MIN},
                                          {LIMIT_REPEAT_WINDOW_MS, "repeat_window_ms", 0},
                                          {LIMIT_REPEATS_PER_SENDER, "repeats_per_sender", 0}};

const struct area engine_area = {.name = "engine",
                                 .commands = commands,
                                 .command_count = COUNT_OF(commands),
                                 .limits = limits,
                                 .limit_count = COUNT_OF(limits)};
