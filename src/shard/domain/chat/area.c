/* shard/domain/chat/area.c - messages and what people do with them: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/engine/domain.h"

#define COMMANDS(X) X(send) X(read)
AREA_COMMANDS(COMMANDS)

const struct area chat_area = {.name = "chat",
                               AREA_ROWS(command, commands)};
