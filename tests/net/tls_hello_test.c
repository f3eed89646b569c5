/* tests/net/tls_hello_test.c - key shares that are points of their curve, and those that are not. */
#include "net/tls_hello.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <string.h>

/* The generator of P-256. */
static const char generator[] = "\x04"
                                "\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
                                "\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
#define POINT_SIZE 65u

static void put(struct writer *w, uint32_t value, uint32_t bytes)
{
    while (bytes-- > 0) writer_u8(w, (uint8_t)(value >> 8 * bytes));
}

/* A hello with one share of that group. */
static void hello_with(struct writer *w, uint32_t group, const uint8_t *key, uint32_t len)
{
    static const uint8_t random[34] = {3, 3};
    writer_init(w, 0);
    writer_raw(w, random, sizeof random);
    put(w, 0, 1);            /* session id */
    put(w, 2, 2);            /* suites */
    put(w, 0x1301, 2);
    put(w, 0x0100, 2);       /* compression: none */
    put(w, 4 + 4 + 10 + len, 2);
    put(w, 43, 2);           /* another extension before it */
    put(w, 4, 2);
    put(w, 0, 4);
    put(w, 51, 2);
    put(w, 2 + 4 + len, 2);
    put(w, 4 + len, 2);
    put(w, group, 2);
    put(w, len, 2);
    writer_raw(w, key, len);
}

Test(tls_hello, a_share_is_a_point_of_its_curve)
{
    uint8_t off[POINT_SIZE], origin[POINT_SIZE] = {4}, compressed[33] = {2}, larger[POINT_SIZE];
    memcpy(off, generator, POINT_SIZE);
    off[POINT_SIZE - 1] ^= 1;
    memset(larger, 0xff, sizeof larger); /* coordinates beyond the prime */
    larger[0] = 4;
    const struct {
        const char *name;
        uint32_t group;
        const void *key;
        uint32_t len;
        bool want;
    } cases[] = {
        {"the generator", 0x17, generator, POINT_SIZE, true},
        {"off the curve", 0x17, off, POINT_SIZE, false},
        {"(0, 0)", 0x17, origin, POINT_SIZE, false},
        {"beyond the field", 0x17, larger, POINT_SIZE, false},
        {"too short", 0x17, generator, POINT_SIZE - 1, false},
        {"compressed", 0x17, compressed, sizeof compressed, false},
        {"nothing", 0x17, generator, 0, false},
        {"another group is not looked at", 0x1d, off, 32, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct writer hello;
        hello_with(&hello, cases[i].group, cases[i].key, cases[i].len);
        cr_expect_eq(tls_hello_shares_sound(writer_slice(&hello)), cases[i].want, "%s", cases[i].name);
        writer_deinit(&hello);
    }
}

/* Cut anywhere it reads nothing beyond its end, and leaves the refusal to the library. */
Test(tls_hello, what_cannot_be_read_is_left_alone)
{
    struct writer hello;
    uint8_t off[POINT_SIZE];
    memcpy(off, generator, POINT_SIZE);
    off[POINT_SIZE - 1] ^= 1;
    hello_with(&hello, 0x17, off, POINT_SIZE);
    for (uint32_t len = 0; len < hello.len; len++) {
        uint8_t *exact = malloc(len > 0 ? len : 1); /* so that the sanitizer sees a read past the end */
        memcpy(exact, hello.data, len);
        cr_expect(tls_hello_shares_sound(slice_of(exact, len)), "%u bytes", len);
        free(exact);
    }
    writer_deinit(&hello);
}
