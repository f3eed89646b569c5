/* storage/trims.h - up to where nobody reads any more: what compaction leaves out, so that a trim costs no read and no write.
 * Owns:    the trims that wait until they are durable, and a table of those that are.
 * Thread:  the storage thread notes, stamps and settles; RocksDB's compaction threads ask.
 * Depends: core/ only.            Start at: storage/rocks.h
 *
 * A trim is a key of TRIM_KEY_SIZE bytes: of the keys that begin with its first TRIM_GROUP_SIZE bytes (kind and id, see store.h) nobody
 * reads one before it any more. It counts only when the index with which it came would survive a crash: until then a crash could bring
 * back a state that still reads what it lets go. */
#ifndef STORAGE_TRIMS_H
#define STORAGE_TRIMS_H

#include "core/cursor.h"
#include <stdbool.h>

#define TRIM_GROUP_SIZE 9  /* kind, id */
#define TRIM_KEY_SIZE   17 /* kind, id, number */

struct trims;

struct trims *trims_create(void);
void trims_destroy(struct trims *trims);
void trims_note(struct trims *trims, struct slice until);
void trims_stamp(struct trims *trims, uint64_t applied);    /* what was noted since the last time came with this index */
void trims_settle(struct trims *trims, uint64_t durable);   /* what came with this index or an earlier one counts from now on */
/* The first number of the group (TRIM_GROUP_SIZE bytes) that may still be read; 0 when nothing is known. Any thread. */
uint64_t trims_first_kept(struct trims *trims, const uint8_t *group);

static inline uint64_t trim_number(const uint8_t *key)
{
    uint64_t number;
    memcpy(&number, key + TRIM_GROUP_SIZE, sizeof number);
    return __builtin_bswap64(number);
}

#endif
