/* shard/domain/delivery/lookup.h - who users are, asked of the shards they live on.
 * Thread:  the shard's worker.    Depends: shard/engine/request.h.  Start at: shard/engine/request.h */
#ifndef SHARD_DELIVERY_LOOKUP_H
#define SHARD_DELIVERY_LOOKUP_H

#include "shard/engine/request.h"

/* Who are these users (any shard's)? True: found[i] is filled for each (name NULL: no such user), borrowed until the request ends.
 * False: the question is under way and the handler returns. */
struct user_found {
    uint64_t user_id;
    bool exists;
    uint32_t group_count;      /* rooms that count against rooms_per_user_max */
    uint32_t unanswered_count; /* conversations opened that nobody has answered */
    struct slice name; /* display name */
    struct slice user_name;
};
bool users_look_up(struct shard *shard, struct request *request, const uint64_t *user_ids, uint32_t count,
                   const struct user_found **found);

/* An ASK_USERS letter; takes it. */
void lookup_receive(struct shard *shard, struct letter *letter);

#endif
