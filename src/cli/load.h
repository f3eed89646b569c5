/* cli/load.h - the server's configuration from a command line, for `serve` and for `config`: what one takes or refuses, so does the other.
 * Thread:  main.                  Depends: core/config.h, shard/worker/rules.h.  Start at: cli/cli.h */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "core/config.h"

#define LOAD_FLAGS_MAX 256

struct load {
    const char *file;              /* --config FILE; NULL: none */
    const char *flags[LOAD_FLAGS_MAX]; /* NAME and VALUE of each of the server's options, in turn */
    int flag_count;
};

/* Takes --config and the server's options, --NAME VALUE or --NAME=VALUE, out of argv; what is left, argv[0] first, is the caller's. *argc
 * becomes its length. MALFORMED: one of them has no value or is there twice; `text` says which. */
NODISCARD enum result load_take(struct load *load, int *argc, char **argv, char *text, size_t text_size);
/* File, environment and what was taken, checked as far as no machine is needed. MALFORMED or another reason, in `text`. */
NODISCARD enum result load_config(const struct load *load, struct config *config, char *text, size_t text_size);
/* What was taken with a remark: one line; false when there is none. */
bool load_remark(const struct config *config, char *text, size_t text_size);
/* How the process ends for that outcome of loading, judging or serving. */
int load_exit_code(enum result result);

#endif
