/* shard/worker/operator.c - the thread behind the operator's socket: connections, frames, questions to the shards.
 * Happy path: accept -> a frame is whole -> its command's file puts tasks -> the workers do them -> they are collected -> the answer
 * is queued -> written as the peer takes it.
 * Ending a connection: nothing more is read; what is queued is written; when the last task is back a follower without a name is ended,
 * and the place is free. Failure modes: bytes that are no request, and a peer that is another user, end the connection. */
#include "core/check.h"
#include "core/logger.h"
#include "core/stack.h"
#include "shard/engine/memory.h"
#include "shard/worker/operator_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_SIZE_MAX (64u << 10)
#define READ_SIZE        4096u
#define WAIT_MS          1000

/* ---- answers ---- */

void connection_answer(struct connection *c, const Ringpost__V1__OperatorResponse *response)
{
    size_t len = ringpost__v1__operator_response__get_packed_size(response);
    uint8_t head[TCPFRAME_HEAD_SIZE];
    tcpframe_write_head(head, (uint32_t)len);
    writer_raw(&c->out, head, sizeof head);
    uint8_t *at = writer_reserve(&c->out, len);
    if (at != NULL) ringpost__v1__operator_response__pack(response, at);
}

void connection_done(struct connection *c)
{
    Ringpost__V1__OperatorResponse response;
    Ringpost__V1__OperatorDone done;
    ringpost__v1__operator_response__init(&response);
    ringpost__v1__operator_done__init(&done);
    response.answer_case = RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_DONE;
    response.done = &done;
    connection_answer(c, &response);
    c->state = OPERATOR_IDLE;
}

void connection_refuse(struct connection *c, const char *reason, const char *message)
{
    char reason_text[64], message_text[256];
    Ringpost__V1__OperatorResponse response;
    Ringpost__V1__OperatorError error;
    snprintf(reason_text, sizeof reason_text, "%s", reason);
    snprintf(message_text, sizeof message_text, "%s", message);
    ringpost__v1__operator_response__init(&response);
    ringpost__v1__operator_error__init(&error);
    error.reason = reason_text;
    error.message = message_text;
    response.answer_case = RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_ERROR;
    response.error = &error;
    connection_answer(c, &response);
    c->closing |= c->state == OPERATOR_TAILING;
    c->state = c->state == OPERATOR_TAILING ? OPERATOR_ENDED : OPERATOR_IDLE;
    if (c->state == OPERATOR_IDLE) c->follows = false;
}

/* The connection ends with this reason, when it has been written; what is under way is waited for. */
static void connection_end(struct connection *c, const char *reason, const char *message)
{
    bool follows = c->follows;
    connection_refuse(c, reason, message);
    c->follows = follows;
    c->closing = true;
    c->state = OPERATOR_ENDED;
}

void connection_refuse_outcome(struct connection *c, uint16_t shard, enum follower_outcome outcome)
{
    static const char *const reasons[FOLLOWER_OUTCOME_COUNT] = {
        [FOLLOWER_OUTCOME_UNKNOWN] = "unknown_follower",   [FOLLOWER_OUTCOME_LOST] = "follower_lost",
        [FOLLOWER_OUTCOME_NO_PLACE] = "too_many_followers", [FOLLOWER_OUTCOME_NOT_KEPT] = "position_not_kept",
        [FOLLOWER_OUTCOME_BUSY] = "server_busy",            [FOLLOWER_OUTCOME_FULL] = "disk_full",
        [FOLLOWER_OUTCOME_FAILED] = "unavailable"};
    char message[256];
    ASSERT(reasons[outcome] != NULL);
    snprintf(message, sizeof message, "shard %u: %s", shard, follower_outcome_text(outcome));
    connection_refuse(c, reasons[outcome], message);
}

bool operator_in_use(const struct operator *op, const char *name)
{
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++) {
        const struct connection *c = &op->connections[i];
        if (c->used && c->follows && strcmp(c->name, name) == 0) return true;
    }
    return false;
}

/* ---- asking the shards ---- */

void connection_put(struct connection *c, struct task *task, uint16_t shard)
{
    ASSERT(!c->op->stopping || c->closing);
    task->shard = shard;
    c->under_way++;
    tasks_put(c->op->options.tasks, shard % c->op->options.worker_count, task);
}

static void ask_one(struct connection *c, uint16_t shard, const struct follower_ask *draft)
{
    struct channel *channel = &c->channels[shard];
    ASSERT(!channel->commanding);
    channel->command.ask = *draft;
    if (draft->start == FOLLOWER_AFTER) channel->command.ask.page.place = channel->wanted;
    channel->commanding = true;
    connection_put(c, &channel->command, shard);
}

void connection_ask_all(struct connection *c, const struct follower_ask *draft, void (*then)(struct connection *))
{
    c->state = OPERATOR_ASKING;
    c->then = then;
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) ask_one(c, i, draft);
}

void connection_end_made(struct connection *c, void (*then)(struct connection *))
{
    bool any = false;
    c->state = OPERATOR_ASKING;
    c->then = then;
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        const struct follower_ask *begun = &c->channels[i].command.ask;
        if (!begun->made) continue;
        struct follower_ask ask = {.generation = begun->generation};
        ask.kind = FOLLOWER_ASK_END;
        memcpy(ask.name, c->name, sizeof ask.name);
        ask_one(c, i, &ask);
        any = true;
    }
    if (!any) then(c);
}

/* ---- the end of a connection ---- */

static void connection_free(struct connection *c)
{
    for (uint16_t i = 0; c->channels != NULL && i < c->op->options.shard_count; i++) {
        writer_deinit(&c->channels[i].read.ask.page.bytes);
        writer_deinit(&c->channels[i].command.ask.page.bytes);
    }
    free(c->channels);
    tcpframe_parser_deinit(&c->parser);
    writer_deinit(&c->out);
    *c = (struct connection){.op = c->op, .fd = -1};
}

/* Its own follower, of any generation, in every shard where it has not ended yet. */
static void end_temporary(struct connection *c)
{
    bool all = true;
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        if (c->channels[i].ended) continue;
        all = false;
        if (!channel_may_ask(&c->channels[i])) continue;
        struct follower_ask ask = {.kind = FOLLOWER_ASK_END};
        memcpy(ask.name, c->name, sizeof ask.name);
        ask_one(c, i, &ask);
    }
    if (all) c->follows = false;
}

static void on_ended(struct channel *channel)
{
    bool no_room = follower_found_no_room(channel->command.ask.outcome);
    if (no_room) channel_pause(channel);
    channel->ended = !no_room; /* or unknown, or the shard is damaged, and then tells nobody anything */
}

static void connection_close_step(struct connection *c)
{
    ASSERT(c->closing);
    bool written = c->out_at == c->out.len;
    if (c->fd >= 0 && written) {
        close(c->fd);
        c->fd = -1;
    }
    if (c->fd >= 0 || c->under_way > 0) return;
    if (c->follows && c->temporary && !c->op->stopping) end_temporary(c);
    if (!c->follows || !c->temporary || c->op->stopping) connection_free(c);
}

/* Nobody is there any more to take what is queued. */
static void connection_drop(struct connection *c)
{
    c->closing = true;
    c->state = OPERATOR_ENDED;
    c->out_at = c->out.len;
    if (!c->temporary) c->follows = false; /* the next one may read it */
}

/* ---- what comes back ---- */

static struct connection *connection_of(struct operator *op, const struct task *task, struct channel **channel)
{
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++) {
        struct connection *c = &op->connections[i];
        if (c->channels == NULL) continue;
        struct channel *at = &c->channels[task->shard];
        if (task != &at->command && task != &at->read) continue;
        *channel = at;
        return c;
    }
    ASSERT(!"a task of a connection");
    return NULL;
}

static void came_back(struct operator *op, struct task *task)
{
    struct channel *channel;
    struct connection *c = connection_of(op, task, &channel);
    c->under_way--;
    if (task == &channel->read) {
        channel->reading = false;
        tail_on_page(c, channel);
        return;
    }
    channel->commanding = false;
    if (c->state == OPERATOR_ENDED && channel->command.ask.kind == FOLLOWER_ASK_END) on_ended(channel);
    else if (c->state != OPERATOR_ASKING) tail_on_acked(c, channel);
    else if (c->under_way == 0) c->then(c);
}

static void bring_back(struct operator *op)
{
    struct task *task = tasks_collect(op->options.tasks);
    while (task != NULL) {
        struct task *next = task->next;
        came_back(op, task);
        task = next;
    }
}

/* ---- requests ---- */

static void make_channels(struct connection *c)
{
    if (c->channels != NULL) return;
    c->channels = memory_alloc(c->op->options.shard_count * sizeof *c->channels);
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        writer_init(&c->channels[i].read.ask.page.bytes, 0);
        writer_init(&c->channels[i].command.ask.page.bytes, 0);
    }
}

static void serve(struct connection *c, const Ringpost__V1__OperatorRequest *request)
{
    bool acknowledges = request->command_case == RINGPOST__V1__OPERATOR_REQUEST__COMMAND_ACKNOWLEDGE;
    if (acknowledges ? c->state == OPERATOR_ASKING || c->state == OPERATOR_IDLE : c->state != OPERATOR_IDLE) {
        connection_end(c, "bad_request", "not now: one request at a time, and of a tail only acknowledgements");
        return;
    }
    make_channels(c);
    switch ((int)request->command_case) {
    case RINGPOST__V1__OPERATOR_REQUEST__COMMAND_TAIL: tail_begin(c, request->tail); return;
    case RINGPOST__V1__OPERATOR_REQUEST__COMMAND_ACKNOWLEDGE:
        if (c->state == OPERATOR_TAILING) tail_acknowledge(c, request->acknowledge);
        return;
    case RINGPOST__V1__OPERATOR_REQUEST__COMMAND_STATUS: follower_serve_status(c); return;
    case RINGPOST__V1__OPERATOR_REQUEST__COMMAND_REBUILD: follower_serve_rebuild(c, request->rebuild->name); return;
    case RINGPOST__V1__OPERATOR_REQUEST__COMMAND_REMOVE: follower_serve_remove(c, request->remove->name); return;
    default: connection_refuse(c, "bad_request", "there is no such command in this version");
    }
}

static void take_frame(struct connection *c, struct slice frame)
{
    Ringpost__V1__OperatorRequest *request = ringpost__v1__operator_request__unpack(NULL, frame.len, frame.data);
    if (request == NULL) {
        connection_drop(c);
        return;
    }
    serve(c, request);
    ringpost__v1__operator_request__free_unpacked(request, NULL);
}

static void take_bytes(struct connection *c, struct slice bytes)
{
    struct slice frame;
    while (!c->closing) {
        switch (tcpframe_parser_feed(&c->parser, &bytes, REQUEST_SIZE_MAX, &frame)) {
        case TCPFRAME_MORE: return;
        case TCPFRAME_FRAME: take_frame(c, frame); break;
        case TCPFRAME_HEARTBEAT: break;
        case TCPFRAME_TOO_LARGE:
        case TCPFRAME_NOMEM: connection_drop(c); return;
        }
    }
}

/* ---- sockets ---- */

static void connection_read(struct connection *c)
{
    uint8_t bytes[READ_SIZE];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) take_bytes(c, slice_of(bytes, (size_t)got));
    else if (got == 0 || (errno != EAGAIN && errno != EINTR)) connection_drop(c);
}

static void connection_write(struct connection *c)
{
    if (c->out_at == c->out.len || c->fd < 0) return;
    ssize_t sent = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) c->out_at += (size_t)sent;
    else if (errno != EAGAIN && errno != EINTR) connection_drop(c);
    if (c->out_at >= c->out.len / 2) writer_forget(&c->out, &c->out_at); /* each byte is moved once at most */
}

/* The kernel says who connected; that the socket can be reached is not all. */
static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) return false;
    if (peer.uid == 0 || peer.uid == geteuid()) return true;
    LOG_WARN("operator", "refused: another user uid=%u pid=%d", peer.uid, peer.pid);
    return false;
}

static void accept_one(struct operator *op)
{
    int fd = accept4(op->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX && is_allowed(fd); i++) {
        struct connection *c = &op->connections[i];
        if (c->used) continue;
        *c = (struct connection){.op = op, .fd = fd, .used = true};
        tcpframe_parser_init(&c->parser);
        writer_init(&c->out, 0);
        return;
    }
    close(fd);
}

/* ---- the thread ---- */

#define FIXED_FDS 3u /* listener, tasks, stop */

static void watch(const struct operator *op, struct pollfd *fds)
{
    fds[0] = (struct pollfd){.fd = op->stopping ? -1 : op->listen_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = tasks_fd(op->options.tasks), .events = POLLIN};
    fds[2] = (struct pollfd){.fd = op->stopping ? -1 : op->stop_fd, .events = POLLIN};
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++) {
        const struct connection *c = &op->connections[i];
        bool writes = c->out_at < c->out.len;
        fds[FIXED_FDS + i] = (struct pollfd){.fd = c->used ? c->fd : -1, .events = (short)((c->closing ? 0 : POLLIN) | (writes ? POLLOUT : 0))};
    }
}

static int wait_ms(const struct operator *op)
{
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++)
        for (uint16_t s = 0; op->connections[i].channels != NULL && s < op->options.shard_count; s++)
            if (op->connections[i].channels[s].again_ns != 0) return OPERATOR_RETRY_MS;
    return WAIT_MS;
}

static void step_connection(struct connection *c, short events)
{
    if (!c->used) return;
    if (c->fd >= 0 && !c->closing && (events & (POLLIN | POLLHUP | POLLERR)) != 0) connection_read(c);
    if (c->fd >= 0 && c->closing && (events & (POLLHUP | POLLERR)) != 0) connection_drop(c);
    connection_write(c);
    if (c->out.failed) check_fatal("out of memory: %zu bytes for an operator's connection", c->out.len);
    if (c->closing) connection_close_step(c);
    else if (c->state == OPERATOR_TAILING) tail_go_on(c);
}

static bool all_free(const struct operator *op)
{
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++)
        if (op->connections[i].used) return false;
    return true;
}

/* From here on nothing is put. What was, is collected by the workers before they end. */
static void begin_stop(struct operator *op)
{
    op->stopping = true;
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++)
        if (op->connections[i].used) connection_drop(&op->connections[i]);
    sem_post(&op->quiet);
}

static void *operator_main(void *context)
{
    struct operator *op = context;
    struct pollfd fds[FIXED_FDS + OPERATOR_CONNECTIONS_MAX];
    stack_enter();
    if (logger_attach("operator") != RESULT_OK) LOG_WARN("operator", "no log ring of its own");
    while (!op->stopping || !all_free(op)) {
        watch(op, fds);
        int ready = poll(fds, COUNT_OF(fds), wait_ms(op));
        ASSERT(ready >= 0 || errno == EINTR);
        if (ready < 0) continue;
        bring_back(op);
        if (fds[2].revents != 0 && !op->stopping) begin_stop(op);
        if ((fds[0].revents & POLLIN) != 0 && !op->stopping) accept_one(op);
        for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++)
            step_connection(&op->connections[i], fds[FIXED_FDS + i].fd == op->connections[i].fd ? fds[FIXED_FDS + i].revents : 0);
    }
    return NULL;
}

/* ---- life ---- */

/* By way of the open directory: a socket's name may have 107 bytes, a data directory's path has any number. The mode is the socket's from
 * the first moment on: bind makes the file with that of the descriptor. */
static enum result listen_on(struct operator *op, char *text, size_t text_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    op->dir_fd = open(op->options.data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    op->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" OPERATOR_SOCKET, op->dir_fd);
    bool made = op->dir_fd >= 0 && op->listen_fd >= 0 && (unlinkat(op->dir_fd, OPERATOR_SOCKET, 0) == 0 || errno == ENOENT) &&
                fchmod(op->listen_fd, 0600) == 0 && bind(op->listen_fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                fchmodat(op->dir_fd, OPERATOR_SOCKET, 0600, 0) == 0 && listen(op->listen_fd, OPERATOR_CONNECTIONS_MAX) == 0;
    if (made) return RESULT_OK;
    snprintf(text, text_size, "%s/" OPERATOR_SOCKET " cannot be made: %s", op->options.data_dir, strerror(errno));
    return RESULT_IO;
}

static void operator_free(struct operator *op)
{
    if (op->listen_fd >= 0) close(op->listen_fd);
    if (op->stop_fd >= 0) close(op->stop_fd);
    if (op->dir_fd >= 0) close(op->dir_fd);
    sem_destroy(&op->quiet);
    free(op);
}

enum result operator_start(struct operator **out, const struct operator_options *options, char *text, size_t text_size)
{
    struct operator *op = memory_alloc(sizeof *op);
    *out = NULL;
    op->options = *options;
    op->listen_fd = op->dir_fd = -1;
    for (uint32_t i = 0; i < OPERATOR_CONNECTIONS_MAX; i++) op->connections[i] = (struct connection){.op = op, .fd = -1};
    sem_init(&op->quiet, 0, 0);
    op->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum result result = listen_on(op, text, text_size);
    int error = result != RESULT_OK ? 0 : pthread_create(&op->thread, NULL, operator_main, op);
    if (error != 0) snprintf(text, text_size, "no thread for the operator's socket: %s", strerror(error));
    if (result != RESULT_OK || error != 0) {
        operator_free(op);
        return RESULT_IO;
    }
    (void)pthread_setname_np(op->thread, "operator");
    *out = op;
    return RESULT_OK;
}

void operator_quiesce(struct operator *op)
{
    if (op == NULL) return;
    uint64_t one = 1;
    ssize_t written = write(op->stop_fd, &one, sizeof one);
    ASSERT(written == sizeof one);
    while (sem_wait(&op->quiet) != 0) continue;
    (void)unlinkat(op->dir_fd, OPERATOR_SOCKET, 0);
}

void operator_stop(struct operator *op)
{
    if (op == NULL) return;
    pthread_join(op->thread, NULL);
    operator_free(op);
}
