/* cli/chat_input.c - a line of wide characters and a cursor in it. */
#include "cli/chat.h"
#include "core/check.h"
#include <stdlib.h>
#include <wctype.h>

void chat_input_insert(struct chat_input *input, wchar_t character)
{
    ASSERT(input->cursor <= input->len && input->len <= CHAT_INPUT_MAX);
    if (input->len == CHAT_INPUT_MAX || iswcntrl((wint_t)character)) return;
    wmemmove(input->text + input->cursor + 1, input->text + input->cursor, input->len - input->cursor);
    input->text[input->cursor++] = character;
    input->text[++input->len] = L'\0';
}

/* Removes [from, cursor). */
static void input_cut(struct chat_input *input, uint32_t from)
{
    ASSERT(from <= input->cursor);
    wmemmove(input->text + from, input->text + input->cursor, input->len - input->cursor + 1);
    input->len -= input->cursor - from;
    input->cursor = from;
}

/* A character with its combining marks moves and goes as one. */
static uint32_t input_before(const struct chat_input *input, uint32_t at)
{
    while (at > 0 && wcwidth(input->text[--at]) == 0) {}
    return at;
}

static uint32_t input_after(const struct chat_input *input, uint32_t at)
{
    if (at < input->len) at++;
    while (at < input->len && wcwidth(input->text[at]) == 0) at++;
    return at;
}

static uint32_t input_word_start(const struct chat_input *input)
{
    uint32_t at = input->cursor;
    while (at > 0 && iswspace((wint_t)input->text[at - 1])) at--;
    while (at > 0 && !iswspace((wint_t)input->text[at - 1])) at--;
    return at;
}

void chat_input_edit(struct chat_input *input, enum chat_motion motion)
{
    switch (motion) {
    case INPUT_LEFT: input->cursor = input_before(input, input->cursor); break;
    case INPUT_RIGHT: input->cursor = input_after(input, input->cursor); break;
    case INPUT_HOME: input->cursor = 0; break;
    case INPUT_END: input->cursor = input->len; break;
    case INPUT_BACKSPACE: input_cut(input, input_before(input, input->cursor)); break;
    case INPUT_DELETE: {
        uint32_t from = input->cursor;
        input->cursor = input_after(input, from);
        input_cut(input, from);
        break;
    }
    case INPUT_DELETE_WORD: input_cut(input, input_word_start(input)); break;
    case INPUT_CLEAR: input_cut(input, 0); break;
    }
}

char *chat_input_take(struct chat_input *input)
{
    uint32_t at = 0;
    while (at < input->len && iswspace((wint_t)input->text[at])) at++;
    char *line = at < input->len ? malloc((size_t)input->len * MB_CUR_MAX + 1) : NULL;
    if (line != NULL && wcstombs(line, input->text, (size_t)input->len * MB_CUR_MAX + 1) == (size_t)-1) {
        free(line);
        line = NULL;
    }
    input->len = input->cursor = 0;
    input->text[0] = L'\0';
    return line;
}
