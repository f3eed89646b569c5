/* core/check.h - invariants: a broken one is our own bug and ends the process, in release builds too.
 * Input from outside is never asserted; it returns a result. */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

#include <stddef.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Ends the process with the failed expression and its place on stderr. */
#define ASSERT(expression)                                                                                             \
    do {                                                                                                               \
        if (UNLIKELY(!(expression))) check_failed(#expression, __FILE__, __LINE__);                                    \
    } while (0)

_Noreturn void check_failed(const char *expression, const char *file, int line);

/* Ends the process because of the outside world, not a bug (a failed sync, an unrecoverable disk): message, then exit 1. */
_Noreturn void check_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
