/* shard/engine/effects.h - what applying a command lets out: puts for the store, one reply, and what the areas carry out.
 * Owns:    its growing bytes, reused from command to command.
 * Thread:  the shard's worker.    Depends: core/, storage/store.h.  Start at: shard/engine/shard.h
 * Rows and events that gather over a batch become puts at its end: batch.h.
 * Effects are data: apply fills them, the areas carry them out, a test compares them. Relays to other shards are
 * not here: stream_emit() gathers them, stream_end_batch() makes them puts and letters. */
#ifndef SHARD_EFFECTS_H
#define SHARD_EFFECTS_H

#include "api/error.h"
#include "core/cursor.h"
#include "shard/engine/keys.h"
#include "storage/store.h"
#include <protobuf-c/protobuf-c.h>

struct entity;

struct effect { /* something for those outside, which the areas carry out (area.perform) */
    struct entity *entity; /* whom it concerns, pinned by the command; NULL: nobody */
    uint64_t number;       /* what these two and the bytes are, the area knows that has the kind */
    uint32_t start, len;   /* in effects.bytes */
    uint32_t kind;         /* below EFFECT_KINDS_MAX; domain/delivery/pushes.h */
};
#define EFFECT_KINDS_MAX 32u

struct effects {
    struct writer puts;   /* store operations of the whole batch */
    struct writer bytes;  /* of the list: several may share some */
    struct writer reply;  /* packed response message */
    struct writer scratch; /* one value while it is written */
    uint64_t rows_changed, records_appended; /* by how much the sums of state_hash.h grow, of the whole batch */
    bool wants_reply;     /* false during recovery and for relays */
    uint64_t result;      /* what apply has found out that the state does not say, for the row's answer() */
    enum error error;     /* a refusal at apply: an ordinary outcome */
    struct effect *list;
    uint32_t count, capacity;
    uint32_t kinds; /* a bit for each kind in the list */
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
/* A row of an entity, whose hash its owner keeps at `row_hash` (state_hash.h). */
void effects_put_row(struct effects *effects, const struct key *key, struct slice value, uint64_t *row_hash);
void effects_delete_row(struct effects *effects, const struct key *key, uint64_t *row_hash);
/* One that says nothing but that it is there: put where it was not, deleted where it was. */
void effects_put_mark(struct effects *effects, const struct key *key);
void effects_delete_mark(struct effects *effects, const struct key *key);
/* put of a record: EFFECTS_PUT(effects, &key, meta, &record), EFFECTS_PUT_ROW(effects, &key, room, &record, &entity->row_hash) */
#define EFFECTS_PUT(effects_, key_, name, record_pointer)                                                              \
    do {                                                                                                               \
        writer_reset(&(effects_)->scratch);                                                                            \
        name##_record_write(&(effects_)->scratch, record_pointer);                                                     \
        effects_put(effects_, key_, writer_slice(&(effects_)->scratch));                                               \
    } while (0)
#define EFFECTS_PUT_ROW(effects_, key_, name, record_pointer, row_hash_)                                               \
    do {                                                                                                               \
        writer_reset(&(effects_)->scratch);                                                                            \
        name##_record_write(&(effects_)->scratch, record_pointer);                                                     \
        effects_put_row(effects_, key_, writer_slice(&(effects_)->scratch), row_hash_);                                \
    } while (0)

void effects_add(struct effects *effects, const struct effect *effect);
/* Where the next bytes go. */
static inline uint32_t effects_mark(const struct effects *e) { return (uint32_t)e->bytes.len; }
/* Packs the response when somebody waits for it. One that has no field set is no bytes: it need not be said. */
void effects_reply(struct effects *effects, const ProtobufCMessage *message);

#endif
