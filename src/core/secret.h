/* core/secret.h - files that hold secrets: who else may read or change them, and whether their bytes can be a key at all.
 * Thread: any.                    Depends: core/ only.           Start at: core/core.h */
#ifndef CORE_SECRET_H
#define CORE_SECRET_H

#include "core/cursor.h"
#include "core/result.h"

enum secret_owner {
    SECRET_OURS,         /* this program made it: its user's, mode 0600 or less */
    SECRET_OURS_OR_ROOT, /* somebody put it there: the same, or root's, who may let a group read it (0640) */
};

/* Is the open file a regular one that nobody else may read or change? OK; else DENIED or MALFORMED with one sentence on what is wrong and
 * the remedy. `name`: the file's, for the sentence. Open it with O_NONBLOCK: a pipe is refused then, and not waited for. */
NODISCARD enum result secret_check_file(int fd, const char *name, enum secret_owner owner, char *text, size_t text_size);

#define SECRET_DISTINCT_MIN 8 /* 32 random bytes have fewer different values once in 10^33 times */
/* False: zeros, one byte over and over, or so few different ones that nobody has drawn them. */
bool secret_is_random(struct slice key);

#endif
