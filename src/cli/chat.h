/* cli/chat.h - the interactive client: what its files share.
 *   chat.c          start, the loop, keys
 *   chat_server.c   events into the model; what to ask the server for, and the answers
 *   chat_act.c      what the user does to the server: messages, typing, groups
 *   chat_command.c  what begins with a slash
 *   chat_input.c    the line being written
 *   chat_screen.c   drawing; the only file besides chat.c that knows ncurses
 * Owns:    struct chat owns all of it; conversations are named by room and peer, never kept as pointers: the model moves them.
 * Thread:  main.                  Depends: cli/remote.h, client/.                Start at: cli/cli.h
 *
 *   +-----------------+--------------------------------------+
 *   | conversations   | title                                |
 *   | with unread     | timeline, newest at the bottom       |
 *   | and presence    | notices                              |
 *   +-----------------+--------------------------------------+
 *   | status: connection, who types, who is online           |
 *   | > the line being written                               |
 *   +--------------------------------------------------------+ */
#ifndef CLI_CHAT_H
#define CLI_CHAT_H

#include "cli/remote.h"
#include "client/model.h"
#include <wchar.h>

#define CHAT_INPUT_MAX 4000         /* characters */
#define CHAT_NOTICES_MAX 24
#define CHAT_NOTICE_SIZE 320
#define CHAT_NAMES_MAX 32           /* people named in one command */
#define CHAT_MEMBERS_MAX 500        /* of the shown group, for /members and presence */
#define CHAT_WATCHED_USERS_MAX 128  /* as the server allows */
#define CHAT_WATCHED_ROOMS_MAX 16
#define CHAT_PAGE_LENGTH 50         /* messages of history asked for at once */
#define CHAT_SEND_TIMEOUT_MS 600000 /* a message written offline waits so long */

struct chat_input {
    wchar_t text[CHAT_INPUT_MAX + 1];
    uint32_t len, cursor;
};

/* /msg, /new and /invite name people; their ids are asked for one after another, then the command goes on. */
enum chat_action_kind { ACTION_NONE, ACTION_MESSAGE, ACTION_NEW, ACTION_INVITE };
struct chat_action {
    enum chat_action_kind kind;
    char names[CHAT_NAMES_MAX][IDENTITY_NAME_MAX + 1];
    uint64_t user_ids[CHAT_NAMES_MAX];
    uint32_t name_count, found_count;
    uint64_t room_id;                    /* INVITE */
    char text[CHAT_INPUT_MAX * 4 + 1];   /* MESSAGE: what to say; NEW: the group's name */
};

struct chat_send { /* a message under way; its place is free when the id is empty */
    struct chat *chat;
    char client_msg_id[40];
};

struct chat_watch { /* what the server was asked to watch for us */
    uint64_t user_ids[CHAT_WATCHED_USERS_MAX], room_ids[CHAT_WATCHED_ROOMS_MAX];
    size_t user_count, room_count;
};

struct chat {
    struct remote remote;
    struct model model;
    bool quit;
    enum cli_exit exit_code;
    /* what is shown */
    uint64_t selected_room, selected_peer; /* both 0: nothing */
    uint32_t list_top, scroll;             /* first conversation shown; lines up from the newest */
    uint32_t timeline_rows;                /* as last drawn */
    struct chat_input input;
    char notices[CHAT_NOTICES_MAX][CHAT_NOTICE_SIZE];
    uint32_t notice_count;
    /* requests under way */
    bool loading, load_wanted, followed;
    uint64_t load_cursor, load_key;
    char load_epoch[CLIENT_EPOCH_MAX + 1];
    bool history_loading, marking, watching;
    uint64_t history_room, marking_room, retry_at_ms; /* after a refusal nothing is asked before */
    struct chat_watch watched, watch_asked;
    uint64_t members_room, members_cursor; /* whose members these are, 0: nobody's */
    bool members_loading, members_wanted;
    uint64_t member_ids[CHAT_MEMBERS_MAX];
    uint32_t member_count;
    struct chat_send sends[CLIENT_CALLS_MAX];
    struct chat_action action;
    uint64_t typing_room, typing_told_ms;  /* where we said that we type; 0: we did not */
};

/* chat.c */
struct conversation *chat_selected(const struct chat *chat); /* NULL: none */
void chat_select(struct chat *chat, uint64_t room_id, uint64_t peer_id);
void chat_notice(struct chat *chat, const char *format, ...) __attribute__((format(printf, 2, 3)));
void chat_clear_notices(struct chat *chat);

/* chat_server.c */
void chat_take_events(struct chat *chat);
void chat_ask(struct chat *chat, uint64_t now_ms); /* whatever the screen needs and is not there */
/* A call with the chat as its reply's context; false: too many are under way. */
bool chat_call(struct chat *chat, Ringpost__V1__Request *request, client_reply_f reply);
/* True when the call brought a result; otherwise says so, unless `what` is NULL, and pauses the asking. */
bool chat_succeeded(struct chat *chat, const char *what, enum result result, const Ringpost__V1__Response *response);

/* chat_act.c */
void chat_send_text(struct chat *chat, struct conversation *conversation, const char *text);
void chat_tell_typing(struct chat *chat, bool typing, uint64_t now_ms);
void chat_find_names(struct chat *chat); /* chat->action: asks for the next name; with all of them it is carried out */
void chat_join(struct chat *chat, uint64_t room_id);
void chat_leave(struct chat *chat, uint64_t room_id);
void chat_set_name(struct chat *chat, char *display_name);

/* chat_command.c */
void chat_run_line(struct chat *chat, char *line); /* a whole line from the input */

/* chat_input.c */
void chat_input_insert(struct chat_input *input, wchar_t character);
enum chat_motion { INPUT_LEFT, INPUT_RIGHT, INPUT_HOME, INPUT_END, INPUT_BACKSPACE, INPUT_DELETE, INPUT_DELETE_WORD, INPUT_CLEAR };
void chat_input_edit(struct chat_input *input, enum chat_motion motion);
/* The line as UTF-8, owned by the caller, and the input empty again. NULL: it is blank, or no memory. */
char *chat_input_take(struct chat_input *input);

/* chat_screen.c */
bool chat_screen_open(void); /* false: this terminal cannot show it */
void chat_screen_close(void);
void chat_screen_draw(struct chat *chat, uint64_t now_ms);

#endif
