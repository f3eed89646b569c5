/* net/utf8.h - UTF-8 checked while it arrives, in pieces cut anywhere.
 * Owns:    nothing; the state of one text is 3 bytes in its owner.
 * Thread:  any one at a time.     Depends: nothing.              Start at: net/net.h
 * A text fails at its first wrong byte, not at its end (RFC 3629: no overlong forms, no surrogates, nothing past
 * U+10FFFF). */
#ifndef NET_UTF8_H
#define NET_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: between two characters. Else `missing` more bytes are expected, the next one within [low, high]. */
struct utf8_state {
    uint8_t missing, low, high;
};

/* False at the first byte that no valid text could have here; the state is then of no further use. */
bool utf8_feed(struct utf8_state *state, const uint8_t *data, size_t len);
/* True when the text may end here. */
static inline bool utf8_complete(const struct utf8_state *state)
{
    return state->missing == 0;
}
/* The whole text at once. */
bool utf8_valid(const uint8_t *data, size_t len);

#endif
