/* core/io.h - one io_uring and the operations in it; the only file that speaks to the kernel's ring.
 * Owns:    the ring, the provided receive buffers. Operations are embedded in their owners and pinned while armed.
 * Thread:  the worker that called io_init() (SINGLE_ISSUER).
 * Depends: core/ only.            Start at: core/core.h
 *
 * Completions are copied out of the ring first and their callbacks run after, never nested; a batch may hold several
 * completions of one multishot operation, and a cancel's completion may come before its victim's. A callback that frees
 * the owner of an operation may do so only when the operation is no longer armed AND no copied completion for it is left:
 * io guarantees the second by clearing `armed` only at the last completion (no IORING_CQE_F_MORE). */
#ifndef CORE_IO_H
#define CORE_IO_H

#include "core/buf.h"
#include "core/result.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct io;
struct io_op;

/* res: bytes, descriptor or -errno. bytes: what a recv delivered, borrowed for the call (else empty). */
typedef void (*io_done_f)(struct io_op *op, int32_t res, struct slice bytes);

struct io_op {
    io_done_f done;
    bool armed; /* from submit until its last callback starts */
};

struct io_options {
    uint32_t entries;                 /* submission entries, power of two; completions are 4x */
    uint32_t receive_buffer_count;    /* power of two; shared by all connections of the worker */
    uint32_t receive_buffer_size_bytes;
};

/* What the machine lacks, in words with the remedy, for start-up and `config check`; OK and an empty text when nothing. */
NODISCARD enum result io_probe(char *text, size_t text_size);

/* On failure writes reason and remedy (io_uring forbidden, kernel too old, memlock too small) to `text`. */
NODISCARD enum result io_create(struct io **out, const struct io_options *options, char *text, size_t text_size);
/* Asserts that nothing is armed. */
void io_destroy(struct io *io);

/* Every function below arms `op` (asserted not armed before) and always succeeds: a full submission queue is handed to the
 * kernel at once. Memory passed in stays valid and unchanged until the operation is done. */
void io_accept(struct io *io, struct io_op *op, int fd);                     /* multishot: res = descriptor per connection */
void io_recv(struct io *io, struct io_op *op, int fd);                       /* multishot, provided buffers: -ENOBUFS ends it */
void io_send(struct io *io, struct io_op *op, int fd, const void *data, size_t len); /* MSG_NOSIGNAL|MSG_WAITALL */
void io_sendmsg(struct io *io, struct io_op *op, int fd, const struct msghdr *message);
void io_read(struct io *io, struct io_op *op, int fd, void *data, uint32_t len, uint64_t offset);
void io_write_durable(struct io *io, struct io_op *op, int fd, const void *data, uint32_t len, uint64_t offset); /* RWF_DSYNC */
void io_write(struct io *io, struct io_op *op, int fd, const void *data, uint32_t len, uint64_t offset);
void io_fdatasync(struct io *io, struct io_op *op, int fd);
void io_poll(struct io *io, struct io_op *op, int fd, uint32_t events); /* one shot */
void io_close(struct io *io, struct io_op *op, int fd);
/* Cancels `victim`; `op` completes on its own, in either order. */
void io_cancel(struct io *io, struct io_op *op, struct io_op *victim);

/* Submits what is prepared, waits up to `wait_ms` (0: do not wait) for at least one completion, and runs the callbacks of
 * at most `budget` completions. Returns how many ran. */
uint32_t io_turn(struct io *io, uint32_t wait_ms, uint32_t budget);
uint32_t io_armed_count(const struct io *io);

#endif
