/* shard/domain/room/update.c - renaming a group, opening or closing its door and its past, and ending it. */
#include "shard/domain/fields.h"
#include "shard/domain/followed.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/room_internal.h"

/* What either of the two touches. */
static void needs_change(struct needs *needs, uint64_t room_id, uint64_t actor_id)
{
    needs_entity(needs, ENTITY_ROOM, room_id, 0);
    needs_entity(needs, ENTITY_MEMBER, room_id, actor_id);
    room_needs_local(needs, room_id, 0);
}

static void tell_change(struct machine *machine, struct room *room, uint8_t change, enum followed_kind followed, const struct command *command,
                        struct effects *effects)
{
    batch_row(machine->batch, &room->entity);
    struct relay_change_record record = {.change = change, .actor_id = command->actor_id, .time_ms = command->time_ms};
    room_tell(machine, room, &record, effects);
    if (machine->followed) followed_room(machine, followed, room->entity.key.a, command->actor_id, effects);
}

/* ---- update ---- */

static void needs_room_update(struct needs *needs, const struct command *command)
{
    needs_change(needs, COMMAND_RECORD(room_update, command).room_id, command->actor_id);
}

static enum error check_room_update(struct machine *machine, const struct command *command)
{
    struct room *room;
    return room_admits(machine, COMMAND_RECORD(room_update, command).room_id, command->actor_id, ROLE_ADMIN, &room);
}

static bool update_since_join(const struct room_update_record *update, const struct room *room)
{
    if (update->history == RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN) return room->since_join;
    return update->history == RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN;
}

static void apply_room_update(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct room_update_record update = COMMAND_RECORD(room_update, command);
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, update.room_id, 0));
    bool renames = update.name.len > 0 && !slice_equal(update.name, slice_text(room->name));
    if (renames) {
        free(room->name);
        room->name = memory_text(update.name);
    }
    bool joinable = update.joinable != 0, since_join = update_since_join(&update, room);
    if (renames || room->joinable != joinable || room->since_join != since_join) {
        room->joinable = joinable;
        room->since_join = since_join;
        tell_change(machine, room, CHANGE_ROOM_UPDATED, FOLLOWED_ROOM_UPDATED, command, effects);
    }
}

static void answer_room_update(struct machine *machine, const struct command *command, struct effects *effects)
{
    Ringpost__V1__Room out;
    room_fill(room_of(machine_entity(machine, ENTITY_ROOM, COMMAND_RECORD(room_update, command).room_id, 0)), machine, &out);
    Ringpost__V1__UpdateRoomResponse response = RINGPOST__V1__UPDATE_ROOM_RESPONSE__INIT;
    response.room = &out;
    effects_reply(effects, &response.base);
}

COMMAND_SIZE_MAX(room_update, .name = slice_of_len(NAME_SIZE_MAX))
COMMAND_ROW(room_update, ROOM_UPDATE, .needs = needs_room_update, .check = check_room_update, .answer = answer_room_update);

void handle_update_room(struct shard *shard, struct request *request)
{
    Ringpost__V1__UpdateRoomRequest *in = REQUEST_UNPACK(shard, request, UpdateRoomRequest);
    struct name_text name;
    const char *fault = in == NULL ? NULL : room_history_fault((int32_t)in->history);
    if (fault != NULL) request_refuse_because(shard, request, ERROR_BAD_FIELD, fault);
    if (in == NULL || fault != NULL || !field_clean_name(shard, request, &name, "name", in->name, false)) return;
    struct room_update_record record = {
        .room_id = in->room_id, .name = name_slice(&name), .joinable = in->joinable != 0, .history = (uint8_t)in->history};
    REQUEST_PROPOSE(shard, request, room_update, ROOM_UPDATE, &record);
}

/* ---- dismiss ---- */

static void needs_room_dismiss(struct needs *needs, const struct command *command)
{
    needs_change(needs, COMMAND_RECORD(room_dismiss, command).room_id, command->actor_id);
}

static enum error check_room_dismiss(struct machine *machine, const struct command *command)
{
    struct room *room;
    return room_admits(machine, COMMAND_RECORD(room_dismiss, command).room_id, command->actor_id, ROLE_OWNER, &room);
}

static void apply_room_dismiss(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, COMMAND_RECORD(room_dismiss, command).room_id, 0));
    room->dismissed = true;
    tell_change(machine, room, CHANGE_ROOM_DISMISSED, FOLLOWED_ROOM_DISMISSED, command, effects);
}

COMMAND_SIZE_MAX(room_dismiss, 0)
COMMAND_ROW(room_dismiss, ROOM_DISMISS, .needs = needs_room_dismiss, .check = check_room_dismiss);

void handle_dismiss_room(struct shard *shard, struct request *request)
{
    Ringpost__V1__DismissRoomRequest *in = REQUEST_UNPACK(shard, request, DismissRoomRequest);
    if (in == NULL) return;
    struct room_dismiss_record record = {.room_id = in->room_id};
    REQUEST_PROPOSE(shard, request, room_dismiss, ROOM_DISMISS, &record);
}
