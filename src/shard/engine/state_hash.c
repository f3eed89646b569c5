/* shard/engine/state_hash.c - see state_hash.h. What is long is read by XXH3; words are folded by one multiplication each, which costs a nanosecond. */
#include "shard/engine/state_hash.h"
#include "shard/engine/domain.h"
#include "shard/engine/keys.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t state_hash_bytes(struct slice bytes) { return XXH3_64bits(bytes.data, bytes.len); }

uint64_t state_hash_row(struct slice key, struct slice value)
{
    uint64_t hash = state_hash_fold(XXH3_64bits(key.data, key.len), XXH3_64bits(value.data, value.len));
    return hash != 0 ? hash : 1;
}

/* ---- what is there ---- */

/* Rows of entities; the rest is counted in other ways, or depends on where batches ended. */
static bool has_rows(const struct domain *domain, uint32_t kind)
{
    static const uint8_t others[] = {KEY_META, KEY_STREAM, KEY_OUTBOX, KEY_DEDUP, KEY_REPEATS, KEY_TIMER_COUNT, KEY_FOLLOWED};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (kind == others[i]) return false;
    for (uint32_t i = 0; i < ENTITY_KINDS_MAX; i++)
        if (domain->entities[i] != NULL && domain->entities[i]->block_key == kind) return false;
    return true;
}

static bool add_row(void *context, struct slice key, struct slice value)
{
    uint64_t *sum = context;
    *sum += state_hash_row(key, value);
    return true;
}

enum result state_hash_scan(const struct domain *domain, struct store_view *view, uint64_t *rows)
{
    *rows = 0;
    enum result result = RESULT_OK;
    for (uint32_t kind = 1; kind < UINT8_MAX && result == RESULT_OK; kind++) {
        struct key from = key_make((uint8_t)kind), until = key_make((uint8_t)(kind + 1));
        if (has_rows(domain, kind)) result = store_scan(view, key_slice(&from), key_slice(&until), add_row, rows);
    }
    return result;
}
