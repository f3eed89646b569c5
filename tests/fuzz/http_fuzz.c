/* layers: net core */
/* tests/fuzz/http_fuzz.c - HTTP requests: however the input is cut, the same requests come out and the same input is
 * refused; what comes out keeps the promises the layer above builds on; no line of a head that is accepted ends in any
 * way but one; the WebSocket handshake check and what reads lists survive every
 * request. */
#include "core/check.h"
#include "net/authority.h"
#include "net/http.h"
#include "net/http_line.h"
#include "net/proxies.h"
#include "net/websocket.h"
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = {.head_size_max = 1024, .body_size_max = 512};

static void put(struct writer *log, struct slice slice)
{
    writer_u32(log, slice.len);
    if (slice.len > 0) writer_raw(log, slice.data, slice.len);
}

/* Headers that are lists survive whatever stands in them; without any, the client is the peer. */
static void check_lists(const struct http_request *request)
{
    static const struct proxies proxies = {.count = 1, .blocks[0].bits = 1}; /* half of all IPv6 addresses, and IPv4 */
    struct in6_addr peer = {.s6_addr = {[15] = 1}};
    struct in6_addr client = proxies_client(&proxies, request, &peer);
    if (http_request_header(request, "X-Forwarded-For").data == NULL) ASSERT(memcmp(&client, &peer, sizeof peer) == 0);
    struct http_request amended = *request;
    struct authority authority;
    proxies_amend(&amended);
    if (amended.authority.data != request->authority.data) ASSERT(authority_parse(&authority, amended.authority));
    (void)http_lists_etag(http_request_header(request, "If-None-Match"), "\"a,b\"");
    (void)websocket_offers(request, "mqtt");
}

static void check_request(const struct http_reader *reader, struct writer *log)
{
    struct http_request request;
    http_reader_request(reader, &request);
    ASSERT(request.header_count <= HTTP_HEADERS_MAX && request.body.len <= limits.body_size_max);
    ASSERT(request.path.len > 0 && memchr(request.path.data, '?', request.path.len) == NULL);
    put(log, request.method);
    put(log, request.path);
    put(log, request.query);
    put(log, request.body);
    for (uint32_t i = 0; i < request.header_count; i++) {
        struct slice value = request.headers[i].value;
        ASSERT(request.headers[i].name.len > 0);
        for (uint32_t b = 0; b < value.len; b++) ASSERT(value.data[b] >= 0x20 || value.data[b] == '\t');
        put(log, request.headers[i].name);
        put(log, value);
    }
    check_lists(&request);
    char accept[WEBSOCKET_ACCEPT_SIZE + 1];
    const char *reason;
    if (websocket_asked(&request)) (void)websocket_handshake(&request, accept, &reason);
}

/* `bytes` were accepted as one request: its head ends at the first empty line, every CR and LF in it is half of a pair,
 * and without chunks its body is all that follows. */
static void check_bytes(const struct http_reader *reader, struct slice bytes)
{
    struct http_request request;
    http_reader_request(reader, &request);
    while (bytes.len >= 2 && memcmp(bytes.data, "\r\n", 2) == 0) bytes = slice_of(bytes.data + 2, bytes.len - 2);
    const uint8_t *end = memmem(bytes.data, bytes.len, "\r\n\r\n", 4);
    ASSERT(end != NULL);
    size_t head = (size_t)(end - bytes.data) + 4;
    for (size_t i = 0; i < head; i++) {
        ASSERT(bytes.data[i] != '\r' || bytes.data[i + 1] == '\n');
        ASSERT(bytes.data[i] != '\n' || bytes.data[i - 1] == '\r');
        ASSERT(bytes.data[i] != '\0');
    }
    if (http_request_header(&request, "Transfer-Encoding").data == NULL) ASSERT(bytes.len == head + request.body.len);
}

/* Writes down the requests. False: refused. */
static bool run(struct http_reader *reader, struct slice in, struct writer *log)
{
    for (;;) {
        bool begins = http_reader_idle(reader);
        const uint8_t *begin = in.data;
        switch (http_reader_feed(reader, &in, &limits)) {
        case HTTP_EVENT_MORE: ASSERT(in.len == 0); return true;
        case HTTP_EVENT_CONTINUE: break;
        case HTTP_EVENT_REQUEST:
            check_request(reader, log);
            if (begins) check_bytes(reader, slice_of(begin, (size_t)(in.data - begin)));
            http_reader_reset(reader);
            break;
        case HTTP_EVENT_REFUSED: {
            char body[HTTP_ERROR_BODY_SIZE_MAX];
            ASSERT(http_refusal_response((enum http_refusal)reader->refusal, body).status >= 400);
            return false;
        }
        }
    }
}

/* The first byte says where the rest is cut, and whether the reader is moved there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    uint32_t cut = (uint32_t)(data[0] >> 1) * bytes.len / 128;
    struct http_reader whole, first, second;
    struct writer from_whole, from_parts;
    http_reader_init(&whole);
    http_reader_init(&first);
    http_reader_init(&second);
    writer_init(&from_whole, 0);
    writer_init(&from_parts, 0);
    bool accepted = run(&whole, bytes, &from_whole);
    bool goes_on = run(&first, slice_of(bytes.data, cut), &from_parts);
    bool move = (data[0] & 1) != 0;
    if (goes_on && move) ASSERT(http_reader_move(&second, &first));
    if (goes_on) goes_on = run(move ? &second : &first, slice_of(bytes.data + cut, bytes.len - cut), &from_parts);
    ASSERT(goes_on == accepted);
    ASSERT(slice_equal(writer_slice(&from_whole), writer_slice(&from_parts)));
    writer_deinit(&from_whole);
    writer_deinit(&from_parts);
    http_reader_deinit(&whole);
    http_reader_deinit(&first);
    http_reader_deinit(&second);
    return 0;
}
