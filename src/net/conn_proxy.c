/* net/conn_proxy.c - the client behind a proxy: whose address a connection, or one of its requests, counts for.
 * Happy path: a connection of a proxy of proxy_protocol_from begins with a PROXY header, and from then on is its
 * client's; or it is of trusted_proxies and carries HTTP requests, each of which names its client, and becomes that client's when it turns into a WebSocket.
 * Failure: what should begin with a PROXY header and does not is closed and noted; a client that has all its connections is refused
 * as it would be without the proxy. */
#include "core/check.h"
#include "core/refusal.h"
#include "net/conn_internal.h"
#include "net/proxyheader.h"
#include <stdlib.h>

/* ---- for whom it counts ------------------------------------------------------------------------------------------ */

uint32_t conn_limit_of(const struct server *server, const struct in6_addr *address)
{
    bool proxy = proxies_believe(&server->proxies, address) || proxies_believe(&server->headed, address);
    return proxy ? 0 : server->options.connections_per_ip_max; /* a proxy's connections are those of many */
}

/* Moves the connection, with what it holds, to another address in the counts per address. False: that one has all it may have. */
static bool conn_count_for(struct conn *conn, const struct in6_addr *client, uint16_t port)
{
    struct server *server = conn->server;
    uint32_t limit = conn_limit_of(server, client);
    if (peers_add(&server->peers, peers_key(client), limit) != RESULT_OK) {
        metrics_add(&server->metrics->connections_refused, 1);
        refusal_note(REFUSAL_CONNECTIONS_OF_ADDRESS, client, "limit=%u", limit);
        return false;
    }
    uint64_t before = peers_key(&conn->peer);
    if (conn->held_units > 0) (void)peers_hold(&server->peers, before, -(int32_t)conn->held_units);
    if (conn->held_units > 0) (void)peers_hold(&server->peers, peers_key(client), conn->held_units);
    peers_remove(&server->peers, before);
    conn->peer = *client;
    conn->peer_port = port;
    conn->proxied = proxies_believe(&server->proxies, client);
    return true;
}

void conn_meet(struct conn *conn)
{
    conn->proxied = proxies_believe(&conn->server->proxies, &conn->peer);
    conn->header_due = proxies_believe(&conn->server->headed, &conn->peer);
}

/* ---- the PROXY protocol ------------------------------------------------------------------------------------------ */

static void conn_proxy_apply(struct conn *conn, const struct proxyheader *header)
{
    conn->header_due = false;
    if (header->stated && !conn_count_for(conn, &header->source, header->port)) conn_abort(conn);
}

void conn_proxy_take(struct conn *conn, struct slice in)
{
    struct proxyheader header;
    if (conn->state != CONN_OPEN) return;
    if (conn->waiting != NULL) conn_keep_waiting(conn, in);
    if (conn->state != CONN_OPEN) return; /* out of memory */
    struct slice bytes = conn->waiting == NULL ? in : writer_slice(&conn->waiting->bytes);
    switch (proxyheader_parse(bytes, &header)) {
    case PROXYHEADER_MORE:
        if (conn->waiting == NULL) conn_keep_waiting(conn, in);
        return;
    case PROXYHEADER_BAD:
        refusal_note(REFUSAL_PROXY_HEADER, &conn->peer, "%s", "");
        conn_abort(conn);
        return;
    case PROXYHEADER_WHOLE: break;
    }
    struct conn_waiting *held = conn->waiting;
    if (held != NULL) conn_charge(conn, &held->charged_bytes, 0);
    conn->waiting = NULL;
    conn_proxy_apply(conn, &header);
    if (bytes.len > header.size && conn->state == CONN_OPEN)
        conn_received(conn, slice_of(bytes.data + header.size, bytes.len - header.size));
    if (held == NULL) return;
    writer_deinit(&held->bytes);
    free(held);
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

bool conn_proxy_request(struct conn *conn, struct http_request *request)
{
    ASSERT(conn->door == CONN_DOOR_HTTP && conn->proxied);
    proxies_amend(request);
    if (conn->client == NULL) conn->client = malloc(sizeof *conn->client);
    if (conn->client == NULL) return false;
    *conn->client = proxies_client(&conn->server->proxies, request, &conn->peer);
    return true;
}

bool conn_proxy_upgrade(struct conn *conn)
{
    ASSERT(conn->door == CONN_DOOR_HTTP);
    if (conn->client == NULL) return true;
    struct in6_addr client = *conn->client;
    if (!conn_count_for(conn, &client, 0)) return false;
    conn_proxy_forget(conn);
    return true;
}

void conn_proxy_forget(struct conn *conn)
{
    if (conn->door != CONN_DOOR_HTTP) return; /* the others have no such address */
    free(conn->client);
    conn->client = NULL;
}
