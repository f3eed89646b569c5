/* shard/domain/chat/pages.h - what is read by page on the storage thread: a room's history, a user's stream, a user's
 * conversations. Thread:  the storage thread.    Depends: shard/engine/request.h.      Start at: shard/engine/shard.h Each appends a
 * packed response to job->reply; job->params holds its parameters. A page ends at `limit` or at
 * job->page_cost_max. */
#ifndef SHARD_CHAT_PAGES_H
#define SHARD_CHAT_PAGES_H

#include "shard/domain/delivery/inbox.h"
#include "shard/domain/methods.h"
#include "shard/domain/records.h"

struct history_params {
    uint64_t room_id, head_seq; /* head when the page was asked for: the store has everything up to it */
    uint64_t hidden_seq;        /* nothing up to it is for the one who asks: room/gate.h */
    bool upwards;               /* from after_seq; else downwards from before_seq */
    uint64_t before_seq;        /* 0: from the newest */
    uint64_t after_seq;         /* 0: from the first; below hidden_seq: from there */
    uint32_t limit;
};
void history_read(struct read_job *job, struct store_view *view);

/* A page of which rooms of other shards are a part is read in two steps: the first, on the storage thread, packs what is here and notes where
 * the rest goes; the second puts that in when its owners have answered (room/owner_read.h), and ends the page where the answers or
 * job->page_cost_max end it. Without such rooms the first step packs all. */
struct owner_read;

struct sync_params {
    uint16_t shard;
    uint64_t user_id, sync_key;
    uint64_t head; /* of the stream when the page was asked for */
    enum inbox_answer answer; /* may it go on from sync_key? */
    uint32_t limit;
    bool in_large_rooms; /* else the user has no heads to be told */
    uint64_t reached; /* out: the sync_key of the answer */
    struct owner_read *open; /* out: what is to be asked for; NULL: nothing. The reader of the job owns it */
};
void sync_read(struct read_job *job, struct store_view *view);
/* The second step: the events and heads into `out`, as far as they came. False: nothing came of what comes first. */
bool sync_fill(const struct owner_read *open, uint32_t cost_max, struct sync_params *params, struct writer *out);
/* The rest of the answer, in both cases. */
void sync_end(const struct sync_params *params, struct writer *out);

struct conversations_params {
    uint16_t shard;
    uint64_t user_id, cursor; /* cursor: the last room id of the page before */
    uint64_t head;            /* of the stream when the page was asked for */
    struct epoch epoch;       /* then */
    uint32_t limit;
    bool has_more;          /* out */
    uint64_t last_room;     /* out, of the page */
    struct owner_read *open; /* out, as in sync_params */
};
void conversations_read(struct read_job *job, struct store_view *view);
bool conversations_fill(const struct owner_read *open, uint32_t cost_max, struct conversations_params *params, struct writer *out);
void conversations_end(const struct conversations_params *params, struct writer *out);

#endif
