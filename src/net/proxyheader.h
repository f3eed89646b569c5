/* net/proxyheader.h - the PROXY protocol, versions 1 and 2: the bytes in front of a connection that say for whom a proxy opened it.
 * Thread:  any.                   Depends: core/ only.           Start at: net/net.h
 *
 *   version 1   "PROXY" SP ("TCP4" | "TCP6") SP source SP destination SP source port SP destination port CR LF; 107 bytes at most
 *               "PROXY UNKNOWN" anything CR LF
 *   version 2   12 bytes of signature | version 2, command: 1 byte | family, transport: 1 | length: 2, big-endian | addresses | TLVs */
#ifndef NET_PROXYHEADER_H
#define NET_PROXYHEADER_H

#include "core/cursor.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define PROXYHEADER_SIZE_MAX 2048u /* with its TLVs, which are ignored; a longer one is refused */

enum proxyheader_found { PROXYHEADER_MORE, PROXYHEADER_WHOLE, PROXYHEADER_BAD };

struct proxyheader {
    uint32_t size;          /* the connection's own bytes begin behind it */
    bool stated;            /* false: the proxy speaks for itself (a health check), or does not know */
    struct in6_addr source; /* of the client; IPv4 mapped */
    uint16_t port;
};

/* What `bytes`, the first of a connection, begin with. *out is set when it is WHOLE. */
enum proxyheader_found proxyheader_parse(struct slice bytes, struct proxyheader *out);

#endif
