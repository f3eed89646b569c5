/* shard/domain/room/gate.h - what a member may read of a room: the one answer for every reader of a timeline.
 * Thread:  any.                   Depends: nothing.              Start at: shard/domain/room/room.h
 * Asked on the room's shard, of the member (history, and with it MQTT's retained message and rooms), and on the member's home shard, of
 * the conversation (the list of conversations). What comes live or through the stream needs no question: it is handed to the members
 * of its moment. The room's history counts as it is now, for all members: that of the moment they came in is not kept. */
#ifndef SHARD_ROOM_GATE_H
#define SHARD_ROOM_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* No message up to this seq may be read by who came in when `joined_seq` was the newest. */
static inline uint64_t gate_hidden_seq(bool since_join, uint64_t joined_seq) { return since_join ? joined_seq : 0; }

/* An operator's follower may see everything that is stored; it reads that when it is told, so what was erased until then is not shown. */
static inline uint64_t gate_hidden_seq_of_operator(void) { return 0; }

#endif
