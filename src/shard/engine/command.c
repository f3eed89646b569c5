/* shard/engine/command.c - the frame that every command has in the log. */
#include "shard/engine/command.h"
#include "shard/engine/records.h"

bool command_decode(struct command *out, uint16_t type, uint64_t index, struct slice body)
{
    struct cursor c = cursor_of(body);
    struct command_record frame;
    if (!command_record_read(&frame, &c)) return false;
    *out = (struct command){.type = type,
                            .index = index,
                            .time_ms = frame.time_ms,
                            .actor_id = frame.actor_id,
                            .body = slice_of(c.at, cursor_left(&c))};
    return true;
}
