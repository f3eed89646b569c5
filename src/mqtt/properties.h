/* mqtt/properties.h - the properties of MQTT 5: checked once, then looked up in place.
 * Owns:    nothing; a block borrows the packet it stands in.
 * Thread:  any.                   Depends: core/.                Start at: mqtt/mqtt.h
 *
 *     +------------------+------------------------------+
 *     | varint length    | { u8 id | value by id } ...  |   numbers big-endian; text and bytes with a u16 length
 *     +------------------+------------------------------+ */
#ifndef MQTT_PROPERTIES_H
#define MQTT_PROPERTIES_H

#include "core/cursor.h"

enum mqtt_property {
    MQTT_PAYLOAD_FORMAT = 0x01,
    MQTT_MESSAGE_EXPIRY = 0x02,
    MQTT_CONTENT_TYPE = 0x03,
    MQTT_RESPONSE_TOPIC = 0x08,
    MQTT_CORRELATION_DATA = 0x09,
    MQTT_SUBSCRIPTION_ID = 0x0b,
    MQTT_SESSION_EXPIRY = 0x11,
    MQTT_ASSIGNED_CLIENT_ID = 0x12,
    MQTT_SERVER_KEEP_ALIVE = 0x13,
    MQTT_AUTH_METHOD = 0x15,
    MQTT_AUTH_DATA = 0x16,
    MQTT_REQUEST_PROBLEM_INFO = 0x17,
    MQTT_WILL_DELAY = 0x18,
    MQTT_REQUEST_RESPONSE_INFO = 0x19,
    MQTT_RESPONSE_INFO = 0x1a,
    MQTT_SERVER_REFERENCE = 0x1c,
    MQTT_REASON_STRING = 0x1f,
    MQTT_RECEIVE_MAXIMUM = 0x21,
    MQTT_TOPIC_ALIAS_MAXIMUM = 0x22,
    MQTT_TOPIC_ALIAS = 0x23,
    MQTT_MAXIMUM_QOS = 0x24,
    MQTT_RETAIN_AVAILABLE = 0x25,
    MQTT_USER_PROPERTY = 0x26,
    MQTT_MAXIMUM_PACKET_SIZE = 0x27,
    MQTT_WILDCARD_AVAILABLE = 0x28,
    MQTT_SUBSCRIPTION_ID_AVAILABLE = 0x29,
    MQTT_SHARED_AVAILABLE = 0x2a,
};

/* Where a property may stand: a bit per packet type, and one for the will inside CONNECT. */
#define MQTT_IN_WILL 0u

struct mqtt_properties {
    struct slice block; /* without its length; checked */
};

/* ---- primitives, shared with packet.c ---- */
uint16_t mqtt_read_u16(struct cursor *c);
uint32_t mqtt_read_u32(struct cursor *c);
/* At most four bytes, and no more than the value needs; `bad` otherwise. */
uint32_t mqtt_read_varint(struct cursor *c);
/* u16 length, bytes. */
struct slice mqtt_read_bytes(struct cursor *c);
/* Likewise; `bad` unless it is UTF-8 without U+0000. */
struct slice mqtt_read_text(struct cursor *c);
void mqtt_write_u16(struct writer *out, uint16_t value);
void mqtt_write_u32(struct writer *out, uint32_t value);
void mqtt_write_varint(struct writer *out, uint32_t value);
void mqtt_write_bytes(struct writer *out, struct slice bytes); /* at most 65,535 */
uint32_t mqtt_varint_size(uint32_t value);

/* ---- reading ---- */
struct mqtt_property_value {
    uint8_t id;
    uint32_t number;
    struct slice bytes; /* text, bytes, or the name of a pair */
    struct slice value; /* of a pair */
};
/* The next property of a block; false at the end and when `c` is bad. */
bool mqtt_property_next(struct cursor *c, struct mqtt_property_value *property);
enum mqtt_properties_verdict { MQTT_PROPERTIES_OK, MQTT_PROPERTIES_MALFORMED, MQTT_PROPERTIES_PROTOCOL };
/* Reads length and block. MALFORMED: also a property in the wrong packet; PROTOCOL: one twice, or with a forbidden value. `where`:
 * the packet type, or MQTT_IN_WILL. */
enum mqtt_properties_verdict mqtt_properties_read(struct mqtt_properties *out, struct cursor *c, unsigned where);
/* The number of a property, or `missing` when it is not there. */
uint32_t mqtt_property_number(const struct mqtt_properties *properties, enum mqtt_property id, uint32_t missing);
/* Text or bytes of a property; data == NULL when it is not there. */
struct slice mqtt_property_bytes(const struct mqtt_properties *properties, enum mqtt_property id);
/* The value of the first user property of that name; data == NULL when there is none. */
struct slice mqtt_property_user(const struct mqtt_properties *properties, struct slice name);

/* ---- writing: appends to a block, which packet.h puts into a packet ---- */
void mqtt_put_number(struct writer *block, enum mqtt_property id, uint32_t value);
void mqtt_put_bytes(struct writer *block, enum mqtt_property id, struct slice bytes);
void mqtt_put_user(struct writer *block, struct slice name, struct slice value);

#endif
