/* shard/door/origins.c - origins are compared as origins: letters of a host have no case, each scheme has its port. */
#include "shard/door/origins.h"
#include "core/check.h"
#include <stdio.h>

enum result origins_check(const struct config_items *items, char *text, size_t text_size)
{
    for (uint32_t i = 0; i < items->count; i++) {
        char why[512];
        if (web_origin_check(config_item(items, i), why, sizeof why) == RESULT_OK) continue;
        snprintf(text, text_size, "allowed_origins: %s", why);
        return RESULT_MALFORMED;
    }
    return RESULT_OK;
}

void origins_init(struct origins *origins, const struct config_items *items)
{
    origins->count = items == NULL ? 0 : items->count;
    for (uint32_t i = 0; i < origins->count; i++) {
        struct origins_item *item = &origins->items[i];
        struct web_origin stated;
        bool parsed = web_origin_parse(&stated, slice_text(config_item(items, i)));
        ASSERT(parsed); /* origins_check() */
        web_origin_write(&stated, item->text, sizeof item->text);
        parsed = web_origin_parse(&item->origin, slice_text(item->text));
        ASSERT(parsed);
    }
}

uint8_t origins_find(const struct origins *origins, struct slice origin)
{
    struct web_origin said;
    if (origins->count == 0 || origin.data == NULL || !web_origin_parse(&said, origin)) return 0;
    for (uint32_t i = 0; i < origins->count; i++)
        if (web_origin_equal(&said, &origins->items[i].origin)) return (uint8_t)(i + 1);
    return 0;
}

/* A plain connection may come from a proxy that ends TLS: its pages are https then, and the proxy need not say so. */
bool origins_is_own(const struct http_request *request, struct slice origin)
{
    struct web_origin said, own = {0};
    if (!web_origin_parse(&said, origin) || !authority_parse(&own.authority, request->authority)) return false;
    own.secure = request->scheme == HTTP_SCHEME_UNKNOWN ? said.secure : request->scheme == HTTP_SCHEME_SECURE;
    return web_origin_equal(&said, &own);
}
