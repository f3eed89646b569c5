/* mqtt/packet.h - MQTT packets: what a client sends is decoded strictly, what a server sends is encoded.
 * Owns:    nothing; a decoded packet borrows its bytes.
 * Thread:  any.                   Depends: core/, mqtt/properties.h.  Start at: mqtt/mqtt.h
 *
 *     +---------------+------------------+-----------------+------------+---------+
 *     | u4 type       | varint remaining | variable header | properties | payload |
 *     | u4 flags      | length           | by type         | (MQTT 5)   |         |
 *     +---------------+------------------+-----------------+------------+---------+ */
#ifndef MQTT_PACKET_H
#define MQTT_PACKET_H

#include "mqtt/properties.h"

enum mqtt_version { MQTT_3_1_1 = 4, MQTT_5 = 5 };

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH,
};

/* Reason codes of MQTT 5. MQTT 3.1.1 has five codes in CONNACK (mqtt_connack_code()), 0x80 in SUBACK and no others. */
enum mqtt_reason {
    MQTT_SUCCESS = 0x00,
    MQTT_DISCONNECT_WITH_WILL = 0x04,
    MQTT_NO_SUBSCRIBERS = 0x10,
    MQTT_NO_SUBSCRIPTION = 0x11,
    MQTT_UNSPECIFIED = 0x80,
    MQTT_MALFORMED = 0x81,
    MQTT_PROTOCOL_ERROR = 0x82,
    MQTT_IMPLEMENTATION = 0x83,
    MQTT_UNSUPPORTED_VERSION = 0x84,
    MQTT_BAD_CLIENT_ID = 0x85,
    MQTT_BAD_CREDENTIALS = 0x86,
    MQTT_NOT_AUTHORIZED = 0x87,
    MQTT_SERVER_UNAVAILABLE = 0x88,
    MQTT_SERVER_BUSY = 0x89,
    MQTT_SHUTTING_DOWN = 0x8b,
    MQTT_BAD_AUTH_METHOD = 0x8c,
    MQTT_TAKEN_OVER = 0x8e,
    MQTT_BAD_FILTER = 0x8f,
    MQTT_BAD_TOPIC = 0x90,
    MQTT_NO_PACKET_ID = 0x92,
    MQTT_ALIAS_INVALID = 0x94,
    MQTT_PACKET_TOO_LARGE = 0x95,
    MQTT_QUOTA_EXCEEDED = 0x97,
    MQTT_ADMINISTRATIVE = 0x98,
    MQTT_BAD_PAYLOAD = 0x99,
    MQTT_NO_SHARED = 0x9e,
    MQTT_CONNECTION_RATE = 0x9f,
    MQTT_NO_SUBSCRIPTION_IDS = 0xa1,
};

struct mqtt_will {
    struct slice topic, payload;
    uint8_t qos;
    bool retain;
    struct mqtt_properties properties;
};

struct mqtt_connect {
    enum mqtt_version version;
    bool clean_start, has_user_name, has_password, has_will;
    bool bridge; /* of another broker (mosquitto's try_private: the high bit of the version): wants nothing back that it sent */
    uint16_t keep_alive_s;
    struct slice client_id, user_name, password;
    struct mqtt_properties properties;
    struct mqtt_will will;
};

struct mqtt_publish {
    struct slice topic, payload;
    uint16_t packet_id; /* 0 with qos 0 */
    uint8_t qos;
    bool duplicate, retain;
    struct mqtt_properties properties;
};

struct mqtt_ack { /* PUBACK PUBREC PUBREL PUBCOMP */
    uint16_t packet_id;
    uint8_t reason;
    struct mqtt_properties properties;
};

struct mqtt_subscribe { /* SUBSCRIBE and UNSUBSCRIBE */
    uint16_t packet_id;
    uint32_t filter_count; /* at least 1 */
    struct cursor filters; /* for mqtt_filter_next() */
    struct mqtt_properties properties;
};
struct mqtt_filter {
    struct slice text;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling; /* 0 send, 1 send when the subscription is new, 2 do not send */
};

struct mqtt_farewell { /* DISCONNECT and AUTH */
    uint8_t reason;
    struct mqtt_properties properties;
};

struct mqtt_packet {
    enum mqtt_type type;
    union {
        struct mqtt_connect connect;
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe;
        struct mqtt_farewell farewell;
    } as; /* by type; PINGREQ has nothing */
};

/* One whole packet of a client. SUCCESS; MALFORMED, PROTOCOL_ERROR, UNSUPPORTED_VERSION (CONNECT only), PACKET_TOO_LARGE
 * never. `version` is that of the connection; CONNECT brings its own. A packet only a server sends is a PROTOCOL_ERROR. */
enum mqtt_reason mqtt_decode(struct mqtt_packet *out, enum mqtt_version version, struct slice packet);
/* The next filter of a decoded packet; options are zero for UNSUBSCRIBE. False at the end. */
bool mqtt_filter_next(struct mqtt_subscribe *subscribe, enum mqtt_type type, enum mqtt_version version,
                      struct mqtt_filter *filter);

/* The CONNACK code of 3.1.1 for a reason. */
uint8_t mqtt_connack_code(enum mqtt_reason reason);

/* ---- encoding: each appends one whole packet; `block` is a property block (ignored for 3.1.1) ---- */
void mqtt_encode_connack(struct writer *out, enum mqtt_version version, bool session_present, enum mqtt_reason reason,
                         struct slice block);
/* `payload_len`: of all of it; what is not in publish->payload is added behind, as it is. */
void mqtt_encode_publish(struct writer *out, enum mqtt_version version, const struct mqtt_publish *publish, uint32_t payload_len);
/* PUBACK PUBREC PUBREL PUBCOMP; for 3.1.1 the reason is left out. */
void mqtt_encode_ack(struct writer *out, enum mqtt_version version, enum mqtt_type type, uint16_t packet_id,
                     enum mqtt_reason reason, struct slice block);
/* SUBACK, or UNSUBACK, which has no reasons in 3.1.1. */
void mqtt_encode_suback(struct writer *out, enum mqtt_version version, enum mqtt_type type, uint16_t packet_id,
                        struct slice reasons);
void mqtt_encode_pingresp(struct writer *out);
/* MQTT 5 only: a server of 3.1.1 just closes. */
void mqtt_encode_disconnect(struct writer *out, enum mqtt_reason reason, struct slice block);

#endif
