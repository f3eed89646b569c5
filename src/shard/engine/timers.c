/* shard/engine/timers.c - see timers.h: the rows, their count, and what a DUE command does with them. */
#include "shard/engine/timers.h"
#include "shard/engine/effects.h"
#include "shard/engine/machine.h"
#include "shard/engine/records.h"

static const struct timer_entry clock_begin = {.slot = TIMER_CLOCK_MIN << 16};
static const struct timer_entry clock_end = {.slot = UINT64_MAX, .id = UINT64_MAX};

void timers_init(struct timers *t, uint32_t resident_max, struct metrics *metrics)
{
    *t = (struct timers){.resident_max = resident_max, .metrics = metrics};
    timer_window_init(&t->clock, resident_max, clock_begin, clock_end);
    timer_window_init(&t->starts, resident_max, (struct timer_entry){0}, (struct timer_entry){0});
}

void timers_deinit(struct timers *t)
{
    if (t->metrics != NULL) metrics_sub(&t->metrics->timers_waiting, t->waiting);
    timer_window_deinit(&t->clock);
    timer_window_deinit(&t->starts);
    *t = (struct timers){0};
}

/* ---- rows ---- */

static struct timer_window *window_of(struct timers *t, struct timer_entry entry)
{
    return timer_entry_before(entry, clock_begin) ? &t->starts : &t->clock;
}

static struct key row_key(struct timer_entry entry) { return key_two(KEY_DUE, entry.slot, entry.id); }

static void row_put(struct timers *t, struct timer_entry entry, struct effects *effects)
{
    struct key key = row_key(entry);
    effects_put_mark(effects, &key);
    timer_window_set(window_of(t, entry), entry);
    t->waiting++;
    t->changed = true;
    if (t->metrics != NULL) metrics_add(&t->metrics->timers_waiting, 1);
}

static void row_delete(struct timers *t, struct timer_entry entry, struct effects *effects)
{
    struct key key = row_key(entry);
    ASSERT(t->waiting > 0);
    effects_delete_mark(effects, &key);
    timer_window_clear(window_of(t, entry), entry);
    t->waiting--;
    t->changed = true;
    if (t->metrics != NULL) metrics_sub(&t->metrics->timers_waiting, 1);
}

static void set(struct machine *m, uint16_t kind, uint64_t id, uint64_t *due_ms, uint64_t when_ms, struct effects *effects)
{
    ASSERT(domain_timer(m->options.domain, kind) != NULL);
    if (*due_ms == when_ms) return;
    if (*due_ms != 0) row_delete(&m->timers, timer_entry_of(*due_ms, kind, id), effects);
    *due_ms = when_ms;
    if (when_ms != 0) row_put(&m->timers, timer_entry_of(when_ms, kind, id), effects);
}

void timer_clear(struct machine *m, uint16_t kind, uint64_t id, uint64_t *due_ms, struct effects *effects)
{
    set(m, kind, id, due_ms, 0, effects);
}

/* ---- clock ---- */

uint64_t timer_clock_ms(uint64_t clock_ms)
{
    if (clock_ms < TIMER_CLOCK_MIN) return TIMER_CLOCK_MIN;
    return clock_ms < TIMER_TIME_MAX ? clock_ms : TIMER_TIME_MAX;
}

void timer_set_clock(struct machine *m, uint16_t kind, uint64_t id, uint64_t *due_ms, uint64_t clock_ms, struct effects *effects)
{
    set(m, kind, id, due_ms, timer_clock_ms(clock_ms), effects);
}

/* ---- starts ---- */

void timer_set_start(struct machine *m, uint16_t kind, uint64_t id, uint64_t *due_ms, uint64_t start, struct effects *effects)
{
    ASSERT(start > 0 && start <= timer_next_start(m));
    set(m, kind, id, due_ms, start, effects);
}

uint64_t timer_next_start(const struct machine *m) { return (uint64_t)m->incarnations.newest + 1; }

void timers_on_start(struct machine *m)
{
    m->timers.starts.end = timer_entry_of(timer_next_start(m), 0, 0);
}

/* ---- due ---- */

bool timer_is_due(const struct machine *m, struct timer_entry entry, uint64_t time_ms)
{
    uint64_t due_ms = timer_entry_time(entry);
    return due_ms <= TIMER_STARTS_MAX ? due_ms < timer_next_start(m) : due_ms <= time_ms;
}

#define ENTRY_SIZE 16u

static struct timer_entry next_entry(struct cursor *c)
{
    struct timer_entry entry = {.slot = cursor_u64(c)};
    entry.id = cursor_u64(c);
    return entry;
}

static void needs_due(struct needs *needs, const struct command *command)
{
    struct due_record due = COMMAND_RECORD(due, command);
    struct cursor c = cursor_of(due.entries);
    while (cursor_left(&c) > 0) {
        struct timer_entry entry = next_entry(&c);
        const struct timer_row *row = domain_timer(needs->machine->options.domain, timer_entry_kind(entry));
        if (row != NULL) row->needs(needs, entry.id);
    }
}

/* One that is of no use any more leaves the window as well: it was of a thing that has moved on since the window heard of it. */
static void fire(struct machine *m, struct timer_entry entry, const struct command *command, struct effects *effects)
{
    const struct timer_row *row = domain_timer(m->options.domain, timer_entry_kind(entry));
    uint64_t time_ms = timer_entry_time(entry), *due_ms = row == NULL ? NULL : row->due(m, entry.id);
    if (due_ms == NULL || *due_ms != time_ms) {
        timer_window_clear(window_of(&m->timers, entry), entry);
        return;
    }
    timer_clear(m, row->kind, entry.id, due_ms, effects);
    m->timers.fired++;
    m->timers.late += time_ms > TIMER_STARTS_MAX && command->time_ms - time_ms > TIMER_LATE_MS;
    row->fire(m, entry.id, time_ms, command, effects);
}

static void apply_due(struct machine *m, const struct command *command, struct effects *effects)
{
    struct due_record due = COMMAND_RECORD(due, command);
    struct cursor c = cursor_of(due.entries);
    while (cursor_left(&c) > 0) {
        struct timer_entry entry = next_entry(&c);
        if (timer_is_due(m, entry, command->time_ms)) fire(m, entry, command, effects);
    }
}

static uint32_t size_max_due(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain;
    (void)body_size_max;
    return due_record_size(&(struct due_record){0}) + DUE_ENTRIES_MAX * ENTRY_SIZE;
}
COMMAND_ROW(due, DUE, .needs = needs_due); /* each of its entries is asked for itself */

/* ---- the store ---- */

struct scan {
    bool (*each)(void *context, struct timer_entry entry);
    void *context;
    bool bad;
};

static bool scan_one(void *context, struct slice key, struct slice value)
{
    struct scan *scan = context;
    scan->bad = key.len != 17 || value.len != 0;
    if (scan->bad) return false;
    return scan->each(scan->context, (struct timer_entry){.slot = key_u64_at(key, 1), .id = key_u64_at(key, 9)});
}

enum result timers_scan(struct store_view *view, struct timer_entry from, struct timer_entry until,
                        bool (*each)(void *context, struct timer_entry entry), void *context)
{
    struct scan scan = {.each = each, .context = context};
    struct key first = row_key(from), last = row_key(until);
    enum result result = store_scan(view, key_slice(&first), key_slice(&last), scan_one, &scan);
    return result == RESULT_OK && scan.bad ? RESULT_CORRUPT : result;
}

enum result timers_load(struct machine *m, struct store_view *view)
{
    struct writer value;
    writer_init(&value, 0);
    struct key key = key_make(KEY_TIMER_COUNT);
    enum result result = store_get(view, key_slice(&key), &value);
    struct cursor c = cursor_of(writer_slice(&value));
    struct timer_count_record record;
    if (result == RESULT_OK && timer_count_record_read(&record, &c) && cursor_done(&c)) m->timers.waiting = record.waiting;
    else if (result == RESULT_OK) result = RESULT_CORRUPT;
    else if (result == RESULT_MISSING) result = RESULT_OK;
    writer_deinit(&value);
    if (m->timers.metrics != NULL) metrics_add(&m->timers.metrics->timers_waiting, m->timers.waiting);
    timers_on_start(m);
    return result;
}

void timers_end_batch(struct timers *t, struct effects *effects)
{
    if (!t->changed) return;
    t->changed = false;
    struct key key = key_make(KEY_TIMER_COUNT);
    struct timer_count_record record = {.waiting = t->waiting};
    EFFECTS_PUT(effects, &key, timer_count, &record);
}
