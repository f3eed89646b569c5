/* shard/door/inflight.c - see inflight.h. The entries stand in one array that grows by doubling; free ones are used again last in first out,
 * so that few are touched. Those that are away stand in the order they left, which is that of their deadlines. */
#include "shard/door/inflight.h"
#include "core/check.h"
#include "shard/engine/memory.h"

#define NOWHERE        UINT32_MAX
#define CAPACITY_FIRST 64u

struct inflight_table {
    struct inflight *entries;
    uint32_t capacity, used, count; /* used: entries that ever were; the free list has those of them that are free */
    uint32_t free_first, away_first, away_last;
    uint16_t worker;
    uint64_t next_generation;
    uint32_t *asked; /* by shard */
};

struct inflight_table *inflight_create(uint16_t worker, uint16_t shard_count, uint64_t first_generation)
{
    struct inflight_table *t = memory_alloc(sizeof *t);
    t->worker = worker;
    t->next_generation = first_generation;
    t->free_first = t->away_first = t->away_last = NOWHERE;
    t->asked = memory_alloc(shard_count * sizeof *t->asked);
    return t;
}

void inflight_destroy(struct inflight_table *t)
{
    if (t == NULL) return;
    free(t->entries);
    free(t->asked);
    free(t);
}

static uint32_t slot_take(struct inflight_table *t)
{
    uint32_t slot = t->free_first;
    if (slot != NOWHERE) {
        t->free_first = t->entries[slot].next;
        return slot;
    }
    if (t->used == t->capacity) {
        t->capacity = t->capacity == 0 ? CAPACITY_FIRST : t->capacity * 2;
        t->entries = memory_resize(t->entries, t->capacity * sizeof *t->entries);
    }
    return t->used++;
}

bool inflight_take(struct inflight_table *t, const struct inflight *request, struct origin *origin)
{
    if (t->count == INFLIGHT_MAX) return false;
    uint32_t slot = slot_take(t);
    struct inflight *entry = &t->entries[slot];
    if (t->next_generation == 0) t->next_generation = 1; /* which stands for free */
    *entry = *request;
    entry->away = false;
    entry->generation = t->next_generation++;
    *origin = (struct origin){.worker = t->worker, .slot = slot, .generation = entry->generation};
    t->count++;
    return true;
}

static struct inflight *find(const struct inflight_table *t, const struct origin *origin)
{
    bool possible = origin->worker == t->worker && origin->slot < t->used && origin->generation != 0;
    struct inflight *entry = possible ? &t->entries[origin->slot] : NULL;
    return possible && entry->generation == origin->generation ? entry : NULL;
}

const struct inflight *inflight_find(const struct inflight_table *t, const struct origin *origin) { return find(t, origin); }

static bool counts(const struct inflight *entry) { return entry->door != CONN_DOOR_HTTP; }

void inflight_leave(struct inflight_table *t, const struct origin *origin, uint16_t shard, uint64_t now_ns)
{
    struct inflight *entry = find(t, origin);
    if (entry == NULL || entry->away) return;
    entry->away = true;
    entry->away_shard = shard;
    entry->until_ns = now_ns + INFLIGHT_TIMEOUT_NS;
    entry->next = NOWHERE;
    entry->before = t->away_last;
    if (t->away_last != NOWHERE) t->entries[t->away_last].next = origin->slot;
    else t->away_first = origin->slot;
    t->away_last = origin->slot;
    t->asked[shard] += counts(entry);
}

static void come_back(struct inflight_table *t, const struct inflight *entry)
{
    if (entry->before != NOWHERE) t->entries[entry->before].next = entry->next;
    else t->away_first = entry->next;
    if (entry->next != NOWHERE) t->entries[entry->next].before = entry->before;
    else t->away_last = entry->before;
    ASSERT(!counts(entry) || t->asked[entry->away_shard] > 0);
    t->asked[entry->away_shard] -= counts(entry);
}

static void end(struct inflight_table *t, uint32_t slot, struct inflight *out)
{
    struct inflight *entry = &t->entries[slot];
    ASSERT(entry->generation != 0 && t->count > 0);
    if (entry->away) come_back(t, entry);
    *out = *entry;
    entry->generation = 0;
    entry->next = t->free_first;
    t->free_first = slot;
    t->count--;
}

bool inflight_end(struct inflight_table *t, const struct origin *origin, uint16_t method, struct inflight *out)
{
    const struct inflight *entry = find(t, origin);
    if (entry == NULL || entry->method != method) return false;
    end(t, origin->slot, out);
    return true;
}

bool inflight_overdue(struct inflight_table *t, uint64_t now_ns, struct inflight *out)
{
    if (t->away_first == NOWHERE || t->entries[t->away_first].until_ns > now_ns) return false;
    end(t, t->away_first, out);
    return true;
}

uint32_t inflight_asked(const struct inflight_table *t, uint16_t shard) { return t->asked[shard]; }

uint32_t inflight_count(const struct inflight_table *t) { return t->count; }
