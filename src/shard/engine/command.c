/* shard/engine/command.c - the rows of the command table and the frame every command has in the log. */
#include "shard/engine/command.h"
#include "core/check.h"
#include "shard/engine/records.h"

#define COMMAND_AS_ROW(NAME, number, name) {number, {#NAME, needs_##name, check_##name, apply_##name}},
static const struct {
    uint16_t type;
    struct command_row row;
} rows[] = {COMMAND_LIST(COMMAND_AS_ROW)};

const struct command_row *command_row(uint16_t type)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].type == type) return &rows[i].row;
    return NULL;
}

const char *command_name(uint16_t type)
{
    const struct command_row *row = command_row(type);
    return row == NULL ? "?" : row->name;
}

bool command_decode(struct command *out, uint16_t type, uint64_t index, struct slice body)
{
    struct cursor c = cursor_of(body);
    struct command_record frame;
    if (command_row(type) == NULL || !command_record_read(&frame, &c)) return false;
    *out = (struct command){.type = (enum command_type)type,
                            .index = index,
                            .time_ms = frame.time_ms,
                            .actor_id = frame.actor_id,
                            .body = slice_of(c.at, cursor_left(&c))};
    return true;
}
