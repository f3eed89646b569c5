/* tests/sim/guest_thing.c - the thing of a guest: MQTT in a persistent session, its own side of QoS 1 and 2 kept over every reconnect.
 * A connection begins with CONNECT; when the session is there, what is not acknowledged is sent again: PUBLISH with DUP, or PUBREL. */
#include "sim/guests_internal.h"
#include "core/check.h"
#include "mqtt/packet.h"
#include "sim/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS   20000000u
#define DUP           0x08u
#define SESSION_NEVER_EXPIRES UINT32_MAX

/* ---- writing packets -------------------------------------------------------------------------------------------------------- */

static void put_u16(struct writer *w, uint16_t value)
{
    writer_u8(w, (uint8_t)(value >> 8));
    writer_u8(w, (uint8_t)value);
}

static void put_text(struct writer *w, struct slice text)
{
    put_u16(w, (uint16_t)text.len);
    writer_raw(w, text.data, text.len);
}

static void send_packet(struct thing_of_guest *thing, uint8_t first, const struct writer *body)
{
    struct writer packet;
    writer_init(&packet, 0);
    writer_u8(&packet, first);
    size_t left = body->len;
    for (; left >= 0x80; left >>= 7) writer_u8(&packet, (uint8_t)(left | 0x80));
    writer_u8(&packet, (uint8_t)left);
    writer_raw(&packet, body->data, body->len);
    wire_send(thing->line.wire, writer_slice(&packet));
    writer_deinit(&packet);
}

static void put_no_properties(const struct thing_of_guest *thing, struct writer *w)
{
    if (thing->five) writer_u8(w, 0);
}

static void send_ack(struct thing_of_guest *thing, enum mqtt_type type, uint16_t packet_id)
{
    struct writer body;
    writer_init(&body, 0);
    put_u16(&body, packet_id);
    send_packet(thing, (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0)), &body);
    writer_deinit(&body);
}

static struct slice topic_of(const struct guests *g, const struct said *said, char out[40])
{
    int len = said->to == TO_GROUP ? snprintf(out, 40, "r/%lu", (unsigned long)g->group_id) : snprintf(out, 40, "u/%s", g->guests[said->to].name);
    return slice_of(out, (size_t)len);
}

static void send_publish(const struct guests *g, struct thing_of_guest *thing, const struct published *published, bool again)
{
    const struct said *said = &g->saids[published->said];
    char topic[40], text[400];
    struct writer body;
    writer_init(&body, 0);
    put_text(&body, topic_of(g, said, topic));
    put_u16(&body, published->packet_id);
    put_no_properties(thing, &body);
    struct slice payload = guests_body(published->said, text);
    writer_raw(&body, payload.data, payload.len);
    send_packet(thing, (uint8_t)(MQTT_PUBLISH << 4 | said->qos << 1 | (again ? DUP : 0)), &body);
    writer_deinit(&body);
}

static void send_subscribe(const struct guest *guest, struct thing_of_guest *thing)
{
    char own[40];
    struct writer body;
    writer_init(&body, 0);
    put_u16(&body, UINT16_MAX);
    put_no_properties(thing, &body);
    snprintf(own, sizeof own, "u/%s", guest->name);
    put_text(&body, slice_text(own));
    writer_u8(&body, guest_granted_qos(guest));
    put_text(&body, SLICE_TEXT("r/+"));
    writer_u8(&body, guest_granted_qos(guest));
    send_packet(thing, MQTT_SUBSCRIBE << 4 | 2, &body);
    writer_deinit(&body);
}

/* ---- connecting --------------------------------------------------------------------------------------------------------------- */

#define CONNECT_WILL     0x04u
#define CONNECT_PASSWORD 0xc0u /* and user name */

static void put_will(const struct guests *g, const struct thing_of_guest *thing, struct writer *w)
{
    char topic[40], text[400];
    put_no_properties(thing, w);
    put_text(w, topic_of(g, &g->saids[thing->will - 1], topic));
    put_text(w, guests_body(thing->will - 1, text));
}

static void send_connect(const struct guests *g, const struct guest *guest)
{
    struct thing_of_guest *thing = (struct thing_of_guest *)(uintptr_t)&guest->thing;
    uint32_t will_qos = thing->will == 0 ? 0 : g->saids[thing->will - 1].qos;
    struct writer body;
    writer_init(&body, 0);
    put_text(&body, SLICE_TEXT("MQTT"));
    writer_u8(&body, thing->five ? 5 : 4);
    writer_u8(&body, (uint8_t)(CONNECT_PASSWORD | (thing->will == 0 ? 0 : CONNECT_WILL | will_qos << 3)));
    put_u16(&body, 0); /* no keep-alive */
    if (thing->five) {
        const uint8_t expiry[] = {5, 0x11, 0xff, 0xff, 0xff, 0xff};
        writer_raw(&body, expiry, sizeof expiry);
    }
    put_text(&body, SLICE_TEXT("thing"));
    if (thing->will != 0) put_will(g, thing, &body);
    put_text(&body, slice_text(guest->name));
    put_text(&body, SLICE_TEXT(GUEST_PASSWORD));
    send_packet(thing, MQTT_CONNECT << 4, &body);
    writer_deinit(&body);
}

static void connect_thing(struct guests *g, struct guest *guest)
{
    struct thing_of_guest *thing = &guest->thing;
    line_open(g->world, &thing->line);
    thing->connected = thing->subscribing = false;
    thing->will = 0;
    if (g->group_id != 0 && !g->world->settling && dice_one_in(&g->world->dice, 3))
        thing->will = 1 + guests_say(g, guest, TO_GROUP, (uint8_t)dice_between(&g->world->dice, 1, 2), true);
    TRACE("the thing of guest %u connects, with will %u", guest->number, thing->will);
    send_connect(g, guest);
}

/* The connection is over, and no DISCONNECT was said: the will of one that was accepted is due. */
void thing_lose(struct guests *g, struct guest *guest, bool politely)
{
    struct thing_of_guest *thing = &guest->thing;
    if (thing->line.wire != NULL && thing->connected && thing->will != 0) g->saids[thing->will - 1].acked = true;
    line_close(g->world, &thing->line, politely);
    thing->connected = false;
    thing->will = 0;
}

static void disconnect(struct guests *g, struct guest *guest)
{
    struct writer none;
    writer_init(&none, 0);
    send_packet(&guest->thing, MQTT_DISCONNECT << 4, &none);
    guest->thing.will = 0; /* sent or not: the packet may not arrive */
    TRACE("the thing of guest %u takes its leave", guest->number);
    thing_lose(g, guest, dice_one_in(&g->world->dice, 2));
}

/* ---- doing --------------------------------------------------------------------------------------------------------------------- */

static void publish_something(struct guests *g, struct guest *guest)
{
    struct thing_of_guest *thing = &guest->thing;
    uint32_t to = dice_below(&g->world->dice, GUESTS_MAX);
    bool possible = to == guest->number ? g->group_id != 0 : g->guests[to].user_id != 0;
    if (!possible || thing->published_count == PUBLISHED_MAX) return;
    struct published *published = &thing->published[thing->published_count++];
    if (++thing->next_id == 1000) thing->next_id = 1;
    uint8_t qos = (uint8_t)dice_between(&g->world->dice, 1, 2);
    *published = (struct published){.packet_id = thing->next_id, .said = guests_say(g, guest, to == guest->number ? TO_GROUP : to, qos, false)};
    TRACE("the thing of guest %u publishes m%u with QoS %u", guest->number, published->said, qos);
    send_publish(g, thing, published, false);
}

void thing_step(struct guests *g, struct guest *guest)
{
    struct thing_of_guest *thing = &guest->thing;
    struct world *w = g->world;
    if (w->now_ns < thing->patience_ns || !guest->app.registered) return;
    if (thing->line.wire == NULL) {
        connect_thing(g, guest);
    } else if (!w->settling && dice_one_in(&w->dice, 50)) {
        TRACE("the thing of guest %u breaks off", guest->number);
        thing_lose(g, guest, dice_one_in(&w->dice, 2));
    } else if (!thing->connected) {
        return;
    } else if (!thing->subscribed) {
        if (!thing->subscribing) send_subscribe(guest, thing);
        thing->subscribing = true;
    } else if (!w->settling && dice_one_in(&w->dice, 40)) {
        disconnect(g, guest);
    } else if (!w->settling && dice_one_in(&w->dice, 2)) {
        publish_something(g, guest);
    }
}

bool thing_is_content(const struct guest *guest)
{
    return guest->thing.connected && guest->thing.subscribed && guest->thing.published_count == 0;
}

/* ---- hearing -------------------------------------------------------------------------------------------------------------------- */

static uint16_t u16_at(struct slice bytes, uint32_t at)
{
    EXPECT(bytes.len >= at + 2, "an MQTT packet is too short");
    return (uint16_t)(bytes.data[at] << 8 | bytes.data[at + 1]);
}

static uint8_t reason_at(struct slice bytes, uint32_t at) { return bytes.len > at ? bytes.data[at] : 0; }

static void hear_connack(struct guests *g, struct guest *guest, struct slice body)
{
    struct thing_of_guest *thing = &guest->thing;
    bool present = reason_at(body, 0) != 0;
    TRACE("the thing of guest %u is %s%s", guest->number, reason_at(body, 1) == 0 ? "connected" : "refused", present ? ", its session is there" : "");
    if (reason_at(body, 1) != 0) {
        thing->patience_ns = g->world->now_ns + PATIENCE_NS;
        thing_lose(g, guest, true);
        return;
    }
    EXPECT(present || !thing->subscribed, "the session of guest %u is gone", guest->number);
    thing->connected = true;
    for (uint32_t i = 0; i < thing->published_count; i++) {
        if (thing->published[i].received) send_ack(thing, MQTT_PUBREL, thing->published[i].packet_id);
        else send_publish(g, thing, &thing->published[i], true);
    }
}

static void remember(struct guest *guest, uint32_t said, uint8_t qos)
{
    struct thing_of_guest *thing = &guest->thing;
    uint32_t at = 0;
    while (at < thing->heard_count && thing->heard[at].said != said) at++;
    EXPECT(at == thing->heard_count || qos != 2, "the thing of guest %u hears m%u twice with QoS 2", guest->number, said);
    report_hash_u64(said, guest->number);
    TRACE("the thing of guest %u hears m%u with QoS %u", guest->number, said, qos);
    if (at < thing->heard_count) return;
    if (thing->heard_count == thing->heard_capacity) {
        thing->heard_capacity = thing->heard_capacity == 0 ? 64 : thing->heard_capacity * 2;
        thing->heard = realloc(thing->heard, thing->heard_capacity * sizeof *thing->heard);
        ASSERT(thing->heard != NULL);
    }
    thing->heard[thing->heard_count++] = (struct heard){said, qos};
}

static uint32_t held_at(const struct thing_of_guest *thing, uint16_t packet_id)
{
    uint32_t at = 0;
    while (at < thing->held_count && thing->held[at].packet_id != packet_id) at++;
    return at;
}

static void hear_publish(struct guests *g, struct guest *guest, uint8_t first, struct slice body)
{
    struct thing_of_guest *thing = &guest->thing;
    uint8_t qos = first >> 1 & 3;
    uint32_t at = 2u + u16_at(body, 0);
    uint16_t packet_id = qos > 0 ? u16_at(body, at) : 0;
    at += qos > 0 ? 2 : 0;
    if (thing->five) {
        uint32_t size = 0, shift = 0;
        do size |= (body.data[at] & 0x7fu) << shift, shift += 7;
        while ((body.data[at++] & 0x80) != 0);
        at += size;
    }
    EXPECT(at <= body.len && qos > 0, "a PUBLISH that cannot be, of QoS %u", qos);
    uint32_t said = guests_said_of(g, slice_of(body.data + at, body.len - at));
    if (qos == 1) {
        remember(guest, said, qos);
        send_ack(thing, MQTT_PUBACK, packet_id);
        return;
    }
    uint32_t held = held_at(thing, packet_id);
    EXPECT(held == thing->held_count || thing->held[held].said == said, "packet id %u of m%u comes with m%u before its PUBREL", packet_id,
           thing->held[held].said, said);
    EXPECT(thing->held_count < HELD_MAX, "more of QoS 2 under way than the thing can hold");
    if (held == thing->held_count) {
        remember(guest, said, qos);
        thing->held[thing->held_count++] = (struct held){packet_id, said};
    }
    send_ack(thing, MQTT_PUBREC, packet_id);
}

static void hear_pubrel(struct guests *g, struct guest *guest, uint16_t packet_id)
{
    struct thing_of_guest *thing = &guest->thing;
    uint32_t held = held_at(thing, packet_id);
    if (held < thing->held_count) thing->held[held] = thing->held[--thing->held_count];
    send_ack(thing, MQTT_PUBCOMP, packet_id);
    if (!g->world->settling && dice_one_in(&g->world->dice, 10)) thing_lose(g, guest, false); /* and that may not arrive */
}

static void hear_ack(struct guests *g, struct guest *guest, enum mqtt_type type, struct slice body)
{
    struct thing_of_guest *thing = &guest->thing;
    uint16_t packet_id = u16_at(body, 0);
    uint8_t reason = thing->five ? reason_at(body, 2) : 0;
    uint32_t at = 0;
    while (at < thing->published_count && thing->published[at].packet_id != packet_id) at++;
    EXPECT(at < thing->published_count || type != MQTT_PUBACK, "an acknowledgement of nothing");
    if (at == thing->published_count) {
        if (type == MQTT_PUBREC) send_ack(thing, MQTT_PUBREL, packet_id);
        return;
    }
    struct published *published = &thing->published[at];
    struct said *said = &g->saids[published->said];
    TRACE("m%u is acknowledged: packet %d, reason %u", published->said, (int)type, reason);
    EXPECT(type == MQTT_PUBACK ? said->qos == 1 : said->qos == 2, "m%u of QoS %u is acknowledged by packet %d", published->said, said->qos, (int)type);
    if (type != MQTT_PUBCOMP && reason < MQTT_UNSPECIFIED) said->acked = true;
    if (type != MQTT_PUBCOMP && reason >= MQTT_UNSPECIFIED) said->refused = true;
    if (type == MQTT_PUBREC && reason < MQTT_UNSPECIFIED) {
        published->received = true;
        send_ack(thing, MQTT_PUBREL, packet_id);
        return;
    }
    memmove(published, published + 1, (--thing->published_count - at) * sizeof *published);
}

static void hear_packet(struct guests *g, struct guest *guest, uint8_t first, struct slice body)
{
    struct thing_of_guest *thing = &guest->thing;
    enum mqtt_type type = (enum mqtt_type)(first >> 4);
    EXPECT(thing->connected || type == MQTT_CONNACK, "packet %d before CONNACK", (int)type);
    if (type == MQTT_CONNACK) hear_connack(g, guest, body);
    else if (type == MQTT_SUBACK) thing->subscribed = true;
    else if (type == MQTT_PUBLISH) hear_publish(g, guest, first, body);
    else if (type == MQTT_PUBREL) hear_pubrel(g, guest, u16_at(body, 0));
    else if (type == MQTT_PUBACK || type == MQTT_PUBREC || type == MQTT_PUBCOMP) hear_ack(g, guest, type, body);
    else if (type == MQTT_DISCONNECT) thing_lose(g, guest, true);
    else EXPECT(type == MQTT_PINGRESP, "packet %d from a server", (int)type);
}

/* False: none is whole. */
static bool hear_next(struct guests *g, struct guest *guest)
{
    struct line *line = &guest->thing.line;
    struct slice rest = line_rest(line);
    uint32_t size = 0, at = 1, shift = 0;
    do {
        if (rest.len <= at || at > 4) return false;
        size |= (rest.data[at] & 0x7fu) << shift;
        shift += 7;
    } while ((rest.data[at++] & 0x80) != 0);
    if (rest.len - at < size) return false;
    line->in_at += at + size;
    hear_packet(g, guest, rest.data[0], slice_of(rest.data + at, size));
    return line->wire != NULL;
}

void thing_read(struct guests *g, struct guest *guest, uint32_t most, uint32_t packets)
{
    struct line *line = &guest->thing.line;
    if (line->wire == NULL) return;
    wire_receive(line->wire, &line->in, most);
    while (packets-- > 0 && line->wire != NULL && hear_next(g, guest)) continue;
    if (line->wire == NULL || !wire_is_over(line->wire)) return;
    TRACE("the thing of guest %u is left alone", guest->number);
    thing_lose(g, guest, true);
}
