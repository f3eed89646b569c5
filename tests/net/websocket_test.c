#include "core/check.h"
#include "net/websocket.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_MAX 1000

/* A frame as a client sends it, masked. */
static void put_frame(struct writer *out, uint8_t fin_opcode, const void *payload, size_t len)
{
    static const uint8_t mask[4] = {0xA1, 0xB2, 0xC3, 0xD4};
    uint8_t head[WEBSOCKET_HEAD_SIZE_MAX];
    uint32_t head_size = websocket_write_head(head, WEBSOCKET_BINARY, len);
    head[0] = fin_opcode;
    head[1] |= 0x80;
    writer_raw(out, head, head_size);
    writer_raw(out, mask, sizeof mask);
    uint8_t *at = writer_reserve(out, len);
    websocket_unmask(at, payload, len, mask, 0);
}

static void put_text(struct writer *out, uint8_t fin_opcode, const char *text)
{
    put_frame(out, fin_opcode, text, strlen(text));
}

/* What the events say, one line each. False: the parser takes no more. */
static bool run(struct websocket_parser *parser, struct slice in, struct writer *log)
{
    for (;;) {
        struct websocket_event event = websocket_parser_feed(parser, &in, MESSAGE_MAX);
        char line[64];
        switch (event.kind) {
        case WEBSOCKET_EVENT_MORE: cr_assert_eq(in.len, 0); return true;
        case WEBSOCKET_EVENT_MESSAGE:
            snprintf(line, sizeof line, event.opcode == WEBSOCKET_TEXT ? "text " : "binary ");
            break;
        case WEBSOCKET_EVENT_PING: snprintf(line, sizeof line, "ping "); break;
        case WEBSOCKET_EVENT_PONG: snprintf(line, sizeof line, "pong "); break;
        case WEBSOCKET_EVENT_CLOSE: snprintf(line, sizeof line, "close %u ", event.code); break;
        case WEBSOCKET_EVENT_VIOLATION: snprintf(line, sizeof line, "violation %u ", event.code); break;
        }
        writer_raw(log, line, strlen(line));
        writer_raw(log, event.payload.data, event.payload.len);
        writer_raw(log, "\n", 1);
        if (event.kind == WEBSOCKET_EVENT_VIOLATION) return false;
    }
}

/* At every split, moved or not at the split, the events are the same. */
static void expect_events(const char *name, struct slice bytes, const char *want)
{
    for (uint32_t split = 0; split <= bytes.len; split++) {
        for (int move = 0; move < 2; move++) {
            struct websocket_parser first, second;
            struct writer log;
            websocket_parser_init(&first);
            websocket_parser_init(&second);
            writer_init(&log, 0);
            bool goes_on = run(&first, slice_of(bytes.data, split), &log);
            if (goes_on && move) cr_assert(websocket_parser_move(&second, &first));
            if (goes_on) run(move ? &second : &first, slice_of(bytes.data + split, bytes.len - split), &log);
            cr_expect(slice_equal(writer_slice(&log), slice_text(want)), "%s, split %u: got %.*s", name, split,
                      (int)log.len, (const char *)log.data);
            writer_deinit(&log);
            websocket_parser_deinit(&first);
            websocket_parser_deinit(&second);
        }
    }
}

Test(websocket, messages_and_fragments)
{
    static const struct {
        const char *name;
        struct {
            uint8_t fin_opcode;
            const char *payload;
        } frames[6];
        const char *want;
    } cases[] = {
        {"text", {{0x81, "hello"}}, "text hello\n"},
        {"empty text", {{0x81, ""}}, "text \n"},
        {"binary", {{0x82, "\x01\xFF\x80"}}, "binary \x01\xFF\x80\n"},
        {"two messages", {{0x81, "a"}, {0x82, "b"}}, "text a\nbinary b\n"},
        {"three fragments", {{0x01, "he"}, {0x00, "l"}, {0x80, "lo"}}, "text hello\n"},
        {"empty fragments", {{0x02, ""}, {0x00, ""}, {0x80, ""}}, "binary \n"},
        {"ping between fragments", {{0x01, "he"}, {0x89, "p"}, {0x80, "llo"}}, "ping p\ntext hello\n"},
        {"pong between fragments", {{0x02, "x"}, {0x8A, ""}, {0x80, "y"}}, "pong \nbinary xy\n"},
        {"close between fragments", {{0x01, "he"}, {0x88, ""}}, "close 1005 \n"},
        {"character cut by a fragment", {{0x01, "\xE2\x82"}, {0x89, ""}, {0x80, "\xAC"}}, "ping \ntext \xE2\x82\xAC\n"},
        {"text is not UTF-8", {{0x81, "a\xFF"}}, "violation 1007 \n"},
        {"text ends within a character", {{0x81, "\xE2\x82"}}, "violation 1007 \n"},
        {"fragment with a wrong byte", {{0x01, "ok"}, {0x00, "\xC0"}, {0x80, "never"}}, "violation 1007 \n"},
        {"binary may be anything", {{0x82, "\xC0\xAF"}}, "binary \xC0\xAF\n"},
        {"continuation of nothing", {{0x80, "x"}}, "violation 1002 \n"},
        {"continuation after the end", {{0x81, "a"}, {0x80, "x"}}, "text a\nviolation 1002 \n"},
        {"message inside a message", {{0x01, "a"}, {0x81, "b"}}, "violation 1002 \n"},
        {"fragmented ping", {{0x09, "x"}}, "violation 1002 \n"},
        {"fragmented close", {{0x08, ""}}, "violation 1002 \n"},
        {"reserved bit 1", {{0xC1, "x"}}, "violation 1002 \n"},
        {"reserved bit 2", {{0xA1, "x"}}, "violation 1002 \n"},
        {"reserved bit 3", {{0x91, "x"}}, "violation 1002 \n"},
        {"opcode 3", {{0x83, "x"}}, "violation 1002 \n"},
        {"opcode 7", {{0x87, "x"}}, "violation 1002 \n"},
        {"opcode 11", {{0x8B, "x"}}, "violation 1002 \n"},
        {"opcode 15", {{0x8F, "x"}}, "violation 1002 \n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct writer bytes;
        writer_init(&bytes, 0);
        for (size_t f = 0; f < COUNT_OF(cases[i].frames) && cases[i].frames[f].payload != NULL; f++)
            put_text(&bytes, cases[i].frames[f].fin_opcode, cases[i].frames[f].payload);
        expect_events(cases[i].name, writer_slice(&bytes), cases[i].want);
        writer_deinit(&bytes);
    }
}

Test(websocket, heads_that_are_refused)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        const char *want;
    } cases[] = {
        {"not masked", "\x81\x01x", 3, "violation 1002 \n"},
        {"not masked, empty", "\x81\x00", 2, "violation 1002 \n"},
        {"ping of 126", "\x89\xFE\x00\x7E", 4, "violation 1002 \n"},
        {"close with a long length", "\x88\xFF\0\0\0\0\0\0\0\1", 10, "violation 1002 \n"},
        {"u16 length of 125", "\x82\xFE\x00\x7D\1\2\3\4", 8, "violation 1002 \n"},
        {"u64 length of 65535", "\x82\xFF\0\0\0\0\0\0\xFF\xFF\1\2\3\4", 14, "violation 1002 \n"},
        {"u64 length with the top bit", "\x82\xFF\x80\0\0\0\0\0\0\0\1\2\3\4", 14, "violation 1002 \n"},
        {"1001 bytes announced", "\x82\xFE\x03\xE9\1\2\3\4", 8, "violation 1009 \n"},
        {"4 GiB announced", "\x82\xFF\0\0\0\1\0\0\0\0\1\2\3\4", 14, "violation 1009 \n"},
        {"2^63-1 announced", "\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\1\2\3\4", 14, "violation 1009 \n"},
        {"1000 bytes announced", "\x82\xFE\x03\xE8\1\2\3\4", 8, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_events(cases[i].name, slice_of(cases[i].bytes, cases[i].len), cases[i].want);
}

Test(websocket, limit_counts_the_whole_message)
{
    static char payload[600];
    struct writer bytes;
    writer_init(&bytes, 0);
    put_frame(&bytes, 0x02, payload, 600);
    put_frame(&bytes, 0x00, payload, 400);
    put_frame(&bytes, 0x80, payload, 1);
    struct websocket_parser parser;
    struct writer log;
    websocket_parser_init(&parser);
    writer_init(&log, 0);
    cr_expect_not(run(&parser, writer_slice(&bytes), &log));
    cr_expect(slice_equal(writer_slice(&log), SLICE_TEXT("violation 1009 \n")));
    writer_deinit(&log);
    writer_deinit(&bytes);
    websocket_parser_deinit(&parser);
}

Test(websocket, close_payloads)
{
    static const struct {
        const char *name, *payload;
        size_t len;
        const char *want;
    } cases[] = {
        {"none", "", 0, "close 1005 \n"},
        {"one byte", "\x03", 1, "violation 1002 \n"},
        {"1000", "\x03\xE8", 2, "close 1000 \n"},
        {"1000 with a reason",
         "\x03\xE8"
         "bye",
         5, "close 1000 bye\n"},
        {"reason not UTF-8", "\x03\xE8\xFF", 3, "violation 1007 \n"},
        {"reason cut in a character", "\x03\xE8\xE2\x82", 4, "violation 1007 \n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct writer bytes;
        writer_init(&bytes, 0);
        put_frame(&bytes, 0x88, cases[i].payload, cases[i].len);
        expect_events(cases[i].name, writer_slice(&bytes), cases[i].want);
        writer_deinit(&bytes);
    }
}

Test(websocket, close_codes)
{
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        bool named = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
        bool want = named || (code >= 3000 && code < 5000);
        cr_expect_eq(websocket_code_valid((uint16_t)code), want, "%u", code);
    }
}

Test(websocket, claimed_length_allocates_nothing)
{
    struct websocket_parser parser;
    struct slice in = slice_of("\x82\xFF\0\0\0\0\x7F\xFF\xFF\xFF\1\2\3\4x", 15);
    websocket_parser_init(&parser);
    cr_expect_eq(websocket_parser_feed(&parser, &in, UINT32_MAX).kind, WEBSOCKET_EVENT_MORE);
    cr_expect_leq(parser.message.capacity, 256);
    websocket_parser_deinit(&parser);
}

Test(websocket, unmask_at_every_phase_and_length)
{
    static const uint8_t mask[4] = {1, 20, 140, 255};
    uint8_t in[40], out[40];
    for (uint8_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(i * 7);
    for (uint32_t phase = 0; phase < 4; phase++) {
        for (size_t len = 0; len <= sizeof in; len++) {
            websocket_unmask(out, in, len, mask, phase);
            for (size_t i = 0; i < len; i++) cr_assert_eq(out[i], in[i] ^ mask[(phase + i) % 4]);
        }
    }
}

Test(websocket, written_heads)
{
    static const struct {
        uint64_t size;
        const char *want;
        uint32_t len;
    } cases[] = {
        {0, "\x82\x00", 2},
        {125, "\x82\x7D", 2},
        {126, "\x82\x7E\x00\x7E", 4},
        {65535, "\x82\x7E\xFF\xFF", 4},
        {65536, "\x82\x7F\0\0\0\0\0\1\0\0", 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t head[WEBSOCKET_HEAD_SIZE_MAX];
        cr_expect_eq(websocket_write_head(head, WEBSOCKET_BINARY, cases[i].size), cases[i].len);
        cr_expect_eq(memcmp(head, cases[i].want, cases[i].len), 0);
    }
}

Test(websocket, written_close_fits_and_is_cut_at_a_character)
{
    uint8_t frame[WEBSOCKET_HEAD_SIZE_MAX + WEBSOCKET_CONTROL_SIZE_MAX];
    cr_expect_eq(websocket_write_close(frame, 1005, "ignored"), 2);
    cr_expect_eq(websocket_write_close(frame, 4401, "x"), 5);
    cr_expect_eq(memcmp(frame, "\x88\x03\x11\x31x", 5), 0);
    char reason[200] = {0};
    memset(reason, 'a', 122);
    memcpy(reason + 122, "\xE2\x82\xAC\xE2\x82\xAC", 6);
    cr_expect_eq(websocket_write_close(frame, 1000, reason), 2 + 2 + 122, "not within the euro sign");
    memset(reason, 'a', 199);
    cr_expect_eq(websocket_write_close(frame, 1000, reason), 2 + 125);
}

/* ---- handshake --------------------------------------------------------------------------------------------------- */

struct handshake_case {
    const char *name, *method, *upgrade, *connection, *key, *version, *second_key;
    bool asked;
    uint16_t want;
};

static uint32_t put_header(struct http_request *request, const char *name, const char *value)
{
    if (value == NULL) return request->header_count;
    request->headers[request->header_count] = (struct http_header){slice_text(name), slice_text(value)};
    return ++request->header_count;
}

Test(websocket, handshake)
{
    static const char *key = "dGhlIHNhbXBsZSBub25jZQ==";
    const struct handshake_case cases[] = {
        {"the RFC's example", "GET", "websocket", "Upgrade", key, "13", NULL, true, 0},
        {"other letters and tokens", "GET", "h2c, WebSocket", "keep-alive, upgrade", key, "13", NULL, true, 0},
        {"no upgrade", "GET", NULL, "Upgrade", key, "13", NULL, false, 0},
        {"another upgrade", "GET", "h2c", "Upgrade", key, "13", NULL, false, 0},
        {"token inside a word", "GET", "websockets", "Upgrade", key, "13", NULL, false, 0},
        {"connection without upgrade", "GET", "websocket", "keep-alive", key, "13", NULL, false, 0},
        {"no version", "GET", "websocket", "Upgrade", key, NULL, NULL, true, 426},
        {"version 8", "GET", "websocket", "Upgrade", key, "8", NULL, true, 426},
        {"POST", "POST", "websocket", "Upgrade", key, "13", NULL, true, 400},
        {"no key", "GET", "websocket", "Upgrade", NULL, "13", NULL, true, 400},
        {"short key", "GET", "websocket", "Upgrade", "dGhlIHNhbXBsZSBub25j", "13", NULL, true, 400},
        {"key of 18 bytes", "GET", "websocket", "Upgrade", "dGhlIHNhbXBsZSBub25jZWVl", "13", NULL, true, 400},
        {"key not base64", "GET", "websocket", "Upgrade", "!!!!!!!!!!!!!!!!!!!!!!==", "13", NULL, true, 400},
        {"two keys", "GET", "websocket", "Upgrade", key, "13", key, true, 400},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct handshake_case *c = &cases[i];
        struct http_request request = {.method = slice_text(c->method)};
        put_header(&request, "upgrade", c->upgrade);
        put_header(&request, "Connection", c->connection);
        put_header(&request, "Sec-WebSocket-Key", c->key);
        put_header(&request, "Sec-WebSocket-Version", c->version);
        put_header(&request, "sec-websocket-key", c->second_key);
        cr_expect_eq(websocket_asked(&request), c->asked, "%s", c->name);
        if (!c->asked) continue;
        char accept[WEBSOCKET_ACCEPT_SIZE + 1] = "";
        const char *reason;
        cr_expect_eq(websocket_handshake(&request, accept, &reason), c->want, "%s", c->name);
        if (c->want == 0)
            cr_expect_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "%s", c->name);
        else
            cr_expect_not_null(reason, "%s", c->name);
    }
}

Test(websocket, handshake_has_no_body)
{
    struct http_request request = {.method = SLICE_TEXT("GET"), .body = SLICE_TEXT("x")};
    put_header(&request, "Sec-WebSocket-Version", "13");
    put_header(&request, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    char accept[WEBSOCKET_ACCEPT_SIZE + 1];
    const char *reason;
    cr_expect_eq(websocket_handshake(&request, accept, &reason), 400);
}
