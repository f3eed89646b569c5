/* net/tls.h - TLS 1.2 and 1.3 as a filter over bytes: records in, plaintext out, and back; no sockets, no time.
 * Owns:    a session: its keys, input of an unfinished handshake, records that were not sent yet.
 * Thread:  one at a time; a session may move to another worker between two calls.
 * Depends: core/ only, wolfSSL below.   Start at: net/net.h
 * Read also: tls_identity.h (certificates), tls_ticket.h (resumption), conn_tls.c (who calls this for a connection).
 *
 *   HELLO (nothing is allocated but what arrived) --first whole record--> HANDSHAKE --finished--> OPEN --close_notify
 * of the peer--> ENDED;   any --protocol broken, no memory--> FAILED (an alert may wait in the output) A client's
 * session begins in HANDSHAKE. Only tls_enter() writes the state.
 *
 * Limits: a record is at most 16 KiB and what the protocol adds; all records of a handshake together
 * TLS_HANDSHAKE_SIZE_MAX. Renegotiation is refused. A record that brings no data is reported (TLS_CONTROL), so that the
 * caller bounds floods of key updates. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "core/cursor.h"
#include "core/result.h"
#include "net/tls_identity.h"

#define TLS_FIRST_BYTE         0x16   /* of a ClientHello: a handshake record */
#define TLS_RECORD_SIZE_MAX    16384u /* plaintext of one record */
#define TLS_HANDSHAKE_SIZE_MAX 65536u

enum tls_event {
    TLS_MORE,    /* all input is used; more is needed */
    TLS_STEP,    /* all input is kept; tls_handshake() has something to do */
    TLS_OPENED,  /* the handshake is finished; input that was kept may hold data already */
    TLS_DATA,    /* plaintext */
    TLS_CONTROL, /* a record without data */
    TLS_CLOSED,  /* the peer said that nothing more comes; it may still be written to */
    TLS_FAILED   /* for good; what waits in the output may be sent */
};

struct tls;

/* NULL: no memory. `identity` outlives the session. */
struct tls *tls_create_server(struct tls_identity *identity);
/* `host`: a name or address that the server's certificate must bear. The ClientHello waits in the output. */
struct tls *tls_create_client(struct tls_trust *trust, const char *host);
void tls_destroy(struct tls *tls);

/* Takes from *in, at most one record's data a call: DATA with *plain_len bytes in `plain` (room for
 * TLS_RECORD_SIZE_MAX). Call it until it gives something other than DATA and CONTROL. Never OPENED. */
enum tls_event tls_read(struct tls *tls, struct slice *in, uint8_t *plain, uint32_t *plain_len);
/* The expensive part, 0.1 to 0.8 ms: when tls_read() gave STEP. MORE, OPENED or FAILED. */
enum tls_event tls_handshake(struct tls *tls);
uint32_t tls_kept_bytes(const struct tls *tls); /* input that waits for tls_handshake() */
uint32_t tls_held_bytes(const struct tls *tls); /* memory of what waits in either direction */

/* One record with 1 to TLS_RECORD_SIZE_MAX bytes. OK; CLOSED: the session is not open, or tls_write_close() ended it; NOMEM: it is FAILED now. */
NODISCARD enum result tls_write(struct tls *tls, struct slice plain);
/* Our close_notify, once; nothing when the session is not open. */
void tls_write_close(struct tls *tls);

bool tls_has_output(const struct tls *tls);
/* What to send next; the bytes stay in place until tls_sent(), whatever is written meanwhile. Must have output. */
struct slice tls_output(struct tls *tls);
void tls_sent(struct tls *tls, uint32_t bytes);

bool tls_is_open(const struct tls *tls);
bool tls_is_resumed(const struct tls *tls); /* by a ticket */
/* Why it FAILED, in words; a static text. */
const char *tls_failure(const struct tls *tls);

#endif
