/* shard/engine/due.c - the shard's eye on its timers (timers.h): what is due is proposed, and when the window runs dry more is read.
 * Happy path: the first of a window is due by the time that a command would have now -> one DUE command with all that are, in order, up
 * to DUE_ENTRIES_MAX -> its needs resident -> log -> applied -> the next ones.
 * Failure modes: no room in the log or the store, or an entity that cannot be read: tried again RETRY_NS later. A shard that closes
 * proposes nothing more: what is due then is due after the next start. */
#include "core/logger.h"
#include "shard/engine/memory.h"
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"

#define RETRY_NS 100000000u

/* ---- reading more ---- */

struct due_load {
    struct store_job job;
    struct shard *shard;
    struct timer_window *window;
    struct timer_entry from, until;
    enum result result;
    uint32_t count, max;
    struct timer_entry entries[];
};

static bool load_one(void *context, struct timer_entry entry)
{
    struct due_load *load = context;
    if (load->count == load->max) {
        load->until = entry;
        return false;
    }
    load->entries[load->count++] = entry;
    return true;
}

static void load_run(struct store_job *job, struct store_view *view) /* storage thread */
{
    struct due_load *load = CONTAINER_OF(job, struct due_load, job);
    load->result = timers_scan(view, load->from, load->until, load_one, load);
}

static void load_done(struct store_job *job)
{
    struct due_load *load = CONTAINER_OF(job, struct due_load, job);
    struct shard *s = load->shard;
    s->jobs_open--;
    if (load->result == RESULT_OK) {
        timer_window_load_end(load->window, load->entries, load->count, load->until);
    } else {
        LOG_ERROR("shard", "cannot read the timers shard=%u error=\"%s\"", s->options.machine.shard, result_text(load->result));
        timer_window_load_failed(load->window);
        s->due.not_before_ns = shard_now_ns(s) + RETRY_NS;
    }
    free(load);
}

static void read_more(struct shard *s, struct timer_window *window)
{
    struct due_load *load = memory_alloc(sizeof *load + window->max * sizeof *load->entries);
    load->shard = s;
    load->window = window;
    load->from = timer_window_load_begin(window);
    load->until = window->end;
    load->max = window->max;
    load->job.run = load_run;
    load->job.done = load_done;
    metrics_add(&s->options.metrics->store_reads, 1);
    s->jobs_open++;
    shard_submit(s, &load->job);
}

/* ---- proposing ---- */

static void due_ended(void *state)
{
    struct shard *s = state;
    s->due.under_way = false;
    s->due.not_before_ns = shard_now_ns(s) + RETRY_NS;
}

static void due_applied(struct shard *s, struct request *r, enum error error)
{
    const struct timers *timers = &s->machine->timers;
    ASSERT(error == ERROR_NONE);
    request_end(s, r);
    s->due.not_before_ns = 0;
    metrics_add(&s->options.metrics->timers_fired, timers->fired - s->due.fired);
    metrics_add(&s->options.metrics->timers_late, timers->late - s->due.late);
    s->due.fired = timers->fired;
    s->due.late = timers->late;
}

static void due_run(struct shard *s, struct request *r)
{
    r->state = s;
    r->free_state = due_ended;
    enum error error = request_try_propose(s, r, COMMAND_DUE, letter_payload(r->letter), due_applied);
    if (error != ERROR_NONE) request_end(s, r);
}

/* False: the first of the window is not due. */
static bool propose(struct shard *s, const struct timer_window *window, uint64_t time_ms)
{
    struct writer entries;
    if (window->count == 0 || !timer_is_due(s->machine, timer_window_at(window, 0), time_ms)) return false;
    writer_init(&entries, 0);
    for (uint32_t n = 0; n < window->count && n < DUE_ENTRIES_MAX; n++) {
        struct timer_entry entry = timer_window_at(window, n);
        if (!timer_is_due(s->machine, entry, time_ms)) break;
        writer_u64(&entries, entry.slot);
        writer_u64(&entries, entry.id);
    }
    struct writer *record = shard_scratch(s);
    due_record_write(record, &(struct due_record){.entries = writer_slice(&entries)});
    writer_deinit(&entries);
    uint16_t here = s->options.machine.shard;
    s->due.under_way = true;
    s->due.fired = s->machine->timers.fired;
    s->due.late = s->machine->timers.late;
    request_start(s, letter_make(LETTER_OWN, here, here, NULL, writer_slice(record)), due_run); /* nobody waits for an answer */
    return true;
}

void due_turn(struct shard *s)
{
    struct timers *timers = &s->machine->timers;
    if (timers->waiting == 0 || s->due.under_way || s->closing) return;
    if (s->due.not_before_ns > 0 && shard_now_ns(s) < s->due.not_before_ns) return;
    if (timer_window_is_dry(&timers->starts)) read_more(s, &timers->starts);
    if (timer_window_is_dry(&timers->clock)) read_more(s, &timers->clock);
    uint64_t time_ms = request_time_ms(s);
    if (!propose(s, &timers->starts, time_ms)) (void)propose(s, &timers->clock, time_ms);
}

uint32_t shard_wait_ms(const struct shard *s, uint32_t most_ms)
{
    const struct timer_window *window = s->machine == NULL ? NULL : &s->machine->timers.clock;
    if (window == NULL || s->damage != NULL || s->closing || s->due.under_way || window->count == 0) return most_ms;
    uint64_t due_ms = timer_entry_time(timer_window_at(window, 0)), time_ms = request_time_ms(s), now_ns = shard_now_ns(s);
    uint64_t wait_ms = due_ms > time_ms ? due_ms - time_ms : 1;
    if (s->due.not_before_ns > now_ns) wait_ms += (s->due.not_before_ns - now_ns) / 1000000;
    return wait_ms < most_ms ? (uint32_t)wait_ms : most_ms;
}
