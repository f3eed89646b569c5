/* client/text.h - text from other people made safe to show, and cut to the width of a terminal.
 * Owns:    nothing.               Thread: any (wcwidth() follows the process's locale: UTF-8).
 * Depends: nothing.               Start at: client/client.h
 * Whatever bytes a message holds, what text_clean() gives cannot move a cursor, change a title, reverse a line or answer for
 * the user: no control characters (C0, DEL, C1), no direction overrides, no invisible tags, only valid UTF-8. */
#ifndef CLIENT_TEXT_H
#define CLIENT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_REPLACEMENT 0xFFFDu

/* Decodes one code point at `at` (< `end`); the length of its bytes. Invalid bytes give TEXT_REPLACEMENT, one byte each. */
size_t text_decode(const uint8_t *at, const uint8_t *end, uint32_t *code);

/* Writes at most out_size - 1 bytes of safe UTF-8 and a NUL; never cuts a character. Line ends are kept as '\n' when `lines`, otherwise
 * shown as a space. Tabs become spaces. Returns the length; *cut says whether something did not fit (may be NULL). */
size_t text_clean(char *out, size_t out_size, const void *text, size_t len, bool lines, bool *cut);

/* Columns that clean text takes on a terminal. */
int text_width(const char *text, size_t len);
/* Bytes of the longest beginning of clean text that takes at most `columns`; never cuts a character from its combining marks. */
size_t text_fit(const char *text, size_t len, int columns);

/* One line of wrapped text: a part of it. */
struct text_line {
    uint32_t start, len;
};
/* Breaks clean text into lines of at most `columns` (>= 2), at spaces where there are any, and at '\n'. Writes the first
 * `line_max`; returns how many there are in all (at least 1). */
size_t text_wrap(const char *text, size_t len, int columns, struct text_line *lines, size_t line_max);

#endif
