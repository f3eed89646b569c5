/* api/utf8.h - whether bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 * Thread: any.                    Depends: core/cursor.h.        Start at: api/api.h */
#ifndef API_UTF8_H
#define API_UTF8_H

#include "core/cursor.h"

/* Length in bytes of the character at `p`, 0 when none is well-formed there. p < end. */
static inline uint32_t utf8_char_len(const uint8_t *p, const uint8_t *end)
{
    uint8_t first = p[0];
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0; /* a tail byte, an overlong form, or above the last plane */
    uint32_t len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if ((size_t)(end - p) < len) return 0;
    for (uint32_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (first == 0xe0 && p[1] < 0xa0) return 0; /* overlong */
    if (first == 0xed && p[1] > 0x9f) return 0; /* surrogate */
    if (first == 0xf0 && p[1] < 0x90) return 0; /* overlong */
    if (first == 0xf4 && p[1] > 0x8f) return 0; /* above U+10FFFF */
    return len;
}

/* How many bytes from the start are well-formed characters. */
static inline uint32_t utf8_valid_len(struct slice text)
{
    uint32_t at = 0;
    while (at < text.len) {
        uint64_t eight = UINT64_MAX; /* at once, while none of them is beyond ASCII */
        if (text.len - at >= sizeof eight) memcpy(&eight, text.data + at, sizeof eight);
        if ((eight & 0x8080808080808080u) == 0) {
            at += (uint32_t)sizeof eight;
            continue;
        }
        uint32_t len = utf8_char_len(text.data + at, text.data + text.len);
        if (len == 0) break;
        at += len;
    }
    return at;
}

#endif
