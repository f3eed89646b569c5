/* storage/wholefile.h - small files that are there whole or not at all.
 * Owns:    nothing.               Thread: any; blocks.
 * Depends: core/ only.            Start at: storage/datadir.h */
#ifndef STORAGE_WHOLEFILE_H
#define STORAGE_WHOLEFILE_H

#include "core/result.h"
#include <stddef.h>

#define WHOLEFILE_NAME_MAX 64

/* Afterwards NAME in the directory holds exactly `data`, or is as it was: written under NAME.new, synced, renamed, the directory synced.
 * OK; FULL; IO or what the system call says. A crash may leave NAME.new, which the next write begins anew. */
NODISCARD enum result wholefile_write(int dir_fd, const char *name, const void *data, size_t len);
/* Reads at most `size` bytes. MISSING when there is no such file. */
NODISCARD enum result wholefile_read(int dir_fd, const char *name, void *data, size_t size, size_t *len);

#endif
