/* shard/domain/routes.c - see routes.h. */
#include "shard/domain/routes.h"
#include "api/token.h"
#include "shard/domain/account/account.h"

static enum error route_id(uint64_t id, enum error missing, uint16_t shard_count, uint16_t *shard)
{
    if (id_partition(id) >= shard_count || id == 0) return missing;
    *shard = id_partition(id);
    return ERROR_NONE;
}

ROUTE(route_send)
{
    uint64_t room_id = 0, to_user_id = 0;
    if (envelope_peek_two(payload, method->owner_field, &room_id, method->other_field, &to_user_id) != RESULT_OK) return ERROR_BAD_REQUEST;
    if (room_id != 0) return route_id(room_id, ERROR_ROOM_NOT_FOUND, shard_count, shard);
    if (to_user_id == 0) return ERROR_BAD_FIELD;
    enum error error = route_id(to_user_id, ERROR_USER_NOT_FOUND, shard_count, shard);
    if (error == ERROR_NONE && actor_id < to_user_id) *shard = id_partition(actor_id);
    return error;
}

ROUTE(route_user)
{
    (void)actor_id;
    uint64_t user_id = 0;
    struct slice name = SLICE_EMPTY;
    if (envelope_peek_bytes(payload, method->owner_field, &name) != RESULT_OK ||
        envelope_peek_u64(payload, method->other_field, &user_id) != RESULT_OK)
        return ERROR_BAD_REQUEST;
    if (user_id != 0) return route_id(user_id, ERROR_USER_NOT_FOUND, shard_count, shard);
    *shard = account_place_of(name, shard_count).shard;
    return ERROR_NONE;
}

ROUTE(route_actor)
{
    (void)method, (void)payload;
    return route_id(actor_id, ERROR_TOKEN_INVALID, shard_count, shard);
}

ROUTE(route_name)
{
    (void)actor_id;
    struct slice name = SLICE_EMPTY;
    if (envelope_peek_bytes(payload, method->owner_field, &name) != RESULT_OK) return ERROR_BAD_REQUEST;
    *shard = account_place_of(name, shard_count).shard;
    return ERROR_NONE;
}

ROUTE(route_refresh)
{
    (void)actor_id;
    struct slice text = SLICE_EMPTY;
    struct token_refresh refresh;
    if (envelope_peek_bytes(payload, method->owner_field, &text) != RESULT_OK) return ERROR_BAD_REQUEST;
    if (token_refresh_parse(text, &refresh) != RESULT_OK) return ERROR_TOKEN_INVALID;
    return route_id(refresh.user_id, ERROR_TOKEN_INVALID, shard_count, shard);
}

ROUTE(route_room)
{
    (void)actor_id;
    uint64_t id = 0;
    if (envelope_peek_u64(payload, method->owner_field, &id) != RESULT_OK) return ERROR_BAD_REQUEST;
    return route_id(id, ERROR_ROOM_NOT_FOUND, shard_count, shard);
}
