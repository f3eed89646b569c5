#include "core/check.h"
#include "mqtt/mqtt.h"
#include <criterion/criterion.h>

#define BYTES(literal) SLICE_TEXT(literal)

static const struct decode_case {
    const char *name;
    struct slice packet;
    enum mqtt_version version;
    enum mqtt_reason want;
} cases[] = {
    {"connect 3.1.1", {(const uint8_t *)"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1a", 15}, MQTT_3_1_1, MQTT_SUCCESS},
    {"connect 5", {(const uint8_t *)"\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1a", 16}, MQTT_3_1_1, MQTT_SUCCESS},
    {"connect, trailing byte", {(const uint8_t *)"\x10\x0e\0\4MQTT\4\2\0\x3c\0\1ax", 16}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, reserved flag", {(const uint8_t *)"\x10\x0d\0\4MQTT\4\3\0\x3c\0\1a", 15}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, version 6", {(const uint8_t *)"\x10\x0d\0\4MQTT\6\2\0\x3c\0\1a", 15}, MQTT_3_1_1, MQTT_UNSUPPORTED_VERSION},
    {"connect, of a bridge", {(const uint8_t *)"\x10\x0d\0\4MQTT\x84\2\0\x3c\0\1a", 15}, MQTT_3_1_1, MQTT_SUCCESS},
    {"connect, version 5 of a bridge", {(const uint8_t *)"\x10\x0e\0\4MQTT\x85\2\0\x3c\0\0\1a", 16}, MQTT_3_1_1, MQTT_UNSUPPORTED_VERSION},
    {"connect, 3.1", {(const uint8_t *)"\x10\x0f\0\6MQIsdp\3\2\0\x3c\0\1a", 17}, MQTT_3_1_1, MQTT_UNSUPPORTED_VERSION},
    {"connect, other name", {(const uint8_t *)"\x10\x0d\0\4mqtt\4\2\0\x3c\0\1a", 15}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, password without name", {(const uint8_t *)"\x10\x10\0\4MQTT\4\x42\0\x3c\0\1a\0\1p", 18}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, will QoS 3", {(const uint8_t *)"\x10\x13\0\4MQTT\4\x1e\0\x3c\0\1a\0\1t\0\1x", 21}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, will to a wildcard", {(const uint8_t *)"\x10\x13\0\4MQTT\4\6\0\x3c\0\1a\0\1+\0\1x", 21}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, receive maximum 0", {(const uint8_t *)"\x10\x11\0\4MQTT\5\2\0\x3c\3\x21\0\0\0\1a", 19}, MQTT_3_1_1, MQTT_PROTOCOL_ERROR},
    {"publish QoS 0", {(const uint8_t *)"\x30\4\0\1ax", 6}, MQTT_3_1_1, MQTT_SUCCESS},
    {"publish QoS 1, no payload", {(const uint8_t *)"\x32\5\0\1a\0\1", 7}, MQTT_3_1_1, MQTT_SUCCESS},
    {"publish QoS 1, packet id 0", {(const uint8_t *)"\x32\5\0\1a\0\0", 7}, MQTT_3_1_1, MQTT_MALFORMED},
    {"publish QoS 3", {(const uint8_t *)"\x36\5\0\1a\0\1", 7}, MQTT_3_1_1, MQTT_MALFORMED},
    {"publish QoS 0, DUP", {(const uint8_t *)"\x38\4\0\1ax", 6}, MQTT_3_1_1, MQTT_MALFORMED},
    {"publish to a wildcard", {(const uint8_t *)"\x30\4\0\1#x", 6}, MQTT_3_1_1, MQTT_MALFORMED},
    {"publish without topic", {(const uint8_t *)"\x30\3\0\0x", 5}, MQTT_3_1_1, MQTT_MALFORMED},
    {"publish 5, no topic, no alias", {(const uint8_t *)"\x30\4\0\0\0x", 6}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"publish 5, alias", {(const uint8_t *)"\x30\7\0\0\3\x23\0\1x", 9}, MQTT_5, MQTT_SUCCESS},
    {"publish 5, property twice", {(const uint8_t *)"\x30\x08\0\1a\4\1\0\1\0x", 10}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"publish 5, unknown property", {(const uint8_t *)"\x30\6\0\1a\2\4\0", 8}, MQTT_5, MQTT_MALFORMED},
    {"publish 5, property of CONNECT", {(const uint8_t *)"\x30\x09\0\1a\5\x11\0\0\0\1", 11}, MQTT_5, MQTT_MALFORMED},
    {"publish 5, property of CONNECT, and one twice", {(const uint8_t *)"\x30\x0d\0\1a\x09\x11\0\0\0\1\1\0\1\0", 15}, MQTT_5, MQTT_MALFORMED},
    {"publish 5, alias 0", {(const uint8_t *)"\x30\7\0\1a\3\x23\0\0", 9}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"publish 5, subscription id", {(const uint8_t *)"\x30\6\0\1a\2\x0b\1", 8}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"connect, property of PUBLISH", {(const uint8_t *)"\x10\x10\0\4MQTT\5\2\0\x3c\2\1\0\0\1a", 18}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, of a server", {(const uint8_t *)"\x10\x11\0\4MQTT\5\2\0\x3c\3\x13\0\1\0\1a", 19}, MQTT_3_1_1, MQTT_MALFORMED},
    {"connect, receive maximum twice", {(const uint8_t *)"\x10\x14\0\4MQTT\5\2\0\x3c\6\x21\0\1\x21\0\1\0\1a", 22}, MQTT_3_1_1, MQTT_PROTOCOL_ERROR},
    {"connect, will delay twice", {(const uint8_t *)"\x10\x1f\0\4MQTT\5\6\0\x3c\0\0\1a\x0a\x18\0\0\0\1\x18\0\0\0\1\0\1t\0\1x", 33}, MQTT_3_1_1, MQTT_PROTOCOL_ERROR},
    {"connect, alias in the will", {(const uint8_t *)"\x10\x18\0\4MQTT\5\6\0\x3c\0\0\1a\3\x23\0\1\0\1t\0\1x", 26}, MQTT_3_1_1, MQTT_MALFORMED},
    {"publish 5, format 2", {(const uint8_t *)"\x30\6\0\1a\2\1\2", 8}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"publish, topic with NUL", {(const uint8_t *)"\x30\3\0\1\0", 5}, MQTT_3_1_1, MQTT_MALFORMED},
    {"puback", {(const uint8_t *)"\x40\2\0\1", 4}, MQTT_3_1_1, MQTT_SUCCESS},
    {"puback 5, reason", {(const uint8_t *)"\x40\3\0\1\x10", 5}, MQTT_5, MQTT_SUCCESS},
    {"puback 5, reason of SUBACK", {(const uint8_t *)"\x40\3\0\1\x01", 5}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"puback 5, content type", {(const uint8_t *)"\x40\7\0\1\0\3\3\0\0", 9}, MQTT_5, MQTT_MALFORMED},
    {"puback 5, reason string twice", {(const uint8_t *)"\x40\x0a\0\1\0\6\x1f\0\0\x1f\0\0", 12}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"pubrel 5, reason of PUBACK", {(const uint8_t *)"\x62\3\0\1\x10", 5}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"pubcomp 5, id not found", {(const uint8_t *)"\x70\3\0\1\x92", 5}, MQTT_5, MQTT_SUCCESS},
    {"puback 3.1.1, reason", {(const uint8_t *)"\x40\3\0\1\x10", 5}, MQTT_3_1_1, MQTT_MALFORMED},
    {"pubrel, wrong flags", {(const uint8_t *)"\x60\2\0\1", 4}, MQTT_3_1_1, MQTT_MALFORMED},
    {"pubrel", {(const uint8_t *)"\x62\2\0\1", 4}, MQTT_3_1_1, MQTT_SUCCESS},
    {"subscribe", {(const uint8_t *)"\x82\6\0\1\0\1a\1", 8}, MQTT_3_1_1, MQTT_SUCCESS},
    {"subscribe to nothing", {(const uint8_t *)"\x82\2\0\1", 4}, MQTT_3_1_1, MQTT_PROTOCOL_ERROR},
    {"subscribe, QoS 3", {(const uint8_t *)"\x82\6\0\1\0\1a\3", 8}, MQTT_3_1_1, MQTT_MALFORMED},
    {"subscribe, a#", {(const uint8_t *)"\x82\7\0\1\0\2a#\1", 9}, MQTT_3_1_1, MQTT_MALFORMED},
    {"subscribe, #/a", {(const uint8_t *)"\x82\x08\0\1\0\3#/a\1", 10}, MQTT_3_1_1, MQTT_MALFORMED},
    {"subscribe 5, reserved option", {(const uint8_t *)"\x82\7\0\1\0\0\1a\x40", 9}, MQTT_5, MQTT_MALFORMED},
    {"subscribe 5, the other one", {(const uint8_t *)"\x82\7\0\1\0\0\1a\x80", 9}, MQTT_5, MQTT_MALFORMED},
    {"subscribe 5, QoS 3", {(const uint8_t *)"\x82\7\0\1\0\0\1a\3", 9}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"subscribe 5, retain handling 3", {(const uint8_t *)"\x82\7\0\1\0\0\1a\x30", 9}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"subscribe 5, no local of a share", {(const uint8_t *)"\x82\x0f\0\1\0\0\x09$share/g/\4", 17}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"subscribe 5, content type", {(const uint8_t *)"\x82\x0a\0\1\3\3\0\0\0\1a\0", 12}, MQTT_5, MQTT_MALFORMED},
    {"subscribe 5, id twice", {(const uint8_t *)"\x82\x0b\0\1\4\x0b\1\x0b\1\0\1a\0", 13}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"unsubscribe 5, subscription id", {(const uint8_t *)"\xa2\x08\0\1\2\x0b\1\0\1a", 10}, MQTT_5, MQTT_MALFORMED},
    {"unsubscribe 5 of nothing", {(const uint8_t *)"\xa2\3\0\1\0", 5}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"disconnect 5, of a server", {(const uint8_t *)"\xe0\1\x8b", 3}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"disconnect 5, content type", {(const uint8_t *)"\xe0\5\0\3\3\0\0", 7}, MQTT_5, MQTT_MALFORMED},
    {"unsubscribe", {(const uint8_t *)"\xa2\5\0\1\0\1a", 7}, MQTT_3_1_1, MQTT_SUCCESS},
    {"pingreq", {(const uint8_t *)"\xc0\0", 2}, MQTT_3_1_1, MQTT_SUCCESS},
    {"pingreq with a body", {(const uint8_t *)"\xc0\1x", 3}, MQTT_3_1_1, MQTT_MALFORMED},
    {"disconnect", {(const uint8_t *)"\xe0\0", 2}, MQTT_5, MQTT_SUCCESS},
    {"disconnect 5, reason and expiry", {(const uint8_t *)"\xe0\7\4\5\x11\0\0\0\1", 9}, MQTT_5, MQTT_SUCCESS},
    {"auth 3.1.1", {(const uint8_t *)"\xf0\0", 2}, MQTT_3_1_1, MQTT_PROTOCOL_ERROR},
    {"auth 5", {(const uint8_t *)"\xf0\0", 2}, MQTT_5, MQTT_SUCCESS},
    {"a server's packet", {(const uint8_t *)"\x20\2\0\0", 4}, MQTT_3_1_1, MQTT_PROTOCOL_ERROR},
    {"type 0", {(const uint8_t *)"\0\0", 2}, MQTT_3_1_1, MQTT_MALFORMED},
    {"length past the end", {(const uint8_t *)"\xc0\1", 2}, MQTT_3_1_1, MQTT_MALFORMED},
    {"length in too many bytes", {(const uint8_t *)"\xc0\x80\0", 3}, MQTT_3_1_1, MQTT_MALFORMED},
    {"a response topic", {(const uint8_t *)"\x30\x0a\0\1x\6\x08\0\3r/1", 12}, MQTT_5, MQTT_SUCCESS},
    {"a response topic for many", {(const uint8_t *)"\x30\x0a\0\1x\6\x08\0\3r/+", 12}, MQTT_5, MQTT_PROTOCOL_ERROR},
    {"nothing", {NULL, 0}, MQTT_3_1_1, MQTT_MALFORMED},
};

Test(packet, decode)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_packet packet;
        enum mqtt_reason got = mqtt_decode(&packet, cases[i].version, cases[i].packet);
        cr_expect_eq(got, cases[i].want, "%s: 0x%02x, not 0x%02x", cases[i].name, got, cases[i].want);
    }
}

/* Nothing is read past the end, and no beginning of a packet is one. */
Test(packet, every_beginning_is_refused)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (uint32_t len = 0; len < cases[i].packet.len; len++) {
            uint8_t *copy = malloc(len + 1);
            memcpy(copy, cases[i].packet.data, len);
            struct mqtt_packet packet;
            cr_expect_neq(mqtt_decode(&packet, cases[i].version, slice_of(copy, len)), MQTT_SUCCESS, "%s cut at %u",
                          cases[i].name, len);
            free(copy);
        }
    }
}

Test(packet, what_a_connect_says)
{
    struct mqtt_packet packet;
    struct slice bytes = BYTES("\x10\x2b\0\4MQTT\5\xee\0\x0a\5\x11\0\0\0\x07\0\3dev\5\x18\0\0\0\1\0\3r/1\0\2by\0\1u\0\2pw");
    cr_assert_eq(mqtt_decode(&packet, MQTT_3_1_1, bytes), MQTT_SUCCESS);
    const struct mqtt_connect *connect = &packet.as.connect;
    cr_expect(connect->clean_start && connect->has_will && connect->will.retain && connect->will.qos == 1);
    cr_expect_eq(connect->keep_alive_s, 10);
    cr_expect_eq(mqtt_property_number(&connect->properties, MQTT_SESSION_EXPIRY, 0), 7);
    cr_expect_eq(mqtt_property_number(&connect->properties, MQTT_RECEIVE_MAXIMUM, 99), 99);
    cr_expect_eq(mqtt_property_number(&connect->will.properties, MQTT_WILL_DELAY, 0), 1);
    cr_expect(slice_equal(connect->client_id, BYTES("dev")) && slice_equal(connect->will.topic, BYTES("r/1")));
    cr_expect(slice_equal(connect->will.payload, BYTES("by")) && slice_equal(connect->user_name, BYTES("u")));
    cr_expect(slice_equal(connect->password, BYTES("pw")));
}

Test(packet, filters_one_by_one)
{
    struct mqtt_packet packet;
    struct slice bytes = BYTES("\x82\x0d\0\1\0\0\3r/+\x2d\0\1x\0");
    cr_assert_eq(mqtt_decode(&packet, MQTT_5, bytes), MQTT_SUCCESS);
    struct mqtt_subscribe *subscribe = &packet.as.subscribe;
    cr_assert_eq(subscribe->filter_count, 2);
    struct mqtt_filter filter;
    cr_assert(mqtt_filter_next(subscribe, MQTT_SUBSCRIBE, MQTT_5, &filter));
    cr_expect(slice_equal(filter.text, BYTES("r/+")) && filter.qos == 1 && filter.no_local && filter.retain_as_published);
    cr_expect_eq(filter.retain_handling, 2);
    cr_assert(mqtt_filter_next(subscribe, MQTT_SUBSCRIBE, MQTT_5, &filter));
    cr_expect(slice_equal(filter.text, BYTES("x")) && filter.qos == 0);
    cr_expect_not(mqtt_filter_next(subscribe, MQTT_SUBSCRIBE, MQTT_5, &filter));
}

static void expect_bytes(struct writer *out, struct slice want, const char *name)
{
    cr_expect(slice_equal(writer_slice(out), want), "%s", name);
    writer_reset(out);
}

Test(packet, encode)
{
    struct writer out, block;
    writer_init(&out, 0);
    writer_init(&block, 0);
    mqtt_put_number(&block, MQTT_RECEIVE_MAXIMUM, 5);
    mqtt_encode_connack(&out, MQTT_5, true, MQTT_SUCCESS, writer_slice(&block));
    expect_bytes(&out, BYTES("\x20\6\1\0\3\x21\0\5"), "CONNACK 5");
    mqtt_encode_connack(&out, MQTT_3_1_1, true, MQTT_BAD_CREDENTIALS, SLICE_EMPTY);
    expect_bytes(&out, BYTES("\x20\2\0\4"), "CONNACK 3.1.1, refused: no session is present");
    mqtt_encode_ack(&out, MQTT_5, MQTT_PUBACK, 258, MQTT_SUCCESS, SLICE_EMPTY);
    expect_bytes(&out, BYTES("\x40\2\1\2"), "PUBACK");
    mqtt_encode_ack(&out, MQTT_5, MQTT_PUBREC, 1, MQTT_QUOTA_EXCEEDED, SLICE_EMPTY);
    expect_bytes(&out, BYTES("\x50\3\0\1\x97"), "PUBREC with a reason");
    mqtt_encode_ack(&out, MQTT_3_1_1, MQTT_PUBREL, 1, MQTT_QUOTA_EXCEEDED, SLICE_EMPTY);
    expect_bytes(&out, BYTES("\x62\2\0\1"), "PUBREL 3.1.1");
    mqtt_encode_suback(&out, MQTT_5, MQTT_SUBACK, 1, BYTES("\1\x80"));
    expect_bytes(&out, BYTES("\x90\5\0\1\0\1\x80"), "SUBACK 5");
    mqtt_encode_suback(&out, MQTT_3_1_1, MQTT_UNSUBACK, 1, BYTES("\0"));
    expect_bytes(&out, BYTES("\xb0\2\0\1"), "UNSUBACK 3.1.1");
    mqtt_encode_pingresp(&out);
    expect_bytes(&out, BYTES("\xd0\0"), "PINGRESP");
    mqtt_encode_disconnect(&out, MQTT_TAKEN_OVER, SLICE_EMPTY);
    expect_bytes(&out, BYTES("\xe0\1\x8e"), "DISCONNECT");
    writer_deinit(&out);
    writer_deinit(&block);
}

Test(packet, publish_comes_back_as_it_went)
{
    struct writer out, block;
    writer_init(&out, 0);
    writer_init(&block, 0);
    mqtt_put_bytes(&block, MQTT_CONTENT_TYPE, BYTES("text/plain"));
    mqtt_put_user(&block, BYTES("seq"), BYTES("7"));
    struct mqtt_publish publish = {.topic = BYTES("r/1"), .qos = 2, .packet_id = 9, .retain = true, .duplicate = true};
    publish.properties.block = writer_slice(&block);
    publish.payload = BYTES("bo");
    mqtt_encode_publish(&out, MQTT_5, &publish, 4);
    writer_raw(&out, "dy", 2);
    struct mqtt_packet packet;
    cr_assert_eq(mqtt_decode(&packet, MQTT_5, writer_slice(&out)), MQTT_SUCCESS);
    const struct mqtt_publish *back = &packet.as.publish;
    cr_expect(back->qos == 2 && back->packet_id == 9 && back->retain && back->duplicate);
    cr_expect(slice_equal(back->topic, BYTES("r/1")) && slice_equal(back->payload, BYTES("body")));
    cr_expect(slice_equal(mqtt_property_bytes(&back->properties, MQTT_CONTENT_TYPE), BYTES("text/plain")));
    cr_expect(slice_equal(mqtt_property_user(&back->properties, BYTES("seq")), BYTES("7")));
    cr_expect_null(mqtt_property_user(&back->properties, BYTES("other")).data);
    writer_deinit(&out);
    writer_deinit(&block);
}
