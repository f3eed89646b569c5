/* shard/domain/methods.c - one row per method, and where each goes. */
#include "shard/domain/methods.h"
#include "api/token.h"
#include "shard/domain/account/account.h"

const struct method methods[] = {
    /* number name           path                          owner          field access       read   rate          handler */
    {10, "register",      "/v1/account/register",      OWNER_NAME,    1, ACCESS_OPEN,   false, RATE_NONE,    handle_register},
    {11, "login",         "/v1/account/login",         OWNER_NAME,    1, ACCESS_OPEN,   false, RATE_NONE,    handle_login},
    {12, "refresh",       "/v1/account/refresh",       OWNER_REFRESH, 1, ACCESS_OPEN,   false, RATE_NONE,    handle_refresh},
    {13, "logout",        "/v1/account/logout",        OWNER_ACTOR,   0, ACCESS_USER,   false, RATE_REQUEST, handle_logout},
    {14, "devices",       "/v1/account/devices",       OWNER_ACTOR,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_devices},
    {15, "revoke_device", "/v1/account/revoke_device", OWNER_ACTOR,   0, ACCESS_USER,   false, RATE_REQUEST, handle_revoke_device},
    {16, "auth",          "/v1/account/auth",          OWNER_ACTOR,   0, ACCESS_SOCKET, false, RATE_REQUEST, handle_auth},
    {17, "user",          "/v1/account/user",          OWNER_USER,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_user},
    {20, "send",          "/v1/chat/send",             OWNER_PEER_OR_ROOM, 1, ACCESS_USER, false, RATE_MESSAGE, handle_send},
    {21, "history",       "/v1/chat/history",          OWNER_ROOM,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_history},
    {22, "sync",          "/v1/chat/sync",             OWNER_ACTOR,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_sync},
    {23, "conversations", "/v1/chat/conversations",    OWNER_ACTOR,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_conversations},
    {24, "mark_read",     "/v1/chat/mark_read",        OWNER_ACTOR,   0, ACCESS_USER,   false, RATE_REQUEST, handle_mark_read},
    {25, "typing",        "/v1/chat/typing",           OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_typing},
    {30, "create_room",   "/v1/room/create",           OWNER_ACTOR,   0, ACCESS_USER,   false, RATE_REQUEST, handle_create_room},
    {31, "get_room",      "/v1/room/get",              OWNER_ROOM,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_get_room},
    {32, "update_room",   "/v1/room/update",           OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_update_room},
    {33, "dismiss_room",  "/v1/room/dismiss",          OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_dismiss_room},
    {34, "join_room",     "/v1/room/join",             OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_join_room},
    {35, "leave_room",    "/v1/room/leave",            OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_leave_room},
    {36, "invite",        "/v1/room/invite",           OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_invite},
    {37, "remove_members", "/v1/room/remove",          OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_remove_members},
    {38, "set_role",      "/v1/room/set_role",         OWNER_ROOM,    1, ACCESS_USER,   false, RATE_REQUEST, handle_set_role},
    {39, "members",       "/v1/room/members",          OWNER_ROOM,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_members},
    {50, "subscribe",     "/v1/presence/subscribe",    OWNER_ACTOR,   0, ACCESS_SOCKET, false, RATE_REQUEST, handle_subscribe},
    {51, "presence",      "/v1/presence/get",          OWNER_ACTOR,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_presence},
};
const uint32_t method_count = COUNT_OF(methods);

const struct method *method_by_number(uint32_t number)
{
    uint32_t low = 0, high = method_count; /* rows are in the order of their numbers */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (methods[middle].number < number) low = middle + 1;
        else high = middle;
    }
    return low < method_count && methods[low].number == number ? &methods[low] : NULL;
}

const struct method *method_by_path(struct slice path)
{
    for (uint32_t i = 0; i < method_count; i++)
        if (slice_equal(path, slice_text(methods[i].path))) return &methods[i];
    return NULL;
}

static enum error route_id(uint64_t id, enum error missing, uint16_t shard_count, uint16_t *shard)
{
    if (id_partition(id) >= shard_count || id == 0) return missing;
    *shard = id_partition(id);
    return ERROR_NONE;
}

static enum error route_send(struct slice payload, uint64_t actor_id, uint16_t shard_count, uint16_t *shard)
{
    uint64_t room_id = 0, to_user_id = 0;
    if (envelope_peek_two(payload, 1, &room_id, 2, &to_user_id) != RESULT_OK) return ERROR_BAD_REQUEST;
    if (room_id != 0) return route_id(room_id, ERROR_ROOM_NOT_FOUND, shard_count, shard);
    if (to_user_id == 0) return ERROR_BAD_FIELD;
    enum error error = route_id(to_user_id, ERROR_USER_NOT_FOUND, shard_count, shard);
    if (error == ERROR_NONE && actor_id < to_user_id) *shard = id_partition(actor_id);
    return error;
}

static enum error route_user(struct slice payload, uint16_t shard_count, uint16_t *shard)
{
    uint64_t user_id = 0;
    struct slice name = SLICE_EMPTY;
    if (envelope_peek_bytes(payload, 1, &name) != RESULT_OK || envelope_peek_u64(payload, 2, &user_id) != RESULT_OK)
        return ERROR_BAD_REQUEST;
    if (user_id != 0) return route_id(user_id, ERROR_USER_NOT_FOUND, shard_count, shard);
    *shard = account_place_of(name, shard_count).shard;
    return ERROR_NONE;
}

enum error method_route(const struct method *method, struct slice payload, uint64_t actor_id, uint16_t shard_count, uint16_t *shard)
{
    uint64_t id = 0;
    struct slice text = SLICE_EMPTY;
    struct token_refresh refresh;
    switch (method->owner) {
    case OWNER_ACTOR: return route_id(actor_id, ERROR_TOKEN_INVALID, shard_count, shard);
    case OWNER_NAME:
        if (envelope_peek_bytes(payload, method->owner_field, &text) != RESULT_OK) return ERROR_BAD_REQUEST;
        *shard = account_place_of(text, shard_count).shard;
        return ERROR_NONE;
    case OWNER_REFRESH:
        if (envelope_peek_bytes(payload, method->owner_field, &text) != RESULT_OK) return ERROR_BAD_REQUEST;
        if (token_refresh_parse(text, &refresh) != RESULT_OK) return ERROR_TOKEN_INVALID;
        return route_id(refresh.user_id, ERROR_TOKEN_INVALID, shard_count, shard);
    case OWNER_ROOM:
        if (envelope_peek_u64(payload, method->owner_field, &id) != RESULT_OK) return ERROR_BAD_REQUEST;
        return route_id(id, ERROR_ROOM_NOT_FOUND, shard_count, shard);
    case OWNER_PEER_OR_ROOM: return route_send(payload, actor_id, shard_count, shard);
    case OWNER_USER: return route_user(payload, shard_count, shard);
    }
    return ERROR_INTERNAL;
}
