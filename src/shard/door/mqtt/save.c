/* shard/door/mqtt/save.c - what of a session outlives its connection, written when it matters: the cursor of a persistent session at most
 * every second while it moves, when the connection ends, and before each PUBREL.
 * The answer to a save says that it is durable; then the promises that waited for it are kept: PUBREL, SUBACK, UNSUBACK. */
#include "shard/domain/letters.h"
#include "shard/domain/bounds.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt_internal.h"

#define SAVE_PERIOD_MS 1000

uint64_t mqtt_now_ms(const struct client *client)
{
    return client->door->options.ports.now_ns(client->door->options.ports.context) / 1000000;
}

#define SUBSCRIPTION_SIZE 22u
#define ROOM_SIZE         24u
#define RELEASING_SIZE    16u
#define RECENT_SIZE       14u
_Static_assert(MQTT_SUBSCRIPTIONS_MAX * SUBSCRIPTION_SIZE + MQTT_ROOMS_MAX * ROOM_SIZE + MQTT_WINDOW_MAX * RELEASING_SIZE +
                       MQTT_RECENT_COUNT * RECENT_SIZE + 1024 <= MQTT_SESSION_SIZE_MAX,
               "a session fits a command");

/* Each list is written behind the one before; where the bytes are is known when all are there. */
static void write_session(const struct client *client, bool connected, struct writer *out)
{
    const struct mqtt *mqtt = client->mqtt;
    struct writer lists;
    size_t ends[4];
    writer_init(&lists, 0);
    mqtt_write_subscriptions(mqtt, &lists);
    ends[0] = lists.len;
    mqtt_write_rooms(mqtt, &lists);
    ends[1] = lists.len;
    mqtt_write_releasing(mqtt, &lists);
    ends[2] = lists.len;
    mqtt_write_recent(mqtt, &lists);
    ends[3] = lists.len;
    char id[MQTT_CLIENT_ID_MAX + 1];
    struct mqtt_session_record session = {.client_id = mqtt_client_id(client, id),
                                          .epoch = mqtt->epoch,
                                          .connected = connected,
                                          .expiry_s = mqtt->expiry_s,
                                          .publisher = mqtt->publisher,
                                          .sync_key = mqtt_window_acknowledged(&mqtt->window, 0, mqtt->sent_key),
                                          .sent_key = mqtt->sent_key > mqtt->before_key ? mqtt->sent_key : mqtt->before_key};
    if (lists.len > 0) {
        session.subscriptions = slice_of(lists.data, ends[0]);
        session.rooms = slice_of(lists.data + ends[0], ends[1] - ends[0]);
        session.releasing = slice_of(lists.data + ends[1], ends[2] - ends[1]);
        session.recent = slice_of(lists.data + ends[2], ends[3] - ends[2]);
    }
    ASSERT(mqtt_session_record_size(&session) <= MQTT_SESSION_SIZE_MAX);
    mqtt_session_record_write(out, &session);
    writer_deinit(&lists);
}

/* As it is handed to the home shard; `by` hears of it. */
static void post(struct client *client, struct client *by, bool connected)
{
    struct writer payload;
    writer_init(&payload, 0);
    write_session(client, connected, &payload);
    uint16_t home = id_partition(by->session->inbox->entity.key.a);
    struct letter *letter = mqtt_letter(by, home, MQTT_SAVE_SESSION, writer_slice(&payload));
    letter->kind = LETTER_MQTT;
    by->mqtt->saves_open++;
    mqtt_ask(by, letter, 0);
    writer_deinit(&payload);
}

void mqtt_save(struct client *client, bool connected)
{
    struct mqtt *mqtt = client->mqtt;
    for (uint32_t i = 0; i < mqtt->window.count; i++) {
        struct mqtt_flight *flight = mqtt_window_at(&mqtt->window, i);
        if (flight->state == MQTT_WAIT_SAVE) flight->state = MQTT_SAVING;
    }
    mqtt->saved_key = mqtt_window_acknowledged(&mqtt->window, 0, mqtt->sent_key);
    mqtt->saved_ms = mqtt_now_ms(client);
    mqtt->unsaved = false;
    post(client, client, connected);
}

void mqtt_save_for(struct client *client, struct client *by) { post(client, by, false); }

static bool release_waits(const struct mqtt *mqtt)
{
    for (uint32_t i = 0; i < mqtt->window.count; i++)
        if (mqtt_window_at(&mqtt->window, i)->state == MQTT_WAIT_SAVE) return true;
    return false;
}

void mqtt_save_in_time(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt->phase != MQTT_SERVING || mqtt->saves_open > 0) return;
    bool moved = mqtt->unsaved || mqtt_window_acknowledged(&mqtt->window, 0, mqtt->sent_key) != mqtt->saved_key;
    bool due = moved && mqtt_now_ms(client) >= mqtt->saved_ms + SAVE_PERIOD_MS;
    if (due || (mqtt->unsaved && release_waits(mqtt))) mqtt_save(client, true);
}

void mqtt_saved(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    ASSERT(mqtt->saves_open > 0);
    mqtt->saves_open--;
    if (letter->error != ERROR_NONE) {
        mqtt_end(client, MQTT_SERVER_BUSY);
        return;
    }
    if (mqtt->saves_open > 0) return; /* a later one is under way, which holds all of this */
    mqtt_subscribe_saved(client);
    mqtt_announced(mqtt);
    for (uint32_t i = 0; i < mqtt->window.count && mqtt->phase == MQTT_SERVING; i++) {
        struct mqtt_flight *flight = mqtt_window_at(&mqtt->window, i);
        if (flight->state != MQTT_SAVING) continue;
        flight->state = MQTT_WAIT_PUBCOMP;
        mqtt_send_pubrel(client, flight->packet_id, MQTT_SUCCESS);
    }
    if (mqtt->phase == MQTT_SERVING) mqtt_pump(client);
}

/* ---- messages of QoS 2 that the client has, but may not know that we know ------------------------------------------------------ */

void mqtt_write_releasing(const struct mqtt *mqtt, struct writer *out)
{
    for (uint32_t i = 0; i < mqtt->window.count; i++) {
        const struct mqtt_flight *flight = mqtt_window_at(&mqtt->window, i);
        if (mqtt_flight_open(flight) || flight->state == MQTT_FLIGHT_DONE) continue;
        writer_u64(out, flight->room == 0 ? 0 : mqtt->rooms[flight->room - 1].room_id);
        writer_u64(out, flight->key);
    }
}

void mqtt_read_releasing(struct client *client, struct slice list)
{
    struct mqtt *mqtt = client->mqtt;
    struct cursor c = cursor_of(list);
    while (cursor_left(&c) > 0 && !c.bad && mqtt->window.count < MQTT_WINDOW_MAX && mqtt->phase == MQTT_SERVING) {
        uint64_t room_id = cursor_u64(&c);
        uint64_t key = cursor_u64(&c);
        uint16_t room = room_id == 0 ? 0 : mqtt_room_number(mqtt, room_id);
        uint16_t packet_id = room_id == 0 ? (uint16_t)(key % MQTT_STREAM_IDS + 1) : mqtt_room_packet_id(room_id, key);
        if (c.bad || (room_id != 0 && room == 0)) continue;
        mqtt_window_add(&mqtt->window, room, key, packet_id, MQTT_WAIT_PUBCOMP);
        mqtt_send_pubrel(client, packet_id, MQTT_SUCCESS);
    }
}
