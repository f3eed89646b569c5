/* shard/worker/rules.h - options that must fit each other: one table, asked by `serve` and by `config check`.
 * Thread: any.  Depends: core/config.h, shard/domain/bounds.h.  Start at: shard/worker/settings.h
 * Whoever adds a limit that stands or falls with another one adds a row: which option, its least or greatest value as the others are,
 * which of them could be changed instead and in which direction, and why. */
#ifndef SHARD_RULES_H
#define SHARD_RULES_H

#include "core/config.h"

/* OK, or MALFORMED: `text` names the options of the first rule that does not hold, with values and places, what would do, and why. */
NODISCARD enum result rules_check(const struct config *config, char *text, size_t text_size);
/* Options that are allowed together, but of which one has no effect: one line for each, `index` 0, 1, …; false when there is none more. */
bool rules_remark(const struct config *config, uint32_t index, char *text, size_t text_size);

#endif
