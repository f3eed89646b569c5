/* core/clock.c - the system's clocks and randomness, and the trusted clock. The system's cannot fail where this server runs, so if the
 * kernel says otherwise the process ends rather than going on with a made-up time or a guessable number. */
#include "core/clock.h"
#include "core/check.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define READS_MAX   10 /* of the pair of clocks, until two are of one moment */
#define READ_MS_MAX 10

static struct timespec clock_read(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0) check_fatal("clock %d cannot be read: %s", (int)id, strerror(errno));
    return now;
}

static uint64_t in_ms(struct timespec time) { return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000; }

uint64_t clock_wall_ms(void) { return in_ms(clock_read(CLOCK_REALTIME)); }

uint64_t clock_boot_ms(void) { return in_ms(clock_read(CLOCK_BOOTTIME)); }

/* A thread that was off the processor between two readings would take the pause for a step. */
void clock_read_both(uint64_t *boot_ms, uint64_t *wall_ms)
{
    uint64_t before_ms = clock_boot_ms();
    for (int tries = 0; tries < READS_MAX; tries++) {
        *wall_ms = clock_wall_ms();
        *boot_ms = clock_boot_ms();
        if (*boot_ms - before_ms <= READ_MS_MAX) return;
        before_ms = *boot_ms;
    }
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

/* ---- the trusted clock --------------------------------------------------------------------------------------------- */

static bool is_near(const struct trusted_clock *clock, int64_t left_ms, int64_t right_ms)
{
    int64_t difference_ms = left_ms - right_ms;
    return (uint64_t)(difference_ms < 0 ? -difference_ms : difference_ms) <= clock->skew_ms;
}

static void follow(struct trusted_clock *clock, int64_t offset_ms)
{
    clock->stepped = false;
    atomic_store_explicit(&clock->offset_ms, offset_ms, memory_order_relaxed);
}

void trusted_clock_init(struct trusted_clock *clock, uint64_t skew_ms, uint64_t hold_ms, uint64_t boot_ms, uint64_t wall_ms)
{
    *clock = (struct trusted_clock){.skew_ms = skew_ms, .hold_ms = hold_ms};
    follow(clock, (int64_t)wall_ms - (int64_t)boot_ms);
}

enum clock_observed trusted_clock_observe(struct trusted_clock *clock, uint64_t boot_ms, uint64_t wall_ms, int64_t *step_ms)
{
    int64_t offset_ms = (int64_t)wall_ms - (int64_t)boot_ms;
    int64_t trusted_ms = atomic_load_explicit(&clock->offset_ms, memory_order_relaxed);
    bool was_stepped = clock->stepped;
    *step_ms = offset_ms - trusted_ms;
    if (is_near(clock, offset_ms, trusted_ms)) {
        follow(clock, offset_ms);
        return was_stepped ? CLOCK_RETURNED : CLOCK_FOLLOWED;
    }
    if (!was_stepped || !is_near(clock, offset_ms, clock->candidate_ms)) {
        clock->stepped = true;
        clock->since_boot_ms = boot_ms;
        clock->candidate_ms = offset_ms;
        return CLOCK_STEPPED;
    }
    clock->candidate_ms = offset_ms;
    if (boot_ms - clock->since_boot_ms < clock->hold_ms) return CLOCK_FOLLOWED;
    follow(clock, offset_ms);
    return CLOCK_ADOPTED;
}
