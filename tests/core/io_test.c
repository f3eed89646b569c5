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
#include <sys/resource.h>
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

static struct io_socket plain(int fd) { return (struct io_socket){(uint32_t)fd}; }

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
    io_recv(io, &first->op, plain(pair[0]));
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
    io_recv(io, &first->op, plain(pair[0]));
    bool starved = false;
    for (int turns = 0; first->len < sizeof sent && turns < 100; turns++) {
        io_turn(io, 100, 64);
        if (first->op.armed) continue;
        starved = starved || first->res == -ENOBUFS;
        cr_assert(first->res == -ENOBUFS || first->res > 0, "%d", first->res);
        io_recv(io, &first->op, plain(pair[0]));
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
    io_send(io, &first->op, plain(pair[1]), "abc", 3);
    turn_until(first, 1);
    cr_assert_eq(first->res, 3);
    char part_one[] = "de", part_two[] = "fgh";
    struct iovec parts[] = {{part_one, 2}, {part_two, 3}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    io_sendmsg(io, &first->op, plain(pair[1]), &message);
    turn_until(first, 2);
    cr_assert_eq(first->res, 5);
    char got[16];
    cr_assert_eq(read(pair[0], got, sizeof got), 8);
    cr_assert_eq(memcmp(got, "abcdefgh", 8), 0);
    close(pair[0]);
    io_send(io, &first->op, plain(pair[1]), "x", 1);
    turn_until(first, 3);
    cr_assert_eq(first->res, -EPIPE, "no signal, an error");
    close(pair[1]);
}

static int listener_open(struct sockaddr_in *address)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof *address;
    cr_assert_eq(bind(listener, (struct sockaddr *)address, size), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)address, &size), 0);
    return listener;
}

static struct accepted {
    struct io_socket socket;
    int32_t res;
    uint32_t count;
    struct sockaddr_in peer;
} accepted;

static void on_accept(struct io_accept *accept, int32_t res, struct io_socket socket)
{
    accepted.res = res;
    accepted.socket = socket;
    accepted.count++;
    memcpy(&accepted.peer, &accept->address, sizeof accepted.peer);
}

static int connect_to(struct io *server, int listener, const struct sockaddr_in *address)
{
    static struct io_accept accept = {.done = on_accept};
    uint32_t before = accepted.count;
    cr_assert(io_accept(server, &accept, listener));
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(client, (const struct sockaddr *)address, sizeof *address), 0);
    for (int turns = 0; accepted.count == before && turns < 100; turns++) io_turn(server, 100, 64);
    cr_assert_eq(accepted.res, 0);
    struct sockaddr_in name;
    socklen_t size = sizeof name;
    cr_assert_eq(getsockname(client, (struct sockaddr *)&name, &size), 0);
    cr_expect_eq(accepted.peer.sin_port, name.sin_port, "the peer's own address");
    cr_expect_eq(accepted.peer.sin_addr.s_addr, name.sin_addr.s_addr);
    return client;
}

static struct io *io_with_sockets(uint32_t sockets_max)
{
    static const struct io_options options = {.entries = 8, .receive_buffer_count = 4, .receive_buffer_size_bytes = BUFFER_SIZE};
    struct io_options wanted = options;
    wanted.sockets_max = sockets_max;
    struct io *made;
    char text[256];
    cr_assert_eq(io_create(&made, &wanted, text, sizeof text), RESULT_OK, "%s", text);
    return made;
}

/* The whole life of a socket, as a plain descriptor and in a table. */
static void live_and_die(uint32_t sockets_max)
{
    struct io *from = io_with_sockets(sockets_max), *to = io_with_sockets(sockets_max);
    struct sockaddr_in address;
    char got[16];
    int listener = listener_open(&address), client = connect_to(from, listener, &address);
    struct io_socket here = accepted.socket;
    struct probe *moving = probe_create(), *there = probe_create();

    uint32_t base = io_move(from, &moving->op, here, to);
    for (int turns = 0; moving->count == 0 && turns < 100; turns++) {
        io_turn(from, 10, 64);
        io_turn(to, 0, 64);
    }
    cr_assert_geq(moving->res, 0);
    struct io_socket arrived = {base + (uint32_t)moving->res};
    io_arrived(to, arrived);
    io_moved(from, here);
    io_turn(from, 0, 64);

    io_recv(to, &there->op, arrived);
    cr_assert_eq(write(client, "hello", 5), 5);
    for (int turns = 0; there->count == 0 && turns < 100; turns++) io_turn(to, 10, 64);
    cr_expect_eq(there->res, 5);
    io_cancel(to, &moving->op, &there->op);
    for (int turns = 0; (there->op.armed || moving->op.armed) && turns < 100; turns++) io_turn(to, 10, 64);
    cr_assert_not(there->op.armed);
    io_send(to, &there->op, arrived, "bye", 3);
    for (int turns = 0; there->op.armed && turns < 100; turns++) io_turn(to, 10, 64);
    io_unsent(to, &there->op, arrived);
    for (int turns = 0; there->op.armed && turns < 100; turns++) io_turn(to, 10, 64);
    cr_expect(there->res == 0 || there->res == 3, "%d bytes unsent", there->res);
    io_shutdown(to, &there->op, arrived);
    for (int turns = 0; there->op.armed && turns < 100; turns++) io_turn(to, 10, 64);
    cr_expect_eq(read(client, got, sizeof got), 3);
    cr_expect_eq(read(client, got, sizeof got), 0, "our direction is shut");
    io_close(to, arrived);
    io_turn(to, 0, 64);
    close(client);
    close(listener);
    io_destroy(from);
    io_destroy(to);
    free(moving);
    free(there);
}

Test(io, a_socket_lives_as_a_plain_descriptor) { live_and_die(0); }

Test(io, a_socket_lives_in_a_table)
{
    if (!io_probe_direct_sockets()) cr_skip_test("Linux 6.13");
    live_and_die(16);
}

/* Sockets of one thread go to another: all have to be of one kind, also when descriptors ran out meanwhile. */
Test(io, tables_are_asked_for_once)
{
    bool direct = io_probe_direct_sockets();
    struct rlimit files = {0}, none;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    none = files;
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool again = io_probe_direct_sockets();
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    cr_expect_eq(again, direct);
}

/* No turn comes after the last close. */
static void expect_closed_at_the_end(uint32_t sockets_max)
{
    struct io *own = io_with_sockets(sockets_max);
    struct sockaddr_in address;
    char got;
    int listener = listener_open(&address), client = connect_to(own, listener, &address);
    io_close(own, accepted.socket);
    io_destroy(own);
    struct pollfd ended = {.fd = client, .events = POLLIN};
    cr_assert_eq(poll(&ended, 1, 5000), 1, "the peer is told");
    cr_expect_eq(read(client, &got, 1), 0);
    close(client);
    close(listener);
}

Test(io, what_is_closed_last_is_closed)
{
    expect_closed_at_the_end(0);
    expect_closed_at_the_end(16);
}

static void expect_reset(uint32_t sockets_max)
{
    struct io *own = io_with_sockets(sockets_max);
    struct sockaddr_in address;
    char got[16];
    int listener = listener_open(&address), client = connect_to(own, listener, &address);
    struct probe *reset = probe_create(), *waiting = probe_create();
    io_recv(own, &waiting->op, accepted.socket);
    io_turn(own, 0, 64);
    io_reset(own, &reset->op, accepted.socket);
    for (int turns = 0; (reset->op.armed || waiting->op.armed) && turns < 100; turns++) io_turn(own, 10, 64);
    cr_expect_leq(waiting->res, 0, "what was armed ends");
    cr_expect_eq(read(client, got, sizeof got), -1);
    cr_expect_eq(errno, ECONNRESET);
    io_close(own, accepted.socket);
    io_turn(own, 0, 64);
    close(client);
    close(listener);
    io_destroy(own);
    free(reset);
    free(waiting);
}

Test(io, reset_frees_and_tells)
{
    expect_reset(0);
    expect_reset(16);
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
    close(fd);
    io_read(io, &first->op, fd, got, 8, 1);
    turn_until(first, 5);
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
    io_recv(io, &first->op, plain(pair[0]));
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
    if (!second->op.armed) io_send(io, &second->op, plain(probe->echo_fd), probe->bytes, bytes.len);
}

Test(io, a_callback_may_start_operations)
{
    int pair[2];
    pair_open(pair);
    first->op.done = echo_on_recv;
    first->echo_fd = pair[0];
    io_recv(io, &first->op, plain(pair[0]));
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
    static const struct io_options options = {64, 64, 512, 0};
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

Test(io, sockets_within_locked_memory_are_whole_tables)
{
    const struct rlimit files = {2048, 2048}; /* bounds a table: 2048 places, 256 of them spare */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct io_options options = {.entries = 256, .receive_buffer_count = 64, .sockets_max = 10000}; /* its further rings are as large */
    uint64_t ring = io_locked_bytes(&options);
    cr_expect_eq(io_sockets_within(&options, ring - 1), 0);
    cr_expect_eq(io_sockets_within(&options, ring), 1792);
    cr_expect_eq(io_sockets_within(&options, 3 * ring - 1), 2 * 1792);
    cr_expect_eq(io_sockets_within(&options, 100 * ring), 10000);
}
