/* tests/shard/door/mqtt/window_test.c - the ring of what is on its way to one client. */
#include "shard/door/mqtt/window.h"
#include <criterion/criterion.h>

static void add(struct mqtt_window *window, uint64_t key, uint16_t room, enum mqtt_flight_state state)
{
    mqtt_window_add(window, room, key, (uint16_t)(key + room * 1000u), state);
}

Test(mqtt_window, holds_nothing_while_the_client_rests)
{
    struct mqtt_window window = {0};
    cr_expect_null(mqtt_window_find(&window, 1));
    cr_expect_eq(mqtt_window_acknowledged(&window, 0, 7), 7);
    add(&window, 8, 0, MQTT_WAIT_PUBACK);
    cr_expect_not_null(window.ring);
    mqtt_window_rest(&window);
    cr_expect_not_null(window.ring, "something is on its way");
    mqtt_window_done(&window, mqtt_window_find(&window, 8));
    cr_expect_eq(window.count, 0);
    cr_expect_not_null(window.ring, "the next message comes soon");
    mqtt_window_rest(&window);
    cr_expect_null(window.ring);
}

Test(mqtt_window, a_large_one_goes_when_it_is_empty)
{
    struct mqtt_window window = {0};
    for (uint64_t key = 1; key <= 65; key++) add(&window, key, 0, MQTT_WAIT_PUBACK);
    for (uint64_t key = 1; key <= 65; key++) mqtt_window_done(&window, mqtt_window_find(&window, (uint16_t)key));
    cr_expect_null(window.ring);
    cr_expect_eq(window.capacity, 0);
}

Test(mqtt_window, is_acknowledged_in_any_order)
{
    static const uint8_t orders[][5] = {{1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, {3, 1, 5, 2, 4}, {1, 3, 2, 5, 4}};
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        struct mqtt_window window = {0};
        bool done[6] = {0};
        for (uint64_t key = 1; key <= 5; key++) add(&window, key, 0, MQTT_WAIT_PUBACK);
        for (uint32_t i = 0; i < 5; i++) {
            mqtt_window_done(&window, mqtt_window_find(&window, orders[o][i]));
            done[orders[o][i]] = true;
            uint64_t want = 5;
            for (uint64_t key = 5; key >= 1; key--)
                if (!done[key]) want = key - 1;
            cr_expect_eq(mqtt_window_acknowledged(&window, 0, 5), want, "order %zu, step %u", o, i);
            cr_expect_null(mqtt_window_find(&window, orders[o][i]), "its packet id is free");
        }
        cr_expect_eq(window.count, 0);
        mqtt_window_rest(&window);
    }
}

Test(mqtt_window, grows_to_its_limit_and_turns)
{
    struct mqtt_window window = {0};
    uint64_t next = 1, first = 1;
    for (uint32_t round = 0; round < 20; round++) {
        while (window.count < MQTT_WINDOW_MAX) {
            mqtt_window_add(&window, 0, next, (uint16_t)(next % 32767 + 1), MQTT_WAIT_PUBACK);
            next++;
        }
        for (uint32_t i = 0; i < 700; i++, first++) {
            struct mqtt_flight *front = mqtt_window_find(&window, (uint16_t)(first % 32767 + 1));
            cr_assert_eq(front, mqtt_window_at(&window, 0));
            mqtt_window_done(&window, front);
        }
        cr_assert_eq(mqtt_window_acknowledged(&window, 0, next - 1), first - 1);
    }
    cr_expect_eq(window.capacity, MQTT_WINDOW_MAX);
    mqtt_window_deinit(&window);
}

Test(mqtt_window, knows_the_stream_from_the_rooms)
{
    struct mqtt_window window = {0};
    add(&window, 10, 0, MQTT_WAIT_PUBREC);
    add(&window, 3, 1, MQTT_WAIT_PUBACK);
    add(&window, 11, 0, MQTT_WAIT_PUBACK);
    add(&window, 7, 2, MQTT_WAIT_PUBCOMP);
    cr_expect_eq(mqtt_window_acknowledged(&window, 0, 11), 9);
    cr_expect_eq(mqtt_window_acknowledged(&window, 1, 3), 2);
    cr_expect_eq(mqtt_window_acknowledged(&window, 2, 7), 7, "the client has said that it has it");
    mqtt_window_find(&window, 10)->state = MQTT_WAIT_SAVE;
    cr_expect_eq(mqtt_window_acknowledged(&window, 0, 11), 10);
    mqtt_window_deinit(&window);
}
