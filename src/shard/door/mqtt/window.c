/* shard/door/mqtt/window.c - the ring of window.h: added behind, taken from the front. */
#include "shard/door/mqtt/window.h"
#include "core/check.h"
#include "shard/engine/memory.h"

#define CAPACITY_MIN  8u
#define CAPACITY_KEPT 64u /* while it is empty */

static void grow(struct mqtt_window *window)
{
    uint32_t capacity = window->capacity == 0 ? CAPACITY_MIN : window->capacity * 2u;
    struct mqtt_flight *ring = memory_resize(NULL, capacity * sizeof *ring);
    for (uint32_t i = 0; i < window->count; i++) ring[i] = *mqtt_window_at(window, i);
    free(window->ring);
    window->ring = ring;
    window->first = 0;
    window->capacity = (uint16_t)capacity;
}

void mqtt_window_add(struct mqtt_window *window, uint16_t room, uint64_t key, uint16_t packet_id, enum mqtt_flight_state state)
{
    ASSERT(window->count < MQTT_WINDOW_MAX && state != MQTT_FLIGHT_DONE);
    if (window->count == window->capacity) grow(window);
    struct mqtt_flight *flight = mqtt_window_at(window, window->count++);
    flight->key = key;
    flight->packet_id = packet_id;
    flight->room = room;
    flight->state = (uint8_t)state;
}

struct mqtt_flight *mqtt_window_find(const struct mqtt_window *window, uint16_t packet_id)
{
    for (uint32_t i = 0; i < window->count; i++) {
        struct mqtt_flight *flight = mqtt_window_at(window, i);
        if (flight->packet_id == packet_id && flight->state != MQTT_FLIGHT_DONE) return flight;
    }
    return NULL;
}

void mqtt_window_done(struct mqtt_window *window, struct mqtt_flight *flight)
{
    ASSERT(flight->state != MQTT_FLIGHT_DONE);
    flight->state = MQTT_FLIGHT_DONE;
    while (window->count > 0 && mqtt_window_at(window, 0)->state == MQTT_FLIGHT_DONE) {
        window->first = (uint16_t)((window->first + 1u) & (window->capacity - 1u));
        window->count--;
    }
    if (window->count == 0 && window->capacity > CAPACITY_KEPT) mqtt_window_deinit(window);
}

void mqtt_window_rest(struct mqtt_window *window)
{
    if (window->count == 0) mqtt_window_deinit(window);
}

uint64_t mqtt_window_acknowledged(const struct mqtt_window *window, uint16_t room, uint64_t sent)
{
    for (uint32_t i = 0; i < window->count; i++) {
        const struct mqtt_flight *flight = mqtt_window_at(window, i);
        if (flight->room == room && mqtt_flight_open(flight)) return flight->key - 1;
    }
    return sent;
}

void mqtt_window_deinit(struct mqtt_window *window)
{
    free(window->ring);
    *window = (struct mqtt_window){0};
}
