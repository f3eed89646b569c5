/* shard/domain/presence/typing.c - somebody types: told to those who look at the room, never logged, the first thing dropped. */
#include "shard/domain/methods.h"
#include "shard/domain/presence/watch.h"
#include "shard/domain/room/room.h"

static enum error typing_check(const struct room *room, const struct member *member)
{
    if (!room->entity.exists || !member->entity.exists) return ERROR_ROOM_NOT_FOUND;
    return room->dismissed ? ERROR_ROOM_DISMISSED : ERROR_NONE;
}

void handle_typing(struct shard *shard, struct request *request)
{
    Ringpost__V1__TypingRequest *in = REQUEST_UNPACK(shard, request, TypingRequest);
    if (in == NULL) return;
    struct entity *room = request_entity(shard, request, ENTITY_ROOM, in->room_id, 0);
    struct entity *member = request_entity(shard, request, ENTITY_MEMBER, in->room_id, request->actor.user_id);
    if (request_waits(request)) return;
    enum error error = typing_check(room_of(room), member_of(member));
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }

    Ringpost__V1__TypingNotice notice;
    ringpost__v1__typing_notice__init(&notice);
    notice.room_id = in->room_id;
    notice.user_id = request->actor.user_id;
    notice.stopped = in->stopped;
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, &notice.base);
    watch_tell_typing(shard, in->room_id, request->actor.user_id, writer_slice(&packed));
    writer_deinit(&packed);

    Ringpost__V1__TypingResponse response;
    ringpost__v1__typing_response__init(&response);
    request_reply(shard, request, &response.base);
}
