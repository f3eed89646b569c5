#include "core/check.h"
#include "net/peers.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t key_of(const char *text)
{
    struct in6_addr address;
    cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
    return peers_key(&address);
}

Test(peers, keys)
{
    cr_expect_neq(key_of("::ffff:1.2.3.4"), key_of("::ffff:1.2.3.5"));
    cr_expect_eq(key_of("2001:db8:1:2::1"), key_of("2001:db8:1:2:ffff::9"), "one /64 is one peer");
    cr_expect_neq(key_of("2001:db8:1:2::1"), key_of("2001:db8:1:3::1"));
}

Test(peers, limit_counts_and_frees)
{
    struct peers peers;
    cr_assert_eq(peers_init(&peers), RESULT_OK);
    for (int i = 0; i < 3; i++) cr_expect_eq(peers_add(&peers, 7, 3), RESULT_OK);
    cr_expect_eq(peers_add(&peers, 7, 3), RESULT_BUSY);
    cr_expect_eq(peers_add(&peers, 8, 3), RESULT_OK);
    cr_expect_eq(peers_add(&peers, 7, 0), RESULT_OK, "0 is no limit");
    cr_expect_eq(peers_count(&peers, 7), 4);
    for (int i = 0; i < 4; i++) peers_remove(&peers, 7);
    cr_expect_eq(peers_count(&peers, 7), 0);
    cr_expect_eq(peers.used, 1);
    peers_deinit(&peers);
}

/* Against plain counters, with many keys in few places so that runs form and holes are closed. */
Test(peers, agrees_with_counters)
{
    enum { KEYS = 300, STEPS = 60000 };
    struct peers peers;
    uint32_t counts[KEYS] = {0}, live = 0;
    srand(7);
    cr_assert_eq(peers_init(&peers), RESULT_OK);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t key = (uint32_t)rand() % KEYS;
        bool add = counts[key] == 0 || rand() % 3 == 0;
        if (add) {
            cr_assert_eq(peers_add(&peers, key, 0), RESULT_OK);
            live += counts[key]++ == 0;
        } else {
            peers_remove(&peers, key);
            live -= --counts[key] == 0;
        }
        cr_assert_eq(peers.used, live);
        cr_assert_eq(peers_count(&peers, key), counts[key]);
    }
    for (uint32_t key = 0; key < KEYS; key++) cr_expect_eq(peers_count(&peers, key), counts[key]);
    peers_deinit(&peers);
}
