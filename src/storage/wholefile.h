/* storage/wholefile.h - small files that are there whole or not at all, and lines of text in them that show damage.
 * Owns:    nothing.               Thread: any; blocks.
 * Depends: core/ only.            Start at: storage/datadir.h */
#ifndef STORAGE_WHOLEFILE_H
#define STORAGE_WHOLEFILE_H

#include "core/result.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHOLEFILE_NAME_MAX 64

/* Afterwards NAME in the directory holds exactly `data`, or is as it was: written under NAME.new, synced, renamed, the directory synced.
 * OK; FULL; IO or what the system call says. A crash may leave NAME.new, which the next write begins anew. */
NODISCARD enum result wholefile_write(int dir_fd, const char *name, const void *data, size_t len);
/* Reads at most `size` bytes. MISSING when there is no such file. */
NODISCARD enum result wholefile_read(int dir_fd, const char *name, void *data, size_t size, size_t *len);

/* The same of an open file. */
NODISCARD enum result wholefile_read_open(int fd, void *data, size_t size, size_t *len);

/* Lines of text are sealed by a last one, "sum=<16 hex>": the xxh3 of all bytes before it. */
#define WHOLEFILE_SUM_SIZE 21
/* Puts that line behind `len` bytes of text, where there is room for it and a NUL; gives the length with it. */
size_t wholefile_seal(char *text, size_t len);
bool wholefile_is_sealed(const char *text, size_t len);

/* The lines "key=value" of a text that ends with NUL; ends each at its newline. False from `take` ends it. */
NODISCARD bool wholefile_lines(char *text, bool (*take)(void *context, const char *key, const char *value), void *context);
/* Decimal digits and nothing else. */
NODISCARD bool wholefile_number(const char *text, uint64_t max, uint64_t *number);
/* Exactly `len` lower-case hexadecimal digits. */
bool wholefile_is_hex(const char *text, size_t len);

#endif
