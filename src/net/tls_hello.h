/* net/tls_hello.h - what is checked of a ClientHello before wolfSSL gets it, because a build of wolfSSL may not.
 * Thread: any.                    Depends: core/, wolfSSL.       Start at: net/tls.h */
#ifndef NET_TLS_HELLO_H
#define NET_TLS_HELLO_H

#include "core/cursor.h"
#include <stdbool.h>

/* `hello`: the message behind its head, from the version on. False: a key share for P-256 is no point of that curve, which a server must
 * refuse (RFC 8446 4.2.8.2). What cannot be read is left to wolfSSL, which refuses it: true. */
bool tls_hello_shares_sound(struct slice hello);

#endif
