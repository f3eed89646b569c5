/* perf/crowd/crowd.c - a crowd of people who are online and silent: `crowd [--NAME VALUE]...` against a running server, raw TCP door.
 * Happy path: for each connection socket -> bind -> connect -> "RPT1" and the login, linked in one submission -> the answer -> nothing,
 * but an empty frame for each heartbeat of the server. When all are in, what the server's process and the kernel hold for them is
 * printed with `ready`, and with `settled` that the server has nothing left to do about the logins: what is measured beside the crowd is
 * measured from here. After --seconds the crowd counts who is still there, and leaves; whom the server sends away closes, as an app
 * does. Exit code: 0 everybody stayed, 1 not, 2 the measurement could not be made.
 * One process holds more sockets than it may open files: they stand in the tables of io_uring rings ("direct descriptors"), each
 * table as large as the limit of open files, one ring for each. Every 14,000 connections have a source address of their own in
 * 127.1.0.0/16, since an address has about 28,000 ports. Needs Linux 6.11 (bind as an operation of a ring). */
#include "perf/bytes.h"
#include "perf/process.h"
#include "perf/users.h"
#include <endian.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <unistd.h>

#define OP_BIND           56 /* IORING_OP_BIND: liburing 2.3 has no name for it */
#define RING_ENTRIES      2048u
#define RING_BUFFERS      256u
#define BUFFER_SIZE       512u
#define RINGS_MAX         256u
#define PLACES_SPARE      64u
#define PER_ADDRESS       14000u
#define UNDER_WAY_MAX     512u
#define LOGIN_SIZE_MAX    640u
#define LOGIN_TIMEOUT_NS  (60 * NS_PER_S)
#define IDLE_SLEEP_US     500
#define SETTLE_WINDOW_NS  NS_PER_S
#define SETTLE_WINDOWS    3u   /* one after the other in which the server did next to nothing */
#define SETTLE_CORES_MAX  0.05
#define SETTLE_TIMEOUT_NS (120 * NS_PER_S)
#define RESPONSE_TAG      0x12 /* of an envelope: field 2 */
#define ERROR_TAG         0x12 /* of a response, behind its id: field 2 */

enum step { STEP_SOCKET, STEP_BIND, STEP_CONNECT, STEP_LOGIN, STEP_RECEIVE, STEP_HEARTBEAT, STEP_CLOSE };
enum state { STATE_NEW, STATE_JOINING, STATE_ONLINE, STATE_GONE };

struct person { /* one connection; kept small, there are a million */
    uint32_t head;      /* bytes of a frame's length that are here */
    uint32_t left;      /* of the frame that is being received */
    uint8_t head_bytes; /* in `head`: 0 to 3 */
    uint8_t state;
    uint8_t heartbeat_waits : 1, beating : 1;
};

struct seat { /* what a connection needs while it joins */
    uint8_t login[LOGIN_SIZE_MAX];
    struct sockaddr_in source;
    uint32_t next_free;
};

struct table {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    uint8_t *memory;
};

struct options {
    const char *server, *data_dir, *users_file;
    uint64_t connections, first_user, server_pid;
    double seconds;
};

static struct crowd {
    struct options options;
    struct sockaddr_in server;
    struct token_mint mint;
    struct users users;
    struct table *tables[RINGS_MAX];
    uint32_t table_count, places;
    struct person *people;
    uint32_t *seat_of; /* by connection; UINT32_MAX: none */
    struct seat seats[UNDER_WAY_MAX];
    uint32_t free_seat, under_way;
    uint32_t asked, online, failed, lost;
    uint64_t heartbeats;
    const char *first_failure;
    int first_error;
} crowd;

/* ---- rings ---- */

static void buffer_give_back(struct table *table, uint16_t id)
{
    uint16_t tail = table->buffers->tail;
    struct io_uring_buf *slot = &table->buffers->bufs[tail & (RING_BUFFERS - 1)];
    slot->addr = (uint64_t)(uintptr_t)(table->memory + (size_t)id * BUFFER_SIZE);
    slot->len = BUFFER_SIZE;
    slot->bid = id;
    __atomic_store_n(&table->buffers->tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE); /* the slot is whole before the kernel sees it */
}

static void table_open(void)
{
    struct table *table = perf_alloc(1, sizeof *table);
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
                                     .cq_entries = RING_ENTRIES * 8};
    if (crowd.table_count == RINGS_MAX) perf_die("--connections needs more than %u rings: raise the limit of open files", RINGS_MAX);
    int error = io_uring_queue_init_params(RING_ENTRIES, &table->ring, &params);
    if (error == 0) error = io_uring_register_files_sparse(&table->ring, crowd.places);
    if (error < 0) perf_die("a ring with %u places: %s", crowd.places, strerror(-error));
    if (posix_memalign((void **)&table->buffers, 4096, RING_BUFFERS * sizeof(struct io_uring_buf)) != 0) perf_die("out of memory");
    memset(table->buffers, 0, RING_BUFFERS * sizeof(struct io_uring_buf));
    table->memory = perf_alloc(RING_BUFFERS, BUFFER_SIZE);
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)table->buffers, .ring_entries = RING_BUFFERS};
    error = io_uring_register_buf_ring(&table->ring, &registration, 0);
    if (error < 0) perf_die("receive buffers: %s", strerror(-error));
    for (uint32_t id = 0; id < RING_BUFFERS; id++) buffer_give_back(table, (uint16_t)id);
    crowd.tables[crowd.table_count++] = table;
}

static struct table *table_of(uint32_t index) { return crowd.tables[index / crowd.places]; }
static uint32_t place_of(uint32_t index) { return index % crowd.places; }

/* An entry of the ring in whose table connection `index` stands. */
static struct io_uring_sqe *entry(uint32_t index)
{
    struct io_uring *ring = &table_of(index)->ring;
    while (io_uring_sq_space_left(ring) == 0) (void)io_uring_submit(ring);
    return io_uring_get_sqe(ring);
}

static void ready(struct io_uring_sqe *sqe, uint32_t index, enum step step, unsigned flags)
{
    sqe->user_data = (uint64_t)index << 8 | step;
    sqe->flags |= (uint8_t)flags;
}

/* ---- joining ---- */

static size_t write_login(uint8_t *out, uint64_t user_id)
{
    char token[TOKEN_TEXT_MAX];
    size_t len = token_mint_write(&crowd.mint, user_id, token);
    size_t auth = wire_bytes_size(1, len), request = wire_u64_size(1, 1) + wire_bytes_size(16, auth);
    uint32_t size = htobe32((uint32_t)wire_bytes_size(1, request));
    memcpy(out, "RPT1", 4);
    memcpy(out + 4, &size, sizeof size);
    uint8_t *at = wire_put_head(out + 8, 1, request);
    at = wire_put_u64(at, 1, 1);
    at = wire_put_head(at, 16, auth);
    at = wire_put_bytes(at, 1, (struct slice){(const uint8_t *)token, len});
    return (size_t)(at - out);
}

/* Nobody before --first-user: those are of whoever measures beside the crowd, and a further socket of theirs hears what they hear. */
static uint64_t user_of(uint32_t index)
{
    uint64_t first = crowd.options.first_user;
    return first + index % (crowd.users.count - first);
}

static void join(uint32_t index)
{
    uint32_t number = crowd.free_seat;
    struct seat *seat = &crowd.seats[number];
    crowd.free_seat = seat->next_free;
    crowd.under_way++;
    crowd.seat_of[index] = number;
    crowd.people[index].state = STATE_JOINING;
    while (index / crowd.places >= crowd.table_count) table_open();
    size_t len = write_login(seat->login, crowd.users.ids[user_of(index)]);
    uint32_t address = index / PER_ADDRESS;
    seat->source = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001u + (address / 250) * 256 + address % 250)};
    int place = (int)place_of(index);
    struct io_uring *ring = &table_of(index)->ring;
    while (io_uring_sq_space_left(ring) < 4) (void)io_uring_submit(ring); /* a chain is one submission */
    struct io_uring_sqe *sqe = entry(index);
    io_uring_prep_socket_direct(sqe, AF_INET, SOCK_STREAM, 0, (unsigned)place, 0);
    ready(sqe, index, STEP_SOCKET, IOSQE_IO_LINK);
    sqe = entry(index);
    io_uring_prep_rw(OP_BIND, sqe, place, &seat->source, 0, sizeof seat->source);
    ready(sqe, index, STEP_BIND, IOSQE_IO_LINK | IOSQE_FIXED_FILE);
    sqe = entry(index);
    io_uring_prep_connect(sqe, place, (const struct sockaddr *)&crowd.server, sizeof crowd.server);
    ready(sqe, index, STEP_CONNECT, IOSQE_IO_LINK | IOSQE_FIXED_FILE);
    sqe = entry(index);
    io_uring_prep_send(sqe, place, seat->login, len, MSG_NOSIGNAL);
    ready(sqe, index, STEP_LOGIN, IOSQE_FIXED_FILE);
}

static void leave_seat(uint32_t index)
{
    uint32_t number = crowd.seat_of[index];
    if (number == UINT32_MAX) return;
    crowd.seat_of[index] = UINT32_MAX;
    crowd.seats[number].next_free = crowd.free_seat;
    crowd.free_seat = number;
    crowd.under_way--;
}

static void gone(uint32_t index, const char *why, int error)
{
    struct person *person = &crowd.people[index];
    if (person->state == STATE_GONE) return;
    if (crowd.first_failure == NULL) crowd.first_failure = why, crowd.first_error = error;
    if (person->state == STATE_ONLINE) crowd.lost++;
    else crowd.failed++;
    person->state = STATE_GONE;
    leave_seat(index);
}

/* The server ended it. A close takes no socket from an operation that is armed, but the end of the stream has ended the receive. */
static void close_socket(uint32_t index)
{
    struct io_uring_sqe *sqe = entry(index);
    io_uring_prep_close_direct(sqe, place_of(index));
    ready(sqe, index, STEP_CLOSE, 0);
}

/* ---- being there ---- */

static void receive(uint32_t index)
{
    struct io_uring_sqe *sqe = entry(index);
    io_uring_prep_recv_multishot(sqe, (int)place_of(index), NULL, 0, 0);
    sqe->buf_group = 0;
    ready(sqe, index, STEP_RECEIVE, IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE);
}

static void beat(uint32_t index)
{
    static const uint8_t empty_frame[4];
    struct person *person = &crowd.people[index];
    if (person->beating) {
        person->heartbeat_waits = true;
        return;
    }
    person->beating = true;
    crowd.heartbeats++;
    struct io_uring_sqe *sqe = entry(index);
    io_uring_prep_send(sqe, (int)place_of(index), empty_frame, sizeof empty_frame, MSG_NOSIGNAL);
    ready(sqe, index, STEP_HEARTBEAT, IOSQE_FIXED_FILE);
}

/* The answer to the login is the first response; a refusal has an error behind its id. Greetings come before it. */
static void take_envelope(uint32_t index, struct slice envelope)
{
    struct person *person = &crowd.people[index];
    if (person->state != STATE_JOINING || envelope.len < 6 || envelope.data[0] != RESPONSE_TAG) return;
    if (envelope.data[4] == ERROR_TAG || envelope.data[5] == ERROR_TAG) {
        gone(index, "the login was refused", 0);
        return;
    }
    person->state = STATE_ONLINE;
    crowd.online++;
    leave_seat(index);
}

static void take_bytes(uint32_t index, struct slice in)
{
    struct person *person = &crowd.people[index];
    while (in.len > 0) {
        if (person->left > 0) {
            uint32_t taken = in.len < person->left ? (uint32_t)in.len : person->left;
            take_envelope(index, (struct slice){in.data, taken});
            person->left -= taken;
            in.data += taken;
            in.len -= taken;
            continue;
        }
        person->head = person->head << 8 | *in.data++;
        in.len--;
        if (++person->head_bytes < 4) continue;
        person->left = person->head;
        person->head_bytes = 0;
        if (person->left == 0) beat(index);
    }
}

static void completed(struct table *table, const struct io_uring_cqe *cqe)
{
    static const char *const names[] = {"socket", "bind", "connect", "login", "receive", "heartbeat", "close"};
    uint32_t index = (uint32_t)(cqe->user_data >> 8);
    enum step step = (enum step)(cqe->user_data & 0xff);
    struct person *person = &crowd.people[index];
    if (step == STEP_RECEIVE && cqe->res > 0) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        take_bytes(index, (struct slice){table->memory + (size_t)id * BUFFER_SIZE, (size_t)cqe->res});
        buffer_give_back(table, id);
    }
    bool starved = step == STEP_RECEIVE && cqe->res == -ENOBUFS;
    bool ended = step == STEP_RECEIVE && cqe->res == 0;
    if (ended || (cqe->res < 0 && !starved && cqe->res != -ECANCELED)) gone(index, names[step], -cqe->res);
    if (ended) close_socket(index);
    if (person->state == STATE_GONE) return;
    if (step == STEP_LOGIN && cqe->res > 0) receive(index);
    if (step == STEP_RECEIVE && (cqe->flags & IORING_CQE_F_MORE) == 0) receive(index);
    if (step == STEP_HEARTBEAT) {
        person->beating = false;
        if (person->heartbeat_waits) {
            person->heartbeat_waits = false;
            beat(index);
        }
    }
}

/* What arrives for a ring wakes nobody, neither this thread nor, by that, the server's that sends: it is fetched every IDLE_SLEEP_US. */
static void enter(struct io_uring *ring)
{
    unsigned flags = __atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED);
    bool pending = (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    if (pending || io_uring_sq_ready(ring) > 0) (void)io_uring_submit_and_get_events(ring);
}

/* Everything that is there; true: there was something. */
static bool collect(void)
{
    bool any = false;
    for (uint32_t i = 0; i < crowd.table_count; i++) {
        struct table *table = crowd.tables[i];
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        enter(&table->ring);
        io_uring_for_each_cqe(&table->ring, head, cqe)
        {
            struct io_uring_cqe copy = *cqe;
            completed(table, &copy);
            count++;
        }
        io_uring_cq_advance(&table->ring, count);
        any |= count > 0;
    }
    return any;
}

static void turn(void)
{
    while (crowd.asked < crowd.options.connections && crowd.under_way < UNDER_WAY_MAX && crowd.failed == 0) join(crowd.asked++);
    if (!collect()) (void)usleep(IDLE_SLEEP_US);
}

/* ---- the measurement ---- */

static void print_memory(const struct memory *before, const struct memory *after, double seconds)
{
    double count = crowd.online > 0 ? crowd.online : 1;
    printf("ready: %u online of %u in %.1f s (%.0f/s); server %.0f MiB -> %.0f MiB, %.0f bytes/connection in its process; kernel %.0f "
           "bytes/connection for both ends\n",
           crowd.online, (uint32_t)crowd.options.connections, seconds, crowd.online / seconds, (double)before->resident_bytes / 1048576,
           (double)after->resident_bytes / 1048576, ((double)after->resident_bytes - (double)before->resident_bytes) / count,
           ((double)after->kernel_bytes - (double)before->kernel_bytes) / count);
    if (crowd.first_failure != NULL) printf("stopped by: %s: %s\n", crowd.first_failure, strerror(crowd.first_error));
    (void)fflush(stdout);
}

static double server_cores(const struct spent *from)
{
    struct spent to = process_spent((int)crowd.options.server_pid);
    struct cost cost = process_cost(from, &to);
    return (cost.server_user_s + cost.server_system_s) / cost.seconds;
}

/* Logins go on costing after their answers: what they changed is stored, flushed, compacted. */
static void settle(void)
{
    uint64_t began = perf_now_ns();
    uint32_t quiet = 0;
    double cores = 0;
    while (quiet < SETTLE_WINDOWS && perf_now_ns() < began + SETTLE_TIMEOUT_NS) {
        struct spent from = process_spent((int)crowd.options.server_pid);
        while (perf_now_ns() < from.at_ns + SETTLE_WINDOW_NS) turn();
        cores = server_cores(&from);
        quiet = cores <= SETTLE_CORES_MAX ? quiet + 1 : 0;
    }
    printf("%s: after %.0f s, the server uses %.3f cores\n", quiet == SETTLE_WINDOWS ? "settled" : "not settled",
           (double)(perf_now_ns() - began) / 1e9, cores);
    (void)fflush(stdout);
}

static void hold(void)
{
    struct spent from = process_spent((int)crowd.options.server_pid);
    uint64_t until = perf_now_ns() + (uint64_t)(crowd.options.seconds * 1e9);
    while (perf_now_ns() < until) turn();
    struct spent to = process_spent((int)crowd.options.server_pid);
    struct cost cost = process_cost(&from, &to);
    printf("stayed: %u, lost %u, heartbeats answered %llu, in %.0f s; cores: server %.3f, crowd %.3f\n", crowd.online - crowd.lost, crowd.lost,
           (unsigned long long)crowd.heartbeats, cost.seconds,
           (cost.server_user_s + cost.server_system_s) / cost.seconds, (cost.generator_user_s + cost.generator_system_s) / cost.seconds);
}

static void gather(void)
{
    struct memory before = process_memory((int)crowd.options.server_pid);
    uint64_t began = perf_now_ns(), moved = began;
    uint32_t online = 0;
    while (crowd.online + crowd.failed < crowd.options.connections && perf_now_ns() < moved + LOGIN_TIMEOUT_NS) {
        turn();
        if (crowd.online != online) moved = perf_now_ns();
        online = crowd.online;
        if (crowd.failed > 0 && crowd.under_way == 0) break;
    }
    double seconds = (double)(perf_now_ns() - began) / 1e9;
    struct memory after = process_memory((int)crowd.options.server_pid);
    print_memory(&before, &after, seconds);
}

/* ---- the command line ---- */

static void take_options(int argc, char **argv)
{
    struct options *o = &crowd.options;
    *o = (struct options){.server = "127.0.0.1:7800", .data_dir = "data", .users_file = "users.bin", .connections = 1000, .seconds = 10};
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL) perf_die("%s needs a value", name);
        if (strcmp(name, "--server") == 0) o->server = value;
        else if (strcmp(name, "--data-dir") == 0) o->data_dir = value;
        else if (strcmp(name, "--users") == 0) o->users_file = value;
        else if (strcmp(name, "--connections") == 0) o->connections = strtoull(value, NULL, 10);
        else if (strcmp(name, "--first-user") == 0) o->first_user = strtoull(value, NULL, 10);
        else if (strcmp(name, "--server-pid") == 0) o->server_pid = strtoull(value, NULL, 10);
        else if (strcmp(name, "--seconds") == 0) o->seconds = strtod(value, NULL);
        else perf_die("unknown option %s: --server --data-dir --users --connections --first-user --server-pid --seconds", name);
    }
    if (o->connections == 0 || o->connections > UINT32_MAX / 2) perf_die("--connections must be at least 1");
}

static void take_server(void)
{
    crowd.server = perf_address(crowd.options.server);
    if ((ntohl(crowd.server.sin_addr.s_addr) >> 24) != 127) perf_die("the crowd stays on the loopback");
}

static void size_tables(void)
{
    uint64_t files = perf_raise_open_files();
    uint64_t places = files < (1u << 20) ? files - PLACES_SPARE : (1u << 20);
    crowd.places = crowd.options.connections < places ? (uint32_t)crowd.options.connections : (uint32_t)places;
}

int main(int argc, char **argv)
{
    take_options(argc, argv);
    take_server();
    size_tables();
    token_mint_init(&crowd.mint, crowd.options.data_dir);
    users_init(&crowd.users, crowd.options.users_file);
    if (crowd.users.count <= crowd.options.first_user)
        perf_die("%s: nobody is registered behind --first-user; `load idle --connections N` registers N", crowd.options.users_file);
    crowd.people = perf_alloc(crowd.options.connections, sizeof *crowd.people);
    crowd.seat_of = perf_alloc(crowd.options.connections, sizeof *crowd.seat_of);
    for (uint64_t i = 0; i < crowd.options.connections; i++) crowd.seat_of[i] = UINT32_MAX;
    for (uint32_t i = 0; i < UNDER_WAY_MAX; i++) crowd.seats[i].next_free = i + 1;
    gather();
    if (crowd.options.server_pid != 0) settle();
    hold();
    users_deinit(&crowd.users);
    return crowd.online - crowd.lost == crowd.options.connections ? 0 : 1;
}
