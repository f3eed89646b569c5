/* tests/shard/engine/incarnation_test.c - a shard that was restored from a backup tells those who were there when it was further: resets, and none
 * over a start that lost nothing. */
#include "shard/engine/incarnation.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t alice, bob; /* on shard 0, where their room is; on shard 1 */
static uint32_t said;

static void setup(void) { rig_begin(2); }
TestSuite(incarnation, .init = setup);

static void say(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", said++);
        cr_assert_eq(rig_say(alice, bob, id, "hello"), ERROR_NONE);
    }
}

static void open_rig(void)
{
    rig_open();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(1, "bob");
}

static void restart(void)
{
    for (uint16_t i = 0; i < 2; i++) rig_close_shard(i);
    for (uint16_t i = 0; i < 2; i++) rig_open_shard(i);
    rig_pump();
}

/* ---- what a client keeps ---- */

struct place {
    uint64_t sync_key;
    char epoch[EPOCH_TEXT_SIZE];
};

static Ringpost__V1__SyncResponse *ask(const struct place *from)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    char epoch[EPOCH_TEXT_SIZE];
    memcpy(epoch, from->epoch, sizeof epoch);
    in.sync_key = from->sync_key;
    in.stream_epoch = epoch;
    in.limit = 500;
    struct actor_record actor = rig_actor(bob, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/sync", &in.base), ERROR_NONE);
    return rig_replied(&ringpost__v1__sync_response__descriptor);
}

/* What bob's device gets when it comes back with `place`, which moves to where it is then; the number of events, or minus the reason of
 * the reset. */
static int sync_from(struct place *place)
{
    Ringpost__V1__SyncResponse *sync = ask(place);
    int outcome = sync->reset ? -(int)sync->reset_reason : (int)sync->n_events;
    cr_expect_eq(sync->reset, sync->reset_reason != RINGPOST__V1__RESET_REASON__NO_RESET);
    for (size_t i = 0; i < sync->n_events; i++) cr_expect_eq(sync->events[i]->sync_key, place->sync_key + i + 1);
    place->sync_key = sync->sync_key;
    snprintf(place->epoch, sizeof place->epoch, "%s", sync->stream_epoch);
    ringpost__v1__sync_response__free_unpacked(sync, NULL);
    return outcome;
}

#define TOO_OLD      (-(int)RINGPOST__V1__RESET_REASON__TOO_OLD)
#define OTHER_STREAM (-(int)RINGPOST__V1__RESET_REASON__OTHER_STREAM)

static struct fake_disk *disks[2];
static struct fake_store *stores[2];

/* A copy of the whole directory, made while nothing runs. */
static void back_up(void)
{
    for (uint16_t i = 0; i < 2; i++) rig_close_shard(i);
    for (uint16_t i = 0; i < 2; i++) {
        disks[i] = fake_disk_create(&(struct fake_disk_options){.block_size_bytes = 4096, .segment_size_bytes = 1 << 20});
        stores[i] = fake_store_create(1);
        fake_disk_copy(disks[i], rig.disks[i]);
        fake_store_copy(stores[i], rig.stores[i]);
        rig_open_shard(i);
    }
    rig_pump();
}

static void restore(void)
{
    for (uint16_t i = 0; i < 2; i++) rig_close_shard(i);
    for (struct letter *letter; (letter = rig_take_letter()) != NULL;) letter_free(letter);
    for (uint16_t i = 0; i < 2; i++) {
        fake_disk_copy(rig.disks[i], disks[i]);
        fake_store_copy(rig.stores[i], stores[i]);
        rig_open_shard(i);
    }
    rig_pump();
}

static void end(void)
{
    for (uint16_t i = 0; i < 2 && disks[i] != NULL; i++) {
        fake_disk_destroy(disks[i]);
        fake_store_destroy(stores[i]);
    }
    rig_close();
}

/* ---- starts that lose nothing ---- */

Test(incarnation, a_cursor_goes_on_over_restarts)
{
    open_rig();
    struct place place = {0}, start;
    say(5);
    cr_expect_eq(sync_from(&place), 6);
    start = place;
    for (int i = 0; i < 3; i++) {
        restart();
        cr_expect_eq(sync_from(&place), 0);
        say(2);
        restart();
        cr_expect_eq(sync_from(&place), 2);
    }
    cr_expect_eq(sync_from(&start), 6, "from several starts ago");
    end();
}

Test(incarnation, a_cursor_goes_on_over_a_crash_that_the_log_survives)
{
    open_rig();
    struct place place = {0};
    say(5);
    cr_expect_eq(sync_from(&place), 6);
    for (int i = 0; i < 3; i++) {
        say(3);
        rig_close_shard(1);
        fake_store_crash_to(rig.stores[1], 0, NULL); /* all is replayed, the starts among it */
        rig_open_shard(1);
        cr_expect_eq(sync_from(&place), 3);
    }
    end();
}

Test(incarnation, without_an_epoch_only_a_key_beyond_the_head_is_noticed)
{
    open_rig();
    say(5);
    struct place place = {.sync_key = 4};
    cr_expect_eq(sync_from(&place), 2);
    place = (struct place){.sync_key = 7};
    cr_expect_eq(sync_from(&place), OTHER_STREAM);
    cr_expect_eq(place.sync_key, 6);
    end();
}

Test(incarnation, what_is_no_epoch_is_refused)
{
    open_rig();
    static const char *const bad[] = {"1", "-", "x-00000000", "1-0", "1-0000000g", "1-00000000 ", " 1-00000000", "01-00000000",
                                      "4294967296-00000000", "1-00000000000000000000000"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
        char epoch[40];
        snprintf(epoch, sizeof epoch, "%s", bad[i]);
        in.stream_epoch = epoch;
        struct actor_record actor = rig_actor(bob, "phone");
        cr_expect_eq(rig_call(&actor, 0, 0, "/v1/chat/sync", &in.base), ERROR_BAD_FIELD, "%s", bad[i]);
    }
    end();
}

/* ---- restored ---- */

/* As it was found: key 16, restored to 6, then 13 more. */
Test(incarnation, a_cursor_beyond_the_backup_is_reset_however_far_the_stream_has_come_again)
{
    open_rig();
    say(5);
    struct place in_the_copy = {0}, beyond;
    cr_expect_eq(sync_from(&in_the_copy), 6);
    beyond = in_the_copy;
    back_up();
    say(10);
    cr_expect_eq(sync_from(&beyond), 10);
    cr_expect_eq(beyond.sync_key, 16);
    restore();
    struct place same = beyond, later = beyond;
    cr_expect_eq(sync_from(&same), OTHER_STREAM, "shorter than the key");
    say(10);
    same = beyond;
    cr_expect_eq(sync_from(&same), OTHER_STREAM, "as long");
    say(3);
    cr_expect_eq(sync_from(&later), OTHER_STREAM, "longer");
    cr_expect_eq(later.sync_key, 19);
    cr_expect_eq(sync_from(&later), 0, "and from there on it goes on");
    cr_expect_eq(sync_from(&in_the_copy), 13, "who was not further than the copy has missed nothing");
    cr_expect_eq(rig.metrics.sync_resets_other, 3);
    end();
}

/* The copy of a running server, which stands in the middle of a start: its random number is known to both histories. */
Test(incarnation, the_last_key_of_a_start_that_both_histories_know_decides)
{
    open_rig();
    say(5);
    back_up(); /* closes and opens: the copies of below begin with the same start as what goes on */
    struct place place = {0};
    cr_expect_eq(sync_from(&place), 6);
    for (uint16_t i = 0; i < 2; i++) {
        fake_disk_copy(disks[i], rig.disks[i]);
        while (fake_store_step(rig.stores[i])) continue;
        fake_store_copy(stores[i], rig.stores[i]);
    }
    say(10);
    cr_expect_eq(sync_from(&place), 10);
    restore();
    struct place again = place;
    cr_expect_eq(sync_from(&again), OTHER_STREAM);
    say(13);
    cr_expect_eq(sync_from(&place), OTHER_STREAM);
    end();
}

Test(incarnation, an_epoch_older_than_what_is_remembered_is_reset)
{
    open_rig();
    say(1);
    struct place place = {0};
    cr_expect_eq(sync_from(&place), 2);
    struct place old = place;
    for (uint32_t i = 0; i < INBOX_INCARNATIONS_MAX; i++) {
        restart();
        say(1);
    }
    cr_expect_eq(sync_from(&old), OTHER_STREAM, "more starts with events than are listed");
    for (uint32_t i = 0; i < INBOX_INCARNATIONS_MAX + 3; i++) restart();
    cr_expect_eq(sync_from(&old), 0, "starts without events do not count");
    end();
}

Test(incarnation, what_is_not_kept_is_too_old)
{
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 16;
    open_rig();
    say(3);
    struct place place = {0};
    cr_expect_eq(sync_from(&place), 4);
    say(20);
    cr_expect_eq(sync_from(&place), TOO_OLD);
    cr_expect_eq(rig.metrics.sync_resets_old, 1);
    end();
}

/* ---- others ---- */

Test(incarnation, only_the_newest_starts_are_kept)
{
    open_rig();
    struct machine *m = shard_machine(rig.shards[1]);
    struct epoch first = epoch_now(m);
    cr_expect(epoch_is_known(m, first));
    m->incarnations.newest = INCARNATIONS_KEPT; /* as after so many starts */
    m->incarnations.randoms[0] = 5;
    cr_expect(epoch_is_known(m, first));
    cr_expect(epoch_is_known(m, (struct epoch){INCARNATIONS_KEPT, 5}));
    m->incarnations.newest++;
    cr_expect_not(epoch_is_known(m, first));
    cr_expect_not(epoch_is_known(m, (struct epoch){INCARNATIONS_KEPT + 2, 5}), "none that has not been");
    m->incarnations = (struct incarnations){.newest = first.ordinal};
    m->incarnations.randoms[first.ordinal] = first.random;
    end();
}

Test(incarnation, conversations_and_auth_give_the_epoch_of_their_key)
{
    open_rig();
    say(3);
    char epoch[EPOCH_TEXT_SIZE];
    epoch_write(epoch, epoch_now(shard_machine(rig.shards[1])));
    struct actor_record actor = rig_actor(bob, "phone");
    Ringpost__V1__ConversationsRequest in = RINGPOST__V1__CONVERSATIONS_REQUEST__INIT;
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/conversations", &in.base), ERROR_NONE);
    Ringpost__V1__ConversationsResponse *list = rig_replied(&ringpost__v1__conversations_response__descriptor);
    cr_expect_str_eq(list->stream_epoch, epoch);
    ringpost__v1__conversations_response__free_unpacked(list, NULL);
    Ringpost__V1__AuthRequest auth = RINGPOST__V1__AUTH_REQUEST__INIT;
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/account/auth", &auth.base), ERROR_NONE);
    Ringpost__V1__AuthResponse *answer = rig_replied(&ringpost__v1__auth_response__descriptor);
    cr_expect_str_eq(answer->stream_epoch, epoch);
    ringpost__v1__auth_response__free_unpacked(answer, NULL);
    end();
}

/* The record of a start waits with the disk: reads are served, and who came before it is told to sync once it is there. */
Test(incarnation, reads_are_served_before_the_start_is_logged)
{
    open_rig();
    say(2);
    struct place place = {0};
    cr_expect_eq(sync_from(&place), 3);
    struct place before = place;
    (void)rig_come(bob, "phone"); /* the device is listed */
    rig_close_shard(1);
    rig.disks_held = true;
    rig_open_shard(1);
    cr_expect_eq(sync_from(&place), 0);
    cr_expect_str_eq(place.epoch, before.epoch, "nothing is given out that might not be in the log one day");
    struct session *session = rig_come(bob, "phone");
    cr_assert_not_null(session);
    rig_forget_frames();
    rig.disks_held = false;
    rig_pump();
    cr_assert_eq(rig.frame_count, 1);
    Ringpost__V1__Envelope *frame = rig_frame(0);
    cr_expect_eq(frame->push->kind_case, RINGPOST__V1__PUSH__KIND_BEHIND);
    ringpost__v1__envelope__free_unpacked(frame, NULL);
    cr_expect_eq(sync_from(&place), 0);
    cr_expect_str_neq(place.epoch, before.epoch);
    end();
}
