/* shard/door/mqtt/window.h - the messages on their way to one client, oldest first, until it has acknowledged them.
 * Owns:    the ring. A large one goes when it is empty, a small one when the client says that it has nothing to say (PINGREQ): an
 *          idle connection holds nothing, a busy one does not ask for memory with each message.
 * Thread:  the connection's worker.  Depends: core/, shard/engine/memory.h.  Start at: shard/door/mqtt/mqtt.h
 *
 * Clients acknowledge in the order they received (the standard asks it of them), so what is looked for stands in front. One that is
 * done behind others that are not keeps its place until they are.
 *
 *   WAIT_PUBACK -> done      WAIT_PUBREC -> (persistent session: WAIT_SAVE -> SAVING) -> WAIT_PUBCOMP -> done
 *   A PUBREC is a promise kept over crashes: PUBREL leaves only when the cursor behind the message is durable. */
#ifndef SHARD_MQTT_WINDOW_H
#define SHARD_MQTT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define MQTT_WINDOW_MAX 1024 /* messages to one client without acknowledgement */

enum mqtt_flight_state {
    MQTT_FLIGHT_DONE,
    MQTT_WAIT_PUBACK,
    MQTT_WAIT_PUBREC,
    MQTT_WAIT_SAVE,
    MQTT_SAVING,
    MQTT_WAIT_PUBCOMP,
};

struct mqtt_flight {
    uint64_t key;       /* sync_key, or the seq in a large room */
    uint16_t packet_id; /* follows from the key: a message has the same one again after a crash */
    uint16_t room;      /* 0: the user's stream; else the number of a large room */
    uint8_t state;
};

struct mqtt_window { /* all zero: empty */
    struct mqtt_flight *ring;
    uint16_t first, count, capacity; /* capacity: a power of two */
};

static inline struct mqtt_flight *mqtt_window_at(const struct mqtt_window *window, uint32_t n)
{
    return &window->ring[(window->first + n) & (window->capacity - 1u)];
}
/* Is the client still to say that it has the message? */
static inline bool mqtt_flight_open(const struct mqtt_flight *flight)
{
    return flight->state == MQTT_WAIT_PUBACK || flight->state == MQTT_WAIT_PUBREC;
}
/* There must be room: count < MQTT_WINDOW_MAX. */
void mqtt_window_add(struct mqtt_window *window, uint16_t room, uint64_t key, uint16_t packet_id, enum mqtt_flight_state state);
/* NULL: nothing on its way has that id. */
struct mqtt_flight *mqtt_window_find(const struct mqtt_window *window, uint16_t packet_id);
/* `flight` is dead afterwards. */
void mqtt_window_done(struct mqtt_window *window, struct mqtt_flight *flight);
/* The first open key of `room` from the front, less one; `sent` when none is open. Keys of one room are sent ascending. */
uint64_t mqtt_window_acknowledged(const struct mqtt_window *window, uint16_t room, uint64_t sent);
/* Nothing comes or goes at the moment. */
void mqtt_window_rest(struct mqtt_window *window);
void mqtt_window_deinit(struct mqtt_window *window);

#endif
