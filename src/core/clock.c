/* core/clock.c - the system's clocks and randomness. None of these can fail on a system that runs this server, so where
 * the kernel says otherwise the process ends rather than going on with a made-up time or a guessable number. */
#include "core/clock.h"
#include "core/check.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static struct timespec clock_read(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0) check_fatal("clock %d cannot be read: %s", (int)id, strerror(errno));
    return now;
}

uint64_t clock_wall_ms(void)
{
    struct timespec now = clock_read(CLOCK_REALTIME);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_monotonic_ns(void)
{
    struct timespec now = clock_read(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void clock_random(void *out, size_t len)
{
    unsigned char *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) check_fatal("the kernel gives no random bytes: %s", strerror(errno));
        at += got;
        len -= (size_t)got;
    }
}
