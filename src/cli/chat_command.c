/* cli/chat_command.c - the commands of the input line: one table, one function each. */
#include "cli/chat.h"
#include "cli/lines.h"
#include "core/check.h"
#include <stdio.h>
#include <string.h>

/* Cuts the next word off *rest; NULL: none left. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " ");
    if (*word == '\0') return NULL;
    char *end = word + strcspn(word, " ");
    *rest = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return word;
}

static bool begin_action(struct chat *chat, enum chat_action_kind kind)
{
    if (chat->action.kind != ACTION_NONE) {
        chat_notice(chat, "one moment: the last command is not done yet");
        return false;
    }
    chat->action = (struct chat_action){.kind = kind};
    return true;
}

static bool add_name(struct chat *chat, const char *name)
{
    struct chat_action *action = &chat->action;
    if (action->name_count == CHAT_NAMES_MAX || strlen(name) > IDENTITY_NAME_MAX) {
        chat_notice(chat, strlen(name) > IDENTITY_NAME_MAX ? "%s: no name is that long" : "too many names, from %s on", name);
        action->kind = ACTION_NONE;
        return false;
    }
    snprintf(action->names[action->name_count++], sizeof action->names[0], "%s", name);
    return true;
}

/* The group that is shown, or a word about what is missing. */
static const struct conversation *shown_group(struct chat *chat)
{
    const struct conversation *conversation = chat_selected(chat);
    if (conversation != NULL && conversation->peer_id == 0) return conversation;
    chat_notice(chat, "that needs a group: choose one with Tab, or make one with /new");
    return NULL;
}

/* ---- one function each ---- */

static void command_msg(struct chat *chat, char *rest)
{
    const char *name = next_word(&rest);
    if (name == NULL) {
        chat_notice(chat, "/msg NAME [TEXT]");
        return;
    }
    if (!begin_action(chat, ACTION_MESSAGE) || !add_name(chat, name)) return;
    snprintf(chat->action.text, sizeof chat->action.text, "%s", rest + strspn(rest, " "));
    chat_find_names(chat);
}

static void command_new(struct chat *chat, char *rest)
{
    const char *group = next_word(&rest);
    if (group == NULL) {
        chat_notice(chat, "/new GROUP [NAME…]");
        return;
    }
    if (!begin_action(chat, ACTION_NEW)) return;
    snprintf(chat->action.text, sizeof chat->action.text, "%s", group);
    for (const char *name = next_word(&rest); name != NULL; name = next_word(&rest))
        if (!add_name(chat, name)) return;
    chat_find_names(chat);
}

static void command_invite(struct chat *chat, char *rest)
{
    const struct conversation *group = shown_group(chat);
    const char *name = next_word(&rest);
    if (group == NULL) return;
    if (name == NULL) {
        chat_notice(chat, "/invite NAME…");
        return;
    }
    if (!begin_action(chat, ACTION_INVITE)) return;
    chat->action.room_id = group->room_id;
    for (; name != NULL; name = next_word(&rest))
        if (!add_name(chat, name)) return;
    chat_find_names(chat);
}

static void command_join(struct chat *chat, char *rest)
{
    uint64_t room_id;
    const char *word = next_word(&rest);
    if (word == NULL || !remote_parse_number(word, 1, UINT64_MAX, &room_id))
        chat_notice(chat, "/join ROOM-ID");
    else
        chat_join(chat, room_id);
}

static void command_leave(struct chat *chat, char *rest)
{
    (void)rest;
    const struct conversation *group = shown_group(chat);
    if (group != NULL) chat_leave(chat, group->room_id);
}

/* "alice ●, bob, …" in as many notices as it takes. */
static void list_members(struct chat *chat, bool online_only)
{
    char line[CHAT_NOTICE_SIZE - 64];
    size_t len = 0;
    uint32_t shown = 0;
    for (uint32_t i = 0; i < chat->member_count; i++) {
        bool online = model_is_online(&chat->model, chat->member_ids[i]) || chat->member_ids[i] == chat->model.self_id;
        if (online_only && !online) continue;
        const char *name = model_name_of(&chat->model, chat->member_ids[i]);
        if (len + strlen(name) + 8 >= sizeof line) {
            chat_notice(chat, "%s", line);
            len = 0;
        }
        len += (size_t)snprintf(line + len, sizeof line - len, "%s%s%s", len > 0 ? ", " : "", name, online && !online_only ? " ●" : "");
        if (len >= sizeof line) len = sizeof line - 1;
        shown++;
    }
    if (len > 0) chat_notice(chat, "%s", line);
    if (shown == 0) chat_notice(chat, "nobody");
}

static void command_members(struct chat *chat, char *rest)
{
    (void)rest;
    const struct conversation *group = shown_group(chat);
    if (group == NULL) return;
    chat_notice(chat, "%s, room %llu, %u members:", group->title, (unsigned long long)group->room_id, group->member_count);
    list_members(chat, false);
    if (group->member_count > chat->member_count) chat_notice(chat, "… and more");
}

static void command_who(struct chat *chat, char *rest)
{
    (void)rest;
    char time[32];
    const struct conversation *conversation = chat_selected(chat);
    if (conversation == NULL) {
        chat_notice(chat, "no conversation is open");
    } else if (conversation->peer_id == 0) {
        chat_notice(chat, "online in %s:", conversation->title);
        list_members(chat, true);
    } else if (model_is_online(&chat->model, conversation->peer_id)) {
        chat_notice(chat, "%s is online", conversation->title);
    } else {
        const struct person *person = model_find_person(&chat->model, conversation->peer_id);
        chat_notice(chat, "%s was last seen: %s", conversation->title,
                    line_time(person != NULL ? person->last_seen_ms : 0, time, sizeof time));
    }
}

/* The whole rest of the line; without one it is the user name again. */
static void command_name(struct chat *chat, char *rest) { chat_set_name(chat, rest); }

static void command_quit(struct chat *chat, char *rest)
{
    (void)rest;
    chat->quit = true;
}

static void command_help(struct chat *chat, char *rest);

static const struct {
    const char *name, *usage;
    void (*run)(struct chat *chat, char *rest);
} chat_commands[] = {
    {"/msg", "/msg NAME [TEXT]      write to somebody", command_msg},
    {"/new", "/new GROUP [NAME…]    make a group", command_new},
    {"/invite", "/invite NAME…         take people into this group", command_invite},
    {"/join", "/join ROOM-ID         join an open group", command_join},
    {"/leave", "/leave                leave this group", command_leave},
    {"/members", "/members              who is in this group", command_members},
    {"/who", "/who                  who is online here", command_who},
    {"/name", "/name [NEW NAME]      what you are called", command_name},
    {"/help", "/help                 this list", command_help},
    {"/quit", "/quit                 end (also Ctrl-C)", command_quit},
};

static void command_help(struct chat *chat, char *rest)
{
    (void)rest;
    for (size_t i = 0; i < COUNT_OF(chat_commands); i++) chat_notice(chat, "%s", chat_commands[i].usage);
    chat_notice(chat, "Tab, arrows: conversation   PageUp, PageDown: history   Esc: hides this   //text: begins with a slash");
}

void chat_run_line(struct chat *chat, char *line)
{
    chat_clear_notices(chat);
    if (line[0] != '/' || line[1] == '/') {
        struct conversation *conversation = chat_selected(chat);
        if (conversation != NULL)
            chat_send_text(chat, conversation, line[0] == '/' ? line + 1 : line);
        else
            chat_notice(chat, "to whom? /msg NAME writes to somebody, /help tells the rest");
        return;
    }
    char *rest = line;
    const char *name = next_word(&rest);
    for (size_t i = 0; i < COUNT_OF(chat_commands); i++) {
        if (strcmp(chat_commands[i].name, name) != 0) continue;
        chat_commands[i].run(chat, rest);
        return;
    }
    chat_notice(chat, "there is no command %s; /help lists them", name);
}
