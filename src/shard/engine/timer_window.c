/* shard/engine/timer_window.c - see timer_window.h. Most timers are set for later than all others and taken from the front: the array is
 * written at its end and read from `first` on; in between, entries move by memmove, 64 KiB of them at most. */
#include "shard/engine/timer_window.h"
#include "shard/engine/memory.h"

#define CAPACITY_MIN 64u

void timer_window_init(struct timer_window *w, uint32_t max, struct timer_entry begin, struct timer_entry end)
{
    ASSERT(max >= 2);
    *w = (struct timer_window){.entries = w->entries, .capacity = w->capacity, .max = max, .known_until = begin, .end = end, .missed = end};
}

void timer_window_deinit(struct timer_window *w)
{
    free(w->entries);
    *w = (struct timer_window){0};
}

/* Where the entry is, or would be: [first, first + count]. */
static uint32_t place_of(const struct timer_window *w, struct timer_entry entry)
{
    uint32_t low = w->first, high = w->first + w->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (timer_entry_before(w->entries[middle], entry)) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool is_at(const struct timer_window *w, uint32_t place, struct timer_entry entry)
{
    return place < w->first + w->count && timer_entry_equal(w->entries[place], entry);
}

/* Room for one more behind the last. */
static void make_room(struct timer_window *w)
{
    if (w->first + w->count < w->capacity) return;
    if (w->first > 0) {
        memmove(w->entries, w->entries + w->first, w->count * sizeof *w->entries);
        w->first = 0;
        return;
    }
    w->capacity = w->capacity == 0 ? CAPACITY_MIN : w->capacity * 2;
    w->entries = memory_resize(w->entries, w->capacity * sizeof *w->entries);
}

static void forget_later_half(struct timer_window *w)
{
    w->count /= 2;
    w->known_until = w->entries[w->first + w->count];
    if (w->loading && timer_entry_before(w->known_until, w->missed)) w->missed = w->known_until; /* the read began behind it */
}

void timer_window_set(struct timer_window *w, struct timer_entry entry)
{
    if (!timer_entry_before(entry, w->known_until)) {
        if (w->loading && timer_entry_before(entry, w->missed)) w->missed = entry;
        return;
    }
    if (w->count == w->max) forget_later_half(w);
    if (!timer_entry_before(entry, w->known_until)) return;
    make_room(w);
    uint32_t place = place_of(w, entry);
    if (is_at(w, place, entry)) return;
    memmove(w->entries + place + 1, w->entries + place, (w->first + w->count - place) * sizeof *w->entries);
    w->entries[place] = entry;
    w->count++;
}

void timer_window_clear(struct timer_window *w, struct timer_entry entry)
{
    uint32_t place = place_of(w, entry);
    if (!is_at(w, place, entry)) return;
    w->count--;
    if (place == w->first) {
        w->first = w->count == 0 ? 0 : w->first + 1;
        return;
    }
    memmove(w->entries + place, w->entries + place + 1, (w->first + w->count - place) * sizeof *w->entries);
}

struct timer_entry timer_window_load_begin(struct timer_window *w)
{
    ASSERT(timer_window_is_dry(w));
    w->loading = true;
    w->missed = w->end;
    return w->known_until;
}

/* Behind known_until nothing is in here, and what is read is behind it: it is put behind the last. */
void timer_window_load_end(struct timer_window *w, const struct timer_entry *entries, uint32_t count, struct timer_entry until)
{
    ASSERT(w->loading && count <= w->max);
    w->loading = false;
    if (timer_entry_before(w->missed, until)) until = w->missed;
    for (uint32_t i = 0; i < count && timer_entry_before(entries[i], until); i++) {
        if (w->count == w->max) {
            until = entries[i];
            break;
        }
        make_room(w);
        w->entries[w->first + w->count++] = entries[i];
    }
    w->known_until = until;
}

void timer_window_load_failed(struct timer_window *w)
{
    ASSERT(w->loading);
    w->loading = false;
}
