/* net/tcpframe.c - the parser of tcpframe.h.
 * Happy path: head and payload lie in one received chunk and the payload is handed on where it is, without a copy. A
 * frame cut by the end of the chunk is gathered in `payload`, which grows as bytes arrive. Failure: a length past the
 * limit is refused from its head alone. */
#include "net/tcpframe.h"
#include "core/check.h"

enum tcpframe_magic tcpframe_magic_check(struct slice bytes)
{
    uint32_t len = bytes.len < TCPFRAME_MAGIC_SIZE ? bytes.len : TCPFRAME_MAGIC_SIZE;
    if (len > 0 && memcmp(bytes.data, TCPFRAME_MAGIC, len) != 0) return TCPFRAME_MAGIC_NO;
    return len == TCPFRAME_MAGIC_SIZE ? TCPFRAME_MAGIC_YES : TCPFRAME_MAGIC_MORE;
}

void tcpframe_parser_init(struct tcpframe_parser *parser)
{
    *parser = (struct tcpframe_parser){0};
    writer_init(&parser->payload, 0);
}

void tcpframe_parser_deinit(struct tcpframe_parser *parser)
{
    writer_deinit(&parser->payload);
}

void tcpframe_parser_reset(struct tcpframe_parser *parser)
{
    parser->head_len = 0;
    writer_reset(&parser->payload);
}

bool tcpframe_parser_idle(const struct tcpframe_parser *parser)
{
    return parser->head_len == 0;
}

bool tcpframe_parser_move(struct tcpframe_parser *to, struct tcpframe_parser *from)
{
    *to = *from;
    writer_init(&to->payload, 0);
    if (from->payload.len > 0) writer_raw(&to->payload, from->payload.data, from->payload.len);
    tcpframe_parser_reset(from);
    return !to->payload.failed;
}

static void tcpframe_consume(struct slice *in, uint32_t len)
{
    ASSERT(len <= in->len);
    in->data += len;
    in->len -= len;
}

static bool tcpframe_take_head(struct tcpframe_parser *parser, struct slice *in)
{
    uint32_t missing = (uint32_t)(TCPFRAME_HEAD_SIZE - parser->head_len);
    uint32_t len = in->len < missing ? in->len : missing;
    if (len == 0) return missing == 0;
    memcpy(parser->head + parser->head_len, in->data, len);
    parser->head_len = (uint8_t)(parser->head_len + len);
    tcpframe_consume(in, len);
    if (parser->head_len < TCPFRAME_HEAD_SIZE) return false;
    memcpy(&parser->payload_size, parser->head, sizeof parser->payload_size);
    parser->payload_size = __builtin_bswap32(parser->payload_size);
    writer_reset(&parser->payload);
    return true;
}

/* Hands the payload on from where it lies, or gathers what is there. */
static enum tcpframe_event tcpframe_take_payload(struct tcpframe_parser *parser, struct slice *in,
                                                 struct slice *payload)
{
    uint32_t gathered = (uint32_t)parser->payload.len;
    ASSERT(gathered < parser->payload_size);
    uint32_t missing = parser->payload_size - gathered;
    uint32_t len = in->len < missing ? in->len : missing;
    bool whole = len == missing;
    if (whole && gathered == 0) {
        *payload = slice_of(in->data, len);
    } else {
        writer_raw(&parser->payload, in->data, len);
        if (parser->payload.failed) return TCPFRAME_NOMEM;
        *payload = writer_slice(&parser->payload);
    }
    tcpframe_consume(in, len);
    if (!whole) return TCPFRAME_MORE;
    parser->head_len = 0;
    return TCPFRAME_FRAME;
}

enum tcpframe_event tcpframe_parser_feed(struct tcpframe_parser *parser, struct slice *in, uint32_t frame_size_max,
                                         struct slice *payload)
{
    *payload = SLICE_EMPTY;
    if (!tcpframe_take_head(parser, in)) return TCPFRAME_MORE;
    if (parser->payload_size > frame_size_max) return TCPFRAME_TOO_LARGE;
    if (parser->payload_size == 0) {
        parser->head_len = 0;
        return TCPFRAME_HEARTBEAT;
    }
    if (in->len == 0) return TCPFRAME_MORE;
    return tcpframe_take_payload(parser, in, payload);
}

void tcpframe_write_head(uint8_t out[TCPFRAME_HEAD_SIZE], uint32_t payload_size)
{
    uint32_t big_endian = __builtin_bswap32(payload_size);
    memcpy(out, &big_endian, sizeof big_endian);
}
