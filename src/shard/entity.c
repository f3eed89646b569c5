/* shard/entity.c - the table of resident entities: a chained hash, an order from warm to cold, pins.
 * Happy path: entity_find marks; entity_table_trim looks from the cold end: what is marked loses its mark and goes to the warm end,
 * what is not, and nobody pins, is dropped. So finding, which happens many times for each command, moves nothing.
 * Failure mode: more pinned than resident_max: the table grows past it; requests under way bound by how much. */
#include "shard/entity.h"
#include "core/clock.h"
#include "shard/machine.h"
#include "shard/memory.h"

#define TRIM_BUDGET 256 /* entities looked at per turn, beside four for each that became resident since the last */

struct entity_table {
    struct machine *machine;
    struct metrics *metrics;
    uint64_t seeds[2]; /* of the hash: clients choose some of the ids that are asked for, but not who shares a bucket */
    struct entity **buckets;
    uint32_t bucket_count; /* power of two, fixed: one bucket per allowed entity, at most */
    uint32_t resident_count, resident_max;
    uint32_t inserted_count; /* since the last trim */
    struct entity *warmest, *coldest;
};

/* One multiplication to 128 bits, both halves folded: each bit of the key reaches each bit of the bucket. */
static uint32_t bucket_of(const struct entity_table *table, struct entity_key key)
{
    uint64_t kind = (uint64_t)key.kind * 0x9e3779b97f4a7c15u;
    __extension__ unsigned __int128 product =
        (unsigned __int128)(key.a ^ table->seeds[0] ^ kind) * (key.b ^ table->seeds[1]);
    return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64)) & (table->bucket_count - 1);
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
    clock_random(table->seeds, sizeof table->seeds);
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
    if (e != NULL) e->used = true;
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
    machine->entities_made++;
    if (machine->on_created != NULL) machine->on_created(machine->on_created_context, key);
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
    uint64_t budget = TRIM_BUDGET + 4 * (uint64_t)table->inserted_count; /* or a turn could bring more than it takes */
    table->inserted_count = 0;
    for (uint64_t looked = 0; looked < budget && e != NULL && table->resident_count > table->resident_max; looked++) {
        struct entity *warmer = e->warmer;
        if (e->pins == 0 && !e->used) {
            table_drop(table, e);
            if (table->metrics != NULL) metrics_add(&table->metrics->entities_evicted, 1);
        } else if (warmer != NULL) { /* pinned or used: out of the way of the next looks */
            e->used = false;
            order_remove(table, e);
            order_add_warmest(table, e);
        }
        /* Dropping a view may only unpin, never free, so `warmer` still stands. */
        e = warmer;
    }
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
        if (key_equal(needs->missing[i], key)) return;
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

struct entity *needs_entity(struct needs *needs, enum entity_kind kind, uint64_t a, uint64_t b)
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
