/* tests/shard/engine/catch_up_test.c - what was acknowledged by a room's shard holds for the member's home shard as well, which hears of it later. */
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>

/* Letters of streams that are still on their way. */
static struct letter *late[16];
static uint32_t late_count;

/* Everything moves but those. */
static void pump_all_but_streams(void)
{
    rig.letters_held = true;
    for (bool moved = true; moved;) {
        moved = rig_turn();
        struct letter *letter = rig_take_letter();
        if (letter == NULL) continue;
        moved = true;
        cr_assert_lt(late_count, COUNT_OF(late));
        if (letter->kind == LETTER_STREAM) late[late_count++] = letter;
        else shard_receive(rig.shards[letter->to_shard], letter);
    }
    rig.letters_held = false;
}

static void deliver_streams(void)
{
    for (uint32_t i = 0; i < late_count; i++) shard_receive(rig.shards[late[i]->to_shard], late[i]);
    late_count = 0;
    rig_pump();
}

static uint64_t ada, bob, eve, room_id;

/* A room on shard 0, where ada lives; bob and eve live on shard 1. */
static void begin(void)
{
    rig_begin(2);
    rig_open();
    ada = rig_add_user(0, "ada");
    bob = rig_add_user(1, "bob");
    eve = rig_add_user(1, "eve");
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    in.name = (char *)"room";
    in.joinable = true;
    struct actor_record actor = rig_actor(ada, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *made = rig_replied(&ringpost__v1__create_room_response__descriptor);
    room_id = made->room->room_id;
    protobuf_c_message_free_unpacked(&made->base, NULL);
}

static void join(uint64_t user_id)
{
    Ringpost__V1__JoinRoomRequest in = RINGPOST__V1__JOIN_ROOM_REQUEST__INIT;
    in.room_id = room_id;
    struct actor_record actor = rig_actor(user_id, "phone");
    uint32_t replies = rig.reply_count;
    rig_send(&actor, 0, 0, "/v1/room/join", &in.base);
    pump_all_but_streams();
    cr_assert_eq(rig.reply_count, replies + 1);
    cr_assert_eq(rig.reply->error, ERROR_NONE);
}

static void mark_read(uint64_t user_id, uint64_t in_room)
{
    Ringpost__V1__MarkReadRequest in = RINGPOST__V1__MARK_READ_REQUEST__INIT;
    in.room_id = in_room;
    in.seq = 1;
    struct actor_record actor = rig_actor(user_id, "phone");
    rig_send(&actor, 0, 0, "/v1/chat/mark_read", &in.base);
    pump_all_but_streams();
}

Test(catch_up, a_join_that_was_acknowledged_holds_at_home_before_home_hears_of_it)
{
    begin();
    join(bob);
    cr_assert_gt(late_count, 0, "home does not know yet");
    uint32_t replies = rig.reply_count;
    mark_read(bob, room_id);
    cr_expect_eq(rig.reply_count, replies, "it waits for that");
    deliver_streams();
    cr_expect_eq(rig.reply_count, replies + 1);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
    rig_close();
}

Test(catch_up, who_is_no_member_hears_that_at_once)
{
    begin();
    uint32_t replies = rig.reply_count;
    mark_read(eve, room_id);
    mark_read(eve, id_make(0, ID_ROOM, 4711));
    mark_read(eve, id_make(77, ID_ROOM, 1)); /* a shard that there is not */
    mark_read(ada, id_make(0, ID_ROOM, 4711));
    cr_expect_eq(rig.reply_count, replies + 4);
    cr_expect_eq(rig.reply->error, ERROR_ROOM_NOT_FOUND);
    rig_close();
}

/* News of others are on their way, and say nothing about eve. */
Test(catch_up, a_stranger_waits_for_what_was_on_its_way_and_is_refused)
{
    begin();
    join(bob);
    uint32_t replies = rig.reply_count;
    mark_read(eve, room_id);
    cr_expect_eq(rig.reply_count, replies);
    deliver_streams();
    cr_expect_eq(rig.reply_count, replies + 1);
    cr_expect_eq(rig.reply->error, ERROR_ROOM_NOT_FOUND);
    rig_close();
}

Test(catch_up, who_waits_for_a_stream_that_does_not_come_is_refused_in_time)
{
    begin();
    join(bob);
    mark_read(bob, room_id);
    uint32_t replies = rig.reply_count;
    rig.now_ms += CALL_TIMEOUT_MS - 1;
    shard_tick(rig.shards[1]);
    cr_expect_eq(rig.reply_count, replies);
    rig.now_ms++;
    shard_tick(rig.shards[1]);
    cr_assert_eq(rig.reply_count, replies + 1);
    cr_expect_eq(rig.reply->error, ERROR_NO_ANSWER);
    cr_expect_eq(shard_parked(rig.shards[1]), 0);
    deliver_streams();
    mark_read(bob, room_id);
    cr_expect_eq(rig.reply_count, replies + 2);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
    rig_close();
}

Test(catch_up, they_go_on_in_the_order_they_came)
{
    begin();
    join(bob);
    mark_read(bob, room_id);
    mark_read(eve, room_id);
    cr_expect_eq(shard_parked(rig.shards[1]), 2);
    const struct request *first = rig.shards[1]->behind;
    cr_expect_eq(first->actor.user_id, bob);
    cr_expect_eq(first->next_behind->actor.user_id, eve);
    cr_expect_null(first->next_behind->next_behind);
    uint32_t replies = rig.reply_count;
    deliver_streams();
    cr_assert_eq(rig.reply_count, replies + 2);
    cr_expect_null(rig.shards[1]->behind);
    cr_expect_eq(shard_parked(rig.shards[1]), 0);
    rig_close();
}

Test(catch_up, who_waits_is_bounded_like_those_that_wait_for_the_store)
{
    begin();
    rig.shards[1]->options.limits.requests_parked_max = 2;
    join(bob);
    mark_read(bob, room_id);
    cr_expect(shard_is_full(rig.shards[1]), "sockets that ask more are not read from");
    mark_read(eve, room_id);
    uint32_t replies = rig.reply_count;
    mark_read(bob, room_id);
    cr_assert_eq(rig.reply_count, replies + 1);
    cr_expect_eq(rig.reply->error, ERROR_SERVER_BUSY);
    deliver_streams();
    cr_expect_eq(rig.reply_count, replies + 3);
    cr_expect_not(shard_is_full(rig.shards[1]));
    rig_close();
}

Test(catch_up, a_shard_that_closes_drops_who_waits)
{
    begin();
    join(bob);
    mark_read(bob, room_id);
    for (uint32_t i = 0; i < late_count; i++) letter_free(late[i]);
    for (uint16_t i = 0; i < 2; i++) {
        shard_begin_close(rig.shards[i]);
        shard_close(rig.shards[i]);
        rig.shards[i] = NULL;
    }
}

/* Nothing will come from a damaged shard, and nothing is applied in one. */
Test(catch_up, nobody_waits_for_a_damaged_shard_or_in_one)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        begin();
        join(bob);
        uint32_t replies = rig.reply_count;
        if (damaged == 1) mark_read(bob, room_id); /* waits at home, which is the damaged one */
        cr_expect_eq(rig.reply_count, replies);
        fake_store_set_damage(rig.stores[damaged], "Corruption: block 7", true);
        pump_all_but_streams();
        if (damaged == 0) mark_read(bob, room_id);
        cr_expect_eq(rig.reply_count, replies + 1);
        cr_expect_eq(rig.reply->error, ERROR_SHARD_DAMAGED);
        deliver_streams();
        cr_expect_eq(rig.shards[1]->requests_open, 0);
        cr_expect_eq(shard_parked(rig.shards[1]), 0);
        rig_close();
    }
}
