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
        cr_expect_eq(buf_pool_used_bytes(pool), buf->capacity);
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
    cr_assert_eq(buf_pool_used_bytes(pool), 128);
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
    for (size_t i = 0; i < COUNT_OF(held); i++) cr_assert_not_null(held[i] = buf_try_get(pool, 64));
    cr_assert_null(buf_try_get(pool, 1));
    buf_unref(&held[3]);
    cr_assert_null(buf_try_get(pool, 65), "128 bytes do not fit in 64");
    cr_assert_not_null(held[3] = buf_try_get(pool, 64));
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

Test(buf, destroying_a_pool_with_a_buf_outside_is_our_bug, .signal = SIGABRT)
{
    struct buf_pool *pool;
    cr_assert_eq(buf_pool_create(&pool, 4096), RESULT_OK);
    cr_assert_not_null(buf_try_get(pool, 1));
    buf_pool_destroy(pool);
}
