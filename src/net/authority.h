/* net/authority.h - host and port as HTTP names them, and origins: scheme, host and port. Text in, parts out.
 * Owns:    nothing.
 * Thread:  any.                   Depends: core/ only.           Start at: net/net.h
 *
 *   authority = host [":" [port]]      chat.example.com   192.0.2.1:8080   [2001:db8::1]:443
 *   origin    = scheme "://" authority https://chat.example.com
 *
 * A host is letters, digits and "-._~", or an IPv6 address in brackets. What else RFC 3986 lets into a registered name
 * (a comma, an escape) no real host has, and two readers may see in it two different hosts. */
#ifndef NET_AUTHORITY_H
#define NET_AUTHORITY_H

#include "core/cursor.h"
#include "core/result.h"
#include <stdbool.h>
#include <stdint.h>

struct authority {
    struct slice host; /* with its brackets */
    uint16_t port;     /* 0: not stated */
};

/* False: it is none; *authority is then not set. */
bool authority_parse(struct authority *authority, struct slice text);

struct web_origin {
    bool secure; /* https */
    struct authority authority;
};

/* False: no origin of a page, "null" among them: it equals no other. */
bool web_origin_parse(struct web_origin *origin, struct slice text);
/* As the letters of a host have no case and each scheme has its port. */
bool web_origin_equal(const struct web_origin *a, const struct web_origin *b);
/* As a browser writes it: small letters, no default port. `size` holds what it was parsed from. */
void web_origin_write(const struct web_origin *origin, char *out, size_t size);
/* MALFORMED, with what is wrong in `text`, for what no browser would ever say as its origin. */
NODISCARD enum result web_origin_check(const char *origin, char *text, size_t text_size);

#endif
