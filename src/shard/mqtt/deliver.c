/* shard/mqtt/deliver.c - messages to the client, out of its user's stream, never more than its window at a time.
 * Happy path: an event is pushed whose sync_key is the next -> it matches a subscription -> PUBLISH -> acknowledged -> the cursor
 * moves. Whatever is pushed when the window is full, or out of turn, is forgotten: known_key remembers that there is more, and as
 * soon as there is room the stream is asked for what comes after sent_key. So there is no queue, and a client that was away is
 * nothing special.
 *
 *   saved_key <= acknowledged <= sent_key <= known_key          persistent session: saved at most every second while it moves,
 *   durable     all done         handed on   heard of           when the connection ends, and before each PUBREL
 *
 * Large rooms have no entries in the stream: their messages are handed on as they come, with QoS 0. */
#include "api/wire.h"
#include "shard/memory.h"
#include "shard/mqtt/mqtt_internal.h"
#include "shard/room/view.h"
#include <stdio.h>

#define SAVE_PERIOD_MS  1000
#define PULL_EVENTS_MAX 100
#define PACKET_IDS      65535u

enum push_field { ENVELOPE_PUSH = 3, PUSH_EVENT = 1, PUSH_ROOM_MESSAGE = 2, PUSH_BEHIND = 5 };
enum event_field { EVENT_SYNC_KEY_FIELD = 1, EVENT_MESSAGE_FIELD = 2 };
enum sync_field { SYNC_EVENTS = 1, SYNC_SYNC_KEY = 2, SYNC_HAS_MORE = 3, SYNC_RESET = 4 };

static uint64_t now_ms(const struct client *client)
{
    return client->door->options.ports.now_ms(client->door->options.ports.context);
}

bool mqtt_message_read(struct mqtt_message *out, struct slice packed)
{
    *out = (struct mqtt_message){0};
    struct cursor c = cursor_of(packed);
    struct wire_field field;
    while (wire_next(&c, &field)) {
        switch (field.number) {
        case 1: out->msg_id = field.value; break;
        case 2: out->room_id = field.value; break;
        case 3: out->seq = field.value; break;
        case 4: out->sender_id = field.value; break;
        case 5: out->sender_name = field.bytes; break;
        case 6: out->time_ms = field.value; break;
        case 7: out->kind = (uint32_t)field.value; break;
        case 8: out->body = field.bytes; break;
        case 9: out->client_msg_id = field.bytes; break;
        default: break;
        }
    }
    return !c.bad;
}

/* ---- one message as a PUBLISH ------------------------------------------------------------------------------------------------ */

static void put_user_number(struct writer *block, const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    mqtt_put_user(block, slice_text(name), slice_text(text));
}

/* The response topic is where an answer goes: to the room, or to the one who wrote. */
static void write_properties(struct writer *block, const struct mqtt_message *message, bool direct)
{
    char answer[32];
    snprintf(answer, sizeof answer, "%s/%llu", direct ? "u" : "r",
             (unsigned long long)(direct ? message->sender_id : message->room_id));
    bool text = message->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || message->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI;
    if (text) mqtt_put_number(block, MQTT_PAYLOAD_FORMAT, 1);
    if (text) mqtt_put_bytes(block, MQTT_CONTENT_TYPE, SLICE_TEXT("text/plain"));
    mqtt_put_bytes(block, MQTT_RESPONSE_TOPIC, slice_text(answer));
    put_user_number(block, "from", message->sender_id);
    mqtt_put_user(block, SLICE_TEXT("from_name"), message->sender_name);
    put_user_number(block, "room_id", message->room_id);
    put_user_number(block, "msg_id", message->msg_id);
    put_user_number(block, "seq", message->seq);
    put_user_number(block, "time_ms", message->time_ms);
    mqtt_put_user(block, SLICE_TEXT("client_msg_id"), message->client_msg_id);
    if (message->kind < MQTT_KIND_COUNT)
        mqtt_put_user(block, SLICE_TEXT("kind"), slice_text(mqtt_kind_names[message->kind]));
}

/* `publish` has all but its properties. False: the client said it takes no packet so large; it goes without. */
static bool send_publish(struct client *client, struct mqtt_publish *publish, const struct mqtt_message *message, bool direct)
{
    struct mqtt *mqtt = client->mqtt;
    struct door *d = client->door;
    enum mqtt_version version = (enum mqtt_version)mqtt->version;
    writer_reset(&d->mqtt_block);
    if (version == MQTT_5) write_properties(&d->mqtt_block, message, direct);
    publish->properties.block = writer_slice(&d->mqtt_block);
    if (mqtt_publish_size(version, publish, message->body.len) > mqtt->packet_size_max) return false;
    mqtt_encode_publish_head(&d->mqtt_out, version, publish, message->body.len);
    writer_raw(&d->mqtt_out, message->body.data, message->body.len);
    mqtt_send(client);
    return true;
}

static struct slice topic_of(const struct client *client, uint8_t kind, uint64_t room_id, char out[MQTT_TOPIC_MAX])
{
    const struct inbox *inbox = client->session->inbox;
    if (kind == MQTT_MY_NAME) snprintf(out, MQTT_TOPIC_MAX, "u/%s", inbox->name);
    else if (kind == MQTT_MY_ID) snprintf(out, MQTT_TOPIC_MAX, "u/%llu", (unsigned long long)inbox->entity.key.a);
    else snprintf(out, MQTT_TOPIC_MAX, "r/%llu", (unsigned long long)room_id);
    return slice_text(out);
}

void mqtt_send_retained(struct client *client, const struct mqtt_message *message)
{
    char topic[MQTT_TOPIC_MAX];
    struct mqtt_publish publish = {.topic = topic_of(client, MQTT_ROOM, message->room_id, topic), .retain = true};
    (void)send_publish(client, &publish, message, false);
}

/* ---- matching ------------------------------------------------------------------------------------------------------------------ */

static bool listens(const struct mqtt *mqtt, const struct mqtt_subscription *subscription, const struct mqtt_message *message,
                    bool direct, uint64_t sync_key)
{
    if (sync_key <= subscription->since_key) return false;
    if (subscription->no_local && mqtt_is_own(mqtt, message->client_msg_id)) return false;
    bool mine = subscription->kind == MQTT_MY_ID || subscription->kind == MQTT_MY_NAME;
    if (direct || mine) return direct && mine;
    return subscription->kind == MQTT_ALL_ROOMS || subscription->room_id == message->room_id;
}

/* Of all subscriptions that match the one with the highest QoS; NULL: nobody listens. */
static const struct mqtt_subscription *match(const struct client *client, const struct mqtt_message *message, bool direct,
                                             uint64_t sync_key)
{
    const struct mqtt *mqtt = client->mqtt;
    const struct mqtt_subscription *best = NULL;
    if (direct && message->sender_id == client->session->inbox->entity.key.a) return NULL; /* it went to the other one */
    for (uint32_t i = 0; i < mqtt->subscription_count; i++) {
        const struct mqtt_subscription *subscription = &mqtt->subscriptions[i];
        if (!listens(mqtt, subscription, message, direct, sync_key)) continue;
        if (best == NULL || subscription->qos > best->qos) best = subscription;
    }
    return best;
}

/* ---- flights ------------------------------------------------------------------------------------------------------------------- */

static struct mqtt_flight *flight_find(struct mqtt *mqtt, uint16_t packet_id)
{
    for (uint32_t i = 0; i < mqtt->flight_count; i++)
        if (mqtt->flights[i].packet_id == packet_id) return &mqtt->flights[i];
    return NULL;
}

static void flight_add(struct mqtt *mqtt, uint64_t sync_key, uint16_t packet_id, enum mqtt_flight_state state)
{
    ASSERT(mqtt->flight_count < MQTT_WINDOW_MAX);
    if (mqtt->flights == NULL) mqtt->flights = memory_alloc(MQTT_WINDOW_MAX * sizeof *mqtt->flights);
    mqtt->flights[mqtt->flight_count++] =
        (struct mqtt_flight){.sync_key = sync_key, .packet_id = packet_id, .state = (uint8_t)state};
}

static void flight_remove(struct mqtt *mqtt, struct mqtt_flight *flight)
{
    struct mqtt_flight *last = &mqtt->flights[--mqtt->flight_count];
    memmove(flight, flight + 1, (size_t)((char *)last - (char *)flight)); /* in the order of the stream: so leave the PUBRELs */
    if (mqtt->flight_count > 0) return;
    free(mqtt->flights); /* an idle connection holds nothing */
    mqtt->flights = NULL;
}

static uint64_t acknowledged_key(const struct mqtt *mqtt)
{
    uint64_t key = mqtt->sent_key;
    for (uint32_t i = 0; i < mqtt->flight_count; i++) {
        const struct mqtt_flight *flight = &mqtt->flights[i];
        bool open = flight->state == MQTT_WAIT_PUBACK || flight->state == MQTT_WAIT_PUBREC;
        if (open && flight->sync_key <= key) key = flight->sync_key - 1;
    }
    return key;
}

static bool may_send(const struct client *client)
{
    const struct mqtt *mqtt = client->mqtt;
    return mqtt->phase == MQTT_SERVING && mqtt->flight_count < mqtt->window && !mqtt->asking_room &&
           conn_outbound_bytes(client->conn) <= client->door->options.outbound_soft_bytes &&
           mqtt->sent_key - acknowledged_key(mqtt) < PACKET_IDS - 1;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------------------ */

/* Whether the room is a conversation of two. False: that is being asked, the event comes again. */
static bool room_known(struct client *client, uint64_t room_id, bool *direct)
{
    struct mqtt *mqtt = client->mqtt;
    struct entity_key key = {.a = room_id, .kind = ENTITY_VIEW};
    struct entity *view = entity_find(shard_machine(client->session->shard)->entities, key);
    if (view != NULL || mqtt->room_id == room_id) {
        uint8_t type = view != NULL ? view_of(view)->type : mqtt->room_type;
        *direct = type == RINGPOST__V1__ROOM_TYPE__DIRECT;
        return true;
    }
    struct writer room;
    writer_init(&room, 0);
    writer_u64(&room, room_id);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    struct letter *letter = mqtt_letter(client, home, MQTT_ASK_ROOM, writer_slice(&room));
    letter->kind = LETTER_MQTT;
    mqtt->asking_room = true;
    mqtt_ask(client, letter, 0);
    writer_deinit(&room);
    return false;
}

void mqtt_room_told(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    mqtt->asking_room = false;
    if (letter->error != ERROR_NONE) {
        mqtt_end(client, MQTT_SERVER_BUSY);
        return;
    }
    struct cursor c = cursor_of(letter_payload(letter));
    mqtt->room_id = cursor_u64(&c);
    mqtt->room_type = cursor_u8(&c);
    mqtt_pump(client);
}

/* Hands the message of one entry of the stream on, if anybody listens. False: not now. */
static bool deliver(struct client *client, const struct mqtt_message *message, uint64_t sync_key)
{
    struct mqtt *mqtt = client->mqtt;
    bool direct = false;
    if (mqtt->subscription_count == 0) return true;
    if (!room_known(client, message->room_id, &direct)) return false;
    const struct mqtt_subscription *subscription = match(client, message, direct, sync_key);
    uint16_t packet_id = (uint16_t)(sync_key % PACKET_IDS + 1);
    if (subscription == NULL || flight_find(mqtt, packet_id) != NULL) return true; /* the second: the client has it, PUBREL is due */
    char topic[MQTT_TOPIC_MAX];
    struct mqtt_publish publish = {.topic = topic_of(client, subscription->kind, message->room_id, topic),
                                   .qos = subscription->qos,
                                   .duplicate = subscription->qos > 0 && sync_key <= mqtt->before_key,
                                   .packet_id = subscription->qos > 0 ? packet_id : 0};
    if (!send_publish(client, &publish, message, direct)) return true;
    if (publish.qos > 0) flight_add(mqtt, sync_key, packet_id, publish.qos == 1 ? MQTT_WAIT_PUBACK : MQTT_WAIT_PUBREC);
    return true;
}

/* One packed Event. False: the rest of the page must wait. */
static bool take_event(struct client *client, struct slice packed)
{
    struct mqtt *mqtt = client->mqtt;
    struct cursor c = cursor_of(packed);
    struct wire_field field;
    uint64_t sync_key = 0;
    struct slice message_bytes = SLICE_EMPTY;
    while (wire_next(&c, &field)) {
        if (field.number == EVENT_SYNC_KEY_FIELD) sync_key = field.value;
        if (field.number == EVENT_MESSAGE_FIELD) message_bytes = field.bytes;
    }
    if (sync_key > mqtt->known_key) mqtt->known_key = sync_key;
    if (sync_key != mqtt->sent_key + 1) return sync_key <= mqtt->sent_key;
    struct mqtt_message message;
    if (!may_send(client)) return false;
    if (message_bytes.len > 0 && mqtt_message_read(&message, message_bytes) && !deliver(client, &message, sync_key)) return false;
    mqtt->sent_key = sync_key;
    return true;
}

/* Asks for what comes after sent_key, when there is something and room for it. */
static void pull(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->pulling || mqtt->sent_key >= mqtt->known_key || !may_send(client)) return;
    struct writer sync;
    writer_init(&sync, 0);
    wire_write_u64(&sync, 1, mqtt->sent_key);
    wire_write_u64(&sync, 2, PULL_EVENTS_MAX);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    mqtt->pulling = true;
    mqtt_ask(client, mqtt_letter(client, home, RINGPOST__V1__REQUEST__METHOD_SYNC, writer_slice(&sync)), 0);
    writer_deinit(&sync);
}

/* A cursor that moved is saved in time; one that nobody will come back to is not. */
static void save_in_time(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    if (!mqtt_persistent(mqtt) || mqtt->saves_open > 0) return;
    bool release = false;
    for (uint32_t i = 0; i < mqtt->flight_count; i++) release |= mqtt->flights[i].state == MQTT_WAIT_SAVE;
    bool due = acknowledged_key(mqtt) != mqtt->saved_key && now_ms(client) >= mqtt->saved_ms + SAVE_PERIOD_MS;
    if (release || due) mqtt_save(client, true);
}

void mqtt_pump(struct client *client)
{
    pull(client);
    if (client->mqtt->phase == MQTT_SERVING) save_in_time(client);
}

void mqtt_synced(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    mqtt->pulling = false;
    if (letter->error != ERROR_NONE) {
        mqtt_end(client, MQTT_SERVER_BUSY);
        return;
    }
    struct cursor c = cursor_of(letter_payload(letter));
    struct wire_field field;
    bool going = true, reset = false;
    uint64_t reached = 0;
    while (wire_next(&c, &field)) {
        if (field.number == SYNC_EVENTS && going) going = take_event(client, field.bytes);
        if (field.number == SYNC_SYNC_KEY) reached = field.value;
        if (field.number == SYNC_RESET) reset = field.value != 0;
        if (field.number == SYNC_HAS_MORE && field.value != 0 && mqtt->known_key <= reached) mqtt->known_key = reached + 1;
    }
    if (reset) mqtt->sent_key = reached; /* away for longer than the stream is kept: what is older is in the history */
    if (reset && mqtt->known_key < reached) mqtt->known_key = reached;
    mqtt_pump(client);
}

/* ---- pushes --------------------------------------------------------------------------------------------------------------------- */

/* A message of a large room: live, or not at all. */
static void take_room_message(struct client *client, struct slice packed)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_message message;
    if (mqtt->phase != MQTT_SERVING || !mqtt_message_read(&message, packed)) return;
    if (conn_outbound_bytes(client->conn) > client->door->options.outbound_soft_bytes) return;
    const struct mqtt_subscription *subscription = match(client, &message, false, UINT64_MAX);
    if (subscription == NULL) return;
    char topic[MQTT_TOPIC_MAX];
    struct mqtt_publish publish = {.topic = topic_of(client, subscription->kind, message.room_id, topic)};
    (void)send_publish(client, &publish, &message, false);
}

/* The envelope of a push comes in two parts, the second shared with others. */
void mqtt_on_push(struct client *client, struct slice head, struct buf *body)
{
    struct mqtt *mqtt = client->mqtt;
    struct writer *whole = &client->door->packed;
    if (!mqtt->begun || mqtt->phase == MQTT_ENDED) return;
    writer_reset(whole);
    writer_raw(whole, head.data, head.len);
    if (body != NULL) writer_raw(whole, body->data, body->len);
    struct cursor c = cursor_of(writer_slice(whole));
    struct wire_field push, kind;
    if (!wire_next(&c, &push) || push.number != ENVELOPE_PUSH) return;
    c = cursor_of(push.bytes);
    if (!wire_next(&c, &kind)) return;
    if (kind.number == PUSH_EVENT) (void)take_event(client, kind.bytes);
    if (kind.number == PUSH_ROOM_MESSAGE) take_room_message(client, kind.bytes);
    if (kind.number == PUSH_BEHIND && mqtt->known_key < client->session->inbox->head)
        mqtt->known_key = client->session->inbox->head;
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

void mqtt_on_drained(struct client *client)
{
    if (client->mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

/* ---- acknowledgements ---------------------------------------------------------------------------------------------------------------- */

static void send_pubrel(struct client *client, uint16_t packet_id, enum mqtt_reason reason)
{
    mqtt_encode_ack(&client->door->mqtt_out, (enum mqtt_version)client->mqtt->version, MQTT_PUBREL, packet_id, reason, SLICE_EMPTY);
    mqtt_send(client);
}

static void on_pubrec(struct client *client, struct mqtt_flight *flight, const struct mqtt_ack *ack)
{
    struct mqtt *mqtt = client->mqtt;
    bool refused = ack->reason >= MQTT_UNSPECIFIED;
    if (flight == NULL) {
        if (!refused) send_pubrel(client, ack->packet_id, mqtt->version == MQTT_5 ? (enum mqtt_reason)0x92 : MQTT_SUCCESS);
    } else if (flight->state == MQTT_WAIT_PUBREC && refused) {
        flight_remove(mqtt, flight);
    } else if (flight->state == MQTT_WAIT_PUBREC && mqtt_persistent(mqtt)) {
        flight->state = MQTT_WAIT_SAVE;
    } else if (flight->state == MQTT_WAIT_PUBREC || flight->state == MQTT_WAIT_PUBCOMP) {
        flight->state = MQTT_WAIT_PUBCOMP;
        send_pubrel(client, ack->packet_id, MQTT_SUCCESS);
    }
}

void mqtt_acknowledged(struct client *client, enum mqtt_type type, const struct mqtt_ack *ack)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_flight *flight = flight_find(mqtt, ack->packet_id);
    if (type == MQTT_PUBREC) on_pubrec(client, flight, ack);
    else if (flight != NULL && flight->state == (type == MQTT_PUBACK ? MQTT_WAIT_PUBACK : MQTT_WAIT_PUBCOMP))
        flight_remove(mqtt, flight);
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

/* ---- the cursor ------------------------------------------------------------------------------------------------------------------------ */

void mqtt_begin_delivery(struct client *client, const struct mqtt_session_record *session)
{
    struct mqtt *mqtt = client->mqtt;
    mqtt->sent_key = mqtt->saved_key = session->sync_key;
    mqtt->before_key = session->sent_key;
    mqtt->known_key = client->session->inbox->head;
    mqtt->saved_ms = now_ms(client);
    struct cursor c = cursor_of(session->releasing);
    while (cursor_left(&c) > 0 && !c.bad && mqtt->flight_count < MQTT_WINDOW_MAX) {
        uint16_t packet_id = cursor_u16(&c);
        flight_add(mqtt, 0, packet_id, MQTT_WAIT_PUBCOMP);
        send_pubrel(client, packet_id, MQTT_SUCCESS);
    }
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

void mqtt_save(struct client *client, bool connected)
{
    struct mqtt *mqtt = client->mqtt;
    struct writer lists[3], payload;
    for (uint32_t i = 0; i < COUNT_OF(lists); i++) writer_init(&lists[i], 0);
    writer_init(&payload, 0);
    mqtt_write_subscriptions(mqtt, &lists[0]);
    mqtt_write_recent(mqtt, &lists[2]);
    for (uint32_t i = 0; i < mqtt->flight_count; i++) {
        struct mqtt_flight *flight = &mqtt->flights[i];
        if (flight->state == MQTT_WAIT_SAVE) flight->state = MQTT_SAVING;
        if (flight->state == MQTT_SAVING || flight->state == MQTT_WAIT_PUBCOMP) writer_u16(&lists[1], flight->packet_id);
    }
    uint64_t handed_on = mqtt->sent_key > mqtt->before_key ? mqtt->sent_key : mqtt->before_key;
    struct mqtt_session_record session = {.client_id = slice_text(mqtt->client_id),
                                          .epoch = mqtt->epoch,
                                          .connected = connected,
                                          .expiry_s = mqtt->expiry_s,
                                          .sync_key = acknowledged_key(mqtt),
                                          .sent_key = handed_on,
                                          .subscriptions = writer_slice(&lists[0]),
                                          .releasing = writer_slice(&lists[1]),
                                          .recent = writer_slice(&lists[2])};
    mqtt_session_record_write(&payload, &session);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    struct letter *letter = mqtt_letter(client, home, MQTT_SAVE_SESSION, writer_slice(&payload));
    letter->kind = LETTER_MQTT;
    mqtt->saved_key = session.sync_key;
    mqtt->saved_ms = now_ms(client);
    mqtt->saves_open++;
    mqtt_ask(client, letter, 0);
    for (uint32_t i = 0; i < COUNT_OF(lists); i++) writer_deinit(&lists[i]);
    writer_deinit(&payload);
}

/* What was being saved is durable: the promises can be kept. */
void mqtt_saved(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    if (letter->error != ERROR_NONE) {
        mqtt_end(client, MQTT_SERVER_BUSY);
        return;
    }
    ASSERT(mqtt->saves_open > 0);
    if (--mqtt->saves_open > 0) return; /* a later one is under way, which holds all of this */
    mqtt_subscribe_saved(client);
    for (uint32_t i = 0; i < mqtt->flight_count && mqtt->phase == MQTT_SERVING; i++) {
        struct mqtt_flight *flight = &mqtt->flights[i];
        if (flight->state != MQTT_SAVING) continue;
        flight->state = MQTT_WAIT_PUBCOMP;
        send_pubrel(client, flight->packet_id, MQTT_SUCCESS);
    }
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}
