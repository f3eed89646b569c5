/* tests/shard/domain/account/admit_test.c - the actor's home shard lets a request pass or not, and hands it to the shard it belongs to. */
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>

TestSuite(admit, .fini = rig_close);

static enum error ask(uint64_t user_id, const char *device_id, uint64_t session_id)
{
    Ringpost__V1__DevicesRequest in = RINGPOST__V1__DEVICES_REQUEST__INIT;
    struct actor_record actor = rig_actor(user_id, device_id);
    return rig_call(&actor, 0, session_id, "/v1/account/devices", &in.base);
}

Test(admit, only_devices_that_are_not_revoked)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    cr_expect_eq(ask(alice, "backend", 0), ERROR_NONE, "never heard of: an app's backend vouches for it");
    cr_expect_eq(ask(alice + 1, "phone", 0), ERROR_USER_NOT_FOUND);
    struct actor_record phone = rig_actor(alice, "phone");
    Ringpost__V1__LogoutRequest in = RINGPOST__V1__LOGOUT_REQUEST__INIT;
    cr_assert_eq(rig_call(&phone, 0, 0, "/v1/account/logout", &in.base), ERROR_NONE);
    cr_expect_eq(ask(alice, "phone", 0), ERROR_DEVICE_REVOKED);
    cr_expect_eq(ask(alice, "laptop", 0), ERROR_NONE);
    rig.now_ms += 2000;
    cr_expect_eq(ask(alice, "phone", 0), ERROR_NONE, "with a newer token");
}

Test(admit, requests_of_a_user_are_limited_whatever_they_come_by)
{
    rig_begin(1);
    rig.setup.options.requests_per_second = 1;
    rig.setup.options.requests_burst = 3;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    struct session *session = rig_come(alice, "laptop");
    cr_expect_eq(ask(alice, "phone", 0), ERROR_NONE);
    cr_expect_eq(ask(alice, "tablet", 0), ERROR_NONE);
    cr_expect_eq(ask(alice, "laptop", session->id), ERROR_NONE);
    cr_expect_eq(ask(alice, "laptop", session->id), ERROR_RATE_LIMITED, "a session's");
    cr_expect_eq(rig.reply->retry_after_ms, 1000);
    cr_expect_eq(ask(alice, "phone", 0), ERROR_RATE_LIMITED, "a letter's");
    cr_expect_eq(rig.reply->retry_after_ms, 1000);
    cr_expect_eq(rig.metrics.rate_limited, 2);
    cr_expect_eq(ask(bob, "phone", 0), ERROR_NONE, "somebody else's");
    rig.now_ms += 1000;
    cr_expect_eq(ask(alice, "phone", 0), ERROR_NONE);
    cr_expect_eq(ask(alice, "phone", 0), ERROR_RATE_LIMITED);
}

Test(admit, messages_are_limited_beside_requests)
{
    rig_begin(1);
    rig.setup.options.messages_per_second = 1;
    rig.setup.options.messages_burst = 2;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    cr_expect_eq(rig_say(alice, bob, "1", "one"), ERROR_NONE);
    cr_expect_eq(rig_say(alice, bob, "2", "two"), ERROR_NONE);
    cr_expect_eq(rig_say(alice, bob, "3", "three"), ERROR_RATE_LIMITED);
    cr_expect_eq(ask(alice, "phone", 0), ERROR_NONE, "no message");
}

Test(admit, what_belongs_elsewhere_goes_there_with_the_actors_name)
{
    rig_begin(2);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    Ringpost__V1__GetRoomRequest in = RINGPOST__V1__GET_ROOM_REQUEST__INIT;
    in.room_id = id_make(1, ID_ROOM, 77);
    rig_know(alice, "phone");
    struct actor_record actor = rig_actor(alice, "phone");
    rig.letters_held = true;
    rig_send(&actor, 0, 0, "/v1/room/get", &in.base);
    struct letter *letter = rig_take_letter();
    cr_assert_not_null(letter);
    cr_expect(letter->kind == LETTER_REQUEST && letter->to_shard == 1 && letter->admitted);
    struct actor_record carried;
    cr_assert(letter_actor(letter, &carried));
    cr_expect_eq(carried.user_id, alice);
    cr_expect(slice_equal(carried.name, SLICE_TEXT("alice")));
    cr_expect(slice_equal(carried.device_id, SLICE_TEXT("phone")));
    shard_receive(rig.shards[1], letter);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_ROOM_NOT_FOUND);
    in.room_id = id_make(7, ID_ROOM, 77);
    cr_expect_eq(rig_call(&actor, 0, 0, "/v1/room/get", &in.base), ERROR_ROOM_NOT_FOUND, "of no shard");
    struct session *session = rig_come(alice, "laptop");
    in.room_id = id_make(1, ID_ROOM, 77);
    cr_expect_eq(rig_call(&actor, 0, session->id, "/v1/room/get", &in.base), ERROR_ROOM_NOT_FOUND, "by a session");
}

Test(admit, bytes_that_are_no_message_are_refused_once)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    struct actor_record actor = rig_actor(alice, "phone");
    struct session *session = rig_come(alice, "laptop");
    static const char *const paths[] = {"/v1/chat/send", "/v1/chat/history", "/v1/chat/sync", "/v1/presence/get"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        cr_expect_eq(rig_call_packed(&actor, 0, 0, paths[i], SLICE_TEXT("\xff\xff\xff")), ERROR_BAD_REQUEST, "%s", paths[i]);
        cr_expect_eq(rig_call_packed(&actor, 0, session->id, paths[i], SLICE_TEXT("\xff\xff\xff")), ERROR_BAD_REQUEST, "%s",
                     paths[i]);
    }
}
