/* shard/door/mqtt/properties.c - what MQTT 5 says beside a message: how it is kept with the message, and how it is shown.
 * Kept as the publisher gave it: user properties, content type, response topic, correlation data, the message expiry interval (message
 * Properties). The interval says until when a message is handed on: whoever hands it on looks at the clock, so nothing has to happen when
 * the time comes, and a message without one costs nothing. It is kept as an interval, not as a time, because what is sent again with the
 * same words must be the same message.
 * Ours, on every delivered message that the client takes with them: the user properties below, and what stands in for what the
 * publisher did not say. A publisher's of the same name are not shown, so that nobody can
 * pretend to be another. */
#include "api/utf8.h"
#include "api/wire.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/door/mqtt/mqtt_internal.h"

static const char *const kind_names[] = {"text", "emoji", "image", "video", "audio", "file", "custom"};
static const char *const own_names[] = {"from", "from_name", "room_id", "msg_id", "seq", "time_ms", "client_msg_id", "kind"};

static bool is_own_name(struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(own_names); i++)
        if (slice_equal(name, slice_text(own_names[i]))) return true;
    return false;
}

/* The trusted clock, as the shards have it. */
static uint64_t wall_ms(const struct client *client)
{
    const struct shard_ports *ports = shard_ports(client->session->shard);
    return ports->now_ms(ports->context);
}

/* ---- keeping -------------------------------------------------------------------------------------------------------------------- */

static void pack_user(struct writer *out, const struct mqtt_property_value *property)
{
    size_t begin = wire_message_begin(out, FIELD_PROPERTIES_USER);
    wire_write_bytes(out, FIELD_PROPERTY_NAME, property->bytes);
    wire_write_bytes(out, FIELD_PROPERTY_VALUE, property->value);
    wire_nest_end(out, begin);
}

void mqtt_pack_properties(struct writer *out, const struct mqtt_properties *properties)
{
    struct cursor c = cursor_of(properties->block);
    struct mqtt_property_value property;
    while (mqtt_property_next(&c, &property)) {
        if (property.id == MQTT_USER_PROPERTY && !is_own_name(property.bytes)) pack_user(out, &property);
        else if (property.id == MQTT_CONTENT_TYPE) wire_write_bytes(out, FIELD_PROPERTIES_CONTENT_TYPE, property.bytes);
        else if (property.id == MQTT_RESPONSE_TOPIC) wire_write_bytes(out, FIELD_PROPERTIES_RESPONSE_TOPIC, property.bytes);
        else if (property.id == MQTT_CORRELATION_DATA) wire_write_bytes(out, FIELD_PROPERTIES_CORRELATION_DATA, property.bytes);
        else if (property.id == MQTT_MESSAGE_EXPIRY) /* 0, no time at all, would read as none given */
            wire_write_u64(out, FIELD_PROPERTIES_MESSAGE_EXPIRY_S, property.number > 0 ? property.number : 1);
    }
}

/* ---- expiry --------------------------------------------------------------------------------------------------------------------- */

uint64_t mqtt_expires_ms(const struct mqtt_message *message)
{
    uint64_t interval_s = 0;
    if (message->properties.len == 0) return 0;
    if (envelope_peek_u64(message->properties, FIELD_PROPERTIES_MESSAGE_EXPIRY_S, &interval_s) != RESULT_OK) return 0;
    return interval_s == 0 ? 0 : message->time_ms + interval_s * 1000;
}

bool mqtt_expired(struct client *client, const struct mqtt_message *message)
{
    if (message->expires_ms == 0 || wall_ms(client) < message->expires_ms) return false;
    metrics_add(&client->door->options.metrics->mqtt_dropped_expired, 1);
    return true;
}

/* What is left of the interval. Of one whose delivery began in time and goes on after it: nothing. */
static void put_expiry(struct client *client, struct writer *block, const struct mqtt_message *message)
{
    if (message->expires_ms == 0) return;
    uint64_t now_ms = wall_ms(client), left_ms = message->expires_ms > now_ms ? message->expires_ms - now_ms : 0;
    mqtt_put_number(block, MQTT_MESSAGE_EXPIRY, (uint32_t)((left_ms + 999) / 1000));
}

/* Payload format 1 and content type text/plain say that it is text; without either it is when it is UTF-8. Nothing is no text. */
uint32_t mqtt_kind_of(const struct mqtt_publish *publish)
{
    const struct mqtt_properties *properties = &publish->properties;
    struct slice named = mqtt_property_user(properties, SLICE_TEXT("kind"));
    for (uint32_t kind = 0; named.data != NULL && kind < COUNT_OF(kind_names); kind++)
        if (slice_equal(named, slice_text(kind_names[kind]))) return kind;
    struct slice type = mqtt_property_bytes(properties, MQTT_CONTENT_TYPE);
    bool plain = type.len >= 10 && memcmp(type.data, "text/plain", 10) == 0;
    bool said = mqtt_property_number(properties, MQTT_PAYLOAD_FORMAT, 0) == 1 || plain;
    bool text = publish->payload.len > 0 && utf8_valid_len(publish->payload) == publish->payload.len;
    if ((said && publish->payload.len > 0) || (type.data == NULL && text)) return RINGPOST__V1__MESSAGE_KIND__TEXT;
    return RINGPOST__V1__MESSAGE_KIND__CUSTOM;
}

/* ---- showing -------------------------------------------------------------------------------------------------------------------- */

struct given { /* by the publisher; borrowed */
    struct slice content_type, response_topic, correlation_data;
};

static void put_given_user(struct writer *block, struct slice packed)
{
    struct cursor c = cursor_of(packed);
    struct wire_field field;
    struct slice name = SLICE_EMPTY, value = SLICE_EMPTY;
    while (wire_next(&c, &field)) {
        if (field.number == FIELD_PROPERTY_NAME) name = field.bytes;
        if (field.number == FIELD_PROPERTY_VALUE) value = field.bytes;
    }
    if (!is_own_name(name)) mqtt_put_user(block, name, value);
}

/* Writes the user properties, in the publisher's order, and reads the others. */
static struct given put_given(struct writer *block, struct slice packed)
{
    struct given given = {0};
    struct cursor c = cursor_of(packed);
    struct wire_field field;
    while (wire_next(&c, &field)) {
        if (field.number == FIELD_PROPERTIES_USER) put_given_user(block, field.bytes);
        if (field.number == FIELD_PROPERTIES_CONTENT_TYPE) given.content_type = field.bytes;
        if (field.number == FIELD_PROPERTIES_RESPONSE_TOPIC) given.response_topic = field.bytes;
        if (field.number == FIELD_PROPERTIES_CORRELATION_DATA) given.correlation_data = field.bytes;
    }
    return given;
}

static struct slice digits(char out[24], uint64_t number)
{
    char *end = out + 24, *at = end;
    do *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return slice_of(at, (size_t)(end - at));
}

/* Where an answer goes: to the room, or to the one who wrote. */
static void put_answer(struct writer *block, uint64_t target_id, bool direct)
{
    char number[24], topic[26] = {direct ? 'u' : 'r', '/'};
    struct slice id = digits(number, target_id);
    memcpy(topic + 2, id.data, id.len);
    mqtt_put_bytes(block, MQTT_RESPONSE_TOPIC, slice_of(topic, id.len + 2));
}

static void put_user_number(struct writer *block, struct slice name, uint64_t number)
{
    char text[24];
    mqtt_put_user(block, name, digits(text, number));
}

static void put_ours(struct writer *block, const struct mqtt_message *message)
{
    put_user_number(block, SLICE_TEXT("from"), message->sender_id);
    mqtt_put_user(block, SLICE_TEXT("from_name"), message->sender_name);
    put_user_number(block, SLICE_TEXT("room_id"), message->room_id);
    put_user_number(block, SLICE_TEXT("msg_id"), message->msg_id);
    put_user_number(block, SLICE_TEXT("seq"), message->seq);
    put_user_number(block, SLICE_TEXT("time_ms"), message->time_ms);
    mqtt_put_user(block, SLICE_TEXT("client_msg_id"), message->client_msg_id);
    if (message->kind < COUNT_OF(kind_names)) mqtt_put_user(block, SLICE_TEXT("kind"), slice_text(kind_names[message->kind]));
}

void mqtt_write_properties(struct client *client, struct writer *block, const struct mqtt_message *message, bool direct, bool ours)
{
    bool text = message->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || message->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI;
    if (ours) put_ours(block, message);
    put_expiry(client, block, message);
    struct given given = put_given(block, message->properties);
    if (text) mqtt_put_number(block, MQTT_PAYLOAD_FORMAT, 1);
    if (text && ours && given.content_type.len == 0) given.content_type = SLICE_TEXT("text/plain");
    if (given.content_type.len > 0) mqtt_put_bytes(block, MQTT_CONTENT_TYPE, given.content_type);
    if (given.correlation_data.len > 0) mqtt_put_bytes(block, MQTT_CORRELATION_DATA, given.correlation_data);
    if (given.response_topic.len > 0) mqtt_put_bytes(block, MQTT_RESPONSE_TOPIC, given.response_topic);
    else if (ours) put_answer(block, direct ? message->sender_id : message->room_id, direct);
}
