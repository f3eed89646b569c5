/* perf/mqtt.h - as much of MQTT 3.1.1 as a measuring client needs: its packets in and out, pure functions on bytes.
 * A writer puts a packet at `at`, where its _size() bytes are free, and returns the end. Wills and QoS 2 are not spoken. */
#ifndef PERF_MQTT_H
#define PERF_MQTT_H

#include "perf/bytes.h"

enum mqtt_type {
    MQTT_CONNECT = 1, MQTT_CONNACK = 2, MQTT_PUBLISH = 3, MQTT_PUBACK = 4, MQTT_SUBSCRIBE = 8, MQTT_SUBACK = 9,
    MQTT_PINGRESP = 13, MQTT_DISCONNECT = 14,
};

#define MQTT_ACK_SIZE   4 /* PUBACK, CONNACK, SUBACK of one filter less its code */
#define MQTT_PACKET_MAX (1u << 20) /* larger than anything this client asked for */
#define MQTT_BROKEN     SIZE_MAX

struct mqtt_packet {
    uint8_t type, flags;
    struct slice body; /* borrowed */
};
/* Takes the packet at the front of `in`: its size, 0 when it is not all there, MQTT_BROKEN when it cannot be one. */
size_t mqtt_take(struct slice in, struct mqtt_packet *packet);

struct mqtt_connect {
    const char *client_id, *user, *password; /* user, password: NULL or text */
    uint16_t keep_alive_s;
    bool clean;
};
size_t mqtt_connect_size(const struct mqtt_connect *connect);
uint8_t *mqtt_put_connect(uint8_t *at, const struct mqtt_connect *connect);

struct mqtt_publish {
    struct slice topic, payload;
    uint16_t packet_id; /* 0: none, with QoS 0 */
    uint8_t qos;
    bool duplicate;
};
size_t mqtt_publish_size(const struct mqtt_publish *publish);
uint8_t *mqtt_put_publish(uint8_t *at, const struct mqtt_publish *publish);
/* False: malformed. */
bool mqtt_read_publish(const struct mqtt_packet *packet, struct mqtt_publish *publish);

/* One filter. */
size_t mqtt_subscribe_size(struct slice filter);
uint8_t *mqtt_put_subscribe(uint8_t *at, uint16_t packet_id, struct slice filter, uint8_t qos);
uint8_t *mqtt_put_puback(uint8_t *at, uint16_t packet_id);

/* CONNACK, PUBACK and SUBACK begin with two bytes: flags and return code, or the packet id. False: too short. */
bool mqtt_read_connack(const struct mqtt_packet *packet, bool *session_present, uint8_t *code);
bool mqtt_read_packet_id(const struct mqtt_packet *packet, uint16_t *packet_id);

#endif
