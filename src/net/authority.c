/* net/authority.c - see authority.h. Failure: whatever is not exactly an authority or an origin is none. */
#include "net/authority.h"
#include "core/check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

#define AUTHORITY_HOST_SIZE_MAX 255u
#define PORT_DIGITS_MAX         5u

static bool host_byte(uint8_t byte)
{
    bool alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
    return alphanumeric || byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

/* Size of the host that `text` begins with; 0: none. */
static uint32_t name_size(struct slice text)
{
    uint32_t len = 0;
    while (len < text.len && host_byte(text.data[len])) len++;
    return len;
}

static uint32_t literal_size(struct slice text)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    const uint8_t *bracket = memchr(text.data, ']', text.len);
    size_t len = bracket == NULL ? 0 : (size_t)(bracket - text.data) - 1;
    if (len == 0 || len >= sizeof address) return 0;
    memcpy(address, text.data + 1, len);
    address[len] = '\0';
    if (memchr(address, '\0', len) != NULL || inet_pton(AF_INET6, address, &parsed) != 1) return 0;
    return (uint32_t)len + 2;
}

/* ":" and a port, or nothing. */
static bool port_parse(uint16_t *port, struct slice text)
{
    *port = 0;
    if (text.len == 0) return true;
    if (text.data[0] != ':' || text.len > 1 + PORT_DIGITS_MAX) return false;
    uint32_t number = 0;
    for (uint32_t i = 1; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX && (number > 0 || text.len == 1);
}

bool authority_parse(struct authority *authority, struct slice text)
{
    if (text.len == 0) return false;
    uint32_t host = text.data[0] == '[' ? literal_size(text) : name_size(text);
    uint16_t port;
    if (host == 0 || host > AUTHORITY_HOST_SIZE_MAX || !port_parse(&port, slice_of(text.data + host, text.len - host)))
        return false;
    *authority = (struct authority){.host = slice_of(text.data, host), .port = port};
    return true;
}

static bool begins(struct slice text, const char *scheme)
{
    size_t len = strlen(scheme);
    return text.len >= len && strncasecmp((const char *)text.data, scheme, len) == 0;
}

bool web_origin_parse(struct web_origin *origin, struct slice text)
{
    bool secure = begins(text, "https://");
    if (!secure && !begins(text, "http://")) return false;
    uint32_t scheme = secure ? 8 : 7;
    origin->secure = secure;
    return authority_parse(&origin->authority, slice_of(text.data + scheme, text.len - scheme));
}

static uint16_t port_of(const struct web_origin *origin)
{
    if (origin->authority.port != 0) return origin->authority.port;
    return origin->secure ? 443 : 80;
}

bool web_origin_equal(const struct web_origin *a, const struct web_origin *b)
{
    struct slice one = a->authority.host, other = b->authority.host;
    return a->secure == b->secure && port_of(a) == port_of(b) && one.len == other.len &&
           strncasecmp((const char *)one.data, (const char *)other.data, one.len) == 0;
}

void web_origin_write(const struct web_origin *origin, char *out, size_t size)
{
    struct slice host = origin->authority.host;
    uint16_t port = origin->authority.port;
    int len = snprintf(out, size, "%s%.*s", origin->secure ? "https://" : "http://", (int)host.len, (const char *)host.data);
    ASSERT(len > 0 && (size_t)len < size);
    for (char *at = out; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z') *at = (char)(*at - 'A' + 'a');
    if (port == 0 || port == (origin->secure ? 443 : 80)) return;
    int added = snprintf(out + len, size - (size_t)len, ":%u", port);
    ASSERT(added > 0 && (size_t)added < size - (size_t)len);
}

enum result web_origin_check(const char *origin, char *text, size_t text_size)
{
    struct web_origin parsed;
    struct slice slice = slice_text(origin);
    bool schemed = begins(slice, "https://") || begins(slice, "http://");
    const char *rest = schemed ? strstr(origin, "://") + 3 : origin;
    const char *why = "is not a scheme, a host and perhaps a port";
    if (web_origin_parse(&parsed, slice)) return RESULT_OK;
    if (strchr(origin, '*') != NULL) why = "has a '*': patterns are not understood, name each origin";
    else if (!schemed) why = "has no scheme: it begins with https:// or http://";
    else if (strchr(rest, '/') != NULL) why = "has a path or a '/' at its end: an origin ends with host or port";
    snprintf(text, text_size, "%s %s, as in https://chat.example.com", origin, why);
    return RESULT_MALFORMED;
}
