/* net/tls_ticket.h - the keys that seal session tickets, shared by all workers and changed as time passes.
 * Owns:    two keys: the one that seals, and the one before it.
 * Thread:  any; a lock is held while a key is looked up or changed.
 * Depends: core/ only, wolfCrypt.   Start at: net/tls.h
 *
 * A ticket is the state of a session in the client's hands. A key seals for TLS_TICKET_KEY_MS and opens for as long
 * again; then it is overwritten, and what was sealed with it is of no use to anybody. The keys never leave the memory
 * of the process: after a restart every client makes one full handshake. */
#ifndef NET_TLS_TICKET_H
#define NET_TLS_TICKET_H

#include "core/result.h"
#include <stdint.h>

#define TLS_TICKET_KEY_MS    (12u * 60 * 60 * 1000)
#define TLS_TICKET_NAME_SIZE 16 /* says which key */
#define TLS_TICKET_IV_SIZE   16 /* 12 of them are used */
#define TLS_TICKET_TAG_SIZE  32 /* 16 of them are used */

struct tls_tickets;

struct tls_ticket_frame { /* what stands around the sealed bytes */
    uint8_t *name, *iv, *tag;
};

enum tls_ticket_opened { TLS_TICKET_REFUSED, TLS_TICKET_FRESH, TLS_TICKET_OLD }; /* OLD: give the client a new one */

NODISCARD enum result tls_tickets_create(struct tls_tickets **out, uint64_t now_ms);
void tls_tickets_destroy(struct tls_tickets *tickets);
/* Encrypts `len` bytes in place and fills the frame. */
NODISCARD enum result tls_tickets_seal(struct tls_tickets *tickets, uint64_t now_ms,
                                       const struct tls_ticket_frame *frame, uint8_t *bytes, uint32_t len);
/* Decrypts in place. REFUSED: sealed with no key we have, or changed on the way. */
enum tls_ticket_opened tls_tickets_open(struct tls_tickets *tickets, uint64_t now_ms,
                                        const struct tls_ticket_frame *frame, uint8_t *bytes, uint32_t len);

#endif
