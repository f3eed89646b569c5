/* core/doorbell.c - the flag protocol of doorbell.h.
 * Every access to `sleeping` is a read-modify-write, so all of them stand in one order and each sees what was published
 * before the ones ahead of it. A ring that comes before the sleeper's exchange in that order is seen by its second look
 * at the rings; one that comes after finds the flag raised and writes the eventfd. No fence is needed, and
 * ThreadSanitizer understands all of it. */
#include "core/doorbell.h"
#include "core/check.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum result doorbell_init(struct doorbell *bell)
{
    atomic_init(&bell->sleeping, false);
    bell->fd = eventfd(0, EFD_CLOEXEC);
    return bell->fd >= 0 ? RESULT_OK : result_from_errno(errno);
}

void doorbell_deinit(struct doorbell *bell)
{
    close(bell->fd);
    bell->fd = -1;
}

void doorbell_sleep(struct doorbell *bell)
{
    /* Acquires what earlier ringers published, releases nothing they need; the order of the exchanges does the rest. */
    atomic_exchange_explicit(&bell->sleeping, true, memory_order_acq_rel);
}

void doorbell_awake(struct doorbell *bell)
{
    /* Not a plain store: that would cut the chain of exchanges through which a ringer's publication is seen. */
    atomic_exchange_explicit(&bell->sleeping, false, memory_order_acq_rel);
}

bool doorbell_ring(struct doorbell *bell)
{
    if (!atomic_exchange_explicit(&bell->sleeping, false, memory_order_acq_rel)) return false;
    uint64_t one = 1;
    ssize_t written;
    do written = write(bell->fd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    ASSERT(written == sizeof one);
    return true;
}

void doorbell_wait(struct doorbell *bell, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = bell->fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, timeout_ms);
    ASSERT(ready >= 0 || errno == EINTR);
    if (ready <= 0) return;
    uint64_t rung; /* readable and read by this thread alone, so the read cannot block */
    ssize_t got = read(bell->fd, &rung, sizeof rung);
    ASSERT(got == sizeof rung || errno == EINTR);
}
