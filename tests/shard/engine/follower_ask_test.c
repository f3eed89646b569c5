/* tests/shard/engine/follower_ask_test.c - asks against a whole shard: every one is answered exactly once, whatever becomes of the shard. */
#include "shard/engine/follower_ask.h"
#include "shard/domain/followed.h"
#include "shard/engine/shard_internal.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t alice, bob;
static uint32_t answered, said;
static struct follower_ask ask;

static void on_done(struct follower_ask *done)
{
    cr_assert_eq(done, &ask);
    answered++;
}

static void open_rig(void)
{
    rig_open();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(0, "bob");
}

static void setup(void) { rig_begin(1); }
TestSuite(follower_ask, .init = setup);

static void put(int kind)
{
    answered = 0;
    ask.kind = kind;
    ask.done = on_done;
    memcpy(ask.name, "export", sizeof "export");
    follower_ask(rig.shards[0], &ask);
}

static enum follower_outcome asked(int kind)
{
    put(kind);
    rig_pump();
    cr_assert_eq(answered, 1, "kind %d", kind);
    return ask.outcome;
}

static void say(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", said++);
        cr_assert_eq(rig_say(alice, bob, id, "hello"), ERROR_NONE);
    }
}

static void want_all(uint64_t number)
{
    writer_reset(&ask.page.bytes);
    ask.page = (struct follower_page){.bytes = ask.page.bytes,
                                      .place.number = number,
                                      .kinds = UINT64_MAX,
                                      .entries_max = 100,
                                      .bytes_max = 1 << 16,
                                      .bodies = true};
}

static void begin(void)
{
    ask = (struct follower_ask){.start = FOLLOWER_NOW};
    cr_assert_eq(asked(FOLLOWER_ASK_BEGIN), FOLLOWER_OUTCOME_OK);
}

static void close_rig(void)
{
    writer_deinit(&ask.page.bytes);
    rig_close();
}

Test(follower_ask, a_page_comes_at_once_when_there_is_something)
{
    open_rig();
    begin();
    say(2);
    want_all(0);
    cr_assert_eq(asked(FOLLOWER_ASK_READ), FOLLOWER_OUTCOME_OK);
    cr_expect_eq(ask.page.next.number, ask.newest);
    cr_expect_eq(ask.page.count, 6, "a device, a room, two members, two messages");
    ask.page.place = ask.page.next;
    cr_assert_eq(asked(FOLLOWER_ASK_ACK), FOLLOWER_OUTCOME_OK);
    cr_expect_eq(follower_find(shard_machine(rig.shards[0])->followers, SLICE_TEXT("export"))->place.number, 6);
    close_rig();
}

Test(follower_ask, who_has_everything_waits_for_what_happens)
{
    open_rig();
    begin();
    want_all(0);
    put(FOLLOWER_ASK_READ);
    rig_pump();
    cr_expect_eq(answered, 0);
    say(1);
    rig_pump();
    cr_assert_eq(answered, 1);
    cr_expect_gt(ask.page.count, 0);
    close_rig();
}

Test(follower_ask, nobody_waits_for_ever)
{
    open_rig();
    begin();
    want_all(0);
    put(FOLLOWER_ASK_READ);
    shard_tick(rig.shards[0]);
    cr_expect_eq(answered, 0, "it may have come a moment ago");
    shard_tick(rig.shards[0]);
    cr_assert_eq(answered, 1);
    cr_expect_eq(ask.outcome, FOLLOWER_OUTCOME_OK);
    cr_expect_eq(ask.page.count, 0);
    close_rig();
}

Test(follower_ask, a_shard_that_stops_answers_who_waits)
{
    open_rig();
    begin();
    want_all(0);
    put(FOLLOWER_ASK_READ);
    shard_begin_close(rig.shards[0]);
    cr_assert_eq(answered, 1);
    cr_expect_eq(ask.outcome, FOLLOWER_OUTCOME_FAILED);
    cr_expect_eq(asked(FOLLOWER_ASK_STATUS), FOLLOWER_OUTCOME_FAILED);
    close_rig();
}

Test(follower_ask, who_falls_too_far_behind_is_lost_and_comes_back_by_a_rebuilding)
{
    rig.limits.follower_backlog_max = 10;
    open_rig();
    begin();
    say(4);
    shard_tick(rig.shards[0]);
    rig_pump();
    want_all(0);
    cr_expect_eq(asked(FOLLOWER_ASK_READ), FOLLOWER_OUTCOME_OK, "not yet");
    say(4);
    shard_tick(rig.shards[0]);
    rig_pump();
    want_all(0);
    cr_expect_eq(asked(FOLLOWER_ASK_READ), FOLLOWER_OUTCOME_LOST);
    cr_expect_eq(asked(FOLLOWER_ASK_ACK), FOLLOWER_OUTCOME_LOST);
    cr_expect_eq(asked(FOLLOWER_ASK_STATUS), FOLLOWER_OUTCOME_OK);
    cr_assert_eq(ask.status_count, 1);
    cr_expect(ask.status[0].lost);
    ask.start = FOLLOWER_NOW;
    cr_expect_eq(asked(FOLLOWER_ASK_BEGIN), FOLLOWER_OUTCOME_LOST);
    ask.start = FOLLOWER_REBUILD;
    cr_assert_eq(asked(FOLLOWER_ASK_BEGIN), FOLLOWER_OUTCOME_OK);
    cr_expect(ask.place.rebuilding);
    want_all(0);
    ask.page.place = ask.place;
    cr_assert_eq(asked(FOLLOWER_ASK_READ), FOLLOWER_OUTCOME_OK);
    cr_expect_eq(ask.page.count, 2 + 1 + 2 + 8, "users, a room, its members, all messages");
    cr_expect_not(ask.page.next.rebuilding);
    close_rig();
}

Test(follower_ask, one_that_is_removed_is_read_no_more)
{
    open_rig();
    begin();
    ask.generation = 0;
    cr_assert_eq(asked(FOLLOWER_ASK_END), FOLLOWER_OUTCOME_OK);
    cr_expect_eq(asked(FOLLOWER_ASK_END), FOLLOWER_OUTCOME_UNKNOWN);
    want_all(0);
    cr_expect_eq(asked(FOLLOWER_ASK_READ), FOLLOWER_OUTCOME_UNKNOWN);
    cr_expect_not(shard_machine(rig.shards[0])->followed);
    close_rig();
}

Test(follower_ask, a_position_that_is_not_kept_is_refused)
{
    open_rig();
    ask = (struct follower_ask){.start = FOLLOWER_AFTER, .page.place.number = 1};
    cr_expect_eq(asked(FOLLOWER_ASK_BEGIN), FOLLOWER_OUTCOME_NOT_KEPT);
    ask.page.place.number = 0;
    cr_expect_eq(asked(FOLLOWER_ASK_BEGIN), FOLLOWER_OUTCOME_OK);
    close_rig();
}

Test(follower_ask, a_restart_keeps_who_follows_and_how_far_it_was)
{
    open_rig();
    begin();
    say(3);
    want_all(0);
    ask.page.place.number = 2;
    cr_assert_eq(asked(FOLLOWER_ASK_ACK), FOLLOWER_OUTCOME_OK);
    uint64_t newest = ask.newest;
    rig_close_shard(0);
    rig_open_shard(0);
    rig_pump();
    ask.start = FOLLOWER_NOW;
    cr_assert_eq(asked(FOLLOWER_ASK_BEGIN), FOLLOWER_OUTCOME_OK);
    cr_expect_eq(ask.place.number, 2);
    want_all(2);
    cr_assert_eq(asked(FOLLOWER_ASK_READ), FOLLOWER_OUTCOME_OK);
    cr_expect_eq(ask.page.next.number, newest);
    close_rig();
}
