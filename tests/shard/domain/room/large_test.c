/* tests/shard/domain/room/large_test.c - a large room over two shards: the other one logs nothing of its messages, who is online there is pushed to,
 * and what is lost on the way shows. */
#include "shard/domain/letters.h"
#include "shard/engine/shard_internal.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(large, .fini = rig_close);

static uint64_t alice, bob, room_id; /* alice and the room at home on shard 0, bob on shard 1 */
static struct session *session;      /* bob's */

static void say(const char *id)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    char name[8];
    snprintf(name, sizeof name, "%s", id);
    in.room_id = room_id;
    in.client_msg_id = name;
    in.kind = RINGPOST__V1__MESSAGE_KIND__TEXT;
    in.body = (ProtobufCBinaryData){5, (uint8_t *)"hello"};
    struct actor_record actor = rig_actor(alice, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/send", &in.base), ERROR_NONE);
}

static void begin(void)
{
    rig_begin(2);
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 1;
    rig_open();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(1, "bob");
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    char name[] = "large";
    in.name = name;
    in.member_ids = &bob;
    in.n_member_ids = 1;
    struct actor_record actor = rig_actor(alice, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *made = rig_replied(&ringpost__v1__create_room_response__descriptor);
    room_id = made->room->room_id;
    ringpost__v1__create_room_response__free_unpacked(made, NULL);
    session = rig_come(bob, "laptop");
    rig_forget_frames();
}

/* The seqs of the room's messages that were pushed, as digits. */
static const char *pushed(void)
{
    static char seqs[RIG_FRAMES_MAX + 1];
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig.frame_count; i++) {
        Ringpost__V1__Envelope *frame = rig_frame(i);
        if (frame->body_case == RINGPOST__V1__ENVELOPE__BODY_PUSH && frame->push->kind_case == RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE)
            seqs[count++] = (char)('0' + frame->push->room_message->seq);
        ringpost__v1__envelope__free_unpacked(frame, NULL);
    }
    seqs[count] = '\0';
    return seqs;
}

static Ringpost__V1__SyncResponse *sync_bob(void)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    in.sync_key = session->inbox->head;
    struct actor_record actor = rig_actor(bob, "laptop");
    rig_send(&actor, 0, session->id, "/v1/chat/sync", &in.base);
    rig_pump();
    cr_assert_eq(rig.reply->error, ERROR_NONE);
    return rig_replied(&ringpost__v1__sync_response__descriptor);
}

Test(large, who_is_online_elsewhere_is_pushed_to_and_nothing_is_logged_there)
{
    begin();
    uint64_t logged = commitlog_last_index(rig.shards[1]->log), emitted = stream_position(rig.shards[0]->machine->streams, 1).emitted;
    say("1");
    say("2");
    cr_expect_str_eq(pushed(), "12");
    cr_expect_eq(commitlog_last_index(rig.shards[1]->log), logged);
    cr_expect_eq(stream_position(rig.shards[0]->machine->streams, 1).emitted, emitted);
}

/* Who sees 1 and 3 asks for the history; who saw nothing hears of the head by sync. */
Test(large, a_message_that_is_lost_on_the_way_leaves_a_gap_and_sync_tells_the_head)
{
    begin();
    say("1");
    rig.letters_held = true;
    struct actor_record actor = rig_actor(alice, "phone");
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    in.room_id = room_id;
    in.client_msg_id = (char *)"2";
    in.kind = RINGPOST__V1__MESSAGE_KIND__TEXT;
    in.body = (ProtobufCBinaryData){5, (uint8_t *)"hello"};
    rig_send(&actor, 0, 0, "/v1/chat/send", &in.base);
    uint32_t lost = 0;
    for (bool moved = true; moved;) {
        moved = rig_turn();
        struct letter *letter = rig_take_letter();
        if (letter == NULL) continue;
        moved = true;
        bool loses = letter->kind == LETTER_ROOM_MESSAGE;
        lost += loses;
        if (loses) letter_free(letter);
        else shard_receive(rig.shards[letter->to_shard], letter);
    }
    rig.letters_held = false;
    cr_assert_eq(lost, 1);
    cr_expect_str_eq(pushed(), "1");
    Ringpost__V1__SyncResponse *sync = sync_bob();
    cr_assert_eq(sync->n_heads, 1);
    cr_expect(sync->heads[0]->room_id == room_id && sync->heads[0]->head_seq == 2 && sync->heads[0]->read_seq == 0);
    ringpost__v1__sync_response__free_unpacked(sync, NULL);
    say("3");
    cr_expect_str_eq(pushed(), "13", "a gap");
}

/* What went by before the change that makes one a member is applied here was pushed to nobody. */
Test(large, who_comes_in_is_told_to_sync)
{
    begin();
    uint64_t carol = rig_add_user(1, "carol");
    struct session *other = rig_come(carol, "phone");
    rig_forget_frames();
    Ringpost__V1__InviteRequest in = RINGPOST__V1__INVITE_REQUEST__INIT;
    in.room_id = room_id;
    in.user_ids = &carol;
    in.n_user_ids = 1;
    struct actor_record actor = rig_actor(alice, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/invite", &in.base), ERROR_NONE);
    cr_expect(other->behind && !session->behind);
}

/* How far a room of another shard may be marked is asked of that one, unless what was heard of it is enough. */
Test(large, a_read_mark_stops_at_the_head_of_a_room_of_another_shard)
{
    begin();
    for (int i = 1; i <= 4; i++) say((char[]){(char)('0' + i), 0});
    static const struct { uint64_t seq, want; } cases[] = {{2, 2}, {3, 3}, {99, 4}, {1, 4}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Ringpost__V1__MarkReadRequest in = RINGPOST__V1__MARK_READ_REQUEST__INIT;
        in.room_id = room_id;
        in.seq = cases[i].seq;
        struct actor_record actor = rig_actor(bob, "laptop");
        cr_assert_eq(rig_call(&actor, 1, 0, "/v1/chat/mark_read", &in.base), ERROR_NONE);
        Ringpost__V1__MarkReadResponse *read = rig_replied(&ringpost__v1__mark_read_response__descriptor);
        cr_expect_eq(read->read_seq, cases[i].want);
        ringpost__v1__mark_read_response__free_unpacked(read, NULL);
    }
}
