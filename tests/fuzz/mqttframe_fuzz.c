/* layers: net core */
/* tests/fuzz/mqttframe_fuzz.c - MQTT on raw TCP: however the input is cut, the same packets come out, and they are the input. */
#include "core/check.h"
#include "net/mqttframe.h"
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PACKET_SIZE_MAX 4096

/* Appends the packets. False: refused. */
static bool run(struct mqttframe_parser *parser, struct slice in, struct writer *packets)
{
    for (;;) {
        struct slice packet;
        enum mqttframe_event event = mqttframe_parser_feed(parser, &in, PACKET_SIZE_MAX, &packet);
        ASSERT(event != MQTTFRAME_NOMEM);
        if (event == MQTTFRAME_MORE) {
            ASSERT(in.len == 0);
            return true;
        }
        if (event != MQTTFRAME_PACKET) return false;
        ASSERT(packet.len <= PACKET_SIZE_MAX && mqttframe_size(packet) == packet.len);
        writer_raw(packets, packet.data, packet.len);
    }
}

/* The first byte says where the rest is cut, and whether the parser is moved there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    uint32_t cut = (uint32_t)(data[0] >> 1) * bytes.len / 128;
    struct mqttframe_parser whole, first, second;
    struct writer from_whole, from_parts;
    mqttframe_parser_init(&whole);
    mqttframe_parser_init(&first);
    mqttframe_parser_init(&second);
    writer_init(&from_whole, 0);
    writer_init(&from_parts, 0);
    bool accepted = run(&whole, bytes, &from_whole);
    bool goes_on = run(&first, slice_of(bytes.data, cut), &from_parts);
    bool move = (data[0] & 1) != 0;
    if (goes_on && move) ASSERT(mqttframe_parser_move(&second, &first));
    if (goes_on) goes_on = run(move ? &second : &first, slice_of(bytes.data + cut, bytes.len - cut), &from_parts);
    ASSERT(goes_on == accepted);
    ASSERT(slice_equal(writer_slice(&from_whole), writer_slice(&from_parts)));
    ASSERT(from_whole.len <= bytes.len && slice_equal(writer_slice(&from_whole), slice_of(bytes.data, from_whole.len)));
    writer_deinit(&from_whole);
    writer_deinit(&from_parts);
    mqttframe_parser_deinit(&whole);
    mqttframe_parser_deinit(&first);
    mqttframe_parser_deinit(&second);
    return 0;
}
