/* tests/shard/domain/mqtt/wills_test.c - wills as the state of one machine: what a start finds left behind, and how many there may be. */
#include "shard/domain/commands.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/machine_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture *f;
static uint64_t alice;

static void start(void)
{
    struct incarnation_record record = {.ordinal = f->machine->incarnations.newest + 1, .random = 1};
    cr_assert_eq(FIXTURE_RUN(f, 0, INCARNATION, incarnation, &record), ERROR_NONE);
}

static void setup(void)
{
    struct machine_options options = fixture_options(0, 1);
    f = fixture_create(&options);
    f->forgetful = true;
    alice = fixture_add_user(f, "alice");
    start();
}

static void teardown(void) { fixture_destroy(f); }

TestSuite(wills, .init = setup, .fini = teardown);

static enum error say(enum will_word word, uint64_t epoch, uint32_t delay_s, bool clean)
{
    char client_id[16];
    snprintf(client_id, sizeof client_id, "c%llu", (unsigned long long)epoch);
    struct will_record record = {.state = (uint8_t)word,
                                 .client_id = slice_text(client_id),
                                 .epoch = epoch,
                                 .clean = clean,
                                 .delay_s = delay_s,
                                 .expiry_s = UINT32_MAX,
                                 .device_id = SLICE_TEXT("phone"),
                                 .send = SLICE_TEXT("a request")};
    return FIXTURE_RUN(f, alice, MQTT_WILL, will, &record);
}

/* The client of the connection `of` has CONNACK in the connection `epoch`. */
static void come_back(uint64_t of, uint64_t epoch)
{
    char client_id[16];
    snprintf(client_id, sizeof client_id, "c%llu", (unsigned long long)of);
    struct will_back_record record = {.client_id = slice_text(client_id), .epoch = epoch};
    cr_assert_eq(FIXTURE_RUN(f, alice, MQTT_WILL_BACK, will_back, &record), ERROR_NONE);
}

static uint32_t count(enum will_state state)
{
    const struct wills *wills = wills_of(fixture_entity(f, ENTITY_WILLS, alice, 0));
    uint32_t found = 0;
    for (uint32_t i = 0; i < wills->count; i++) found += wills->wills[i].state == state;
    return found;
}

/* To be sent, by the last command. */
static uint32_t sends(void)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < f->effects.count; i++) found += f->effects.list[i].kind == EFFECT_WILL;
    return found;
}

Test(wills, a_start_finds_those_that_a_crash_left_behind)
{
    cr_assert_eq(say(WILL_OPENS, 1, 0, false), ERROR_NONE);
    cr_assert_eq(say(WILL_OPENS, 2, 60, false), ERROR_NONE);
    f->now_ms += 1000000;
    fixture_due(f);
    cr_expect_eq(count(WILL_HELD), 2, "their connections are there");
    start();
    cr_assert_eq(say(WILL_OPENS, 3, 0, false), ERROR_NONE); /* of this life */
    fixture_due(f);
    cr_expect_eq(sends(), 1);
    cr_expect_eq(count(WILL_SENDING), 1);
    cr_expect_eq(count(WILL_WAITING), 1);
    cr_expect_eq(count(WILL_HELD), 1);
    f->now_ms += 60000;
    fixture_due(f);
    cr_expect_eq(sends(), 2, "the other one, and the first once more: nobody has said that it was sent");
    cr_expect_eq(count(WILL_SENDING), 2);
    struct wills *wills = wills_of(fixture_entity(f, ENTITY_WILLS, alice, 0));
    uint64_t numbers[2] = {wills->wills[0].number, wills->wills[1].number};
    for (int i = 0; i < 2; i++) {
        struct will_sent_record sent = {.number = numbers[i]};
        cr_assert_eq(FIXTURE_RUN(f, alice, MQTT_WILL_SENT, will_sent, &sent), ERROR_NONE);
    }
    cr_expect_eq(count(WILL_SENDING), 0);
    cr_assert_eq(say(WILL_DROPPED, 3, 0, false), ERROR_NONE);
    cr_expect_eq(fixture_count(f, KEY_WILL, alice), 0);
    cr_expect_eq(f->machine->timers.waiting, 0);
}

/* A computer without a battery starts in 1970: its log holds that start, and the next starts replay it. */
Test(wills, a_start_in_1970_sends_them_and_tries_again_when_the_clock_is_right)
{
    uint64_t now_ms = f->now_ms;
    cr_assert_eq(say(WILL_OPENS, 1, 0, false), ERROR_NONE);
    cr_assert_eq(say(WILL_OPENS, 2, 60, false), ERROR_NONE);
    f->now_ms = 20000;
    start();
    fixture_due(f);
    cr_expect_eq(sends(), 1);
    cr_expect_eq(count(WILL_SENDING), 1);
    cr_expect_eq(count(WILL_WAITING), 1);
    f->now_ms += 120000;
    fixture_due(f);
    cr_expect_eq(count(WILL_WAITING), 1, "nothing says how late it is");
    f->now_ms = now_ms + 600000;
    fixture_due(f);
    cr_expect_eq(sends(), 2);
    cr_expect_eq(count(WILL_SENDING), 2);
    struct machine_options options = fixture_options(0, 1);
    struct fixture *again = fixture_create(&options);
    fixture_add_user(again, "alice");
    fixture_replay(f, again, 0);
    cr_expect_eq(again->journal.len, f->journal.len);
    cr_expect_eq(memcmp(again->journal.data, f->journal.data, f->journal.len), 0);
    fixture_destroy(again);
}

Test(wills, a_client_that_is_back_before_the_start_looked_for_its_will)
{
    cr_assert_eq(say(WILL_OPENS, 1, 60, false), ERROR_NONE);
    cr_assert_eq(say(WILL_OPENS, 2, 0, false), ERROR_NONE);
    start();
    cr_assert_eq(say(WILL_OPENS, 1, 60, false), ERROR_NONE);
    cr_expect_eq(sends(), 0, "in time");
    cr_expect_eq(count(WILL_WAITING), 1, "until it has CONNACK");
    come_back(1, 1000);
    cr_expect_eq(count(WILL_WAITING), 0);
    cr_assert_eq(say(WILL_OPENS, 2, 0, false), ERROR_NONE);
    cr_expect_eq(sends(), 1, "its connection had ended");
    fixture_due(f);
    cr_expect_eq(count(WILL_HELD), 2);
    cr_expect_eq(count(WILL_SENDING), 1);
}

Test(wills, at_the_limit_the_next_one_is_sent_now)
{
    for (uint64_t epoch = 1; epoch <= MQTT_WILLS_MAX; epoch++) {
        cr_assert_eq(say(WILL_OPENS, epoch, (uint32_t)(1000 - epoch), false), ERROR_NONE);
        cr_assert_eq(say(WILL_RELEASED, epoch, 0, false), ERROR_NONE);
    }
    cr_expect_eq(count(WILL_WAITING), MQTT_WILLS_MAX);
    cr_assert_eq(say(WILL_OPENS, 1000, 10, false), ERROR_NONE);
    cr_expect_eq(sends(), 1);
    cr_expect_eq(count(WILL_WAITING), MQTT_WILLS_MAX - 1);
    cr_expect_eq(count(WILL_HELD), 1);
    enum error error = ERROR_NONE;
    for (uint64_t epoch = 2000; error == ERROR_NONE && epoch < 3000; epoch++) error = say(WILL_OPENS, epoch, 10, false);
    cr_expect_eq(error, ERROR_SERVER_BUSY);
}

Test(wills, who_comes_back_at_the_limit_makes_nobody_elses_due)
{
    for (uint64_t epoch = 1; epoch <= MQTT_WILLS_MAX; epoch++) {
        cr_assert_eq(say(WILL_OPENS, epoch, (uint32_t)(1000 - epoch), false), ERROR_NONE);
        cr_assert_eq(say(WILL_RELEASED, epoch, 0, false), ERROR_NONE);
    }
    for (uint64_t epoch = 1; epoch <= MQTT_WILLS_MAX; epoch++) {
        cr_assert_eq(say(WILL_OPENS, epoch, 10, false), ERROR_NONE);
        cr_expect_eq(sends(), 0);
        come_back(epoch, 1000);
        cr_expect_eq(count(WILL_HELD), epoch);
        cr_expect_eq(count(WILL_WAITING), MQTT_WILLS_MAX - epoch);
    }
}

Test(wills, a_will_that_waits_of_the_connection_itself_is_not_what_coming_back_ends)
{
    cr_assert_eq(say(WILL_OPENS, 1, 60, false), ERROR_NONE);
    cr_assert_eq(say(WILL_RELEASED, 1, 0, false), ERROR_NONE);
    come_back(1, 1);
    cr_expect_eq(count(WILL_WAITING), 1);
    come_back(2, 3);
    cr_expect_eq(count(WILL_WAITING), 1, "of another client");
}

Test(wills, a_device_that_is_revoked_has_none)
{
    cr_assert_eq(say(WILL_OPENS, 1, 0, false), ERROR_NONE);
    cr_assert_eq(say(WILL_OPENS, 2, 60, false), ERROR_NONE);
    cr_assert_eq(say(WILL_RELEASED, 2, 0, false), ERROR_NONE);
    struct device_revoke_record other = {.user_id = alice, .device_id = SLICE_TEXT("tablet")};
    cr_assert_eq(FIXTURE_RUN(f, alice, DEVICE_REVOKE, device_revoke, &other), ERROR_NONE);
    cr_expect_eq(fixture_count(f, KEY_WILL, alice), 2);
    struct device_revoke_record revoke = {.user_id = alice, .device_id = SLICE_TEXT("phone")};
    cr_assert_eq(FIXTURE_RUN(f, alice, DEVICE_REVOKE, device_revoke, &revoke), ERROR_NONE);
    cr_expect_eq(fixture_count(f, KEY_WILL, alice), 0);
    cr_expect_eq(f->machine->timers.waiting, 0);
}

Test(wills, a_replay_does_the_same)
{
    for (uint64_t epoch = 1; epoch <= 20; epoch++) {
        cr_assert_eq(say(WILL_OPENS, epoch, (uint32_t)(epoch % 5), epoch % 3 == 0), ERROR_NONE);
        if (epoch % 4 != 0) cr_assert_eq(say(epoch % 7 == 0 ? WILL_DROPPED : WILL_RELEASED, epoch, 0, false), ERROR_NONE);
        if (epoch % 3 == 1) come_back(epoch, 1000);
        f->now_ms += 700;
        fixture_due(f);
        if (epoch % 6 == 0) start();
    }
    struct machine_options options = fixture_options(0, 1);
    struct fixture *again = fixture_create(&options);
    fixture_add_user(again, "alice");
    fixture_replay(f, again, 0);
    cr_expect_eq(machine_state_hash(again->machine), machine_state_hash(f->machine));
    cr_expect_eq(again->journal.len, f->journal.len);
    cr_expect_eq(memcmp(again->journal.data, f->journal.data, f->journal.len), 0);
    fixture_destroy(again);
}
