/* client/wire.h - one TCP connection to a server, plain or in TLS: the magic, then frames both ways.
 * Owns:    the descriptor, the TLS session, the bytes not yet sent, the bytes not yet read as frames.
 * Thread:  one at a time.         Depends: core/, net/tls.h.     Start at: client/client.h
 *
 *   client to server, once:  "RPT1"          then, in both directions:  | u32 length, big-endian | length bytes: one Envelope |
 *   length 0 is a heartbeat; each is answered by one of our own, here, and never delivered.
 *
 *   CLOSED --wire_open()--> CONNECTING --writable--> (SECURING --certificate good-->) OPEN --error, end of stream,
 *   wire_close()--> CLOSED
 * Nothing blocks but the look-up of a name in wire_open(). */
#ifndef CLIENT_WIRE_H
#define CLIENT_WIRE_H

#include "core/cursor.h"
#include "core/result.h"
#include "net/tls.h"
#include <stdbool.h>

#define WIRE_FRAME_SIZE_MAX (16u << 20) /* of one frame from the server; a page of sync with large bodies is some MiB */
#define WIRE_OUT_SIZE_MAX (4u << 20)    /* bytes waiting to be sent, before BUSY */
#define WIRE_TEXT_MAX 192

struct addrinfo;

enum wire_state { WIRE_CLOSED, WIRE_CONNECTING, WIRE_SECURING, WIRE_OPEN };

struct wire {
    enum wire_state state;
    int fd;                          /* -1 while CLOSED */
    struct addrinfo *addresses, *at; /* of the host; each is tried once */
    struct tls_trust *trust;         /* borrowed; NULL: plain */
    const char *host;                /* what the server's certificate must bear; borrowed */
    struct tls *tls;                 /* with `trust`, from SECURING on */
    struct writer in, out;
    size_t in_at, out_at;            /* bytes before them are done with */
    uint64_t heard_count;            /* reads that brought bytes: the caller sees that the peer lives */
    uint64_t heard_before;           /* of them, those of earlier connections */
    char text[WIRE_TEXT_MAX];        /* why the wire closed */
};

/* `trust` NULL: a plain connection. It outlives the wire. */
void wire_init(struct wire *wire, struct tls_trust *trust);
void wire_deinit(struct wire *wire);

/* Begins to connect; `host` stays valid until the wire is closed. OK: CONNECTING. Else CLOSED with the reason in `text`: MISSING (no such host), IO. */
NODISCARD enum result wire_open(struct wire *wire, const char *host, const char *port);
void wire_close(struct wire *wire);

bool wire_has_frame(const struct wire *wire); /* one waits for wire_next() */
/* What poll() should wait for on fd. Nothing is read from the socket while a frame waits. */
short wire_poll_events(const struct wire *wire);
/* Does what the socket allows now: finishes connecting, sends, receives. Else the wire is CLOSED with the reason in `text`:
 * IO (cannot connect, or broken), CLOSED (the server closed), DENIED (no TLS with this server), MALFORMED (a frame larger
 * than the limit), NOMEM. */
NODISCARD enum result wire_turn(struct wire *wire);

/* Queues one frame. OK; BUSY: WIRE_OUT_SIZE_MAX; CLOSED. */
NODISCARD enum result wire_send(struct wire *wire, struct slice frame);
/* The next whole frame, borrowed until the next wire call; false when there is none. Heartbeats are answered on the way. */
bool wire_next(struct wire *wire, struct slice *frame);

#endif
