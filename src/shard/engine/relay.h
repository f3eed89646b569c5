/* shard/engine/relay.h - what travels in streams between shards: one row for each kind of entry.
 * Thread:  the shard's worker.    Depends: shard/engine/entity.h.  Start at: shard/engine/stream.h
 * A kind's number stands in logs and outboxes, for ever. */
#ifndef SHARD_RELAY_H
#define SHARD_RELAY_H

#include "core/cursor.h"
#include "shard/engine/entity.h"

struct effects;
struct outbox_reader;

struct relay_row { /* one constant in the file that has its functions, named in the table of its area */
    uint16_t kind;
    const char *name;
    bool bundled; /* several of one batch travel together; else each goes alone */
    /* Bytes of another host: could shard `source` have written this? Entries of this process are not asked about. */
    bool (*is_good)(uint16_t source, struct slice entry);
    /* Names every entity that applying it touches; like a command's. `kept`: what the log keeps of the entry, see logged_kind. */
    void (*needs)(struct needs *needs, struct slice kept);
    /* What happened elsewhere has happened: it is never refused. `whole`: the entry as it came, for those who look on and for what is no
     * part of the state; empty when the log is applied again. */
    void (*apply)(struct machine *machine, struct slice kept, struct slice whole, struct effects *effects);
    /* Bytes of the largest entry, where messages have at most `body_size_max`. */
    uint32_t (*size_max)(uint32_t body_size_max);
    /* 0: the log keeps it as it is. Else it keeps less, under this kind: `shorten` appends that to `kept`. Logs of earlier versions have
     * entries as they came. */
    uint16_t logged_kind;
    void (*shorten)(struct slice entry, struct writer *kept);
    /* 0: the outbox keeps it as it is. Else it keeps less, under this kind, of which `restore` makes the entry again: appends it to `out`,
     * on the storage thread. OK, CORRUPT, IO. */
    uint16_t stored_kind;
    enum result (*restore)(struct outbox_reader *reader, struct slice stored, struct writer *out);
};

/* What a log keeps of a bundle, a relay_record, in the machine's domain: in `record`, with the help of `entries`; or the bundle itself. */
struct slice relay_kept(const struct machine *machine, struct slice bundle, struct writer *entries, struct writer *record);

#endif
