/* shard/mqtt/mqtt_internal.h - struct mqtt, shared by the files of the MQTT door.
 *   connect.c    CONNECT to CONNACK, the life of the connection, which packet goes where
 *   publish.c    messages from the client: targets, ids, acknowledgements in order
 *   subscribe.c  filters, and the retained message
 *   deliver.c    messages to the client: the stream, the window, the cursor */
#ifndef SHARD_MQTT_MQTT_INTERNAL_H
#define SHARD_MQTT_MQTT_INTERNAL_H

#include "api/envelope.h"
#include "mqtt/mqtt.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/mqtt/mqtt.h"
#include "shard/mqtt/state.h"

#define MQTT_WINDOW_MAX      32  /* messages to one client without acknowledgement */
#define MQTT_KEEP_ALIVE_MAX_S 300 /* told to clients of MQTT 5 */
#define MQTT_TOPIC_MAX       64  /* longest topic that can name anything here */
#define MQTT_NOBODY          UINT64_MAX /* request id of what is answered to nobody */

/* ---- where a message goes, and what is listened to --------------------------------------------------------------------- */

enum mqtt_target_kind { MQTT_TARGET_NONE, MQTT_TARGET_USER, MQTT_TARGET_NAME, MQTT_TARGET_ROOM };
struct mqtt_target {
    enum mqtt_target_kind kind;
    uint64_t id;       /* of the user or the room */
    struct slice name; /* NAME; borrowed */
};
struct mqtt_target mqtt_target_of(struct slice topic);

enum mqtt_subscription_kind { MQTT_MY_ID = 1, MQTT_MY_NAME, MQTT_ROOM, MQTT_ALL_ROOMS };
struct mqtt_subscription {
    uint64_t room_id;   /* ROOM */
    uint64_t since_key; /* only events after it: what came before was not asked for */
    uint8_t kind;
    uint8_t qos;
    bool no_local;
};

/* ---- to the client ----------------------------------------------------------------------------------------------------- */

/* PUBACK <- WAIT_PUBACK    WAIT_PUBREC -> (persistent session: WAIT_SAVE -> SAVING) -> WAIT_PUBCOMP -> free
 * A PUBREC is a promise kept over crashes: PUBREL leaves only when the cursor behind the message is durable. */
enum mqtt_flight_state { MQTT_WAIT_PUBACK, MQTT_WAIT_PUBREC, MQTT_WAIT_SAVE, MQTT_SAVING, MQTT_WAIT_PUBCOMP };
struct mqtt_flight {
    uint64_t sync_key;
    uint16_t packet_id; /* follows from the sync_key, so that a message has the same one again after a crash */
    uint8_t state;
};

/* ---- from the client --------------------------------------------------------------------------------------------------- */

struct mqtt_receipt { /* a publish of QoS 1 or 2 on its way; they are acknowledged in the order they came */
    uint16_t packet_id;
    uint8_t qos, error;
    bool done;
};
struct mqtt_recent { /* which id a publish got, for when it is sent again */
    uint64_t epoch;
    uint32_t round;
    uint16_t packet_id;
};
#define MQTT_RECENT_COUNT 64
#define MQTT_NAMES_COUNT  4
#define MQTT_OWN_COUNT    256
struct mqtt_sender { /* of a connection that has published; the others do without */
    struct mqtt_receipt *receipts; /* ring of receipt_capacity, a power of two */
    uint64_t receipt_first, receipt_next;
    uint32_t receipt_capacity;
    struct mqtt_recent recent[MQTT_RECENT_COUNT]; /* ring */
    uint32_t recent_next, recent_count;
    uint32_t round; /* turns of the client's packet ids; with the epoch they make a message's id */
    uint16_t last_packet_id;
    uint64_t count; /* QoS 0 */
    struct mqtt_name {
        char name[33];
        uint64_t user_id; /* 0: there is nobody of that name */
    } names[MQTT_NAMES_COUNT];
    uint32_t name_next;
    uint64_t *own; /* ring of hashes of the ids last sent; NULL unless some subscription is no_local */
    uint32_t own_next;
};

enum mqtt_phase { MQTT_FRESH, MQTT_LOGGING_IN, MQTT_AUTHENTICATING, MQTT_OPENING, MQTT_SERVING, MQTT_ENDED };

struct mqtt_will_kept { /* heap: of a client that gave one */
    struct writer packet; /* a PUBLISH, as it will be */
    struct mqtt_target target;
    char name[33]; /* target NAME */
};

struct mqtt {
    uint8_t version; /* enum mqtt_version */
    uint8_t phase;
    bool websocket, clean_start, by_password, problem_info;
    bool assigned;        /* the client left its id to us */
    bool begun;           /* CONNACK said yes */
    bool session_present, ends_session;
    uint16_t keep_alive_s;
    uint8_t window;
    uint32_t packet_size_max; /* what the client takes */
    uint32_t expiry_s;
    uint64_t epoch, old_epoch; /* of this connection; of the one before it in this session, 0: none */
    char *client_id;
    struct slice user_name; /* owned bytes; until logged in */
    struct mqtt_will_kept *will;
    struct writer input; /* bytes not looked at yet; WebSocket, or while something waits */
    uint32_t input_at;

    struct mqtt_subscription *subscriptions; /* owned array */
    uint32_t subscription_count;
    struct mqtt_subscribing *subscribing; /* subscribe.c; NULL: none under way */
    struct mqtt_sender *sender;
    bool looking_up; /* a user's name */

    uint64_t sent_key, known_key; /* of the stream: handed on; heard of */
    uint64_t before_key;          /* up to it the connection before had handed on */
    uint64_t saved_key, saved_ms;
    uint32_t saves_open; /* under way */
    bool pulling, asking_room;
    struct mqtt_flight *flights; /* owned array of window */
    uint32_t flight_count;
    uint64_t room_id; /* last room whose type was asked for */
    uint8_t room_type;
};

/* ---- connect.c ---- */
void mqtt_end(struct client *client, enum mqtt_reason reason);
/* Queues the packets in door->mqtt_out and empties it. */
void mqtt_send(struct client *client);
enum mqtt_reason mqtt_reason_of(enum error error);
static inline bool mqtt_persistent(const struct mqtt *mqtt) { return mqtt->expiry_s != 0; }
/* A letter to a shard, counted as under way and answered to mqtt_on_reply(). `number`: comes back as request id. */
void mqtt_ask(struct client *client, struct letter *letter, uint64_t number);
struct letter *mqtt_letter(struct client *client, uint16_t to_shard, uint16_t method, struct slice payload);
void mqtt_wait(struct client *client);
/* The packet is taken again when nothing is waited for any more. */
void mqtt_put_back(struct client *client, struct slice packet);

/* ---- publish.c ---- */
#define MQTT_KIND_COUNT (RINGPOST__V1__MESSAGE_KIND__CUSTOM + 1)
extern const char *const mqtt_kind_names[MQTT_KIND_COUNT]; /* of the user property `kind` */
void mqtt_publish(struct client *client, const struct mqtt_publish *publish, struct slice packet);
void mqtt_published(struct client *client, const struct letter *letter);
void mqtt_looked_up(struct client *client, const struct letter *letter);
void mqtt_publish_will(struct client *client);
/* Asks who the will is for. False: that is known, or there is none. */
bool mqtt_ask_will(struct client *client);
bool mqtt_will_told(struct client *client, const struct letter *letter);
void mqtt_sender_destroy(struct mqtt_sender *sender);
void mqtt_write_recent(const struct mqtt *mqtt, struct writer *out);
void mqtt_read_recent(struct mqtt *mqtt, struct slice list);
/* Did this connection send it? */
bool mqtt_is_own(const struct mqtt *mqtt, struct slice client_msg_id);

/* ---- subscribe.c ---- */
void mqtt_subscribe(struct client *client, struct mqtt_subscribe *subscribe);
void mqtt_unsubscribe(struct client *client, struct mqtt_subscribe *unsubscribe);
void mqtt_subscribe_answer(struct client *client, const struct letter *letter);
void mqtt_subscribe_saved(struct client *client);
void mqtt_subscribing_destroy(struct mqtt_subscribing *subscribing);
void mqtt_write_subscriptions(const struct mqtt *mqtt, struct writer *out);
void mqtt_read_subscriptions(struct mqtt *mqtt, struct slice list);

/* ---- deliver.c ---- */
struct mqtt_message { /* of a timeline; slices borrow */
    uint64_t msg_id, room_id, seq, sender_id, time_ms;
    uint32_t kind;
    struct slice sender_name, body, client_msg_id;
};
bool mqtt_message_read(struct mqtt_message *out, struct slice packed);
/* The message as a PUBLISH of QoS 0 with the retain flag. */
void mqtt_send_retained(struct client *client, const struct mqtt_message *message);
void mqtt_begin_delivery(struct client *client, const struct mqtt_session_record *session);
void mqtt_pump(struct client *client);
void mqtt_synced(struct client *client, const struct letter *letter);
void mqtt_room_told(struct client *client, const struct letter *letter);
void mqtt_acknowledged(struct client *client, enum mqtt_type type, const struct mqtt_ack *ack);
void mqtt_save(struct client *client, bool connected);
void mqtt_saved(struct client *client, const struct letter *letter);

#endif
