/* The doors and what does not come back from other shards: a real server on the loopback, letters that the test holds in its hand. */
#include "shard/door/door.h"
#include "core/refusal.h"
#include "net/harness.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/domain/methods.h"
#include "shard/door/inflight.h"
#include "shard/engine/letter.h"
#include <stdio.h>
#include <unistd.h>

static struct {
    struct harness net;
    struct door *door;
    struct host_pages pages;
    struct letter *posted; /* the last one */
    uint32_t posts;
    struct peer peer;
    struct conn *conn; /* of the socket that opened last */
    uint64_t now_ms;
} world;

static void port_post(void *context, struct letter *letter)
{
    (void)context;
    letter_free(world.posted);
    world.posted = letter;
    world.posts++;
    door_on_leave(world.door, letter); /* every shard is of another worker */
}
static bool port_is_local(void *context, uint16_t shard) { return (void)context, (void)shard, false; }
static bool port_is_full(void *context, uint16_t shard) { return (void)context, (void)shard, false; }
static uint64_t port_now_ms(void *context) { return (void)context, world.now_ms; }
static uint64_t port_now_ns(void *context) { return (void)context, world.now_ms * 1000000; }

static void on_open(void *context, struct conn *conn)
{
    world.conn = conn;
    door_events.on_open(context, conn);
}

static void setup(void)
{
    struct server_events events = door_events;
    events.on_open = on_open;
    struct harness *net = &world.net;
    struct io_options ring = {.entries = 64, .receive_buffer_count = 16, .receive_buffer_size_bytes = 4096};
    struct server_options server = harness_options();
    char text[256];
    int fd;
    world.now_ms = 1000000;
    world.pages.state = HOST_SERVING;
    struct door_options options = {.ports = {.post = port_post, .is_local = port_is_local, .is_full = port_is_full, .now_ms = port_now_ms,
                                             .now_ns = port_now_ns},
                                   .shard_count = 4,
                                   .frame_size_max = 65536,
                                   .outbound_soft_bytes = 262144,
                                   .pages = &world.pages,
                                   .metrics = &net->metrics,
                                   .timers = &net->wheel,
                                   .server_version = "test",
                                   .first_generation = 5};
    cr_assert_eq(door_create(&world.door, &options), RESULT_OK);
    cr_assert_eq(io_create(&net->io, &ring, text, sizeof text), RESULT_OK, "%s", text);
    timer_wheel_init(&net->wheel, world.now_ms);
    cr_assert_eq(buf_pool_create(&net->pool, 1 << 20), RESULT_OK);
    cr_assert_eq(server_listen("127.0.0.1:0", &fd, &net->port, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(server_create(&net->server, &server, net->io, &net->wheel, net->pool, &net->metrics, fd, &events, world.door), RESULT_OK);
    server_start(net->server);
    door_set_server(world.door, net->server);
    peer_connect(&world.peer, net);
}

static void turn(void)
{
    io_turn(world.net.io, 1, 64);
    server_flush(world.net.server);
}

static void teardown(void)
{
    letter_free(world.posted);
    peer_deinit(&world.peer);
    server_stop(world.net.server, (struct conn_goodbye){1001, "test ends"});
    for (uint32_t turns = 0; !server_idle(world.net.server) && turns < HARNESS_TURNS_MAX; turns++) {
        world.now_ms += 100;
        timer_wheel_advance(&world.net.wheel, world.now_ms, 64);
        turn();
    }
    server_destroy(world.net.server);
    door_destroy(world.door);
    buf_pool_destroy(world.net.pool);
    io_destroy(world.net.io);
}
TestSuite(door, .init = setup, .fini = teardown, .timeout = 20);

#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        uint32_t turns_ = 0;                                                                                           \
        while (!(condition) && turns_++ < HARNESS_TURNS_MAX) turn();                                                   \
        cr_assert((condition), "not within %d turns: %s", HARNESS_TURNS_MAX, #condition);                              \
    } while (0)

static void ask_by_http(const char *name)
{
    char body[96], request[256];
    snprintf(body, sizeof body, "{\"name\":\"%s\",\"password\":\"correct horse\",\"device_id\":\"d\"}", name);
    snprintf(request, sizeof request, "POST /v1/account/login HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    uint32_t before = world.posts;
    peer_send_text(&world.peer, request);
    UNTIL(world.posts == before + 1);
}

static struct letter *reply_to(const struct letter *question, enum error error)
{
    struct letter *reply = letter_make(LETTER_REPLY, question->to_shard, 0, NULL, SLICE_EMPTY);
    reply->origin = question->origin;
    reply->method = question->method;
    reply->error = (uint8_t)error;
    return reply;
}

static void hear(struct letter *reply)
{
    door_on_reply(world.door, reply);
    letter_free(reply);
}

static void wait_ms(uint64_t ms)
{
    world.now_ms += ms;
    door_tick(world.door);
}

Test(door, what_is_not_answered_in_time_is_refused_and_may_be_asked_again)
{
    ask_by_http("ada");
    wait_ms(INFLIGHT_TIMEOUT_NS / 1000000 - 1);
    turn();
    cr_expect_eq(world.peer.received.len, 0);
    wait_ms(1);
    UNTIL(peer_has_text(&world.peer, "HTTP/1.1 503"));
    cr_expect(peer_has_text(&world.peer, "\"retryable\":true") && peer_has_text(&world.peer, "may have been carried out"));
    cr_expect(peer_has_text(&world.peer, "no_answer") && peer_has_text(&world.peer, "Retry-After: 1\r\n"));
    cr_expect_eq(world.net.metrics.requests_overdue, 1);
    peer_consume(&world.peer, world.peer.received.len);
    struct letter *late = reply_to(world.posted, ERROR_WRONG_PASSWORD);
    ask_by_http("bob");
    hear(late);
    cr_expect_eq(world.net.metrics.replies_unknown, 1, "its answer comes after all");
    turn();
    cr_expect_eq(world.peer.received.len, 0, "which is none to what the connection asked next");
    hear(reply_to(world.posted, ERROR_WRONG_PASSWORD));
    UNTIL(peer_has_text(&world.peer, "HTTP/1.1 401"));
}

Test(door, an_answer_that_comes_twice_is_dropped_the_second_time)
{
    ask_by_http("ada");
    hear(reply_to(world.posted, ERROR_WRONG_PASSWORD));
    hear(reply_to(world.posted, ERROR_WRONG_PASSWORD));
    UNTIL(peer_has_text(&world.peer, "HTTP/1.1 401"));
    cr_expect_eq(world.net.metrics.replies_unknown, 1);
    wait_ms(60000);
    cr_expect_eq(world.net.metrics.requests_overdue, 0);
}

Test(door, an_answer_that_is_none_is_said_and_refused)
{
    ask_by_http("ada");
    struct letter *other = reply_to(world.posted, ERROR_NONE);
    other->method++;
    hear(other);
    cr_expect_eq(world.net.metrics.replies_unknown, 1, "of another method");
    struct letter *reply = letter_make(LETTER_REPLY, world.posted->to_shard, 0, NULL, SLICE_TEXT("\x0a\xff"));
    reply->origin = world.posted->origin;
    reply->method = world.posted->method;
    hear(reply);
    UNTIL(peer_has_text(&world.peer, "HTTP/1.1 500"));
    cr_expect_eq(world.net.metrics.letters_refused, 1);
}

/* The place of the connection, and its socket's number of requests under way, belong to another one by then. */
Test(door, answers_to_a_connection_that_is_gone_reach_nobody)
{
    ask_by_http("ada");
    struct linger reset = {.l_onoff = 1}; /* an end alone would let the answer be written */
    cr_assert_eq(setsockopt(world.peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    peer_deinit(&world.peer);
    UNTIL(server_connection_count(world.net.server) == 0);
    peer_connect(&world.peer, &world.net);
    struct letter *first = reply_to(world.posted, ERROR_WRONG_PASSWORD);
    ask_by_http("bob");
    hear(first);
    turn();
    cr_expect_eq(world.peer.received.len, 0);
    wait_ms(60000);
    UNTIL(peer_has_text(&world.peer, "HTTP/1.1 503"));
    cr_expect_eq(world.net.metrics.requests_overdue, 1);
}

static size_t pack_request(uint8_t frame[64], Ringpost__V1__Request *request)
{
    Ringpost__V1__Envelope envelope = RINGPOST__V1__ENVELOPE__INIT;
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_REQUEST;
    envelope.request = request;
    cr_assert_leq(ringpost__v1__envelope__get_packed_size(&envelope), 64);
    return ringpost__v1__envelope__pack(&envelope, frame);
}

static void send_login(uint64_t id)
{
    uint8_t frame[64];
    Ringpost__V1__LoginRequest login = RINGPOST__V1__LOGIN_REQUEST__INIT;
    login.name = "ada";
    login.password = "correct horse";
    login.device_id = "d";
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    request.id = id;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_LOGIN;
    request.login = &login;
    peer_send_tcp(&world.peer, frame, (uint32_t)pack_request(frame, &request));
}

static void ask_by_socket(uint64_t id)
{
    uint32_t before = world.posts;
    send_login(id);
    UNTIL(world.posts == before + 1);
}

Test(door, a_socket_goes_on_after_an_answer_that_did_not_come)
{
    peer_send_text(&world.peer, "RPT1");
    UNTIL(peer_has(&world.peer, 1));
    ask_by_socket(41);
    uint16_t to = world.posted->to_shard;
    cr_expect_eq(door_asked(world.door, to), 1);
    struct letter *late = reply_to(world.posted, ERROR_WRONG_PASSWORD);
    wait_ms(INFLIGHT_TIMEOUT_NS / 1000000);
    cr_expect_eq(door_asked(world.door, to), 0);
    UNTIL(peer_has_text(&world.peer, "may have been carried out"));
    ask_by_socket(42); /* it is read from again */
    cr_expect_eq(door_asked(world.door, to), 1);
    hear(late);
    cr_expect_eq(door_asked(world.door, to), 1, "the late answer counts for nothing");
    hear(reply_to(world.posted, ERROR_WRONG_PASSWORD));
    UNTIL(peer_has_text(&world.peer, "wrong_password"));
    cr_expect_eq(door_asked(world.door, to), 0);
}

/* Nobody is logged in, so all of it is refused, and not read. */
static void fill_output(void)
{
    uint8_t frame[64], frames[200 * 64];
    uint32_t size = 0;
    Ringpost__V1__SyncRequest sync = RINGPOST__V1__SYNC_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    request.id = 1;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SYNC;
    request.sync = &sync;
    uint8_t len = (uint8_t)pack_request(frame, &request);
    for (uint32_t i = 0; i < 200; i++) {
        const uint8_t head[4] = {0, 0, 0, len};
        memcpy(frames + size, head, sizeof head);
        memcpy(frames + size + sizeof head, frame, len);
        size += (uint32_t)sizeof head + len;
    }
    while (conn_outbound_bytes(world.conn) <= 300000) {
        uint64_t refused = world.net.metrics.requests_refused;
        peer_send(&world.peer, frames, size);
        UNTIL(world.net.metrics.requests_refused == refused + 200);
    }
}

Test(door, before_login_there_is_one_request_at_a_time_also_when_the_output_has_drained)
{
    peer_send_text(&world.peer, "RPT1");
    UNTIL(peer_has(&world.peer, 1));
    fill_output();
    ask_by_socket(41);
    send_login(42);
    UNTIL(peer_has(&world.peer, 1) && conn_outbound_bytes(world.conn) == 0);
    for (uint32_t i = 0; i < 20; i++) turn();
    cr_expect_eq(world.posts, 1, "the next one waits for the answer");
    hear(reply_to(world.posted, ERROR_WRONG_PASSWORD));
    UNTIL(world.posts == 2);
}
