/* shard/door/mqtt/encode.c - a message as PUBLISH.
 * Happy path: the first client that gets a pushed message reads it and writes the packet of its version; every other one that gets the
 * same gets these bytes with a packet id of its own: one copy of some 150 bytes into its connection's output. Large bodies go by
 * reference, behind a packet that ends where the body begins.
 *
 *     +---------------+-------+-----------+---------------------------------------------+------+
 *     | type, length  | topic | packet id | MQTT 5: properties, subscription ids first  | body |
 *     +---------------+-------+-----------+---------------------------------------------+------+ */
#include "api/wire.h"
#include "core/refusal.h"
#include "shard/door/mqtt/mqtt_internal.h"
#include "shard/domain/room/view.h"

enum event_field { EVENT_MESSAGE_FIELD = 2, EVENT_ROOM_FIELD = 4 };
enum change_field { CHANGE_CHANGE_FIELD = 1, CHANGE_ROOM_FIELD = 2 };
enum room_field { ROOM_ID_FIELD = 1, ROOM_HEAD_SEQ_FIELD = 7, ROOM_LARGE_FIELD = 11 };

/* ---- reading ------------------------------------------------------------------------------------------------------------------- */

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
        case 10: out->properties = field.bytes; break;
        case 11: out->published_qos = (uint8_t)field.value; break;
        default: break;
        }
    }
    out->expires_ms = mqtt_expires_ms(out);
    return !c.bad;
}

void mqtt_form_read_message(struct mqtt_form *form, struct slice packed)
{
    form->type = UINT8_MAX;
    form->kind = mqtt_message_read(&form->message, packed) ? MQTT_FORM_MESSAGE : MQTT_FORM_OTHER;
}

/* A change matters here when its room is a large one: from there on the stream does not have its messages. */
static void read_change(struct mqtt_form *form, struct slice packed)
{
    struct cursor c = cursor_of(packed);
    struct wire_field field;
    struct slice room = SLICE_EMPTY;
    bool large = false;
    form->message = (struct mqtt_message){0};
    while (wire_next(&c, &field)) {
        if (field.number == CHANGE_CHANGE_FIELD) form->message.kind = (uint32_t)field.value;
        if (field.number == CHANGE_ROOM_FIELD) room = field.bytes;
    }
    c = cursor_of(room);
    while (wire_next(&c, &field)) {
        if (field.number == ROOM_ID_FIELD) form->message.room_id = field.value;
        if (field.number == ROOM_HEAD_SEQ_FIELD) form->message.seq = field.value;
        if (field.number == ROOM_LARGE_FIELD) large = field.value != 0;
    }
    form->kind = large ? MQTT_FORM_LARGE : MQTT_FORM_OTHER;
}

void mqtt_form_read_event(struct mqtt_form *form, struct slice fields)
{
    struct cursor c = cursor_of(fields);
    struct wire_field field;
    form->kind = MQTT_FORM_OTHER;
    while (wire_next(&c, &field)) {
        if (field.number == EVENT_MESSAGE_FIELD) mqtt_form_read_message(form, field.bytes);
        if (field.number == EVENT_ROOM_FIELD) read_change(form, field.bytes);
    }
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------- */

/* The digits of `number` at `out`, which has room for 20. */
static uint32_t put_number(char *out, uint64_t number)
{
    char digits[20];
    uint32_t count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    for (uint32_t i = 0; i < count; i++) out[i] = digits[count - 1 - i];
    return count;
}

static struct slice topic_of(const struct client *client, const struct mqtt_form *form, uint8_t kind, char topic[MQTT_TOPIC_MAX])
{
    const struct inbox *inbox = client->session->inbox;
    bool mine = kind == MQTT_MY_NAME || kind == MQTT_MY_ID;
    topic[0] = mine ? 'u' : 'r';
    topic[1] = '/';
    if (kind == MQTT_MY_NAME) return slice_of(topic, (size_t)(stpcpy(topic + 2, inbox->name) - topic)); /* has at most 32 bytes */
    return slice_of(topic, 2 + put_number(topic + 2, mine ? inbox->entity.key.a : form->message.room_id));
}

static void write_block(struct client *client, struct writer *block, const struct mqtt_form *form, const struct mqtt_delivery *delivery)
{
    const struct mqtt_match *match = &delivery->match;
    for (uint32_t i = 0; i < match->identifier_count; i++) mqtt_put_number(block, MQTT_SUBSCRIPTION_ID, match->identifiers[i]);
    mqtt_write_properties(client, block, &form->message, delivery->direct, !delivery->plain);
}

static void make(struct client *client, struct mqtt_made *made, const struct mqtt_form *form, const struct mqtt_delivery *delivery)
{
    enum mqtt_version version = (enum mqtt_version)client->mqtt->version;
    struct writer *block = &client->door->mqtt->block, *packet = &made->packet;
    char topic[MQTT_TOPIC_MAX];
    writer_reset(block);
    if (version == MQTT_5) write_block(client, block, form, delivery);
    struct slice body = form->message.body;
    struct mqtt_publish publish = {.topic = topic_of(client, form, delivery->match.kind, topic),
                                   .packet_id = delivery->packet_id,
                                   .qos = delivery->match.qos,
                                   .duplicate = delivery->duplicate,
                                   .retain = delivery->retain,
                                   .properties.block = writer_slice(block),
                                   .payload = body.len <= CONN_COPY_MAX ? body : SLICE_EMPTY};
    writer_reset(packet);
    mqtt_encode_publish(packet, version, &publish, body.len);
    size_t properties_size = version == MQTT_5 ? mqtt_varint_size((uint32_t)block->len) + block->len : 0;
    made->packet_id_at = packet->len - publish.payload.len - properties_size - sizeof publish.packet_id;
    made->number = delivery->direct || delivery->plain ? 0 : form->number; /* a topic u/<me> is one's own */
    if (made->number != 0) made->delivery = *delivery;
}

/* Would `make` write the same, but for the packet id? */
static bool is_made(const struct mqtt_made *made, const struct mqtt_form *form, const struct mqtt_delivery *delivery)
{
    const struct mqtt_match *match = &delivery->match, *other = &made->delivery.match;
    if (form->number == 0 || form->number != made->number) return false;
    bool same_ids = match->identifiers[0] == other->identifiers[0] && match->identifiers[1] == other->identifiers[1];
    return same_ids && match->qos == other->qos && delivery->duplicate == made->delivery.duplicate &&
           delivery->retain == made->delivery.retain;
}

static struct buf *body_buf(struct client *client, struct slice body, struct session_form *shared)
{
    if (shared->body != NULL) return shared->body;
    shared->body = session_try_get_buf(client->session, body.len);
    if (shared->body == NULL) return NULL;
    memcpy(shared->body->data, body.data, body.len);
    shared->body->len = body.len;
    return shared->body;
}

/* Does the client take the packet that was made, with all of the body? */
static bool fits(const struct mqtt *mqtt, const struct mqtt_made *made, struct slice body)
{
    return (uint64_t)made->packet.len + (body.len > CONN_COPY_MAX ? body.len : 0) <= mqtt->packet_size_max;
}

/* The message is dropped, as the standard asks: counted, and once for a connection in the log. */
static void note_too_small(struct client *client, const struct mqtt_form *form)
{
    struct mqtt *mqtt = client->mqtt;
    metrics_add(&client->door->options.metrics->mqtt_dropped_packet_size, 1);
    if (mqtt->too_small) return;
    mqtt->too_small = true;
    struct in6_addr address = conn_address(client->conn);
    refusal_note(REFUSAL_MQTT_MESSAGE, &address, "user_id=%llu device=%s why=maximum_packet_size maximum=%u room=%llu seq=%llu",
                 (unsigned long long)client->session->inbox->entity.key.a, client->session->device_id, mqtt->packet_size_max,
                 (unsigned long long)form->message.room_id, (unsigned long long)form->message.seq);
}

/* The packet for this client is in `made`, as large as it takes. */
static bool prepare(struct client *client, struct mqtt_made *made, const struct mqtt_form *form, const struct mqtt_delivery *delivery)
{
    const struct mqtt *mqtt = client->mqtt;
    if (!is_made(made, form, delivery)) {
        make(client, made, form, delivery);
    } else if (delivery->packet_id != made->delivery.packet_id) {
        made->packet.data[made->packet_id_at] = (uint8_t)(delivery->packet_id >> 8);
        made->packet.data[made->packet_id_at + 1] = (uint8_t)delivery->packet_id;
        made->delivery.packet_id = delivery->packet_id;
    }
    if (fits(mqtt, made, form->message.body)) return true;
    struct mqtt_delivery plain = *delivery;
    plain.plain = true;
    if (mqtt->version == MQTT_5) make(client, made, form, &plain);
    if (fits(mqtt, made, form->message.body)) return true;
    note_too_small(client, form);
    return false;
}

bool mqtt_send_message(struct client *client, const struct mqtt_form *form, struct session_form *shared,
                       const struct mqtt_delivery *delivery)
{
    const struct mqtt *mqtt = client->mqtt;
    struct mqtt_made *made = &client->door->mqtt->made[mqtt->version == MQTT_5];
    if (!prepare(client, made, form, delivery)) return false;
    struct slice packet = writer_slice(&made->packet), body = form->message.body;
    bool apart = body.len > CONN_COPY_MAX;
    struct buf *buf = apart ? body_buf(client, body, shared) : NULL;
    if (apart && buf == NULL) { /* the payload pool is empty */
        mqtt_too_slow(client);
        return false;
    }
    if (conn_send_frame(client->conn, CONN_FRAME_BINARY, packet, buf) == RESULT_BUSY) mqtt_too_slow(client);
    return true;
}
