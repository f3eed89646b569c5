/* core/check.c - the two ways this process ends itself: a broken invariant (abort, so that a core dump shows the state)
 * and an outside world that can no longer be trusted (message and exit status 1).
 * Neither runs exit handlers: after either event nothing in memory may reach the disk or a peer. */
#include "core/check.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, expression);
    fflush(stderr);
    abort();
}

void check_fatal(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("fatal: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(stderr);
    _exit(1);
}
