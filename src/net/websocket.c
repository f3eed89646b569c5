/* net/websocket.c - the frame parser and writers of websocket.h.
 * Happy path: a whole message in one received chunk is unmasked eight bytes at a time into `message` (kept between
 * uses) and handed on. Control frames may come between fragments, so they have their own 125 bytes. Failure: every
 * violation is found at the earliest byte that shows it, gets the code the RFC names, and ends the parser's use. */
#include "net/websocket.h"
#include "core/check.h"

#define WEBSOCKET_FIN      0x80u
#define WEBSOCKET_RESERVED 0x70u
#define WEBSOCKET_OPCODE   0x0Fu
#define WEBSOCKET_CONTROL  0x08u /* this bit of the opcode is set in all control frames */
#define WEBSOCKET_MASKED   0x80u
#define WEBSOCKET_LENGTH   0x7Fu
#define WEBSOCKET_LENGTH16 126u
#define WEBSOCKET_LENGTH64 127u

void websocket_parser_init(struct websocket_parser *parser)
{
    *parser = (struct websocket_parser){0};
    writer_init(&parser->message, 0);
}

void websocket_parser_deinit(struct websocket_parser *parser)
{
    writer_deinit(&parser->message);
}

void websocket_parser_reset(struct websocket_parser *parser)
{
    struct writer memory = parser->message;
    *parser = (struct websocket_parser){.message = memory};
    writer_reset(&parser->message);
}

bool websocket_parser_idle(const struct websocket_parser *parser)
{
    return parser->head_len == 0 && !parser->gathering;
}

bool websocket_parser_move(struct websocket_parser *to, struct websocket_parser *from)
{
    *to = *from;
    writer_init(&to->message, 0);
    if (from->message.len > 0) writer_raw(&to->message, from->message.data, from->message.len);
    websocket_parser_reset(from);
    return !to->message.failed;
}

void websocket_unmask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[4], uint32_t phase)
{
    uint8_t turned[8];
    for (uint32_t i = 0; i < sizeof turned; i++) turned[i] = mask[(phase + i) % 4];
    uint64_t mask_word;
    memcpy(&mask_word, turned, sizeof mask_word);
    size_t at = 0;
    for (uint64_t word; len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, in + at, sizeof word);
        word ^= mask_word;
        memcpy(out + at, &word, sizeof word);
    }
    for (; at < len; at++) out[at] = in[at] ^ turned[at % 4];
}

static struct websocket_event websocket_violation(uint16_t code, const char *reason)
{
    return (struct websocket_event){.kind = WEBSOCKET_EVENT_VIOLATION, .code = code, .reason = reason};
}

static struct websocket_event websocket_more(void)
{
    return (struct websocket_event){.kind = WEBSOCKET_EVENT_MORE};
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

static uint32_t websocket_long_length_size(uint8_t byte1)
{
    uint32_t length = byte1 & WEBSOCKET_LENGTH;
    return length == WEBSOCKET_LENGTH16 ? 2 : length == WEBSOCKET_LENGTH64 ? 8 : 0;
}

/* Size of the whole head as far as its first bytes tell. An unmasked head ends before the mask: it is refused anyway.
 */
static uint32_t websocket_head_size(const struct websocket_parser *parser)
{
    if (parser->head_len < 2) return 2;
    bool masked = (parser->head[1] & WEBSOCKET_MASKED) != 0;
    return 2 + websocket_long_length_size(parser->head[1]) + (masked ? 4 : 0);
}

/* True when the head is whole. */
static bool websocket_take_head(struct websocket_parser *parser, struct slice *in)
{
    for (;;) {
        uint32_t missing = websocket_head_size(parser) - parser->head_len;
        if (missing == 0) return true;
        uint32_t len = in->len < missing ? in->len : missing;
        if (len == 0) return false;
        memcpy(parser->head + parser->head_len, in->data, len);
        parser->head_len = (uint8_t)(parser->head_len + len);
        in->data += len;
        in->len -= len;
    }
}

static uint64_t websocket_length(const uint8_t *head)
{
    uint32_t size = websocket_long_length_size(head[1]);
    if (size == 0) return head[1] & WEBSOCKET_LENGTH;
    uint64_t length = 0;
    for (uint32_t i = 0; i < size; i++) length = length << 8 | head[2 + i];
    return length;
}

static bool websocket_length_minimal(const uint8_t *head, uint64_t length)
{
    uint32_t size = websocket_long_length_size(head[1]);
    if (size == 2) return length >= WEBSOCKET_LENGTH16;
    if (size == 8) return length > UINT16_MAX && length <= INT64_MAX;
    return true;
}

/* Why a control frame's head is refused; NULL: it is fine. */
static const char *websocket_control_fault(const struct websocket_parser *parser, uint8_t opcode, uint64_t length)
{
    if (opcode > WEBSOCKET_PONG) return "unknown opcode";
    if ((parser->head[0] & WEBSOCKET_FIN) == 0) return "fragmented control frame";
    return length > WEBSOCKET_CONTROL_SIZE_MAX ? "control frame too long" : NULL;
}

static const char *websocket_data_fault(const struct websocket_parser *parser, uint8_t opcode)
{
    if (opcode > WEBSOCKET_BINARY) return "unknown opcode";
    if (opcode == WEBSOCKET_CONTINUATION) return parser->gathering ? NULL : "continuation of nothing";
    return parser->gathering ? "message inside a message" : NULL;
}

/* The first two bytes show most faults; the rest of the head is not waited for. */
static const char *websocket_early_fault(const struct websocket_parser *parser)
{
    const uint8_t *head = parser->head;
    uint8_t opcode = head[0] & WEBSOCKET_OPCODE;
    if ((head[0] & WEBSOCKET_RESERVED) != 0) return "reserved bit set";
    if ((head[1] & WEBSOCKET_MASKED) == 0) return "frame is not masked";
    bool control = (opcode & WEBSOCKET_CONTROL) != 0;
    return control ? websocket_control_fault(parser, opcode, head[1] & WEBSOCKET_LENGTH)
                   : websocket_data_fault(parser, opcode);
}

static void websocket_begin_payload(struct websocket_parser *parser, uint64_t length)
{
    uint8_t opcode = parser->head[0] & WEBSOCKET_OPCODE;
    parser->in_payload = true;
    parser->payload_left = length;
    parser->mask_phase = 0;
    parser->control_len = 0;
    if (opcode != WEBSOCKET_TEXT && opcode != WEBSOCKET_BINARY) return;
    parser->message_opcode = opcode;
    parser->gathering = true;
    parser->text = (struct utf8_state){0};
    writer_reset(&parser->message);
}

/* MORE: the head is whole and fine when in_payload is set, otherwise bytes are missing. */
static struct websocket_event websocket_head_step(struct websocket_parser *parser, struct slice *in,
                                                  uint32_t message_size_max)
{
    bool whole = websocket_take_head(parser, in);
    if (parser->head_len < 2) return websocket_more();
    const char *fault = websocket_early_fault(parser);
    if (fault != NULL) return websocket_violation(WEBSOCKET_CODE_PROTOCOL, fault);
    if (!whole) return websocket_more();
    uint64_t length = websocket_length(parser->head);
    if (!websocket_length_minimal(parser->head, length))
        return websocket_violation(WEBSOCKET_CODE_PROTOCOL, "length in a longer form than needed");
    bool control = (parser->head[0] & WEBSOCKET_CONTROL) != 0;
    uint64_t gathered = parser->gathering ? parser->message.len : 0;
    if (!control && (length > message_size_max || gathered + length > message_size_max))
        return websocket_violation(WEBSOCKET_CODE_TOO_LARGE, "message too large");
    websocket_begin_payload(parser, length);
    return websocket_more();
}

/* ---- the payload ------------------------------------------------------------------------------------------------- */

bool websocket_code_valid(uint16_t code)
{
    bool registered = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
    return registered || (code >= 3000 && code <= 4999);
}

static struct websocket_event websocket_close_event(const struct websocket_parser *parser)
{
    if (parser->control_len == 0)
        return (struct websocket_event){.kind = WEBSOCKET_EVENT_CLOSE, .code = WEBSOCKET_CODE_ABSENT};
    if (parser->control_len == 1) return websocket_violation(WEBSOCKET_CODE_PROTOCOL, "close code cut short");
    uint16_t code = (uint16_t)(parser->control[0] << 8 | parser->control[1]);
    if (!websocket_code_valid(code)) return websocket_violation(WEBSOCKET_CODE_PROTOCOL, "close code not allowed");
    struct slice reason = slice_of(parser->control + 2, parser->control_len - 2u);
    if (!utf8_valid(reason.data, reason.len))
        return websocket_violation(WEBSOCKET_CODE_NOT_TEXT, "close reason is not UTF-8");
    return (struct websocket_event){.kind = WEBSOCKET_EVENT_CLOSE, .code = code, .payload = reason};
}

static struct websocket_event websocket_control_event(const struct websocket_parser *parser, uint8_t opcode)
{
    if (opcode == WEBSOCKET_CLOSE) return websocket_close_event(parser);
    return (struct websocket_event){
        .kind = opcode == WEBSOCKET_PING ? WEBSOCKET_EVENT_PING : WEBSOCKET_EVENT_PONG,
        .opcode = (enum websocket_opcode)opcode,
        .payload = slice_of(parser->control, parser->control_len),
    };
}

/* The current frame is whole. MORE: it was a fragment, its message goes on. */
static struct websocket_event websocket_frame_end(struct websocket_parser *parser)
{
    uint8_t opcode = parser->head[0] & WEBSOCKET_OPCODE;
    bool final = (parser->head[0] & WEBSOCKET_FIN) != 0;
    parser->head_len = 0;
    parser->in_payload = false;
    if ((opcode & WEBSOCKET_CONTROL) != 0) return websocket_control_event(parser, opcode);
    if (!final) return websocket_more();
    parser->gathering = false;
    if (parser->message_opcode == WEBSOCKET_TEXT && !utf8_complete(&parser->text))
        return websocket_violation(WEBSOCKET_CODE_NOT_TEXT, "text is not UTF-8");
    return (struct websocket_event){
        .kind = WEBSOCKET_EVENT_MESSAGE,
        .opcode = (enum websocket_opcode)parser->message_opcode,
        .payload = writer_slice(&parser->message),
    };
}

static struct websocket_event websocket_payload_step(struct websocket_parser *parser, struct slice *in)
{
    uint32_t len = in->len < parser->payload_left ? in->len : (uint32_t)parser->payload_left;
    bool control = (parser->head[0] & WEBSOCKET_CONTROL) != 0;
    ASSERT(!control || parser->control_len + len <= WEBSOCKET_CONTROL_SIZE_MAX);
    uint8_t *out = control ? parser->control + parser->control_len : writer_reserve(&parser->message, len);
    if (out == NULL) return websocket_violation(WEBSOCKET_CODE_INTERNAL, "out of memory");
    const uint8_t *mask = parser->head + websocket_head_size(parser) - 4;
    websocket_unmask(out, in->data, len, mask, parser->mask_phase);
    parser->mask_phase = (parser->mask_phase + len) % 4;
    parser->payload_left -= len;
    in->data += len;
    in->len -= len;
    if (control) {
        parser->control_len = (uint8_t)(parser->control_len + len);
    } else if (parser->message_opcode == WEBSOCKET_TEXT && !utf8_feed(&parser->text, out, len)) {
        return websocket_violation(WEBSOCKET_CODE_NOT_TEXT, "text is not UTF-8");
    }
    return websocket_more();
}

struct websocket_event websocket_parser_feed(struct websocket_parser *parser, struct slice *in,
                                             uint32_t message_size_max)
{
    for (;;) {
        struct websocket_event event = websocket_more();
        if (!parser->in_payload) event = websocket_head_step(parser, in, message_size_max);
        if (event.kind != WEBSOCKET_EVENT_MORE || !parser->in_payload) return event;
        if (parser->payload_left > 0 && in->len > 0) event = websocket_payload_step(parser, in);
        if (event.kind != WEBSOCKET_EVENT_MORE || parser->payload_left > 0) return event;
        event = websocket_frame_end(parser);
        if (event.kind != WEBSOCKET_EVENT_MORE) return event;
    }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

uint32_t websocket_write_head(uint8_t out[WEBSOCKET_HEAD_SIZE_MAX], enum websocket_opcode opcode, uint64_t payload_size)
{
    out[0] = (uint8_t)(WEBSOCKET_FIN | (uint32_t)opcode);
    uint32_t long_size = payload_size < WEBSOCKET_LENGTH16 ? 0 : payload_size <= UINT16_MAX ? 2 : 8;
    out[1] = (uint8_t)(long_size == 0 ? payload_size : long_size == 2 ? WEBSOCKET_LENGTH16 : WEBSOCKET_LENGTH64);
    for (uint32_t i = 0; i < long_size; i++) out[2 + i] = (uint8_t)(payload_size >> (8 * (long_size - 1 - i)));
    return 2 + long_size;
}

uint32_t websocket_write_close(uint8_t out[WEBSOCKET_HEAD_SIZE_MAX + WEBSOCKET_CONTROL_SIZE_MAX], uint16_t code,
                               const char *reason)
{
    if (code == WEBSOCKET_CODE_ABSENT) return websocket_write_head(out, WEBSOCKET_CLOSE, 0);
    ASSERT(websocket_code_valid(code));
    size_t reason_len = reason == NULL ? 0 : strlen(reason);
    if (reason_len > WEBSOCKET_REASON_SIZE_MAX) {
        reason_len = WEBSOCKET_REASON_SIZE_MAX;
        while (reason_len > 0 && ((uint8_t)reason[reason_len] & 0xC0) == 0x80) reason_len--;
    }
    uint32_t head_size = websocket_write_head(out, WEBSOCKET_CLOSE, 2 + reason_len);
    out[head_size] = (uint8_t)(code >> 8);
    out[head_size + 1] = (uint8_t)code;
    if (reason_len > 0) memcpy(out + head_size + 2, reason, reason_len);
    return head_size + 2 + (uint32_t)reason_len;
}
