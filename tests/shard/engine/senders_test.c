/* tests/shard/engine/senders_test.c - who has how many entries, beside a plain list of them: the table, the ordinals, the allowance. */
#include "shard/engine/senders.h"
#include "shard/engine/memory.h"
#include <criterion/criterion.h>

#define PEOPLE 700u
#define LIMIT 300u
#define PER_SENDER 20u

static struct senders senders;
static uint32_t entries[PEOPLE], sends[PEOPLE];

static void end(void) { senders_deinit(&senders); }
TestSuite(senders, .init = NULL, .fini = end);

/* Ids as they are given out: shard, type, 1, 2, 3 … */
static uint64_t id_of(uint32_t person) { return (uint64_t)(person % 5) << 48 | UINT64_C(1) << 38 | (person / 5 + 1); }

static uint32_t plain_allowance(void)
{
    for (uint32_t allowance = PER_SENDER; allowance > 1; allowance--) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < PEOPLE; i++) sum += entries[i] < allowance ? entries[i] : allowance;
        if (sum <= LIMIT) return allowance;
    }
    return 1;
}

static void expect_like_plain(void)
{
    for (uint32_t i = 0; i < PEOPLE; i++) {
        const struct sender *sender = senders_find(&senders, id_of(i));
        cr_assert_eq(sender != NULL, entries[i] > 0, "person %u", i);
        if (sender != NULL) cr_assert(sender->entries == entries[i] && sender->sends == sends[i], "person %u", i);
    }
    cr_assert_eq(senders_allowance(&senders), plain_allowance());
}

Test(senders, any_coming_and_going)
{
    senders_init(&senders, LIMIT, PER_SENDER);
    uint64_t state = 7;
    for (uint32_t n = 0; n < 40000; n++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t crowd = (n / 5000) % 2 == 0 ? PEOPLE : 12, person = (uint32_t)(state >> 33) % crowd;
        bool comes = (state >> 20 & 3) != 0 ? (n / 2500) % 2 == 0 : (n / 2500) % 2 != 0;
        if (comes) {
            cr_assert_eq(senders_add(&senders, id_of(person)), sends[person]++);
            entries[person]++;
        } else if (entries[person] > 0) {
            senders_remove(&senders, senders_find(&senders, id_of(person)));
            if (--entries[person] == 0) sends[person] = 0;
        }
        if (n % 250 == 0) expect_like_plain();
    }
    expect_like_plain();
}

Test(senders, the_next_ordinal_follows_from_the_newest_stored_one)
{
    static const struct {
        const char *name;
        uint32_t stored[4], next;
    } cases[] = {
        {"in order", {4, 5, 6, 7}, 8},
        {"the older ones went round", {6, 7, 4, 5}, 8},
        {"gaps", {100, 3, 50, 99}, 101},
        {"numbers that come round", {UINT32_MAX - 1, UINT32_MAX, 0, 1}, 2},
        {"numbers that come round, out of order", {0, 1, UINT32_MAX - 1, UINT32_MAX}, 2},
    };
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
        senders_init(&senders, LIMIT, PER_SENDER);
        for (uint32_t n = 0; n < 4; n++) senders_add_stored(&senders, 9, cases[i].stored[n]);
        cr_expect_eq(senders_add(&senders, 9), cases[i].next, "%s", cases[i].name);
        senders_deinit(&senders);
    }
    senders_init(&senders, LIMIT, PER_SENDER);
}
