/* api/error.h - why a request is refused: one row per reason, the same on every door.
 * Thread: any.                    Depends: nothing.              Start at: api/api.h
 * `reason` is API and never changes; `message` is for people. `status` is the HTTP status of the class `code`.
 * What never becomes a method (a head too large, no HTTP at all) is refused by net/ with the rows of HTTP_REFUSAL_LIST (net/http.h);
 * a reason in both lists is the same row (tests/shard/domain/error_rows_test.c). docs/protocol.md has both. */
#ifndef API_ERROR_H
#define API_ERROR_H

#include <stdbool.h>
#include <stdint.h>

/*    name                code                   status retryable message */
#define ERROR_LIST(X)                                                                                                  \
    X(NONE,                "OK",                  200, false, "ok")                                                    \
    X(BAD_REQUEST,         "INVALID_ARGUMENT",    400, false, "the request cannot be decoded")                         \
    X(BAD_FIELD,           "INVALID_ARGUMENT",    400, false, "a field is missing, too long or out of range")          \
    X(BODY_TOO_LARGE,      "INVALID_ARGUMENT",    413, false, "the message body is larger than the limit")             \
    X(UNKNOWN_METHOD,      "NOT_FOUND",           404, false, "there is no such method")                               \
    X(METHOD_NOT_ALLOWED,  "INVALID_ARGUMENT",    405, false, "this path does not take that HTTP method")              \
    X(SUBPROTOCOL_UNKNOWN, "INVALID_ARGUMENT",    400, false, "MQTT is spoken here under the subprotocol mqtt")          \
    X(SOCKET_ONLY,         "FAILED_PRECONDITION", 400, false, "this method works on a WebSocket or TCP connection only") \
    X(NOT_AUTHENTICATED,   "UNAUTHENTICATED",     401, false, "an access token is needed")                             \
    X(TOKEN_INVALID,       "UNAUTHENTICATED",     401, false, "the token is not valid")                                \
    X(TOKEN_EXPIRED,       "UNAUTHENTICATED",     401, false, "the token has expired: refresh it")                     \
    X(DEVICE_REVOKED,      "UNAUTHENTICATED",     401, false, "this device was logged out: log in again")              \
    X(WRONG_PASSWORD,      "UNAUTHENTICATED",     401, false, "wrong name or password")                                \
    X(OTHER_USER,          "PERMISSION_DENIED",   403, false, "this connection belongs to another user or device")     \
    X(ORIGIN_REFUSED,      "PERMISSION_DENIED",   403, false, "this Origin is not allowed")                            \
    X(ROLE_TOO_LOW,        "PERMISSION_DENIED",   403, false, "your role in this room does not allow that")            \
    X(USER_NOT_FOUND,      "NOT_FOUND",           404, false, "there is no such user")                                 \
    X(ROOM_NOT_FOUND,      "NOT_FOUND",           404, false, "there is no such room, or you are not in it")           \
    X(DEVICE_NOT_FOUND,    "NOT_FOUND",           404, false, "there is no such device")                               \
    X(MEMBER_NOT_FOUND,    "NOT_FOUND",           404, false, "that user is not a member of this room")                \
    X(NAME_TAKEN,          "ALREADY_EXISTS",      409, false, "this name is taken")                                    \
    X(CLIENT_ID_CONFLICT,  "ALREADY_EXISTS",      409, false, "this client id was used for something else")            \
    X(ROOM_DISMISSED,      "FAILED_PRECONDITION", 409, false, "the room was dismissed")                                \
    X(ROOM_FULL,           "RESOURCE_EXHAUSTED",  409, false, "the room has all the members it may have")              \
    X(ROOM_IS_DIRECT,      "FAILED_PRECONDITION", 409, false, "a conversation of two has no such operation")           \
    X(OWNER_MUST_STAY,     "FAILED_PRECONDITION", 409, false, "the owner must hand the room over or dismiss it")       \
    X(TOO_MANY_ROOMS,      "RESOURCE_EXHAUSTED",  409, false, "a user has all the rooms they may have")                \
    X(TOO_MANY_UNANSWERED, "RESOURCE_EXHAUSTED",  409, false, "too many people have not answered your first message yet") \
    X(TOO_MANY_DEVICES,    "RESOURCE_EXHAUSTED",  409, false, "all devices this user may have are in use: log one out")           \
    X(UPGRADE_REQUIRED,    "FAILED_PRECONDITION", 426, false, "this path is for WebSockets")                          \
    X(RATE_LIMITED,        "RESOURCE_EXHAUSTED",  429, true,  "too many requests: wait")                               \
    X(SERVER_BUSY,         "RESOURCE_EXHAUSTED",  503, true,  "a limit of the server is reached: try again")           \
    X(DISK_FULL,           "RESOURCE_EXHAUSTED",  507, true,  "the server's disk is full: nothing can be written")     \
    X(NOT_READY,           "UNAVAILABLE",         503, true,  "the server is starting or stopping")                    \
    X(NO_ANSWER,           "UNAVAILABLE",         503, true,  "a part of the server did not answer in time: try again")  \
    X(SHARD_DAMAGED,       "UNAVAILABLE",         503, false, "the part of the data that this needs is damaged on the server's disk") \
    X(INTERNAL,            "INTERNAL",            500, true,  "the server failed")

#define ERROR_AS_ENUM(name, code, status, retryable, message) ERROR_##name,
enum error { ERROR_LIST(ERROR_AS_ENUM) ERROR_COUNT };
#undef ERROR_AS_ENUM

struct error_row {
    const char *reason; /* the name in lower case: "room_full" */
    const char *code;
    const char *message;
    uint16_t status;
    bool retryable;
};
const struct error_row *error_row(enum error error);

/* WebSocket close codes of ours: 4000-4099 reconnect, 4400-4499 log in again or give up. */
#define CLOSE_GOING_AWAY       1001 /* server stops or drains: reconnect */
#define CLOSE_DAMAGED          1011 /* the user's shard is damaged: it cannot be served before that is repaired */
#define CLOSE_TOO_SLOW         1013 /* outbound hard limit: reconnect and sync */
#define CLOSE_NOT_AUTHENTICATED 4401 /* no auth in time, or the token expired */
#define CLOSE_REVOKED          4403 /* the device was revoked or logged out */
#define CLOSE_HEARTBEAT        4408 /* nothing heard for too long: reconnect */

#endif
