/* tests/shard/engine/shard_test.c - a shard as a whole: recovery, the order of puts and reads, coming to rest. */
#include "shard/domain/delivery/delivery.h"
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(shard, .fini = rig_close);

/* ---- coming to rest ---- */

Test(shard, a_closing_shard_refuses_writes_and_answers_reads)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    cr_assert_eq(rig_say(alice, bob, "1", "one"), ERROR_NONE);
    rig_know(bob, "phone");
    shard_begin_close(rig.shards[0]);
    cr_expect(shard_quiet(rig.shards[0]));
    cr_expect_eq(rig_say(alice, bob, "2", "two"), ERROR_NOT_READY);
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    struct actor_record actor = rig_actor(bob, "phone");
    rig.stores_held = true;
    rig_send(&actor, 0, 0, "/v1/chat/sync", &in.base);
    cr_expect(!shard_quiet(rig.shards[0]), "a read is with the storage thread");
    rig.stores_held = false;
    rig_pump();
    cr_expect_eq(rig.reply->error, ERROR_NONE);
    cr_expect(shard_quiet(rig.shards[0]));
}

/* More is collected than the disk has room for, and the disk stays full. */
Test(shard, a_full_disk_does_not_keep_a_shard_from_closing)
{
    rig_begin(1);
    rig.log_pending_max_bytes = 4 << 20;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    cr_assert_eq(rig_say(alice, bob, "0", "zero"), ERROR_NONE);
    fake_disk_set_segments_max(rig.disks[0], fake_disk_segment_count(rig.disks[0]));
    rig.disks_held = true;
    static char body[60000];
    memset(body, 'x', sizeof body);
    struct actor_record actor = rig_actor(alice, "phone");
    for (int i = 1; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
        in.to_user_id = bob;
        in.client_msg_id = id;
        in.body.len = sizeof body;
        in.body.data = (uint8_t *)body;
        rig_send(&actor, 0, 0, "/v1/chat/send", &in.base);
    }
    cr_expect_eq(rig.reply_count, 1);
    rig.disks_held = false;
    rig_pump();
    cr_expect_lt(rig.reply_count, 40, "some did not fit");
    cr_expect(!shard_idle(rig.shards[0]));
    cr_expect_eq(rig_say(alice, bob, "late", "no"), ERROR_DISK_FULL);
    shard_begin_close(rig.shards[0]);
    rig_pump();
    cr_expect(shard_quiet(rig.shards[0]));
    shard_close(rig.shards[0]);
    rig.shards[0] = NULL;
}

/* ---- puts before reads ---- */

static uint64_t open_room(uint64_t owner, uint64_t member)
{
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    char name[] = "large";
    in.name = name;
    in.joinable = true;
    in.member_ids = &member;
    in.n_member_ids = 1;
    struct actor_record actor = rig_actor(owner, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *made = rig_replied(&ringpost__v1__create_room_response__descriptor);
    uint64_t room_id = made->room->room_id;
    ringpost__v1__create_room_response__free_unpacked(made, NULL);
    return room_id;
}

/* The session's look at its user's large rooms is asked between two commands of one batch: it must see the first. */
Test(shard, a_read_between_two_commands_of_a_batch_sees_the_first)
{
    rig_begin(1);
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 1;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob"), carol = rig_add_user(0, "carol");
    uint64_t first = open_room(alice, bob), second = open_room(alice, bob);
    struct actor_record actor = rig_actor(carol, "phone");
    Ringpost__V1__JoinRoomRequest join = RINGPOST__V1__JOIN_ROOM_REQUEST__INIT;
    join.room_id = first;
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/join", &join.base), ERROR_NONE);
    rig.disks_held = true;
    cr_assert_eq(rig_say(alice, bob, "1", "the write that the next two wait behind"), ERROR_COUNT);
    join.room_id = second;
    rig_send(&actor, 0, 0, "/v1/room/join", &join.base);
    rig_pump();
    Ringpost__V1__AuthRequest auth = RINGPOST__V1__AUTH_REQUEST__INIT;
    struct actor_record tablet = rig_actor(carol, "tablet");
    rig_send(&tablet, 0, 0, "/v1/account/auth", &auth.base); /* lists the device by a command of its own */
    rig_pump();
    cr_assert_null(rig.bound);
    rig.disks_held = false;
    rig_pump();
    cr_assert_not_null(rig.bound);
    uint32_t online = 0;
    (void)roster_online(delivery_of(shard_machine(rig.shards[0]))->roster, first, &online);
    cr_expect_eq(online, 1);
    (void)roster_online(delivery_of(shard_machine(rig.shards[0]))->roster, second, &online);
    cr_expect_eq(online, 1, "joined just before the session opened");
}
