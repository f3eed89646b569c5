/* perf/driver_mqtt.c - MQTT 3.1.1, to Ringpost's door and to any other broker, with the same topics: `u/<person>` carries what is
 * written to a person, `r/<room>` what is written to a room. To Ringpost a person logs in with a token as the password and the
 * token's device as the client id; to a plain broker with a client id of its own and the user of the command line, if any.
 *
 * Happy path: CONNECT -> CONNACK -> a SUBSCRIBE for each thing listened to, unless the broker kept them -> SUBACKs -> ready.
 * Every delivery is acknowledged in the turn it arrived in, with the one write that the session makes per turn. */
#include "perf/mqtt.h"
#include "perf/session.h"
#include <stdio.h>

#define TOPIC_MAX       24  /* u/ and 20 digits */
#define UNDER_WAY_MAX   256 /* publications without PUBACK; twice the largest window */
#define PACKET_IDS      65535u
#define CLIENT_ID_MAX   40

struct flight {
    uint64_t id; /* the workload's; 0: nothing under way */
    uint16_t packet_id;
};

struct publisher { /* of a session that sends; made by its first message */
    struct flight flights[UNDER_WAY_MAX]; /* by packet id modulo their count */
    uint64_t topic_target;                /* what `topic` was written for, last time */
    char topic_letter, topic[TOPIC_MAX];
    uint8_t topic_len;
    uint16_t packet_id; /* the last one given */
};

static uint8_t topic_write(char letter, uint64_t target, char topic[TOPIC_MAX])
{
    char digits[20];
    uint8_t count = 0, len = 2;
    do digits[count++] = (char)('0' + target % 10);
    while ((target /= 10) != 0);
    topic[0] = letter;
    topic[1] = '/';
    while (count > 0) topic[len++] = digits[--count];
    return len;
}

static struct slice slice_of_text(const char *text, size_t len) { return (struct slice){(const uint8_t *)text, len}; }

/* ---- logging in ---- */

static void mqtt_open(struct session *session)
{
    const struct broker *broker = &session->loop->broker;
    char token[TOKEN_TEXT_MAX], client_id[CLIENT_ID_MAX] = TOKEN_DEVICE;
    struct mqtt_connect connect = {.client_id = client_id, .clean = !session->login.persistent};
    if (broker->plain) {
        snprintf(client_id, sizeof client_id, "bench-%llu", (unsigned long long)session->login.user_id);
        connect.user = broker->user;
        connect.password = broker->password;
    } else {
        (void)token_mint_write(&session->loop->tokens, session->login.user_id, token);
        connect.user = "";
        connect.password = token;
    }
    (void)mqtt_put_connect(session_write(session, mqtt_connect_size(&connect)), &connect);
}

static void subscribe(struct session *session, char letter, uint64_t target)
{
    char topic[TOPIC_MAX];
    struct slice filter = slice_of_text(topic, topic_write(letter, target, topic));
    uint16_t packet_id = ++session->driver_stage; /* how many SUBACKs are awaited; no publication is under way yet */
    (void)mqtt_put_subscribe(session_write(session, mqtt_subscribe_size(filter)), packet_id, filter, session->loop->broker.qos);
}

static void on_connack(struct session *session, const struct mqtt_packet *packet)
{
    bool present;
    uint8_t code;
    char reason[48];
    if (!mqtt_read_connack(packet, &present, &code) || code != 0) {
        snprintf(reason, sizeof reason, "CONNECT was refused with code %d", packet->body.len < 2 ? -1 : code);
        session_fail(session, reason);
        return;
    }
    session->resumed = present;
    if (!present && session->login.hears_direct) subscribe(session, 'u', session->login.user_id);
    if (!present && session->login.room_id != 0) subscribe(session, 'r', session->login.room_id);
    if (session->driver_stage == 0) session_on_ready(session);
}

static void on_suback(struct session *session, const struct mqtt_packet *packet)
{
    if (packet->body.len != 3 || packet->body.data[2] > 2 || session->driver_stage == 0)
        session_fail(session, "SUBSCRIBE was refused");
    else if (--session->driver_stage == 0) session_on_ready(session);
}

/* ---- receiving ---- */

static void on_publish(struct session *session, const struct mqtt_packet *packet)
{
    struct mqtt_publish publish;
    if (!mqtt_read_publish(packet, &publish) || publish.qos > 1) {
        session_fail(session, "a PUBLISH that cannot be decoded");
        return;
    }
    if (publish.qos == 1) (void)mqtt_put_puback(session_write(session, MQTT_ACK_SIZE), publish.packet_id);
    struct incoming message = {.body = publish.payload, .repeated = publish.duplicate};
    session_on_message(session, &message);
}

static void on_puback(struct session *session, const struct mqtt_packet *packet)
{
    struct publisher *publisher = session->driver_state;
    uint16_t packet_id;
    if (publisher == NULL || !mqtt_read_packet_id(packet, &packet_id)) {
        session_fail(session, "a PUBACK for nothing");
        return;
    }
    struct flight *flight = &publisher->flights[packet_id % UNDER_WAY_MAX];
    struct answer answer = {.id = flight->packet_id == packet_id ? flight->id : 0}; /* 0: no such message; counted as a second */
    flight->id = 0;
    session_on_answer(session, &answer);
}

static void mqtt_on_packet(struct session *session, const struct mqtt_packet *packet)
{
    switch (packet->type) {
    case MQTT_PUBLISH: on_publish(session, packet); break;
    case MQTT_PUBACK: on_puback(session, packet); break;
    case MQTT_CONNACK: on_connack(session, packet); break;
    case MQTT_SUBACK: on_suback(session, packet); break;
    case MQTT_PINGRESP: break;
    default: session_fail(session, "an unexpected MQTT packet"); break;
    }
}

static size_t mqtt_receive(struct session *session, struct slice in)
{
    size_t taken = 0;
    while (session_listens(session)) {
        struct mqtt_packet packet;
        size_t size = mqtt_take((struct slice){in.data + taken, in.len - taken}, &packet);
        if (size == 0) break;
        if (size == MQTT_BROKEN) {
            session_fail(session, "bytes that are no MQTT packet");
            break;
        }
        mqtt_on_packet(session, &packet);
        taken += size;
    }
    return taken;
}

/* ---- sending ---- */

static uint16_t next_packet_id(struct publisher *publisher, uint64_t id)
{
    publisher->packet_id = (uint16_t)(publisher->packet_id % PACKET_IDS + 1);
    struct flight *flight = &publisher->flights[publisher->packet_id % UNDER_WAY_MAX];
    if (flight->id != 0) perf_die("more than %d messages of one MQTT session are under way", UNDER_WAY_MAX);
    *flight = (struct flight){id, publisher->packet_id};
    return publisher->packet_id;
}

static void mqtt_send(struct session *session, const struct outgoing *message)
{
    if (session->driver_state == NULL) session->driver_state = perf_alloc(1, sizeof(struct publisher));
    struct publisher *publisher = session->driver_state;
    char letter = message->room_id != 0 ? 'r' : 'u';
    uint64_t target = message->room_id != 0 ? message->room_id : message->to_user_id;
    uint8_t qos = session->loop->broker.qos;
    if (publisher->topic_letter != letter || publisher->topic_target != target) {
        publisher->topic_len = topic_write(letter, target, publisher->topic);
        publisher->topic_letter = letter;
        publisher->topic_target = target;
    }
    struct mqtt_publish publish = {.topic = slice_of_text(publisher->topic, publisher->topic_len),
                                   .payload = message->body,
                                   .packet_id = qos > 0 ? next_packet_id(publisher, message->id) : 0,
                                   .qos = qos};
    (void)mqtt_put_publish(session_write(session, mqtt_publish_size(&publish)), &publish);
    if (qos > 0) return;
    struct answer answer = {.id = message->id}; /* nobody acknowledges QoS 0: it counts as said when written */
    session_on_answer(session, &answer);
}

static void mqtt_close(struct session *session)
{
    static const uint8_t disconnect[] = {MQTT_DISCONNECT << 4, 0};
    memcpy(session_write(session, sizeof disconnect), disconnect, sizeof disconnect);
}

const struct driver driver_mqtt = {.name = "mqtt",
                                   .open = mqtt_open,
                                   .receive = mqtt_receive,
                                   .send = mqtt_send,
                                   .close = mqtt_close};
