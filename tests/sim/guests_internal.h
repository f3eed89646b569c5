/* tests/sim/guests_internal.h - what the files of the guests share.
 *   guests.c        what was said, and what must have become of it
 *   guest_app.c     the app: envelopes over TCP or WebSocket
 *   guest_thing.c   the thing: MQTT 3.1.1 or 5 */
#ifndef TESTS_SIM_GUESTS_INTERNAL_H
#define TESTS_SIM_GUESTS_INTERNAL_H

#include "core/cursor.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include "sim/guests.h"
#include "sim/wires.h"

#define GUESTS_MAX    3u
#define TO_GROUP      UINT32_MAX
#define GUEST_ROOMS   8u
#define PUBLISHED_MAX 3u
#define HELD_MAX      64u

/* Something a guest wants to be told to somebody, once. */
struct said {
    uint32_t from, to; /* a guest, or TO_GROUP */
    uint8_t qos;       /* it was published with; UINT8_MAX: by the app */
    bool is_will;
    bool acked, refused;
    bool expected[GUESTS_MAX]; /* that thing listened already */
    uint32_t stored;           /* by the audit now running: how often, and where */
    uint64_t room_id, seq;
};

/* Bytes of one connection, from either end. */
struct line {
    struct wire *wire; /* NULL: not connected */
    struct writer in;
    size_t in_at;
};

struct app_of_guest {
    struct line line;
    bool websocket, greeted, authenticated, registered;
    bool wants_sync;
    char token[1024];
    int asked; /* Ringpost__V1__Request__MethodCase; 0: nothing is under way */
    uint64_t asked_id, asked_ns, next_id, patience_ns;
    uint32_t sending; /* number + 1 */
    uint64_t sync_key;
    struct app_stream_room {
        uint64_t room_id, last_seq;
        bool large;
    } rooms[GUEST_ROOMS];
};

struct thing_of_guest {
    struct line line;
    bool five;         /* MQTT 5 */
    bool connected;    /* CONNACK has come */
    bool subscribed;   /* SUBACK has come, ever */
    bool subscribing;
    uint64_t patience_ns;
    uint16_t next_id;
    struct published {
        uint16_t packet_id;
        uint32_t said;
        bool received; /* PUBREC has come */
    } published[PUBLISHED_MAX];
    uint32_t published_count;
    struct held { /* of QoS 2, waits for PUBREL */
        uint16_t packet_id;
        uint32_t said;
    } held[HELD_MAX];
    uint32_t held_count;
    uint32_t will; /* number + 1, of this connection */
    struct heard {
        uint32_t said;
        uint8_t qos;
    } *heard; /* each once, in the order heard first */
    uint32_t heard_count, heard_capacity;
};

struct guest {
    uint32_t number;
    char name[16];
    uint64_t user_id; /* 0: not known yet */
    struct app_of_guest app;
    struct thing_of_guest thing;
};

struct guests {
    struct world *world;
    struct guest guests[GUESTS_MAX];
    struct said *saids;
    uint32_t said_count, said_capacity;
    uint64_t group_id; /* 0: not known yet */
    uint32_t quiet_rounds;
};

/* ---- guests.c ---- */
uint32_t guests_say(struct guests *guests, const struct guest *from, uint32_t to, uint8_t qos, bool is_will);
/* Its body; in `out`. */
struct slice guests_body(uint32_t said, char out[400]);
/* Which one it is; fails the run for one that nobody said. */
uint32_t guests_said_of(const struct guests *guests, struct slice body);
uint8_t guest_granted_qos(const struct guest *guest);
#define GUEST_PASSWORD "correct horse battery"

bool line_open(struct world *world, struct line *line);
/* It is gone; for both ends when the server has ended it. */
void line_close(struct world *world, struct line *line, bool politely);
static inline struct slice line_rest(const struct line *line) { return slice_of(line->in.data + line->in_at, line->in.len - line->in_at); }

/* ---- guest_app.c, guest_thing.c: one step, one look at what came, and whether nothing is wanted ---- */
void app_step(struct guests *guests, struct guest *guest);
void app_read(struct guests *guests, struct guest *guest, uint32_t most);
void app_lose(struct guests *guests, struct guest *guest, bool politely);
bool app_is_content(const struct guest *guest);
void thing_step(struct guests *guests, struct guest *guest);
/* At most `packets` of those that came. */
void thing_read(struct guests *guests, struct guest *guest, uint32_t most, uint32_t packets);
void thing_lose(struct guests *guests, struct guest *guest, bool politely);
bool thing_is_content(const struct guest *guest);

#endif
