/* tests/shard/worker/errands_test.c - errands reach the worker they were put for, and come back once, whichever thread does them. */
#include "shard/worker/errands.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>

#define COUNT 1000

static struct errands *errands;
static struct doorbell bells[2];

static void setup(void)
{
    cr_assert_eq(errands_create(&errands, 2), RESULT_OK);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(doorbell_init(&bells[i]), RESULT_OK);
        errands_set_doorbell(errands, i, &bells[i]);
    }
}

static void teardown(void)
{
    errands_destroy(errands);
    for (uint32_t i = 0; i < 2; i++) doorbell_deinit(&bells[i]);
}

TestSuite(errands, .init = setup, .fini = teardown);

static bool is_readable(void)
{
    struct pollfd back = {.fd = errands_fd(errands), .events = POLLIN};
    return poll(&back, 1, 0) == 1;
}

Test(errands, each_goes_to_its_worker_and_comes_back)
{
    struct errand one = {.shard = 0}, two = {.shard = 1};
    cr_expect_null(errands_take(errands, 0));
    cr_expect_not(errands_readable(errands, 1));
    errands_put(errands, 0, &one);
    errands_put(errands, 1, &two);
    cr_expect(errands_readable(errands, 1));
    cr_assert_eq(errands_take(errands, 1), &two);
    cr_expect_null(two.next);
    cr_expect_not(errands_readable(errands, 1));
    cr_expect_null(errands_bring_back(errands));
    two.ask.done(&two.ask);
    cr_expect(is_readable());
    cr_assert_eq(errands_bring_back(errands), &two);
    cr_expect_null(two.next);
    cr_expect_not(is_readable());
    cr_assert_eq(errands_take(errands, 0), &one);
}

Test(errands, a_sleeping_worker_is_rung)
{
    struct errand one = {.shard = 0};
    doorbell_sleep(&bells[0]);
    errands_put(errands, 0, &one);
    cr_expect_not(atomic_load(&bells[0].sleeping));
    doorbell_wait(&bells[0], 10000);
    cr_assert_eq(errands_take(errands, 0), &one);
}

static void *work(void *context)
{
    uint32_t done = 0;
    (void)context;
    while (done < COUNT)
        for (struct errand *e = errands_take(errands, 1), *next; e != NULL; e = next, done++) {
            next = e->next;
            e->ask.done(&e->ask);
        }
    return NULL;
}

Test(errands, none_is_lost_or_done_twice_between_two_threads)
{
    static struct errand all[COUNT];
    pthread_t worker;
    uint32_t back = 0;
    cr_assert_eq(pthread_create(&worker, NULL, work, NULL), 0);
    for (uint32_t i = 0; i < COUNT; i++) errands_put(errands, 1, &all[i]);
    while (back < COUNT) {
        struct pollfd wait = {.fd = errands_fd(errands), .events = POLLIN};
        cr_assert_eq(poll(&wait, 1, 30000), 1);
        for (struct errand *e = errands_bring_back(errands), *next; e != NULL; e = next, back++) {
            next = e->next;
            cr_assert_eq(e->shard, 0, "twice");
            e->shard = 1;
        }
    }
    cr_assert_eq(pthread_join(worker, NULL), 0);
    cr_expect_null(errands_bring_back(errands));
}
