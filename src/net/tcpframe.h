/* net/tcpframe.h - raw TCP: the magic once, then length-prefixed envelopes. Bytes in, events out; no I/O.
 * Owns:    a parser owns the part of a frame that arrived so far.
 * Thread:  any one at a time.     Depends: core/ only.           Start at: net/net.h
 *
 *   client, once:  'R' 'P' 'T' '1'
 *   then, both ways:
 *   +----------------+----------------------+
 *   | u32 big-endian | that many bytes of   |   length 0: heartbeat, carries nothing, wants no answer
 *   | length         | one envelope         |
 *   +----------------+----------------------+ */
#ifndef NET_TCPFRAME_H
#define NET_TCPFRAME_H

#include "core/cursor.h"
#include <stdbool.h>
#include <stdint.h>

#define TCPFRAME_MAGIC      "RPT1"
#define TCPFRAME_MAGIC_SIZE 4
#define TCPFRAME_HEAD_SIZE  4

enum tcpframe_magic { TCPFRAME_MAGIC_MORE, TCPFRAME_MAGIC_YES, TCPFRAME_MAGIC_NO };
/* Whether a connection that begins with `bytes` is the TCP door; MORE: too few bytes to tell. */
enum tcpframe_magic tcpframe_magic_check(struct slice bytes);

enum tcpframe_event {
    TCPFRAME_MORE,  /* all input is consumed */
    TCPFRAME_FRAME, /* *payload is one whole frame; borrowed from the input or the parser, until the next call */
    TCPFRAME_HEARTBEAT,
    TCPFRAME_TOO_LARGE, /* the announced length passes the limit; the parser takes no more */
    TCPFRAME_NOMEM,     /* likewise */
};

struct tcpframe_parser {
    uint8_t head[TCPFRAME_HEAD_SIZE];
    uint8_t head_len;
    uint32_t payload_size;
    struct writer payload; /* what arrived of a frame cut by the end of the input; grows with arrival, never by claim */
};

void tcpframe_parser_init(struct tcpframe_parser *parser);
void tcpframe_parser_deinit(struct tcpframe_parser *parser);
/* Forgets the frame, keeps the memory. */
void tcpframe_parser_reset(struct tcpframe_parser *parser);
/* True between two frames: the parser then holds nothing that matters. */
bool tcpframe_parser_idle(const struct tcpframe_parser *parser);
/* Moves the state of `from` to the uninitialised `to` with memory of just the needed size; `from` is idle afterwards
 * and keeps its own memory. False: out of memory, both unusable but for deinit. */
bool tcpframe_parser_move(struct tcpframe_parser *to, struct tcpframe_parser *from);
/* Consumes from *in up to the end of one event. */
enum tcpframe_event tcpframe_parser_feed(struct tcpframe_parser *parser, struct slice *in, uint32_t frame_size_max,
                                         struct slice *payload);

void tcpframe_write_head(uint8_t out[TCPFRAME_HEAD_SIZE], uint32_t payload_size);

#endif
