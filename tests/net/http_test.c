#include "core/check.h"
#include "net/http.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct http_limits limits = {.head_size_max = 16384, .body_size_max = 1000};

static void log_slice(struct writer *log, const char *before, struct slice slice)
{
    writer_raw(log, before, strlen(before));
    writer_raw(log, slice.data, slice.len);
}

static void log_request(struct writer *log, const struct http_reader *reader)
{
    struct http_request request;
    http_reader_request(reader, &request);
    log_slice(log, "", request.method);
    log_slice(log, " ", request.path);
    log_slice(log, "?", request.query);
    for (uint32_t i = 0; i < request.header_count; i++) {
        log_slice(log, " ", request.headers[i].name);
        log_slice(log, "=", request.headers[i].value);
    }
    log_slice(log, " [", request.body);
    log_slice(log, "]", slice_text(request.keep_alive ? " keep\n" : " close\n"));
}

/* False: the reader takes no more. */
static bool run(struct http_reader *reader, struct slice in, struct writer *log)
{
    char line[32];
    for (;;) {
        switch (http_reader_feed(reader, &in, &limits)) {
        case HTTP_EVENT_MORE: cr_assert_eq(in.len, 0); return true;
        case HTTP_EVENT_CONTINUE: break; /* whether it is asked for depends on the split */
        case HTTP_EVENT_REQUEST:
            log_request(log, reader);
            http_reader_reset(reader);
            break;
        case HTTP_EVENT_REFUSED: {
            char body[HTTP_ERROR_BODY_SIZE_MAX];
            struct http_response response = http_refusal_response((enum http_refusal)reader->refusal, body);
            snprintf(line, sizeof line, "refused %u\n", response.status);
            writer_raw(log, line, strlen(line));
            return false;
        }
        }
    }
}

static void expect_events(const char *name, struct slice bytes, const char *want)
{
    for (uint32_t split = 0; split <= bytes.len; split++) {
        for (int move = 0; move < 2; move++) {
            struct http_reader first, second;
            struct writer log;
            http_reader_init(&first);
            http_reader_init(&second);
            writer_init(&log, 0);
            bool goes_on = run(&first, slice_of(bytes.data, split), &log);
            if (goes_on && move) cr_assert(http_reader_move(&second, &first));
            if (goes_on) run(move ? &second : &first, slice_of(bytes.data + split, bytes.len - split), &log);
            cr_assert(slice_equal(writer_slice(&log), slice_text(want)), "%s, split %u, move %d: got %.*s", name, split,
                      move, (int)log.len, (const char *)log.data);
            writer_deinit(&log);
            http_reader_deinit(&first);
            http_reader_deinit(&second);
        }
    }
}

#define HOST "Host: x\r\n"

Test(http, requests)
{
    static const struct {
        const char *name, *bytes, *want;
    } cases[] = {
        {"get", "GET /a/b?c=d HTTP/1.1\r\n" HOST "\r\n", "GET /a/b?c=d Host=x [] keep\n"},
        {"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "GET /? Host=x [] keep\n"},
        {"empty value", "GET / HTTP/1.1\r\n" HOST "A:\r\nB: c\r\n\r\n", "GET /? Host=x A= B=c [] keep\n"},
        {"spaces around values", "GET / HTTP/1.1\r\nHost:  x  \r\n\r\n", "GET /? Host=x [] keep\n"},
        {"body by length", "POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
         "POST /p? Host=x Content-Length=5 [hello] keep\n"},
        {"body of chunks",
         "POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
         "POST /p? Host=x Transfer-Encoding=chunked [hello] keep\n"},
        {"trailers are ignored",
         "POST /p HTTP/1.1\r\n" HOST
         "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nHost: evil\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
         "POST /p? Host=x Transfer-Encoding=Chunked [a] keep\nGET /? Host=x [] keep\n"},
        {"pipelined",
         "GET /1 HTTP/1.1\r\n" HOST "\r\nPOST /2 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\n" HOST
         "\r\n",
         "GET /1? Host=x [] keep\nPOST /2? Host=x Content-Length=1 [x] keep\nGET /3? Host=x [] keep\n"},
        {"connection close", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
         "GET /? Host=x Connection=close [] close\n"},
        {"1.0 closes", "GET / HTTP/1.0\r\n\r\n", "GET /? [] close\n"},
        {"1.0 keeps when asked", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "GET /? Connection=keep-alive [] keep\n"},
        {"whole URL", "GET http://x/a?b HTTP/1.1\r\n" HOST "\r\n", "GET /a?b Host=x [] keep\n"},
        {"whole URL with a port", "GET HTTPS://[::1]:7800/a HTTP/1.1\r\n" HOST "\r\n", "GET /a? Host=x [] keep\n"},
        {"host with a port", "GET / HTTP/1.1\r\nHost: a.b-c_d:7800\r\n\r\n", "GET /? Host=a.b-c_d:7800 [] keep\n"},
        {"host is an address", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", "GET /? Host=[2001:db8::1]:443 [] keep\n"},
        {"extensions of chunks",
         "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2;a;b=c ; d = \"e\\\"\xc3;\"\r\nhi\r\n00;x\r\n\r\n",
         "POST /? Host=x Transfer-Encoding=chunked [hi] keep\n"},
        {"length with zeros in front", "POST / HTTP/1.1\r\n" HOST "Content-Length: 002\r\n\r\nhi",
         "POST /? Host=x Content-Length=002 [hi] keep\n"},
        {"a later minor version", "GET / HTTP/1.2\r\n" HOST "\r\n", "GET /? Host=x [] keep\n"},
        {"close among others", "GET / HTTP/1.1\r\n" HOST "Connection: x,\tClose\r\n\r\n",
         "GET /? Host=x Connection=x,\tClose [] close\n"},
        {"eight bits in a value", "GET / HTTP/1.1\r\n" HOST "A: \xc3\xa4\tb\r\n\r\n", "GET /? Host=x A=\xc3\xa4\tb [] keep\n"},
        {"URL without path", "GET http://x?b HTTP/1.1\r\n" HOST "\r\n", "GET /?b Host=x [] keep\n"},
        {"options of all", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS *? Host=x [] keep\n"},
        {"upgrade is left to others", "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
         "GET /? Host=x Connection=Upgrade Upgrade=h2c [] keep\n"},
        {"upgrade with a body",
         "POST / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi",
         "POST /? Host=x Connection=Upgrade Upgrade=x Content-Length=2 [hi] keep\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_events(cases[i].name, slice_text(cases[i].bytes), cases[i].want);
}

#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define BYTES(literal) literal, sizeof(literal) - 1

/* Each one at every split, and moved there: what is refused does not depend on how it arrives. */
Test(http, refusals)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        uint16_t want;
    } cases[] = {
        /* request lines */
        {"no HTTP", BYTES("\x16\x03\x01\x02"), 400},
        {"no HTTP, no line", BYTES("XXXXXXXX"), 501},
        {"unknown method", BYTES("BREW /pot HTTP/1.1\r\n" HOST "\r\n"), 501},
        {"method in small letters", BYTES("get / HTTP/1.1\r\n" HOST "\r\n"), 501},
        {"CONNECT", BYTES("CONNECT x:443 HTTP/1.1\r\n" HOST "\r\n"), 501},
        {"HTTP/0.9", BYTES("GET /\r\n"), 505},
        {"version 0.9", BYTES("GET / HTTP/0.9\r\n" HOST "\r\n"), 505},
        {"version 2", BYTES("GET / HTTP/2.0\r\n" HOST "\r\n"), 505},
        {"HTTP/2's preface", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 501},
        {"version of two digits", BYTES("GET / HTTP/1.10\r\n" HOST "\r\n"), 400},
        {"version in small letters", BYTES("GET / http/1.1\r\n" HOST "\r\n"), 400},
        {"another protocol", BYTES("GET / ICY/1.1\r\n" HOST "\r\n"), 400},
        {"method alone", BYTES("GET\r\n"), 400},
        {"two spaces before the target", BYTES("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"two spaces behind the target", BYTES("GET /  HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"tab for a space", BYTES("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"space at the end", BYTES("GET / HTTP/1.1 \r\n" HOST "\r\n"), 400},
        {"space at the beginning", BYTES(" GET / HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"space in the path", BYTES("GET /a b HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"fragment", BYTES("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"eight bits in the path", BYTES("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"NUL in the path", BYTES("GET /a\0b HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"CR in the path", BYTES("GET /a\rb HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"relative target", BYTES("GET a HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"authority as target", BYTES("GET x:80 HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"star as target of GET", BYTES("GET * HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"target of another scheme", BYTES("GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"target without host", BYTES("GET http:///a HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"target with a user", BYTES("GET http://a@x/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        /* ends of lines */
        {"LF ends the request line", BYTES("GET / HTTP/1.1\n" HOST "\r\n"), 400},
        {"LF ends a header", BYTES("GET / HTTP/1.1\r\nHost: x\n\r\n"), 400},
        {"LF ends the head", BYTES("GET / HTTP/1.1\r\n" HOST "\n"), 400},
        {"LF before the request", BYTES("\nGET / HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"CR before the request", BYTES("\rGET / HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"CR ends a header", BYTES("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n"), 400},
        {"CR and any byte end the head", BYTES("GET / HTTP/1.1\r\n" HOST "\rXGET /version HTTP/1.1\r\n" HOST "\r\n"), 400},
        {"two CRs", BYTES("GET / HTTP/1.1\r\r\n" HOST "\r\n"), 400},
        /* headers */
        {"folded header", BYTES("GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n"), 400},
        {"folded by a tab", BYTES("GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n"), 400},
        {"folded first header", BYTES("GET / HTTP/1.1\r\n " HOST "\r\n"), 400},
        {"space before the colon", BYTES("GET / HTTP/1.1\r\nHost : x\r\n\r\n"), 400},
        {"tab before the colon", BYTES("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding\t: chunked\r\n\r\n"), 400},
        {"no name", BYTES("GET / HTTP/1.1\r\n: x\r\n\r\n"), 400},
        {"no colon", BYTES("GET / HTTP/1.1\r\n" HOST "A\r\n\r\n"), 400},
        {"name with a bracket", BYTES("GET / HTTP/1.1\r\n" HOST "A[: b\r\n\r\n"), 400},
        {"eight bits in a name", BYTES("GET / HTTP/1.1\r\n" HOST "\xc3\xa4: b\r\n\r\n"), 400},
        {"control character", BYTES("GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n"), 400},
        {"NUL in a value", BYTES("GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n"), 400},
        {"NUL in a name", BYTES("GET / HTTP/1.1\r\n" HOST "A\0: b\r\n\r\n"), 400},
        {"DEL in a value", BYTES("GET / HTTP/1.1\r\n" HOST "A: \x7f\r\n\r\n"), 400},
        {"no host", BYTES("GET / HTTP/1.1\r\n\r\n"), 400},
        {"two hosts", BYTES("GET / HTTP/1.1\r\n" HOST "host: y\r\n\r\n"), 400},
        {"empty host", BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400},
        {"host with a space", BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400},
        {"host with a comma and a path", BYTES("GET / HTTP/1.1\r\nHost: a,b/@c\r\n\r\n"), 400},
        {"host with a user", BYTES("GET / HTTP/1.1\r\nHost: u@x\r\n\r\n"), 400},
        {"host with a port too large", BYTES("GET / HTTP/1.1\r\nHost: x:65536\r\n\r\n"), 400},
        {"host with letters for a port", BYTES("GET / HTTP/1.1\r\nHost: x:http\r\n\r\n"), 400},
        {"host with half an address", BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400},
        {"bad host beside a whole target", BYTES("GET http://x/ HTTP/1.1\r\nHost: a b\r\n\r\n"), 400},
        {"bad host in 1.0", BYTES("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"), 400},
        {"expects a teapot", BYTES("POST / HTTP/1.1\r\n" HOST "Expect: teapot\r\nContent-Length: 1\r\n\r\n"), 417},
        /* the length of the body */
        {"length and chunks",
         BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
        {"chunks and length",
         BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), 400},
        {"two lengths", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), 400},
        {"the same length twice",
         BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400},
        {"length list", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\nx"), 400},
        {"negative length", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"), 400},
        {"length with a plus", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\nx"), 400},
        {"length in hex", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\nx"), 400},
        {"length of two words", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\nx"), 400},
        {"empty length", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"), 400},
        {"length over 64 bits", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n"), 413},
        {"length that wraps to 1", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\nx"), 413},
        {"body announced too large", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n"), 413},
        {"chunks in 1.0", BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
        {"coding twice in two headers",
         BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
        {"coding twice", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 400},
        {"chunked is not last", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400},
        {"identity", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n"), 400},
        {"gzip", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"), 400},
        {"a coding that is nearly it", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400},
        {"a coding with a parameter", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a\r\n\r\n0\r\n\r\n"), 400},
        {"a coding in quotes", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 400},
        {"empty coding", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"), 400},
        {"gzip, then chunked", BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501},
        /* chunks */
        {"chunk size not hex", BYTES(CHUNKED "zz\r\n"), 400},
        {"chunk without size", BYTES(CHUNKED "\r\n"), 400},
        {"chunk size with 0x", BYTES(CHUNKED "0x1\r\na\r\n0\r\n\r\n"), 400},
        {"chunk size with a minus", BYTES(CHUNKED "-1\r\na\r\n0\r\n\r\n"), 400},
        {"space before a chunk size", BYTES(CHUNKED " 1\r\na\r\n0\r\n\r\n"), 400},
        {"space behind a chunk size", BYTES(CHUNKED "1 \r\na\r\n0\r\n\r\n"), 400},
        {"LF behind a chunk size", BYTES(CHUNKED "2\n{}\r\n0\r\n\r\n"), 400},
        {"CR and any byte behind a chunk size", BYTES(CHUNKED "2\rX{}\r\n0\r\n\r\n"), 400},
        {"LF in an extension", BYTES(CHUNKED "2;a\nX\r\n{}\r\n0\r\n\r\n"), 400},
        {"control character in an extension", BYTES(CHUNKED "2;a\x01\r\n{}\r\n0\r\n\r\n"), 400},
        {"NUL in a quoted extension", BYTES(CHUNKED "2;a=\"\0\"\r\n{}\r\n0\r\n\r\n"), 400},
        {"extension without a name", BYTES(CHUNKED "2;\r\n{}\r\n0\r\n\r\n"), 400},
        {"extension without a value", BYTES(CHUNKED "2;a=\r\n{}\r\n0\r\n\r\n"), 400},
        {"extension not closed", BYTES(CHUNKED "2;a=\"b\r\n{}\r\n0\r\n\r\n"), 400},
        {"two bytes for the end of a chunk", BYTES(CHUNKED "2\r\n{}XY0\r\n\r\n"), 400},
        {"CR and any byte behind a chunk", BYTES(CHUNKED "2\r\n{}\rX0\r\n\r\n"), 400},
        {"LF behind a chunk", BYTES(CHUNKED "2\r\n{}\n0\r\n\r\n"), 400},
        {"chunk longer than it says", BYTES(CHUNKED "2\r\n{}}\r\n0\r\n\r\n"), 400},
        {"CR and any byte at the very end", BYTES(CHUNKED "2\r\n{}\r\n0\r\n\rX"), 400},
        {"LF at the very end", BYTES(CHUNKED "2\r\n{}\r\n0\r\n\n"), 400},
        {"folded trailer", BYTES(CHUNKED "0\r\nA: b\r\n c\r\n\r\n"), 400},
        {"trailer without a colon", BYTES(CHUNKED "0\r\nA\r\n\r\n"), 400},
        {"chunk over 64 bits", BYTES(CHUNKED "10000000000000001\r\n"), 413},
        {"chunk announced too large", BYTES(CHUNKED "3e9\r\n"), 413},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char want[32];
        snprintf(want, sizeof want, "refused %u\n", cases[i].want);
        expect_events(cases[i].name, slice_of(cases[i].bytes, cases[i].len), want);
    }
}

/* The status of a request made of `before`, `count` times `middle`, `after`. 0: accepted. */
static uint16_t status_of(const char *before, const char *middle, size_t count, const char *after)
{
    struct writer bytes;
    writer_init(&bytes, 0);
    writer_raw(&bytes, before, strlen(before));
    for (size_t i = 0; i < count; i++) writer_raw(&bytes, middle, strlen(middle));
    writer_raw(&bytes, after, strlen(after));
    struct http_reader reader;
    struct slice in = writer_slice(&bytes);
    http_reader_init(&reader);
    enum http_event event = http_reader_feed(&reader, &in, &limits);
    char body[HTTP_ERROR_BODY_SIZE_MAX];
    uint16_t status = 0;
    if (event == HTTP_EVENT_REFUSED)
        status = http_refusal_response((enum http_refusal)reader.refusal, body).status;
    else
        cr_expect_eq(event, HTTP_EVENT_REQUEST);
    http_reader_deinit(&reader);
    writer_deinit(&bytes);
    return status;
}

Test(http, limits)
{
    const char *end = " HTTP/1.1\r\n" HOST "\r\n";
    cr_expect_eq(status_of("GET /", "a", HTTP_TARGET_SIZE_MAX - 1, end), 0);
    cr_expect_eq(status_of("GET /", "a", HTTP_TARGET_SIZE_MAX, end), 414);
    const char *head = "GET / HTTP/1.1\r\n" HOST;
    cr_expect_eq(status_of("GET / HTTP/1.1\r\n" HOST "A: ", "a", HTTP_HEADER_SIZE_MAX - 3, "\r\n\r\n"), 0);
    cr_expect_eq(status_of("GET / HTTP/1.1\r\n" HOST "A: ", "a", HTTP_HEADER_SIZE_MAX - 2, "\r\n\r\n"), 431);
    cr_expect_eq(status_of(head, "A: b\r\n", HTTP_HEADERS_MAX - 1, "\r\n"), 0);
    cr_expect_eq(status_of(head, "A: b\r\n", HTTP_HEADERS_MAX, "\r\n"), 431);
    char line[1004] = "A: ";
    memset(line + 3, 'v', 998);
    memcpy(line + 1001, "\r\n", 3);
    cr_expect_eq(status_of(head, line, 16, "\r\n"), 0);
    cr_expect_eq(status_of(head, line, 17, "\r\n"), 431, "all headers together");
    cr_expect_eq(status_of("POST / HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n", "b", 1000, ""), 0);
    cr_expect_eq(
        status_of("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e8\r\n", "b", 1000, "\r\n0\r\n\r\n"),
        0);
    cr_expect_eq(
        status_of("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", "b", 1001, "\r\n0\r\n\r\n"),
        413);
    cr_expect_eq(status_of(CHUNKED "1;", "a", HTTP_CHUNK_LINE_SIZE_MAX - 2, "\r\nb\r\n0\r\n\r\n"), 0);
    cr_expect_eq(status_of(CHUNKED "1;", "a", HTTP_CHUNK_LINE_SIZE_MAX - 1, "\r\nb\r\n0\r\n\r\n"), 431);
    cr_expect_eq(status_of(CHUNKED, "1;0123456789abcdef0123456789abcdef\r\nb\r\n", 400, "0\r\n\r\n"), 0);
    cr_expect_eq(status_of(CHUNKED, "1;0123456789abcdef0123456789abcdef\r\nb\r\n", 500, "0\r\n\r\n"), 431, "all extensions together");
    cr_expect_eq(status_of(CHUNKED "0\r\n", "A: b\r\n", 4000, "\r\n"), 0);
    cr_expect_eq(status_of(CHUNKED "0\r\n", "A: b\r\n", 5000, "\r\n"), 431, "all trailers together");
}

Test(http, the_authority_is_that_of_the_target_before_that_of_host)
{
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a:1\r\n\r\n", "a:1"},
        {"GET http://b:2/ HTTP/1.1\r\nHost: a:1\r\n\r\n", "b:2"},
        {"GET / HTTP/1.0\r\n\r\n", ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http_reader reader;
        struct http_request request;
        struct slice in = slice_text(cases[i].bytes);
        http_reader_init(&reader);
        cr_assert_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_REQUEST);
        http_reader_request(&reader, &request);
        cr_expect(slice_equal(request.authority, slice_text(cases[i].want)));
        http_reader_deinit(&reader);
    }
}

Test(http, continue_is_asked_for_once_when_the_body_waits)
{
    struct http_reader reader;
    http_reader_init(&reader);
    struct slice in = SLICE_TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
    cr_expect_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_CONTINUE);
    cr_expect_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_MORE);
    in = SLICE_TEXT("h");
    cr_expect_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_MORE);
    in = SLICE_TEXT("i");
    cr_expect_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_REQUEST);
    http_reader_reset(&reader);
    in = SLICE_TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nh");
    cr_expect_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_MORE, "the body came without waiting");
    http_reader_deinit(&reader);
}

Test(http, header_lookup)
{
    struct http_request request = {.header_count = 2};
    request.headers[0] = (struct http_header){SLICE_TEXT("Content-Type"), SLICE_TEXT("a")};
    request.headers[1] = (struct http_header){SLICE_TEXT("content-type"), SLICE_TEXT("b")};
    cr_expect(slice_equal(http_request_header(&request, "CONTENT-TYPE"), SLICE_TEXT("a")));
    cr_expect_null(http_request_header(&request, "Content").data);
}

Test(http, response_heads)
{
    static const struct {
        struct http_response response;
        enum http_connection connection;
        const char *want;
    } cases[] = {
        {{.status = 200, .content_type = "text/plain", .body = {(const uint8_t *)"abc", 3}},
         HTTP_CONNECTION_DEFAULT,
         "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"},
        {{.status = 404},
         HTTP_CONNECTION_CLOSE,
         "HTTP/1.1 404 Not Found\r\nDate: DATE\r\nContent-Length: 0\r\nConnection: close\r\n"},
        {{.status = 204, .content_type = "text/plain"},
         HTTP_CONNECTION_KEEP_ALIVE,
         "HTTP/1.1 204 No Content\r\nDate: DATE\r\nConnection: keep-alive\r\n"},
        {{.status = 304}, HTTP_CONNECTION_DEFAULT, "HTTP/1.1 304 Not Modified\r\nDate: DATE\r\n"},
        {{.status = 426},
         HTTP_CONNECTION_DEFAULT,
         "HTTP/1.1 426 Upgrade Required\r\nDate: DATE\r\nContent-Length: 0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\n"},
        {{.status = 426},
         HTTP_CONNECTION_CLOSE,
         "HTTP/1.1 426 Upgrade Required\r\nDate: DATE\r\nContent-Length: 0\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[HTTP_RESPONSE_HEAD_SIZE_MAX];
        uint32_t size = http_write_head(out, &cases[i].response, cases[i].connection, "DATE");
        cr_expect(slice_equal(slice_of(out, size), slice_text(cases[i].want)), "%.*s", (int)size, out);
    }
}

Test(http, the_date_is_written_anew_each_second)
{
    struct http_date date = {0};
    cr_expect_str_eq(http_date_text(&date, 784111777999), "Sun, 06 Nov 1994 08:49:37 GMT");
    cr_expect_str_eq(http_date_text(&date, 784111777000), "Sun, 06 Nov 1994 08:49:37 GMT");
    cr_expect_str_eq(http_date_text(&date, 1798761600000), "Fri, 01 Jan 2027 00:00:00 GMT");
}

Test(http, every_refusal_has_a_whole_body)
{
    for (uint32_t refusal = 0; refusal < HTTP_REFUSAL_COUNT; refusal++) {
        char body[HTTP_ERROR_BODY_SIZE_MAX];
        struct http_response response = http_refusal_response((enum http_refusal)refusal, body);
        cr_expect_geq(response.status, 400);
        cr_expect_eq(memcmp(response.body.data, "{\"error\":{\"code\":\"", 18), 0);
        cr_expect_eq(memcmp(response.body.data + response.body.len - 2, "}\n", 2), 0);
    }
    char body[HTTP_ERROR_BODY_SIZE_MAX];
    struct http_response timeout = http_refusal_response(HTTP_REFUSAL_TIMEOUT, body);
    cr_expect_str_eq(
        body, "{\"error\":{\"code\":\"DEADLINE_EXCEEDED\",\"reason\":\"request_timeout\",\"message\":\"the request did "
              "not arrive in time\",\"retryable\":true,\"retry_after_ms\":0,\"request_id\":\"\"}}\n");
    cr_expect_eq(timeout.status, 408);
}
