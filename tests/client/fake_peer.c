/* tests/client/fake_peer.c - the thread behind fake_peer.h. Sockets block: the test's own deadline is the only clock here. */
#include "client/fake_peer.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

void fake_peer_lock(struct fake_peer *peer)
{
    ASSERT(pthread_mutex_lock(&peer->mutex) == 0);
}

void fake_peer_unlock(struct fake_peer *peer)
{
    ASSERT(pthread_mutex_unlock(&peer->mutex) == 0);
}

uint32_t fake_peer_read(struct fake_peer *peer, const uint32_t *count)
{
    fake_peer_lock(peer);
    uint32_t value = *count;
    fake_peer_unlock(peer);
    return value;
}

/* ---- out; the lock is held ---- */

static void put_bytes(struct fake_peer *peer, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0 && peer->conn_fd >= 0) {
        ssize_t sent = send(peer->conn_fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) return;
        at += sent;
        len -= (size_t)sent;
    }
}

static void put_frame(struct fake_peer *peer, const void *data, size_t len)
{
    uint32_t length = htonl((uint32_t)len);
    put_bytes(peer, &length, sizeof length);
    put_bytes(peer, data, len);
}

static void put_envelope(struct fake_peer *peer, const Ringpost__V1__Envelope *envelope)
{
    size_t len = ringpost__v1__envelope__get_packed_size(envelope);
    uint8_t *packed = malloc(len);
    ASSERT(packed != NULL);
    ringpost__v1__envelope__pack(envelope, packed);
    put_frame(peer, packed, len);
    free(packed);
}

static void put_hello(struct fake_peer *peer)
{
    Ringpost__V1__Hello hello;
    Ringpost__V1__Envelope envelope;
    ringpost__v1__hello__init(&hello);
    ringpost__v1__envelope__init(&envelope);
    hello.protocol = 1;
    hello.heartbeat_interval_ms = peer->heartbeat_interval_ms;
    hello.frame_size_max = 65536;
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    put_envelope(peer, &envelope);
}

static void put_response(struct fake_peer *peer, Ringpost__V1__Response *response)
{
    Ringpost__V1__Envelope envelope;
    ringpost__v1__envelope__init(&envelope);
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_RESPONSE;
    envelope.response = response;
    put_envelope(peer, &envelope);
}

static void put_error(struct fake_peer *peer, Ringpost__V1__Response *response, char *code, char *reason, bool retryable)
{
    Ringpost__V1__Error error;
    ringpost__v1__error__init(&error);
    error.code = code;
    error.reason = reason;
    error.message = reason;
    error.retryable = retryable;
    error.retry_after_ms = retryable ? 2 : 0;
    response->error = &error;
    put_response(peer, response);
}

static void put_push(struct fake_peer *peer, Ringpost__V1__Push *push)
{
    Ringpost__V1__Envelope envelope;
    ringpost__v1__envelope__init(&envelope);
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_PUSH;
    envelope.push = push;
    fake_peer_lock(peer);
    put_envelope(peer, &envelope);
    fake_peer_unlock(peer);
}

/* ---- answers; the lock is held ---- */

struct fake_event { /* an entry of the stream with its message */
    Ringpost__V1__Event event;
    Ringpost__V1__Message message;
    char text[32];
};

static void make_event(struct fake_event *made, uint64_t sync_key)
{
    ringpost__v1__event__init(&made->event);
    ringpost__v1__message__init(&made->message);
    int len = snprintf(made->text, sizeof made->text, "message %llu", (unsigned long long)sync_key);
    made->message.room_id = 1;
    made->message.seq = sync_key;
    made->message.body = (ProtobufCBinaryData){(size_t)len, (uint8_t *)made->text};
    made->event.sync_key = sync_key;
    made->event.kind_case = RINGPOST__V1__EVENT__KIND_MESSAGE;
    made->event.message = &made->message;
}

static void put_epoch(const struct fake_peer *peer, char epoch[32]) { snprintf(epoch, 32, "%s", peer->epoch != NULL ? peer->epoch : ""); }

static void answer_auth(struct fake_peer *peer, const Ringpost__V1__AuthRequest *request, Ringpost__V1__Response *response)
{
    static char code[] = "UNAUTHENTICATED", reason[] = "token_expired";
    if (strcmp(request->access_token, peer->access_token) != 0) {
        put_error(peer, response, code, reason, false);
        return;
    }
    peer->auths++;
    Ringpost__V1__AuthResponse auth;
    ringpost__v1__auth_response__init(&auth);
    auth.sync_key = peer->stream_length;
    auth.expires_ms = UINT64_MAX / 2000000;
    char epoch[32];
    put_epoch(peer, epoch);
    auth.stream_epoch = epoch;
    response->result_case = RINGPOST__V1__RESPONSE__RESULT_AUTH;
    response->auth = &auth;
    put_response(peer, response);
}

static void answer_refresh(struct fake_peer *peer, const Ringpost__V1__RefreshRequest *request, Ringpost__V1__Response *response)
{
    static char code[] = "UNAUTHENTICATED", reason[] = "token_invalid", next[] = "refresh-next";
    if (strcmp(request->refresh_token, peer->refresh_token) != 0) {
        put_error(peer, response, code, reason, false);
        return;
    }
    peer->refreshes++;
    snprintf(peer->refresh_token, sizeof peer->refresh_token, "%s", next);
    Ringpost__V1__RefreshResponse refresh;
    ringpost__v1__refresh_response__init(&refresh);
    refresh.access_token = peer->access_token;
    refresh.access_expires_ms = refresh.refresh_expires_ms = UINT64_MAX / 2000000;
    refresh.refresh_token = next;
    response->result_case = RINGPOST__V1__RESPONSE__RESULT_REFRESH;
    response->refresh = &refresh;
    put_response(peer, response);
}

static bool store_send(struct fake_peer *peer, const Ringpost__V1__SendRequest *send)
{
    for (uint32_t i = 0; i < peer->send_count; i++)
        if (strcmp(peer->sends[i], send->client_msg_id) == 0) {
            peer->repeat_count++;
            return true;
        }
    if (peer->busies > 0) {
        peer->busies--;
        return false;
    }
    ASSERT(peer->send_count < FAKE_SENDS_MAX);
    snprintf(peer->sends[peer->send_count++], sizeof peer->sends[0], "%s", send->client_msg_id);
    return true;
}

static void answer_send(struct fake_peer *peer, bool stored, Ringpost__V1__Response *response)
{
    static char code[] = "RESOURCE_EXHAUSTED", reason[] = "server_busy";
    if (!stored) {
        put_error(peer, response, code, reason, true);
        return;
    }
    Ringpost__V1__SendResponse send;
    ringpost__v1__send_response__init(&send);
    send.seq = peer->send_count;
    response->result_case = RINGPOST__V1__RESPONSE__RESULT_SEND;
    response->send = &send;
    put_response(peer, response);
}

static void answer_sync(struct fake_peer *peer, const Ringpost__V1__SyncRequest *request, Ringpost__V1__Response *response)
{
    static struct fake_event made[500];
    Ringpost__V1__Event *events[500];
    Ringpost__V1__RoomHead head, *heads[256];
    Ringpost__V1__SyncResponse sync;
    ringpost__v1__sync_response__init(&sync);
    peer->syncs++;
    uint64_t at = request->sync_key;
    bool other = request->stream_epoch[0] != '\0' && strcmp(request->stream_epoch, peer->epoch) != 0;
    sync.reset = other || at < peer->stream_kept_after;
    if (sync.reset) at = other ? peer->stream_length : peer->stream_kept_after;
    sync.reset_reason = other        ? RINGPOST__V1__RESET_REASON__OTHER_STREAM
                        : sync.reset ? RINGPOST__V1__RESET_REASON__TOO_OLD
                                     : RINGPOST__V1__RESET_REASON__NO_RESET;
    char epoch[32];
    put_epoch(peer, epoch);
    sync.stream_epoch = epoch;
    for (; !sync.reset && sync.n_events < request->limit && at < peer->stream_length; sync.n_events++) {
        make_event(&made[sync.n_events], ++at);
        events[sync.n_events] = &made[sync.n_events].event;
    }
    sync.events = events;
    sync.sync_key = at;
    sync.has_more = at < peer->stream_length;
    ringpost__v1__room_head__init(&head);
    head.room_id = 9;
    head.head_seq = 77;
    for (uint32_t i = 0; !sync.has_more && i < peer->heads; i++) heads[sync.n_heads++] = &head;
    sync.heads = heads;
    response->result_case = RINGPOST__V1__RESPONSE__RESULT_SYNC;
    response->sync = &sync;
    put_response(peer, response);
}

static void answer_user(struct fake_peer *peer, const Ringpost__V1__UserRequest *request, Ringpost__V1__Response *response)
{
    static char code[] = "NOT_FOUND", reason[] = "user_not_found";
    if (strcmp(request->name, "nobody") == 0) {
        put_error(peer, response, code, reason, false);
        return;
    }
    Ringpost__V1__User user;
    Ringpost__V1__UserResponse found;
    ringpost__v1__user__init(&user);
    ringpost__v1__user_response__init(&found);
    user.user_id = 7;
    user.name = request->name;
    found.user = &user;
    response->result_case = RINGPOST__V1__RESPONSE__RESULT_USER;
    response->user = &found;
    put_response(peer, response);
}

static void answer(struct fake_peer *peer, const Ringpost__V1__Request *request)
{
    Ringpost__V1__Response response;
    ringpost__v1__response__init(&response);
    response.id = request->id;
    if (request->method_case == RINGPOST__V1__REQUEST__METHOD_AUTH) {
        answer_auth(peer, request->auth, &response);
        return;
    }
    if (request->method_case == RINGPOST__V1__REQUEST__METHOD_REFRESH) {
        answer_refresh(peer, request->refresh, &response);
        return;
    }
    peer->calls++;
    bool is_send = request->method_case == RINGPOST__V1__REQUEST__METHOD_SEND;
    bool stored = is_send && store_send(peer, request->send);
    if (peer->drops > 0) {
        peer->drops--;
        shutdown(peer->conn_fd, SHUT_RDWR);
    } else if (peer->mute) {
        return;
    } else if (is_send) {
        answer_send(peer, stored, &response);
    } else if (request->method_case == RINGPOST__V1__REQUEST__METHOD_SYNC) {
        answer_sync(peer, request->sync, &response);
    } else if (request->method_case == RINGPOST__V1__REQUEST__METHOD_USER) {
        answer_user(peer, request->user, &response);
    }
}

/* ---- in ---- */

static void take_frame(struct fake_peer *peer, const uint8_t *data, uint32_t len)
{
    if (len == 0) {
        peer->heartbeats++;
        return;
    }
    Ringpost__V1__Envelope *envelope = ringpost__v1__envelope__unpack(NULL, len, data);
    ASSERT(envelope != NULL && envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_REQUEST);
    answer(peer, envelope->request);
    ringpost__v1__envelope__free_unpacked(envelope, NULL);
}

static void take_bytes(struct fake_peer *peer, bool *greeted)
{
    size_t at = 0;
    if (!*greeted && peer->in.len >= 4) {
        ASSERT(memcmp(peer->in.data, "RPT1", 4) == 0);
        *greeted = true;
        at = 4;
        static const char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
        if (peer->garbage)
            put_bytes(peer, garbage, sizeof garbage - 1);
        else
            put_hello(peer);
    }
    while (*greeted && peer->in.len - at >= 4) {
        uint32_t length;
        memcpy(&length, peer->in.data + at, sizeof length);
        length = ntohl(length);
        if (peer->in.len - at - 4 < length) break;
        take_frame(peer, peer->in.data + at + 4, length);
        at += 4 + length;
    }
    memmove(peer->in.data, peer->in.data + at, peer->in.len - at);
    peer->in.len -= at;
}

/* False: the test ends. */
static bool wait_readable(const struct fake_peer *peer, int fd)
{
    struct pollfd polls[2] = {{.fd = peer->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    while (poll(polls, 2, -1) < 0) {}
    return polls[0].revents == 0;
}

static void serve_connection(struct fake_peer *peer, int fd)
{
    bool greeted = false;
    fake_peer_lock(peer);
    writer_reset(&peer->in);
    peer->conn_fd = fd;
    peer->connections++;
    fake_peer_unlock(peer);
    while (wait_readable(peer, fd)) {
        uint8_t bytes[4096];
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) break;
        fake_peer_lock(peer);
        writer_raw(&peer->in, bytes, (size_t)got);
        take_bytes(peer, &greeted);
        fake_peer_unlock(peer);
    }
    fake_peer_lock(peer);
    peer->conn_fd = -1;
    fake_peer_unlock(peer);
    close(fd);
}

static void *fake_peer_run(void *context)
{
    struct fake_peer *peer = context;
    while (wait_readable(peer, peer->listen_fd)) {
        int fd = accept(peer->listen_fd, NULL, NULL);
        if (fd >= 0) serve_connection(peer, fd);
    }
    return NULL;
}

/* ---- for the test ---- */

void fake_peer_start(struct fake_peer *peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    peer->conn_fd = -1;
    peer->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    peer->stop_fd = eventfd(0, 0);
    ASSERT(peer->listen_fd >= 0 && peer->stop_fd >= 0);
    ASSERT(bind(peer->listen_fd, (struct sockaddr *)&address, size) == 0 && listen(peer->listen_fd, 8) == 0);
    ASSERT(getsockname(peer->listen_fd, (struct sockaddr *)&address, &size) == 0);
    snprintf(peer->port, sizeof peer->port, "%u", ntohs(address.sin_port));
    writer_init(&peer->in, 0);
    ASSERT(pthread_mutex_init(&peer->mutex, NULL) == 0);
    ASSERT(pthread_create(&peer->thread, NULL, fake_peer_run, peer) == 0);
}

void fake_peer_stop(struct fake_peer *peer)
{
    ASSERT(eventfd_write(peer->stop_fd, 1) == 0);
    ASSERT(pthread_join(peer->thread, NULL) == 0);
    close(peer->listen_fd);
    close(peer->stop_fd);
    writer_deinit(&peer->in);
    pthread_mutex_destroy(&peer->mutex);
}

void fake_peer_push_event(struct fake_peer *peer, uint64_t sync_key)
{
    struct fake_event made;
    Ringpost__V1__Push push;
    make_event(&made, sync_key);
    ringpost__v1__push__init(&push);
    push.kind_case = RINGPOST__V1__PUSH__KIND_EVENT;
    push.event = &made.event;
    put_push(peer, &push);
}

void fake_peer_push_behind(struct fake_peer *peer, uint64_t sync_key)
{
    Ringpost__V1__Behind behind;
    Ringpost__V1__Push push;
    ringpost__v1__behind__init(&behind);
    ringpost__v1__push__init(&push);
    behind.sync_key = sync_key;
    push.kind_case = RINGPOST__V1__PUSH__KIND_BEHIND;
    push.behind = &behind;
    put_push(peer, &push);
}

void fake_peer_push_session_end(struct fake_peer *peer, const char *reason)
{
    char text[32];
    Ringpost__V1__SessionEnd end;
    Ringpost__V1__Push push;
    snprintf(text, sizeof text, "%s", reason);
    ringpost__v1__session_end__init(&end);
    ringpost__v1__push__init(&push);
    end.reason = text;
    push.kind_case = RINGPOST__V1__PUSH__KIND_SESSION_END;
    push.session_end = &end;
    put_push(peer, &push);
}

void fake_peer_raw(struct fake_peer *peer, struct slice bytes)
{
    fake_peer_lock(peer);
    put_bytes(peer, bytes.data, bytes.len);
    fake_peer_unlock(peer);
}

void fake_peer_heartbeat(struct fake_peer *peer)
{
    fake_peer_raw(peer, SLICE_TEXT("\0\0\0\0"));
}

void fake_peer_kick(struct fake_peer *peer)
{
    fake_peer_lock(peer);
    if (peer->conn_fd >= 0) shutdown(peer->conn_fd, SHUT_RDWR);
    fake_peer_unlock(peer);
}
