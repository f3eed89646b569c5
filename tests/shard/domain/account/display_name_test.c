/* tests/shard/domain/account/display_name_test.c - another display name: seen by all who see the person, for one command and one row. */
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>

static uint64_t ann, ben, room_id; /* on shards 0 and 1; the room is ann's, both are in it, and they write to each other */

static void setup(void)
{
    rig_begin(2);
    rig_open();
    ann = rig_add_user(0, "ann");
    ben = rig_add_user(1, "ben");
    rig_know(ann, "phone");
    rig_know(ben, "phone");
    Ringpost__V1__CreateRoomRequest create = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    create.name = (char *)(uintptr_t)"friends";
    create.member_ids = &ben;
    create.n_member_ids = 1;
    struct actor_record actor = rig_actor(ann, "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &create.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *made = rig_replied(&ringpost__v1__create_room_response__descriptor);
    room_id = made->room->room_id;
    ringpost__v1__create_room_response__free_unpacked(made, NULL);
    cr_assert_eq(rig_say(ann, ben, "a1", "hello"), ERROR_NONE);
    rig_pump();
}

TestSuite(display_name, .init = setup, .fini = rig_close);

static enum error call_as(uint64_t user_id, const char *path, const ProtobufCMessage *message)
{
    struct actor_record actor = rig_actor(user_id, "phone");
    return rig_call(&actor, 0, 0, path, message);
}

static enum error set(uint64_t user_id, const char *display_name)
{
    Ringpost__V1__SetDisplayNameRequest request = RINGPOST__V1__SET_DISPLAY_NAME_REQUEST__INIT;
    request.display_name = (char *)(uintptr_t)display_name;
    return call_as(user_id, "/v1/account/set_display_name", &request.base);
}

static void expect_user(uint64_t user_id, const char *display_name)
{
    Ringpost__V1__UserRequest request = RINGPOST__V1__USER_REQUEST__INIT;
    request.user_id = user_id;
    cr_assert_eq(call_as(ben, "/v1/account/user", &request.base), ERROR_NONE);
    Ringpost__V1__UserResponse *r = rig_replied(&ringpost__v1__user_response__descriptor);
    cr_expect_str_eq(r->user->display_name, display_name);
    ringpost__v1__user_response__free_unpacked(r, NULL);
}

static void expect_member(uint64_t user_id, const char *name)
{
    Ringpost__V1__MembersRequest request = RINGPOST__V1__MEMBERS_REQUEST__INIT;
    request.room_id = room_id;
    cr_assert_eq(call_as(ben, "/v1/room/members", &request.base), ERROR_NONE);
    Ringpost__V1__MembersResponse *r = rig_replied(&ringpost__v1__members_response__descriptor);
    cr_assert_eq(r->n_members, 2);
    cr_expect_eq(r->members[0]->joined_ms, r->members[1]->joined_ms, "all else is as it was");
    for (size_t i = 0; i < r->n_members; i++)
        if (r->members[i]->user_id == user_id) cr_expect_str_eq(r->members[i]->name, name);
    ringpost__v1__members_response__free_unpacked(r, NULL);
}

static void expect_peer(uint64_t peer_id, const char *name)
{
    Ringpost__V1__ConversationsRequest request = RINGPOST__V1__CONVERSATIONS_REQUEST__INIT;
    cr_assert_eq(call_as(ben, "/v1/chat/conversations", &request.base), ERROR_NONE);
    Ringpost__V1__ConversationsResponse *r = rig_replied(&ringpost__v1__conversations_response__descriptor);
    cr_assert_eq(r->n_conversations, 2);
    for (size_t i = 0; i < r->n_conversations; i++) {
        const Ringpost__V1__Conversation *c = r->conversations[i];
        cr_expect_str_eq(c->peer_name, c->peer_id == peer_id ? name : "");
        if (c->peer_id == peer_id) cr_expect_str_eq(c->last_message->sender_name, "ann", "what was sent under a name keeps it");
    }
    ringpost__v1__conversations_response__free_unpacked(r, NULL);
}

Test(display_name, is_answered_and_seen_by_whoever_asks)
{
    cr_assert_eq(set(ann, "  Ann\xc2\xa0 of  Green Gables "), ERROR_NONE);
    Ringpost__V1__SetDisplayNameResponse *r = rig_replied(&ringpost__v1__set_display_name_response__descriptor);
    cr_expect_eq(r->user->user_id, ann);
    cr_expect_str_eq(r->user->name, "ann");
    cr_expect_str_eq(r->user->display_name, "Ann of Green Gables", "cleaned like every name");
    ringpost__v1__set_display_name_response__free_unpacked(r, NULL);
    expect_user(ann, "Ann of Green Gables");
    expect_member(ann, "Ann of Green Gables");
    expect_peer(ann, "Ann of Green Gables");
    expect_user(ben, "ben");
}

Test(display_name, an_empty_one_is_the_user_name)
{
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    cr_assert_eq(set(ann, ""), ERROR_NONE);
    expect_user(ann, "ann");
    expect_member(ann, "ann");
}

Test(display_name, one_that_is_no_name_is_refused)
{
    char long_name[66];
    memset(long_name, 'x', 65);
    long_name[65] = '\0';
    cr_expect_eq(set(ann, long_name), ERROR_BAD_FIELD);
    cr_expect_eq(set(ann, "\xe2\x80\x8b"), ERROR_BAD_FIELD, "nobody could see it");
    cr_expect_eq(set(ann, "a\nb"), ERROR_BAD_FIELD);
    expect_user(ann, "ann");
}

Test(display_name, costs_one_command_however_many_see_it)
{
    uint64_t before = atomic_load(&rig.metrics.commands_applied);
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    cr_expect_eq(atomic_load(&rig.metrics.commands_applied), before + 1);
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    expect_peer(ann, "Ann");
    expect_member(ann, "Ann");
    cr_expect_eq(atomic_load(&rig.metrics.commands_applied), before + 2, "reading writes nothing");
}

Test(display_name, what_is_sent_from_now_on_has_it)
{
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    struct session *session = rig_come(ben, "phone");
    rig_forget_frames();
    cr_assert_eq(rig_say(ann, ben, "a2", "it is me"), ERROR_NONE);
    rig_pump();
    Ringpost__V1__Envelope *frame = rig_frame(0);
    cr_expect_str_eq(frame->push->event->message->sender_name, "Ann");
    ringpost__v1__envelope__free_unpacked(frame, NULL);
    cr_expect_not_null(session);
}

Test(display_name, is_pushed_to_whoever_looks)
{
    struct session *session = rig_come(ben, "phone");
    struct actor_record actor = rig_actor(ben, "phone");
    Ringpost__V1__SubscribeRequest subscribe = RINGPOST__V1__SUBSCRIBE_REQUEST__INIT;
    subscribe.user_ids = &ann;
    subscribe.n_user_ids = 1;
    cr_assert_eq(rig_call(&actor, 1, session->id, "/v1/presence/subscribe", &subscribe.base), ERROR_NONE);
    Ringpost__V1__SubscribeResponse *r = rig_replied(&ringpost__v1__subscribe_response__descriptor);
    cr_expect_str_eq(r->presence[0]->display_name, "ann");
    ringpost__v1__subscribe_response__free_unpacked(r, NULL);
    rig_forget_frames();
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    rig_pump();
    cr_assert_eq(rig.frame_count, 1);
    Ringpost__V1__Envelope *frame = rig_frame(0);
    cr_assert_eq(frame->push->kind_case, RINGPOST__V1__PUSH__KIND_PRESENCE);
    cr_expect_eq(frame->push->presence->user_id, ann);
    cr_expect_str_eq(frame->push->presence->display_name, "Ann");
    cr_expect_not(frame->push->presence->online);
    cr_expect_eq(frame->push->presence->last_seen_ms, 0, "a name is no visit");
    ringpost__v1__envelope__free_unpacked(frame, NULL);
    rig_forget_frames();
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    rig_pump();
    cr_expect_eq(rig.frame_count, 0, "nothing changed");
}

Test(display_name, outlives_the_process)
{
    cr_assert_eq(set(ann, "Ann"), ERROR_NONE);
    rig_close_shard(0);
    rig_open_shard(0);
    rig_pump();
    expect_user(ann, "Ann");
    expect_member(ann, "Ann");
}

/* A list is worth more than the newest name of each in it. */
Test(display_name, who_cannot_be_asked_is_called_as_stored)
{
    cr_assert_eq(set(ben, "Benjamin"), ERROR_NONE);
    Ringpost__V1__MembersRequest request = RINGPOST__V1__MEMBERS_REQUEST__INIT;
    request.room_id = room_id;
    fake_store_set_damage(rig.stores[1], "test", true);
    cr_assert_eq(call_as(ann, "/v1/room/members", &request.base), ERROR_NONE);
    Ringpost__V1__MembersResponse *r = rig_replied(&ringpost__v1__members_response__descriptor);
    cr_assert_eq(r->n_members, 2);
    for (size_t i = 0; i < 2; i++)
        if (r->members[i]->user_id == ben) cr_expect_str_eq(r->members[i]->name, "ben");
    ringpost__v1__members_response__free_unpacked(r, NULL);
}
