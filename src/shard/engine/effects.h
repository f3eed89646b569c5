/* shard/engine/effects.h - what applying a command lets out: puts for the store, one reply, events for online users.
 * Owns:    its growing bytes, reused from command to command.
 * Thread:  the shard's worker.    Depends: core/, storage/store.h.  Start at: shard/engine/shard.h
 * Rows and events that gather over a batch become puts at its end: batch.h.
 * Effects are data: apply fills them, shard/domain/delivery/perform.c carries them out, a test compares them. Relays to other shards are
 * not here: stream_emit() gathers them, stream_end_batch() makes them puts and letters. */
#ifndef SHARD_EFFECTS_H
#define SHARD_EFFECTS_H

#include "api/error.h"
#include "core/cursor.h"
#include "shard/engine/keys.h"
#include "storage/store.h"
#include <protobuf-c/protobuf-c.h>

struct inbox;

struct effect_push { /* one event for the sessions of one user */
    struct inbox *inbox;  /* pinned by the command */
    uint64_t sync_key;
    uint32_t event_index;
};
struct effect_event { /* packed fields of Event after sync_key, in `bytes` */
    uint32_t start, len;
};
struct effect_room_push { /* packed Message for the online members of a large room on this shard */
    uint64_t room_id;
    uint32_t start, len;
};
struct effect_kick { /* sessions of a device that end */
    struct inbox *inbox;
    uint32_t start, len; /* device id */
};

struct effects {
    struct writer puts;   /* store operations of the whole batch */
    struct writer bytes;  /* events, device ids */
    struct writer reply;  /* packed response message */
    struct writer scratch; /* one value while it is written */
    bool wants_reply;     /* false during recovery and for relays */
    enum error error;     /* a refusal at apply: an ordinary outcome */
    struct effect_event *events;
    struct effect_push *pushes;
    struct effect_room_push *room_pushes;
    struct effect_kick *kicks;
    uint32_t event_count, event_capacity, push_count, push_capacity, room_push_count, room_push_capacity, kick_count, kick_capacity;
};

void effects_init(struct effects *effects);
void effects_deinit(struct effects *effects);
/* Before each command: forgets all but the puts, which gather until the batch is written. */
void effects_begin(struct effects *effects, bool wants_reply);

static inline void effects_put(struct effects *e, const struct key *key, struct slice value)
{
    store_batch_put(&e->puts, key_slice(key), value);
}
static inline void effects_delete(struct effects *e, const struct key *key) { store_batch_delete(&e->puts, key_slice(key)); }
/* Nobody reads a key before `until` of its kind and id any more; the store deletes them some time. */
static inline void effects_trim(struct effects *e, const struct key *until)
{
    store_batch_trim(&e->puts, key_slice(until));
}
/* put of a record: EFFECTS_PUT(effects, &key, room, &record) */
#define EFFECTS_PUT(effects_, key_, name, record_pointer)                                                              \
    do {                                                                                                               \
        writer_reset(&(effects_)->scratch);                                                                            \
        name##_record_write(&(effects_)->scratch, record_pointer);                                                     \
        effects_put(effects_, key_, writer_slice(&(effects_)->scratch));                                               \
    } while (0)

/* Begins an event; write its packed fields to effects->bytes, then end. Returns its number for effects_push(). */
uint32_t effects_event_begin(struct effects *effects);
void effects_event_end(struct effects *effects, uint32_t event);
void effects_push(struct effects *effects, struct inbox *inbox, uint64_t sync_key, uint32_t event);
void effects_room_push(struct effects *effects, uint64_t room_id, struct slice packed_message);
void effects_kick(struct effects *effects, struct inbox *inbox, struct slice device_id);
/* Packs the response when somebody waits for it. */
void effects_reply(struct effects *effects, const ProtobufCMessage *message);

#endif
