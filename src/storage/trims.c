/* storage/trims.c - a queue of trims in the order of their indexes, and a table from which compaction reads.
 *
 * The table has one place for a group, and the later one takes it: a group that lost its place keeps rows nobody reads until its next
 * trim, which lets go all before it. So that most groups have their place when a compaction comes by (else rows would gather faster than
 * they go), the table doubles when half of its places are taken, up to PLACES_MAX.
 * The queue holds what is not flushed yet, so the memtables bound it: a trim stands for rows that are longer than its place here. */
#include "storage/trims.h"
#include "core/check.h"
#include <pthread.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define PLACES_FIRST (4u << 10) /* powers of two */
#define PLACES_MAX   (4u << 20)
#define QUEUE_FIRST 64u

struct trim {
    uint8_t until[TRIM_KEY_SIZE];
};

struct waiting {
    uint64_t applied;
    struct trim trim;
};

struct trims {
    /* Storage thread. */
    struct waiting *queue; /* [first, stamped) have their index, [stamped, end) not yet */
    uint32_t first, stamped, end, capacity;
    uint32_t taken; /* places */
    /* The storage thread writes them, under the mutex. */
    pthread_mutex_t mutex;
    struct trim *table; /* a place whose first byte, the kind, is 0 is free */
    uint32_t place_count;
};

static void *must(void *memory)
{
    if (memory == NULL) check_fatal("out of memory for trims; the log holds everything");
    return memory;
}

struct trims *trims_create(void)
{
    struct trims *trims = must(calloc(1, sizeof *trims));
    trims->place_count = PLACES_FIRST;
    trims->table = must(calloc(trims->place_count, sizeof *trims->table));
    pthread_mutex_init(&trims->mutex, NULL);
    return trims;
}

void trims_destroy(struct trims *trims)
{
    pthread_mutex_destroy(&trims->mutex);
    free(trims->table);
    free(trims->queue);
    free(trims);
}

static void queue_make_room(struct trims *trims)
{
    if (trims->end < trims->capacity) return;
    uint32_t count = trims->end - trims->first;
    if (trims->first > trims->capacity / 2) {
        memmove(trims->queue, trims->queue + trims->first, count * sizeof *trims->queue);
        trims->stamped -= trims->first;
        trims->end = count;
        trims->first = 0;
        return;
    }
    trims->capacity = trims->capacity == 0 ? QUEUE_FIRST : trims->capacity * 2;
    trims->queue = must(realloc(trims->queue, trims->capacity * sizeof *trims->queue));
}

void trims_note(struct trims *trims, struct slice until)
{
    ASSERT(until.len == TRIM_KEY_SIZE && until.data[0] != 0);
    queue_make_room(trims);
    memcpy(trims->queue[trims->end++].trim.until, until.data, TRIM_KEY_SIZE);
}

void trims_stamp(struct trims *trims, uint64_t applied)
{
    for (; trims->stamped < trims->end; trims->stamped++) trims->queue[trims->stamped].applied = applied;
}

static struct trim *place_of(struct trim *table, uint32_t place_count, const uint8_t *group)
{
    return &table[XXH3_64bits(group, TRIM_GROUP_SIZE) & (place_count - 1)];
}

static bool is_free(const struct trim *place) { return place->until[0] == 0; }

/* Twice the places. Two groups that had one each do not meet in the larger table: the low bits that told them apart still do. */
static void table_grow(struct trims *trims)
{
    uint32_t place_count = trims->place_count * 2;
    struct trim *table = must(calloc(place_count, sizeof *table)), *old = trims->table;
    for (uint32_t i = 0; i < trims->place_count; i++)
        if (!is_free(&old[i])) *place_of(table, place_count, old[i].until) = old[i];
    pthread_mutex_lock(&trims->mutex);
    trims->table = table;
    trims->place_count = place_count;
    pthread_mutex_unlock(&trims->mutex);
    free(old);
}

void trims_settle(struct trims *trims, uint64_t durable)
{
    if (trims->first == trims->stamped || trims->queue[trims->first].applied > durable) return;
    pthread_mutex_lock(&trims->mutex);
    for (; trims->first < trims->stamped && trims->queue[trims->first].applied <= durable; trims->first++) {
        const struct trim *trim = &trims->queue[trims->first].trim;
        struct trim *place = place_of(trims->table, trims->place_count, trim->until);
        trims->taken += is_free(place);
        *place = *trim;
    }
    pthread_mutex_unlock(&trims->mutex);
    while (trims->taken > trims->place_count / 2 && trims->place_count < PLACES_MAX) table_grow(trims);
}

uint64_t trims_first_kept(struct trims *trims, const uint8_t *group)
{
    pthread_mutex_lock(&trims->mutex);
    const struct trim *trim = place_of(trims->table, trims->place_count, group);
    uint64_t first = memcmp(trim->until, group, TRIM_GROUP_SIZE) == 0 ? trim_number(trim->until) : 0;
    pthread_mutex_unlock(&trims->mutex);
    return first;
}
