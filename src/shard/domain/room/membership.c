/* shard/domain/room/membership.c - coming and going: join and invite are MEMBERS_ADD, leave and remove are MEMBERS_REMOVE.
 * The limit is exact: check counts the newcomers against the members of the moment it runs, and it runs again right
 * before apply, after every earlier command of the batch. An invitation is all or none; whoever is a member already is
 * left out. */
#include "shard/domain/delivery/lookup.h"
#include "shard/domain/room/room_internal.h"

static struct member *member_at(struct machine *machine, uint64_t room_id, uint64_t user_id)
{
    return member_of(machine_entity(machine, ENTITY_MEMBER, room_id, user_id));
}

/* The room, the actor's membership, and for each of `people` the membership and what this shard keeps of it. */
static void membership_needs(struct needs *needs, uint64_t room_id, uint64_t actor_id, struct slice people)
{
    needs_entity(needs, ENTITY_ROOM, room_id, 0);
    needs_entity(needs, ENTITY_MEMBER, room_id, actor_id);
    struct cursor c = cursor_of(people);
    struct person_record person;
    while (person_next(&c, &person)) {
        needs_entity(needs, ENTITY_MEMBER, room_id, person.user_id);
        room_needs_local(needs, room_id, person.user_id);
    }
}

/* ---- add ---- */

static void needs_members_add(struct needs *needs, const struct command *command)
{
    struct members_add_record add = COMMAND_RECORD(members_add, command);
    membership_needs(needs, add.room_id, command->actor_id, add.people);
}

/* A stranger learns of a room that it exists only where it is open to strangers. */
static enum error check_join(struct machine *machine, uint64_t room_id, uint64_t actor_id)
{
    const struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, room_id, 0));
    bool is_open = room->entity.exists && room->type == TYPE_GROUP && room->joinable && !room->dismissed;
    if (!is_open && !member_at(machine, room_id, actor_id)->entity.exists) return ERROR_ROOM_NOT_FOUND;
    if (room->type == TYPE_DIRECT) return ERROR_ROOM_IS_DIRECT;
    return room->dismissed ? ERROR_ROOM_DISMISSED : ERROR_NONE;
}

static enum error check_members_add(struct machine *machine, const struct command *command)
{
    struct members_add_record add = COMMAND_RECORD(members_add, command);
    struct room *room;
    enum error error = add.invited ? room_admits(machine, add.room_id, command->actor_id, ROLE_ADMIN, &room)
                                   : check_join(machine, add.room_id, command->actor_id);
    if (error != ERROR_NONE) return error;
    room = room_of(machine_entity(machine, ENTITY_ROOM, add.room_id, 0));
    uint32_t newcomers = 0;
    struct cursor people = cursor_of(add.people);
    struct person_record person;
    while (person_next(&people, &person)) newcomers += !member_at(machine, add.room_id, person.user_id)->entity.exists;
    return newcomers > 0 && room->member_count + newcomers > room_member_max(machine, room->type) ? ERROR_ROOM_FULL
                                                                                                  : ERROR_NONE;
}

static void apply_members_add(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct members_add_record add = COMMAND_RECORD(members_add, command);
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, add.room_id, 0));
    struct cursor people = cursor_of(add.people);
    struct person_record person;
    while (person_next(&people, &person)) {
        if (member_at(machine, add.room_id, person.user_id)->entity.exists) continue;
        room_add_member(machine, room, &person, ROLE_MEMBER, command->actor_id, command->time_ms, effects);
        effects->result++;
    }
}

static void answer_members_add(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct members_add_record add = COMMAND_RECORD(members_add, command);
    Ringpost__V1__InviteResponse invited = RINGPOST__V1__INVITE_RESPONSE__INIT;
    Ringpost__V1__JoinRoomResponse joined = RINGPOST__V1__JOIN_ROOM_RESPONSE__INIT;
    Ringpost__V1__Room room;
    room_fill(room_of(machine_entity(machine, ENTITY_ROOM, add.room_id, 0)), machine, &room);
    invited.room = joined.room = &room;
    invited.added_count = (uint32_t)effects->result;
    effects_reply(effects, add.invited ? &invited.base : &joined.base);
}

COMMAND_SIZE_MAX(members_add, .people = slice_of_len(people_size_max()))
COMMAND_ROW(members_add, MEMBERS_ADD, .needs = needs_members_add, .check = check_members_add, .answer = answer_members_add);

/* ---- remove ---- */

static void needs_members_remove(struct needs *needs, const struct command *command)
{
    struct members_remove_record remove = COMMAND_RECORD(members_remove, command);
    membership_needs(needs, remove.room_id, command->actor_id, remove.people);
}

/* Leaving is removing oneself and nobody else. */
static bool is_leave(const struct members_remove_record *remove, uint64_t actor_id)
{
    struct cursor people = cursor_of(remove->people);
    struct person_record person;
    return person_next(&people, &person) && person.user_id == actor_id;
}

/* A dismissed room may be left by all, its owner too. */
static enum error check_leave(struct machine *machine, uint64_t room_id, uint64_t actor_id)
{
    const struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, room_id, 0));
    const struct member *member = member_at(machine, room_id, actor_id);
    if (!room->entity.exists || !member->entity.exists) return ERROR_ROOM_NOT_FOUND;
    if (room->type == TYPE_DIRECT) return ERROR_ROOM_IS_DIRECT;
    bool abandons = member->role == ROLE_OWNER && room->member_count > 1 && !room->dismissed;
    return abandons ? ERROR_OWNER_MUST_STAY : ERROR_NONE;
}

static enum error check_members_remove(struct machine *machine, const struct command *command)
{
    struct members_remove_record remove = COMMAND_RECORD(members_remove, command);
    if (is_leave(&remove, command->actor_id)) return check_leave(machine, remove.room_id, command->actor_id);
    struct room *room;
    enum error error = room_admits(machine, remove.room_id, command->actor_id, ROLE_ADMIN, &room);
    if (error != ERROR_NONE) return error;
    uint8_t own_role = member_at(machine, remove.room_id, command->actor_id)->role;
    struct cursor people = cursor_of(remove.people);
    struct person_record person;
    while (person_next(&people, &person)) {
        const struct member *member = member_at(machine, remove.room_id, person.user_id);
        if (member->entity.exists && member->role >= own_role) return ERROR_ROLE_TOO_LOW;
    }
    return ERROR_NONE;
}

static void apply_members_remove(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct members_remove_record remove = COMMAND_RECORD(members_remove, command);
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, remove.room_id, 0));
    struct cursor people = cursor_of(remove.people);
    struct person_record person;
    while (person_next(&people, &person)) {
        struct member *member = member_at(machine, remove.room_id, person.user_id);
        if (!member->entity.exists) continue;
        room_remove_member(machine, room, member, command->actor_id, command->time_ms, effects);
        effects->result++;
    }
}

static void answer_members_remove(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct members_remove_record remove = COMMAND_RECORD(members_remove, command);
    if (is_leave(&remove, command->actor_id)) return; /* its answer has no fields */
    Ringpost__V1__Room room;
    room_fill(room_of(machine_entity(machine, ENTITY_ROOM, remove.room_id, 0)), machine, &room);
    Ringpost__V1__RemoveMembersResponse response = RINGPOST__V1__REMOVE_MEMBERS_RESPONSE__INIT;
    response.room = &room;
    response.removed_count = (uint32_t)effects->result;
    effects_reply(effects, &response.base);
}

COMMAND_SIZE_MAX(members_remove, .people = slice_of_len(people_size_max()))
COMMAND_ROW(members_remove, MEMBERS_REMOVE, .needs = needs_members_remove, .check = check_members_remove, .answer = answer_members_remove);

/* ---- the methods ---- */

static void propose_add(struct shard *shard, struct request *request, uint64_t room_id, bool invited,
                        struct slice people)
{
    struct members_add_record record = {.room_id = room_id, .invited = invited, .people = people};
    REQUEST_PROPOSE(shard, request, members_add, MEMBERS_ADD, &record);
}

static void propose_remove(struct shard *shard, struct request *request, uint64_t room_id, struct slice people)
{
    struct members_remove_record record = {.room_id = room_id, .people = people};
    REQUEST_PROPOSE(shard, request, members_remove, MEMBERS_REMOVE, &record);
}

/* One who is no member yet and has all the rooms one may have: true when the request was refused for that, or waits to
 * know. */
static bool refuse_full(struct shard *shard, struct request *request, uint64_t room_id,
                         const struct user_found *people, uint32_t count,
                         bool (*rooms_full)(const struct shard *, const struct user_found *))
{
    for (uint32_t i = 0; i < count; i++) {
        if (!rooms_full(shard, &people[i])) continue;
        struct entity *member = request_entity(shard, request, ENTITY_MEMBER, room_id, people[i].user_id);
        if (member == NULL || member->exists) continue;
        request_refuse(shard, request, ERROR_TOO_MANY_ROOMS);
        return true;
    }
    return request_waits(request);
}

void handle_join_room(struct shard *shard, struct request *request)
{
    Ringpost__V1__JoinRoomRequest *in = REQUEST_UNPACK(shard, request, JoinRoomRequest);
    if (in == NULL) return;
    const struct user_found *own = NULL;
    if (!users_look_up(shard, request, &request->actor.user_id, 1, &own)) return;
    if (!own->exists) {
        request_refuse(shard, request, ERROR_USER_NOT_FOUND);
        return;
    }
    if (refuse_full(shard, request, in->room_id, own, 1, person_rooms_full)) return;
    struct person_record person = {.user_id = request->actor.user_id, .name = request->actor.name};
    struct writer list;
    writer_init(&list, 0);
    person_record_write(&list, &person);
    propose_add(shard, request, in->room_id, false, writer_slice(&list));
    writer_deinit(&list);
}

void handle_invite(struct shard *shard, struct request *request)
{
    Ringpost__V1__InviteRequest *in = REQUEST_UNPACK(shard, request, InviteRequest);
    if (in == NULL) return;
    if (in->n_user_ids == 0) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "user_ids: 1 to 100");
        return;
    }
    struct guests guests;
    if (!guests_collect(&guests, shard, request, "user_ids", in->user_ids, in->n_user_ids)) return;
    const struct user_found *people = guests_ask(&guests, shard, request);
    struct entity *own = people == NULL ? NULL : request_entity(shard, request, ENTITY_MEMBER, in->room_id, request->actor.user_id);
    if (own == NULL) return;
    /* That those who are in it already need no room more would tell a stranger who is. */
    if (own->exists && refuse_full(shard, request, in->room_id, people, guests.count, guest_rooms_full)) return;
    struct writer list;
    writer_init(&list, 0);
    for (uint32_t i = 0; i < guests.count; i++) {
        struct person_record person = {.user_id = guests.ids[i], .name = people[i].name};
        person_record_write(&list, &person);
    }
    propose_add(shard, request, in->room_id, true, writer_slice(&list));
    writer_deinit(&list);
}

void handle_leave_room(struct shard *shard, struct request *request)
{
    Ringpost__V1__LeaveRoomRequest *in = REQUEST_UNPACK(shard, request, LeaveRoomRequest);
    if (in == NULL) return;
    struct person_record person = {.user_id = request->actor.user_id};
    struct writer list;
    writer_init(&list, 0);
    person_record_write(&list, &person);
    propose_remove(shard, request, in->room_id, writer_slice(&list));
    writer_deinit(&list);
}

void handle_remove_members(struct shard *shard, struct request *request)
{
    Ringpost__V1__RemoveMembersRequest *in = REQUEST_UNPACK(shard, request, RemoveMembersRequest);
    if (in == NULL) return;
    for (size_t i = 0; i < in->n_user_ids; i++)
        if (in->user_ids[i] == request->actor.user_id) {
            request_refuse_because(shard, request, ERROR_BAD_FIELD, "user_ids: leave removes yourself");
            return;
        }
    if (in->n_user_ids == 0) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "user_ids: 1 to 100");
        return;
    }
    struct guests guests;
    if (!guests_collect(&guests, shard, request, "user_ids", in->user_ids, in->n_user_ids)) return;
    struct writer list;
    writer_init(&list, 0);
    for (uint32_t i = 0; i < guests.count; i++) {
        struct person_record person = {.user_id = guests.ids[i]};
        person_record_write(&list, &person);
    }
    propose_remove(shard, request, in->room_id, writer_slice(&list));
    writer_deinit(&list);
}
