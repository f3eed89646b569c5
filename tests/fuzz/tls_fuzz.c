/* layers: net core */
/* tests/fuzz/tls_fuzz.c - What a stranger sends to a server that speaks TLS: instead of a ClientHello, behind a good one, or
 * into an open session. However the input is cut, the session ends in the same way; no stranger's byte comes out as
 * plaintext, and none opens a session. */
#include "core/check.h"
#include "net/tls.h"
#include "net/tls_fixture_pem.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum start { START_AT_ONCE, START_AFTER_HELLO, START_WHEN_OPEN };

static struct tls_identity *identity;
static struct tls_trust *trust;

static void write_file(char path[64], const char *text)
{
    snprintf(path, 64, "/tmp/ringpost-fuzz-XXXXXX");
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    ASSERT(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void prepare(void)
{
    char certificate[64], key[64], text[256];
    write_file(certificate, fixture_certificate);
    write_file(key, fixture_key);
    ASSERT(tls_identity_create(&identity, certificate, key, text, sizeof text) == RESULT_OK);
    ASSERT(tls_trust_create(&trust, certificate, text, sizeof text) == RESULT_OK);
    unlink(certificate);
    unlink(key);
}

/* False: the session failed. */
static bool feed(struct tls *tls, struct slice in)
{
    static uint8_t plain[TLS_RECORD_SIZE_MAX];
    for (;;) {
        uint32_t plain_len;
        enum tls_event event = tls_read(tls, &in, plain, &plain_len);
        ASSERT(event != TLS_DATA && event != TLS_OPENED); /* nobody here can make a record of the session's keys */
        if (event == TLS_STEP) event = tls_handshake(tls);
        if (event == TLS_FAILED || event == TLS_CLOSED) return false;
        if (event == TLS_MORE && in.len == 0) return true;
    }
}

static void carry(struct tls *from, struct tls *to)
{
    while (tls_has_output(from)) {
        struct slice out = tls_output(from);
        bool took = feed(to, out);
        ASSERT(took);
        tls_sent(from, out.len);
    }
}

/* A server's session that has come so far; its client is gone. */
static struct tls *begin(enum start start)
{
    struct tls *server = tls_create_server(identity);
    ASSERT(server != NULL);
    if (start == START_AT_ONCE) return server;
    struct tls *client = tls_create_client(trust, "localhost");
    ASSERT(client != NULL);
    carry(client, server);
    if (start == START_WHEN_OPEN) {
        carry(server, client);
        carry(client, server);
        ASSERT(tls_is_open(server));
    }
    tls_destroy(client);
    return server;
}

static bool survives(enum start start, struct slice bytes, uint32_t cut)
{
    struct tls *server = begin(start);
    bool goes_on = feed(server, slice_of(bytes.data, cut)) && feed(server, slice_of(bytes.data + cut, bytes.len - cut));
    ASSERT(goes_on || !tls_is_open(server));
    ASSERT(!goes_on || tls_is_open(server) == (start == START_WHEN_OPEN));
    tls_destroy(server);
    return goes_on;
}

/* The first byte says where the session stands, mostly at its beginning, the second where the rest is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (identity == NULL) prepare();
    if (size < 2) return 0;
    struct slice bytes = slice_of(data + 2, size - 2);
    enum start start = data[0] < 240 ? START_AT_ONCE : data[0] < 248 ? START_AFTER_HELLO : START_WHEN_OPEN;
    uint32_t cut = (uint32_t)data[1] * bytes.len / 256;
    bool whole = survives(start, bytes, 0), parts = survives(start, bytes, cut);
    ASSERT(whole == parts);
    return 0;
}
