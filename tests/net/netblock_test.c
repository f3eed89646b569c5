#include "net/netblock.h"
#include "core/check.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>

static const char *shown(const struct in6_addr *address)
{
    static char text[INET6_ADDRSTRLEN];
    return inet_ntop(AF_INET6, address, text, sizeof text);
}

Test(netblock, addresses_as_proxies_write_them)
{
    static const struct {
        const char *text, *address; /* NULL: none */
    } cases[] = {
        {"192.0.2.1", "::ffff:192.0.2.1"},
        {"192.0.2.1:4711", "::ffff:192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:4711", "2001:db8::1"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"", NULL},
        {"unknown", NULL},
        {"_hidden", NULL},
        {"192.0.2", NULL},
        {"192.0.2.256", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:http", NULL},
        {"[192.0.2.1]", NULL},
        {"[2001:db8::1", NULL},
        {"[2001:db8::1]4711", NULL},
        {"2001:db8::g", NULL},
        {"192.0.2.1 ", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct in6_addr address;
        bool parsed = address_parse_forwarded(&address, slice_text(cases[i].text));
        cr_assert_eq(parsed, cases[i].address != NULL, "%s", cases[i].text);
        if (parsed) cr_expect_str_eq(shown(&address), cases[i].address, "%s", cases[i].text);
    }
}

Test(netblock, blocks)
{
    static const struct {
        const char *block, *inside, *outside;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
        {"192.0.2.128/25", "192.0.2.255", "192.0.2.127"},
        {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
        {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
        {"2001:db8::1", "2001:db8::1", "2001:db8::2"},
        {"fc00::/7", "fdff::1", "fe00::1"},
        {"::1", "::1", "127.0.0.1"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct netblock block;
        struct in6_addr inside, outside;
        cr_assert_null(netblock_parse(&block, slice_text(cases[i].block)), "%s", cases[i].block);
        cr_assert(address_parse(&inside, slice_text(cases[i].inside)) && address_parse(&outside, slice_text(cases[i].outside)));
        cr_expect(netblock_has(&block, &inside), "%s", cases[i].block);
        cr_expect_not(netblock_has(&block, &outside), "%s", cases[i].block);
    }
}

Test(netblock, what_is_none)
{
    static const char *const texts[] = {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "::/129",
                                        "2001:db8::1/64", "localhost", "10.0.0.0/0008", "192.0.2.1:80"};
    struct netblock block;
    for (size_t i = 0; i < COUNT_OF(texts); i++) cr_expect_not_null(netblock_parse(&block, slice_text(texts[i])), "%s", texts[i]);
}
