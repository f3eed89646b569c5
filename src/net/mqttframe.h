/* net/mqttframe.h - raw TCP that speaks MQTT: where one packet ends and the next begins. Bytes in, packets out; no I/O.
 * Owns:    a parser owns the part of a packet that arrived so far.
 * Thread:  any one at a time.     Depends: core/ only.           Start at: net/net.h
 *
 *   +--------------+------------------------------+----------------------+
 *   | type, flags  | remaining length, 1-4 bytes, | that many bytes      |   what they mean: mqtt/packet.h
 *   | 1 byte       | 7 bits each, lowest first    |                      |
 *   +--------------+------------------------------+----------------------+
 *   A connection is MQTT when its first byte is that of CONNECT, which begins no HTTP request and no magic. */
#ifndef NET_MQTTFRAME_H
#define NET_MQTTFRAME_H

#include "core/cursor.h"
#include <stdbool.h>
#include <stdint.h>

#define MQTTFRAME_FIRST_BYTE 0x10

enum mqttframe_event {
    MQTTFRAME_MORE,   /* all input is consumed */
    MQTTFRAME_PACKET, /* *packet is one whole packet with its head; borrowed from the input or the parser, until the next call */
    MQTTFRAME_MALFORMED, /* a length of more than four bytes; the parser takes no more */
    MQTTFRAME_TOO_LARGE, /* likewise: longer than the limit */
    MQTTFRAME_NOMEM,     /* likewise */
};

struct mqttframe_parser {
    struct writer gathered; /* what arrived of a packet cut by the end of the input; grows with arrival, never by claim */
};

/* The size of the packet that begins with `bytes`; 0: its head is not whole yet, UINT32_MAX: it has none. */
uint32_t mqttframe_size(struct slice bytes);

void mqttframe_parser_init(struct mqttframe_parser *parser);
void mqttframe_parser_deinit(struct mqttframe_parser *parser);
/* Forgets the packet, keeps the memory. */
void mqttframe_parser_reset(struct mqttframe_parser *parser);
/* True between two packets: the parser then holds nothing that matters. */
bool mqttframe_parser_idle(const struct mqttframe_parser *parser);
/* Moves the state of `from` to the uninitialised `to` with memory of just the needed size; `from` is idle afterwards
 * and keeps its own memory. False: out of memory, both unusable but for deinit. */
bool mqttframe_parser_move(struct mqttframe_parser *to, struct mqttframe_parser *from);
/* Consumes from *in up to the end of one event. */
enum mqttframe_event mqttframe_parser_feed(struct mqttframe_parser *parser, struct slice *in, uint32_t packet_size_max,
                                           struct slice *packet);

#endif
