/* shard/worker/fitness.h - whether this machine can run this configuration, and with what: asked by `serve` and by `config check` alike.
 * Thread:  main, before any other thread.  Depends: core/, storage/datadir.h, net/server.h, shard/worker/rules.h.  Start at: shard/worker/host.h
 * Raises the limits of the process as far as they go (open files, locked memory), reads the data directory and the certificate, changes
 * nothing. What was left at its default is made to fit, with a warning; what somebody set is taken or refused. */
#ifndef SHARD_FITNESS_H
#define SHARD_FITNESS_H

#include "core/config.h"

#define FITNESS_TEXT_SIZE 512
#define FITNESS_WARNINGS_MAX 8

struct fitness {
    uint32_t shards, workers, ring_entries, connections_max; /* what it runs with */
    uint32_t format;                                         /* of the data directory as it is; 0: still to be made */
    uint32_t warning_count;
    char warnings[FITNESS_WARNINGS_MAX][FITNESS_TEXT_SIZE];
};

/* OK, perhaps with warnings; else `text` says what the machine lacks, how much is needed, and the remedy: MALFORMED when it is the
 * configuration, CORRUPT when it is the data directory. */
NODISCARD enum result fitness_judge(struct fitness *fitness, const struct config *config, char *text, size_t text_size);
/* What the server is to run with. */
void fitness_apply(const struct fitness *fitness, struct config *config);

#endif
