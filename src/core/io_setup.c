/* core/io_setup.c - making the rings of a worker, and saying in words what a machine lacks for them.
 * Happy path: one ring with receive buffers and, where the kernel is new enough, a table for sockets; more rings when its table is full.
 * Failure: a ring that cannot be made is explained with the remedy; a further ring that cannot be made leaves all as it was. */
#include "core/check.h"
#include "core/io_internal.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define IO_KERNEL_WORKERS_MAX    4u    /* threads the kernel may start for what it cannot do without blocking */
#define IO_PATIENCE_MS           1000
#define IO_RETRY_MS              20
#define IO_PAGE_SIZE             4096u
#define IO_KERNEL_MAJOR_MIN      6u
#define IO_KERNEL_MINOR_MIN      1u

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

static uint32_t io_completions(uint32_t entries)
{
    uint32_t completions = entries * IO_COMPLETIONS_PER_ENTRY;
    return completions > IO_COMPLETIONS_MIN ? completions : IO_COMPLETIONS_MIN;
}

static uint64_t io_ring_bytes(uint32_t entries, uint32_t buffers)
{
    uint64_t sqes = (uint64_t)entries * sizeof(struct io_uring_sqe);
    uint64_t queues = entries * sizeof(uint32_t) + (uint64_t)io_completions(entries) * sizeof(struct io_uring_cqe);
    return sqes + queues + buffers * sizeof(struct io_uring_buf) + 2 * IO_PAGE_SIZE; /* heads, and ends of pages */
}

/* One table for all, if the limit of open files (which bounds a table, not the sockets) allows it. */
static uint32_t io_places(uint32_t sockets_max)
{
    struct rlimit files;
    uint64_t places = (uint64_t)sockets_max + IO_SPARE_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < places) places = files.rlim_cur;
    return places < IO_PLACES_MAX ? (uint32_t)places : IO_PLACES_MAX;
}

static uint32_t io_spare(uint32_t places) { return places / 8 < IO_SPARE_MAX ? places / 8 : IO_SPARE_MAX; }

uint64_t io_locked_bytes(const struct io_options *options) { return io_ring_bytes(options->entries, options->receive_buffer_count); }

uint32_t io_sockets_within(const struct io_options *options, uint64_t locked_bytes)
{
    uint32_t places = io_places(options->sockets_max);
    uint64_t first = io_locked_bytes(options), in_one = places - io_spare(places);
    if (locked_bytes < first) return 0;
    uint64_t fit = in_one * (1 + (locked_bytes - first) / io_ring_bytes(IO_MORE_ENTRIES, IO_MORE_BUFFERS));
    return fit < options->sockets_max ? (uint32_t)fit : options->sockets_max;
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
            "the locked-memory limit of %llu KiB, which all processes of this user share, has no room for a ring of %llu KiB. Remedy: "
            "LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), or, set by root, ulimit -l unlimited in the shell that starts it",
            (unsigned long long)locked.rlim_cur / 1024, (unsigned long long)io_ring_bytes(options->entries, options->receive_buffer_count) / 1024);
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
    struct io_uring_probe *probe = io_uring_get_probe_ring(&io_main(io)->ring);
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
    static const struct io_options options = {.entries = 64, .receive_buffer_count = 16, .receive_buffer_size_bytes = 512};
    struct io *io;
    res = io_create(&io, &options, text, text_size);
    if (res != RESULT_OK) return res;
    res = io_probe_operations(io, text, text_size);
    io_destroy(io);
    return res;
}

/* ---- can sockets stand in a table? ----------------------------------------------------------------- */

static int io_ring_init(struct io_uring *ring, uint32_t entries, uint32_t completions)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = completions,
    };
    return io_uring_queue_init_params(entries, ring, &params);
}

/* The kernel gives back what rings had locked a moment after they are closed, also those of a process that was killed. True: to be tried
 * again. */
static bool io_waits_for_memory(int error, int *waited_ms)
{
    if (error != -ENOMEM || *waited_ms >= IO_PATIENCE_MS) return false;
    poll(NULL, 0, IO_RETRY_MS);
    *waited_ms += IO_RETRY_MS;
    return true;
}

/* To ask the kernel something: as small as a ring can be. */
static bool io_ask_ring_init(struct io_uring *ring)
{
    int error, waited_ms = 0;
    do error = io_ring_init(ring, 4, 8);
    while (io_waits_for_memory(error, &waited_ms));
    return error == 0;
}

/* With a recv armed on the socket in place 0, the one in place 1 is closed: is its peer told at once? */
static bool io_closes_at_once(struct io_uring *ring, int waiting, int closed, int closed_peer)
{
    int sockets[] = {waiting, closed};
    bool placed = io_uring_register_files_sparse(ring, 2) == 0 && io_uring_register_files_update(ring, 0, sockets, 2) == 2;
    close(waiting);
    close(closed);
    if (!placed) return false;
    char byte;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_recv(sqe, 0, &byte, 1, 0);
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_prep_close_direct(io_uring_get_sqe(ring), 1);
    return io_uring_submit_and_wait(ring, 1) >= 0 && recv(closed_peer, &byte, 1, MSG_DONTWAIT) == 0;
}

static bool io_try_direct_sockets(void)
{
    struct io_uring ring;
    int waiting[2], closed[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, waiting) != 0) return false;
    bool direct = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, closed) == 0;
    if (!direct) close(waiting[0]);
    if (direct && io_ask_ring_init(&ring)) {
        direct = io_closes_at_once(&ring, waiting[0], closed[0], closed[1]);
        io_uring_queue_exit(&ring);
        close(closed[1]);
    } else if (direct) {
        close(waiting[0]);
        close(closed[0]);
        close(closed[1]);
        direct = false;
    }
    close(waiting[1]);
    return direct;
}

static bool direct_sockets;
static void io_probe_direct_once(void) { direct_sockets = io_try_direct_sockets(); }

/* The first answer holds: sockets move between threads, so one that met no free descriptor must not take the other kind. */
bool io_probe_direct_sockets(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, io_probe_direct_once);
    return direct_sockets;
}

/* A ring while nothing at all may be locked tells. */
bool io_counts_locked_memory(void)
{
    struct rlimit limit;
    struct io_uring ring;
    ASSERT(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) return true;
    bool made = io_ring_init(&ring, 4, 8) == 0;
    ASSERT(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (made) io_uring_queue_exit(&ring);
    return !made;
}

/* ---- making and ending a ring ---------------------------------------------------------------------- */

static void *io_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void io_buffers_deinit(struct io_ring *ring)
{
    if (ring->buffer_ring != NULL) munmap(ring->buffer_ring, ring->buffer_ring_size_bytes);
    if (ring->buffers != NULL) munmap(ring->buffers, (size_t)ring->buffer_count * ring->buffer_size_bytes);
}

/* Returns 0 or a negative errno. Pages of the buffers themselves are touched only when the kernel first fills them. */
static int io_buffers_init(struct io_ring *ring, uint32_t count, uint32_t size_bytes)
{
    ring->buffer_count = count;
    ring->buffer_size_bytes = size_bytes;
    ring->buffer_ring_size_bytes = count * sizeof(struct io_uring_buf);
    ring->buffer_ring = io_map(ring->buffer_ring_size_bytes);
    ring->buffers = io_map((size_t)count * size_bytes);
    if (ring->buffer_ring == NULL || ring->buffers == NULL) return -ENOMEM;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring->buffer_ring,
        .ring_entries = count,
        .bgid = IO_BUFFER_GROUP,
    };
    int registered = io_uring_register_buf_ring(&ring->ring, &registration, 0);
    if (registered < 0) return registered;
    for (uint32_t i = 0; i < count; i++) io_buffer_give_back(ring, (uint16_t)i);
    return 0;
}

/* Threads the kernel starts for this ring (buffered syncs, mostly) inherit a pinned worker's one core unless told
 * otherwise: they get the main thread's cores, and a small number. Refusal costs latency only, so it is not an error.
 */
static void io_tame_kernel_workers(struct io_ring *ring)
{
    unsigned limits[2] = {IO_KERNEL_WORKERS_MAX, IO_KERNEL_WORKERS_MAX}; /* bounded, unbounded */
    (void)io_uring_register_iowq_max_workers(&ring->ring, limits);
    cpu_set_t cores;
    if (sched_getaffinity(getpid(), sizeof cores, &cores) == 0)
        (void)io_uring_register_iowq_aff(&ring->ring, sizeof cores, &cores);
}

static void io_ring_destroy(struct io_ring *ring)
{
    (void)io_uring_submit(&ring->ring); /* what was closed last: no turn comes any more */
    (void)io_uring_unregister_buf_ring(&ring->ring, IO_BUFFER_GROUP);
    io_uring_queue_exit(&ring->ring);
    io_buffers_deinit(ring);
    free(ring);
}

/* Returns 0 or a negative errno. `places`: of its table for sockets, 0: none. */
static int io_ring_create(struct io_ring **out, uint32_t entries, uint32_t buffers, uint32_t buffer_size_bytes, uint32_t places)
{
    struct io_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) return -ENOMEM;
    int error = io_ring_init(&ring->ring, entries, io_completions(entries));
    if (error < 0) {
        free(ring);
        return error;
    }
    error = io_buffers_init(ring, buffers, buffer_size_bytes);
    if (error == 0 && places > 0) error = io_uring_register_files_sparse(&ring->ring, places);
    if (error < 0) {
        io_ring_destroy(ring);
        return error;
    }
    io_tame_kernel_workers(ring);
    (void)io_uring_register_ring_fd(&ring->ring); /* saves a descriptor look-up per turn; without it all works too */
    *out = ring;
    return 0;
}

static void io_size_tables(struct io *io, uint32_t sockets_max)
{
    uint32_t places = io_places(sockets_max);
    io->spare_per_ring = io_spare(places);
    io->places_per_ring = places - io->spare_per_ring;
}

static uint32_t io_table_size(const struct io *io)
{
    return io->direct ? io->places_per_ring + io->spare_per_ring : 0;
}

/* Its completions wake the first ring through the eventfd; which ring it was, its flags tell. */
static bool io_ring_announces(struct io *io, struct io_ring *ring)
{
    if (io->more_fd < 0) io->more_fd = eventfd(0, EFD_CLOEXEC);
    return io->more_fd >= 0 && io_uring_register_eventfd(&ring->ring, io->more_fd) == 0;
}

bool io_add_ring(struct io *io)
{
    struct io_ring *ring;
    if (io->ring_count == IO_RINGS_MAX) return false;
    if (io_ring_create(&ring, IO_MORE_ENTRIES, IO_MORE_BUFFERS, io->buffer_size_bytes, io_table_size(io)) != 0) return false;
    if (!io_ring_announces(io, ring)) {
        io_ring_destroy(ring);
        return false;
    }
    io->rings[io->ring_count++] = ring;
    io_watch_more(io);
    return true;
}

static int io_main_create(struct io *io, const struct io_options *options)
{
    int error, waited_ms = 0;
    do error = io_ring_create(&io->rings[0], options->entries, options->receive_buffer_count, options->receive_buffer_size_bytes, io_table_size(io));
    while (io_waits_for_memory(error, &waited_ms));
    return error;
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
    io->more_fd = -1;
    io->buffer_size_bytes = options->receive_buffer_size_bytes;
    io->direct = options->sockets_max > 0 && io_probe_direct_sockets();
    if (io->direct) io_size_tables(io, options->sockets_max);
    int error = io_main_create(io, options);
    if (error < 0) {
        io_explain_failure(-error, options, text, text_size);
        free(io);
        return -error == EINVAL ? RESULT_UNSUPPORTED : result_from_errno(-error);
    }
    io->ring_count = 1;
    io_choose_arrivals(io);
    *out = io;
    return RESULT_OK;
}

void io_destroy(struct io *io)
{
    if (io == NULL) return;
    ASSERT(io_armed_count(io) == 0);
    for (uint32_t i = 0; i < io->ring_count; i++) io_ring_destroy(io->rings[i]);
    if (io->more_fd >= 0) close(io->more_fd);
    free(io);
}
