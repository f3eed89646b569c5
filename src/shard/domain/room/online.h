/* shard/domain/room/online.h - the large rooms of who comes online.
 * Thread:  the shard's worker.    Depends: nothing.              Start at: shard/domain/room/room.h */
#ifndef SHARD_ROOM_ONLINE_H
#define SHARD_ROOM_ONLINE_H

struct session;
/* With the first session of a user: lists the user in the roster of each, once they are read. */
void online_session_opened(struct session *session);

#endif
