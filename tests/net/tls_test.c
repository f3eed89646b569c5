#include "net/tls.h"
#include "core/check.h"
#include "net/tls_fixture.h"
#include <stdlib.h>

static struct tls_identity *identity;
static struct tls_trust *trust;
static struct tls *server, *client;
static char path_certificate[FIXTURE_PATH_SIZE], path_key[FIXTURE_PATH_SIZE];
static struct writer at_server, at_client; /* plaintext that arrived */
static uint32_t controls;                  /* records without data at the server */

static void setup(void)
{
    char text[256];
    fixture_write(path_certificate, fixture_certificate);
    fixture_write(path_key, fixture_key);
    cr_assert_eq(tls_identity_create(&identity, path_certificate, path_key, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(tls_trust_create(&trust, path_certificate, text, sizeof text), RESULT_OK, "%s", text);
    server = tls_create_server(identity);
    client = tls_create_client(trust, "localhost");
    cr_assert(server != NULL && client != NULL);
    writer_init(&at_server, 0);
    writer_init(&at_client, 0);
    controls = 0;
}

static void teardown(void)
{
    tls_destroy(server);
    tls_destroy(client);
    tls_trust_destroy(trust);
    tls_identity_destroy(identity);
    writer_deinit(&at_server);
    writer_deinit(&at_client);
    unlink(path_certificate);
    unlink(path_key);
    tls_thread_end();
}
TestSuite(tls, .init = setup, .fini = teardown);

/* Gives `in` to a session as a connection does. The last event that is not data. */
static enum tls_event feed(struct tls *to, struct slice in, struct writer *plaintext)
{
    static uint8_t plain[TLS_RECORD_SIZE_MAX];
    for (;;) {
        uint32_t plain_len;
        enum tls_event event = tls_read(to, &in, plain, &plain_len);
        if (event == TLS_CONTROL && to == server) controls++;
        if (event == TLS_DATA) writer_raw(plaintext, plain, plain_len);
        if (event == TLS_STEP) event = tls_handshake(to);
        if (event == TLS_FAILED || event == TLS_CLOSED || (event == TLS_MORE && in.len == 0)) return event;
    }
}

/* Carries all output of one to the other in chunks of at most `chunk` bytes; false: the other failed. */
static bool carry(struct tls *from, struct tls *to, uint32_t chunk)
{
    while (tls_has_output(from)) {
        struct slice out = tls_output(from);
        if (out.len > chunk) out.len = chunk;
        enum tls_event event = feed(to, out, to == server ? &at_server : &at_client);
        tls_sent(from, out.len);
        if (event == TLS_FAILED) return false;
    }
    return true;
}

static bool exchange(uint32_t chunk)
{
    while (tls_has_output(client) || tls_has_output(server))
        if (!carry(client, server, chunk) || !carry(server, client, chunk)) return false;
    return true;
}

Test(tls, handshakes_whatever_the_size_of_the_chunks)
{
    static const uint32_t chunks[] = {1, 2, 5, 6, 100, 1460, 65536};
    for (size_t i = 0; i < COUNT_OF(chunks); i++) {
        cr_expect(exchange(chunks[i]), "chunks of %u: %s / %s", chunks[i], tls_failure(server), tls_failure(client));
        cr_expect(tls_is_open(server) && tls_is_open(client), "chunks of %u", chunks[i]);
        cr_expect_not(tls_is_resumed(server));
        cr_expect_eq(tls_kept_bytes(server), 0);
        teardown();
        setup();
    }
}

Test(tls, carries_data_of_every_size_both_ways)
{
    static const uint32_t sizes[] = {1, 2, 150, 1460, 16383, 16384};
    static uint8_t bytes[TLS_RECORD_SIZE_MAX];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 31 >> 3);
    cr_assert(exchange(65536));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (uint32_t chunk = 1; chunk <= 4096; chunk *= 8) {
            writer_reset(&at_server);
            writer_reset(&at_client);
            for (int k = 0; k < 3; k++) {
                cr_assert_eq(tls_write(client, slice_of(bytes, sizes[i])), RESULT_OK);
                cr_assert_eq(tls_write(server, slice_of(bytes, sizes[i])), RESULT_OK);
            }
            cr_assert(exchange(chunk));
            cr_expect(at_server.len == 3 * sizes[i] && memcmp(at_server.data, bytes, sizes[i]) == 0, "%u", sizes[i]);
            cr_expect(at_client.len == 3 * sizes[i] && memcmp(at_client.data, bytes, sizes[i]) == 0, "%u", sizes[i]);
        }
    }
}

/* A client may send data with the last record of its handshake. */
Test(tls, keeps_data_that_comes_with_the_end_of_the_handshake)
{
    cr_assert(carry(client, server, 65536));
    cr_assert(carry(server, client, 65536));
    cr_assert(tls_is_open(client) && !tls_is_open(server));
    cr_assert_eq(tls_write(client, SLICE_TEXT("first")), RESULT_OK);
    cr_assert_eq(tls_write(client, SLICE_TEXT(" second")), RESULT_OK);
    cr_assert(exchange(65536));
    cr_expect(slice_equal(writer_slice(&at_server), SLICE_TEXT("first second")));
}

Test(tls, output_in_flight_stays_in_place)
{
    cr_assert(exchange(65536));
    cr_assert_eq(tls_write(server, SLICE_TEXT("one")), RESULT_OK);
    struct slice first = tls_output(server);
    uint8_t copy[64];
    memcpy(copy, first.data, first.len);
    for (int i = 0; i < 1000; i++) cr_assert_eq(tls_write(server, SLICE_TEXT("more")), RESULT_OK);
    cr_expect_eq(tls_output(server).data, first.data);
    cr_expect_eq(memcmp(first.data, copy, first.len), 0);
    cr_assert(exchange(1000));
    cr_expect_eq(at_client.len, 3 + 4 * 1000);
}

Test(tls, close_is_told_once_and_ends_writing)
{
    cr_assert(exchange(65536));
    tls_write_close(client);
    tls_write_close(client);
    cr_expect_eq(tls_write(client, SLICE_TEXT("late")), RESULT_CLOSED);
    struct slice out = tls_output(client);
    cr_expect_eq(feed(server, out, &at_server), TLS_CLOSED);
    tls_sent(client, out.len);
    cr_expect_not(tls_has_output(client), "once");
    cr_expect_not(tls_is_open(server));
    cr_expect_eq(tls_write(server, SLICE_TEXT("an answer")), RESULT_OK, "the other direction is open");
    tls_write_close(server);
    cr_expect_eq(tls_write(server, SLICE_TEXT("late")), RESULT_CLOSED);
    cr_expect_eq(feed(client, tls_output(server), &at_client), TLS_CLOSED);
    cr_expect_eq(at_client.len, 9);
}

Test(tls, refuses_what_is_no_handshake)
{
    static const struct { const char *name, *bytes; uint32_t len; } cases[] = {
        { "not a record",               "GET / HTTP/1.1\r\n\r\n",                      18 },
        { "wrong major version",        "\x16\x02\x01\x00\x05" "hello",                10 },
        { "record too long",            "\x16\x03\x01\x50\x00" "hello",                10 },
        { "unknown type of record",     "\x19\x03\x01\x00\x05" "hello",                10 },
        { "empty record",               "\x16\x03\x01\x00\x00",                         5 },
        { "garbage in a record",        "\x16\x03\x01\x00\x05" "hello",                10 },
        { "data before the handshake",  "\x17\x03\x03\x00\x05" "hello",                10 },
        { "an alert",                   "\x15\x03\x01\x00\x02\x02\x28",                 7 },
        { "hello of no length",         "\x16\x03\x01\x00\x04\x01\x00\x00\x00",         9 },
        { "not a ClientHello",          "\x16\x03\x01\x00\x04\x02\x00\x00\x00",         9 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_expect_eq(feed(server, slice_of(cases[i].bytes, cases[i].len), &at_server), TLS_FAILED, "%s", cases[i].name);
        cr_expect_not(tls_is_open(server));
        cr_expect(strlen(tls_failure(server)) > 0);
        struct slice more = SLICE_TEXT("\x16\x03\x01");
        cr_expect_eq(feed(server, more, &at_server), TLS_FAILED, "for good");
        teardown();
        setup();
    }
}

/* The description of the fatal alert that is all the server says; 0: it says something else. */
static uint8_t only_alert(void)
{
    if (!tls_has_output(server)) return 0;
    struct slice out = tls_output(server);
    bool is_alert = out.len == 7 && out.data[0] == 0x15 && out.data[5] == 2;
    return is_alert ? out.data[6] : 0;
}

/* Whoever is refused before the ServerHello is told why (RFC 8446 6.2). */
Test(tls, a_refused_hello_gets_its_alert)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
        uint8_t alert;
    } cases[] = {
        {"content type 0", "\x16\x03\x01\x00\x02\x01\x00" "\x00\x03\x03\x00\x05" "hello", 17, 10},
        {"record of 2^14 + 1", "\x16\x03\x01\x40\x01" "hello", 10, 22},
        {"empty fragment", "\x16\x03\x01\x00\x00", 5, 50},
        {"data before the handshake", "\x17\x03\x03\x00\x05" "hello", 10, 10},
        {"another record within the message's head", "\x16\x03\x01\x00\x01\x01" "\x15\x03\x01\x00\x02\x02\x28", 13, 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_expect_eq(feed(server, slice_of(cases[i].bytes, cases[i].len), &at_server), TLS_FAILED, "%s", cases[i].name);
        cr_expect_eq(only_alert(), cases[i].alert, "%s: %u", cases[i].name, only_alert());
        teardown();
        setup();
    }
}

/* The place behind the heads of the hello's extension of that type. */
static uint8_t *extension_of(uint8_t *hello, uint32_t len, uint8_t type)
{
    uint8_t *at = hello + 43, *end = hello + len;
    at += 1 + at[0];                                /* session id */
    at += 2 + ((uint32_t)at[0] << 8 | at[1]);       /* cipher suites */
    at += 1 + at[0] + 2;                            /* compression methods, length of the extensions */
    while (at < end && (at[0] != 0 || at[1] != type)) at += 4 + ((uint32_t)at[2] << 8 | at[3]);
    cr_assert(at < end, "no extension %u", type);
    return at + 4;
}

Test(tls, a_bad_key_share_gets_its_alert)
{
    enum { KEY_SHARE = 51, GROUPS = 10 };
    struct slice hello = tls_output(client);
    uint8_t bytes[2048];
    cr_assert_lt(hello.len, sizeof bytes);
    memcpy(bytes, hello.data, hello.len);
    uint8_t *share = extension_of(bytes, hello.len, KEY_SHARE) + 2; /* group, length, key */
    memset(share + 4, 0, (size_t)share[2] << 8 | share[3]);
    cr_expect_eq(feed(server, slice_of(bytes, hello.len), &at_server), TLS_FAILED);
    cr_expect_eq(only_alert(), 47, "a share of zeros: %u", only_alert());
    teardown();
    setup();
    hello = tls_output(client);
    memcpy(bytes, hello.data, hello.len);
    uint8_t *groups = extension_of(bytes, hello.len, GROUPS);
    for (uint32_t i = 0; i < ((uint32_t)groups[0] << 8 | groups[1]); i++) groups[2 + i] = 0x7a; /* groups that nobody knows */
    share = extension_of(bytes, hello.len, KEY_SHARE) + 2;
    share[0] = share[1] = 0x7a;
    cr_expect_eq(feed(server, slice_of(bytes, hello.len), &at_server), TLS_FAILED);
    cr_expect_eq(only_alert(), 40, "no group in common");
}

/* Each byte of the hello in a record of its own: the first message begins with less than its head. */
Test(tls, a_hello_may_be_cut_anywhere)
{
    for (uint32_t piece = 1; piece < 6; piece++) {
        struct slice hello = tls_output(client);
        uint8_t record[5 + 8] = {0x16, 3, 1, 0, 0};
        for (uint32_t at = 5; at < hello.len; at += piece) {
            record[4] = (uint8_t)(hello.len - at < piece ? hello.len - at : piece);
            memcpy(record + 5, hello.data + at, record[4]);
            cr_assert_neq(feed(server, slice_of(record, 5u + record[4]), &at_server), TLS_FAILED, "pieces of %u, byte %u: %s", piece, at,
                          tls_failure(server));
        }
        tls_sent(client, hello.len);
        cr_expect(exchange(65536), "pieces of %u: %s / %s", piece, tls_failure(server), tls_failure(client));
        cr_expect(tls_is_open(server) && tls_is_open(client), "pieces of %u", piece);
        teardown();
        setup();
    }
}

/* A client that sends a session id expects a ChangeCipherSpec right behind the ServerHello (RFC 8446 D.4), another one none. */
Test(tls, a_session_id_is_answered_with_a_change_of_ciphers)
{
    for (uint8_t id_len = 0; id_len <= 32; id_len = (uint8_t)(id_len + 32)) {
        struct slice hello = tls_output(client);
        uint8_t bytes[2048];
        cr_assert_eq(hello.data[43], 0, "the fixture's client sends none");
        memcpy(bytes, hello.data, 44);
        memset(bytes + 44, 0x5a, id_len);
        memcpy(bytes + 44 + id_len, hello.data + 44, hello.len - 44);
        uint32_t record = hello.len - 5 + id_len, message = record - 4;
        bytes[3] = (uint8_t)(record >> 8);
        bytes[4] = (uint8_t)record;
        bytes[7] = (uint8_t)(message >> 8);
        bytes[8] = (uint8_t)message;
        bytes[43] = id_len;
        cr_assert_eq(feed(server, slice_of(bytes, hello.len + id_len), &at_server), TLS_MORE, "%s", tls_failure(server));
        struct slice out = tls_output(server);
        uint32_t next = 5 + ((uint32_t)out.data[3] << 8 | out.data[4]);
        cr_assert(out.data[0] == 0x16 && out.data[5] == 2 && next + 6 < out.len, "a ServerHello");
        cr_expect_eq(memcmp(out.data + next, "\x14\x03\x03\x00\x01\x01", 6) == 0, id_len > 0, "session id of %u", id_len);
        teardown();
        setup();
    }
}

/* Every byte of the ClientHello changed once: an answer, a refusal or a wait, and never more than the peer's fault. */
Test(tls, survives_a_damaged_hello)
{
    struct slice hello = tls_output(client);
    uint8_t *bytes = malloc(hello.len);
    for (uint32_t at = 0; at < hello.len; at++) {
        struct tls *victim = tls_create_server(identity);
        memcpy(bytes, hello.data, hello.len);
        bytes[at] ^= 0x41;
        (void)feed(victim, slice_of(bytes, hello.len), &at_server);
        cr_expect_not(tls_is_open(victim));
        tls_destroy(victim);
    }
    free(bytes);
}

Test(tls, a_damaged_record_ends_the_session_with_an_alert)
{
    cr_assert(exchange(65536));
    cr_assert_eq(tls_write(client, SLICE_TEXT("a message")), RESULT_OK);
    struct slice out = tls_output(client);
    uint8_t bytes[128];
    memcpy(bytes, out.data, out.len);
    bytes[out.len - 1] ^= 1;
    cr_expect_eq(feed(server, slice_of(bytes, out.len), &at_server), TLS_FAILED);
    cr_expect_eq(at_server.len, 0);
    cr_expect(tls_has_output(server), "the alert");
    cr_expect_eq(tls_write(server, SLICE_TEXT("x")), RESULT_CLOSED);
}

/* The handshake of a client that never ends: records of a hello whose length is larger than any. */
Test(tls, bounds_an_endless_handshake)
{
    static uint8_t record[5 + TLS_RECORD_SIZE_MAX] = {0x16, 3, 1, TLS_RECORD_SIZE_MAX >> 8, 0, 1, 0x10};
    uint64_t sent = 0;
    enum tls_event event = TLS_MORE;
    while (event == TLS_MORE && sent < 10 * TLS_HANDSHAKE_SIZE_MAX) {
        event = feed(server, slice_of(record, sizeof record), &at_server);
        sent += sizeof record;
        memset(record + 5, 0, 2);
    }
    cr_expect_eq(event, TLS_FAILED);
    cr_expect_leq(sent, TLS_HANDSHAKE_SIZE_MAX + 2 * sizeof record);
}

Test(tls, a_client_checks_whom_it_talks_to)
{
    char text[256], path_other[FIXTURE_PATH_SIZE];
    fixture_write(path_other, fixture_certificate_other);
    struct tls_trust *trust_other;
    cr_assert_eq(tls_trust_create(&trust_other, path_other, text, sizeof text), RESULT_OK);
    const struct { const char *name; struct tls_trust *trust; const char *host, *why; } cases[] = {
        { "another name",       trust,       "chat.example.com", "another host name" },
        { "nobody we trust",    trust_other, "localhost",        "signed by nobody we trust" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tls_destroy(client);
        tls_destroy(server);
        server = tls_create_server(identity);
        client = tls_create_client(cases[i].trust, cases[i].host);
        cr_expect_not(exchange(65536), "%s", cases[i].name);
        cr_expect_not_null(strstr(tls_failure(client), cases[i].why), "%s: %s", cases[i].name, tls_failure(client));
        cr_expect_not(tls_is_open(client));
    }
    tls_trust_destroy(trust_other);
    unlink(path_other);
}

Test(tls, a_reload_concerns_new_sessions_only)
{
    char text[256];
    cr_assert(exchange(65536));
    FILE *certificate = fopen(path_certificate, "w"), *key = fopen(path_key, "w");
    fputs(fixture_certificate_other, certificate);
    fputs(fixture_key_other, key);
    fclose(certificate);
    fclose(key);
    cr_assert_eq(tls_identity_reload(identity, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(tls_write(client, SLICE_TEXT("still here")), RESULT_OK);
    cr_assert(exchange(65536));
    cr_expect(slice_equal(writer_slice(&at_server), SLICE_TEXT("still here")));

    struct tls *former_server = server, *former_client = client;
    server = tls_create_server(identity);
    client = tls_create_client(trust, "localhost");
    cr_expect_not(exchange(65536), "the client trusts the former certificate only");
    tls_destroy(former_server);
    tls_destroy(former_client);
}
