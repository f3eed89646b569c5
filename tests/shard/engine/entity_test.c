/* tests/shard/engine/entity_test.c - the table of resident entities: what stays, what goes, pins, and needs. */
#include "shard/domain/domain.h"
#include "shard/domain/entities.h"
#include "shard/engine/entity.h"
#include "shard/engine/machine.h"
#include <criterion/criterion.h>
#include <signal.h>

#define RESIDENT_MAX 100

static struct box {
    struct metrics metrics;
    struct machine machine; /* only its entities */
} box;

static void setup(void)
{
    box.machine.options.domain = ringpost_domain();
    cr_assert_eq(entity_table_create(&box.machine.entities, &box.machine, RESIDENT_MAX, &box.metrics), RESULT_OK);
}

static void teardown(void)
{
    entity_table_destroy(box.machine.entities);
    cr_expect_eq(box.metrics.entities_resident, 0);
}

TestSuite(entity, .init = setup, .fini = teardown);

static struct entity_key key(uint64_t n) { return (struct entity_key){.a = n, .kind = ENTITY_NAME}; }
static struct entity *find(uint64_t n) { return entity_find(box.machine.entities, key(n)); }
static struct entity *create(uint64_t n) { return entity_create(box.machine.entities, key(n)); }

static uint32_t resident_count(uint64_t first, uint64_t last)
{
    uint32_t count = 0;
    for (uint64_t n = first; n <= last; n++) count += find(n) != NULL;
    return count;
}

/* ---- keys ---- */

Test(entity, keys_differ_by_each_of_their_parts)
{
    static const struct entity_key keys[] = {
        {1, 2, ENTITY_NAME}, {2, 1, ENTITY_NAME}, {1, 1, ENTITY_NAME}, {1, 2, ENTITY_ACCOUNT}, {2, 2, ENTITY_INBOX}};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        cr_expect_null(entity_find(box.machine.entities, keys[i]), "case %zu", i);
        struct entity *made = entity_create(box.machine.entities, keys[i]);
        cr_expect(!made->exists && made->pins == 0);
        for (size_t n = 0; n <= i; n++) {
            struct entity *found = entity_find(box.machine.entities, keys[n]);
            cr_assert_not_null(found);
            cr_expect(found->key.a == keys[n].a && found->key.b == keys[n].b && found->key.kind == keys[n].kind);
        }
    }
}

Test(entity, what_was_asked_for_before_it_is_made_is_made_in_its_place)
{
    struct entity *absent = entity_adopt(box.machine.entities, entity_fresh(&box.machine, key(7)));
    cr_expect_eq(create(7), absent);
    cr_expect_eq(box.metrics.entities_resident, 1);
}

Test(entity, what_is_made_twice_is_a_broken_invariant, .signal = SIGABRT)
{
    create(7)->exists = true;
    create(7);
}

/* ---- adopting ---- */

Test(entity, of_two_loads_the_first_stays)
{
    struct entity *first = entity_fresh(&box.machine, key(1)), *second = entity_fresh(&box.machine, key(1));
    cr_expect_eq(entity_adopt(box.machine.entities, first), first);
    cr_expect_eq(entity_adopt(box.machine.entities, second), first);
    cr_expect_eq(find(1), first);
    entity_discard(&box.machine, entity_fresh(&box.machine, key(2)));
    cr_expect_null(find(2));
}

/* ---- the limit ---- */

Test(entity, trim_drops_the_coldest)
{
    for (uint64_t n = 1; n <= RESIDENT_MAX; n++) create(n);
    entity_table_trim(box.machine.entities);
    cr_expect_eq(box.metrics.entities_resident, RESIDENT_MAX, "at the limit nothing goes");
    cr_assert_not_null(find(1)); /* the warmest now */
    create(RESIDENT_MAX + 1);
    create(RESIDENT_MAX + 2);
    entity_table_trim(box.machine.entities);
    cr_expect_eq(box.metrics.entities_resident, RESIDENT_MAX);
    cr_expect_eq(box.metrics.entities_evicted, 2);
    cr_expect_not_null(find(1));
    cr_expect_null(find(2));
    cr_expect_null(find(3));
    cr_expect_not_null(find(4));
}

Test(entity, one_trim_takes_all_that_came_since_the_last)
{
    for (uint64_t n = 1; n <= 20 * RESIDENT_MAX; n++) create(n);
    entity_table_trim(box.machine.entities);
    cr_expect_eq(box.metrics.entities_resident, RESIDENT_MAX);
    cr_expect_eq(resident_count(19 * RESIDENT_MAX + 1, 20 * RESIDENT_MAX), RESIDENT_MAX, "the newest");
}

Test(entity, the_pinned_stay_and_do_not_shield_the_others)
{
    struct entity *pinned[3 * RESIDENT_MAX];
    for (uint64_t n = 0; n < COUNT_OF(pinned); n++) {
        pinned[n] = create(n + 1);
        entity_pin(pinned[n]);
    }
    for (uint64_t n = 0; n < COUNT_OF(pinned); n++) create(1000 + n);
    for (int turn = 0; turn < 3; turn++) entity_table_trim(box.machine.entities);
    cr_expect_eq(resident_count(1, COUNT_OF(pinned)), COUNT_OF(pinned), "more than the limit, all pinned");
    cr_expect_eq(resident_count(1000, 1000 + COUNT_OF(pinned)), 0);
    for (size_t n = 0; n < COUNT_OF(pinned); n++) {
        entity_unpin(box.machine.entities, &pinned[n]);
        cr_expect_null(pinned[n]);
    }
    for (int turn = 0; turn < 3; turn++) entity_table_trim(box.machine.entities);
    cr_expect_eq(box.metrics.entities_resident, RESIDENT_MAX);
}

Test(entity, what_is_found_gets_one_more_round_and_no_second)
{
    for (uint64_t n = 1; n <= RESIDENT_MAX; n++) create(n);
    cr_assert_not_null(find(1));
    create(RESIDENT_MAX + 1);
    entity_table_trim(box.machine.entities); /* passes 1 over, drops 2 */
    for (uint64_t n = 0; n < RESIDENT_MAX - 1; n++) create(1000 + n); /* all but 1 and the newest of the others */
    entity_table_trim(box.machine.entities);
    cr_expect_eq(box.metrics.entities_resident, RESIDENT_MAX);
    cr_expect_not_null(find(1), "it went to the warm end once");
    create(2000);
    entity_table_trim(box.machine.entities);
    for (uint64_t n = 0; n < RESIDENT_MAX; n++) create(3000 + n);
    entity_table_trim(box.machine.entities);
    for (uint64_t n = 0; n < RESIDENT_MAX; n++) create(4000 + n);
    entity_table_trim(box.machine.entities);
    cr_expect_null(find(1), "nobody asked for it again");
}

Test(entity, what_commands_make_is_counted)
{
    uint64_t before = box.machine.entities_made;
    entity_adopt(box.machine.entities, entity_fresh(&box.machine, key(1)));
    cr_expect_eq(box.machine.entities_made, before, "a load makes nothing new");
    create(1);
    create(2);
    cr_expect_eq(box.machine.entities_made, before + 2);
}

/* ---- needs ---- */

Test(entity, needs_find_their_own_first_few)
{
    struct needs needs;
    needs_init(&needs, &box.machine);
    for (uint64_t n = 1; n <= NEEDS_FEW + 1; n++) {
        struct entity *made = create(n);
        cr_expect_eq(needs_entity(&needs, ENTITY_NAME, n, 0), made);
    }
    cr_expect_eq(needs_find(&needs, ENTITY_NAME, 1, 0), find(1));
    cr_expect_eq(needs_find(&needs, ENTITY_NAME, NEEDS_FEW, 0), find(NEEDS_FEW));
    cr_expect_null(needs_find(&needs, ENTITY_NAME, NEEDS_FEW + 1, 0), "not among the first");
    cr_expect_null(needs_find(&needs, ENTITY_INBOX, 1, 0));
    cr_expect_eq(needs_entity(&needs, ENTITY_NAME, NEEDS_FEW + 1, 0)->pins, 1);
    needs_release(&needs);
    cr_expect_eq(find(NEEDS_FEW + 1)->pins, 0);
}

Test(entity, needs_pin_once_and_tell_what_is_missing)
{
    struct needs needs;
    needs_init(&needs, &box.machine);
    struct entity *resident = create(1);
    cr_expect_eq(needs_entity(&needs, ENTITY_NAME, 1, 0), resident);
    cr_expect_eq(needs_entity(&needs, ENTITY_NAME, 1, 0), resident);
    cr_expect_eq(resident->pins, 1);
    cr_expect_null(needs_entity(&needs, ENTITY_NAME, 2, 0));
    cr_expect_null(needs_entity(&needs, ENTITY_NAME, 2, 0));
    cr_expect_eq(needs.missing_count, 1, "noted once");
    cr_expect_eq(needs.missing[0].a, 2);
    needs_release(&needs);
    cr_expect_eq(resident->pins, 0);
    cr_expect(needs.count == 0 && needs.missing_count == 0 && needs.machine == &box.machine);
}

Test(entity, needs_find_the_rest_of_many_on_the_next_try)
{
    struct needs needs;
    needs_init(&needs, &box.machine);
    const uint64_t wanted = 3 * NEEDS_MISSING_MAX + 5;
    uint32_t tries = 0;
    for (bool all = false; !all; tries++) {
        all = true;
        needs.missing_count = 0;
        for (uint64_t n = 1; n <= wanted; n++) all = needs_entity(&needs, ENTITY_NAME, n, 0) != NULL && all;
        for (uint32_t i = 0; i < needs.missing_count; i++) entity_adopt(box.machine.entities, entity_fresh(&box.machine, needs.missing[i]));
    }
    cr_expect_eq(tries, 5);
    cr_expect_eq(needs.count, wanted);
    needs_release(&needs);
}
