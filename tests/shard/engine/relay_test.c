/* tests/shard/engine/relay_test.c - what happened on one shard arrives on another exactly once and in order: repeats, lost letters, restarts of
 * either side, cold entities, a full log, a store that is behind. */
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t alice, bob; /* on shard 0, where their room is; on shard 1 */
static uint32_t said;

static void setup(void)
{
    rig_begin(2);
    rig.machine.inbox_events_max = 10000;
}

static void open_rig(void)
{
    rig_open();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(1, "bob");
    rig_know(bob, "phone");
    cr_assert_eq(rig_say(alice, bob, "first", "hello"), ERROR_NONE);
    said = 1;
}

TestSuite(relay, .init = setup, .fini = rig_close);

static void say(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", said++);
        cr_assert_eq(rig_say(alice, bob, id, "hello again"), ERROR_NONE);
    }
}

/* Bob's stream: the room, then every message said so far, once, in order. */
static void check_arrived(uint32_t want)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    in.limit = 500;
    struct actor_record actor = rig_actor(bob, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/sync", &in.base), ERROR_NONE);
    Ringpost__V1__SyncResponse *sync = rig_replied(&ringpost__v1__sync_response__descriptor);
    cr_expect_eq(sync->n_events, want + 1, "%zu", sync->n_events);
    for (size_t i = 1; i < sync->n_events; i++) {
        cr_assert_eq(sync->events[i]->kind_case, RINGPOST__V1__EVENT__KIND_MESSAGE);
        cr_expect_eq(sync->events[i]->message->seq, i);
    }
    ringpost__v1__sync_response__free_unpacked(sync, NULL);
}

static void lose_letters(void)
{
    for (struct letter *letter; (letter = rig_take_letter()) != NULL;) letter_free(letter);
}

static uint64_t waiting(uint16_t shard) { return stream_waiting(shard_machine(rig.shards[shard])->streams); }

/* ---- exactly once ---- */

Test(relay, entries_arrive_in_order_and_are_acknowledged)
{
    open_rig();
    say(20);
    check_arrived(21);
    cr_expect_eq(waiting(0), 0);
    cr_expect_eq(rig.metrics.stream_redelivered, 0);
}

Test(relay, a_repeated_letter_is_dropped_and_acknowledged_again)
{
    open_rig();
    rig.letters_held = true;
    say(3);
    struct letter *copies[16];
    uint32_t count = 0;
    for (struct letter *letter; (letter = rig_take_letter()) != NULL;) {
        if (letter->kind == LETTER_STREAM) {
            copies[count] = letter_make(letter->kind, letter->from_shard, letter->to_shard, NULL, letter_payload(letter));
            copies[count++]->number = letter->number;
        }
        shard_receive(rig.shards[letter->to_shard], letter);
    }
    cr_assert_gt(count, 0);
    for (uint32_t i = 0; i < count; i++) shard_receive(rig.shards[1], copies[i]); /* before the first are durable */
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig.metrics.stream_redelivered, 3);
    check_arrived(4);
    cr_expect_eq(waiting(0), 0);
}

Test(relay, the_source_sends_again_after_its_restart)
{
    open_rig();
    rig.letters_held = true;
    say(5);
    cr_expect_eq(waiting(0), 5);
    lose_letters();
    rig_close_shard(0);
    fake_store_crash(rig.stores[0], NULL);
    rig_open_shard(0);
    rig.letters_held = false;
    rig_pump();
    check_arrived(6);
    cr_expect_eq(waiting(0), 0);
    say(3);
    check_arrived(9);
}

Test(relay, the_destination_drops_what_it_had_before_its_restart)
{
    open_rig();
    rig.letters_held = true;
    say(5);
    while (rig.posted_first != NULL) rig_deliver();
    rig_pump(); /* applied there; the acknowledgements are under way */
    lose_letters();
    cr_expect_eq(waiting(0), 5);
    rig_close_shard(1);
    fake_store_crash(rig.stores[1], NULL);
    rig_open_shard(1);
    rig_close_shard(0);
    rig_open_shard(0);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig.metrics.stream_redelivered, 5);
    check_arrived(6);
    cr_expect_eq(waiting(0), 0);
}

Test(relay, a_bundle_known_in_part_is_taken_from_there)
{
    open_rig();
    rig.letters_held = true;
    say(2);
    shard_receive(rig.shards[1], rig_take_letter());
    rig_pump();
    lose_letters();
    rig_close_shard(0);
    fake_store_crash_to(rig.stores[0], 0, NULL);
    rig_open_shard(0); /* replays all in one batch, and all goes into one bundle */
    say(1);
    uint64_t had = rig.metrics.stream_redelivered;
    rig.letters_held = false;
    rig_pump();
    cr_expect_gt(rig.metrics.stream_redelivered, had);
    check_arrived(4);
    cr_expect_eq(waiting(0), 0);
}

/* ---- waiting ---- */

Test(relay, cold_entities_are_waited_for_in_order)
{
    rig.machine.entities_max = 1;
    open_rig();
    rig.letters_held = true;
    say(30);
    rig.letters_held = false;
    rig_pump();
    check_arrived(31);
}

Test(relay, a_full_log_stalls_the_stream_and_loses_nothing)
{
    rig.log_pending_max_bytes = 4096;
    open_rig();
    rig.letters_held = true;
    say(60);
    rig.disks_held = true;
    rig.letters_held = false;
    rig_pump();
    cr_expect_not_null(rig.shards[1]->sources[0].stalled);
    cr_expect_gt(waiting(0), 0);
    rig.disks_held = false;
    rig_pump();
    cr_expect_null(rig.shards[1]->sources[0].stalled);
    check_arrived(61);
    cr_expect_eq(waiting(0), 0);
}

Test(relay, a_store_that_is_behind_stalls_the_stream)
{
    rig.limits.store_backlog_max_bytes = 1;
    open_rig();
    rig.letters_held = true;
    say(5);
    struct letter *first = rig_take_letter();
    cr_assert_not_null(first);
    rig.stores_held = true;
    shard_receive(rig.shards[1], first);
    rig_pump(); /* applied: from now on the store is behind */
    uint64_t applied = stream_applied(shard_machine(rig.shards[1])->streams, 0);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(stream_applied(shard_machine(rig.shards[1])->streams, 0), applied, "its backlog does not grow");
    rig.stores_held = false;
    rig_pump();
    check_arrived(6);
}

Test(relay, a_full_outbox_refuses_the_source_until_it_drains)
{
    rig.machine.outbox_entries_max = 4;
    open_rig();
    rig.letters_held = true;
    say(4);
    cr_expect_eq(rig_say(alice, bob, "more", "no"), ERROR_SERVER_BUSY);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig_say(alice, bob, "more", "yes"), ERROR_NONE);
    check_arrived(6);
}

Test(relay, a_closing_shard_still_takes_what_has_happened)
{
    open_rig();
    rig.letters_held = true;
    say(2);
    shard_begin_close(rig.shards[1]);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(waiting(0), 0);
    cr_expect(shard_quiet(rig.shards[1]));
    check_arrived(3);
}

/* ---- a damaged shard ---- */

static enum error ask_conversations(uint64_t user)
{
    Ringpost__V1__ConversationsRequest in = RINGPOST__V1__CONVERSATIONS_REQUEST__INIT;
    struct actor_record actor = rig_actor(user, "phone");
    return rig_call(&actor, 0, 0, "/v1/chat/conversations", &in.base);
}

Test(relay, a_damaged_shard_serves_nothing_while_its_stream_waits_and_has_all_when_it_is_whole_again)
{
    open_rig();
    struct session *session = rig_come(bob, "phone");
    cr_assert_not_null(session);
    fake_store_set_damage(rig.stores[1], "Corruption: block 7", true);
    rig_pump();
    cr_expect_str_eq(shard_damage(rig.shards[1]), "Corruption: block 7");
    cr_expect_null(shard_damage(rig.shards[0]));
    cr_expect_eq(rig.ended, session);
    cr_expect_eq(rig.close_code, CLOSE_DAMAGED);
    for (int life = 0; life < 2; life++) { /* in which it was noticed; that began with it */
        cr_expect_eq(ask_conversations(bob), ERROR_SHARD_DAMAGED);
        cr_expect_eq(ask_conversations(alice), ERROR_NONE);
        cr_expect_eq(rig_say(bob, alice, "x", "x"), ERROR_SHARD_DAMAGED);
        say(3);
        cr_expect_eq(waiting(0), 3 * (life + 1), "its source keeps what is for it");
        cr_expect_eq(rig.metrics.shards_damaged, 1 + (uint64_t)life, "counted once in each life");
        shard_tick(rig.shards[1]);
        shard_seal(rig.shards[1]);
        rig_pump();
        cr_expect(shard_idle(rig.shards[1]) && shard_quiet(rig.shards[1]));
        for (uint16_t i = 0; i < 2; i++) rig_close_shard(i);
        if (life == 1) fake_store_set_damage(rig.stores[1], NULL, true);
        for (uint16_t i = 0; i < 2; i++) rig_open_shard(i);
        rig_pump();
    }
    cr_expect_null(shard_damage(rig.shards[1]));
    check_arrived(7);
}

Test(relay, what_is_under_way_in_a_shard_when_it_is_damaged_is_answered)
{
    open_rig();
    struct actor_record actor = rig_actor(bob, "phone");
    rig.letters_held = true;
    say(2); /* entries of a stream, which are not in its log yet */
    rig.disks_held = true;
    Ringpost__V1__CreateRoomRequest room = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    room.name = (char *)(uintptr_t)"of bob alone";
    rig_send(&actor, 0, 0, "/v1/room/create", &room.base);
    rig.letters_held = false;
    rig_pump();
    uint32_t replies = rig.reply_count;
    fake_store_set_damage(rig.stores[1], "Corruption: block 7", true);
    rig_pump();
    cr_expect_eq(rig.reply_count, replies + 1);
    cr_expect_eq(rig.reply->error, ERROR_SHARD_DAMAGED);
    cr_expect_eq(rig.shards[1]->requests_open, 0);
    rig.disks_held = false;
    rig_pump();
    cr_expect(shard_quiet(rig.shards[1]));
}
