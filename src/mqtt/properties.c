/* mqtt/properties.c - one table says of each property how its value is written and where it may stand.
 * Happy path: a block is walked once when its packet is decoded; later look-ups walk it again without checking. */
#include "mqtt/properties.h"
#include "api/utf8.h"
#include "core/check.h"

#define VARINT_MAX 268435455u
#define TEXT_MAX   65535u

enum value { VALUE_NONE, VALUE_FLAG, VALUE_U16, VALUE_U32, VALUE_VARINT, VALUE_TEXT, VALUE_BYTES, VALUE_PAIR };

/* Packet types as bits; the numbers are those of the protocol. */
#define WILL        (1u << MQTT_IN_WILL)
#define CONNECT     (1u << 1)
#define CONNACK     (1u << 2)
#define PUBLISH     (1u << 3)
#define ACKS        (1u << 4 | 1u << 5 | 1u << 6 | 1u << 7)
#define SUBSCRIBE   (1u << 8)
#define SUBACK      (1u << 9)
#define UNSUBSCRIBE (1u << 10)
#define UNSUBACK    (1u << 11)
#define DISCONNECT  (1u << 14)
#define AUTH        (1u << 15)
#define EVERYWHERE  (WILL | CONNECT | CONNACK | PUBLISH | ACKS | SUBSCRIBE | SUBACK | UNSUBSCRIBE | UNSUBACK | DISCONNECT | AUTH)

static const struct row {
    uint8_t value;
    bool not_zero;
    uint16_t where;
} rows[] = {
    [MQTT_PAYLOAD_FORMAT] = {VALUE_FLAG, false, PUBLISH | WILL},
    [MQTT_MESSAGE_EXPIRY] = {VALUE_U32, false, PUBLISH | WILL},
    [MQTT_CONTENT_TYPE] = {VALUE_TEXT, false, PUBLISH | WILL},
    [MQTT_RESPONSE_TOPIC] = {VALUE_TEXT, false, PUBLISH | WILL},
    [MQTT_CORRELATION_DATA] = {VALUE_BYTES, false, PUBLISH | WILL},
    [MQTT_SUBSCRIPTION_ID] = {VALUE_VARINT, true, PUBLISH | SUBSCRIBE},
    [MQTT_SESSION_EXPIRY] = {VALUE_U32, false, CONNECT | CONNACK | DISCONNECT},
    [MQTT_ASSIGNED_CLIENT_ID] = {VALUE_TEXT, false, CONNACK},
    [MQTT_SERVER_KEEP_ALIVE] = {VALUE_U16, false, CONNACK},
    [MQTT_AUTH_METHOD] = {VALUE_TEXT, false, CONNECT | CONNACK | AUTH},
    [MQTT_AUTH_DATA] = {VALUE_BYTES, false, CONNECT | CONNACK | AUTH},
    [MQTT_REQUEST_PROBLEM_INFO] = {VALUE_FLAG, false, CONNECT},
    [MQTT_WILL_DELAY] = {VALUE_U32, false, WILL},
    [MQTT_REQUEST_RESPONSE_INFO] = {VALUE_FLAG, false, CONNECT},
    [MQTT_RESPONSE_INFO] = {VALUE_TEXT, false, CONNACK},
    [MQTT_SERVER_REFERENCE] = {VALUE_TEXT, false, CONNACK | DISCONNECT},
    [MQTT_REASON_STRING] = {VALUE_TEXT, false, CONNACK | ACKS | SUBACK | UNSUBACK | DISCONNECT | AUTH},
    [MQTT_RECEIVE_MAXIMUM] = {VALUE_U16, true, CONNECT | CONNACK},
    [MQTT_TOPIC_ALIAS_MAXIMUM] = {VALUE_U16, false, CONNECT | CONNACK},
    [MQTT_TOPIC_ALIAS] = {VALUE_U16, true, PUBLISH},
    [MQTT_MAXIMUM_QOS] = {VALUE_FLAG, false, CONNACK},
    [MQTT_RETAIN_AVAILABLE] = {VALUE_FLAG, false, CONNACK},
    [MQTT_USER_PROPERTY] = {VALUE_PAIR, false, EVERYWHERE},
    [MQTT_MAXIMUM_PACKET_SIZE] = {VALUE_U32, true, CONNECT | CONNACK},
    [MQTT_WILDCARD_AVAILABLE] = {VALUE_FLAG, false, CONNACK},
    [MQTT_SUBSCRIPTION_ID_AVAILABLE] = {VALUE_FLAG, false, CONNACK},
    [MQTT_SHARED_AVAILABLE] = {VALUE_FLAG, false, CONNACK},
};

/* ---- primitives --------------------------------------------------------------------------------------------------- */

uint16_t mqtt_read_u16(struct cursor *c) { return __builtin_bswap16(cursor_u16(c)); }
uint32_t mqtt_read_u32(struct cursor *c) { return __builtin_bswap32(cursor_u32(c)); }

uint32_t mqtt_read_varint(struct cursor *c)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint8_t byte = cursor_u8(c);
        if (i > 0 && byte == 0) break; /* a shorter form exists */
        value |= (uint32_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) return value;
    }
    c->bad = true;
    return 0;
}

struct slice mqtt_read_bytes(struct cursor *c)
{
    uint16_t len = mqtt_read_u16(c);
    const uint8_t *data = cursor_take(c, len);
    return data == NULL ? SLICE_EMPTY : slice_of(data, len);
}

struct slice mqtt_read_text(struct cursor *c)
{
    struct slice text = mqtt_read_bytes(c);
    bool zero = text.len > 0 && memchr(text.data, 0, text.len) != NULL;
    if (zero || utf8_valid_len(text) != text.len) c->bad = true;
    return text;
}

void mqtt_write_u16(struct writer *out, uint16_t value) { writer_u16be(out, value); }
void mqtt_write_u32(struct writer *out, uint32_t value) { writer_u32(out, __builtin_bswap32(value)); }

void mqtt_write_varint(struct writer *out, uint32_t value)
{
    ASSERT(value <= VARINT_MAX);
    for (; value >= 0x80; value >>= 7) writer_u8(out, (uint8_t)(value | 0x80));
    writer_u8(out, (uint8_t)value);
}

void mqtt_write_bytes(struct writer *out, struct slice bytes)
{
    ASSERT(bytes.len <= TEXT_MAX);
    mqtt_write_u16(out, (uint16_t)bytes.len);
    writer_raw(out, bytes.data, bytes.len);
}

uint32_t mqtt_varint_size(uint32_t value)
{
    return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : value < 1u << 21 ? 3 : 4;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

/* NULL: no property has that id. */
static const struct row *row_of(uint8_t id)
{
    return id < COUNT_OF(rows) && rows[id].value != VALUE_NONE ? &rows[id] : NULL;
}

bool mqtt_property_next(struct cursor *c, struct mqtt_property_value *property)
{
    if (c->bad || c->at == c->end) return false;
    *property = (struct mqtt_property_value){.id = cursor_u8(c)};
    const struct row *row = row_of(property->id);
    switch (row == NULL ? VALUE_NONE : (enum value)row->value) {
    case VALUE_NONE: c->bad = true; break;
    case VALUE_FLAG: property->number = cursor_u8(c); break;
    case VALUE_U16: property->number = mqtt_read_u16(c); break;
    case VALUE_U32: property->number = mqtt_read_u32(c); break;
    case VALUE_VARINT: property->number = mqtt_read_varint(c); break;
    case VALUE_TEXT: property->bytes = mqtt_read_text(c); break;
    case VALUE_BYTES: property->bytes = mqtt_read_bytes(c); break;
    case VALUE_PAIR:
        property->bytes = mqtt_read_text(c);
        property->value = mqtt_read_text(c);
        break;
    }
    return !c->bad;
}

/* What stands where it must not is malformed; what stands twice, or says what it must not, is against the protocol. */
static enum mqtt_properties_verdict judge(const struct mqtt_property_value *property, unsigned where, uint64_t *seen)
{
    const struct row *row = &rows[property->id];
    uint64_t bit = 1ull << property->id;
    if ((row->where & 1u << where) == 0) return MQTT_PROPERTIES_MALFORMED;
    bool repeated = (*seen & bit) != 0 && property->id != MQTT_USER_PROPERTY;
    *seen |= bit;
    bool wrong = (row->value == VALUE_FLAG && property->number > 1) || (row->not_zero && property->number == 0);
    return repeated || wrong ? MQTT_PROPERTIES_PROTOCOL : MQTT_PROPERTIES_OK;
}

enum mqtt_properties_verdict mqtt_properties_read(struct mqtt_properties *out, struct cursor *c, unsigned where)
{
    out->block = SLICE_EMPTY;
    uint32_t len = mqtt_read_varint(c);
    const uint8_t *data = cursor_take(c, len);
    if (data == NULL) return MQTT_PROPERTIES_MALFORMED;
    struct cursor block = cursor_of(slice_of(data, len));
    struct mqtt_property_value property;
    uint64_t seen = 0;
    enum mqtt_properties_verdict verdict = MQTT_PROPERTIES_OK; /* the first that is wrong says how */
    while (mqtt_property_next(&block, &property)) {
        enum mqtt_properties_verdict one = judge(&property, where, &seen);
        if (verdict == MQTT_PROPERTIES_OK) verdict = one;
    }
    if (block.bad) return MQTT_PROPERTIES_MALFORMED;
    if (verdict != MQTT_PROPERTIES_OK) return verdict;
    out->block = slice_of(data, len);
    return MQTT_PROPERTIES_OK;
}

static bool find(const struct mqtt_properties *properties, enum mqtt_property id, struct mqtt_property_value *property)
{
    struct cursor c = cursor_of(properties->block);
    while (mqtt_property_next(&c, property))
        if (property->id == id) return true;
    return false;
}

uint32_t mqtt_property_number(const struct mqtt_properties *properties, enum mqtt_property id, uint32_t missing)
{
    struct mqtt_property_value property;
    return find(properties, id, &property) ? property.number : missing;
}

struct slice mqtt_property_bytes(const struct mqtt_properties *properties, enum mqtt_property id)
{
    struct mqtt_property_value property;
    return find(properties, id, &property) ? property.bytes : SLICE_EMPTY;
}

struct slice mqtt_property_user(const struct mqtt_properties *properties, struct slice name)
{
    struct cursor c = cursor_of(properties->block);
    struct mqtt_property_value property;
    while (mqtt_property_next(&c, &property))
        if (property.id == MQTT_USER_PROPERTY && slice_equal(property.bytes, name)) return property.value;
    return SLICE_EMPTY;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

void mqtt_put_number(struct writer *block, enum mqtt_property id, uint32_t value)
{
    writer_u8(block, (uint8_t)id);
    switch ((enum value)rows[id].value) {
    case VALUE_FLAG: writer_u8(block, (uint8_t)value); break;
    case VALUE_U16: mqtt_write_u16(block, (uint16_t)value); break;
    case VALUE_U32: mqtt_write_u32(block, value); break;
    case VALUE_VARINT: mqtt_write_varint(block, value); break;
    case VALUE_NONE:
    case VALUE_TEXT:
    case VALUE_BYTES:
    case VALUE_PAIR: ASSERT(false); break;
    }
}

void mqtt_put_bytes(struct writer *block, enum mqtt_property id, struct slice bytes)
{
    ASSERT(rows[id].value == VALUE_TEXT || rows[id].value == VALUE_BYTES);
    writer_u8(block, (uint8_t)id);
    mqtt_write_bytes(block, bytes);
}

void mqtt_put_user(struct writer *block, struct slice name, struct slice value)
{
    writer_u8(block, MQTT_USER_PROPERTY);
    mqtt_write_bytes(block, name);
    mqtt_write_bytes(block, value);
}
