/* tests/perf/mqtt_test.c - packets as the standard draws them, whole or in pieces; what is none is said to be none. */
#include "perf/mqtt.h"
#include <criterion/criterion.h>

static struct slice text_slice(const char *text) { return (struct slice){(const uint8_t *)text, strlen(text)}; }

Test(mqtt, a_connect_is_what_the_standard_says)
{
    static const struct {
        struct mqtt_connect connect;
        const char *bytes;
        size_t len;
    } cases[] = {
        {{.client_id = "c", .clean = true}, "\x10\x0d\0\4MQTT\4\x02\0\0\0\1c", 15},
        {{.client_id = "c", .keep_alive_s = 258}, "\x10\x0d\0\4MQTT\4\0\1\2\0\1c", 15},
        {{.client_id = "", .user = "u", .password = "pw", .clean = true}, "\x10\x13\0\4MQTT\4\xc2\0\0\0\0\0\1u\0\2pw", 21},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t out[64];
        cr_assert_eq(mqtt_connect_size(&cases[i].connect), cases[i].len, "case %zu", i);
        cr_assert_eq(mqtt_put_connect(out, &cases[i].connect), out + cases[i].len);
        cr_expect_arr_eq(out, cases[i].bytes, cases[i].len, "case %zu", i);
    }
}

Test(mqtt, a_publish_comes_back_in_every_size)
{
    static const size_t sizes[] = {0, 1, 100, 119, 120, 121, 122, 16374, 16376, 16377, 16378, 200000};
    static uint8_t payload[200000], out[200100];
    memset(payload, 'p', sizeof payload);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (uint8_t qos = 0; qos < 2; qos++) {
            struct mqtt_publish in = {.topic = text_slice("u/12"), .payload = {payload, sizes[i]}, .qos = qos}, back;
            struct mqtt_packet packet;
            in.packet_id = qos * 513u;
            size_t size = mqtt_publish_size(&in);
            cr_assert_eq(mqtt_put_publish(out, &in), out + size);
            cr_assert_eq(mqtt_take((struct slice){out, size}, &packet), size);
            cr_assert_eq(packet.type, MQTT_PUBLISH);
            cr_assert(mqtt_read_publish(&packet, &back));
            cr_expect_eq(back.qos, qos);
            cr_expect_eq(back.packet_id, in.packet_id);
            cr_expect_eq(back.topic.len, 4);
            cr_expect_arr_eq(back.topic.data, "u/12", 4);
            cr_expect_eq(back.payload.len, sizes[i]);
            cr_expect(!back.duplicate);
        }
    }
}

Test(mqtt, a_packet_is_taken_only_when_it_is_whole)
{
    uint8_t out[400];
    struct mqtt_publish publish = {.topic = text_slice("r/1"), .payload = {(const uint8_t[300]){0}, 300}, .qos = 1, .packet_id = 1};
    struct mqtt_packet packet;
    size_t size = mqtt_publish_size(&publish);
    (void)mqtt_put_publish(out, &publish);
    for (size_t len = 0; len < size; len++) cr_assert_eq(mqtt_take((struct slice){out, len}, &packet), 0, "%zu bytes", len);
    cr_expect_eq(mqtt_take((struct slice){out, size + 1}, &packet), size);
}

Test(mqtt, what_cannot_be_a_packet_is_broken)
{
    static const struct {
        const char *name, *bytes;
        size_t len, want;
    } cases[] = {
        {"a length of five bytes", "\x30\xff\xff\xff\xff\x01", 6, MQTT_BROKEN},
        {"a length that may go on", "\x30\xff\xff\xff", 4, 0},
        {"more than we ask for", "\x30\xff\xff\xff\x7f", 5, MQTT_BROKEN},
        {"an empty one", "\xd0\x00", 2, 2},
    };
    struct mqtt_packet packet;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(mqtt_take((struct slice){(const uint8_t *)cases[i].bytes, cases[i].len}, &packet), cases[i].want, "%s",
                     cases[i].name);
}

Test(mqtt, a_malformed_body_is_refused)
{
    static const struct {
        const char *name;
        uint8_t flags;
        const char *body;
        size_t len;
        bool want;
    } cases[] = {
        {"no topic length", 0, "\0", 1, false},
        {"a topic that is cut", 0, "\0\3ab", 4, false},
        {"QoS 0", 0, "\0\1ax", 4, true},
        {"QoS 1 without an id", 2, "\0\1a\0", 4, false},
        {"QoS 1 with id 0", 2, "\0\1a\0\0", 5, false},
        {"QoS 1", 2, "\0\1a\0\1", 5, true},
        {"QoS 3", 6, "\0\1a\0\1", 5, false},
    };
    struct mqtt_publish publish;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_packet packet = {MQTT_PUBLISH, cases[i].flags, {(const uint8_t *)cases[i].body, cases[i].len}};
        cr_expect_eq(mqtt_read_publish(&packet, &publish), cases[i].want, "%s", cases[i].name);
    }
    uint16_t packet_id;
    bool present;
    uint8_t code;
    struct mqtt_packet cut = {MQTT_PUBACK, 0, {(const uint8_t *)"\1", 1}};
    cr_expect(!mqtt_read_packet_id(&cut, &packet_id));
    cr_expect(!mqtt_read_connack(&cut, &present, &code));
}

/* Bytes of a server gone wrong: every packet found lies within them. */
Test(mqtt, noise_is_survived)
{
    uint32_t state = 1;
    for (uint32_t round = 0; round < 20000; round++) {
        uint8_t noise[64];
        for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
        struct slice in = {noise, state >> 8 & 63};
        struct mqtt_packet packet;
        struct mqtt_publish publish;
        size_t size = mqtt_take(in, &packet);
        if (size == 0 || size == MQTT_BROKEN) continue;
        cr_assert_leq(size, in.len);
        cr_assert_eq(packet.body.data + packet.body.len, in.data + size);
        if (!mqtt_read_publish(&packet, &publish)) continue;
        cr_assert_eq(publish.payload.data + publish.payload.len, packet.body.data + packet.body.len);
    }
}

Test(mqtt, a_subscribe_and_a_puback)
{
    uint8_t out[32];
    cr_assert_eq(mqtt_subscribe_size(text_slice("r/7")), 10);
    cr_expect_eq(mqtt_put_subscribe(out, 258, text_slice("r/7"), 1), out + 10);
    cr_expect_arr_eq(out, "\x82\x08\1\2\0\3r/7\1", 10);
    cr_expect_eq(mqtt_put_puback(out, 258), out + MQTT_ACK_SIZE);
    cr_expect_arr_eq(out, "\x40\2\1\2", 4);
}
