/* shard/domain/methods.h - the table of methods: the map of the product.
 * Thread: read-only.              Depends: shard/engine/method.h.      Start at: shard/engine/shard.h */
#ifndef SHARD_METHODS_H
#define SHARD_METHODS_H

#include "shard/engine/method.h"

extern const struct method methods[];
extern const uint32_t method_count;

#define METHOD_HANDLERS(X)                                                                                             \
    X(register) X(login) X(refresh) X(logout) X(devices) X(revoke_device) X(auth) X(user) X(send) X(history) X(sync)    \
    X(conversations) X(mark_read) X(typing) X(create_room) X(get_room) X(update_room) X(dismiss_room) X(join_room)      \
    X(leave_room) X(invite) X(remove_members) X(set_role) X(members) X(subscribe) X(presence)
#define METHOD_PROTOTYPE(name) void handle_##name(struct shard *shard, struct request *request);
METHOD_HANDLERS(METHOD_PROTOTYPE)
#undef METHOD_PROTOTYPE

#endif
