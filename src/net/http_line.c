/* net/http_line.c - see http_line.h. Failure: whatever the grammar does not have is refused, nothing is repaired. */
#include "net/http_line.h"
#include "core/check.h"
#include "net/authority.h"
#include <strings.h>

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

bool http_is_token_byte(uint8_t byte)
{
    static const uint8_t others[256] = {['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
                                        ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1};
    bool alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
    return alphanumeric || others[byte] != 0;
}

/* What stands in a target: visible ASCII, but what no client sends unescaped. */
static bool is_target_byte(uint8_t byte)
{
    return byte > 0x20 && byte < 0x7F && byte != '"' && byte != '<' && byte != '>' && byte != '#';
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_token(struct slice text)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (!http_is_token_byte(text.data[i])) return false;
    return text.len > 0;
}

bool slice_equal_nocase(struct slice slice, const char *text)
{
    return slice.len == strlen(text) && (slice.len == 0 || strncasecmp((const char *)slice.data, text, slice.len) == 0);
}

struct slice http_trim(struct slice value)
{
    while (value.len > 0 && is_blank(value.data[value.len - 1])) value.len--;
    while (value.len > 0 && is_blank(value.data[0])) value = slice_of(value.data + 1, value.len - 1);
    return value;
}

/* What stands before the first `byte`; *rest gets what stands behind it. False: there is none. */
static bool split_at(struct slice text, char byte, struct slice *before, struct slice *rest)
{
    const uint8_t *at = text.len == 0 ? NULL : memchr(text.data, byte, text.len);
    if (at == NULL) return false;
    *before = slice_of(text.data, (size_t)(at - text.data));
    *rest = slice_of(at + 1, text.len - before->len - 1);
    return true;
}

bool http_list_next(struct slice *list, struct slice *element)
{
    if (list->data == NULL) return false;
    struct slice whole = *list;
    if (!split_at(whole, ',', element, list)) {
        *element = whole;
        *list = SLICE_EMPTY;
    }
    *element = http_trim(*element);
    return true;
}

/* ---- the request line -------------------------------------------------------------------------------------------- */

/* Not CONNECT: this is no proxy. */
static const char *const known_methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};

static bool is_known_method(struct slice method)
{
    for (size_t i = 0; i < COUNT_OF(known_methods); i++)
        if (slice_equal(method, slice_text(known_methods[i]))) return true;
    return false;
}

bool http_begins_method(struct slice bytes)
{
    for (size_t i = 0; i < COUNT_OF(known_methods); i++)
        if (strncmp(known_methods[i], (const char *)bytes.data, bytes.len) == 0) return true;
    return false;
}

enum http_refusal http_parse_request_line(struct http_request_line *out, struct slice line)
{
    struct slice rest, version;
    if (!split_at(line, ' ', &out->method, &rest) || !is_token(out->method)) return HTTP_REFUSAL_MALFORMED;
    if (!is_known_method(out->method)) return HTTP_REFUSAL_METHOD_UNKNOWN;
    bool versioned = split_at(rest, ' ', &out->target, &version);
    if (!versioned) return rest.len > 0 ? HTTP_REFUSAL_VERSION : HTTP_REFUSAL_MALFORMED; /* HTTP/0.9 has none */
    if (out->target.len > HTTP_TARGET_SIZE_MAX) return HTTP_REFUSAL_TARGET_TOO_LARGE;
    bool formed = version.len == 8 && memcmp(version.data, "HTTP/", 5) == 0 && is_digit(version.data[5]) &&
                  version.data[6] == '.' && is_digit(version.data[7]);
    if (!formed) return HTTP_REFUSAL_MALFORMED;
    if (version.data[5] != '1') return HTTP_REFUSAL_VERSION;
    out->minor = (uint8_t)(version.data[7] - '0');
    struct http_target target;
    return http_parse_target(&target, out->method, out->target) ? HTTP_REFUSAL_NONE : HTTP_REFUSAL_MALFORMED;
}

/* "http://host:port" before the path. */
static bool target_authority(struct http_target *out, struct slice *target)
{
    bool secure = target->len > 8 && strncasecmp((const char *)target->data, "https://", 8) == 0;
    bool plain = target->len > 7 && strncasecmp((const char *)target->data, "http://", 7) == 0;
    if (!secure && !plain) return false;
    struct slice rest = slice_of(target->data + (secure ? 8 : 7), target->len - (secure ? 8 : 7));
    uint32_t len = 0;
    while (len < rest.len && rest.data[len] != '/' && rest.data[len] != '?') len++;
    out->authority = slice_of(rest.data, len);
    *target = slice_of(rest.data + len, rest.len - len);
    struct authority parsed;
    return authority_parse(&parsed, out->authority);
}

bool http_parse_target(struct http_target *out, struct slice method, struct slice target)
{
    *out = (struct http_target){.path = target};
    for (uint32_t i = 0; i < target.len; i++)
        if (!is_target_byte(target.data[i])) return false;
    if (slice_equal(target, SLICE_TEXT("*"))) return slice_equal(method, SLICE_TEXT("OPTIONS"));
    if (target.len == 0 || (target.data[0] != '/' && !target_authority(out, &target))) return false;
    if (!split_at(target, '?', &out->path, &out->query)) out->path = target;
    if (out->path.len == 0) out->path = SLICE_TEXT("/");
    return true;
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

bool http_parse_header(struct http_header *out, struct slice line)
{
    if (!split_at(line, ':', &out->name, &out->value) || !is_token(out->name)) return false;
    out->value = http_trim(out->value);
    return true;
}

bool http_parse_length(struct slice value, uint64_t *length)
{
    *length = 0;
    for (uint32_t i = 0; i < value.len; i++) {
        if (!is_digit(value.data[i])) return false;
        bool fits = *length < UINT64_MAX / 10;
        *length = fits ? *length * 10 + (uint64_t)(value.data[i] - '0') : UINT64_MAX;
    }
    return value.len > 0;
}

static struct slice strong(struct slice etag)
{
    bool weak = etag.len > 2 && memcmp(etag.data, "W/", 2) == 0;
    return weak ? slice_of(etag.data + 2, etag.len - 2) : etag;
}

/* A tag may have commas between its quotation marks. */
static struct slice next_etag(struct slice *list)
{
    uint32_t len = 0;
    for (bool quoted = false; len < list->len && (quoted || list->data[len] != ','); len++) quoted ^= list->data[len] == '"';
    struct slice etag = http_trim(slice_of(list->data, len));
    uint32_t used = len < list->len ? len + 1 : len;
    *list = slice_of(list->data + used, list->len - used);
    return etag;
}

bool http_lists_etag(struct slice list, const char *etag)
{
    if (slice_equal(list, SLICE_TEXT("*"))) return true;
    while (list.len > 0)
        if (slice_equal(strong(next_etag(&list)), strong(slice_text(etag)))) return true;
    return false;
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

static int hex_of(uint8_t byte)
{
    if (is_digit(byte)) return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static uint32_t skip_blanks(struct slice text, uint32_t at)
{
    while (at < text.len && is_blank(text.data[at])) at++;
    return at;
}

static uint32_t skip_token(struct slice text, uint32_t at)
{
    while (at < text.len && http_is_token_byte(text.data[at])) at++;
    return at;
}

/* Behind the closing quotation mark; `at` itself when there is none. */
static uint32_t skip_quoted(struct slice text, uint32_t at)
{
    for (uint32_t i = at + 1; i < text.len; i++) {
        if (text.data[i] == '"') return i + 1;
        if (text.data[i] == '\\') i++;
    }
    return at;
}

/* *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static bool extensions_valid(struct slice text)
{
    uint32_t at = 0;
    while (at < text.len) {
        at = skip_blanks(text, at);
        if (at == text.len || text.data[at] != ';') return false;
        uint32_t name = skip_blanks(text, at + 1);
        at = skip_token(text, name);
        if (at == name) return false;
        uint32_t equals = skip_blanks(text, at);
        if (equals == text.len || text.data[equals] != '=') continue;
        uint32_t value = skip_blanks(text, equals + 1);
        bool quoted = value < text.len && text.data[value] == '"';
        at = quoted ? skip_quoted(text, value) : skip_token(text, value);
        if (at == value) return false;
    }
    return true;
}

bool http_parse_chunk_line(struct http_chunk_line *out, struct slice line)
{
    uint32_t digits = 0;
    out->size = 0;
    for (; digits < line.len && hex_of(line.data[digits]) >= 0; digits++)
        out->size = out->size >> 60 != 0 ? UINT64_MAX : out->size << 4 | (uint64_t)hex_of(line.data[digits]);
    out->extension_len = line.len - digits;
    return digits > 0 && extensions_valid(slice_of(line.data + digits, out->extension_len));
}
