/* shard/door/mqtt/connect.c - from CONNECT to CONNACK, which packet goes where, and the end.
 * Happy path: CONNECT -> the password is a token, or is turned into one by the method `login` -> the connection moves to its
 * user's home worker like any other -> auth opens the session -> another connection of the same client id ends -> the will is on disk
 * -> what is kept of the MQTT session is opened -> CONNACK. Failure: CONNACK with a reason, then the connection closes. After that MQTT 5
 * hears the reason in DISCONNECT, 3.1.1 just sees the end. */
#include "shard/domain/letters.h"
#include "shard/domain/domain.h"
#include "api/wire.h"
#include "core/clock.h"
#include "core/refusal.h"
#include "net/mqttframe.h"
#include "shard/domain/account/account.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt_internal.h"
#include <stdio.h>

#define DEVICE_OF_THE_NAMELESS "mqtt" /* clients that leave their id to us are one device */
#define NO_EXPIRY_S 4102444800u       /* 2100 */

struct mqtt_door *mqtt_door_create(void)
{
    struct mqtt_door *door = memory_alloc(sizeof *door);
    writer_init(&door->out, 0);
    writer_init(&door->block, 0);
    writer_init(&door->properties, 0);
    for (size_t i = 0; i < COUNT_OF(door->made); i++) writer_init(&door->made[i].packet, 0);
    return door;
}

void mqtt_door_destroy(struct mqtt_door *door)
{
    if (door == NULL) return;
    writer_deinit(&door->out);
    writer_deinit(&door->block);
    writer_deinit(&door->properties);
    for (size_t i = 0; i < COUNT_OF(door->made); i++) writer_deinit(&door->made[i].packet);
    free(door);
}

struct mqtt *mqtt_create(bool websocket)
{
    struct mqtt *mqtt = memory_alloc(sizeof *mqtt);
    mqtt->websocket = websocket;
    mqtt->version = MQTT_3_1_1;
    return mqtt;
}

static void will_forget(struct mqtt *mqtt)
{
    if (mqtt->will == NULL) return;
    writer_deinit(&mqtt->will->packet);
    free(mqtt->will);
    mqtt->will = NULL;
}

static void entry_forget(struct mqtt *mqtt)
{
    if (mqtt->entry == NULL) return;
    free(mqtt->entry->user_name);
    free(mqtt->entry);
    mqtt->entry = NULL;
}

static void input_forget(struct mqtt *mqtt)
{
    if (mqtt->input == NULL) return;
    writer_deinit(&mqtt->input->bytes);
    free(mqtt->input);
    mqtt->input = NULL;
}

void mqtt_destroy(struct mqtt *mqtt)
{
    if (mqtt == NULL) return;
    will_forget(mqtt);
    entry_forget(mqtt);
    input_forget(mqtt);
    mqtt_sender_destroy(mqtt->sender);
    mqtt_subscribing_destroy(mqtt->subscribing);
    mqtt_window_deinit(&mqtt->window);
    free(mqtt->subscriptions);
    free(mqtt->rooms);
    free(mqtt);
}

/* ---- sending and ending --------------------------------------------------------------------------------------------------- */

void mqtt_send(struct client *client)
{
    struct writer *out = &client->door->mqtt->out;
    enum result result = conn_send_frame(client->conn, CONN_FRAME_BINARY, writer_slice(out), NULL);
    writer_reset(out);
    if (result == RESULT_BUSY) mqtt_too_slow(client);
}

/* The session is over for this connection: nothing it hears from now on counts. Once. */
static void give_up_session(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    bool kept = mqtt->begun && !mqtt->given_up && (mqtt_persistent(mqtt) || mqtt->ends_session);
    if (!mqtt->given_up && client->session != NULL) mqtt_close_will(client, client);
    mqtt->given_up = true;
    if (kept) mqtt_save(client, false);
}

void mqtt_too_slow(struct client *client)
{
    client->mqtt->phase = MQTT_ENDED;
    give_up_session(client);
    conn_close_slow(client->conn, "too slow: reconnect");
}

#define PACKET_REST 16 /* of a packet with a reason string, beside the string: its head, ids, codes and lengths */

struct slice mqtt_reason_string(struct client *client, const char *why)
{
    struct writer *block = &client->door->mqtt->block;
    writer_reset(block);
    if (strlen(why) + PACKET_REST <= client->mqtt->packet_size_max) mqtt_put_bytes(block, MQTT_REASON_STRING, slice_text(why));
    return writer_slice(block);
}

void mqtt_end_because(struct client *client, enum mqtt_reason reason, const char *why)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->phase == MQTT_ENDED) return;
    bool serving = mqtt->phase == MQTT_SERVING, connecting = !serving && mqtt->phase != MQTT_FRESH;
    bool told = (serving || connecting) && mqtt->version == MQTT_5 && why != NULL;
    struct writer *out = &client->door->mqtt->out;
    struct slice block = told ? mqtt_reason_string(client, why) : SLICE_EMPTY;
    if (serving && mqtt->version == MQTT_5 && reason != MQTT_SUCCESS) mqtt_encode_disconnect(out, reason, block);
    if (connecting) mqtt_encode_connack(out, (enum mqtt_version)mqtt->version, false, reason, block);
    if (out->len > 0) mqtt_send(client);
    mqtt->phase = MQTT_ENDED;
    give_up_session(client);
    conn_close(client->conn, (struct conn_goodbye){1000, NULL});
}

void mqtt_end(struct client *client, enum mqtt_reason reason) { mqtt_end_because(client, reason, NULL); }

void mqtt_end_when_answered(struct client *client, enum mqtt_reason reason)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->phase != MQTT_SERVING || mqtt_is_answered(mqtt)) {
        mqtt_end(client, reason);
        return;
    }
    if (mqtt->leaving) return;
    mqtt->leaving = true;
    mqtt->leave_reason = (uint8_t)reason;
    mqtt_wait(client);
}

/* A CONNECT that cannot even be taken further. */
static void refuse_connect(struct client *client, enum mqtt_reason reason)
{
    client->mqtt->phase = MQTT_LOGGING_IN; /* CONNACK is owed */
    mqtt_end(client, reason);
}

void mqtt_session_ended(struct client *client, uint16_t close_code)
{
    enum mqtt_reason reason = MQTT_ADMINISTRATIVE;
    if (close_code == CLOSE_NOT_AUTHENTICATED || close_code == CLOSE_REVOKED) reason = MQTT_NOT_AUTHORIZED;
    if (close_code == CLOSE_GOING_AWAY) reason = MQTT_TAKEN_OVER; /* too many sessions of one device: the oldest goes */
    if (close_code == CLOSE_TOO_SLOW) reason = MQTT_QUOTA_EXCEEDED;
    if (close_code == CLOSE_REVOKED && client->mqtt->has_will) { /* who may not speak any more has no last word either */
        mqtt_note_will(client, "device_revoked");
        client->mqtt->will_is_off = true;
    }
    mqtt_end(client, reason);
}

enum mqtt_reason mqtt_reason_of(enum error error)
{
    if (error == ERROR_ROOM_NOT_FOUND) return MQTT_NOT_AUTHORIZED; /* there may be such a room, for others */
    switch (error_row(error)->status) {
    case 200: return MQTT_SUCCESS;
    case 401: return error == ERROR_WRONG_PASSWORD ? MQTT_BAD_CREDENTIALS : MQTT_NOT_AUTHORIZED;
    case 403: return MQTT_NOT_AUTHORIZED;
    case 404: return MQTT_BAD_TOPIC;
    case 400: return MQTT_BAD_PAYLOAD;
    case 413:
    case 429:
    case 503:
    case 507: return MQTT_QUOTA_EXCEEDED;
    case 409: return error == ERROR_ROOM_DISMISSED ? MQTT_NOT_AUTHORIZED : MQTT_IMPLEMENTATION;
    default: return MQTT_UNSPECIFIED;
    }
}

bool mqtt_is_passing(enum error error) { return error == ERROR_SHARD_DAMAGED || error_row(error)->retryable; }

void mqtt_end_unreadable(struct client *client, const struct letter *letter)
{
    struct inflight request = {.method = letter->method};
    door_note_answer(client->door, &request, letter);
    mqtt_end(client, MQTT_UNSPECIFIED);
}

/* ---- asking shards ------------------------------------------------------------------------------------------------------- */

struct letter *mqtt_letter(struct client *client, uint16_t to_shard, uint16_t method, struct slice payload)
{
    const struct session *session = client->session;
    uint16_t home = id_partition(session->inbox->entity.key.a);
    struct actor_record actor = session_actor(session);
    struct letter *letter = letter_make(LETTER_REQUEST, home, to_shard, &actor, payload);
    letter->method = method;
    letter->admitted = true; /* the session's own; what its user asks for goes through session_request() */
    letter->number = session->id;
    return letter;
}

void mqtt_ask(struct client *client, struct letter *letter, uint64_t number)
{
    struct door *d = client->door;
    bool taken = door_take(d, client->conn, (struct inflight){.request_id = number, .method = letter->method}, &letter->origin);
    letter->address_class = door_address_class(client->conn);
    client->in_flight += taken;
    d->options.ports.post(d->options.ports.context, letter); /* a last save must arrive, whether or not somebody hears of it */
    if (!taken) mqtt_on_full(client);
}

void mqtt_on_full(struct client *client) { mqtt_end(client, MQTT_SERVER_BUSY); }

void mqtt_ask_room(struct client *client, enum mqtt_question question, uint64_t room_id, uint64_t number)
{
    struct writer room;
    writer_init(&room, 0);
    writer_u64(&room, room_id);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    uint16_t shard = question == MQTT_ASK_ROOM ? home : id_partition(room_id);
    struct letter *letter = mqtt_letter(client, shard, (uint16_t)question, writer_slice(&room));
    letter->kind = LETTER_MQTT;
    mqtt_ask(client, letter, number);
    writer_deinit(&room);
}

void mqtt_wait(struct client *client) { door_client_pause(client); }

bool mqtt_waits(const struct mqtt *mqtt)
{
    bool connecting = mqtt->phase != MQTT_FRESH && mqtt->phase != MQTT_SERVING;
    return connecting || mqtt->subscribing != NULL || mqtt->looking_up || mqtt->slowed || mqtt->leaving || mqtt->announcing;
}

static struct mqtt_input *input_of(struct mqtt *mqtt)
{
    if (mqtt->input != NULL) return mqtt->input;
    mqtt->input = memory_alloc(sizeof *mqtt->input);
    writer_init(&mqtt->input->bytes, 0);
    return mqtt->input;
}

void mqtt_put_back(struct client *client, struct slice packet)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->input != NULL) return; /* it is there: process() leaves it */
    writer_raw(&input_of(mqtt)->bytes, packet.data, packet.len);
}

struct slice mqtt_client_id(const struct client *client, char out[MQTT_CLIENT_ID_MAX + 1])
{
    const struct mqtt *mqtt = client->mqtt;
    if (!mqtt->nameless) return slice_text(client->session->device_id);
    return slice_of(out, (size_t)snprintf(out, MQTT_CLIENT_ID_MAX + 1, "mqtt-%016llx", (unsigned long long)mqtt->epoch));
}

/* ---- CONNECT --------------------------------------------------------------------------------------------------------------- */

static enum mqtt_reason take_client_id(struct mqtt *mqtt, const struct mqtt_connect *connect)
{
    if (connect->client_id.len > 0) {
        if (!account_device_id_valid(connect->client_id)) return MQTT_BAD_CLIENT_ID;
        ASSERT(connect->client_id.len <= MQTT_CLIENT_ID_MAX);
        memcpy(mqtt->entry->client_id, connect->client_id.data, connect->client_id.len);
        return MQTT_SUCCESS;
    }
    if (connect->version == MQTT_3_1_1 && !connect->clean_start) return MQTT_BAD_CLIENT_ID;
    mqtt->assigned = true;
    return MQTT_SUCCESS;
}

/* The will's properties, but for its delay, which a message has not: that is of the will. */
static void take_will_properties(struct writer *block, const struct mqtt_properties *properties)
{
    struct cursor c = cursor_of(properties->block);
    struct mqtt_property_value property;
    while (mqtt_property_next(&c, &property)) {
        bool text = property.id == MQTT_CONTENT_TYPE || property.id == MQTT_RESPONSE_TOPIC || property.id == MQTT_CORRELATION_DATA;
        bool number = property.id == MQTT_PAYLOAD_FORMAT || property.id == MQTT_MESSAGE_EXPIRY;
        if (text) mqtt_put_bytes(block, (enum mqtt_property)property.id, property.bytes);
        else if (number) mqtt_put_number(block, (enum mqtt_property)property.id, property.number);
        else if (property.id == MQTT_USER_PROPERTY) mqtt_put_user(block, property.bytes, property.value);
    }
}

/* The will is kept as the PUBLISH it will be. One for a topic of another world, as many clients and bridges have by default, is dropped:
 * refused, they would come again for ever and never be of use. */
static void take_will(struct mqtt *mqtt, const struct mqtt_connect *connect)
{
    if (!connect->has_will) return;
    struct mqtt_target target = mqtt_target_of(connect->will.topic);
    mqtt->entry->will_dropped = target.kind == MQTT_TARGET_NONE;
    if (mqtt->entry->will_dropped) return;
    struct mqtt_publish publish = {
        .topic = connect->will.topic, .payload = connect->will.payload, .retain = connect->will.retain};
    struct writer block;
    writer_init(&block, 0);
    take_will_properties(&block, &connect->will.properties);
    publish.properties.block = writer_slice(&block);
    mqtt->will = memory_alloc(sizeof *mqtt->will);
    mqtt->will->target = (struct mqtt_target){.kind = target.kind, .id = target.id};
    ASSERT(target.name.len < sizeof mqtt->will->name);
    if (target.name.len > 0) memcpy(mqtt->will->name, target.name.data, target.name.len);
    mqtt->will->qos = connect->will.qos;
    mqtt->will->delay_s = mqtt_property_number(&connect->will.properties, MQTT_WILL_DELAY, 0);
    writer_init(&mqtt->will->packet, 0);
    mqtt_encode_publish(&mqtt->will->packet, connect->version, &publish, connect->will.payload.len);
    writer_deinit(&block);
}

static enum mqtt_reason take_connect(struct mqtt *mqtt, const struct mqtt_connect *connect)
{
    const struct mqtt_properties *properties = &connect->properties;
    clock_random(&mqtt->epoch, sizeof mqtt->epoch);
    mqtt->entry = memory_alloc(sizeof *mqtt->entry);
    mqtt->version = (uint8_t)connect->version;
    mqtt->bridge = connect->bridge;
    mqtt->entry->clean_start = connect->clean_start;
    mqtt->keep_alive_s = connect->keep_alive_s;
    mqtt->problem_info = mqtt_property_number(properties, MQTT_REQUEST_PROBLEM_INFO, 1) != 0;
    mqtt->packet_size_max = mqtt_property_number(properties, MQTT_MAXIMUM_PACKET_SIZE, UINT32_MAX);
    uint32_t window = mqtt_property_number(properties, MQTT_RECEIVE_MAXIMUM, MQTT_WINDOW_MAX);
    mqtt->window_max = (uint16_t)(window < MQTT_WINDOW_MAX ? window : MQTT_WINDOW_MAX);
    mqtt->expiry_s = connect->clean_start ? 0 : MQTT_EXPIRY_NEVER;
    if (connect->version == MQTT_5) mqtt->expiry_s = mqtt_property_number(properties, MQTT_SESSION_EXPIRY, 0);
    if (mqtt_property_bytes(properties, MQTT_AUTH_METHOD).data != NULL) return MQTT_BAD_AUTH_METHOD;
    if (mqtt_property_bytes(properties, MQTT_AUTH_DATA).data != NULL) return MQTT_PROTOCOL_ERROR;
    if (!connect->has_password) return MQTT_NOT_AUTHORIZED;
    enum mqtt_reason reason = take_client_id(mqtt, connect);
    if (reason == MQTT_SUCCESS) take_will(mqtt, connect);
    if (reason == MQTT_SUCCESS && connect->user_name.len > 0) mqtt->entry->user_name = memory_text(connect->user_name);
    return reason;
}

static bool looks_like_token(struct slice password)
{
    uint32_t dots = 0;
    for (uint32_t i = 0; i < password.len; i++) dots += password.data[i] == '.';
    return dots == 2 && password.len > 3 && memcmp(password.data, "eyJ", 3) == 0;
}

static void enter(struct client *client, const struct token_claims *claims)
{
    client->mqtt->phase = MQTT_AUTHENTICATING;
    door_enter(client->door, client, claims);
}

static void connect_by_token(struct client *client, const struct mqtt_connect *connect)
{
    struct mqtt *mqtt = client->mqtt;
    struct token_claims claims;
    const char *detail;
    enum error error = door_verify(client->door, client->conn, connect->password, &claims, &detail);
    if (error != ERROR_NONE) {
        mqtt_end(client, MQTT_NOT_AUTHORIZED);
        return;
    }
    if (!mqtt->assigned && strcmp(mqtt->entry->client_id, claims.device_id) != 0) {
        door_note_token(client->conn, "the client id is the device, and the token names another", claims.user_id);
        mqtt_end(client, MQTT_BAD_CLIENT_ID);
        return;
    }
    enter(client, &claims);
}

/* The password goes where every password goes: to the method `login`, which gives a token for the device. */
static void connect_by_password(struct client *client, const struct mqtt_connect *connect)
{
    struct door *d = client->door;
    const struct method *method = method_by_number(ringpost_domain(), RINGPOST__V1__REQUEST__METHOD_LOGIN);
    struct slice device = connect->client_id.len > 0 ? connect->client_id : SLICE_TEXT(DEVICE_OF_THE_NAMELESS);
    struct writer login;
    writer_init(&login, 0);
    wire_write_bytes(&login, 1, connect->user_name);
    wire_write_bytes(&login, 2, connect->password);
    wire_write_bytes(&login, 3, device);
    wire_write_bytes(&login, 4, SLICE_TEXT("mqtt"));
    wire_write_u64(&login, 6, client->mqtt->expiry_s == 0); /* nothing of it is kept: it takes no place when it is gone */
    uint16_t shard = 0;
    uint32_t retry_after_ms = 0;
    if (!door_login_allowed(d, client->conn, &retry_after_ms)) {
        mqtt_end(client, MQTT_CONNECTION_RATE);
    } else if (method->route(method, writer_slice(&login), 0, d->options.shard_count, &shard) == ERROR_NONE) {
        client->mqtt->entry->by_password = true;
        client->mqtt->nameless = client->mqtt->assigned;
        struct letter *letter = letter_make(LETTER_REQUEST, 0, shard, NULL, writer_slice(&login));
        letter->method = method->number;
        letter->admitted = true;
        mqtt_wait(client);
        mqtt_ask(client, letter, 0);
    } else {
        mqtt_end(client, MQTT_BAD_CREDENTIALS);
    }
    explicit_bzero(login.data, login.len);
    writer_deinit(&login);
}

static void on_connect(struct client *client, const struct mqtt_connect *connect)
{
    struct mqtt *mqtt = client->mqtt;
    enum mqtt_reason reason = take_connect(mqtt, connect);
    if (client->door->options.pages->state == HOST_RECOVERING) reason = MQTT_SERVER_UNAVAILABLE;
    if (reason != MQTT_SUCCESS) {
        refuse_connect(client, reason);
        return;
    }
    mqtt->phase = MQTT_LOGGING_IN;
    if (looks_like_token(connect->password)) connect_by_token(client, connect);
    else connect_by_password(client, connect);
}

/* ---- the steps to CONNACK ---------------------------------------------------------------------------------------------------- */

static enum mqtt_reason connect_reason(enum error error)
{
    if (error == ERROR_WRONG_PASSWORD || error == ERROR_BAD_FIELD || error == ERROR_BAD_REQUEST) return MQTT_BAD_CREDENTIALS;
    if (error == ERROR_NOT_READY) return MQTT_SERVER_UNAVAILABLE;
    if (error == ERROR_SERVER_BUSY) return MQTT_SERVER_BUSY;
    return mqtt_reason_of(error);
}

static void logged_in(struct client *client, const struct letter *letter)
{
    struct slice token = SLICE_EMPTY;
    struct token_claims claims;
    const char *detail;
    bool fine = envelope_peek_bytes(letter_payload(letter), 2, &token) == RESULT_OK &&
                door_verify(client->door, client->conn, token, &claims, &detail) == ERROR_NONE;
    if (fine) enter(client, &claims);
    else mqtt_end(client, MQTT_UNSPECIFIED);
}

/* The name in CONNECT beside a token is only looked at, but it must be right. */
static bool user_name_fits(const struct client *client)
{
    const struct mqtt *mqtt = client->mqtt;
    const struct inbox *inbox = client->session->inbox;
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)inbox->entity.key.a);
    const struct mqtt_entry *entry = mqtt->entry;
    return entry->user_name == NULL || entry->by_password || strcmp(entry->user_name, inbox->name) == 0 ||
           strcmp(entry->user_name, id) == 0;
}

/* Two connections of one client id: the later one stays. What the earlier one got done is saved first, or the later one would have it
 * again. False: that is under way. */
static bool take_over(struct client *client)
{
    char ids[2][MQTT_CLIENT_ID_MAX + 1];
    struct slice mine = mqtt_client_id(client, ids[0]);
    for (struct session *other = client->session->inbox->sessions; other != NULL; other = other->next) {
        struct client *owner = other->connection;
        if (other == client->session || !other->encodes || !slice_equal(mine, mqtt_client_id(owner, ids[1]))) continue;
        if (owner->mqtt->begun && (mqtt_persistent(owner->mqtt) || owner->mqtt->ends_session)) mqtt_save_for(owner, client);
        mqtt_close_will(owner, client);
        owner->mqtt->given_up = true;
        mqtt_end(owner, MQTT_TAKEN_OVER);
    }
    return client->mqtt->saves_open == 0;
}

static void open_session(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    char id[MQTT_CLIENT_ID_MAX + 1];
    struct mqtt_session_record asked = {.client_id = mqtt_client_id(client, id),
                                        .epoch = mqtt->epoch,
                                        .opens = mqtt->entry->clean_start ? 2 : 1,
                                        .expiry_s = mqtt->expiry_s};
    struct writer payload;
    writer_init(&payload, 0);
    mqtt_session_record_write(&payload, &asked);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    struct letter *letter = mqtt_letter(client, home, MQTT_OPEN_SESSION, writer_slice(&payload));
    letter->kind = LETTER_MQTT;
    mqtt_ask(client, letter, 0);
    writer_deinit(&payload);
}

static void open_after_take_over(struct client *client)
{
    if (take_over(client)) mqtt_open_will(client);
}

static void authenticated(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    if (!user_name_fits(client)) {
        door_note_token(client->conn, "the user name is not that of the token", client->session->inbox->entity.key.a);
        mqtt_end(client, MQTT_BAD_CREDENTIALS);
        return;
    }
    /* Who showed the password needs no token. */
    if (mqtt->entry->by_password) session_set_times(client->session, client->session->issued_s, NO_EXPIRY_S);
    mqtt->phase = MQTT_OPENING;
    if (!mqtt_ask_will(client)) open_after_take_over(client);
}

#define CONNACK_REST 6 /* beside its properties */

/* What the client can do without is left out when it takes no packet so large. */
static void put_if_fits(struct client *client, enum mqtt_property id, uint32_t value)
{
    struct writer *block = &client->door->mqtt->block;
    size_t before = block->len;
    mqtt_put_number(block, id, value);
    if (block->len + CONNACK_REST > client->mqtt->packet_size_max) block->len = before;
}

static void write_connack(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    struct door *d = client->door;
    struct writer *block = &d->mqtt->block;
    writer_reset(block);
    if (mqtt->version == MQTT_5) {
        bool keep = mqtt->keep_alive_s == 0 || mqtt->keep_alive_s > MQTT_KEEP_ALIVE_MAX_S;
        if (keep) mqtt->keep_alive_s = MQTT_KEEP_ALIVE_MAX_S;
        if (keep) mqtt_put_number(block, MQTT_SERVER_KEEP_ALIVE, MQTT_KEEP_ALIVE_MAX_S);
        char id[MQTT_CLIENT_ID_MAX + 1];
        if (mqtt->assigned) mqtt_put_bytes(block, MQTT_ASSIGNED_CLIENT_ID, mqtt_client_id(client, id));
        put_if_fits(client, MQTT_MAXIMUM_PACKET_SIZE, d->options.frame_size_max);
        put_if_fits(client, MQTT_TOPIC_ALIAS_MAXIMUM, MQTT_ALIASES_MAX);
        put_if_fits(client, MQTT_SHARED_AVAILABLE, 0);
    }
    mqtt_encode_connack(&d->mqtt->out, (enum mqtt_version)mqtt->version, mqtt->session_present, MQTT_SUCCESS, writer_slice(block));
    mqtt_send(client);
}

void mqtt_note_will(struct client *client, const char *why)
{
    const struct session *session = client->session;
    struct in6_addr address = conn_address(client->conn);
    metrics_add(&client->door->options.metrics->mqtt_dropped_will, 1);
    refusal_note(REFUSAL_MQTT_WILL, &address, "user_id=%llu device=%s why=%s", (unsigned long long)session->inbox->entity.key.a,
                 session->device_id, why);
}

static void opened(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    struct cursor c = cursor_of(letter_payload(letter));
    mqtt->session_present = cursor_u8(&c) != 0;
    struct mqtt_session_record session;
    if (!mqtt_session_record_read(&session, &c)) {
        mqtt_end_unreadable(client, letter);
        return;
    }
    if (mqtt->session_present) mqtt->old_epoch = session.epoch;
    if (mqtt->session_present) mqtt->publisher = session.publisher != 0 ? session.publisher : session.epoch;
    mqtt->phase = MQTT_SERVING;
    mqtt->begun = true;
    if (mqtt->entry->will_dropped) mqtt_note_will(client, "topic");
    write_connack(client);
    entry_forget(mqtt);
    if (mqtt->phase != MQTT_SERVING) return;
    mqtt_meet_will(client);
    conn_set_keep_alive(client->conn, mqtt->keep_alive_s);
    mqtt_read_subscriptions(mqtt, session.subscriptions);
    mqtt_read_recent(mqtt, session.recent);
    mqtt_begin_delivery(client, &session);
}

static void will_told(struct client *client, uint64_t number, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    if (number == MQTT_WILL_OPENED) {
        struct cursor c = cursor_of(letter_payload(letter));
        mqtt->will_waits = cursor_u8(&c) != 0;
        will_forget(mqtt);
        if (cursor_done(&c)) open_session(client);
        else mqtt_end_unreadable(client, letter);
    } else if (number == MQTT_WILL_MET && letter->error != ERROR_NONE) {
        mqtt_end(client, MQTT_SERVER_BUSY); /* it would be sent while the client is there */
    } /* else: of a connection that this one has taken over */
}

void mqtt_on_reply(struct client *client, const struct inflight *request, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    enum error error = (enum error)letter->error;
    if (mqtt->phase == MQTT_ENDED) return;
    if (mqtt->phase != MQTT_SERVING && error != ERROR_NONE) {
        mqtt_end(client, connect_reason(error));
        return;
    }
    const uint64_t number = request->request_id;
    switch (request->method) {
    case RINGPOST__V1__REQUEST__METHOD_LOGIN: logged_in(client, letter); break;
    case RINGPOST__V1__REQUEST__METHOD_AUTH: authenticated(client); break;
    case RINGPOST__V1__REQUEST__METHOD_USER:
        if (mqtt->phase == MQTT_SERVING) mqtt_looked_up(client, letter);
        else if (mqtt_will_told(client, letter)) open_after_take_over(client);
        else mqtt_end(client, MQTT_UNSPECIFIED);
        break;
    case MQTT_CLEAR_RETAINED:
    case RINGPOST__V1__REQUEST__METHOD_SEND: mqtt_published(client, number, letter); break;
    case RINGPOST__V1__REQUEST__METHOD_HISTORY:
        if (number == 0) mqtt_subscribe_answer(client, letter);
        else mqtt_room_read(client, number, letter);
        break;
    case RINGPOST__V1__REQUEST__METHOD_SYNC: mqtt_synced(client, letter); break;
    case MQTT_OPEN_SESSION: opened(client, letter); break;
    case MQTT_SAVE_SESSION:
        mqtt_saved(client, letter);
        if (mqtt->phase == MQTT_OPENING && mqtt->saves_open == 0) mqtt_open_will(client);
        break;
    case MQTT_WILL: will_told(client, number, letter); break;
    case MQTT_ASK_ROOM:
        if (number == 0) mqtt_room_told(client, letter);
        else mqtt_subscribe_told(client, letter);
        break;
    case MQTT_ASK_RETAINED: mqtt_subscribe_retained(client, letter); break;
    default: ASSERT(!"an answer nobody asked for");
    }
}

/* ---- packets -------------------------------------------------------------------------------------------------------------------- */

static void on_disconnect(struct client *client, const struct mqtt_farewell *farewell)
{
    struct mqtt *mqtt = client->mqtt;
    uint32_t expiry_s = mqtt_property_number(&farewell->properties, MQTT_SESSION_EXPIRY, mqtt->expiry_s);
    if (mqtt->expiry_s == 0 && expiry_s != 0) {
        mqtt_end_when_answered(client, MQTT_PROTOCOL_ERROR);
        return;
    }
    mqtt->ends_session = expiry_s == 0 && mqtt->expiry_s != 0;
    mqtt->expiry_s = expiry_s;
    mqtt->will_is_off = farewell->reason == MQTT_SUCCESS; /* any other says that something is wrong, or asks for the will */
    mqtt_end(client, MQTT_SUCCESS);
}

static void on_packet(struct client *client, struct slice bytes)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_packet packet;
    enum mqtt_reason reason = mqtt_decode(&packet, (enum mqtt_version)mqtt->version, bytes);
    metrics_add(&client->door->options.metrics->requests, 1);
    bool first = mqtt->phase == MQTT_FRESH;
    if (reason == MQTT_UNSUPPORTED_VERSION && first) {
        refuse_connect(client, reason);
        return;
    }
    if (reason == MQTT_SUCCESS && first != (packet.type == MQTT_CONNECT)) reason = MQTT_PROTOCOL_ERROR;
    if (reason != MQTT_SUCCESS) {
        mqtt_end_when_answered(client, reason);
        return;
    }
    switch (packet.type) {
    case MQTT_CONNECT: on_connect(client, &packet.as.connect); break;
    case MQTT_PUBLISH: mqtt_publish(client, &packet.as.publish, bytes); break;
    case MQTT_PUBREL:
        mqtt_released(mqtt, packet.as.ack.packet_id);
        mqtt_encode_ack(&client->door->mqtt->out, (enum mqtt_version)mqtt->version, MQTT_PUBCOMP, packet.as.ack.packet_id,
                        MQTT_SUCCESS, SLICE_EMPTY);
        mqtt_send(client);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP: mqtt_acknowledged(client, packet.type, &packet.as.ack); break;
    case MQTT_SUBSCRIBE: mqtt_subscribe(client, &packet.as.subscribe); break;
    case MQTT_UNSUBSCRIBE: mqtt_unsubscribe(client, &packet.as.subscribe); break;
    case MQTT_PINGREQ:
        mqtt_window_rest(&mqtt->window);
        mqtt_encode_pingresp(&client->door->mqtt->out);
        mqtt_send(client);
        break;
    case MQTT_DISCONNECT: on_disconnect(client, &packet.as.farewell); break;
    case MQTT_AUTH: mqtt_end_when_answered(client, MQTT_PROTOCOL_ERROR); break; /* no method was agreed on */
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP: ASSERT(!"decoded for a server only"); break;
    }
}

/* The next whole packet of `input`; false: there is none. */
static bool next_packet(struct client *client, struct slice *packet)
{
    const struct mqtt_input *input = client->mqtt->input;
    struct slice rest = slice_of(input->bytes.data + input->at, input->bytes.len - input->at);
    uint32_t size = mqttframe_size(rest);
    if (size == UINT32_MAX || size > client->door->options.frame_size_max) {
        mqtt_end_when_answered(client, size == UINT32_MAX ? MQTT_MALFORMED : MQTT_PACKET_TOO_LARGE);
        return false;
    }
    *packet = slice_of(rest.data, size);
    return size > 0 && size <= rest.len;
}

/* Takes packets from `input` until one is incomplete or something must be waited for. */
static void process(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    struct slice packet;
    while (mqtt->input->at < mqtt->input->bytes.len && mqtt->phase != MQTT_ENDED && !mqtt_waits(mqtt) && !client->paused) {
        if (!next_packet(client, &packet)) break;
        on_packet(client, packet);
        /* This packet is taken again: when the name is known, when the rate allows, when the session says that this connection publishes. */
        if (mqtt->looking_up || mqtt->slowed || mqtt->announcing) break;
        mqtt->input->at += packet.len;
    }
    struct writer *bytes = &mqtt->input->bytes;
    bytes->len -= mqtt->input->at;
    if (bytes->len > 0) memmove(bytes->data, bytes->data + mqtt->input->at, bytes->len); /* a part stays */
    mqtt->input->at = 0;
    if (bytes->len == 0) input_forget(mqtt);
}

void mqtt_on_frame(struct client *client, struct slice payload)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->phase == MQTT_ENDED) return;
    if (!mqtt->websocket && mqtt->input == NULL) {
        on_packet(client, payload);
        return;
    }
    writer_raw(&input_of(mqtt)->bytes, payload.data, payload.len);
    process(client);
}

void mqtt_on_resumed(struct client *client)
{
    if (client->mqtt->input != NULL) process(client);
}

void mqtt_on_broken(struct client *client, bool too_large)
{
    mqtt_end_when_answered(client, too_large ? MQTT_PACKET_TOO_LARGE : MQTT_MALFORMED);
}

void mqtt_on_stopping(struct client *client)
{
    enum mqtt_phase phase = (enum mqtt_phase)client->mqtt->phase;
    if (phase != MQTT_FRESH) mqtt_end(client, phase == MQTT_SERVING ? MQTT_SHUTTING_DOWN : MQTT_SERVER_UNAVAILABLE);
}

void mqtt_on_close(struct client *client)
{
    if (client->session == NULL) return;
    mqtt_stop_slowing(client);
    give_up_session(client);
}
