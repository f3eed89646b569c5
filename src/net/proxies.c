/* net/proxies.c - see proxies.h. Failure: what a proxy says and nobody can read is not used; the address is then the last one that
 * could be read. */
#include "net/proxies.h"
#include "core/check.h"
#include "net/authority.h"
#include "net/http_line.h"
#include <stdio.h>

static enum result check_items(const char *option, const struct config_items *items, char *text, size_t text_size)
{
    struct netblock block;
    for (uint32_t i = 0; i < items->count; i++) {
        const char *item = config_item(items, i), *why = netblock_parse(&block, slice_text(item));
        if (why == NULL) continue;
        snprintf(text, text_size, "%s: %s %s. Each is an address or a block of them, as in 10.0.0.0/8", option, item, why);
        return RESULT_MALFORMED;
    }
    return RESULT_OK;
}

enum result proxies_check(const struct config *config, char *text, size_t text_size)
{
    enum result result = check_items("trusted_proxies", &config->trusted_proxies, text, text_size);
    return result == RESULT_OK ? check_items("proxy_protocol_from", &config->proxy_protocol_from, text, text_size) : result;
}

void proxies_init(struct proxies *proxies, const struct config_items *items)
{
    *proxies = (struct proxies){.count = items == NULL ? 0 : items->count};
    for (uint32_t i = 0; i < proxies->count; i++) {
        const char *why = netblock_parse(&proxies->blocks[i], slice_text(config_item(items, i)));
        ASSERT(why == NULL); /* proxies_check() */
    }
}

bool proxies_believe(const struct proxies *proxies, const struct in6_addr *address)
{
    for (uint32_t i = 0; i < proxies->count; i++)
        if (netblock_has(&proxies->blocks[i], address)) return true;
    return false;
}

/* The last element of a list; *list loses it. False: there is none. */
static bool last_of(struct slice *list, struct slice *element)
{
    if (list->data == NULL) return false;
    uint32_t at = list->len;
    while (at > 0 && list->data[at - 1] != ',') at--;
    *element = http_trim(slice_of(list->data + at, list->len - at));
    *list = at == 0 ? SLICE_EMPTY : slice_of(list->data, at - 1);
    return true;
}

struct in6_addr proxies_client(const struct proxies *proxies, const struct http_request *request, const struct in6_addr *peer)
{
    struct in6_addr client = *peer;
    for (uint32_t i = request->header_count; i-- > 0;) {
        struct slice list = request->headers[i].value, element;
        if (!slice_equal_nocase(request->headers[i].name, "X-Forwarded-For")) continue;
        while (last_of(&list, &element)) {
            struct in6_addr before;
            if (!address_parse_forwarded(&before, element)) return client;
            client = before;
            if (!proxies_believe(proxies, &client)) return client;
        }
    }
    return client;
}

/* What the nearest proxy said. */
static struct slice last_value(const struct http_request *request, const char *name)
{
    struct slice element = SLICE_EMPTY;
    for (uint32_t i = request->header_count; i-- > 0;) {
        struct slice list = request->headers[i].value;
        if (slice_equal_nocase(request->headers[i].name, name) && last_of(&list, &element)) return element;
    }
    return element;
}

void proxies_amend(struct http_request *request)
{
    struct authority authority;
    struct slice scheme = last_value(request, "X-Forwarded-Proto"), host = last_value(request, "X-Forwarded-Host");
    bool secure = slice_equal_nocase(scheme, "https") || slice_equal_nocase(scheme, "wss");
    bool plain = slice_equal_nocase(scheme, "http") || slice_equal_nocase(scheme, "ws");
    request->scheme = secure ? HTTP_SCHEME_SECURE : plain ? HTTP_SCHEME_PLAIN : HTTP_SCHEME_UNKNOWN;
    if (authority_parse(&authority, host)) request->authority = host;
}
