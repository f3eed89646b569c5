/* net/websocket_handshake.c - RFC 6455 section 4: is this request a proper opening, and what is the answer's proof.
 * Happy path: exactly one key of 16 bytes in base64, version 13, "websocket" among the Upgrade tokens; the proof is the
 * base64 of SHA-1(key + fixed GUID). Failure: 426 for another version, 400 for the rest, each with a sentence. */
#include "net/websocket.h"
#include "net/http_line.h"
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/hash.h>

#define WEBSOCKET_GUID       "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define WEBSOCKET_GUID_SIZE  36
#define WEBSOCKET_KEY_SIZE   24 /* base64 of 16 bytes */
#define WEBSOCKET_NONCE_SIZE 16

static bool header_named(const struct http_header *header, const char *name)
{
    return slice_equal_nocase(header->name, name);
}

/* Whether a header that is a list has `token`, in any case of letters or exactly so. */
static bool request_lists(const struct http_request *request, const char *name, const char *token, bool exactly)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        struct slice list = request->headers[i].value, element;
        if (!header_named(&request->headers[i], name)) continue;
        while (http_list_next(&list, &element))
            if (exactly ? slice_equal(element, slice_text(token)) : slice_equal_nocase(element, token)) return true;
    }
    return false;
}

static uint32_t request_count(const struct http_request *request, const char *name)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->header_count; i++) count += header_named(&request->headers[i], name);
    return count;
}

const char *websocket_missing(const struct http_request *request)
{
    if (request->old)
        return "a WebSocket begins with HTTP/1.1 and this is HTTP/1.0: has a proxy changed it? (nginx: proxy_http_version 1.1)";
    if (!request_lists(request, "Upgrade", "websocket", false))
        return "a WebSocket begins with the header Upgrade: websocket, which is missing: a proxy must pass it on";
    if (!request_lists(request, "Connection", "upgrade", false))
        return "a WebSocket begins with the header Connection: Upgrade, which is missing: a proxy must pass it on";
    return NULL;
}

bool websocket_offers(const struct http_request *request, const char *subprotocol)
{
    return request_lists(request, "Sec-WebSocket-Protocol", subprotocol, true);
}

static bool key_valid(struct slice key)
{
    uint8_t nonce[WEBSOCKET_NONCE_SIZE + 8];
    word32 nonce_len = sizeof nonce;
    return key.len == WEBSOCKET_KEY_SIZE && Base64_Decode(key.data, key.len, nonce, &nonce_len) == 0 &&
           nonce_len == WEBSOCKET_NONCE_SIZE;
}

static bool accept_write(char accept[WEBSOCKET_ACCEPT_SIZE + 1], struct slice key)
{
    uint8_t proof[WEBSOCKET_KEY_SIZE + WEBSOCKET_GUID_SIZE];
    memcpy(proof, key.data, WEBSOCKET_KEY_SIZE);
    memcpy(proof + WEBSOCKET_KEY_SIZE, WEBSOCKET_GUID, WEBSOCKET_GUID_SIZE);
    uint8_t digest[WC_SHA_DIGEST_SIZE];
    if (wc_ShaHash(proof, sizeof proof, digest) != 0) return false;
    word32 len = WEBSOCKET_ACCEPT_SIZE + 1;
    if (Base64_Encode_NoNl(digest, sizeof digest, (uint8_t *)accept, &len) != 0) return false;
    accept[WEBSOCKET_ACCEPT_SIZE] = '\0';
    return true;
}

uint16_t websocket_handshake(const struct http_request *request, char accept[WEBSOCKET_ACCEPT_SIZE + 1],
                             const char **reason)
{
    struct slice version = http_request_header(request, "Sec-WebSocket-Version");
    *reason = "Sec-WebSocket-Version must be 13";
    if (request_count(request, "Sec-WebSocket-Version") != 1 || !slice_equal(version, SLICE_TEXT("13"))) return 426;
    *reason = "a WebSocket begins with GET";
    if (!slice_equal(request->method, SLICE_TEXT("GET"))) return 400;
    *reason = "a WebSocket handshake has no body";
    if (request->body.len != 0) return 400;
    *reason = "Sec-WebSocket-Key must be 16 bytes in base64, once";
    struct slice key = http_request_header(request, "Sec-WebSocket-Key");
    if (request_count(request, "Sec-WebSocket-Key") != 1 || !key_valid(key)) return 400;
    *reason = NULL;
    return accept_write(accept, key) ? 0 : 500;
}
