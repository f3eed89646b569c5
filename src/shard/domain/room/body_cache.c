/* shard/domain/room/body_cache.c - see body_cache.h. A position counts the bytes ever written; one is in the ring still when less than the
 * ring's size was written since. So nothing is done when a record goes, and a place in the table that names one says so itself. */
#include "shard/domain/room/body_cache.h"
#include "shard/engine/memory.h"

#define PLACE_BYTES  128u /* of the ring for each place in the table */
#define LARGEST_PART 8u   /* of the ring for one record at most */

struct kept {
    uint64_t room_id, seq;
    uint32_t len, unused;
    uint8_t record[];
};

struct body_cache {
    uint64_t size; /* of the ring, a multiple of 8 */
    uint64_t end;  /* position of the next record */
    uint8_t *ring;
    uint64_t *places; /* position + 1; 0: never given */
    uint64_t place_mask;
};

struct body_cache *body_cache_create(uint64_t size_bytes)
{
    struct body_cache *cache = memory_alloc(sizeof *cache);
    uint64_t places = 1;
    cache->size = size_bytes & ~7ull;
    if (cache->size == 0) return cache;
    while (places * PLACE_BYTES < cache->size) places *= 2;
    cache->place_mask = places - 1;
    cache->ring = memory_alloc(cache->size);
    cache->places = memory_alloc(places * sizeof *cache->places);
    return cache;
}

void body_cache_destroy(struct body_cache *cache)
{
    if (cache == NULL) return;
    free(cache->ring);
    free(cache->places);
    free(cache);
}

static uint64_t *place_of(const struct body_cache *cache, uint64_t room_id, uint64_t seq)
{
    uint64_t hash = (room_id * 0x9e3779b97f4a7c15ull + seq) * 0xd6e8feb86659fd93ull;
    return &cache->places[hash >> 32 & cache->place_mask];
}

void body_cache_put(struct body_cache *cache, uint64_t room_id, uint64_t seq, struct slice record)
{
    uint64_t room = (sizeof(struct kept) + record.len + 7) & ~7ull;
    if (room > cache->size / LARGEST_PART) return;
    uint64_t left = cache->size - cache->end % cache->size;
    if (left < room) cache->end += left;
    struct kept *kept = (struct kept *)(void *)(cache->ring + cache->end % cache->size);
    *kept = (struct kept){.room_id = room_id, .seq = seq, .len = record.len};
    memcpy(kept->record, record.data, record.len);
    *place_of(cache, room_id, seq) = cache->end + 1;
    cache->end += room;
}

bool body_cache_get(const struct body_cache *cache, uint64_t room_id, uint64_t seq, struct slice *record)
{
    if (cache->size == 0) return false;
    uint64_t place = *place_of(cache, room_id, seq);
    if (place == 0 || place - 1 + cache->size < cache->end) return false;
    const struct kept *kept = (const struct kept *)(const void *)(cache->ring + (place - 1) % cache->size);
    if (kept->room_id != room_id || kept->seq != seq) return false;
    *record = slice_of(kept->record, kept->len);
    return true;
}

uint64_t body_cache_bytes(const struct body_cache *cache)
{
    return cache->size == 0 ? 0 : cache->size + (cache->place_mask + 1) * sizeof *cache->places;
}

uint64_t body_cache_untouched_bytes(const struct body_cache *cache) { return cache->end < cache->size ? cache->size - cache->end : 0; }
