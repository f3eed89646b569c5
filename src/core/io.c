/* core/io.c - the ring of one worker.
 * Happy path of a turn: one io_uring_enter hands over what was prepared and waits; completions are copied to a local
 * batch, their places in the ring given back, and the callbacks run from the copy; again until the ring is dry or the
 * budget spent. With deferred task work the kernel makes completions only inside io_uring_enter and not always all at
 * once, so the ring counts as dry when it is empty and the kernel's own flag (IORING_SQ_TASKRUN) says that nothing is
 * pending. Received bytes land in a ring of provided buffers: a connection that only waits holds none. A buffer goes
 * back to the kernel as soon as the callback that borrowed it returns. Failure: a ring that cannot be made is explained
 * in words. Once it runs, io_uring_enter may fail only for reasons that pass (interrupted, no memory for a moment,
 * completions waiting); anything else ends the process. */
#include "core/io.h"
#include "core/check.h"
#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define IO_BATCH_MAX             128u  /* completions copied at a time */
#define IO_COMPLETIONS_PER_ENTRY 4u    /* multishot operations complete many times per submission */
#define IO_WAIT_MS_MAX           1000u /* a lost wake-up costs latency, it never hangs the worker */
#define IO_KERNEL_WORKERS_MAX    4u    /* threads the kernel may start for what it cannot do without blocking */
#define IO_SUBMIT_RETRIES_MAX    10000u
#define IO_BUFFER_GROUP          0
#define IO_KERNEL_MAJOR_MIN      6u
#define IO_KERNEL_MINOR_MIN      1u

struct io {
    struct io_uring ring;
    uint32_t armed_count;
    bool in_callback; /* callbacks never nest */

    struct io_uring_buf_ring *buffer_ring; /* mapped pages shared with the kernel */
    size_t buffer_ring_size_bytes;
    uint8_t *buffers;
    uint32_t buffer_count, buffer_size_bytes;
};

struct io_completion { /* a copied CQE */
    struct io_op *op;
    int32_t res;
    uint32_t flags;
};

/* ---- what is wrong with this machine --------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void io_explain(char *text, size_t text_size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, text_size, format, arguments);
    va_end(arguments);
}

/* The number in a /proc/sys file, `otherwise` where there is none (an older kernel). */
static int io_read_sysctl(const char *path, int otherwise)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return otherwise;
    int value;
    if (fscanf(file, "%d", &value) != 1) value = otherwise;
    fclose(file);
    return value;
}

static size_t io_locked_bytes(const struct io_options *options)
{
    size_t completions = (size_t)options->entries * IO_COMPLETIONS_PER_ENTRY;
    size_t ring =
        options->entries * (sizeof(struct io_uring_sqe) + sizeof(uint32_t)) + completions * sizeof(struct io_uring_cqe);
    return ring + options->receive_buffer_count * sizeof(struct io_uring_buf) + 4096;
}

static void io_explain_forbidden(char *text, size_t text_size)
{
    int disabled = io_read_sysctl("/proc/sys/kernel/io_uring_disabled", 0);
    int group = io_read_sysctl("/proc/sys/kernel/io_uring_group", -1);
    if (disabled != 0)
        io_explain(
            text, text_size,
            "io_uring is not permitted: kernel.io_uring_disabled=%d (it must be 0, or 1 with this process in the "
            "group kernel.io_uring_group=%d). Remedy: sysctl -w kernel.io_uring_disabled=0",
            disabled, group);
    else
        io_explain(
            text, text_size,
            "io_uring is not permitted although kernel.io_uring_disabled=0: a seccomp profile forbids it. Remedy: "
            "in a container, run with a profile that allows io_uring_setup, io_uring_enter and "
            "io_uring_register (docker: --security-opt seccomp=FILE)");
}

/* Reason and remedy for a ring that could not be made. */
static void io_explain_failure(int error, const struct io_options *options, char *text, size_t text_size)
{
    struct utsname system;
    if (uname(&system) != 0) strcpy(system.release, "unknown");
    struct rlimit locked = {0};
    getrlimit(RLIMIT_MEMLOCK, &locked);
    switch (error) {
    case EPERM:
    case EACCES: io_explain_forbidden(text, text_size); return;
    case ENOSYS:
        io_explain(
            text, text_size,
            "the kernel lacks io_uring or seccomp hides it: Linux 6.1 or newer is needed, this is %s. Remedy: a newer "
            "kernel, or a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register",
            system.release);
        return;
    case EINVAL:
        io_explain(text, text_size,
                   "the kernel's io_uring is too old: Linux 6.1 or newer is needed (single issuer, deferred task work, "
                   "buffer rings), this is %s. Remedy: a newer kernel",
                   system.release);
        return;
    case ENOMEM:
        io_explain(
            text, text_size,
            "the locked-memory limit of %llu KiB is too small: about %zu KiB are needed for each worker. Remedy: "
            "LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), ulimit -l unlimited (shell)",
            (unsigned long long)locked.rlim_cur / 1024, io_locked_bytes(options) / 1024);
        return;
    default: io_explain(text, text_size, "io_uring cannot be set up: %s (errno %d)", strerror(error), error); return;
    }
}

static enum result io_probe_version(char *text, size_t text_size)
{
    struct utsname system;
    unsigned major = 0, minor = 0;
    if (uname(&system) != 0 || sscanf(system.release, "%u.%u", &major, &minor) != 2)
        return RESULT_OK; /* the ring tells */
    if (major > IO_KERNEL_MAJOR_MIN || (major == IO_KERNEL_MAJOR_MIN && minor >= IO_KERNEL_MINOR_MIN)) return RESULT_OK;
    io_explain(text, text_size,
               "the kernel is too old: Linux 6.1 or newer is needed, this is %s. Remedy: a newer kernel",
               system.release);
    return RESULT_UNSUPPORTED;
}

static enum result io_probe_operations(struct io *io, char *text, size_t text_size)
{
    static const struct {
        int code;
        const char *name;
    } needed[] = {
        {IORING_OP_ACCEPT, "accept"},       {IORING_OP_RECV, "recv"},
        {IORING_OP_SEND, "send"},           {IORING_OP_READ, "read"},
        {IORING_OP_SENDMSG, "sendmsg"},     {IORING_OP_WRITE, "write"},
        {IORING_OP_FSYNC, "fsync"},         {IORING_OP_POLL_ADD, "poll"},
        {IORING_OP_CLOSE, "close"},         {IORING_OP_SEND_ZC, "send_zc (a mark of 6.0)"},
        {IORING_OP_ASYNC_CANCEL, "cancel"},
    };
    struct io_uring_probe *probe = io_uring_get_probe_ring(&io->ring);
    if (probe == NULL) {
        io_explain(text, text_size,
                   "io_uring cannot be asked for its operations: io_uring_register is forbidden. Remedy: "
                   "a seccomp profile that allows it");
        return RESULT_DENIED;
    }
    enum result res = RESULT_OK;
    for (size_t i = 0; i < COUNT_OF(needed) && res == RESULT_OK; i++) {
        if (io_uring_opcode_supported(probe, needed[i].code)) continue;
        io_explain(text, text_size,
                   "io_uring lacks the operation %s: Linux 6.1 or newer is needed. Remedy: a newer kernel",
                   needed[i].name);
        res = RESULT_UNSUPPORTED;
    }
    io_uring_free_probe(probe);
    return res;
}

enum result io_probe(char *text, size_t text_size)
{
    if (text_size > 0) text[0] = '\0';
    enum result res = io_probe_version(text, text_size);
    if (res != RESULT_OK) return res;
    static const struct io_options options = {
        .entries = 4096, .receive_buffer_count = 1024, .receive_buffer_size_bytes = 4096};
    struct io *io;
    res = io_create(&io, &options, text, text_size);
    if (res != RESULT_OK) return res;
    res = io_probe_operations(io, text, text_size);
    io_destroy(io);
    return res;
}

/* ---- making and ending a ring ---------------------------------------------------------------------- */

static struct io_uring_buf *io_buffer_slot(struct io *io, uint16_t position)
{
    return &io->buffer_ring->bufs[position & (io->buffer_count - 1)];
}

static void io_buffer_give_back(struct io *io, uint16_t buffer_id)
{
    uint16_t tail = io->buffer_ring->tail; /* written by this thread alone */
    struct io_uring_buf *slot = io_buffer_slot(io, tail);
    slot->addr = (uint64_t)(uintptr_t)(io->buffers + (size_t)buffer_id * io->buffer_size_bytes);
    slot->len = io->buffer_size_bytes;
    slot->bid = buffer_id;
    /* Release: the slot is whole before the kernel sees the new tail. */
    __atomic_store_n(&io->buffer_ring->tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
}

static void *io_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void io_buffers_deinit(struct io *io)
{
    if (io->buffer_ring != NULL) munmap(io->buffer_ring, io->buffer_ring_size_bytes);
    if (io->buffers != NULL) munmap(io->buffers, (size_t)io->buffer_count * io->buffer_size_bytes);
}

/* Returns 0 or a negative errno. Pages of the buffers themselves are touched only when the kernel first fills them. */
static int io_buffers_init(struct io *io, const struct io_options *options)
{
    io->buffer_count = options->receive_buffer_count;
    io->buffer_size_bytes = options->receive_buffer_size_bytes;
    io->buffer_ring_size_bytes = io->buffer_count * sizeof(struct io_uring_buf);
    io->buffer_ring = io_map(io->buffer_ring_size_bytes);
    io->buffers = io_map((size_t)io->buffer_count * io->buffer_size_bytes);
    if (io->buffer_ring == NULL || io->buffers == NULL) return -ENOMEM;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)io->buffer_ring,
        .ring_entries = io->buffer_count,
        .bgid = IO_BUFFER_GROUP,
    };
    int registered = io_uring_register_buf_ring(&io->ring, &registration, 0);
    if (registered < 0) return registered;
    for (uint32_t i = 0; i < io->buffer_count; i++) io_buffer_give_back(io, (uint16_t)i);
    return 0;
}

/* Threads the kernel starts for this ring (buffered syncs, mostly) inherit a pinned worker's one core unless told
 * otherwise: they get the main thread's cores, and a small number. Refusal costs latency only, so it is not an error.
 */
static void io_tame_kernel_workers(struct io *io)
{
    unsigned limits[2] = {IO_KERNEL_WORKERS_MAX, IO_KERNEL_WORKERS_MAX}; /* bounded, unbounded */
    (void)io_uring_register_iowq_max_workers(&io->ring, limits);
    cpu_set_t cores;
    if (sched_getaffinity(getpid(), sizeof cores, &cores) == 0)
        (void)io_uring_register_iowq_aff(&io->ring, sizeof cores, &cores);
}

static int io_ring_init(struct io *io, const struct io_options *options)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = options->entries * IO_COMPLETIONS_PER_ENTRY,
    };
    return io_uring_queue_init_params(options->entries, &io->ring, &params);
}

enum result io_create(struct io **out, const struct io_options *options, char *text, size_t text_size)
{
    uint32_t count = options->receive_buffer_count;
    ASSERT(options->entries > 0 && (options->entries & (options->entries - 1)) == 0);
    ASSERT(count > 0 && (count & (count - 1)) == 0 && count <= 32768 && options->receive_buffer_size_bytes > 0);
    *out = NULL;
    struct io *io = calloc(1, sizeof *io);
    if (io == NULL) {
        io_explain(text, text_size, "out of memory");
        return RESULT_NOMEM;
    }
    int error = io_ring_init(io, options);
    if (error < 0) goto err_free;
    error = io_buffers_init(io, options);
    if (error < 0) goto err_ring;
    io_tame_kernel_workers(io);
    (void)io_uring_register_ring_fd(&io->ring); /* saves a descriptor look-up per turn; without it all works too */
    *out = io;
    return RESULT_OK;
err_ring:
    io_uring_queue_exit(&io->ring);
    io_buffers_deinit(io);
err_free:
    io_explain_failure(-error, options, text, text_size);
    free(io);
    return -error == EINVAL ? RESULT_UNSUPPORTED : result_from_errno(-error);
}

void io_destroy(struct io *io)
{
    if (io == NULL) return;
    ASSERT(io->armed_count == 0);
    (void)io_uring_unregister_buf_ring(&io->ring, IO_BUFFER_GROUP);
    io_uring_queue_exit(&io->ring);
    io_buffers_deinit(io);
    free(io);
}

uint32_t io_armed_count(const struct io *io)
{
    return io->armed_count;
}

/* ---- operations ------------------------------------------------------------------------------------ */

/* True for the failures of io_uring_enter that pass: a signal, no memory for a moment, completions to be collected
 * first. */
static bool io_passing(int error)
{
    return error == -EINTR || error == -EAGAIN || error == -EBUSY || error == -ETIME;
}

static void io_submit_full_queue(struct io *io)
{
    for (uint32_t tries = 0; io_uring_sq_space_left(&io->ring) == 0; tries++) {
        int submitted = io_uring_submit(&io->ring);
        if (submitted > 0) continue;
        if (!io_passing(submitted) || tries == IO_SUBMIT_RETRIES_MAX)
            check_fatal("io_uring takes no more operations: %s", strerror(-submitted));
        sched_yield();
    }
}

/* A cleared submission entry for `op`, which is armed from here on. */
static struct io_uring_sqe *io_arm(struct io *io, struct io_op *op)
{
    ASSERT(!op->armed && op->done != NULL);
    if (io_uring_sq_space_left(&io->ring) == 0) io_submit_full_queue(io);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    ASSERT(sqe != NULL);
    op->armed = true;
    io->armed_count++;
    return sqe;
}

/* After the prep function: some versions of liburing clear user_data in it. */
static void io_ready(struct io_uring_sqe *sqe, struct io_op *op)
{
    io_uring_sqe_set_data(sqe, op);
}

void io_accept(struct io *io, struct io_op *op, int fd)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    io_ready(sqe, op);
}

void io_recv(struct io *io, struct io_op *op, int fd)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = IO_BUFFER_GROUP;
    io_ready(sqe, op);
}

void io_send(struct io *io, struct io_op *op, int fd, const void *data, size_t len)
{
    ASSERT(len > 0 && len <= INT32_MAX);
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_send(sqe, fd, data, len, MSG_NOSIGNAL | MSG_WAITALL);
    io_ready(sqe, op);
}

void io_sendmsg(struct io *io, struct io_op *op, int fd, const struct msghdr *message)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_sendmsg(sqe, fd, message, MSG_NOSIGNAL | MSG_WAITALL);
    io_ready(sqe, op);
}

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

void io_close(struct io *io, struct io_op *op, int fd)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_close(sqe, fd);
    io_ready(sqe, op);
}

void io_cancel(struct io *io, struct io_op *op, struct io_op *victim)
{
    struct io_uring_sqe *sqe = io_arm(io, op);
    io_uring_prep_cancel(sqe, victim, 0);
    io_ready(sqe, op);
}

/* ---- the turn -------------------------------------------------------------------------------------- */

static void io_complete(struct io *io, const struct io_completion *completion)
{
    struct io_op *op = completion->op;
    ASSERT(op->armed);
    if ((completion->flags & IORING_CQE_F_MORE) == 0) {
        op->armed = false;
        io->armed_count--;
    }
    if ((completion->flags & IORING_CQE_F_BUFFER) == 0) {
        op->done(op, completion->res, SLICE_EMPTY);
        return;
    }
    uint16_t buffer_id = (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
    size_t len = completion->res > 0 ? (size_t)completion->res : 0;
    ASSERT(buffer_id < io->buffer_count && len <= io->buffer_size_bytes);
    op->done(op, completion->res, slice_of(io->buffers + (size_t)buffer_id * io->buffer_size_bytes, len));
    io_buffer_give_back(io, buffer_id);
}

/* Runs up to `most` completions that are in the ring now; returns how many. */
static uint32_t io_run_batch(struct io *io, uint32_t most)
{
    struct io_completion batch[IO_BATCH_MAX];
    if (most > IO_BATCH_MAX) most = IO_BATCH_MAX;
    uint32_t count = 0;
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&io->ring, head, cqe)
    {
        if (count == most) break;
        batch[count++] = (struct io_completion){io_uring_cqe_get_data(cqe), cqe->res, cqe->flags};
    }
    io_uring_cq_advance(&io->ring, count);
    for (uint32_t i = 0; i < count; i++) io_complete(io, &batch[i]);
    return count;
}

static void io_enter(struct io *io, uint32_t wait_ms)
{
    int entered;
    if (wait_ms == 0) {
        entered = io_uring_submit_and_get_events(&io->ring);
    } else {
        struct __kernel_timespec timeout = {.tv_sec = wait_ms / 1000, .tv_nsec = (wait_ms % 1000) * 1000000LL};
        struct io_uring_cqe *cqe;
        entered = io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, &timeout, NULL);
    }
    if (entered < 0 && !io_passing(entered)) check_fatal("io_uring_enter failed: %s", strerror(-entered));
}

/* The kernel holds finished work that becomes completions only inside io_uring_enter, or completions that did not fit.
 */
static bool io_kernel_has_more(const struct io *io)
{
    unsigned flags = __atomic_load_n(io->ring.sq.kflags, __ATOMIC_RELAXED);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

uint32_t io_turn(struct io *io, uint32_t wait_ms, uint32_t budget)
{
    ASSERT(!io->in_callback && budget > 0);
    if (io_uring_cq_ready(&io->ring) > 0) wait_ms = 0; /* what the last budget left over */
    if (wait_ms > IO_WAIT_MS_MAX) wait_ms = IO_WAIT_MS_MAX;
    io_enter(io, wait_ms);
    io->in_callback = true;
    uint32_t ran = 0;
    while (ran < budget) {
        if (io_uring_cq_ready(&io->ring) == 0) {
            if (!io_kernel_has_more(io)) break;
            io_enter(io, 0);
            if (io_uring_cq_ready(&io->ring) == 0)
                break; /* the work made no completion, e.g. a poll that found nothing */
        }
        ran += io_run_batch(io, budget - ran);
    }
    io->in_callback = false;
    return ran;
}
