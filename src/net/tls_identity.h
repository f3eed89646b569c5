/* net/tls_identity.h - who we are towards clients, or whom we trust as a client.
 * Owns:    an identity: certificate, key and ticket keys of a server; a trust: the authorities a client believes.
 * Thread:  any: sessions are made on every worker while the main thread reloads.
 * Depends: core/ only, wolfSSL.     Start at: net/tls.h
 *
 * One wolfSSL context serves all workers: after it is made it is only read, and its count of references, the one thing
 * that moves, is touched twice in a handshake of 100 us and more. A session holds the context it began with, so a
 * reload changes nothing for it and it may live on any worker. */
#ifndef NET_TLS_IDENTITY_H
#define NET_TLS_IDENTITY_H

#include "core/result.h"
#include <stddef.h>

struct tls_identity;
struct tls_trust;
struct WOLFSSL;

/* Reads both PEM files: the certificate with its chain, leaf first, and its key, not encrypted. Else `text` says what
 * is wrong and the remedy: IO kinds (unreadable), MALFORMED (not PEM, of an unknown kind, key and certificate not a
 * pair). OK with a `text` that is not empty: a warning, e.g. that the certificate has expired. */
NODISCARD enum result tls_identity_create(struct tls_identity **out, const char *certificate_file, const char *key_file,
                                          char *text, size_t text_size);
/* Reads the files again; new sessions use them. Else, as above, everything stays as it is. */
NODISCARD enum result tls_identity_reload(struct tls_identity *identity, char *text, size_t text_size);
/* After the last session. */
void tls_identity_destroy(struct tls_identity *identity);
/* A session of the present certificate; NULL: no memory. For tls.c. */
struct WOLFSSL *tls_identity_session(struct tls_identity *identity);

/* The system's authorities, or those in `authority_file` (PEM) alone when it is not NULL. Else `text`. */
NODISCARD enum result tls_trust_create(struct tls_trust **out, const char *authority_file, char *text,
                                       size_t text_size);
void tls_trust_destroy(struct tls_trust *trust);
struct WOLFSSL *tls_trust_session(struct tls_trust *trust);

/* What wolfSSL keeps for the calling thread is freed: the last thing a thread with sessions does. */
void tls_thread_end(void);

#endif
