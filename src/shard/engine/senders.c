/* shard/engine/senders.c - see senders.h. A table by linear probing; what follows a slot that becomes free moves up.
 * The level moves by what one entry more or less changes: each step up or down is paid for by entries that came or went. */
#include "shard/engine/senders.h"
#include "shard/engine/memory.h"

#define SLOTS_MIN 256u

static void table_create(struct senders *s, uint32_t slot_count)
{
    s->slot_count = slot_count;
    s->slots = memory_alloc_table(&s->memory, slot_count * sizeof *s->slots);
}

void senders_init(struct senders *s, uint32_t limit, uint32_t per_sender)
{
    ASSERT(limit > 0 && per_sender > 0);
    *s = (struct senders){.limit = limit, .per_sender = per_sender, .level = 1};
    s->holders = memory_alloc(per_sender * sizeof *s->holders);
    table_create(s, SLOTS_MIN);
}

void senders_deinit(struct senders *s)
{
    free(s->memory);
    free(s->holders);
    *s = (struct senders){0};
}

/* ---- the table ---- */

static uint32_t home_of(const struct senders *s, uint64_t id)
{
    return (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & (s->slot_count - 1);
}

static struct sender *slot_after(const struct senders *s, struct sender *slot)
{
    return slot + 1 == s->slots + s->slot_count ? s->slots : slot + 1;
}

/* His slot, or the free one where he belongs. */
static struct sender *slot_of(const struct senders *s, uint64_t id)
{
    struct sender *slot = &s->slots[home_of(s, id)];
    while (slot->entries > 0 && slot->id != id) slot = slot_after(s, slot);
    return slot;
}

const void *senders_place(const struct senders *s, uint64_t id) { return &s->slots[home_of(s, id)]; }

struct sender *senders_find(const struct senders *s, uint64_t id)
{
    struct sender *slot = slot_of(s, id);
    return slot->entries > 0 ? slot : NULL;
}

static void table_grow(struct senders *s)
{
    struct senders old = *s;
    table_create(s, old.slot_count * 2);
    for (uint32_t i = 0; i < old.slot_count; i++)
        if (old.slots[i].entries > 0) *slot_of(s, old.slots[i].id) = old.slots[i];
    free(old.memory);
}

/* The slot becomes free; those behind it that are not at home move up, so that looking can stop at a free one. */
static void table_remove(struct senders *s, struct sender *slot)
{
    uint32_t mask = s->slot_count - 1, hole = (uint32_t)(slot - s->slots);
    for (uint32_t at = (hole + 1) & mask; s->slots[at].entries > 0; at = (at + 1) & mask) {
        bool may_move = ((at - home_of(s, s->slots[at].id)) & mask) >= ((at - hole) & mask);
        if (!may_move) continue;
        s->slots[hole] = s->slots[at];
        hole = at;
    }
    s->slots[hole] = (struct sender){0};
    s->count--;
}

/* ---- the allowance ---- */

static bool all_fits(const struct senders *s) { return s->level == s->per_sender || s->holders[s->level] == 0; }

static void settle(struct senders *s)
{
    while (s->level > 1 && s->within > s->limit) s->within -= s->holders[--s->level];
    while (!all_fits(s) && s->within + s->holders[s->level] <= s->limit) s->within += s->holders[s->level++];
}

uint32_t senders_allowance(const struct senders *s)
{
    return all_fits(s) && s->within <= s->limit ? s->per_sender : s->level;
}

/* ---- entries ---- */

static struct sender *take(struct senders *s, uint64_t id)
{
    struct sender *slot = slot_of(s, id);
    if (slot->entries == 0) {
        if (++s->count > s->slot_count / 2) {
            table_grow(s);
            slot = slot_of(s, id);
        }
        slot->id = id;
    }
    uint32_t entries = ++slot->entries;
    if (entries <= s->per_sender) {
        s->holders[entries - 1]++;
        if (entries <= s->level) s->within++;
        settle(s);
    }
    return slot;
}

uint32_t senders_add(struct senders *s, uint64_t id) { return take(s, id)->sends++; }

void senders_add_stored(struct senders *s, uint64_t id, uint32_t ordinal)
{
    struct sender *slot = take(s, id);
    bool newest = slot->entries == 1 || (int32_t)(ordinal - slot->sends) >= 0; /* numbers that come round */
    if (newest) slot->sends = ordinal + 1;
}

void senders_remove(struct senders *s, struct sender *slot)
{
    ASSERT(slot->entries > 0);
    uint32_t entries = slot->entries--;
    if (entries <= s->per_sender) {
        s->holders[entries - 1]--;
        if (entries <= s->level) s->within--;
        settle(s);
    }
    if (slot->entries == 0) table_remove(s, slot);
}
