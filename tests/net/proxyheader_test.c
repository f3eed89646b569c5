#include "net/proxyheader.h"
#include "core/check.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1
#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define FOUR           "\xC0\x00\x02\x01\xC0\x00\x02\x02\x12\x67\x1E\x78"
#define SIX            "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x12\x67\x1E\x78"

/* Every shorter beginning of a whole header needs more, and what stands behind it changes nothing. */
Test(proxyheader, whole)
{
    static const struct {
        const char *name;
        const uint8_t *bytes;
        size_t len;
        const char *source; /* NULL: not stated */
    } cases[] = {
        {"TCP4", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4711 7800\r\n"), "::ffff:192.0.2.1"},
        {"TCP6", BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 4711 7800\r\n"), "2001:db8::1"},
        {"TCP6 of a mapped client", BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 7800\r\n"), "::ffff:192.0.2.1"},
        {"UNKNOWN", BYTES("PROXY UNKNOWN\r\n"), NULL},
        {"UNKNOWN with addresses", BYTES("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), NULL},
        {"binary, IPv4", BYTES(SIGNATURE "\x21\x11\0\x0C" FOUR), "::ffff:192.0.2.1"},
        {"binary, IPv4 with TLVs", BYTES(SIGNATURE "\x21\x11\0\x10" FOUR "\x04\0\1x"), "::ffff:192.0.2.1"},
        {"binary, IPv6", BYTES(SIGNATURE "\x21\x21\0\x24" SIX), "2001:db8::1"},
        {"binary, LOCAL", BYTES(SIGNATURE "\x20\0\0\0"), NULL},
        {"binary, LOCAL with an address", BYTES(SIGNATURE "\x20\x11\0\x0C" FOUR), NULL},
        {"binary, family not stated", BYTES(SIGNATURE "\x21\0\0\0"), NULL},
        {"binary, AF_UNIX", BYTES(SIGNATURE "\x21\x31\0\4abcd"), NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct proxyheader header;
        uint8_t longer[256];
        memcpy(longer, cases[i].bytes, cases[i].len);
        memset(longer + cases[i].len, '\n', sizeof longer - cases[i].len);
        for (size_t len = 0; len < cases[i].len; len++)
            cr_assert_eq(proxyheader_parse(slice_of(longer, len), &header), PROXYHEADER_MORE, "%s, %zu", cases[i].name, len);
        for (size_t len = cases[i].len; len < sizeof longer; len += 13) {
            cr_assert_eq(proxyheader_parse(slice_of(longer, len), &header), PROXYHEADER_WHOLE, "%s, %zu", cases[i].name, len);
            cr_assert_eq(header.size, cases[i].len, "%s", cases[i].name);
            cr_assert_eq(header.stated, cases[i].source != NULL, "%s", cases[i].name);
            if (!header.stated) continue;
            char text[INET6_ADDRSTRLEN];
            cr_expect_str_eq(inet_ntop(AF_INET6, &header.source, text, sizeof text), cases[i].source, "%s", cases[i].name);
            cr_expect_eq(header.port, 4711, "%s", cases[i].name);
        }
    }
}

Test(proxyheader, bad)
{
    static const struct {
        const char *name;
        const uint8_t *bytes;
        size_t len;
    } cases[] = {
        {"HTTP", BYTES("GET / HTTP/1.1\r\n")},
        {"TLS", BYTES("\x16\x03\x01")},
        {"MQTT", BYTES("\x10\x0C")},
        {"small letters", BYTES("proxy TCP4 ")},
        {"another word", BYTES("PROXX")},
        {"HTTP behind an empty line", BYTES("\r\n\r\nGET")},
        {"bare LF", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4711 7800\n")},
        {"no family", BYTES("PROXY \r\n")},
        {"another family", BYTES("PROXY UDP4 192.0.2.1 192.0.2.2 4711 7800\r\n")},
        {"two spaces", BYTES("PROXY TCP4  192.0.2.1 192.0.2.2 4711 7800\r\n")},
        {"a space at the end", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4711 7800 \r\n")},
        {"too few words", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n")},
        {"too many words", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4711 7800 1\r\n")},
        {"IPv6 as TCP4", BYTES("PROXY TCP4 2001:db8::1 2001:db8::2 4711 7800\r\n")},
        {"port too large", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 65536 7800\r\n")},
        {"port with a zero in front", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 04711 7800\r\n")},
        {"port of letters", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 http 7800\r\n")},
        {"no address", BYTES("PROXY TCP4 localhost 192.0.2.2 4711 7800\r\n")},
        {"NUL in an address", BYTES("PROXY TCP4 192.0.2.1\0 192.0.2.2 4711 7800\r\n")},
        {"a line without end",
         BYTES("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")},
        {"version 1 in binary", BYTES(SIGNATURE "\x11\x11\0\x0C" FOUR)},
        {"another command", BYTES(SIGNATURE "\x22")},
        {"datagrams", BYTES(SIGNATURE "\x21\x12\0\x0C" FOUR)},
        {"addresses cut short", BYTES(SIGNATURE "\x21\x11\0\x0B" FOUR)},
        {"IPv4 as IPv6", BYTES(SIGNATURE "\x21\x21\0\x0C" FOUR)},
        {"another family in binary", BYTES(SIGNATURE "\x21\x41\0\x0C" FOUR)},
        {"longer than allowed", BYTES(SIGNATURE "\x21\x11\xFF\xFF" FOUR)},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct proxyheader header;
        cr_expect_eq(proxyheader_parse(slice_of(cases[i].bytes, cases[i].len), &header), PROXYHEADER_BAD, "%s", cases[i].name);
    }
}
