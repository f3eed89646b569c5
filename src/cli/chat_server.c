/* cli/chat_server.c - between the client and the model.
 * Events change the model as they come. Everything else is asked for when the screen lacks it (chat_ask), one request of a kind at a
 * time; an answer changes the model and the next chat_ask sees what is still missing. A refusal pauses the asking for a moment, so that
 * nothing is asked in a circle. */
#include "cli/chat.h"
#include "core/check.h"
#include "core/clock.h"
#include <stdio.h>
#include <string.h>

#define CHAT_RETRY_MS 2000
#define CHAT_CONVERSATIONS_PAGE 200

bool chat_succeeded(struct chat *chat, const char *what, enum result result, const Ringpost__V1__Response *response)
{
    if (result == RESULT_OK && response->error == NULL) return true;
    chat->retry_at_ms = clock_wall_ms() + CHAT_RETRY_MS;
    if (what == NULL) return false;
    if (result == RESULT_OK)
        chat_notice(chat, "%s: %s", what, response->error->message);
    else
        chat_notice(chat, "%s: no answer from the server", what);
    return false;
}

bool chat_call(struct chat *chat, Ringpost__V1__Request *request, client_reply_f reply)
{
    return client_call(chat->remote.client, request, 0, reply, chat) == RESULT_OK;
}

/* ---- conversations ---- */

static void on_conversations(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->loading = false;
    if (!chat_succeeded(chat, "conversations", result, response) ||
        response->result_case != RINGPOST__V1__RESPONSE__RESULT_CONVERSATIONS)
        return;
    const Ringpost__V1__ConversationsResponse *page = response->conversations;
    for (size_t i = 0; i < page->n_conversations; i++) model_on_conversation(&chat->model, page->conversations[i]);
    if (chat->load_cursor == 0) { /* what changes while the other pages are read comes after it */
        chat->load_key = page->sync_key;
        snprintf(chat->load_epoch, sizeof chat->load_epoch, "%s", page->stream_epoch);
    }
    chat->load_cursor = page->next_cursor;
    if (page->has_more && page->next_cursor != 0) return; /* chat_ask goes on with it */
    chat->load_wanted = false;
    chat->load_cursor = 0;
    if (chat->selected_room == 0 && chat->selected_peer == 0 && chat->model.conversation_count > 0)
        chat_select(chat, chat->model.conversations[0]->room_id, chat->model.conversations[0]->peer_id);
    if (!chat->followed) client_follow(chat->remote.client, chat->load_key, chat->load_epoch);
    chat->followed = true;
}

static void ask_conversations(struct chat *chat)
{
    Ringpost__V1__ConversationsRequest conversations;
    Ringpost__V1__Request request;
    ringpost__v1__conversations_request__init(&conversations);
    ringpost__v1__request__init(&request);
    conversations.cursor = chat->load_cursor;
    conversations.limit = CHAT_CONVERSATIONS_PAGE;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_CONVERSATIONS;
    request.conversations = &conversations;
    chat->loading = chat_call(chat, &request, on_conversations);
}

/* ---- history ---- */

static void on_history(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->history_loading = false;
    if (!chat_succeeded(chat, NULL, result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_HISTORY) {
        struct conversation *conversation = model_find_room(&chat->model, chat->history_room);
        bool is_final = result == RESULT_OK && (response->error == NULL || !response->error->retryable);
        if (is_final && conversation != NULL) conversation->start_reached = true; /* nothing here is for us */
        return;
    }
    model_on_history(&chat->model, chat->history_room, response->history);
}

static void ask_history(struct chat *chat, const struct conversation *conversation, uint64_t before_seq)
{
    Ringpost__V1__HistoryRequest history;
    Ringpost__V1__Request request;
    ringpost__v1__history_request__init(&history);
    ringpost__v1__request__init(&request);
    history.room_id = conversation->room_id;
    history.direction_case = RINGPOST__V1__HISTORY_REQUEST__DIRECTION_BEFORE_SEQ;
    history.before_seq = before_seq;
    history.limit = CHAT_PAGE_LENGTH;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_HISTORY;
    request.history = &history;
    chat->history_room = conversation->room_id;
    chat->history_loading = chat_call(chat, &request, on_history);
}

/* ---- read marks ---- */

static void on_marked(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->marking = false;
    if (chat_succeeded(chat, NULL, result, response) && response->result_case == RINGPOST__V1__RESPONSE__RESULT_MARK_READ)
        model_on_read(&chat->model, chat->marking_room, response->mark_read->read_seq);
}

static void ask_mark(struct chat *chat, const struct conversation *conversation)
{
    Ringpost__V1__MarkReadRequest mark;
    Ringpost__V1__Request request;
    ringpost__v1__mark_read_request__init(&mark);
    ringpost__v1__request__init(&request);
    mark.room_id = conversation->room_id;
    mark.seq = conversation->head_seq;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_MARK_READ;
    request.mark_read = &mark;
    chat->marking_room = conversation->room_id;
    chat->marking = chat_call(chat, &request, on_marked);
}

/* What was on the screen is read: the newest message is there and the view is at the bottom. */
static bool chat_has_read(const struct chat *chat, const struct conversation *conversation)
{
    if (conversation->message_count == 0 || chat->scroll > 0 || conversation->left) return false;
    uint64_t last = conversation->messages[conversation->message_count - 1].seq;
    return last == conversation->head_seq && conversation_unread(conversation) > 0;
}

/* ---- members ---- */

static void on_members(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->members_loading = false;
    if (!chat_succeeded(chat, NULL, result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_MEMBERS) return;
    const Ringpost__V1__MembersResponse *page = response->members;
    if (chat->members_cursor == 0) chat->member_count = 0;
    for (size_t i = 0; i < page->n_members; i++) {
        model_on_person(&chat->model, page->members[i]->user_id, page->members[i]->name);
        if (chat->member_count < CHAT_MEMBERS_MAX) chat->member_ids[chat->member_count++] = page->members[i]->user_id;
    }
    bool goes_on = page->has_more && page->next_cursor != 0 && chat->member_count < CHAT_MEMBERS_MAX;
    chat->members_cursor = goes_on ? page->next_cursor : 0;
    chat->members_wanted = goes_on;
}

static void ask_members(struct chat *chat)
{
    Ringpost__V1__MembersRequest members;
    Ringpost__V1__Request request;
    ringpost__v1__members_request__init(&members);
    ringpost__v1__request__init(&request);
    members.room_id = chat->members_room;
    members.cursor = chat->members_cursor;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_MEMBERS;
    request.members = &members;
    chat->members_loading = chat_call(chat, &request, on_members);
}

static bool chat_wants_members(struct chat *chat, const struct conversation *conversation)
{
    uint64_t room_id = conversation->peer_id == 0 && !conversation->left ? conversation->room_id : 0;
    if (chat->members_loading) return false;
    if (chat->members_room != room_id) {
        chat->members_room = room_id;
        chat->member_count = 0;
        chat->members_cursor = 0;
        chat->members_wanted = room_id != 0;
    }
    return chat->members_wanted;
}

/* ---- presence and typing of others ---- */

static void watch_user(const struct chat *chat, struct chat_watch *watch, uint64_t user_id)
{
    if (user_id == 0 || user_id == chat->model.self_id || watch->user_count == CHAT_WATCHED_USERS_MAX) return;
    for (size_t i = 0; i < watch->user_count; i++)
        if (watch->user_ids[i] == user_id) return;
    watch->user_ids[watch->user_count++] = user_id;
}

static void watch_room(struct chat_watch *watch, const struct conversation *conversation)
{
    if (conversation->room_id == 0 || conversation->left || conversation->dismissed || watch->room_count == CHAT_WATCHED_ROOMS_MAX) return;
    for (size_t i = 0; i < watch->room_count; i++)
        if (watch->room_ids[i] == conversation->room_id) return;
    watch->room_ids[watch->room_count++] = conversation->room_id;
}

/* What is shown comes first, then those we talked to last, as far as the server allows. */
static void chat_wanted_watch(const struct chat *chat, struct chat_watch *watch)
{
    *watch = (struct chat_watch){0};
    const struct conversation *selected = chat_selected(chat);
    if (selected != NULL) {
        watch_room(watch, selected);
        watch_user(chat, watch, selected->peer_id);
    }
    for (uint32_t i = 0; i < chat->model.conversation_count && watch->user_count < CHAT_WATCHED_USERS_MAX / 2; i++)
        watch_user(chat, watch, chat->model.conversations[i]->peer_id);
    for (uint32_t i = 0; i < chat->model.conversation_count; i++) watch_room(watch, chat->model.conversations[i]);
    for (uint32_t i = 0; i < chat->member_count; i++) watch_user(chat, watch, chat->member_ids[i]);
}

static void on_watched(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct chat *chat = context;
    chat->watching = false;
    if (!chat_succeeded(chat, NULL, result, response) || response->result_case != RINGPOST__V1__RESPONSE__RESULT_SUBSCRIBE) return;
    chat->watched = chat->watch_asked;
    for (size_t i = 0; i < response->subscribe->n_presence; i++) model_on_presence(&chat->model, response->subscribe->presence[i]);
}

static void ask_watch(struct chat *chat)
{
    struct chat_watch *watch = &chat->watch_asked;
    chat_wanted_watch(chat, watch);
    if (memcmp(watch, &chat->watched, sizeof *watch) == 0) return;
    Ringpost__V1__SubscribeRequest subscribe;
    Ringpost__V1__Request request;
    ringpost__v1__subscribe_request__init(&subscribe);
    ringpost__v1__request__init(&request);
    subscribe.user_ids = watch->user_ids;
    subscribe.n_user_ids = watch->user_count;
    subscribe.room_ids = watch->room_ids;
    subscribe.n_room_ids = watch->room_count;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SUBSCRIBE;
    request.subscribe = &subscribe;
    chat->watching = chat_call(chat, &request, on_watched);
}

/* ---- what is missing ---- */

void chat_ask(struct chat *chat, uint64_t now_ms)
{
    if (client_state(chat->remote.client) != CLIENT_READY || now_ms < chat->retry_at_ms) return;
    if (chat->load_wanted && !chat->loading) ask_conversations(chat);
    if (!chat->watching && chat->followed) ask_watch(chat);
    const struct conversation *conversation = chat_selected(chat);
    if (conversation == NULL) return;
    uint64_t before_seq;
    uint32_t wanted = chat->timeline_rows + chat->scroll + 5; /* a message takes a line or more */
    if (!chat->history_loading && conversation_wants_history(conversation, wanted, &before_seq)) ask_history(chat, conversation, before_seq);
    if (!chat->marking && chat_has_read(chat, conversation)) ask_mark(chat, conversation);
    if (chat_wants_members(chat, conversation)) ask_members(chat);
}

/* ---- events ---- */

static void take_push(struct chat *chat, const Ringpost__V1__Push *push, uint64_t now_ms)
{
    switch ((int)push->kind_case) {
    case RINGPOST__V1__PUSH__KIND_EVENT:
        model_on_event(&chat->model, push->event);
        if (push->event->kind_case != RINGPOST__V1__EVENT__KIND_ROOM) break;
        /* Who is in the shown group may have changed. */
        if (push->event->room->room != NULL && push->event->room->room->room_id == chat->members_room) chat->members_wanted = true;
        break;
    case RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE: model_on_message(&chat->model, push->room_message); break;
    case RINGPOST__V1__PUSH__KIND_TYPING: model_on_typing(&chat->model, push->typing, now_ms); break;
    case RINGPOST__V1__PUSH__KIND_PRESENCE: model_on_presence(&chat->model, push->presence); break;
    default: break; /* of a later version of the contract */
    }
}

static bool model_lacks_a_room(const struct model *model)
{
    for (uint32_t i = 0; i < model->conversation_count; i++)
        if (model->conversations[i]->incomplete) return true;
    return false;
}

static void start_over(struct chat *chat, bool other_stream)
{
    chat->load_wanted = true;
    chat->load_cursor = 0;
    if (other_stream) model_on_other_stream(&chat->model);
}

void chat_take_events(struct chat *chat)
{
    struct client_event event;
    uint64_t now_ms = clock_wall_ms();
    bool any = false;
    while (client_next(chat->remote.client, &event)) {
        any = true;
        if (event.kind == CLIENT_EVENT_PUSH) take_push(chat, event.push, now_ms);
        if (event.kind == CLIENT_EVENT_HEAD) model_on_head(&chat->model, event.head_room_id, event.head_seq, event.read_seq);
        if (event.kind == CLIENT_EVENT_RESET) start_over(chat, event.other_stream);
        if (event.kind == CLIENT_EVENT_ONLINE) chat->watched = (struct chat_watch){0}; /* it ended with the old connection */
        client_event_release(&event);
    }
    if (any && model_lacks_a_room(&chat->model)) chat->load_wanted = true;
}
