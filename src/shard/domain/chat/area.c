/* shard/domain/chat/area.c - messages and what people do with them: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/engine/domain.h"

extern const struct command_row send_command, read_command;

static const struct command_row *const commands[] = {&send_command, &read_command};

const struct area chat_area = {.name = "chat",
                               .commands = commands,
                               .command_count = COUNT_OF(commands)};
