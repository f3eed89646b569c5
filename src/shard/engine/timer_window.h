/* shard/engine/timer_window.h - the earliest of a shard's durable timers, in memory; the others wait in the store alone.
 * Owns:    its array, `max` entries at most.
 * Thread:  the shard's worker.  Depends: core/ only.  Start at: shard/engine/timers.h
 *
 * It is a cache of the rows of a range of keys and decides nothing: what is due is what the state says. Its one promise is that no row
 * before known_until is missing.
 *
 *     first        known_until                      end
 *      |  all in here  |  only in the store, or not  |
 *      +---------------+-----------------------------+
 *
 * When it is empty the next rows are read (timer_window_load_begin … _end, on the storage thread in between). What is set meanwhile the
 * read did not see: then known_until comes no farther than the earliest of that. What is cancelled meanwhile may come back with the read;
 * such an entry is proposed and its thing has moved on. When it is full the later half leaves, and known_until goes back. */
#ifndef SHARD_TIMER_WINDOW_H
#define SHARD_TIMER_WINDOW_H

#include "core/check.h"
#include <stdbool.h>
#include <stdint.h>

struct timer_entry { /* as the key of its row has it, and in that order */
    uint64_t slot; /* time << 16 | kind: timers.h */
    uint64_t id;
};
static inline bool timer_entry_before(struct timer_entry a, struct timer_entry b)
{
    return a.slot < b.slot || (a.slot == b.slot && a.id < b.id);
}
static inline bool timer_entry_equal(struct timer_entry a, struct timer_entry b) { return a.slot == b.slot && a.id == b.id; }

struct timer_window {
    struct timer_entry *entries; /* owned array; those that count: [first, first + count), ascending */
    uint32_t first, count, capacity, max;
    struct timer_entry known_until, end;
    struct timer_entry missed; /* loading: the earliest that was set behind known_until; `end`: none */
    bool loading;
};

/* Of the range [begin, end), of which nothing is known yet. */
void timer_window_init(struct timer_window *window, uint32_t max, struct timer_entry begin, struct timer_entry end);
void timer_window_deinit(struct timer_window *window);

/* The row is there now; or it is not any more. Of other ranges: nothing. */
void timer_window_set(struct timer_window *window, struct timer_entry entry);
void timer_window_clear(struct timer_window *window, struct timer_entry entry);

/* The n-th earliest; asserted to be there. */
static inline struct timer_entry timer_window_at(const struct timer_window *window, uint32_t n)
{
    ASSERT(n < window->count);
    return window->entries[window->first + n];
}
/* It is empty, and more may be in the store. */
static inline bool timer_window_is_dry(const struct timer_window *window)
{
    return window->count == 0 && !window->loading && timer_entry_before(window->known_until, window->end);
}

/* From where the store is to be read. One read at a time. */
struct timer_entry timer_window_load_begin(struct timer_window *window);
/* What it brought: all rows from there on that come before `until`, ascending, `max` at most. */
void timer_window_load_end(struct timer_window *window, const struct timer_entry *entries, uint32_t count, struct timer_entry until);
/* It brought nothing. */
void timer_window_load_failed(struct timer_window *window);

#endif
