/* net/netblock.h - addresses in text, and blocks of them (10.0.0.0/8). IPv4 is kept mapped (::ffff:a.b.c.d).
 * Thread:  any.                   Depends: core/ only.           Start at: net/net.h */
#ifndef NET_NETBLOCK_H
#define NET_NETBLOCK_H

#include "core/cursor.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct netblock {
    struct in6_addr address;
    uint8_t bits; /* 0..128 of it are the block's; an IPv4 block has 96 more than it says */
};

/* "192.0.2.1", "2001:db8::1". False: none of them. */
bool address_parse(struct in6_addr *address, struct slice text);
/* The same, also in brackets, also with a port behind it, as proxies write it. */
bool address_parse_forwarded(struct in6_addr *address, struct slice text);

/* An address, or an address and "/bits". NULL, or what is wrong with it. */
const char *netblock_parse(struct netblock *block, struct slice text);
bool netblock_has(const struct netblock *block, const struct in6_addr *address);

#endif
