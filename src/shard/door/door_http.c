/* shard/door/door_http.c - the HTTP door: methods as JSON, the pages of operations, the web chat.
 * Happy path: POST /v1/chat/send with a Bearer token -> JSON to packed -> letter to the user's home shard -> reply letter -> JSON.
 * Reads are also GET with their fields in the query. Every refusal is {"error":{…}} with the status of its row. */
#include "shard/domain/domain.h"
#include "api/json.h"
#include "api/token.h"
#include "net/http_line.h"
#include "net/websocket.h"
#include "shard/door/door_internal.h"
#include "web/assets.h"
#include <stdio.h>

#define BUSY_RETRY_MS 1000

/* ---- origins ---- */

bool door_origin_allowed(const struct door *d, const struct http_request *request)
{
    struct slice origin = http_request_header(request, "Origin");
    if (origin.data == NULL) return true; /* no browser */
    return origins_find(&d->origins, origin) != 0 || origins_is_own(request, origin);
}

const char *door_note_origin(struct door *d, const struct conn *conn, const struct http_request *request)
{
    struct refusal_text origin = refusal_text(http_request_header(request, "Origin"));
    struct refusal_text host = refusal_text(request->authority);
    struct in6_addr address = conn_address(conn);
    refusal_note(REFUSAL_ORIGIN, &address, "origin=%s host=%s", origin.text, host.text);
    snprintf(d->origin_text, sizeof d->origin_text,
             "the page's Origin is %s, the server was asked for as Host %s: the proxy has to pass Host on, or the option "
             "allowed_origins has to name that Origin",
             origin.text, host.text);
    return d->origin_text;
}

/* Header lines of every answer of the API: it is one person's and no cache keeps it; a page of a listed origin may read it. */
static struct slice api_headers(const struct door *d, uint8_t cors, char out[DOOR_HEADERS_MAX])
{
    int len = snprintf(out, DOOR_HEADERS_MAX, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (cors != 0)
        len += snprintf(out + len, DOOR_HEADERS_MAX - (size_t)len,
                        "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\nAccess-Control-Allow-Headers: Authorization, "
                        "Content-Type\r\nAccess-Control-Allow-Methods: GET, POST\r\nAccess-Control-Max-Age: 600\r\n",
                        d->origins.items[cors - 1].text);
    ASSERT(len < DOOR_HEADERS_MAX);
    return slice_of(out, (size_t)len);
}

/* ---- answers ---- */

static void send_response(struct conn *conn, const struct http_response *response)
{
    enum result result = conn_send_http(conn, response);
    if (result == RESULT_BUSY) conn_close_slow(conn, "no room for the response");
}

static void send_text(struct conn *conn, uint16_t status, const char *type, struct slice body)
{
    struct http_response response = {.status = status, .content_type = type, .body = body};
    send_response(conn, &response);
}

/* The lines behind `len` others that say what the client may do about it. */
static struct slice refusal_headers(enum error error, uint32_t retry_after_ms, const char *allow, char lines[DOOR_HEADERS_MAX], size_t len)
{
    int added = 0;
    if (retry_after_ms > 0)
        added = snprintf(lines + len, DOOR_HEADERS_MAX - len, "Retry-After: %u\r\n", retry_after_ms / 1000 + (retry_after_ms % 1000 != 0));
    else if (error_row(error)->status == 401)
        added = snprintf(lines + len, DOOR_HEADERS_MAX - len, "WWW-Authenticate: Bearer\r\n");
    else if (error == ERROR_METHOD_NOT_ALLOWED)
        added = snprintf(lines + len, DOOR_HEADERS_MAX - len, "Allow: %s\r\n", allow);
    ASSERT(added >= 0 && len + (size_t)added < DOOR_HEADERS_MAX);
    return slice_of(lines, len + (size_t)added);
}

struct http_response door_refusal(struct door *d, struct conn *conn, enum error error, const char *detail, uint32_t retry_after_ms,
                                  const char *allow, uint8_t cors)
{
    char request_id[48];
    struct slice headers = api_headers(d, cors, d->refusal_lines);
    struct conn_handle handle = conn_handle_of(conn);
    snprintf(request_id, sizeof request_id, "%x-%x-%llx", handle.slot, handle.generation,
             (unsigned long long)(d->options.ports.now_ns(d->options.ports.context) & 0xffffffff));
    struct envelope_error refusal = {
        .error = error, .detail = detail, .retry_after_ms = retry_after_ms, .request_id = request_id};
    metrics_add(&d->options.metrics->requests_refused, 1);
    writer_reset(&d->frame);
    envelope_error_body(&d->frame, &refusal);
    writer_u8(&d->frame, '\n'); /* so that the next line of a terminal begins at its left */
    return (struct http_response){.status = error_row(error)->status,
                                  .content_type = "application/json",
                                  .headers = refusal_headers(error, retry_after_ms, allow, d->refusal_lines, headers.len),
                                  .body = writer_slice(&d->frame)};
}

static void refuse(struct door *d, struct conn *conn, enum error error, const char *detail, uint32_t retry_after_ms,
                   const char *allow, uint8_t cors)
{
    struct http_response response = door_refusal(d, conn, error, detail, retry_after_ms, allow, cors);
    send_response(conn, &response);
}

void door_reply_http(struct door *d, struct conn *conn, const struct inflight *request, const struct letter *letter)
{
    struct slice payload = letter_payload(letter);
    if (letter->error != ERROR_NONE) {
        writer_reset(&d->detail);
        writer_raw(&d->detail, payload.data, payload.len);
        writer_u8(&d->detail, 0);
        refuse(d, conn, (enum error)letter->error, payload.len > 0 ? (const char *)d->detail.data : NULL,
               letter->retry_after_ms, NULL, request->cors);
        return;
    }
    writer_reset(&d->frame);
    enum result result = json_from_packed(envelope_response_descriptor(request->method), payload, &d->frame);
    if (result != RESULT_OK) {
        door_note_answer(d, request, letter);
        refuse(d, conn, ERROR_INTERNAL, NULL, 0, NULL, request->cors);
        return;
    }
    writer_u8(&d->frame, '\n');
    char lines[DOOR_HEADERS_MAX];
    struct http_response response = {.status = 200,
                                     .content_type = "application/json",
                                     .headers = api_headers(d, request->cors, lines),
                                     .body = writer_slice(&d->frame)};
    send_response(conn, &response);
}

/* ---- pages of operations ---- */

static void page_ready(struct door *d, struct conn *conn)
{
    static const char *const texts[] = {"{\"ready\":false,\"reason\":\"recovering\"}\n", "{\"ready\":true}\n",
                                        "{\"ready\":false,\"reason\":\"stopping\"}\n"};
    int state = d->options.pages->state;
    send_text(conn, state == HOST_SERVING ? 200 : 503, "application/json", slice_text(texts[state]));
}

static void page_metrics(struct door *d, struct conn *conn)
{
    writer_reset(&d->frame);
    metrics_render(&d->frame, d->options.pages->metrics, d->options.pages->worker_count);
    send_text(conn, 200, "text/plain; version=0.0.4; charset=utf-8", writer_slice(&d->frame));
}

static void page_version(struct door *d, struct conn *conn)
{
    const struct host_pages *pages = d->options.pages;
    char text[256];
    int len = snprintf(text, sizeof text, "{\"name\":\"ringpost\",\"version\":\"%s\",\"api\":\"v1\",\"workers\":%u,\"shards\":%u,\"instance\":\"%s\"}\n",
                       pages->version, pages->worker_count, pages->shard_count, pages->instance_id);
    send_text(conn, 200, "application/json", slice_of(text, (size_t)len));
}

static void page_health(struct door *d, struct conn *conn)
{
    (void)d;
    send_text(conn, 200, "application/json", SLICE_TEXT("{\"healthy\":true}\n"));
}

static void page_openapi(struct door *d, struct conn *conn)
{
    send_text(conn, 200, "application/json", d->options.pages->openapi);
}

static const struct {
    const char *path;
    void (*answer)(struct door *, struct conn *);
} pages[] = {
    {"/healthz", page_health}, {"/readyz", page_ready}, {"/metrics", page_metrics}, {"/version", page_version},
    {"/openapi.json", page_openapi},
};

static bool is_file(struct slice path)
{
    bool found = web_asset_find(path) != NULL;
    for (size_t i = 0; i < COUNT_OF(pages) && !found; i++) found = slice_equal(path, slice_text(pages[i].path));
    return found;
}

static bool serve_page(struct door *d, struct conn *conn, const struct http_request *request)
{
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        if (!slice_equal(request->path, slice_text(pages[i].path))) continue;
        pages[i].answer(d, conn);
        return true;
    }
    return false;
}

static bool known_to_client(const struct http_request *request, const char *etag)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        if (slice_equal_nocase(request->headers[i].name, "If-None-Match") && http_lists_etag(request->headers[i].value, etag)) return true;
    return false;
}

static bool serve_asset(struct conn *conn, const struct http_request *request)
{
    const struct web_asset *asset = web_asset_find(request->path);
    if (asset == NULL) return false;
    char headers[640];
    int len = snprintf(headers, sizeof headers,
                       "ETag: %s\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: "
                       "no-referrer\r\nContent-Security-Policy: %s\r\n",
                       asset->etag, WEB_CONTENT_SECURITY_POLICY);
    ASSERT(len > 0 && (size_t)len < sizeof headers);
    bool unchanged = known_to_client(request, asset->etag);
    struct http_response response = {.status = unchanged ? 304 : 200,
                                     .content_type = asset->content_type,
                                     .headers = slice_of(headers, (size_t)len),
                                     .body = unchanged ? SLICE_EMPTY : asset->body};
    send_response(conn, &response);
    return true;
}

/* ---- sockets that are none ---- */

/* A path of WebSockets was asked for in another way: says what is missing. */
static bool explain_socket(struct door *d, struct conn *conn, const struct http_request *request)
{
    if (door_socket_of(request->path) == DOOR_SOCKET_NONE) return false;
    if (slice_equal(request->method, SLICE_TEXT("GET"))) refuse(d, conn, ERROR_UPGRADE_REQUIRED, websocket_missing(request), 0, NULL, 0);
    else refuse(d, conn, ERROR_METHOD_NOT_ALLOWED, NULL, 0, "GET", 0);
    return true;
}

/* ---- methods ---- */

static struct slice bearer(const struct http_request *request)
{
    struct slice header = http_request_header(request, "Authorization");
    if (header.data == NULL || header.len < 7 || strncasecmp((const char *)header.data, "Bearer ", 7) != 0) return SLICE_EMPTY;
    return slice_of(header.data + 7, header.len - 7);
}

static bool is_get(const struct http_request *request)
{
    return slice_equal(request->method, SLICE_TEXT("GET")) || slice_equal(request->method, SLICE_TEXT("HEAD"));
}

/* The request message, packed into d->packed. */
static enum error read_message(struct door *d, const struct http_request *request, const struct method *method, char *text,
                               size_t text_size)
{
    const ProtobufCMessageDescriptor *descriptor = envelope_request_descriptor(method->number);
    enum result result;
    writer_reset(&d->packed);
    if (slice_equal(request->method, SLICE_TEXT("POST")))
        result = request->body.len == 0 ? RESULT_OK : json_to_packed(descriptor, request->body, &d->packed, text, text_size);
    else if (method->is_read && is_get(request))
        result = json_query_to_packed(descriptor, request->query, &d->packed, text, text_size);
    else
        return ERROR_METHOD_NOT_ALLOWED;
    return result == RESULT_OK ? ERROR_NONE : ERROR_BAD_REQUEST;
}

static enum error make_letter(struct door *d, const struct conn *conn, const struct http_request *request,
                              const struct method *method, struct letter **letter, const char **detail)
{
    uint16_t shard = 0;
    if (method->access == ACCESS_OPEN) {
        enum error error = method->route(method, writer_slice(&d->packed), 0, d->options.shard_count, &shard);
        if (error == ERROR_TOKEN_INVALID) door_note_token(conn, "it is no refresh token", 0);
        if (error != ERROR_NONE) return error;
        *letter = letter_make(LETTER_REQUEST, 0, shard, NULL, writer_slice(&d->packed));
        (*letter)->admitted = true;
        return ERROR_NONE;
    }
    struct token_claims claims;
    struct slice token = bearer(request);
    if (token.len == 0) return ERROR_NOT_AUTHENTICATED;
    enum error error = door_verify(d, conn, token, &claims, detail);
    if (error != ERROR_NONE) return error;
    struct actor_record actor = door_actor(&claims);
    *letter = letter_make(LETTER_REQUEST, 0, id_partition(claims.user_id), &actor, writer_slice(&d->packed));
    return ERROR_NONE;
}

static void on_method(struct door *d, struct conn *conn, const struct http_request *request, const struct method *method,
                      uint8_t cors)
{
    char text[DOOR_ORIGIN_TEXT_MAX] = "";
    const char *detail = NULL;
    struct letter *letter = NULL;
    metrics_add(&d->options.metrics->requests, 1);
    enum error error = method->access == ACCESS_SOCKET ? ERROR_SOCKET_ONLY : ERROR_NONE;
    if (error == ERROR_NONE && d->options.pages->state != HOST_SERVING) error = ERROR_NOT_READY;
    if (error == ERROR_NONE && !door_origin_allowed(d, request)) error = ERROR_ORIGIN_REFUSED;
    if (error == ERROR_ORIGIN_REFUSED) snprintf(text, sizeof text, "%s", door_note_origin(d, conn, request));
    if (error == ERROR_NONE) error = read_message(d, request, method, text, sizeof text);
    if (text[0] != '\0') detail = text;
    uint32_t retry_after_ms = 0;
    if (error == ERROR_NONE && method->access == ACCESS_OPEN && !door_login_allowed(d, conn, &retry_after_ms))
        error = ERROR_RATE_LIMITED;
    struct origin origin;
    if (error == ERROR_NONE) error = make_letter(d, conn, request, method, &letter, &detail);
    if (error == ERROR_NONE && !door_take(d, conn, (struct inflight){.method = method->number, .json = true, .cors = cors}, &origin)) {
        letter_free(letter);
        error = ERROR_SERVER_BUSY;
        retry_after_ms = BUSY_RETRY_MS;
    }
    if (error != ERROR_NONE) {
        refuse(d, conn, error, detail, retry_after_ms, method->is_read ? "GET, HEAD, POST" : "POST", cors);
        return;
    }
    letter->origin = origin;
    letter->address_class = door_address_class(conn);
    letter->method = method->number;
    d->options.ports.post(d->options.ports.context, letter);
}

void door_on_http(void *context, struct conn *conn, const struct http_request *request)
{
    struct door *d = context;
    uint8_t cors = origins_find(&d->origins, http_request_header(request, "Origin"));
    if (slice_equal(request->method, SLICE_TEXT("OPTIONS"))) {
        char lines[DOOR_HEADERS_MAX];
        struct http_response response = {.status = 204, .headers = api_headers(d, cors, lines)};
        send_response(conn, &response);
        return;
    }
    const struct method *method = method_by_path(ringpost_domain(), request->path);
    bool get = is_get(request);
    if (method != NULL) on_method(d, conn, request, method, cors);
    else if (explain_socket(d, conn, request)) return;
    else if (get && serve_page(d, conn, request)) return;
    else if (get && serve_asset(conn, request)) return;
    else if (!get && is_file(request->path)) refuse(d, conn, ERROR_METHOD_NOT_ALLOWED, NULL, 0, "GET, HEAD", cors);
    else refuse(d, conn, ERROR_UNKNOWN_METHOD, NULL, 0, NULL, cors);
}
