#include "shard/door/inflight.h"
#include <criterion/criterion.h>

#define SECOND UINT64_C(1000000000)

static struct inflight_table *table;
static void setup(void) { table = inflight_create(3, 4, UINT64_MAX); }
static void teardown(void) { inflight_destroy(table); }
TestSuite(inflight, .init = setup, .fini = teardown);

static struct origin take(uint64_t request_id, enum conn_door door)
{
    struct origin origin;
    cr_assert(inflight_take(table, &(struct inflight){.request_id = request_id, .door = (uint8_t)door, .method = 7}, &origin));
    return origin;
}

static bool end(struct origin origin, uint64_t *request_id)
{
    struct inflight out = {0};
    bool known = inflight_end(table, &origin, 7, &out);
    *request_id = out.request_id;
    return known;
}

Test(inflight, each_is_answered_once)
{
    uint64_t id;
    struct origin first = take(11, CONN_DOOR_TCP), second = take(12, CONN_DOOR_TCP);
    cr_expect_eq(first.worker, 3);
    cr_expect(end(second, &id) && id == 12);
    cr_expect_not(end(second, &id), "again");
    struct origin third = take(13, CONN_DOOR_TCP);
    cr_expect_eq(third.slot, second.slot, "places are used again");
    cr_expect_not(end(second, &id), "late");
    cr_expect(end(third, &id) && id == 13);
    struct inflight out;
    cr_expect_not(inflight_end(table, &first, 8, &out), "it asked for another method");
    cr_expect(end(first, &id) && id == 11);
    cr_expect_eq(inflight_count(table), 0);
}

Test(inflight, other_workers_and_lives_are_none_of_ours)
{
    uint64_t id;
    struct origin ours = take(1, CONN_DOOR_TCP), other = ours;
    other.worker = 2;
    cr_expect_not(end(other, &id));
    other = ours;
    other.slot = 1000;
    cr_expect_not(end(other, &id));
    other = ours;
    other.generation = 0;
    cr_expect_not(end(other, &id), "which stands for a free place");
    cr_expect_not(end((struct origin){.worker = 3}, &id));
    inflight_destroy(table);
    table = inflight_create(3, 4, 77);
    struct origin now = take(2, CONN_DOOR_TCP);
    cr_expect_eq(now.slot, ours.slot);
    cr_expect_not(end(ours, &id), "of an earlier life");
    cr_expect(end(now, &id) && id == 2);
}

Test(inflight, those_away_are_overdue_in_the_order_they_left)
{
    struct inflight out;
    struct origin here = take(1, CONN_DOOR_TCP), a = take(2, CONN_DOOR_TCP), b = take(3, CONN_DOOR_HTTP), c = take(4, CONN_DOOR_MQTT);
    uint64_t id;
    inflight_leave(table, &b, 2, SECOND);
    inflight_leave(table, &c, 1, 2 * SECOND);
    inflight_leave(table, &a, 2, 3 * SECOND);
    inflight_leave(table, &a, 3, 9 * SECOND); /* it has left before */
    cr_expect_eq(inflight_asked(table, 1), 1);
    cr_expect_eq(inflight_asked(table, 2), 1, "HTTP does not count");
    cr_expect_eq(inflight_asked(table, 3), 0);
    cr_expect_not(inflight_overdue(table, SECOND + INFLIGHT_TIMEOUT_NS - 1, &out));
    cr_assert(inflight_overdue(table, 2 * SECOND + INFLIGHT_TIMEOUT_NS, &out));
    cr_expect(out.request_id == 3 && out.away_shard == 2);
    cr_expect_not(end(b, &id), "its answer is late");
    cr_expect(end(c, &id) && id == 4, "just in time");
    cr_expect_eq(inflight_asked(table, 1), 0);
    cr_expect_not(inflight_overdue(table, 2 * SECOND + INFLIGHT_TIMEOUT_NS, &out));
    cr_assert(inflight_overdue(table, 100 * SECOND, &out));
    cr_expect(out.request_id == 2 && out.away_shard == 2);
    cr_expect_eq(inflight_asked(table, 2), 0);
    cr_expect_not(inflight_overdue(table, 100 * SECOND, &out), "what is here is answered for certain");
    cr_expect(end(here, &id) && id == 1);
}

Test(inflight, beyond_the_limit_none_is_taken)
{
    struct inflight request = {.request_id = 1};
    struct origin first, origin;
    cr_assert(inflight_take(table, &request, &first));
    for (uint32_t i = 1; i < INFLIGHT_MAX; i++) cr_assert(inflight_take(table, &request, &origin));
    cr_expect_not(inflight_take(table, &request, &origin));
    cr_expect_eq(inflight_count(table), INFLIGHT_MAX);
    struct inflight out;
    cr_expect(inflight_end(table, &first, 0, &out));
    cr_expect(inflight_take(table, &request, &origin));
}
