/* tests/shard/door/mqtt/rig.h - the MQTT door between a real server on the loopback and the shards of shard_fixture.h: clients are sockets that
 * speak bytes, disks and stores move when the test lets them, the clock is the test's.
 *
 *   mqtt_begin() -> mqtt_come() … mqtt_send…() -> MQTT_UNTIL(mqtt_next(…)) -> mqtt_finish() */
#ifndef TESTS_MQTT_RIG_H
#define TESTS_MQTT_RIG_H

#include "mqtt/mqtt.h"
#include "net/harness.h"
#include "shard/shard_fixture.h"

struct mqtt_client { /* one connection */
    struct peer peer;
    uint8_t version;
    bool present; /* CONNACK: the session was there */
};
struct mqtt_got { /* a packet from the server */
    uint8_t type, flags, reason;
    uint16_t packet_id;
    char topic[64], text[64];
    int64_t expiry_s; /* PUBLISH: what is left of its message expiry interval; -1: it has none */
};

/* One shard, large rooms of more than 3 members. `inbox_window`… as rig_begin() says; opened. */
void mqtt_begin(void);
void mqtt_finish(void);
/* Everything that can move moves once; false: the shards did not. */
bool mqtt_turn(void);
/* Nothing is on its way any more. */
void mqtt_settle(void);
#define MQTT_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        uint32_t turns_ = 0;                                                                                           \
        while (!(condition) && turns_++ < HARNESS_TURNS_MAX) mqtt_turn();                                              \
        cr_assert((condition), "not within %d turns: %s", HARNESS_TURNS_MAX, #condition);                              \
    } while (0)
/* The next answer to that method does not reach the door before mqtt_give_answer(). */
void mqtt_hold_answer(uint16_t method);
void mqtt_give_answer(void);
/* Moves the clock by small steps, each with a tick of the shard. */
void mqtt_advance(uint64_t ms);

struct mqtt_how {
    uint8_t version; /* 0: 3.1.1 */
    bool persistent;
    uint16_t receive_maximum, keep_alive_s; /* 0: none */
    bool anew; /* a persistent session that begins with a clean start */
    const char *will_topic, *will_text; /* NULL: no will */
    uint8_t will_delay_s;               /* MQTT 5 */
};
/* Connects and sends CONNECT; what becomes of it is not waited for. */
void mqtt_call(struct mqtt_client *client, uint64_t user_id, const char *device_id, struct mqtt_how how);
/* The same, and waits for CONNACK. */
void mqtt_come(struct mqtt_client *client, uint64_t user_id, const char *device_id, struct mqtt_how how);
void mqtt_leave(struct mqtt_client *client); /* DISCONNECT */
void mqtt_drop(struct mqtt_client *client);  /* no word */
/* Waits for SUBACK; its reason code. Nothing retained is sent. */
uint8_t mqtt_listen(struct mqtt_client *client, const char *filter, uint8_t qos);
/* Likewise, but it is: into *got, whose type is 0 when there is nothing. */
uint8_t mqtt_listen_retained(struct mqtt_client *client, const char *filter, uint8_t qos, struct mqtt_got *got);
void mqtt_say(struct mqtt_client *client, const char *topic, const char *text, uint8_t first_byte, uint16_t packet_id);
/* With a message expiry interval. MQTT 5 */
void mqtt_say_for(struct mqtt_client *client, const char *topic, const char *text, uint8_t first_byte, uint16_t packet_id, uint32_t expiry_s);
void mqtt_answer(struct mqtt_client *client, enum mqtt_type type, uint16_t packet_id);
/* The next packet that is there; false: none. */
bool mqtt_next(struct mqtt_client *client, struct mqtt_got *got);
/* Waits for a packet of that type; anything else fails the test. */
struct mqtt_got mqtt_expect(struct mqtt_client *client, enum mqtt_type type);
/* Waits for the end of the connection. */
void mqtt_expect_end(struct mqtt_client *client);

#endif
