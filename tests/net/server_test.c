#include "core/refusal.h"
#include "net/harness.h"
#include <sys/resource.h>

Test(server, table_full_refuses_at_accept)
{
    struct harness h;
    struct server_options options = harness_options();
    options.connections_max = 2;
    harness_init(&h, &options);
    struct peer one, two, three;
    peer_open_tcp(&one, &h);
    peer_open_tcp(&two, &h);
    peer_connect(&three, &h);
    HARNESS_UNTIL(&h, peer_ended(&three) || three.reset);
    cr_expect_eq(harness_metric(&h.metrics.connections_refused), 1);
    cr_expect_eq(harness_metric(&h.metrics.connections_accepted), 2);
    peer_deinit(&one);
    HARNESS_UNTIL(&h, h.closes == 1);
    peer_deinit(&three);
    peer_open_tcp(&three, &h);
    peer_deinit(&two);
    peer_deinit(&three);
    harness_deinit(&h);
}

Test(server, address_with_too_many_connections_is_refused)
{
    struct harness h;
    struct server_options options = harness_options();
    options.connections_per_ip_max = 3;
    harness_init(&h, &options);
    uint64_t noted = refusal_count(REFUSAL_CONNECTIONS_OF_ADDRESS);
    struct peer peers[4];
    for (int i = 0; i < 3; i++) peer_open_tcp(&peers[i], &h);
    peer_connect(&peers[3], &h);
    HARNESS_UNTIL(&h, peer_ended(&peers[3]) || peers[3].reset);
    cr_expect_eq(harness_metric(&h.metrics.connections_refused), 1);
    cr_expect_eq(refusal_count(REFUSAL_CONNECTIONS_OF_ADDRESS) - noted, 1);
    peer_deinit(&peers[0]);
    HARNESS_UNTIL(&h, h.closes == 1);
    peer_deinit(&peers[3]);
    peer_open_tcp(&peers[3], &h);
    for (int i = 1; i < 4; i++) peer_deinit(&peers[i]);
    harness_deinit(&h);
}

Test(server, handles_outlive_connections_but_find_nothing)
{
    struct harness h;
    struct peer first, second;
    harness_init(&h, NULL);
    peer_open_tcp(&first, &h);
    struct conn_handle old = conn_handle_of(h.conn);
    cr_expect_eq(server_find(h.server, old), h.conn);
    peer_deinit(&first);
    HARNESS_UNTIL(&h, h.closes == 1);
    cr_expect_null(server_find(h.server, old));
    peer_open_tcp(&second, &h);
    cr_expect_eq(conn_handle_of(h.conn).slot, old.slot, "the slot is used again");
    cr_expect_null(server_find(h.server, old));
    cr_expect_null(*conn_user(h.conn));
    cr_expect_null(server_find(h.server, (struct conn_handle){12345, 1}));
    peer_deinit(&second);
    harness_deinit(&h);
}

Test(server, connections_stay_in_place_while_the_table_grows)
{
    enum { PEERS = 600 };
    static struct peer peers[PEERS];
    static struct conn *conns[PEERS];
    static struct conn_handle handles[PEERS];
    struct harness h;
    struct server_options options = harness_options();
    options.connections_max = 1000;
    harness_init(&h, &options);
    for (int i = 0; i < PEERS; i++) {
        peer_open_tcp(&peers[i], &h);
        conns[i] = h.conn;
        handles[i] = conn_handle_of(h.conn);
    }
    for (int i = 0; i < PEERS; i++) cr_assert_eq(server_find(h.server, handles[i]), conns[i]);
    for (int i = 0; i < PEERS; i++) peer_deinit(&peers[i]);
    HARNESS_UNTIL(&h, h.closes == PEERS);
    harness_deinit(&h);
}

Test(server, few_accepts_per_turn_still_accept_everyone)
{
    struct harness h;
    struct server_options options = harness_options();
    options.accepts_per_turn_max = 2;
    harness_init(&h, &options);
    struct peer peers[20];
    for (int i = 0; i < 20; i++) peer_connect(&peers[i], &h);
    HARNESS_UNTIL(&h, server_connection_count(h.server) == 20);
    for (int i = 0; i < 20; i++) peer_deinit(&peers[i]);
    harness_deinit(&h);
}

Test(server, out_of_descriptors_pauses_and_goes_on)
{
    struct harness h;
    harness_sockets_max = 0; /* plain descriptors */
    harness_init(&h, NULL);
    struct peer waiting;
    peer_connect(&waiting, &h);
    struct rlimit limit, none;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    harness_turns(&h, 10);
    harness_advance(&h, 300);
    cr_expect_eq(server_connection_count(h.server), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    harness_advance(&h, 200);
    HARNESS_UNTIL(&h, server_connection_count(h.server) == 1);
    peer_deinit(&waiting);
    harness_deinit(&h);
}

/* With room for 70 sockets in a table, 300 connections take five rings: each is served, and what closes makes room. */
Test(server, connections_of_many_tables)
{
    struct harness h;
    struct server_options options = harness_options();
    options.connections_max = 1000;
    options.connections_per_ip_max = 0;
    harness_init_small_tables(&h, &options);
    static struct peer peers[300];
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT_OF(peers); i++) peer_open_tcp(&peers[i], &h);
        cr_expect_eq(server_connection_count(h.server), COUNT_OF(peers));
        for (uint32_t i = 0; i < COUNT_OF(peers); i++) peer_send_tcp(&peers[i], "hello", 5);
        for (uint32_t i = 0; i < COUNT_OF(peers); i++) HARNESS_UNTIL(&h, peer_has(&peers[i], 9));
        for (uint32_t i = 0; i < COUNT_OF(peers); i++) peer_deinit(&peers[i]);
        HARNESS_UNTIL(&h, server_connection_count(h.server) == 0);
    }
    harness_deinit(&h);
}

static void keep_request(struct harness *harness, struct conn *conn, const struct http_request *request)
{
    (void)harness, (void)conn, (void)request;
}

Test(server, stop_says_goodbye_at_every_door)
{
    struct harness h;
    harness_init(&h, NULL);
    h.on_http = keep_request;
    struct peer websocket, tcp, http, idle;
    peer_open_websocket(&websocket, &h);
    peer_open_tcp(&tcp, &h);
    peer_connect(&idle, &h);
    peer_connect(&http, &h);
    peer_send_text(&http, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    HARNESS_UNTIL(&h, h.requests == 1);
    server_stop(h.server, (struct conn_goodbye){1001, "server stops"});
    HARNESS_UNTIL(&h, peer_has_text(&websocket, "\x03\xE9server stops"));
    HARNESS_UNTIL(&h, peer_ended(&tcp) && peer_ended(&idle) && peer_ended(&http));
    cr_expect(peer_has_text(&http, "HTTP/1.1 503"));
    cr_expect_not(server_idle(h.server), "the WebSocket has a second to answer");
    peer_deinit(&tcp);
    peer_deinit(&http);
    peer_deinit(&idle);
    peer_deinit(&websocket);
    HARNESS_UNTIL(&h, server_idle(h.server));
    cr_expect_eq(h.closes, 4);
    harness_deinit(&h);
}

/* It may be about to speak: a socket closed under it would reset it. */
Test(server, stop_does_not_reset_who_has_just_come)
{
    struct harness h;
    harness_init(&h, NULL);
    harness_advance(&h, 10000);
    struct peer peer;
    peer_connect(&peer, &h);
    HARNESS_UNTIL(&h, server_connection_count(h.server) == 1);
    server_stop(h.server, (struct conn_goodbye){1001, "server stops"});
    HARNESS_UNTIL(&h, peer_ended(&peer));
    peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    int error = -1;
    cr_assert_eq(getsockopt(peer.fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}), 0);
    cr_expect_eq(error, 0, "%s", strerror(error));
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, server_idle(h.server));
    harness_deinit(&h);
}

/* What was said to it has arrived long ago: nobody waits for its answer. */
Test(server, stop_is_quick_for_the_silent)
{
    enum { SILENT = 100 };
    struct peer peers[SILENT];
    struct harness h;
    struct server_options options = harness_options();
    options.connections_max = options.connections_per_ip_max = SILENT;
    harness_init(&h, &options);
    for (uint32_t i = 0; i < SILENT; i++) peer_open_tcp(&peers[i], &h);
    harness_advance(&h, 4000);
    server_stop(h.server, (struct conn_goodbye){1001, "server stops"});
    HARNESS_UNTIL(&h, server_idle(h.server));
    cr_expect_eq(h.closes, SILENT);
    for (uint32_t i = 0; i < SILENT; i++) cr_expect(peer_ended(&peers[i]) && !peers[i].reset, "a clean end");
    for (uint32_t i = 0; i < SILENT; i++) peer_deinit(&peers[i]);
    harness_deinit(&h);
}
