/* shard/door/mqtt/rooms.c - messages of large rooms: the stream has no entries of them, the room's timeline is what is followed.
 * Happy path: a message is pushed whose seq is the next -> PUBLISH -> acknowledged. As with the stream, what is pushed when the window
 * is full or out of turn is forgotten, and read from the room's history when there is room again. A room is followed from when it was
 * subscribed to, joined or grew large; a persistent session keeps for each how far its client has got.
 * Limit: MQTT_ROOMS_MAX rooms; messages of further ones are handed on as they come, with QoS 0.
 * A packet id follows from room and seq. When another message on its way has the same, the room waits for that. */
#include "api/wire.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt_internal.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

enum history_field { HISTORY_MESSAGES = 1, HISTORY_HEAD_SEQ = 4, HISTORY_HIDDEN_SEQ };

uint16_t mqtt_room_packet_id(uint64_t room_id, uint64_t seq)
{
    return (uint16_t)(MQTT_STREAM_IDS + 1 + (XXH3_64bits(&room_id, sizeof room_id) + seq) % (MQTT_STREAM_IDS + 1));
}

/* ---- the table ------------------------------------------------------------------------------------------------------------------- */

uint16_t mqtt_room_number(const struct mqtt *mqtt, uint64_t room_id)
{
    for (uint16_t i = 0; i < mqtt->room_count; i++)
        if (mqtt->rooms[i].room_id == room_id) return (uint16_t)(i + 1);
    return 0;
}

/* A message of it was pushed before the stream has told of it. */
static bool is_guessed(const struct mqtt *mqtt, const struct mqtt_room *room) { return room->after_key > mqtt->sent_key; }

struct mqtt_room *mqtt_room_follow(struct mqtt *mqtt, uint64_t room_id, uint64_t seq)
{
    uint16_t number = mqtt_room_number(mqtt, room_id);
    struct mqtt_room *known = number == 0 ? NULL : &mqtt->rooms[number - 1];
    if (known != NULL && is_guessed(mqtt, known) && known->sent_seq > seq) known->sent_seq = seq;
    if (known != NULL) return known;
    if (mqtt->room_count == MQTT_ROOMS_MAX) return NULL;
    mqtt->rooms = memory_resize(mqtt->rooms, (mqtt->room_count + 1u) * sizeof *mqtt->rooms);
    struct mqtt_room *room = &mqtt->rooms[mqtt->room_count++];
    *room = (struct mqtt_room){.room_id = room_id, .sent_seq = seq, .known_seq = seq};
    mqtt->unsaved = true;
    return room;
}

void mqtt_room_enter(struct mqtt *mqtt, uint64_t room_id, uint64_t seq)
{
    struct mqtt_room *room = mqtt_room_follow(mqtt, room_id, seq);
    if (room == NULL || room->sent_seq >= seq) return;
    room->sent_seq = seq;
    mqtt->unsaved = true;
}

void mqtt_write_rooms(const struct mqtt *mqtt, struct writer *out)
{
    for (uint16_t i = 0; i < mqtt->room_count; i++) {
        const struct mqtt_room *room = &mqtt->rooms[i];
        if (!mqtt_follows(mqtt, room->room_id)) continue;
        writer_u64(out, room->room_id);
        writer_u64(out, mqtt_window_acknowledged(&mqtt->window, (uint16_t)(i + 1), room->sent_seq));
        uint64_t handed_on = room->sent_seq > room->before_seq ? room->sent_seq : room->before_seq;
        writer_u64(out, is_guessed(mqtt, room) ? UINT64_MAX : handed_on);
    }
}

void mqtt_read_rooms(struct mqtt *mqtt, struct slice list)
{
    struct cursor c = cursor_of(list);
    while (cursor_left(&c) > 0 && !c.bad) {
        uint64_t room_id = cursor_u64(&c), seq = cursor_u64(&c), before_seq = cursor_u64(&c);
        struct mqtt_room *room = c.bad ? NULL : mqtt_room_follow(mqtt, room_id, seq);
        if (room != NULL && before_seq == UINT64_MAX) room->after_key = mqtt->known_key;
        else if (room != NULL) room->before_seq = before_seq;
    }
    mqtt_rooms_missed(mqtt);
    mqtt->unsaved = false;
}

/* ---- one message ------------------------------------------------------------------------------------------------------------------ */

/* What is on its way with the same packet id. When the oldest is of the same room and later than all that an earlier connection left,
 * and only this room is followed, that is nothing: its seqs are less than a turn of packet ids apart. */
static const struct mqtt_flight *find_other(const struct mqtt *mqtt, const struct mqtt_room *room, uint64_t seq, uint16_t packet_id)
{
    if (mqtt->window.count == 0) return NULL;
    const struct mqtt_flight *oldest = mqtt_window_at(&mqtt->window, 0);
    bool alone = mqtt->room_count == 1 && oldest->room != 0;
    if (alone && oldest->key > room->before_seq && oldest->key < seq && seq - oldest->key <= MQTT_STREAM_IDS) return NULL;
    return mqtt_window_find(&mqtt->window, packet_id);
}

/* The next of its room, if anybody listens as `delivery` says. False: it must wait. */
static bool take(struct client *client, struct mqtt_room *room, const struct mqtt_form *form, struct session_form *shared,
                 struct mqtt_delivery *delivery)
{
    struct mqtt *mqtt = client->mqtt;
    uint64_t seq = form->message.seq;
    uint16_t number = (uint16_t)(room - mqtt->rooms + 1);
    uint8_t qos = delivery->match.qos = mqtt_delivered_qos(&form->message, delivery->match.qos);
    if (!mqtt_may_send(client)) return false;
    bool begun = qos > 0 && seq <= room->before_seq; /* it is brought to its end: of QoS 2 the client may know the packet id */
    bool listens = delivery->match.kind != 0 && (begun || !mqtt_expired(client, &form->message));
    if (listens && qos > 0) {
        delivery->packet_id = mqtt_room_packet_id(room->room_id, seq);
        delivery->duplicate = seq <= room->before_seq;
        const struct mqtt_flight *other = find_other(mqtt, room, seq, delivery->packet_id);
        mqtt->id_taken = other != NULL && (other->room != number || other->key != seq);
        if (mqtt->id_taken) return false;
        listens = other == NULL; /* else the client has it, PUBREL is due */
    }
    enum mqtt_flight_state state = qos == 1 ? MQTT_WAIT_PUBACK : MQTT_WAIT_PUBREC;
    if (listens && mqtt_send_message(client, form, shared, delivery) && qos > 0)
        mqtt_window_add(&mqtt->window, number, seq, delivery->packet_id, state);
    if (mqtt->phase != MQTT_SERVING) return false;
    room->sent_seq = seq;
    return true;
}

/* ---- pushed ------------------------------------------------------------------------------------------------------------------------ */

static void pass_on(struct client *client, const struct mqtt_form *form, struct session_form *shared, struct mqtt_delivery *delivery)
{
    delivery->match.qos = 0;
    if (mqtt_expired(client, &form->message)) return;
    if (conn_outbound_bytes(client->conn) > client->door->options.outbound_soft_bytes) {
        metrics_add(&client->door->options.metrics->mqtt_dropped_slow, 1);
        return;
    }
    (void)mqtt_send_message(client, form, shared, delivery);
}

/* Nobody follows the room now: whoever does later begins behind this message. */
static void pass_by(struct mqtt *mqtt, uint64_t room_id, uint64_t seq)
{
    uint16_t number = mqtt_room_number(mqtt, room_id);
    if (number == 0) return;
    mqtt->rooms[number - 1].sent_seq = mqtt->rooms[number - 1].known_seq = seq;
    mqtt->unsaved = true;
}

void mqtt_on_room(struct client *client, struct session_frame *message)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_door *shared = client->door->mqtt;
    struct mqtt_form *form = &shared->form;
    if (mqtt->phase != MQTT_SERVING) return;
    if (message->form.number != form->number || form->number == 0) {
        mqtt_form_read_message(form, message->packed);
        message->form.number = form->number = ++shared->readings;
    }
    struct mqtt_delivery delivery = {0};
    uint64_t seq = form->message.seq;
    bool listens = mqtt_match(client, &form->message, false, UINT64_MAX, &delivery.match);
    bool acknowledged = delivery.match.qos > 0;
    if (!acknowledged) pass_by(mqtt, form->message.room_id, seq);
    if (!listens) return;
    bool fresh = mqtt_room_number(mqtt, form->message.room_id) == 0;
    struct mqtt_room *room = !acknowledged ? NULL : mqtt_room_follow(mqtt, form->message.room_id, seq - 1);
    if (room == NULL) {
        pass_on(client, form, &message->form, &delivery);
        return;
    }
    if (fresh) room->after_key = mqtt->known_key; /* the stream may have yet to say that one came in, and when */
    if (seq > room->known_seq) room->known_seq = seq;
    if (seq > room->pushed_seq) room->pushed_seq = seq;
    if (seq == room->sent_seq + 1 && !is_guessed(mqtt, room)) (void)take(client, room, form, &message->form, &delivery);
    if (room->sent_seq < room->known_seq) mqtt->rooms_behind = true;
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

void mqtt_room_missed(struct mqtt *mqtt, struct mqtt_room *room)
{
    room->known_seq = UINT64_MAX;
    mqtt->rooms_behind = true;
    mqtt->missed_asking = mqtt->asking_room;
}

void mqtt_rooms_missed(struct mqtt *mqtt)
{
    for (uint16_t i = 0; i < mqtt->room_count; i++) mqtt_room_missed(mqtt, &mqtt->rooms[i]);
    mqtt->rooms_behind = mqtt->room_count > 0;
}

/* ---- read --------------------------------------------------------------------------------------------------------------------------- */

static void ask(struct client *client, uint16_t number, uint32_t limit)
{
    const struct mqtt_room *room = &client->mqtt->rooms[number - 1];
    struct writer history;
    writer_init(&history, 0);
    wire_write_u64(&history, 1, room->room_id);
    if (room->sent_seq > 0) wire_write_u64(&history, 3, room->sent_seq);
    else wire_write_u64(&history, 2, 2); /* upwards from the very beginning is not asked for by after_seq: the first alone */
    wire_write_u64(&history, 4, room->sent_seq > 0 ? limit : 1);
    client->mqtt->asking_room = true;
    client->mqtt->missed_asking = false;
    mqtt_ask(client, mqtt_letter(client, id_partition(room->room_id), RINGPOST__V1__REQUEST__METHOD_HISTORY, writer_slice(&history)),
             number);
    writer_deinit(&history);
}

/* One room at a time: what it brings must fit into the window. */
void mqtt_rooms_pump(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    uint32_t limit = 0;
    if (mqtt->asking_room || mqtt->id_taken || !mqtt_may_read(client, &limit)) return;
    bool guessed = false;
    for (uint16_t i = 0; i < mqtt->room_count; i++) {
        const struct mqtt_room *room = &mqtt->rooms[i];
        guessed |= is_guessed(mqtt, room);
        if (room->sent_seq >= room->known_seq || is_guessed(mqtt, room)) continue;
        ask(client, (uint16_t)(i + 1), limit);
        return;
    }
    mqtt->rooms_behind = guessed;
}

static bool take_packed(struct client *client, struct mqtt_room *room, struct slice packed)
{
    struct mqtt_form form = {0};
    struct session_form shared = {0};
    mqtt_form_read_message(&form, packed);
    if (form.kind != MQTT_FORM_MESSAGE || form.message.seq != room->sent_seq + 1) return form.message.seq <= room->sent_seq;
    struct mqtt_delivery delivery = {0};
    (void)mqtt_match(client, &form.message, false, UINT64_MAX, &delivery.match);
    bool taken = take(client, room, &form, &shared, &delivery);
    session_form_done(&shared);
    return taken;
}

/* A page of a room's history; a room that one may not read any more is caught up with. It begins behind what is hidden from one who came
 * back, whose client may have heard of an earlier membership last. */
void mqtt_room_read(struct client *client, uint64_t number, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_room *room = &mqtt->rooms[number - 1];
    mqtt->asking_room = false;
    if (mqtt_is_passing((enum error)letter->error)) { /* else it would be taken for a room that has nothing more */
        mqtt_end(client, MQTT_SERVER_BUSY);
        return;
    }
    uint64_t head_seq = 0, hidden_seq = 0;
    struct slice page = letter->error == ERROR_NONE ? letter_payload(letter) : SLICE_EMPTY;
    if (envelope_peek_u64(page, HISTORY_HIDDEN_SEQ, &hidden_seq) != RESULT_OK) {
        mqtt_end_unreadable(client, letter);
        return;
    }
    mqtt_room_enter(mqtt, room->room_id, hidden_seq);
    struct cursor c = cursor_of(page);
    struct wire_field field;
    bool going = true;
    while (wire_next(&c, &field)) {
        if (field.number == HISTORY_MESSAGES && going) going = take_packed(client, room, field.bytes);
        if (field.number == HISTORY_HEAD_SEQ) head_seq = field.value;
    }
    if (letter->error != ERROR_NONE) room->known_seq = room->sent_seq;
    else if (room->known_seq == UINT64_MAX && !mqtt->missed_asking) room->known_seq = head_seq > room->pushed_seq ? head_seq : room->pushed_seq;
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}
