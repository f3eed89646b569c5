/* shard/domain/room/view.h - what a shard with members of a room knows of it: the snapshot, the head, its local members.
 * Owns:    the list of local members; pins their inboxes while it is resident (small rooms).
 * Thread:  the shard's worker (a home shard of members).  Depends: shard/engine/machine.h.  Start at: shard/engine/shard.h
 * Relays arrive here: on the room's own shard within the same apply, elsewhere through a RELAY command.
 *
 *   COLD --an apply found all inboxes resident (needs named them)--> COMPLETE --room becomes large--> LARGE (no list,
 * for ever) A loaded view of a small room is COLD: `cold_ids` names its members, whose inboxes are loaded like any
 * other entity. They are not read together with the view, because one could have changed and been dropped again before
 * the view arrives. */
#ifndef SHARD_ROOM_VIEW_H
#define SHARD_ROOM_VIEW_H

#include "shard/domain/delivery/inbox.h"
#include "shard/domain/entities.h"
#include "shard/engine/machine.h"
#include "shard/domain/records.h"

struct view { /* exists: at least one member of this shard, now or before */
    struct entity entity;
    uint64_t owner_id, created_ms;
    uint64_t head_seq;  /* of the room; where another shard owns that: at the last change of which this one heard, and its messages go on */
    uint64_t heard_seq; /* the newest that was heard of in any way; runtime only: nothing that a command does depends on it */
    uint64_t opener_id; /* DIRECT: who lives here, has opened it and waits for the other one's first message; else 0 */
    uint32_t member_count, member_max;
    uint8_t type;
    bool dismissed, joinable, large, since_join;
    bool has_copies; /* of messages of another shard, which earlier versions kept; runtime only */
    char *name; /* owned */
    struct inbox *
        *members; /* owned array, ascending by user id; pinned inboxes of the local members; empty when large */
    uint32_t local_count, local_capacity;
    uint64_t *cold_ids; /* owned; NULL unless COLD */
    uint32_t cold_count;
};
extern const struct entity_type view_type;
static inline struct view *view_of(struct entity *e) { return ENTITY_CAST(struct view, ENTITY_VIEW, e); }

/* The value under KEY_VIEW: snapshot_record, then u64 head_seq at the last change (later messages: the room's timeline), then u64 opener_id
 * (absent: 0, as it was written before). False: none of ours. */
struct view_value {
    struct snapshot_record snapshot;
    uint64_t head_seq, opener_id;
};
bool view_value_read(struct slice value, struct view_value *out);

/* What applying a relay touches. */
/* sender_id 0: not a message, only the view and its members. */
void view_needs_message(struct needs *needs, uint64_t room_id, uint64_t sender_id);
void view_needs_change(struct needs *needs, uint64_t room_id, uint64_t target_id);
/* Apply, on every shard with members. `message`: that one; NULL: it is applied again, and nobody looks on. False: it contradicts what was
 * said before. */
bool view_apply_message(struct machine *machine, const struct relay_heard_record *heard, const struct message_record *message,
                        struct effects *effects);
void view_apply_change(struct machine *machine, const struct relay_change_record *relay, struct effects *effects);

/* ---- pack.c: the contract's messages from records ---- */
/* The fields of a Message, a RoomChange, a Room. */
void message_pack(struct writer *out, uint64_t room_id, const struct message_record *message);
void view_pack_change(struct writer *out, const struct relay_change_record *change, uint64_t read_seq);
void snapshot_pack(struct writer *out, const struct snapshot_record *snapshot, uint64_t head_seq);
/* The fields of an Event after its sync_key. */
void event_pack_message(struct writer *out, uint64_t room_id, const struct message_record *message);
void event_pack_change(struct writer *out, const struct relay_change_record *change);
void event_pack_read(struct writer *out, const struct event_read_record *read);
void event_pack_device(struct writer *out, const struct event_device_record *device);

#endif
