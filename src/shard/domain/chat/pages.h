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

struct sync_params {
    uint64_t user_id, sync_key;
    uint64_t head; /* of the stream when the page was asked for */
    enum inbox_answer answer; /* may it go on from sync_key? */
    uint32_t limit;
    bool in_large_rooms; /* else the user has no heads to be told */
    uint64_t reached; /* out: the sync_key of the answer */
};
void sync_read(struct read_job *job, struct store_view *view);

struct conversations_params {
    uint64_t user_id, cursor; /* cursor: the last room id of the page before */
    uint64_t head;            /* of the stream when the page was asked for */
    struct epoch epoch;       /* then */
    uint32_t limit;
};
void conversations_read(struct read_job *job, struct store_view *view);

#endif
