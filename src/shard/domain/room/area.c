/* shard/domain/room/area.c - rooms, their members and timelines: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/domain/letters.h"
#include "shard/domain/limits.h"
#include "shard/domain/room/large.h"
#include "shard/domain/room/online.h"
#include "shard/domain/room/owner_read.h"
#include "shard/domain/room/rooms.h"
#include "shard/engine/domain.h"
#include "shard/engine/memory.h"

#define COMMANDS(X) X(room_create) X(room_update) X(room_dismiss) X(members_add) X(members_remove) X(role_set)
#define ENTITIES(X) X(room) X(member) X(direct) X(view) X(conversation)
#define RELAYS(X) X(message) X(change)
#define FOLLOWED(X) X(room_created) X(room_updated) X(room_dismissed) X(member_joined) X(member_left) X(role_changed) X(message_stored)
AREA_COMMANDS(COMMANDS)
AREA_ENTITIES(ENTITIES)
AREA_RELAYS(RELAYS)
AREA_FOLLOWED(FOLLOWED)
static const struct limit_row limits[] = {{LIMIT_ROOM_MEMBERS_MAX, "room_members_max", 1}, {LIMIT_FANOUT_THRESHOLD, "fanout_threshold", 0},
                                          {LIMIT_LARGE_TOLD, "large_told", 0}};

static const struct letter_row letters[] = {
    {LETTER_ASK_ROOMS, owner_read_receive, LETTER_TELL_ROOMS},
    {LETTER_TELL_ROOMS, request_call_answer, 0},
    {LETTER_ROOM_MESSAGE, large_receive, 0},
};

static enum result rooms_open(struct machine *machine, void **state)
{
    struct rooms *rooms = memory_alloc(sizeof *rooms);
    bool alone = machine->options.shard_count == 1;
    rooms->bodies = body_cache_create(alone ? 0 : machine->options.body_cache_bytes);
    *state = rooms;
    return RESULT_OK;
}

static void rooms_close(struct machine *machine, void *state)
{
    (void)machine;
    struct rooms *rooms = state;
    body_cache_destroy(rooms->bodies);
    free(rooms);
}

const struct area room_area = {.name = "room",
                               AREA_ROWS(command, commands),
                               AREA_ROWS(entity, entities),
                               AREA_ROWS(relay, relays),
                               AREA_ROWS(followed, followed),
                               AREA_ROWS(limit, limits),
                               AREA_ROWS(letter, letters),
                               .slot = AREA_ROOM,
                               .open = rooms_open,
                               .close = rooms_close,
                               .perform = large_perform,
                               .session_opened = online_session_opened};
