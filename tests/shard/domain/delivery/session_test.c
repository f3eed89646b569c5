/* tests/shard/domain/delivery/session_test.c - sessions on whole shards: limits, slow readers, the end of a token, large rooms. */
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>

TestSuite(session, .fini = rig_close);

static uint32_t pushes_of(Ringpost__V1__Push__KindCase kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig.frame_count; i++) {
        Ringpost__V1__Envelope *frame = rig_frame(i);
        if (frame->body_case == RINGPOST__V1__ENVELOPE__BODY_PUSH && frame->push->kind_case == kind) count++;
        ringpost__v1__envelope__free_unpacked(frame, NULL);
    }
    return count;
}

#define EVENTS pushes_of(RINGPOST__V1__PUSH__KIND_EVENT)
#define BEHINDS pushes_of(RINGPOST__V1__PUSH__KIND_BEHIND)
#define ROOM_MESSAGES pushes_of(RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE)

static void ask_sync(const struct session *session, uint64_t sync_key, uint32_t limit)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    in.sync_key = sync_key;
    in.limit = limit;
    struct actor_record actor = rig_actor(session->inbox->entity.key.a, session->device_id);
    rig_send(&actor, 0, session->id, "/v1/chat/sync", &in.base);
}

static void sync_from(const struct session *session, uint64_t sync_key, uint32_t limit)
{
    ask_sync(session, sync_key, limit);
    rig_pump();
    cr_assert_eq(rig.reply->error, ERROR_NONE);
}

/* ---- slow readers ---- */

struct pair {
    uint64_t alice, bob;
    struct session *session; /* bob's */
};

static struct pair open_pair(void)
{
    struct pair pair;
    rig_begin(1);
    rig_open();
    pair.alice = rig_add_user(0, "alice");
    pair.bob = rig_add_user(0, "bob");
    pair.session = rig_come(pair.bob, "laptop");
    cr_assert_eq(rig_say(pair.alice, pair.bob, "1", "one"), ERROR_NONE);
    rig_forget_frames();
    return pair;
}

Test(session, a_slow_reader_is_told_once_and_pushed_to_again_after_a_sync)
{
    struct pair pair = open_pair();
    rig.above_soft = true;
    cr_assert_eq(rig_say(pair.alice, pair.bob, "2", "two"), ERROR_NONE);
    cr_expect(pair.session->behind);
    cr_expect_eq(EVENTS, 1, "the push that found the queue too long is in it");
    cr_assert_eq(rig_say(pair.alice, pair.bob, "3", "three"), ERROR_NONE);
    cr_expect_eq(EVENTS, 1);
    cr_expect_eq(BEHINDS, 0, "not into a full queue");
    rig.above_soft = false;
    session_drained(pair.session);
    session_drained(pair.session);
    cr_expect_eq(BEHINDS, 1);
    sync_from(pair.session, 0, 0);
    cr_expect(!pair.session->behind);
    cr_assert_eq(rig_say(pair.alice, pair.bob, "4", "four"), ERROR_NONE);
    cr_expect_eq(EVENTS, 2);
    cr_expect_eq(rig.metrics.sessions_behind, 1);
}

Test(session, what_is_applied_while_a_sync_reads_is_told_again)
{
    struct pair pair = open_pair();
    rig.above_soft = true;
    cr_assert_eq(rig_say(pair.alice, pair.bob, "2", "two"), ERROR_NONE);
    rig.above_soft = false;
    session_drained(pair.session);
    rig.stores_held = true;
    ask_sync(pair.session, 0, 0);
    cr_assert_eq(rig_say(pair.alice, pair.bob, "3", "three"), ERROR_NONE);
    uint32_t frames = rig.frame_count;
    rig.stores_held = false;
    rig_pump();
    cr_expect(pair.session->behind);
    cr_expect_eq(BEHINDS, 2);
    cr_expect_eq(rig.frames_before_reply, frames, "the answer first: or it would seem to be the sync that is asked for");
    sync_from(pair.session, 0, 0);
    cr_expect(!pair.session->behind);
}

Test(session, a_page_that_is_not_the_last_tells_nothing_new)
{
    struct pair pair = open_pair();
    rig.above_soft = true;
    cr_assert_eq(rig_say(pair.alice, pair.bob, "2", "two"), ERROR_NONE);
    cr_assert_eq(rig_say(pair.alice, pair.bob, "3", "three"), ERROR_NONE);
    rig.above_soft = false;
    session_drained(pair.session);
    sync_from(pair.session, 0, 1);
    sync_from(pair.session, 1, 1);
    cr_expect(pair.session->behind);
    cr_expect_eq(BEHINDS, 1, "has_more says it");
    sync_from(pair.session, 2, 100);
    cr_expect(!pair.session->behind);
}

/* The pool gives nothing: neither the event nor the word that it is missing can be sent. */
Test(session, no_memory_for_a_push_is_made_up_for)
{
    struct pair pair = open_pair();
    int64_t all = (int64_t)(buf_pool_size_max_bytes(rig.pool) - buf_pool_charged_bytes(rig.pool));
    buf_pool_charge(rig.pool, all);
    cr_assert_eq(rig_say(pair.alice, pair.bob, "2", "two"), ERROR_NONE);
    cr_expect(pair.session->behind);
    cr_expect_eq(rig.frame_count, 0);
    shard_tick(rig.shards[0]);
    cr_expect_eq(rig.frame_count, 0, "still none");
    buf_pool_charge(rig.pool, -all);
    shard_tick(rig.shards[0]);
    cr_expect_eq(BEHINDS, 1, "or it would wait for pushes for ever");
    sync_from(pair.session, 0, 0);
    cr_expect(!pair.session->behind);
}

Test(session, a_queue_at_its_hard_limit_ends_the_session)
{
    struct pair pair = open_pair();
    rig.send_result = RESULT_BUSY;
    cr_assert_eq(rig_say(pair.alice, pair.bob, "2", "two"), ERROR_NONE);
    cr_expect_eq(rig.ended, pair.session);
    cr_expect_eq(rig.close_code, CLOSE_TOO_SLOW);
}

/* ---- large rooms ---- */

static uint64_t open_large_room(uint64_t owner, uint64_t member)
{
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    char name[] = "large";
    in.name = name;
    in.member_ids = &member;
    in.n_member_ids = 1;
    struct actor_record actor = rig_actor(owner, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *made = rig_replied(&ringpost__v1__create_room_response__descriptor);
    cr_assert(made->room->large);
    uint64_t room_id = made->room->room_id;
    ringpost__v1__create_room_response__free_unpacked(made, NULL);
    return room_id;
}

static void say_in(uint64_t room_id, uint64_t from, const char *client_msg_id)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    char id[16], body[] = "hello";
    in.room_id = room_id;
    in.client_msg_id = strcpy(id, client_msg_id);
    in.body.len = strlen(body);
    in.body.data = (uint8_t *)body;
    struct actor_record actor = rig_actor(from, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/send", &in.base), ERROR_NONE);
}

Test(session, a_slow_reader_of_a_large_room_catches_up_by_sync)
{
    rig_begin(1);
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 1;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    uint64_t room_id = open_large_room(alice, bob);
    struct session *session = rig_come(bob, "laptop");
    rig_forget_frames();
    say_in(room_id, alice, "1");
    cr_assert_eq(ROOM_MESSAGES, 1);
    rig.above_soft = true;
    say_in(room_id, alice, "2");
    say_in(room_id, alice, "3");
    cr_expect_eq(ROOM_MESSAGES, 2, "the one that found the queue too long is in it, no more");
    rig.above_soft = false;
    session_drained(session);
    rig.stores_held = true;
    ask_sync(session, session->inbox->head, 0);
    say_in(room_id, alice, "4"); /* behind the read's back; the stream's head does not move */
    rig.stores_held = false;
    rig_pump();
    cr_expect(session->behind);
    cr_expect_eq(BEHINDS, 2);
    sync_from(session, session->inbox->head, 0);
    cr_expect(!session->behind);
    Ringpost__V1__SyncResponse *sync = rig_replied(&ringpost__v1__sync_response__descriptor);
    cr_assert_eq(sync->n_heads, 1);
    cr_expect_eq(sync->heads[0]->head_seq, 4);
    ringpost__v1__sync_response__free_unpacked(sync, NULL);
    say_in(room_id, alice, "5");
    cr_expect_eq(ROOM_MESSAGES, 3);
}

Test(session, large_rooms_are_pushed_only_to_who_is_there)
{
    rig_begin(1);
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 1;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    struct session *early = rig_come(bob, "laptop");
    uint64_t room_id = open_large_room(alice, bob); /* joined while online */
    rig_forget_frames();
    say_in(room_id, alice, "1");
    cr_expect_eq(ROOM_MESSAGES, 1);
    session_close(early);
    rig_pump();
    say_in(room_id, alice, "2");
    cr_expect_eq(ROOM_MESSAGES, 1);
    struct session *late = rig_come(bob, "laptop");
    session_close(rig_come(bob, "laptop")); /* another one goes: the first stays */
    say_in(room_id, alice, "3");
    cr_expect_eq(ROOM_MESSAGES, 2);
    cr_expect_eq(rig.frames[rig.frame_count - 1].session, late);
}

/* ---- the table, limits, tokens ---- */

Test(session, handles_of_sessions_that_are_gone_find_nobody)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    struct session *first = rig_come(alice, "laptop");
    uint64_t id = first->id;
    cr_expect_eq(session_find(rig.shards[0], id), first);
    session_close(first);
    cr_expect_null(session_find(rig.shards[0], id));
    struct session *second = rig_come(alice, "laptop");
    cr_expect_neq(second->id, id);
    cr_expect_eq((uint32_t)second->id, (uint32_t)id, "the slot is used again");
    cr_expect_null(session_find(rig.shards[0], id));
    cr_expect_null(session_find(rig.shards[0], 0), "no session at all");
    cr_expect_null(session_find(rig.shards[0], 1u << 20));
    cr_expect_eq(rig.metrics.sessions_open, 1);
}

Test(session, at_the_limit_the_oldest_of_the_same_device_makes_room)
{
    rig_begin(1);
    rig.setup.options.sessions_per_user_max = 3;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    struct session *oldest = rig_come(alice, "laptop");
    rig_come(alice, "laptop");
    rig_come(alice, "phone");
    cr_expect_eq(rig.end_count, 0);
    rig_come(alice, "laptop");
    cr_expect_eq(rig.end_count, 1);
    cr_expect_eq(rig.ended, oldest);
    cr_expect(oldest->ending);
    Ringpost__V1__AuthRequest in = RINGPOST__V1__AUTH_REQUEST__INIT;
    struct actor_record tablet = rig_actor(alice, "tablet");
    cr_expect_eq(rig_call(&tablet, 0, 0, "/v1/account/auth", &in.base), ERROR_TOO_MANY_DEVICES);
}

Test(session, a_token_that_expires_ends_its_session_once)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    struct session *session = rig_come(alice, "laptop");
    rig.now_ms += (rig.setup.options.access_token_ttl_s - 1) * UINT64_C(1000);
    shard_tick(rig.shards[0]);
    cr_expect_eq(rig.end_count, 0);
    rig.now_ms += 1000;
    shard_tick(rig.shards[0]);
    shard_tick(rig.shards[0]);
    cr_expect_eq(rig.end_count, 1);
    cr_expect_eq(rig.ended, session);
    cr_expect_eq(rig.close_code, CLOSE_NOT_AUTHENTICATED);
    cr_expect_eq(pushes_of(RINGPOST__V1__PUSH__KIND_SESSION_END), 1);
}

Test(session, an_event_is_encoded_once_for_each_encoding)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    struct session *binary = rig_come(bob, "laptop"), *json = rig_come(bob, "phone");
    json->json = true;
    rig_forget_frames();
    cr_assert_eq(rig_say(alice, bob, "1", "one"), ERROR_NONE);
    uint32_t binary_frames = 0, json_frames = 0;
    for (uint32_t i = 0; i < rig.frame_count; i++) {
        const struct writer *bytes = &rig.frames[i].bytes;
        if (rig.frames[i].session == json) json_frames += bytes->data[0] == '{' && bytes->data[bytes->len - 1] == '}';
        if (rig.frames[i].session == binary) binary_frames++;
    }
    cr_expect_eq(binary_frames, 2, "room joined, message");
    cr_expect_eq(json_frames, 2);
}
