/* cli/chat_act.c - what the user does to the server: messages, typing, groups, and names that a command needs first. */
#include "cli/chat.h"
#include "core/check.h"
#include "core/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAT_TYPING_REPEAT_MS 3000 /* below MODEL_TYPING_SHOWN_MS, so that it does not flicker */

/* ---- messages ---- */

static void on_sent(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat_send *send = context;
    struct chat *chat = send->chat;
    if (result == RESULT_OK && response->error == NULL && response->result_case == RINGPOST__V1__RESPONSE__RESULT_SEND) {
        model_on_sent(&chat->model, send->client_msg_id, response->send->room_id, response->send->seq);
    } else {
        model_on_send_failed(&chat->model, send->client_msg_id,
                             result == RESULT_OK && response->error != NULL ? response->error->message : "no answer from the server");
    }
    send->client_msg_id[0] = '\0';
}

static struct chat_send *free_send(struct chat *chat)
{
    for (size_t i = 0; i < COUNT_OF(chat->sends); i++)
        if (chat->sends[i].client_msg_id[0] == '\0') return &chat->sends[i];
    return NULL;
}

void chat_send_text(struct chat *chat, struct conversation *conversation, const char *text)
{
    struct chat_send *place = free_send(chat);
    char id[sizeof place->client_msg_id];
    uint64_t random;
    clock_random(&random, sizeof random);
    snprintf(id, sizeof id, "cli-%016llx", (unsigned long long)random);
    model_drop_failed(conversation);
    if (place == NULL || model_send(conversation, id, text, clock_wall_ms()) != RESULT_OK) {
        chat_notice(chat, "too many messages wait to be sent");
        return;
    }
    *place = (struct chat_send){.chat = chat};
    memcpy(place->client_msg_id, id, sizeof id);
    Ringpost__V1__SendRequest send;
    Ringpost__V1__Request request;
    ringpost__v1__send_request__init(&send);
    ringpost__v1__request__init(&request);
    send.room_id = conversation->room_id;
    send.to_user_id = conversation->room_id == 0 ? conversation->peer_id : 0;
    send.client_msg_id = id;
    char *body = strdup(text);
    send.body = (ProtobufCBinaryData){strlen(text), (uint8_t *)body};
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SEND;
    request.send = &send;
    if (body == NULL || client_call(chat->remote.client, &request, CHAT_SEND_TIMEOUT_MS, on_sent, place) != RESULT_OK) {
        model_on_send_failed(&chat->model, id, "too many requests wait for the server");
        place->client_msg_id[0] = '\0';
    }
    free(body);
    chat->scroll = 0;
    chat->typing_room = 0; /* the message itself ends it */
}

static void on_told(void *context, enum result result, const Ringpost__V1__Response *response)
{
    (void)context;
    (void)result;
    (void)response; /* nothing depends on it */
}

void chat_tell_typing(struct chat *chat, bool typing, uint64_t now_ms)
{
    const struct conversation *conversation = chat_selected(chat);
    uint64_t room_id = conversation != NULL && !conversation->left ? conversation->room_id : 0;
    if (typing && (room_id == 0 || (chat->typing_room == room_id && now_ms < chat->typing_told_ms + CHAT_TYPING_REPEAT_MS))) return;
    if (!typing && chat->typing_room == 0) return;
    if (client_state(chat->remote.client) != CLIENT_READY) return;
    Ringpost__V1__TypingRequest tell;
    Ringpost__V1__Request request;
    ringpost__v1__typing_request__init(&tell);
    ringpost__v1__request__init(&request);
    tell.room_id = typing ? room_id : chat->typing_room;
    tell.stopped = !typing;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_TYPING;
    request.typing = &tell;
    if (!chat_call(chat, &request, on_told)) return;
    chat->typing_room = typing ? room_id : 0;
    chat->typing_told_ms = now_ms;
}

/* ---- names, groups ---- */

static void action_carry_out(struct chat *chat);

static void on_name_found(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    struct chat_action *action = &chat->action;
    ASSERT(action->kind != ACTION_NONE && action->found_count < action->name_count);
    const char *name = action->names[action->found_count];
    if (!chat_succeeded(chat, name, result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_USER ||
        response->user->user == NULL) {
        action->kind = ACTION_NONE;
        return;
    }
    const Ringpost__V1__User *user = response->user->user;
    model_on_person(&chat->model, user->user_id, user->name);
    action->user_ids[action->found_count++] = user->user_id;
    chat_find_names(chat);
}

void chat_find_names(struct chat *chat)
{
    struct chat_action *action = &chat->action;
    if (action->found_count == action->name_count) {
        action_carry_out(chat);
        return;
    }
    Ringpost__V1__UserRequest find;
    Ringpost__V1__Request request;
    ringpost__v1__user_request__init(&find);
    ringpost__v1__request__init(&request);
    find.name = action->names[action->found_count];
    request.method_case = RINGPOST__V1__REQUEST__METHOD_USER;
    request.user = &find;
    if (!chat_call(chat, &request, on_name_found)) action->kind = ACTION_NONE;
}

/* Shows a group that the server just described. */
static void show_room(struct chat *chat, Ringpost__V1__Room *room)
{
    Ringpost__V1__Conversation conversation;
    ringpost__v1__conversation__init(&conversation);
    conversation.room = room;
    conversation.head_seq = room->head_seq;
    model_on_conversation(&chat->model, &conversation);
    chat_select(chat, room->room_id, 0);
}

static void on_created(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->action.kind = ACTION_NONE;
    if (!chat_succeeded(chat, "new group", result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_CREATE_ROOM) return;
    if (response->create_room->room != NULL) show_room(chat, response->create_room->room);
}

static void create_group(struct chat *chat)
{
    struct chat_action *action = &chat->action;
    char id[40];
    uint64_t random;
    clock_random(&random, sizeof random);
    snprintf(id, sizeof id, "cli-%016llx", (unsigned long long)random);
    Ringpost__V1__CreateRoomRequest create;
    Ringpost__V1__Request request;
    ringpost__v1__create_room_request__init(&create);
    ringpost__v1__request__init(&request);
    create.name = action->text;
    create.member_ids = action->user_ids;
    create.n_member_ids = action->name_count;
    create.client_room_id = id;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_CREATE_ROOM;
    request.create_room = &create;
    if (!chat_call(chat, &request, on_created)) action->kind = ACTION_NONE;
}

static void on_invited(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->action.kind = ACTION_NONE;
    if (!chat_succeeded(chat, "invite", result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_INVITE) return;
    chat_notice(chat, "%u new in the group", response->invite->added_count);
    if (response->invite->room != NULL) model_on_room(&chat->model, response->invite->room);
}

static void invite_people(struct chat *chat)
{
    struct chat_action *action = &chat->action;
    Ringpost__V1__InviteRequest invite;
    Ringpost__V1__Request request;
    ringpost__v1__invite_request__init(&invite);
    ringpost__v1__request__init(&request);
    invite.room_id = action->room_id;
    invite.user_ids = action->user_ids;
    invite.n_user_ids = action->name_count;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_INVITE;
    request.invite = &invite;
    if (!chat_call(chat, &request, on_invited)) action->kind = ACTION_NONE;
}

static void message_person(struct chat *chat)
{
    struct chat_action *action = &chat->action;
    action->kind = ACTION_NONE;
    struct conversation *conversation = model_open_peer(&chat->model, action->user_ids[0], action->names[0]);
    if (conversation == NULL) return;
    chat_select(chat, conversation->room_id, conversation->peer_id);
    if (action->text[0] != '\0') chat_send_text(chat, conversation, action->text);
}

static void action_carry_out(struct chat *chat)
{
    switch (chat->action.kind) {
    case ACTION_MESSAGE: message_person(chat); break;
    case ACTION_NEW: create_group(chat); break;
    case ACTION_INVITE: invite_people(chat); break;
    case ACTION_NONE: ASSERT(!"an action is ready only while there is one");
    }
}

static void on_joined(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    if (!chat_succeeded(chat, "join", result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_JOIN_ROOM) return;
    if (response->join_room->room != NULL) show_room(chat, response->join_room->room);
}

void chat_join(struct chat *chat, uint64_t room_id)
{
    Ringpost__V1__JoinRoomRequest join;
    Ringpost__V1__Request request;
    ringpost__v1__join_room_request__init(&join);
    ringpost__v1__request__init(&request);
    join.room_id = room_id;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_JOIN_ROOM;
    request.join_room = &join;
    if (!chat_call(chat, &request, on_joined)) chat_notice(chat, "too many requests wait for the server");
}

static void on_left(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    if (chat_succeeded(chat, "leave", result, response)) chat_notice(chat, "you are out of the group");
}

void chat_leave(struct chat *chat, uint64_t room_id)
{
    Ringpost__V1__LeaveRoomRequest leave;
    Ringpost__V1__Request request;
    ringpost__v1__leave_room_request__init(&leave);
    ringpost__v1__request__init(&request);
    leave.room_id = room_id;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_LEAVE_ROOM;
    request.leave_room = &leave;
    if (!chat_call(chat, &request, on_left)) chat_notice(chat, "too many requests wait for the server");
}

static void on_named(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    if (!chat_succeeded(chat, "name", result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_SET_DISPLAY_NAME) return;
    const Ringpost__V1__User *user = response->set_display_name->user;
    if (user == NULL) return;
    model_on_name(&chat->model, user->user_id, user->display_name);
    chat_notice(chat, "you are %s now", model_name_of(&chat->model, user->user_id));
}

void chat_set_name(struct chat *chat, char *display_name)
{
    Ringpost__V1__SetDisplayNameRequest set;
    Ringpost__V1__Request request;
    ringpost__v1__set_display_name_request__init(&set);
    ringpost__v1__request__init(&request);
    set.display_name = display_name;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SET_DISPLAY_NAME;
    request.set_display_name = &set;
    if (!chat_call(chat, &request, on_named)) chat_notice(chat, "too many requests wait for the server");
}
