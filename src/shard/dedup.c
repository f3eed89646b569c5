/* shard/dedup.c - a ring of the last entries, a table that finds them, and the list of stored blocks they came in.
 * Happy path: add at the head, overwrite the oldest; at the end of a batch put the new ones as one block and delete the blocks
 * that no longer hold any entry of the window. The oldest block may hold some that left it: loading the blocks again ends with the
 * same window, because that is full. A window that grows is not full any more, so then the oldest block is put again without them.
 *
 * The table says which id may stand where in the ring, from a bucket of one cache line: so to learn that an id is new, which is nearly
 * every question, takes that line and not the ring. Nothing is ever removed from it. A slot holds the number of its entry, which tells
 * whether that is still in the window; a slot whose entry left is free. So forgetting is counting. Where a bucket is full of entries
 * of the window the next one takes the entry, and the bucket notes its number: the search goes on behind the bucket for as long as
 * that entry may be there. */
#include "shard/dedup.h"
#include "shard/memory.h"
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define LARGE_PAGE ((size_t)2 << 20)
#define BUCKET_SLOTS 7
#define BUCKET_ENTRIES 4 /* of the window, on average, at most: one bucket in twenty is full then */

struct block { /* entries of one stored value, oldest first */
    uint64_t index;
    uint32_t count;
};

struct bucket {
    uint32_t tags[BUCKET_SLOTS];    /* tag_of() the entry; its low bits are the bucket it belongs to */
    uint32_t numbers[BUCKET_SLOTS]; /* low half of the entry's number + 1: numbers come round after 4 billion sends, and the ring has
                                       the whole id; a slot that old only stays taken for one window more */
    uint64_t passed_on;             /* number + 1 of the last entry that found this bucket full */
};
_Static_assert(sizeof(struct bucket) == CACHE_LINE, "a bucket is one cache line");

struct dedup {
    uint32_t capacity, bucket_count; /* buckets: power of two */
    uint64_t added;                  /* entry n stands at ring[n % capacity] */
    uint64_t stored;                 /* entries that are in a block */
    uint64_t forgotten;              /* entries that left the window, all before it */
    uint64_t blocks_start;           /* entry number of the first entry of the first block */
    struct dedup_entry *ring;
    struct bucket *buckets;          /* in `memory`, aligned */
    void *memory;
    bool grown;                      /* since the last end of a batch */
    struct block *blocks;            /* a queue: blocks[first_block .. first_block + block_count) */
    uint32_t first_block, block_count, block_capacity;
};

/* Every question goes to another page of a large table: with pages of 2 MiB, which is only an advice, it costs no walk of the page
 * table beside the cache miss. What no entry has come to stays unused. */
static void table_create(struct dedup *d)
{
    size_t size = d->bucket_count * sizeof *d->buckets, alignment = size < LARGE_PAGE ? CACHE_LINE : LARGE_PAGE;
    d->memory = memory_alloc(size + alignment);
    uintptr_t first = ((uintptr_t)d->memory + alignment - 1) & ~(alignment - 1);
    d->buckets = (struct bucket *)first;
    if (size >= LARGE_PAGE) (void)madvise(d->buckets, size, MADV_HUGEPAGE);
}

static void allocate(struct dedup *d, uint32_t capacity)
{
    ASSERT(capacity >= DEDUP_CAPACITY_MIN);
    d->capacity = capacity;
    d->bucket_count = 1;
    while ((uint64_t)d->bucket_count * BUCKET_ENTRIES < capacity) d->bucket_count *= 2;
    d->ring = memory_alloc(capacity * sizeof *d->ring);
    table_create(d);
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
    free(d->memory);
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

static struct bucket *home_of(const struct dedup *d, uint32_t tag) { return &d->buckets[tag & (d->bucket_count - 1)]; }

static struct bucket *bucket_after(const struct dedup *d, struct bucket *bucket)
{
    return bucket + 1 == d->buckets + d->bucket_count ? d->buckets : bucket + 1;
}

/* How many entries came since the one of this slot, itself included. */
static uint32_t slot_age(const struct dedup *d, const struct bucket *bucket, uint32_t slot)
{
    return (uint32_t)d->added - bucket->numbers[slot] + 1;
}

static bool slot_taken(const struct dedup *d, const struct bucket *bucket, uint32_t slot)
{
    return slot_age(d, bucket, slot) <= d->added - d->forgotten;
}

const void *dedup_place(const struct dedup *d, const struct dedup_entry *id) { return home_of(d, tag_of(id)); }

const struct dedup_entry *dedup_find(const struct dedup *d, const struct dedup_entry *id)
{
    uint32_t tag = tag_of(id);
    struct bucket *bucket = home_of(d, tag);
    for (uint32_t looked = 0; looked < d->bucket_count; looked++) {
        for (uint32_t slot = 0; slot < BUCKET_SLOTS; slot++) {
            if (bucket->tags[slot] != tag || !slot_taken(d, bucket, slot)) continue;
            const struct dedup_entry *e = &d->ring[(d->added - slot_age(d, bucket, slot)) % d->capacity];
            if (e->id_low == id->id_low && e->id_high == id->id_high) return e;
        }
        if (bucket->passed_on <= d->forgotten) return NULL;
        bucket = bucket_after(d, bucket);
    }
    return NULL;
}

/* The first bucket from `bucket` on with a free slot, for entry number n; those before it note that they passed it on. */
static struct bucket *bucket_with_room(struct dedup *d, struct bucket *bucket, uint64_t n, uint32_t *slot)
{
    for (uint32_t looked = 0; looked < d->bucket_count; looked++) {
        for (*slot = 0; *slot < BUCKET_SLOTS; ++*slot)
            if (!slot_taken(d, bucket, *slot)) return bucket;
        bucket->passed_on = n + 1;
        bucket = bucket_after(d, bucket);
    }
    ASSERT(!"there are more slots than entries");
    return NULL;
}

/* The next entry into the ring and the table. */
static void place(struct dedup *d, const struct dedup_entry *entry)
{
    uint64_t n = d->added;
    uint32_t tag = tag_of(entry), slot;
    struct bucket *bucket = bucket_with_room(d, home_of(d, tag), n, &slot);
    bucket->tags[slot] = tag;
    bucket->numbers[slot] = (uint32_t)(n + 1);
    d->ring[n % d->capacity] = *entry;
    d->added++;
}

void dedup_add(struct dedup *d, const struct dedup_entry *entry)
{
    if (d->added - d->forgotten == d->capacity) d->forgotten++;
    place(d, entry);
}

void dedup_resize(struct dedup *d, uint32_t capacity)
{
    if (capacity == d->capacity) return;
    if (capacity > d->capacity) d->grown = true;
    if (d->added - d->forgotten > capacity) d->forgotten = d->added - capacity;
    struct dedup old = *d;
    allocate(d, capacity);
    for (d->added = old.forgotten; d->added < old.added;) place(d, &old.ring[d->added % old.capacity]);
    free(old.ring);
    free(old.memory);
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
