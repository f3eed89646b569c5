/* net/http.c - the reader of http.h: bytes are gathered to lines, lines to a head, then the body by its length or in
 * chunks. Happy path: a request in one received chunk; its lines are copied to `text` and their parts noted as offsets,
 * so that a reader can be moved in memory at any point. Failure: a line ends with CR LF and nothing else, and has no
 * control characters; what http_line.h does not know is refused; so are what is over a limit, and a body whose length
 * two readers could see differently. */
#include "net/http.h"
#include "core/check.h"
#include "net/authority.h"
#include "net/http_line.h"

#define REQUEST_LINE_SIZE_MAX (HTTP_METHOD_SIZE_MAX + HTTP_TARGET_SIZE_MAX + 10) /* two spaces, "HTTP/1.1" */

struct http_span {
    uint32_t name_at, name_len, value_at, value_len;
};

void http_reader_init(struct http_reader *reader)
{
    *reader = (struct http_reader){0};
    writer_init(&reader->text, 0);
    writer_init(&reader->spans, 0);
    writer_init(&reader->body, 0);
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

static struct http_header http_header_at(const struct http_reader *reader, uint32_t index)
{
    ASSERT(index < http_header_count(reader));
    struct http_span span;
    memcpy(&span, reader->spans.data + index * sizeof span, sizeof span);
    return (struct http_header){
        .name = slice_of(reader->text.data + span.name_at, span.name_len),
        .value = slice_of(reader->text.data + span.value_at, span.value_len),
    };
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

static struct slice http_reader_method(const struct http_reader *reader)
{
    return slice_of(reader->text.data, reader->method_len);
}

static struct http_target http_reader_target(const struct http_reader *reader)
{
    struct http_target target;
    struct slice text = slice_of(reader->text.data + reader->method_len + 1, reader->target_len);
    bool parsed = http_parse_target(&target, http_reader_method(reader), text);
    ASSERT(parsed); /* with the request line it was checked */
    return target;
}

void http_reader_request(const struct http_reader *reader, struct http_request *request)
{
    ASSERT(reader->complete && reader->refusal == HTTP_REFUSAL_NONE);
    struct http_target target = http_reader_target(reader);
    uint32_t hosts;
    request->method = http_reader_method(reader);
    request->path = target.path;
    request->query = target.query;
    request->authority = target.authority.len > 0 ? target.authority : http_reader_header(reader, "Host", &hosts);
    request->header_count = http_header_count(reader);
    for (uint32_t i = 0; i < request->header_count; i++) request->headers[i] = http_header_at(reader, i);
    request->body = writer_slice(&reader->body);
    request->keep_alive = reader->keep_alive;
    request->old = reader->minor == 0;
    request->scheme = HTTP_SCHEME_UNKNOWN;
}

/* ---- what the head means ----------------------------------------------------------------------------------------- */

/* One coding is known. Where "chunked" is not the last one, the end of the body cannot be found at all. */
static enum http_refusal http_check_coding(struct slice codings)
{
    struct slice coding, last = SLICE_EMPTY;
    uint32_t count = 0, chunked = 0;
    while (http_list_next(&codings, &coding)) {
        last = coding;
        count++;
        chunked += slice_equal_nocase(coding, "chunked");
    }
    if (chunked != 1 || !slice_equal_nocase(last, "chunked")) return HTTP_REFUSAL_LENGTH_UNCLEAR;
    return count == 1 ? HTTP_REFUSAL_NONE : HTTP_REFUSAL_ENCODING_UNKNOWN;
}

/* A body whose length two readers could see differently is refused: that is how requests are smuggled. */
static enum http_refusal http_check_length(struct http_reader *reader, uint32_t body_size_max)
{
    uint32_t length_count, coding_count;
    struct slice length = http_reader_header(reader, "Content-Length", &length_count);
    struct slice codings = http_reader_header(reader, "Transfer-Encoding", &coding_count);
    if (length_count + coding_count > 1) return HTTP_REFUSAL_LENGTH_UNCLEAR;
    reader->chunked = coding_count == 1;
    if (reader->chunked) return reader->minor == 0 ? HTTP_REFUSAL_LENGTH_UNCLEAR : http_check_coding(codings);
    uint64_t bytes = 0;
    if (length_count == 1 && !http_parse_length(length, &bytes)) return HTTP_REFUSAL_LENGTH_UNCLEAR;
    if (bytes > body_size_max) return HTTP_REFUSAL_BODY_TOO_LARGE;
    reader->left = (uint32_t)bytes;
    return HTTP_REFUSAL_NONE;
}

static bool http_connection_says(const struct http_reader *reader, const char *option)
{
    for (uint32_t i = 0; i < http_header_count(reader); i++) {
        struct http_header header = http_header_at(reader, i);
        struct slice element;
        if (!slice_equal_nocase(header.name, "Connection")) continue;
        while (http_list_next(&header.value, &element))
            if (slice_equal_nocase(element, option)) return true;
    }
    return false;
}

static enum http_refusal http_check_head(struct http_reader *reader, const struct http_limits *limits)
{
    uint32_t host_count, expect_count;
    bool modern = reader->minor > 0;
    struct authority authority;
    struct slice host = http_reader_header(reader, "Host", &host_count);
    if (host_count > 1 || (modern && host_count == 0)) return HTTP_REFUSAL_HOST;
    if (host_count == 1 && !authority_parse(&authority, host)) return HTTP_REFUSAL_HOST;
    struct slice expect = http_reader_header(reader, "Expect", &expect_count);
    if (expect_count > 0 && !slice_equal_nocase(expect, "100-continue")) return HTTP_REFUSAL_EXPECTATION;
    reader->continue_wanted = expect_count > 0 && modern;
    reader->keep_alive = !http_connection_says(reader, "close") && (modern || http_connection_says(reader, "keep-alive"));
    return http_check_length(reader, limits->body_size_max);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static void http_refuse(struct http_reader *reader, enum http_refusal refusal)
{
    if (reader->refusal == HTTP_REFUSAL_NONE) reader->refusal = (uint8_t)refusal;
}

/* How many more bytes the line may have, and what is said to one that has more. */
static uint32_t http_line_room(const struct http_reader *reader, const struct http_limits *limits, enum http_refusal *refusal)
{
    static const struct {
        uint32_t size_max;
        enum http_refusal refusal;
    } lines[] = {
        [HTTP_STAGE_REQUEST_LINE] = {REQUEST_LINE_SIZE_MAX, HTTP_REFUSAL_TARGET_TOO_LARGE},
        [HTTP_STAGE_HEADERS] = {HTTP_HEADER_SIZE_MAX, HTTP_REFUSAL_HEAD_TOO_LARGE},
        [HTTP_STAGE_CHUNK_LINE] = {HTTP_CHUNK_LINE_SIZE_MAX, HTTP_REFUSAL_HEAD_TOO_LARGE},
        [HTTP_STAGE_CHUNK_END] = {0, HTTP_REFUSAL_MALFORMED},
        [HTTP_STAGE_TRAILERS] = {HTTP_HEADER_SIZE_MAX, HTTP_REFUSAL_HEAD_TOO_LARGE},
    };
    uint32_t line_len = (uint32_t)reader->text.len - reader->line_at;
    uint32_t gathered = reader->stage >= HTTP_STAGE_BODY ? reader->extra_bytes + line_len : (uint32_t)reader->text.len;
    uint32_t of_line = lines[reader->stage].size_max - line_len;
    uint32_t of_head = gathered < limits->head_size_max ? limits->head_size_max - gathered : 0;
    *refusal = of_line <= of_head ? lines[reader->stage].refusal : HTTP_REFUSAL_HEAD_TOO_LARGE;
    return of_line <= of_head ? of_line : of_head;
}

static struct slice http_line(const struct http_reader *reader)
{
    if (reader->text.len == 0) return SLICE_EMPTY; /* nothing is added to a NULL pointer */
    return slice_of(reader->text.data + reader->line_at, reader->text.len - reader->line_at);
}

static void http_take(struct slice *in, uint32_t len)
{
    in->data += len;
    in->len -= len;
}

/* Moves bytes of the line up to its CR. */
static void http_gather_text(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    enum http_refusal too_large;
    uint32_t len = 0, room = http_line_room(reader, limits, &too_large);
    while (len < in->len && (in->data[len] >= 0x20 || in->data[len] == '\t') && in->data[len] != 0x7F) len++;
    writer_raw(&reader->text, in->data, len <= room ? len : room);
    if (reader->text.failed) http_refuse(reader, HTTP_REFUSAL_BUSY);
    if (len > room) http_refuse(reader, too_large);
    http_take(in, len);
}

/* True: the line is whole, its CR LF consumed. */
static bool http_gather_line(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    reader->begun = true;
    if (!reader->line_cr) {
        http_gather_text(reader, in, limits);
        if (in->len == 0 || reader->refusal != HTTP_REFUSAL_NONE) return false;
        if (in->data[0] != '\r') http_refuse(reader, HTTP_REFUSAL_MALFORMED); /* a bare LF, a control character */
        reader->line_cr = true;
        http_take(in, 1);
    }
    if (in->len == 0 || reader->refusal != HTTP_REFUSAL_NONE) return false;
    if (in->data[0] != '\n') http_refuse(reader, HTTP_REFUSAL_MALFORMED); /* a bare CR */
    reader->line_cr = false;
    http_take(in, 1);
    return reader->refusal == HTTP_REFUSAL_NONE;
}

/* What speaks another protocol is told so before its line ends. */
static void http_check_begin(struct http_reader *reader)
{
    struct slice line = http_line(reader);
    uint32_t len = 0;
    while (len < line.len && len <= HTTP_METHOD_SIZE_MAX && http_is_token_byte(line.data[len])) len++;
    bool another = line.len > 0 && (len == 0 || (len < line.len && len <= HTTP_METHOD_SIZE_MAX && line.data[len] != ' '));
    if (len > 0 && !http_begins_method(slice_of(line.data, len))) reader->refusal = HTTP_REFUSAL_METHOD_UNKNOWN;
    else if (another) reader->refusal = HTTP_REFUSAL_MALFORMED;
}

static void http_on_request_line(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    bool whole = http_gather_line(reader, in, limits);
    http_check_begin(reader);
    if (!whole || reader->refusal != HTTP_REFUSAL_NONE) return;
    struct slice line = http_line(reader);
    if (line.len == 0) { /* an empty line before a request is none of it */
        http_reader_reset(reader);
        return;
    }
    struct http_request_line parsed;
    http_refuse(reader, http_parse_request_line(&parsed, line));
    if (reader->refusal != HTTP_REFUSAL_NONE) return;
    reader->method_len = (uint16_t)parsed.method.len;
    reader->target_len = (uint16_t)parsed.target.len;
    reader->minor = parsed.minor;
    reader->line_at = (uint32_t)reader->text.len;
    reader->stage = HTTP_STAGE_HEADERS;
}

static void http_add_header(struct http_reader *reader, const struct http_header *header)
{
    if (http_header_count(reader) == HTTP_HEADERS_MAX) {
        http_refuse(reader, HTTP_REFUSAL_HEAD_TOO_LARGE);
        return;
    }
    struct http_span span = {.name_at = reader->line_at, .name_len = header->name.len, .value_len = header->value.len};
    span.value_at = header->value.len == 0 ? span.name_at : (uint32_t)(header->value.data - reader->text.data);
    writer_raw(&reader->spans, &span, sizeof span);
    if (reader->spans.failed) http_refuse(reader, HTTP_REFUSAL_BUSY);
    reader->line_at = (uint32_t)reader->text.len;
}

static void http_on_header_line(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    if (!http_gather_line(reader, in, limits)) return;
    struct http_header header;
    struct slice line = http_line(reader);
    if (line.len > 0) {
        if (http_parse_header(&header, line)) http_add_header(reader, &header);
        else http_refuse(reader, HTTP_REFUSAL_MALFORMED);
        return;
    }
    http_refuse(reader, http_check_head(reader, limits));
    reader->stage = reader->chunked ? HTTP_STAGE_CHUNK_LINE : HTTP_STAGE_BODY;
    reader->complete = !reader->chunked && reader->left == 0;
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

/* True: all that was left is here. */
static bool http_gather_body(struct http_reader *reader, struct slice *in)
{
    uint32_t len = in->len < reader->left ? in->len : reader->left;
    reader->continue_wanted = false; /* the client did not wait */
    writer_raw(&reader->body, in->data, len);
    if (reader->body.failed) http_refuse(reader, HTTP_REFUSAL_BUSY);
    reader->left -= len;
    http_take(in, len);
    return reader->left == 0;
}

/* Forgets the line: it is none of the head. */
static void http_drop_line(struct http_reader *reader, uint32_t extra_bytes)
{
    reader->extra_bytes += extra_bytes;
    reader->text.len = reader->line_at;
}

static void http_on_chunk_line(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    struct http_chunk_line chunk;
    reader->continue_wanted = false;
    if (!http_gather_line(reader, in, limits)) return;
    if (!http_parse_chunk_line(&chunk, http_line(reader))) {
        http_refuse(reader, HTTP_REFUSAL_MALFORMED);
    } else if (chunk.size > limits->body_size_max - reader->body.len) {
        http_refuse(reader, HTTP_REFUSAL_BODY_TOO_LARGE);
    } else {
        http_drop_line(reader, chunk.extension_len);
        reader->left = (uint32_t)chunk.size;
        reader->stage = chunk.size == 0 ? HTTP_STAGE_TRAILERS : HTTP_STAGE_CHUNK_DATA;
    }
}

/* Nobody asked for a trailer: it is checked and ignored. */
static void http_on_trailer_line(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    if (!http_gather_line(reader, in, limits)) return;
    struct http_header header;
    struct slice line = http_line(reader);
    if (line.len == 0) reader->complete = true;
    else if (!http_parse_header(&header, line)) http_refuse(reader, HTTP_REFUSAL_MALFORMED);
    http_drop_line(reader, line.len);
}

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

static void http_step(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    switch ((enum http_stage)reader->stage) {
    case HTTP_STAGE_REQUEST_LINE: http_on_request_line(reader, in, limits); break;
    case HTTP_STAGE_HEADERS: http_on_header_line(reader, in, limits); break;
    case HTTP_STAGE_BODY: reader->complete = http_gather_body(reader, in); break;
    case HTTP_STAGE_CHUNK_LINE: http_on_chunk_line(reader, in, limits); break;
    case HTTP_STAGE_CHUNK_DATA:
        if (http_gather_body(reader, in)) reader->stage = HTTP_STAGE_CHUNK_END;
        break;
    case HTTP_STAGE_CHUNK_END:
        if (http_gather_line(reader, in, limits)) reader->stage = HTTP_STAGE_CHUNK_LINE;
        break;
    case HTTP_STAGE_TRAILERS: http_on_trailer_line(reader, in, limits); break;
    }
}

enum http_event http_reader_feed(struct http_reader *reader, struct slice *in, const struct http_limits *limits)
{
    ASSERT(!reader->complete && reader->refusal == HTTP_REFUSAL_NONE);
    while (in->len > 0 && !reader->complete && reader->refusal == HTTP_REFUSAL_NONE) http_step(reader, in, limits);
    if (reader->refusal != HTTP_REFUSAL_NONE) return HTTP_EVENT_REFUSED;
    if (reader->complete) return HTTP_EVENT_REQUEST;
    if (!http_reader_in_body(reader) || !reader->continue_wanted) return HTTP_EVENT_MORE;
    reader->continue_wanted = false;
    return HTTP_EVENT_CONTINUE;
}
