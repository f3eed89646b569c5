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

/* ---- a random life, compared with a plain array of the bytes that wait --------------------------------------------------- */

#define MODEL_SIZE    (1u << 20)
#define MODEL_CHARGED 900000

struct model {
    struct output output;
    uint8_t *bytes; /* that wait */
    uint32_t len, in_flight;
    uint32_t cuts; /* to make room */
    uint64_t random;
    struct slice data; /* in flight, when it is no message */
    const struct msghdr *message;
};

static uint32_t below(struct model *m, uint32_t limit)
{
    m->random = m->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(m->random >> 33) % limit;
}

/* What is in flight stays, the rest is dropped. */
static void model_cut(struct model *m)
{
    uint32_t before = m->output.bytes;
    output_cut(&m->output);
    cr_assert(m->output.bytes <= before && m->output.bytes >= m->in_flight);
    m->len = m->output.bytes;
}

static void on_make_room(void *context, size_t bytes)
{
    (void)bytes;
    struct model *m = context;
    m->cuts++;
    model_cut(m);
}

static void model_append(struct model *m)
{
    uint32_t size = below(m, 4) == 0 ? below(m, 5000) : below(m, 60), shared_size = below(m, 3) == 0 ? 1 + below(m, 6000) : 0;
    uint8_t text[5000];
    for (uint32_t i = 0; i < size; i++) text[i] = (uint8_t)below(m, 256);
    uint32_t middle = size == 0 ? 0 : below(m, size);
    struct slice parts[] = {slice_of(text, middle), SLICE_EMPTY, slice_of(text + middle, size - middle)};
    struct buf *shared = shared_size == 0 ? NULL : buf_try_get(pool, shared_size);
    if (shared != NULL) memset(shared->data, (int)below(m, 256), shared->len = shared_size);
    struct slice payload = shared == NULL ? SLICE_EMPTY : buf_slice(shared);
    bool taken = m->len + size + payload.len <= MODEL_SIZE && output_append(&m->output, pool, parts, COUNT_OF(parts), shared, payload);
    if (taken) { /* m->len is that after a cut */
        memcpy(m->bytes + m->len, text, size);
        if (payload.len > 0) memcpy(m->bytes + m->len + size, payload.data, payload.len);
        m->len += size + payload.len;
    }
    buf_unref(&shared);
}

static void model_send(struct model *m)
{
    if (m->in_flight > 0 || m->len == 0) return;
    m->message = output_gather(&m->output, &m->data);
    m->in_flight = m->message == NULL ? m->data.len : 0;
    for (size_t i = 0; m->message != NULL && i < m->message->msg_iovlen; i++) m->in_flight += (uint32_t)m->message->msg_iov[i].iov_len;
    cr_assert(m->in_flight > 0 && m->in_flight <= m->len);
}

static void model_sent(struct model *m)
{
    if (m->in_flight == 0) return;
    uint32_t at = 0;
    for (size_t i = 0; m->message != NULL && i < m->message->msg_iovlen; i++) {
        const struct iovec *iovec = &m->message->msg_iov[i];
        cr_assert_eq(memcmp(iovec->iov_base, m->bytes + at, iovec->iov_len), 0);
        at += (uint32_t)iovec->iov_len;
    }
    if (m->message == NULL) cr_assert_eq(memcmp(m->data.data, m->bytes, m->data.len), 0);
    uint32_t sent = below(m, 4) == 0 ? m->in_flight : below(m, m->in_flight + 1) / 8; /* a slow reader: the queue grows */
    output_sent(&m->output, sent);
    memmove(m->bytes, m->bytes + sent, m->len -= sent);
    m->in_flight = 0;
    m->message = NULL;
}

static void model_peek(struct model *m)
{
    uint8_t scratch[4096];
    if (m->in_flight > 0 || m->len == 0) return;
    struct slice next = output_peek(&m->output, scratch, 1 + below(m, sizeof scratch));
    cr_assert(next.len > 0 && next.len <= m->len && memcmp(next.data, m->bytes, next.len) == 0);
    output_sent(&m->output, next.len);
    memmove(m->bytes, m->bytes + next.len, m->len -= next.len);
}

static void model_step(struct model *m)
{
    switch (below(m, 30)) {
    case 0: model_send(m); break;
    case 1: model_sent(m); break;
    case 2: model_peek(m); break;
    case 3:
        if (below(m, 20) == 0) model_cut(m);
        break;
    default: model_append(m);
    }
    cr_assert_eq(m->output.bytes, m->len);
    cr_assert_leq(output_cost_bytes(&m->output), m->output.held_bytes);
}

Test(output, a_random_life_keeps_the_bytes_and_their_order)
{
    uint32_t cuts = 0;
    buf_pool_charge(pool, MODEL_CHARGED); /* so that there is little room */
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct model m = {.random = seed, .bytes = malloc(MODEL_SIZE)};
        buf_pool_on_full(pool, on_make_room, &m);
        for (uint32_t i = 0; i < 3000; i++) model_step(&m);
        uint8_t *copy = malloc(m.len + 1);
        output_copy(&m.output, copy);
        cr_expect_eq(memcmp(copy, m.bytes, m.len), 0, "seed %lu", seed);
        output_clear(&m.output);
        cr_assert_eq(buf_pool_used_bytes(pool), 0, "seed %lu", seed);
        buf_pool_on_full(pool, NULL, NULL);
        free(copy);
        free(m.bytes);
        cuts += m.cuts;
    }
    buf_pool_charge(pool, -MODEL_CHARGED);
    cr_expect_gt(cuts, 100);
}
