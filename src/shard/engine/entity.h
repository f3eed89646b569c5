/* shard/engine/entity.h - what a shard holds in memory: users, rooms, members, … by key, loaded when needed, dropped when cold.
 * Owns:    every resident entity.
 * Thread:  the shard's worker; `load` alone runs on the storage thread, on a fresh entity nobody else sees.
 * Depends: core/, storage/store.h.  Start at: shard/engine/shard.h
 *
 * An entity is resident or not; a resident one is exactly the state after the last applied command. Since the store answers
 * in the order asked (storage/store.h), an unpinned entity may be dropped at any time and read back: the read sees every put
 * submitted before it. A command pins what it touches from its check until it is applied. `exists` false is knowledge too:
 * there is no such room, that user is no member.
 * Limit: `resident_max`, and ENTITY_RARE_MAX for the kinds that are large and rarely used. Beyond it unpinned entities are evicted by the
 * CLOCK algorithm: least recently used first, as far as one bit per entity can tell. Pinned ones may exceed the limit; requests under
 * way bound by how much. */
#ifndef SHARD_ENTITY_H
#define SHARD_ENTITY_H

#include "core/check.h"
#include "core/metrics.h"
#include "core/result.h"
#include "storage/store.h"

struct machine;
struct effects;

struct entity_key {
    uint64_t a, b;
    uint32_t kind;
};
static inline bool entity_key_equal(struct entity_key x, struct entity_key y)
{
    return x.a == y.a && x.b == y.b && x.kind == y.kind;
}

struct entity { /* first member of every entity */
    struct entity_key key;
    uint32_t pins;
    uint32_t touched; /* place in the open batch, from 1; 0: not in it (batch.h) */
    bool exists;
    bool used; /* found since the trim last came by: it gets another round */
    struct entity *hash_next, *warmer, *colder;
    uint64_t row_hash; /* of its row in the store, of kinds that have one (state_hash.h); 0: there is none */
};

struct entity_type { /* one constant in the file that has its functions, named in the table of its area */
    uint32_t kind;
    const char *name;
    uint32_t size_bytes;
    bool rare; /* large and rarely used (at a login): has a small limit of its own, so that it evicts no other kind */
    /* Most have one row, which is all there is of them or the first of it: the kind of its key, made of `a` alone or of a and b (row_of_two). */
    uint8_t row_key;
    bool row_of_two;
    bool (*read)(struct entity *fresh, struct slice value);             /* fills it from that row; false: corrupt */
    enum result (*load)(struct entity *fresh, struct store_view *view); /* the rest of one that exists, after `read`; of one without row_key all.
                                                                         * OK, also when it does not exist; IO/CORRUPT. May be NULL */
    void (*adopt)(struct machine *machine, struct entity *fresh);       /* worker, as it becomes resident; may be NULL */
    void (*drop)(struct machine *machine, struct entity *entity);       /* frees what it holds, not itself; may be NULL */
    void (*write)(struct entity *entity, struct effects *effects); /* its row as it is now, put or deleted: batch_row(); may be NULL */
    uint8_t block_key;         /* kind of the keys of its blocks: batch_record(); 0: it has none */
    bool newest_block_first;   /* block.h */
};
#define ENTITY_RARE_MAX 1024

struct entity_table;
NODISCARD enum result entity_table_create(struct entity_table **out, struct machine *machine, uint32_t resident_max,
                                          struct metrics *metrics);
/* Asserts that nothing is pinned but by other entities. */
void entity_table_destroy(struct entity_table *table);

/* The resident entity, marked as used, or NULL. */
struct entity *entity_find(struct entity_table *table, struct entity_key key);
/* Resident, with exists == false: for a thing that a command is making. Somebody may have asked for its id before it was given;
 * then it is the resident entity that says so. */
struct entity *entity_create(struct entity_table *table, struct entity_key key);
static inline void entity_pin(struct entity *entity) { entity->pins++; }
void entity_unpin(struct entity_table *table, struct entity **entity); /* leaves NULL */
/* Of the buckets it has room for, those that no page stands for yet. */
uint64_t entity_table_untouched_bytes(const struct entity_table *table);
/* Drops whatever nobody pins; never while a command is being applied. */
void entity_table_drop_all(struct entity_table *table);
/* Drops cold entities down to the limit; once per turn, never while a command is being applied. */
void entity_table_trim(struct entity_table *table);

/* The row of its kind. */
const struct entity_type *entity_type_of(const struct machine *machine, const struct entity *entity);

/* What is stored of `fresh`. OK, also when it does not exist; IO, CORRUPT. */
NODISCARD enum result entity_load(const struct machine *machine, struct entity *fresh, struct store_view *view);
/* For load: whether its row is there, and the value. OK, also when it is not; IO, CORRUPT. */
struct key;
NODISCARD enum result entity_load_row(struct entity *fresh, struct store_view *view, const struct key *key, struct writer *value);
/* A fresh entity outside the table, for load; then either adopted (taken) or discarded. */
struct entity *entity_fresh(const struct machine *machine, struct entity_key key);
/* Takes `fresh`; when the key became resident meanwhile, that one stays (it is as new) and `fresh` is freed. Returns the resident one. */
struct entity *entity_adopt(struct entity_table *table, struct entity *fresh);
void entity_discard(const struct machine *machine, struct entity *fresh);

/* The entity as the struct of its kind, whose member `entity` it is: ENTITY_CAST(struct room, ENTITY_ROOM, e). */
#define ENTITY_CAST(type, kind_, entity_)                                                                              \
    __extension__({                                                                                                    \
        struct entity *cast_ = (entity_);                                                                              \
        ASSERT(cast_->key.kind == (uint32_t)(kind_));                                                                  \
        CONTAINER_OF(cast_, type, entity);                                                                             \
    })

/* ---- needs: what a command touches ---- */
#define NEEDS_MISSING_MAX 64
#define NEEDS_FEW 8
struct needs {
    struct machine *machine;
    struct entity **pins; /* pinned entities: `few`, or an owned array when they are more */
    uint32_t count, capacity;
    uint32_t missing_count;
    struct entity_key *missing; /* owned, made with the first: the first NEEDS_MISSING_MAX; the rest are found on the next try */
    struct entity *few[NEEDS_FEW];
};
void needs_init(struct needs *needs, struct machine *machine);
/* Unpins everything and frees what it owns; ready for use again. */
void needs_release(struct needs *needs);
/* The entity, pinned once for this needs, or NULL and it is noted as missing. */
struct entity *needs_entity(struct needs *needs, uint32_t kind, uint64_t a, uint64_t b);
/* The entity when it is among the first few of `needs`, else NULL. */
static inline struct entity *needs_find(const struct needs *needs, uint32_t kind, uint64_t a, uint64_t b)
{
    uint32_t count = needs->count < NEEDS_FEW ? needs->count : NEEDS_FEW;
    for (uint32_t i = 0; i < count; i++) {
        struct entity *e = needs->pins[i];
        if (e->key.a == a && e->key.b == b && e->key.kind == kind) return e;
    }
    return NULL;
}

#endif
