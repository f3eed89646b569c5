/* cli/chat.c - `ringpost chat`: start, the loop, keys.
 * A turn of the loop: the client turns, its events change the model, what the screen lacks is asked for, the screen is drawn (ncurses
 * sends only what changed), then it waits for a key, the server, or a time. */
#include "cli/chat.h"
#include "client/text.h"
#include "core/check.h"
#include "core/clock.h"
#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAT_OFFLINE_REDRAW_MS 500 /* the seconds to the next attempt count down */
#define KEY_CTRL(letter) ((letter) & 0x1F)

static const char chat_about[] =
    "Chats in this terminal: conversations with unread counts on the left, the chosen one with its history on the right.\v"
    "Tab and the arrows choose a conversation, PageUp and PageDown go through its history, /help lists the commands, Ctrl-C ends.\n"
    "\n"
    "Examples:\n"
    "  ringpost chat\n"
    "  ringpost chat --profile bob --server chat.example.com:7800";

/* ---- what is shown ---- */

struct conversation *chat_selected(const struct chat *chat)
{
    /* The peer comes first: a conversation that nobody has written in yet has no room. */
    struct conversation *conversation = model_find_peer(&chat->model, chat->selected_peer);
    return conversation != NULL ? conversation : model_find_room(&chat->model, chat->selected_room);
}

void chat_clear_notices(struct chat *chat)
{
    chat->notice_count = 0;
}

void chat_select(struct chat *chat, uint64_t room_id, uint64_t peer_id)
{
    if (chat->selected_room == room_id && chat->selected_peer == peer_id) return;
    chat_tell_typing(chat, false, clock_wall_ms());
    chat->selected_room = room_id;
    chat->selected_peer = peer_id;
    chat->scroll = 0;
    chat_clear_notices(chat);
}

void chat_notice(struct chat *chat, const char *format, ...)
{
    char text[CHAT_NOTICE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (chat->notice_count == CHAT_NOTICES_MAX) {
        chat->notice_count--;
        memmove(chat->notices[0], chat->notices[1], chat->notice_count * sizeof chat->notices[0]);
    }
    text_clean(chat->notices[chat->notice_count++], CHAT_NOTICE_SIZE, text, strlen(text), false, NULL);
}

/* ---- keys ---- */

static void select_next(struct chat *chat, int step)
{
    const struct model *model = &chat->model;
    const struct conversation *selected = chat_selected(chat);
    int count = (int)model->conversation_count, at = 0;
    if (count == 0) return;
    while (at < count && model->conversations[at] != selected) at++;
    at = at == count ? 0 : (at + step + count) % count;
    chat_select(chat, model->conversations[at]->room_id, model->conversations[at]->peer_id);
}

static void scroll_by(struct chat *chat, int pages)
{
    uint32_t page = chat->timeline_rows > 1 ? chat->timeline_rows - 1 : 1;
    if (pages > 0)
        chat->scroll += page; /* drawing stops it at the oldest line */
    else
        chat->scroll = chat->scroll > page ? chat->scroll - page : 0;
}

static void enter_line(struct chat *chat)
{
    char *line = chat_input_take(&chat->input);
    if (line != NULL) chat_run_line(chat, line);
    free(line);
}

/* Keys that have a name. */
static void on_function_key(struct chat *chat, wint_t key)
{
    switch (key) {
    case KEY_ENTER: enter_line(chat); break;
    case KEY_UP: case KEY_BTAB: select_next(chat, -1); break;
    case KEY_DOWN: select_next(chat, 1); break;
    case KEY_PPAGE: scroll_by(chat, 1); break;
    case KEY_NPAGE: scroll_by(chat, -1); break;
    case KEY_LEFT: chat_input_edit(&chat->input, INPUT_LEFT); break;
    case KEY_RIGHT: chat_input_edit(&chat->input, INPUT_RIGHT); break;
    case KEY_HOME: chat_input_edit(&chat->input, INPUT_HOME); break;
    case KEY_END: chat_input_edit(&chat->input, INPUT_END); break;
    case KEY_BACKSPACE: chat_input_edit(&chat->input, INPUT_BACKSPACE); break;
    case KEY_DC: chat_input_edit(&chat->input, INPUT_DELETE); break;
    default: break; /* KEY_RESIZE too: everything is drawn again anyway */
    }
}

static void on_character(struct chat *chat, wint_t key)
{
    switch (key) {
    case '\r': case '\n': enter_line(chat); break;
    case '\t': select_next(chat, 1); break;
    case 0x1B: chat_clear_notices(chat); break;
    case 0x7F: case '\b': chat_input_edit(&chat->input, INPUT_BACKSPACE); break;
    case KEY_CTRL('A'): chat_input_edit(&chat->input, INPUT_HOME); break;
    case KEY_CTRL('E'): chat_input_edit(&chat->input, INPUT_END); break;
    case KEY_CTRL('W'): chat_input_edit(&chat->input, INPUT_DELETE_WORD); break;
    case KEY_CTRL('U'): chat_input_edit(&chat->input, INPUT_CLEAR); break;
    case KEY_CTRL('L'): clearok(stdscr, true); break;
    case KEY_CTRL('C'): chat->quit = true; break;
    default: chat_input_insert(&chat->input, (wchar_t)key);
    }
}

static void chat_take_keys(struct chat *chat)
{
    wint_t key;
    uint32_t len_before = chat->input.len;
    for (int kind = get_wch(&key); kind != ERR && !chat->quit; kind = get_wch(&key)) {
        if (kind == KEY_CODE_YES)
            on_function_key(chat, key);
        else
            on_character(chat, key);
    }
    if (chat->input.len == len_before) return;
    chat_tell_typing(chat, chat->input.len > 0 && chat->input.text[0] != L'/', clock_wall_ms());
}

/* ---- the loop ---- */

static int chat_wait_ms(struct chat *chat)
{
    int wait_ms = client_wait_ms(chat->remote.client);
    uint64_t next_ms, now_ms = clock_wall_ms();
    model_expire_typing(&chat->model, now_ms, &next_ms);
    if (chat->retry_at_ms > now_ms && chat->retry_at_ms < next_ms) next_ms = chat->retry_at_ms;
    if (client_state(chat->remote.client) != CLIENT_READY && now_ms + CHAT_OFFLINE_REDRAW_MS < next_ms)
        next_ms = now_ms + CHAT_OFFLINE_REDRAW_MS;
    if (next_ms != UINT64_MAX && (wait_ms < 0 || next_ms - now_ms < (uint64_t)wait_ms)) wait_ms = (int)(next_ms - now_ms);
    return wait_ms;
}

static void chat_loop(struct chat *chat)
{
    struct client *client = chat->remote.client;
    while (!chat->quit) {
        uint64_t now_ms = clock_wall_ms();
        client_turn(client);
        chat_take_events(chat);
        chat_ask(chat, now_ms);
        chat_screen_draw(chat, now_ms);
        if (client_state(client) == CLIENT_REFUSED) {
            chat->exit_code = CLI_EXIT_LOGIN;
            return;
        }
        struct pollfd polls[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                  {.fd = client_fd(client), .events = client_poll_events(client)}};
        (void)poll(polls, 2, chat_wait_ms(chat)); /* a signal (the window's size) ends it early */
        if ((polls[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) chat->quit = true; /* the terminal is gone */
        chat_take_keys(chat);
    }
}

/* Before the screen opens: what fails here is said on stderr like everywhere. */
static enum cli_exit chat_connect(struct chat *chat)
{
    struct client *client = chat->remote.client;
    uint32_t patience_ms = chat->remote.timeout_ms != 0 ? chat->remote.timeout_ms : CLIENT_TIMEOUT_MS;
    uint64_t until_ms = clock_monotonic_ns() / 1000000 + patience_ms;
    while (client_state(client) != CLIENT_READY) {
        uint64_t now_ms = clock_monotonic_ns() / 1000000;
        if (now_ms >= until_ms) return remote_explain(&chat->remote, RESULT_IO, NULL);
        if (client_state(client) == CLIENT_REFUSED) return remote_explain(&chat->remote, RESULT_DENIED, NULL);
        if (client_state(client) == CLIENT_UNREACHABLE) return remote_explain(&chat->remote, RESULT_IO, NULL);
        client_wait(client, (int)(until_ms - now_ms));
    }
    return CLI_EXIT_OK;
}

static error_t chat_parse(int key, char *argument, struct argp_state *state)
{
    struct chat *chat = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &chat->remote; return 0;
    case ARGP_KEY_ARG: argp_error(state, "`%s` is one too many", argument); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static enum cli_exit chat_run(struct chat *chat)
{
    enum cli_exit code = chat_connect(chat);
    if (code != CLI_EXIT_OK) return code;
    if (!chat_screen_open()) {
        remote_complain("this terminal (TERM=%s) cannot show a full screen; try ringpost tail and ringpost send",
                        getenv("TERM") != NULL ? getenv("TERM") : "");
        return CLI_EXIT_FAILED;
    }
    model_init(&chat->model, chat->remote.identity.user_id);
    model_on_person(&chat->model, chat->remote.identity.user_id, chat->remote.identity.name);
    chat->load_wanted = true;
    chat_loop(chat);
    chat_screen_close();
    model_deinit(&chat->model);
    if (chat->exit_code == CLI_EXIT_LOGIN) return remote_explain(&chat->remote, RESULT_DENIED, NULL);
    return chat->exit_code;
}

int cli_chat(int argc, char **argv)
{
    static const struct argp_child children[] = {REMOTE_ARGP_CHILD, {NULL, 0, NULL, 0}};
    static const struct argp argp = {.parser = chat_parse, .doc = chat_about, .children = children};
    static struct chat chat; /* large */
    argp_parse(&argp, argc, argv, 0, NULL, &chat);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        remote_complain("chat needs a terminal; scripts use ringpost send and ringpost tail --json");
        return CLI_EXIT_USAGE;
    }
    /* Names and messages are UTF-8, whatever the environment says. */
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
    enum cli_exit code = remote_open(&chat.remote, false);
    if (code != CLI_EXIT_OK) return code;
    code = chat_run(&chat);
    remote_close(&chat.remote);
    return code;
}
