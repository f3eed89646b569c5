/* shard/door/door.c - sockets: frames in, logins, moving home, answers out. HTTP is in door_http.c.
 * Failure modes: a frame that is no envelope is answered BAD_REQUEST; a method that is not there UNKNOWN_METHOD; a full
 * outbound queue closes the socket. A connection that goes away while its requests are under way: their answers find no handle. */
#include "shard/domain/domain.h"
#include "shard/door/door_internal.h"
#include "api/envelope.h"
#include "api/token.h"
#include "core/logger.h"
#include "net/websocket.h"
#include "ringpost/v1/ringpost.methods.h"
#include "shard/door/login_limit.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt.h"
#include <stdio.h>

#define SUBPROTOCOL_PROTO "ringpost.v1.proto"
#define SUBPROTOCOL_JSON  "ringpost.v1.json"
#define STARTING_RETRY_MS 1000 /* told to a WebSocket that comes before the server serves */
#define RELEASED_PER_TURN 64 /* clients held for one shard */
#define OVERDUE_RETRY_MS 1000

enum result door_create(struct door **out, const struct door_options *options)
{
    struct door *d = memory_alloc(sizeof *d);
    d->options = *options;
    origins_init(&d->origins, options->allowed_origins);
    writer_init(&d->packed, 0);
    writer_init(&d->frame, 0);
    writer_init(&d->detail, 0);
    d->mqtt = mqtt_door_create();
    d->lines = memory_alloc(options->shard_count * sizeof *d->lines);
    d->inflight = inflight_create(options->worker, options->shard_count, options->first_generation);
    *out = d;
    return login_limit_create(&d->logins, options->logins_per_second, options->logins_burst);
}

void door_destroy(struct door *d)
{
    if (d == NULL) return;
    writer_deinit(&d->packed);
    writer_deinit(&d->frame);
    writer_deinit(&d->detail);
    mqtt_door_destroy(d->mqtt);
    login_limit_destroy(d->logins);
    inflight_destroy(d->inflight);
    free(d->lines);
    free(d);
}

void door_set_server(struct door *d, struct server *server) { d->server = server; }

static struct client *client_of(struct conn *conn) { return *conn_user(conn); }

static struct client *client_create(struct door *d, struct conn *conn, bool json)
{
    struct client *client = memory_alloc(sizeof *client);
    client->door = d;
    client->conn = conn;
    client->json = json;
    *conn_user(conn) = client;
    return client;
}

bool door_take(struct door *d, const struct conn *conn, struct inflight request, struct origin *origin)
{
    request.conn = conn_handle_of(conn);
    request.door = (uint8_t)conn_door_of(conn);
    request.started_ns = d->options.ports.now_ns(d->options.ports.context);
    return inflight_take(d->inflight, &request, origin);
}

uint16_t door_address_class(const struct conn *conn)
{
    struct in6_addr peer = conn_address(conn);
    return login_limit_class(&peer);
}

bool door_login_allowed(struct door *d, const struct conn *conn, uint32_t *retry_after_ms)
{
    struct in6_addr peer = conn_address(conn);
    bool allowed = login_limit_take(d->logins, &peer, d->options.ports.now_ns(d->options.ports.context) / 1000000, retry_after_ms);
    if (!allowed) {
        metrics_add(&d->options.metrics->rate_limited, 1);
        refusal_note(REFUSAL_LOGIN_RATE, &peer, "retry_after_ms=%u", *retry_after_ms);
    }
    return allowed;
}

void door_note_token(const struct conn *conn, const char *because, uint64_t user_id)
{
    struct in6_addr peer = conn_address(conn);
    refusal_note(REFUSAL_TOKEN, &peer, "user_id=%llu because=\"%s\"", (unsigned long long)user_id, because);
}

enum error door_verify(const struct door *d, const struct conn *conn, struct slice token, struct token_claims *claims,
                       const char **detail)
{
    static const char nowhere[] = "sub names no user of this server";
    uint64_t now_s = d->options.ports.now_ms(d->options.ports.context) / 1000;
    enum token_flaw flaw = token_verify(d->options.token_keys, token, now_s, &d->options.token_terms, claims);
    bool is_here = flaw != TOKEN_FLAW_NONE || id_partition(claims->user_id) < d->options.shard_count;
    *detail = NULL;
    if (flaw == TOKEN_FLAW_NONE && is_here) return ERROR_NONE;
    const char *text = is_here ? token_flaw_text(flaw) : nowhere;
    door_note_token(conn, text, token_flaw_is_signed(flaw) ? claims->user_id : 0);
    if (flaw == TOKEN_FLAW_EXPIRED) return ERROR_TOKEN_EXPIRED;
    if (!is_here || token_flaw_is_told(flaw)) *detail = text;
    return ERROR_TOKEN_INVALID;
}

/* A shard refused somebody for who they are; it does not know from where they come. `conn` NULL: they have gone. */
static void note_refusal(const struct conn *conn, const struct letter *letter)
{
    if (letter->noted == 0) return;
    struct in6_addr peer = conn == NULL ? in6addr_any : conn_address(conn);
    refusal_note((enum refusal)(letter->noted - 1), conn == NULL ? NULL : &peer, "user_id=%llu because=%s",
                 (unsigned long long)letter->number, error_row((enum error)letter->error)->reason);
}

/* ---- answers ---- */

static void send_frame(struct client *client, bool json)
{
    struct door *d = client->door;
    enum result result =
        conn_send_frame(client->conn, json ? CONN_FRAME_TEXT : CONN_FRAME_BINARY, writer_slice(&d->frame), NULL);
    if (result == RESULT_BUSY)
        conn_close_slow(client->conn, "too slow: reconnect and sync");
}

static void send_error(struct client *client, bool json, uint64_t id, const struct envelope_error *error)
{
    struct door *d = client->door;
    writer_reset(&d->frame);
    if (json) envelope_error_json(&d->frame, id, error);
    else envelope_error(&d->frame, id, error);
    metrics_add(&d->options.metrics->requests_refused, 1);
    send_frame(client, json);
}

static void refuse(struct client *client, bool json, uint64_t id, enum error error, const char *detail,
                   uint32_t retry_after_ms)
{
    char request_id[24];
    snprintf(request_id, sizeof request_id, "%llu", (unsigned long long)id);
    struct envelope_error refusal = {
        .error = error, .detail = detail, .retry_after_ms = retry_after_ms, .request_id = request_id};
    send_error(client, json, id, &refusal);
}

/* Binary frames carry the answer as it is; as JSON it must be what the method answers. */
static void reply_message(struct door *d, struct client *client, const struct inflight *request, const struct letter *letter)
{
    enum result result = RESULT_OK;
    writer_reset(&d->frame);
    if (request->json) result = envelope_response_json(&d->frame, request->request_id, request->method, letter_payload(letter));
    else envelope_response(&d->frame, request->request_id, request->method, letter_payload(letter));
    if (result == RESULT_OK) {
        send_frame(client, request->json);
        return;
    }
    door_note_answer(d, request, letter);
    refuse(client, request->json, request->request_id, ERROR_INTERNAL, NULL, 0);
}

static void reply_socket(struct door *d, struct client *client, const struct inflight *request, const struct letter *letter)
{
    bool json = request->json;
    uint64_t id = request->request_id;
    if (letter->error != ERROR_NONE) {
        char request_id[24];
        snprintf(request_id, sizeof request_id, "%llu", (unsigned long long)id);
        struct slice detail = letter_payload(letter);
        writer_reset(&d->detail);
        writer_raw(&d->detail, detail.data, detail.len);
        writer_u8(&d->detail, 0);
        struct envelope_error error = {.error = (enum error)letter->error,
                                       .detail = detail.len > 0 ? (const char *)d->detail.data : NULL,
                                       .retry_after_ms = letter->retry_after_ms,
                                       .request_id = request_id};
        send_error(client, json, id, &error);
        return;
    }
    reply_message(d, client, request, letter);
}

/* Methods whose answer may be as large as a page. */
static bool answers_page(uint32_t number)
{
#define PAGE_CASE(name, number_, path, owner, field, other_field, access, is_read, is_page, rate) case number_: return is_page;
    switch (number) { METHODS(PAGE_CASE) }
#undef PAGE_CASE
    return false;
}

void door_client_pause(struct client *client)
{
    client->paused = true;
    conn_pause(client->conn);
}

/* Called after each answer, when the queue has drained and when it is held no more: one of them comes after whatever keeps it paused. Before
 * login there is one request at a time, whichever of them it is. */
void door_client_resume(struct client *client)
{
    uint32_t in_flight_max = client->session == NULL ? 0 : DOOR_IN_FLIGHT_MAX / 2;
    bool has_room = client->in_flight <= in_flight_max && client->pages_in_flight < DOOR_PAGES_IN_FLIGHT_MAX &&
                    conn_outbound_bytes(client->conn) <= client->door->options.outbound_soft_bytes;
    bool waits = client->mqtt != NULL && mqtt_waits(client->mqtt);
    if (!client->paused || client->held || !has_room || waits) return;
    client->paused = false;
    conn_resume(client->conn);
}

/* ---- clients of shards that are full ---- */

static void hold(struct client *client, uint16_t shard)
{
    struct door *d = client->door;
    struct door_line *line = &d->lines[shard];
    client->held = true;
    client->held_for = shard;
    client->line_before = line->last;
    client->line_after = NULL;
    if (line->last != NULL) line->last->line_after = client;
    else line->first = client;
    line->last = client;
    d->held_count++;
    metrics_add(&d->options.metrics->clients_held, 1);
    metrics_add(&d->options.metrics->clients_held_ever, 1);
    door_client_pause(client);
}

static void unhold(struct client *client)
{
    if (!client->held) return;
    struct door *d = client->door;
    struct door_line *line = &d->lines[client->held_for];
    if (client->line_before != NULL) client->line_before->line_after = client->line_after;
    else line->first = client->line_after;
    if (client->line_after != NULL) client->line_after->line_before = client->line_before;
    else line->last = client->line_before;
    client->held = false;
    d->held_count--;
    metrics_sub(&d->options.metrics->clients_held, 1);
}

void door_client_asked(struct client *client, uint16_t shard)
{
    const struct door_ports *ports = &client->door->options.ports;
    if (!client->held && ports->is_full(ports->context, shard)) hold(client, shard);
}

/* True: the line goes on next turn. What the released ones ask next is known only then, so they are few at a time. */
static bool release_some(struct door *d, uint16_t shard)
{
    const struct door_ports *ports = &d->options.ports;
    struct door_line *line = &d->lines[shard];
    for (uint32_t n = 0; n < RELEASED_PER_TURN && line->first != NULL; n++) {
        if (ports->is_full(ports->context, shard)) return false;
        struct client *client = line->first;
        unhold(client);
        door_client_resume(client);
    }
    return line->first != NULL;
}

bool door_release(struct door *d)
{
    bool more = false;
    for (uint16_t shard = 0; shard < d->options.shard_count && d->held_count > 0; shard++) more |= release_some(d, shard);
    return more;
}

/* ---- answers to sockets ---- */

void door_note_answer(struct door *d, const struct inflight *request, const struct letter *letter)
{
    metrics_add(&d->options.metrics->letters_refused, 1);
    LOG_ERROR("door", "an answer of another shard that cannot be read shard=%u method=%u bytes=%u", letter->from_shard, request->method,
              letter_payload(letter).len);
}

/* The request is off the table. */
static void answer(struct door *d, const struct inflight *request, const struct letter *letter)
{
    struct conn *conn = server_find(d->server, request->conn);
    metrics_observe(&d->options.metrics->request_ns, d->options.ports.now_ns(d->options.ports.context) - request->started_ns);
    note_refusal(conn, letter);
    if (conn == NULL) return;
    if (request->door == CONN_DOOR_HTTP) {
        door_reply_http(d, conn, request, letter);
    } else {
        struct client *client = client_of(conn);
        ASSERT(client->in_flight > 0); /* each request of the table that names it counts in it */
        client->in_flight--;
        if (client->mqtt != NULL) {
            mqtt_on_reply(client, request, letter);
        } else {
            if (answers_page(request->method)) client->pages_in_flight--;
            reply_socket(d, client, request, letter);
        }
        door_client_resume(client);
    }
}

void door_on_reply(struct door *d, const struct letter *letter)
{
    struct inflight request;
    if (inflight_end(d->inflight, &letter->origin, letter->method, &request)) answer(d, &request, letter);
    else metrics_add(&d->options.metrics->replies_unknown, 1);
}

void door_on_leave(struct door *d, const struct letter *letter)
{
    inflight_leave(d->inflight, &letter->origin, letter->to_shard, d->options.ports.now_ns(d->options.ports.context));
}

uint32_t door_asked(const struct door *d, uint16_t shard) { return inflight_asked(d->inflight, shard); }

#define OVERDUE_TEXT                                                                                                   \
    "a part of the server did not answer in time: the request may have been carried out; a send or a create_room that is repeated "   \
    "with its client id is carried out once"

void door_tick(struct door *d)
{
    struct inflight request;
    while (inflight_overdue(d->inflight, d->options.ports.now_ns(d->options.ports.context), &request)) {
        struct letter *letter = letter_make(LETTER_REPLY, request.away_shard, 0, NULL, SLICE_TEXT(OVERDUE_TEXT));
        letter->method = request.method;
        letter->error = ERROR_NO_ANSWER;
        letter->retry_after_ms = OVERDUE_RETRY_MS;
        metrics_add(&d->options.metrics->requests_overdue, 1);
        answer(d, &request, letter);
        letter_free(letter);
    }
}

/* ---- requests ---- */

struct actor_record door_actor(const struct token_claims *claims)
{
    return (struct actor_record){.user_id = claims->user_id,
                                 .issued_s = claims->issued_s,
                                 .expires_s = claims->expires_s,
                                 .own = claims->own,
                                 .generation = claims->generation,
                                 .device_id = slice_text(claims->device_id),
                                 .platform = slice_text(claims->platform)};
}

/* A request of a socket. False: it was refused, for there are too many under way. */
static bool take(struct client *client, uint16_t method, bool json, uint64_t id, struct origin *origin)
{
    struct inflight request = {.request_id = id, .method = method, .json = json};
    if (door_take(client->door, client->conn, request, origin)) return true;
    if (client->mqtt != NULL) mqtt_on_full(client);
    else refuse(client, json, id, ERROR_SERVER_BUSY, NULL, OVERDUE_RETRY_MS);
    return false;
}

static void post_auth(struct door *d, struct client *client, const struct token_claims *claims, bool json, uint64_t id,
                      struct slice payload)
{
    struct actor_record actor = door_actor(claims);
    struct origin origin;
    if (!take(client, RINGPOST__V1__REQUEST__METHOD_AUTH, json, id, &origin)) return;
    struct letter *letter = letter_make(LETTER_REQUEST, 0, id_partition(claims->user_id), &actor, payload);
    letter->origin = origin;
    letter->method = RINGPOST__V1__REQUEST__METHOD_AUTH;
    letter->admitted = true; /* the handler is the admission */
    letter->number = client->session == NULL ? 0 : client->session->id;
    client->in_flight++;
    door_client_pause(client);
    d->options.ports.post(d->options.ports.context, letter);
}

/* ---- moving home ---- */

struct move { /* payload of a DOOR_MAIL_MOVE, before the packed AuthRequest; it never leaves the process */
    struct conn_handover *handover;
    struct token_claims claims;
    uint64_t request_id;
    bool json, client_json;
    struct mqtt *mqtt;
};

struct departure { /* from conn_detach until the socket is free to go */
    struct door *door;
    struct client *client;
    struct letter *letter;
};

static void on_gone(void *context, struct conn_handover *handover)
{
    struct departure *departure = context;
    struct door *d = departure->door;
    if (handover == NULL) { /* the peer closed meanwhile; on_close frees the client */
        letter_free(departure->letter);
    } else {
        memcpy(departure->letter->bytes + offsetof(struct move, handover), &handover, sizeof handover);
        d->options.ports.post(d->options.ports.context, departure->letter);
        free(departure->client);
    }
    free(departure);
}

static void move_home(struct door *d, struct client *client, const struct token_claims *claims, bool json, uint64_t id,
                      struct slice payload)
{
    ASSERT(client->session == NULL && client->in_flight == 0); /* door_client_resume() */
    struct move move = {.claims = *claims, .request_id = id, .json = json, .client_json = client->json, .mqtt = client->mqtt};
    struct letter *letter =
        letter_create(DOOR_MAIL_MOVE, 0, id_partition(claims->user_id), (uint32_t)sizeof move + payload.len);
    memcpy(letter->bytes, &move, sizeof move);
    if (payload.len > 0) memcpy(letter->bytes + sizeof move, payload.data, payload.len);
    struct departure *departure = memory_alloc(sizeof *departure);
    *departure = (struct departure){d, client, letter};
    conn_detach(client->conn, d->options.ports.io_of(d->options.ports.context, id_partition(claims->user_id)), on_gone, departure);
}

void door_on_move(struct door *d, struct letter *letter)
{
    struct move move;
    memcpy(&move, letter->bytes, sizeof move);
    struct conn *conn = conn_adopt(d->server, move.handover);
    if (conn != NULL) {
        struct client *client = client_create(d, conn, move.client_json);
        client->mqtt = move.mqtt;
        post_auth(d, client, &move.claims, move.json, move.request_id,
                  slice_of(letter->bytes + sizeof move, letter->len - sizeof move));
    } else {
        mqtt_destroy(move.mqtt);
    }
    letter_free(letter);
}

void door_drop_move(struct door *d, struct letter *letter)
{
    struct move move;
    memcpy(&move, letter->bytes, sizeof move);
    conn_handover_free(d->server, move.handover);
    mqtt_destroy(move.mqtt);
    letter_free(letter);
}

void door_enter(struct door *d, struct client *client, const struct token_claims *claims)
{
    bool local = d->options.ports.is_local(d->options.ports.context, id_partition(claims->user_id));
    if (local) post_auth(d, client, claims, false, 0, SLICE_EMPTY);
    else move_home(d, client, claims, false, 0, SLICE_EMPTY);
}

/* ---- frames ---- */

static void on_auth(struct door *d, struct client *client, bool json, const struct envelope_request *request)
{
    struct slice token = SLICE_EMPTY;
    struct token_claims claims;
    enum error error = ERROR_BAD_REQUEST;
    const char *detail = NULL;
    if (envelope_peek_bytes(request->payload, 1, &token) == RESULT_OK) error = door_verify(d, client->conn, token, &claims, &detail);
    if (error == ERROR_NONE && client->session != NULL && claims.user_id != client->session->inbox->entity.key.a) {
        error = ERROR_OTHER_USER;
        door_note_token(client->conn, error_row(error)->reason, claims.user_id);
    }
    if (error != ERROR_NONE) {
        refuse(client, json, request->id, error, detail, 0);
        return;
    }
    if (d->options.ports.is_local(d->options.ports.context, id_partition(claims.user_id)))
        post_auth(d, client, &claims, json, request->id, request->payload);
    else
        move_home(d, client, &claims, json, request->id, request->payload);
}

/* Nobody is logged in yet: accounts only, one at a time. */
static void on_open_method(struct door *d, struct client *client, bool json, const struct envelope_request *request,
                           const struct method *method)
{
    uint16_t shard = 0;
    uint32_t retry_after_ms = 0;
    enum error error = method->route(method, request->payload, 0, d->options.shard_count, &shard);
    if (error == ERROR_TOKEN_INVALID) door_note_token(client->conn, "it is no refresh token", 0);
    if (error == ERROR_NONE && !door_login_allowed(d, client->conn, &retry_after_ms)) error = ERROR_RATE_LIMITED;
    if (error != ERROR_NONE) {
        refuse(client, json, request->id, error, NULL, retry_after_ms);
        return;
    }
    struct origin origin;
    if (!take(client, method->number, json, request->id, &origin)) return;
    struct letter *letter = letter_make(LETTER_REQUEST, 0, shard, NULL, request->payload);
    letter->origin = origin;
    letter->address_class = door_address_class(client->conn);
    letter->method = method->number;
    letter->admitted = true;
    client->in_flight++;
    door_client_pause(client);
    d->options.ports.post(d->options.ports.context, letter);
}

static void on_request(struct door *d, struct client *client, bool json, const struct envelope_request *request)
{
    const struct method *method = method_by_number(ringpost_domain(), request->method);
    metrics_add(&d->options.metrics->requests, 1);
    if (d->options.pages->state == HOST_RECOVERING) {
        refuse(client, json, request->id, ERROR_NOT_READY, NULL, 0);
    } else if (method == NULL) {
        refuse(client, json, request->id, ERROR_UNKNOWN_METHOD, NULL, 0);
    } else if (method->number == RINGPOST__V1__REQUEST__METHOD_AUTH) {
        on_auth(d, client, json, request);
    } else if (method->access == ACCESS_OPEN) {
        on_open_method(d, client, json, request, method);
    } else if (client->session == NULL) {
        refuse(client, json, request->id, ERROR_NOT_AUTHENTICATED, NULL, 0);
    } else {
        struct origin origin;
        if (!take(client, method->number, json, request->id, &origin)) return;
        if (answers_page(method->number)) client->pages_in_flight++;
        if (++client->in_flight >= DOOR_IN_FLIGHT_MAX || client->pages_in_flight >= DOOR_PAGES_IN_FLIGHT_MAX) door_client_pause(client);
        door_client_asked(client, session_request(client->session, method, request->payload, &origin));
    }
}

static void on_frame(void *context, struct conn *conn, enum conn_frame encoding, struct slice payload)
{
    struct door *d = context;
    struct client *client = client_of(conn);
    if (client->mqtt != NULL) {
        mqtt_on_frame(client, payload);
        return;
    }
    struct envelope_request request = {0};
    bool json = encoding == CONN_FRAME_TEXT;
    char text[256] = "";
    enum result result;
    if (json) {
        writer_reset(&d->packed);
        result = envelope_parse_json(&request, payload, &d->packed, text, sizeof text);
    } else {
        result = envelope_parse(&request, payload);
    }
    if (result != RESULT_OK) refuse(client, json, request.id, ERROR_BAD_REQUEST, text[0] == '\0' ? NULL : text, 0);
    else on_request(d, client, json, &request);
}

/* ---- the life of a socket ---- */

enum door_socket door_socket_of(struct slice path)
{
    if (slice_equal(path, SLICE_TEXT("/v1/socket"))) return DOOR_SOCKET_ENVELOPES;
    return slice_equal(path, SLICE_TEXT("/mqtt")) ? DOOR_SOCKET_MQTT : DOOR_SOCKET_NONE;
}

/* Why the WebSocket is refused. NONE: it is not. */
static enum error upgrade_check(struct door *d, const struct conn *conn, const struct http_request *request, const char **detail)
{
    enum door_socket socket = door_socket_of(request->path);
    if (socket == DOOR_SOCKET_NONE) {
        *detail = "WebSockets are served at /v1/socket and, with MQTT, at /mqtt";
        return ERROR_UNKNOWN_METHOD;
    }
    if (d->options.pages->state == HOST_RECOVERING) return ERROR_NOT_READY;
    if (!door_origin_allowed(d, request)) {
        *detail = door_note_origin(d, conn, request);
        return ERROR_ORIGIN_REFUSED;
    }
    if (socket != DOOR_SOCKET_MQTT || websocket_offers(request, MQTT_SUBPROTOCOL)) return ERROR_NONE;
    bool offered = http_request_header(request, "Sec-WebSocket-Protocol").data != NULL;
    if (!offered) *detail = "MQTT begins with the header Sec-WebSocket-Protocol: mqtt, which is missing";
    if (websocket_offers(request, "mqttv3.1")) *detail = "MQTT 3.1 is not spoken here, only 3.1.1 and 5: offer the subprotocol mqtt";
    return ERROR_SUBPROTOCOL_UNKNOWN;
}

/* The subprotocol that is chosen, or NULL. */
static const char *subprotocol_of(const struct http_request *request)
{
    static const char *const known[] = {MQTT_SUBPROTOCOL, SUBPROTOCOL_PROTO, SUBPROTOCOL_JSON};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (websocket_offers(request, known[i])) return known[i];
    return NULL;
}

static bool on_upgrade(void *context, struct conn *conn, const struct http_request *request, const char **subprotocol,
                       struct http_response *refusal)
{
    struct door *d = context;
    const char *detail = NULL;
    enum error error = upgrade_check(d, conn, request, &detail);
    if (error != ERROR_NONE) {
        *refusal = door_refusal(d, conn, error, detail, error == ERROR_NOT_READY ? STARTING_RETRY_MS : 0, NULL, 0);
        return false;
    }
    *subprotocol = subprotocol_of(request);
    bool mqtt = *subprotocol != NULL && strcmp(*subprotocol, MQTT_SUBPROTOCOL) == 0;
    bool json = *subprotocol == NULL || strcmp(*subprotocol, SUBPROTOCOL_JSON) == 0;
    struct client *client = client_create(d, conn, json);
    if (mqtt) client->mqtt = mqtt_create(true);
    return true;
}

static void on_open(void *context, struct conn *conn)
{
    struct door *d = context;
    struct client *client = client_of(conn);
    if (client == NULL) client = client_create(d, conn, false);
    if (conn_door_of(conn) == CONN_DOOR_MQTT) client->mqtt = mqtt_create(false);
    if (client->mqtt != NULL) return; /* there the client speaks first */
    writer_reset(&d->frame);
    envelope_hello(&d->frame, client->json, d->options.heartbeat_interval_ms, d->options.frame_size_max,
                   d->options.authenticate_timeout_ms, d->options.server_version);
    send_frame(client, client->json);
}

static void on_drained(void *context, struct conn *conn)
{
    (void)context;
    struct client *client = client_of(conn);
    if (client == NULL) return;
    if (client->mqtt != NULL) mqtt_on_drained(client);
    else if (client->session != NULL) session_drained(client->session);
    door_client_resume(client);
}

static void on_broken(void *context, struct conn *conn, uint16_t websocket_code)
{
    (void)context;
    mqtt_on_broken(client_of(conn), websocket_code == WEBSOCKET_CODE_TOO_LARGE);
}

static void on_stopping(void *context, struct conn *conn)
{
    (void)context;
    struct client *client = client_of(conn);
    if (client != NULL && client->mqtt != NULL) mqtt_on_stopping(client);
}

static void on_resumed(void *context, struct conn *conn)
{
    (void)context;
    struct client *client = client_of(conn);
    if (client != NULL && client->mqtt != NULL) mqtt_on_resumed(client);
}

static void on_close(void *context, struct conn *conn)
{
    (void)context;
    struct client *client = client_of(conn);
    if (client == NULL) return;
    if (client->mqtt != NULL) mqtt_on_close(client);
    *conn_user(conn) = NULL;
    if (client->session != NULL) session_close(client->session);
    mqtt_destroy(client->mqtt);
    unhold(client);
    free(client);
}

const struct server_events door_events = {
    .on_http = door_on_http,
    .on_upgrade = on_upgrade,
    .on_open = on_open,
    .on_frame = on_frame,
    .on_broken = on_broken,
    .on_drained = on_drained,
    .on_stopping = on_stopping,
    .on_resumed = on_resumed,
    .on_close = on_close,
};

/* ---- ports of the shards ---- */

bool door_session_bind(struct door *d, const struct origin *origin, struct session *session)
{
    const struct inflight *request = inflight_find(d->inflight, origin);
    struct conn *conn = request == NULL ? NULL : server_find(d->server, request->conn);
    if (conn == NULL) return false;
    struct client *client = client_of(conn);
    ASSERT(client->session == NULL || client->session == session);
    client->session = session;
    session->json = client->json;
    session->encodes = client->mqtt != NULL;
    session->connection = client;
    conn_set_authenticated(conn);
    return true;
}

enum result door_session_send(struct door *d, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    struct client *client = session->connection;
    ASSERT(client->mqtt == NULL);
    enum result result = conn_send_frame(client->conn, session->json ? CONN_FRAME_TEXT : CONN_FRAME_BINARY, head, body);
    *above_soft = conn_outbound_bytes(client->conn) > d->options.outbound_soft_bytes;
    return result;
}

void door_session_event(struct session *session, uint64_t sync_key, struct session_event *event)
{
    mqtt_on_event(session->connection, sync_key, event);
}

void door_session_room(struct session *session, struct session_frame *message) { mqtt_on_room(session->connection, message); }

void door_session_missed(struct session *session) { mqtt_on_missed(session->connection); }

void door_session_end(struct door *d, struct session *session, uint16_t close_code, const char *reason)
{
    (void)d;
    struct client *client = session->connection;
    if (client->mqtt != NULL) mqtt_session_ended(client, close_code);
    if (close_code == CLOSE_TOO_SLOW) conn_close_slow(client->conn, reason);
    else conn_close(client->conn, (struct conn_goodbye){close_code, reason});
}
