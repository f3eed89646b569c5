/* tests/shard/domain/presence/seen_test.c - SEEN sets last_seen of user and device to the time of the newest command, also when a clock was ahead before. */
#include "shard/domain/account/account.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/machine_fixture.h"
#include <criterion/criterion.h>

#define NOW_MS UINT64_C(1700000000000)

static enum error seen(struct fixture *f, uint64_t user_id, const char *device_id, uint64_t now_ms)
{
    struct seen_record record = {.user_id = user_id, .device_id = slice_text(device_id)};
    f->now_ms = now_ms;
    return FIXTURE_RUN(f, user_id, SEEN, seen, &record);
}

Test(presence_seen, is_the_time_of_the_newest)
{
    static const struct {
        const char *name, *device_id;
        uint64_t now_ms, want_user_ms, want_device_ms;
    } cases[] = {
        {"later", "laptop", NOW_MS + 100, NOW_MS + 100, NOW_MS + 100},
        {"a device never listed", "other", NOW_MS + 200, NOW_MS + 200, NOW_MS + 100},
        {"after the clock was set back", "laptop", NOW_MS + 50, NOW_MS + 50, NOW_MS + 50},
        {"later again", "laptop", NOW_MS + 300, NOW_MS + 300, NOW_MS + 300},
        {"without a device", "", NOW_MS + 400, NOW_MS + 400, NOW_MS + 300},
    };
    for (int forgetful = 0; forgetful < 2; forgetful++) {
        struct machine_options options = fixture_options(0, 1);
        struct fixture *f = fixture_create(&options);
        f->forgetful = forgetful == 1;
        f->now_ms = NOW_MS;
        uint64_t user_id = fixture_add_user(f, "alice");
        struct device_put_record put = {.user_id = user_id, .device_id = SLICE_TEXT("laptop")};
        cr_assert_eq(FIXTURE_RUN(f, user_id, DEVICE_PUT, device_put, &put), ERROR_NONE);
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            cr_expect_eq(seen(f, user_id, cases[i].device_id, cases[i].now_ms), ERROR_NONE);
            const struct inbox *inbox = inbox_of(fixture_entity(f, ENTITY_INBOX, user_id, 0));
            cr_expect_eq(inbox->last_seen_ms, cases[i].want_user_ms, "%s", cases[i].name);
            const struct account *account = account_of(fixture_entity(f, ENTITY_ACCOUNT, user_id, 0));
            cr_expect_eq(account_device(account, SLICE_TEXT("laptop"))->last_seen_ms, cases[i].want_device_ms, "%s",
                         cases[i].name);
        }
        cr_expect_eq(seen(f, user_id + 1, "laptop", NOW_MS), ERROR_USER_NOT_FOUND);
        fixture_destroy(f);
    }
}
