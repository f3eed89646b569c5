/* tests/shard/engine/timer_window_test.c - the window of the earliest timers against a list of all of them: nothing that comes before
 * known_until is ever missing, whatever is set, cancelled and read in which order. */
#include "shard/engine/timer_window.h"
#include <criterion/criterion.h>

#define ALL_MAX 4096
#define BEGIN 100u
#define END 1000u

static struct timer_window window;
static struct timer_entry all[ALL_MAX]; /* what the store has, ascending */
static uint32_t all_count;
static struct timer_entry read_from, read_entries[8], read_until; /* by the read under way, from what the store had then */
static uint32_t read_count;
static uint64_t random_state;

static uint32_t below(uint32_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % limit;
}

static struct timer_entry entry_of(uint64_t slot, uint64_t id) { return (struct timer_entry){slot, id}; }

static uint32_t all_place(struct timer_entry entry)
{
    uint32_t at = 0;
    while (at < all_count && timer_entry_before(all[at], entry)) at++;
    return at;
}

static void set(struct timer_entry entry)
{
    uint32_t at = all_place(entry);
    if (at == all_count || !timer_entry_equal(all[at], entry)) {
        cr_assert_lt(all_count, ALL_MAX);
        memmove(all + at + 1, all + at, (all_count - at) * sizeof *all);
        all[at] = entry;
        all_count++;
    }
    timer_window_set(&window, entry);
}

static void clear(struct timer_entry entry)
{
    uint32_t at = all_place(entry);
    if (at < all_count && timer_entry_equal(all[at], entry)) {
        all_count--;
        memmove(all + at, all + at + 1, (all_count - at) * sizeof *all);
    }
    timer_window_clear(&window, entry);
}

/* What the storage thread does, at this moment. */
static void read_store(uint32_t max)
{
    read_from = timer_window_load_begin(&window);
    read_count = 0;
    read_until = window.end;
    for (uint32_t at = all_place(read_from); at < all_count; at++) {
        if (!timer_entry_before(all[at], window.end)) break;
        if (read_count == max) {
            read_until = all[at];
            break;
        }
        read_entries[read_count++] = all[at];
    }
}

static bool has(struct timer_entry entry)
{
    for (uint32_t i = 0; i < window.count; i++)
        if (timer_entry_equal(timer_window_at(&window, i), entry)) return true;
    return false;
}

static void expect_nothing_missing(void)
{
    cr_assert_leq(window.count, window.max);
    for (uint32_t i = 0; i < all_count; i++) {
        bool known = !timer_entry_before(all[i], entry_of(BEGIN, 0)) && timer_entry_before(all[i], window.known_until);
        cr_assert(!known || has(all[i]), "%lu is not there", (unsigned long)all[i].slot);
    }
    for (uint32_t i = 1; i < window.count; i++) cr_assert(timer_entry_before(timer_window_at(&window, i - 1), timer_window_at(&window, i)));
    for (uint32_t i = 0; i < window.count; i++) cr_assert(timer_entry_before(timer_window_at(&window, i), window.known_until));
}

static void begin(uint32_t max)
{
    window = (struct timer_window){0};
    all_count = 0;
    timer_window_init(&window, max, entry_of(BEGIN, 0), entry_of(END, 0));
}

Test(timer_window, what_is_set_before_anything_was_read_comes_with_the_read)
{
    begin(8);
    set(entry_of(300, 1));
    cr_expect(timer_window_is_dry(&window));
    read_store(8);
    cr_expect_not(timer_window_is_dry(&window), "one read at a time");
    timer_window_load_end(&window, read_entries, read_count, read_until);
    cr_expect_eq(window.count, 1);
    cr_expect_eq(timer_window_at(&window, 0).slot, 300);
    set(entry_of(200, 7));
    cr_expect_eq(timer_window_at(&window, 0).slot, 200);
    clear(entry_of(200, 7));
    clear(entry_of(300, 1));
    cr_expect_not(timer_window_is_dry(&window), "all is known");
    timer_window_deinit(&window);
}

Test(timer_window, what_is_set_while_the_store_is_read_is_not_overlooked)
{
    begin(8);
    set(entry_of(300, 1));
    set(entry_of(400, 1));
    read_store(8);
    set(entry_of(350, 1));
    clear(entry_of(300, 1)); /* comes back, and nobody is there */
    timer_window_load_end(&window, read_entries, read_count, read_until);
    expect_nothing_missing();
    cr_expect_eq(window.known_until.slot, 350);
    clear(entry_of(300, 1));
    cr_expect(timer_window_is_dry(&window));
    timer_window_deinit(&window);
}

Test(timer_window, a_read_that_failed_is_tried_again)
{
    begin(8);
    set(entry_of(300, 1));
    read_store(8);
    timer_window_load_failed(&window);
    cr_expect(timer_window_is_dry(&window));
    timer_window_deinit(&window);
}

Test(timer_window, other_ranges_are_none_of_its_business)
{
    begin(8);
    read_store(8);
    timer_window_load_end(&window, read_entries, read_count, read_until);
    timer_window_set(&window, entry_of(END, 0));
    timer_window_set(&window, entry_of(END + 5, 3));
    cr_expect_eq(window.count, 0);
    timer_window_deinit(&window);
}

static void random_step(uint32_t max, bool *reading)
{
    switch (below(8)) {
    case 0:
    case 1:
    case 2: set(entry_of(BEGIN + below(END - BEGIN + 50), below(3))); break;
    case 3:
        if (all_count > 0) clear(all[below(all_count)]);
        break;
    case 4:
        if (window.count > 0) clear(timer_window_at(&window, 0)); /* it was due */
        break;
    case 5:
        if (!*reading && timer_window_is_dry(&window)) {
            read_store(max);
            *reading = true;
        }
        break;
    case 6:
    case 7:
        if (!*reading) break;
        *reading = false;
        if (below(5) == 0) timer_window_load_failed(&window);
        else timer_window_load_end(&window, read_entries, read_count, read_until);
        break;
    default: break;
    }
}

Test(timer_window, nothing_is_ever_missing)
{
    for (uint32_t seed = 1; seed <= 300; seed++) {
        random_state = seed;
        uint32_t max = 2 + below(7);
        bool reading = false;
        begin(max);
        for (uint32_t i = 0; i < 400; i++) {
            random_step(max, &reading);
            expect_nothing_missing();
        }
        timer_window_deinit(&window);
    }
}
