/* core/host.h - what the process asks of its host: cores, open files, locked memory.
 * Thread:  main at start-up; host_pin_thread() each worker for itself.
 * Depends: core/ only.            Start at: core/core.h */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include "core/result.h"
#include <stddef.h>
#include <stdint.h>

/* Cores the process may run on, at least 1. */
uint32_t host_core_count(void);
/* Binds the calling thread to the core `index` modulo their number, of those the process may run on. */
NODISCARD enum result host_pin_thread(uint32_t index);

/* Raises the limit of open files to `needed` and gives what was reached, never lowering it. BUSY: that is less than needed, and `text`
 * says so with the remedy; the limit is then as high as it goes. */
NODISCARD enum result host_raise_open_files(uint64_t needed, uint64_t *reached, char *text, size_t text_size);
/* Raises the limit of locked memory, from which rings are paid, as far as it goes; returns what was reached, in bytes. */
uint64_t host_raise_locked_memory(void);

#define HOST_UNLIMITED UINT64_MAX
enum host_limit { HOST_ADDRESS_SPACE, HOST_FILE_SIZE };
/* In bytes, or HOST_UNLIMITED. */
uint64_t host_limit(enum host_limit which);
/* A write past the limit of a file's size fails with EFBIG, as on a full disk, and does not end the process. */
void host_ignore_file_size_signal(void);

#endif
