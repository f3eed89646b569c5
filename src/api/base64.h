/* api/base64.h - decoding base64 strictly: only the alphabet, only the one spelling of each byte string.
 * Thread: any.                    Depends: core/cursor.h, libsodium.   Start at: api/api.h
 * libsodium 1.0.18 compares characters as signed numbers and takes every byte above 0x7f for the alphabet's last
 * character; so these are refused before it looks. Stray bits, wrong padding and other characters it refuses itself. */
#ifndef API_BASE64_H
#define API_BASE64_H

#include "core/cursor.h"
#include <sodium.h>

/* `variant`: sodium_base64_VARIANT_*. False also when more than `size_max` bytes come out. */
static inline bool base64_decode(struct slice text, int variant, uint8_t *bytes, size_t size_max, size_t *len)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (text.data[i] > 0x7f) return false;
    return sodium_base642bin(bytes, size_max, (const char *)text.data, text.len, NULL, len, NULL, variant) == 0;
}

#endif
