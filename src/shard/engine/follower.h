/* shard/engine/follower.h - followers: the outside world as one more peer of the durable streams. Which exist, how far each is, what happened.
 * Owns:    the followers of this shard, and the entries of the batch being applied.
 * Thread:  the shard's worker; recovery before it serves.  follower_row's functions: the storage thread.
 * Depends: shard/engine/command.h, shard/engine/effects.h.  Start at: shard/engine/machine.h
 * Reading order: this, follower_page.h (entries out of the store), follower_ask.h (what an asker on another thread does with both).
 *
 *   apply: follower_emit -> entry n joins the open block      while nobody follows: one branch, and nothing is written
 *   end of the batch: the block is one put of the batch
 *   a page of entries is read from the store, each with what it names as that is now -> the follower does its work
 *   FOLLOWER_ACK {n} -> durable -> apply: entries that all have acknowledged are trimmed
 *
 * An entry is a kind and the record of an area that registered it (follower_row): ids, never bodies. Entries are numbered 1, 2, 3 ... per
 * shard without holes as long as somebody follows; shard and number name an entry for ever. They are state, made by commands, so a crash,
 * a replay and another replica give the same ones; so are the followers and their places.
 *
 *            BEGIN(rebuild)                     END(lost)
 *   (none) --------------> REBUILDING --ACK--> FOLLOWING -------> LOST --BEGIN(rebuild)--> REBUILDING
 *      `------BEGIN(now, after)------------------^           any --END--> (none)
 *
 * REBUILDING: its place is among the rows of the store (each row of a kind with `scan` is told like an entry), and the entries since it
 * began are kept for it. LOST: it fell behind by more than follower_backlog_max; nothing is kept for it. A *temporary* follower, of an
 * asker without a name, ends with its connection or with the process: the next start's INCARNATION removes it.
 * Limits: FOLLOWERS_MAX; FOLLOWER_RECORD_MAX bytes of an entry. */
#ifndef SHARD_FOLLOWER_H
#define SHARD_FOLLOWER_H

#include "api/follower_place.h"
#include "shard/engine/command.h"
#include "shard/engine/effects.h"

#define FOLLOWERS_MAX 16u
#define FOLLOWER_RECORD_MAX 256u

struct follower_set;
struct machine;

/* ---- what areas register: one row per kind of entry ---- */

/* Of one page: what its rows share. */
struct follower_reader {
    struct store_view *view;
    uint16_t shard;
    bool bodies;                  /* false: only ids are wanted, nothing is looked up */
    struct writer scratch;        /* one value while it is read */
    void *state;                  /* the rows' own, made by the first that needs it */
    void (*free_state)(void *state);
};
/* Takes the place (a, b) of a row and the entry's record; false ends the scan. An empty record: the scan has looked there and found nothing
 * to tell, which is work too: a scan may not look at many places between two calls. */
typedef bool follower_take(void *context, uint64_t a, uint64_t b, struct slice record);
struct follower_row { /* one constant in the file that has its functions, named in the table of its area */
    uint8_t kind;                 /* in entries, for ever; kinds are scanned in ascending order */
    const char *name;             /* the field of FollowerEntry */
    uint32_t field;               /* its number there */
    /* Appends the fields of a FollowerEntry, the row's `field` among them, for what the record names, as it is now. What is not there any more is said (`gone`), with its
     * ids. OK, IO, CORRUPT. */
    enum result (*write)(struct follower_reader *reader, struct slice record, struct writer *entry, uint32_t field);
    /* The rows behind place (a, b), in ascending order. OK, IO, CORRUPT. NULL: none; a rebuilding does not tell of them. */
    enum result (*scan)(struct follower_reader *reader, uint64_t a, uint64_t b, follower_take *take, void *context);
};

/* ---- state ---- */

struct follower {
    char name[FOLLOWER_NAME_MAX + 1];
    bool temporary, lost;
    uint64_t generation;          /* log index of its BEGIN: what was meant for an earlier one of that name is not for this one */
    struct follower_place place;  /* acknowledged: what comes up to it is done */
};

NODISCARD enum result follower_set_create(struct follower_set **out);
void follower_set_destroy(struct follower_set *set);
/* Recovery. OK, IO, CORRUPT. */
NODISCARD enum result followers_load(struct machine *machine, struct store_view *view);

/* NULL: there is none of that name. */
const struct follower *follower_find(const struct follower_set *set, struct slice name);
/* Those that are; `index` from 0, NULL behind the last. */
const struct follower *follower_at(const struct follower_set *set, uint32_t index);
/* Number of the newest entry. */
uint64_t follower_emitted(const struct follower_set *set);
/* Entries that are kept for it. */
uint64_t follower_backlog(const struct follower_set *set, const struct follower *follower);
/* Every entry from this number on is kept. */
uint64_t follower_first_kept(const struct follower_set *set);

/* Apply, while machine->followed: `len` bytes of an entry's record, for the caller to fill now. */
uint8_t *follower_emit(struct machine *machine, uint8_t kind, uint32_t len, struct effects *effects);
/* Puts the open block and the followers that changed. */
void follower_end_batch(struct follower_set *set, struct effects *effects);
/* Apply of an INCARNATION: those that no connection outlived are gone. */
void follower_forget_temporary(struct machine *machine);

/* ---- FOLLOWER_BEGIN ---- */
enum follower_start {
    FOLLOWER_NOW,     /* with the next entry */
    FOLLOWER_AFTER,   /* behind `number`, when what follows that is kept */
    FOLLOWER_ALL,     /* with the rows of the store */
    FOLLOWER_REBUILD, /* so, too, one that is there already */
};
enum follower_verdict { FOLLOWER_GOOD, FOLLOWER_NO_PLACE, FOLLOWER_NOT_KEPT };
/* May it begin so? One that is there stays as it is, but with REBUILD. */
enum follower_verdict follower_judge(const struct follower_set *set, struct slice name, uint8_t start, uint64_t number);

#endif
