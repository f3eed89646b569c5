/* shard/door/mqtt/mqtt.h - the MQTT door: a client of MQTT 3.1.1 or 5 is a user with a device, like every other client.
 * Owns:    struct mqtt, one per MQTT connection, hanging on its struct client.
 * Thread:  the connection's worker.  Depends: mqtt/, shard/door/door_internal.h.  Start at: shard/engine/shard.h
 * Reading order: state.h | mqtt_internal.h connect.c | publish.c properties.c | subscribe.c | window.h encode.c deliver.c rooms.c save.c | state.c retained.c
 *
 *   publish to u/<user name or id>, r/<room id>  -> the method `send`          the acknowledgement waits for its answer: it is on disk
 *   subscription u/<me>                          <- messages of conversations of two that others sent
 *   subscription r/<room id>, r/+                <- messages of rooms with members
 *   persistent session                           =  a cursor in the user's stream (state.h); what was missed is synced
 *   retained                                     =  the last message of the room
 * It stands between the door and the sessions: what the session pushes as events becomes PUBLISH, what the client publishes
 * becomes requests. Nothing behind the door knows MQTT. */
#ifndef SHARD_MQTT_MQTT_H
#define SHARD_MQTT_MQTT_H

#include "shard/door/door_internal.h"

#define MQTT_SUBPROTOCOL "mqtt"

struct mqtt;
struct mqtt_door;
struct mqtt_door *mqtt_door_create(void);
void mqtt_door_destroy(struct mqtt_door *door);

/* `websocket`: packets come as bytes in WebSocket messages, cut anywhere. */
struct mqtt *mqtt_create(bool websocket);
void mqtt_destroy(struct mqtt *mqtt); /* NULL is allowed */

/* Frames, answers and pushes of its connection. */
void mqtt_on_frame(struct client *client, struct slice payload);
void mqtt_on_reply(struct client *client, const struct inflight *request, const struct letter *letter);
/* What it wants to ask cannot be asked: too many requests are under way. */
void mqtt_on_full(struct client *client);
void mqtt_on_event(struct client *client, uint64_t sync_key, struct session_event *event);
void mqtt_on_room(struct client *client, struct session_frame *message);
void mqtt_on_missed(struct client *client);
void mqtt_on_drained(struct client *client);
/* The connection takes frames again: what waits goes on. */
void mqtt_on_resumed(struct client *client);
/* Nothing further can be read: what comes is no packet, or one that is too large. */
void mqtt_on_broken(struct client *client, bool too_large);
/* The server stops. */
void mqtt_on_stopping(struct client *client);
/* The connection is gone: will and cursor. The session is still there. */
void mqtt_on_close(struct client *client);
/* True while one thing must be finished before the next packet. */
bool mqtt_waits(const struct mqtt *mqtt);
/* The server ends the session for a reason of its own (CLOSE_…). */
void mqtt_session_ended(struct client *client, uint16_t close_code);

#endif
