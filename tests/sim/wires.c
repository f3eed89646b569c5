/* tests/sim/wires.c - see wires.h. The server's end of a wire is a place in the table of an io; a wire that moves has a place in two tables for
 * a moment, as in the kernel. */
#include "sim/wires.h"
#include "core/check.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX     2048u /* what the other end lets wait before it reads */
#define RECEIVE_MAX 1500u /* of one completion */
#define ARMED_MAX   4096u

struct wire {
    struct wire *next; /* of those that wait to be accepted */
    struct writer in, out; /* to the server; from it. Read from `in_at`, `out_at` on */
    size_t in_at, out_at;
    uint32_t places; /* the server has in its tables; 0 and never accepted: it may still be */
    bool waits;      /* to be accepted */
    bool left, in_ends; /* the other end is gone; sends no more */
    bool reset;         /* by either */
    bool out_ends;      /* the server sends no more */
};

enum act { ACT_RECV, ACT_SEND, ACT_SENDMSG, ACT_UNSENT, ACT_SHUTDOWN, ACT_RESET, ACT_ACCEPT, ACT_POLL, ACT_CANCEL, ACT_MOVE };

struct armed {
    enum act act;
    struct io_op *op;
    struct io_socket socket;
    const void *data;
    size_t len;
    struct io_op *victim;
    struct io *to;
};

struct io {
    struct dice *dice;
    struct wire **sockets; /* by number; NULL: free */
    uint32_t socket_count, armed_count;
    struct armed armed[ARMED_MAX];
    struct wire *first, *last; /* to be accepted */
    void (*collected)(void *context);
    void *collected_context;
};

static struct {
    struct dice *dice;
    bool moved, short_sends_lie;
} wires;

void wires_begin(struct dice *dice, bool short_sends_lie)
{
    wires.dice = dice;
    wires.moved = false;
    wires.short_sends_lie = short_sends_lie;
}

bool wires_moved(void)
{
    bool moved = wires.moved;
    wires.moved = false;
    return moved;
}

/* ---- the other end ---------------------------------------------------------------------------------------------------- */

static void maybe_free(struct wire *wire)
{
    if (!wire->left || wire->places > 0 || wire->waits) return;
    writer_deinit(&wire->in);
    writer_deinit(&wire->out);
    free(wire);
}

struct wire *wire_connect(struct io *io)
{
    struct wire *wire = calloc(1, sizeof *wire);
    ASSERT(wire != NULL);
    writer_init(&wire->in, 0);
    writer_init(&wire->out, 0);
    wire->waits = true;
    if (io->last != NULL) io->last->next = wire;
    else io->first = wire;
    io->last = wire;
    return wire;
}

void wire_send(struct wire *wire, struct slice bytes)
{
    if (!wire->in_ends && !wire->reset) writer_raw(&wire->in, bytes.data, bytes.len);
}

void wire_receive(struct wire *wire, struct writer *out, uint32_t most)
{
    size_t have = wire->out.len - wire->out_at, take = have < most ? have : most;
    if (take == 0) return;
    writer_raw(out, wire->out.data + wire->out_at, take);
    wire->out_at += take;
    wires.moved = true;
    if (wire->out_at < wire->out.len) return;
    writer_reset(&wire->out);
    wire->out_at = 0;
}

bool wire_is_over(const struct wire *wire) { return wire->reset || (wire->out_ends && wire->out_at == wire->out.len); }

void wire_end(struct wire *wire) { wire->in_ends = true; }

void wire_leave(struct wire *wire, bool politely)
{
    size_t waiting = wire->in.len - wire->in_at;
    ASSERT(!wire->left);
    wire->left = wire->in_ends = true;
    if (!politely) wire->in.len -= dice_below(wires.dice, (uint32_t)waiting + 1); /* it never went out */
    if (!politely && dice_one_in(wires.dice, 2)) wire->reset = true;
    wires.moved = true;
    maybe_free(wire);
}

/* ---- the server's end: places ------------------------------------------------------------------------------------------ */

static uint32_t place(struct io *io, struct wire *wire)
{
    uint32_t number = 0;
    while (number < io->socket_count && io->sockets[number] != NULL) number++;
    if (number == io->socket_count) {
        io->socket_count = io->socket_count == 0 ? 16 : io->socket_count * 2;
        io->sockets = realloc(io->sockets, io->socket_count * sizeof *io->sockets);
        ASSERT(io->sockets != NULL);
        memset(io->sockets + number, 0, (io->socket_count - number) * sizeof *io->sockets);
    }
    io->sockets[number] = wire;
    wire->places++;
    return number;
}

static struct wire *at(const struct io *io, struct io_socket socket)
{
    ASSERT(socket.number < io->socket_count && io->sockets[socket.number] != NULL);
    return io->sockets[socket.number];
}

static void displace(struct io *io, struct io_socket socket)
{
    struct wire *wire = at(io, socket);
    for (uint32_t i = 0; i < io->armed_count; i++)
        ASSERT(io->armed[i].act >= ACT_ACCEPT || io->armed[i].socket.number != socket.number); /* nothing is armed on it */
    io->sockets[socket.number] = NULL;
    wire->places--;
}

/* ---- arming --------------------------------------------------------------------------------------------------------------- */

static void arm(struct io *io, struct armed armed)
{
    ASSERT(!armed.op->armed && armed.op->done != NULL && io->armed_count < ARMED_MAX);
    armed.op->armed = true;
    io->armed[io->armed_count++] = armed;
}

bool io_accept(struct io *io, struct io_accept *accept, int fd)
{
    (void)fd;
    accept->io = io;
    accept->op.done = (io_done_f)abort; /* accept->done is called */
    arm(io, (struct armed){.act = ACT_ACCEPT, .op = &accept->op});
    return true;
}

void io_recv(struct io *io, struct io_op *op, struct io_socket socket) { arm(io, (struct armed){.act = ACT_RECV, .op = op, .socket = socket}); }

void io_send(struct io *io, struct io_op *op, struct io_socket socket, const void *data, size_t len)
{
    ASSERT(len > 0);
    arm(io, (struct armed){.act = ACT_SEND, .op = op, .socket = socket, .data = data, .len = len});
}

void io_sendmsg(struct io *io, struct io_op *op, struct io_socket socket, const struct msghdr *message)
{
    arm(io, (struct armed){.act = ACT_SENDMSG, .op = op, .socket = socket, .data = message});
}

void io_unsent(struct io *io, struct io_op *op, struct io_socket socket) { arm(io, (struct armed){.act = ACT_UNSENT, .op = op, .socket = socket}); }

void io_shutdown(struct io *io, struct io_op *op, struct io_socket socket)
{
    arm(io, (struct armed){.act = ACT_SHUTDOWN, .op = op, .socket = socket});
}

void io_reset(struct io *io, struct io_op *op, struct io_socket socket) { arm(io, (struct armed){.act = ACT_RESET, .op = op, .socket = socket}); }

void io_poll(struct io *io, struct io_op *op, int fd, uint32_t events)
{
    (void)fd, (void)events;
    arm(io, (struct armed){.act = ACT_POLL, .op = op});
}

void io_cancel(struct io *io, struct io_op *op, struct io_op *victim)
{
    arm(io, (struct armed){.act = ACT_CANCEL, .op = op, .victim = victim});
}

uint32_t io_move(struct io *io, struct io_op *op, struct io_socket socket, struct io *to)
{
    arm(io, (struct armed){.act = ACT_MOVE, .op = op, .socket = socket, .to = to});
    return 0;
}

void io_close(struct io *io, struct io_socket socket)
{
    struct wire *wire = at(io, socket);
    displace(io, socket);
    if (wire->places > 0) return; /* it has moved */
    if (wire->in_at < wire->in.len) wire->reset = true; /* as TCP does with what nobody reads */
    wire->out_ends = true;
    wires.moved = true;
    maybe_free(wire);
}

void io_moved(struct io *io, struct io_socket socket) { io_close(io, socket); }

void io_arrived(struct io *io, struct io_socket socket) { (void)at(io, socket); }

/* ---- completing ----------------------------------------------------------------------------------------------------------- */

static void disarm(struct io *io, uint32_t index)
{
    io->armed[index].op->armed = false;
    memmove(io->armed + index, io->armed + index + 1, (--io->armed_count - index) * sizeof *io->armed);
    wires.moved = true;
}

static void complete(struct io *io, uint32_t index, int32_t res)
{
    struct armed armed = io->armed[index];
    disarm(io, index);
    if (armed.act != ACT_ACCEPT) {
        armed.op->done(armed.op, res, SLICE_EMPTY);
        return;
    }
    struct io_accept *accept = CONTAINER_OF(armed.op, struct io_accept, op);
    struct io_socket socket = res < 0 ? IO_SOCKET_NONE : (struct io_socket){(uint32_t)res};
    accept->done(accept, res < 0 ? res : 0, socket);
}

static void receive(struct io *io, uint32_t index)
{
    struct armed armed = io->armed[index];
    struct wire *wire = at(io, armed.socket);
    uint8_t bytes[RECEIVE_MAX];
    size_t have = wire->in.len - wire->in_at;
    if (wire->reset) {
        complete(io, index, -ECONNRESET);
    } else if (have == 0 && wire->in_ends) {
        complete(io, index, 0);
    } else if (have > 0 && dice_one_in(io->dice, 60)) {
        complete(io, index, -ENOBUFS);
    } else if (have > 0) {
        uint32_t most = have < RECEIVE_MAX ? (uint32_t)have : RECEIVE_MAX, len = dice_one_in(io->dice, 3) ? most : 1 + dice_below(io->dice, most);
        memcpy(bytes, wire->in.data + wire->in_at, len);
        wire->in_at += len;
        if (wire->in_at == wire->in.len) wire->in_at = wire->in.len = 0;
        if (dice_one_in(io->dice, 12)) disarm(io, index); /* it was the last of this multishot */
        wires.moved = true;
        armed.op->done(armed.op, (int32_t)len, slice_of(bytes, len));
    }
}

/* What the operation would send; its length. */
static size_t gather(const struct armed *armed, struct writer *out)
{
    size_t before = out->len;
    if (armed->act == ACT_SEND) {
        writer_raw(out, armed->data, armed->len);
        return armed->len;
    }
    const struct msghdr *message = armed->data;
    for (size_t i = 0; i < message->msg_iovlen; i++) writer_raw(out, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    return out->len - before;
}

static void transmit(struct io *io, uint32_t index)
{
    struct armed armed = io->armed[index];
    struct wire *wire = at(io, armed.socket);
    size_t waiting = wire->out.len - wire->out_at;
    if (wire->reset || (wire->left && dice_one_in(io->dice, 2))) {
        wire->reset = true;
        complete(io, index, dice_one_in(io->dice, 2) ? -EPIPE : -ECONNRESET);
        return;
    }
    if (waiting >= OUT_MAX && !wire->left) return;
    size_t start = wire->out.len, len = gather(&armed, &wire->out), room = wire->left ? len : OUT_MAX - waiting;
    size_t most = len < room ? len : room, taken = dice_one_in(io->dice, 3) ? 1 + dice_below(io->dice, (uint32_t)most) : most;
    wire->out.len = start + taken;
    complete(io, index, (int32_t)(wires.short_sends_lie ? len : taken));
}

static uint32_t find(const struct io *io, const struct io_op *op)
{
    uint32_t index = 0;
    while (index < io->armed_count && io->armed[index].op != op) index++;
    return index;
}

/* The two come in either order, and the victim may have been faster. */
static void cancel(struct io *io, uint32_t index)
{
    struct io_op *op = io->armed[index].op, *victim = io->armed[index].victim;
    bool there = find(io, victim) < io->armed_count, victim_first = dice_one_in(io->dice, 2);
    if (there && victim_first) complete(io, find(io, victim), -ECANCELED);
    if (find(io, op) < io->armed_count) complete(io, find(io, op), there ? 0 : -ENOENT);
    if (there && !victim_first && find(io, victim) < io->armed_count) complete(io, find(io, victim), -ECANCELED);
}

static void accept_one(struct io *io, uint32_t index)
{
    struct wire *wire = io->first;
    if (wire == NULL) return;
    io->first = wire->next;
    if (io->first == NULL) io->last = NULL;
    wire->waits = false;
    struct io_accept *accept = CONTAINER_OF(io->armed[index].op, struct io_accept, op);
    accept->address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = 7, .sin6_addr = {.s6_addr = {[15] = 1}}};
    complete(io, index, (int32_t)place(io, wire));
}

static void move(struct io *io, uint32_t index)
{
    struct wire *wire = at(io, io->armed[index].socket);
    complete(io, index, (int32_t)place(io->armed[index].to, wire));
}

static void act(struct io *io, uint32_t index)
{
    struct wire *wire = io->armed[index].act <= ACT_RESET ? at(io, io->armed[index].socket) : NULL;
    switch (io->armed[index].act) {
    case ACT_RECV: receive(io, index); break;
    case ACT_SEND:
    case ACT_SENDMSG: transmit(io, index); break;
    case ACT_UNSENT: complete(io, index, (int32_t)(wire->out.len - wire->out_at)); break;
    case ACT_SHUTDOWN:
        wire->out_ends = true;
        complete(io, index, 0);
        break;
    case ACT_RESET:
        wire->reset = true;
        complete(io, index, 0);
        break;
    case ACT_ACCEPT: accept_one(io, index); break;
    case ACT_POLL: complete(io, index, POLLIN); break;
    case ACT_CANCEL: cancel(io, index); break;
    case ACT_MOVE: move(io, index); break;
    }
}

uint32_t io_turn(struct io *io, uint32_t wait_ms, uint32_t budget)
{
    (void)wait_ms;
    uint32_t tries = io->armed_count < budget ? io->armed_count : budget;
    if (tries > 0 && io->collected != NULL) io->collected(io->collected_context);
    for (uint32_t i = 0; i < tries && io->armed_count > 0; i++) act(io, dice_below(io->dice, io->armed_count));
    return tries;
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

enum result io_create(struct io **out, const struct io_options *options, char *text, size_t text_size)
{
    (void)options, (void)text, (void)text_size;
    struct io *io = calloc(1, sizeof *io);
    ASSERT(io != NULL);
    io->dice = wires.dice;
    *out = io;
    return RESULT_OK;
}

void io_destroy(struct io *io)
{
    ASSERT(io->armed_count == 0);
    while (io->first != NULL) { /* nobody has accepted them */
        struct wire *wire = io->first;
        io->first = wire->next;
        wire->waits = false;
        wire->reset = true;
        maybe_free(wire);
    }
    for (uint32_t i = 0; i < io->socket_count; i++) ASSERT(io->sockets[i] == NULL);
    free(io->sockets);
    free(io);
}

void io_on_batch(struct io *io, void (*collected)(void *context), void *context)
{
    io->collected = collected;
    io->collected_context = context;
}

uint32_t io_armed_count(const struct io *io) { return io->armed_count; }
uint64_t io_memory_bytes(const struct io *io) { return (void)io, 0; }
