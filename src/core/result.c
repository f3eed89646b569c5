/* core/result.c - the texts of the outcomes, and the one place where errno becomes an outcome. */
#include "core/result.h"
#include "core/check.h"
#include <errno.h>

const char *result_text(enum result result)
{
#define RESULT_AS_TEXT(name, text) [RESULT_##name] = (text),
    static const char *const texts[RESULT_COUNT] = {RESULT_LIST(RESULT_AS_TEXT)};
#undef RESULT_AS_TEXT
    ASSERT((unsigned)result < RESULT_COUNT);
    return texts[result];
}

enum result result_from_errno(int error)
{
    ASSERT(error > 0);
    switch (error) {
    case ENOMEM: return RESULT_NOMEM;
    case EAGAIN:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOBUFS: return RESULT_BUSY;
    case E2BIG:
    case EMSGSIZE: return RESULT_TOO_LARGE;
    case EACCES:
    case EPERM:
    case EROFS: return RESULT_DENIED;
    case ENOENT:
    case ENOTDIR: return RESULT_MISSING;
    case EEXIST:
    case EADDRINUSE: return RESULT_EXISTS;
    case EPIPE:
    case ECONNABORTED:
    case ECONNRESET:
    case ENOTCONN: return RESULT_CLOSED;
    case ETIME:
    case ETIMEDOUT: return RESULT_TIMEOUT;
    case EDQUOT:
    case EFBIG: /* the limit of a file's size */
    case ENOSPC: return RESULT_FULL;
    case ENOSYS:
    case EOPNOTSUPP: return RESULT_UNSUPPORTED;
    default: return RESULT_IO;
    }
}
