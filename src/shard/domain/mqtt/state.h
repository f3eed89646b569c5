/* shard/domain/mqtt/state.h - what outlives an MQTT connection: a session is a cursor in the user's stream, and how it listens.
 * Owns:    the persistent sessions of a user, in memory and in the store; there is no queue of messages beside the stream.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/engine/machine.h, shard/engine/request.h.  Start at: shard/door/mqtt/mqtt.h
 *
 * A session is opened by a connection with an `epoch` of its own; a save of an earlier connection is ignored. It is over when
 * expiry_s passed since it was saved unconnected; expiry_s 0 deletes it.
 *
 *   subscriptions: { u8 kind | u8 options | u64 room id | u64 since | u32 identifier }…
 *   rooms: { u64 room id | u64 seq acknowledged | u64 seq handed on }…, the large ones; of small ones the stream has everything. Handed on ~0:
 *           it begins where the stream will say that one came in, or behind `seq acknowledged` if that says nothing
 *   releasing: { u64 room id, 0: the stream | u64 seq or sync_key }…, QoS 2: received by the client, PUBREL is due
 *   recent: { u16 packet id | u32 round, high bit: released | u64 epoch }…, oldest first: the ids that messages received from the client
 *           last got. The id itself is <epoch>.<round, packet id> as publish.c makes it, and that is part of this format: a message
 *           that was under way when the server was replaced is known by it. Another form of ids needs a field here that says which. */
#ifndef SHARD_MQTT_STATE_H
#define SHARD_MQTT_STATE_H

#include "shard/domain/entities.h"
#include "shard/engine/machine.h"
#include "shard/domain/records.h"

struct shard;
struct letter;
struct request;

#define MQTT_CLIENT_ID_MAX    64
#define MQTT_EXPIRY_NEVER     UINT32_MAX
#define MQTT_SUBSCRIPTIONS_MAX 256 /* of one session: SUBACK 0x97 */

struct mqtt_stored { /* one session */
    uint8_t *bytes; /* owned: a packed mqtt_session_record */
    uint32_t len;
    uint64_t row_hash; /* state_hash.h */
};
struct mqtt_state { /* exists: has ever had a session that is still kept */
    struct entity entity;
    struct mqtt_stored *sessions; /* owned array */
    uint32_t count;
};
extern const struct entity_type mqtt_state_type;
static inline struct mqtt_state *mqtt_state_of(struct entity *e) { return ENTITY_CAST(struct mqtt_state, ENTITY_MQTT, e); }
/* False: there is none. Slices borrow the state. */
bool mqtt_state_find(const struct mqtt_state *state, struct slice client_id, struct mqtt_session_record *out);
/* Its time ran out while nobody was connected. */
bool mqtt_session_over(const struct mqtt_session_record *session, uint64_t now_ms);

/* ---- what the door asks, in a letter to the home shard unless it says another; `method` is the question, in the REPLY too ---- */
enum mqtt_question {
    MQTT_OPEN_SESSION = 0x8001, /* payload: mqtt_session_record (client_id, epoch, expiry_s) with opens = 1, or 2: a clean one.
                                   Reply: u8 present, mqtt_session_record */
    MQTT_SAVE_SESSION,          /* payload: mqtt_session_record. Reply: empty, once durable */
    MQTT_ASK_ROOM,              /* payload: u64 room. Reply: u64 room, u8 type, u8 large */
    MQTT_CLEAR_RETAINED,        /* to the room's shard; payload: u64 room. Reply: empty, once durable */
    MQTT_WILL,                  /* payload: will_record, state = enum will_word, see wills.h. Reply, once durable: empty, but of
                                   WILL_OPENS u8, 1: an earlier will of the client waits, and WILL_BACK is to be said */
    MQTT_ASK_RETAINED,          /* to the room's shard; payload: u64 room. Reply: u64 seq, no message up to it is retained */
};
void mqtt_clear_retained_run(struct shard *shard, struct request *request); /* retained.c */
void mqtt_ask_retained_run(struct shard *shard, struct request *request);
void mqtt_state_receive(struct shard *shard, struct letter *letter);

#endif
