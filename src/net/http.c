/* net/http.c - the reader of http.h: libhttp-parser tells the parts, they are gathered in three growing byte arrays.
 * Happy path: a request in one received chunk; names and values are copied to `text`, the parser is paused at the end
 * of the request. Everything is kept as offsets, so that a reader can be moved in memory at any point. Failure: the
 * library finds what is not HTTP; on top of it are refused: what is over a limit, a body whose length two headers could
 * tell differently (request smuggling), a missing Host, control characters, other versions. */
#include "net/http.h"
#include "core/check.h"
#include <stdio.h>
#include <strings.h>

struct http_span {
    uint32_t name_at, name_len, value_at, value_len;
};

/* What a callback of the library needs; parser.data points here during a feed only. */
struct http_feeding {
    struct http_reader *reader;
    const struct http_limits *limits;
};

void http_reader_init(struct http_reader *reader)
{
    *reader = (struct http_reader){0};
    writer_init(&reader->text, 0);
    writer_init(&reader->spans, 0);
    writer_init(&reader->body, 0);
    http_parser_init(&reader->parser, HTTP_REQUEST);
}

void http_reader_deinit(struct http_reader *reader)
{
    writer_deinit(&reader->text);
    writer_deinit(&reader->spans);
    writer_deinit(&reader->body);
}

void http_reader_reset(struct http_reader *reader)
{
    struct writer text = reader->text, spans = reader->spans, body = reader->body;
    *reader = (struct http_reader){.text = text, .spans = spans, .body = body};
    writer_reset(&reader->text);
    writer_reset(&reader->spans);
    writer_reset(&reader->body);
    http_parser_init(&reader->parser, HTTP_REQUEST);
}

bool http_reader_idle(const struct http_reader *reader)
{
    return !reader->begun;
}

static bool writer_copy(struct writer *to, const struct writer *from)
{
    writer_init(to, 0);
    if (from->len > 0) writer_raw(to, from->data, from->len);
    return !to->failed;
}

bool http_reader_move(struct http_reader *to, struct http_reader *from)
{
    *to = *from;
    bool text = writer_copy(&to->text, &from->text);
    bool spans = writer_copy(&to->spans, &from->spans);
    bool body = writer_copy(&to->body, &from->body);
    http_reader_reset(from);
    return text && spans && body;
}

/* ---- what was gathered ------------------------------------------------------------------------------------------- */

static uint32_t http_header_count(const struct http_reader *reader)
{
    return (uint32_t)(reader->spans.len / sizeof(struct http_span));
}

static struct http_span http_span_at(const struct http_reader *reader, uint32_t index)
{
    ASSERT(index < http_header_count(reader));
    struct http_span span;
    memcpy(&span, reader->spans.data + index * sizeof span, sizeof span);
    return span;
}

static void http_span_put(struct http_reader *reader, uint32_t index, const struct http_span *span)
{
    ASSERT(index < http_header_count(reader));
    memcpy(reader->spans.data + index * sizeof *span, span, sizeof *span);
}

/* Optional white space behind a value is not part of it; the library removes only what stands before. */
static struct slice http_trim_right(struct slice value)
{
    while (value.len > 0 && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t')) value.len--;
    return value;
}

static struct http_header http_header_at(const struct http_reader *reader, uint32_t index)
{
    struct http_span span = http_span_at(reader, index);
    return (struct http_header){
        .name = slice_of(reader->text.data + span.name_at, span.name_len),
        .value = http_trim_right(slice_of(reader->text.data + span.value_at, span.value_len)),
    };
}

static bool slice_equal_nocase(struct slice slice, const char *text)
{
    return slice.len == strlen(text) && strncasecmp((const char *)slice.data, text, slice.len) == 0;
}

struct slice http_request_header(const struct http_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        if (slice_equal_nocase(request->headers[i].name, name)) return request->headers[i].value;
    return SLICE_EMPTY;
}

/* The value of the first header with that name; *count gets how many there are. */
static struct slice http_reader_header(const struct http_reader *reader, const char *name, uint32_t *count)
{
    struct slice value = SLICE_EMPTY;
    *count = 0;
    for (uint32_t i = 0; i < http_header_count(reader); i++) {
        struct http_header header = http_header_at(reader, i);
        if (!slice_equal_nocase(header.name, name)) continue;
        if ((*count)++ == 0) value = header.value;
    }
    return value;
}

static struct slice http_target(const struct http_reader *reader)
{
    return slice_of(reader->text.data, reader->target_len);
}

/* Splits "/path?query", "http://host/path?query" and "*". False: none of them. */
static bool http_split_target(struct slice target, struct slice *path, struct slice *query)
{
    struct http_parser_url url;
    http_parser_url_init(&url);
    *path = target;
    *query = SLICE_EMPTY;
    if (slice_equal(target, SLICE_TEXT("*"))) return true;
    if (http_parser_parse_url((const char *)target.data, target.len, 0, &url) != 0) return false;
    if ((url.field_set & (1 << UF_FRAGMENT)) != 0) return false;
    bool has_path = (url.field_set & (1 << UF_PATH)) != 0;
    *path =
        has_path ? slice_of(target.data + url.field_data[UF_PATH].off, url.field_data[UF_PATH].len) : SLICE_TEXT("/");
    if ((url.field_set & (1 << UF_QUERY)) != 0)
        *query = slice_of(target.data + url.field_data[UF_QUERY].off, url.field_data[UF_QUERY].len);
    return true;
}

void http_reader_request(const struct http_reader *reader, struct http_request *request)
{
    ASSERT(reader->complete && reader->refusal == HTTP_REFUSAL_NONE);
    bool split = http_split_target(http_target(reader), &request->path, &request->query);
    ASSERT(split);
    request->method = slice_text(http_method_str((enum http_method)reader->parser.method));
    request->header_count = http_header_count(reader);
    for (uint32_t i = 0; i < request->header_count; i++) request->headers[i] = http_header_at(reader, i);
    request->body = writer_slice(&reader->body);
    request->keep_alive = reader->keep_alive;
}

/* ---- callbacks of the library: 0 goes on ---------------------------------------------------------------------------- */

static struct http_feeding *http_feeding_of(struct http_parser *parser)
{
    ASSERT(parser->data != NULL);
    return parser->data;
}

static int http_refuse(struct http_reader *reader, enum http_refusal refusal)
{
    reader->refusal = (uint8_t)refusal;
    return -1;
}

static int http_on_begin(struct http_parser *parser)
{
    http_feeding_of(parser)->reader->begun = true;
    return 0;
}

/* Appends to `text`, which `head_size_max` bounds. */
static int http_gather_text(struct http_feeding *feeding, const char *at, size_t len)
{
    struct http_reader *reader = feeding->reader;
    if (reader->text.len + len > feeding->limits->head_size_max)
        return http_refuse(reader, HTTP_REFUSAL_HEAD_TOO_LARGE);
    writer_raw(&reader->text, at, len);
    return reader->text.failed ? http_refuse(reader, HTTP_REFUSAL_BUSY) : 0;
}

static int http_on_target(struct http_parser *parser, const char *at, size_t len)
{
    struct http_feeding *feeding = http_feeding_of(parser);
    struct http_reader *reader = feeding->reader;
    if (reader->target_len + len > HTTP_TARGET_SIZE_MAX) return http_refuse(reader, HTTP_REFUSAL_TARGET_TOO_LARGE);
    reader->target_len += (uint32_t)len;
    return http_gather_text(feeding, at, len);
}

static int http_begin_header(struct http_reader *reader)
{
    if (http_header_count(reader) == HTTP_HEADERS_MAX) return http_refuse(reader, HTTP_REFUSAL_HEAD_TOO_LARGE);
    struct http_span span = {.name_at = (uint32_t)reader->text.len, .value_at = (uint32_t)reader->text.len};
    writer_raw(&reader->spans, &span, sizeof span);
    return reader->spans.failed ? http_refuse(reader, HTTP_REFUSAL_BUSY) : 0;
}

/* Adds `len` bytes to the name or the value of the newest header. */
static int http_gather_header(struct http_feeding *feeding, enum http_header_part part, const char *at, size_t len)
{
    struct http_reader *reader = feeding->reader;
    if (reader->head_complete) return 0; /* a trailer behind a chunked body: nobody asked for it */
    if (part == HTTP_PART_NAME && reader->header_part != HTTP_PART_NAME && http_begin_header(reader) != 0) return -1;
    uint32_t newest = http_header_count(reader) - 1;
    struct http_span span = http_span_at(reader, newest);
    if (part == HTTP_PART_VALUE && reader->header_part != HTTP_PART_VALUE) span.value_at = (uint32_t)reader->text.len;
    reader->header_part = (uint8_t)part;
    if (span.name_len + span.value_len + len > HTTP_HEADER_SIZE_MAX)
        return http_refuse(reader, HTTP_REFUSAL_HEAD_TOO_LARGE);
    if (part == HTTP_PART_NAME)
        span.name_len += (uint32_t)len;
    else
        span.value_len += (uint32_t)len;
    http_span_put(reader, newest, &span);
    return http_gather_text(feeding, at, len);
}

static int http_on_header_name(struct http_parser *parser, const char *at, size_t len)
{
    return http_gather_header(http_feeding_of(parser), HTTP_PART_NAME, at, len);
}

static int http_on_header_value(struct http_parser *parser, const char *at, size_t len)
{
    return http_gather_header(http_feeding_of(parser), HTTP_PART_VALUE, at, len);
}

/* Bytes that may not stand in a value, or a space in a name, which the library lets through. */
static bool http_header_clean(const struct http_header *header)
{
    if (header->name.len == 0 || memchr(header->name.data, ' ', header->name.len) != NULL) return false;
    for (uint32_t i = 0; i < header->value.len; i++) {
        uint8_t byte = header->value.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F) return false;
    }
    return true;
}

/* A body whose length two readers could see differently is refused: that is how requests are smuggled. */
static enum http_refusal http_check_length(const struct http_reader *reader, uint32_t body_size_max)
{
    uint32_t length_count, encoding_count;
    (void)http_reader_header(reader, "Content-Length", &length_count);
    struct slice encoding = http_reader_header(reader, "Transfer-Encoding", &encoding_count);
    if (length_count > 1 || encoding_count > 1 || (length_count > 0 && encoding_count > 0))
        return HTTP_REFUSAL_LENGTH_UNCLEAR;
    if (encoding_count == 1 && reader->parser.http_minor == 0) return HTTP_REFUSAL_LENGTH_UNCLEAR;
    if (encoding_count == 1 && !slice_equal_nocase(encoding, "chunked")) return HTTP_REFUSAL_ENCODING_UNKNOWN;
    bool announced = length_count == 1 && reader->parser.content_length != UINT64_MAX;
    return announced && reader->parser.content_length > body_size_max ? HTTP_REFUSAL_BODY_TOO_LARGE : HTTP_REFUSAL_NONE;
}

static enum http_refusal http_check_head(struct http_reader *reader, const struct http_limits *limits)
{
    if (reader->parser.http_major != 1) return HTTP_REFUSAL_VERSION;
    struct slice path, query;
    if (!http_split_target(http_target(reader), &path, &query)) return HTTP_REFUSAL_MALFORMED;
    for (uint32_t i = 0; i < http_header_count(reader); i++) {
        struct http_header header = http_header_at(reader, i);
        if (!http_header_clean(&header)) return HTTP_REFUSAL_MALFORMED;
    }
    uint32_t host_count, expect_count;
    (void)http_reader_header(reader, "Host", &host_count);
    bool host_needed = reader->parser.http_minor > 0;
    if (host_count > 1 || (host_needed && host_count == 0)) return HTTP_REFUSAL_HOST;
    struct slice expect = http_reader_header(reader, "Expect", &expect_count);
    if (expect_count > 0 && !slice_equal_nocase(expect, "100-continue")) return HTTP_REFUSAL_EXPECTATION;
    enum http_refusal length = http_check_length(reader, limits->body_size_max);
    reader->continue_wanted = expect_count > 0 && host_needed;
    return length;
}

static int http_on_head(struct http_parser *parser)
{
    struct http_feeding *feeding = http_feeding_of(parser);
    enum http_refusal refusal = http_check_head(feeding->reader, feeding->limits);
    if (refusal != HTTP_REFUSAL_NONE) return http_refuse(feeding->reader, refusal);
    feeding->reader->head_complete = true;
    parser->upgrade = 0; /* whether it is one is decided from the headers, after a body if there is one */
    return 0;
}

static int http_on_body(struct http_parser *parser, const char *at, size_t len)
{
    struct http_feeding *feeding = http_feeding_of(parser);
    struct http_reader *reader = feeding->reader;
    reader->continue_wanted = false; /* it did not wait */
    if (reader->body.len + len > feeding->limits->body_size_max)
        return http_refuse(reader, HTTP_REFUSAL_BODY_TOO_LARGE);
    writer_raw(&reader->body, at, len);
    return reader->body.failed ? http_refuse(reader, HTTP_REFUSAL_BUSY) : 0;
}

static int http_on_complete(struct http_parser *parser)
{
    struct http_reader *reader = http_feeding_of(parser)->reader;
    reader->complete = true;
    reader->keep_alive = http_should_keep_alive(parser) != 0;
    http_parser_pause(parser, 1);
    return 0;
}

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

static enum http_refusal http_refusal_of(const struct http_reader *reader)
{
    if (reader->refusal != HTTP_REFUSAL_NONE) return (enum http_refusal)reader->refusal;
    unsigned error = reader->parser.http_errno;
    if (error == HPE_HEADER_OVERFLOW) return HTTP_REFUSAL_HEAD_TOO_LARGE;
    if (error == HPE_INVALID_METHOD) return HTTP_REFUSAL_METHOD_UNKNOWN;
    if (error == HPE_INVALID_TRANSFER_ENCODING || error == HPE_UNEXPECTED_CONTENT_LENGTH)
        return HTTP_REFUSAL_LENGTH_UNCLEAR;
    return HTTP_REFUSAL_MALFORMED;
}

enum http_event http_reader_feed(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    static const struct http_parser_settings settings = {
        .on_message_begin = http_on_begin,
        .on_url = http_on_target,
        .on_header_field = http_on_header_name,
        .on_header_value = http_on_header_value,
        .on_headers_complete = http_on_head,
        .on_body = http_on_body,
        .on_message_complete = http_on_complete,
    };
    ASSERT(!reader->complete && reader->refusal == HTTP_REFUSAL_NONE);
    if (in->len == 0) return HTTP_EVENT_MORE; /* to the library, no bytes would mean the end of the connection */
    struct http_feeding feeding = {reader, limits};
    reader->parser.data = &feeding;
    size_t used = http_parser_execute(&reader->parser, &settings, (const char *)in->data, in->len);
    reader->parser.data = NULL;
    ASSERT(used <= in->len);
    in->data += used;
    in->len -= (uint32_t)used;
    if (reader->complete) return HTTP_EVENT_REQUEST;
    if (reader->parser.http_errno != HPE_OK) {
        reader->refusal = (uint8_t)http_refusal_of(reader);
        return HTTP_EVENT_REFUSED;
    }
    ASSERT(in->len == 0);
    if (!reader->head_complete || !reader->continue_wanted) return HTTP_EVENT_MORE;
    reader->continue_wanted = false;
    return HTTP_EVENT_CONTINUE;
}

/* ---- responses --------------------------------------------------------------------------------------------------- */

static const struct http_refusal_row {
    uint16_t status;
    const char *code, *reason, *message;
} http_refusal_rows[HTTP_REFUSAL_COUNT] = {
#define HTTP_REFUSAL_AS_ROW(name, status, code, reason, message)                                                       \
    [HTTP_REFUSAL_##name] = {status, code, reason, message},
    HTTP_REFUSAL_LIST(HTTP_REFUSAL_AS_ROW)
#undef HTTP_REFUSAL_AS_ROW
};

bool http_status_has_body(uint16_t status)
{
    return status >= 200 && status != 204 && status != 304;
}

static const char *http_connection_line(enum http_connection connection)
{
    switch (connection) {
    case HTTP_CONNECTION_KEEP_ALIVE: return "Connection: keep-alive\r\n";
    case HTTP_CONNECTION_CLOSE: return "Connection: close\r\n";
    case HTTP_CONNECTION_DEFAULT: break;
    }
    return "";
}

uint32_t http_write_head(char out[HTTP_RESPONSE_HEAD_SIZE_MAX], const struct http_response *response,
                         enum http_connection connection)
{
    ASSERT(response->status >= 100 && response->status <= 599);
    bool has_body = http_status_has_body(response->status);
    bool typed = response->content_type != NULL && has_body;
    char length[40] = "";
    if (has_body) snprintf(length, sizeof length, "Content-Length: %u\r\n", (unsigned)response->body.len);
    int size =
        snprintf(out, HTTP_RESPONSE_HEAD_SIZE_MAX, "HTTP/1.1 %u %s\r\n%s%s%s%s%s", (unsigned)response->status,
                 http_status_str((enum http_status)response->status), typed ? "Content-Type: " : "",
                 typed ? response->content_type : "", typed ? "\r\n" : "", length, http_connection_line(connection));
    ASSERT(size > 0 && size < HTTP_RESPONSE_HEAD_SIZE_MAX);
    return (uint32_t)size;
}

struct http_response http_refusal_response(enum http_refusal refusal, char body[HTTP_ERROR_BODY_SIZE_MAX])
{
    ASSERT(refusal < HTTP_REFUSAL_COUNT);
    const struct http_refusal_row *row = &http_refusal_rows[refusal];
    bool retryable = row->status == 408 || row->status == 500 || row->status == 503;
    int size = snprintf(body, HTTP_ERROR_BODY_SIZE_MAX,
                        "{\"error\":{\"code\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\",\"retryable\":%s,"
                        "\"retry_after_ms\":0,\"request_id\":\"\"}}",
                        row->code, row->reason, row->message, retryable ? "true" : "false");
    ASSERT(size > 0 && size < HTTP_ERROR_BODY_SIZE_MAX);
    return (struct http_response){
        .status = row->status,
        .content_type = "application/json",
        .headers = row->status == 426 ? SLICE_TEXT("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n") : SLICE_EMPTY,
        .body = slice_of(body, (size_t)size),
    };
}
