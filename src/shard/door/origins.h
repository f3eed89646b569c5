/* shard/door/origins.h - which web pages may use the server from a browser: its own, and those of allowed_origins.
 * Owns:    the list, in the spelling that browsers use.
 * Thread:  filled once; any reads it then.   Depends: core/config.h, net/authority.h.   Start at: shard/door/door.h */
#ifndef SHARD_ORIGINS_H
#define SHARD_ORIGINS_H

#include "core/config.h"
#include "net/authority.h"
#include "net/conn.h"

struct origins {
    uint32_t count;
    struct origins_item {
        struct web_origin origin;    /* of `text` */
        char text[CONFIG_TEXT_MAX]; /* as a browser says it: small letters, no default port */
    } items[CONFIG_ITEMS_MAX];
};

/* MALFORMED, with the reason in `text`, for an item that no browser would ever say. */
NODISCARD enum result origins_check(const struct config_items *items, char *text, size_t text_size);
/* What origins_check() let pass. NULL: none are listed. */
void origins_init(struct origins *origins, const struct config_items *items);
/* Number of the listed origin, from 1; 0: none. */
uint8_t origins_find(const struct origins *origins, struct slice origin);
/* Whether `origin` is that of the server itself, as far as the request tells under what name the server is known. */
bool origins_is_own(const struct http_request *request, struct slice origin);

#endif
