/* layers: net core */
/* tests/fuzz/websocket_fuzz.c - WebSocket frames: however the input is cut, the same events come out; text that comes
 * out is UTF-8; the head of an unfragmented message, written again, is the head it came with. */
#include "core/check.h"
#include "net/websocket.h"
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE_SIZE_MAX 4096

static void check_event(const struct websocket_event *event)
{
    ASSERT(event->payload.len <= MESSAGE_SIZE_MAX);
    if (event->kind == WEBSOCKET_EVENT_MESSAGE && event->opcode == WEBSOCKET_TEXT)
        ASSERT(utf8_valid(event->payload.data, event->payload.len));
    if (event->kind == WEBSOCKET_EVENT_CLOSE)
        ASSERT(event->code == WEBSOCKET_CODE_ABSENT || websocket_code_valid(event->code));
    if (event->kind == WEBSOCKET_EVENT_VIOLATION) ASSERT(websocket_code_valid(event->code) && event->reason != NULL);
}

/* `frame`: what was consumed for this event, when it began with the event. */
static void check_head(const struct websocket_event *event, struct slice frame)
{
    uint8_t head[WEBSOCKET_HEAD_SIZE_MAX];
    uint32_t head_size = websocket_write_head(head, event->opcode, event->payload.len);
    bool one_frame = frame.len == head_size + 4 + event->payload.len && frame.data[0] == head[0];
    if (!one_frame) return;
    head[1] |= 0x80;
    ASSERT(memcmp(frame.data, head, head_size) == 0);
}

/* Writes down what comes out. False: refused. */
static bool run(struct websocket_parser *parser, struct slice in, struct writer *log)
{
    for (;;) {
        bool idle = websocket_parser_idle(parser);
        const uint8_t *start = in.data;
        struct websocket_event event = websocket_parser_feed(parser, &in, MESSAGE_SIZE_MAX);
        check_event(&event);
        if (event.kind == WEBSOCKET_EVENT_MORE) {
            ASSERT(in.len == 0);
            return true;
        }
        if (idle && event.kind == WEBSOCKET_EVENT_MESSAGE)
            check_head(&event, slice_of(start, (size_t)(in.data - start)));
        writer_u8(log, (uint8_t)event.kind);
        writer_u8(log, (uint8_t)event.opcode);
        writer_u16(log, event.code);
        writer_u32(log, event.payload.len);
        if (event.payload.len > 0) writer_raw(log, event.payload.data, event.payload.len);
        if (event.kind == WEBSOCKET_EVENT_VIOLATION) return false;
    }
}

/* The first byte says where the rest is cut, and whether the parser is moved there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    uint32_t cut = (uint32_t)(data[0] >> 1) * bytes.len / 128;
    struct websocket_parser whole, first, second;
    struct writer from_whole, from_parts;
    websocket_parser_init(&whole);
    websocket_parser_init(&first);
    websocket_parser_init(&second);
    writer_init(&from_whole, 0);
    writer_init(&from_parts, 0);
    bool accepted = run(&whole, bytes, &from_whole);
    bool goes_on = run(&first, slice_of(bytes.data, cut), &from_parts);
    bool move = (data[0] & 1) != 0;
    if (goes_on && move) ASSERT(websocket_parser_move(&second, &first));
    if (goes_on) goes_on = run(move ? &second : &first, slice_of(bytes.data + cut, bytes.len - cut), &from_parts);
    ASSERT(goes_on == accepted);
    ASSERT(slice_equal(writer_slice(&from_whole), writer_slice(&from_parts)));
    writer_deinit(&from_whole);
    writer_deinit(&from_parts);
    websocket_parser_deinit(&whole);
    websocket_parser_deinit(&first);
    websocket_parser_deinit(&second);
    return 0;
}
