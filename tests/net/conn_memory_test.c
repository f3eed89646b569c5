/* tests/net/conn_memory_test.c - who goes when the memory for connections is at its limit, and what is counted. */
#include "net/conn_internal.h"
#include "net/harness.h"

#define HARD (12u << 20)

static struct harness h;
static struct peer peers[4];
static struct conn *conns[4];

static void init(uint64_t memory_per_address_max_bytes)
{
    struct server_options options = harness_options();
    options.outbound_hard_bytes = HARD;
    options.memory_per_address_max_bytes = memory_per_address_max_bytes;
    harness_init(&h, &options);
    for (size_t i = 0; i < COUNT_OF(peers); i++) {
        peer_open_tcp(&peers[i], &h);
        conns[i] = h.conn;
    }
}

static void fini(void)
{
    for (size_t i = 0; i < COUNT_OF(peers); i++) peer_deinit(&peers[i]);
    harness_deinit(&h); /* asserts that the pool is empty and nothing is charged or expected */
}

static uint64_t evicted(void) { return harness_metric(&h.metrics.connections_evicted); }

static bool is_open(const struct conn *conn) { return server_find(h.server, conn_handle_of(conn)) != NULL; }

/* Queues small frames, each copied, until so much waits; the peer reads nothing. The send in flight has begun before. */
static void hold(struct conn *conn, uint32_t bytes)
{
    static const uint8_t payload[2000];
    while (is_open(conn) && conn_outbound_bytes(conn) < bytes) {
        cr_assert_eq(conn_send_frame(conn, CONN_FRAME_BINARY, slice_of(payload, sizeof payload), NULL), RESULT_OK);
        if (conn_outbound_bytes(conn) < 100000) harness_turn(&h);
    }
}

/* Takes what is left of the pool. */
static int64_t fill_pool(void)
{
    int64_t rest = (int64_t)(buf_pool_size_max_bytes(h.pool) - buf_pool_charged_bytes(h.pool));
    buf_pool_charge(h.pool, rest);
    return rest;
}

Test(conn_memory, at_the_limit_of_the_pool_the_largest_holder_goes_and_who_is_answered_stays)
{
    init(0);
    hold(conns[0], 1u << 20);
    hold(conns[1], 9u << 20);
    hold(conns[2], 100000);
    int64_t filled = fill_pool();
    cr_expect_eq(evicted(), 0);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(conn_send_frame(conns[3], CONN_FRAME_BINARY, SLICE_TEXT("answer"), NULL), RESULT_OK, "%d", i);
        harness_turn(&h);
    }
    cr_expect_eq(evicted(), 1);
    cr_expect(is_open(conns[0]) && !is_open(conns[1]) && is_open(conns[2]) && is_open(conns[3]));
    HARNESS_UNTIL(&h, peer_has(&peers[3], 100 * 10));
    HARNESS_UNTIL(&h, h.closes == 1);
    HARNESS_UNTIL(&h, peer_was_reset(&peers[1]));
    buf_pool_charge(h.pool, -filled);
    fini();
}

Test(conn_memory, who_takes_nothing_goes_before_who_has_just_been_told_more)
{
    init(0);
    hold(conns[0], 5u << 20);
    hold(conns[1], 9u << 20);
    conns[0]->progress_ms = conn_now_ms(conns[0]) - 2000; /* what the kernel takes, and when, is its own business */
    conns[1]->progress_ms = conn_now_ms(conns[1]);
    int64_t filled = fill_pool();
    cr_assert_eq(conn_send_frame(conns[3], CONN_FRAME_BINARY, SLICE_TEXT("answer"), NULL), RESULT_OK);
    cr_expect_eq(evicted(), 1);
    cr_expect(!is_open(conns[0]) && is_open(conns[1]));
    buf_pool_charge(h.pool, -filled);
    fini();
}

Test(conn_memory, whoever_holds_most_goes_even_when_it_is_the_one_that_asks)
{
    init(0);
    hold(conns[0], 5u << 20);
    int64_t filled = fill_pool();
    for (size_t i = 0; i < 1500 && is_open(conns[0]); i++) /* until its last buf is full */
        (void)!conn_send_frame(conns[0], CONN_FRAME_BINARY, SLICE_TEXT("0123456789"), NULL);
    cr_expect_not(is_open(conns[0]));
    HARNESS_UNTIL(&h, h.closes == 1);
    buf_pool_charge(h.pool, -filled);
    fini();
}

Test(conn_memory, an_address_holds_no_more_than_its_part)
{
    init(4u << 20);
    for (size_t i = 0; i < COUNT_OF(conns); i++) hold(conns[i], (uint32_t)(i + 1) << 20);
    cr_expect_geq(evicted(), 1);
    cr_expect_not(is_open(conns[2]) && is_open(conns[3]), "ten megabytes were asked for");
    cr_expect(is_open(conns[0]));
    HARNESS_UNTIL(&h, h.closes == evicted());
    cr_expect_leq(buf_pool_used_bytes(h.pool), 5u << 20);
    fini();
}

/* The same for all: it costs what one of them would. */
Test(conn_memory, a_payload_that_several_wait_for_costs_an_address_its_bytes_once)
{
    init(4u << 20);
    for (uint32_t n = 0; n < 50; n++) {
        struct buf *buf = buf_try_get(h.pool, 60000);
        cr_assert_not_null(buf);
        buf->len = 60000;
        for (size_t i = 0; i < COUNT_OF(conns); i++)
            cr_assert_eq(conn_send_frame(conns[i], CONN_FRAME_BINARY, SLICE_TEXT("head"), buf), RESULT_OK, "%u", n);
        buf_unref(&buf);
    }
    cr_expect_eq(evicted(), 0, "12 MB are waited for, and take 3");
    for (uint32_t n = 0; n < 30 && evicted() == 0; n++) {
        struct buf *buf = buf_try_get(h.pool, 60000);
        cr_assert_not_null(buf);
        buf->len = 60000;
        for (size_t i = 0; i < COUNT_OF(conns); i++) (void)!conn_send_frame(conns[i], CONN_FRAME_BINARY, SLICE_TEXT("head"), buf);
        buf_unref(&buf);
    }
    cr_expect_gt(evicted(), 0, "4.8 MB are too much");
    fini();
}

Test(conn_memory, what_is_received_in_parts_counts)
{
    init(0);
    size_t before = buf_pool_charged_bytes(h.pool);
    uint8_t head[4] = {0, 0, 0xea, 0x60}; /* 60,000 bytes, of which half arrive */
    static const uint8_t half[30000];
    peer_send(&peers[0], head, sizeof head);
    peer_send(&peers[0], half, sizeof half);
    HARNESS_UNTIL(&h, buf_pool_charged_bytes(h.pool) >= before + sizeof half);
    peer_send(&peers[0], half, sizeof half);
    HARNESS_UNTIL(&h, h.frames == 1);
    HARNESS_UNTIL(&h, peer_has(&peers[0], 60004));
    harness_turn(&h);
    cr_expect_eq(buf_pool_charged_bytes(h.pool), before);
    fini();
}

Test(conn_memory, one_that_sends_a_message_in_parts_is_reset_when_it_holds_most)
{
    init(0);
    static const uint8_t half[30000];
    int64_t filled = 0;
    uint8_t head[4] = {0, 0, 0xea, 0x60};
    peer_send(&peers[0], head, sizeof head);
    peer_send(&peers[0], half, sizeof half);
    HARNESS_UNTIL(&h, buf_pool_charged_bytes(h.pool) >= sizeof half);
    filled = fill_pool();
    cr_expect_eq(conn_send_frame(conns[1], CONN_FRAME_BINARY, SLICE_TEXT("answer"), NULL), RESULT_OK);
    cr_expect_eq(evicted(), 1);
    HARNESS_UNTIL(&h, h.closes == 1);
    HARNESS_UNTIL(&h, peer_has(&peers[1], 10));
    buf_pool_charge(h.pool, -filled);
    fini();
}

/* What waited while nobody listened is part of a message afterwards, and no recv comes that would tell. */
Test(conn_memory, what_waited_counts_also_when_it_is_delivered)
{
    init(0);
    static const uint8_t half[4 + 30000] = {0, 0, 0xea, 0x60};
    conn_pause(conns[0]);
    peer_send(&peers[0], half, sizeof half);
    HARNESS_UNTIL(&h, conns[0]->waiting != NULL && conns[0]->waiting->bytes.len == sizeof half);
    conn_resume(conns[0]);
    HARNESS_UNTIL(&h, conns[0]->waiting == NULL && conns[0]->partial != NULL);
    cr_expect_geq(buf_pool_charged_bytes(h.pool), 30000u);
    cr_expect_geq(conns[0]->held_units, 1);
    fini();
}

/* Its goodbye asks for memory, and it is the one that has it. */
Test(conn_memory, one_that_is_being_closed_may_be_the_one_that_goes)
{
    init(0);
    struct peer web;
    peer_open_websocket(&web, &h);
    struct conn *conn = h.conn;
    static const uint8_t half[8 + 30000] = {0x82, 0xFE, 0xEA, 0x60}; /* a message of 60,000 bytes, of which half arrive */
    peer_send(&web, half, sizeof half);
    HARNESS_UNTIL(&h, buf_pool_charged_bytes(h.pool) >= 30000);
    int64_t filled = fill_pool();
    conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_POLICY, "enough"});
    cr_expect_eq(evicted(), 1);
    HARNESS_UNTIL(&h, h.closes == 1);
    HARNESS_UNTIL(&h, peer_was_reset(&web));
    buf_pool_charge(h.pool, -filled);
    peer_deinit(&web);
    fini();
}

/* What it was allowed while several waited for the same is not an allowance for what each waits for alone. */
Test(conn_memory, an_address_that_was_looked_at_is_looked_at_again)
{
    init(4u << 20);
    for (uint32_t n = 0; n < 50; n++) {
        struct buf *buf = buf_try_get(h.pool, 60000);
        cr_assert_not_null(buf);
        buf->len = 60000;
        for (size_t i = 0; i < COUNT_OF(conns); i++)
            cr_assert_eq(conn_send_frame(conns[i], CONN_FRAME_BINARY, SLICE_TEXT("head"), buf), RESULT_OK, "%u", n);
        buf_unref(&buf);
    }
    cr_expect_eq(evicted(), 0, "12 MB are waited for, and take 3");
    for (size_t i = 1; i < COUNT_OF(conns); i++) HARNESS_UNTIL(&h, peer_has(&peers[i], 50 * 60008u));
    hold(conns[0], 8u << 20);
    cr_expect_eq(evicted(), 1, "8 MB are too much");
    fini();
}
