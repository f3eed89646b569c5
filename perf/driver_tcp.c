/* perf/driver_tcp.c - the raw TCP door: "RPT1" once, then both ways u32 big-endian length and that many bytes of one envelope.
 * A frame of length 0 is a heartbeat; it is answered in kind, so that an idle session stays. */
#include "perf/envelope.h"
#include "perf/session.h"
#include <endian.h>

#define HEAD_SIZE      4
#define FRAME_SIZE_MAX (16u << 20)

static void tcp_write(struct session *session, struct slice payload)
{
    uint32_t size = htobe32((uint32_t)payload.len);
    uint8_t *at = session_write(session, HEAD_SIZE + payload.len);
    memcpy(at, &size, HEAD_SIZE);
    if (payload.len > 0) memcpy(at + HEAD_SIZE, payload.data, payload.len);
}

static void tcp_open(struct session *session)
{
    memcpy(session_write(session, 4), "RPT1", 4);
}

static size_t tcp_receive(struct session *session, struct slice in)
{
    size_t taken = 0;
    while (session_listens(session) && in.len - taken >= HEAD_SIZE) {
        uint32_t size;
        memcpy(&size, in.data + taken, HEAD_SIZE);
        size = be32toh(size);
        if (size > FRAME_SIZE_MAX) {
            session_fail(session, "a frame larger than 16 MiB");
            break;
        }
        if (in.len - taken - HEAD_SIZE < size) break;
        if (size == 0) tcp_write(session, (struct slice){0});
        else envelope_receive(session, (struct slice){in.data + taken + HEAD_SIZE, size});
        taken += HEAD_SIZE + size;
    }
    return taken;
}

static void tcp_send(struct session *session, const struct outgoing *message)
{
    tcp_write(session, envelope_send(message));
}

static void tcp_call(struct session *session, const Ringpost__V1__Request *request)
{
    tcp_write(session, envelope_call(request));
}

const struct driver driver_tcp = {.name = "tcp", .open = tcp_open, .receive = tcp_receive, .send = tcp_send, .call = tcp_call};
