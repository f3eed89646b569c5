/* tests/shard/worker/tasks_test.c - tasks reach the worker they were put for, and come back once, whichever thread does them. */
#include "shard/worker/tasks.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>

#define COUNT 1000

static struct tasks *tasks;
static struct doorbell bells[2];

static void setup(void)
{
    cr_assert_eq(tasks_create(&tasks, 2), RESULT_OK);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(doorbell_init(&bells[i]), RESULT_OK);
        tasks_set_doorbell(tasks, i, &bells[i]);
    }
}

static void teardown(void)
{
    tasks_destroy(tasks);
    for (uint32_t i = 0; i < 2; i++) doorbell_deinit(&bells[i]);
}

TestSuite(tasks, .init = setup, .fini = teardown);

static bool is_readable(void)
{
    struct pollfd back = {.fd = tasks_fd(tasks), .events = POLLIN};
    return poll(&back, 1, 0) == 1;
}

Test(tasks, each_goes_to_its_worker_and_comes_back)
{
    struct task one = {.shard = 0}, two = {.shard = 1};
    cr_expect_null(tasks_take(tasks, 0));
    cr_expect_not(tasks_readable(tasks, 1));
    tasks_put(tasks, 0, &one);
    tasks_put(tasks, 1, &two);
    cr_expect(tasks_readable(tasks, 1));
    cr_assert_eq(tasks_take(tasks, 1), &two);
    cr_expect_null(two.next);
    cr_expect_not(tasks_readable(tasks, 1));
    cr_expect_null(tasks_collect(tasks));
    two.ask.done(&two.ask);
    cr_expect(is_readable());
    cr_assert_eq(tasks_collect(tasks), &two);
    cr_expect_null(two.next);
    cr_expect_not(is_readable());
    cr_assert_eq(tasks_take(tasks, 0), &one);
}

Test(tasks, a_sleeping_worker_is_rung)
{
    struct task one = {.shard = 0};
    doorbell_sleep(&bells[0]);
    tasks_put(tasks, 0, &one);
    cr_expect_not(atomic_load(&bells[0].sleeping));
    doorbell_wait(&bells[0], 10000);
    cr_assert_eq(tasks_take(tasks, 0), &one);
}

static void *work(void *context)
{
    uint32_t done = 0;
    (void)context;
    while (done < COUNT)
        for (struct task *e = tasks_take(tasks, 1), *next; e != NULL; e = next, done++) {
            next = e->next;
            e->ask.done(&e->ask);
        }
    return NULL;
}

Test(tasks, none_is_lost_or_done_twice_between_two_threads)
{
    static struct task all[COUNT];
    pthread_t worker;
    uint32_t back = 0;
    cr_assert_eq(pthread_create(&worker, NULL, work, NULL), 0);
    for (uint32_t i = 0; i < COUNT; i++) tasks_put(tasks, 1, &all[i]);
    while (back < COUNT) {
        struct pollfd wait = {.fd = tasks_fd(tasks), .events = POLLIN};
        cr_assert_eq(poll(&wait, 1, 30000), 1);
        for (struct task *e = tasks_collect(tasks), *next; e != NULL; e = next, back++) {
            next = e->next;
            cr_assert_eq(e->shard, 0, "twice");
            e->shard = 1;
        }
    }
    cr_assert_eq(pthread_join(worker, NULL), 0);
    cr_expect_null(tasks_collect(tasks));
}
