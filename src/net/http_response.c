/* net/http_response.c - the heads of responses, and what a refusal says. */
#include "core/check.h"
#include "net/http.h"
#include <stdio.h>
#include <time.h>

static const struct http_refusal_row {
    uint16_t status;
    const char *code, *reason, *message;
} http_refusal_rows[HTTP_REFUSAL_COUNT] = {
#define HTTP_REFUSAL_AS_ROW(name, status, code, reason, message)                                                       \
    [HTTP_REFUSAL_##name] = {status, code, reason, message},
    HTTP_REFUSAL_LIST(HTTP_REFUSAL_AS_ROW)
#undef HTTP_REFUSAL_AS_ROW
};

static const char *http_status_text(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *text;
    } texts[] = {
        {200, "OK"}, {204, "No Content"}, {304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"},
        {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
        {413, "Content Too Large"}, {414, "URI Too Long"}, {417, "Expectation Failed"}, {426, "Upgrade Required"},
        {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
        {501, "Not Implemented"}, {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (texts[i].status == status) return texts[i].text;
    return ""; /* the phrase may be empty */
}

bool http_status_has_body(uint16_t status)
{
    return status >= 200 && status != 204 && status != 304;
}

const char *http_date_text(struct http_date *date, uint64_t now_ms)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    if (date->second == now_ms / 1000) return date->text;
    date->second = now_ms / 1000;
    time_t second = (time_t)date->second;
    struct tm tm;
    struct tm *known = gmtime_r(&second, &tm);
    ASSERT(known != NULL && tm.tm_year < 8100);
    int size = snprintf(date->text, sizeof date->text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
                        months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    ASSERT(size == HTTP_DATE_SIZE - 1);
    return date->text;
}

/* Who is told to upgrade is told to what: RFC 9110 wants that option of Connection beside the header Upgrade. */
static const char *http_connection_lines(enum http_connection connection, bool upgrade)
{
#define UPGRADE_LINES "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    switch (connection) {
    case HTTP_CONNECTION_KEEP_ALIVE:
        return upgrade ? "Connection: keep-alive, upgrade\r\n" UPGRADE_LINES : "Connection: keep-alive\r\n";
    case HTTP_CONNECTION_CLOSE: return upgrade ? "Connection: close, upgrade\r\n" UPGRADE_LINES : "Connection: close\r\n";
    case HTTP_CONNECTION_DEFAULT: break;
    }
    return upgrade ? "Connection: upgrade\r\n" UPGRADE_LINES : "";
#undef UPGRADE_LINES
}

uint32_t http_write_head(char out[HTTP_RESPONSE_HEAD_SIZE_MAX], const struct http_response *response,
                         enum http_connection connection, const char *date)
{
    ASSERT(response->status >= 100 && response->status <= 599);
    bool has_body = http_status_has_body(response->status);
    bool typed = response->content_type != NULL && has_body;
    char length[40] = "";
    if (has_body) snprintf(length, sizeof length, "Content-Length: %u\r\n", (unsigned)response->body.len);
    int size = snprintf(out, HTTP_RESPONSE_HEAD_SIZE_MAX, "HTTP/1.1 %u %s\r\nDate: %s\r\n%s%s%s%s%s", (unsigned)response->status,
                        http_status_text(response->status), date, typed ? "Content-Type: " : "",
                        typed ? response->content_type : "", typed ? "\r\n" : "", length,
                        http_connection_lines(connection, response->status == 426));
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
                        "\"retry_after_ms\":0,\"request_id\":\"\"}}\n",
                        row->code, row->reason, row->message, retryable ? "true" : "false");
    ASSERT(size > 0 && size < HTTP_ERROR_BODY_SIZE_MAX);
    return (struct http_response){
        .status = row->status,
        .content_type = "application/json",
        .body = slice_of(body, (size_t)size),
    };
}
