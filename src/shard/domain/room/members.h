/* shard/domain/room/members.h - a page of a room's members, read on the storage thread.
 * Thread:  members_read: the storage thread.  Depends: shard/engine/request.h.  Start at: shard/domain/room/room.h */
#ifndef SHARD_ROOM_MEMBERS_H
#define SHARD_ROOM_MEMBERS_H

#include "shard/domain/methods.h"

struct members_params {
    uint64_t room_id, cursor; /* cursor: the last user id of the page before */
    uint32_t limit;
};
/* Appends a packed MembersResponse to job->reply. */
void members_read(struct read_job *job, struct store_view *view);

#endif
