/* shard/engine/effects.c - the growing arrays behind effects; nothing is freed between commands. */
#include "shard/engine/effects.h"
#include "api/envelope.h"
#include "shard/engine/memory.h"
#include "shard/engine/state_hash.h"

void effects_init(struct effects *effects)
{
    *effects = (struct effects){0};
    writer_init(&effects->puts, 0);
    writer_init(&effects->bytes, 0);
    writer_init(&effects->reply, 0);
    writer_init(&effects->scratch, 0);
}

void effects_deinit(struct effects *effects)
{
    writer_deinit(&effects->puts);
    writer_deinit(&effects->bytes);
    writer_deinit(&effects->reply);
    writer_deinit(&effects->scratch);
    free(effects->list);
    *effects = (struct effects){0};
}

void effects_begin(struct effects *effects, bool wants_reply)
{
    writer_reset(&effects->bytes);
    writer_reset(&effects->reply);
    effects->wants_reply = wants_reply;
    effects->result = 0;
    effects->error = ERROR_NONE;
    effects->count = effects->kinds = 0;
}

void effects_put_row(struct effects *effects, const struct key *key, struct slice value, uint64_t *row_hash)
{
    uint64_t hash = state_hash_row(key_slice(key), value);
    effects_put(effects, key, value);
    effects->rows_changed += hash - *row_hash;
    *row_hash = hash;
}

void effects_delete_row(struct effects *effects, const struct key *key, uint64_t *row_hash)
{
    effects_delete(effects, key);
    effects->rows_changed -= *row_hash;
    *row_hash = 0;
}

void effects_put_mark(struct effects *effects, const struct key *key)
{
    uint64_t row_hash = 0;
    effects_put_row(effects, key, SLICE_EMPTY, &row_hash);
}

void effects_delete_mark(struct effects *effects, const struct key *key)
{
    uint64_t row_hash = state_hash_row(key_slice(key), SLICE_EMPTY);
    effects_delete_row(effects, key, &row_hash);
}

void effects_add(struct effects *effects, const struct effect *effect)
{
    ASSERT(effect->kind < EFFECT_KINDS_MAX);
    if (effects->count == effects->capacity) {
        effects->capacity = effects->capacity == 0 ? 64 : effects->capacity * 2;
        effects->list = memory_resize(effects->list, effects->capacity * sizeof *effects->list);
    }
    effects->list[effects->count++] = *effect;
    effects->kinds |= 1u << effect->kind;
}

void effects_reply(struct effects *effects, const ProtobufCMessage *message)
{
    if (!effects->wants_reply) return;
    writer_reset(&effects->reply);
    envelope_pack(&effects->reply, message);
}
