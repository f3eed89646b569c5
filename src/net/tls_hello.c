/* net/tls_hello.c - finds the key shares of a ClientHello and asks wolfCrypt whether the points lie on their curve.
 *
 *     u16 version | 32 random | u8 n, session id | u16 n, suites | u8 n, compression | u16 n, extensions: { u16 type | u16 n, data }…
 *     key_share (51): u16 n, { u16 group | u16 n, key }…        all numbers big-endian
 *
 * P-256 has cofactor 1: a point of the curve that is not infinity is in the right group. */
#include "net/tls_hello.h"
#include <wolfssl/options.h> /* before every other header of wolfSSL */
#include <wolfssl/wolfcrypt/ecc.h>

#define EXTENSION_KEY_SHARE 51
#define GROUP_P256          0x0017
#define POINT_UNCOMPRESSED  4
#define POINT_SIZE          65
#define VERSION_AND_RANDOM  34

static uint32_t take_number(struct cursor *c, uint32_t bytes)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) value = value << 8 | cursor_u8(c);
    return value;
}

/* What stands behind a length of that many bytes; empty, and the cursor bad, where it is not all there. */
static struct slice take_counted(struct cursor *c, uint32_t bytes)
{
    uint32_t len = take_number(c, bytes);
    const uint8_t *data = cursor_take(c, len);
    return data == NULL ? SLICE_EMPTY : slice_of(data, len);
}

static bool is_point(struct slice key)
{
    if (key.len != POINT_SIZE || key.data[0] != POINT_UNCOMPRESSED) return false;
    int curve = wc_ecc_get_curve_idx(ECC_SECP256R1);
    ecc_point *point = wc_ecc_new_point();
    if (point == NULL || curve < 0) { /* without memory the handshake ends anyway */
        wc_ecc_del_point(point);
        return true;
    }
    bool sound = wc_ecc_import_point_der(key.data, key.len, curve, point) == MP_OKAY && wc_ecc_point_is_on_curve(point, curve) == MP_OKAY;
    wc_ecc_del_point(point);
    return sound;
}

static bool shares_sound(struct slice extension)
{
    struct cursor c = cursor_of(extension);
    struct slice list = take_counted(&c, 2);
    c = cursor_of(list);
    while (cursor_left(&c) > 0) {
        uint32_t group = take_number(&c, 2);
        struct slice key = take_counted(&c, 2);
        if (c.bad) return true;
        if (group == GROUP_P256 && !is_point(key)) return false;
    }
    return true;
}

bool tls_hello_shares_sound(struct slice hello)
{
    struct cursor c = cursor_of(hello);
    (void)cursor_take(&c, VERSION_AND_RANDOM);
    (void)take_counted(&c, 1);
    (void)take_counted(&c, 2);
    (void)take_counted(&c, 1);
    struct slice extensions = take_counted(&c, 2);
    if (c.bad) return true;
    c = cursor_of(extensions);
    while (cursor_left(&c) > 0) {
        uint32_t type = take_number(&c, 2);
        struct slice data = take_counted(&c, 2);
        if (c.bad) return true;
        if (type == EXTENSION_KEY_SHARE && !shares_sound(data)) return false;
    }
    return true;
}
