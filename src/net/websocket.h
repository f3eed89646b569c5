/* net/websocket.h - RFC 6455: the handshake and the frames. Bytes in, events out; no I/O.
 * Owns:    a parser owns the message that is being received.
 * Thread:  any one at a time.     Depends: core/ only.           Start at: net/net.h
 *
 *    byte 0            byte 1                                   then
 *   +---+------+------+----+-------------------------------+  +------------+-----------+---------+
 *   |FIN|RSV 3 |opcode|MASK| length 0..125, 126: u16, 127: |  | long length| mask, 4   | payload |
 *   |   |bits 0| 4    |    | u64 follows, big-endian       |  | 0, 2 or 8  | if MASK   |         |
 *   +---+------+------+----+-------------------------------+  +------------+-----------+---------+
 *
 * Text is checked while it arrives; a message over the limit is refused from the head that announces it. */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include "core/cursor.h"
#include "net/conn.h"
#include "net/utf8.h"
#include <stdbool.h>
#include <stdint.h>

#define WEBSOCKET_HEAD_SIZE_MAX    14
#define WEBSOCKET_CONTROL_SIZE_MAX 125
#define WEBSOCKET_REASON_SIZE_MAX  (WEBSOCKET_CONTROL_SIZE_MAX - 2)
#define WEBSOCKET_ACCEPT_SIZE      28 /* base64 of a SHA-1 */

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum websocket_code {
    WEBSOCKET_CODE_NORMAL = 1000,
    WEBSOCKET_CODE_GOING_AWAY = 1001,
    WEBSOCKET_CODE_PROTOCOL = 1002,
    WEBSOCKET_CODE_ABSENT = 1005, /* a Close frame without a code; never sent */
    WEBSOCKET_CODE_NOT_TEXT = 1007,
    WEBSOCKET_CODE_POLICY = 1008,
    WEBSOCKET_CODE_TOO_LARGE = 1009,
    WEBSOCKET_CODE_INTERNAL = 1011,
    WEBSOCKET_CODE_TRY_AGAIN = 1013,
};

enum websocket_event_kind {
    WEBSOCKET_EVENT_MORE,    /* all input is consumed */
    WEBSOCKET_EVENT_MESSAGE, /* opcode TEXT or BINARY, the whole message in payload */
    WEBSOCKET_EVENT_PING,
    WEBSOCKET_EVENT_PONG,
    WEBSOCKET_EVENT_CLOSE,     /* code (ABSENT: none given); payload: the reason */
    WEBSOCKET_EVENT_VIOLATION, /* close with code and reason; the parser takes no more */
};

struct websocket_event {
    enum websocket_event_kind kind;
    enum websocket_opcode opcode;
    struct slice payload; /* unmasked; borrowed from the parser until the next call */
    uint16_t code;
    const char *reason; /* static */
};

struct websocket_parser {
    uint8_t head[WEBSOCKET_HEAD_SIZE_MAX];
    uint8_t head_len;
    bool in_payload;        /* the head is whole and checked */
    bool gathering;         /* a first fragment arrived, its message is not whole */
    uint8_t message_opcode; /* of that message */
    struct utf8_state text; /* where its text stands */
    uint8_t control_len;
    uint8_t control[WEBSOCKET_CONTROL_SIZE_MAX];
    uint64_t payload_left; /* bytes of the current frame still to come */
    uint32_t mask_phase;   /* bytes of it already unmasked, modulo 4 */
    struct writer message; /* grows with arrival, never by claim */
};

void websocket_parser_init(struct websocket_parser *parser);
void websocket_parser_deinit(struct websocket_parser *parser);
/* Forgets the message, keeps the memory. */
void websocket_parser_reset(struct websocket_parser *parser);
/* True between two messages: the parser then holds nothing that matters. */
bool websocket_parser_idle(const struct websocket_parser *parser);
/* Moves the state of `from` to the uninitialised `to` with memory of just the needed size; `from` is idle afterwards
 * and keeps its own memory. False: out of memory, both unusable but for deinit. */
bool websocket_parser_move(struct websocket_parser *to, struct websocket_parser *from);
/* Consumes frames of a client from *in up to the end of one event. */
struct websocket_event websocket_parser_feed(struct websocket_parser *parser, struct slice *in,
                                             uint32_t message_size_max);

/* The head of an unmasked, unfragmented frame; returns its size. */
uint32_t websocket_write_head(uint8_t out[WEBSOCKET_HEAD_SIZE_MAX], enum websocket_opcode opcode,
                              uint64_t payload_size);
/* A whole Close frame; `reason` is cut at a character within 123 bytes, code ABSENT sends none. Returns its size. */
uint32_t websocket_write_close(uint8_t out[WEBSOCKET_HEAD_SIZE_MAX + WEBSOCKET_CONTROL_SIZE_MAX], uint16_t code,
                               const char *reason);
/* XORs `len` bytes with the mask, which stands at byte `phase` of its four. In place is allowed. */
void websocket_unmask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[4], uint32_t phase);
/* Codes a peer may send. */
bool websocket_code_valid(uint16_t code);

/* ---- the handshake ----------------------------------------------------------------------------------------------- */
/* What a request lacks to ask to become a WebSocket at all, as a sentence; NULL: it asks. */
const char *websocket_missing(const struct http_request *request);
static inline bool websocket_asked(const struct http_request *request) { return websocket_missing(request) == NULL; }
/* Whether the client offers that subprotocol. */
bool websocket_offers(const struct http_request *request, const char *subprotocol);
/* 0: well formed, and `accept` gets the value of Sec-WebSocket-Accept. Else the HTTP status (400, 426) and *reason a
 * static sentence. */
uint16_t websocket_handshake(const struct http_request *request, char accept[WEBSOCKET_ACCEPT_SIZE + 1],
                             const char **reason);

#endif
