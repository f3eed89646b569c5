/* shard/domain/room/room.h - a room, its members and its timeline, on the shard that owns it.
 * Thread:  the shard's worker (the partition in the room id).  Depends: shard/engine/machine.h.  Start at: shard/engine/shard.h
 * Reading order: room.c member.c direct.c (entities) gate.h view.h (what other shards keep) pack.c reading.h | create.c
 * update.c membership.c role.c (commands) get.c members.c (reads). head_seq is not stored with the room: the
 * timeline knows it, so a send adds to one timeline block and writes no room. timeline.h reads those blocks. */
#ifndef SHARD_ROOM_ROOM_H
#define SHARD_ROOM_ROOM_H

#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/domain/entities.h"
#include "shard/engine/machine.h"
#include "shard/domain/records.h"

/* Short names of the contract's numbers as records hold them (u8). */
enum { TYPE_GROUP = RINGPOST__V1__ROOM_TYPE__GROUP, TYPE_DIRECT = RINGPOST__V1__ROOM_TYPE__DIRECT };
enum {
    ROLE_MEMBER = RINGPOST__V1__ROLE__MEMBER,
    ROLE_ADMIN = RINGPOST__V1__ROLE__ADMIN,
    ROLE_OWNER = RINGPOST__V1__ROLE__OWNER
};
enum {
    CHANGE_ROOM_JOINED = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED, /* as a relay: a first member of a new room */
    CHANGE_ROOM_LEFT = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_LEFT,
    CHANGE_MEMBER_JOINED = RINGPOST__V1__ROOM_CHANGE_KIND__MEMBER_JOINED,
    CHANGE_MEMBER_LEFT = RINGPOST__V1__ROOM_CHANGE_KIND__MEMBER_LEFT,
    CHANGE_MEMBER_ROLE = RINGPOST__V1__ROOM_CHANGE_KIND__MEMBER_ROLE,
    CHANGE_ROOM_UPDATED = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_UPDATED,
    CHANGE_ROOM_DISMISSED = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_DISMISSED,
};

struct room {
    struct entity entity;
    uint64_t owner_id, head_seq, created_ms; /* owner 0: direct */
    uint64_t unretained_seq; /* no message up to it is retained: mqtt/retained.c */
    uint32_t member_count;
    uint32_t count_count; /* of shard_counts */
    uint8_t type;         /* TYPE_… */
    bool dismissed, joinable, large;
    bool since_join;        /* its history is SINCE_JOIN: gate.h */
    char *name;             /* owned, "" for direct */
    uint32_t *shard_counts; /* owned; members by home shard */
};
extern const struct entity_type room_type;
static inline struct room *room_of(struct entity *e) { return ENTITY_CAST(struct room, ENTITY_ROOM, e); }

struct member { /* exists: is a member */
    struct entity entity;
    uint64_t joined_ms;
    uint64_t joined_seq; /* head of the room then, whatever its history is */
    uint8_t role; /* ROLE_… */
    char *name;   /* owned; display name when joined */
};
extern const struct entity_type member_type;
static inline struct member *member_of(struct entity *e) { return ENTITY_CAST(struct member, ENTITY_MEMBER, e); }
void member_put(struct member *member, struct effects *effects);

#define DIRECT_HELD 4
struct direct { /* exists: the two have a conversation */
    struct entity entity;
    uint64_t room_id;
    uint32_t introductions; /* sends between the two that are asking who the other one is; runtime only */
    /* Where apply has just made the room: pinned with this entity, because a later command of the same batch named only
     * the pair. */
    struct entity *held[DIRECT_HELD];
};
extern const struct entity_type direct_type;
static inline struct direct *direct_of(struct entity *e) { return ENTITY_CAST(struct direct, ENTITY_DIRECT, e); }
/* Apply: the conversation of two who have none; people[0] has the lower id. Their DIRECT entity is resident (needs). */
struct room *direct_create(struct machine *machine, const struct person_record people[2], uint64_t actor_id,
                           uint64_t time_ms, struct effects *effects);

uint32_t room_member_max(const struct machine *machine, uint8_t type);
void room_snapshot(const struct room *room, const struct machine *machine,
                   struct snapshot_record *snapshot); /* borrows the room's name */
Ringpost__V1__RoomHistory room_history(bool since_join);
/* Fills the protobuf Room; borrows the room's name. */
void room_fill(const struct room *room, const struct machine *machine, Ringpost__V1__Room *out);

/* Check: may `actor_id` do something in this group that takes at least `role_min`? Room and member are resident
 * (needs). NONE: *room is set. ROOM_NOT_FOUND (also who is no member), ROOM_IS_DIRECT, ROOM_DISMISSED, ROLE_TOO_LOW. */
enum error room_admits(struct machine *machine, uint64_t room_id, uint64_t actor_id, uint8_t role_min,
                       struct room **room);

/* ---- apply: the room and the member entities named are resident (needs) ---- */
struct room_draft {
    uint8_t type;
    uint64_t owner_id, actor_id, time_ms;
    struct slice name;
    bool joinable, since_join;
    const struct person_record *people; /* its first members; at least one lives on this shard */
    uint32_t people_count;
};
/* A new room. Each first member is told once, of the room as it is with all of them. Inboxes of local people are
 * resident (needs). */
struct room *room_create(struct machine *machine, const struct room_draft *draft, struct effects *effects);
/* Adds one who is no member: member record, counts, large flag, and the change told to every shard concerned. */
void room_add_member(struct machine *machine, struct room *room, const struct person_record *person, uint8_t role,
                     uint64_t actor_id, uint64_t time_ms, struct effects *effects);
/* Removes one who is a member, and tells. A room without members is dismissed. */
void room_remove_member(struct machine *machine, struct room *room, struct member *member, uint64_t actor_id,
                        uint64_t time_ms, struct effects *effects);
/* Tells every shard with members about a change (joins and leaves of a large room: only the target's shard and this
 * one). The snapshot and the head are filled in here. */
void room_tell(struct machine *machine, struct room *room, const struct relay_change_record *change,
               struct effects *effects);
/* The next message: seq, msg_id, timeline, relays. Returns the message as stored; its slices are the draft's. `content`: a hash of its
 * client_msg_id, kind, body and properties. */
struct message_record room_append(struct machine *machine, struct room *room, const struct message_record *draft, uint64_t content,
                                  struct effects *effects);
/* Of all that a message is (state_hash.h). */
uint64_t room_message_hash(const struct message_record *message, uint64_t content);

/* A read for members: the room, and the membership of who asks (may be NULL), pinned until the request ends. NULL:
 * refused, or waiting and the handler returns. */
struct shard;
struct request;
const struct room *request_member_room(struct shard *shard, struct request *request, uint64_t room_id,
                                       const struct member **member);

/* What a change or a message of `room` touches on this shard: the view, and for a change its target's inbox and
 * conversation. */
void room_needs_local(struct needs *needs, uint64_t room_id, uint64_t target_id);

#endif
