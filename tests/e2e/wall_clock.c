/* tests/e2e/wall_clock.c - another wall clock for one process (LD_PRELOAD): the machine's and the seconds that the file named by WALL_CLOCK_FILE says,
 * looked at each time. All other clocks are the machine's. It asks the kernel itself and for no memory, whatever allocator calls it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long ahead_s(void)
{
    char text[32] = "";
    const char *path = getenv("WALL_CLOCK_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    return got > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    int done = (int)syscall(SYS_clock_gettime, id, time);
    if (done == 0 && id == CLOCK_REALTIME) time->tv_sec += ahead_s();
    return done;
}
