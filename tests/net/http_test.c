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

Test(http, refusals)
{
    static const struct {
        const char *name, *bytes, *want;
    } cases[] = {
        {"no HTTP", "\x16\x03\x01\x02", "refused 501\n"},
        {"unknown method", "BREW /pot HTTP/1.1\r\n\r\n", "refused 501\n"},
        {"no version", "GET /\r\n\r\n", "refused 505\n"},
        {"version 2", "GET / HTTP/2.0\r\n" HOST "\r\n", "refused 505\n"},
        {"version 3.7", "GET / HTTP/3.7\r\n" HOST "\r\n", "refused 505\n"},
        {"another protocol", "GET / ICY/1.1\r\n\r\n", "refused 400\n"},
        {"no host", "GET / HTTP/1.1\r\n\r\n", "refused 400\n"},
        {"two hosts", "GET / HTTP/1.1\r\n" HOST "host: y\r\n\r\n", "refused 400\n"},
        {"space in the path", "GET /a b HTTP/1.1\r\n" HOST "\r\n", "refused 400\n"},
        {"fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", "refused 400\n"},
        {"space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "refused 400\n"},
        {"no name", "GET / HTTP/1.1\r\n: x\r\n\r\n", "refused 400\n"},
        {"control character", "GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n", "refused 400\n"},
        {"length and chunks",
         "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "refused 400\n"},
        {"chunks and length",
         "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
         "refused 400\n"},
        {"two lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", "refused 400\n"},
        {"the same length twice", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
         "refused 400\n"},
        {"negative length", "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", "refused 400\n"},
        {"length list", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", "refused 400\n"},
        {"length over 64 bits", "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n",
         "refused 400\n"},
        {"chunks in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "refused 400\n"},
        {"chunk size not hex", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "refused 400\n"},
        {"expects a teapot", "POST / HTTP/1.1\r\n" HOST "Expect: teapot\r\nContent-Length: 1\r\n\r\n", "refused 417\n"},
        {"body announced too large", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", "refused 413\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_events(cases[i].name, slice_text(cases[i].bytes), cases[i].want);
}

/* The coding is refused by the library in some forms and by us in others; never is it a request. */
Test(http, unknown_transfer_codings_never_become_requests)
{
    static const char *const codings[] = {"gzip",     "gzip, chunked",    "chunked, gzip",
                                          "identity", "chunked, chunked", "xchunked"};
    for (size_t i = 0; i < COUNT_OF(codings); i++) {
        char bytes[256];
        snprintf(bytes, sizeof bytes, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: %s\r\n\r\n0\r\n\r\n", codings[i]);
        struct http_reader reader;
        struct slice in = slice_text(bytes);
        http_reader_init(&reader);
        cr_expect_eq(http_reader_feed(&reader, &in, &limits), HTTP_EVENT_REFUSED, "%s", codings[i]);
        http_reader_deinit(&reader);
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
    cr_expect_eq(status_of("GET / HTTP/1.1\r\n" HOST "A: ", "a", HTTP_HEADER_SIZE_MAX - 1, "\r\n\r\n"), 0);
    cr_expect_eq(status_of("GET / HTTP/1.1\r\n" HOST "A: ", "a", HTTP_HEADER_SIZE_MAX, "\r\n\r\n"), 431);
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
         "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"},
        {{.status = 404},
         HTTP_CONNECTION_CLOSE,
         "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n"},
        {{.status = 204, .content_type = "text/plain"},
         HTTP_CONNECTION_KEEP_ALIVE,
         "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n"},
        {{.status = 304}, HTTP_CONNECTION_DEFAULT, "HTTP/1.1 304 Not Modified\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[HTTP_RESPONSE_HEAD_SIZE_MAX];
        uint32_t size = http_write_head(out, &cases[i].response, cases[i].connection);
        cr_expect(slice_equal(slice_of(out, size), slice_text(cases[i].want)), "%.*s", (int)size, out);
    }
}

Test(http, every_refusal_has_a_whole_body)
{
    for (uint32_t refusal = 0; refusal < HTTP_REFUSAL_COUNT; refusal++) {
        char body[HTTP_ERROR_BODY_SIZE_MAX];
        struct http_response response = http_refusal_response((enum http_refusal)refusal, body);
        cr_expect_geq(response.status, 400);
        cr_expect_eq(memcmp(response.body.data, "{\"error\":{\"code\":\"", 18), 0);
        cr_expect_eq(response.body.data[response.body.len - 1], '}');
    }
    char body[HTTP_ERROR_BODY_SIZE_MAX];
    struct http_response timeout = http_refusal_response(HTTP_REFUSAL_TIMEOUT, body);
    cr_expect_str_eq(
        body, "{\"error\":{\"code\":\"DEADLINE_EXCEEDED\",\"reason\":\"request_timeout\",\"message\":\"the request did "
              "not arrive in time\",\"retryable\":true,\"retry_after_ms\":0,\"request_id\":\"\"}}");
    cr_expect_eq(timeout.status, 408);
}
