/* tests/shard/door/login_limit_test.c - attempts are counted by address, IPv6 by /64. */
#include "shard/door/login_limit.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>

static struct in6_addr address(const char *text)
{
    struct in6_addr peer;
    cr_assert_eq(inet_pton(AF_INET6, text, &peer), 1, "%s", text);
    return peer;
}

Test(login_limit, counts_by_address)
{
    static const struct {
        const char *peer;
        uint64_t now_ms;
        bool want;
        const char *name;
    } attempts[] = {
        {"::ffff:10.0.0.1", 1000, true, "first of the burst"},
        {"::ffff:10.0.0.1", 1000, true, "second of the burst"},
        {"::ffff:10.0.0.1", 1000, false, "the burst is used up"},
        {"::ffff:10.0.0.2", 1000, true, "another address has its own"},
        {"::ffff:10.0.0.1", 2000, true, "one more after a second"},
        {"::ffff:10.0.0.1", 2000, false, "but only one"},
        {"2001:db8:0:1::1", 3000, true, "a host of a /64"},
        {"2001:db8:0:1::2", 3000, true, "its neighbour uses the same bucket"},
        {"2001:db8:0:1::3", 3000, false, "so a third host of it is too many"},
        {"2001:db8:0:2::1", 3000, true, "another /64 is another customer"},
    };
    struct login_limit *limit;
    cr_assert_eq(login_limit_create(&limit, 1, 2), RESULT_OK);
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        struct in6_addr peer = address(attempts[i].peer);
        uint32_t retry_after_ms = 0;
        bool got = login_limit_take(limit, &peer, attempts[i].now_ms, &retry_after_ms);
        cr_expect_eq(got, attempts[i].want, "%s", attempts[i].name);
        cr_expect_eq(retry_after_ms > 0, !attempts[i].want, "%s: says how long to wait", attempts[i].name);
    }
    login_limit_destroy(limit);
}

Test(login_limit, zero_is_no_limit)
{
    struct login_limit *limit;
    cr_assert_eq(login_limit_create(&limit, 0, 1), RESULT_OK);
    struct in6_addr peer = address("::1");
    for (int i = 0; i < 1000; i++) {
        uint32_t retry_after_ms = 0;
        cr_expect(login_limit_take(limit, &peer, 5, &retry_after_ms));
    }
    login_limit_destroy(limit);
}
