/* tests/shard/engine/relay_test.c - what happened on one shard arrives on another exactly once and in order: repeats, lost letters, restarts of
 * either side, cold entities, a full log, a store that is behind. */
#include "shard/shard_fixture.h"
#include "shard/domain/relays.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t alice, bob; /* on shard 0, where their room is; on shard 1 */
static uint32_t said;

static void setup(void)
{
    rig_begin(2);
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 10000;
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

/* ---- a lossy neighbour ---- */

static void tick_after(uint32_t ms)
{
    rig.now_ms += ms;
    for (uint16_t i = 0; i < rig.shard_count; i++) shard_tick(rig.shards[i]);
    rig_pump();
}

/* Letters of that kind that are under way, `keep` of the first of them; the others are lost. */
static void lose_all_but(uint16_t kind, uint32_t keep)
{
    struct letter *first = rig.posted_first, *next;
    uint32_t seen = 0;
    rig.posted_first = NULL;
    rig.posted_last = &rig.posted_first;
    for (struct letter *letter = first; letter != NULL; letter = next) {
        next = letter->next;
        letter->next = NULL;
        if (letter->kind == kind && seen++ >= keep) {
            letter_free(letter);
            continue;
        }
        *rig.posted_last = letter;
        rig.posted_last = &letter->next;
    }
}

Test(relay, of_a_gap_the_source_is_told_and_posts_what_is_missing)
{
    open_rig();
    rig.letters_held = true;
    say(6);
    letter_free(rig_take_letter()); /* the first */
    rig.letters_held = false;
    rig_pump();
    check_arrived(7);
    cr_expect_eq(waiting(0), 0);
    cr_expect_gt(rig.metrics.stream_gaps, 0);
    cr_expect_eq(rig.metrics.stream_asked_again, 0);
}

Test(relay, the_last_ones_lost_are_found_out_in_time)
{
    open_rig();
    rig.letters_held = true;
    say(6);
    lose_all_but(LETTER_STREAM, 2);
    rig.letters_held = false;
    rig_pump();
    cr_expect_gt(waiting(0), 0);
    tick_after(1);
    tick_after(STREAM_RESEND_MS_MIN);
    check_arrived(7);
    cr_expect_eq(waiting(0), 0);
    cr_expect_eq(rig.metrics.stream_asked_again, 1);
}

Test(relay, a_lost_acknowledgement_is_asked_for)
{
    open_rig();
    rig.letters_held = true;
    say(4);
    while (rig.posted_first != NULL) rig_deliver();
    rig_pump();
    lose_letters();
    rig.letters_held = false;
    tick_after(1);
    cr_expect_eq(waiting(0), 4);
    tick_after(STREAM_RESEND_MS_MIN);
    check_arrived(5);
    cr_expect_eq(waiting(0), 0);
}

Test(relay, letters_may_come_in_any_order_and_any_number)
{
    open_rig();
    rig.letters_held = true;
    say(8);
    struct letter *letters[16];
    uint32_t count = 0;
    for (struct letter *letter; (letter = rig_take_letter()) != NULL; count++) letters[count] = letter;
    cr_assert_geq(count, 4);
    rig.letters_held = false;
    for (uint32_t i = count; i-- > 0;) {
        shard_receive(rig.shards[1], letter_copy(letters[i]));
        rig_pump();
        shard_receive(rig.shards[1], letters[i]);
        rig_pump();
    }
    check_arrived(9);
    cr_expect_eq(waiting(0), 0);
}

/* Between two looks at the clock: 250 ms are not over. */
Test(relay, of_one_gap_the_source_is_told_once)
{
    open_rig();
    rig.letters_held = true;
    say(4);
    letter_free(rig_take_letter());
    uint32_t told = 0;
    for (struct letter *letter; (letter = rig_take_letter()) != NULL;) {
        if (letter->kind == LETTER_STREAM) {
            shard_receive(rig.shards[1], letter);
            shard_apply(rig.shards[1], 1);
            continue;
        }
        struct received_record record;
        struct cursor c = cursor_of(letter_payload(letter));
        cr_assert(letter->kind == LETTER_STREAM_ACK && received_record_read(&record, &c));
        told += record.gap;
        shard_receive(rig.shards[0], letter);
    }
    cr_expect_eq(told, 1);
    rig.letters_held = false;
    rig_pump();
    check_arrived(5);
}

Test(relay, what_no_shard_would_write_is_refused_and_the_stream_goes_on)
{
    open_rig();
    rig.letters_held = true;
    say(1);
    struct letter *good = rig_take_letter();
    cr_assert(good->kind == LETTER_STREAM);
    struct relay_record relay;
    struct cursor c = cursor_of(letter_payload(good));
    cr_assert(relay_record_read(&relay, &c));
    struct relay_record bad[] = {relay, relay, relay, relay, relay, relay};
    bad[0].source = 0 + 3;
    bad[1].first = 0;
    bad[2].count = 0;
    bad[3].count = 2;
    bad[4].kind = RELAY_CHANGE;
    bad[5].entries.len--;
    struct writer w;
    writer_init(&w, 0);
    for (uint32_t i = 0; i <= COUNT_OF(bad); i++) {
        writer_reset(&w);
        if (i < COUNT_OF(bad)) relay_record_write(&w, &bad[i]);
        struct letter *letter = letter_make(LETTER_STREAM, 0, 1, NULL, writer_slice(&w));
        letter->foreign = true;
        shard_receive(rig.shards[1], letter);
        cr_expect_eq(rig.metrics.letters_refused, i + 1, "%u", i);
    }
    writer_deinit(&w);
    good->foreign = true;
    shard_receive(rig.shards[1], good);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig.metrics.letters_refused, COUNT_OF(bad) + 1);
    check_arrived(2);
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
