/* tests/storage/scratch.c - see scratch.h. */
#include "storage/scratch.h"
#include "core/check.h"
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_in(struct scratch *scratch, const char *parent)
{
    snprintf(scratch->path, sizeof scratch->path, "%s/ringpost-test-XXXXXX", parent);
    ASSERT(mkdtemp(scratch->path) != NULL);
}

void scratch_init(struct scratch *scratch)
{
    const char *parent = getenv("TMPDIR");
    make_in(scratch, parent != NULL ? parent : "/tmp");
}

void scratch_init_in_memory(struct scratch *scratch)
{
    if (access("/dev/shm", W_OK) == 0) make_in(scratch, "/dev/shm");
    else scratch_init(scratch);
}

bool scratch_init_small(struct scratch *scratch, unsigned size_bytes)
{
    scratch_init(scratch);
    char options[32];
    snprintf(options, sizeof options, "size=%u", size_bytes);
    /* Root needs only a mount table of its own; others also a user namespace in which they may mount. */
    bool alone = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (alone && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", scratch->path, "tmpfs", 0, options) == 0)
        return true;
    scratch_deinit(scratch);
    return false;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void scratch_deinit(struct scratch *scratch)
{
    (void)umount2(scratch->path, MNT_DETACH); /* of a small one; else nothing happens */
     ASSERT(nftw(scratch->path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

const char *scratch_path(struct scratch *scratch, const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", scratch->path, name);
    return path;
}
