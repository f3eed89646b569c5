/* shard/domain/methods.h - the table of methods: the map of the product.
 * Thread: read-only.              Depends: shard/engine/request.h.      Start at: shard/engine/shard.h */
#ifndef SHARD_METHODS_H
#define SHARD_METHODS_H

#include "shard/engine/request.h"

enum method_owner {     /* which shard works on it */
    OWNER_ACTOR,        /* the home shard of who asks */
    OWNER_NAME,         /* the shard of the user name in field owner_field */
    OWNER_REFRESH,      /* the user inside the refresh token in field owner_field */
    OWNER_ROOM,         /* the partition of the room id in field owner_field */
    OWNER_PEER_OR_ROOM, /* send: the room, or the home shard of the smaller of the two user ids */
    OWNER_USER,         /* the partition of the user id, or the shard of the name */
};
enum method_access { ACCESS_OPEN, ACCESS_USER, ACCESS_SOCKET }; /* without token; with; with and only on a socket */
enum method_rate { RATE_NONE, RATE_REQUEST, RATE_MESSAGE };

struct method {
    uint16_t number;    /* field number in Request.method */
    const char *name;
    const char *path;   /* HTTP */
    enum method_owner owner;
    uint8_t owner_field;
    enum method_access access;
    bool is_read;       /* GET too; not refused on a full disk */
    enum method_rate rate;
    request_run_f handle;
};
extern const struct method methods[];
extern const uint32_t method_count;
const struct method *method_by_number(uint32_t number);
const struct method *method_by_path(struct slice path);

#define METHOD_HANDLERS(X)                                                                                             \
    X(register) X(login) X(refresh) X(logout) X(devices) X(revoke_device) X(auth) X(user) X(send) X(history) X(sync)    \
    X(conversations) X(mark_read) X(typing) X(create_room) X(get_room) X(update_room) X(dismiss_room) X(join_room)      \
    X(leave_room) X(invite) X(remove_members) X(set_role) X(members) X(subscribe) X(presence)
#define METHOD_PROTOTYPE(name) void handle_##name(struct shard *shard, struct request *request);
METHOD_HANDLERS(METHOD_PROTOTYPE)
#undef METHOD_PROTOTYPE

/* Where a request goes. BAD_REQUEST when the routing field cannot be read. */
enum error method_route(const struct method *method, struct slice payload, uint64_t actor_id, uint16_t shard_count, uint16_t *shard);

#endif
