/* shard/engine/positions.h - whether shards that were recovered, each by itself, are of one time: their streams' positions know of each other.
 * Owns:    nothing.               Thread: any one, before they serve.
 * Depends: shard/engine/stream.h.        Start at: shard/engine/shard.h
 *
 * What is durable on B was sent by A after it was durable there, and A's log has an acknowledgement (acknowledge.c) only of what was
 * applied on B, which is durable there. So, whatever crash came:    applied on B from A <= emitted by A,    acknowledged at A for B <= applied on B.
 * Where that does not hold, the newest part of one of the two is missing: a segment of its log, or all since a copy was made. */
#ifndef SHARD_POSITIONS_H
#define SHARD_POSITIONS_H

#include "shard/engine/stream.h"

/* True, or false with `text` for people: which shard, by which peer, by how much. A NULL in `streams` is a shard of which nothing is known. */
NODISCARD bool positions_fit(struct stream_set *const *streams, uint16_t shard_count, char *text, size_t text_size);

#endif
