/* shard/door/mqtt/mqtt_internal.h - struct mqtt, shared by the files of the MQTT door.
 *   connect.c    CONNECT to CONNACK, which packet goes where, the end
 *   publish.c    messages from the client: targets, ids, acknowledgements in order
 *   properties.c what MQTT 5 says beside a message: how it is kept and shown
 *   subscribe.c  filters, which subscription a message is for, and the retained message
 *   encode.c     a message as PUBLISH: read once, encoded once per version, shared by all who get it
 *   deliver.c    messages out of the user's stream, acknowledgements
 *   rooms.c      messages of large rooms, which the stream has not
 *   save.c       the cursor: what of a session outlives the connection */
#ifndef SHARD_MQTT_MQTT_INTERNAL_H
#define SHARD_MQTT_MQTT_INTERNAL_H

#include "api/envelope.h"
#include "core/timer.h"
#include "mqtt/mqtt.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/door/mqtt/mqtt.h"
#include "shard/domain/mqtt/state.h"
#include "shard/door/mqtt/window.h"

#define MQTT_KEEP_ALIVE_MAX_S 300 /* told to clients of MQTT 5 */
#define MQTT_TOPIC_MAX       64  /* longest topic that can name anything here */
#define MQTT_ID_TOPIC_MAX    22  /* u/ or r/ and 20 digits */
#define MQTT_ALIASES_MAX     16  /* topic aliases of one client */
#define MQTT_ROOMS_MAX       256 /* large rooms one session follows with an acknowledgement; further ones with QoS 0 */
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
    uint64_t room_id;    /* ROOM */
    uint64_t since_key;  /* only events after it: what came before was not asked for */
    uint32_t identifier; /* the client's own number for it; 0: none */
    uint8_t kind;
    uint8_t qos;
    bool no_local;
};

/* ---- to the client ----------------------------------------------------------------------------------------------------- */

struct mqtt_message { /* of a timeline; slices borrow */
    uint64_t msg_id, room_id, seq, sender_id, time_ms;
    uint64_t expires_ms; /* 0: never */
    uint32_t kind;
    uint8_t published_qos; /* enum PublishedQos */
    struct slice sender_name, body, client_msg_id, properties;
};

/* A message or a change of a room as it was read, once for all who get it. */
struct mqtt_form {
    uint64_t number; /* of this reading */
    struct mqtt_message message;
    enum mqtt_form_kind { MQTT_FORM_OTHER, MQTT_FORM_MESSAGE, MQTT_FORM_LARGE } kind; /* LARGE: a change, message.kind, of the large room message.room_id at message.seq */
    uint8_t type;                                                                     /* RoomType of the room; UINT8_MAX: not known yet */
};

struct mqtt_match { /* which subscriptions a message is for */
    uint8_t kind, qos; /* of the one with the highest QoS */
    uint8_t identifier_count;
    uint32_t identifiers[2]; /* a message has at most two topics */
};

struct mqtt_room { /* a large room that is followed with an acknowledgement */
    uint64_t room_id;
    uint64_t sent_seq, known_seq; /* handed on; heard of, UINT64_MAX: ask */
    uint64_t pushed_seq;          /* the newest that was pushed: what is asked meanwhile may not say so */
    uint64_t before_seq;          /* up to it the connection before had handed on */
    uint64_t after_key;           /* followed from sent_seq on unless the stream, up to this entry, says from where; until then nothing is handed on */
};

/* ---- from the client --------------------------------------------------------------------------------------------------- */

struct mqtt_receipt { /* a publish of QoS 1 or 2 on its way; they are acknowledged in the order they came */
    uint16_t packet_id;
    uint8_t qos, error;
    bool done;
    bool unheard; /* a $ topic: taken, and for nobody */
    bool again; /* came with DUP: its id is the one that packet id had */
};
struct mqtt_recent { /* which id a publish got, for when it is sent again */
    uint64_t epoch;
    uint32_t round;
    uint16_t packet_id;
    bool released; /* by PUBREL: what comes with this packet id is another message, also with DUP */
};
#define MQTT_RECENT_COUNT 64
#define MQTT_NAMES_COUNT  4
#define MQTT_OWN_COUNT    256
struct mqtt_own { /* a message that this connection sent to a room */
    uint64_t room_id, id_hash;
};
struct mqtt_sender { /* of a connection that has published; the others do without */
    /* What every message looks at comes first. */
    struct mqtt_receipt *receipts; /* ring of receipt_capacity, a power of two */
    uint64_t receipt_first, receipt_next;
    uint32_t receipt_capacity;
    uint32_t recent_next, recent_count;
    uint32_t round; /* turns of the client's packet ids; with the epoch they make a message's id */
    struct mqtt_recent newest; /* of all ids ever given; epoch 0: none */
    uint16_t last_packet_id;
    uint8_t topic_len; /* the topic published to last, if an id is in it, and what it means */
    char topic[MQTT_ID_TOPIC_MAX];
    struct mqtt_target target;
    struct mqtt_own *own; /* ring of those sent last; NULL unless some subscription is no_local */
    uint32_t own_next, name_next;
    uint64_t count; /* QoS 0 */
    char **aliases; /* owned array of MQTT_ALIASES_MAX topics, each owned or NULL; NULL: none was given */
    struct timer slow;     /* armed while slowed */
    struct client *client; /* for it */
    struct mqtt_recent recent[MQTT_RECENT_COUNT]; /* ring */
    struct mqtt_name {
        char name[33];
        uint64_t user_id; /* 0: there is nobody of that name */
    } names[MQTT_NAMES_COUNT];
};

enum mqtt_phase { MQTT_FRESH, MQTT_LOGGING_IN, MQTT_AUTHENTICATING, MQTT_OPENING, MQTT_SERVING, MQTT_ENDED };

struct mqtt_will_kept { /* heap: of a client that gave one, until the home shard has it (wills.h) */
    struct writer packet; /* a PUBLISH, as it will be */
    struct mqtt_target target;
    char name[33]; /* target NAME */
    uint8_t qos;
    uint32_t delay_s;
};
struct mqtt_entry { /* heap: what only CONNECT to CONNACK needs */
    char client_id[MQTT_CLIENT_ID_MAX + 1];
    char *user_name; /* owned */
    bool clean_start, by_password;
    bool will_dropped; /* it gave one whose topic names nothing here */
};
struct mqtt_input { /* heap: bytes not looked at yet; WebSocket, or while something waits */
    struct writer bytes;
    uint32_t at;
};

struct mqtt {
    /* What every delivery looks at comes first. */
    uint8_t version; /* enum mqtt_version */
    uint8_t phase;
    uint8_t room_type; /* of room_id */
    bool websocket : 1, problem_info : 1;
    bool bridge : 1;    /* every subscription is without what it sent itself */
    bool assigned : 1;  /* the client left its id to us */
    bool nameless : 1;  /* and it follows from the epoch, not from the device */
    bool begun : 1;     /* CONNACK said yes */
    bool given_up : 1;  /* what is kept of the session is saved, or another connection has it */
    bool session_present : 1, ends_session : 1;
    bool slowed : 1;  /* above its user's rate: the next packet is taken again later */
    bool leaving : 1; /* it ends with leave_reason as soon as what it published is answered; nothing more is read */
    bool looking_up : 1; /* a user's name */
    bool pulling : 1, asking_type : 1, asking_room : 1; /* the stream; a room's type; a large room's history */
    bool rooms_behind : 1; /* some large room may have more */
    bool missed_asking : 1; /* something was missed while a room's history was on its way: it has to be asked again */
    bool too_small : 1;    /* it was told of in the log: some message was larger than the client takes */
    bool id_taken : 1;     /* but its next packet id is on its way with another message: after the next acknowledgement */
    bool has_will : 1;     /* the home shard was told of one */
    bool will_waits : 1;   /* of an earlier connection of the client */
    bool will_is_off : 1;  /* and it is not to be sent: DISCONNECT, or who may not speak any more */
    bool unsaved : 1;      /* something beside the stream's cursor moved since the last save */
    bool announcing : 1;   /* that it publishes is being saved */
    uint8_t leave_reason; /* enum mqtt_reason */
    uint16_t window_max;
    uint16_t subscription_count, room_count;
    uint32_t packet_size_max; /* what the client takes */
    uint32_t expiry_s;
    struct mqtt_subscription *subscriptions; /* owned array */
    struct mqtt_room *rooms;                 /* owned array; its order never changes */
    struct mqtt_window window;
    uint64_t sent_key, known_key; /* of the stream: handed on; heard of */
    uint64_t before_key;          /* up to it the connection before had handed on */
    uint64_t room_id;             /* of the last message whose room's type was looked for */
    struct mqtt_sender *sender;
    uint64_t epoch, old_epoch; /* of this connection; of the one before it in this session, 0: none */
    uint64_t publisher;        /* of the last one in this session that has published anew; 0: none */

    uint16_t keep_alive_s;
    uint16_t saves_open; /* under way */
    struct mqtt_entry *entry;
    struct mqtt_will_kept *will;
    struct mqtt_input *input;
    struct mqtt_subscribing *subscribing; /* subscribe.c; NULL: none under way */
    uint64_t saved_key, saved_ms; /* mqtt_now_ms() */
};

struct mqtt_delivery { /* how a message goes to a client */
    uint16_t packet_id; /* 0 with QoS 0 */
    bool direct, duplicate, retain;
    bool plain; /* without our properties: the client takes no packet so large */
    struct mqtt_match match;
};
struct mqtt_made { /* the last PUBLISH of a version: the next client may get the same */
    uint64_t number; /* of the form; 0: it was for one client alone */
    struct mqtt_delivery delivery;
    struct writer packet; /* without a body of more than CONN_COPY_MAX */
    size_t packet_id_at;  /* with a QoS above 0 */
};

/* What the connections of a door share. */
struct mqtt_door {
    struct writer out, block; /* packets to one client; properties of one packet */
    struct writer properties; /* of a message that is being published, packed */
    struct mqtt_form form;    /* the last reading of something pushed */
    struct mqtt_made made[2]; /* of MQTT 3.1.1 and 5 */
    uint64_t readings;
};

/* ---- connect.c ---- */
void mqtt_end(struct client *client, enum mqtt_reason reason);
/* MQTT 5 hears `why` as well; NULL: the code says all. */
void mqtt_end_because(struct client *client, enum mqtt_reason reason, const char *why);
/* A block with that reason string, until the next block; empty when the client takes no packet so large. */
struct slice mqtt_reason_string(struct client *client, const char *why);
/* What was received before is still answered: a message on disk has its acknowledgement, whatever is wrong with what came after it. */
void mqtt_end_when_answered(struct client *client, enum mqtt_reason reason);
/* A will goes nowhere: counted, and a line in the log. */
void mqtt_note_will(struct client *client, const char *why);
/* Sends the packets in door->mqtt->out and empties it. */
void mqtt_send(struct client *client);
void mqtt_too_slow(struct client *client);
enum mqtt_reason mqtt_reason_of(enum error error);
/* Whoever asks again may hear something else: nothing may be concluded from it. */
bool mqtt_is_passing(enum error error);
/* An answer that is none: said in the log, and the connection ends. */
void mqtt_end_unreadable(struct client *client, const struct letter *letter);
static inline bool mqtt_persistent(const struct mqtt *mqtt) { return mqtt->expiry_s != 0; }
/* A letter to a shard, counted as under way and answered to mqtt_on_reply(). `number`: comes back as request id. */
void mqtt_ask(struct client *client, struct letter *letter, uint64_t number);
/* A question that names a room alone: MQTT_ASK_ROOM to the user's own shard, the others to the room's. */
void mqtt_ask_room(struct client *client, enum mqtt_question question, uint64_t room_id, uint64_t number);
struct letter *mqtt_letter(struct client *client, uint16_t to_shard, uint16_t method, struct slice payload);
void mqtt_wait(struct client *client);
/* The packet is taken again when nothing is waited for any more. */
void mqtt_put_back(struct client *client, struct slice packet);
/* The client id of a connection that is logged in; `out` is where it may be written. */
struct slice mqtt_client_id(const struct client *client, char out[MQTT_CLIENT_ID_MAX + 1]);

/* ---- publish.c ---- */
void mqtt_publish(struct client *client, const struct mqtt_publish *publish, struct slice packet);
void mqtt_published(struct client *client, uint64_t number, const struct letter *letter);
/* The session says now that this connection publishes: the packet that waited goes on. */
void mqtt_announced(struct mqtt *mqtt);
/* The connection is going: it is not read from again. */
void mqtt_stop_slowing(struct client *client);
void mqtt_looked_up(struct client *client, const struct letter *letter);
/* Nothing of what it published is without an answer. */
bool mqtt_is_answered(const struct mqtt *mqtt);
/* PUBREL: the client is through with a message of QoS 2. */
void mqtt_released(struct mqtt *mqtt, uint16_t packet_id);
#define MQTT_WILL_OPENED 1u /* request ids of the question that opens it */
#define MQTT_WILL_MET    2u /* and of the one that ends an earlier one */
/* Tells the home shard that the client is there, with the will that it gave or none; answered under MQTT_WILL_OPENED. */
void mqtt_open_will(struct client *client);
/* Tells it, if an earlier will of the client waits, that the client has CONNACK; answered under MQTT_WILL_MET. */
void mqtt_meet_will(struct client *client);
/* Its connection ends: what becomes of the will. `by`: hears when that is durable. */
void mqtt_close_will(struct client *client, struct client *by);
/* Asks who the will is for. False: that is known, or there is none. */
bool mqtt_ask_will(struct client *client);
bool mqtt_will_told(struct client *client, const struct letter *letter);
void mqtt_sender_destroy(struct mqtt_sender *sender);
void mqtt_write_recent(const struct mqtt *mqtt, struct writer *out);
void mqtt_read_recent(struct mqtt *mqtt, struct slice list);
/* Did this client send it: the same user by the same client id? */
bool mqtt_is_own(const struct client *client, const struct mqtt_message *message);

/* ---- properties.c ---- */
/* What a publisher said, packed as a Properties message; and its kind. */
void mqtt_pack_properties(struct writer *out, const struct mqtt_properties *properties);
uint32_t mqtt_kind_of(const struct mqtt_publish *publish);
/* The properties of a delivered message but for its subscription identifiers; without ours it is what the publisher said. */
void mqtt_write_properties(struct client *client, struct writer *block, const struct mqtt_message *message, bool direct, bool ours);
/* When its interval is over; 0: it has none. */
uint64_t mqtt_expires_ms(const struct mqtt_message *message);
/* It must not be handed to this client any more: counted. */
bool mqtt_expired(struct client *client, const struct mqtt_message *message);

/* ---- subscribe.c ---- */
void mqtt_subscribe(struct client *client, struct mqtt_subscribe *subscribe);
void mqtt_unsubscribe(struct client *client, struct mqtt_subscribe *unsubscribe);
void mqtt_subscribe_answer(struct client *client, const struct letter *letter);
void mqtt_subscribe_saved(struct client *client);
/* The type of the room that is being subscribed to is known now. */
void mqtt_subscribe_told(struct client *client, const struct letter *letter);
/* How much of the room is not retained. */
void mqtt_subscribe_retained(struct client *client, const struct letter *letter);
void mqtt_subscribing_destroy(struct mqtt_subscribing *subscribing);
void mqtt_write_subscriptions(const struct mqtt *mqtt, struct writer *out);
void mqtt_read_subscriptions(struct mqtt *mqtt, struct slice list);
/* False: nobody listens. `sync_key`: of the entry; UINT64_MAX: it has none. */
bool mqtt_match(const struct client *client, const struct mqtt_message *message, bool direct, uint64_t sync_key,
                struct mqtt_match *match);
/* The smaller of what was granted and what the message was published with. */
uint8_t mqtt_delivered_qos(const struct mqtt_message *message, uint8_t granted);
/* Is the room listened to with an acknowledgement? */
bool mqtt_follows(const struct mqtt *mqtt, uint64_t room_id);

/* ---- encode.c ---- */
bool mqtt_message_read(struct mqtt_message *out, struct slice packed);
/* Reads the fields of an Event after its sync_key. */
void mqtt_form_read_event(struct mqtt_form *form, struct slice fields);
void mqtt_form_read_message(struct mqtt_form *form, struct slice packed);
/* `shared`: what others who get it share, or an empty one of the caller's. A client that said it takes no packet so large gets the
 * message without our properties, or goes without: counted; false. */
bool mqtt_send_message(struct client *client, const struct mqtt_form *form, struct session_form *shared,
                       const struct mqtt_delivery *delivery);

/* ---- deliver.c ---- */
void mqtt_begin_delivery(struct client *client, const struct mqtt_session_record *session);
/* There may be more to hand on, or room for it. */
void mqtt_pump(struct client *client);
void mqtt_synced(struct client *client, const struct letter *letter);
void mqtt_room_told(struct client *client, const struct letter *letter);
void mqtt_acknowledged(struct client *client, enum mqtt_type type, const struct mqtt_ack *ack);
/* The client is to be asked for an acknowledgement of one more message. */
bool mqtt_may_send(const struct client *client);
/* True: the backlog is worth reading, for so many messages at least that may be sent. */
bool mqtt_may_read(const struct client *client, uint32_t *limit);
void mqtt_send_pubrel(struct client *client, uint16_t packet_id, enum mqtt_reason reason);

/* ---- rooms.c ---- */
#define MQTT_STREAM_IDS 32767u /* packet ids 1 … 32767 are the stream's, the others the large rooms' */
uint16_t mqtt_room_packet_id(uint64_t room_id, uint64_t seq);
/* Follows the room from behind `seq` on, unless it does already for good. NULL: there are too many. */
struct mqtt_room *mqtt_room_follow(struct mqtt *mqtt, uint64_t room_id, uint64_t seq);
/* Like mqtt_room_follow(), but from `seq` on also when the room is followed already: the messages in between were not for this client,
 * which was no member then. */
void mqtt_room_enter(struct mqtt *mqtt, uint64_t room_id, uint64_t seq);
uint16_t mqtt_room_number(const struct mqtt *mqtt, uint64_t room_id);
void mqtt_rooms_pump(struct client *client);
void mqtt_rooms_missed(struct mqtt *mqtt);
/* The room may have messages that nobody will push. */
void mqtt_room_missed(struct mqtt *mqtt, struct mqtt_room *room);
void mqtt_room_read(struct client *client, uint64_t number, const struct letter *letter);
void mqtt_write_rooms(const struct mqtt *mqtt, struct writer *out);
void mqtt_read_rooms(struct mqtt *mqtt, struct slice list);

/* ---- save.c ---- */
void mqtt_save(struct client *client, bool connected);
uint64_t mqtt_now_ms(const struct client *client); /* of no calendar: only differences mean anything */
/* Saves `client`'s session in the name of `by`, which takes it over and hears when that is durable. */
void mqtt_save_for(struct client *client, struct client *by);
void mqtt_save_in_time(struct client *client);
void mqtt_saved(struct client *client, const struct letter *letter);
void mqtt_write_releasing(const struct mqtt *mqtt, struct writer *out);
void mqtt_read_releasing(struct client *client, struct slice list);

#endif
