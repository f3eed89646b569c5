/* tests/shard/engine/acknowledge_test.c - what other shards have applied of a shard's streams: when its log says so, and what a replay makes of it. */
#include "shard/domain/records.h"
#include "shard/engine/shard_internal.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t alice, dave, bob, carol; /* on shard 0, where the rooms are, two; on 1; on 2 */
static uint32_t said;

static void setup(void)
{
    rig_begin(3);
    rig_open();
    alice = rig_add_user(0, "alice");
    dave = rig_add_user(0, "dave");
    bob = rig_add_user(1, "bob");
    carol = rig_add_user(2, "carol");
    rig_know(alice, "phone");
}

TestSuite(acknowledge, .init = setup, .fini = rig_close);

/* Does not pump. */
static void say(uint64_t to)
{
    char id[16];
    snprintf(id, sizeof id, "%u", said++);
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    in.to_user_id = to;
    in.client_msg_id = id;
    in.body = (ProtobufCBinaryData){5, (uint8_t *)"hello"};
    struct actor_record actor = rig_actor(alice, "phone");
    rig_send(&actor, 0, 0, "/v1/chat/send", &in.base);
}

/* All moves, but what comes of an acknowledgement. */
static void turn_until_still(void)
{
    while (rig_turn()) continue;
}

static struct stream_position to(uint16_t peer) { return stream_position(rig.shards[0]->machine->streams, peer); }
static uint64_t last_index(void) { return commitlog_last_index(shard_log(rig.shards[0])); }

static uint64_t rows_of_outbox(void)
{
    uint64_t count = 0;
    for (uint64_t first = 1; first < 100; first++)
        for (uint16_t peer = 1; peer < 3; peer++) {
            struct key key = key_two(KEY_OUTBOX, peer, first);
            count += store_get(fake_store_view(rig.stores[0]), key_slice(&key), NULL) == RESULT_OK;
        }
    return count;
}

Test(acknowledge, an_idle_shard_writes_it_at_the_tick_and_not_before)
{
    say(bob);
    say(carol);
    turn_until_still();
    uint64_t before = last_index();
    cr_expect(to(1).acknowledged == 0 && to(2).acknowledged == 0 && rows_of_outbox() > 0);
    shard_tick(rig.shards[0]);
    turn_until_still();
    cr_expect_eq(last_index(), before + 1, "one command for both peers");
    cr_expect(to(1).acknowledged == to(1).emitted && to(2).acknowledged == to(2).emitted);
    cr_expect_eq(rows_of_outbox(), 0);
    shard_tick(rig.shards[0]);
    turn_until_still();
    cr_expect_eq(last_index(), before + 1, "said once");
}

Test(acknowledge, it_joins_the_batch_that_is_written_anyway)
{
    say(dave);
    say(bob);
    turn_until_still();
    const uint64_t emitted = to(1).emitted, before = last_index(), commits = rig.metrics.log_commits;
    for (int i = 0; i < 5; i++) say(dave); /* nobody else writes */
    turn_until_still();
    cr_expect_eq(last_index(), before + 6, "five sends and one acknowledgement");
    cr_expect_eq(rig.metrics.log_commits, commits + 1);
    cr_expect_eq(to(1).acknowledged, emitted);
}

Test(acknowledge, an_outbox_that_is_half_full_does_not_wait)
{
    for (uint32_t i = 0; i < rig.machine.outbox_entries_max / 2 + 1; i++) say(bob);
    turn_until_still();
    cr_expect(to(1).acknowledged > 0 && to(1).emitted - to(1).acknowledged <= rig.machine.outbox_entries_max / 2);
}

Test(acknowledge, before_it_is_durable_nothing_is_gone)
{
    say(bob);
    turn_until_still();
    uint64_t rows = rows_of_outbox();
    rig.disks_held = true;
    shard_tick(rig.shards[0]);
    shard_flush(rig.shards[0]);
    shard_apply(rig.shards[0], 10);
    cr_expect_eq(to(1).acknowledged, 0);
    cr_expect_eq(rows_of_outbox(), rows);
    rig.disks_held = false;
    turn_until_still();
    cr_expect_eq(to(1).acknowledged, to(1).emitted);
}

Test(acknowledge, a_replay_comes_to_the_same)
{
    for (int i = 0; i < 3; i++) say(bob);
    rig_pump();
    say(bob);
    turn_until_still();
    struct stream_position before = to(1);
    cr_assert(before.acknowledged > 0 && before.acknowledged < before.emitted);
    rig_close_shard(0);
    fake_store_crash_to(rig.stores[0], 0, NULL); /* all of the log is replayed, in one batch */
    rig_open_shard(0);
    cr_expect(to(1).acknowledged == before.emitted || to(1).acknowledged == before.acknowledged, "closing may have logged the rest");
    cr_expect_eq(stream_waiting(rig.shards[0]->machine->streams), to(1).emitted - to(1).acknowledged);
    struct stream_position replayed = to(1);
    rig_close_shard(0);
    rig_open_shard(0); /* and from the store */
    cr_expect(to(1).acknowledged >= replayed.acknowledged && to(1).emitted == replayed.emitted);
}

Test(acknowledge, of_what_never_was_is_refused)
{
    say(bob);
    turn_until_still();
    struct writer w;
    writer_init(&w, 0);
    received_record_write(&w, &(struct received_record){.received = to(1).emitted + 1});
    for (uint32_t cut = 0; cut < 2; cut++) {
        struct letter *letter = letter_make(LETTER_STREAM_ACK, 1, 0, NULL, slice_of(w.data, (uint32_t)w.len - cut));
        letter->number = to(1).emitted + 1;
        shard_receive(rig.shards[0], letter);
        cr_expect_eq(rig.metrics.letters_refused, cut + 1);
    }
    writer_deinit(&w);
    rig_pump();
    cr_expect_eq(to(1).acknowledged, to(1).emitted);
}

Test(acknowledge, a_full_log_delays_it)
{
    say(bob);
    turn_until_still();
    commitlog_set_shut(shard_log(rig.shards[0]), true);
    shard_tick(rig.shards[0]);
    turn_until_still();
    cr_expect_eq(to(1).acknowledged, 0);
    commitlog_set_shut(shard_log(rig.shards[0]), false);
    shard_tick(rig.shards[0]);
    turn_until_still();
    cr_expect_eq(to(1).acknowledged, to(1).emitted);
}
