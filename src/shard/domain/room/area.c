/* shard/domain/room/area.c - rooms, their members and timelines: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/domain/letters.h"
#include "shard/domain/limits.h"
#include "shard/domain/room/online.h"
#include "shard/domain/room/owner_read.h"
#include "shard/domain/room/rooms.h"
#include "shard/engine/domain.h"
#include "shard/engine/memory.h"

extern const struct command_row room_create_command, room_update_command, room_dismiss_command, members_add_command,
    members_remove_command, role_set_command;
extern const struct entity_type room_type, member_type, direct_type, view_type, conversation_type;
extern const struct relay_row message_relay, change_relay;
extern const struct follower_row followed_room_created, followed_room_updated, followed_room_dismissed, followed_member_joined,
    followed_member_left, followed_role_changed, followed_message_stored;

static const struct command_row *const commands[] = {&room_create_command, &room_update_command, &room_dismiss_command,
                                                     &members_add_command, &members_remove_command, &role_set_command};
static const struct entity_type *const entities[] = {&room_type, &member_type, &direct_type, &view_type, &conversation_type};
static const struct relay_row *const relays[] = {&message_relay, &change_relay};
static const struct follower_row *const followed[] = {&followed_room_created, &followed_room_updated, &followed_room_dismissed,
                                                      &followed_member_joined, &followed_member_left, &followed_role_changed,
                                                      &followed_message_stored};
static const struct limit_row limits[] = {{LIMIT_ROOM_MEMBERS_MAX, "room_members_max", 1}, {LIMIT_FANOUT_THRESHOLD, "fanout_threshold", 0}};

static const struct letter_row letters[] = {
    {LETTER_ASK_ROOMS, owner_read_receive, LETTER_TELL_ROOMS},
    {LETTER_TELL_ROOMS, request_call_answer, 0},
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
                               .commands = commands,
                               .command_count = COUNT_OF(commands),
                               .entities = entities,
                               .entity_count = COUNT_OF(entities),
                               .relays = relays,
                               .relay_count = COUNT_OF(relays),
                               .followed = followed,
                               .followed_count = COUNT_OF(followed),
                               .limits = limits,
                               .limit_count = COUNT_OF(limits),
                               .letters = letters,
                               .letter_count = COUNT_OF(letters),
                               .slot = AREA_ROOM,
                               .open = rooms_open,
                               .close = rooms_close,
                               .session_opened = online_session_opened};
