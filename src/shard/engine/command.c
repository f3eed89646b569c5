/* shard/engine/command.c - the frame that every command has in the log. */
#include "shard/engine/command.h"
#include "shard/engine/records.h"

enum result command_decode(struct command *out, uint16_t type, uint64_t index, struct slice body)
{
    struct cursor c = cursor_of(body);
    struct command_record frame;
    if (!command_record_read(&frame, &c)) return body.len > 0 && body.data[0] > command_record_version ? RESULT_UNSUPPORTED : RESULT_CORRUPT;
    *out = (struct command){.type = type,
                            .index = index,
                            .time_ms = frame.time_ms,
                            .actor_id = frame.actor_id,
                            .body = slice_of(c.at, cursor_left(&c))};
    return RESULT_OK;
}
