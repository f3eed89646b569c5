/* net/conn_memory.c - what each connection holds of the worker's memory, and who goes when that is too much.
 * Held is what waits to be sent (output.h) and what was received and is not whole yet: parts of messages, input that may not be
 * delivered, TLS records. An idle connection holds nothing.
 *
 *   limit                       counted                                  at the limit
 *   outbound_hard               bytes that wait for one connection       it is closed by the layer above, with a reason (1013)
 *   memory_per_address_max      cost of all connections of an address    those of this address that hold most are reset, an eighth of the limit
 *   the pool's size             memory of all of the worker              those that hold most are reset, a sixteenth of the pool
 *
 * Cost: of a payload that several wait for each has its part. So whoever is answered next never pays for others. Of those that hold
 * much the first to go are those that took, or sent, nothing for STALLED_MS: a client that reads, but has just been told much, is no slow
 * reader. A reset, and no farewell: what they hold is needed now, and they do not take what was queued before. The kernel lets go of a
 * send in flight a moment later; until then it is expected (core/buf.h).
 *
 * Addresses are counted in units, so that a connection whose queue empties every turn costs no look-up. To find who holds most every slot
 * is looked at, some times: 10 ms for 200,000 of them, and then there is room for megabytes. */
#include "core/check.h"
#include "core/refusal.h"
#include "net/conn_internal.h"
#include "net/tls.h"

#define HELD_UNIT_SIZE   16384u
#define ROOM_OF_POOL     16 /* this part of the pool is made free at a time */
#define ROOM_OF_ADDRESS  8  /* and this part of what an address may hold */
#define HELD_CLASS_COUNT 128 /* quarters of powers of two */
#define STALLED_MS       1000

struct eviction {
    struct server *server;
    const char *limit; /* the option's name, for the log */
    bool one_address;  /* only connections of `key` */
    bool stalled;      /* only connections that do not move */
    uint64_t key;
    uint64_t wanted, freed;
};

/* ---- what one holds ---------------------------------------------------------------------------------------------- */

static uint32_t conn_held_bytes(const struct conn *conn)
{
    uint32_t held = conn->out.held_bytes + conn_tls_charged_bytes(conn);
    if (conn->partial != NULL) held += conn->partial->charged_bytes;
    if (conn->waiting != NULL) held += conn->waiting->charged_bytes;
    return held;
}

/* What would be free without it. */
static uint32_t conn_cost_bytes(const struct conn *conn)
{
    return conn_held_bytes(conn) - conn->out.held_bytes + output_cost_bytes(&conn->out);
}

static uint32_t writer_held(const struct writer *writer) { return (uint32_t)writer->capacity; }

static uint32_t conn_partial_bytes(const struct conn *conn)
{
    const struct conn_partial *partial = conn->partial;
    uint32_t own = (uint32_t)sizeof *partial;
    switch ((enum conn_door)conn->door) {
    case CONN_DOOR_HTTP:
        return own + writer_held(&partial->as.http.text) + writer_held(&partial->as.http.spans) + writer_held(&partial->as.http.body);
    case CONN_DOOR_WEBSOCKET: return own + writer_held(&partial->as.websocket.message);
    case CONN_DOOR_TCP: return own + writer_held(&partial->as.tcp.payload);
    case CONN_DOOR_MQTT: return own + writer_held(&partial->as.mqtt.gathered);
    case CONN_DOOR_NONE: break;
    }
    return own;
}

void conn_charge(struct conn *conn, uint32_t *charged, uint32_t bytes)
{
    int64_t more = (int64_t)bytes - *charged;
    *charged = bytes;
    if (more != 0) buf_pool_charge(conn->server->pool, more);
}

void conn_note_input(struct conn *conn)
{
    if (conn->partial != NULL) conn_charge(conn, &conn->partial->charged_bytes, conn_partial_bytes(conn));
    if (conn->waiting != NULL)
        conn_charge(conn, &conn->waiting->charged_bytes, (uint32_t)sizeof *conn->waiting + writer_held(&conn->waiting->bytes));
    conn_tls_note(conn);
    conn_note_held(conn);
}

static void server_judge_address(struct server *server, uint64_t key, uint64_t held, uint64_t added);

void conn_note_held(struct conn *conn)
{
    uint32_t units = conn_held_bytes(conn) / HELD_UNIT_SIZE;
    if (units == conn->held_units || conn->evicted) return;
    struct server *server = conn->server;
    ASSERT(units <= UINT16_MAX);
    uint64_t added = units > conn->held_units ? (uint64_t)(units - conn->held_units) * HELD_UNIT_SIZE : 0;
    uint64_t key = peers_key(&conn->peer);
    uint64_t held = (uint64_t)peers_hold(&server->peers, key, (int32_t)units - conn->held_units) * HELD_UNIT_SIZE;
    conn->held_units = (uint16_t)units;
    bool bounded = server->options.memory_per_address_max_bytes > 0 && !conn->proxied; /* what an HTTP proxy holds is its clients' */
    if (added > 0 && bounded) server_judge_address(server, key, held, added);
}

void conn_forget_held(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn->held_units > 0) (void)peers_hold(&server->peers, peers_key(&conn->peer), -(int32_t)conn->held_units);
    conn->held_units = 0;
    if (conn->evicted) buf_pool_expect(server->pool, -(int64_t)conn->expected_bytes);
    conn->evicted = false;
}

/* ---- who goes ---------------------------------------------------------------------------------------------------- */

/* Gives back at once what no operation in flight needs. */
static void conn_evict(struct conn *conn, const char *limit)
{
    struct server *server = conn->server;
    uint32_t held = conn_held_bytes(conn);
    struct in6_addr address = conn_address(conn);
    refusal_note(REFUSAL_SLOW_READER, &address, "held_bytes=%u limit=%s", held, limit);
    metrics_add(&server->metrics->connections_evicted, 1);
    (void)peers_hold(&server->peers, peers_key(&conn->peer), -(int32_t)conn->held_units);
    conn->held_units = 0;
    if (conn->send.armed && conn->tls == NULL) output_cut(&conn->out);
    else output_clear(&conn->out);
    conn->evicted = conn->reset = true;
    conn->expected_bytes = conn_cost_bytes(conn);
    buf_pool_expect(server->pool, conn->expected_bytes);
    conn_abort(conn);
    server_mark_ready(conn);
}

static uint32_t held_class(uint32_t held)
{
    if (held < 4) return held;
    uint32_t top_bit = 31u - (uint32_t)__builtin_clz(held);
    return top_bit * 4 + (held >> (top_bit - 2) & 3);
}

static bool conn_is_stalled(const struct conn *conn)
{
    uint64_t now_ms = conn_now_ms(conn);
    if (conn->send.armed) return now_ms - conn->progress_ms >= STALLED_MS;
    return (uint32_t)now_ms - conn->received_ms >= STALLED_MS;
}

/* Bytes that this one could give; 0: it is not asked, or on its way out. */
static uint32_t eviction_candidate(const struct eviction *eviction, const struct conn *conn)
{
    bool here = conn->state != CONN_CLOSED && conn->state != CONN_CLOSING && !conn->evicted;
    if (!here || (eviction->stalled && !conn_is_stalled(conn))) return 0;
    if (eviction->one_address && peers_key(&conn->peer) != eviction->key) return 0;
    return conn_cost_bytes(conn);
}

static void evict_class(struct eviction *eviction, uint32_t class)
{
    struct server *server = eviction->server;
    for (uint32_t slot = 0; slot < server->slot_count && eviction->freed < eviction->wanted; slot++) {
        struct conn *conn = server_slot(server, slot);
        uint32_t cost = eviction_candidate(eviction, conn);
        if (cost == 0 || held_class(cost) != class) continue;
        size_t before = buf_pool_used_bytes(server->pool);
        conn_evict(conn, eviction->limit);
        uint64_t returned = before - buf_pool_used_bytes(server->pool) + conn->expected_bytes; /* as the pool counts it */
        eviction->freed += eviction->one_address ? cost : returned;
    }
}

static void evict_round(struct eviction *eviction, bool stalled)
{
    struct server *server = eviction->server;
    bool any[HELD_CLASS_COUNT] = {false};
    eviction->stalled = stalled;
    for (uint32_t slot = 0; slot < server->slot_count; slot++) {
        uint32_t held = eviction_candidate(eviction, server_slot(server, slot));
        if (held > 0) any[held_class(held)] = true;
    }
    for (uint32_t class = HELD_CLASS_COUNT; class-- > 0 && eviction->freed < eviction->wanted;)
        if (any[class]) evict_class(eviction, class);
}

static void evict(struct eviction *eviction)
{
    evict_round(eviction, true);
    evict_round(eviction, false);
}

void server_make_room(void *context, size_t bytes)
{
    struct server *server = context;
    struct eviction eviction = {.server = server, .limit = "connection_memory"};
    eviction.wanted = bytes + buf_pool_size_max_bytes(server->pool) / ROOM_OF_POOL;
    evict(&eviction);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static struct judged *server_find_judged(struct server *server, uint64_t key)
{
    for (uint32_t i = 0; i < SERVER_JUDGED_MAX; i++)
        if (server->judged[i].key == key && server->judged[i].left > 0) return &server->judged[i];
    return NULL;
}

static uint64_t address_cost(struct eviction *eviction)
{
    uint64_t cost = 0;
    for (uint32_t slot = 0; slot < eviction->server->slot_count; slot++)
        cost += eviction_candidate(eviction, server_slot(eviction->server, slot));
    return cost;
}

/* More than the limit is counted. A payload that many of its connections wait for is counted for each of them, so only now is looked what
 * they cost together; and not again before so much was added that that, too, may have come to the limit, or an eighth beyond. What was
 * given back meanwhile does not help: others may still wait for the same. */
static void server_judge_address(struct server *server, uint64_t key, uint64_t held, uint64_t added)
{
    uint64_t limit = server->options.memory_per_address_max_bytes, room = limit / ROOM_OF_ADDRESS;
    struct judged *judged = server_find_judged(server, key);
    bool within = held <= limit, looked_at = judged != NULL && added < judged->left;
    if (judged != NULL && (within || looked_at)) judged->left = within ? 0 : judged->left - added;
    if (within || looked_at) return;
    if (judged == NULL) judged = &server->judged[server->judged_next++ % SERVER_JUDGED_MAX];
    struct eviction eviction = {.server = server, .limit = "connection_memory_per_address", .one_address = true, .key = key};
    uint64_t cost = address_cost(&eviction);
    *judged = (struct judged){key, cost + room < limit ? limit - cost : room};
    if (cost <= limit) return;
    eviction.wanted = cost - limit + room;
    evict(&eviction);
}
