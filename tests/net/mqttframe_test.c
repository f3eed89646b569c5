#include "core/check.h"
#include "net/mqttframe.h"
#include <criterion/criterion.h>

#define PACKET_MAX 300

/* Writes "[packet bytes]" for a packet, "!" for no packet, ">" for too large. */
static void run(struct mqttframe_parser *parser, const uint8_t *data, size_t len, struct writer *out)
{
    struct slice in = slice_of(data, len), packet;
    for (;;) {
        switch (mqttframe_parser_feed(parser, &in, PACKET_MAX, &packet)) {
        case MQTTFRAME_MORE: cr_assert_eq(in.len, 0); return;
        case MQTTFRAME_PACKET:
            writer_raw(out, "[", 1);
            writer_raw(out, packet.data, packet.len);
            writer_raw(out, "]", 1);
            break;
        case MQTTFRAME_MALFORMED: writer_raw(out, "!", 1); return;
        case MQTTFRAME_TOO_LARGE: writer_raw(out, ">", 1); return;
        case MQTTFRAME_NOMEM: cr_assert_fail("no memory"); return;
        }
    }
}

static bool refused(const struct writer *out)
{
    return out->len > 0 && (out->data[out->len - 1] == '!' || out->data[out->len - 1] == '>');
}

static const struct mqtt_case {
    const char *name, *bytes;
    size_t len;
    const char *want;
    size_t want_len;
} cases[] = {
    {"nothing", "", 0, "", 0},
    {"no body", "\xc0\0", 2, "[\xc0\0]", 4},
    {"two", "\xc0\0\x40\2ab", 6, "[\xc0\0][\x40\2ab]", 10},
    {"incomplete head", "\x30\x80", 2, "", 0},
    {"incomplete body", "\x30\4abc", 5, "", 0},
    {"over the limit", "\x30\x80\3", 3, ">", 1},
    {"no length", "\x30\xff\xff\xff\xff\1", 6, "!", 1},
    {"a packet, then over the limit", "\xc0\0\x30\xff\xff\x7f", 6, "[\xc0\0]>", 5},
};

Test(mqttframe, whole_and_at_every_split)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t cut = 0; cut <= cases[i].len; cut++) {
            struct mqttframe_parser parser, moved;
            struct writer out;
            mqttframe_parser_init(&parser);
            writer_init(&out, 0);
            const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
            run(&parser, bytes, cut, &out);
            cr_assert(mqttframe_parser_move(&moved, &parser));
            cr_expect(mqttframe_parser_idle(&parser));
            if (!refused(&out)) run(&moved, bytes + cut, cases[i].len - cut, &out);
            cr_expect(slice_equal(writer_slice(&out), slice_of(cases[i].want, cases[i].want_len)), "%s cut at %zu", cases[i].name, cut);
            mqttframe_parser_deinit(&parser);
            mqttframe_parser_deinit(&moved);
            writer_deinit(&out);
        }
    }
}

Test(mqttframe, longest_allowed)
{
    uint8_t bytes[PACKET_MAX] = {0x30, (uint8_t)((PACKET_MAX - 3) | 0x80), (PACKET_MAX - 3) >> 7};
    struct mqttframe_parser parser;
    mqttframe_parser_init(&parser);
    struct slice in = slice_of(bytes, sizeof bytes), packet;
    cr_expect_eq(mqttframe_parser_feed(&parser, &in, PACKET_MAX, &packet), MQTTFRAME_PACKET);
    cr_expect_eq(packet.len, PACKET_MAX);
    in = slice_of(bytes, sizeof bytes);
    cr_expect_eq(mqttframe_parser_feed(&parser, &in, PACKET_MAX - 1, &packet), MQTTFRAME_TOO_LARGE);
    mqttframe_parser_deinit(&parser);
}
