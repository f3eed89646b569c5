/* core/io_internal.h - struct io, shared by io.c (operations, the turn) and io_setup.c (making rings, what a machine lacks).
 * Thread:  the worker, but for `arrivals`.   Start at: core/io.h
 *
 * Sockets stand in the kernel's table of a ring ("direct descriptors"): they are no open files of the process, and nothing is looked up
 * or counted per operation. A table may have at most as many places as the limit of open files, so beyond that more rings are
 * made, each with a table: rings[0] has the files, the waiting and the first sockets; the others ring an eventfd that rings[0] polls. A
 * kernel that cannot close one socket of a table while operations on others are armed (before 6.13) gets plain descriptors. */
#ifndef CORE_IO_INTERNAL_H
#define CORE_IO_INTERNAL_H

#include "core/io.h"
#include <liburing.h>
#include <stdatomic.h>

#define IO_COMPLETIONS_PER_ENTRY 4u /* multishot operations complete many times per submission */
/* The kernel finds an operation to be cancelled in one of (completions / 32) chains, 256 at most: with thousands of armed receives in a ring
 * the chains shall be short. */
#define IO_COMPLETIONS_MIN       8192u
#define IO_BUFFER_GROUP          0
#define IO_RINGS_MAX             512u
#define IO_PLACE_BITS            20 /* of a socket's number; above them the ring */
#define IO_PLACES_MAX            (1u << IO_PLACE_BITS) /* the kernel's own limit for a table */
#define IO_MORE_ENTRIES          256u /* of the rings beside the first */
#define IO_MORE_BUFFERS          64u
#define IO_SPARE_MAX             1024u /* places of a table kept for sockets that other threads send, see io_move() */

/* What liburing 2.3 does not name yet. */
#define IO_SOCKET_OP_UNSENT 1u /* SOCKET_URING_OP_SIOCOUTQ, Linux 6.7 */

struct io_ring {
    struct io_uring ring;
    struct io_uring_buf_ring *buffer_ring; /* mapped pages shared with the kernel */
    size_t buffer_ring_size_bytes;
    uint8_t *buffers;
    uint32_t buffer_count, buffer_size_bytes;
    uint64_t given_back_count; /* the first time all at once, then one after each use */
    uint32_t places_used; /* sockets in the table and accepts that are armed */
};

struct io {
    struct io_ring *rings[IO_RINGS_MAX];
    uint32_t ring_count;
    uint32_t armed_count;
    uint32_t first_ring; /* whose completions the next turn runs first */
    bool in_callback;    /* callbacks never nest */
    void (*collected)(void *context);
    void *collected_context;

    bool direct;               /* sockets stand in tables; false: they are plain descriptors */
    uint32_t places_per_ring;  /* of each table, without the spare ones */
    uint32_t spare_per_ring;
    uint32_t buffer_size_bytes;
    int more_fd;               /* eventfd of the rings beside the first; -1: there are none */
    struct io_op more_poll;
    _Atomic uint64_t arrivals; /* any thread: ring index << 32 | its descriptor, where io_move() puts a socket */
};

static inline struct io_ring *io_main(struct io *io) { return io->rings[0]; }

/* One more ring with a table. False: the kernel or IO_RINGS_MAX refuses. */
bool io_add_ring(struct io *io);
/* Where io_move() puts sockets: the first ring that has room. */
void io_choose_arrivals(struct io *io);

/* Keeps the poll armed through which further rings wake the thread. */
void io_watch_more(struct io *io);

static inline void io_buffer_give_back(struct io_ring *ring, uint16_t buffer_id)
{
    uint16_t tail = ring->buffer_ring->tail; /* written by this thread alone */
    struct io_uring_buf *slot = &ring->buffer_ring->bufs[tail & (ring->buffer_count - 1)];
    slot->addr = (uint64_t)(uintptr_t)(ring->buffers + (size_t)buffer_id * ring->buffer_size_bytes);
    slot->len = ring->buffer_size_bytes;
    slot->bid = buffer_id;
    /* Release: the slot is whole before the kernel sees the new tail. */
    __atomic_store_n(&ring->buffer_ring->tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
    ring->given_back_count++;
}

#endif
