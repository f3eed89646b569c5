/* tests/storage/scratch.h - a directory for one test, removed at its end. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <limits.h>
#include <stdbool.h>

struct scratch {
    char path[PATH_MAX / 2];
};

void scratch_init(struct scratch *scratch);
/* The same where nothing is written to a disk, if there is such a place: for tests that make thousands of files. */
void scratch_init_in_memory(struct scratch *scratch);
/* The same on a file system of `size_bytes` of its own, which only this process sees and which ends with it. False when this
 * machine does not let us mount one. */
bool scratch_init_small(struct scratch *scratch, unsigned size_bytes);
/* Removes the directory and all in it. */
void scratch_deinit(struct scratch *scratch);
/* Path of a name inside; lives until the next call. */
const char *scratch_path(struct scratch *scratch, const char *name);

#endif
