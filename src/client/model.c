/* client/model.c - conversations, people and what the server says about them; timelines stand in timeline.c.
 * Everything may be said twice and in pieces: each function moves the model to what is now known and never back. Memory that runs
 * out leaves the model as it was: the missing part is loaded again when it is looked at. */
#include "client/model_internal.h"
#include "client/text.h"
#include "core/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_init(struct model *model, uint64_t self_id)
{
    *model = (struct model){.self_id = self_id};
}

static void conversation_destroy(struct conversation *conversation)
{
    timeline_clear(conversation);
    free(conversation->messages);
    for (uint32_t i = 0; i < conversation->outgoing_count; i++) free(conversation->outgoing[i].text);
    free(conversation);
}

void model_deinit(struct model *model)
{
    for (uint32_t i = 0; i < model->conversation_count; i++) conversation_destroy(model->conversations[i]);
    free(model->conversations);
    free(model->people);
    model_init(model, 0);
}

/* ---- finding ---- */

struct conversation *model_find_room(const struct model *model, uint64_t room_id)
{
    for (uint32_t i = 0; room_id != 0 && i < model->conversation_count; i++)
        if (model->conversations[i]->room_id == room_id) return model->conversations[i];
    return NULL;
}

struct conversation *model_find_peer(const struct model *model, uint64_t peer_id)
{
    for (uint32_t i = 0; peer_id != 0 && i < model->conversation_count; i++)
        if (model->conversations[i]->peer_id == peer_id) return model->conversations[i];
    return NULL;
}

struct person *model_find_person(const struct model *model, uint64_t user_id)
{
    for (uint32_t i = 0; i < model->person_count; i++)
        if (model->people[i].user_id == user_id) return &model->people[i];
    return NULL;
}

const char *model_name_of(const struct model *model, uint64_t user_id)
{
    const struct person *person = model_find_person(model, user_id);
    return person != NULL && person->name[0] != '\0' ? person->name : "?";
}

bool model_is_online(const struct model *model, uint64_t user_id)
{
    const struct person *person = model_find_person(model, user_id);
    return person != NULL && person->online;
}

/* ---- growing ---- */

static struct person *model_person(struct model *model, uint64_t user_id)
{
    struct person *person = model_find_person(model, user_id);
    if (person != NULL || user_id == 0) return person;
    if (model->person_count == model->person_capacity) {
        uint32_t capacity = model->person_capacity == 0 ? 64 : model->person_capacity * 2;
        if (capacity > MODEL_PEOPLE_MAX) return NULL;
        struct person *people = realloc(model->people, capacity * sizeof *people);
        if (people == NULL) return NULL;
        model->people = people;
        model->person_capacity = capacity;
    }
    person = &model->people[model->person_count++];
    *person = (struct person){.user_id = user_id};
    return person;
}

/* At the limit the one that nobody used for longest makes room. */
static bool model_reserve_conversation(struct model *model)
{
    if (model->conversation_count < model->conversation_capacity) return true;
    if (model->conversation_capacity == MODEL_CONVERSATIONS_MAX) {
        conversation_destroy(model->conversations[--model->conversation_count]);
        return true;
    }
    uint32_t capacity = model->conversation_capacity == 0 ? 64 : model->conversation_capacity * 2;
    if (capacity > MODEL_CONVERSATIONS_MAX) capacity = MODEL_CONVERSATIONS_MAX;
    struct conversation **grown = realloc(model->conversations, capacity * sizeof *grown);
    if (grown == NULL) return false;
    model->conversations = grown;
    model->conversation_capacity = capacity;
    return true;
}

/* Moves the conversation up to where its activity puts it. */
static void model_touch(struct model *model, struct conversation *conversation, uint64_t activity_ms)
{
    if (activity_ms <= conversation->activity_ms) return;
    conversation->activity_ms = activity_ms;
    uint32_t at = 0;
    while (model->conversations[at] != conversation) at++;
    for (; at > 0 && model->conversations[at - 1]->activity_ms < activity_ms; at--) {
        model->conversations[at] = model->conversations[at - 1];
        model->conversations[at - 1] = conversation;
    }
}

static struct conversation *model_add_conversation(struct model *model, uint64_t room_id, uint64_t peer_id)
{
    if (!model_reserve_conversation(model)) return NULL;
    struct conversation *conversation = calloc(1, sizeof *conversation);
    if (conversation == NULL) return NULL;
    conversation->room_id = room_id;
    conversation->peer_id = peer_id;
    model->conversations[model->conversation_count++] = conversation;
    return conversation;
}

static void model_remove_conversation(struct model *model, struct conversation *conversation)
{
    uint32_t at = 0;
    while (model->conversations[at] != conversation) at++;
    model->conversation_count--;
    memmove(&model->conversations[at], &model->conversations[at + 1], (model->conversation_count - at) * sizeof model->conversations[0]);
    conversation_destroy(conversation);
}

/* `draft` turns out to be the conversation of that room: it becomes it, or what is known of the room already takes it in. */
static struct conversation *model_bind_draft(struct model *model, struct conversation *draft, uint64_t room_id)
{
    ASSERT(draft->room_id == 0 && draft->peer_id != 0 && room_id != 0);
    struct conversation *known = model_find_room(model, room_id);
    if (known == NULL) {
        draft->room_id = room_id;
        return draft;
    }
    known->peer_id = draft->peer_id;
    memcpy(known->title, draft->title, sizeof known->title);
    outgoing_move(known, draft);
    model_remove_conversation(model, draft);
    return known;
}

/* The conversation of a room, made when there is none; `peer_id` 0: a group, or not known. */
static struct conversation *model_conversation(struct model *model, uint64_t room_id, uint64_t peer_id)
{
    struct conversation *draft = model_find_peer(model, peer_id);
    if (draft != NULL && draft->room_id == 0) return model_bind_draft(model, draft, room_id);
    struct conversation *conversation = model_find_room(model, room_id);
    if (conversation == NULL) conversation = model_add_conversation(model, room_id, peer_id);
    if (conversation != NULL && peer_id != 0) conversation->peer_id = peer_id;
    return conversation;
}

static void set_title(struct conversation *conversation, const char *title)
{
    if (title[0] != '\0') text_clean(conversation->title, sizeof conversation->title, title, strlen(title), false, NULL);
}

/* ---- what the server says ---- */

void model_on_person(struct model *model, uint64_t user_id, const char *name)
{
    struct person *person = model_person(model, user_id);
    if (person == NULL || name[0] == '\0' || person->name_told) return;
    text_clean(person->name, sizeof person->name, name, strlen(name), false, NULL);
}

void model_on_name(struct model *model, uint64_t user_id, const char *name)
{
    struct person *person = model_person(model, user_id);
    if (person == NULL || name[0] == '\0') return;
    person->name_told = false;
    model_on_person(model, user_id, name);
    person->name_told = true;
    struct conversation *direct = model_find_peer(model, user_id);
    if (direct != NULL) set_title(direct, name);
}

static void apply_room(struct conversation *conversation, const Ringpost__V1__Room *room)
{
    set_title(conversation, room->name);
    conversation->member_count = room->member_count;
    conversation->dismissed = room->dismissed;
    conversation->incomplete = false;
    bool other_history = conversation->history != RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN && conversation->history != (int)room->history;
    if (other_history) timeline_clear(conversation); /* what may be read is not what it was */
    conversation->history = (int)room->history;
    if (room->head_seq > conversation->head_seq) conversation->head_seq = room->head_seq;
}

void model_on_conversation(struct model *model, const Ringpost__V1__Conversation *said)
{
    if (said->room == NULL || said->room->room_id == 0) return;
    struct conversation *conversation = model_conversation(model, said->room->room_id, said->peer_id);
    if (conversation == NULL) return;
    apply_room(conversation, said->room);
    conversation->left = false;
    if (said->peer_id != 0) {
        set_title(conversation, said->peer_name);
        model_on_person(model, said->peer_id, said->peer_name);
    }
    if (said->head_seq > conversation->head_seq) conversation->head_seq = said->head_seq;
    if (said->read_seq > conversation->read_seq) conversation->read_seq = said->read_seq;
    model_touch(model, conversation, said->room->created_ms);
    if (said->last_message != NULL) model_on_message(model, said->last_message);
}

void model_on_other_stream(struct model *model)
{
    for (uint32_t i = model->conversation_count; i-- > 0;) {
        struct conversation *conversation = model->conversations[i];
        if (conversation->outgoing_count == 0) {
            model_remove_conversation(model, conversation);
        } else {
            timeline_clear(conversation);
            conversation->head_seq = conversation->read_seq = 0;
        }
    }
}

void model_on_room(struct model *model, const Ringpost__V1__Room *room)
{
    struct conversation *conversation = model_find_room(model, room->room_id);
    if (conversation != NULL) apply_room(conversation, room);
}

void model_on_message(struct model *model, const Ringpost__V1__Message *message)
{
    if (message->room_id == 0 || message->seq == 0) return;
    struct conversation *conversation = model_find_room(model, message->room_id);
    if (conversation == NULL) {
        conversation = model_add_conversation(model, message->room_id, 0);
        if (conversation == NULL) return;
        conversation->incomplete = true;
        set_title(conversation, message->sender_name);
    }
    model_on_person(model, message->sender_id, message->sender_name);
    if (message->seq > conversation->head_seq) conversation->head_seq = message->seq;
    timeline_insert(conversation, message);
    conversation_end_typing(conversation, message->sender_id);
    model_touch(model, conversation, message->time_ms);
}

void model_on_head(struct model *model, uint64_t room_id, uint64_t head_seq, uint64_t read_seq)
{
    struct conversation *conversation = model_find_room(model, room_id);
    if (conversation == NULL) return;
    if (head_seq > conversation->head_seq) conversation->head_seq = head_seq;
    if (read_seq > conversation->read_seq) conversation->read_seq = read_seq;
}

void model_on_read(struct model *model, uint64_t room_id, uint64_t read_seq)
{
    model_on_head(model, room_id, 0, read_seq);
}

static void model_on_change(struct model *model, const Ringpost__V1__RoomChange *change)
{
    if (change->room == NULL || change->room->room_id == 0) return;
    struct conversation *conversation = model_conversation(model, change->room->room_id, change->peer_id);
    if (conversation == NULL) return;
    apply_room(conversation, change->room);
    if (change->peer_id != 0) {
        set_title(conversation, change->peer_name);
        model_on_person(model, change->peer_id, change->peer_name);
    }
    model_on_person(model, change->target_id, change->target_name);
    if (change->change == RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED) {
        conversation->left = false;
        if (change->read_seq > conversation->read_seq) conversation->read_seq = change->read_seq;
        model_touch(model, conversation, change->time_ms);
    }
    if (change->change == RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_LEFT) conversation->left = true;
}

void model_on_event(struct model *model, const Ringpost__V1__Event *event)
{
    switch ((int)event->kind_case) {
    case RINGPOST__V1__EVENT__KIND_MESSAGE:
        model_on_message(model, event->message);
        break;
    case RINGPOST__V1__EVENT__KIND_READ:
        model_on_read(model, event->read->room_id, event->read->read_seq);
        break;
    case RINGPOST__V1__EVENT__KIND_ROOM:
        model_on_change(model, event->room);
        break;
    default:
        break; /* of a later version of the contract */
    }
}

void model_on_presence(struct model *model, const Ringpost__V1__Presence *presence)
{
    struct person *person = model_person(model, presence->user_id);
    if (person == NULL) return;
    person->online = presence->online;
    if (presence->last_seen_ms > person->last_seen_ms) person->last_seen_ms = presence->last_seen_ms;
    model_on_name(model, presence->user_id, presence->display_name);
}

/* ---- typing ---- */

void conversation_end_typing(struct conversation *conversation, uint64_t user_id)
{
    for (uint32_t i = 0; i < conversation->typing_count; i++)
        if (conversation->typing[i].user_id == user_id) conversation->typing[i--] = conversation->typing[--conversation->typing_count];
}

void model_on_typing(struct model *model, const Ringpost__V1__TypingNotice *notice, uint64_t now_ms)
{
    struct conversation *conversation = model_find_room(model, notice->room_id);
    if (conversation == NULL || notice->user_id == model->self_id) return;
    conversation_end_typing(conversation, notice->user_id);
    if (notice->stopped || conversation->typing_count == MODEL_TYPING_MAX) return;
    conversation->typing[conversation->typing_count++] =
        (struct model_typing){.user_id = notice->user_id, .until_ms = now_ms + MODEL_TYPING_SHOWN_MS};
}

bool model_expire_typing(struct model *model, uint64_t now_ms, uint64_t *next_ms)
{
    bool changed = false;
    *next_ms = UINT64_MAX;
    for (uint32_t i = 0; i < model->conversation_count; i++) {
        struct conversation *conversation = model->conversations[i];
        for (uint32_t j = 0; j < conversation->typing_count;) {
            uint64_t until_ms = conversation->typing[j].until_ms;
            if (until_ms <= now_ms) {
                conversation_end_typing(conversation, conversation->typing[j].user_id);
                changed = true;
                continue;
            }
            if (until_ms < *next_ms) *next_ms = until_ms;
            j++;
        }
    }
    return changed;
}

/* ---- what the user does ---- */

struct conversation *model_open_peer(struct model *model, uint64_t peer_id, const char *name)
{
    ASSERT(peer_id != 0);
    struct conversation *conversation = model_find_peer(model, peer_id);
    if (conversation == NULL) conversation = model_add_conversation(model, 0, peer_id);
    if (conversation == NULL) return NULL;
    if (conversation->room_id == 0) set_title(conversation, name);
    model_on_person(model, peer_id, name);
    return conversation;
}

void model_on_sent(struct model *model, const char *client_msg_id, uint64_t room_id, uint64_t seq)
{
    for (uint32_t i = 0; i < model->conversation_count; i++) {
        struct conversation *conversation = model->conversations[i];
        struct model_outgoing *outgoing = outgoing_find(conversation, client_msg_id);
        if (outgoing == NULL) continue;
        outgoing->state = OUTGOING_SENT;
        outgoing->seq = seq;
        if (conversation->room_id == 0) conversation = model_bind_draft(model, conversation, room_id);
        outgoing_settle(conversation);
        return;
    }
}

void model_on_send_failed(struct model *model, const char *client_msg_id, const char *reason)
{
    for (uint32_t i = 0; i < model->conversation_count; i++) {
        struct model_outgoing *outgoing = outgoing_find(model->conversations[i], client_msg_id);
        if (outgoing == NULL) continue;
        outgoing->state = OUTGOING_FAILED;
        text_clean(outgoing->reason, sizeof outgoing->reason, reason, strlen(reason), false, NULL);
    }
}

uint64_t conversation_unread(const struct conversation *conversation)
{
    return conversation->head_seq > conversation->read_seq ? conversation->head_seq - conversation->read_seq : 0;
}
