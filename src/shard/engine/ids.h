/* shard/engine/ids.h - 64-bit ids that name their owner, for ever.
 * Thread: any.  Depends: nothing.  Start at: shard/engine/shard.h
 *
 *    63          48 47      38 37                               0
 *   +--------------+----------+---------------------------------+
 *   | partition 16 | type 10  | sequence 38, from 1             |
 *   +--------------+----------+---------------------------------+
 *   partition = number of the shard that made it and owns what it names; growing later adds shards, it never renumbers. */
#ifndef SHARD_IDS_H
#define SHARD_IDS_H

#include <stdint.h>

enum id_type { ID_USER = 1, ID_ROOM = 2, ID_MESSAGE = 3, ID_TYPE_COUNT = 4 };

#define ID_SEQUENCE_MAX ((1ull << 38) - 1)

static inline uint64_t id_make(uint16_t partition, enum id_type type, uint64_t sequence)
{
    return (uint64_t)partition << 48 | (uint64_t)type << 38 | sequence;
}
static inline uint16_t id_partition(uint64_t id) { return (uint16_t)(id >> 48); }
static inline uint32_t id_type(uint64_t id) { return (uint32_t)(id >> 38) & 0x3ff; }

#endif
