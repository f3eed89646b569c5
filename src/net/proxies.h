/* net/proxies.h - which peers are proxies that are believed, and what they say about the client of a request.
 * Owns:    the list of their addresses.
 * Thread:  filled once; any reads it then.   Depends: core/ only.           Start at: net/net.h
 *
 * X-Forwarded-For grows to the right: each proxy adds the address of whoever connected to it. From the right, proxies that are
 * believed are skipped; the first other address is the client's, and what stands left of it is only its own word. */
#ifndef NET_PROXIES_H
#define NET_PROXIES_H

#include "core/config.h"
#include "core/result.h"
#include "net/conn.h"
#include "net/netblock.h"

struct proxies {
    uint32_t count;
    struct netblock blocks[CONFIG_ITEMS_MAX];
};

/* MALFORMED, with the reason in `text`: an item of trusted_proxies or proxy_protocol_from is no block of addresses. */
NODISCARD enum result proxies_check(const struct config *config, char *text, size_t text_size);
/* What proxies_check() let pass. NULL: nobody is believed. */
void proxies_init(struct proxies *proxies, const struct config_items *items);
bool proxies_believe(const struct proxies *proxies, const struct in6_addr *address);
/* The client's address, as `peer`, a proxy that is believed, and those before it tell. */
struct in6_addr proxies_client(const struct proxies *proxies, const struct http_request *request, const struct in6_addr *peer);
/* Scheme and authority as the client used them, by X-Forwarded-Proto and X-Forwarded-Host of a proxy that is believed. */
void proxies_amend(struct http_request *request);

#endif
