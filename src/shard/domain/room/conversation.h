/* shard/domain/room/conversation.h - one user's side of one room: since when a member, how far read, who the other one is.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/engine/machine.h.  Start at: shard/engine/shard.h */
#ifndef SHARD_CHAT_CONVERSATION_H
#define SHARD_CHAT_CONVERSATION_H

#include "shard/domain/entities.h"
#include "shard/domain/records.h"
#include "shard/engine/machine.h"

struct conversation { /* exists: the user is a member (as far as this shard has heard) */
    struct entity entity;
    uint64_t joined_seq, read_seq;
    uint64_t peer_id; /* DIRECT, else 0 */
    char *peer_name;  /* owned, may be NULL */
};
extern const struct entity_type conversation_type;
static inline struct conversation *conversation_of(struct entity *e) { return ENTITY_CAST(struct conversation, ENTITY_CONVERSATION, e); }

/* One row of a user's conversations with what this shard knows of the room. */
struct conversation_row {
    uint64_t room_id, head_seq;
    struct conversation_record conversation;
    struct snapshot_record snapshot;
};
/* Reads the row under (key, value) and the view of its room, on shard `shard`; slices borrow `value` and `scratch`. The head of a room that another shard
 * owns is at least that: its owner knows. */
NODISCARD enum result conversation_row_read(struct conversation_row *row, struct store_view *view, uint16_t shard, struct slice key,
                                            struct slice value, struct writer *scratch);

#endif
