/* shard/domain/account/user.c - somebody by name (asked on the shard of the name) or by id (asked on the shard in the id). */
#include "shard/domain/account/account_internal.h"

static void reply_user(struct shard *shard, struct request *request, uint64_t user_id)
{
    struct entity *entity = request_entity(shard, request, ENTITY_INBOX, user_id, 0);
    if (entity == NULL) return;
    if (!entity->exists) {
        request_refuse(shard, request, ERROR_USER_NOT_FOUND);
        return;
    }
    Ringpost__V1__User user;
    account_fill_user(&user, user_id, inbox_of(entity)->name, inbox_of(entity)->display_name);
    Ringpost__V1__UserResponse response;
    ringpost__v1__user_response__init(&response);
    response.user = &user;
    request_reply(shard, request, &response.base);
}

void handle_user(struct shard *shard, struct request *request)
{
    Ringpost__V1__UserRequest *in = REQUEST_UNPACK(shard, request, UserRequest);
    if (in == NULL) return;
    bool by_name = in->name[0] != '\0';
    if (by_name == (in->user_id != 0)) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "name, user_id: exactly one of the two");
        return;
    }
    if (!by_name) {
        reply_user(shard, request, in->user_id);
        return;
    }

    struct account_place place =
        account_place_of(slice_text(in->name), request_machine(shard)->options.shard_count);
    struct entity *name = request_entity(shard, request, ENTITY_NAME, place.hash_high, place.hash_low);
    if (name == NULL) return;
    if (!name->exists) {
        request_refuse(shard, request, ERROR_USER_NOT_FOUND);
        return;
    }
    reply_user(shard, request, name_of(name)->user_id);
}
