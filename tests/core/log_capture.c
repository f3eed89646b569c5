/* tests/core/log_capture.c - stderr is a file in memory for a while. */
#include "core/log_capture.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int capture_fd, real_stderr;

void capture_start(void)
{
    capture_fd = memfd_create("log", 0);
    real_stderr = dup(STDERR_FILENO);
    cr_assert(capture_fd >= 0 && real_stderr >= 0);
    dup2(capture_fd, STDERR_FILENO);
}

char *capture_end(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    off_t len = lseek(capture_fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    cr_assert_eq(pread(capture_fd, text, (size_t)len, 0), len);
    close(capture_fd);
    return text;
}
