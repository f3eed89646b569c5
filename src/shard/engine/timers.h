/* shard/engine/timers.h - durable timers: what a shard will do when a time has come, over crashes, restarts and steps of the clock.
 * Owns:    the rows of KEY_DUE, their count, and the windows of the earliest of them.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: shard/engine/command.h, shard/engine/timer_window.h.  Start at: shard/engine/machine.h
 *
 * ---- how to use one ----
 * A timer belongs to a thing: a resident entity, found by an id, that remembers when it is due. The thing has one field for it,
 * `uint64_t due_ms`, which is stored with it, and 0 means: no timer. Then
 *
 *   1. a kind:   a number for ever, below TIMER_KINDS_MAX; a `struct timer_row` beside the thing's other functions, named in its area's
 *                table. needs names the thing, and may not depend on what another timer that fires in the same command makes.
 *   2. apply:    timer_set_clock(machine, kind, id, &thing->due_ms, clock_ms, effects) sets and moves it, timer_clear() cancels; the
 *                thing's row is written by its owner, as after any other change. Whoever deletes the thing cancels first. A thing with
 *                times of its own, of which the timer has the earliest, keeps each as timer_clock_ms() gives it.
 *   3. fire:     runs inside the apply of a DUE command, when due_ms has come and is still what it was; due_ms is 0 again by then. It may do
 *                all that apply may: change what its needs named, emit, put, set the next timer. It must have the thing's row written.
 *   4. test:     like every command's apply; fixture_due() in tests/shard/machine_fixture.h takes the place of the worker.
 *
 * ---- what is promised ----
 * Never early: not before the command's time, which is the time of the log (request.c: it never goes back, but from a clock that was
 * wrong). At most once for each time that was set, at least once while the shard lives; in the order of time, kind and id, whatever is
 * behind another waits for it. Late by the time it takes to log it, or by as long as the server was down, its disk full.
 * When the clock steps ahead and is believed, what lies in between is due at once; when it steps back, what has fired has fired.
 * due_ms up to TIMER_STARTS_MAX is no time but a start of the shard (incarnation.h): timer_set_start(timer_next_start()) is due as soon as
 * the shard lives again after this life, which is how a thing says "if I am left behind by a crash".
 * A clock may say anything: one without a battery begins in 1970. A time before TIMER_CLOCK_MIN counts as that, one beyond TIMER_TIME_MAX
 * as that. So what is set in the first weeks of 1970 is due when the clock has been set.
 *
 * ---- how it works ----
 *   timer_set_… -> row KEY_DUE | time | kind | id, in the batch of the command         nothing in memory, if it is late enough
 *   the window (timer_window.h) has the earliest; the worker looks at its first (due.c)
 *   time has come -> DUE command {the keys it takes} -> log -> durable -> apply, for each key:
 *       not yet due by the command's time: left alone        (it is in the log as a time that was wrong)
 *       the thing's due_ms is another:     nothing           (it has moved on; its other row, if any, has its own time)
 *       else                               due_ms = 0, the row goes, fire
 * So the thing alone says whether a timer is there; the row only says when to ask. What a command does depends on the state and on the
 * command, never on what the window held; a replay does the same; a key that is proposed twice finds the second time that it has moved on.
 *
 *   key    +----+----------------------+----------+----------+   the row's value is empty; time (due_ms) << 16 | kind is the `slot`
 *          | 08 | time 48 bits (BE)    | kind 16  | id 64    |
 *          +----+----------------------+----------+----------+
 *
 * Limits: TIMER_TIME_MAX; DUE_ENTRIES_MAX timers per command, one DUE command under way; timers_resident_max of each range in memory.
 * How many may wait is the business of those who set them: one per thing. */
#ifndef SHARD_TIMERS_H
#define SHARD_TIMERS_H

#include "core/metrics.h"
#include "shard/engine/command.h"
#include "shard/engine/timer_window.h"

struct machine;

#define TIMER_STARTS_MAX    UINT32_MAX             /* times up to it are ordinals of starts */
#define TIMER_CLOCK_MIN     (TIMER_STARTS_MAX + 1ull) /* 19 February 1970 */
#define TIMER_TIME_MAX      ((1ull << 48) - 1)     /* ms since 1970 */
#define TIMERS_RESIDENT_MAX 4096u                  /* 64 KiB, beside as much for those of starts */
#define DUE_ENTRIES_MAX     64u                    /* of one DUE command */

struct timer_row { /* one constant in the file that has its functions, named in the table of its area */
    uint16_t kind;
    const char *name;
    /* As of a command: the thing, and whatever fire reads or writes. */
    void (*needs)(struct needs *needs, uint64_t id);
    /* Where the thing says when it is due; NULL: there is no such thing. */
    uint64_t *(*due)(struct machine *machine, uint64_t id);
    /* due_ms: what it was set to. */
    void (*fire)(struct machine *machine, uint64_t id, uint64_t due_ms, const struct command *command, struct effects *effects);
};

struct timers {
    struct timer_window clock, starts; /* starts: those that are due in this life */
    uint64_t waiting;                  /* rows */
    bool changed;                      /* since the last end of a batch */
    uint64_t fired, late;              /* by this process, replay included; late: more than TIMER_LATE_MS after their time */
    uint32_t resident_max;
    struct metrics *metrics;
};
#define TIMER_LATE_MS 1000u

void timers_init(struct timers *timers, uint32_t resident_max, struct metrics *metrics);
void timers_deinit(struct timers *timers);

/* ---- apply ---- */
/* due_ms of that time of the clock. */
uint64_t timer_clock_ms(uint64_t clock_ms);
/* *due_ms, the thing's own, becomes timer_clock_ms(clock_ms). A time that has passed is due at once. */
void timer_set_clock(struct machine *machine, uint16_t kind, uint64_t id, uint64_t *due_ms, uint64_t clock_ms, struct effects *effects);
/* It becomes `start`, an ordinal from 1; asserted to be timer_next_start() or an earlier one. */
void timer_set_start(struct machine *machine, uint16_t kind, uint64_t id, uint64_t *due_ms, uint64_t start, struct effects *effects);
/* It becomes 0: there is no timer, as before or from now on. */
void timer_clear(struct machine *machine, uint16_t kind, uint64_t id, uint64_t *due_ms, struct effects *effects);
/* When this shard starts again. */
uint64_t timer_next_start(const struct machine *machine);
/* A start was applied: what waited for it is looked for. */
void timers_on_start(struct machine *machine);
/* May it fire in a command of that time? */
bool timer_is_due(const struct machine *machine, struct timer_entry entry, uint64_t time_ms);

/* ---- the machine ---- */
NODISCARD enum result timers_load(struct machine *machine, struct store_view *view);
void timers_end_batch(struct timers *timers, struct effects *effects);
/* Calls `each` for the rows from `from` on, ascending, until it says false. OK, IO, CORRUPT. */
NODISCARD enum result timers_scan(struct store_view *view, struct timer_entry from, struct timer_entry until,
                                  bool (*each)(void *context, struct timer_entry entry), void *context);

static inline struct timer_entry timer_entry_of(uint64_t time_ms, uint16_t kind, uint64_t id)
{
    return (struct timer_entry){.slot = time_ms << 16 | kind, .id = id};
}
static inline uint64_t timer_entry_time(struct timer_entry entry) { return entry.slot >> 16; }
static inline uint16_t timer_entry_kind(struct timer_entry entry) { return (uint16_t)entry.slot; }

#endif
