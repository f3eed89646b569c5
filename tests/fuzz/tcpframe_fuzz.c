/* layers: net core */
/* tests/fuzz/tcpframe_fuzz.c - The raw TCP door: however the input is cut, the same frames come out; frames encoded
 * again are the bytes they came from. */
#include "core/check.h"
#include "net/tcpframe.h"
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_SIZE_MAX 4096

/* Encodes again what it decodes. False: refused. */
static bool run(struct tcpframe_parser *parser, struct slice in, struct writer *again)
{
    for (;;) {
        struct slice payload;
        enum tcpframe_event event = tcpframe_parser_feed(parser, &in, FRAME_SIZE_MAX, &payload);
        ASSERT(event != TCPFRAME_NOMEM);
        if (event == TCPFRAME_MORE) {
            ASSERT(in.len == 0);
            return true;
        }
        if (event == TCPFRAME_TOO_LARGE) return false;
        ASSERT((payload.len == 0) == (event == TCPFRAME_HEARTBEAT));
        uint8_t head[TCPFRAME_HEAD_SIZE];
        tcpframe_write_head(head, payload.len);
        writer_raw(again, head, sizeof head);
        if (payload.len > 0) writer_raw(again, payload.data, payload.len);
    }
}

/* The first byte says where the rest is cut, and whether the parser is moved there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    uint32_t cut = (uint32_t)(data[0] >> 1) * bytes.len / 128;
    struct tcpframe_parser whole, first, second;
    struct writer from_whole, from_parts;
    tcpframe_parser_init(&whole);
    tcpframe_parser_init(&first);
    tcpframe_parser_init(&second);
    writer_init(&from_whole, 0);
    writer_init(&from_parts, 0);
    bool accepted = run(&whole, bytes, &from_whole);
    bool goes_on = run(&first, slice_of(bytes.data, cut), &from_parts);
    bool move = (data[0] & 1) != 0;
    if (goes_on && move) ASSERT(tcpframe_parser_move(&second, &first));
    if (goes_on) goes_on = run(move ? &second : &first, slice_of(bytes.data + cut, bytes.len - cut), &from_parts);
    ASSERT(goes_on == accepted);
    ASSERT(slice_equal(writer_slice(&from_whole), writer_slice(&from_parts)));
    ASSERT(from_whole.len <= bytes.len && slice_equal(writer_slice(&from_whole), slice_of(bytes.data, from_whole.len)));
    writer_deinit(&from_whole);
    writer_deinit(&from_parts);
    tcpframe_parser_deinit(&whole);
    tcpframe_parser_deinit(&first);
    tcpframe_parser_deinit(&second);
    return 0;
}
