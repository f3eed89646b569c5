/* tests/core/io_test.c - every operation against real descriptors, the budget, cancel, and the words for a machine
 * without io_uring (made by a seccomp filter in the test's own process). */
#include "core/io.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BUFFER_SIZE 512

struct probe { /* an operation and what its completions said */
    struct io_op op;
    struct io *io;
    int32_t res, results[64];
    uint32_t count, len;
    uint8_t bytes[64 * BUFFER_SIZE];
    int echo_fd; /* callback of a recv that sends from inside, 0: none */
};

static void probe_on_done(struct io_op *op, int32_t res, struct slice bytes)
{
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    probe->res = res;
    if (probe->count < COUNT_OF(probe->results)) probe->results[probe->count] = res;
    probe->count++;
    if (bytes.len > 0 && probe->len + bytes.len <= sizeof probe->bytes) {
        memcpy(probe->bytes + probe->len, bytes.data, bytes.len);
        probe->len += bytes.len;
    }
}

static struct io *io;
static struct probe *first, *second;

static struct probe *probe_create(void)
{
    struct probe *probe = calloc(1, sizeof *probe);
    probe->op.done = probe_on_done;
    return probe;
}

static void setup(void)
{
    static const struct io_options options = {
        .entries = 8, .receive_buffer_count = 4, .receive_buffer_size_bytes = BUFFER_SIZE};
    char text[512] = "";
    cr_assert_eq(io_create(&io, &options, text, sizeof text), RESULT_OK, "%s", text);
    first = probe_create();
    second = probe_create();
}

static void teardown(void)
{
    io_destroy(io);
    free(first);
    free(second);
}

/* Turns until `probe` has `count` completions; the limit on turns makes a missing one a failure, not a hang. */
static void turn_until(const struct probe *probe, uint32_t count)
{
    for (int turns = 0; probe->count < count && turns < 100; turns++) io_turn(io, 100, 64);
    cr_assert_eq(probe->count, count, "%u of %u completions", probe->count, count);
}

static void pair_open(int pair[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

TestSuite(io, .init = setup, .fini = teardown, .timeout = 60);

Test(io, the_machine_of_the_tests_passes_the_probe)
{
    char text[512] = "x";
    cr_assert_eq(io_probe(text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_str_empty(text);
}

Test(io, recv_is_multishot_and_borrows_buffers)
{
    int pair[2];
    pair_open(pair);
    io_recv(io, &first->op, pair[0]);
    for (uint32_t i = 1; i <= 20; i++) { /* five times as many as there are buffers */
        cr_assert_eq(write(pair[1], "hello", 5), 5);
        turn_until(first, i);
        cr_assert(first->op.armed);
        cr_assert_eq(first->res, 5);
    }
    cr_assert_eq(first->len, 100);
    cr_assert_eq(memcmp(first->bytes + 95, "hello", 5), 0);
    close(pair[1]);
    turn_until(first, 21);
    cr_assert_eq(first->res, 0, "end of stream");
    cr_assert_not(first->op.armed);
    close(pair[0]);
}

Test(io, recv_without_a_free_buffer_ends_with_enobufs_and_loses_nothing)
{
    int pair[2];
    pair_open(pair);
    static uint8_t sent[8 * BUFFER_SIZE];
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (uint8_t)(i * 7);
    cr_assert_eq(write(pair[1], sent, sizeof sent), (ssize_t)sizeof sent);
    io_recv(io, &first->op, pair[0]);
    bool starved = false;
    for (int turns = 0; first->len < sizeof sent && turns < 100; turns++) {
        io_turn(io, 100, 64);
        if (first->op.armed) continue;
        starved = starved || first->res == -ENOBUFS;
        cr_assert(first->res == -ENOBUFS || first->res > 0, "%d", first->res);
        io_recv(io, &first->op, pair[0]);
    }
    cr_assert(starved, "four buffers cannot hold eight");
    cr_assert_eq(memcmp(first->bytes, sent, sizeof sent), 0);
    close(pair[1]);
    for (int turns = 0; first->op.armed && turns < 100; turns++) io_turn(io, 100, 64);
    close(pair[0]);
}

Test(io, send_and_sendmsg_deliver_everything)
{
    int pair[2];
    pair_open(pair);
    io_send(io, &first->op, pair[1], "abc", 3);
    turn_until(first, 1);
    cr_assert_eq(first->res, 3);
    char part_one[] = "de", part_two[] = "fgh";
    struct iovec parts[] = {{part_one, 2}, {part_two, 3}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    io_sendmsg(io, &first->op, pair[1], &message);
    turn_until(first, 2);
    cr_assert_eq(first->res, 5);
    char got[16];
    cr_assert_eq(read(pair[0], got, sizeof got), 8);
    cr_assert_eq(memcmp(got, "abcdefgh", 8), 0);
    close(pair[0]);
    io_send(io, &first->op, pair[1], "x", 1);
    turn_until(first, 3);
    cr_assert_eq(first->res, -EPIPE, "no signal, an error");
    close(pair[1]);
}

Test(io, accept_is_multishot)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    io_accept(io, &first->op, listener);
    int clients[3];
    for (uint32_t i = 0; i < 3; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(clients[i], (struct sockaddr *)&address, size), 0);
        turn_until(first, i + 1);
        cr_assert_gt(first->res, 0);
        cr_assert(fcntl(first->res, F_GETFD) & FD_CLOEXEC);
        cr_assert(first->op.armed);
    }
    io_cancel(io, &second->op, &first->op);
    turn_until(second, 1);
    turn_until(first, 4);
    cr_assert_eq(first->res, -ECANCELED);
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
        close(first->results[i]);
    }
    close(listener);
}

Test(io, files_are_written_synced_and_read)
{
    char path[] = "/tmp/io_test.XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    unlink(path);
    io_write(io, &first->op, fd, "hello", 5, 0);
    turn_until(first, 1);
    cr_assert_eq(first->res, 5);
    io_write_durable(io, &first->op, fd, "HE", 2, 0);
    turn_until(first, 2);
    cr_assert_eq(first->res, 2);
    io_fdatasync(io, &first->op, fd);
    turn_until(first, 3);
    cr_assert_eq(first->res, 0);
    char got[8] = "";
    io_read(io, &first->op, fd, got, 8, 1);
    turn_until(first, 4);
    cr_assert_eq(first->res, 4);
    cr_assert_eq(memcmp(got, "Ello", 4), 0);
    io_close(io, &first->op, fd);
    turn_until(first, 5);
    cr_assert_eq(first->res, 0);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    io_read(io, &first->op, fd, got, 8, 1);
    turn_until(first, 6);
    cr_assert_eq(first->res, -EBADF);
}

Test(io, poll_fires_once)
{
    int pair[2];
    pair_open(pair);
    io_poll(io, &first->op, pair[0], POLLIN);
    cr_assert_eq(io_turn(io, 0, 8), 0);
    cr_assert_eq(write(pair[1], "x", 1), 1);
    turn_until(first, 1);
    cr_assert(first->res & POLLIN);
    cr_assert_not(first->op.armed);
    close(pair[0]);
    close(pair[1]);
}

Test(io, cancel_completes_itself_and_its_victim)
{
    int pair[2];
    pair_open(pair);
    io_recv(io, &first->op, pair[0]);
    io_cancel(io, &second->op, &first->op); /* in the same submission */
    cr_assert_eq(io_armed_count(io), 2);
    turn_until(second, 1);
    turn_until(first, 1);
    cr_assert_eq(second->res, 0);
    cr_assert_eq(first->res, -ECANCELED);
    cr_assert_eq(io_armed_count(io), 0);
    io_cancel(io, &second->op, &first->op);
    turn_until(second, 2);
    cr_assert_eq(second->res, -ENOENT, "nothing to cancel");
    close(pair[0]);
    close(pair[1]);
}

/* Many operations become ready at the same instant. */
enum { MANY = 200 };
static struct probe *many[MANY];
static int many_pairs[MANY][2];
static void many_make_ready(void)
{
    for (int i = 0; i < MANY; i++) {
        many[i] = probe_create();
        pair_open(many_pairs[i]);
        io_poll(io, &many[i]->op, many_pairs[i][0], POLLIN); /* 200 in a queue of 8: handed over as it fills */
    }
    cr_assert_eq(io_turn(io, 0, 1), 0);
    for (int i = 0; i < MANY; i++) cr_assert_eq(write(many_pairs[i][1], "x", 1), 1);
}
static void many_end(void)
{
    for (int i = 0; i < MANY; i++) {
        cr_expect_eq(many[i]->count, 1);
        close(many_pairs[i][0]);
        close(many_pairs[i][1]);
        free(many[i]);
    }
}

Test(io, one_turn_collects_all_that_is_ready_even_past_the_completion_ring)
{
    many_make_ready();
    cr_assert_eq(io_turn(io, 1000, 10000), MANY);
    cr_assert_eq(io_armed_count(io), 0);
    many_end();
}

Test(io, the_budget_is_kept_and_the_rest_comes_without_waiting)
{
    many_make_ready();
    uint32_t ran = 0;
    for (int turns = 0; ran < MANY && turns < 2 * MANY; turns++) {
        uint32_t now = io_turn(io, 1000, 7);
        cr_assert_leq(now, 7);
        ran += now;
    }
    cr_assert_eq(ran, MANY);
    many_end();
}

static void echo_on_recv(struct io_op *op, int32_t res, struct slice bytes)
{
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    if (res <= 0) return;
    memcpy(probe->bytes, bytes.data, bytes.len);
    if (!second->op.armed) io_send(io, &second->op, probe->echo_fd, probe->bytes, bytes.len);
}

Test(io, a_callback_may_start_operations)
{
    int pair[2];
    pair_open(pair);
    first->op.done = echo_on_recv;
    first->echo_fd = pair[0];
    io_recv(io, &first->op, pair[0]);
    cr_assert_eq(write(pair[1], "ping", 4), 4);
    turn_until(second, 1);
    char got[8];
    cr_assert_eq(read(pair[1], got, sizeof got), 4);
    close(pair[1]);
    for (int turns = 0; first->op.armed && turns < 100; turns++) io_turn(io, 100, 8);
    close(pair[0]);
}

Test(io, a_turn_without_events_ends)
{
    cr_assert_eq(io_turn(io, 1, 8), 0);
}

Test(io, arming_twice_is_our_bug, .signal = SIGABRT)
{
    int pair[2];
    pair_open(pair);
    io_poll(io, &first->op, pair[0], POLLIN);
    io_poll(io, &first->op, pair[0], POLLIN);
}

Test(io, destroying_with_something_armed_is_our_bug, .signal = SIGABRT)
{
    int pair[2];
    pair_open(pair);
    io_poll(io, &first->op, pair[0], POLLIN);
    io_destroy(io);
}

/* From here on io_uring_setup fails with `error` in this process. */
static void forbid_io_uring(uint32_t error)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {COUNT_OF(program), program};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void expect_refusal(uint32_t error, enum result want, const char *reason, const char *remedy)
{
    static const struct io_options options = {64, 64, 512};
    struct io *refused;
    char text[512] = "";
    forbid_io_uring(error);
    cr_assert_eq(io_create(&refused, &options, text, sizeof text), want);
    cr_assert_null(refused);
    cr_assert(strstr(text, reason) != NULL, "%s", text);
    cr_assert(strstr(text, remedy) != NULL, "%s", text);
    text[0] = '\0';
    cr_assert_eq(io_probe(text, sizeof text), want);
    cr_assert(strstr(text, reason) != NULL, "%s", text);
}

Test(io_refused, forbidden)
{
    expect_refusal(EPERM, RESULT_DENIED, "not permitted", "seccomp");
}
Test(io_refused, hidden)
{
    expect_refusal(ENOSYS, RESULT_UNSUPPORTED, "lacks io_uring", "6.1");
}
Test(io_refused, too_old)
{
    expect_refusal(EINVAL, RESULT_UNSUPPORTED, "too old", "newer kernel");
}
Test(io_refused, memlock)
{
    expect_refusal(ENOMEM, RESULT_NOMEM, "locked-memory", "LimitMEMLOCK=infinity");
}
