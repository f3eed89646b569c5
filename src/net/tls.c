/* net/tls.c - one session over wolfSSL, which sees the bytes only through two callbacks.
 * Happy path of a server: the first whole record makes a WOLFSSL object -> tls_handshake() once for each flight of the
 * client -> records are offered to wolfSSL one at a time and their plaintext handed up; what is written becomes records
 * in `queued`, which the caller takes over as `sending`.
 * Failure: whatever wolfSSL refuses, and whatever does not look like a record, makes the session FAILED for good.
 *
 * Until the first record is whole nothing but its bytes is held: a client that sends its hello byte by byte, or never
 * ends it, costs no key and no 4 to 57 KB of session. Records are cut here because wolfSSL reads until it has data: one
 * call would take any number of key updates. */
#include "net/tls.h"
#include "core/check.h"
#include "net/tls_hello.h"
#include <wolfssl/options.h> /* before every other header of wolfSSL */
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <arpa/inet.h>
#include <stdlib.h>

/*  | u8 type | u8 3 | u8 minor | u16 length, big-endian | length bytes |   */
#define RECORD_HEAD_SIZE     5u
#define RECORD_BODY_SIZE_12  (TLS_RECORD_SIZE_MAX + 2048u) /* what TLS 1.2 allows for padding and tags */
#define RECORD_BODY_SIZE_13  (TLS_RECORD_SIZE_MAX + 256u)  /* and TLS 1.3 */
#define RECORD_TYPE_FIRST    20u                           /* change_cipher_spec, alert, handshake, application data */
#define RECORD_TYPE_ALERT    21u
#define RECORD_TYPE_HANDSHAKE 22u
#define RECORD_TYPE_LAST     23u
#define VERSION_13           0x0304
#define EXTENSION_COOKIE     44u
#define EXTENSION_KEY_SHARE  51u

/*  a handshake record:  | head | u8 message type | u24 length | … ;  a ClientHello goes on: | u16 version | 32 random | u8 length of the session id | … */
#define MESSAGE_HEAD_SIZE    4u
#define MESSAGE_CLIENT_HELLO 1u
#define MESSAGE_SERVER_HELLO 2u
#define SESSION_ID_AT        (RECORD_HEAD_SIZE + MESSAGE_HEAD_SIZE + 2 + 32)

enum alert { ALERT_UNEXPECTED_MESSAGE = 10, ALERT_RECORD_OVERFLOW = 22, ALERT_HANDSHAKE_FAILURE = 40, ALERT_ILLEGAL_PARAMETER = 47,
             ALERT_DECODE_ERROR = 50, ALERT_INTERNAL_ERROR = 80 };

enum tls_state { TLS_STATE_HELLO, TLS_STATE_HANDSHAKE, TLS_STATE_OPEN, TLS_STATE_ENDED, TLS_STATE_FAILED };

struct tls {
    WOLFSSL *ssl;                  /* NULL in HELLO */
    struct tls_identity *identity; /* of a server; HELLO only */
    uint8_t state;
    bool is_client, close_written, out_of_memory;
    bool has_answered; /* a server: something was written to the client */
    bool ccs_due;      /* a server: the client's session id asks for a ChangeCipherSpec behind the ServerHello of TLS 1.3 */
    uint8_t alert;     /* what to tell a client that gets no answer; 0: what wolfSSL's error says */
    uint8_t head[RECORD_HEAD_SIZE]; /* of the record that is being received, OPEN only */
    uint8_t head_len;
    uint32_t body_left;      /* of it */
    uint32_t handshake_size; /* bytes of records wolfSSL took before OPEN */
    struct slice offered;    /* what wolfSSL may read, for the length of a call */
    struct writer kept;      /* input that came before OPEN */
    size_t kept_at;
    struct writer queued, sending; /* records; `sending` stays in place */
    size_t sent;
};

static void tls_enter(struct tls *tls, enum tls_state state)
{
    static const uint8_t from[] = {
        [TLS_STATE_HELLO] = 0,
        [TLS_STATE_HANDSHAKE] = 1 << TLS_STATE_HELLO,
        [TLS_STATE_OPEN] = 1 << TLS_STATE_HANDSHAKE,
        [TLS_STATE_ENDED] = 1 << TLS_STATE_OPEN,
        [TLS_STATE_FAILED] =
            1 << TLS_STATE_HELLO | 1 << TLS_STATE_HANDSHAKE | 1 << TLS_STATE_OPEN | 1 << TLS_STATE_ENDED,
    };
    ASSERT(state < COUNT_OF(from) && (from[state] & 1 << tls->state) != 0);
    tls->state = (uint8_t)state;
}

/* What wolfSSL refused a client's first messages for. */
static enum alert alert_of_failure(const struct tls *tls)
{
    if (tls->alert != 0) return (enum alert)tls->alert;
    if (tls->out_of_memory) return ALERT_INTERNAL_ERROR;
    if (tls->ssl == NULL) return ALERT_DECODE_ERROR;
    switch (wolfSSL_get_error(tls->ssl, WOLFSSL_FATAL_ERROR)) {
    case ECC_PEERKEY_ERROR:
    case PEER_KEY_ERROR:
    case BAD_KEY_SHARE_DATA:
    case INVALID_PARAMETER: return ALERT_ILLEGAL_PARAMETER;
    case OUT_OF_ORDER_E:
    case SANITY_MSG_E:
    case DUPLICATE_MSG_E:
    case UNKNOWN_RECORD_TYPE: return ALERT_UNEXPECTED_MESSAGE;
    case BUFFER_ERROR:
    case LENGTH_ERROR: return ALERT_DECODE_ERROR;
    default: return ALERT_HANDSHAKE_FAILURE;
    }
}

/* wolfSSL ends some handshakes without a word. Before its first answer nothing is encrypted, so the alert can be written here. */
static void tell_failure(struct tls *tls)
{
    if (tls->is_client || tls->has_answered || tls->state > TLS_STATE_HANDSHAKE) return;
    const uint8_t alert[] = {RECORD_TYPE_ALERT, 3, 3, 0, 2, 2, (uint8_t)alert_of_failure(tls)};
    writer_raw(&tls->queued, alert, sizeof alert);
    tls->has_answered = true;
}

static enum tls_event tls_fail(struct tls *tls)
{
    tell_failure(tls);
    if (tls->state != TLS_STATE_FAILED) tls_enter(tls, TLS_STATE_FAILED);
    return TLS_FAILED;
}

static enum tls_event tls_fail_with(struct tls *tls, enum alert alert)
{
    tls->alert = (uint8_t)alert;
    return tls_fail(tls);
}

/* ---- wolfSSL's view of the network ------------------------------------------------------------------------------- */

static int on_wolfssl_receive(WOLFSSL *ssl, char *out, int size, void *context)
{
    (void)ssl;
    struct tls *tls = context;
    ASSERT(size >= 0);
    uint32_t len = tls->offered.len < (uint32_t)size ? tls->offered.len : (uint32_t)size;
    if (len == 0) return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(out, tls->offered.data, len);
    tls->offered.data += len;
    tls->offered.len -= len;
    return (int)len;
}

/* The length of the ServerHello's record at the front of `data`, when this is TLS 1.3; else 0. */
static uint32_t server_hello_size(WOLFSSL *ssl, struct slice data)
{
    if (data.len < RECORD_HEAD_SIZE + MESSAGE_HEAD_SIZE || data.data[0] != RECORD_TYPE_HANDSHAKE ||
        data.data[RECORD_HEAD_SIZE] != MESSAGE_SERVER_HELLO || wolfSSL_version(ssl) != VERSION_13)
        return 0;
    uint32_t size = RECORD_HEAD_SIZE + ((uint32_t)data.data[3] << 8 | data.data[4]);
    return size <= data.len ? size : 0;
}

/* A HelloRetryRequest that asks for nothing: wolfSSL's answer to a client with which it has no group in common. */
static bool is_hopeless_retry(struct slice hello)
{
    static const uint8_t retry[] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11}; /* SHA-256 of "HelloRetryRequest", its front */
    const uint32_t random_at = SESSION_ID_AT - 32, fixed = 2 + 1 + 2; /* behind the session id: suite, compression, length of extensions */
    if (hello.len <= SESSION_ID_AT || memcmp(hello.data + random_at, retry, sizeof retry) != 0) return false;
    for (uint32_t at = SESSION_ID_AT + 1u + hello.data[SESSION_ID_AT] + fixed; at + 4 <= hello.len;) {
        uint32_t type = (uint32_t)hello.data[at] << 8 | hello.data[at + 1];
        if (type == EXTENSION_KEY_SHARE || type == EXTENSION_COOKIE) return false;
        at += 4 + ((uint32_t)hello.data[at + 2] << 8 | hello.data[at + 3]);
    }
    return true;
}

/* All of it or, without memory, the end: a record that is lost cannot be made again. A client in middlebox compatibility mode expects
 * a ChangeCipherSpec right behind the first ServerHello or HelloRetryRequest (RFC 8446 D.4), which wolfSSL may have been built without. */
static int on_wolfssl_send(WOLFSSL *ssl, char *data, int size, void *context)
{
    static const uint8_t change_cipher_spec[] = {RECORD_TYPE_FIRST, 3, 3, 0, 1, 1};
    struct tls *tls = context;
    ASSERT(size >= 0);
    struct slice records = slice_of(data, (size_t)size);
    uint32_t hello = tls->is_client ? 0 : server_hello_size(ssl, records);
    if (is_hopeless_retry(slice_of(data, hello))) return WOLFSSL_CBIO_ERR_GENERAL; /* tell_failure() has the alert */
    if (!tls->ccs_due) hello = 0;
    tls->has_answered = true;
    writer_raw(&tls->queued, records.data, hello);
    if (hello > 0) writer_raw(&tls->queued, change_cipher_spec, sizeof change_cipher_spec);
    if (hello > 0) tls->ccs_due = false;
    writer_raw(&tls->queued, records.data + hello, records.len - hello);
    if (!tls->queued.failed) return size;
    tls->out_of_memory = true;
    return WOLFSSL_CBIO_ERR_GENERAL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void tls_attach(struct tls *tls, WOLFSSL *ssl)
{
    tls->ssl = ssl;
    wolfSSL_SSLSetIORecv(ssl, on_wolfssl_receive);
    wolfSSL_SSLSetIOSend(ssl, on_wolfssl_send);
    wolfSSL_SetIOReadCtx(ssl, tls);
    wolfSSL_SetIOWriteCtx(ssl, tls);
    tls_enter(tls, TLS_STATE_HANDSHAKE);
}

static struct tls *tls_create(void)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) return NULL;
    writer_init(&tls->kept, 0);
    writer_init(&tls->queued, 0);
    writer_init(&tls->sending, 0);
    return tls;
}

struct tls *tls_create_server(struct tls_identity *identity)
{
    struct tls *tls = tls_create();
    if (tls != NULL) tls->identity = identity;
    return tls;
}

static bool host_is_address(const char *host)
{
    uint8_t address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

struct tls *tls_create_client(struct tls_trust *trust, const char *host)
{
    struct tls *tls = tls_create();
    WOLFSSL *ssl = tls == NULL ? NULL : tls_trust_session(trust);
    if (ssl == NULL) {
        free(tls);
        return NULL;
    }
    tls->is_client = true;
    tls_attach(tls, ssl);
    bool named = host_is_address(host) ||
                 wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, host, (unsigned short)strlen(host)) == WOLFSSL_SUCCESS;
    if (!named || wolfSSL_check_domain_name(ssl, host) != WOLFSSL_SUCCESS || tls_handshake(tls) == TLS_FAILED) {
        tls_destroy(tls);
        return NULL;
    }
    return tls;
}

void tls_destroy(struct tls *tls)
{
    if (tls == NULL) return;
    wolfSSL_free(tls->ssl);
    writer_deinit(&tls->kept);
    writer_deinit(&tls->queued);
    writer_deinit(&tls->sending);
    free(tls);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* The largest body of a record of that type: what is not encrypted has nothing beside its plaintext. */
static uint32_t body_size_max(const struct tls *tls, uint8_t type)
{
    if (tls->state != TLS_STATE_OPEN) return type == RECORD_TYPE_LAST ? RECORD_BODY_SIZE_13 : TLS_RECORD_SIZE_MAX;
    return wolfSSL_version(tls->ssl) == VERSION_13 ? RECORD_BODY_SIZE_13 : RECORD_BODY_SIZE_12;
}

/* 0: it is the head of a record. */
static enum alert record_head_fault(const struct tls *tls, const uint8_t head[RECORD_HEAD_SIZE])
{
    if (head[0] < RECORD_TYPE_FIRST || head[0] > RECORD_TYPE_LAST) return ALERT_UNEXPECTED_MESSAGE;
    if (head[1] != 3) return ALERT_DECODE_ERROR;
    return ((uint32_t)head[3] << 8 | head[4]) <= body_size_max(tls, head[0]) ? (enum alert)0 : ALERT_RECORD_OVERFLOW;
}

/* How many bytes at the front of `bytes` are whole records. False: what comes next is no record, and tls->alert says why. */
static bool records_whole(struct tls *tls, struct slice bytes, uint32_t *whole)
{
    *whole = 0;
    while (bytes.len - *whole > 0) {
        const uint8_t *head = bytes.data + *whole;
        uint32_t left = bytes.len - *whole;
        bool is_type = head[0] >= RECORD_TYPE_FIRST && head[0] <= RECORD_TYPE_LAST;
        if (is_type && left < RECORD_HEAD_SIZE && (left == 1 || head[1] == 3)) return true;
        enum alert fault = !is_type ? ALERT_UNEXPECTED_MESSAGE : left > 1 && head[1] != 3 ? ALERT_DECODE_ERROR : record_head_fault(tls, head);
        if (fault != 0) tls->alert = (uint8_t)fault;
        if (fault != 0) return false;
        uint32_t size = RECORD_HEAD_SIZE + ((uint32_t)head[3] << 8 | head[4]);
        if (left < size) return true;
        *whole += size;
    }
    return true;
}

/* Moves the front of *in that belongs to one record to `offered`. False: it is no record. */
static bool record_offer(struct tls *tls, struct slice *in)
{
    uint32_t take = 0;
    while (tls->head_len < RECORD_HEAD_SIZE && take < in->len) {
        tls->head[tls->head_len++] = in->data[take++];
        if (tls->head_len < RECORD_HEAD_SIZE) continue;
        if (record_head_fault(tls, tls->head) != 0) return false;
        tls->body_left = (uint32_t)tls->head[3] << 8 | tls->head[4];
    }
    uint32_t body = in->len - take < tls->body_left ? in->len - take : tls->body_left;
    tls->body_left -= body;
    tls->offered = slice_of(in->data, take + body);
    in->data += take + body;
    in->len -= take + body;
    return true;
}

/* The record that was offered last is whole; the next byte begins another. */
static bool record_ended(struct tls *tls)
{
    if (tls->head_len < RECORD_HEAD_SIZE || tls->body_left > 0) return false;
    tls->head_len = 0;
    return true;
}

/* ---- the handshake ----------------------------------------------------------------------------------------------- */

static struct slice tls_kept(const struct tls *tls)
{
    if (tls->kept.len == 0) return SLICE_EMPTY; /* nothing is added to a NULL pointer */
    return slice_of(tls->kept.data + tls->kept_at, tls->kept.len - tls->kept_at);
}

uint32_t tls_held_bytes(const struct tls *tls)
{
    return (uint32_t)(tls->kept.capacity + tls->queued.capacity + tls->sending.capacity);
}

uint32_t tls_kept_bytes(const struct tls *tls)
{
    return (uint32_t)(tls->kept.len - tls->kept_at);
}

static void tls_forget_kept(struct tls *tls, uint32_t bytes)
{
    tls->kept_at += bytes;
    ASSERT(tls->kept_at <= tls->kept.len);
    if (tls->kept_at < tls->kept.len) return;
    writer_deinit(&tls->kept);
    writer_init(&tls->kept, 0);
    tls->kept_at = 0;
}

static enum tls_event tls_keep(struct tls *tls, struct slice *in)
{
    writer_raw(&tls->kept, in->data, in->len);
    *in = SLICE_EMPTY;
    uint32_t whole;
    tls->out_of_memory = tls->kept.failed;
    if (tls->kept.failed || !records_whole(tls, tls_kept(tls), &whole)) return tls_fail(tls);
    return whole > 0 ? TLS_STEP : TLS_MORE;
}

static enum tls_event tls_opened(struct tls *tls)
{
    tls_enter(tls, TLS_STATE_OPEN);
    wolfSSL_FreeArrays(tls->ssl); /* the stock library keeps what only the handshake needs */
    return TLS_OPENED;
}

/* How much of the first message must stand in its first record: a ClientHello whole, if a record can hold it. */
static uint32_t body_wanted(const uint8_t *first, uint32_t body)
{
    if (body < MESSAGE_HEAD_SIZE || first[RECORD_HEAD_SIZE] != MESSAGE_CLIENT_HELLO) return MESSAGE_HEAD_SIZE;
    const uint8_t *len = first + RECORD_HEAD_SIZE + 1;
    uint32_t size = MESSAGE_HEAD_SIZE + ((uint32_t)len[0] << 16 | (uint32_t)len[1] << 8 | len[2]);
    return size <= TLS_RECORD_SIZE_MAX ? size : MESSAGE_HEAD_SIZE;
}

/* The first message of the client that wolfSSL has not seen, when it is a ClientHello: the first one, or the one after a retry. */
static bool hello_is_sound(const struct tls *tls)
{
    struct slice kept = tls_kept(tls);
    const uint32_t front = RECORD_HEAD_SIZE + MESSAGE_HEAD_SIZE;
    if (tls->is_client || kept.len < front || kept.data[0] != RECORD_TYPE_HANDSHAKE || kept.data[RECORD_HEAD_SIZE] != MESSAGE_CLIENT_HELLO)
        return true;
    uint32_t end = RECORD_HEAD_SIZE + ((uint32_t)kept.data[3] << 8 | kept.data[4]);
    return end < front || end > kept.len || tls_hello_shares_sound(slice_of(kept.data + front, end - front));
}

/* wolfSSL wants the head of a message in one record, and what is checked here wants the whole hello. A client may cut it anywhere:
 * records are joined in place. STEP: it can go on; MORE: the next record is not there yet. */
static enum tls_event hello_join(struct tls *tls)
{
    for (;;) {
        struct slice kept = tls_kept(tls);
        uint8_t *first = tls->kept.data + tls->kept_at;
        uint32_t body = (uint32_t)first[3] << 8 | first[4], next = RECORD_HEAD_SIZE + body;
        if (first[0] != RECORD_TYPE_HANDSHAKE) return tls_fail_with(tls, ALERT_UNEXPECTED_MESSAGE);
        if (body == 0) return tls_fail_with(tls, ALERT_DECODE_ERROR); /* RFC 8446 5.1: no empty fragments */
        if (body >= body_wanted(first, body)) break;
        if (kept.len < next + RECORD_HEAD_SIZE) return TLS_MORE;
        uint32_t more = (uint32_t)first[next + 3] << 8 | first[next + 4], joined = body + more;
        if (first[next] != RECORD_TYPE_HANDSHAKE || joined > TLS_RECORD_SIZE_MAX) return tls_fail_with(tls, ALERT_UNEXPECTED_MESSAGE);
        if (kept.len < next + RECORD_HEAD_SIZE + more) return TLS_MORE;
        first[3] = (uint8_t)(joined >> 8);
        first[4] = (uint8_t)joined;
        memmove(first + next, first + next + RECORD_HEAD_SIZE, kept.len - next - RECORD_HEAD_SIZE);
        tls->kept.len -= RECORD_HEAD_SIZE;
    }
    struct slice kept = tls_kept(tls);
    tls->ccs_due = kept.len > SESSION_ID_AT && kept.data[RECORD_HEAD_SIZE] == MESSAGE_CLIENT_HELLO && kept.data[SESSION_ID_AT] > 0;
    return TLS_STEP;
}

enum tls_event tls_handshake(struct tls *tls)
{
    if (tls->state == TLS_STATE_FAILED) return TLS_FAILED;
    ASSERT(tls->state == TLS_STATE_HELLO || tls->state == TLS_STATE_HANDSHAKE);
    if (tls->state == TLS_STATE_HELLO) {
        enum tls_event joined = hello_join(tls);
        if (joined != TLS_STEP) return joined;
        WOLFSSL *ssl = tls_identity_session(tls->identity);
        tls->out_of_memory = ssl == NULL;
        if (ssl == NULL) return tls_fail(tls);
        tls_attach(tls, ssl);
    }
    if (!hello_is_sound(tls)) return tls_fail_with(tls, ALERT_ILLEGAL_PARAMETER);
    uint32_t whole = 0;
    if (!records_whole(tls, tls_kept(tls), &whole) && whole == 0) return tls_fail(tls);
    tls->offered = slice_of(tls_kept(tls).data, whole);
    int res = tls->is_client ? wolfSSL_connect(tls->ssl) : wolfSSL_accept(tls->ssl);
    uint32_t taken = whole - tls->offered.len;
    tls->offered = SLICE_EMPTY;
    tls->handshake_size += taken;
    tls_forget_kept(tls, taken);
    if (res == WOLFSSL_SUCCESS) return tls_opened(tls);
    bool waits = wolfSSL_get_error(tls->ssl, res) == WOLFSSL_ERROR_WANT_READ;
    return waits && tls->handshake_size <= TLS_HANDSHAKE_SIZE_MAX ? TLS_MORE : tls_fail(tls);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

/* One call of wolfSSL: what is offered, or what it still holds of the record before. */
static enum tls_event tls_decrypt(struct tls *tls, uint8_t *plain, uint32_t *plain_len)
{
    int res = wolfSSL_read(tls->ssl, plain, TLS_RECORD_SIZE_MAX);
    if (res > 0) {
        /* A record has no more plaintext than that: the rest of this one is beyond the limit. */
        if (res == (int)TLS_RECORD_SIZE_MAX && wolfSSL_pending(tls->ssl) > 0) return tls_fail(tls);
        *plain_len = (uint32_t)res;
        return TLS_DATA;
    }
    int error = wolfSSL_get_error(tls->ssl, res);
    if (error == WOLFSSL_ERROR_ZERO_RETURN) {
        tls_enter(tls, TLS_STATE_ENDED);
        return TLS_CLOSED;
    }
    if (error != WOLFSSL_ERROR_WANT_READ || tls->offered.len > 0) return tls_fail(tls);
    return TLS_MORE;
}

static enum tls_event tls_read_record(struct tls *tls, struct slice *in, uint8_t *plain, uint32_t *plain_len)
{
    if (wolfSSL_pending(tls->ssl) > 0) return tls_decrypt(tls, plain, plain_len);
    if (in->len == 0) return TLS_MORE;
    if (!record_offer(tls, in)) return tls_fail(tls);
    enum tls_event event = tls_decrypt(tls, plain, plain_len);
    bool ended = record_ended(tls);
    return event == TLS_MORE && ended ? TLS_CONTROL : event;
}

enum tls_event tls_read(struct tls *tls, struct slice *in, uint8_t *plain, uint32_t *plain_len)
{
    *plain_len = 0;
    switch ((enum tls_state)tls->state) {
    case TLS_STATE_HELLO:
    case TLS_STATE_HANDSHAKE: return tls_keep(tls, in);
    case TLS_STATE_ENDED: *in = SLICE_EMPTY; return TLS_CLOSED;
    case TLS_STATE_FAILED: *in = SLICE_EMPTY; return TLS_FAILED;
    case TLS_STATE_OPEN: break;
    }
    enum tls_event event = TLS_MORE;
    if (tls_kept_bytes(tls) > 0) { /* came with the end of the handshake */
        struct slice kept = tls_kept(tls);
        event = tls_read_record(tls, &kept, plain, plain_len);
        tls_forget_kept(tls, tls_kept_bytes(tls) - kept.len);
    }
    return event == TLS_MORE ? tls_read_record(tls, in, plain, plain_len) : event;
}

/* The end of what the peer says is not the end of what it wants to hear. */
static bool tls_is_writable(const struct tls *tls)
{
    return (tls->state == TLS_STATE_OPEN || tls->state == TLS_STATE_ENDED) && !tls->close_written;
}

enum result tls_write(struct tls *tls, struct slice plain)
{
    ASSERT(plain.len > 0 && plain.len <= TLS_RECORD_SIZE_MAX);
    if (!tls_is_writable(tls)) return RESULT_CLOSED;
    if (wolfSSL_write(tls->ssl, plain.data, (int)plain.len) == (int)plain.len) return RESULT_OK;
    (void)tls_fail(tls);
    return RESULT_NOMEM;
}

void tls_write_close(struct tls *tls)
{
    if (!tls_is_writable(tls)) return;
    tls->close_written = true;
    (void)wolfSSL_shutdown(tls->ssl); /* its result says only that the peer has not answered yet */
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

bool tls_has_output(const struct tls *tls)
{
    return tls->sending.len > tls->sent || tls->queued.len > 0;
}

struct slice tls_output(struct tls *tls)
{
    ASSERT(tls_has_output(tls));
    if (tls->sending.len == 0) {
        struct writer empty = tls->sending;
        tls->sending = tls->queued;
        tls->queued = empty;
    }
    return slice_of(tls->sending.data + tls->sent, tls->sending.len - tls->sent);
}

void tls_sent(struct tls *tls, uint32_t bytes)
{
    tls->sent += bytes;
    ASSERT(tls->sent <= tls->sending.len);
    if (tls->sent < tls->sending.len) return;
    writer_deinit(&tls->sending); /* an idle session holds nothing */
    writer_init(&tls->sending, 0);
    tls->sent = 0;
}

/* ---- about it ---------------------------------------------------------------------------------------------------- */

bool tls_is_open(const struct tls *tls)
{
    return tls->state == TLS_STATE_OPEN;
}

bool tls_is_resumed(const struct tls *tls)
{
    return tls->ssl != NULL && wolfSSL_session_reused(tls->ssl) != 0;
}

const char *tls_failure(const struct tls *tls)
{
    if (tls->out_of_memory) return "out of memory";
    if (tls->ssl == NULL) return "not a TLS record";
    if (tls->handshake_size > TLS_HANDSHAKE_SIZE_MAX) return "the handshake is too large";
    switch (wolfSSL_get_error(tls->ssl, WOLFSSL_FATAL_ERROR)) {
    case WOLFSSL_ERROR_NONE:
    case WOLFSSL_ERROR_WANT_READ: return "not a TLS record";
    case DOMAIN_NAME_MISMATCH: return "the certificate is for another host name";
    case IPADDR_MISMATCH: return "the certificate is for another address";
    case ASN_NO_SIGNER_E:
    case ASN_SIG_CONFIRM_E: /* it bears the name of one we trust */
    case ASN_SELF_SIGNED_E: return "the certificate is signed by nobody we trust";
    case ASN_AFTER_DATE_E: return "the certificate has expired";
    case ASN_BEFORE_DATE_E: return "the certificate is not valid yet";
    case VERSION_ERROR: return "no version of TLS in common";
    case MATCH_SUITE_ERROR: return "no cipher in common";
    case UNKNOWN_ALPN_PROTOCOL_NAME_E: return "no application protocol in common";
    case FATAL_ERROR: return "the peer ended it with an alert";
    default: return wolfSSL_ERR_reason_error_string((unsigned long)-wolfSSL_get_error(tls->ssl, WOLFSSL_FATAL_ERROR));
    }
}
