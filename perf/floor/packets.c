/* perf/floor/packets.c - MQTT 3.1.1 packets: first byte (type and flags), length of the rest in 1 to 4 bytes of 7 bits, the rest. */
#include "perf/floor/floor.h"
#include <string.h>

#define PACKET_SIZE_MAX (1u << 20)
#define QOS_MASK        0x06u
#define QOS_AT_LEAST    0x02u /* QoS 1 in the first byte of a PUBLISH */
#define SUBACK_REFUSED  0x80u

enum packet_type {
    CONNECT = 1,
    CONNACK,
    PUBLISH,
    PUBACK,
    SUBSCRIBE = 8,
    SUBACK,
    PINGREQ = 12,
    PINGRESP,
    DISCONNECT,
};

/* ---- reading: a cursor that says no more when the bytes end ---- */

static bool read_u16(struct slice *in, uint16_t *value)
{
    if (in->len < 2) return false;
    *value = (uint16_t)(in->data[0] << 8 | in->data[1]);
    in->data += 2;
    in->len -= 2;
    return true;
}

static bool read_text(struct slice *in, struct slice *text)
{
    uint16_t len;
    if (!read_u16(in, &len) || in->len < len) return false;
    *text = (struct slice){in->data, len};
    in->data += len;
    in->len -= len;
    return true;
}

static bool read_byte(struct slice *in, uint8_t *value)
{
    if (in->len == 0) return false;
    *value = *in->data++;
    in->len--;
    return true;
}

struct publish {
    struct slice topic, payload;
    uint16_t packet_id; /* of QoS 1 */
};

static bool read_publish(uint8_t flags, struct slice body, struct publish *publish)
{
    *publish = (struct publish){0};
    if ((flags & QOS_MASK) > QOS_AT_LEAST || !read_text(&body, &publish->topic)) return false;
    if ((flags & QOS_MASK) == QOS_AT_LEAST && !read_u16(&body, &publish->packet_id)) return false;
    publish->payload = body;
    return true;
}

/* ---- writing ---- */

static void write_acknowledgement(struct floor *floor, struct connection *connection, uint8_t first_byte, uint16_t value)
{
    uint8_t *out = connection_write(floor, connection, 4);
    if (out == NULL) return;
    out[0] = first_byte;
    out[1] = 2;
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static size_t length_size(size_t length) { return length < 128 ? 1 : length < 16384 ? 2 : length < 2097152 ? 3 : 4; }

static uint8_t *put_length(uint8_t *out, size_t length)
{
    for (; length >= 128; length >>= 7) *out++ = (uint8_t)(length | 128);
    *out++ = (uint8_t)length;
    return out;
}

static uint8_t *put_u16(uint8_t *out, size_t value)
{
    *out++ = (uint8_t)(value >> 8);
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_bytes(uint8_t *out, struct slice bytes)
{
    memcpy(out, bytes.data, bytes.len);
    return out + bytes.len;
}

static void write_publish(struct floor *floor, const struct subscriber *subscriber, const struct publish *publish, uint8_t qos)
{
    struct connection *connection = subscriber->connection;
    size_t length = 2 + publish->topic.len + (qos > 0 ? 2 : 0) + publish->payload.len;
    uint8_t *out = connection_write(floor, connection, 1 + length_size(length) + length);
    if (out == NULL) return;
    *out++ = (uint8_t)(PUBLISH << 4 | qos << 1);
    out = put_length(out, length);
    out = put_u16(out, publish->topic.len);
    out = put_bytes(out, publish->topic);
    if (qos > 0) {
        connection->packet_id = (uint16_t)(connection->packet_id % UINT16_MAX + 1);
        out = put_u16(out, connection->packet_id);
    }
    (void)put_bytes(out, publish->payload);
}

/* ---- what each packet does ---- */

void packets_on_durable(struct floor *floor, struct connection *publisher, uint8_t flags, struct slice body)
{
    struct publish publish;
    if (!read_publish(flags, body, &publish)) floor_die("a PUBLISH that was understood before");
    uint8_t qos = (uint8_t)((flags & QOS_MASK) >> 1);
    const struct topic *topic = topics_find(&floor->topics, publish.topic.data, publish.topic.len);
    for (uint32_t i = 0; topic != NULL && i < topic->subscriber_count; i++) {
        const struct subscriber *subscriber = &topic->subscribers[i];
        write_publish(floor, subscriber, &publish, qos < subscriber->qos ? qos : subscriber->qos);
    }
    if (qos > 0) write_acknowledgement(floor, publisher, PUBACK << 4, publish.packet_id);
}

static bool on_publish(struct floor *floor, struct connection *connection, uint8_t flags, struct slice body)
{
    struct publish publish;
    if (!read_publish(flags, body, &publish)) return false;
    if (floor->log != NULL) grouplog_append(floor->log, connection, flags, body.data, body.len);
    else packets_on_durable(floor, connection, flags, body);
    return true;
}

/* The protocol's name and level; who it is does not matter. */
static bool on_connect(struct floor *floor, struct connection *connection, struct slice body)
{
    struct slice protocol;
    uint8_t level;
    if (connection->connected || !read_text(&body, &protocol) || !read_byte(&body, &level)) return false;
    if (protocol.len != 4 || memcmp(protocol.data, "MQTT", 4) != 0 || level != 4) return false;
    connection->connected = true;
    write_acknowledgement(floor, connection, CONNACK << 4, 0);
    return true;
}

static bool subscribe(struct floor *floor, struct connection *connection, struct slice filter, uint8_t qos)
{
    if (filter.len == 0 || memchr(filter.data, '#', filter.len) != NULL || memchr(filter.data, '+', filter.len) != NULL) return false;
    struct topic *topic = topics_find_or_add(&floor->topics, filter.data, filter.len);
    if (topic_subscribe(topic, connection, qos)) connection_add_topic(connection, topic);
    return true;
}

static bool on_subscribe(struct floor *floor, struct connection *connection, struct slice body)
{
    uint16_t packet_id;
    uint8_t codes[64], count = 0;
    if (!read_u16(&body, &packet_id) || body.len == 0) return false;
    while (body.len > 0) {
        struct slice filter;
        uint8_t qos;
        if (count == sizeof codes || !read_text(&body, &filter) || !read_byte(&body, &qos)) return false;
        if (qos > 1) qos = 1;
        codes[count++] = subscribe(floor, connection, filter, qos) ? qos : SUBACK_REFUSED;
    }
    uint8_t *out = connection_write(floor, connection, 4u + count);
    if (out == NULL) return true;
    *out++ = SUBACK << 4;
    *out++ = (uint8_t)(2 + count);
    (void)put_bytes(put_u16(out, packet_id), (struct slice){codes, count});
    return true;
}

static bool on_ping(struct floor *floor, struct connection *connection)
{
    uint8_t *out = connection_write(floor, connection, 2);
    if (out != NULL) memcpy(out, (uint8_t[]){PINGRESP << 4, 0}, 2);
    return true;
}

static bool packet_act(struct floor *floor, struct connection *connection, uint8_t first_byte, struct slice body)
{
    uint8_t type = first_byte >> 4;
    if (!connection->connected && type != CONNECT) return false;
    switch (type) {
    case CONNECT: return on_connect(floor, connection, body);
    case PUBLISH: return on_publish(floor, connection, first_byte, body);
    case PUBACK: return true; /* nothing is kept that could be repeated */
    case SUBSCRIBE: return on_subscribe(floor, connection, body);
    case PINGREQ: return on_ping(floor, connection);
    case DISCONNECT: connection_close(connection, NULL); return true;
    default: return false;
    }
}

/* The size of the head and, in `*length`, of the rest. 0: more bytes are needed; above the limit when it is no length at all. */
static size_t read_head(struct slice in, size_t *length)
{
    *length = 0;
    for (size_t i = 1; i <= 4 && i < in.len; i++) {
        *length |= (size_t)(in.data[i] & 127) << (7 * (i - 1));
        if (in.data[i] < 128) return i + 1;
    }
    if (in.len > 4) *length = PACKET_SIZE_MAX + 1;
    return in.len > 4 ? 5 : 0;
}

size_t packets_take(struct floor *floor, struct connection *connection, struct slice in)
{
    size_t taken = 0;
    while (!connection->closing) {
        size_t length, head = read_head((struct slice){in.data + taken, in.len - taken}, &length);
        if (head == 0 || (length <= PACKET_SIZE_MAX && in.len - taken < head + length)) break;
        struct slice body = {in.data + taken + head, length};
        if (length > PACKET_SIZE_MAX || !packet_act(floor, connection, in.data[taken], body)) {
            connection_close(connection, "a packet that is not understood here");
            break;
        }
        taken += head + length;
    }
    return taken;
}
