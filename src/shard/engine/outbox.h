/* shard/engine/outbox.h - reading what a stream's outbox keeps in the store.
 * What is in the store elsewhere, put there by the same batch as the bundle that tells another shard of it, the outbox only names; a restart
 * looks up what the names stand for (relay_row.restore).
 * Owns:    the bytes of one bundle, until the next is read.
 * Thread:  a job's: recovery.     Depends: shard/engine/relay.h, shard/engine/records.h.  Start at: shard/engine/stream.h */
#ifndef SHARD_OUTBOX_H
#define SHARD_OUTBOX_H

#include "core/cursor.h"
#include "core/result.h"
#include "storage/store.h"

struct domain;

struct outbox_reader {
    const struct domain *domain;
    struct store_view *view;
    void *lookup;                      /* of the rows' restore functions, from one entry to the next; NULL: none yet */
    void (*free_lookup)(void *lookup); /* set with it */
    struct writer entries, bundle;
};
void outbox_reader_init(struct outbox_reader *reader, const struct domain *domain, struct store_view *view);
void outbox_reader_deinit(struct outbox_reader *reader);
/* The bundle as it was emitted, of a value under KEY_OUTBOX; borrows that or the reader. OK, IO, CORRUPT. */
NODISCARD enum result outbox_read(struct outbox_reader *reader, struct slice value, struct slice *bundle);

#endif
