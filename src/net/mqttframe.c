/* net/mqttframe.c - the parser of mqttframe.h.
 * Happy path: a packet lies in one received chunk and is handed on where it is, without a copy. One cut by the end of
 * the chunk is gathered, head and all. Failure: a length past the limit is refused from its head alone. */
#include "net/mqttframe.h"

#define HEAD_SIZE_MAX 5 /* first byte and four of length */

void mqttframe_parser_init(struct mqttframe_parser *parser)
{
    writer_init(&parser->gathered, 0);
}

void mqttframe_parser_deinit(struct mqttframe_parser *parser)
{
    writer_deinit(&parser->gathered);
}

void mqttframe_parser_reset(struct mqttframe_parser *parser)
{
    writer_reset(&parser->gathered);
}

bool mqttframe_parser_idle(const struct mqttframe_parser *parser)
{
    return parser->gathered.len == 0;
}

bool mqttframe_parser_move(struct mqttframe_parser *to, struct mqttframe_parser *from)
{
    writer_init(&to->gathered, 0);
    if (from->gathered.len > 0) writer_raw(&to->gathered, from->gathered.data, from->gathered.len);
    mqttframe_parser_reset(from);
    return !to->gathered.failed;
}

uint32_t mqttframe_size(struct slice bytes)
{
    uint32_t remaining = 0;
    for (uint32_t i = 1; i < bytes.len && i < HEAD_SIZE_MAX; i++) {
        remaining |= (uint32_t)(bytes.data[i] & 0x7f) << (7 * (i - 1));
        if (bytes.data[i] < 0x80) return 1 + i + remaining;
    }
    return bytes.len >= HEAD_SIZE_MAX ? UINT32_MAX : 0;
}

/* Takes up to `len` bytes to those gathered. */
static bool mqttframe_gather(struct mqttframe_parser *parser, struct slice *in, uint32_t len)
{
    if (len > in->len) len = in->len;
    if (len == 0) return true;
    writer_raw(&parser->gathered, in->data, len);
    in->data += len;
    in->len -= len;
    return !parser->gathered.failed;
}

static enum mqttframe_event mqttframe_verdict(uint32_t size, uint32_t packet_size_max)
{
    if (size == UINT32_MAX) return MQTTFRAME_MALFORMED;
    return size > packet_size_max ? MQTTFRAME_TOO_LARGE : MQTTFRAME_PACKET;
}

/* Goes on with a packet of which a part is here: first its head byte by byte, then the rest at once. */
static enum mqttframe_event mqttframe_feed_rest(struct mqttframe_parser *parser, struct slice *in,
                                                uint32_t packet_size_max, struct slice *packet)
{
    uint32_t size = mqttframe_size(writer_slice(&parser->gathered));
    while (size == 0 && in->len > 0) {
        if (!mqttframe_gather(parser, in, 1)) return MQTTFRAME_NOMEM;
        size = mqttframe_size(writer_slice(&parser->gathered));
    }
    if (size == 0) return MQTTFRAME_MORE;
    enum mqttframe_event verdict = mqttframe_verdict(size, packet_size_max);
    if (verdict != MQTTFRAME_PACKET) return verdict;
    if (!mqttframe_gather(parser, in, size - (uint32_t)parser->gathered.len)) return MQTTFRAME_NOMEM;
    if (parser->gathered.len < size) return MQTTFRAME_MORE;
    *packet = writer_slice(&parser->gathered);
    parser->gathered.len = 0; /* the bytes stay where they are until the next call */
    return MQTTFRAME_PACKET;
}

enum mqttframe_event mqttframe_parser_feed(struct mqttframe_parser *parser, struct slice *in, uint32_t packet_size_max,
                                           struct slice *packet)
{
    *packet = SLICE_EMPTY;
    if (in->len == 0) return MQTTFRAME_MORE;
    if (parser->gathered.len > 0) return mqttframe_feed_rest(parser, in, packet_size_max, packet);
    uint32_t size = mqttframe_size(*in);
    enum mqttframe_event verdict = mqttframe_verdict(size, packet_size_max);
    if (verdict != MQTTFRAME_PACKET) return verdict;
    if (size == 0 || size > in->len) return mqttframe_gather(parser, in, in->len) ? MQTTFRAME_MORE : MQTTFRAME_NOMEM;
    *packet = slice_of(in->data, size);
    in->data += size;
    in->len -= size;
    return MQTTFRAME_PACKET;
}
