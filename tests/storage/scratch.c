/* tests/storage/scratch.c - see scratch.h. */
#include "storage/scratch.h"
#include "core/check.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void scratch_init(struct scratch *scratch)
{
    const char *parent = getenv("TMPDIR");
    snprintf(scratch->path, sizeof scratch->path, "%s/ringpost-test-XXXXXX", parent != NULL ? parent : "/tmp");
    ASSERT(mkdtemp(scratch->path) != NULL);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void scratch_deinit(struct scratch *scratch) { ASSERT(nftw(scratch->path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0); }

const char *scratch_path(struct scratch *scratch, const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", scratch->path, name);
    return path;
}
