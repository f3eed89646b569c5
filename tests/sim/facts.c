/* tests/sim/facts.c - an array in the order of learning and an open hash over it. */
#include "sim/facts.h"
#include "core/check.h"
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct facts {
    struct fact *all;
    uint32_t count, capacity;
    uint32_t *slots; /* position + 1; 0: free */
    uint32_t slot_count;
};

struct facts *facts_create(void)
{
    struct facts *facts = calloc(1, sizeof *facts);
    ASSERT(facts != NULL);
    facts->slot_count = 1024;
    facts->slots = calloc(facts->slot_count, sizeof *facts->slots);
    ASSERT(facts->slots != NULL);
    return facts;
}

void facts_destroy(struct facts *facts)
{
    free(facts->all);
    free(facts->slots);
    free(facts);
}

struct facts *facts_copy(const struct facts *facts)
{
    struct facts *copy = calloc(1, sizeof *copy);
    ASSERT(copy != NULL);
    *copy = (struct facts){.count = facts->count, .capacity = facts->count + 1, .slot_count = facts->slot_count};
    copy->all = calloc(copy->capacity, sizeof *copy->all);
    copy->slots = calloc(copy->slot_count, sizeof *copy->slots);
    ASSERT(copy->all != NULL && copy->slots != NULL);
    memcpy(copy->all, facts->all, facts->count * sizeof *copy->all);
    memcpy(copy->slots, facts->slots, facts->slot_count * sizeof *copy->slots);
    return copy;
}

static uint32_t *slot_of(const struct facts *facts, enum fact_kind kind, uint64_t a, uint64_t b)
{
    uint64_t words[3] = {(uint64_t)kind, a, b};
    uint32_t at = (uint32_t)XXH3_64bits(words, sizeof words) & (facts->slot_count - 1);
    for (; facts->slots[at] != 0; at = (at + 1) & (facts->slot_count - 1)) {
        const struct fact *fact = &facts->all[facts->slots[at] - 1];
        if (fact->kind == kind && fact->a == a && fact->b == b) break;
    }
    return &facts->slots[at];
}

static void grow(struct facts *facts)
{
    free(facts->slots);
    facts->slot_count *= 2;
    facts->slots = calloc(facts->slot_count, sizeof *facts->slots);
    ASSERT(facts->slots != NULL);
    for (uint32_t i = 0; i < facts->count; i++)
        *slot_of(facts, facts->all[i].kind, facts->all[i].a, facts->all[i].b) = i + 1;
}

uint64_t facts_learn(struct facts *facts, enum fact_kind kind, uint64_t a, uint64_t b, uint64_t value)
{
    uint32_t *slot = slot_of(facts, kind, a, b);
    if (*slot != 0) return facts->all[*slot - 1].value;
    if (facts->count == facts->capacity) {
        facts->capacity = facts->capacity == 0 ? 256 : facts->capacity * 2;
        facts->all = realloc(facts->all, facts->capacity * sizeof *facts->all);
        ASSERT(facts->all != NULL);
    }
    facts->all[facts->count++] = (struct fact){kind, a, b, value};
    *slot = facts->count;
    if (facts->count * 2 > facts->slot_count) grow(facts);
    return value;
}

const struct fact *facts_find(const struct facts *facts, enum fact_kind kind, uint64_t a, uint64_t b)
{
    uint32_t at = *slot_of(facts, kind, a, b);
    return at == 0 ? NULL : &facts->all[at - 1];
}

const struct fact *facts_all(const struct facts *facts, uint32_t *count)
{
    *count = facts->count;
    return facts->all;
}
