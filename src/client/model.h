/* client/model.h - what a screen shows: conversations with their timelines, who is online, who types. Pure: events and time go in.
 * Owns:    everything it shows; copies what it is given.
 * Thread:  one at a time.         Depends: the contract, client/text.h.          Start at: client/client.h
 *
 * A timeline is a run of messages without holes, seq by seq. What arrives beyond its end with something missing between replaces it; what was
 * there before can be loaded again by going back. So a timeline never shows a hole, and needs no bookkeeping of holes.
 * All text is cleaned on the way in (text.h): whatever a model holds may be printed.
 * unread = head seq - read seq, as the server defines it. */
#ifndef CLIENT_MODEL_H
#define CLIENT_MODEL_H

#include "core/result.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <stdbool.h>
#include <stdint.h>

#define MODEL_CONVERSATIONS_MAX 2000 /* beyond it those without activity for longest are not shown */
#define MODEL_TIMELINE_MAX 2000      /* messages of one conversation; beyond it the oldest are let go */
#define MODEL_TEXT_MAX 8192          /* bytes of one message that are shown */
#define MODEL_OUTGOING_MAX 64        /* messages of one conversation not yet in its timeline */
#define MODEL_PEOPLE_MAX 8192
#define MODEL_TYPING_MAX 8
#define MODEL_NAME_MAX 256           /* bytes of a name that are shown */
#define MODEL_TYPING_SHOWN_MS 6000   /* after the last sign of it */

struct model_message {
    uint64_t seq, sender_id, time_ms;
    char *sender, *text; /* clean */
    uint32_t text_len;
};

enum model_outgoing_state { OUTGOING_SENDING, OUTGOING_SENT, OUTGOING_FAILED };
struct model_outgoing {
    char client_msg_id[40];
    enum model_outgoing_state state;
    uint64_t seq;       /* SENT: shown until the timeline has it */
    uint64_t time_ms;
    char *text;
    uint32_t text_len;
    char reason[80];    /* FAILED */
};

struct model_typing {
    uint64_t user_id, until_ms;
};

struct conversation {
    uint64_t room_id;   /* 0: a direct conversation nobody has written in yet */
    uint64_t peer_id;   /* direct, else 0 */
    char title[MODEL_NAME_MAX + 1];
    bool dismissed, left;
    bool incomplete;    /* seen in an event, not yet described by the server */
    uint32_t member_count;
    uint64_t head_seq, read_seq, activity_ms;
    uint64_t hidden_seq; /* messages up to it are hidden from the user, who came in behind them; as the last page said */
    int history;         /* the room's, enum RoomHistory */
    struct model_message *messages; /* seqs without holes, ascending */
    uint32_t message_count, message_capacity;
    bool start_reached; /* nothing older can be loaded */
    struct model_outgoing outgoing[MODEL_OUTGOING_MAX];
    uint32_t outgoing_count;
    struct model_typing typing[MODEL_TYPING_MAX];
    uint32_t typing_count;
};

struct person {
    uint64_t user_id, last_seen_ms;
    bool online;
    bool name_told; /* by presence, as it is now: what older messages say does not count any more */
    char name[MODEL_NAME_MAX + 1];
};

struct model {
    uint64_t self_id;
    struct conversation **conversations; /* latest activity first */
    uint32_t conversation_count, conversation_capacity;
    struct person *people;
    uint32_t person_count, person_capacity;
};

void model_init(struct model *model, uint64_t self_id);
void model_deinit(struct model *model);

struct conversation *model_find_room(const struct model *model, uint64_t room_id);
struct conversation *model_find_peer(const struct model *model, uint64_t peer_id);
struct person *model_find_person(const struct model *model, uint64_t user_id);
/* The name to show for somebody; "?" when nothing is known. */
const char *model_name_of(const struct model *model, uint64_t user_id);
bool model_is_online(const struct model *model, uint64_t user_id);

/* ---- what the server says; all may be said again ---- */
void model_on_conversation(struct model *model, const Ringpost__V1__Conversation *said);
/* Nothing that was shown has to be true any more; what was written and not yet sent stays. */
void model_on_other_stream(struct model *model);
void model_on_room(struct model *model, const Ringpost__V1__Room *room);
void model_on_event(struct model *model, const Ringpost__V1__Event *event);
void model_on_message(struct model *model, const Ringpost__V1__Message *message);
void model_on_head(struct model *model, uint64_t room_id, uint64_t head_seq, uint64_t read_seq);
void model_on_presence(struct model *model, const Ringpost__V1__Presence *presence);
void model_on_typing(struct model *model, const Ringpost__V1__TypingNotice *notice, uint64_t now_ms);
void model_on_person(struct model *model, uint64_t user_id, const char *name);
/* Certainly, and from now on. */
void model_on_name(struct model *model, uint64_t user_id, const char *name);
/* A page of history in descending order. */
void model_on_history(struct model *model, uint64_t room_id, const Ringpost__V1__HistoryResponse *page);

/* ---- what the user does ---- */
/* The direct conversation with somebody, made when there is none. NULL: no memory. */
struct conversation *model_open_peer(struct model *model, uint64_t peer_id, const char *name);
/* BUSY: MODEL_OUTGOING_MAX wait already. */
NODISCARD enum result model_send(struct conversation *conversation, const char *client_msg_id, const char *text, uint64_t now_ms);
/* The answer, looked for in every conversation: what was sent to a person gets its room here. */
void model_on_sent(struct model *model, const char *client_msg_id, uint64_t room_id, uint64_t seq);
void model_on_send_failed(struct model *model, const char *client_msg_id, const char *reason);
/* Takes the failed ones away. */
void model_drop_failed(struct conversation *conversation);
void model_on_read(struct model *model, uint64_t room_id, uint64_t read_seq);

/* ---- what the screen asks ---- */
uint64_t conversation_unread(const struct conversation *conversation);
/* What to load next so that the timeline can be shown with `message_count_wanted` messages up to the newest: true and
 * *before_seq (0: from the newest), or false when it is all there. */
bool conversation_wants_history(const struct conversation *conversation, uint32_t message_count_wanted, uint64_t *before_seq);
/* Ends typing that is too old; true when somebody stopped. *next_ms: when to ask again, UINT64_MAX: never. */
bool model_expire_typing(struct model *model, uint64_t now_ms, uint64_t *next_ms);

#endif
