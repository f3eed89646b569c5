/* shard/engine/batch.c - see batch.h.
 * Happy path: batch_record finds the entity's place in the list, bumps the last chunk of its block; batch_end copies the chunks into
 * one put each and starts over. A block that reaches BLOCK_SIZE_MAX_BYTES is put at once, and the next record opens another.
 * Memory: slabs that are bumped, filled again from the start by the next batch; nothing is freed record by record. */
#include "shard/engine/batch.h"
#include "shard/engine/block.h"
#include "shard/engine/machine.h"
#include "shard/engine/memory.h"
#include "shard/engine/state_hash.h"

#define SLAB_SIZE        (64u << 10)
#define CHUNK_SIZE_FIRST 48u   /* with its head one cache line: two events */
#define CHUNK_SIZE_MAX   4096u /* chunks of a block double up to this */

struct slab {
    struct slab *next;
    uint32_t used, capacity;
    _Alignas(8) uint8_t bytes[];
};

struct chunk { /* a piece of an open block; its records do not cross into the next one */
    struct chunk *next;
    uint32_t used, capacity;
    uint8_t bytes[];
};

struct touched { /* one entity's part of the batch */
    struct entity *entity; /* pinned */
    bool row;              /* its row has changed */
    uint32_t count;        /* records in the open block */
    uint64_t first;        /* number of the first of them */
    uint32_t size;         /* bytes in its chunks */
    struct chunk *chunks, *last_chunk;
};

struct batch {
    struct touched *touched; /* entity->touched - 1 is the index */
    uint32_t count, capacity;
    struct slab *slabs, *filling; /* filling: all before it are full, all after it empty */
    const struct machine *machine;
};

struct batch *batch_create(const struct machine *machine)
{
    struct batch *batch = memory_alloc(sizeof *batch);
    batch->machine = machine;
    return batch;
}

/* ---- memory ---- */

static struct slab *slab_make(uint32_t len)
{
    uint32_t capacity = len > SLAB_SIZE ? len : SLAB_SIZE;
    struct slab *slab = memory_resize(NULL, sizeof *slab + capacity) /* not zeroed */;
    *slab = (struct slab){.capacity = capacity};
    return slab;
}

static void *bump(struct batch *batch, uint32_t len)
{
    len = (len + 7) & ~7u;
    struct slab *slab = batch->filling;
    while (slab != NULL && slab->capacity - slab->used < len && slab->next != NULL) slab = slab->next;
    if (slab == NULL || slab->capacity - slab->used < len) {
        struct slab *made = slab_make(len);
        if (slab != NULL) slab->next = made;
        else batch->slabs = made;
        slab = made;
    }
    batch->filling = slab;
    void *at = slab->bytes + slab->used;
    slab->used += len;
    return at;
}

/* Empties all slabs and frees those beyond the spare ones. */
static void slabs_reset(struct batch *batch, size_t spare)
{
    struct slab **link = &batch->slabs;
    for (size_t kept = 0; *link != NULL;) {
        struct slab *slab = *link;
        slab->used = 0;
        kept += slab->capacity;
        if (kept <= spare) {
            link = &slab->next;
        } else {
            *link = slab->next;
            free(slab);
        }
    }
    batch->filling = batch->slabs;
}

/* ---- what was touched ---- */

static struct touched *touch(struct batch *batch, struct entity *entity)
{
    if (entity->touched != 0) return &batch->touched[entity->touched - 1];
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        batch->touched = memory_resize(batch->touched, batch->capacity * sizeof *batch->touched);
    }
    struct touched *t = &batch->touched[batch->count++];
    *t = (struct touched){.entity = entity};
    entity->touched = batch->count;
    entity_pin(entity);
    return t;
}

static void release(struct batch *batch, struct entity_table *entities)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        struct entity *entity = batch->touched[i].entity;
        entity->touched = 0;
        entity_unpin(entities, &entity);
    }
    batch->count = 0;
}

void batch_destroy(struct batch *batch, struct entity_table *entities)
{
    if (batch == NULL) return;
    release(batch, entities);
    slabs_reset(batch, 0);
    free(batch->touched);
    free(batch);
}

void batch_row(struct batch *batch, struct entity *entity)
{
    ASSERT(entity_type_of(batch->machine, entity)->write != NULL);
    touch(batch, entity)->row = true;
}

/* ---- blocks ---- */

static struct key block_key(const struct batch *batch, const struct touched *t)
{
    const struct entity_type *type = entity_type_of(batch->machine, t->entity);
    ASSERT(type->block_key != 0);
    uint64_t number = type->newest_block_first ? ~t->first : t->first + t->count - 1;
    return key_two(type->block_key, t->entity->key.a, number);
}

static void block_put(const struct batch *batch, struct touched *t, struct effects *effects)
{
    struct key key = block_key(batch, t);
    uint8_t *at = store_batch_put_open(&effects->puts, key_slice(&key), (uint32_t)BLOCK_HEAD_SIZE + t->size);
    memcpy(at, &t->count, BLOCK_HEAD_SIZE);
    at += BLOCK_HEAD_SIZE;
    for (const struct chunk *chunk = t->chunks; chunk != NULL; chunk = chunk->next) {
        memcpy(at, chunk->bytes, chunk->used);
        at += chunk->used;
    }
    t->chunks = t->last_chunk = NULL;
    t->count = t->size = 0;
}

static uint8_t *block_bump(struct batch *batch, struct touched *t, uint32_t len)
{
    struct chunk *chunk = t->last_chunk;
    if (chunk == NULL || chunk->capacity - chunk->used < len) {
        uint32_t capacity = t->size < CHUNK_SIZE_FIRST ? CHUNK_SIZE_FIRST : t->size < CHUNK_SIZE_MAX ? t->size : CHUNK_SIZE_MAX;
        if (capacity < len) capacity = len;
        struct chunk *made = bump(batch, (uint32_t)sizeof *made + capacity);
        *made = (struct chunk){.capacity = capacity};
        if (chunk != NULL) chunk->next = made;
        else t->chunks = made;
        t->last_chunk = chunk = made;
    }
    uint8_t *at = chunk->bytes + chunk->used;
    chunk->used += len;
    t->size += len;
    return at;
}

uint8_t *batch_record(struct batch *batch, struct entity *entity, uint64_t number, uint32_t len, uint64_t content, struct effects *effects)
{
    struct touched *t = touch(batch, entity);
    /* A shard that has no members of a room for a while does not hear its messages. */
    bool follows = number == t->first + t->count;
    if (t->count > 0 && (!follows || t->size + BLOCK_RECORD_HEAD_SIZE + len > BLOCK_SIZE_MAX_BYTES)) block_put(batch, t, effects);
    if (t->count == 0) t->first = number;
    t->count++;
    effects->records_appended += state_hash_record(entity->key.kind, entity->key.a, number, content);
    uint8_t *at = block_bump(batch, t, (uint32_t)BLOCK_RECORD_HEAD_SIZE + len);
    memcpy(at, &len, BLOCK_RECORD_HEAD_SIZE);
    return at + BLOCK_RECORD_HEAD_SIZE;
}

void batch_end(struct batch *batch, struct entity_table *entities, struct effects *effects)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        struct touched *t = &batch->touched[i];
        if (t->count > 0) block_put(batch, t, effects);
        if (t->row) entity_type_of(batch->machine, t->entity)->write(t->entity, effects);
    }
    release(batch, entities);
    slabs_reset(batch, BATCH_SPARE_BYTES);
}
