/* shard/engine/keys.h - how the store's keys are made, and the engine's own kinds of them.
 * Thread: any.  Depends: core/ only.  Start at: shard/engine/shard.h
 * A kind byte first (00 is the storage layer's own), then numbers big-endian so that keys sort by number. */
#ifndef SHARD_KEYS_H
#define SHARD_KEYS_H

#include "core/check.h"
#include "core/cursor.h"

enum engine_key_kind { /* below KEY_DOMAIN; the others are the domain's: shard/domain/keys.h */
    KEY_META = 0x01,         /* nothing more          -> meta_record: id counters, time */
    KEY_STREAM = 0x02,       /* peer shard            -> stream_record */
    KEY_OUTBOX = 0x03,       /* peer shard | first    -> relay_record: a bundle of entries, messages by name, see outbox.h */
    KEY_DEDUP = 0x04,        /* last log index        -> entries of that batch, as format 3 wrote them: dedup.h */
    KEY_LIMITS = 0x05,       /* nothing more          -> limits.h */
    KEY_REPEATS = 0x06,      /* last log index        -> block of dedup entries of that batch: dedup.h */
    KEY_INCARNATION = 0x07,  /* ordinal               -> incarnation_record */
    KEY_DUE = 0x08,          /* time << 16 | kind | id -> empty: a timer, see timers.h */
    KEY_TIMER_COUNT = 0x09,  /* nothing more          -> timer_count_record */
    KEY_FOLLOWER = 0x0a,     /* name                  -> follower_record */
    KEY_FOLLOWED = 0x0b,     /* 0 | last number       -> block (block.h) of: u8 kind | record: what happened, follower.h */
    KEY_DOMAIN = 0x10,
};

#define KEY_SIZE_MAX 96

struct key {
    uint32_t len;
    uint8_t bytes[KEY_SIZE_MAX];
};
static inline struct slice key_slice(const struct key *key) { return slice_of(key->bytes, key->len); }

static inline struct key key_make(uint8_t kind)
{
    struct key key = {.len = 1};
    key.bytes[0] = kind;
    return key;
}
static inline void key_add_u64(struct key *key, uint64_t value)
{
    ASSERT(key->len + sizeof value <= KEY_SIZE_MAX);
    value = __builtin_bswap64(value);
    memcpy(key->bytes + key->len, &value, sizeof value);
    key->len += (uint32_t)sizeof value;
}
static inline void key_add_text(struct key *key, struct slice text)
{
    ASSERT(key->len + text.len <= KEY_SIZE_MAX);
    if (text.len > 0) memcpy(key->bytes + key->len, text.data, text.len);
    key->len += text.len;
}
static inline struct key key_one(uint8_t kind, uint64_t a)
{
    struct key key = key_make(kind);
    key_add_u64(&key, a);
    return key;
}
static inline struct key key_two(uint8_t kind, uint64_t a, uint64_t b)
{
    struct key key = key_one(kind, a);
    key_add_u64(&key, b);
    return key;
}
/* The first key after all that begin with kind | a. */
static inline struct key key_after(uint8_t kind, uint64_t a)
{
    return a == UINT64_MAX ? key_make((uint8_t)(kind + 1)) : key_one(kind, a + 1);
}
/* The number at byte `at` of a key read back. */
static inline uint64_t key_u64_at(struct slice key, uint32_t at)
{
    uint64_t value = 0;
    ASSERT(at + sizeof value <= key.len);
    memcpy(&value, key.data + at, sizeof value);
    return __builtin_bswap64(value);
}

#endif
