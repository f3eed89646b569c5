/* shard/domain/mqtt/wills.h - the wills of a user's MQTT clients, from CONNECT until they are sent or dropped; on disk all the while.
 * Owns:    the wills of a user, in memory and in the store.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/engine/machine.h, shard/engine/request.h.  Start at: shard/door/mqtt/mqtt.h
 *
 *   CONNECT            connection ends without DISCONNECT,             its time has come,            the method send
 *                      or the server did                               or its session has ended      has answered
 *   (MQTT_WILL) -> HELD ------------------------------------> WAITING -----------------------> SENDING -------------> gone
 *                    \__ DISCONNECT: gone                       \__ the client has CONNACK: gone  \__ no answer: again, WILL_RETRY_MS later
 *
 * Every state has a timer (shard/engine/timers.h), so none depends on the process: HELD waits for the next start of the shard, which finds
 * it left behind by a crash; WAITING for the end of the will delay, or of the session if that comes first; SENDING for the next try.
 * A client that comes back ends the wait of its earlier will when it has CONNACK, and not before: a connection that dies on the way there was
 * none. So the two stand side by side from the one's HELD to MQTT_WILL_BACK; a crash between CONNACK and that sends the earlier one all
 * the same, for one too many is better than none.
 * How a connection ended is remembered until it is on disk, however long there is no room for that (will_ends.h).
 * A will is sent as its user's message, by the method `send` like any other, under a client_msg_id of its own: sent twice it is one message,
 * as long as that is remembered (repeat_window).
 * Limit: MQTT_WILLS_MAX per user; at it the one that is due first is sent now, and a client whose will finds no room is refused. */
#ifndef SHARD_MQTT_WILLS_H
#define SHARD_MQTT_WILLS_H

#include "shard/domain/entities.h"
#include "shard/domain/records.h"
#include "shard/engine/machine.h"

struct shard;
struct request;

#define MQTT_WILLS_MAX 64u
#define WILL_RETRY_MS  30000u

enum will_word { /* what the door says of the will of a connection; BACK is a command of its own */
    WILL_OPENS = 1, /* the client is there: with this will, or none; `clean`: and its former session is over */
    WILL_RELEASED,  /* the connection has ended without a word */
    WILL_DROPPED,   /* nothing is to be sent */
    WILL_BACK,      /* the client has CONNACK: what waited of an earlier connection is not sent */
};
enum will_state { WILL_HELD = 1, WILL_WAITING, WILL_SENDING };

struct will {
    uint64_t number; /* of the user's: log index of the command that made it */
    uint64_t due_ms; /* HELD: a start */
    uint8_t state;
    uint8_t *bytes; /* owned: a packed will_record */
    uint32_t len;
    uint64_t row_hash; /* state_hash.h */
};
struct wills { /* exists: there is one */
    struct entity entity;   /* key.a = user */
    uint64_t held_ms, due_ms; /* of the two timers: the earliest of the HELD ones, and of the others */
    struct will *wills;     /* owned array, by number */
    uint32_t count;
};
static inline struct wills *wills_of(struct entity *e) { return ENTITY_CAST(struct wills, ENTITY_WILLS, e); }

/* The will of that connection, while it is HELD; or NULL. */
const struct will *wills_held(const struct wills *wills, uint64_t epoch);

/* Apply: the device was revoked, and who may not speak any more has no last word either. Needs ENTITY_WILLS of the user. */
void wills_drop_device(struct machine *machine, uint64_t user_id, struct slice device_id, struct effects *effects);

#define EFFECT_WILL 8u /* entity: the wills; number: which of them is to be sent, once more or for the first time. Beside those of delivery/pushes.h */
void mqtt_perform(struct shard *shard, const struct effects *effects);
void mqtt_will_run(struct shard *shard, struct request *request); /* MQTT_WILL; state.h */

#endif
