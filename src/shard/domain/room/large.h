/* shard/domain/room/large.h - messages of large rooms on their way to other shards: pushed to who is online there, and nothing is logged or
 * stored of them outside of the room's shard.
 * Owns:    nothing.               Thread:  the shard's worker.
 * Depends: shard/engine/shard.h, shard/domain/room/room.h.  Start at: shard/domain/room/room.h
 *
 *   apply on the room's shard -> large_tell: an effect -> durable -> large_perform: a letter to each shard with members
 *   -> large_receive: the roster's online members are pushed to
 *
 * A letter that is lost, or that overtakes the change by which somebody is a member there, is not sent again. Who is online sees with
 * the next message that one is missing, because the seqs of a room have no holes, and reads the history; sync tells the head. Who comes
 * in, and whose room grows large, is told to sync (view.c), for then something may have gone by. */
#ifndef SHARD_ROOM_LARGE_H
#define SHARD_ROOM_LARGE_H

#include "shard/domain/records.h"
#include "shard/engine/shard.h"

struct room;

/* Apply: the message goes to the other shards that have members of `room`, which is pinned. */
void large_tell(struct room *room, const struct relay_message_record *relay, struct effects *effects);
void large_perform(struct shard *shard, const struct effects *effects);
/* A ROOM_MESSAGE letter; takes it. */
void large_receive(struct shard *shard, struct letter *letter);

#endif
