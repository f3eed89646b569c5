/* core/secret.c - see secret.h. Root is not refused what it made as root: it is the file's owner then. */
#include "core/secret.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHERS  (S_IRWXO | S_IWGRP | S_IXGRP)
#define READERS (OTHERS | S_IRGRP)

enum result secret_check_file(int fd, const char *name, enum secret_owner owner, char *text, size_t text_size)
{
    struct stat about;
    if (fstat(fd, &about) != 0) {
        snprintf(text, text_size, "%s: cannot be looked at: %s", name, strerror(errno));
        return result_from_errno(errno);
    }
    if (!S_ISREG(about.st_mode)) {
        snprintf(text, text_size, "%s is not a regular file", name);
        return RESULT_MALFORMED;
    }
    bool is_roots = owner == SECRET_OURS_OR_ROOT && about.st_uid == 0;
    if (about.st_uid != geteuid() && !is_roots) {
        snprintf(text, text_size, "%s holds a secret and belongs to user %u, who can change it; this program runs as user %u. Remedy: chown %u %s",
                 name, (unsigned)about.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), name);
        return RESULT_DENIED;
    }
    if ((about.st_mode & (is_roots ? OTHERS : READERS)) != 0) {
        const char *mode = is_roots && (about.st_mode & S_IRGRP) != 0 ? "640" : "600";
        snprintf(text, text_size, "%s holds a secret and has mode %04o: others can read or change it. Remedy: chmod %s %s", name,
                 (unsigned)about.st_mode & 07777, mode, name);
        return RESULT_DENIED;
    }
    return RESULT_OK;
}

bool secret_is_random(struct slice key)
{
    bool seen[256] = {false};
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < key.len; i++) {
        distinct += !seen[key.data[i]];
        seen[key.data[i]] = true;
    }
    return distinct >= SECRET_DISTINCT_MIN;
}
