/* tests/core/heap_test.c - what a thread was given and gave back, as malloc counts it; a sanitizer's malloc counts nothing. */
#include "core/heap.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
Test(heap, a_thread_knows_what_it_kept)
{
    cr_assert_gt(heap_read().allocated_bytes, 0);
    int64_t before = heap_thread_bytes();
    void *volatile kept = malloc(10000), *volatile freed = malloc(20000);
    free(freed);
    int64_t grown = heap_thread_bytes() - before;
    cr_expect_geq(grown, 10000);
    cr_expect_lt(grown, 15000);
    free(kept);
    cr_expect_eq(heap_thread_bytes(), before);
}
#endif
