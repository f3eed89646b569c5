/* mqtt/packet.c - decoding and encoding; one function per packet.
 * Failure modes: reserved bits, a length that does not end where the packet does, text that is no UTF-8, a topic with
 * wildcards, packet id 0: MALFORMED or PROTOCOL_ERROR, as the standard names it. */
#include "mqtt/packet.h"
#include "core/check.h"

#define FLAG_RETAIN    0x01u
#define FLAG_DUPLICATE 0x08u
#define FLAGS_RESERVED 0x02u /* SUBSCRIBE, UNSUBSCRIBE, PUBREL must carry it */

#define VERSION_BRIDGE 0x80u

enum connect_flag {
    CONNECT_RESERVED = 0x01,
    CONNECT_CLEAN = 0x02,
    CONNECT_WILL = 0x04,
    CONNECT_WILL_QOS = 0x18,
    CONNECT_WILL_RETAIN = 0x20,
    CONNECT_PASSWORD = 0x40,
    CONNECT_USER_NAME = 0x80,
};

static enum mqtt_reason verdict_reason(enum mqtt_properties_verdict verdict)
{
    switch (verdict) {
    case MQTT_PROPERTIES_OK: return MQTT_SUCCESS;
    case MQTT_PROPERTIES_MALFORMED: return MQTT_MALFORMED;
    case MQTT_PROPERTIES_PROTOCOL: return MQTT_PROTOCOL_ERROR;
    }
    return MQTT_MALFORMED;
}

static enum mqtt_reason read_properties(struct mqtt_properties *out, struct cursor *c, enum mqtt_version version,
                                        unsigned where)
{
    out->block = SLICE_EMPTY;
    return version == MQTT_5 ? verdict_reason(mqtt_properties_read(out, c, where)) : MQTT_SUCCESS;
}

/* ---- CONNECT -------------------------------------------------------------------------------------------------------- */

static enum mqtt_reason read_protocol(struct mqtt_connect *out, struct cursor *c)
{
    struct slice name = mqtt_read_bytes(c);
    uint8_t version = cursor_u8(c);
    if (c->bad) return MQTT_MALFORMED;
    bool old = slice_equal(name, SLICE_TEXT("MQIsdp"));
    if (!old && !slice_equal(name, SLICE_TEXT("MQTT"))) return MQTT_MALFORMED;
    out->bridge = version == (MQTT_3_1_1 | VERSION_BRIDGE);
    if (out->bridge) version = MQTT_3_1_1;
    if (old || (version != MQTT_3_1_1 && version != MQTT_5)) return MQTT_UNSUPPORTED_VERSION;
    out->version = (enum mqtt_version)version;
    return MQTT_SUCCESS;
}

static bool connect_flags_valid(uint8_t flags, enum mqtt_version version)
{
    if ((flags & CONNECT_RESERVED) != 0 || (flags & CONNECT_WILL_QOS) == CONNECT_WILL_QOS) return false;
    bool will = (flags & CONNECT_WILL) != 0;
    if (!will && (flags & (CONNECT_WILL_QOS | CONNECT_WILL_RETAIN)) != 0) return false;
    bool nameless = (flags & CONNECT_PASSWORD) != 0 && (flags & CONNECT_USER_NAME) == 0;
    return version == MQTT_5 || !nameless;
}

static bool topic_name_valid(struct slice topic)
{
    for (uint32_t i = 0; i < topic.len; i++)
        if (topic.data[i] == '#' || topic.data[i] == '+') return false;
    return true;
}

static enum mqtt_reason read_will(struct mqtt_will *will, struct cursor *c, enum mqtt_version version, uint8_t flags)
{
    enum mqtt_reason reason = read_properties(&will->properties, c, version, MQTT_IN_WILL);
    if (reason != MQTT_SUCCESS) return reason;
    if (!topic_name_valid(mqtt_property_bytes(&will->properties, MQTT_RESPONSE_TOPIC))) return MQTT_PROTOCOL_ERROR;
    will->topic = mqtt_read_text(c);
    will->payload = mqtt_read_bytes(c);
    will->qos = (uint8_t)((flags & CONNECT_WILL_QOS) >> 3);
    will->retain = (flags & CONNECT_WILL_RETAIN) != 0;
    return !c->bad && will->topic.len > 0 && topic_name_valid(will->topic) ? MQTT_SUCCESS : MQTT_MALFORMED;
}

static enum mqtt_reason read_connect(struct mqtt_connect *out, struct cursor *c)
{
    *out = (struct mqtt_connect){0};
    enum mqtt_reason reason = read_protocol(out, c);
    if (reason != MQTT_SUCCESS) return reason;
    uint8_t flags = cursor_u8(c);
    out->keep_alive_s = mqtt_read_u16(c);
    if (c->bad || !connect_flags_valid(flags, out->version)) return MQTT_MALFORMED;
    out->clean_start = (flags & CONNECT_CLEAN) != 0;
    out->has_will = (flags & CONNECT_WILL) != 0;
    out->has_user_name = (flags & CONNECT_USER_NAME) != 0;
    out->has_password = (flags & CONNECT_PASSWORD) != 0;
    reason = read_properties(&out->properties, c, out->version, MQTT_CONNECT);
    if (reason != MQTT_SUCCESS) return reason;
    out->client_id = mqtt_read_text(c);
    if (out->has_will && !c->bad) reason = read_will(&out->will, c, out->version, flags);
    if (reason != MQTT_SUCCESS) return reason;
    if (out->has_user_name) out->user_name = mqtt_read_text(c);
    if (out->has_password) out->password = mqtt_read_bytes(c);
    return cursor_done(c) ? MQTT_SUCCESS : MQTT_MALFORMED;
}

/* ---- the others ------------------------------------------------------------------------------------------------------ */

static enum mqtt_reason read_publish(struct mqtt_publish *out, struct cursor *c, enum mqtt_version version, uint8_t flags)
{
    *out = (struct mqtt_publish){0};
    out->qos = (uint8_t)(flags >> 1 & 3);
    out->retain = (flags & FLAG_RETAIN) != 0;
    out->duplicate = (flags & FLAG_DUPLICATE) != 0;
    if (out->qos == 3 || (out->qos == 0 && out->duplicate)) return MQTT_MALFORMED;
    out->topic = mqtt_read_text(c);
    if (out->qos > 0) out->packet_id = mqtt_read_u16(c);
    if (c->bad || (out->qos > 0 && out->packet_id == 0) || !topic_name_valid(out->topic)) return MQTT_MALFORMED;
    enum mqtt_reason reason = read_properties(&out->properties, c, version, MQTT_PUBLISH);
    if (reason != MQTT_SUCCESS) return reason;
    if (mqtt_property_number(&out->properties, MQTT_SUBSCRIPTION_ID, 0) != 0) return MQTT_PROTOCOL_ERROR;
    if (!topic_name_valid(mqtt_property_bytes(&out->properties, MQTT_RESPONSE_TOPIC))) return MQTT_PROTOCOL_ERROR;
    bool alias = mqtt_property_number(&out->properties, MQTT_TOPIC_ALIAS, 0) != 0;
    if (out->topic.len == 0 && !alias) return version == MQTT_5 ? MQTT_PROTOCOL_ERROR : MQTT_MALFORMED;
    out->payload = slice_of(c->at, cursor_left(c));
    return MQTT_SUCCESS;
}

/* May a client give this reason in a packet of that type? */
static bool reason_valid(uint8_t reason, enum mqtt_type type)
{
    static const uint8_t published[] = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
    static const uint8_t released[] = {0x00, 0x92};
    static const uint8_t farewell[] = {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99};
    static const uint8_t auth[] = {0x18, 0x19};
    struct slice list = slice_of(published, sizeof published);
    if (type == MQTT_PUBREL || type == MQTT_PUBCOMP) list = slice_of(released, sizeof released);
    if (type == MQTT_DISCONNECT) list = slice_of(farewell, sizeof farewell);
    if (type == MQTT_AUTH) list = slice_of(auth, sizeof auth);
    return memchr(list.data, reason, list.len) != NULL;
}

static enum mqtt_reason read_ack(struct mqtt_ack *out, struct cursor *c, enum mqtt_version version, enum mqtt_type type)
{
    *out = (struct mqtt_ack){0};
    out->packet_id = mqtt_read_u16(c);
    if (c->bad || out->packet_id == 0) return MQTT_MALFORMED;
    bool given = version == MQTT_5 && cursor_left(c) > 0;
    if (given) out->reason = cursor_u8(c);
    if (version == MQTT_5 && cursor_left(c) > 0) {
        enum mqtt_reason reason = read_properties(&out->properties, c, version, type);
        if (reason != MQTT_SUCCESS) return reason;
    }
    if (!cursor_done(c)) return MQTT_MALFORMED;
    return !given || reason_valid(out->reason, type) ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
}

/* '#' only at the end, each wildcard a whole level. */
static bool filter_valid(struct slice text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool whole = (i == 0 || text.data[i - 1] == '/') && (i + 1 == text.len || text.data[i + 1] == '/');
        if ((c == '#' || c == '+') && !whole) return false;
        if (c == '#' && i + 1 != text.len) return false;
    }
    return text.len > 0;
}

static enum mqtt_reason read_filter(struct mqtt_filter *out, struct cursor *c, enum mqtt_type type, enum mqtt_version version)
{
    *out = (struct mqtt_filter){.text = mqtt_read_text(c)};
    uint8_t options = type == MQTT_SUBSCRIBE ? cursor_u8(c) : 0;
    if (c->bad || !filter_valid(out->text)) return MQTT_MALFORMED;
    out->qos = options & 3;
    out->no_local = (options & 4) != 0;
    out->retain_as_published = (options & 8) != 0;
    out->retain_handling = options >> 4 & 3;
    if ((options & 0xc0) != 0 || (version == MQTT_3_1_1 && options > 2)) return MQTT_MALFORMED;
    bool shared = out->text.len >= 7 && memcmp(out->text.data, "$share/", 7) == 0;
    bool wrong = out->qos == 3 || out->retain_handling == 3 || (shared && out->no_local);
    return wrong ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS;
}

static enum mqtt_reason read_subscribe(struct mqtt_subscribe *out, struct cursor *c, enum mqtt_version version,
                                       enum mqtt_type type)
{
    *out = (struct mqtt_subscribe){0};
    out->packet_id = mqtt_read_u16(c);
    if (c->bad || out->packet_id == 0) return MQTT_MALFORMED;
    enum mqtt_reason reason = read_properties(&out->properties, c, version, type);
    out->filters = *c;
    struct mqtt_filter filter;
    while (reason == MQTT_SUCCESS && cursor_left(c) > 0) {
        reason = read_filter(&filter, c, type, version);
        out->filter_count++;
    }
    return reason == MQTT_SUCCESS && out->filter_count == 0 ? MQTT_PROTOCOL_ERROR : reason;
}

bool mqtt_filter_next(struct mqtt_subscribe *subscribe, enum mqtt_type type, enum mqtt_version version,
                      struct mqtt_filter *filter)
{
    if (cursor_left(&subscribe->filters) == 0) return false;
    return read_filter(filter, &subscribe->filters, type, version) == MQTT_SUCCESS;
}

static enum mqtt_reason read_farewell(struct mqtt_farewell *out, struct cursor *c, enum mqtt_version version,
                                      enum mqtt_type type)
{
    *out = (struct mqtt_farewell){0};
    bool given = version == MQTT_5 && cursor_left(c) > 0;
    if (given) out->reason = cursor_u8(c);
    if (version == MQTT_5 && cursor_left(c) > 0) {
        enum mqtt_reason reason = read_properties(&out->properties, c, version, type);
        if (reason != MQTT_SUCCESS) return reason;
    }
    if (!cursor_done(c)) return MQTT_MALFORMED;
    return !given || reason_valid(out->reason, type) ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
}

static bool flags_valid(enum mqtt_type type, uint8_t flags)
{
    if (type == MQTT_PUBLISH) return true;
    bool reserved = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE;
    return flags == (reserved ? FLAGS_RESERVED : 0);
}

enum mqtt_reason mqtt_decode(struct mqtt_packet *out, enum mqtt_version version, struct slice packet)
{
    struct cursor c = cursor_of(packet);
    uint8_t first = cursor_u8(&c), flags = first & 0x0f;
    uint32_t remaining = mqtt_read_varint(&c);
    if (c.bad || remaining != cursor_left(&c) || first >> 4 == 0) return MQTT_MALFORMED;
    out->type = (enum mqtt_type)(first >> 4);
    if (!flags_valid(out->type, flags)) return MQTT_MALFORMED;
    switch (out->type) {
    case MQTT_CONNECT: return read_connect(&out->as.connect, &c);
    case MQTT_PUBLISH: return read_publish(&out->as.publish, &c, version, flags);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP: return read_ack(&out->as.ack, &c, version, out->type);
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE: return read_subscribe(&out->as.subscribe, &c, version, out->type);
    case MQTT_PINGREQ: return cursor_done(&c) ? MQTT_SUCCESS : MQTT_MALFORMED;
    case MQTT_AUTH:
        if (version == MQTT_3_1_1) return MQTT_PROTOCOL_ERROR;
        return read_farewell(&out->as.farewell, &c, version, out->type);
    case MQTT_DISCONNECT: return read_farewell(&out->as.farewell, &c, version, out->type);
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP: break;
    }
    return MQTT_PROTOCOL_ERROR;
}

/* ---- encoding --------------------------------------------------------------------------------------------------------- */

static uint32_t properties_size(enum mqtt_version version, struct slice block)
{
    return version == MQTT_5 ? mqtt_varint_size(block.len) + block.len : 0;
}

static void write_properties(struct writer *out, enum mqtt_version version, struct slice block)
{
    if (version != MQTT_5) return;
    mqtt_write_varint(out, block.len);
    writer_raw(out, block.data, block.len);
}

static void write_head(struct writer *out, enum mqtt_type type, uint8_t flags, uint32_t remaining)
{
    writer_u8(out, (uint8_t)((unsigned)type << 4 | flags));
    mqtt_write_varint(out, remaining);
}

uint8_t mqtt_connack_code(enum mqtt_reason reason)
{
    if (reason == MQTT_SUCCESS) return 0;
    if (reason == MQTT_UNSUPPORTED_VERSION) return 1;
    if (reason == MQTT_BAD_CLIENT_ID) return 2;
    if (reason == MQTT_BAD_CREDENTIALS) return 4;
    if (reason == MQTT_NOT_AUTHORIZED || reason == MQTT_BAD_TOPIC) return 5; /* of the will: it will not be better later */
    return 3;
}

void mqtt_encode_connack(struct writer *out, enum mqtt_version version, bool session_present, enum mqtt_reason reason,
                         struct slice block)
{
    write_head(out, MQTT_CONNACK, 0, 2 + properties_size(version, block));
    writer_u8(out, session_present && reason == MQTT_SUCCESS);
    writer_u8(out, version == MQTT_5 ? (uint8_t)reason : mqtt_connack_code(reason));
    write_properties(out, version, block);
}

static uint32_t publish_remaining(enum mqtt_version version, const struct mqtt_publish *publish, uint32_t payload_len)
{
    return 2 + publish->topic.len + (publish->qos > 0 ? 2 : 0) + properties_size(version, publish->properties.block) +
           payload_len;
}

void mqtt_encode_publish(struct writer *out, enum mqtt_version version, const struct mqtt_publish *publish, uint32_t payload_len)
{
    ASSERT((publish->packet_id != 0) == (publish->qos > 0));
    uint8_t flags = (uint8_t)((unsigned)publish->qos << 1 | (publish->retain ? FLAG_RETAIN : 0u) |
                              (publish->duplicate ? FLAG_DUPLICATE : 0u));
    write_head(out, MQTT_PUBLISH, flags, publish_remaining(version, publish, payload_len));
    mqtt_write_bytes(out, publish->topic);
    if (publish->qos > 0) mqtt_write_u16(out, publish->packet_id);
    write_properties(out, version, publish->properties.block);
    writer_raw(out, publish->payload.data, publish->payload.len);
}

void mqtt_encode_ack(struct writer *out, enum mqtt_version version, enum mqtt_type type, uint16_t packet_id,
                     enum mqtt_reason reason, struct slice block)
{
    uint8_t flags = type == MQTT_PUBREL ? FLAGS_RESERVED : 0;
    bool with_block = version == MQTT_5 && block.len > 0;
    bool with_reason = version == MQTT_5 && (reason != MQTT_SUCCESS || with_block);
    if (!with_reason) { /* nearly all: written as one word */
        uint32_t first_byte = (uint32_t)type << 4 | flags;
        writer_u32(out, first_byte | 2u << 8 | (uint32_t)__builtin_bswap16(packet_id) << 16);
        return;
    }
    write_head(out, type, flags, 3u + (with_block ? properties_size(version, block) : 0u));
    mqtt_write_u16(out, packet_id);
    writer_u8(out, (uint8_t)reason);
    if (with_block) write_properties(out, version, block);
}

void mqtt_encode_suback(struct writer *out, enum mqtt_version version, enum mqtt_type type, uint16_t packet_id,
                        struct slice reasons)
{
    bool with_reasons = version == MQTT_5 || type == MQTT_SUBACK;
    write_head(out, type, 0, 2 + properties_size(version, SLICE_EMPTY) + (with_reasons ? reasons.len : 0));
    mqtt_write_u16(out, packet_id);
    write_properties(out, version, SLICE_EMPTY);
    if (with_reasons) writer_raw(out, reasons.data, reasons.len);
}

void mqtt_encode_pingresp(struct writer *out) { write_head(out, MQTT_PINGRESP, 0, 0); }

void mqtt_encode_disconnect(struct writer *out, enum mqtt_reason reason, struct slice block)
{
    bool with_block = block.len > 0;
    write_head(out, MQTT_DISCONNECT, 0, 1u + (with_block ? properties_size(MQTT_5, block) : 0));
    writer_u8(out, (uint8_t)reason);
    if (with_block) write_properties(out, MQTT_5, block);
}
