/* tests/shard/door/mqtt/expiry_test.c - messages with a message expiry interval: who still gets them when, and what is said of the rest
 * of the interval. */
#include "shard/door/mqtt/rig.h"
#include <stdio.h>

#define SECOND_MS 1000u

static uint64_t alice, bob;
static struct mqtt_client phone, desk; /* bob's, alice's */

static void setup(void)
{
    mqtt_begin();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(0, "bob");
    mqtt_come(&desk, alice, "desk", (struct mqtt_how){.version = MQTT_5});
}

static void teardown(void)
{
    mqtt_leave(&desk);
    mqtt_finish();
}

TestSuite(mqtt_expiry, .init = setup, .fini = teardown, .timeout = 60);

static void phone_comes(bool persistent) { mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5, .persistent = persistent}); }

/* Published with QoS 1 and on disk. */
static void say(const char *topic, const char *text, uint32_t expiry_s)
{
    static uint16_t packet_id;
    mqtt_say_for(&desk, topic, text, 0x32, ++packet_id, expiry_s);
    cr_assert_eq(mqtt_expect(&desk, MQTT_PUBACK).reason, MQTT_SUCCESS);
}

static struct mqtt_got expect_text(const char *text)
{
    struct mqtt_got got = mqtt_expect(&phone, MQTT_PUBLISH);
    cr_expect_str_eq(got.text, text);
    return got;
}

static uint64_t expired(void) { return harness_metric(&rig.metrics.mqtt_dropped_expired); }

static void room_topic(char topic[32], uint64_t *members, size_t count)
{
    char name[] = "room";
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    in.name = in.client_room_id = name;
    in.member_ids = members;
    in.n_member_ids = count;
    struct actor_record actor = rig_actor(alice, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *out = rig_replied(&ringpost__v1__create_room_response__descriptor);
    snprintf(topic, 32, "r/%llu", (unsigned long long)out->room->room_id);
    protobuf_c_message_free_unpacked(&out->base, NULL);
}

Test(mqtt_expiry, what_is_left_of_the_interval_comes_with_the_message)
{
    phone_comes(true);
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    say("u/bob", "now", 10);
    struct mqtt_got got = expect_text("now");
    cr_expect_eq(got.expiry_s, 10);
    mqtt_answer(&phone, MQTT_PUBACK, got.packet_id);
    mqtt_leave(&phone);
    say("u/bob", "later", 10);
    say("u/bob", "for ever", UINT32_MAX);
    mqtt_advance(3 * SECOND_MS + 400);
    phone_comes(true);
    cr_expect(phone.present);
    cr_expect_eq(expect_text("later").expiry_s, 7, "3.4 s of 10 have passed");
    cr_expect_eq(expect_text("for ever").expiry_s, UINT32_MAX - 3);
    mqtt_leave(&phone);
}

Test(mqtt_expiry, an_expired_message_is_not_handed_on_and_stays_in_the_history)
{
    phone_comes(true);
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 2), 2);
    mqtt_leave(&phone);
    say("u/bob", "short", 5);
    say("u/bob", "none", 0);
    say("u/bob", "long", 60);
    mqtt_advance(5 * SECOND_MS);
    phone_comes(true);
    struct mqtt_got got = expect_text("long");
    cr_expect_eq(got.expiry_s, 55);
    mqtt_answer(&phone, MQTT_PUBACK, got.packet_id);
    cr_expect_eq(expired(), 2);
    mqtt_leave(&phone);
    mqtt_advance(60 * SECOND_MS);
    phone_comes(true); /* nothing of that is still to come */
    say("u/bob", "after", 1);
    (void)expect_text("after");
    cr_expect_eq(expired(), 2);
    mqtt_leave(&phone);
    struct actor_record actor = rig_actor(bob, "other");
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    in.limit = 10;
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/sync", &in.base), ERROR_NONE);
    Ringpost__V1__SyncResponse *out = rig_replied(&ringpost__v1__sync_response__descriptor);
    uint32_t messages = 0;
    for (size_t i = 0; i < out->n_events; i++) messages += out->events[i]->kind_case == RINGPOST__V1__EVENT__KIND_MESSAGE;
    cr_expect_eq(messages, 4);
    protobuf_c_message_free_unpacked(&out->base, NULL);
}

Test(mqtt_expiry, a_delivery_that_has_begun_is_brought_to_its_end)
{
    phone_comes(true);
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    say("u/bob", "begun", 5);
    uint16_t packet_id = expect_text("begun").packet_id;
    mqtt_drop(&phone); /* before it is acknowledged: the client may have it, and may not */
    mqtt_advance(6 * SECOND_MS);
    phone_comes(true);
    struct mqtt_got got = expect_text("begun");
    cr_expect_eq(got.packet_id, packet_id);
    cr_expect_eq(got.expiry_s, 0);
    cr_expect_neq(got.flags & 8, 0, "sent again");
    mqtt_answer(&phone, MQTT_PUBACK, packet_id);
    cr_expect_eq(expired(), 0);
    mqtt_leave(&phone);
}

Test(mqtt_expiry, nothing_is_retained_when_the_last_message_has_expired)
{
    char topic[32];
    struct mqtt_got retained;
    room_topic(topic, &bob, 1);
    say(topic, "first", 0xffff);
    say(topic, "second", 5);
    phone_comes(false);
    cr_assert_eq(mqtt_listen_retained(&phone, topic, 0, &retained), 0);
    cr_expect_str_eq(retained.text, "second");
    cr_expect_eq(retained.expiry_s, 5);
    mqtt_leave(&phone);
    mqtt_advance(5 * SECOND_MS);
    phone_comes(false);
    cr_assert_eq(mqtt_listen_retained(&phone, topic, 0, &retained), 0);
    cr_expect_eq(retained.type, 0, "what it took the place of does not come back: %s", retained.text);
    cr_expect_eq(expired(), 1);
    mqtt_leave(&phone);
}

Test(mqtt_expiry, messages_of_large_rooms_expire_as_well)
{
    char topic[32];
    uint64_t members[] = {bob, rig_add_user(0, "carol"), rig_add_user(0, "dave")};
    room_topic(topic, members, COUNT_OF(members));
    phone_comes(true);
    cr_assert_eq(mqtt_listen(&phone, topic, 1), 1);
    say(topic, "now", 10);
    struct mqtt_got got = expect_text("now");
    cr_expect_eq(got.expiry_s, 10);
    mqtt_answer(&phone, MQTT_PUBACK, got.packet_id);
    mqtt_leave(&phone);
    say(topic, "short", 5);
    say(topic, "long", 60);
    mqtt_advance(5 * SECOND_MS);
    phone_comes(true);
    cr_expect_eq(expect_text("long").expiry_s, 55);
    cr_expect_eq(expired(), 1);
    mqtt_leave(&phone);
}

Test(mqtt_expiry, who_speaks_3_1_1_gets_it_in_time_as_well)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    mqtt_leave(&phone);
    say("u/bob", "short", 5);
    say("u/bob", "long", 60);
    mqtt_advance(5 * SECOND_MS);
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    (void)expect_text("long");
    mqtt_leave(&phone);
}
