/* shard/mqtt/encode.c - a message as PUBLISH.
 * Happy path: the first client that gets a pushed message reads it and makes the tail of its version; every other one finds both and
 * adds a head of its own: one copy of some 150 bytes into its connection's output, large tails by reference.
 *
 *     head                                                                       tail, shared
 *     +---------------+-------+----------+----------------------------------+    +---------------------------+
 *     | type, length  | topic | packet   | MQTT 5: length of all properties,|    | MQTT 5: other properties  |
 *     |               |       | id       | subscription identifiers         |    | body                      |
 *     +---------------+-------+----------+----------------------------------+    +---------------------------+ */
#include "api/wire.h"
#include "shard/mqtt/mqtt_internal.h"
#include "shard/room/view.h"

#define HEAD_SIZE_MAX 128 /* 5 + 2 + MQTT_TOPIC_MAX + 2 + 4 + 2 * 5 */

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
        default: break;
        }
    }
    return !c.bad;
}

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

void mqtt_form_read_message(struct mqtt_form *form, struct slice packed)
{
    form->type = UINT8_MAX;
    form->kind = mqtt_message_read(&form->message, packed) ? MQTT_FORM_MESSAGE : MQTT_FORM_OTHER;
    form->topic[0] = 'r';
    form->topic[1] = '/';
    form->topic_len = (uint8_t)(2 + put_number(form->topic + 2, form->message.room_id));
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

/* NULL: the payload pool is empty. */
static struct buf *tail_of(struct client *client, const struct mqtt_form *form, struct session_form *shared, bool direct)
{
    bool with_properties = client->mqtt->version == MQTT_5;
    struct buf **tail = &shared->tails[with_properties];
    if (*tail != NULL) return *tail;
    struct writer *block = &client->door->mqtt->block;
    writer_reset(block);
    if (with_properties) mqtt_write_properties(block, &form->message, direct);
    struct slice body = form->message.body;
    *tail = session_try_get_buf(client->session, (uint32_t)block->len + body.len);
    if (*tail == NULL) return NULL;
    if (block->len > 0) memcpy((*tail)->data, block->data, block->len);
    if (body.len > 0) memcpy((*tail)->data + block->len, body.data, body.len);
    (*tail)->len = (uint32_t)block->len + body.len;
    if (with_properties) shared->block_len = (uint32_t)block->len;
    return *tail;
}

/* The topic with its length. */
static uint8_t *put_topic(uint8_t *at, const struct client *client, const struct mqtt_form *form, uint8_t kind)
{
    uint8_t *text = at + 2;
    uint32_t len = form->topic_len;
    if (kind == MQTT_MY_NAME || kind == MQTT_MY_ID) {
        const struct inbox *inbox = client->session->inbox;
        text[0] = 'u';
        text[1] = '/';
        len = 2;
        if (kind == MQTT_MY_ID) len += put_number((char *)text + 2, inbox->entity.key.a);
        else len = (uint32_t)(stpcpy((char *)text + 2, inbox->name) - (char *)text); /* a name has at most 32 bytes */
    } else {
        memcpy(text, form->topic, len);
    }
    at[0] = (uint8_t)(len >> 8);
    at[1] = (uint8_t)len;
    return text + len;
}

/* The length of all properties and those that are the client's own. */
static uint8_t *put_own_properties(uint8_t *at, const struct mqtt_match *match, uint32_t block_len)
{
    uint8_t own[16], *end = own;
    for (uint32_t i = 0; i < match->identifier_count; i++) {
        *end++ = MQTT_SUBSCRIPTION_ID;
        end = wire_put_varint(end, match->identifiers[i]);
    }
    uint32_t own_len = (uint32_t)(end - own);
    at = wire_put_varint(at, block_len + own_len);
    memcpy(at, own, own_len);
    return at + own_len;
}

bool mqtt_send_message(struct client *client, const struct mqtt_form *form, struct session_form *shared,
                       const struct mqtt_delivery *delivery)
{
    const struct mqtt *mqtt = client->mqtt;
    const struct mqtt_match *match = &delivery->match;
    struct buf *tail = tail_of(client, form, shared, delivery->direct);
    if (tail == NULL) {
        mqtt_too_slow(client);
        return false;
    }
    uint8_t variable[HEAD_SIZE_MAX], head[HEAD_SIZE_MAX + 5];
    uint8_t *end = put_topic(variable, client, form, match->kind);
    if (match->qos > 0) {
        *end++ = (uint8_t)(delivery->packet_id >> 8);
        *end++ = (uint8_t)delivery->packet_id;
    }
    if (mqtt->version == MQTT_5) end = put_own_properties(end, match, shared->block_len);
    uint32_t variable_len = (uint32_t)(end - variable), remaining = variable_len + tail->len;
    head[0] = (uint8_t)((unsigned)MQTT_PUBLISH << 4 | (delivery->duplicate ? 8u : 0u) | (unsigned)match->qos << 1 | delivery->retain);
    uint8_t *at = wire_put_varint(head + 1, remaining);
    if ((uint64_t)(at - head) + remaining > mqtt->packet_size_max) return false;
    memcpy(at, variable, variable_len);
    struct slice bytes = slice_of(head, (size_t)(at - head) + variable_len);
    if (conn_send_frame(client->conn, CONN_FRAME_BINARY, bytes, tail) == RESULT_BUSY) mqtt_too_slow(client);
    return true;
}
