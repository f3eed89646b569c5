/* shard/domain/methods.c - one row per method. */
#include "shard/domain/methods.h"
#include "shard/domain/routes.h"

const struct method methods[] = {
    /* number name           path                          route          field access       read   rate          handler */
    {10, "register",      "/v1/account/register",      route_name,    1, ACCESS_OPEN,   false, RATE_NONE,    handle_register},
    {11, "login",         "/v1/account/login",         route_name,    1, ACCESS_OPEN,   false, RATE_NONE,    handle_login},
    {12, "refresh",       "/v1/account/refresh",       route_refresh, 1, ACCESS_OPEN,   false, RATE_NONE,    handle_refresh},
    {13, "logout",        "/v1/account/logout",        route_actor,   0, ACCESS_USER,   false, RATE_REQUEST, handle_logout},
    {14, "devices",       "/v1/account/devices",       route_actor,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_devices},
    {15, "revoke_device", "/v1/account/revoke_device", route_actor,   0, ACCESS_USER,   false, RATE_REQUEST, handle_revoke_device},
    {16, "auth",          "/v1/account/auth",          route_actor,   0, ACCESS_SOCKET, false, RATE_REQUEST, handle_auth},
    {17, "user",          "/v1/account/user",          route_user,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_user},
    {20, "send",          "/v1/chat/send",             route_send, 1, ACCESS_USER, false, RATE_MESSAGE, handle_send},
    {21, "history",       "/v1/chat/history",          route_room,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_history},
    {22, "sync",          "/v1/chat/sync",             route_actor,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_sync},
    {23, "conversations", "/v1/chat/conversations",    route_actor,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_conversations},
    {24, "mark_read",     "/v1/chat/mark_read",        route_actor,   0, ACCESS_USER,   false, RATE_REQUEST, handle_mark_read},
    {25, "typing",        "/v1/chat/typing",           route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_typing},
    {30, "create_room",   "/v1/room/create",           route_actor,   0, ACCESS_USER,   false, RATE_REQUEST, handle_create_room},
    {31, "get_room",      "/v1/room/get",              route_room,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_get_room},
    {32, "update_room",   "/v1/room/update",           route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_update_room},
    {33, "dismiss_room",  "/v1/room/dismiss",          route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_dismiss_room},
    {34, "join_room",     "/v1/room/join",             route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_join_room},
    {35, "leave_room",    "/v1/room/leave",            route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_leave_room},
    {36, "invite",        "/v1/room/invite",           route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_invite},
    {37, "remove_members", "/v1/room/remove",          route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_remove_members},
    {38, "set_role",      "/v1/room/set_role",         route_room,    1, ACCESS_USER,   false, RATE_REQUEST, handle_set_role},
    {39, "members",       "/v1/room/members",          route_room,    1, ACCESS_USER,   true,  RATE_REQUEST, handle_members},
    {50, "subscribe",     "/v1/presence/subscribe",    route_actor,   0, ACCESS_SOCKET, false, RATE_REQUEST, handle_subscribe},
    {51, "presence",      "/v1/presence/get",          route_actor,   0, ACCESS_USER,   true,  RATE_REQUEST, handle_presence},
};
const uint32_t method_count = COUNT_OF(methods);
