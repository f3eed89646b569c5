/* Behind a proxy, by the PROXY protocol or by headers, a connection is its client's: its address, its count, its refusals. */
#include "core/config.h"
#include "core/refusal.h"
#include "net/conn_internal.h"
#include "net/harness.h"
#include <arpa/inet.h>
#include <stdio.h>

#define FIRST  "PROXY TCP4 203.0.113.7 192.0.2.2 4711 7800\r\n"
#define SECOND "PROXY TCP6 2001:db8::7 2001:db8::2 4712 7800\r\n"
#define GET    "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#define OF(client) "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " client "\r\n\r\n"
#define SOCKET_OF(client)                                                                                              \
    "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Forwarded-For: " client "\r\n"   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

static struct config config;
static struct harness h;
static struct peer peer;

static void open_server(const char *option, const char *list)
{
    char text[256];
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, option, list, text, sizeof text), RESULT_OK, "%s", text);
    struct server_options options = harness_options();
    options.trusted_proxies = &config.trusted_proxies;
    options.proxy_protocol_from = &config.proxy_protocol_from;
    options.connections_per_ip_max = 1;
    harness_init(&h, &options);
    peer_connect(&peer, &h);
}

static void close_server(void)
{
    peer_deinit(&peer);
    harness_deinit(&h);
}

static void expect_address(const char *want)
{
    char got[INET6_ADDRSTRLEN];
    struct in6_addr address = conn_address(h.conn);
    cr_expect_str_eq(inet_ntop(AF_INET6, &address, got, sizeof got), want);
}

Test(conn_proxy, a_header_in_front_of_each_door)
{
    open_server("proxy_protocol_from", "127.0.0.1");
    peer_send_text(&peer, FIRST GET);
    HARNESS_UNTIL(&h, peer_has_text(&peer, "GET /? \n"));
    expect_address("::ffff:203.0.113.7");
    char shown[64];
    cr_expect_str_eq(conn_peer(h.conn, shown, sizeof shown), "203.0.113.7:4711");
    struct peer tcp, mqtt;
    peer_connect(&tcp, &h);
    peer_send_text(&tcp, SECOND "RPT1");
    HARNESS_UNTIL(&h, h.opens == 1);
    cr_expect_eq(conn_door_of(h.conn), CONN_DOOR_TCP);
    expect_address("2001:db8::7");
    peer_connect(&mqtt, &h);
    peer_send(&mqtt, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\2\1\xC0\0\2\2\x12\x67\x1E\x78\x10\x00", 30);
    HARNESS_UNTIL(&h, h.opens == 2);
    cr_expect_eq(conn_door_of(h.conn), CONN_DOOR_MQTT);
    expect_address("::ffff:192.0.2.1");
    peer_deinit(&tcp);
    peer_deinit(&mqtt);
    close_server();
}

Test(conn_proxy, a_header_in_drops)
{
    open_server("proxy_protocol_from", "127.0.0.0/8");
    for (const char *at = FIRST GET GET; *at != '\0'; at++) {
        peer_send(&peer, at, 1);
        harness_turn(&h);
    }
    HARNESS_UNTIL(&h, h.requests == 2);
    expect_address("::ffff:203.0.113.7");
    close_server();
}

Test(conn_proxy, a_proxy_that_speaks_for_itself)
{
    open_server("proxy_protocol_from", "127.0.0.1");
    peer_send(&peer, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" GET, 16 + strlen(GET));
    HARNESS_UNTIL(&h, h.requests == 1);
    expect_address("::ffff:127.0.0.1");
    close_server();
}

Test(conn_proxy, a_proxy_without_a_header_is_closed_and_noted)
{
    uint64_t noted = refusal_count(REFUSAL_PROXY_HEADER);
    open_server("proxy_protocol_from", "127.0.0.1");
    peer_send_text(&peer, GET);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect_eq(peer.received.len, 0);
    cr_expect_eq(h.requests, 0);
    cr_expect_eq(refusal_count(REFUSAL_PROXY_HEADER), noted + 1);
    struct peer half;
    peer_connect(&half, &h);
    peer_send_text(&half, "PROXY TCP4 ");
    harness_advance(&h, 5100);
    HARNESS_UNTIL(&h, peer_ended(&half));
    peer_deinit(&half);
    close_server();
}

Test(conn_proxy, a_header_of_somebody_else_is_no_header)
{
    open_server("proxy_protocol_from", "192.0.2.0/24");
    peer_send_text(&peer, FIRST GET);
    HARNESS_UNTIL(&h, peer_ended(&peer));
    cr_expect(peer_has_text(&peer, "HTTP/1.1 501"));
    cr_expect_eq(h.requests, 0);
    close_server();
}

Test(conn_proxy, the_limit_per_address_counts_clients)
{
    uint64_t noted = refusal_count(REFUSAL_CONNECTIONS_OF_ADDRESS);
    open_server("proxy_protocol_from", "127.0.0.1");
    struct peer again, other;
    peer_send_text(&peer, FIRST GET);
    HARNESS_UNTIL(&h, h.requests == 1);
    peer_connect(&again, &h);
    peer_send_text(&again, FIRST GET);
    HARNESS_UNTIL(&h, peer_ended(&again));
    cr_expect_eq(refusal_count(REFUSAL_CONNECTIONS_OF_ADDRESS), noted + 1);
    peer_connect(&other, &h);
    peer_send_text(&other, SECOND GET);
    HARNESS_UNTIL(&h, h.requests == 2);
    peer_deinit(&peer);
    HARNESS_UNTIL(&h, server_connection_count(h.server) == 1);
    peer_deinit(&again);
    peer_connect(&again, &h);
    peer_send_text(&again, FIRST GET);
    HARNESS_UNTIL(&h, h.requests == 3);
    cr_expect_not(peer_ended(&again), "the first one is gone");
    peer_deinit(&again);
    peer_deinit(&other);
    harness_deinit(&h);
}

Test(conn_proxy, each_request_has_its_client)
{
    open_server("trusted_proxies", "127.0.0.1");
    peer_send_text(&peer, OF("1.2.3.4, 203.0.113.7"));
    HARNESS_UNTIL(&h, h.requests == 1);
    expect_address("::ffff:203.0.113.7");
    peer_send_text(&peer, OF("2001:db8::7, 127.0.0.1"));
    HARNESS_UNTIL(&h, h.requests == 2);
    expect_address("2001:db8::7");
    peer_send_text(&peer, GET);
    HARNESS_UNTIL(&h, h.requests == 3);
    expect_address("::ffff:127.0.0.1");
    close_server();
}

Test(conn_proxy, somebody_else_is_not_believed)
{
    open_server("trusted_proxies", "192.0.2.0/24");
    peer_send_text(&peer, OF("203.0.113.7"));
    HARNESS_UNTIL(&h, h.requests == 1);
    expect_address("::ffff:127.0.0.1");
    close_server();
}

Test(conn_proxy, a_websocket_is_its_clients)
{
    open_server("trusted_proxies", "127.0.0.1");
    struct peer again, other;
    peer_send_text(&peer, OF("203.0.113.9") SOCKET_OF("203.0.113.7"));
    HARNESS_UNTIL(&h, h.opens == 1);
    expect_address("::ffff:203.0.113.7");
    cr_expect_null(h.conn->client);
    peer_connect(&again, &h);
    peer_send_text(&again, SOCKET_OF("203.0.113.7"));
    HARNESS_UNTIL(&h, peer_ended(&again));
    cr_expect(peer_has_text(&again, "HTTP/1.1 503"), "it has one and may have one");
    peer_connect(&other, &h);
    peer_send_text(&other, SOCKET_OF("203.0.113.8"));
    HARNESS_UNTIL(&h, h.opens == 2);
    expect_address("::ffff:203.0.113.8");
    peer_deinit(&again);
    peer_deinit(&other);
    close_server();
}

static void send_much(struct harness *harness, struct conn *conn, const struct http_request *request)
{
    (void)harness, (void)request;
    static const char body[40000];
    struct http_response response = {.status = 200, .body = slice_of(body, sizeof body)};
    cr_assert_eq(conn_send_http(conn, &response), RESULT_OK);
}

/* What waits at that moment has been charged to the proxy; from then on it is charged to the client. */
Test(conn_proxy, what_a_connection_holds_moves_to_its_client)
{
    open_server("trusted_proxies", "127.0.0.1");
    h.on_http = send_much;
    uint64_t proxy = peers_key(&(struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}});
    peer_send_text(&peer, GET SOCKET_OF("203.0.113.7"));
    HARNESS_UNTIL(&h, h.opens == 1);
    cr_expect_eq(peers_count(&h.server->peers, proxy), 0);
    cr_expect_eq(peers_count(&h.server->peers, peers_key(&h.conn->peer)), 1);
    uint32_t units = h.conn->held_units;
    cr_expect_eq(peers_hold(&h.server->peers, peers_key(&h.conn->peer), 0), units);
    HARNESS_UNTIL(&h, peer_has_text(&peer, "101 Switching Protocols"));
    close_server();
}

Test(conn_proxy, what_is_held_for_many_is_not_one_addresss)
{
    char text[256];
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, "trusted_proxies", "127.0.0.1", text, sizeof text), RESULT_OK);
    struct server_options options = harness_options();
    options.trusted_proxies = &config.trusted_proxies;
    options.memory_per_address_max_bytes = 64u << 10;
    harness_init(&h, &options);
    static char part[40000];
    struct peer uploads[3];
    for (size_t i = 0; i < COUNT_OF(uploads); i++) {
        peer_connect(&uploads[i], &h);
        peer_send_text(&uploads[i], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n");
        peer_send(&uploads[i], part, sizeof part);
        harness_turns(&h, 20);
    }
    for (size_t i = 0; i < COUNT_OF(uploads); i++) peer_send(&uploads[i], part, 10000);
    HARNESS_UNTIL(&h, h.requests == COUNT_OF(uploads));
    cr_expect_eq(harness_metric(&h.metrics.connections_evicted), 0);
    for (size_t i = 0; i < COUNT_OF(uploads); i++) peer_deinit(&uploads[i]);
    harness_deinit(&h);
}

static struct conn_handover *handover;

static void gone(void *context, struct conn_handover *packed)
{
    (void)context;
    handover = packed;
}

/* A socket whose client the proxy does not name is one of many of that proxy's, on whichever worker. */
Test(conn_proxy, what_is_held_for_many_moves_as_that)
{
    static struct harness there;
    static const uint8_t payload[2000];
    open_server("trusted_proxies", "127.0.0.1");
    struct server_options options = h.server->options;
    options.memory_per_address_max_bytes = 64u << 10;
    harness_init(&there, &options);
    peer_send_text(&peer, HANDSHAKE);
    HARNESS_UNTIL(&h, h.opens == 1);
    conn_detach(h.conn, there.io, gone, NULL);
    HARNESS_UNTIL(&h, handover != NULL);
    struct conn *conn = conn_adopt(there.server, handover);
    cr_assert_not_null(conn);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(conn_send_frame(conn, CONN_FRAME_BINARY, slice_of(payload, sizeof payload), NULL), RESULT_OK, "%d", i);
    cr_expect_eq(harness_metric(&there.metrics.connections_evicted), 0);
    peer_deinit(&peer);
    harness_deinit(&there);
    harness_deinit(&h);
}
