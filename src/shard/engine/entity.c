/* shard/engine/entity.c - the table of resident entities: a chained hash, an order from warm to cold, pins.
 * Happy path: entity_find marks; entity_table_trim looks from the cold end: what is marked loses its mark and goes to the warm end,
 * what is not, and nobody pins, is dropped. So finding, which happens many times for each command, moves nothing.
 * Failure mode: more pinned than resident_max: the table grows past it; requests under way bound by how much. */
#include "shard/engine/entity.h"
#include "core/clock.h"
#include "shard/engine/machine.h"
#include "shard/engine/memory.h"
#include "shard/engine/state_hash.h"

#define BUCKETS_MIN 1024u       /* power of two */
#define BUCKETS_MAX (1u << 24)
#define TRIM_BUDGET 256 /* entities looked at per turn, beside four for each that became resident since the last */

struct entity_table {
    struct machine *machine;
    struct metrics *metrics;
    uint64_t seeds[2]; /* of the hash: clients choose some of the ids that are asked for, but not who shares a bucket */
    struct entity **buckets; /* room for bucket_count_max; pages are touched as bucket_count gets there */
    uint32_t bucket_count, bucket_count_max;
    uint32_t mask; /* linear hashing: bucket = hash & mask; when that bucket does not exist yet (>= bucket_count), hash & (mask >> 1).
                      bucket_count <= mask + 1 < 2 * bucket_count */
    uint32_t resident_count;
    uint32_t inserted_count; /* since the last trim */
    struct order {
        struct entity *warmest, *coldest;
        uint32_t count, max;
    } common, rare;
};

const struct entity_type *entity_type_of(const struct machine *machine, const struct entity *entity)
{
    return machine->options.domain->entities[entity->key.kind];
}

static struct order *order_of(struct entity_table *table, const struct entity *e)
{
    return entity_type_of(table->machine, e)->rare ? &table->rare : &table->common;
}

/* One multiplication to 128 bits, both halves folded: each bit of the key reaches each bit of the bucket. */
static uint32_t hash_of(const struct entity_table *table, struct entity_key key)
{
    uint64_t kind = (uint64_t)key.kind * 0x9e3779b97f4a7c15u;
    __extension__ unsigned __int128 product =
        (unsigned __int128)(key.a ^ table->seeds[0] ^ kind) * (key.b ^ table->seeds[1]);
    return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64));
}

static uint32_t bucket_of(const struct entity_table *table, struct entity_key key)
{
    uint32_t hash = hash_of(table, key), bucket = hash & table->mask;
    return bucket < table->bucket_count ? bucket : hash & (table->mask >> 1);
}

/* One bucket more, taken out of the one it was a part of: the table grows by steps, never all at once. */
static void split_bucket(struct entity_table *table)
{
    uint32_t added = table->bucket_count++;
    if (added > table->mask) table->mask = table->mask * 2 + 1;
    struct entity **link = &table->buckets[added & (table->mask >> 1)];
    while (*link != NULL) {
        struct entity *e = *link;
        if ((hash_of(table, e->key) & table->mask) != added) {
            link = &e->hash_next;
            continue;
        }
        *link = e->hash_next;
        e->hash_next = table->buckets[added];
        table->buckets[added] = e;
    }
}

enum result entity_table_create(struct entity_table **out, struct machine *machine, uint32_t resident_max, struct metrics *metrics)
{
    ASSERT(resident_max > 0);
    *out = NULL;
    struct entity_table *table = calloc(1, sizeof *table);
    if (table == NULL) return RESULT_NOMEM;
    uint32_t buckets_max = resident_max < BUCKETS_MIN ? BUCKETS_MIN : resident_max;
    if (buckets_max > BUCKETS_MAX) buckets_max = BUCKETS_MAX;
    *table = (struct entity_table){.machine = machine,
                                   .metrics = metrics,
                                   .bucket_count = BUCKETS_MIN,
                                   .bucket_count_max = buckets_max,
                                   .mask = BUCKETS_MIN - 1,
                                   .common.max = resident_max,
                                   .rare.max = ENTITY_RARE_MAX};
    if (table->rare.max > resident_max) table->rare.max = resident_max;
    clock_random(table->seeds, sizeof table->seeds);
    table->buckets = calloc(buckets_max, sizeof *table->buckets);
    if (table->buckets == NULL) {
        free(table);
        return RESULT_NOMEM;
    }
    *out = table;
    return RESULT_OK;
}

uint64_t entity_table_untouched_bytes(const struct entity_table *table)
{
    return (uint64_t)(table->bucket_count_max - table->bucket_count) * sizeof *table->buckets;
}

static void order_remove(struct order *order, struct entity *e)
{
    if (e->warmer != NULL) e->warmer->colder = e->colder;
    else order->warmest = e->colder;
    if (e->colder != NULL) e->colder->warmer = e->warmer;
    else order->coldest = e->warmer;
    e->warmer = e->colder = NULL;
    order->count--;
}

static void order_add_warmest(struct order *order, struct entity *e)
{
    e->colder = order->warmest;
    e->warmer = NULL;
    if (order->warmest != NULL) order->warmest->warmer = e;
    else order->coldest = e;
    order->warmest = e;
    order->count++;
}

static void table_insert(struct entity_table *table, struct entity *e)
{
    if (table->resident_count >= table->bucket_count && table->bucket_count < table->bucket_count_max) split_bucket(table);
    uint32_t bucket = bucket_of(table, e->key);
    e->hash_next = table->buckets[bucket];
    table->buckets[bucket] = e;
    order_add_warmest(order_of(table, e), e);
    table->resident_count++;
    table->inserted_count++;
    if (table->metrics != NULL) metrics_add(&table->metrics->entities_resident, 1);
}

static void table_drop(struct entity_table *table, struct entity *e)
{
    ASSERT(e->pins == 0);
    struct entity **link = &table->buckets[bucket_of(table, e->key)];
    while (*link != e) link = &(*link)->hash_next;
    *link = e->hash_next;
    order_remove(order_of(table, e), e);
    table->resident_count--;
    if (table->metrics != NULL) metrics_sub(&table->metrics->entities_resident, 1);
    const struct entity_type *type = entity_type_of(table->machine, e);
    if (type->drop != NULL) type->drop(table->machine, e);
    free(e);
}

/* True: something was dropped. */
static bool order_drop_unpinned(struct entity_table *table, struct order *order)
{
    uint32_t before = order->count;
    for (struct entity *e = order->coldest; e != NULL;) {
        struct entity *warmer = e->warmer;
        if (e->pins == 0) table_drop(table, e);
        e = warmer;
    }
    return order->count < before;
}

void entity_table_drop_all(struct entity_table *table)
{
    (void)order_drop_unpinned(table, &table->rare);
    while (order_drop_unpinned(table, &table->common)) continue; /* views pin inboxes: each round frees what the one before unpinned */
}

void entity_table_destroy(struct entity_table *table)
{
    if (table == NULL) return;
    entity_table_drop_all(table);
    ASSERT(table->resident_count == 0);
    free(table->buckets);
    free(table);
}

static struct entity *table_lookup(const struct entity_table *table, struct entity_key key)
{
    struct entity *e = table->buckets[bucket_of(table, key)];
    while (e != NULL && !entity_key_equal(e->key, key)) e = e->hash_next;
    return e;
}

struct entity *entity_find(struct entity_table *table, struct entity_key key)
{
    struct entity *e = table_lookup(table, key);
    if (e != NULL) e->used = true;
    return e;
}

struct entity *entity_fresh(const struct machine *machine, struct entity_key key)
{
    const struct entity_type *type = domain_entity(machine->options.domain, key.kind);
    ASSERT(type != NULL);
    struct entity *e = memory_alloc(type->size_bytes);
    e->key = key;
    return e;
}

enum result entity_load_row(struct entity *fresh, struct store_view *view, const struct key *key, struct writer *value)
{
    writer_reset(value);
    enum result result = store_get(view, key_slice(key), value);
    fresh->exists = result == RESULT_OK;
    if (fresh->exists) fresh->row_hash = state_hash_row(key_slice(key), writer_slice(value));
    return result == RESULT_MISSING ? RESULT_OK : result;
}

static enum result load_row(const struct entity_type *type, struct entity *fresh, struct store_view *view)
{
    struct key key = type->row_of_two ? key_two(type->row_key, fresh->key.a, fresh->key.b) : key_one(type->row_key, fresh->key.a);
    struct writer value;
    writer_init(&value, 0);
    enum result result = entity_load_row(fresh, view, &key, &value);
    if (result == RESULT_OK && fresh->exists && !type->read(fresh, writer_slice(&value))) result = RESULT_CORRUPT;
    writer_deinit(&value);
    return result;
}

enum result entity_load(const struct machine *machine, struct entity *fresh, struct store_view *view)
{
    const struct entity_type *type = entity_type_of(machine, fresh);
    if (type->row_key == 0) return type->load(fresh, view);
    enum result result = load_row(type, fresh, view);
    return result == RESULT_OK && fresh->exists && type->load != NULL ? type->load(fresh, view) : result;
}

struct entity *entity_create(struct entity_table *table, struct entity_key key)
{
    struct entity *e = table_lookup(table, key);
    if (e == NULL) {
        e = entity_fresh(table->machine, key);
        table_insert(table, e);
    }
    ASSERT(!e->exists);
    struct machine *machine = table->machine;
    machine->entities_made++;
    if (machine->on_created != NULL) machine->on_created(machine->on_created_context, key);
    return e;
}

void entity_discard(const struct machine *machine, struct entity *fresh)
{
    const struct entity_type *type = entity_type_of(machine, fresh);
    ASSERT(fresh->pins == 0);
    if (type->drop != NULL) type->drop(NULL, fresh);
    free(fresh);
}

struct entity *entity_adopt(struct entity_table *table, struct entity *fresh)
{
    struct entity *resident = table_lookup(table, fresh->key);
    if (resident != NULL) {
        entity_discard(table->machine, fresh);
        return resident;
    }
    table_insert(table, fresh);
    const struct entity_type *type = entity_type_of(table->machine, fresh);
    if (type->adopt != NULL) type->adopt(table->machine, fresh);
    return fresh;
}

void entity_unpin(struct entity_table *table, struct entity **entity)
{
    (void)table;
    if (*entity == NULL) return;
    ASSERT((*entity)->pins > 0);
    (*entity)->pins--;
    *entity = NULL;
}

static void order_trim(struct entity_table *table, struct order *order, uint64_t budget)
{
    struct entity *e = order->coldest;
    for (uint64_t looked = 0; looked < budget && e != NULL && order->count > order->max; looked++) {
        struct entity *warmer = e->warmer;
        if (e->pins == 0 && !e->used) {
            table_drop(table, e);
            if (table->metrics != NULL) metrics_add(&table->metrics->entities_evicted, 1);
        } else if (warmer != NULL) { /* pinned or used: out of the way of the next looks */
            e->used = false;
            order_remove(order, e);
            order_add_warmest(order, e);
        }
        /* Dropping a view may only unpin, never free, so `warmer` still stands. */
        e = warmer;
    }
}

void entity_table_trim(struct entity_table *table)
{
    uint64_t budget = TRIM_BUDGET + 4 * (uint64_t)table->inserted_count; /* or a turn could bring more than it takes */
    table->inserted_count = 0;
    order_trim(table, &table->common, budget);
    order_trim(table, &table->rare, budget);
}

void needs_init(struct needs *needs, struct machine *machine)
{
    needs->machine = machine;
    needs->pins = needs->few;
    needs->count = needs->missing_count = 0;
    needs->capacity = NEEDS_FEW;
    needs->missing = NULL;
}

void needs_release(struct needs *needs)
{
    for (uint32_t i = 0; i < needs->count; i++) entity_unpin(needs->machine->entities, &needs->pins[i]);
    if (needs->pins != needs->few) free(needs->pins);
    free(needs->missing);
    needs_init(needs, needs->machine);
}

static bool needs_holds(const struct needs *needs, const struct entity *e)
{
    for (uint32_t i = 0; i < needs->count; i++)
        if (needs->pins[i] == e) return true;
    return false;
}

static void needs_miss(struct needs *needs, struct entity_key key)
{
    if (needs->missing_count == NEEDS_MISSING_MAX) return;
    for (uint32_t i = 0; i < needs->missing_count; i++)
        if (entity_key_equal(needs->missing[i], key)) return;
    if (needs->missing == NULL) needs->missing = memory_alloc(NEEDS_MISSING_MAX * sizeof *needs->missing);
    needs->missing[needs->missing_count++] = key;
}

static void needs_grow(struct needs *needs)
{
    needs->capacity *= 2;
    size_t size = needs->capacity * sizeof *needs->pins;
    if (needs->pins != needs->few) {
        needs->pins = memory_resize(needs->pins, size);
        return;
    }
    needs->pins = memory_alloc(size);
    memcpy(needs->pins, needs->few, sizeof needs->few);
}

struct entity *needs_entity(struct needs *needs, uint32_t kind, uint64_t a, uint64_t b)
{
    struct entity *e = needs_find(needs, kind, a, b);
    if (e != NULL) return e;
    struct entity_key key = {.a = a, .b = b, .kind = kind};
    e = entity_find(needs->machine->entities, key);
    if (e == NULL) {
        needs_miss(needs, key);
        return NULL;
    }
    if (needs->count >= NEEDS_FEW && needs_holds(needs, e)) return e;
    if (needs->count == needs->capacity) needs_grow(needs);
    entity_pin(e);
    needs->pins[needs->count++] = e;
    return e;
}
