/* net/net.h - bytes on sockets: one port, its doors told apart by the first bytes.
 * Read in this order:
 *   server.h      listener, accept, limits of one worker, what the layer above is told (struct server_events)
 *   conn.h        one connection: states, outbound bytes, time-outs, moving to another worker
 *   http.h        HTTP/1.1 requests and responses: bytes in, events out;  http_line.h  the grammar of a line
 *   authority.h   host and port, origins
 *   websocket.h   RFC 6455 handshake and frames: bytes in, events out;  utf8.h  text checked as it arrives
 *   tcpframe.h    length-prefixed envelopes: bytes in, events out
 *   mqttframe.h   MQTT packets: bytes in, packets out
 *   tls.h         a TLS session as a filter over bytes;  tls_identity.h certificates;  tls_ticket.h keys of session tickets
 *   output.h      what waits to be sent
 *   peers.h       connections per address;  proxies.h  proxies that are believed;  proxyheader.h  the PROXY protocol
 *   netblock.h    addresses and blocks of them
 *   conn_internal.h   struct conn and struct server, shared by conn.c (life cycle), conn_time.c (time-outs), conn_memory.c
 *                 (what connections hold, and who goes), conn_move.c (detach and adopt), conn_proxy.c (clients behind proxies),
 *                 door_*.c (one per door: events of a parser to callbacks) and server.c
 * Threads: everything belongs to one worker. Includes: core/ only (never storage/). */
#ifndef NET_NET_H
#define NET_NET_H
#include "net/conn.h"
#include "net/server.h"
#endif
