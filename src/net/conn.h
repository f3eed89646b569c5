/* net/conn.h - one connection: its states, its outbound bytes, its doors.
 * Owns:    the socket, partial input, queued output; a conn belongs to its server's slot table.
 * Thread:  the worker that owns it; conn_detach()/conn_adopt() carry it to another.
 * Depends: core/ only.            Start at: net/net.h
 *
 *   DETECT --first bytes--> HTTP | TCP | MQTT   HTTP --upgrade--> WEBSOCKET         (these five: open; frames and requests flow)
 *   open --conn_close()--> FAREWELL (queued output leaves, the peer's end is awaited, both bounded) --> CLOSING --no op armed--> CLOSED
 *   open --conn_detach()--> LEAVING (recv cancelled) --no op armed--> its socket goes to another worker
 *   open, FAREWELL --the socket fails--> CLOSING
 *   DETECT: 'R' 'P' 'T' '1' = raw TCP (the magic "RPT1" is sent once by the client, then frames); 0x10 = MQTT (a CONNECT
 *   packet; a frame is then one whole packet, as it is on the wire); anything else is HTTP/1.1.
 *
 * Output: every frame is appended to the connection's out buffer and the connection is put on the server's dirty list; once per
 * turn server_flush() gives each dirty connection one send. Small shared payloads (<= CONN_COPY_MAX) are copied, larger ones
 * are referenced and sent as iovecs of the same sendmsg. While a send is in flight further output waits for its completion. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "core/buf.h"
#include "core/cursor.h"
#include "core/result.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define CONN_COPY_MAX 2048 /* bytes of a shared payload that are copied rather than referenced */

struct conn;
struct io;
struct server;

enum conn_door { CONN_DOOR_NONE, CONN_DOOR_HTTP, CONN_DOOR_WEBSOCKET, CONN_DOOR_TCP, CONN_DOOR_MQTT };
enum conn_frame { CONN_FRAME_TEXT, CONN_FRAME_BINARY }; /* TCP and MQTT frames are always BINARY */

/* Why the connection ends, told to the peer where the door can: WebSocket close code, HTTP status + Connection: close. */
struct conn_goodbye {
    uint16_t websocket_code; /* 1000.. ; 4000-4999 ours, see api/error.h */
    const char *reason;      /* static or copied before return; <= 123 bytes on WebSocket */
};

struct http_header {
    struct slice name, value;
};
enum http_scheme { HTTP_SCHEME_UNKNOWN, HTTP_SCHEME_PLAIN, HTTP_SCHEME_SECURE }; /* how the client, not a proxy, asked */
#define HTTP_HEADERS_MAX 64
struct http_request { /* borrowed for the callback */
    struct slice method, path, query; /* path without '?'; not percent-decoded */
    struct slice authority;           /* whom it is for: of the target if that names one, else of Host; empty: HTTP/1.0 did not say */
    struct http_header headers[HTTP_HEADERS_MAX];
    uint32_t header_count;
    struct slice body;
    bool keep_alive;
    bool old; /* HTTP/1.0 */
    enum http_scheme scheme;
};
/* Value of the first header with that name (case-insensitive) or an empty slice with data == NULL. */
struct slice http_request_header(const struct http_request *request, const char *name);

struct http_response {
    uint16_t status;
    const char *content_type;  /* NULL: no body type */
    struct slice headers;      /* further whole lines, each ending in \r\n; may be empty */
    struct slice body;         /* borrowed; copied, or referenced when body_buf is given */
    struct buf *body_buf;      /* optional: body is a part of this buf, which is ref'd */
    bool head_only;            /* no body, only its length; set by itself for a HEAD request */
};

/* Slot and generation name a connection from anywhere; a stale handle finds nothing. */
struct conn_handle {
    uint32_t slot, generation;
};

enum conn_door conn_door_of(const struct conn *conn);
struct conn_handle conn_handle_of(const struct conn *conn);
/* NULL when that connection is gone, closing or moved. */
struct conn *server_find(struct server *server, struct conn_handle handle);
void **conn_user(struct conn *conn); /* the door handler's own pointer; NULL at first */
uint32_t conn_outbound_bytes(const struct conn *conn);
/* Of the client: behind a proxy that is believed, of the client of the connection, or of the request that is being answered. IPv4 is
 * mapped. */
struct in6_addr conn_address(const struct conn *conn);
const char *conn_peer(const struct conn *conn, char *out, size_t out_size); /* "127.0.0.1:5000" */

/* Queues one frame made of `head` (copied) followed by `body` (may be NULL; ref'd or copied). `encoding` is ignored by TCP and
 * MQTT; on MQTT the two are one or more whole packets.
 * OK; BUSY: the outbound hard limit would be passed, nothing queued (the caller closes, or stops pushing); CLOSED. */
NODISCARD enum result conn_send_frame(struct conn *conn, enum conn_frame encoding, struct slice head, struct buf *body);
/* Answers the HTTP request that on_http delivered last; requests of a connection are delivered one at a time. OK; BUSY: the
 * pool is empty, the request stays unanswered (the caller tries again or closes); CLOSED. */
NODISCARD enum result conn_send_http(struct conn *conn, const struct http_response *response);
/* Upgrades after on_upgrade said yes is done by net itself. */

/* Stops delivering frames and requests (input waits, bounded by what one turn receives) until resumed; e.g. while login is under way. */
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);

/* The connection is authenticated: the time limit to authenticate ends, heartbeats begin. */
void conn_set_authenticated(struct conn *conn);
/* MQTT, authenticated: the client promises a packet every `seconds`; one and a half times that in silence ends it. 0: never. */
void conn_set_keep_alive(struct conn *conn, uint16_t seconds);

/* The peer does not take what is queued for it: leaves a line (reason=slow_reader) and closes with CLOSE 1013. */
void conn_close_slow(struct conn *conn, const char *reason);
/* The only way to CLOSING. Queued output is still sent (bounded by the write time-out). on_close follows, later, once. */
void conn_close(struct conn *conn, struct conn_goodbye goodbye);

/* ---- moving to another worker ------------------------------------------------------------------------------------ */
struct conn_handover; /* socket, door, WebSocket state, unread input, unsent output: heap, owned by whoever holds it */
/* Begins to leave for the worker of `to`, which must live until then; `gone(context, handover)` runs later on this worker when no
 * operation is armed (handover NULL: the peer closed meanwhile, or there was no place or memory; on_close is then called, otherwise not). The frame being handled right now counts as consumed. WEBSOCKET, TCP and MQTT only. */
void conn_detach(struct conn *conn, struct io *to, void (*gone)(void *context, struct conn_handover *handover), void *context);
/* Takes the handover; NULL when the slot table is full (the socket is closed, the handover freed). Delivers what waits
 * in it only after the caller's next return to the loop; the new connection is paused until conn_resume(). */
struct conn *conn_adopt(struct server *server, struct conn_handover *handover);
/* Closes the socket, which has arrived at this server's io; for a worker that is stopping. */
void conn_handover_free(struct server *server, struct conn_handover *handover);

#endif
