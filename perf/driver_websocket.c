/* perf/driver_websocket.c - the WebSocket door: an HTTP/1.1 upgrade, then one envelope in each binary frame, masked on its way
 * out. Pings are answered. The server sends whole messages in one frame; a fragment ends the session as a fault. */
#include "perf/envelope.h"
#include "perf/session.h"
#include <stdio.h>

#define HTTP_HEAD_MAX  4096
#define HEAD_SIZE_MAX  14 /* with the mask */

enum stage { STAGE_UPGRADE, STAGE_FRAMES };
enum opcode { OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };

/* The key is any 16 bytes in base64; with a fixed one the server's proof is fixed too (RFC 6455, 4.2.2). */
static const char upgrade_request[] = "GET /v1/socket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                                      "Sec-WebSocket-Protocol: ringpost.v1.proto\r\n\r\n";
static const char upgrade_proof[] = "ICX+Yqv66kxgM0FcWaLWlFLwTAI=";

static void websocket_open(struct session *session)
{
    memcpy(session_write(session, sizeof upgrade_request - 1), upgrade_request, sizeof upgrade_request - 1);
}

/* ---- out ---- */

static size_t put_head(uint8_t head[HEAD_SIZE_MAX], enum opcode opcode, size_t size, uint32_t mask)
{
    size_t len = 0;
    head[len++] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        head[len++] = (uint8_t)(0x80 | size);
    } else if (size <= UINT16_MAX) {
        head[len++] = 0x80 | 126;
        head[len++] = (uint8_t)(size >> 8);
        head[len++] = (uint8_t)size;
    } else {
        head[len++] = 0x80 | 127;
        for (uint32_t i = 0; i < 8; i++) head[len++] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
    }
    memcpy(head + len, &mask, sizeof mask);
    return len + sizeof mask;
}

static void put_masked(uint8_t *at, struct slice payload, uint32_t mask)
{
    size_t i = 0;
    for (; i + sizeof mask <= payload.len; i += sizeof mask) {
        uint32_t word;
        memcpy(&word, payload.data + i, sizeof word);
        word ^= mask;
        memcpy(at + i, &word, sizeof word);
    }
    for (; i < payload.len; i++) at[i] = (uint8_t)(payload.data[i] ^ (mask >> (8 * (i % sizeof mask))));
}

static void websocket_write(struct session *session, enum opcode opcode, struct slice payload)
{
    static uint32_t mask = 0x9e3779b9; /* changes with every frame; it need not be unforeseeable here */
    mask = mask * 1664525 + 1013904223;
    uint8_t head[HEAD_SIZE_MAX];
    size_t head_len = put_head(head, opcode, payload.len, mask);
    uint8_t *at = session_write(session, head_len + payload.len);
    memcpy(at, head, head_len);
    put_masked(at + head_len, payload, mask);
}

/* ---- in ---- */

static size_t take_upgrade(struct session *session, struct slice in)
{
    const uint8_t *end = memmem(in.data, in.len, "\r\n\r\n", 4);
    if (end == NULL) {
        if (in.len > HTTP_HEAD_MAX) session_fail(session, "no WebSocket upgrade");
        return 0;
    }
    size_t head_len = (size_t)(end - in.data) + 4;
    if (in.len < 12 || memcmp(in.data, "HTTP/1.1 101", 12) != 0 ||
        memmem(in.data, head_len, upgrade_proof, sizeof upgrade_proof - 1) == NULL) {
        session_fail(session, "the WebSocket upgrade was refused");
        return 0;
    }
    session->driver_stage = STAGE_FRAMES;
    return head_len;
}

struct frame {
    uint8_t first; /* FIN, reserved bits, opcode */
    struct slice payload;
};

/* Returns the size of the whole frame, 0 when it is not all there. */
static size_t take_frame(struct slice in, struct frame *frame)
{
    if (in.len < 2) return 0;
    size_t head_len = 2;
    uint64_t size = in.data[1] & 0x7f;
    uint32_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (in.len < head_len + more) return 0;
    if (more > 0) size = 0;
    for (; more > 0; more--) size = size << 8 | in.data[head_len++];
    if (in.len - head_len < size) return 0;
    *frame = (struct frame){in.data[0], {in.data + head_len, size}};
    return head_len + size;
}

static void websocket_on_frame(struct session *session, const struct frame *frame)
{
    char reason[48];
    switch (frame->first) {
    case 0x80 | OPCODE_BINARY: envelope_receive(session, frame->payload); break;
    case 0x80 | OPCODE_PING: websocket_write(session, OPCODE_PONG, frame->payload); break;
    case 0x80 | OPCODE_PONG: break;
    case 0x80 | OPCODE_CLOSE:
        snprintf(reason, sizeof reason, "closed with code %d",
                 frame->payload.len < 2 ? 0 : frame->payload.data[0] << 8 | frame->payload.data[1]);
        session_fail(session, reason);
        break;
    default: session_fail(session, "an unexpected WebSocket frame"); break;
    }
}

static size_t websocket_receive(struct session *session, struct slice in)
{
    size_t taken = 0;
    if (session->driver_stage == STAGE_UPGRADE) {
        taken = take_upgrade(session, in);
        if (taken == 0) return 0;
    }
    while (session_listens(session)) {
        struct frame frame;
        size_t size = take_frame((struct slice){in.data + taken, in.len - taken}, &frame);
        if (size == 0) break;
        websocket_on_frame(session, &frame);
        taken += size;
    }
    return taken;
}

static void websocket_send(struct session *session, const struct outgoing *message)
{
    websocket_write(session, OPCODE_BINARY, envelope_send(message));
}

static void websocket_call(struct session *session, const Ringpost__V1__Request *request)
{
    websocket_write(session, OPCODE_BINARY, envelope_call(request));
}

const struct driver driver_websocket = {.name = "websocket",
                                        .open = websocket_open,
                                        .receive = websocket_receive,
                                        .send = websocket_send,
                                        .call = websocket_call};
