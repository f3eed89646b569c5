/* perf/tls.c - see the header. */
#include "perf/tls.h"
#include "perf/perf.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

struct tls_client {
    SSL_CTX *context;
};

struct tls {
    SSL *ssl;
};

static int on_new_ticket(SSL *ssl, SSL_SESSION *session)
{
    tls_ticket *ticket = SSL_get_app_data(ssl);
    if (ticket == NULL) return 0;
    tls_ticket_free(ticket);
    *ticket = session;
    return 1; /* the reference is ours now */
}

struct tls_client *tls_client_create(void)
{
    struct tls_client *client = perf_alloc(1, sizeof *client);
    client->context = SSL_CTX_new(TLS_client_method());
    if (client->context == NULL) perf_die("OpenSSL does not start");
    SSL_CTX_set_verify(client->context, SSL_VERIFY_NONE, NULL);
    (void)SSL_CTX_set_mode(client->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(client->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->context, on_new_ticket);
    return client;
}

void tls_client_destroy(struct tls_client *client)
{
    if (client == NULL) return;
    SSL_CTX_free(client->context);
    free(client);
}

struct tls *tls_open(struct tls_client *client, int fd, tls_ticket *ticket)
{
    struct tls *tls = perf_alloc(1, sizeof *tls);
    tls->ssl = SSL_new(client->context);
    if (tls->ssl == NULL || SSL_set_fd(tls->ssl, fd) != 1) perf_die("out of memory for TLS");
    (void)SSL_set_app_data(tls->ssl, ticket);
    if (ticket != NULL && *ticket != NULL) (void)SSL_set_session(tls->ssl, *ticket);
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void tls_close(struct tls *tls)
{
    if (tls == NULL) return;
    /* OpenSSL forbids the resumption of a connection that just breaks off; that is how clients leave. */
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    free(tls);
}

void tls_ticket_free(tls_ticket *ticket)
{
    SSL_SESSION_free(*ticket);
    *ticket = NULL;
}

static bool would_block(const struct tls *tls, int result)
{
    int error = SSL_get_error(tls->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

enum tls_step tls_handshake(struct tls *tls)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) return TLS_DONE;
    return would_block(tls, result) ? TLS_AGAIN : TLS_FAILED;
}

bool tls_was_resumed(const struct tls *tls) { return SSL_session_reused(tls->ssl) == 1; }

const char *tls_describe(const struct tls *tls)
{
    static char text[80];
    snprintf(text, sizeof text, "%s %s", SSL_get_version(tls->ssl), SSL_get_cipher_name(tls->ssl));
    return text;
}

static ssize_t failed(const struct tls *tls, int result)
{
    errno = would_block(tls, result) ? EAGAIN : EPROTO;
    return -1;
}

ssize_t tls_read(struct tls *tls, void *data, size_t len)
{
    ERR_clear_error();
    int result = SSL_read(tls->ssl, data, len > INT_MAX ? INT_MAX : (int)len);
    if (result > 0) return result;
    bool ended = SSL_get_error(tls->ssl, result) == SSL_ERROR_ZERO_RETURN;
    return ended ? 0 : failed(tls, result);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
    ERR_clear_error();
    int result = SSL_write(tls->ssl, data, len > INT_MAX ? INT_MAX : (int)len);
    return result > 0 ? result : failed(tls, result);
}
