/* net/net.h - bytes on sockets: one port, three doors told apart by the first bytes.
 * Read in this order:
 *   conn.h        one connection: states, outbound bytes, time-outs, moving to another worker
 *   door.h        what each door calls: HTTP request, frame, open, close
 *   http.h        HTTP/1.1 requests and responses (libhttp-parser below)
 *   websocket.h   RFC 6455 frames
 *   tcpframe.h    length-prefixed envelopes
 *   server.h      listener, accept, limits of one worker
 * Threads: everything belongs to one worker. Includes: core/ only (never storage/). */
#ifndef NET_NET_H
#define NET_NET_H
#include "net/conn.h"
#include "net/server.h"
#endif
