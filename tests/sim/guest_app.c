/* tests/sim/guest_app.c - the app of a guest: registers, logs in, sends, syncs; one request at a time, over TCP or WebSocket.
 * What it sends it sends again under the same client_msg_id until it is answered; where it stands in its stream it keeps. */
#include "sim/guests_internal.h"
#include "core/check.h"
#include "net/websocket.h"
#include "sim/report.h"
#include <stdio.h>
#include <string.h>

#define PATIENCE_NS  20000000u
#define ANSWER_NS    UINT64_C(45000000000) /* what a door gives other shards, and then some */
#define FRAME_MAX    65536u
#define METHOD(NAME) RINGPOST__V1__REQUEST__METHOD_##NAME

/* ---- frames ----------------------------------------------------------------------------------------------------------------- */

static const char handshake[] = "GET /v1/socket HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Protocol: ringpost.v1.proto\r\n\r\n";

static void connect_app(struct guests *g, struct guest *guest)
{
    struct app_of_guest *app = &guest->app;
    line_open(g->world, &app->line);
    app->websocket = dice_one_in(&g->world->dice, 2);
    app->greeted = app->authenticated = false;
    app->asked = 0;
    if (app->websocket) wire_send(app->line.wire, slice_text(handshake));
    else wire_send(app->line.wire, SLICE_TEXT("RPT1"));
    TRACE("the app of guest %u connects%s", guest->number, app->websocket ? " by WebSocket" : "");
}

static void put_head(struct writer *out, uint8_t opcode, uint32_t len)
{
    uint8_t head[WEBSOCKET_HEAD_SIZE_MAX];
    uint32_t size = websocket_write_head(head, (enum websocket_opcode)opcode, len);
    head[1] |= 0x80;
    writer_raw(out, head, size);
    writer_u32(out, 0); /* a mask that changes nothing */
}

static void send_frame(struct app_of_guest *app, uint8_t opcode, struct slice frame)
{
    struct writer out;
    writer_init(&out, 0);
    if (app->websocket) {
        put_head(&out, opcode, frame.len);
    } else {
        const uint8_t head[4] = {(uint8_t)(frame.len >> 24), (uint8_t)(frame.len >> 16), (uint8_t)(frame.len >> 8), (uint8_t)frame.len};
        writer_raw(&out, head, sizeof head);
    }
    writer_raw(&out, frame.data, frame.len);
    wire_send(app->line.wire, writer_slice(&out));
    writer_deinit(&out);
}

static bool next_tcp(struct line *line, struct slice *frame)
{
    struct slice rest = line_rest(line);
    if (rest.len < 4) return false;
    uint32_t len = (uint32_t)rest.data[0] << 24 | (uint32_t)rest.data[1] << 16 | (uint32_t)rest.data[2] << 8 | rest.data[3];
    EXPECT(len <= FRAME_MAX, "a frame of %u bytes", len);
    if (rest.len - 4 < len) return false;
    *frame = slice_of(rest.data + 4, len);
    line->in_at += 4 + len;
    return true;
}

static bool next_websocket(struct app_of_guest *app, struct slice *frame, uint8_t *opcode)
{
    struct slice rest = line_rest(&app->line);
    if (rest.len < 2) return false;
    EXPECT((rest.data[0] & 0x70) == 0 && (rest.data[1] & 0x80) == 0 && (rest.data[0] & 0x80) != 0, "no frame of a WebSocket server");
    uint32_t len = rest.data[1], head = 2;
    if (len == 126) head = 4;
    EXPECT(len != 127, "a frame of more than 65535 bytes");
    if (rest.len < head) return false;
    if (len == 126) len = (uint32_t)rest.data[2] << 8 | rest.data[3];
    if (rest.len - head < len) return false;
    *opcode = rest.data[0] & 15;
    *frame = slice_of(rest.data + head, len);
    app->line.in_at += head + len;
    return true;
}

/* The answer to the handshake; false: not yet whole, or it came too late, or the server stops. */
static bool shakes_hands(struct app_of_guest *app)
{
    struct slice rest = line_rest(&app->line);
    const uint8_t *end = rest.len == 0 ? NULL : memmem(rest.data, rest.len, "\r\n\r\n", 4);
    if (end == NULL) return false;
    bool upgraded = memcmp(rest.data, "HTTP/1.1 101", 12) == 0;
    EXPECT(upgraded || memcmp(rest.data, "HTTP/1.1 503", 12) == 0 || memcmp(rest.data, "HTTP/1.1 408", 12) == 0, "the WebSocket is refused: %.60s", (const char *)rest.data);
    if (!upgraded) return false;
    app->line.in_at += (size_t)(end - rest.data) + 4;
    return true;
}

/* ---- asking ------------------------------------------------------------------------------------------------------------------ */

static void ask(const struct guests *g, struct app_of_guest *app, Ringpost__V1__Request *request)
{
    uint8_t bytes[4096];
    Ringpost__V1__Envelope envelope = RINGPOST__V1__ENVELOPE__INIT;
    request->id = app->next_id++;
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_REQUEST;
    envelope.request = request;
    size_t len = ringpost__v1__envelope__get_packed_size(&envelope);
    ASSERT(len <= sizeof bytes);
    ringpost__v1__envelope__pack(&envelope, bytes);
    app->asked = (int)request->method_case;
    app->asked_id = request->id;
    app->asked_ns = g->world->now_ns;
    send_frame(app, WEBSOCKET_BINARY, slice_of(bytes, len));
}

#define ASK(guests_, app_, NAME, field, message)                                                                               \
    do {                                                                                                               \
        Ringpost__V1__Request request_ = RINGPOST__V1__REQUEST__INIT;                                                  \
        request_.method_case = METHOD(NAME);                                                                           \
        request_.field = (message);                                                                                    \
        ask(guests_, app_, &request_);                                                                                       \
    } while (0)

static void ask_register(const struct guests *g, struct guest *guest)
{
    Ringpost__V1__RegisterRequest in = RINGPOST__V1__REGISTER_REQUEST__INIT;
    in.name = guest->name;
    in.password = (char *)(uintptr_t)GUEST_PASSWORD;
    ASK(g, &guest->app, REGISTER, register_, &in);
}

static void ask_login(const struct guests *g, struct guest *guest)
{
    Ringpost__V1__LoginRequest in = RINGPOST__V1__LOGIN_REQUEST__INIT;
    in.name = guest->name;
    in.password = (char *)(uintptr_t)GUEST_PASSWORD;
    in.device_id = (char *)(uintptr_t)"app";
    ASK(g, &guest->app, LOGIN, login, &in);
}

static void ask_auth(const struct guests *g, struct guest *guest)
{
    Ringpost__V1__AuthRequest in = RINGPOST__V1__AUTH_REQUEST__INIT;
    in.access_token = guest->app.token;
    ASK(g, &guest->app, AUTH, auth, &in);
}

static void ask_sync(const struct guests *g, struct guest *guest)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    in.sync_key = guest->app.sync_key;
    in.limit = 7;
    guest->app.wants_sync = false; /* what is told meanwhile is told anew */
    ASK(g, &guest->app, SYNC, sync, &in);
}

static void ask_group(const struct guests *g, struct guest *guest)
{
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    uint64_t members[GUESTS_MAX];
    for (uint32_t i = 1; i < GUESTS_MAX; i++) members[in.n_member_ids++] = g->guests[i].user_id;
    in.name = (char *)(uintptr_t)"all";
    in.client_room_id = (char *)(uintptr_t)"all";
    in.member_ids = members;
    ASK(g, &guest->app, CREATE_ROOM, create_room, &in);
}

static void ask_send(const struct guests *g, struct guest *guest)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    uint32_t number = guest->app.sending - 1;
    const struct said *said = &g->saids[number];
    char id[16], text[400];
    snprintf(id, sizeof id, "a%u", number);
    struct slice body = guests_body(number, text);
    if (said->to == TO_GROUP) in.room_id = g->group_id;
    else in.to_user_id = g->guests[said->to].user_id;
    in.client_msg_id = id;
    in.kind = RINGPOST__V1__MESSAGE_KIND__TEXT;
    in.body = (ProtobufCBinaryData){body.len, (uint8_t *)(uintptr_t)body.data};
    TRACE("the app of guest %u sends m%u", guest->number, number);
    ASK(g, &guest->app, SEND, send, &in);
}

/* ---- doing -------------------------------------------------------------------------------------------------------------------- */

/* The group is made when everybody listens to all rooms: a large one that there was before is followed only from the first message on that comes
 * while the thing is there. */
static bool all_listen(const struct guests *g)
{
    bool all = true;
    for (uint32_t i = 0; i < GUESTS_MAX; i++) all &= g->guests[i].user_id != 0 && g->guests[i].thing.subscribed;
    return all;
}

static void say_something(struct guests *g, struct guest *guest)
{
    uint32_t to = dice_below(&g->world->dice, GUESTS_MAX);
    bool possible = to == guest->number ? g->group_id != 0 : g->guests[to].user_id != 0;
    if (possible) guest->app.sending = 1 + guests_say(g, guest, to == guest->number ? TO_GROUP : to, UINT8_MAX, false);
}

void app_lose(struct guests *g, struct guest *guest, bool politely)
{
    line_close(g->world, &guest->app.line, politely);
    guest->app.asked = 0;
    guest->app.greeted = guest->app.authenticated = false;
}

void app_step(struct guests *g, struct guest *guest)
{
    struct app_of_guest *app = &guest->app;
    struct world *w = g->world;
    EXPECT(app->asked == 0 || w->now_ns - app->asked_ns < ANSWER_NS, "request %d of guest %u is not answered", app->asked, guest->number);
    if (w->now_ns < app->patience_ns) return;
    if (app->line.wire == NULL) {
        connect_app(g, guest);
    } else if (!w->settling && dice_one_in(&w->dice, 60)) {
        TRACE("the app of guest %u breaks off", guest->number);
        app_lose(g, guest, dice_one_in(&w->dice, 2));
    } else if (app->greeted && app->asked == 0) {
        if (!app->registered) ask_register(g, guest);
        else if (app->token[0] == '\0') ask_login(g, guest);
        else if (!app->authenticated) ask_auth(g, guest);
        else if (app->wants_sync) ask_sync(g, guest);
        else if (guest->number == 0 && g->group_id == 0 && all_listen(g)) ask_group(g, guest);
        else if (app->sending == 0 && !w->settling && dice_one_in(&w->dice, 3)) say_something(g, guest);
        else if (app->sending != 0) ask_send(g, guest);
    }
}

bool app_is_content(const struct guest *guest)
{
    const struct app_of_guest *app = &guest->app;
    return app->authenticated && app->asked == 0 && !app->wants_sync && app->sending == 0;
}

/* ---- hearing ------------------------------------------------------------------------------------------------------------------ */

static struct app_stream_room *room_of(struct app_of_guest *app, uint64_t room_id)
{
    uint32_t at = 0;
    while (at < GUEST_ROOMS && app->rooms[at].room_id != room_id && app->rooms[at].room_id != 0) at++;
    EXPECT(at < GUEST_ROOMS, "room %lx is one too many", (unsigned long)room_id);
    app->rooms[at].room_id = room_id;
    return &app->rooms[at];
}

static void hear_message(struct guests *g, struct guest *guest, const Ringpost__V1__Message *m)
{
    struct app_stream_room *room = room_of(&guest->app, m->room_id);
    uint32_t said = guests_said_of(g, slice_of(m->body.data, m->body.len));
    EXPECT(m->seq == room->last_seq + 1, "the app of guest %u hears m%u, seq %lu of room %lx, after seq %lu", guest->number, said,
           (unsigned long)m->seq, (unsigned long)m->room_id, (unsigned long)room->last_seq);
    room->last_seq = m->seq;
}

static void hear_event(struct guests *g, struct guest *guest, const Ringpost__V1__Event *event)
{
    struct app_of_guest *app = &guest->app;
    if (event->sync_key > app->sync_key + 1) app->wants_sync = true;
    if (event->sync_key != app->sync_key + 1) return;
    app->sync_key = event->sync_key;
    report_hash_u64(event->sync_key, guest->number);
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_MESSAGE) hear_message(g, guest, event->message);
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_ROOM && event->room->room != NULL)
        room_of(app, event->room->room->room_id)->large |= event->room->room->large;
}

static void hear_push(struct guests *g, struct guest *guest, const Ringpost__V1__Push *push)
{
    if (push->kind_case == RINGPOST__V1__PUSH__KIND_EVENT) hear_event(g, guest, push->event);
    if (push->kind_case == RINGPOST__V1__PUSH__KIND_BEHIND) guest->app.wants_sync = true;
}

static void hear_synced(struct guests *g, struct guest *guest, const Ringpost__V1__SyncResponse *synced)
{
    EXPECT(!synced->reset, "the stream of guest %u is reset", guest->number);
    for (size_t i = 0; i < synced->n_events; i++) {
        bool next = synced->events[i]->sync_key <= guest->app.sync_key + 1;
        EXPECT(next, "event %lu of guest %u is missing in a sync", (unsigned long)guest->app.sync_key + 1, guest->number);
        hear_event(g, guest, synced->events[i]);
    }
    EXPECT(guest->app.sync_key >= synced->sync_key, "a sync of guest %u ends at %lu without its events", guest->number,
           (unsigned long)synced->sync_key);
    guest->app.wants_sync |= synced->has_more != 0;
}

static void hear_refusal(struct guests *g, struct guest *guest, int asked, const Ringpost__V1__Error *error)
{
    struct app_of_guest *app = &guest->app;
    const char *reason = error->reason;
    bool token = strncmp(reason, "token_", 6) == 0 || strcmp(reason, "not_authenticated") == 0 || strcmp(reason, "device_revoked") == 0;
    app->patience_ns = g->world->now_ns + PATIENCE_NS + error->retry_after_ms * 1000000ull;
    TRACE("the app of guest %u is refused: %s", guest->number, reason);
    EXPECT(strcmp(reason, "client_id_conflict") != 0 && strcmp(reason, "bad_request") != 0 && strcmp(reason, "unknown_method") != 0,
           "what guest %u asks (%d) is refused: %s", guest->number, asked, reason);
    app->wants_sync |= asked == METHOD(SYNC);
    if (token) app->token[0] = '\0';
    if (token) app->authenticated = false;
    if (asked == METHOD(REGISTER) && strcmp(reason, "name_taken") == 0) app->registered = true;
    if (token || error->retryable || strcmp(reason, "shard_damaged") == 0) return;
    if (asked == METHOD(SEND)) {
        g->saids[app->sending - 1].refused = true;
        app->sending = 0;
    }
}

static void hear_success(struct guests *g, struct guest *guest, int asked, const Ringpost__V1__Response *response)
{
    struct app_of_guest *app = &guest->app;
    EXPECT((int)response->result_case == asked, "an answer of another method");
    if (asked == METHOD(REGISTER)) app->registered = true;
    if (asked == METHOD(LOGIN)) snprintf(app->token, sizeof app->token, "%s", response->login->access_token);
    if (asked == METHOD(AUTH)) {
        EXPECT(guest->user_id == 0 || guest->user_id == response->auth->user_id, "guest %u is somebody else now", guest->number);
        EXPECT(response->auth->sync_key >= app->sync_key, "the stream of guest %u ends at %lu and was heard up to %lu", guest->number,
               (unsigned long)response->auth->sync_key, (unsigned long)app->sync_key);
        guest->user_id = response->auth->user_id;
        app->authenticated = true;
        app->wants_sync = true;
    }
    if (asked == METHOD(SYNC)) hear_synced(g, guest, response->sync);
    if (asked == METHOD(CREATE_ROOM)) g->group_id = response->create_room->room->room_id;
    if (asked != METHOD(SEND)) return;
    g->saids[app->sending - 1].acked = true;
    app->sending = 0;
}

static void hear_response(struct guests *g, struct guest *guest, const Ringpost__V1__Response *response)
{
    struct app_of_guest *app = &guest->app;
    int asked = app->asked;
    EXPECT(asked != 0 && response->id == app->asked_id, "the app of guest %u gets an answer to request %lu and waits for %lu", guest->number,
           (unsigned long)response->id, (unsigned long)app->asked_id);
    app->asked = 0;
    report_hash_u64(response->id, response->error != NULL);
    if (response->error != NULL) hear_refusal(g, guest, asked, response->error);
    else hear_success(g, guest, asked, response);
}

static void hear_frame(struct guests *g, struct guest *guest, struct slice frame)
{
    if (frame.len == 0) return; /* a heartbeat */
    Ringpost__V1__Envelope *envelope = ringpost__v1__envelope__unpack(NULL, frame.len, frame.data);
    EXPECT(envelope != NULL, "a frame of %u bytes is no envelope", frame.len);
    if (envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_HELLO) guest->app.greeted = true;
    if (envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_PUSH) hear_push(g, guest, envelope->push);
    if (envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_RESPONSE) hear_response(g, guest, envelope->response);
    ringpost__v1__envelope__free_unpacked(envelope, NULL);
}

/* False: no further frame is whole. */
static bool hear_next(struct guests *g, struct guest *guest)
{
    struct app_of_guest *app = &guest->app;
    struct slice frame;
    uint8_t opcode = WEBSOCKET_BINARY;
    if (!(app->websocket ? next_websocket(app, &frame, &opcode) : next_tcp(&app->line, &frame))) return false;
    if (opcode == WEBSOCKET_BINARY) hear_frame(g, guest, frame);
    else if (opcode == WEBSOCKET_PING) send_frame(app, WEBSOCKET_PONG, frame);
    else if (opcode == WEBSOCKET_CLOSE) send_frame(app, WEBSOCKET_CLOSE, slice_of(frame.data, frame.len < 2 ? frame.len : 2));
    return app->line.wire != NULL;
}

void app_read(struct guests *g, struct guest *guest, uint32_t most)
{
    struct app_of_guest *app = &guest->app;
    if (app->line.wire == NULL) return;
    bool shaken = !app->websocket || app->line.in_at > 0;
    wire_receive(app->line.wire, &app->line.in, most);
    if (!shaken) shaken = shakes_hands(app);
    while (shaken && app->line.wire != NULL && hear_next(g, guest)) continue;
    if (app->line.wire == NULL || !wire_is_over(app->line.wire)) return;
    TRACE("the app of guest %u is left alone", guest->number);
    app_lose(g, guest, true);
}
