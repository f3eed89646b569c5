/* layers: client core */
/* tests/fuzz/text_fuzz.c - any bytes as a message on a terminal: what is shown holds nothing that acts, cleaning it again changes
 * nothing, and its lines cover it, none wider than the terminal. */
#include "client/text.h"
#include "core/check.h"
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_harmless(const char *clean, size_t len)
{
    const uint8_t *at = (const uint8_t *)clean, *end = at + len;
    while (at != end) {
        uint32_t code;
        at += text_decode(at, end, &code);
        ASSERT(code == '\n' || code >= 0x20);
        ASSERT(code < 0x7F || code > 0x9F);
        ASSERT(code < 0x202A || code > 0x202E);
    }
}

static void expect_wrapped(const char *clean, size_t len)
{
    size_t line_max = len + 2, at = 0;
    struct text_line *lines = calloc(line_max, sizeof *lines);
    ASSERT(lines != NULL);
    size_t count = text_wrap(clean, len, COLUMNS, lines, line_max);
    ASSERT(count >= 1 && count <= line_max);
    for (size_t i = 0; i < count; i++) {
        ASSERT(lines[i].start >= at && lines[i].start - at <= 1); /* at most the space or line end between two lines is left out */
        ASSERT(text_width(clean + lines[i].start, lines[i].len) <= COLUMNS);
        at = lines[i].start + lines[i].len;
    }
    ASSERT(at == len || at + 1 == len);
    free(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL || size > (1u << 16)) return 0;
    size_t clean_size = size * 3 + 1;
    char *clean = malloc(clean_size), *again = malloc(clean_size);
    ASSERT(clean != NULL && again != NULL);
    bool cut;
    size_t len = text_clean(clean, clean_size, data, size, true, &cut);
    ASSERT(!cut && len == strlen(clean));
    expect_harmless(clean, len);
    ASSERT(text_clean(again, clean_size, clean, len, true, &cut) == len && memcmp(clean, again, len) == 0);
    expect_wrapped(clean, len);
    free(clean);
    free(again);
    return 0;
}
