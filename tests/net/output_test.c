#include "core/check.h"
#include "net/output.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static struct buf_pool *pool;
static void setup(void)
{
    cr_assert_eq(buf_pool_create(&pool, 1u << 20), RESULT_OK);
}
static void teardown(void)
{
    cr_assert_eq(buf_pool_used_bytes(pool), 0);
    buf_pool_destroy(pool);
}
TestSuite(output, .init = setup, .fini = teardown);

static bool append_text(struct output *output, const char *text)
{
    struct slice part = slice_text(text);
    return output_append(output, pool, &part, 1, NULL, SLICE_EMPTY);
}

/* What the next send would carry. */
static uint32_t gather_to(struct output *output, uint8_t *out, size_t *iovecs)
{
    struct slice data;
    const struct msghdr *message = output_gather(output, &data);
    *iovecs = message == NULL ? 1 : message->msg_iovlen;
    if (message == NULL) {
        memcpy(out, data.data, data.len);
        return data.len;
    }
    uint32_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        memcpy(out + size, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
        size += (uint32_t)message->msg_iov[i].iov_len;
    }
    return size;
}

Test(output, small_parts_share_one_buf)
{
    struct output output = {0};
    uint8_t bytes[64];
    size_t iovecs;
    cr_assert(append_text(&output, "one "));
    cr_assert(append_text(&output, "two "));
    cr_assert(append_text(&output, "three"));
    uint32_t size = gather_to(&output, bytes, &iovecs);
    cr_expect_eq(iovecs, 1);
    cr_expect(slice_equal(slice_of(bytes, size), SLICE_TEXT("one two three")));
    output_sent(&output, size);
    cr_expect(output_empty(&output) && output.head == NULL);
}

Test(output, bytes_in_flight_do_not_move_while_more_is_appended)
{
    struct output output = {0};
    struct slice first, second;
    cr_assert(append_text(&output, "sent"));
    cr_assert_null(output_gather(&output, &first));
    for (int i = 0; i < 200; i++) cr_assert(append_text(&output, "appended meanwhile"));
    cr_expect(slice_equal(first, SLICE_TEXT("sent")));
    output_sent(&output, first.len);
    cr_expect_eq(output.bytes, 200 * 18);
    (void)output_gather(&output, &second);
    cr_expect_eq(memcmp(second.data, "appended", 8), 0);
    output_clear(&output);
}

Test(output, shared_payload_is_referenced_between_copies)
{
    struct output output = {0};
    struct buf *buf = buf_try_get(pool, 5000);
    memset(buf->data, 's', 5000);
    buf->len = 5000;
    struct slice head = SLICE_TEXT("head ");
    cr_assert(output_append(&output, pool, &head, 1, buf, buf_slice(buf)));
    cr_assert(append_text(&output, " tail"));
    cr_expect_eq(buf->refs, 2);
    static uint8_t bytes[6000];
    size_t iovecs;
    uint32_t size = gather_to(&output, bytes, &iovecs);
    cr_expect_eq(iovecs, 3);
    cr_expect_eq(size, 5010);
    cr_expect_eq(memcmp(bytes, "head sss", 8), 0);
    cr_expect_eq(memcmp(bytes + 5004, "s tail", 6), 0);
    output_sent(&output, size);
    cr_expect_eq(buf->refs, 1);
    buf_unref(&buf);
}

Test(output, partial_sends_keep_the_rest)
{
    char want[6000];
    for (size_t i = 0; i < sizeof want; i++) want[i] = (char)('a' + i % 26);
    for (uint32_t step = 1; step < 2000; step = step * 3 + 1) {
        struct output output = {0};
        for (size_t at = 0; at < sizeof want; at += 600) {
            struct slice part = slice_of(want + at, 600);
            cr_assert(output_append(&output, pool, &part, 1, NULL, SLICE_EMPTY));
        }
        uint32_t done = 0;
        while (!output_empty(&output)) {
            static uint8_t bytes[sizeof want];
            size_t iovecs;
            uint32_t size = gather_to(&output, bytes, &iovecs);
            cr_assert_eq(memcmp(bytes, want + done, size), 0);
            uint32_t sent = size < step ? size : step;
            output_sent(&output, sent);
            done += sent;
        }
        cr_expect_eq(done, sizeof want);
    }
}

Test(output, refused_append_leaves_everything_as_it_was)
{
    struct buf *hog = buf_try_get(pool, (7u << 17) - BUF_HEAD_SIZE), *more = buf_try_get(pool, (7u << 14) - BUF_HEAD_SIZE);
    struct output output = {0};
    cr_assert(append_text(&output, "kept"));
    static uint8_t large[20000];
    struct slice part = slice_of(large, sizeof large);
    struct buf *shared = buf_try_get(pool, 64);
    shared->len = 10;
    cr_expect_not(output_append(&output, pool, &part, 1, shared, buf_slice(shared)));
    cr_expect_eq(shared->refs, 1);
    cr_expect_eq(output.bytes, 4);
    output_clear(&output);
    buf_unref(&shared);
    buf_unref(&more);
    buf_unref(&hog);
}

/* Frames as the doors queue them: a few bytes of head, then a payload that is copied or, if it is large, shared. */
static void queue_frame(struct output *output, uint32_t payload_size)
{
    static const uint8_t bytes[65536];
    struct slice parts[] = {slice_of(bytes, 4 + payload_size % 20), slice_of(bytes, payload_size)};
    struct buf *shared = NULL;
    if (payload_size > 2048) {
        shared = buf_try_get(pool, payload_size);
        cr_assert_not_null(shared);
        shared->len = payload_size;
    }
    cr_assert(output_append(output, pool, parts, shared == NULL ? 2 : 1, shared, shared == NULL ? SLICE_EMPTY : buf_slice(shared)));
    buf_unref(&shared);
}

Test(output, memory_for_a_queued_frame_is_at_most_one_and_a_half_times_its_bytes)
{
    static const uint32_t sizes[] = {30, 100, 600, 700, 900, 2000, 2049, 2200, 4100, 9000, 33000, 65536};
    for (size_t i = 0; i <= COUNT_OF(sizes); i++) { /* the last round: all of them in turn */
        struct output output = {0};
        for (uint32_t frames = 0; output.bytes < 400000; frames++) {
            queue_frame(&output, i < COUNT_OF(sizes) ? sizes[i] : sizes[frames * 7 % COUNT_OF(sizes)]);
            uint64_t allowed = (uint64_t)output.bytes * 3 / 2 + OUTPUT_HELD_FIXED;
            cr_assert_leq(output.held_bytes, allowed, "size %zu, %u frames: %u held for %u", i, frames + 1, output.held_bytes, output.bytes);
            cr_assert_leq(buf_pool_used_bytes(pool), allowed, "size %zu, %u frames: %zu used for %u", i, frames + 1,
                          buf_pool_used_bytes(pool), output.bytes);
        }
        output_clear(&output);
        cr_assert_eq(buf_pool_used_bytes(pool), 0);
    }
}

Test(output, a_cut_leaves_what_is_in_flight)
{
    for (uint32_t frames = 1; frames < 100; frames = frames * 2 + 1) {
        struct output output = {0};
        struct slice data;
        for (uint32_t i = 0; i < frames; i++) queue_frame(&output, i % 3 == 0 ? 3000 : 1500);
        const struct msghdr *message = output_gather(&output, &data);
        uint32_t in_flight = 0;
        for (size_t i = 0; message != NULL && i < message->msg_iovlen; i++) in_flight += (uint32_t)message->msg_iov[i].iov_len;
        if (message == NULL) in_flight = data.len;
        for (uint32_t i = 0; i < frames; i++) queue_frame(&output, 2500);
        uint32_t before = output.held_bytes;
        output_cut(&output);
        cr_expect_geq(output.bytes, in_flight, "%u", frames);
        cr_expect_lt(output.held_bytes, before, "%u", frames);
        queue_frame(&output, 100); /* goes on where the cut was */
        output_sent(&output, in_flight);
        output_clear(&output);
    }
}

Test(output, copy_gives_all_that_waits)
{
    struct output output = {0};
    uint8_t bytes[16];
    cr_assert(append_text(&output, "0123456789"));
    struct slice data;
    (void)output_gather(&output, &data);
    output_sent(&output, 4);
    output_copy(&output, bytes);
    cr_expect_eq(memcmp(bytes, "456789", 6), 0);
    output_clear(&output);
    cr_expect(output_empty(&output));
}
