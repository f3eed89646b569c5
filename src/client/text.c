/* client/text.c - see text.h. Pure functions over bytes; every loop goes forward by at least one byte. */
#define _XOPEN_SOURCE_EXTENDED 1
#include "client/text.h"
#include "core/check.h"
#include <string.h>
#include <wchar.h>

size_t text_decode(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
    ASSERT(at < end);
    static const struct { uint8_t mask, lead; uint8_t len; uint32_t least; } forms[] = {
        {0x80, 0x00, 1, 0}, {0xE0, 0xC0, 2, 0x80}, {0xF0, 0xE0, 3, 0x800}, {0xF8, 0xF0, 4, 0x10000}};
    *code = TEXT_REPLACEMENT;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if ((at[0] & forms[i].mask) != forms[i].lead) continue;
        if ((size_t)(end - at) < forms[i].len) return 1;
        uint32_t value = at[0] & (uint8_t)~forms[i].mask;
        for (uint8_t j = 1; j < forms[i].len; j++) {
            if ((at[j] & 0xC0) != 0x80) return 1;
            value = value << 6 | (at[j] & 0x3F);
        }
        /* Longer than needed, half of a UTF-16 pair, or beyond Unicode. */
        if (value < forms[i].least || (value >= 0xD800 && value <= 0xDFFF) || value > 0x10FFFF) return 1;
        *code = value;
        return forms[i].len;
    }
    return 1;
}

static size_t text_encode(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)(leads[len] | code);
    return len;
}

/* Characters that are never shown as they are: what would act on the terminal or deceive the reader. */
static bool is_dangerous(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code <= 0x9F)      /* C0, DEL, C1 */
           || (code >= 0x202A && code <= 0x202E)              /* direction embeddings and overrides */
           || (code >= 0x2066 && code <= 0x2069)              /* direction isolates */
           || code == 0x200E || code == 0x200F || code == 0x061C || code == 0xFEFF || code == 0x00AD
           || (code >= 0xFFF9 && code <= 0xFFFB)              /* interlinear annotations */
           || (code >= 0xE0000 && code <= 0xE0FFF);           /* tags and what else is invisible up there */
}

size_t text_clean(char *out, size_t out_size, const void *text, size_t len, bool lines, bool *cut)
{
    ASSERT(out_size > 0);
    size_t used = 0;
    if (cut != NULL) *cut = false;
    const uint8_t *at = text, *end = len > 0 ? at + len : at;
    while (at != end) {
        uint32_t code;
        at += text_decode(at, end, &code);
        if (code == '\r' || code == 0x2028 || code == 0x2029) {
            if (code == '\r' && at != end && *at == '\n') continue;
            code = '\n';
        }
        if (code == '\t' || (code == '\n' && !lines)) code = ' ';
        if (code != '\n' && is_dangerous(code)) continue;
        char bytes[4];
        size_t bytes_len = text_encode(bytes, code);
        if (used + bytes_len >= out_size) {
            if (cut != NULL) *cut = true;
            break;
        }
        memcpy(out + used, bytes, bytes_len);
        used += bytes_len;
    }
    out[used] = '\0';
    return used;
}

static int code_width(uint32_t code)
{
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 0 : width;
}

int text_width(const char *text, size_t len)
{
    int width = 0;
    const uint8_t *at = (const uint8_t *)text, *end = at + len;
    while (at != end) {
        uint32_t code;
        at += text_decode(at, end, &code);
        width += code_width(code);
    }
    return width;
}

size_t text_fit(const char *text, size_t len, int columns)
{
    int width = 0;
    const uint8_t *start = (const uint8_t *)text, *at = start, *end = start + len;
    while (at != end) {
        uint32_t code;
        size_t code_len = text_decode(at, end, &code);
        width += code_width(code);
        if (width > columns) break;
        at += code_len;
    }
    return (size_t)(at - start);
}

/* Bytes of the next line of `text`, which holds no line end; *skip: the space after it. */
static size_t wrap_one(const char *text, size_t len, int columns, size_t *skip)
{
    *skip = 0;
    size_t fit = text_fit(text, len, columns);
    if (fit == len) return len;
    if (text[fit] == ' ') {
        *skip = 1;
        return fit;
    }
    for (size_t at = fit; at > 0; at--)
        if (text[at - 1] == ' ') {
            *skip = 1;
            return at - 1;
        }
    if (fit > 0) return fit;
    uint32_t code; /* one character wider than the line: alone, cut by the terminal */
    return text_decode((const uint8_t *)text, (const uint8_t *)text + len, &code);
}

size_t text_wrap(const char *text, size_t len, int columns, struct text_line *lines, size_t line_max)
{
    ASSERT(columns >= 2);
    size_t count = 0, at = 0;
    do {
        const char *line_end = at < len ? memchr(text + at, '\n', len - at) : NULL;
        size_t paragraph_end = line_end != NULL ? (size_t)(line_end - text) : len;
        do {
            size_t skip, part = wrap_one(text + at, paragraph_end - at, columns, &skip);
            if (count < line_max) lines[count] = (struct text_line){(uint32_t)at, (uint32_t)part};
            count++;
            at += part + skip;
        } while (at < paragraph_end);
        at = paragraph_end + 1;
    } while (at <= len);
    return count;
}
