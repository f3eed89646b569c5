/* shard/domain/presence/seen.h - when a user and their devices were last here.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/domain/delivery/inbox.h.  Start at: shard/engine/shard.h */
#ifndef SHARD_PRESENCE_SEEN_H
#define SHARD_PRESENCE_SEEN_H

#include "shard/domain/delivery/inbox.h"
#include "shard/engine/shard.h"

/* The last session of this device closed now. Best effort: proposed without a client, dropped when the shard is busy; when a crowd leaves
 * at once its users are remembered, its devices not. */
void seen_note(struct shard *shard, const struct inbox *inbox, struct slice device_id);

#endif
