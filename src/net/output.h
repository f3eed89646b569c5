/* net/output.h - what waits to be sent on one connection, in order.
 * Owns:    its pieces: a reference to a buf each, and where in it the unsent bytes stand.
 * Thread:  the worker.            Depends: core/ only.           Start at: net/net.h
 * Small parts are copied into a buf of our own, which later parts continue while it has room; large shared payloads are
 * referenced. Bytes never move once they are in, so a send may be in flight while more is appended. Nothing is
 * allocated while nothing waits. What waits and was not begun to be sent costs at most one and a half times its bytes, and
 * OUTPUT_HELD_FIXED beside. */
#ifndef NET_OUTPUT_H
#define NET_OUTPUT_H

#include "core/buf.h"
#include <sys/socket.h>

#define OUTPUT_IOVECS_MAX     64
#define OUTPUT_SEND_SIZE_MAX  262144u /* bytes of one send, so that its completion shows progress */
#define OUTPUT_PARTS_MAX      8
#define OUTPUT_BUF_SIZE_FIRST 1024u  /* memory of the first buf of our own; most turns queue less */
#define OUTPUT_BUF_SIZE_MOST  16384u /* of a following one, which grows with what waits */
#define OUTPUT_HELD_FIXED     2048u

struct output_piece;
struct output_gather; /* the iovecs of a sendmsg in flight */

struct output { /* all zero: empty */
    struct output_piece *head, *tail;
    struct output_gather *gather;
    uint32_t bytes;
    uint32_t held_bytes; /* memory for them: pieces, bufs of our own, and of shared bufs what is referenced */
};

static inline bool output_empty(const struct output *output)
{
    return output->bytes == 0;
}
/* Appends the parts, copied, then `shared` (may be NULL: none), which lies in `shared_buf` and makes it ref'd. All or
 * nothing: false when the pool or memory is at its limit. */
bool output_append(struct output *output, struct buf_pool *pool, const struct slice *parts, uint32_t part_count,
                   struct buf *shared_buf, struct slice shared);
/* The next bytes to send, from one piece: *data, or from several: the returned message. Both stay in place until
 * output_sent(). NULL: *data holds it. Must not be empty. */
const struct msghdr *output_gather(struct output *output, struct slice *data);
/* The next bytes, at most `size`, to be encrypted: of one piece where they are there, else copied to `scratch`, so that
 * they are as many as there can be. They stay in place until output_sent(). Must not be empty. */
struct slice output_peek(const struct output *output, uint8_t *scratch, uint32_t size);
/* `bytes` of what output_gather() or output_peek() gave left; frees what is no longer needed. */
void output_sent(struct output *output, uint32_t bytes);
/* Of held_bytes, what would be free without it: of a payload that n queues refer to, its n-th part. Looks at every piece. */
uint32_t output_cost_bytes(const struct output *output);
/* Drops what no send in flight reads from. The rest may end in the middle of a frame: the connection is of no use any more. */
void output_cut(struct output *output);
/* Copies all that waits to `out`, which has room for output->bytes. */
void output_copy(const struct output *output, uint8_t *out);
void output_clear(struct output *output);

#endif
