/* shard/domain/room/role.c - who may do what in a group. The owner gives roles; giving OWNER hands the room over and makes the
 * old owner an admin.
 *
 *              send, leave   invite, update, remove members   remove admins, dismiss, set_role
 *   MEMBER         yes
 *   ADMIN          yes                     yes
 *   OWNER     yes (last one out)           yes                              yes */
#include "shard/domain/followed.h"
#include "shard/domain/room/room_internal.h"

static void needs_role_set(struct needs *needs, const struct command *command)
{
    struct role_set_record set = COMMAND_RECORD(role_set, command);
    needs_entity(needs, ENTITY_ROOM, set.room_id, 0);
    needs_entity(needs, ENTITY_MEMBER, set.room_id, command->actor_id);
    needs_entity(needs, ENTITY_MEMBER, set.room_id, set.user_id);
    room_needs_local(needs, set.room_id, set.user_id);
    room_needs_local(needs, set.room_id, command->actor_id);
}

static enum error check_role_set(struct machine *machine, const struct command *command)
{
    struct role_set_record set = COMMAND_RECORD(role_set, command);
    struct room *room;
    enum error error = room_admits(machine, set.room_id, command->actor_id, ROLE_OWNER, &room);
    if (error != ERROR_NONE) return error;
    if (!machine_entity(machine, ENTITY_MEMBER, set.room_id, set.user_id)->exists) return ERROR_MEMBER_NOT_FOUND;
    return set.user_id == command->actor_id && set.role != ROLE_OWNER ? ERROR_OWNER_MUST_STAY : ERROR_NONE;
}

static void role_change(struct machine *machine, struct room *room, struct member *member, uint8_t role,
                        const struct command *command, struct effects *effects)
{
    member->role = role;
    member_put(member, effects);
    struct relay_change_record change = {.change = CHANGE_MEMBER_ROLE,
                                         .actor_id = command->actor_id,
                                         .target_id = member->entity.key.b,
                                         .target_name = slice_text(member->name),
                                         .role = role,
                                         .time_ms = command->time_ms};
    room_tell(machine, room, &change, effects);
    if (!machine->followed) return;
    struct followed_member_record record = {.room_id = room->entity.key.a,
                                            .user_id = change.target_id,
                                            .actor_id = change.actor_id,
                                            .time_ms = change.time_ms,
                                            .role = role};
    followed_member(machine, FOLLOWED_ROLE_CHANGED, &record, effects);
}

static void apply_role_set(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct role_set_record set = COMMAND_RECORD(role_set, command);
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, set.room_id, 0));
    struct member *member = member_of(machine_entity(machine, ENTITY_MEMBER, set.room_id, set.user_id));
    struct member *owner = member_of(machine_entity(machine, ENTITY_MEMBER, set.room_id, command->actor_id));
    if (member->role != set.role) {
        if (set.role == ROLE_OWNER) {
            room->owner_id = set.user_id;
            batch_row(machine->batch, &room->entity);
        }
        role_change(machine, room, member, set.role, command, effects);
        if (set.role == ROLE_OWNER) role_change(machine, room, owner, ROLE_ADMIN, command, effects);
    }
}

COMMAND_SIZE_MAX(role_set, 0)
COMMAND_ROW(role_set, ROLE_SET, .needs = needs_role_set, .check = check_role_set);

void handle_set_role(struct shard *shard, struct request *request)
{
    Ringpost__V1__SetRoleRequest *in = REQUEST_UNPACK(shard, request, SetRoleRequest);
    if (in == NULL) return;
    int role = (int)in->role;
    if (role < ROLE_MEMBER || role > ROLE_OWNER) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "role: MEMBER, ADMIN or OWNER");
        return;
    }
    if (id_type(in->user_id) != ID_USER || id_partition(in->user_id) >= request_machine(shard)->options.shard_count) {
        request_refuse(shard, request, ERROR_MEMBER_NOT_FOUND);
        return;
    }
    struct role_set_record record = {.room_id = in->room_id, .user_id = in->user_id, .role = (uint8_t)role};
    REQUEST_PROPOSE(shard, request, role_set, ROLE_SET, &record);
}
