/* shard/domain/presence/seen.h - when a user and their devices were last here.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/domain/delivery/session.h.  Start at: shard/engine/shard.h */
#ifndef SHARD_PRESENCE_SEEN_H
#define SHARD_PRESENCE_SEEN_H

#include "shard/domain/delivery/session.h"

/* If this was the last session of its device. Best effort: proposed without a client, dropped when the shard is busy; when a crowd leaves
 * at once its users are remembered, its devices not. */
void seen_session_closed(const struct session *session);

#endif
