/* tests/shard/domain/mqtt/state_test.c - which kept sessions make room for another one, and that time alone ends none. */
#include "shard/machine_fixture.h"
#include "shard/domain/mqtt/state.h"
#include <criterion/criterion.h>

#define NOW_MS UINT64_C(1700000000000)

static enum error keep(struct fixture *f, uint64_t user_id, const char *client_id, uint32_t expiry_s, uint64_t now_ms)
{
    f->now_ms = now_ms;
    struct mqtt_session_record record = {.client_id = slice_text(client_id), .epoch = 1, .opens = 1, .expiry_s = expiry_s};
    return FIXTURE_RUN(f, user_id, MQTT_SESSION, mqtt_session, &record);
}

static bool is_kept(struct fixture *f, uint64_t user_id, const char *client_id)
{
    struct mqtt_session_record record;
    return mqtt_state_find(mqtt_state_of(fixture_entity(f, ENTITY_MQTT, user_id, 0)), slice_text(client_id), &record);
}

Test(mqtt_state, what_is_over_goes_first_and_only_for_want_of_room)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_DEVICES_PER_USER_MAX] = 3;
    struct fixture *f = fixture_create(&options);
    f->now_ms = NOW_MS;
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_expect_eq(keep(f, user_id, "long", 1000000, NOW_MS), ERROR_NONE);
    cr_expect_eq(keep(f, user_id, "short", 60, NOW_MS + 1000), ERROR_NONE);
    cr_expect_eq(keep(f, user_id, "third", 1000000, NOW_MS + 86400000), ERROR_NONE, "perhaps by a clock that is ahead");
    cr_expect(is_kept(f, user_id, "short"), "it may be good again when the clock is");
    cr_expect_eq(keep(f, user_id, "fourth", 1000000, NOW_MS + 86400000), ERROR_NONE);
    cr_expect_not(is_kept(f, user_id, "short"), "one had to go");
    cr_expect(is_kept(f, user_id, "long"), "saved longer ago, and not over");
    cr_expect_eq(keep(f, user_id, "fifth", 1000000, NOW_MS + 86400000), ERROR_NONE);
    cr_expect_not(is_kept(f, user_id, "long"), "none is over: the one saved longest ago goes");
    cr_expect(is_kept(f, user_id, "third") && is_kept(f, user_id, "fourth") && is_kept(f, user_id, "fifth"));
    fixture_destroy(f);
}

/* Saved in one millisecond, and found in the store in another order than they came. */
Test(mqtt_state, which_goes_is_the_same_when_the_sessions_were_loaded_meanwhile)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_DEVICES_PER_USER_MAX] = 3;
    for (int loaded = 0; loaded < 2; loaded++) {
        if (loaded) options.entities_max = 1; /* each of the two drops the other */
        struct fixture *f = fixture_create(&options);
        f->forgetful = loaded == 1;
        f->now_ms = NOW_MS;
        uint64_t user_id = fixture_add_user(f, "alice"), other_id = fixture_add_user(f, "bob");
        for (const char *client_id = "c\0b\0a\0"; *client_id != '\0'; client_id += 2) {
            cr_assert_eq(keep(f, user_id, client_id, 1000000, NOW_MS), ERROR_NONE);
            cr_assert_eq(keep(f, other_id, "phone", 1000000, NOW_MS), ERROR_NONE);
        }
        cr_assert_eq(keep(f, user_id, "d", 1000000, NOW_MS + 1), ERROR_NONE);
        cr_expect_not(is_kept(f, user_id, "a"));
        cr_expect(is_kept(f, user_id, "b") && is_kept(f, user_id, "c") && is_kept(f, user_id, "d"));
        fixture_destroy(f);
    }
}
