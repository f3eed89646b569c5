/* shard/entity.c - the table of resident entities: a chained hash, an order from warm to cold, pins.
 * Happy path: entity_find moves to the warm end; entity_table_trim drops from the cold end what nobody pins.
 * Failure mode: more pinned than resident_max: the table grows past it; requests under way bound by how much. */
#include "shard/entity.h"
#include "shard/machine.h"
#include "shard/memory.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define TRIM_BUDGET 256 /* entities looked at per turn, beside two for each that became resident since the last */

struct entity_table {
    struct machine *machine;
    struct metrics *metrics;
    struct entity **buckets;
    uint32_t bucket_count; /* power of two, fixed: one bucket per allowed entity, at most */
    uint32_t resident_count, resident_max;
    uint32_t inserted_count; /* since the last trim */
    struct entity *warmest, *coldest;
};

static uint32_t bucket_of(const struct entity_table *table, struct entity_key key)
{
    uint64_t words[3] = {key.a, key.b, (uint64_t)key.kind};
    return (uint32_t)XXH3_64bits(words, sizeof words) & (table->bucket_count - 1);
}

static bool key_equal(struct entity_key x, struct entity_key y) { return x.a == y.a && x.b == y.b && x.kind == y.kind; }

enum result entity_table_create(struct entity_table **out, struct machine *machine, uint32_t resident_max, struct metrics *metrics)
{
    ASSERT(resident_max > 0);
    *out = NULL;
    struct entity_table *table = calloc(1, sizeof *table);
    if (table == NULL) return RESULT_NOMEM;
    uint32_t buckets = 1024;
    while (buckets < resident_max && buckets < (1u << 24)) buckets *= 2;
    *table = (struct entity_table){.machine = machine, .metrics = metrics, .bucket_count = buckets, .resident_max = resident_max};
    table->buckets = calloc(buckets, sizeof *table->buckets);
    if (table->buckets == NULL) {
        free(table);
        return RESULT_NOMEM;
    }
    *out = table;
    return RESULT_OK;
}

static void order_remove(struct entity_table *table, struct entity *e)
{
    if (e->warmer != NULL) e->warmer->colder = e->colder;
    else table->warmest = e->colder;
    if (e->colder != NULL) e->colder->warmer = e->warmer;
    else table->coldest = e->warmer;
    e->warmer = e->colder = NULL;
}

static void order_add_warmest(struct entity_table *table, struct entity *e)
{
    e->colder = table->warmest;
    e->warmer = NULL;
    if (table->warmest != NULL) table->warmest->warmer = e;
    else table->coldest = e;
    table->warmest = e;
}

static void table_insert(struct entity_table *table, struct entity *e)
{
    uint32_t bucket = bucket_of(table, e->key);
    e->hash_next = table->buckets[bucket];
    table->buckets[bucket] = e;
    order_add_warmest(table, e);
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
    order_remove(table, e);
    table->resident_count--;
    if (table->metrics != NULL) metrics_sub(&table->metrics->entities_resident, 1);
    const struct entity_type *type = entity_types[e->key.kind];
    if (type->drop != NULL) type->drop(table->machine, e);
    free(e);
}

void entity_table_destroy(struct entity_table *table)
{
    if (table == NULL) return;
    /* Views pin inboxes: each round frees what the round before unpinned. */
    for (bool progress = true; progress && table->coldest != NULL;) {
        progress = false;
        for (struct entity *e = table->coldest; e != NULL;) {
            struct entity *warmer = e->warmer;
            if (e->pins == 0) {
                table_drop(table, e);
                progress = true;
            }
            e = warmer;
        }
    }
    ASSERT(table->resident_count == 0);
    free(table->buckets);
    free(table);
}

static struct entity *table_lookup(const struct entity_table *table, struct entity_key key)
{
    struct entity *e = table->buckets[bucket_of(table, key)];
    while (e != NULL && !key_equal(e->key, key)) e = e->hash_next;
    return e;
}

struct entity *entity_find(struct entity_table *table, struct entity_key key)
{
    struct entity *e = table_lookup(table, key);
    if (e != NULL && table->warmest != e) {
        order_remove(table, e);
        order_add_warmest(table, e);
    }
    return e;
}

struct entity *entity_fresh(struct entity_key key)
{
    ASSERT(key.kind < ENTITY_KIND_COUNT);
    struct entity *e = memory_alloc(entity_types[key.kind]->size_bytes);
    e->key = key;
    return e;
}

struct entity *entity_create(struct entity_table *table, struct entity_key key)
{
    struct entity *e = table_lookup(table, key);
    if (e == NULL) {
        e = entity_fresh(key);
        table_insert(table, e);
    }
    ASSERT(!e->exists);
    struct machine *machine = table->machine;
    if (machine != NULL && machine->on_created != NULL) machine->on_created(machine->on_created_context, key);
    return e;
}

void entity_discard(struct entity *fresh)
{
    const struct entity_type *type = entity_types[fresh->key.kind];
    ASSERT(fresh->pins == 0);
    if (type->drop != NULL) type->drop(NULL, fresh);
    free(fresh);
}

struct entity *entity_adopt(struct entity_table *table, struct entity *fresh)
{
    struct entity *resident = table_lookup(table, fresh->key);
    if (resident != NULL) {
        entity_discard(fresh);
        return resident;
    }
    table_insert(table, fresh);
    const struct entity_type *type = entity_types[fresh->key.kind];
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

void entity_table_trim(struct entity_table *table)
{
    struct entity *e = table->coldest;
    uint64_t budget = TRIM_BUDGET + 2 * (uint64_t)table->inserted_count; /* or a turn could bring more than it takes */
    table->inserted_count = 0;
    for (uint64_t looked = 0; looked < budget && e != NULL && table->resident_count > table->resident_max; looked++) {
        struct entity *warmer = e->warmer;
        if (e->pins == 0) {
            table_drop(table, e);
            if (table->metrics != NULL) metrics_add(&table->metrics->entities_evicted, 1);
        } else if (warmer != NULL) { /* pinned: out of the way of the next looks */
            order_remove(table, e);
            order_add_warmest(table, e);
        }
        /* Dropping a view may only unpin, never free, so `warmer` still stands. */
        e = warmer;
    }
}

void needs_init(struct needs *needs, struct machine *machine) { *needs = (struct needs){.machine = machine}; }

void needs_release(struct needs *needs)
{
    for (uint32_t i = 0; i < needs->count; i++) entity_unpin(needs->machine->entities, &needs->pins[i]);
    free(needs->pins);
    *needs = (struct needs){.machine = needs->machine};
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
        if (key_equal(needs->missing[i], key)) return;
    needs->missing[needs->missing_count++] = key;
}

struct entity *needs_entity(struct needs *needs, enum entity_kind kind, uint64_t a, uint64_t b)
{
    struct entity_key key = {.a = a, .b = b, .kind = kind};
    struct entity *e = entity_find(needs->machine->entities, key);
    if (e == NULL) {
        needs_miss(needs, key);
        return NULL;
    }
    if (needs_holds(needs, e)) return e;
    if (needs->count == needs->capacity) {
        needs->capacity = needs->capacity == 0 ? 8 : needs->capacity * 2;
        needs->pins = memory_resize(needs->pins, needs->capacity * sizeof(struct entity *));
    }
    entity_pin(e);
    needs->pins[needs->count++] = e;
    return e;
}
