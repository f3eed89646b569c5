/* perf/tls.h - TLS on a connected socket that does not block, by OpenSSL: another library than the server's. The certificate
 * is not looked at: what is measured is the server. */
#ifndef PERF_TLS_H
#define PERF_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;        /* one connection's */
struct tls_client; /* what all have in common */
/* What a server gave to come back with; NULL: nothing yet. Freed by tls_ticket_free(). */
typedef struct ssl_session_st *tls_ticket;

/* Ends the program when OpenSSL does not start. */
struct tls_client *tls_client_create(void);
void tls_client_destroy(struct tls_client *client);

/* `ticket`: NULL, or where the ticket of the last connection is and a new one is put; it outlives the connection. */
struct tls *tls_open(struct tls_client *client, int fd, tls_ticket *ticket);
void tls_close(struct tls *tls);
void tls_ticket_free(tls_ticket *ticket);

enum tls_step { TLS_DONE, TLS_AGAIN, TLS_FAILED };
enum tls_step tls_handshake(struct tls *tls);
bool tls_was_resumed(const struct tls *tls);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384"; borrowed until the next call. */
const char *tls_describe(const struct tls *tls);

/* As recv() and send() with their errno; one record at most is read. */
ssize_t tls_read(struct tls *tls, void *data, size_t len);
ssize_t tls_write(struct tls *tls, const void *data, size_t len);

#endif
