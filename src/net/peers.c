/* net/peers.c - the table of peers.h: open addressing, linear probing, holes closed on removal so that look-ups stay
 * short. */
#include "net/peers.h"
#include "core/check.h"
#include "core/clock.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define PEERS_CAPACITY_MIN 64u

enum result peers_init(struct peers *peers)
{
    *peers = (struct peers){.capacity = PEERS_CAPACITY_MIN};
    clock_random(&peers->seed, sizeof peers->seed);
    peers->entries = calloc(peers->capacity, sizeof *peers->entries);
    return peers->entries == NULL ? RESULT_NOMEM : RESULT_OK;
}

void peers_deinit(struct peers *peers)
{
    free(peers->entries);
    *peers = (struct peers){0};
}

uint64_t peers_key(const struct in6_addr *address)
{
    uint64_t key = 0;
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        uint32_t v4;
        memcpy(&v4, address->s6_addr + 12, sizeof v4);
        return UINT64_C(0xffff) << 32 | v4; /* in 0:0:xxxx::/64, from which nobody connects */
    }
    memcpy(&key, address->s6_addr, sizeof key);
    return key;
}

static uint32_t peers_home(const struct peers *peers, uint64_t key)
{
    return (uint32_t)XXH3_64bits_withSeed(&key, sizeof key, peers->seed) & (peers->capacity - 1);
}

/* The place of `key`, or the free place where it would go. */
static uint32_t peers_find(const struct peers *peers, uint64_t key)
{
    uint32_t at = peers_home(peers, key);
    while (peers->entries[at].count > 0 && peers->entries[at].key != key) at = (at + 1) & (peers->capacity - 1);
    return at;
}

static bool peers_grow(struct peers *peers)
{
    struct peers grown = {.capacity = peers->capacity * 2, .used = peers->used, .seed = peers->seed};
    grown.entries = calloc(grown.capacity, sizeof *grown.entries);
    if (grown.entries == NULL) return false;
    for (uint32_t i = 0; i < peers->capacity; i++)
        if (peers->entries[i].count > 0) grown.entries[peers_find(&grown, peers->entries[i].key)] = peers->entries[i];
    free(peers->entries);
    *peers = grown;
    return true;
}

enum result peers_add(struct peers *peers, uint64_t key, uint32_t limit)
{
    uint32_t at = peers_find(peers, key);
    if (limit > 0 && peers->entries[at].count >= limit) return RESULT_BUSY;
    if (peers->entries[at].count == 0) {
        if (peers->used + 1 > peers->capacity / 2) {
            if (!peers_grow(peers)) return RESULT_NOMEM;
            at = peers_find(peers, key);
        }
        peers->used++;
        peers->entries[at].key = key;
        peers->entries[at].held = 0;
    }
    peers->entries[at].count++;
    return RESULT_OK;
}

/* Moves later entries of the same run into the hole as far as their home allows. */
static void peers_close_hole(struct peers *peers, uint32_t hole)
{
    uint32_t mask = peers->capacity - 1;
    for (uint32_t at = (hole + 1) & mask; peers->entries[at].count > 0; at = (at + 1) & mask) {
        uint32_t home = peers_home(peers, peers->entries[at].key);
        bool home_after_hole = ((at - home) & mask) < ((at - hole) & mask);
        if (home_after_hole) continue;
        peers->entries[hole] = peers->entries[at];
        hole = at;
    }
    peers->entries[hole] = (struct peers_entry){0};
}

void peers_remove(struct peers *peers, uint64_t key)
{
    uint32_t at = peers_find(peers, key);
    ASSERT(peers->entries[at].count > 0);
    if (--peers->entries[at].count > 0) return;
    ASSERT(peers->entries[at].held == 0);
    peers->used--;
    peers_close_hole(peers, at);
}

uint32_t peers_hold(struct peers *peers, uint64_t key, int32_t units)
{
    struct peers_entry *entry = &peers->entries[peers_find(peers, key)];
    ASSERT(entry->count > 0 && (int64_t)entry->held + units >= 0);
    entry->held = (uint32_t)((int64_t)entry->held + units);
    return entry->held;
}

uint32_t peers_count(const struct peers *peers, uint64_t key)
{
    return peers->entries[peers_find(peers, key)].count;
}
