/* shard/engine/outbox.h - reading what a stream's outbox keeps in the store.
 * A message's bytes are in the store once, in its room's timeline, put there by the same batch as the bundle that tells another shard of
 * it; so the outbox keeps names, and only a restart looks up what they stand for. Messages never change and are never deleted.
 * Owns:    the bytes of one bundle, until the next is read.
 * Thread:  a job's: recovery.     Depends: room/timeline.h, shard/engine/records.h.  Start at: shard/engine/stream.h */
#ifndef SHARD_OUTBOX_H
#define SHARD_OUTBOX_H

#include "shard/domain/room/timeline.h"

struct outbox_reader {
    struct timeline_reader messages;
    struct writer entries, bundle;
};
void outbox_reader_init(struct outbox_reader *reader, struct store_view *view);
void outbox_reader_deinit(struct outbox_reader *reader);
/* The bundle as it was emitted, of a value under KEY_OUTBOX; borrows that or the reader. OK, IO, CORRUPT. */
NODISCARD enum result outbox_read(struct outbox_reader *reader, struct slice value, struct slice *bundle);

#endif
