/* tests/core/buf_test.c - references, the pool's limit, and what ends the process. */
#include "core/buf.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

Test(buf, capacity_is_at_least_what_was_asked)
{
    static const uint32_t asked[] = {0, 1, 63, 64, 65, 4096, 65535, 65536, 65537, 1000000};
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 1u << 22), RESULT_OK);
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        struct buf *buf = buf_try_get(pool, asked[i]);
        cr_assert_not_null(buf, "%u", asked[i]);
        cr_expect_geq(buf->capacity, asked[i]);
        cr_expect_eq(buf->len, 0);
        memset(buf->data, 0xaa, buf->capacity);
        cr_expect_eq(buf_pool_used_bytes(pool), buf_memory_bytes(buf));
        cr_expect_leq(buf_memory_bytes(buf), (BUF_HEAD_SIZE + asked[i]) * 5 / 4 + 15, "%u takes %u", asked[i], buf_memory_bytes(buf));
        buf_unref(&buf);
        cr_expect_null(buf);
        cr_expect_eq(buf_pool_used_bytes(pool), 0);
    }
    buf_pool_destroy(pool);
}

Test(buf, lives_until_the_last_reference)
{
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 4096), RESULT_OK);
    struct buf *first = buf_try_get(pool, 100);
    memcpy(first->data, "hello", 5);
    first->len = 5;
    struct buf *second = buf_ref(first);
    buf_unref(&first);
    cr_assert_eq(buf_pool_used_bytes(pool), 128, "%zu", buf_pool_used_bytes(pool));
    cr_assert(slice_equal(buf_slice(second), SLICE_TEXT("hello")));
    buf_unref(&second);
    cr_assert_eq(buf_pool_used_bytes(pool), 0);
    buf_unref(&second); /* NULL is allowed */
    buf_pool_destroy(pool);
}

Test(buf, the_limit_refuses_and_a_return_makes_room)
{
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 1024), RESULT_OK);
    struct buf *held[16];
    const uint32_t whole = 64 - BUF_HEAD_SIZE;
    for (size_t i = 0; i < COUNT_OF(held); i++) cr_assert_not_null(held[i] = buf_try_get(pool, whole));
    cr_assert_null(buf_try_get(pool, 1));
    buf_unref(&held[3]);
    cr_assert_null(buf_try_get(pool, whole + 1), "80 bytes do not fit in 64");
    cr_assert_not_null(held[3] = buf_try_get(pool, whole));
    for (size_t i = 0; i < COUNT_OF(held); i++) buf_unref(&held[i]);
    cr_assert_null(buf_try_get(pool, 1025));
    cr_assert_null(buf_try_get(pool, UINT32_MAX));
    buf_pool_destroy(pool);
}

Test(buf, a_recycled_buf_starts_afresh)
{
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 1u << 20), RESULT_OK);
    for (int round = 0; round < 1000; round++) {
        struct buf *buf = buf_try_get(pool, 200);
        cr_assert_eq(buf->len, 0);
        cr_assert_eq(buf->refs, 1);
        buf->len = 200;
        buf_unref(&buf);
    }
    buf_pool_destroy(pool);
}

#ifndef __SANITIZE_ADDRESS__ /* with it nothing is kept */
Test(buf, small_blocks_wait_to_be_given_out_again_within_a_limit)
{
    static struct buf *held[2 * BUF_KEPT_SIZE_MAX / 1024];
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, sizeof held * 1024), RESULT_OK);
    struct buf *first = buf_try_get(pool, 1000), *was = first;
    buf_unref(&first);
    cr_expect_eq(buf_pool_used_bytes(pool), 0);
    cr_expect_eq(buf_pool_kept_bytes(pool), 1024);
    first = buf_try_get(pool, 1000);
    cr_expect_eq(first, was, "the last one back is the first one out");
    cr_expect_eq(buf_pool_kept_bytes(pool), 0);
    buf_unref(&first);

    for (size_t round = 0; round < 3; round++) { /* crowds with other sizes each */
        for (size_t i = 0; i < COUNT_OF(held); i++) cr_assert_not_null(held[i] = buf_try_get(pool, 1000 - (uint32_t)round * 300));
        for (size_t i = 0; i < COUNT_OF(held); i++) buf_unref(&held[i]);
        cr_expect_leq(buf_pool_kept_bytes(pool), BUF_KEPT_SIZE_MAX);
        size_t before = buf_pool_kept_bytes(pool);
        first = buf_try_get(pool, 1000 - (uint32_t)round * 300);
        cr_expect_lt(buf_pool_kept_bytes(pool), before, "this size is kept, whatever was before");
        buf_unref(&first);
    }
    first = buf_try_get(pool, 70000);
    size_t before = buf_pool_kept_bytes(pool);
    buf_unref(&first);
    cr_expect_eq(buf_pool_kept_bytes(pool), before, "a large one is not kept");
    buf_pool_destroy(pool);
}
#endif

Test(buf, what_is_charged_counts_and_what_is_expected_does_not)
{
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 1024), RESULT_OK);
    buf_pool_charge(pool, 2000); /* it is there already */
    cr_assert_null(buf_try_get(pool, 1));
    buf_pool_expect(pool, 1000);
    struct buf *buf = buf_try_get(pool, 1);
    cr_assert_null(buf, "1000 of 1024 are still held");
    buf_pool_expect(pool, 900);
    cr_assert_not_null(buf = buf_try_get(pool, 500));
    cr_expect_eq(buf_pool_charged_bytes(pool), 2000 + buf_memory_bytes(buf));
    buf_pool_charge(pool, -2000);
    buf_pool_expect(pool, -1900);
    buf_unref(&buf);
    buf_pool_destroy(pool);
}

struct owner {
    struct buf_pool *pool;
    struct buf *held[4];
    size_t asked_bytes;
};

static void give_one_back(void *context, size_t bytes)
{
    struct owner *owner = context;
    owner->asked_bytes = bytes;
    for (size_t i = 0; i < COUNT_OF(owner->held); i++) {
        if (owner->held[i] == NULL) continue;
        buf_unref(&owner->held[i]);
        return;
    }
}

Test(buf, the_owner_makes_room_before_anybody_is_refused)
{
    struct owner owner = {0};
    cr_assert_eq(buf_pool_create(&owner.pool, 4096), RESULT_OK);
    for (size_t i = 0; i < COUNT_OF(owner.held); i++) cr_assert_not_null(owner.held[i] = buf_try_get(owner.pool, 1024 - BUF_HEAD_SIZE));
    cr_assert_null(buf_try_get(owner.pool, 64 - BUF_HEAD_SIZE));
    buf_pool_on_full(owner.pool, give_one_back, &owner);
    struct buf *buf = buf_try_get(owner.pool, 64 - BUF_HEAD_SIZE);
    cr_assert_not_null(buf);
    cr_expect_eq(owner.asked_bytes, 64);
    cr_expect_null(owner.held[0]);
    cr_assert_null(buf_try_get(owner.pool, 3000), "one kilobyte is not enough");
    cr_assert_null(buf_try_get(owner.pool, 5000), "more than the pool is refused at once");
    cr_expect_not_null(owner.held[2]);
    buf_unref(&buf);
    for (size_t i = 0; i < COUNT_OF(owner.held); i++) buf_unref(&owner.held[i]);
    buf_pool_destroy(owner.pool);
}

Test(buf, destroying_a_pool_with_a_buf_outside_is_our_bug, .signal = SIGABRT)
{
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 4096), RESULT_OK);
    cr_assert_not_null(buf_try_get(pool, 1));
    buf_pool_destroy(pool);
}
