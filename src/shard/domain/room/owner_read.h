/* shard/domain/room/owner_read.h - what a page needs of rooms that other shards own: messages by name, and how far rooms have got. A message
 * stands on its room's shard and nowhere else.
 * Owns:    what is asked for one request, and what was answered.
 * Thread:  the shard's worker; owner_read_rows() a job's: the storage thread of the owner.
 * Depends: shard/engine/request.h, shard/domain/room/body_cache.h.  Start at: shard/domain/chat/sync.c
 *
 *   owner_read_message, owner_read_head …   what is wanted, in the order of the page
 *   owner_read_begin                        the cache has everything: true. Else one letter to each owner -> answers -> `then`
 *   owner_read_message_of, owner_read_head_of   in the order of the page, as far as the answers reach
 *
 * An owner answers what is asked of it in that order until the answer has grown as large as a page may be: at least the first, so a page
 * gets on. It answers other shards, which ask for their own users: messages that the user's stream names, and rooms that the user
 * is in; that is looked at once more, for who has left may not have heard of it yet.
 *
 *   ASK_ROOMS   rooms_question_record; names = { u64 room | u64 seq }…; marks = { u64 room | u64 read_seq | u64 hidden_seq | u8 large }…
 *   TELL_ROOMS  rooms_answer_record; messages = { u64 room | bytes message_record }…;
 *               heads = { u64 room | u64 head_seq | u64 read_seq | bytes last message_record, or nothing }… */
#ifndef SHARD_ROOM_OWNER_READ_H
#define SHARD_ROOM_OWNER_READ_H

#include "shard/engine/request.h"

struct owner_message {
    uint64_t room_id, seq;
    struct slice record; /* message_record */
};
struct owner_head {
    uint64_t room_id, hidden_seq;
    uint64_t read_seq; /* as it was asked; as answered: behind the own messages that follow it in a large room */
    uint64_t head_seq; /* 0 also where the user is no member any more */
    struct slice last; /* the newest message, where it may be seen and was asked for */
    bool large, answered;
};

struct owner_read;
/* `last_messages`: heads come with them. */
struct owner_read *owner_read_create(uint16_t shard, uint64_t user_id, bool last_messages);
void owner_read_destroy(void *read);
void owner_read_message(struct owner_read *read, uint64_t room_id, uint64_t seq);
void owner_read_head(struct owner_read *read, const struct owner_head *mark);
bool owner_read_is_empty(const struct owner_read *read);
/* What belongs to it until its end: the page that waits. */
void owner_read_set_page(struct owner_read *read, void *page, void (*free_page)(void *page));
void *owner_read_page(const struct owner_read *read);

/* True: all is there. False: it is being asked, and `then` runs when the answers are here, or the request was refused. The caller keeps
 * `read` with the request (request->lookup). */
bool owner_read_begin(struct shard *shard, struct request *request, struct owner_read *read, void (*then)(struct shard *, struct request *));

/* Number `index` of those wanted. False: the answer does not reach so far. */
bool owner_read_message_of(const struct owner_read *read, uint32_t index, struct owner_message *message);
uint32_t owner_read_head_count(const struct owner_read *read);
bool owner_read_head_of(const struct owner_read *read, uint32_t index, struct owner_head *head);

/* ---- for owner_read_begin() and the owner ---- */
/* What is asked of that shard; false: nothing. */
bool owner_read_ask(const struct owner_read *read, uint16_t shard, struct writer *question);
/* False: no shard would answer that. Copies what it needs. */
bool owner_read_take(struct owner_read *read, uint16_t shard, struct slice answer);
/* OK; MALFORMED: no shard would ask that; MISSING: a message is not there; IO, CORRUPT. */
NODISCARD enum result owner_read_rows(struct store_view *view, struct slice question, uint32_t cost_max, struct writer *answer);
/* An ASK_ROOMS letter; takes it. */
void owner_read_receive(struct shard *shard, struct letter *letter);

#endif
