/* tests/shard/door/mqtt/will_test.c - wills: when they are sent, and when they are not. What a crash of the server does to them is in
 * tests/e2e/mqtt_test.py. */
#include "shard/door/mqtt/rig.h"
#include "shard/engine/shard_internal.h"
#include <stdio.h>
#include <sys/socket.h>

#define SECOND_MS 1000u

static uint64_t alice, bob;
static struct mqtt_client watcher, sensor; /* bob's, alice's */

static void setup(void)
{
    mqtt_begin();
    alice = rig_add_user(0, "alice");
    bob = rig_add_user(0, "bob");
    mqtt_come(&watcher, bob, "watcher", (struct mqtt_how){.version = MQTT_5});
    cr_assert_eq(mqtt_listen(&watcher, "u/bob", 0), 0);
}

static void teardown(void)
{
    mqtt_leave(&watcher);
    mqtt_settle();
    cr_expect_eq(shard_machine(rig.shards[0])->timers.waiting, 0, "nothing is left of any will");
    mqtt_finish();
}

TestSuite(mqtt_will, .init = setup, .fini = teardown, .timeout = 60);

static void sensor_comes(bool persistent, uint8_t delay_s)
{
    mqtt_come(&sensor, alice, "sensor",
              (struct mqtt_how){.version = MQTT_5, .persistent = persistent, .will_topic = "u/bob", .will_text = "gone", .will_delay_s = delay_s});
}

static void sensor_comes_back(bool anew)
{
    mqtt_come(&sensor, alice, "sensor", (struct mqtt_how){.version = MQTT_5, .persistent = true, .anew = anew});
}

static void expect_will(void) { cr_expect_str_eq(mqtt_expect(&watcher, MQTT_PUBLISH).text, "gone"); }

static void expect_nothing(void)
{
    struct mqtt_got got;
    mqtt_settle();
    cr_expect(!mqtt_next(&watcher, &got), "a packet of type %d: %s", got.type, got.text);
}

static void send_farewell(uint8_t reason)
{
    const uint8_t packet[] = {0xe0, 1, reason};
    peer_send(&sensor.peer, packet, sizeof packet);
    mqtt_settle();
    mqtt_drop(&sensor);
}

Test(mqtt_will, without_a_delay_it_is_sent_when_the_connection_breaks)
{
    sensor_comes(false, 0);
    expect_nothing();
    mqtt_drop(&sensor);
    expect_will();
    mqtt_come(&sensor, alice, "sensor", (struct mqtt_how){.will_topic = "u/bob", .will_text = "gone"}); /* MQTT 3.1.1 */
    mqtt_drop(&sensor);
    expect_will();
    expect_nothing();
}

Test(mqtt_will, disconnect_says_whether_there_is_one)
{
    sensor_comes(true, 0);
    mqtt_leave(&sensor);
    sensor_comes(true, 3);
    mqtt_leave(&sensor);
    mqtt_advance(5 * SECOND_MS);
    expect_nothing();
    static const uint8_t reasons[] = {0x04, 0x80, 0x82, 0x83, 0x93, 0x97}; /* any but 0x00 */
    for (size_t i = 0; i < sizeof reasons; i++) {
        sensor_comes(true, 0);
        send_farewell(reasons[i]);
        expect_will();
        expect_nothing();
    }
    sensor_comes(true, 0);
    send_farewell(0x00);
    expect_nothing();
}

Test(mqtt_will, it_waits_for_its_delay)
{
    sensor_comes(true, 10);
    mqtt_drop(&sensor);
    mqtt_advance(9 * SECOND_MS);
    expect_nothing();
    mqtt_advance(1 * SECOND_MS);
    expect_will();
    mqtt_advance(100 * SECOND_MS);
    expect_nothing();
}

Test(mqtt_will, who_is_back_in_time_has_none)
{
    for (uint32_t i = 0; i < 3; i++) {
        sensor_comes(true, 10);
        mqtt_drop(&sensor);
        mqtt_advance(9 * SECOND_MS);
        sensor_comes_back(false);
        cr_expect(sensor.present);
        mqtt_advance(20 * SECOND_MS);
        expect_nothing();
        mqtt_leave(&sensor);
    }
}

Test(mqtt_will, a_session_that_ends_takes_it_along)
{
    sensor_comes(true, 10);
    mqtt_drop(&sensor);
    sensor_comes_back(true); /* a clean start */
    expect_will();
    mqtt_leave(&sensor);
    sensor_comes(false, 10); /* without a session there is nothing to wait for */
    mqtt_drop(&sensor);
    expect_will();
    mqtt_advance(20 * SECOND_MS);
    expect_nothing();
}

Test(mqtt_will, a_later_connection_of_the_client_meets_it)
{
    struct mqtt_client first;
    sensor_comes(true, 10);
    first = sensor;
    sensor_comes(true, 0);
    (void)mqtt_expect(&first, MQTT_DISCONNECT);
    mqtt_drop(&first);
    mqtt_advance(20 * SECOND_MS);
    expect_nothing();
    first = sensor;
    sensor_comes(true, 0);
    (void)mqtt_expect(&first, MQTT_DISCONNECT);
    mqtt_drop(&first);
    expect_will();
    mqtt_leave(&sensor);
    expect_nothing();
}

Test(mqtt_will, it_is_sent_once_however_long_the_disk_takes)
{
    sensor_comes(true, 5);
    mqtt_drop(&sensor);
    rig.disks_held = true;
    mqtt_advance(60 * SECOND_MS);
    expect_nothing();
    rig.disks_held = false;
    expect_will();
    mqtt_advance(100 * SECOND_MS);
    expect_nothing();
}

/* The sensor calls, with that will or none, and is gone some turns later. True: it had heard CONNACK by then. */
static bool sensor_calls_for(uint32_t turns, const char *will_text)
{
    struct mqtt_how how = {.version = MQTT_5, .persistent = true, .will_topic = will_text == NULL ? NULL : "u/bob", .will_text = will_text};
    struct mqtt_got got;
    mqtt_call(&sensor, alice, "sensor", how);
    for (uint32_t i = 0; i < turns; i++) mqtt_turn();
    (void)shutdown(sensor.peer.fd, SHUT_WR);
    MQTT_UNTIL(peer_ended(&sensor.peer));
    bool heard = mqtt_next(&sensor, &got);
    cr_assert(!heard || (got.type == MQTT_CONNACK && got.reason == 0));
    peer_deinit(&sensor.peer);
    mqtt_settle();
    return heard;
}

static void who_goes_before_connack_was_never_there(const char *will_text)
{
    uint32_t heard_count = 0;
    for (uint32_t turns = 0; turns < 24; turns++) {
        sensor_comes(true, 10);
        mqtt_drop(&sensor);
        bool heard = sensor_calls_for(turns, will_text);
        heard_count += heard;
        if (heard && will_text != NULL) cr_expect_str_eq(mqtt_expect(&watcher, MQTT_PUBLISH).text, will_text, "after %u turns", turns);
        expect_nothing();
        mqtt_advance(11 * SECOND_MS);
        if (!heard) expect_will();
        expect_nothing();
    }
    cr_expect(heard_count > 0 && heard_count < 24, "%u of 24", heard_count);
}

Test(mqtt_will, who_goes_before_connack_takes_no_earlier_will_along) { who_goes_before_connack_was_never_there(NULL); }

Test(mqtt_will, a_will_that_never_came_to_connack_takes_no_earlier_one_along) { who_goes_before_connack_was_never_there("gone again"); }

/* From here on the shard has no room for a command, until there_is_room(): what is asked waits, and after a while it is refused. */
static void there_is_no_room(void)
{
    static uint32_t count;
    char ids[2][16];
    for (uint32_t i = 0; i < 2; i++) snprintf(ids[i], sizeof ids[i], "%u", ++count);
    cr_assert_eq(rig_say(bob, alice, ids[0], "makes the room of the two"), ERROR_NONE);
    rig.shards[0]->options.limits.store_backlog_max_bytes = 1;
    rig.stores_held = true;
    cr_assert_eq(rig_say(bob, alice, ids[1], "fills the backlog"), ERROR_NONE);
}

static void there_is_room(void)
{
    rig.shards[0]->options.limits.store_backlog_max_bytes = rig.limits.store_backlog_max_bytes;
    rig.stores_held = false;
    mqtt_settle();
}

Test(mqtt_will, a_goodbye_that_is_refused_is_none_the_less_known_when_the_client_is_back)
{
    for (uint32_t i = 0; i < 2; i++) {
        sensor_comes(true, 0);
        there_is_no_room();
        mqtt_leave(&sensor);
        mqtt_advance(12 * SECOND_MS);
        there_is_room();
        sensor_comes_back(i == 1);
        expect_nothing();
        mqtt_leave(&sensor);
    }
}

Test(mqtt_will, an_end_that_is_refused_is_said_again)
{
    sensor_comes(true, 0);
    there_is_no_room();
    mqtt_drop(&sensor);
    mqtt_advance(60 * SECOND_MS);
    expect_nothing();
    there_is_room();
    mqtt_advance(11 * SECOND_MS);
    expect_will();
    sensor_comes(true, 0);
    there_is_no_room();
    mqtt_leave(&sensor);
    mqtt_advance(60 * SECOND_MS);
    there_is_room();
    mqtt_advance(11 * SECOND_MS);
    expect_nothing();
    cr_expect_eq(shard_machine(rig.shards[0])->timers.waiting, 0, "no will is held for the next start");
}

Test(mqtt_will, who_comes_after_a_refused_goodbye_and_goes_before_connack_leaves_nothing_behind)
{
    uint32_t heard_count = 0;
    for (uint32_t turns = 0; turns < 12; turns++) {
        sensor_comes(true, 0);
        there_is_no_room();
        mqtt_leave(&sensor);
        mqtt_advance(12 * SECOND_MS);
        there_is_room();
        bool heard = sensor_calls_for(turns, "gone again");
        heard_count += heard;
        if (heard) cr_expect_str_eq(mqtt_expect(&watcher, MQTT_PUBLISH).text, "gone again", "after %u turns", turns);
        mqtt_advance(11 * SECOND_MS);
        expect_nothing();
        cr_expect_eq(shard_machine(rig.shards[0])->timers.waiting, 0, "after %u turns", turns);
    }
    cr_expect(heard_count > 0 && heard_count < 12, "%u of 12", heard_count);
}

/* While the goodbye before is being made durable, the end of the next connection comes to the log before its will does. */
Test(mqtt_will, what_has_ended_before_its_will_was_written_has_none)
{
    sensor_comes(true, 0);
    there_is_no_room();
    mqtt_leave(&sensor);
    mqtt_advance(12 * SECOND_MS);
    there_is_room();
    rig.disks_held = true;
    mqtt_call(&sensor, alice, "sensor", (struct mqtt_how){.version = MQTT_5, .will_topic = "u/bob", .will_text = "gone"});
    mqtt_settle();
    mqtt_drop(&sensor);
    rig.disks_held = false;
    mqtt_settle();
    cr_expect_eq(shard_machine(rig.shards[0])->timers.waiting, 0, "no will is held for the next start");
    expect_nothing();
}
