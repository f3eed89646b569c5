/* shard/engine/incarnation.h - the starts of a shard, told from each other, so that a restored one is noticed.
 * Owns:    the starts of this shard that are remembered, by ordinal.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: shard/engine/command.h, shard/engine/records.h.  Start at: shard/engine/machine.h
 *
 * A backup brings a shard back to where it was: numbers that it gave out after the copy was made, it gives out again, for other things. So
 * the first command of every start is an INCARNATION: the next ordinal, and 32 random bits. What a client is given by number comes with the
 * *epoch* of the stream, which is the newest incarnation; shown again, it tells whether the number was given in the history that this shard
 * has: the same random bits at that ordinal, and a number that was reached by the end of that incarnation (delivery/inbox.h).
 *
 *     copied             lost                             a client that was there has epoch 3-cc and key 16
 *     1-aa ... 2-bb ...  3-cc ...
 *     1-aa ... 2-bb ...  3-dd ...                         3 is dd here: not this history
 *
 * Limit: INCARNATIONS_KEPT starts; an epoch before them is taken for one of another history. */
#ifndef SHARD_INCARNATION_H
#define SHARD_INCARNATION_H

#include "shard/engine/command.h"
#include "shard/engine/records.h"
#include "storage/store.h"

#define INCARNATIONS_KEPT 1024u
#define EPOCH_TEXT_SIZE   20 /* "4294967295-ffffffff" and its end */

struct machine;

struct incarnations { /* by ordinal, modulo */
    uint32_t newest;  /* 0: there was none yet */
    uint32_t randoms[INCARNATIONS_KEPT];
};

struct epoch {
    uint32_t ordinal, random;
};

/* Recovery: those that the store has. OK, IO, CORRUPT. */
NODISCARD enum result incarnations_load(struct machine *machine, struct store_view *view);
/* What to propose at a start. */
struct incarnation_record incarnation_next(const struct machine *machine, uint32_t random);

struct epoch epoch_now(const struct machine *machine);
/* False: it is none of this history, or too old to tell. */
bool epoch_is_known(const struct machine *machine, struct epoch epoch);
/* As clients get it and give it back; they do not look into it. */
void epoch_write(char text[EPOCH_TEXT_SIZE], struct epoch epoch);
NODISCARD bool epoch_read(struct epoch *epoch, struct slice text);

#endif
