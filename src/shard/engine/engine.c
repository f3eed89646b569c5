/* shard/engine/engine.c - the engine's own area: the commands that any product on it has. */
#include "shard/engine/machine.h"

#define COMMANDS(X) X(relay) X(limits) X(incarnation) X(stream_ack) X(follower_begin) X(follower_ack) X(follower_end) X(due)
AREA_COMMANDS(COMMANDS)

static const struct limit_row limits[] = {{LIMIT_DEDUP_ENTRIES, "dedup_entries", DEDUP_CAPACITY_MIN},
                                          {LIMIT_REPEAT_WINDOW_MS, "repeat_window_ms", 0},
                                          {LIMIT_REPEATS_PER_SENDER, "repeats_per_sender", 0}};

const struct area engine_area = {.name = "engine",
                                 AREA_ROWS(command, commands),
                                 AREA_ROWS(limit, limits)};
