/* perf/mqtt.c - see the header. */
#include "perf/mqtt.h"

#define LEVEL_3_1_1     4
#define CLEAN_SESSION   0x02u
#define HAS_USER        0x80u
#define HAS_PASSWORD    0x40u
#define SUBSCRIBE_FLAGS 0x02u /* fixed by the standard */
#define LENGTH_BYTES_MAX 4

static uint32_t length_size(size_t remaining)
{
    return remaining < 128 ? 1 : remaining < 16384 ? 2 : remaining < 2097152 ? 3 : 4;
}

static uint8_t *put_head(uint8_t *at, enum mqtt_type type, uint32_t flags, size_t remaining)
{
    *at++ = (uint8_t)((uint32_t)type << 4 | flags);
    for (; remaining >= 128; remaining >>= 7) *at++ = (uint8_t)(remaining | 128);
    *at++ = (uint8_t)remaining;
    return at;
}

static uint8_t *put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static uint16_t read_u16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static uint8_t *put_text(uint8_t *at, const void *text, size_t len)
{
    at = put_u16(at, (uint16_t)len);
    memcpy(at, text, len);
    return at + len;
}

size_t mqtt_take(struct slice in, struct mqtt_packet *packet)
{
    size_t remaining = 0, head = 1;
    for (uint32_t shift = 0;; shift += 7) {
        if (head > LENGTH_BYTES_MAX) return MQTT_BROKEN;
        if (head >= in.len) return 0;
        uint8_t byte = in.data[head++];
        remaining |= (size_t)(byte & 127) << shift;
        if (byte < 128) break;
    }
    if (remaining > MQTT_PACKET_MAX) return MQTT_BROKEN;
    if (in.len - head < remaining) return 0;
    *packet = (struct mqtt_packet){in.data[0] >> 4, in.data[0] & 15, {in.data + head, remaining}};
    return head + remaining;
}

/* ---- CONNECT ---- */

static size_t text_size(const char *text) { return text == NULL ? 0 : 2 + strlen(text); }

static size_t connect_remaining(const struct mqtt_connect *connect)
{
    return 10 + text_size(connect->client_id) + text_size(connect->user) + text_size(connect->password);
}

size_t mqtt_connect_size(const struct mqtt_connect *connect)
{
    size_t remaining = connect_remaining(connect);
    return 1 + length_size(remaining) + remaining;
}

uint8_t *mqtt_put_connect(uint8_t *at, const struct mqtt_connect *connect)
{
    uint32_t flags = (connect->clean ? CLEAN_SESSION : 0) | (connect->user != NULL ? HAS_USER : 0) |
                     (connect->password != NULL ? HAS_PASSWORD : 0);
    at = put_head(at, MQTT_CONNECT, 0, connect_remaining(connect));
    at = put_text(at, "MQTT", 4);
    *at++ = LEVEL_3_1_1;
    *at++ = (uint8_t)flags;
    at = put_u16(at, connect->keep_alive_s);
    at = put_text(at, connect->client_id, strlen(connect->client_id));
    if (connect->user != NULL) at = put_text(at, connect->user, strlen(connect->user));
    if (connect->password != NULL) at = put_text(at, connect->password, strlen(connect->password));
    return at;
}

bool mqtt_read_connack(const struct mqtt_packet *packet, bool *session_present, uint8_t *code)
{
    if (packet->body.len < 2) return false;
    *session_present = (packet->body.data[0] & 1) != 0;
    *code = packet->body.data[1];
    return true;
}

/* ---- PUBLISH ---- */

static size_t publish_remaining(const struct mqtt_publish *publish)
{
    return 2 + publish->topic.len + (publish->qos > 0 ? 2 : 0) + publish->payload.len;
}

size_t mqtt_publish_size(const struct mqtt_publish *publish)
{
    size_t remaining = publish_remaining(publish);
    return 1 + length_size(remaining) + remaining;
}

uint8_t *mqtt_put_publish(uint8_t *at, const struct mqtt_publish *publish)
{
    uint32_t flags = (publish->duplicate ? 8u : 0) | (uint32_t)publish->qos << 1;
    at = put_head(at, MQTT_PUBLISH, flags, publish_remaining(publish));
    at = put_text(at, publish->topic.data, publish->topic.len);
    if (publish->qos > 0) at = put_u16(at, publish->packet_id);
    memcpy(at, publish->payload.data, publish->payload.len);
    return at + publish->payload.len;
}

bool mqtt_read_publish(const struct mqtt_packet *packet, struct mqtt_publish *publish)
{
    struct slice body = packet->body;
    uint8_t qos = packet->flags >> 1 & 3;
    if (qos > 2 || body.len < 2) return false;
    size_t topic_len = read_u16(body.data), head = 2 + topic_len + (qos > 0 ? 2 : 0);
    if (body.len < head) return false;
    *publish = (struct mqtt_publish){.topic = {body.data + 2, topic_len},
                                     .payload = {body.data + head, body.len - head},
                                     .packet_id = qos > 0 ? read_u16(body.data + head - 2) : 0,
                                     .qos = qos,
                                     .duplicate = (packet->flags & 8) != 0};
    return qos == 0 || publish->packet_id != 0;
}

/* ---- the rest ---- */

static size_t subscribe_remaining(struct slice filter) { return 2 + 2 + filter.len + 1; }

size_t mqtt_subscribe_size(struct slice filter)
{
    size_t remaining = subscribe_remaining(filter);
    return 1 + length_size(remaining) + remaining;
}

uint8_t *mqtt_put_subscribe(uint8_t *at, uint16_t packet_id, struct slice filter, uint8_t qos)
{
    at = put_head(at, MQTT_SUBSCRIBE, SUBSCRIBE_FLAGS, subscribe_remaining(filter));
    at = put_u16(at, packet_id);
    at = put_text(at, filter.data, filter.len);
    *at++ = qos;
    return at;
}

uint8_t *mqtt_put_puback(uint8_t *at, uint16_t packet_id)
{
    return put_u16(put_head(at, MQTT_PUBACK, 0, 2), packet_id);
}

bool mqtt_read_packet_id(const struct mqtt_packet *packet, uint16_t *packet_id)
{
    if (packet->body.len < 2) return false;
    *packet_id = read_u16(packet->body.data);
    return *packet_id != 0;
}
