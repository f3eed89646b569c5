/* core/io.h - a worker's io_uring and the operations in it; nothing else speaks to the kernel's rings.
 * Owns:    the rings, the tables of sockets in them, the provided receive buffers. Operations are embedded in their owners and pinned while armed.
 * Thread:  the worker that called io_create() (SINGLE_ISSUER).
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
#include <netinet/in.h>
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
    /* io's own */
    bool answered; /* `answer` is the result, known before it was submitted */
    uint16_t ring;
    int32_t answer;
};

/* A connected socket of one io: a place in the table of one of its rings, or, before Linux 6.13, a plain descriptor. */
struct io_socket {
    uint32_t number;
};
#define IO_SOCKET_NONE ((struct io_socket){UINT32_MAX})

struct io_accept { /* one accept; pinned while op.armed */
    struct io_op op;
    struct io *io;
    void *context; /* the caller's, as is `done` */
    void (*done)(struct io_accept *accept, int32_t res, struct io_socket socket); /* res: 0 or -errno (socket is NONE then) */
    struct sockaddr_in6 address; /* of the peer, also an IPv4 one */
    socklen_t address_size;
};

struct io_options {
    uint32_t entries;                 /* submission entries, power of two; completions are 4x, and never few */
    uint32_t receive_buffer_count;    /* power of two; shared by all connections of the worker */
    uint32_t receive_buffer_size_bytes;
    uint32_t sockets_max;             /* how many are to be expected; 0: sockets are plain descriptors, whatever the kernel can */
};

/* What the machine lacks, in words with the remedy, for start-up and `config check`; OK and an empty text when nothing. */
NODISCARD enum result io_probe(char *text, size_t text_size);

/* What the kernel counts as locked memory for an io of these options with its first ring. */
uint64_t io_locked_bytes(const struct io_options *options);
/* How many of options->sockets_max it can hold when `locked_bytes` may be locked for all the rings it makes. */
uint32_t io_sockets_within(const struct io_options *options, uint64_t locked_bytes);
/* Whether it does, for this process: some kernels count no rings, and none counts those of a privileged process. */
bool io_counts_locked_memory(void);

/* Can sockets stand in tables of rings, where they do not count as open files? (Linux 6.13) Found out once per process. */
bool io_probe_direct_sockets(void);

/* On failure writes reason and remedy (io_uring forbidden, kernel too old, memlock too small) to `text`. */
NODISCARD enum result io_create(struct io **out, const struct io_options *options, char *text, size_t text_size);
/* Asserts that nothing is armed. */
void io_destroy(struct io *io);
/* `collected` runs before the callbacks of each batch of completions: whatever they tell has happened by then, so it is the place to
 * look at the clock. NULL: nobody does. */
void io_on_batch(struct io *io, void (*collected)(void *context), void *context);

/* Every function below arms `op` (asserted not armed before) and always succeeds: a full submission queue is handed to the
 * kernel at once. Memory passed in stays valid and unchanged until the operation is done. */
/* ---- sockets ---- */
/* One connection. False: no place for its socket can be made (memory, open files), nothing is armed. */
NODISCARD bool io_accept(struct io *io, struct io_accept *accept, int fd);
void io_recv(struct io *io, struct io_op *op, struct io_socket socket); /* multishot, provided buffers: -ENOBUFS ends it */
void io_send(struct io *io, struct io_op *op, struct io_socket socket, const void *data, size_t len); /* res: at least one byte, perhaps not all */
void io_sendmsg(struct io *io, struct io_op *op, struct io_socket socket, const struct msghdr *message);
void io_unsent(struct io *io, struct io_op *op, struct io_socket socket);        /* res: bytes sent and not acknowledged by the peer */
void io_shutdown(struct io *io, struct io_op *op, struct io_socket socket);      /* our direction */
void io_reset(struct io *io, struct io_op *op, struct io_socket socket);         /* the peer gets a reset, what is unsent is lost, what is armed fails */
/* Nothing may be armed on it any more; it is gone for the caller at once. */
void io_close(struct io *io, struct io_socket socket);

/* Gives the socket to the io of another thread. Completes with res >= 0: (what io_move() returned) + res is its number there; then this
 * side calls io_moved() and the other one io_arrived(). res < 0: nothing changed. `to` must live until then. */
NODISCARD uint32_t io_move(struct io *io, struct io_op *op, struct io_socket socket, struct io *to);
void io_moved(struct io *io, struct io_socket socket);
void io_arrived(struct io *io, struct io_socket socket);

/* ---- files ---- */
void io_read(struct io *io, struct io_op *op, int fd, void *data, uint32_t len, uint64_t offset);
void io_write_durable(struct io *io, struct io_op *op, int fd, const void *data, uint32_t len, uint64_t offset); /* RWF_DSYNC */
void io_write(struct io *io, struct io_op *op, int fd, const void *data, uint32_t len, uint64_t offset);
void io_fdatasync(struct io *io, struct io_op *op, int fd);
void io_poll(struct io *io, struct io_op *op, int fd, uint32_t events); /* one shot */
/* Cancels `victim`; `op` completes on its own, in either order. */
void io_cancel(struct io *io, struct io_op *op, struct io_op *victim);

/* Submits what is prepared, waits up to `wait_ms` (0: do not wait) for at least one completion, and runs the callbacks of
 * at most `budget` completions. Returns how many ran. */
uint32_t io_turn(struct io *io, uint32_t wait_ms, uint32_t budget);
uint32_t io_armed_count(const struct io *io);
/* Memory of the receive buffers that were used. */
uint64_t io_memory_bytes(const struct io *io);

#endif
