/* shard/dedup.c - a ring of the last entries, a table that finds them, and the list of stored blocks they came in.
 * Happy path: add at the head, overwrite the oldest; at the end of a batch put the new ones as one block and delete the blocks
 * that no longer hold any entry of the window. The oldest block may hold some that left it: loading the blocks again ends with the
 * same window, because that is full. A window that grows is not full any more, so then the oldest block is put again without them.
 *
 * The table is open addressing with linear probing, 8 bytes a slot: 32 bits of the id, whose low end says where the slot belongs, and
 * the place in the ring. So to learn that an id is new, which is nearly every question, takes one cache line and not the ring. Forgetting
 * shifts the slots behind it back instead of leaving a mark, and what will be forgotten soon is fetched ahead. */
#include "shard/dedup.h"
#include "shard/memory.h"
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define LARGE_PAGE ((uintptr_t)2 << 20)
#define FETCH_SLOT 4  /* entries before one is forgotten that its slot is fetched, */
#define FETCH_ENTRY 8 /* and the entry itself */

struct block { /* entries of one stored value, oldest first */
    uint64_t index;
    uint32_t count;
};

struct slot {
    uint32_t tag;   /* tag_of() the entry; its low bits are the home of the slot */
    uint32_t place; /* in the ring, from 1; 0: empty */
};

struct dedup {
    uint32_t capacity, slot_count; /* slots: power of two, at most two thirds of them in use */
    uint64_t added;                /* entry n stands at ring[n % capacity] */
    uint64_t stored;               /* entries that are in a block */
    uint64_t forgotten;            /* entries that left the window, all before it */
    uint64_t blocks_start;         /* entry number of the first entry of the first block */
    struct dedup_entry *ring;
    struct slot *slots;
    bool grown;                    /* since the last end of a batch */
    struct block *blocks;          /* a queue: blocks[first_block .. first_block + block_count) */
    uint32_t first_block, block_count, block_capacity;
};

/* Every question goes to another page of a large table: with pages of 2 MiB it costs no walk of the page table beside the cache miss.
 * Only an advice; pages that no entry has come to stay unused. */
static void use_large_pages(void *memory, size_t size)
{
    uintptr_t first = ((uintptr_t)memory + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1), end = ((uintptr_t)memory + size) & ~(LARGE_PAGE - 1);
    if (first < end) (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
}

static void allocate(struct dedup *d, uint32_t capacity)
{
    ASSERT(capacity >= DEDUP_CAPACITY_MIN);
    d->capacity = capacity;
    d->slot_count = 16;
    while (d->slot_count < capacity + capacity / 2) d->slot_count *= 2;
    d->ring = memory_alloc(capacity * sizeof *d->ring);
    size_t size = d->slot_count * sizeof *d->slots;
    d->slots = memory_alloc(size);
    use_large_pages(d->slots, size);
}

enum result dedup_create(struct dedup **out, uint32_t capacity)
{
    *out = memory_alloc(sizeof **out);
    allocate(*out, capacity);
    return RESULT_OK;
}

void dedup_destroy(struct dedup *d)
{
    if (d == NULL) return;
    free(d->ring);
    free(d->slots);
    free(d->blocks);
    free(d);
}

void dedup_id(struct dedup_entry *entry, uint64_t scope, uint64_t actor_id, struct slice client_id)
{
    uint64_t seed = XXH3_64bits_withSeed(&scope, sizeof scope, actor_id);
    XXH128_hash_t hash = XXH3_128bits_withSeed(client_id.data, client_id.len, seed);
    entry->id_low = hash.low64;
    entry->id_high = hash.high64;
}

/* ---- the table ---- */

static uint32_t tag_of(const struct dedup_entry *entry) { return (uint32_t)entry->id_low; }
static uint32_t home_of(const struct dedup *d, uint32_t tag) { return tag & (d->slot_count - 1); }
static uint32_t slot_after(const struct dedup *d, uint32_t at) { return (at + 1) & (d->slot_count - 1); }

const void *dedup_place(const struct dedup *d, const struct dedup_entry *id) { return &d->slots[home_of(d, tag_of(id))]; }

const struct dedup_entry *dedup_find(const struct dedup *d, const struct dedup_entry *id)
{
    uint32_t tag = tag_of(id);
    for (uint32_t at = home_of(d, tag); d->slots[at].place != 0; at = slot_after(d, at)) {
        if (d->slots[at].tag != tag) continue;
        const struct dedup_entry *e = &d->ring[d->slots[at].place - 1];
        if (e->id_low == id->id_low && e->id_high == id->id_high) return e;
    }
    return NULL;
}

/* Empties a slot; those behind it that are not at home and may stand there move up. */
static void slot_remove(struct dedup *d, uint32_t hole)
{
    uint32_t mask = d->slot_count - 1;
    for (uint32_t at = slot_after(d, hole); d->slots[at].place != 0; at = slot_after(d, at)) {
        uint32_t from_home = (at - home_of(d, d->slots[at].tag)) & mask;
        if (from_home < ((at - hole) & mask)) continue;
        d->slots[hole] = d->slots[at];
        hole = at;
    }
    d->slots[hole].place = 0;
}

/* The ring is read in order and the table is not: entry by entry, long enough before its turn. */
static void fetch_ahead(const struct dedup *d, uint32_t position)
{
    uint32_t near = (position + FETCH_SLOT) % d->capacity, far = (position + FETCH_ENTRY) % d->capacity;
    __builtin_prefetch(&d->slots[home_of(d, tag_of(&d->ring[near]))], 1);
    __builtin_prefetch(&d->ring[far], 1);
}

static void forget_oldest(struct dedup *d)
{
    uint32_t position = (uint32_t)(d->forgotten % d->capacity), at = home_of(d, tag_of(&d->ring[position]));
    fetch_ahead(d, position);
    while (d->slots[at].place != position + 1) {
        ASSERT(d->slots[at].place != 0);
        at = slot_after(d, at);
    }
    slot_remove(d, at);
    d->forgotten++;
}

/* Entry number n into the ring and the table. */
static void place(struct dedup *d, uint64_t n, const struct dedup_entry *entry)
{
    uint32_t position = (uint32_t)(n % d->capacity), tag = tag_of(entry), at = home_of(d, tag);
    d->ring[position] = *entry;
    while (d->slots[at].place != 0) at = slot_after(d, at);
    d->slots[at] = (struct slot){.tag = tag, .place = position + 1};
}

void dedup_add(struct dedup *d, const struct dedup_entry *entry)
{
    if (d->added - d->forgotten == d->capacity) forget_oldest(d);
    place(d, d->added, entry);
    d->added++;
}

void dedup_resize(struct dedup *d, uint32_t capacity)
{
    if (capacity == d->capacity) return;
    if (capacity > d->capacity) d->grown = true;
    while (d->added - d->forgotten > capacity) forget_oldest(d);
    struct dedup old = *d;
    allocate(d, capacity);
    for (uint64_t n = d->forgotten; n < d->added; n++) place(d, n, &old.ring[n % old.capacity]);
    free(old.ring);
    free(old.slots);
}

static void blocks_add(struct dedup *d, uint64_t index, uint32_t count)
{
    if (d->first_block + d->block_count == d->block_capacity) {
        if (d->first_block > d->block_capacity / 2) {
            memmove(d->blocks, d->blocks + d->first_block, d->block_count * sizeof *d->blocks);
            d->first_block = 0;
        } else {
            d->block_capacity = d->block_capacity == 0 ? 64 : d->block_capacity * 2;
            d->blocks = memory_resize(d->blocks, d->block_capacity * sizeof *d->blocks);
        }
    }
    d->blocks[d->first_block + d->block_count++] = (struct block){index, count};
}

static struct key block_key(uint64_t index) { return key_one(KEY_DEDUP, index); }

/* Entries first … last - 1, all in the window, as the block of that index. */
static void block_put(const struct dedup *d, uint64_t index, uint64_t first, uint64_t last, struct effects *effects)
{
    ASSERT(d->forgotten <= first && first < last && last <= d->added);
    struct key key = block_key(index);
    writer_reset(&effects->scratch);
    for (uint64_t n = first; n < last; n++)
        writer_raw(&effects->scratch, &d->ring[n % d->capacity], sizeof(struct dedup_entry));
    effects_put(effects, &key, writer_slice(&effects->scratch));
}

/* The oldest block loses what left the window before it grew. */
static void blocks_trim(struct dedup *d, struct effects *effects)
{
    if (d->block_count == 0 || d->blocks_start >= d->forgotten) return;
    struct block *oldest = &d->blocks[d->first_block];
    block_put(d, oldest->index, d->forgotten, d->blocks_start + oldest->count, effects);
    oldest->count -= (uint32_t)(d->forgotten - d->blocks_start);
    d->blocks_start = d->forgotten;
}

void dedup_end_batch(struct dedup *d, uint64_t index, struct effects *effects)
{
    uint32_t count = (uint32_t)(d->added - d->stored);
    ASSERT(count <= d->capacity); /* a batch is smaller than the window: DEDUP_CAPACITY_MIN */
    if (count > 0) {
        block_put(d, index, d->stored, d->added, effects);
        if (d->block_count == 0) d->blocks_start = d->stored;
        blocks_add(d, index, count);
        d->stored = d->added;
    }
    while (d->block_count > 0 && d->blocks_start + d->blocks[d->first_block].count <= d->forgotten) {
        struct key key = block_key(d->blocks[d->first_block].index);
        effects_delete(effects, &key);
        d->blocks_start += d->blocks[d->first_block].count;
        d->first_block++;
        d->block_count--;
    }
    if (d->block_count == 0) d->first_block = 0;
    if (d->grown) blocks_trim(d, effects);
    d->grown = false;
}

bool dedup_load_block(struct dedup *d, uint64_t index, struct slice block)
{
    if (block.len % sizeof(struct dedup_entry) != 0) return false;
    uint32_t count = block.len / (uint32_t)sizeof(struct dedup_entry);
    if (d->block_count == 0) d->blocks_start = d->added;
    for (uint32_t i = 0; i < count; i++) {
        struct dedup_entry entry;
        memcpy(&entry, block.data + i * sizeof entry, sizeof entry);
        dedup_add(d, &entry);
    }
    blocks_add(d, index, count);
    d->stored = d->added;
    return true;
}
