/* tests/storage/power.h - a directory whose file system can lose power, stop for good, or be full: for the small files that say what a data
 * directory is (FORMAT, IDENTITY, keys).
 * Owns:    what of one directory on a real file system is on its medium, and what is not there yet.
 * Thread:  one.                   Depends: core/check.h.         The calls come from the linker: --wrap, see mk/test.mk
 *
 * The code under test writes to a real directory; its system calls come by here and are taken down. Not on the medium are the bytes of a file that
 * was not synced, and names (made, moved, removed) whose directory was not synced since. When power is lost, of the changes to the names of
 * each directory the first so-many have got there, and of a file that was not synced none, all, or some bytes, or zeros. */
#ifndef TESTS_POWER_H
#define TESTS_POWER_H

#include <stdbool.h>
#include <stdint.h>

/* Begins with the directory `path`: all that is in it (and one level of directories below) is on the medium. Ends with power_end(). */
void power_begin(const char *path, uint64_t seed);
void power_end(void);
/* What was done to the files by other means is on the medium, too, and so is all else. */
void power_adopt(void);

/* The process ends at the step after `steps` more: that one and all later ones fail and change nothing, until power_restore(). A step is a
 * system call that changes or syncs something. */
void power_cut_after(uint32_t steps);
bool power_is_cut(void); /* it came to that */
/* The next process may begin. `lost`: the machine lost power as well, and the directory holds what the medium did. */
void power_restore(bool lost);
/* While it is full, files are not made or written to. */
void power_set_full(bool full);
/* A file system that forgets to sync, or code that does. */
void power_set_lying(bool lying);

#endif
