/* tests/core/doorbell_test.c - no wake-up is lost, none is spent on a thread that is awake (run under TSan too). */
#include "core/doorbell.h"
#include "core/io.h"
#include "core/check.h"
#include "core/spsc.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>

static bool doorbell_signalled(const struct doorbell *bell)
{
    struct pollfd poll_fd = {.fd = bell->fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

Test(doorbell, writes_only_to_a_sleeper_and_once)
{
    struct doorbell bell;
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    cr_assert_not(doorbell_ring(&bell), "awake");
    cr_assert_not(doorbell_signalled(&bell));
    doorbell_sleep(&bell);
    cr_assert(doorbell_ring(&bell));
    cr_assert_not(doorbell_ring(&bell), "already rung");
    cr_assert(doorbell_signalled(&bell));
    doorbell_wait(&bell, -1);
    doorbell_awake(&bell);
    cr_assert_not(doorbell_signalled(&bell), "waiting consumed the signal");
    doorbell_sleep(&bell);
    doorbell_awake(&bell);
    cr_assert_not(doorbell_ring(&bell), "awake again");
    doorbell_deinit(&bell);
}

Test(doorbell, wait_returns_after_its_time)
{
    struct doorbell bell;
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    doorbell_sleep(&bell);
    doorbell_wait(&bell, 1);
    doorbell_awake(&bell);
    cr_assert_not(doorbell_signalled(&bell));
    doorbell_deinit(&bell);
}

enum { ITEM_COUNT = 20000 };
struct sleeper {
    struct doorbell bell;
    struct spsc *ring;
    uint32_t values[ITEM_COUNT];
};

static void *sleeper_run(void *argument)
{
    struct sleeper *sleeper = argument;
    uintptr_t seen = 0;
    void *got[8];
    while (seen < ITEM_COUNT) {
        uint32_t count = spsc_take(sleeper->ring, got, COUNT_OF(got));
        for (uint32_t i = 0; i < count; i++, seen++)
            if (*(uint32_t *)got[i] != seen) return (void *)seen;
        if (count > 0) continue;
        doorbell_sleep(&sleeper->bell);
        /* No time limit: a lost wake-up hangs the test, and Criterion's own limit reports it. */
        if (!spsc_readable(sleeper->ring)) doorbell_wait(&sleeper->bell, -1);
        doorbell_awake(&sleeper->bell);
    }
    return (void *)seen;
}

Test(doorbell, two_threads_lose_no_wake_up, .timeout = 60)
{
    static struct sleeper sleeper;
    cr_assert_eq(doorbell_init(&sleeper.bell), RESULT_OK);
    cr_assert_eq(spsc_create(&sleeper.ring, 8), RESULT_OK);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, sleeper_run, &sleeper), 0);
    for (uint32_t next = 0; next < ITEM_COUNT;) {
        sleeper.values[next] = next;
        if (spsc_try_stage(sleeper.ring, &sleeper.values[next])) next++;
        if (spsc_publish(sleeper.ring)) doorbell_ring(&sleeper.bell);
    }
    void *seen;
    pthread_join(thread, &seen);
    cr_assert_eq((uintptr_t)seen, ITEM_COUNT, "out of order at %zu", (size_t)seen);
    spsc_destroy(sleeper.ring);
    doorbell_deinit(&sleeper.bell);
}

struct wake {
    struct io_op op;
    uint64_t rung;
    uint32_t wakes;
};
static void wake_on_read(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)bytes;
    if (res == sizeof(uint64_t)) CONTAINER_OF(op, struct wake, op)->wakes++;
}

Test(doorbell, wakes_a_loop_that_reads_it)
{
    static const struct io_options options = {8, 8, 512, 0};
    char text[256] = "";
    struct io *io;
    cr_assert_eq(io_create(&io, &options, text, sizeof text), RESULT_OK, "%s", text);
    struct doorbell bell;
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    struct wake wake = {.op = {.done = wake_on_read}};
    for (uint32_t round = 1; round <= 3; round++) {
        io_read(io, &wake.op, bell.fd, &wake.rung, sizeof wake.rung, 0);
        cr_assert_eq(io_turn(io, 0, 8), 0, "nothing rang yet");
        doorbell_sleep(&bell);
        cr_assert(doorbell_ring(&bell));
        io_turn(io, 1000, 8);
        doorbell_awake(&bell);
        cr_assert_eq(wake.wakes, round);
    }
    doorbell_deinit(&bell);
    io_destroy(io);
}
