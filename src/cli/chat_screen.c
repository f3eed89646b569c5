/* cli/chat_screen.c - drawing a chat: everything, every time; ncurses sends the difference.
 * All text here comes from the model or a notice and is clean (client/text.h), so it is written as it is and only cut to width. */
#include "cli/chat.h"
#include "client/text.h"
#include "core/check.h"
#include <ncurses.h>
#include <string.h>
#include <time.h>

#define WIDTH_MIN 40
#define HEIGHT_MIN 6
#define LIST_WIDTH_MIN 18
#define LIST_WIDTH_MAX 32
#define INDENT_MAX 22 /* of the lines of one message: time and name */
#define LINES_MAX (MODEL_TEXT_MAX + 64)
#define CLOCK_SIZE 16

enum { PAIR_ONLINE = 1, PAIR_UNREAD, PAIR_FAILED, PAIR_NOTICE, PAIR_NAMES }; /* PAIR_NAMES and the ones after it: colours of names */
#define NAME_COLORS 6

struct pane { /* a rectangle of the screen */
    int top, left, rows, columns;
};

bool chat_screen_open(void)
{
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) return false;
    if (tigetstr("cup") == NULL) { /* the cursor cannot be moved: TERM=dumb */
        endwin();
        delscreen(screen);
        return false;
    }
    raw(); /* Ctrl-C is a key: the screen is always put back */
    noecho();
    nonl();
    keypad(stdscr, true);
    nodelay(stdscr, true);
    set_escdelay(25);
    if (has_colors()) {
        static const short name_colors[NAME_COLORS] = {COLOR_CYAN, COLOR_GREEN, COLOR_YELLOW, COLOR_MAGENTA, COLOR_BLUE, COLOR_RED};
        start_color();
        use_default_colors();
        init_pair(PAIR_ONLINE, COLOR_GREEN, -1);
        init_pair(PAIR_UNREAD, COLOR_YELLOW, -1);
        init_pair(PAIR_FAILED, COLOR_RED, -1);
        init_pair(PAIR_NOTICE, COLOR_CYAN, -1);
        for (short i = 0; i < NAME_COLORS; i++) init_pair((short)(PAIR_NAMES + i), name_colors[i], -1);
    }
    return true;
}

void chat_screen_close(void)
{
    endwin();
}

static attr_t color(int pair)
{
    return has_colors() ? (attr_t)COLOR_PAIR(pair) : A_NORMAL;
}

static attr_t name_color(uint64_t user_id)
{
    return color(PAIR_NAMES + (int)(user_id * 0x9E3779B97F4A7C15u >> 40) % NAME_COLORS) | A_BOLD;
}

/* Writes clean text, cut to `columns`; returns the columns it took. */
static int put_text(int y, int x, int columns, attr_t attributes, const char *text, size_t len)
{
    if (columns <= 0) return 0;
    size_t fit = text_fit(text, len, columns);
    attrset((int)attributes);
    mvaddnstr(y, x, text, (int)fit);
    attrset(A_NORMAL);
    return text_width(text, fit);
}

static int put_string(int y, int x, int columns, attr_t attributes, const char *text)
{
    return put_text(y, x, columns, attributes, text, strlen(text));
}

static void fill(int y, int x, int columns, attr_t attributes)
{
    attrset((int)attributes);
    if (columns > 0) mvhline(y, x, ' ' | attributes, columns);
    attrset(A_NORMAL);
}

/* ---- conversations ---- */

static void draw_list_row(const struct chat *chat, const struct conversation *conversation, int y, int columns, bool selected)
{
    char unread_text[16] = "";
    uint64_t unread = conversation_unread(conversation);
    bool online = conversation->peer_id != 0 && model_is_online(&chat->model, conversation->peer_id);
    bool is_over = conversation->left || conversation->dismissed;
    attr_t base = (selected ? A_REVERSE : A_NORMAL) | (is_over ? A_DIM : A_NORMAL);
    if (unread > 0 && !conversation->left) snprintf(unread_text, sizeof unread_text, unread > 999 ? "999+" : "%llu", (unsigned long long)unread);
    int unread_width = (int)strlen(unread_text);
    fill(y, 0, columns, base);
    put_string(y, 0, 2, base | (online ? color(PAIR_ONLINE) : A_NORMAL), conversation->peer_id == 0 ? "#" : online ? "●" : "○");
    put_string(y, 2, columns - 3 - unread_width, base | (unread > 0 ? A_BOLD : A_NORMAL), conversation->title);
    put_string(y, columns - unread_width - (unread_width > 0), unread_width, base | A_BOLD | color(PAIR_UNREAD), unread_text);
}

static void draw_list(struct chat *chat, const struct pane *pane)
{
    const struct model *model = &chat->model;
    const struct conversation *selected = chat_selected(chat);
    uint32_t rows = (uint32_t)pane->rows, at = 0;
    while (at < model->conversation_count && model->conversations[at] != selected) at++;
    if (at < model->conversation_count) { /* keep it in sight */
        if (at < chat->list_top) chat->list_top = at;
        if (at >= chat->list_top + rows) chat->list_top = at - rows + 1;
    }
    if (chat->list_top >= model->conversation_count) chat->list_top = 0;
    for (uint32_t row = 0; row < rows && chat->list_top + row < model->conversation_count; row++) {
        const struct conversation *conversation = model->conversations[chat->list_top + row];
        draw_list_row(chat, conversation, pane->top + (int)row, pane->columns, conversation == selected);
    }
    if (model->conversation_count == 0)
        put_string(pane->top, 1, pane->columns - 2, A_DIM, chat->followed ? "/msg NAME begins" : "loading…");
}

/* ---- timeline, from the bottom up ---- */

struct painter {
    const struct pane *pane;
    int y;          /* of the next line, going up; above the pane's top: full */
    uint32_t skip;  /* lines below the view */
    uint32_t lines; /* seen so far */
};

static struct text_line wrapped[LINES_MAX];

/* One message with what stands before its first line. */
static void paint_item(struct painter *painter, const char *clock, const char *name, attr_t name_attributes, const char *text,
                       size_t text_len, attr_t attributes)
{
    const struct pane *pane = painter->pane;
    int name_width = text_width(name, strlen(name)), clock_width = (int)strlen(clock);
    int indent = clock_width + name_width + (name_width > 0 ? 3 : 1);
    if (indent > INDENT_MAX) indent = INDENT_MAX;
    if (indent > pane->columns / 2) indent = pane->columns / 2;
    int columns = pane->columns - indent > 2 ? pane->columns - indent : 2;
    size_t count = text_wrap(text, text_len, columns, wrapped, LINES_MAX);
    if (count > LINES_MAX) count = LINES_MAX;
    for (size_t i = count; i-- > 0;) {
        painter->lines++;
        if (painter->skip > 0) {
            painter->skip--;
            continue;
        }
        if (painter->y < pane->top) continue;
        if (i == 0) {
            put_string(painter->y, pane->left, clock_width, A_DIM, clock);
            int taken = put_string(painter->y, pane->left + clock_width + 1, indent - clock_width - 3, name_attributes, name);
            if (name_width > 0) put_string(painter->y, pane->left + clock_width + 1 + taken, 1, A_DIM, ":");
        }
        put_text(painter->y, pane->left + indent, columns, attributes, text + wrapped[i].start, wrapped[i].len);
        painter->y--;
    }
}

static void paint_rule(struct painter *painter, const char *text)
{
    paint_item(painter, "", "", A_NORMAL, text, strlen(text), A_DIM);
}

static void clock_of(uint64_t time_ms, char out[CLOCK_SIZE])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local) == NULL || strftime(out, CLOCK_SIZE, "%H:%M", &local) == 0) out[0] = '\0';
}

static void day_of(uint64_t time_ms, char out[CLOCK_SIZE])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local) == NULL || strftime(out, CLOCK_SIZE, "%Y-%m-%d", &local) == 0) out[0] = '\0';
}

static void paint_outgoing(struct painter *painter, const struct chat *chat, const struct conversation *conversation)
{
    for (uint32_t i = conversation->outgoing_count; i-- > 0;) {
        const struct model_outgoing *outgoing = &conversation->outgoing[i];
        char clock[CLOCK_SIZE], reason[128];
        clock_of(outgoing->time_ms, clock);
        if (outgoing->state == OUTGOING_FAILED) {
            snprintf(reason, sizeof reason, "not sent: %s", outgoing->reason);
            paint_item(painter, "     ", "", A_NORMAL, reason, strlen(reason), color(PAIR_FAILED));
        }
        paint_item(painter, outgoing->state == OUTGOING_SENDING ? "  …  " : clock, chat->remote.identity.name,
                   name_color(chat->model.self_id), outgoing->text, outgoing->text_len,
                   outgoing->state == OUTGOING_SENT ? A_NORMAL : A_DIM);
    }
}

static void paint_messages(struct painter *painter, const struct conversation *conversation)
{
    for (uint32_t i = conversation->message_count; i-- > 0 && painter->y >= painter->pane->top;) {
        const struct model_message *message = &conversation->messages[i];
        char clock[CLOCK_SIZE], day[CLOCK_SIZE], day_before[CLOCK_SIZE] = "", rule[48];
        clock_of(message->time_ms, clock);
        paint_item(painter, clock, message->sender, name_color(message->sender_id), message->text, message->text_len, A_NORMAL);
        day_of(message->time_ms, day);
        if (i > 0) day_of(message[-1].time_ms, day_before);
        if (strcmp(day, day_before) == 0) continue;
        snprintf(rule, sizeof rule, "── %s ──", day);
        paint_rule(painter, rule);
    }
    if (painter->y < painter->pane->top) return;
    if (conversation->start_reached && conversation->hidden_seq > 0)
        paint_rule(painter, "you joined here; earlier messages are hidden");
    else if (conversation->message_count > 0 && conversation->messages[0].seq > 1 && !conversation->start_reached)
        paint_rule(painter, conversation->message_count < MODEL_TIMELINE_MAX ? "loading…" : "older messages are not shown here");
}

static void paint_notices(struct painter *painter, const struct chat *chat)
{
    for (uint32_t i = chat->notice_count; i-- > 0;) {
        const char *notice = chat->notices[i];
        paint_item(painter, "", "", A_NORMAL, notice, strlen(notice), color(PAIR_NOTICE));
    }
}

static void draw_timeline(struct chat *chat, const struct pane *pane, const struct conversation *conversation)
{
    chat->timeline_rows = (uint32_t)pane->rows;
    for (int attempt = 0; attempt < 2; attempt++) {
        struct painter painter = {.pane = pane, .y = pane->top + pane->rows - 1};
        for (int row = 0; row < pane->rows; row++) fill(pane->top + row, pane->left, pane->columns, A_NORMAL);
        paint_notices(&painter, chat);
        uint32_t notice_lines = painter.lines;
        painter.skip = chat->scroll;
        if (conversation != NULL) paint_outgoing(&painter, chat, conversation);
        if (conversation != NULL) paint_messages(&painter, conversation);
        /* All lines were seen and there is room above them: the view went beyond the oldest. */
        uint32_t lines = painter.lines - notice_lines, rows = (uint32_t)pane->rows > notice_lines ? (uint32_t)pane->rows - notice_lines : 0;
        uint32_t scroll_max = lines > rows ? lines - rows : 0;
        if (painter.y < pane->top || chat->scroll <= scroll_max) break;
        chat->scroll = scroll_max;
    }
    if (chat->scroll > 0) put_string(pane->top + pane->rows - 1, pane->left + pane->columns - 8, 8, A_REVERSE, " ↓ more ");
}

static void draw_title(const struct chat *chat, const struct pane *pane, const struct conversation *conversation)
{
    char text[MODEL_NAME_MAX + 64] = "Ringpost · /help lists the commands";
    if (conversation != NULL && conversation->peer_id == 0)
        snprintf(text, sizeof text, "%s · %u members%s", conversation->title, conversation->member_count,
                 conversation->dismissed ? " · dismissed" : conversation->left ? " · you left" : "");
    else if (conversation != NULL)
        snprintf(text, sizeof text, "%s · %s", conversation->title,
                 model_is_online(&chat->model, conversation->peer_id) ? "online" : "offline");
    fill(pane->top, pane->left, pane->columns, A_REVERSE);
    put_string(pane->top, pane->left + 1, pane->columns - 2, A_REVERSE | A_BOLD, text);
}

/* ---- the two lines at the bottom ---- */

static void describe_typing(const struct chat *chat, const struct conversation *conversation, char *out, size_t out_size)
{
    out[0] = '\0';
    if (conversation == NULL || conversation->typing_count == 0) return;
    const char *name = model_name_of(&chat->model, conversation->typing[0].user_id);
    if (conversation->typing_count == 1)
        snprintf(out, out_size, "%s is typing…", name);
    else
        snprintf(out, out_size, "%s and %u more are typing…", name, conversation->typing_count - 1);
}

/* Of the shown group its members, otherwise the people of all conversations. */
static void describe_online(const struct chat *chat, const struct conversation *conversation, char *out, size_t out_size)
{
    size_t len = 0;
    bool is_group = conversation != NULL && conversation->peer_id == 0;
    uint32_t count = is_group ? chat->member_count : chat->model.person_count;
    out[0] = '\0';
    for (uint32_t i = 0; i < count && len + 1 < out_size; i++) {
        uint64_t user_id = is_group ? chat->member_ids[i] : chat->model.people[i].user_id;
        if (user_id == chat->model.self_id || !model_is_online(&chat->model, user_id)) continue;
        int written = snprintf(out + len, out_size - len, "%s%s", len > 0 ? ", " : "online: ", model_name_of(&chat->model, user_id));
        len = written > 0 && (size_t)written < out_size - len ? len + (size_t)written : out_size - 1;
    }
}

static void draw_status(const struct chat *chat, int y, int columns, const struct conversation *conversation)
{
    char typing[MODEL_NAME_MAX + 64], online[512], connection[CLIENT_TEXT_MAX + 64];
    const struct client *client = chat->remote.client;
    bool ready = client_state(client) == CLIENT_READY;
    if (ready)
        snprintf(connection, sizeof connection, " ● %s at %s", chat->remote.identity.name, chat->remote.name);
    else if (client_state(client) == CLIENT_OFFLINE)
        snprintf(connection, sizeof connection, " ○ offline, trying again in %u s", (client_retry_ms(client) + 999) / 1000);
    else
        snprintf(connection, sizeof connection, " ○ offline, connecting…");
    describe_typing(chat, conversation, typing, sizeof typing);
    online[0] = '\0';
    if (ready) describe_online(chat, conversation, online, sizeof online); /* offline nobody knows */
    fill(y, 0, columns, A_REVERSE);
    int x = put_string(y, 0, columns, A_REVERSE | (ready ? A_NORMAL : A_BOLD), connection);
    if (typing[0] != '\0') x += put_string(y, x + 2, columns - x - 2, A_REVERSE | A_BOLD, typing) + 2;
    int online_width = text_width(online, strlen(online)), room = columns - x - 3;
    if (online_width > room) online_width = room;
    put_string(y, columns - online_width - 1, online_width, A_REVERSE, online);
}

/* Draws as much around the cursor as fits, and puts the cursor there. */
static void draw_input(const struct chat_input *input, int y, int columns)
{
    int room = columns - 3, width = 0;
    uint32_t start = input->cursor;
    while (start > 0 && width < room) {
        int step = wcwidth(input->text[start - 1]);
        if (width + (step > 0 ? step : 0) > room - 1) break;
        width += step > 0 ? step : 0;
        start--;
    }
    put_string(y, 0, 2, A_BOLD, "> ");
    int x = 2, shown = 0;
    uint32_t end = start;
    while (end < input->len) {
        int step = wcwidth(input->text[end]);
        if (shown + (step > 0 ? step : 0) > room) break;
        shown += step > 0 ? step : 0;
        end++;
    }
    mvaddnwstr(y, x, input->text + start, (int)(end - start));
    move(y, x + width);
}

void chat_screen_draw(struct chat *chat, uint64_t now_ms)
{
    int height, columns;
    uint64_t next_ms;
    getmaxyx(stdscr, height, columns);
    erase();
    if (columns < WIDTH_MIN || height < HEIGHT_MIN) {
        put_string(0, 0, columns, A_NORMAL, "the window is too small");
        refresh();
        return;
    }
    model_expire_typing(&chat->model, now_ms, &next_ms);
    int list_columns = columns / 4 < LIST_WIDTH_MIN ? LIST_WIDTH_MIN : columns / 4 > LIST_WIDTH_MAX ? LIST_WIDTH_MAX : columns / 4;
    const struct pane list = {.rows = height - 2, .columns = list_columns};
    const struct pane title = {.left = list_columns + 1, .rows = 1, .columns = columns - list_columns - 1};
    const struct pane timeline = {.top = 1, .left = title.left, .rows = height - 3, .columns = title.columns};
    const struct conversation *conversation = chat_selected(chat);
    draw_list(chat, &list);
    mvvline(0, list_columns, ACS_VLINE, height - 2);
    draw_title(chat, &title, conversation);
    draw_timeline(chat, &timeline, conversation);
    draw_status(chat, height - 2, columns, conversation);
    draw_input(&chat->input, height - 1, columns);
    refresh();
}
