/* storage/trims.c - a queue of trims in the order of their indexes, and a table from which compaction reads.
 *
 * The table has one place for a group, and the later one takes it. So it is bounded, and a group that lost its place keeps rows nobody reads
 * until its next trim: with TABLE_SIZE groups of a shard being trimmed at once, that is rare, and each lets go all before it.
 * The queue holds what is not flushed yet, so the memtables bound it: a trim stands for rows that are longer than its place here. */
#include "storage/trims.h"
#include "core/check.h"
#include <pthread.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define TABLE_SIZE (64u << 10) /* power of two; untouched pages stay unused */
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
    /* Under the mutex. */
    pthread_mutex_t mutex;
    struct trim *table;
};

static void *must(void *memory)
{
    if (memory == NULL) check_fatal("out of memory for trims; the log holds everything");
    return memory;
}

struct trims *trims_create(void)
{
    struct trims *trims = must(calloc(1, sizeof *trims));
    trims->table = must(calloc(TABLE_SIZE, sizeof *trims->table));
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
    ASSERT(until.len == TRIM_KEY_SIZE);
    queue_make_room(trims);
    memcpy(trims->queue[trims->end++].trim.until, until.data, TRIM_KEY_SIZE);
}

void trims_stamp(struct trims *trims, uint64_t applied)
{
    for (; trims->stamped < trims->end; trims->stamped++) trims->queue[trims->stamped].applied = applied;
}

static struct trim *place_of(struct trims *trims, const uint8_t *group)
{
    return &trims->table[XXH3_64bits(group, TRIM_GROUP_SIZE) & (TABLE_SIZE - 1)];
}

void trims_settle(struct trims *trims, uint64_t durable)
{
    if (trims->first == trims->stamped || trims->queue[trims->first].applied > durable) return;
    pthread_mutex_lock(&trims->mutex);
    for (; trims->first < trims->stamped && trims->queue[trims->first].applied <= durable; trims->first++) {
        const struct trim *trim = &trims->queue[trims->first].trim;
        *place_of(trims, trim->until) = *trim;
    }
    pthread_mutex_unlock(&trims->mutex);
}

uint64_t trims_first_kept(struct trims *trims, const uint8_t *group)
{
    const struct trim *trim = place_of(trims, group);
    pthread_mutex_lock(&trims->mutex);
    uint64_t first = memcmp(trim->until, group, TRIM_GROUP_SIZE) == 0 ? trim_number(trim->until) : 0;
    pthread_mutex_unlock(&trims->mutex);
    return first;
}
