/* net/utf8.c - the check of utf8.h.
 * Happy path: eight ASCII bytes are skipped at a time. What a lead byte allows as its next byte carries all special
 * cases:
 *
 *   lead      missing  next byte    because
 *   00..7F    0        -            ASCII
 *   C2..DF    1        80..BF       C0 and C1 would be overlong
 *   E0        2        A0..BF       less is overlong
 *   E1..EF    2        80..BF
 *   ED        2        80..9F       more is a surrogate
 *   F0        3        90..BF       less is overlong
 *   F1..F3    3        80..BF
 *   F4        3        80..8F       more is past U+10FFFF */
#include "net/utf8.h"
#include <string.h>

#define UTF8_ALL_HIGH_BITS UINT64_C(0x8080808080808080)

static size_t utf8_skip_ascii(const uint8_t *data, size_t len)
{
    size_t at = 0;
    for (uint64_t word; len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, data + at, sizeof word);
        if ((word & UTF8_ALL_HIGH_BITS) != 0) break;
    }
    while (at < len && data[at] < 0x80) at++;
    return at;
}

static bool utf8_begin(struct utf8_state *state, uint8_t lead)
{
    if (lead < 0xC2 || lead > 0xF4) return false;
    state->missing = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    state->low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    state->high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return true;
}

bool utf8_feed(struct utf8_state *state, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len; at++) {
        if (state->missing == 0) {
            at += utf8_skip_ascii(data + at, len - at);
            if (at == len) return true;
            if (!utf8_begin(state, data[at])) return false;
        } else {
            if (data[at] < state->low || data[at] > state->high) return false;
            *state = (struct utf8_state){(uint8_t)(state->missing - 1), 0x80, 0xBF};
        }
    }
    return true;
}

bool utf8_valid(const uint8_t *data, size_t len)
{
    struct utf8_state state = {0};
    return utf8_feed(&state, data, len) && utf8_complete(&state);
}
