/* net/tls_identity.c - certificates and keys from their files into a wolfSSL context, and the context's settings.
 * Happy path: both files are read, checked against each other, put into a fresh context; a reload swaps contexts.
 * Failure: whatever is wrong with a file leaves the present context in force and is told in words.
 * The order of the ciphers follows the library: with AES instructions AES-GCM is the fastest, without them ChaCha20 is,
 * by a factor of two, and AES from tables would leak its key through the cache. */
#include "net/tls_identity.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/secret.h"
#include "net/tls_ticket.h"
#include <wolfssl/options.h> /* before every other header of wolfSSL */
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PEM_SIZE_MAX       (256u << 10) /* a chain has a few KiB */
#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"
#define ALPN_PROTOCOLS     "http/1.1,mqtt"

#ifdef WOLFSSL_AESNI
#define CIPHERS                                                                                                        \
    "TLS13-AES128-GCM-SHA256:TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES256-GCM-SHA384:"                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"                         \
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
#else
#define CIPHERS                                                                                                        \
    "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"                                  \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:"                         \
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
#endif

struct tls_identity {
    char *certificate_file, *key_file; /* as given; read again by a reload */
    struct tls_tickets *tickets;
    pthread_mutex_t lock; /* of `context`, for as long as a reference is taken or the pointer changed */
    WOLFSSL_CTX *context;
};

struct tls_trust {
    WOLFSSL_CTX *context;
};

struct explanation {
    char *text;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static enum result explain(struct explanation to, enum result result,
                                                                 const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(to.text, to.size, format, arguments);
    va_end(arguments);
    return result;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

struct pem {
    const char *file;
    unsigned char *bytes; /* owned; ends with a 0 that is not counted */
    size_t len;
};

static void pem_free(struct pem *pem)
{
    if (pem->bytes != NULL) explicit_bzero(pem->bytes, pem->len);
    free(pem->bytes);
    *pem = (struct pem){0};
}

static enum result pem_read_open(struct pem *pem, int fd, struct explanation to)
{
    struct stat about;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return explain(to, RESULT_MALFORMED, "%s is not a regular file", pem->file);
    if (about.st_size > PEM_SIZE_MAX)
        return explain(to, RESULT_TOO_LARGE, "%s is larger than %u KiB: is it the right file?", pem->file,
                       PEM_SIZE_MAX >> 10);
    size_t size = (size_t)about.st_size;
    pem->bytes = calloc(1, size + 1);
    if (pem->bytes == NULL) return explain(to, RESULT_NOMEM, "%s: out of memory", pem->file);
    while (pem->len < size) {
        ssize_t got = read(fd, pem->bytes + pem->len, size - pem->len);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return explain(to, result_from_errno(errno), "cannot read %s: %s", pem->file, strerror(errno));
        if (got == 0) break;
        pem->len += (size_t)got;
    }
    return RESULT_OK;
}

/* `is_secret`: nobody else may read the file. */
static enum result pem_read(struct pem *pem, const char *option, const char *file, bool is_secret, struct explanation to)
{
    *pem = (struct pem){.file = file};
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return explain(to, result_from_errno(errno), "%s: cannot open %s: %s. Remedy: a path this user may read",
                       option, file, strerror(errno));
    enum result res = is_secret ? secret_check_file(fd, file, SECRET_OURS_OR_ROOT, to.text, to.size) : RESULT_OK;
    if (res == RESULT_OK) res = pem_read_open(pem, fd, to);
    close(fd);
    if (res != RESULT_OK) pem_free(pem);
    return res;
}

/* ---- a certificate and its key ------------------------------------------------------------------------ */

static enum result explain_no_pair(const struct pem *certificate, const struct pem *key, struct explanation to)
{
    return explain(to, RESULT_MALFORMED, "the key in %s does not belong to the certificate in %s", key->file,
                   certificate->file);
}

static bool date_seconds(const byte *date, int size, time_t *seconds)
{
    const byte *digits = NULL;
    byte format = 0;
    int len = 0;
    struct tm calendar = {0};
    if (wc_GetDateInfo(date, size, &digits, &format, &len) != 0) return false;
    if (wc_GetDateAsCalendarTime(digits, len, format, &calendar) != 0) return false;
    *seconds = timegm(&calendar);
    return true;
}

static void warn_of_dates(const char *file, const DecodedCert *certificate, struct explanation to)
{
    time_t now = time(NULL), from = 0, until = 0;
    char date[32];
    struct tm calendar;
    if (!date_seconds(certificate->beforeDate, certificate->beforeDateLen, &from) ||
        !date_seconds(certificate->afterDate, certificate->afterDateLen, &until))
        return;
    bool expired = now > until;
    if (!expired && now >= from) return;
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(expired ? &until : &from, &calendar));
    (void)explain(to, RESULT_OK,
                  "the certificate in %s %s %s: clients will refuse it. Remedy: renew it, then send SIGHUP", file,
                  expired ? "expired on" : "is not valid before", date);
}

/* Whether the key makes the certificate's public point, with which the certificate's key information ends. wolfSSL's
 * own check compares nothing for elliptic curves. */
static bool point_matches(const struct pem *key, const DecodedCert *certificate)
{
    DerBuffer *der = NULL;
    ecc_key pair;
    uint8_t point[ECC_BUFSIZE];
    word32 at = 0, size = sizeof point;
    if (wc_PemToDer(key->bytes, (long)key->len, PRIVATEKEY_TYPE, &der, NULL, NULL, NULL) != 0 ||
        wc_ecc_init(&pair) != 0) {
        wc_FreeDer(&der);
        return false;
    }
    bool matches = wc_EccPrivateKeyDecode(der->buffer, &at, &pair, der->length) == 0 &&
                   wc_ecc_make_pub(&pair, NULL) == 0 && wc_ecc_export_x963(&pair, point, &size) == 0 &&
                   size <= certificate->pubKeySize &&
                   memcmp(point, certificate->publicKey + certificate->pubKeySize - size, size) == 0;
    wc_ecc_free(&pair);
    wc_FreeDer(&der);
    return matches;
}

/* The leaf, which comes first, with the key. MALFORMED: there is none, or they are no pair. */
static enum result check_certificate(const struct pem *pem, const struct pem *key, struct explanation to)
{
    DerBuffer *der = NULL;
    if (wc_PemToDer(pem->bytes, (long)pem->len, CERT_TYPE, &der, NULL, NULL, NULL) != 0) {
        wc_FreeDer(&der);
        return explain(
            to, RESULT_MALFORMED,
            "there is no certificate in %s. Remedy: PEM, \"-----BEGIN CERTIFICATE-----\", the server's own first",
            pem->file);
    }
    DecodedCert certificate;
    wc_InitDecodedCert(&certificate, der->buffer, der->length, NULL);
    bool parsed = wc_ParseCert(&certificate, CERT_TYPE, NO_VERIFY, NULL) == 0;
    bool pair = parsed && (certificate.keyOID != ECDSAk || point_matches(key, &certificate));
    if (pair) warn_of_dates(pem->file, &certificate, to);
    wc_FreeDecodedCert(&certificate);
    wc_FreeDer(&der);
    if (pair) return RESULT_OK;
    if (parsed) return explain_no_pair(pem, key, to);
    return explain(to, RESULT_MALFORMED, "the first certificate in %s cannot be understood", pem->file);
}

/* ---- the server's context ---------------------------------------------------------------------------------------- */

static int on_ticket(WOLFSSL *ssl, byte *name, byte *iv, byte *tag, int seal, byte *bytes, int len, int *out_len,
                     void *context)
{
    (void)ssl;
    struct tls_identity *identity = context;
    struct tls_ticket_frame frame = {name, iv, tag};
    uint64_t now_ms = clock_monotonic_ns() / 1000000;
    *out_len = len;
    if (seal != 0) {
        enum result sealed = tls_tickets_seal(identity->tickets, now_ms, &frame, bytes, (uint32_t)len);
        return sealed == RESULT_OK ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_FATAL;
    }
    switch (tls_tickets_open(identity->tickets, now_ms, &frame, bytes, (uint32_t)len)) {
    case TLS_TICKET_FRESH: return WOLFSSL_TICKET_RET_OK;
    case TLS_TICKET_OLD: return WOLFSSL_TICKET_RET_CREATE;
    case TLS_TICKET_REFUSED: break;
    }
    return WOLFSSL_TICKET_RET_REJECT;
}

static bool context_set_common(WOLFSSL_CTX *context)
{
    /* X25519 first: the stock library's P-256 costs three times as much. */
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1};
    bool set = wolfSSL_CTX_SetMinVersion(context, WOLFSSL_TLSV1_2) == WOLFSSL_SUCCESS &&
               wolfSSL_CTX_set_cipher_list(context, CIPHERS) == WOLFSSL_SUCCESS &&
               wolfSSL_CTX_set_groups(context, groups, 2) == WOLFSSL_SUCCESS;
    /* No cache of sessions in the process: its lock would be shared by all workers, and tickets need none. The stock
     * library stores sessions with tickets all the same unless the second call forbids it. */
    (void)wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
    (void)wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_NO_INTERNAL);
    return set;
}

static bool context_set_server(WOLFSSL_CTX *context, struct tls_identity *identity)
{
    const unsigned lifetime_s = TLS_TICKET_KEY_MS / 1000;
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, NULL); /* clients log in; they need no certificate */
    (void)wolfSSL_CTX_set_timeout(context, lifetime_s);         /* the former value, in one of the library's builds */
    return context_set_common(context) && wolfSSL_CTX_set_TicketEncCb(context, on_ticket) == WOLFSSL_SUCCESS &&
           wolfSSL_CTX_set_TicketEncCtx(context, identity) == WOLFSSL_SUCCESS &&
           wolfSSL_CTX_set_TicketHint(context, (int)lifetime_s) == WOLFSSL_SUCCESS;
}

static enum result context_use(WOLFSSL_CTX *context, const struct pem *certificate, const struct pem *key,
                               struct explanation to)
{
    if (strstr((const char *)key->bytes, "ENCRYPTED") != NULL)
        return explain(to, RESULT_MALFORMED,
                       "the key in %s is encrypted. Remedy: decrypt it (openssl pkey -in … -out …) and let only the "
                       "server's user read it",
                       key->file);
    if (wolfSSL_CTX_use_PrivateKey_buffer(context, key->bytes, (long)key->len, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
        return explain(
            to, RESULT_MALFORMED,
            "there is no key that can be used in %s. Remedy: PEM, \"-----BEGIN PRIVATE KEY-----\", best ECDSA "
            "P-256",
            key->file);
    enum result res = check_certificate(certificate, key, to);
    if (res != RESULT_OK) return res;
    if (wolfSSL_CTX_use_certificate_chain_buffer(context, certificate->bytes, (long)certificate->len) !=
        WOLFSSL_SUCCESS)
        return explain(to, RESULT_MALFORMED,
                       "the certificate in %s cannot be used: it, or one of its chain, is damaged", certificate->file);
    if (wolfSSL_CTX_check_private_key(context) != WOLFSSL_SUCCESS) return explain_no_pair(certificate, key, to);
    return RESULT_OK;
}

static enum result context_create(WOLFSSL_CTX **out, struct tls_identity *identity, struct explanation to)
{
    *out = NULL;
    struct pem certificate = {0}, key = {0};
    enum result res = pem_read(&certificate, "tls_certificate_file", identity->certificate_file, false, to);
    if (res == RESULT_OK) res = pem_read(&key, "tls_key_file", identity->key_file, true, to);
    WOLFSSL_CTX *context = res == RESULT_OK ? wolfSSL_CTX_new(wolfSSLv23_server_method()) : NULL;
    if (res == RESULT_OK && (context == NULL || !context_set_server(context, identity)))
        res = explain(to, RESULT_NOMEM, "TLS cannot be set up: out of memory, or this wolfSSL lacks what is needed");
    if (res == RESULT_OK) res = context_use(context, &certificate, &key, to);
    pem_free(&certificate);
    pem_free(&key);
    if (res == RESULT_OK)
        *out = context;
    else
        wolfSSL_CTX_free(context);
    return res;
}

enum result tls_identity_create(struct tls_identity **out, const char *certificate_file, const char *key_file,
                                char *text, size_t text_size)
{
    ASSERT(text_size > 0);
    *out = NULL;
    text[0] = '\0';
    struct explanation to = {text, text_size};
    struct tls_identity *identity = calloc(1, sizeof *identity);
    if (identity == NULL || wolfSSL_Init() != WOLFSSL_SUCCESS) {
        free(identity);
        return explain(to, RESULT_NOMEM, "TLS cannot be set up: out of memory");
    }
    pthread_mutex_init(&identity->lock, NULL);
    identity->certificate_file = strdup(certificate_file);
    identity->key_file = strdup(key_file);
    enum result res = tls_tickets_create(&identity->tickets, clock_monotonic_ns() / 1000000);
    if (identity->certificate_file == NULL || identity->key_file == NULL) res = RESULT_NOMEM;
    if (res == RESULT_OK)
        res = context_create(&identity->context, identity, to);
    else
        (void)explain(to, res, "TLS cannot be set up: %s", result_text(res));
    if (res == RESULT_OK)
        *out = identity;
    else
        tls_identity_destroy(identity);
    return res;
}

enum result tls_identity_reload(struct tls_identity *identity, char *text, size_t text_size)
{
    ASSERT(text_size > 0);
    text[0] = '\0';
    WOLFSSL_CTX *fresh;
    enum result res = context_create(&fresh, identity, (struct explanation){text, text_size});
    if (res != RESULT_OK) return res;
    pthread_mutex_lock(&identity->lock);
    WOLFSSL_CTX *former = identity->context;
    identity->context = fresh;
    pthread_mutex_unlock(&identity->lock);
    wolfSSL_CTX_free(former); /* its sessions hold it for as long as they live */
    return RESULT_OK;
}

void tls_identity_destroy(struct tls_identity *identity)
{
    if (identity == NULL) return;
    wolfSSL_CTX_free(identity->context);
    tls_tickets_destroy(identity->tickets);
    pthread_mutex_destroy(&identity->lock);
    free(identity->certificate_file);
    free(identity->key_file);
    free(identity);
    wolfSSL_Cleanup();
}

WOLFSSL *tls_identity_session(struct tls_identity *identity)
{
    pthread_mutex_lock(&identity->lock);
    WOLFSSL_CTX *context = identity->context;
    bool held = wolfSSL_CTX_up_ref(context) == WOLFSSL_SUCCESS;
    pthread_mutex_unlock(&identity->lock);
    if (!held) return NULL;
    WOLFSSL *session = wolfSSL_new(context);
    wolfSSL_CTX_free(context); /* the session has its own reference */
    char protocols[] = ALPN_PROTOCOLS;
    if (session != NULL &&
        wolfSSL_UseALPN(session, protocols, sizeof protocols - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS) {
        wolfSSL_free(session);
        return NULL;
    }
    return session;
}

/* ---- a client's trust -------------------------------------------------------------------------------------------- */

static enum result trust_load(WOLFSSL_CTX *context, const char *authority_file, struct explanation to)
{
    const char *file = authority_file != NULL ? authority_file : SYSTEM_AUTHORITIES;
    struct pem authorities;
    enum result res = pem_read(&authorities, "authorities", file, false, to);
    if (res != RESULT_OK) return res;
    /* One that is expired, or of a kind that this library lacks, is nobody's fault here: the others count. */
    int loaded =
        wolfSSL_CTX_load_verify_buffer_ex(context, authorities.bytes, (long)authorities.len, WOLFSSL_FILETYPE_PEM, 1,
                                          WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY | WOLFSSL_LOAD_FLAG_IGNORE_ERR);
    pem_free(&authorities);
    if (loaded == WOLFSSL_SUCCESS) return RESULT_OK;
    return explain(to, RESULT_MALFORMED, "there is no certificate of an authority in %s", file);
}

enum result tls_trust_create(struct tls_trust **out, const char *authority_file, char *text, size_t text_size)
{
    ASSERT(text_size > 0);
    *out = NULL;
    text[0] = '\0';
    struct explanation to = {text, text_size};
    struct tls_trust *trust = calloc(1, sizeof *trust);
    if (trust == NULL || wolfSSL_Init() != WOLFSSL_SUCCESS) {
        free(trust);
        return explain(to, RESULT_NOMEM, "TLS cannot be set up: out of memory");
    }
    trust->context = wolfSSL_CTX_new(wolfSSLv23_client_method());
    enum result res = RESULT_OK;
    if (trust->context != NULL) wolfSSL_CTX_set_verify(trust->context, WOLFSSL_VERIFY_PEER, NULL);
    if (trust->context == NULL || !context_set_common(trust->context))
        res = explain(to, RESULT_NOMEM, "TLS cannot be set up: out of memory, or this wolfSSL lacks what is needed");
    if (res == RESULT_OK) res = trust_load(trust->context, authority_file, to);
    if (res == RESULT_OK)
        *out = trust;
    else
        tls_trust_destroy(trust);
    return res;
}

void tls_trust_destroy(struct tls_trust *trust)
{
    if (trust == NULL) return;
    wolfSSL_CTX_free(trust->context);
    free(trust);
    wolfSSL_Cleanup();
}

WOLFSSL *tls_trust_session(struct tls_trust *trust)
{
    return wolfSSL_new(trust->context);
}

void tls_thread_end(void)
{
#ifdef FP_ECC
    wc_ecc_fp_free(); /* some MiB of tables, made when this thread met its first P-256 peer */
#endif
}
