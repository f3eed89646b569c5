/* shard/room/room.h - a room, its members and its timeline, on the shard that owns it.
 * Thread:  the shard's worker (the partition in the room id).  Depends: shard/machine.h.  Start at: shard/shard.h
 * head_seq is not stored with the room: it is the first key of the timeline, so a send writes one timeline row and no room. */
#ifndef SHARD_ROOM_ROOM_H
#define SHARD_ROOM_ROOM_H

#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/machine.h"
#include "shard/records.h"

struct room {
    struct entity entity;
    uint64_t owner_id, head_seq, created_ms;
    uint32_t member_count;
    uint8_t type; /* Ringpost__V1__RoomType */
    bool dismissed, joinable, large;
    char *name;             /* owned, "" for direct */
    uint32_t *shard_counts; /* owned; members by home shard, shard_count of them */
};
extern const struct entity_type room_type;
static inline struct room *room_of(struct entity *e) { return CONTAINER_OF(e, struct room, entity); }
/* The store loads with no machine at hand: every room carries as many counts as the record has. */

struct member { /* exists: is a member */
    struct entity entity;
    uint64_t joined_ms;
    uint8_t role; /* Ringpost__V1__Role */
    char *name;   /* owned; display name when joined */
};
extern const struct entity_type member_type;
static inline struct member *member_of(struct entity *e) { return CONTAINER_OF(e, struct member, entity); }

struct direct { /* exists: the two have a conversation */
    struct entity entity;
    uint64_t room_id;
};
extern const struct entity_type direct_type;
static inline struct direct *direct_of(struct entity *e) { return CONTAINER_OF(e, struct direct, entity); }

void room_put(const struct room *room, const struct machine *machine, struct effects *effects);
void room_snapshot(const struct room *room, const struct machine *machine, struct snapshot_record *snapshot); /* borrows the room's name */
/* Fills the protobuf Room of a snapshot; `name` must outlive it and be NUL-terminated (memory: the caller's). */
void room_fill(const struct room *room, const struct machine *machine, Ringpost__V1__Room *out);

/* Apply. The room and the member entities named are resident (needs). */
struct room *room_create(struct machine *machine, uint8_t type, uint64_t owner_id, struct slice name, bool joinable, uint64_t time_ms);
/* Adds one who is no member: member record, counts, large flag, and the change told to every shard concerned. `peer_*`: DIRECT. */
void room_add_member(struct machine *machine, struct room *room, const struct person_record *person, uint8_t role, uint64_t actor_id,
                     const struct person_record *peer, uint64_t time_ms, struct effects *effects);
/* Removes one who is a member, and tells. */
void room_remove_member(struct machine *machine, struct room *room, struct member *member, uint64_t actor_id, uint64_t time_ms,
                        struct effects *effects);
/* Tells every shard with members (a large room: only the target's shard and this one) about a change. */
void room_tell(struct machine *machine, struct room *room, const struct relay_change_record *change, struct effects *effects);
/* The next message: seq, msg_id, timeline row, relays. Returns the message as stored. */
struct message_record room_append(struct machine *machine, struct room *room, const struct message_record *draft, struct effects *effects);

/* What a change or a message of `room` touches on this shard: the view, and for a change its target's inbox and conversation. */
void room_needs_local(struct needs *needs, uint64_t room_id, uint64_t target_id);

#endif
