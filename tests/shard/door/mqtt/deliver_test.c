/* tests/shard/door/mqtt/deliver_test.c - messages to and from MQTT clients over whole shards: window, backlog, resuming, taking over. */
#include "shard/door/mqtt/rig.h"
#include "shard/door/door_internal.h"
#include "shard/door/mqtt/mqtt_internal.h"
#include "shard/engine/shard_internal.h"
#include <stdio.h>

static uint64_t alice, bob;
static struct mqtt_client phone;

static void setup(void)
{
    mqtt_begin();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(0, "bob");
}

TestSuite(mqtt_deliver, .init = setup, .fini = mqtt_finish, .timeout = 60);

static void write_to_bob(uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        char text[16];
        snprintf(text, sizeof text, "m%u", i);
        cr_assert_eq(rig_say(alice, bob, text, text), ERROR_NONE);
    }
}

static struct mqtt_got expect_text(uint32_t number, uint8_t flags)
{
    char text[16];
    snprintf(text, sizeof text, "m%u", number);
    struct mqtt_got got = mqtt_expect(&phone, MQTT_PUBLISH);
    cr_assert_str_eq(got.text, text);
    cr_assert_eq(got.flags, flags, "flags %d of %s", got.flags, text);
    return got;
}

static struct mqtt_got expect_message(void) { return mqtt_expect(&phone, MQTT_PUBLISH); }

static void expect_nothing(void)
{
    struct mqtt_got got;
    mqtt_settle();
    cr_expect(!mqtt_next(&phone, &got), "a packet of type %d: %s", got.type, got.text);
}

/* A room of alice's with bob in it; up to two may be made. */
static uint64_t make_room(char *client_room_id)
{
    uint64_t members[] = {bob};
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    in.name = in.client_room_id = client_room_id;
    in.member_ids = members;
    in.n_member_ids = 1;
    struct actor_record actor = rig_actor(alice, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *out = rig_replied(&ringpost__v1__create_room_response__descriptor);
    uint64_t room_id = out->room->room_id;
    protobuf_c_message_free_unpacked(&out->base, NULL);
    return room_id;
}

static void write_to_room(uint64_t from, uint64_t room_id, char *client_msg_id, char *text)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    in.room_id = room_id;
    in.client_msg_id = client_msg_id;
    in.body = (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
    struct actor_record actor = rig_actor(from, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/send", &in.base), ERROR_NONE);
}

#define QOS_1     2
#define QOS_2     4
#define DUPLICATE 8

Test(mqtt_deliver, nothing_is_read_while_it_is_up_to_date)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    write_to_bob(0, 1); /* makes the room */
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(0, QOS_1).packet_id);
    mqtt_settle();
    uint64_t reads = harness_metric(&rig.metrics.store_reads);
    write_to_bob(1, 200);
    for (uint32_t i = 1; i <= 200; i++) mqtt_answer(&phone, MQTT_PUBACK, expect_text(i, QOS_1).packet_id);
    mqtt_settle();
    cr_expect_eq(harness_metric(&rig.metrics.store_reads), reads);
    mqtt_leave(&phone);
}

Test(mqtt_deliver, a_full_window_is_caught_up_with_in_order)
{
    for (uint16_t window = 1; window <= 9; window = (uint16_t)(window + 4)) {
        mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5, .receive_maximum = window});
        cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
        write_to_bob(window * 1000u, 60);
        for (uint32_t i = 0; i < 60; i++) {
            struct mqtt_got got = expect_text(window * 1000u + i, QOS_1);
            if (i == 20) write_to_bob(window * 1000u + 60, 5);
            mqtt_answer(&phone, MQTT_PUBACK, got.packet_id);
        }
        for (uint32_t i = 60; i < 65; i++) mqtt_answer(&phone, MQTT_PUBACK, expect_text(window * 1000u + i, QOS_1).packet_id);
        expect_nothing();
        uint64_t reads = harness_metric(&rig.metrics.store_reads);
        write_to_bob(window * 1000u + 65, 1);
        mqtt_answer(&phone, MQTT_PUBACK, expect_text(window * 1000u + 65, QOS_1).packet_id);
        mqtt_settle();
        cr_expect_eq(harness_metric(&rig.metrics.store_reads), reads, "pushed again");
        mqtt_leave(&phone);
    }
}

Test(mqtt_deliver, no_more_than_the_window)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5, .receive_maximum = 3});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    write_to_bob(0, 10);
    for (uint32_t i = 0; i < 3; i++) (void)expect_text(i, QOS_1);
    expect_nothing();
    mqtt_leave(&phone);
}

/* The stream of this rig keeps 1,000 events. */
Test(mqtt_deliver, who_is_far_behind_is_read_on_to)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5, .receive_maximum = 3});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    write_to_bob(0, 1000);
    for (uint32_t i = 0; i < 1000; i++) mqtt_answer(&phone, MQTT_PUBACK, expect_text(i, QOS_1).packet_id);
    expect_nothing();
    mqtt_leave(&phone);
}

Test(mqtt_deliver, who_is_further_behind_than_the_stream_hears_it_and_begins_anew)
{
    for (uint8_t version = MQTT_3_1_1; version <= MQTT_5; version++) {
        struct mqtt_how how = {.version = version, .persistent = true, .receive_maximum = version == MQTT_5 ? 3 : 0};
        uint32_t window = version == MQTT_5 ? 3 : MQTT_WINDOW_MAX, first = version * 10000u;
        uint64_t fell_out = harness_metric(&rig.metrics.mqtt_fell_out);
        mqtt_come(&phone, bob, "phone", how);
        cr_expect_not(phone.present);
        cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
        write_to_bob(first, window + 1000);
        for (uint32_t i = 0; i < window; i++) (void)expect_text(first + i, QOS_1);
        expect_nothing();
        write_to_bob(first + window + 1000, 2); /* the first and the next one that it has not got */
        if (version == MQTT_5) cr_expect_eq(mqtt_expect(&phone, MQTT_DISCONNECT).reason, MQTT_QUOTA_EXCEEDED);
        mqtt_expect_end(&phone);
        cr_expect_eq(harness_metric(&rig.metrics.mqtt_fell_out), fell_out + 1);
        mqtt_drop(&phone);
        mqtt_come(&phone, bob, "phone", how);
        cr_expect_not(phone.present, "what it was promised cannot be kept");
        expect_nothing();
        cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
        write_to_bob(first + 5000, 1);
        mqtt_answer(&phone, MQTT_PUBACK, expect_text(first + 5000, QOS_1).packet_id);
        mqtt_leave(&phone);
        mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = version}); /* ends the session */
        mqtt_leave(&phone);
    }
}

Test(mqtt_deliver, a_session_that_the_stream_has_left_behind_is_over)
{
    struct mqtt_how how = {.persistent = true};
    mqtt_come(&phone, bob, "phone", how);
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    mqtt_leave(&phone);
    write_to_bob(0, 999); /* and the room that they make */
    mqtt_come(&phone, bob, "phone", how);
    cr_expect(phone.present);
    (void)expect_text(0, QOS_1);
    mqtt_drop(&phone);
    write_to_bob(999, 2);
    mqtt_come(&phone, bob, "phone", how);
    cr_expect_not(phone.present);
    expect_nothing();
    mqtt_leave(&phone);
}

Test(mqtt_deliver, what_was_not_acknowledged_comes_again)
{
    uint16_t ids[4];
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_expect_not(phone.present);
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    write_to_bob(0, 4);
    for (uint32_t i = 0; i < 4; i++) ids[i] = expect_text(i, QOS_1).packet_id;
    mqtt_answer(&phone, MQTT_PUBACK, ids[0]);
    mqtt_settle();
    mqtt_drop(&phone);
    write_to_bob(4, 2);
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_expect(phone.present);
    for (uint32_t i = 1; i < 4; i++) cr_expect_eq(expect_text(i, QOS_1 | DUPLICATE).packet_id, ids[i]);
    for (uint32_t i = 4; i < 6; i++) (void)expect_text(i, QOS_1);
    expect_nothing();
    mqtt_leave(&phone);
}

/* What the message was published with, if that is less than what was granted; another door's comes with what was granted. */
Test(mqtt_deliver, delivered_with_the_smaller_qos)
{
    uint64_t small_id = make_room("small"), large_id = make_room("large");
    uint64_t more[] = {rig_add_user(0, "carol"), rig_add_user(0, "dave")};
    Ringpost__V1__InviteRequest in = RINGPOST__V1__INVITE_REQUEST__INIT;
    in.room_id = large_id;
    in.user_ids = more;
    in.n_user_ids = 2;
    struct actor_record actor = rig_actor(alice, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/invite", &in.base), ERROR_NONE);
    struct mqtt_client sender;
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = MQTT_5});
    for (uint8_t granted = 0; granted <= 2; granted++) {
        char topics[3][32], text[16];
        snprintf(topics[0], 32, "u/bob");
        snprintf(topics[1], 32, "r/%llu", (unsigned long long)small_id);
        snprintf(topics[2], 32, "r/%llu", (unsigned long long)large_id);
        mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5});
        for (uint32_t i = 0; i < 3; i++) cr_assert_eq(mqtt_listen(&phone, topics[i], granted), granted);
        for (uint32_t i = 0; i < 9; i++) {
            uint8_t published = (uint8_t)(i % 3), want = published < granted ? published : granted;
            snprintf(text, sizeof text, "%u of %u", i, granted);
            mqtt_say(&sender, topics[i / 3], text, (uint8_t)(0x30 | published << 1), (uint16_t)(i + 1));
            if (published > 0) (void)mqtt_expect(&sender, published == 1 ? MQTT_PUBACK : MQTT_PUBREC);
            struct mqtt_got got = expect_message();
            cr_expect_str_eq(got.text, text);
            cr_expect_eq(got.flags, want << 1, "granted %d, published %d, %s: %d", granted, published, topics[i / 3], got.flags);
        }
        char id[] = "http 0";
        id[5] = (char)('0' + granted);
        write_to_room(alice, small_id, id, id);
        cr_expect_eq(expect_message().flags, granted << 1, "from another door");
        mqtt_leave(&phone);
    }
    mqtt_leave(&sender);
}

Test(mqtt_deliver, qos_2_once_over_every_step)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 2), 2);
    write_to_bob(0, 3);
    uint16_t first = expect_text(0, QOS_2).packet_id, second = expect_text(1, QOS_2).packet_id;
    uint16_t third = expect_text(2, QOS_2).packet_id;
    rig.disks_held = true;
    mqtt_answer(&phone, MQTT_PUBREC, second); /* before the first */
    expect_nothing();                         /* its PUBREL is a promise: it waits for the disk */
    rig.disks_held = false;
    cr_expect_eq(mqtt_expect(&phone, MQTT_PUBREL).packet_id, second);
    mqtt_drop(&phone);
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_expect_eq(mqtt_expect(&phone, MQTT_PUBREL).packet_id, second, "again: PUBCOMP has not come");
    cr_expect_eq(expect_text(0, QOS_2 | DUPLICATE).packet_id, first);
    cr_expect_eq(expect_text(2, QOS_2 | DUPLICATE).packet_id, third);
    const uint16_t all[] = {first, third};
    for (uint32_t i = 0; i < 2; i++) {
        mqtt_answer(&phone, MQTT_PUBREC, all[i]);
        cr_expect_eq(mqtt_expect(&phone, MQTT_PUBREL).packet_id, all[i]);
        mqtt_answer(&phone, MQTT_PUBCOMP, all[i]);
    }
    mqtt_answer(&phone, MQTT_PUBCOMP, second);
    expect_nothing();
    mqtt_leave(&phone);
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    expect_nothing();
    mqtt_leave(&phone);
}

Test(mqtt_deliver, taken_over_with_a_full_window)
{
    struct mqtt_client old;
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5, .persistent = true, .receive_maximum = 4});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    write_to_bob(0, 20);
    uint16_t ids[4];
    for (uint32_t i = 0; i < 4; i++) ids[i] = expect_text(i, QOS_1).packet_id;
    mqtt_answer(&phone, MQTT_PUBACK, ids[0]);
    mqtt_answer(&phone, MQTT_PUBACK, ids[1]);
    (void)expect_text(4, QOS_1);
    (void)expect_text(5, QOS_1);
    old = phone;
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5, .persistent = true, .receive_maximum = 100});
    cr_expect(phone.present);
    for (uint32_t i = 2; i < 6; i++) (void)expect_text(i, QOS_1 | DUPLICATE);
    for (uint32_t i = 6; i < 20; i++) (void)expect_text(i, QOS_1);
    expect_nothing();
    cr_expect_eq(mqtt_expect(&old, MQTT_DISCONNECT).reason, MQTT_TAKEN_OVER);
    mqtt_expect_end(&old);
    mqtt_drop(&old);
    mqtt_leave(&phone);
}

Test(mqtt_deliver, taken_over_by_a_clean_start)
{
    struct mqtt_client old;
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    write_to_bob(0, 2);
    (void)expect_text(0, QOS_1);
    old = phone;
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){0});
    cr_expect_not(phone.present);
    expect_nothing();
    mqtt_drop(&old);
    mqtt_leave(&phone);
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_expect_not(phone.present, "it was ended for good");
    mqtt_leave(&phone);
}

Test(mqtt_deliver, unsubscribing_is_durable_before_it_is_said)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.persistent = true});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 1), 1);
    rig.disks_held = true;
    peer_send(&phone.peer, "\xa2\x09\0\2\0\5u/bob\xc0\0", 13); /* and a PINGREQ behind it */
    expect_nothing();
    rig.disks_held = false;
    cr_expect_eq(mqtt_expect(&phone, MQTT_UNSUBACK).packet_id, 2);
    (void)mqtt_expect(&phone, MQTT_PINGRESP);
    write_to_bob(0, 1);
    expect_nothing();
    mqtt_leave(&phone);
}

Test(mqtt_deliver, silence_ends_it)
{
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.keep_alive_s = 10});
    for (uint32_t i = 0; i < 5; i++) {
        mqtt_advance(12000);
        peer_send(&phone.peer, "\xc0\0", 2);
        (void)mqtt_expect(&phone, MQTT_PINGRESP);
    }
    mqtt_advance(14000);
    cr_expect_not(peer_ended(&phone.peer));
    mqtt_advance(2000);
    mqtt_expect_end(&phone);
    mqtt_drop(&phone);
}

/* ---- from the client ---- */

Test(mqtt_deliver, a_packet_id_used_again_is_another_message)
{
    static const struct {
        const char *text;
        uint8_t first_byte;
    } said[] = {{"one", 0x32}, {"one", 0x3a}, {"two", 0x32}, {"two", 0x3a}, {"two", 0x3a}, {"three", 0x34}, {"three", 0x3c}};
    struct mqtt_client sender;
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){0});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 0), 0);
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){0});
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        mqtt_say(&sender, "u/bob", said[i].text, said[i].first_byte, 1);
        (void)mqtt_expect(&sender, (said[i].first_byte & 4) != 0 ? MQTT_PUBREC : MQTT_PUBACK);
    }
    static const char *const want[] = {"one", "two", "three"};
    for (size_t i = 0; i < 3; i++) cr_expect_str_eq(mqtt_expect(&phone, MQTT_PUBLISH).text, want[i]);
    expect_nothing();
    mqtt_leave(&sender);
    mqtt_leave(&phone);
}

Test(mqtt_deliver, sent_again_in_the_next_connection)
{
    struct mqtt_client sender;
    char text[16];
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){0});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 0), 0);
    for (uint32_t turn = 0; turn < 3; turn++) {
        mqtt_come(&sender, alice, "sender", (struct mqtt_how){.persistent = true});
        cr_expect_eq(sender.present, turn > 0);
        for (uint16_t i = 0; i < 100; i++) { /* more than are remembered, and over the end of the packet ids */
            snprintf(text, sizeof text, "m%u", i);
            mqtt_say(&sender, "u/bob", text, turn == 0 ? 0x34 : 0x3c, (uint16_t)(65500 + i < 65536 ? 65500 + i : i - 35));
            (void)mqtt_expect(&sender, MQTT_PUBREC);
        }
        mqtt_drop(&sender);
    }
    for (uint32_t i = 0; i < 100; i++) (void)expect_text(i, 0);
    expect_nothing();
    mqtt_leave(&phone);
}

Test(mqtt_deliver, acknowledged_in_order_and_when_durable)
{
    struct mqtt_client sender;
    struct mqtt_got got;
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = MQTT_5});
    rig.disks_held = true;
    mqtt_say(&sender, "u/bob", "first", 0x32, 9);
    mqtt_say(&sender, "u/nobody", "refused at once", 0x32, 5);
    mqtt_say(&sender, "u/bob", "second", 0x32, 6);
    mqtt_settle();
    cr_expect_not(mqtt_next(&sender, &got), "nothing is on disk");
    rig.disks_held = false;
    static const uint16_t want[] = {9, 5, 6};
    for (size_t i = 0; i < 3; i++) {
        got = mqtt_expect(&sender, MQTT_PUBACK);
        cr_expect_eq(got.packet_id, want[i]);
        cr_expect_eq(got.reason, i == 1 ? MQTT_BAD_TOPIC : MQTT_SUCCESS);
    }
    mqtt_leave(&sender);
}

/* What is on disk is acknowledged, whatever is wrong with a packet that came in the same read. */
Test(mqtt_deliver, a_refusal_does_not_throw_away_acknowledgements)
{
    for (uint8_t version = MQTT_3_1_1; version <= MQTT_5; version++) {
        struct mqtt_client sender;
        struct mqtt_got got;
        mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = version});
        rig.disks_held = true;
        mqtt_say(&sender, "u/bob", "first", 0x32, 9);
        mqtt_say(&sender, "elsewhere", "refused at once", 0x32, 5);
        mqtt_say(&sender, "u/bob", "second", 0x34, 6);
        mqtt_settle();
        rig.disks_held = false;
        cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).packet_id, 9);
        if (version == MQTT_5) cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).reason, MQTT_BAD_TOPIC);
        cr_expect_eq(mqtt_expect(&sender, MQTT_PUBREC).packet_id, 6);
        if (version == MQTT_3_1_1) mqtt_expect_end(&sender);
        cr_expect_not(mqtt_next(&sender, &got));
        mqtt_drop(&sender);
    }
}

Test(mqtt_deliver, a_malformed_packet_does_not_throw_away_acknowledgements)
{
    for (uint8_t version = MQTT_3_1_1; version <= MQTT_5; version++) {
        struct mqtt_client sender;
        mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = version});
        rig.disks_held = true;
        mqtt_say(&sender, "u/bob", "durable", 0x32, 9);
        mqtt_say(&sender, "u/bob", "of QoS 3", 0x36, 10);
        mqtt_say(&sender, "u/bob", "never read", 0x32, 11);
        mqtt_settle();
        rig.disks_held = false;
        cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).packet_id, 9);
        if (version == MQTT_5) cr_expect_eq(mqtt_expect(&sender, MQTT_DISCONNECT).reason, MQTT_MALFORMED);
        mqtt_expect_end(&sender);
        mqtt_drop(&sender);
    }
}

/* What the server calls the last message of a room. */
static void last_id(uint64_t room_id, char id[64])
{
    Ringpost__V1__HistoryRequest in = RINGPOST__V1__HISTORY_REQUEST__INIT;
    in.room_id = room_id;
    in.limit = 1;
    struct actor_record actor = rig_actor(alice, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/history", &in.base), ERROR_NONE);
    Ringpost__V1__HistoryResponse *out = rig_replied(&ringpost__v1__history_response__descriptor);
    snprintf(id, 64, "%s", out->messages[0]->client_msg_id);
    protobuf_c_message_free_unpacked(&out->base, NULL);
}

static void expected_id(char id[64], uint64_t epoch, char kind, uint64_t number)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    for (uint32_t i = 0; i < 11; i++) *id++ = digits[epoch >> (6 * i) & 63];
    *id++ = kind;
    do *id++ = digits[number & 63];
    while ((number >>= 6) != 0);
    *id = '\0';
}

/* They are part of the directory's format: a message that is sent again is known by the id that an earlier version gave it. */
Test(mqtt_deliver, the_ids_that_messages_get_stay_as_they_are)
{
    uint64_t room_id = make_room("room");
    char topic[32], id[64], want[64];
    struct mqtt_client sender;
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){.persistent = true});
    mqtt_say(&sender, topic, "first", 0x34, 700);
    (void)mqtt_expect(&sender, MQTT_PUBREC);
    mqtt_answer(&sender, MQTT_PUBREL, 700);
    (void)mqtt_expect(&sender, MQTT_PUBCOMP);
    mqtt_say(&sender, topic, "second", 0x34, 700);
    (void)mqtt_expect(&sender, MQTT_PUBREC);
    last_id(room_id, id);
    mqtt_drop(&sender);
    struct entity *state = machine_entity(shard_machine(rig.shards[0]), ENTITY_MQTT, alice, 0);
    struct mqtt_session_record session;
    cr_assert(mqtt_state_find(mqtt_state_of(state), SLICE_TEXT("sender"), &session));
    struct cursor c = cursor_of(session.recent);
    cr_expect_eq(cursor_u16(&c), 700);
    cr_expect_eq(cursor_u32(&c), 1u << 31, "the first turn of packet ids, released");
    uint64_t epoch = cursor_u64(&c);
    cr_expect_eq(cursor_u16(&c), 700);
    cr_expect_eq(cursor_u32(&c), 1, "the second");
    cr_expect_eq(cursor_u64(&c), epoch);
    cr_expect(cursor_done(&c));
    expected_id(want, epoch, '.', 1u << 16 | 700);
    cr_expect_str_eq(id, want);
}

#define NO_LOCAL 4

Test(mqtt_deliver, no_local_hides_what_this_client_said_and_nothing_else)
{
    uint64_t room_id = make_room("one"), other_id = make_room("two");
    char topic[32], id[64];
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    mqtt_come(&phone, alice, "phone", (struct mqtt_how){.version = MQTT_5, .persistent = true});
    cr_assert_eq(mqtt_listen(&phone, "r/+", 1 | NO_LOCAL), 1);
    mqtt_say(&phone, topic, "mine", 0x32, 1);
    (void)mqtt_expect(&phone, MQTT_PUBACK);
    last_id(room_id, id);
    write_to_room(bob, room_id, id, "bob copied the id");
    cr_expect_str_eq(mqtt_expect(&phone, MQTT_PUBLISH).text, "bob copied the id");
    write_to_room(alice, other_id, id, "her other device, elsewhere");
    struct mqtt_got got = mqtt_expect(&phone, MQTT_PUBLISH);
    cr_expect_str_eq(got.text, "her other device, elsewhere");
    mqtt_answer(&phone, MQTT_PUBACK, got.packet_id);
    mqtt_say(&phone, topic, "mine before I left", 0x32, 2);
    (void)mqtt_expect(&phone, MQTT_PUBACK);
    mqtt_drop(&phone);
    mqtt_come(&phone, alice, "phone", (struct mqtt_how){.version = MQTT_5, .persistent = true});
    cr_expect_str_eq(mqtt_expect(&phone, MQTT_PUBLISH).text, "bob copied the id", "again: it was not acknowledged");
    expect_nothing(); /* of "mine before I left" */
    mqtt_leave(&phone);
}

/* ---- retained ---- */

/* Subscribes as MQTT 3.1.1; the retained message, or "". */
static void retained_of(const char *topic, char text[64])
{
    struct mqtt_client late;
    struct mqtt_got got;
    uint8_t packet[64] = {0x82, (uint8_t)(strlen(topic) + 5), 0, 1, 0, (uint8_t)strlen(topic)};
    memcpy(packet + 6, topic, strlen(topic));
    mqtt_come(&late, bob, "late", (struct mqtt_how){0});
    peer_send(&late.peer, packet, 7 + strlen(topic)); /* the last byte: QoS 0 */
    text[0] = '\0';
    do {
        MQTT_UNTIL(peer_has(&late.peer, 4)); /* SUBACK is the last, with five bytes */
        cr_assert(mqtt_next(&late, &got));
        if (got.type == MQTT_PUBLISH) memcpy(text, got.text, 64);
    } while (got.type != MQTT_SUBACK);
    mqtt_leave(&late);
}

Test(mqtt_deliver, a_retained_publish_without_payload_clears_and_is_no_message)
{
    uint64_t room_id = make_room("room");
    char topic[32], text[64];
    struct mqtt_client sender;
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = MQTT_5});
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){0});
    cr_assert_eq(mqtt_listen(&phone, topic, 0), 0);
    mqtt_say(&sender, topic, "state", 0x33, 1);
    (void)mqtt_expect(&sender, MQTT_PUBACK);
    cr_expect_str_eq(expect_message().text, "state");
    retained_of(topic, text);
    cr_expect_str_eq(text, "state");
    mqtt_say(&sender, topic, "", 0x33, 2);
    mqtt_say(&sender, topic, "", 0x35, 3);
    mqtt_say(&sender, "u/bob", "", 0x33, 4); /* nothing is retained there */
    cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).reason, MQTT_SUCCESS);
    cr_expect_eq(mqtt_expect(&sender, MQTT_PUBREC).reason, MQTT_SUCCESS);
    cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).reason, MQTT_SUCCESS);
    retained_of(topic, text);
    cr_expect_str_eq(text, "");
    expect_nothing();
    mqtt_say(&sender, topic, "next state", 0x33, 5);
    (void)mqtt_expect(&sender, MQTT_PUBACK);
    cr_expect_str_eq(expect_message().text, "next state");
    retained_of(topic, text);
    cr_expect_str_eq(text, "next state");
    mqtt_leave(&sender);
    mqtt_leave(&phone);
}

/* ---- what newcomers get ---- */

static void hide_history(uint64_t room_id)
{
    Ringpost__V1__UpdateRoomRequest in = RINGPOST__V1__UPDATE_ROOM_REQUEST__INIT;
    in.room_id = room_id;
    in.history = RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN;
    struct actor_record actor = rig_actor(alice, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/update", &in.base), ERROR_NONE);
}

static void change_members(const char *path, uint64_t room_id, uint64_t *user_ids, size_t count)
{
    Ringpost__V1__InviteRequest in = RINGPOST__V1__INVITE_REQUEST__INIT; /* remove has the same fields */
    in.room_id = room_id;
    in.user_ids = user_ids;
    in.n_user_ids = count;
    struct actor_record actor = rig_actor(alice, "other");
    cr_assert_eq(rig_call(&actor, 0, 0, path, &in.base), ERROR_NONE);
}

Test(mqtt_deliver, what_is_retained_of_a_room_is_for_those_who_were_there)
{
    uint64_t room_id = make_room("room");
    char topic[32], text[64];
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    change_members("/v1/room/remove", room_id, &bob, 1);
    write_to_room(alice, room_id, "1", "state");
    change_members("/v1/room/invite", room_id, &bob, 1);
    retained_of(topic, text);
    cr_expect_str_eq(text, "state");
    hide_history(room_id);
    retained_of(topic, text);
    cr_expect_str_eq(text, "", "bob was not there");
    write_to_room(alice, room_id, "2", "next state");
    retained_of(topic, text);
    cr_expect_str_eq(text, "next state");
}

/* His kept session has got as far as the first membership went; between the two nothing is his. */
Test(mqtt_deliver, who_comes_back_into_a_large_room_goes_on_from_there)
{
    uint64_t room_id = make_room("room"), crowd[2] = {rig_add_user(0, "carol"), rig_add_user(0, "dave")};
    change_members("/v1/room/invite", room_id, crowd, 2);
    hide_history(room_id);
    char topic[32];
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    struct mqtt_how kept = {.version = MQTT_5, .persistent = true};
    mqtt_come(&phone, bob, "phone", kept);
    cr_assert_eq(mqtt_listen(&phone, topic, 1), 1);
    write_to_room(alice, room_id, "1", "m1");
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(1, QOS_1).packet_id);
    mqtt_leave(&phone);
    change_members("/v1/room/remove", room_id, &bob, 1);
    for (uint32_t i = 2; i < 6; i++) write_to_room(alice, room_id, (char[]){(char)('0' + i), '\0'}, "not bob's");
    change_members("/v1/room/invite", room_id, &bob, 1);
    write_to_room(alice, room_id, "6", "m6");
    write_to_room(alice, room_id, "7", "m7");
    mqtt_come(&phone, bob, "phone", kept);
    cr_expect(phone.present);
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(6, QOS_1).packet_id);
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(7, QOS_1).packet_id);
    write_to_room(alice, room_id, "8", "m8");
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(8, QOS_1).packet_id);
    expect_nothing();
    mqtt_leave(&phone);
}

/* The page of history that was asked for does not have it yet, and it was pushed out of turn. */
Test(mqtt_deliver, what_is_said_in_a_large_room_while_its_history_is_read_is_heard)
{
    uint64_t room_id = make_room("room"), crowd[2] = {rig_add_user(0, "carol"), rig_add_user(0, "dave")};
    change_members("/v1/room/invite", room_id, crowd, 2);
    char topic[32];
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    struct mqtt_how kept = {.version = MQTT_5, .persistent = true};
    mqtt_come(&phone, bob, "phone", kept);
    cr_assert_eq(mqtt_listen(&phone, topic, 1), 1);
    mqtt_leave(&phone);
    write_to_room(alice, room_id, "1", "m1");
    mqtt_hold_answer(RINGPOST__V1__REQUEST__METHOD_HISTORY);
    mqtt_come(&phone, bob, "phone", kept);
    mqtt_settle();
    write_to_room(alice, room_id, "2", "m2");
    mqtt_give_answer();
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(1, QOS_1).packet_id);
    mqtt_answer(&phone, MQTT_PUBACK, expect_text(2, QOS_1).packet_id);
    expect_nothing();
    mqtt_leave(&phone);
}

Test(mqtt_deliver, only_members_clear_what_is_retained)
{
    uint64_t room_id = make_room("room"), carol = rig_add_user(0, "carol");
    char topic[32], text[64];
    struct mqtt_client sender;
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    write_to_room(alice, room_id, "1", "state");
    mqtt_come(&sender, carol, "sender", (struct mqtt_how){.version = MQTT_5});
    mqtt_say(&sender, topic, "", 0x33, 1);
    cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).reason, MQTT_NOT_AUTHORIZED);
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)id_make(7, ID_ROOM, 1));
    mqtt_say(&sender, topic, "", 0x33, 2);
    cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).reason, MQTT_NOT_AUTHORIZED, "as for a room that there is");
    mqtt_leave(&sender);
    snprintf(topic, sizeof topic, "r/%llu", (unsigned long long)room_id);
    retained_of(topic, text);
    cr_expect_str_eq(text, "state");
}

/* As text it would be refused: a message of text says something. */
Test(mqtt_deliver, an_empty_payload_of_any_format_is_taken)
{
    static const char *const properties[] = {"\0", "\2\1\0", "\2\1\1", "\x0d\3\0\x0atext/plain", "\x0f\1\1\3\0\x0atext/plain"};
    static const uint8_t sizes[] = {1, 3, 3, 14, 16};
    struct mqtt_client sender;
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = MQTT_5});
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 0), 0);
    for (size_t i = 0; i < sizeof sizes; i++) {
        uint8_t packet[40] = {0x32, (uint8_t)(9 + sizes[i]), 0, 5, 'u', '/', 'b', 'o', 'b', 0, (uint8_t)(i + 1)};
        memcpy(packet + 11, properties[i], sizes[i]);
        peer_send(&sender.peer, packet, 11u + sizes[i]);
        cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).reason, MQTT_SUCCESS, "%zu", i);
        cr_expect_str_eq(expect_message().text, "");
    }
    mqtt_leave(&sender);
    mqtt_leave(&phone);
}

Test(mqtt_deliver, what_is_no_packet_does_not_throw_away_acknowledgements)
{
    static const struct {
        const char *bytes;
        uint8_t want;
    } cases[] = {{"\x32\xff\xff\xff\xff\1", MQTT_MALFORMED}, {"\x32\xff\xff\x7f", MQTT_PACKET_TOO_LARGE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mqtt_client sender;
        mqtt_come(&sender, alice, "sender", (struct mqtt_how){.version = MQTT_5});
        rig.disks_held = true;
        mqtt_say(&sender, "u/bob", "durable", 0x32, 9);
        peer_send(&sender.peer, cases[i].bytes, strlen(cases[i].bytes));
        mqtt_settle();
        rig.disks_held = false;
        cr_expect_eq(mqtt_expect(&sender, MQTT_PUBACK).packet_id, 9);
        cr_expect_eq(mqtt_expect(&sender, MQTT_DISCONNECT).reason, cases[i].want);
        mqtt_expect_end(&sender);
        mqtt_drop(&sender);
    }
}

/* ---- held while the shard is full ---- */

static uint64_t held(void)
{
    mqtt_settle();
    return harness_metric(&rig.metrics.clients_held);
}

static void say_some(struct mqtt_client *sender, uint16_t count)
{
    for (uint16_t i = 1; i <= count; i++) {
        char text[16];
        snprintf(text, sizeof text, "m%u", i);
        mqtt_say(sender, "u/bob", text, 0x32, i);
    }
}

/* Ten at once, then ten a second. */
static void limit_rate(void)
{
    rig.setup.options.messages_per_second = rig.setup.options.messages_burst = 10;
}

Test(mqtt_deliver, who_writes_too_fast_is_read_from_more_slowly)
{
    for (uint8_t qos = 0; qos <= 2; qos++) {
        struct mqtt_client sender;
        struct mqtt_got got;
        char text[16];
        write_to_bob(qos * 100u, 1); /* makes the room */
        mqtt_come(&phone, bob, "phone", (struct mqtt_how){0});
        cr_assert_eq(mqtt_listen(&phone, "u/bob", 0), 0);
        mqtt_come(&sender, alice, "sender", (struct mqtt_how){.keep_alive_s = 1});
        limit_rate();
        for (uint16_t i = 1; i <= 40; i++) {
            snprintf(text, sizeof text, "%u", i);
            mqtt_say(&sender, "u/bob", text, (uint8_t)(0x30 | qos << 1), i);
        }
        peer_send(&sender.peer, "\xe0\0", 2); /* DISCONNECT is read when its turn comes */
        uint32_t count = 0;
        for (uint32_t turns = 0; count < 40 && turns < HARNESS_TURNS_MAX; turns++) {
            mqtt_advance(100);
            while (mqtt_next(&phone, &got)) cr_expect_eq(strtoul(got.text, NULL, 10), ++count);
            if (turns == 5) cr_expect_lt(count, 20, "%u came within half a second", count);
        }
        cr_expect_eq(count, 40);
        mqtt_drop(&sender);
        mqtt_leave(&phone);
        rig.setup.options.messages_per_second = 0;
    }
    cr_expect_gt(harness_metric(&rig.metrics.mqtt_slowed), 0);
}

Test(mqtt_deliver, who_is_slowed_can_be_ended)
{
    struct mqtt_client sender;
    write_to_bob(0, 1);
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){0});
    limit_rate();
    say_some(&sender, 20);
    mqtt_settle();
    cr_expect_gt(harness_metric(&rig.metrics.mqtt_slowed), 0);
    const struct entity *inbox = machine_entity(shard_machine(rig.shards[0]), ENTITY_INBOX, alice, 0);
    session_kick(((const struct inbox *)inbox)->sessions, CLOSE_REVOKED, "revoked");
    mqtt_expect_end(&sender);
    mqtt_drop(&sender);
    mqtt_advance(3000);
}

/* The store is held with something to write: what comes now waits for room. */
static void overload(void)
{
    rig.shards[0]->options.limits.store_backlog_max_bytes = 1;
    rig.stores_held = true;
    cr_assert_eq(rig_say(alice, bob, "fills", "the backlog"), ERROR_NONE);
}

Test(mqtt_deliver, a_full_shard_holds_its_clients_and_nothing_is_refused)
{
    struct mqtt_client senders[3];
    write_to_bob(0, 1); /* makes the room */
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){0});
    cr_assert_eq(mqtt_listen(&phone, "u/bob", 0), 0);
    static const char *const devices[] = {"first", "second", "phone"}; /* the phone is known already */
    for (size_t i = 0; i < 3; i++) {
        mqtt_come(&senders[i], alice, devices[i], (struct mqtt_how){.keep_alive_s = 4});
        mqtt_say(&senders[i], "u/bob", "who is bob", 0x32, 100); /* his id is remembered */
        (void)mqtt_expect(&senders[i], MQTT_PUBACK);
        (void)mqtt_expect(&phone, MQTT_PUBLISH);
    }
    overload();
    say_some(&senders[0], 20);
    say_some(&senders[1], 20);
    say_some(&senders[2], 1);
    cr_expect_eq(held(), 3);
    cr_expect_eq(harness_metric(&rig.metrics.requests_parked), 3, "one request of each");
    mqtt_drop(&senders[2]);
    cr_expect_eq(held(), 2, "closed while it was held");
    mqtt_advance(8000); /* longer than they may be silent: nobody listened */
    rig.stores_held = false;
    for (uint16_t i = 1; i <= 20; i++)
        for (size_t n = 0; n < 2; n++) cr_expect_eq(mqtt_expect(&senders[n], MQTT_PUBACK).packet_id, i);
    cr_expect_eq(held(), 0);
    mqtt_leave(&senders[0]);
    mqtt_leave(&senders[1]);
    struct mqtt_got got;
    uint32_t count = 0;
    while (mqtt_next(&phone, &got)) count++;
    cr_expect_eq(count, 42, "the backlog's, 20, 20, and one of who left");
    mqtt_leave(&phone);
}

Test(mqtt_deliver, a_held_client_can_be_ended)
{
    struct mqtt_client sender;
    write_to_bob(0, 1);
    mqtt_come(&sender, alice, "sender", (struct mqtt_how){0});
    mqtt_say(&sender, "u/bob", "who is bob", 0x32, 100);
    (void)mqtt_expect(&sender, MQTT_PUBACK);
    overload();
    say_some(&sender, 20);
    cr_expect_eq(held(), 1);
    const struct entity *inbox = machine_entity(shard_machine(rig.shards[0]), ENTITY_INBOX, alice, 0);
    session_kick(((const struct inbox *)inbox)->sessions, CLOSE_REVOKED, "revoked");
    mqtt_expect_end(&sender);
    mqtt_drop(&sender);
    cr_expect_eq(held(), 0);
}

/* ---- topics ---- */

Test(mqtt_topics, name_users_and_rooms)
{
    char user[32], room[32];
    uint64_t user_id = id_make(0, ID_USER, 5), room_id = id_make(0, ID_ROOM, 5);
    snprintf(user, sizeof user, "u/%llu", (unsigned long long)user_id);
    snprintf(room, sizeof room, "r/%llu", (unsigned long long)room_id);
    char crossed[32];
    snprintf(crossed, sizeof crossed, "r/%llu", (unsigned long long)user_id);
    const struct {
        const char *topic;
        enum mqtt_target_kind want;
    } cases[] = {{user, MQTT_TARGET_USER},       {room, MQTT_TARGET_ROOM},   {"u/alice", MQTT_TARGET_NAME}, {crossed, MQTT_TARGET_NONE},
                 {"r/0", MQTT_TARGET_NONE},      {"r/", MQTT_TARGET_NONE},   {"u/", MQTT_TARGET_NONE},      {"", MQTT_TARGET_NONE},
                 {"r/alice", MQTT_TARGET_NONE},  {"x/alice", MQTT_TARGET_NONE}, {"u/alice/x", MQTT_TARGET_NONE},
                 {"u/+", MQTT_TARGET_NONE},      {"r/99999999999999999999999", MQTT_TARGET_NONE}, {"r/01", MQTT_TARGET_NONE},
                 {"u/a name that is longer than any name may be", MQTT_TARGET_NONE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(mqtt_target_of(slice_text(cases[i].topic)).kind, cases[i].want, "%s", cases[i].topic);
}

/* What is answered at once waits for the answers before it, and not without bound: the connection is not read from meanwhile. */
Test(mqtt_deliver, answers_that_wait_for_an_earlier_one_are_bounded)
{
    enum { MANY = 2000 };
    mqtt_come(&phone, bob, "phone", (struct mqtt_how){.version = MQTT_5});
    const struct entity *inbox = machine_entity(shard_machine(rig.shards[0]), ENTITY_INBOX, bob, 0);
    const struct client *client = ((const struct inbox *)inbox)->sessions->connection;
    mqtt_say(&phone, "u/alice", "first", 0x32, 1);
    for (uint16_t id = 2; id <= MANY; id++) mqtt_say(&phone, "$", "", 0x32, id);
    for (uint16_t id = 1; id <= MANY; id++) cr_assert_eq(mqtt_expect(&phone, MQTT_PUBACK).packet_id, id);
    cr_expect_leq(client->mqtt->sender->receipt_capacity, 2u * DOOR_IN_FLIGHT_MAX);
    mqtt_leave(&phone);
}
