/* shard/door/mqtt/deliver.c - messages to the client, out of its user's stream, never more than its window at a time.
 * Happy path: an event is pushed whose sync_key is the next -> it matches a subscription -> PUBLISH -> acknowledged -> the cursor
 * moves. Nothing is read from the store for that. Whatever is pushed when the window is full, or out of turn, is forgotten: known_key
 * remembers that there is more, and when enough of the window is free again the stream is asked for what comes after sent_key. So
 * there is no queue, and a client that was away is nothing special.
 *
 *   saved_key <= acknowledged <= sent_key <= known_key          persistent session: saved as save.c says
 *   durable     all done         handed on   heard of */
#include "api/wire.h"
#include "core/refusal.h"
#include "shard/domain/limits.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt_internal.h"
#include "shard/domain/room/view.h"

#define PULL_EVENTS_MAX 200
#define PULL_EVENTS_MIN 8 /* some are for nobody */

enum event_field { EVENT_SYNC_KEY_FIELD = 1 };
enum sync_field { SYNC_EVENTS = 1, SYNC_SYNC_KEY = 2, SYNC_HAS_MORE = 3, SYNC_RESET = 4 };

/* ---- may it be sent? ------------------------------------------------------------------------------------------------------------- */

/* A message's packet id is its key modulo MQTT_STREAM_IDS: two with the same one must not be on their way together. Those that an
 * earlier connection left may be out of order, by a window at most. */
static bool id_is_free(const struct mqtt *mqtt)
{
    for (uint32_t i = 0; i < mqtt->window.count; i++) {
        const struct mqtt_flight *flight = mqtt_window_at(&mqtt->window, i);
        if (flight->room == 0) return mqtt->sent_key + 1 < flight->key + MQTT_STREAM_IDS - 2 * MQTT_WINDOW_MAX;
    }
    return true;
}

bool mqtt_may_send(const struct client *client)
{
    const struct mqtt *mqtt = client->mqtt;
    return mqtt->phase == MQTT_SERVING && mqtt->window.count < mqtt->window_max &&
           conn_outbound_bytes(client->conn) <= client->door->options.outbound_soft_bytes;
}

/* A quarter of the window at once: not a page of the store for each acknowledgement. */
bool mqtt_may_read(const struct client *client, uint32_t *limit)
{
    const struct mqtt *mqtt = client->mqtt;
    uint32_t room = mqtt->window_max - mqtt->window.count;
    if (!mqtt_may_send(client) || room * 4 < mqtt->window_max) return false;
    *limit = room > PULL_EVENTS_MAX ? PULL_EVENTS_MAX : room < PULL_EVENTS_MIN ? PULL_EVENTS_MIN : room;
    return true;
}

/* ---- one entry of the stream ------------------------------------------------------------------------------------------------------ */

/* Is the room a conversation of two? False: that is being asked, the entry comes again. */
static bool type_known(struct client *client, struct mqtt_form *form)
{
    struct mqtt *mqtt = client->mqtt;
    uint64_t room_id = form->message.room_id;
    if (form->type != UINT8_MAX) return true;
    if (mqtt->room_id != room_id) {
        struct entity_key key = {.a = room_id, .kind = ENTITY_VIEW};
        struct entity *view = entity_find(shard_machine(client->session->shard)->entities, key);
        if (view == NULL) {
            mqtt->asking_type = true;
            mqtt_ask_room(client, MQTT_ASK_ROOM, room_id, 0);
            return false;
        }
        mqtt->room_id = room_id;
        mqtt->room_type = view_of(view)->type;
    }
    form->type = mqtt->room_type;
    return true;
}

void mqtt_room_told(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    mqtt->asking_type = false;
    if (letter->error != ERROR_NONE) {
        mqtt_end(client, MQTT_SERVER_BUSY);
        return;
    }
    struct cursor c = cursor_of(letter_payload(letter));
    mqtt->room_id = cursor_u64(&c);
    mqtt->room_type = cursor_u8(&c);
    mqtt_pump(client);
}

/* Hands a message on, if anybody listens. False: not now. */
static bool deliver(struct client *client, struct mqtt_form *form, struct session_form *shared, uint64_t sync_key)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_delivery delivery = {.duplicate = sync_key <= mqtt->before_key};
    if (!type_known(client, form)) return false;
    delivery.direct = form->type == RINGPOST__V1__ROOM_TYPE__DIRECT;
    if (!mqtt_match(client, &form->message, delivery.direct, sync_key, &delivery.match)) return true;
    delivery.match.qos = mqtt_delivered_qos(&form->message, delivery.match.qos);
    bool begun = delivery.duplicate && delivery.match.qos > 0; /* it is brought to its end: of QoS 2 the client may know the packet id */
    if (!begun && mqtt_expired(client, &form->message)) return true;
    if (delivery.match.qos == 0) {
        delivery.duplicate = false;
        (void)mqtt_send_message(client, form, shared, &delivery);
        return mqtt->phase == MQTT_SERVING;
    }
    delivery.packet_id = (uint16_t)(sync_key % MQTT_STREAM_IDS + 1);
    if (sync_key <= mqtt->before_key && mqtt_window_find(&mqtt->window, delivery.packet_id) != NULL)
        return true; /* the connection before handed it on and the client has it: PUBREL is due */
    if (!mqtt_send_message(client, form, shared, &delivery)) return mqtt->phase == MQTT_SERVING;
    mqtt_window_add(&mqtt->window, 0, sync_key, delivery.packet_id, delivery.match.qos == 1 ? MQTT_WAIT_PUBACK : MQTT_WAIT_PUBREC);
    return true;
}

/* From here on the messages of this room are not in the stream: it has grown, or is entered. The change may be an old one. */
static void take_large(struct mqtt *mqtt, const struct mqtt_message *change)
{
    if (change->kind == RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED) mqtt_room_enter(mqtt, change->room_id, change->seq);
    struct mqtt_room *room = mqtt_room_follow(mqtt, change->room_id, change->seq);
    if (room == NULL) return;
    mqtt_room_missed(mqtt, room);
}

/* The next entry. False: it, and what comes after it, must wait. */
static bool take(struct client *client, struct mqtt_form *form, struct session_form *shared, uint64_t sync_key)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->asking_type || !mqtt_may_send(client) || !id_is_free(mqtt)) return false;
    if (form->kind == MQTT_FORM_LARGE && mqtt_follows(mqtt, form->message.room_id)) take_large(mqtt, &form->message);
    bool listens = form->kind == MQTT_FORM_MESSAGE && mqtt->subscription_count > 0;
    if (listens && !deliver(client, form, shared, sync_key)) return false;
    mqtt->sent_key = sync_key;
    return true;
}

/* ---- pushed ------------------------------------------------------------------------------------------------------------------------ */

void mqtt_on_event(struct client *client, uint64_t sync_key, struct session_event *event)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_door *shared = client->door->mqtt;
    if (mqtt->phase != MQTT_SERVING) return; /* it begins with the head of that time */
    if (sync_key > mqtt->known_key) mqtt->known_key = sync_key;
    if (sync_key == mqtt->sent_key + 1) {
        if (event->form.number != shared->form.number || event->form.number == 0) {
            mqtt_form_read_event(&shared->form, event->fields);
            event->form.number = shared->form.number = ++shared->readings;
        }
        (void)take(client, &shared->form, &event->form, sync_key);
    }
    mqtt_pump(client);
}

void mqtt_on_missed(struct client *client)
{
    if (client->mqtt->phase != MQTT_SERVING) return;
    mqtt_rooms_missed(client->mqtt);
    mqtt_pump(client);
}

/* ---- out of the stream -------------------------------------------------------------------------------------------------------------- */

static bool asks_acknowledgements(const struct mqtt *mqtt)
{
    bool asks = false;
    for (uint32_t i = 0; i < mqtt->subscription_count; i++) asks |= mqtt->subscriptions[i].qos > 0;
    return asks;
}

/* The newest entry that is not kept any more. */
static uint64_t last_gone(const struct client *client)
{
    const struct session *session = client->session;
    uint64_t head = session->inbox->head, kept = machine_limit(shard_machine(session->shard), LIMIT_INBOX_EVENTS_MAX);
    return head > kept ? head - kept : 0;
}

/* What comes next is not in the stream any more. A client that asked for acknowledgements was promised it: it must hear that this
 * cannot be kept, so the connection ends, and the session with it (state.c opens none that the stream has left behind). To one that
 * listens with QoS 0 alone nothing was promised: it goes on with what is there. */
static void fall_out(struct client *client, uint64_t goes_on_after)
{
    struct mqtt *mqtt = client->mqtt;
    uint64_t missed = goes_on_after - mqtt->sent_key;
    if (!asks_acknowledgements(mqtt)) {
        if (mqtt->subscription_count > 0) metrics_add(&client->door->options.metrics->mqtt_dropped_behind, missed);
        mqtt->sent_key = goes_on_after;
        if (mqtt->known_key < goes_on_after) mqtt->known_key = goes_on_after;
        return;
    }
    struct in6_addr address = conn_address(client->conn);
    metrics_add(&client->door->options.metrics->mqtt_fell_out, 1);
    refusal_note(REFUSAL_SLOW_READER, &address, "door=mqtt user_id=%llu device=%s missed=%llu",
                 (unsigned long long)client->session->inbox->entity.key.a, client->session->device_id, (unsigned long long)missed);
    mqtt_end_because(client, MQTT_QUOTA_EXCEEDED, "too far behind: what you missed is not in the stream any more, only in the history");
}

/* ---- read --------------------------------------------------------------------------------------------------------------------------- */

/* Asks for what comes after sent_key, when there is something and room for it. */
static void pull(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    uint32_t limit = 0;
    if (mqtt->sent_key < last_gone(client)) fall_out(client, last_gone(client));
    if (mqtt->phase != MQTT_SERVING || mqtt->sent_key >= mqtt->known_key) return;
    if (mqtt->pulling || mqtt->asking_type || !id_is_free(mqtt) || !mqtt_may_read(client, &limit)) return;
    struct writer sync;
    writer_init(&sync, 0);
    wire_write_u64(&sync, 1, mqtt->sent_key);
    wire_write_u64(&sync, 2, limit);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    mqtt->pulling = true;
    mqtt_ask(client, mqtt_letter(client, home, RINGPOST__V1__REQUEST__METHOD_SYNC, writer_slice(&sync)), 0);
    writer_deinit(&sync);
}

/* One packed Event of a page. False: the rest of the page must wait. */
static bool take_packed(struct client *client, struct slice packed)
{
    struct mqtt *mqtt = client->mqtt;
    uint64_t sync_key = 0;
    if (envelope_peek_u64(packed, EVENT_SYNC_KEY_FIELD, &sync_key) != RESULT_OK) return false;
    if (sync_key > mqtt->known_key) mqtt->known_key = sync_key;
    if (sync_key != mqtt->sent_key + 1) return sync_key <= mqtt->sent_key;
    struct mqtt_form form = {0};
    struct session_form shared = {0};
    mqtt_form_read_event(&form, packed);
    bool taken = take(client, &form, &shared, sync_key);
    session_form_done(&shared);
    return taken;
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
        if (field.number == SYNC_EVENTS && going) going = take_packed(client, field.bytes);
        if (field.number == SYNC_SYNC_KEY) reached = field.value;
        if (field.number == SYNC_RESET) reset = field.value != 0;
        if (field.number == SYNC_HAS_MORE && field.value != 0 && mqtt->known_key <= reached) mqtt->known_key = reached + 1;
    }
    if (reset && mqtt->sent_key < reached) fall_out(client, reached);
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

/* ---- what moves it ------------------------------------------------------------------------------------------------------------------- */

void mqtt_pump(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->sent_key < mqtt->known_key) pull(client);
    if (mqtt->phase != MQTT_SERVING) return;
    if (mqtt->rooms_behind) mqtt_rooms_pump(client);
    if (mqtt_persistent(mqtt)) mqtt_save_in_time(client);
}

void mqtt_on_drained(struct client *client)
{
    if (client->mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

void mqtt_begin_delivery(struct client *client, const struct mqtt_session_record *session)
{
    struct mqtt *mqtt = client->mqtt;
    mqtt->sent_key = mqtt->saved_key = session->sync_key;
    mqtt->before_key = session->sent_key;
    mqtt->known_key = client->session->inbox->head;
    mqtt->saved_ms = mqtt_now_ms(client);
    mqtt_read_rooms(mqtt, session->rooms);
    mqtt_read_releasing(client, session->releasing);
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

/* ---- acknowledgements ------------------------------------------------------------------------------------------------------------------ */

void mqtt_send_pubrel(struct client *client, uint16_t packet_id, enum mqtt_reason reason)
{
    mqtt_encode_ack(&client->door->mqtt->out, (enum mqtt_version)client->mqtt->version, MQTT_PUBREL, packet_id, reason, SLICE_EMPTY);
    mqtt_send(client);
}

static void on_pubrec(struct client *client, struct mqtt_flight *flight, const struct mqtt_ack *ack)
{
    struct mqtt *mqtt = client->mqtt;
    bool refused = ack->reason >= MQTT_UNSPECIFIED;
    if (flight == NULL) {
        if (!refused) mqtt_send_pubrel(client, ack->packet_id, mqtt->version == MQTT_5 ? MQTT_NO_PACKET_ID : MQTT_SUCCESS);
    } else if (flight->state == MQTT_WAIT_PUBREC && refused) {
        mqtt_window_done(&mqtt->window, flight);
    } else if (flight->state == MQTT_WAIT_PUBREC && mqtt_persistent(mqtt)) {
        flight->state = MQTT_WAIT_SAVE;
    } else if (flight->state == MQTT_WAIT_PUBREC || flight->state == MQTT_WAIT_PUBCOMP) {
        flight->state = MQTT_WAIT_PUBCOMP;
        mqtt_send_pubrel(client, ack->packet_id, MQTT_SUCCESS);
    }
}

void mqtt_acknowledged(struct client *client, enum mqtt_type type, const struct mqtt_ack *ack)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_flight *flight = mqtt_window_find(&mqtt->window, ack->packet_id);
    mqtt->id_taken = false;
    if (flight != NULL && (flight->room != 0 || type != MQTT_PUBACK)) mqtt->unsaved = true;
    if (type == MQTT_PUBREC) on_pubrec(client, flight, ack);
    else if (flight != NULL && flight->state == (type == MQTT_PUBACK ? MQTT_WAIT_PUBACK : MQTT_WAIT_PUBCOMP))
        mqtt_window_done(&mqtt->window, flight);
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}
