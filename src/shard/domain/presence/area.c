/* shard/domain/presence/area.c - who is here, was here, and looks at whom: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/engine/domain.h"

extern const struct command_row seen_command;

static const struct command_row *const commands[] = {&seen_command};

const struct area presence_area = {.name = "presence",
                                   .commands = commands,
                                   .command_count = COUNT_OF(commands)};
