/* storage/commitlog_format.c - the bytes of segment headers and records, both ways; the drawing is in commitlog.h.
 * Pure functions over memory: commitlog.c writes with them, commitlog_recover.c reads. */
#include "core/check.h"
#include "storage/commitlog_internal.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define SEGMENT_MAGIC "RPLOG1"
#define SEGMENT_MAGIC_SIZE 6
#define SEGMENT_VERSION 1 /* what this one reads: segments that need no more; and what it writes, with nothing added */
#define SEGMENT_HEADER_SIZE 48
#define SEGMENT_HASHED_SIZE (SEGMENT_HEADER_SIZE - 8)
#define RECORD_HASHED_SIZE (COMMITLOG_RECORD_HEADER_SIZE - 8)
#define RECORD_BATCH_BLOCK_OFFSET 6

static uint8_t *put(uint8_t *at, const void *value, size_t size)
{
    memcpy(at, value, size);
    return at + size;
}

void segment_header_encode(const struct segment_header *header, uint8_t *block)
{
    ASSERT(header->block_size_bytes >= COMMITLOG_BLOCK_SIZE_MIN);
    memset(block, 0, header->block_size_bytes);
    const uint8_t version[2] = {SEGMENT_VERSION, 0};
    uint8_t *at = put(block, SEGMENT_MAGIC, SEGMENT_MAGIC_SIZE);
    at = put(at, version, sizeof version);
    at = put(at, &header->shard, sizeof header->shard);
    at = put(at, &header->block_size_bytes, sizeof header->block_size_bytes);
    at = put(at, &header->number, sizeof header->number);
    at = put(at, &header->epoch, sizeof header->epoch);
    at = put(at, &header->size_bytes, sizeof header->size_bytes);
    ASSERT(at == block + SEGMENT_HASHED_SIZE);
    const uint64_t hash = XXH3_64bits(block, SEGMENT_HASHED_SIZE);
    put(at, &hash, sizeof hash);
}

static bool segment_shape_is_sound(const struct segment_header *header)
{
    uint32_t block = header->block_size_bytes;
    bool block_is_power_of_two = block != 0 && (block & (block - 1)) == 0;
    return block_is_power_of_two && block >= COMMITLOG_BLOCK_SIZE_MIN && block <= COMMITLOG_BLOCK_SIZE_MAX &&
           header->size_bytes % block == 0 && header->size_bytes >= 2ull * block;
}

enum result segment_header_decode(struct segment_header *header, const uint8_t *block)
{
    struct cursor c = cursor_of(slice_of(block, SEGMENT_HEADER_SIZE));
    bool ours = memcmp(cursor_take(&c, SEGMENT_MAGIC_SIZE), SEGMENT_MAGIC, SEGMENT_MAGIC_SIZE) == 0;
    const uint8_t needed = cursor_u8(&c);
    (void)cursor_u8(&c); /* what a newer version has added, which can be left alone */
    header->shard = cursor_u32(&c);
    header->block_size_bytes = cursor_u32(&c);
    header->number = cursor_u64(&c);
    header->epoch = cursor_u64(&c);
    header->size_bytes = cursor_u64(&c);
    bool whole = cursor_u64(&c) == XXH3_64bits(block, SEGMENT_HASHED_SIZE);
    ASSERT(cursor_done(&c));
    if (!ours || !whole || needed == 0) return RESULT_CORRUPT;
    if (needed > SEGMENT_VERSION) return RESULT_UNSUPPORTED;
    return segment_shape_is_sound(header) ? RESULT_OK : RESULT_CORRUPT;
}

void record_header_encode(const struct record_header *header, uint8_t *bytes)
{
    uint8_t *at = put(bytes, &header->len, sizeof header->len);
    at = put(at, &header->type, sizeof header->type);
    at = put(at, &header->batch_block, sizeof header->batch_block);
    at = put(at, &header->term, sizeof header->term);
    at = put(at, &header->index, sizeof header->index);
    at = put(at, &header->hash, sizeof header->hash);
    ASSERT(at == bytes + COMMITLOG_RECORD_HEADER_SIZE);
}

void record_header_decode(struct record_header *header, const uint8_t *bytes)
{
    struct cursor c = cursor_of(slice_of(bytes, COMMITLOG_RECORD_HEADER_SIZE));
    header->len = cursor_u32(&c);
    header->type = cursor_u16(&c);
    header->batch_block = cursor_u16(&c);
    header->term = cursor_u32(&c);
    header->index = cursor_u64(&c);
    header->hash = cursor_u64(&c);
    ASSERT(cursor_done(&c));
}

uint32_t record_len(const uint8_t *bytes)
{
    uint32_t len;
    memcpy(&len, bytes, sizeof len);
    return len;
}

/* Two seeded hashes in a row instead of one over three pieces: no streaming state, nothing copied. */
static uint64_t record_hash(const uint8_t *bytes, uint32_t len, uint64_t epoch)
{
    ASSERT(len >= COMMITLOG_RECORD_HEADER_SIZE);
    uint64_t seed = XXH3_64bits_withSeed(bytes, RECORD_HASHED_SIZE, epoch);
    return XXH3_64bits_withSeed(bytes + COMMITLOG_RECORD_HEADER_SIZE, len - COMMITLOG_RECORD_HEADER_SIZE, seed);
}

void record_seal(uint8_t *bytes, uint16_t batch_block, uint64_t epoch)
{
    memcpy(bytes + RECORD_BATCH_BLOCK_OFFSET, &batch_block, sizeof batch_block);
    uint64_t hash = record_hash(bytes, record_len(bytes), epoch);
    memcpy(bytes + RECORD_HASHED_SIZE, &hash, sizeof hash);
}

bool record_hash_fits(const struct record_header *header, const uint8_t *bytes, uint64_t epoch)
{
    return header->hash == record_hash(bytes, header->len, epoch);
}
