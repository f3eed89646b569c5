/* shard/domain/delivery/delivery.h - what a shard keeps in memory to deliver: its sessions, and who is online in large rooms.
 * Owns:    both. Not part of the machine's state: nothing here is logged, a restart forgets it.
 * Thread:  the shard's worker.    Depends: shard/domain/delivery/session.h.  Start at: shard/engine/shard.h */
#ifndef SHARD_DELIVERY_DELIVERY_H
#define SHARD_DELIVERY_DELIVERY_H

#include "shard/domain/areas.h"
#include "shard/domain/delivery/roster.h"
#include "shard/domain/delivery/session.h"

struct session_table {
    struct session_slot {
        struct session *session; /* NULL: free */
        uint32_t generation;
        uint32_t due_s_or_next; /* when the sweep has to look at it; of a free one: the next free one */
    } *slots;
    uint32_t capacity, count; /* count: ever used; beyond it nothing is touched */
    uint64_t memory_bytes; /* of the sessions */
    uint32_t first_free; /* first_free: UINT32_MAX: none below count */
};

struct delivery {
    struct session_table sessions;
    struct roster *roster;
    uint64_t room_pushes; /* messages of large rooms that have come here */
};
static inline struct delivery *delivery_of(const struct machine *machine) { return machine->states[AREA_DELIVERY]; }

/* A message of a large room to the online members on this shard. */
void room_push(struct shard *shard, uint64_t room_id, struct slice packed_message);
/* What the area does in the life of a shard: area.c. */
void delivery_perform(struct shard *shard, const struct effects *effects);
void sessions_end(struct shard *shard);
/* Those that are open learn of the new epoch. */
void sessions_must_sync(struct shard *shard);
void sessions_kick_damaged(struct shard *shard);

#endif
