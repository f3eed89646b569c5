/* perf/session.c - see the header.
 * Happy path: connect -> EPOLLOUT -> TLS, if at all -> the driver logs in -> READY -> frames in, one send per turn out -> session_close.
 * Edge-triggered: every report is read until the socket has no more, and a send that the kernel cut goes on at the next EPOLLOUT. */
#include "perf/session.h"
#include "perf/calls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONGESTION_CONTROL    "cubic" /* whatever the system's default is: bbr paces, which costs about 14 % on loopback */

#define RECEIVE_BUFFER_SIZE   (1u << 20)
#define EVENTS_PER_TURN       512
#define OPENING_MAX           256   /* sessions that log in at the same time in session_open_all() */
#define OPEN_TIMEOUT_S        60.0
#define FORGET_SETTLE_S       0.2 /* for the server to see them go */
#define SESSIONS_PER_ADDRESS  20000 /* below the number of ephemeral ports of one source address */
#define SOURCE_ADDRESSES      64

/* ---- opening and closing ---- */

/* One source address has too few ports for many sessions, or for many short ones: 127.0.0.1 to .64 take turns. */
static void bind_source(const struct loop *loop, int fd)
{
    uint32_t loopback = ntohl(loop->server.sin_addr.s_addr);
    if (loopback >> 24 != 127) return;
    uint64_t turn = loop->opened_count / (SESSIONS_PER_ADDRESS / 4);
    struct sockaddr_in source = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(0x7f000001u + (uint32_t)(turn % SOURCE_ADDRESSES))};
    int on = 1;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&source, sizeof source) != 0) perf_die("bind: %s", strerror(errno));
}

static int open_socket(const struct loop *loop)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) perf_die("socket: %s (raise the limit of open files: ulimit -n)", strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CONGESTION_CONTROL, sizeof CONGESTION_CONTROL - 1) != 0)
        perf_die("TCP_CONGESTION " CONGESTION_CONTROL ": %s", strerror(errno));
    bind_source(loop, fd);
    if (connect(fd, (const struct sockaddr *)&loop->server, sizeof loop->server) != 0 && errno != EINPROGRESS)
        perf_die("connect: %s", strerror(errno));
    return fd;
}

struct session *session_open(struct loop *loop, const struct driver *driver, const struct login *login,
                             const struct session_events *events, void *context)
{
    struct session *session = perf_alloc(1, sizeof *session);
    session->driver = driver;
    session->events = events;
    session->context = context;
    session->loop = loop;
    session->login = *login;
    session->fd = open_socket(loop);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = session};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, session->fd, &event) != 0) perf_die("epoll_ctl: %s", strerror(errno));
    loop->session_count++;
    loop->opened_count++;
    return session;
}

static void session_end(struct session *session)
{
    session->state = SESSION_CLOSED;
    (void)close(session->fd);
    session->next_closed = session->loop->closed;
    session->loop->closed = session;
    session->loop->session_count--;
}

static ssize_t session_put(const struct session *session)
{
    const uint8_t *data = session->out.data + session->out_start;
    size_t len = session->out.len - session->out_start;
    return session->tls != NULL ? tls_write(session->tls, data, len) : send(session->fd, data, len, MSG_NOSIGNAL);
}

/* What the kernel does not take at once of a farewell is not said. */
void session_close(struct session *session)
{
    if (session->state == SESSION_CLOSED) return;
    if (session->state == SESSION_READY && session->driver->close != NULL) {
        session->driver->close(session);
        (void)session_put(session);
    }
    session_end(session);
}

void session_leave(struct session *session)
{
    if (session->driver->close != NULL) session->driver->close(session);
    else (void)session_write(session, 0); /* the end of the stream is all there is to say */
    session->state = SESSION_LEAVING;
}

static void session_left(struct session *session)
{
    session_end(session);
    if (session->events != NULL && session->events->on_left != NULL) session->events->on_left(session);
}

void session_fail(struct session *session, const char *reason)
{
    if (session->state == SESSION_CLOSED) return;
    session->loop->counters.closed_by_server++;
    session_end(session);
    if (session->events != NULL && session->events->on_closed != NULL) session->events->on_closed(session, reason);
}

/* ---- what drivers tell ---- */

void session_on_ready(struct session *session)
{
    session->state = SESSION_READY;
    session->loop->counters.ready++;
    if (session->events != NULL && session->events->on_ready != NULL) session->events->on_ready(session);
}

void session_on_answer(struct session *session, const struct answer *answer)
{
    if (session->call != NULL && call_on_answer(session, answer)) return;
    if (session->events != NULL && session->events->on_answer != NULL) session->events->on_answer(session, answer);
}

void session_on_message(struct session *session, const struct incoming *message)
{
    if (session->events != NULL && session->events->on_message != NULL) session->events->on_message(session, message);
}

void session_on_event(struct session *session, uint64_t sync_key, const struct incoming *message)
{
    if (sync_key > session->heard_key) session->heard_key = sync_key;
    if (session->ignores_pushes) return;
    if (sync_key != session->sync_key + 1) session->loop->counters.stream_holes++;
    session->sync_key = sync_key;
    if (message != NULL) session_on_message(session, message);
}

/* ---- bytes ---- */

uint8_t *session_write(struct session *session, size_t len)
{
    if (!session->dirty) {
        session->dirty = true;
        session->next_dirty = session->loop->dirty;
        session->loop->dirty = session;
    }
    uint8_t *at = bytes_reserve(&session->out, len);
    session->out.len += len;
    return at;
}

static void session_flush(struct session *session)
{
    struct bytes *out = &session->out;
    while (session->out_start < out->len) {
        ssize_t sent = session_put(session);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0 && session->state == SESSION_LEAVING) {
            session_left(session);
            return;
        }
        if (sent < 0) {
            session_fail(session, strerror(errno));
            return;
        }
        session->out_start += (size_t)sent;
    }
    out->len = session->out_start = 0;
    if (session->state == SESSION_LEAVING) (void)shutdown(session->fd, SHUT_WR);
}

/* Hands what arrived to the driver and keeps what is not a whole frame yet. */
static void session_feed(struct session *session, struct slice in)
{
    struct bytes *partial = &session->partial;
    if (partial->len > 0) {
        bytes_append(partial, in.data, in.len);
        in = (struct slice){partial->data, partial->len};
    }
    size_t taken = session->driver->receive(session, in);
    if (!session_listens(session)) return;
    if (taken == in.len) {
        partial->len = 0;
    } else if (partial->len > 0) {
        memmove(partial->data, partial->data + taken, partial->len - taken);
        partial->len -= taken;
    } else {
        bytes_append(partial, in.data + taken, in.len - taken);
    }
}

/* `ended`: the other end has closed, and there will be no further report: read to the end. */
static void session_read(struct session *session, bool ended)
{
    struct loop *loop = session->loop;
    while (session->state != SESSION_CLOSED) {
        ssize_t len = session->tls != NULL ? tls_read(session->tls, loop->receive_buffer, RECEIVE_BUFFER_SIZE)
                                           : recv(session->fd, loop->receive_buffer, RECEIVE_BUFFER_SIZE, 0);
        if (len < 0 && errno == EAGAIN) return;
        if (len <= 0 && session->state == SESSION_LEAVING) {
            session_left(session);
            return;
        }
        if (len <= 0) {
            session_fail(session, len == 0 ? "closed by the server" : strerror(errno));
            return;
        }
        loop->now_ns = perf_now_ns();
        if (session_listens(session)) session_feed(session, (struct slice){loop->receive_buffer, (size_t)len});
        if (!ended && session->tls == NULL && (size_t)len < RECEIVE_BUFFER_SIZE) return;
    }
}

static void session_secure(struct session *session)
{
    struct loop *loop = session->loop;
    enum tls_step step = tls_handshake(session->tls);
    if (step == TLS_FAILED) session_fail(session, "the TLS handshake failed");
    if (step != TLS_DONE) return;
    if (loop->tls_described[0] == '\0') snprintf(loop->tls_described, sizeof loop->tls_described, "%s", tls_describe(session->tls));
    session->state = SESSION_LOGIN;
    session->driver->open(session);
}

static void session_connected(struct session *session)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(session->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) {
        session_fail(session, strerror(error));
        return;
    }
    if (session->loop->tls != NULL) {
        session->state = SESSION_SECURING;
        session->tls = tls_open(session->loop->tls, session->fd, session->login.ticket);
        return;
    }
    session->state = SESSION_LOGIN;
    session->driver->open(session);
}

/* ---- the loop ---- */

void loop_init(struct loop *loop, const char *address, const struct broker *broker, const struct token_mint *tokens)
{
    *loop = (struct loop){.broker = *broker, .server = perf_address(address), .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    if (tokens != NULL) loop->tokens = *tokens;
    if (loop->epoll_fd < 0) perf_die("epoll_create1: %s", strerror(errno));
    loop->receive_buffer = perf_alloc(1, RECEIVE_BUFFER_SIZE);
}

static void loop_free_closed(struct loop *loop)
{
    while (loop->closed != NULL) {
        struct session *session = loop->closed;
        loop->closed = session->next_closed;
        bytes_free(&session->out);
        bytes_free(&session->partial);
        tls_close(session->tls);
        free(session->driver_state);
        free(session);
    }
}

void loop_deinit(struct loop *loop)
{
    loop_free_closed(loop);
    tls_client_destroy(loop->tls);
    free(loop->receive_buffer);
    (void)close(loop->epoll_fd);
}

/* A session that is written to while this runs, or fails, is dealt with too: the list is taken from its head. */
static void loop_flush(struct loop *loop)
{
    while (loop->dirty != NULL) {
        struct session *session = loop->dirty;
        loop->dirty = session->next_dirty;
        session->dirty = false;
        if (session->state != SESSION_CLOSED && session->state >= SESSION_LOGIN) session_flush(session);
    }
}

void loop_turn(struct loop *loop, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    loop_flush(loop);
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
    int count = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_TURN, &wait, NULL);
    if (count < 0 && errno != EINTR) perf_die("epoll_pwait2: %s", strerror(errno));
    loop->now_ns = perf_now_ns();
    for (int i = 0; i < count; i++) {
        struct session *session = events[i].data.ptr;
        if (session->state == SESSION_CLOSED) continue;
        if (session->state == SESSION_CONNECTING && (events[i].events & ~(uint32_t)EPOLLIN) != 0) session_connected(session);
        if (session->state == SESSION_SECURING) session_secure(session);
        if (session->state == SESSION_CLOSED || session->state == SESSION_SECURING) continue;
        if ((events[i].events & EPOLLOUT) != 0 && session->out.len > 0) session_flush(session);
        bool ended = (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        if (session->state != SESSION_CLOSED && (ended || (events[i].events & EPOLLIN) != 0)) session_read(session, ended);
    }
    loop_flush(loop);
    loop_free_closed(loop);
}

void loop_turn_for(struct loop *loop, double seconds)
{
    uint64_t end_ns = perf_now_ns() + (uint64_t)(seconds * (double)NS_PER_S);
    while (perf_now_ns() < end_ns) loop_turn(loop, 10 * NS_PER_MS);
}

bool loop_until(struct loop *loop, bool (*done)(void *context), void *context, double timeout_s)
{
    uint64_t deadline = perf_now_ns() + (uint64_t)(timeout_s * (double)NS_PER_S);
    while (!done(context)) {
        if (perf_now_ns() > deadline) return false;
        loop_turn(loop, 10 * NS_PER_MS);
    }
    return true;
}

/* ---- many at once ---- */

static void opening_on_closed(struct session *session, const char *reason)
{
    perf_die("user %llu cannot log in: %s", (unsigned long long)session->login.user_id, reason);
}

static const struct session_events opening_events = {.on_closed = opening_on_closed};

void session_open_all(struct loop *loop, const struct driver *driver, const struct login *logins, uint32_t count,
                      struct session **sessions)
{
    uint64_t ready_before = loop->counters.ready, deadline = perf_now_ns() + (uint64_t)(OPEN_TIMEOUT_S * NS_PER_S);
    uint32_t opened = 0, ready = 0;
    while (ready < count) {
        for (; opened < count && opened - ready < OPENING_MAX; opened++)
            sessions[opened] = session_open(loop, driver, &logins[opened], &opening_events, NULL);
        loop_turn(loop, 10 * NS_PER_MS);
        ready = (uint32_t)(loop->counters.ready - ready_before);
        if (perf_now_ns() > deadline) perf_die("only %u of %u sessions could log in after %.0f s", ready, count, OPEN_TIMEOUT_S);
    }
}

void session_forget_all(struct loop *loop, const struct driver *driver, const struct login *logins, uint32_t count)
{
    struct login *clean = perf_alloc(count, sizeof *clean);
    struct session **sessions = perf_alloc(count, sizeof *sessions);
    for (uint32_t i = 0; i < count; i++) clean[i].user_id = logins[i].user_id;
    session_open_all(loop, driver, clean, count, sessions);
    for (uint32_t i = 0; i < count; i++) session_close(sessions[i]);
    loop_turn_for(loop, FORGET_SETTLE_S);
    free(sessions);
    free(clean);
}
