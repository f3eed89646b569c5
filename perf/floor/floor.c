/* perf/floor/floor.c - command line, ring, the turn.
 * `floor [--listen PORT] [--log FILE]` serves on 127.0.0.1 until it is killed; port 0 (the default) lets the kernel choose. It prints
 * `port=N` when it can be connected to. */
#include "perf/floor/floor.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define SUBMISSIONS    4096u
#define COMPLETIONS    (SUBMISSIONS * 4)
#define LISTEN_BACKLOG 4096
#define LOG_FILE_SIZE  ((size_t)256 << 20)
#define DRAIN_ROUNDS   8 /* looks into the completion queue before a turn sends: more messages share a send, none waits for ever */

void floor_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("floor: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

struct io_uring_sqe *floor_sqe(struct floor *floor)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&floor->ring);
    if (sqe == NULL) {
        (void)io_uring_submit(&floor->ring);
        sqe = io_uring_get_sqe(&floor->ring);
    }
    if (sqe == NULL) floor_die("the submission queue stays full");
    return sqe;
}

void floor_tag(struct io_uring_sqe *sqe, enum operation operation, struct connection *connection)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)connection | operation);
}

/* ---- set-up ---- */

static void open_ring(struct floor *floor)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};
    int result = io_uring_queue_init_params(SUBMISSIONS, &floor->ring, &params);
    if (result < 0) floor_die("io_uring: %s (it needs Linux 6.1 or newer)", strerror(-result));
}

/* Populated at once, or the first clients would seem to cost what is the program's. */
static void *pages(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) floor_die("mmap: %s", strerror(errno));
    return memory;
}

static void provide_receive_buffers(struct floor *floor)
{
    floor->receive_ring = pages(RECEIVE_BUFFER_COUNT * sizeof(struct io_uring_buf));
    floor->receive_memory = pages((size_t)RECEIVE_BUFFER_COUNT * RECEIVE_BUFFER_SIZE);
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)floor->receive_ring, .ring_entries = RECEIVE_BUFFER_COUNT};
    int result = io_uring_register_buf_ring(&floor->ring, &reg, 0);
    if (result < 0) floor_die("buffer ring: %s", strerror(-result));
    io_uring_buf_ring_init(floor->receive_ring);
    for (uint16_t id = 0; id < RECEIVE_BUFFER_COUNT; id++)
        io_uring_buf_ring_add(floor->receive_ring, floor->receive_memory + (size_t)id * RECEIVE_BUFFER_SIZE, RECEIVE_BUFFER_SIZE, id,
                              io_uring_buf_ring_mask(RECEIVE_BUFFER_COUNT), id);
    io_uring_buf_ring_advance(floor->receive_ring, RECEIVE_BUFFER_COUNT);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) floor_die("socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* what is accepted has it too */
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) floor_die("port %u: %s", port, strerror(errno));
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) floor_die("getsockname: %s", strerror(errno));
    printf("port=%u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return fd;
}

/* ---- the turn ---- */

static void on_completion(struct floor *floor, const struct io_uring_cqe *cqe)
{
    uint64_t data = io_uring_cqe_get_data64(cqe);
    struct connection *connection = (struct connection *)(uintptr_t)(data & ~(uint64_t)OPERATION_MASK);
    switch (data & OPERATION_MASK) {
    case OPERATION_ACCEPT: connection_on_accept(floor, cqe); break;
    case OPERATION_RECEIVE: connection_on_receive(floor, connection, cqe); break;
    case OPERATION_SEND: connection_on_send(floor, connection, cqe->res); break;
    case OPERATION_LOG: grouplog_on_written(floor->log, floor, cqe->res); break;
    default: floor_die("a completion of nothing");
    }
}

/* Returns how many there were. Handlers only queue submissions, so the head can move once for all. */
static unsigned take_completions(struct floor *floor)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&floor->ring, head, cqe)
    {
        on_completion(floor, cqe);
        count++;
    }
    io_uring_cq_advance(&floor->ring, count);
    return count;
}

/* Everything that has happened -> the log -> one send for each connection that got something -> sleep. */
static void turn(struct floor *floor)
{
    int result = io_uring_submit_and_wait(&floor->ring, 1);
    if (result < 0 && result != -EINTR && result != -EBUSY) floor_die("io_uring: %s", strerror(-result));
    for (int round = 0; round < DRAIN_ROUNDS && take_completions(floor) > 0; round++) (void)io_uring_get_events(&floor->ring);
    if (floor->log != NULL) grouplog_write(floor->log, floor);
    connection_flush_dirty(floor);
}

int main(int argc, char **argv)
{
    static struct floor floor;
    uint16_t port = 0;
    const char *log_path = NULL;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--listen") == 0) port = (uint16_t)atoi(argv[i + 1]);
        else if (i + 1 < argc && strcmp(argv[i], "--log") == 0) log_path = argv[i + 1];
        else floor_die("usage: floor [--listen PORT] [--log FILE]");
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    topics_init(&floor.topics);
    if (log_path != NULL) floor.log = grouplog_open(log_path, LOG_FILE_SIZE);
    open_ring(&floor);
    provide_receive_buffers(&floor);
    floor.listener = listen_on(port);
    connection_accept(&floor);
    for (;;) turn(&floor);
}
