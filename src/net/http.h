/* net/http.h - HTTP/1.1: requests read, responses written. Bytes in, events out; no I/O.
 * Owns:    a reader owns the request that is being received.
 * Thread:  any one at a time.     Depends: core/ only.           Start at: net/net.h
 * A reader holds one request: it stops at its end and leaves what is pipelined behind it to the next one.
 * It is strict (RFC 9112): where two readers could see two different requests in the same bytes, it refuses them.
 * docs/strictness.md names each choice. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "core/cursor.h"
#include "net/conn.h"
#include <stdbool.h>
#include <stdint.h>

#define HTTP_TARGET_SIZE_MAX        4096 /* path and query: 414 */
#define HTTP_HEADER_SIZE_MAX        8192 /* one header's line: 431 */
#define HTTP_CHUNK_LINE_SIZE_MAX    256  /* a chunk's size and extensions: 431 */
#define HTTP_RESPONSE_HEAD_SIZE_MAX 512  /* status line and our own headers */
#define HTTP_ERROR_BODY_SIZE_MAX    512
#define HTTP_DATE_SIZE              30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and its end */

struct http_limits {
    uint32_t head_size_max; /* request line and headers; again for all extensions of chunks and trailers: 431 */
    uint32_t body_size_max; /* 413 */
};

enum http_event {
    HTTP_EVENT_MORE,     /* all input is consumed */
    HTTP_EVENT_CONTINUE, /* the client waits for "100 Continue" before it sends the body; comes at most once */
    HTTP_EVENT_REQUEST,  /* a whole request: http_reader_request() */
    HTTP_EVENT_REFUSED,  /* answer with `refusal` and close; the reader takes no more */
};

/* One row per refusal, so status, reason and text cannot drift. */
/* clang-format off */
#define HTTP_REFUSAL_LIST(X)                                                                                           \
    X(NONE,             500, "INTERNAL",           "internal",            "the server failed")                         \
    X(MALFORMED,        400, "INVALID_ARGUMENT",   "bad_request",         "the request is not valid HTTP/1.1")         \
    X(LENGTH_UNCLEAR,   400, "INVALID_ARGUMENT",   "bad_request",         "the length of the body is not clear")       \
    X(HOST,             400, "INVALID_ARGUMENT",   "bad_request",         "one Host header with a host is needed")         \
    X(WEBSOCKET,        400, "INVALID_ARGUMENT",   "bad_request",         "the WebSocket handshake is not valid")      \
    X(ORIGIN,           403, "PERMISSION_DENIED",  "upgrade_refused",     "this WebSocket is not allowed")             \
    X(TLS_REQUIRED,     403, "PERMISSION_DENIED",  "tls_required",        "only TLS is spoken here: https:// or wss://") \
    X(TIMEOUT,          408, "DEADLINE_EXCEEDED",  "request_timeout",     "the request did not arrive in time")        \
    X(BODY_TOO_LARGE,   413, "INVALID_ARGUMENT",   "body_too_large",      "the body is larger than the limit")         \
    X(TARGET_TOO_LARGE, 414, "INVALID_ARGUMENT",   "target_too_large",    "the path is longer than the limit")         \
    X(EXPECTATION,      417, "INVALID_ARGUMENT",   "expectation_unknown", "only 100-continue can be expected")         \
    X(UPGRADE_VERSION,  426, "INVALID_ARGUMENT",   "websocket_version",   "Sec-WebSocket-Version must be 13")          \
    X(HEAD_TOO_LARGE,   431, "INVALID_ARGUMENT",   "head_too_large",      "the headers are larger than the limit")     \
    X(METHOD_UNKNOWN,   501, "UNIMPLEMENTED",      "method_unknown",      "there is no such HTTP method")              \
    X(ENCODING_UNKNOWN, 501, "UNIMPLEMENTED",      "encoding_unknown",    "only the transfer coding chunked is known") \
    X(BUSY,             503, "RESOURCE_EXHAUSTED", "server_busy",         "a limit of the server is reached")          \
    X(CLOSING,          503, "UNAVAILABLE",        "not_ready",           "the connection is being closed")            \
    X(VERSION,          505, "UNIMPLEMENTED",      "http_version",        "HTTP/1.0 and HTTP/1.1 are spoken here")
/* clang-format on */

#define HTTP_REFUSAL_AS_ENUM(name, status, code, reason, message) HTTP_REFUSAL_##name,
enum http_refusal { HTTP_REFUSAL_LIST(HTTP_REFUSAL_AS_ENUM) HTTP_REFUSAL_COUNT };
#undef HTTP_REFUSAL_AS_ENUM

/* REQUEST_LINE -> HEADERS -> BODY | CHUNK_LINE; CHUNK_LINE -> CHUNK_DATA -> CHUNK_END -> CHUNK_LINE; the last CHUNK_LINE -> TRAILERS. */
enum http_stage {
    HTTP_STAGE_REQUEST_LINE,
    HTTP_STAGE_HEADERS,
    HTTP_STAGE_BODY,
    HTTP_STAGE_CHUNK_LINE,
    HTTP_STAGE_CHUNK_DATA,
    HTTP_STAGE_CHUNK_END,
    HTTP_STAGE_TRAILERS,
};

struct http_reader {
    struct writer text;  /* the lines of the head without their ends; behind them the line that is being received */
    struct writer spans; /* struct http_span each: where a header's name and value stand in text */
    struct writer body;
    uint32_t line_at;     /* where in text the line being received begins */
    uint32_t extra_bytes; /* extensions of chunks and trailers, all of them */
    uint32_t left;        /* bytes of the body, or of its chunk, still to come */
    uint16_t method_len, target_len; /* text begins with them, a space between */
    uint8_t stage, refusal;          /* enum http_stage, enum http_refusal; NONE: not refused */
    uint8_t minor;                   /* of HTTP/1.minor */
    bool line_cr;                    /* the line's CR was read: its LF must follow */
    bool chunked, begun, complete, continue_wanted, keep_alive;
};

void http_reader_init(struct http_reader *reader);
void http_reader_deinit(struct http_reader *reader);
/* Forgets the request, keeps the memory. */
void http_reader_reset(struct http_reader *reader);
/* True before the first byte of a request. */
bool http_reader_idle(const struct http_reader *reader);
static inline bool http_reader_in_body(const struct http_reader *reader)
{
    return reader->stage >= HTTP_STAGE_BODY;
}
/* Moves the state of `from` to the uninitialised `to` with memory of just the needed size; `from` is idle afterwards
 * and keeps its own memory. False: out of memory, both unusable but for deinit. */
bool http_reader_move(struct http_reader *to, struct http_reader *from);
/* Consumes from *in up to the end of one event. After REQUEST the reader must be reset before the next call. */
enum http_event http_reader_feed(struct http_reader *reader, struct slice *in, const struct http_limits *limits);
/* The whole request; borrowed from the reader until it is reset. */
void http_reader_request(const struct http_reader *reader, struct http_request *request);

/* ---- responses --------------------------------------------------------------------------------------------------- */
enum http_connection { HTTP_CONNECTION_DEFAULT, HTTP_CONNECTION_KEEP_ALIVE, HTTP_CONNECTION_CLOSE };
/* The time as the header Date tells it, written anew when the second has changed. */
struct http_date {
    uint64_t second;
    char text[HTTP_DATE_SIZE];
};
const char *http_date_text(struct http_date *date, uint64_t now_ms);
/* Status line, Date, Content-Type, Content-Length, Connection, of 426 also what to upgrade to; not response->headers and not
 * the empty line. Returns its size. */
uint32_t http_write_head(char out[HTTP_RESPONSE_HEAD_SIZE_MAX], const struct http_response *response,
                         enum http_connection connection, const char *date);
/* False for the statuses that never have a body. */
bool http_status_has_body(uint16_t status);
/* Status and JSON body of a refusal; the text stands in `body`. */
struct http_response http_refusal_response(enum http_refusal refusal, char body[HTTP_ERROR_BODY_SIZE_MAX]);

#endif
