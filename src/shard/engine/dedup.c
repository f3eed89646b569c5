/* shard/engine/dedup.c - four structures: a ring of entries, a hash table over it, the senders, and the list of stored blocks.
 *
 * Ring. A new entry is added at the head. When the ring is nearly full, the oldest entry is examined for each one added. If its repeat
 * window has passed, it is dropped; if not, it is moved to the head. At most half of the ring is within the repeat window, so on
 * average at most one entry is moved per entry added. A reserve of free places absorbs many moves in a row.
 * At the end of a batch the entries added at the head are stored as one block, and blocks without any entry left in the ring are
 * deleted.
 *
 * Table. An id hashes to a bucket of one cache line, which holds tags of ids and the numbers of their entries. Nearly every lookup is
 * for a new id and reads that line only, not the ring. Slots are never cleared: an entry's number tells whether it is still in the
 * ring, and a slot whose entry has left is free. When a bucket is full, the entry goes to the next bucket with room, and the full
 * bucket records the entry's number: lookups go on to the next bucket while that entry may still be in the ring.
 *
 * The newest entry of a sender stays as long as he has others, promised or not: from it follows, after a load too, which number his
 * next send has, and so how many he has made since each of the others. */
#include "shard/engine/dedup.h"
#include "shard/engine/memory.h"
#include "shard/engine/senders.h"
#include "shard/engine/state_hash.h"
#include <malloc.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKET_SLOTS 7
#define BUCKET_ENTRIES 4 /* of the window, on average, at most: one bucket in twenty is full then */
#define RESERVE_PART 8    /* of the ring is kept free, or half as many adds as are promised in a row would find no room */
#define SWEEPS_MAX 4      /* entries looked at for one that is added, while there is room */
#define SENDER_AHEAD 3    /* entries between the oldest and the one whose sender is fetched ... */
#define ENTRY_AHEAD 6     /* ... and the one that is fetched itself */

#define BLOCK_HEAD_SIZE (2 * sizeof(uint64_t))
#define FORMER_SENDER (0xffffull << 48) /* a shard that there is not */

struct block { /* entries of one stored value, oldest first */
    uint64_t index;
    uint32_t count;
    bool former;
};

struct bucket {
    uint32_t tags[BUCKET_SLOTS];    /* tag_of() the entry; its low bits are the bucket it belongs to */
    uint32_t numbers[BUCKET_SLOTS]; /* low half of the entry's number + 1: numbers come round after 4 billion sends, and the ring has
                                       the whole id; a slot that old only stays taken for one window more */
    uint64_t passed_on;             /* number + 1 of the last entry that found this bucket full */
};
_Static_assert(sizeof(struct bucket) == CACHE_LINE, "a bucket is one cache line");

struct dedup {
    struct dedup_limits limits;
    uint32_t bucket_count; /* power of two */
    uint32_t head;         /* place in the ring of the next entry */
    uint64_t added;        /* entries ever: the number of the next one */
    uint64_t forgotten;    /* entries that left the window, all before it */
    uint64_t stored;       /* entries that are in a block */
    uint64_t blocks_start; /* entry number of the first entry of the first block */
    struct dedup_entry *ring;
    struct bucket *buckets; /* in `table_memory`, aligned */
    void *ring_memory, *table_memory;
    struct senders senders;
    bool changed; /* the oldest entry is another one than the newest block says */
    struct block *blocks; /* a queue: blocks[first_block .. first_block + block_count) */
    uint32_t first_block, block_count, block_capacity;
    uint64_t added_hash; /* sum over what was added since the last end of a batch */
    uint64_t loaded_from;     /* oldest entry of the ring, as the newest block says */
    uint64_t forgotten_early; /* for dedup_report() */
    uint64_t complete_since_ms;
};

static void senders_create(struct dedup *d, uint32_t capacity)
{
    senders_init(&d->senders, capacity / 2, d->limits.per_sender > 0 ? d->limits.per_sender : 1);
}

static void allocate(struct dedup *d, const struct dedup_limits *limits)
{
    ASSERT(limits->capacity >= DEDUP_CAPACITY_MIN);
    d->limits = *limits;
    d->head = 0;
    d->bucket_count = 1;
    while ((uint64_t)d->bucket_count * BUCKET_ENTRIES < limits->capacity) d->bucket_count *= 2;
    d->ring = memory_alloc_table(&d->ring_memory, limits->capacity * sizeof *d->ring);
    d->buckets = memory_alloc_table(&d->table_memory, d->bucket_count * sizeof *d->buckets);
    senders_create(d, limits->capacity);
}

static void release(struct dedup *d)
{
    free(d->ring_memory);
    free(d->table_memory);
    senders_deinit(&d->senders);
}

enum result dedup_create(struct dedup **out, const struct dedup_limits *limits)
{
    *out = memory_alloc(sizeof **out);
    allocate(*out, limits);
    return RESULT_OK;
}

void dedup_destroy(struct dedup *d)
{
    if (d == NULL) return;
    release(d);
    free(d->blocks);
    free(d);
}

/* About so much of memory from memory_alloc_table(), when `bytes` of it in a row were written, or that many pages anywhere. */
static uint64_t touched(uint64_t size, uint64_t bytes)
{
    if (size >= MEMORY_LARGE_PAGE) bytes = (bytes + MEMORY_LARGE_PAGE - 1) / MEMORY_LARGE_PAGE * MEMORY_LARGE_PAGE;
    return bytes < size ? bytes : size;
}

struct dedup_memory dedup_memory(const struct dedup *d)
{
    uint64_t table_size = (uint64_t)d->bucket_count * sizeof *d->buckets, ring_size = (uint64_t)d->limits.capacity * sizeof *d->ring;
    uint64_t page = table_size >= MEMORY_LARGE_PAGE ? MEMORY_LARGE_PAGE : MEMORY_SMALL_PAGE;
    uint64_t table = touched(table_size, d->added < table_size / page ? d->added * page : table_size); /* each add may touch another one */
    uint64_t ring = touched(ring_size, d->added < d->limits.capacity ? d->added * sizeof *d->ring : ring_size);
    uint64_t senders = (uint64_t)d->senders.slot_count * sizeof *d->senders.slots + (uint64_t)d->senders.per_sender * sizeof(uint32_t);
    uint64_t asked = malloc_usable_size(d->table_memory) + malloc_usable_size(d->ring_memory) + malloc_usable_size(d->senders.memory);
    return (struct dedup_memory){.touched_bytes = table + ring + senders + d->block_capacity * sizeof *d->blocks,
                                 .untouched_bytes = asked - table - ring - (uint64_t)d->senders.slot_count * sizeof *d->senders.slots};
}

void dedup_id(struct dedup_entry *entry, uint64_t scope, uint64_t sender_id, struct slice client_id)
{
    uint64_t seed = XXH3_64bits_withSeed(&scope, sizeof scope, sender_id);
    XXH128_hash_t hash = XXH3_128bits_withSeed(client_id.data, client_id.len, seed);
    entry->id_low = hash.low64;
    entry->id_high = hash.high64;
    entry->sender_id = sender_id;
}

bool dedup_same(const struct dedup_entry *first, const struct dedup_entry *again, uint64_t former_content)
{
    bool former = first->sender_id >= FORMER_SENDER;
    return first->content == (former ? (uint32_t)former_content : again->content);
}

/* ---- the ring ---- */

static uint32_t used(const struct dedup *d) { return (uint32_t)(d->added - d->forgotten); }

/* The entry that came as the `age`th before the head; the last one that came is 1. */
static struct dedup_entry *entry_back(const struct dedup *d, uint32_t age)
{
    return &d->ring[d->head >= age ? d->head - age : d->head + d->limits.capacity - age];
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
    return slot_age(d, bucket, slot) <= used(d);
}

const void *dedup_place(const struct dedup *d, const struct dedup_entry *id) { return home_of(d, tag_of(id)); }

const void *dedup_sender_place(const struct dedup *d, uint64_t sender_id) { return senders_place(&d->senders, sender_id); }

const struct dedup_entry *dedup_find(const struct dedup *d, const struct dedup_entry *id)
{
    uint32_t tag = tag_of(id);
    struct bucket *bucket = home_of(d, tag);
    for (uint32_t looked = 0; looked < d->bucket_count; looked++) {
        for (uint32_t slot = 0; slot < BUCKET_SLOTS; slot++) {
            if (bucket->tags[slot] != tag || !slot_taken(d, bucket, slot)) continue;
            const struct dedup_entry *e = entry_back(d, slot_age(d, bucket, slot));
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

/* The entry that stands at the head belongs to the window now. */
static void take_in(struct dedup *d)
{
    uint32_t tag = tag_of(&d->ring[d->head]), slot;
    struct bucket *bucket = bucket_with_room(d, home_of(d, tag), d->added, &slot);
    bucket->tags[slot] = tag;
    bucket->numbers[slot] = (uint32_t)(d->added + 1);
    d->added++;
    if (++d->head == d->limits.capacity) d->head = 0;
}

/* ---- what stays ---- */

static bool in_time(const struct dedup *d, const struct dedup_entry *entry, uint64_t now_ms)
{
    uint64_t away_ms = now_ms > entry->time_ms ? now_ms - entry->time_ms : entry->time_ms - now_ms;
    return away_ms < d->limits.window_ms;
}

static void note_early(struct dedup *d, const struct dedup_entry *entry)
{
    d->forgotten_early++;
    if (d->complete_since_ms < entry->time_ms) d->complete_since_ms = entry->time_ms;
}

/* The oldest entry is forgotten, or comes to the head; `full`: only what must stay stays. */
static void sweep(struct dedup *d, uint64_t now_ms, bool full)
{
    struct dedup_entry *oldest = entry_back(d, used(d));
    struct sender *sender = senders_find(&d->senders, oldest->sender_id);
    ASSERT(sender != NULL);
    uint32_t since = sender->sends - 1 - oldest->ordinal;
    bool promised = since < d->limits.per_sender && in_time(d, oldest, now_ms);
    bool stays = promised && !full && since < senders_allowance(&d->senders);
    d->forgotten++;
    if (stays || (since == 0 && sender->entries > 1)) {
        if (used(d) + 1 < d->limits.capacity) d->ring[d->head] = *oldest; /* a full ring has its head there already */
        take_in(d);
    } else {
        if (promised) note_early(d, oldest);
        senders_remove(&d->senders, sender);
    }
}

/* Sweeping comes to these soon. */
static inline __attribute__((always_inline)) void fetch_ahead(const struct dedup *d)
{
    uint32_t left = used(d);
    if (left <= ENTRY_AHEAD) return;
    __builtin_prefetch(entry_back(d, left - ENTRY_AHEAD));
    const struct dedup_entry *next = entry_back(d, left - SENDER_AHEAD);
    __builtin_prefetch(senders_place(&d->senders, next->sender_id), 1);
    __builtin_prefetch(home_of(d, tag_of(next)), 1);
}

static void make_room(struct dedup *d, uint64_t now_ms)
{
    uint32_t enough = d->limits.capacity;
    if (d->limits.window_ms > 0) enough -= enough / RESERVE_PART;
    if (used(d) + 1 < enough) return;
    fetch_ahead(d);
    for (uint32_t n = 0; n < SWEEPS_MAX && used(d) >= enough; n++) sweep(d, now_ms, false);
    while (used(d) == d->limits.capacity) sweep(d, now_ms, true); /* ends: not everybody's newest has others beside it */
}

void dedup_add(struct dedup *d, const struct dedup_entry *entry, uint64_t now_ms)
{
    ASSERT(entry->sender_id != 0 && entry->sender_id < FORMER_SENDER);
    make_room(d, now_ms);
    struct dedup_entry *place = &d->ring[d->head];
    *place = *entry;
    place->ordinal = senders_add(&d->senders, entry->sender_id);
    d->added_hash += state_hash_record(KEY_REPEATS, place->result_id, place->ordinal, place->id_low);
    take_in(d);
}

struct dedup_state dedup_state(const struct dedup *d)
{
    return (struct dedup_state){.first = d->forgotten, .next = d->added};
}

void dedup_report(const struct dedup *d, uint64_t now_ms, struct dedup_report *out)
{
    uint64_t since_ms = now_ms > d->complete_since_ms ? now_ms - d->complete_since_ms : 0;
    *out = (struct dedup_report){.window_ms = since_ms < d->limits.window_ms ? since_ms : d->limits.window_ms,
                                 .forgotten_early = d->forgotten_early,
                                 .allowance = senders_allowance(&d->senders)};
}

/* ---- making it anew ---- */

/* An entry that was there before, without anything that finds it: indexing follows. */
static void restore(struct dedup *d, const struct dedup_entry *entry)
{
    if (used(d) == d->limits.capacity) d->forgotten++;
    d->ring[d->head] = *entry;
    d->added++;
    if (++d->head == d->limits.capacity) d->head = 0;
}

/* The table and the senders, from the ring. */
static void index_ring(struct dedup *d)
{
    uint64_t end = d->added;
    d->head = (uint32_t)(entry_back(d, used(d)) - d->ring);
    for (d->added = d->forgotten; d->added < end; take_in(d))
        senders_add_stored(&d->senders, d->ring[d->head].sender_id, d->ring[d->head].ordinal);
}

/* So that the oldest go as if the ring had been so small all the time. */
static void shrink(struct dedup *d, uint32_t capacity, uint64_t now_ms)
{
    senders_deinit(&d->senders);
    senders_create(d, capacity);
    for (uint32_t age = used(d); age > 0; age--)
        senders_add_stored(&d->senders, entry_back(d, age)->sender_id, entry_back(d, age)->ordinal);
    for (uint32_t left = used(d); left > 0 && used(d) > capacity; left--) sweep(d, now_ms, false);
    while (used(d) > capacity) sweep(d, now_ms, true);
}

void dedup_set_limits(struct dedup *d, const struct dedup_limits *limits, uint64_t now_ms)
{
    bool same = limits->capacity == d->limits.capacity && limits->per_sender == d->limits.per_sender;
    d->limits.window_ms = limits->window_ms;
    d->limits.per_sender = limits->per_sender;
    if (same) return;
    if (used(d) > limits->capacity) {
        shrink(d, limits->capacity, now_ms);
        d->changed = true;
    }
    struct dedup old = *d;
    allocate(d, limits);
    d->added = old.forgotten;
    for (uint32_t age = used(&old); age > 0; age--) restore(d, entry_back(&old, age));
    index_ring(d);
    release(&old);
}

/* ---- blocks ---- */

static void blocks_add(struct dedup *d, const struct block *block)
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
    d->blocks[d->first_block + d->block_count++] = *block;
}

static struct key block_key(const struct block *block)
{
    return key_one(block->former ? KEY_DEDUP : KEY_REPEATS, block->index);
}

/* Blocks whose entries have all left. */
static void blocks_delete(struct dedup *d, struct effects *effects)
{
    while (d->block_count > 0 && d->blocks_start + d->blocks[d->first_block].count <= d->forgotten) {
        struct key key = block_key(&d->blocks[d->first_block]);
        effects_delete(effects, &key);
        d->blocks_start += d->blocks[d->first_block].count;
        d->first_block++;
        d->block_count--;
    }
    if (d->block_count == 0) d->first_block = 0;
}

/* The last `count` entries. */
static void block_put(struct dedup *d, const struct block *block, struct effects *effects)
{
    struct key key = block_key(block);
    uint32_t size = (uint32_t)BLOCK_HEAD_SIZE + block->count * (uint32_t)sizeof(struct dedup_entry);
    uint8_t *at = store_batch_put_open(&effects->puts, key_slice(&key), size);
    uint64_t head[2] = {d->added - block->count, d->forgotten};
    memcpy(at, head, sizeof head);
    at += sizeof head;
    uint32_t ahead = block->count <= d->head ? 0 : block->count - d->head; /* of them, at the end of the ring */
    memcpy(at, d->ring + d->limits.capacity - ahead, ahead * sizeof *d->ring);
    memcpy(at + ahead * sizeof *d->ring, d->ring + d->head + ahead - block->count, (block->count - ahead) * sizeof *d->ring);
}

void dedup_end_batch(struct dedup *d, uint64_t index, struct effects *effects)
{
    effects->records_appended += d->added_hash;
    d->added_hash = 0;
    blocks_delete(d, effects);
    uint64_t first = d->stored > d->forgotten ? d->stored : d->forgotten; /* some may have come and gone in one batch */
    struct block block = {.index = index, .count = (uint32_t)(d->added - first)};
    d->stored = d->added;
    if (block.count == 0 && !d->changed) return;
    d->changed = false;
    if (d->block_count == 0) d->blocks_start = first;
    block_put(d, &block, effects);
    blocks_add(d, &block);
}

/* ---- recovery ---- */

struct former_entry { /* of format 3 */
    uint64_t id_low, id_high, body_hash, result_id, room_id, seq, time_ms;
};

bool dedup_load_former_block(struct dedup *d, uint64_t index, struct slice bytes)
{
    struct block block = {.index = index, .count = bytes.len / (uint32_t)sizeof(struct former_entry), .former = true};
    if (bytes.len % sizeof(struct former_entry) != 0) return false;
    for (uint32_t i = 0; i < block.count; i++) {
        struct former_entry former;
        memcpy(&former, bytes.data + i * sizeof former, sizeof former);
        restore(d, &(struct dedup_entry){.id_low = former.id_low,
                                         .id_high = former.id_high,
                                         .result_id = former.result_id,
                                         .room_id = former.room_id,
                                         .seq = former.seq,
                                         .time_ms = former.time_ms,
                                         .sender_id = former.id_high | FORMER_SENDER,
                                         .content = (uint32_t)former.body_hash});
    }
    blocks_add(d, &block);
    return true;
}

/* The first block says which numbers the entries have; those of format 3 before it have the ones before. */
static bool block_follows(struct dedup *d, uint64_t first)
{
    bool is_first = d->block_count == 0 || d->blocks[d->first_block + d->block_count - 1].former;
    if (!is_first) return first == d->added;
    if (first < d->added) return false;
    d->forgotten += first - d->added;
    d->blocks_start += first - d->added;
    d->added = first;
    return true;
}

bool dedup_load_block(struct dedup *d, uint64_t index, struct slice bytes)
{
    struct block block = {.index = index};
    struct cursor c = cursor_of(bytes);
    uint64_t first = cursor_u64(&c);
    d->loaded_from = cursor_u64(&c);
    block.count = (uint32_t)(cursor_left(&c) / sizeof(struct dedup_entry));
    bool whole = !c.bad && cursor_left(&c) % sizeof(struct dedup_entry) == 0;
    if (!whole || d->loaded_from > first + block.count || !block_follows(d, first)) return false;
    for (uint32_t i = 0; i < block.count; i++) {
        struct dedup_entry entry;
        memcpy(&entry, c.at + i * sizeof entry, sizeof entry);
        if (entry.sender_id == 0) return false;
        restore(d, &entry);
    }
    blocks_add(d, &block);
    return true;
}

void dedup_load_end(struct dedup *d)
{
    if (d->forgotten < d->loaded_from) d->forgotten = d->loaded_from;
    ASSERT(d->forgotten <= d->added);
    index_ring(d);
    d->stored = d->added;
}
