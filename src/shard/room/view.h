/* shard/room/view.h - what a shard with members of a room knows of it: the snapshot, the head, its local members.
 * Owns:    the list of local members; pins their inboxes while it is resident (small rooms).
 * Thread:  the shard's worker (a home shard of members).  Depends: shard/machine.h.  Start at: shard/shard.h
 * Relays arrive here: on the room's own shard within the same apply, elsewhere through a RELAY command. */
#ifndef SHARD_ROOM_VIEW_H
#define SHARD_ROOM_VIEW_H

#include "shard/chat/inbox.h"
#include "shard/machine.h"
#include "shard/records.h"

struct view { /* exists: at least one member of this shard, now or before */
    struct entity entity;
    uint64_t owner_id, created_ms, head_seq;
    uint32_t member_count, member_max;
    uint8_t type;
    bool dismissed, joinable, large;
    char *name;             /* owned */
    struct inbox **members; /* owned array; pinned inboxes of the local members; empty when large */
    uint32_t local_count, local_capacity;
    uint64_t *loaded_ids;   /* between load and adopt */
    struct inbox **loaded;  /* fresh inboxes read with it */
};
extern const struct entity_type view_type;
static inline struct view *view_of(struct entity *e) { return CONTAINER_OF(e, struct view, entity); }

/* What applying a relay touches. */
void view_needs_message(struct needs *needs, uint64_t room_id);
void view_needs_change(struct needs *needs, uint64_t room_id, uint64_t target_id);
/* Apply, on every shard with members. */
void view_apply_message(struct machine *machine, const struct relay_message_record *relay, struct effects *effects);
void view_apply_change(struct machine *machine, const struct relay_change_record *relay, struct effects *effects);
/* Packed RoomChange / Message fields for events and responses. */
void view_pack_change(struct writer *out, const struct relay_change_record *change, uint64_t read_seq);
void message_pack(struct writer *out, uint64_t room_id, const struct message_record *message);

#endif
