/* tests/shard/door/mqtt/rig.c - see rig.h. */
#include "shard/door/mqtt/rig.h"
#include "net/mqttframe.h"
#include "shard/door/door.h"
#include "shard/engine/shard_internal.h"
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    struct harness net; /* its port is what the peers use; the rest is made here */
    struct door *door;
    struct host_pages pages;
    void (*reply)(void *context, const struct letter *letter);
    uint16_t held_method; /* 0: none */
    struct letter *held;
} world;

/* ---- ports ---- */

static void port_reply(void *context, const struct letter *letter)
{
    if (letter->method == world.held_method && world.held == NULL) world.held = letter_copy(letter);
    else if (letter->origin.generation != 0) door_on_reply(world.door, letter);
    else world.reply(context, letter);
}

static bool port_bind(void *context, const struct origin *origin, struct session *session)
{
    (void)context;
    return door_session_bind(world.door, origin, session);
}

static void port_event(void *context, struct session *session, uint64_t sync_key, struct session_event *event)
{
    (void)context;
    door_session_event(session, sync_key, event);
}

static void port_room(void *context, struct session *session, struct session_frame *message)
{
    (void)context;
    door_session_room(session, message);
}

static void port_missed(void *context, struct session *session)
{
    (void)context;
    door_session_missed(session);
}

static void port_end(void *context, struct session *session, uint16_t close_code, const char *reason)
{
    (void)context;
    door_session_end(world.door, session, close_code, reason);
}

static void change_ports(struct shard_ports *ports)
{
    world.reply = ports->reply;
    ports->reply = port_reply;
    struct domain_ports *sessions = &rig.setup.ports;
    sessions->session_bind = port_bind;
    sessions->session_event = port_event;
    sessions->session_room = port_room;
    sessions->session_missed = port_missed;
    sessions->session_end = port_end;
}

static void door_post(void *context, struct letter *letter)
{
    (void)context;
    letter->next = NULL;
    *rig.posted_last = letter;
    rig.posted_last = &letter->next;
}

static bool door_is_local(void *context, uint16_t shard)
{
    (void)context, (void)shard;
    return true;
}

static bool door_is_full(void *context, uint16_t shard)
{
    (void)context;
    return shard_is_full(rig.shards[shard]);
}

static uint64_t door_now_ms(void *context)
{
    (void)context;
    return rig.now_ms;
}

static uint64_t door_now_ns(void *context)
{
    (void)context;
    return rig.now_ms * 1000000;
}

/* ---- life ---- */

static void open_net(void)
{
    struct harness *net = &world.net;
    struct io_options ring = {.entries = 256, .receive_buffer_count = 64, .receive_buffer_size_bytes = 4096};
    struct server_options options = harness_options();
    char text[256];
    int fd;
    cr_assert_eq(io_create(&net->io, &ring, text, sizeof text), RESULT_OK, "%s", text);
    timer_wheel_init(&net->wheel, rig.now_ms);
    cr_assert_eq(server_listen("127.0.0.1:0", &fd, &net->port, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(server_create(&net->server, &options, net->io, &net->wheel, rig.pool, &rig.metrics, fd, &door_events, world.door),
                 RESULT_OK);
    server_start(net->server);
    door_set_server(world.door, net->server);
}

void mqtt_begin(void)
{
    rig_begin(1);
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 3;
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 1000;
    rig.setup.options.body_size_max_bytes = 60000;
    rig.pool_size_bytes = 16 << 20;
    rig.change_ports = change_ports;
    rig_open();
    world.pages.state = HOST_SERVING;
    struct door_options options = {
        .ports = {.post = door_post, .is_local = door_is_local, .is_full = door_is_full, .now_ms = door_now_ms, .now_ns = door_now_ns},
        .shard_count = 1,
        .token_keys = rig.keys,
        .token_terms = {.leeway_s = 30, .lifetime_max_s = 100000},
        .heartbeat_interval_ms = 25000,
        .frame_size_max = 65536,
        .authenticate_timeout_ms = 10000,
        .outbound_soft_bytes = 262144,
        .pages = &world.pages,
        .metrics = &rig.metrics,
        .timers = &world.net.wheel,
        .server_version = "test",
        .first_generation = 1,
    };
    cr_assert_eq(door_create(&world.door, &options), RESULT_OK);
    open_net();
}

bool mqtt_turn(void)
{
    bool moved = rig_turn();
    moved |= door_release(world.door);
    io_turn(world.net.io, moved ? 0 : 1, 1024);
    timer_wheel_advance(&world.net.wheel, rig.now_ms, 1024);
    server_flush(world.net.server);
    return moved;
}

void mqtt_settle(void)
{
    for (uint32_t quiet = 0; quiet < 10; quiet++)
        if (mqtt_turn()) quiet = 0;
}

void mqtt_advance(uint64_t ms)
{
    for (uint64_t end_ms = rig.now_ms + ms; rig.now_ms < end_ms;) {
        rig.now_ms += end_ms - rig.now_ms < 500 ? end_ms - rig.now_ms : 500;
        mqtt_turn();
        shard_tick(rig.shards[0]);
    }
    mqtt_settle();
}

void mqtt_finish(void)
{
    rig.letters_held = rig.stores_held = rig.disks_held = false;
    server_stop(world.net.server, (struct conn_goodbye){1001, "test ends"});
    for (uint32_t turns = 0; !server_idle(world.net.server) && turns < 400; turns++) mqtt_advance(500);
    cr_assert(server_idle(world.net.server));
    mqtt_settle();
    rig_close_shard(0);
    server_destroy(world.net.server);
    door_destroy(world.door);
    rig_close();
    io_destroy(world.net.io);
}

void mqtt_hold_answer(uint16_t method) { world.held_method = method; }

void mqtt_give_answer(void)
{
    cr_assert_not_null(world.held);
    world.held_method = 0;
    door_on_reply(world.door, world.held);
    letter_free(world.held);
    world.held = NULL;
}

/* ---- clients ---- */

static uint8_t *put_text(uint8_t *at, struct slice text)
{
    *at++ = (uint8_t)(text.len >> 8);
    *at++ = (uint8_t)text.len;
    if (text.len > 0) memcpy(at, text.data, text.len);
    return at + text.len;
}

static void send_packet(struct mqtt_client *client, uint8_t first_byte, const uint8_t *body, size_t len)
{
    uint8_t packet[2048] = {first_byte};
    size_t at = 1, left = len;
    for (; left >= 0x80; left >>= 7) packet[at++] = (uint8_t)(left | 0x80);
    packet[at++] = (uint8_t)left;
    if (len > 0) memcpy(packet + at, body, len);
    peer_send(&client->peer, packet, at + len);
}

static struct slice token_of(uint64_t user_id, const char *device_id, struct writer *out)
{
    struct token_claims claims = {.user_id = user_id, .issued_s = rig.now_ms / 1000, .expires_s = rig.now_ms / 1000 + 600};
    strcpy(claims.device_id, device_id);
    strcpy(claims.platform, "test");
    token_mint(rig.keys, &claims, out);
    return writer_slice(out);
}

void mqtt_call(struct mqtt_client *client, uint64_t user_id, const char *device_id, struct mqtt_how how)
{
    uint8_t body[1024], *at = put_text(body, SLICE_TEXT("MQTT"));
    client->version = how.version == 0 ? MQTT_3_1_1 : how.version;
    *at++ = client->version;
    *at++ = (uint8_t)(0xc0 | (how.persistent && !how.anew ? 0 : 2) | (how.will_topic != NULL ? 0x0c : 0));
    *at++ = (uint8_t)(how.keep_alive_s >> 8);
    *at++ = (uint8_t)how.keep_alive_s;
    if (client->version == MQTT_5) {
        const uint8_t properties[] = {8,   MQTT_SESSION_EXPIRY, 0, 0, how.persistent ? 1 : 0, 0, MQTT_RECEIVE_MAXIMUM,
                                      (uint8_t)(how.receive_maximum == 0 ? 0xff : how.receive_maximum >> 8),
                                      (uint8_t)(how.receive_maximum == 0 ? 0xff : how.receive_maximum)};
        memcpy(at, properties, sizeof properties);
        at += sizeof properties;
    }
    struct writer token;
    writer_init(&token, 0);
    at = put_text(at, slice_text(device_id));
    if (how.will_topic != NULL) {
        const uint8_t properties[] = {5, MQTT_WILL_DELAY, 0, 0, 0, how.will_delay_s};
        if (client->version == MQTT_5) memcpy(at, properties, sizeof properties);
        if (client->version == MQTT_5) at += sizeof properties;
        at = put_text(put_text(at, slice_text(how.will_topic)), slice_text(how.will_text));
    }
    at = put_text(at, SLICE_EMPTY);
    at = put_text(at, token_of(user_id, device_id, &token));
    writer_deinit(&token);
    peer_connect(&client->peer, &world.net);
    send_packet(client, 0x10, body, (size_t)(at - body));
}

void mqtt_come(struct mqtt_client *client, uint64_t user_id, const char *device_id, struct mqtt_how how)
{
    mqtt_call(client, user_id, device_id, how);
    struct mqtt_got got = mqtt_expect(client, MQTT_CONNACK);
    cr_assert_eq(got.reason, 0);
    client->present = got.packet_id != 0;
}

void mqtt_leave(struct mqtt_client *client)
{
    send_packet(client, 0xe0, NULL, 0);
    mqtt_settle();
    mqtt_drop(client);
}

void mqtt_drop(struct mqtt_client *client)
{
    (void)shutdown(client->peer.fd, SHUT_WR); /* fails when the server has reset the connection */
    MQTT_UNTIL(peer_ended(&client->peer));    /* it closes when it has seen the end: what comes later is not for this connection */
    peer_deinit(&client->peer);
    mqtt_settle();
}

static void subscribe(struct mqtt_client *client, const char *filter, uint8_t options)
{
    uint8_t body[128] = {0, 1}, *at = body + 2;
    if (client->version == MQTT_5) *at++ = 0;
    at = put_text(at, slice_text(filter));
    *at++ = options;
    send_packet(client, 0x82, body, (size_t)(at - body));
}

uint8_t mqtt_listen(struct mqtt_client *client, const char *filter, uint8_t qos)
{
    subscribe(client, filter, client->version == MQTT_5 ? qos | 0x20 : qos); /* nothing retained */
    return mqtt_expect(client, MQTT_SUBACK).reason;
}

uint8_t mqtt_listen_retained(struct mqtt_client *client, const char *filter, uint8_t qos, struct mqtt_got *got)
{
    struct mqtt_got next = {0};
    subscribe(client, filter, qos);
    for (uint32_t turns = 0; next.type != MQTT_SUBACK; turns++) {
        cr_assert_lt(turns, HARNESS_TURNS_MAX, "no SUBACK came");
        *got = next;
        while (!mqtt_next(client, &next) && turns++ < HARNESS_TURNS_MAX) mqtt_turn();
    }
    return next.reason;
}

static void publish(struct mqtt_client *client, const char *topic, const char *text, uint8_t first_byte, uint16_t packet_id,
                    struct slice properties)
{
    uint8_t body[256], *at = put_text(body, slice_text(topic));
    if ((first_byte & 6) != 0) {
        *at++ = (uint8_t)(packet_id >> 8);
        *at++ = (uint8_t)packet_id;
    }
    if (client->version == MQTT_5) *at++ = (uint8_t)properties.len;
    if (properties.len > 0) memcpy(at, properties.data, properties.len);
    at += properties.len;
    memcpy(at, text, strlen(text));
    send_packet(client, first_byte, body, (size_t)(at - body) + strlen(text));
}

void mqtt_say(struct mqtt_client *client, const char *topic, const char *text, uint8_t first_byte, uint16_t packet_id)
{
    publish(client, topic, text, first_byte, packet_id, SLICE_EMPTY);
}

void mqtt_say_for(struct mqtt_client *client, const char *topic, const char *text, uint8_t first_byte, uint16_t packet_id, uint32_t expiry_s)
{
    const uint8_t expiry[] = {MQTT_MESSAGE_EXPIRY, (uint8_t)(expiry_s >> 24), (uint8_t)(expiry_s >> 16), (uint8_t)(expiry_s >> 8),
                              (uint8_t)expiry_s};
    publish(client, topic, text, first_byte, packet_id, slice_of(expiry, sizeof expiry));
}

void mqtt_answer(struct mqtt_client *client, enum mqtt_type type, uint16_t packet_id)
{
    const uint8_t body[2] = {(uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    send_packet(client, (uint8_t)((unsigned)type << 4 | (type == MQTT_PUBREL ? 2 : 0)), body, 2);
}

static void copy_text(char *out, struct slice text)
{
    cr_assert_lt(text.len, 64);
    if (text.len > 0) memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

static void read_properties(struct mqtt_got *got, struct cursor *c)
{
    uint32_t len = mqtt_read_varint(c);
    struct cursor block = cursor_of(slice_of(cursor_take(c, len), len));
    struct mqtt_property_value property;
    while (mqtt_property_next(&block, &property))
        if (property.id == MQTT_MESSAGE_EXPIRY) got->expiry_s = property.number;
}

static void read_packet(struct mqtt_client *client, struct mqtt_got *got, struct cursor *c)
{
    if (got->type == MQTT_PUBLISH) {
        copy_text(got->topic, mqtt_read_bytes(c));
        if ((got->flags & 6) != 0) got->packet_id = mqtt_read_u16(c);
        if (client->version == MQTT_5) read_properties(got, c);
        copy_text(got->text, slice_of(c->at, cursor_left(c)));
    } else if (got->type == MQTT_DISCONNECT) {
        got->reason = cursor_u8(c);
    } else if (got->type == MQTT_CONNACK) {
        got->packet_id = cursor_u8(c);
        got->reason = cursor_u8(c);
    } else if (got->type != MQTT_PINGRESP) {
        got->packet_id = mqtt_read_u16(c);
        if (got->type == MQTT_SUBACK && client->version == MQTT_5) (void)cursor_u8(c);
        if (cursor_left(c) > 0) got->reason = cursor_u8(c);
    }
    cr_assert(!c->bad);
}

bool mqtt_next(struct mqtt_client *client, struct mqtt_got *got)
{
    *got = (struct mqtt_got){.expiry_s = -1};
    (void)peer_has(&client->peer, 1);
    uint32_t size = mqttframe_size(writer_slice(&client->peer.received));
    if (size == 0 || size > client->peer.received.len) return false;
    struct cursor c = cursor_of(slice_of(client->peer.received.data, size));
    uint8_t first_byte = cursor_u8(&c);
    (void)mqtt_read_varint(&c);
    got->type = first_byte >> 4;
    got->flags = first_byte & 15;
    read_packet(client, got, &c);
    peer_consume(&client->peer, size);
    return true;
}

struct mqtt_got mqtt_expect(struct mqtt_client *client, enum mqtt_type type)
{
    struct mqtt_got got;
    uint32_t turns = 0;
    while (!mqtt_next(client, &got) && turns++ < HARNESS_TURNS_MAX) mqtt_turn();
    cr_assert_lt(turns, HARNESS_TURNS_MAX, "no packet of type %d came", type);
    cr_assert_eq(got.type, type, "a packet of type %d came, not %d", got.type, type);
    return got;
}

void mqtt_expect_end(struct mqtt_client *client) { MQTT_UNTIL(peer_ended(&client->peer)); }
