/* tests/core/stack_test.c - a thread's stack counts with what it has touched, until the thread ends. */
#include "core/stack.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#define TOUCHED (512u << 10)

static uint64_t before, after;

static void *deep(void *context)
{
    (void)context;
    stack_enter();
    before = stack_resident_bytes();
    volatile char bytes[TOUCHED];
    for (size_t i = 0; i < sizeof bytes; i += 1024) bytes[i] = 1;
    after = stack_resident_bytes();
    return NULL;
}

Test(stack, what_a_thread_has_touched_counts_until_it_ends)
{
    cr_expect_eq(stack_resident_bytes(), 0);
    for (int i = 0; i < 3; i++) { /* in the place of the one before */
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, deep, NULL), 0);
        pthread_join(thread, NULL);
        cr_expect_gt(before, 0);
        cr_expect_geq(after, TOUCHED);
#ifndef __SANITIZE_THREAD__ /* which puts more on it */
        cr_expect_lt(after, TOUCHED + (256u << 10), "%lu", after);
#endif
        cr_expect_eq(stack_resident_bytes(), 0);
    }
}
