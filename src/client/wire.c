/* client/wire.c - the socket below a client.
 * Happy path: wire_open() starts a non-blocking connect, wire_turn() sees it succeed and sends the magic with whatever was queued,
 * then moves bytes; wire_next() cuts them into frames.
 * With TLS the same bytes go through a session: `out` is sealed when it is sent, what arrives is opened into `in`.
 * Failure modes: an address that cannot be connected is followed by the host's next one (localhost is often ::1 and 127.0.0.1); when
 * none is left, or the stream breaks later, the wire is CLOSED and `text` says why. What was queued is gone then: repeating it is the
 * client's business, which knows what may be repeated. */
#include "client/wire.h"
#include "core/check.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WIRE_READ_SIZE 65536u
#define WIRE_READS_PER_TURN 16 /* so that one fast server cannot keep the caller from its keyboard */

static const uint8_t wire_magic[4] = {'R', 'P', 'T', '1'};

void wire_init(struct wire *wire, struct tls_trust *trust)
{
    *wire = (struct wire){.state = WIRE_CLOSED, .fd = -1, .trust = trust};
    writer_init(&wire->in, WIRE_FRAME_SIZE_MAX + WIRE_READ_SIZE + TLS_RECORD_SIZE_MAX + 4); /* a read may end a record begun before */
    writer_init(&wire->out, WIRE_OUT_SIZE_MAX);
}

static void wire_drop_socket(struct wire *wire)
{
    if (wire->fd >= 0) close(wire->fd);
    wire->fd = -1;
}

void wire_close(struct wire *wire)
{
    wire_drop_socket(wire);
    tls_destroy(wire->tls);
    wire->tls = NULL;
    if (wire->addresses != NULL) freeaddrinfo(wire->addresses);
    wire->addresses = wire->at = NULL;
    writer_reset(&wire->in);
    writer_reset(&wire->out);
    wire->in_at = wire->out_at = 0;
    wire->state = WIRE_CLOSED;
}

void wire_deinit(struct wire *wire)
{
    wire_close(wire);
    writer_deinit(&wire->in);
    writer_deinit(&wire->out);
}

static enum result wire_fail(struct wire *wire, enum result result, const char *what, const char *why)
{
    snprintf(wire->text, sizeof wire->text, "%s: %s", what, why);
    wire_close(wire);
    return result;
}

/* Starts connecting to `at`, or to the first address after it that does not fail at once. */
static enum result wire_connect(struct wire *wire)
{
    int error = ENOENT;
    for (; wire->at != NULL; wire->at = wire->at->ai_next) {
        const struct addrinfo *address = wire->at;
        wire->fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
        if (wire->fd < 0) {
            error = errno;
            continue;
        }
        int yes = 1;
        (void)setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (connect(wire->fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS) {
            wire->state = WIRE_CONNECTING;
            return RESULT_OK;
        }
        error = errno;
        wire_drop_socket(wire);
    }
    return wire_fail(wire, RESULT_IO, "cannot connect", strerror(error));
}

enum result wire_open(struct wire *wire, const char *host, const char *port)
{
    ASSERT(wire->state == WIRE_CLOSED && wire->fd < 0);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int error = getaddrinfo(host, port, &hints, &wire->addresses);
    if (error != 0) {
        wire->addresses = NULL;
        return wire_fail(wire, RESULT_MISSING, host, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    }
    wire->at = wire->addresses;
    wire->host = host;
    wire->heard_before = wire->heard_count;
    writer_raw(&wire->out, wire_magic, sizeof wire_magic);
    return wire_connect(wire);
}

/* Forgets the first *at bytes, so that a buffer never grows past what is still wanted of it. */
static bool wire_peek_length(const struct wire *wire, uint32_t *length)
{
    if (wire->in.len - wire->in_at < sizeof *length) return false;
    memcpy(length, wire->in.data + wire->in_at, sizeof *length);
    *length = __builtin_bswap32(*length);
    return true;
}

bool wire_has_frame(const struct wire *wire)
{
    uint32_t length;
    return wire_peek_length(wire, &length) && wire->in.len - wire->in_at - sizeof length >= length;
}

short wire_poll_events(const struct wire *wire)
{
    if (wire->state == WIRE_CLOSED) return 0;
    if (wire->state == WIRE_CONNECTING) return POLLOUT;
    short reading = wire_has_frame(wire) ? 0 : POLLIN; /* nothing more is read while a frame waits to be taken */
    bool sealed = wire->tls != NULL && tls_has_output(wire->tls);
    bool unsent = wire->state == WIRE_OPEN && wire->out.len > wire->out_at;
    return (short)(reading | (sealed || unsent ? POLLOUT : 0));
}

static enum result wire_finish_connect(struct wire *wire)
{
    struct pollfd poll_fd = {.fd = wire->fd, .events = POLLOUT};
    if (poll(&poll_fd, 1, 0) <= 0) return RESULT_OK; /* still under way */
    int error = 0;
    socklen_t error_size = sizeof error;
    if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) error = errno;
    if (error == 0) {
        wire->state = wire->trust != NULL ? WIRE_SECURING : WIRE_OPEN;
        if (wire->trust != NULL) wire->tls = tls_create_client(wire->trust, wire->host);
        if (wire->trust == NULL || wire->tls != NULL) return RESULT_OK;
        return wire_fail(wire, RESULT_NOMEM, "cannot connect", "out of memory");
    }
    if (wire->at->ai_next == NULL) return wire_fail(wire, RESULT_IO, "cannot connect", strerror(error));
    wire_drop_socket(wire);
    wire->at = wire->at->ai_next;
    return wire_connect(wire);
}

/* OK with *sent 0: the socket takes nothing now. */
static enum result wire_send_some(struct wire *wire, struct slice bytes, size_t *sent)
{
    ssize_t taken;
    do taken = send(wire->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
    while (taken < 0 && errno == EINTR);
    *sent = taken > 0 ? (size_t)taken : 0;
    if (taken >= 0 || errno == EAGAIN || errno == EWOULDBLOCK) return RESULT_OK;
    return wire_fail(wire, RESULT_IO, "connection lost", strerror(errno));
}

static enum result wire_flush_plain(struct wire *wire)
{
    size_t sent = 1;
    while (wire->out_at < wire->out.len && sent > 0) {
        struct slice bytes = slice_of(wire->out.data + wire->out_at, wire->out.len - wire->out_at);
        enum result res = wire_send_some(wire, bytes, &sent);
        if (res != RESULT_OK) return res;
        wire->out_at += sent;
    }
    writer_forget(&wire->out, &wire->out_at);
    return RESULT_OK;
}

/* A record is made only when the socket took the ones before: what the server does not read stays bounded by `out`. */
static enum result wire_flush_tls(struct wire *wire)
{
    for (;;) {
        while (tls_has_output(wire->tls)) {
            size_t sent;
            enum result res = wire_send_some(wire, tls_output(wire->tls), &sent);
            if (res != RESULT_OK || sent == 0) return res;
            tls_sent(wire->tls, (uint32_t)sent);
        }
        size_t left = wire->out.len - wire->out_at;
        if (wire->state != WIRE_OPEN || left == 0) break;
        if (left > TLS_RECORD_SIZE_MAX) left = TLS_RECORD_SIZE_MAX;
        enum result res = tls_write(wire->tls, slice_of(wire->out.data + wire->out_at, left));
        if (res != RESULT_OK) return wire_fail(wire, res, "connection lost", result_text(res));
        wire->out_at += left;
    }
    writer_forget(&wire->out, &wire->out_at);
    return RESULT_OK;
}

static enum result wire_flush(struct wire *wire)
{
    return wire->tls != NULL ? wire_flush_tls(wire) : wire_flush_plain(wire);
}

/* What arrived, opened: the end of the handshake, and data into `in`. */
static enum result wire_take_records(struct wire *wire, struct slice records)
{
    for (;;) {
        uint8_t plain[TLS_RECORD_SIZE_MAX];
        uint32_t plain_len;
        enum tls_event event = tls_read(wire->tls, &records, plain, &plain_len);
        if (event == TLS_STEP) event = tls_handshake(wire->tls);
        if (event == TLS_OPENED) wire->state = WIRE_OPEN;
        if (event == TLS_DATA) writer_raw(&wire->in, plain, plain_len);
        if (wire->in.failed) return wire_fail(wire, RESULT_NOMEM, "connection closed", "out of memory");
        if (event == TLS_CLOSED) return wire_fail(wire, RESULT_CLOSED, "connection lost", "the server closed it");
        if (event == TLS_FAILED) return wire_fail(wire, RESULT_DENIED, "TLS failed", tls_failure(wire->tls));
        if (event == TLS_MORE) return RESULT_OK;
    }
}

static enum result wire_take(struct wire *wire, struct slice bytes)
{
    wire->heard_count++;
    if (wire->tls != NULL) return wire_take_records(wire, bytes);
    writer_raw(&wire->in, bytes.data, bytes.len);
    return wire->in.failed ? wire_fail(wire, RESULT_NOMEM, "connection closed", "out of memory") : RESULT_OK;
}

static enum result wire_ended(struct wire *wire)
{
    bool silent = wire->heard_count == wire->heard_before && wire->tls == NULL;
    return wire_fail(wire, RESULT_CLOSED, "connection lost",
                     silent ? "the server closed it without a word: if it speaks TLS only, name it tls://HOST:PORT"
                            : "the server closed it");
}

static enum result wire_receive(struct wire *wire)
{
    for (int reads = 0; reads < WIRE_READS_PER_TURN; reads++) {
        uint32_t length;
        writer_forget(&wire->in, &wire->in_at);
        if (wire_peek_length(wire, &length) && length > WIRE_FRAME_SIZE_MAX)
            return wire_fail(wire, RESULT_MALFORMED, "connection closed", "the peer does not speak this protocol, or sent too large a frame");
        if (wire_has_frame(wire)) return RESULT_OK; /* delivered first: the rest waits in the kernel */
        uint8_t bytes[WIRE_READ_SIZE];
        ssize_t got = recv(wire->fd, bytes, sizeof bytes, 0);
        if (got > 0) {
            enum result res = wire_take(wire, slice_of(bytes, (size_t)got));
            if (res != RESULT_OK) return res;
        } else if (got == 0) {
            return wire_ended(wire);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return RESULT_OK;
        } else if (errno != EINTR) {
            return wire_fail(wire, RESULT_IO, "connection lost", strerror(errno));
        }
    }
    return RESULT_OK;
}

enum result wire_turn(struct wire *wire)
{
    ASSERT(wire->state != WIRE_CLOSED);
    enum result res = RESULT_OK;
    if (wire->state == WIRE_CONNECTING) res = wire_finish_connect(wire);
    if (res != RESULT_OK || wire->state == WIRE_CONNECTING) return res;
    res = wire_flush(wire);
    if (res == RESULT_OK) res = wire_receive(wire);
    return res == RESULT_OK && wire->tls != NULL ? wire_flush(wire) : res; /* the handshake's answer */
}

enum result wire_send(struct wire *wire, struct slice frame)
{
    if (wire->state == WIRE_CLOSED) return RESULT_CLOSED;
    uint32_t length = __builtin_bswap32(frame.len);
    uint8_t *room = writer_reserve(&wire->out, sizeof length + frame.len);
    if (room == NULL) {
        wire->out.failed = false; /* refused as a whole; what was queued before is intact */
        return RESULT_BUSY;
    }
    memcpy(room, &length, sizeof length);
    if (frame.len > 0) memcpy(room + sizeof length, frame.data, frame.len);
    return RESULT_OK;
}

bool wire_next(struct wire *wire, struct slice *frame)
{
    while (wire->state == WIRE_OPEN && wire_has_frame(wire)) {
        uint32_t length = 0;
        bool whole = wire_peek_length(wire, &length);
        ASSERT(whole);
        *frame = slice_of(wire->in.data + wire->in_at + sizeof length, length);
        wire->in_at += sizeof length + length;
        if (length > 0) return true;
        /* A full queue means that the server does not read; it will notice the missing heartbeat itself. */
        enum result answered = wire_send(wire, SLICE_EMPTY);
        (void)answered;
    }
    return false;
}
