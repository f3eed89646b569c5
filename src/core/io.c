/* core/io.c - the operations of a worker's rings, and the turn.
 * Happy path of a turn: one io_uring_enter hands over what was prepared and waits; completions are copied to a local
 * batch, their places in the ring given back, and the callbacks run from the copy; again until the ring is dry or the
 * budget spent. With deferred task work the kernel makes completions only inside io_uring_enter and not always all at
 * once, so the ring counts as dry when it is empty and the kernel's own flag (IORING_SQ_TASKRUN) says that nothing is
 * pending. Rings beside the first are entered only when something was prepared for them or their flag says that something is pending.
 * Received bytes land in a ring of provided buffers: a connection that only waits holds none. A buffer goes
 * back to the kernel as soon as the callback that borrowed it returns. Failure: once it runs, io_uring_enter may fail only for
 * reasons that pass (interrupted, no memory for a moment, completions waiting); anything else ends the process. */
#include "core/check.h"
#include "core/io_internal.h"
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#define IO_BATCH_MAX             128u  /* completions copied at a time */
#define IO_WAIT_MS_MAX           1000u /* a lost wake-up costs latency, it never hangs the worker */
#define IO_SUBMIT_RETRIES_MAX    10000u

struct io_completion { /* a copied CQE */
    struct io_op *op;
    int32_t res;
    uint32_t flags;
};

/* ---- operations ------------------------------------------------------------------------------------ */

/* The kernel takes them in the order they were given, so the first round uses a new one each time. */
uint64_t io_memory_bytes(const struct io *io)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < io->ring_count; i++) {
        const struct io_ring *ring = io->rings[i];
        uint64_t used = ring->given_back_count - ring->buffer_count;
        bytes += (used < ring->buffer_count ? used : ring->buffer_count) * ring->buffer_size_bytes;
    }
    return bytes;
}

uint32_t io_armed_count(const struct io *io)
{
    return io->armed_count - io->more_poll.armed; /* its own watch of the further rings does not count */
}

/* True for the failures of io_uring_enter that pass: a signal, no memory for a moment, completions to be collected
 * first. */
static bool io_passing(int error)
{
    return error == -EINTR || error == -EAGAIN || error == -EBUSY || error == -ETIME;
}

static void io_submit_full_queue(struct io_uring *ring)
{
    for (uint32_t tries = 0; io_uring_sq_space_left(ring) == 0; tries++) {
        int submitted = io_uring_submit(ring);
        if (submitted > 0) continue;
        if (!io_passing(submitted) || tries == IO_SUBMIT_RETRIES_MAX)
            check_fatal("io_uring takes no more operations: %s", strerror(-submitted));
        sched_yield();
    }
}

static struct io_uring_sqe *io_entry(struct io *io, uint32_t ring_index)
{
    ASSERT(ring_index < io->ring_count);
    struct io_uring *ring = &io->rings[ring_index]->ring;
    if (io_uring_sq_space_left(ring) == 0) io_submit_full_queue(ring);
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    ASSERT(sqe != NULL);
    return sqe;
}

/* A cleared submission entry of that ring for `op`, which is armed from here on. */
static struct io_uring_sqe *io_arm_in(struct io *io, struct io_op *op, uint32_t ring_index)
{
    ASSERT(!op->armed && op->done != NULL);
    struct io_uring_sqe *sqe = io_entry(io, ring_index);
    op->armed = true;
    op->ring = (uint16_t)ring_index;
    io->armed_count++;
    return sqe;
}

static struct io_uring_sqe *io_arm(struct io *io, struct io_op *op)
{
    return io_arm_in(io, op, 0);
}

/* After the prep function: some versions of liburing clear user_data in it. */
static void io_ready(struct io_uring_sqe *sqe, struct io_op *op)
{
    io_uring_sqe_set_data(sqe, op);
}

/* ---- sockets --------------------------------------------------------------------------------------- */

static uint32_t socket_ring(const struct io *io, struct io_socket socket)
{
    return io->direct ? socket.number >> IO_PLACE_BITS : 0;
}

/* What the kernel calls it: a place in the table of its ring, or a descriptor. */
static int socket_place(const struct io *io, struct io_socket socket)
{
    return (int)(io->direct ? socket.number & (IO_PLACES_MAX - 1) : socket.number);
}

static struct io_uring_sqe *io_arm_socket(struct io *io, struct io_op *op, struct io_socket socket)
{
    ASSERT(socket.number != IO_SOCKET_NONE.number);
    return io_arm_in(io, op, socket_ring(io, socket));
}

static void io_ready_socket(const struct io *io, struct io_uring_sqe *sqe, struct io_op *op)
{
    if (io->direct) sqe->flags |= IOSQE_FIXED_FILE;
    io_ready(sqe, op);
}

void io_choose_arrivals(struct io *io)
{
    uint32_t index = 0;
    while (index + 1 < io->ring_count && io->rings[index]->places_used >= io->places_per_ring) index++;
    atomic_store(&io->arrivals, (uint64_t)index << 32 | (uint32_t)io->rings[index]->ring.ring_fd);
}

static void io_count_place(struct io *io, uint32_t index)
{
    io->rings[index]->places_used++;
    bool full = io->rings[index]->places_used >= io->places_per_ring;
    if (full && atomic_load_explicit(&io->arrivals, memory_order_relaxed) >> 32 == index) io_choose_arrivals(io);
}

/* A place in the first table that has one, so that few connections need one ring. False: no further ring can be made. */
static bool io_take_place(struct io *io, uint32_t *ring_index)
{
    *ring_index = 0;
    if (!io->direct) return true;
    uint32_t index = 0;
    while (index < io->ring_count && io->rings[index]->places_used >= io->places_per_ring) index++;
    if (index == io->ring_count && !io_add_ring(io)) return false;
    io_count_place(io, index);
    *ring_index = index;
    return true;
}

static void io_give_place_back(struct io *io, uint32_t ring_index)
{
    if (!io->direct) return;
    ASSERT(io->rings[ring_index]->places_used > 0);
    io->rings[ring_index]->places_used--;
}

static void io_on_accept(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)bytes;
    struct io_accept *accept = CONTAINER_OF(op, struct io_accept, op);
    struct io *io = accept->io;
    struct io_socket socket = IO_SOCKET_NONE;
    if (res < 0) io_give_place_back(io, op->ring);
    else socket.number = io->direct ? (uint32_t)op->ring << IO_PLACE_BITS | (uint32_t)res : (uint32_t)res;
    accept->done(accept, res < 0 ? res : 0, socket);
}

bool io_accept(struct io *io, struct io_accept *accept, int fd)
{
    uint32_t ring_index;
    if (!io_take_place(io, &ring_index)) return false;
    accept->io = io;
    accept->op.done = io_on_accept;
    accept->address_size = sizeof accept->address;
    struct io_uring_sqe *sqe = io_arm_in(io, &accept->op, ring_index);
    io_uring_prep_accept(sqe, fd, (struct sockaddr *)&accept->address, &accept->address_size, io->direct ? 0 : SOCK_CLOEXEC);
    if (io->direct) sqe->file_index = IORING_FILE_INDEX_ALLOC;
    io_ready(sqe, &accept->op);
    return true;
}

void io_recv(struct io *io, struct io_op *op, struct io_socket socket)
{
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    io_uring_prep_recv_multishot(sqe, socket_place(io, socket), NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = IO_BUFFER_GROUP;
    io_ready_socket(io, sqe, op);
}

void io_send(struct io *io, struct io_op *op, struct io_socket socket, const void *data, size_t len)
{
    ASSERT(len > 0 && len <= INT32_MAX);
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    io_uring_prep_send(sqe, socket_place(io, socket), data, len, MSG_NOSIGNAL);
    io_ready_socket(io, sqe, op);
}

void io_sendmsg(struct io *io, struct io_op *op, struct io_socket socket, const struct msghdr *message)
{
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    io_uring_prep_sendmsg(sqe, socket_place(io, socket), message, MSG_NOSIGNAL);
    io_ready_socket(io, sqe, op);
}

void io_shutdown(struct io *io, struct io_op *op, struct io_socket socket)
{
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    io_uring_prep_shutdown(sqe, socket_place(io, socket), SHUT_WR);
    io_ready_socket(io, sqe, op);
}

void io_reset(struct io *io, struct io_op *op, struct io_socket socket)
{
    static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC}; /* connecting there disconnects: a reset is sent, what waits is freed */
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    io_uring_prep_connect(sqe, socket_place(io, socket), &nowhere, sizeof nowhere);
    io_ready_socket(io, sqe, op);
}

void io_unsent(struct io *io, struct io_op *op, struct io_socket socket)
{
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    if (io->direct) {
        io_uring_prep_rw(IORING_OP_URING_CMD, sqe, socket_place(io, socket), NULL, 0, IO_SOCKET_OP_UNSENT);
        io_ready_socket(io, sqe, op);
        return;
    }
    int unsent = 0; /* older kernels have no such operation, and a plain descriptor needs none */
    op->answered = true;
    op->answer = ioctl(socket_place(io, socket), SIOCOUTQ, &unsent) == 0 ? unsent : -errno;
    io_uring_prep_nop(sqe);
    io_ready(sqe, op);
}

void io_on_batch(struct io *io, void (*collected)(void *context), void *context)
{
    io->collected = collected;
    io->collected_context = context;
}

void io_close(struct io *io, struct io_socket socket)
{
    uint32_t ring_index = socket_ring(io, socket);
    struct io_uring_sqe *sqe = io_entry(io, ring_index);
    if (io->direct) io_uring_prep_close_direct(sqe, (unsigned)socket_place(io, socket));
    else io_uring_prep_close(sqe, socket_place(io, socket));
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_ready(sqe, NULL);
    io_give_place_back(io, ring_index);
}

/* ---- sockets that change hands ---------------------------------------------------------------------- */

uint32_t io_move(struct io *io, struct io_op *op, struct io_socket socket, struct io *to)
{
    ASSERT(io != to && io->direct == to->direct);
    struct io_uring_sqe *sqe = io_arm_socket(io, op, socket);
    if (!io->direct) {
        io_uring_prep_nop(sqe); /* every thread may use a descriptor */
        io_ready(sqe, op);
        return socket.number;
    }
    uint64_t arrivals = atomic_load(&to->arrivals);
    io_uring_prep_rw(IORING_OP_MSG_RING, sqe, (int)(uint32_t)arrivals, NULL, 0, 0);
    sqe->addr = IORING_MSG_SEND_FD;
    sqe->addr3 = (uint32_t)socket_place(io, socket);
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    sqe->msg_ring_flags = IORING_MSG_RING_CQE_SKIP;
    io_ready(sqe, op);
    return (uint32_t)(arrivals >> 32) << IO_PLACE_BITS;
}

void io_moved(struct io *io, struct io_socket socket)
{
    if (io->direct) io_close(io, socket);
}

void io_arrived(struct io *io, struct io_socket socket)
{
    if (!io->direct) return;
    io_count_place(io, socket_ring(io, socket));
    uint32_t index = (uint32_t)(atomic_load_explicit(&io->arrivals, memory_order_relaxed) >> 32);
    bool all_full = io->rings[index]->places_used >= io->places_per_ring;
    if (all_full && io_add_ring(io)) io_choose_arrivals(io);
}

/* ---- files ----------------------------------------------------------------------------------------- */

void io_read(struct io *io, struct io_op *op, int fd, void *data, uint32_t len, uint64_t offset)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_read(sqe, fd, data, len, offset);
    io_ready(sqe, op);
}

void io_write(struct io *io, struct io_op *op, int fd, const void *data, uint32_t len, uint64_t offset)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_write(sqe, fd, data, len, offset);
    io_ready(sqe, op);
}

void io_write_durable(struct io *io, struct io_op *op, int fd, const void *data, uint32_t len, uint64_t offset)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_write(sqe, fd, data, len, offset);
    sqe->rw_flags = RWF_DSYNC;
    io_ready(sqe, op);
}

void io_fdatasync(struct io *io, struct io_op *op, int fd)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    io_ready(sqe, op);
}

void io_poll(struct io *io, struct io_op *op, int fd, uint32_t events)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_poll_add(sqe, fd, events);
    io_ready(sqe, op);
}

void io_cancel(struct io *io, struct io_op *op, struct io_op *victim)
{
    struct io_uring_sqe *sqe = io_arm_in(io, op, victim->ring);
    io_uring_prep_cancel(sqe, victim, 0);
    io_ready(sqe, op);
}

/* ---- the turn -------------------------------------------------------------------------------------- */

static void io_complete(struct io *io, struct io_ring *ring, const struct io_completion *completion)
{
    struct io_op *op = completion->op;
    if (op == NULL) return; /* a close that failed: the descriptor is free all the same */
    ASSERT(op->armed);
    if ((completion->flags & IORING_CQE_F_MORE) == 0) {
        op->armed = false;
        io->armed_count--;
    }
    if ((completion->flags & IORING_CQE_F_BUFFER) == 0) {
        int32_t res = op->answered ? op->answer : completion->res;
        op->answered = false;
        op->done(op, res, SLICE_EMPTY);
        return;
    }
    uint16_t buffer_id = (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
    size_t len = completion->res > 0 ? (size_t)completion->res : 0;
    ASSERT(buffer_id < ring->buffer_count && len <= ring->buffer_size_bytes);
    op->done(op, completion->res, slice_of(ring->buffers + (size_t)buffer_id * ring->buffer_size_bytes, len));
    io_buffer_give_back(ring, buffer_id);
}

/* Runs up to `most` completions that are in the ring now; returns how many. */
static uint32_t io_run_batch(struct io *io, struct io_ring *ring, uint32_t most)
{
    struct io_completion batch[IO_BATCH_MAX];
    if (most > IO_BATCH_MAX) most = IO_BATCH_MAX;
    uint32_t count = 0;
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&ring->ring, head, cqe)
    {
        if (count == most) break;
        batch[count++] = (struct io_completion){io_uring_cqe_get_data(cqe), cqe->res, cqe->flags};
    }
    io_uring_cq_advance(&ring->ring, count);
    if (count > 0 && io->collected != NULL) io->collected(io->collected_context);
    for (uint32_t i = 0; i < count; i++) io_complete(io, ring, &batch[i]);
    return count;
}

static void io_enter(struct io_uring *ring, uint32_t wait_ms)
{
    int entered;
    if (wait_ms == 0) {
        entered = io_uring_submit_and_get_events(ring);
    } else {
        struct __kernel_timespec timeout = {.tv_sec = wait_ms / 1000, .tv_nsec = (wait_ms % 1000) * 1000000LL};
        struct io_uring_cqe *cqe;
        entered = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL);
    }
    if (entered < 0 && !io_passing(entered)) check_fatal("io_uring_enter failed: %s", strerror(-entered));
}

/* The kernel holds finished work that becomes completions only inside io_uring_enter, or completions that did not fit.
 */
static bool io_kernel_has_more(const struct io_ring *ring)
{
    unsigned flags = __atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Submits what was prepared for the rings beside the first and collects what is pending there. True: something is to be run. */
static bool io_enter_more(struct io *io)
{
    bool ready = false;
    for (uint32_t i = 1; i < io->ring_count; i++) {
        struct io_ring *ring = io->rings[i];
        if (io_uring_sq_ready(&ring->ring) > 0 || io_kernel_has_more(ring)) io_enter(&ring->ring, 0);
        ready |= io_uring_cq_ready(&ring->ring) > 0;
    }
    return ready;
}

static void io_on_more(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)op, (void)res, (void)bytes; /* it only woke the thread; io_watch_more() arms it again should it have ended */
}

void io_watch_more(struct io *io)
{
    if (io->ring_count == 1 || io->more_poll.armed) return;
    io->more_poll.done = io_on_more;
    struct io_uring_sqe *sqe = io_arm(io, &io->more_poll);
    io_uring_prep_poll_multishot(sqe, io->more_fd, POLLIN);
    io_ready(sqe, &io->more_poll);
}

/* Runs the completions of one ring until it is dry or the budget spent. */
static uint32_t io_run_ring(struct io *io, struct io_ring *ring, uint32_t budget)
{
    uint32_t ran = 0;
    while (ran < budget) {
        if (io_uring_cq_ready(&ring->ring) == 0) {
            if (!io_kernel_has_more(ring)) break;
            io_enter(&ring->ring, 0);
            if (io_uring_cq_ready(&ring->ring) == 0)
                break; /* the work made no completion, e.g. a poll that found nothing */
        }
        ran += io_run_batch(io, ring, budget - ran);
    }
    return ran;
}

uint32_t io_turn(struct io *io, uint32_t wait_ms, uint32_t budget)
{
    ASSERT(!io->in_callback && budget > 0);
    io_watch_more(io);
    bool ready = io_enter_more(io);
    if (ready || io_uring_cq_ready(&io_main(io)->ring) > 0) wait_ms = 0; /* what the last budget left over */
    if (wait_ms > IO_WAIT_MS_MAX) wait_ms = IO_WAIT_MS_MAX;
    io_enter(&io_main(io)->ring, wait_ms);
    io->in_callback = true;
    uint32_t ran = 0, count = io->ring_count; /* a callback may add one */
    for (uint32_t i = 0; i < count && ran < budget; i++)
        ran += io_run_ring(io, io->rings[(io->first_ring + i) % count], budget - ran);
    io->first_ring = (io->first_ring + 1) % count;
    io->in_callback = false;
    return ran;
}
