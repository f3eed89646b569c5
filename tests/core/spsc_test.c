/* tests/core/spsc_test.c - visibility by publication, the limit, and a sequence between two threads (run under TSan
 * too). */
#include "core/spsc.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

Test(spsc, staged_items_are_invisible_until_published)
{
    struct spsc *ring;
    int item;
    void *got[4];
    cr_assert_eq(spsc_create(&ring, 4), RESULT_OK);
    cr_assert(spsc_try_stage(ring, &item));
    cr_assert_not(spsc_readable(ring));
    cr_assert_eq(spsc_take(ring, got, 4), 0);
    cr_assert(spsc_publish(ring));
    cr_assert_not(spsc_publish(ring), "nothing new");
    cr_assert(spsc_readable(ring));
    cr_assert_eq(spsc_take(ring, got, 4), 1);
    cr_assert_eq(got[0], &item);
    cr_assert_not(spsc_readable(ring));
    spsc_destroy(ring);
}

Test(spsc, full_refuses_until_the_consumer_took)
{
    struct spsc *ring;
    int items[5];
    void *got[4];
    cr_assert_eq(spsc_create(&ring, 4), RESULT_OK);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 4; i++) cr_assert(spsc_try_stage(ring, &items[i]));
        cr_assert_not(spsc_try_stage(ring, &items[4]));
        cr_assert(spsc_publish(ring));
        cr_assert_eq(spsc_take(ring, got, 1), 1);
        cr_assert(spsc_try_stage(ring, &items[4]));
        cr_assert(spsc_publish(ring));
        cr_assert_eq(spsc_take(ring, got, 2), 2);
        cr_assert_eq(got[0], &items[1]);
        cr_assert_eq(spsc_take(ring, got, 4), 2);
        cr_assert_eq(got[1], &items[4]);
    }
    spsc_destroy(ring);
}

enum { SEQUENCE_COUNT = 200000 };
struct pair {
    struct spsc *ring;
    uint32_t values[SEQUENCE_COUNT]; /* written by the producer, plainly: the ring must order it */
};

static void *producer_run(void *argument)
{
    struct pair *pair = argument;
    uint32_t next = 0;
    while (next < SEQUENCE_COUNT) {
        for (uint32_t burst = 0; burst < next % 7 + 1 && next < SEQUENCE_COUNT; burst++) {
            pair->values[next] = next * 3 + 1;
            if (!spsc_try_stage(pair->ring, &pair->values[next])) break;
            next++;
        }
        if (!spsc_publish(pair->ring)) sched_yield();
    }
    return NULL;
}

Test(spsc, two_threads_see_every_item_once_in_order)
{
    static struct pair pair;
    cr_assert_eq(spsc_create(&pair.ring, 64), RESULT_OK);
    pthread_t producer;
    cr_assert_eq(pthread_create(&producer, NULL, producer_run, &pair), 0);
    void *got[16];
    for (uint32_t seen = 0; seen < SEQUENCE_COUNT;) {
        uint32_t count = spsc_take(pair.ring, got, COUNT_OF(got));
        for (uint32_t i = 0; i < count; i++, seen++) {
            cr_assert_eq(got[i], &pair.values[seen]);
            cr_assert_eq(pair.values[seen], seen * 3 + 1);
        }
        if (count == 0) sched_yield();
    }
    pthread_join(producer, NULL);
    cr_assert_not(spsc_readable(pair.ring));
    spsc_destroy(pair.ring);
}
