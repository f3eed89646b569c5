/* shard/domain/room/get.c - one room, for its members, and the role of who asks. */
#include "shard/domain/room/room_internal.h"

static Ringpost__V1__Role role_out(uint8_t role)
{
    return role == ROLE_OWNER   ? RINGPOST__V1__ROLE__OWNER
           : role == ROLE_ADMIN ? RINGPOST__V1__ROLE__ADMIN
                                : RINGPOST__V1__ROLE__MEMBER;
}

const struct room *request_member_room(struct shard *shard, struct request *request, uint64_t room_id,
                                       const struct member **member)
{
    struct entity *room = request_entity(shard, request, ENTITY_ROOM, room_id, 0);
    struct entity *own = request_entity(shard, request, ENTITY_MEMBER, room_id, request->actor.user_id);
    if (request_waits(request)) return NULL;
    if (!room->exists || !own->exists) {
        request_refuse(shard, request, ERROR_ROOM_NOT_FOUND);
        return NULL;
    }
    if (member != NULL) *member = member_of(own);
    return room_of(room);
}

void handle_get_room(struct shard *shard, struct request *request)
{
    Ringpost__V1__GetRoomRequest *in = REQUEST_UNPACK(shard, request, GetRoomRequest);
    if (in == NULL) return;
    const struct member *member;
    const struct room *room = request_member_room(shard, request, in->room_id, &member);
    if (room == NULL) return;
    Ringpost__V1__Room out;
    room_fill(room, request_machine(shard), &out);
    Ringpost__V1__GetRoomResponse response = RINGPOST__V1__GET_ROOM_RESPONSE__INIT;
    response.room = &out;
    response.role = role_out(member->role);
    request_reply(shard, request, &response.base);
}
