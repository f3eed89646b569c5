/* net/tls_ticket.c - ChaCha20-Poly1305 with a random nonce; the key's name is authenticated with the ticket.
 * A nonce is drawn for every ticket: with 96 random bits, two of the some million tickets of one key's life meet with a
 * probability below 2^-50. Failure: none but a missing key, which costs the client a full handshake. */
#include "net/tls_ticket.h"
#include "core/clock.h"
#include <wolfssl/options.h> /* before every other header of wolfSSL */
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(TLS_TICKET_IV_SIZE >= CHACHA20_POLY1305_AEAD_IV_SIZE, "the nonce has room");
_Static_assert(TLS_TICKET_TAG_SIZE >= CHACHA20_POLY1305_AEAD_AUTHTAG_SIZE, "the tag has room");

struct ticket_key {
    bool valid;
    uint8_t name[TLS_TICKET_NAME_SIZE];
    uint8_t secret[CHACHA20_POLY1305_AEAD_KEYSIZE];
};

struct tls_tickets {
    pthread_mutex_t lock;
    uint64_t born_ms; /* of the current key */
    struct ticket_key current, previous;
};

static void ticket_key_draw(struct ticket_key *key)
{
    key->valid = true;
    clock_random(key->name, sizeof key->name);
    clock_random(key->secret, sizeof key->secret);
}

enum result tls_tickets_create(struct tls_tickets **out, uint64_t now_ms)
{
    *out = NULL;
    struct tls_tickets *tickets = calloc(1, sizeof *tickets);
    if (tickets == NULL) return RESULT_NOMEM;
    pthread_mutex_init(&tickets->lock, NULL);
    tickets->born_ms = now_ms;
    ticket_key_draw(&tickets->current);
    *out = tickets;
    return RESULT_OK;
}

void tls_tickets_destroy(struct tls_tickets *tickets)
{
    if (tickets == NULL) return;
    pthread_mutex_destroy(&tickets->lock);
    explicit_bzero(tickets, sizeof *tickets);
    free(tickets);
}

/* Under the lock. */
static void tickets_rotate(struct tls_tickets *tickets, uint64_t now_ms)
{
    if (now_ms - tickets->born_ms < TLS_TICKET_KEY_MS) return;
    bool long_ago = now_ms - tickets->born_ms >= 2ull * TLS_TICKET_KEY_MS; /* no ticket was asked for meanwhile */
    tickets->previous = tickets->current;
    tickets->previous.valid = !long_ago;
    tickets->born_ms = now_ms;
    ticket_key_draw(&tickets->current);
}

enum result tls_tickets_seal(struct tls_tickets *tickets, uint64_t now_ms, const struct tls_ticket_frame *frame,
                             uint8_t *bytes, uint32_t len)
{
    pthread_mutex_lock(&tickets->lock);
    tickets_rotate(tickets, now_ms);
    struct ticket_key key = tickets->current;
    pthread_mutex_unlock(&tickets->lock);
    memcpy(frame->name, key.name, sizeof key.name);
    clock_random(frame->iv, TLS_TICKET_IV_SIZE);
    memset(frame->tag, 0, TLS_TICKET_TAG_SIZE);
    int failed =
        wc_ChaCha20Poly1305_Encrypt(key.secret, frame->iv, key.name, sizeof key.name, bytes, len, bytes, frame->tag);
    explicit_bzero(&key, sizeof key);
    return failed == 0 ? RESULT_OK : RESULT_NOMEM;
}

enum tls_ticket_opened tls_tickets_open(struct tls_tickets *tickets, uint64_t now_ms,
                                        const struct tls_ticket_frame *frame, uint8_t *bytes, uint32_t len)
{
    pthread_mutex_lock(&tickets->lock);
    tickets_rotate(tickets, now_ms);
    bool fresh = memcmp(frame->name, tickets->current.name, TLS_TICKET_NAME_SIZE) == 0;
    bool old = tickets->previous.valid && memcmp(frame->name, tickets->previous.name, TLS_TICKET_NAME_SIZE) == 0;
    struct ticket_key key = fresh ? tickets->current : tickets->previous;
    pthread_mutex_unlock(&tickets->lock);
    bool opened = (fresh || old) && wc_ChaCha20Poly1305_Decrypt(key.secret, frame->iv, key.name, sizeof key.name, bytes,
                                                                len, frame->tag, bytes) == 0;
    explicit_bzero(&key, sizeof key);
    if (!opened) return TLS_TICKET_REFUSED;
    return fresh ? TLS_TICKET_FRESH : TLS_TICKET_OLD;
}
