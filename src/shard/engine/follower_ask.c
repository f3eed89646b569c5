/* shard/engine/follower_ask.c - see follower_ask.h.
 * Happy path of a READ: judged against the follower -> nothing new: parked -> something was applied, or time is up -> a job on the storage
 * thread reads the page -> judged again, because it may have been lost or removed meanwhile -> done.
 * A command runs as an internal request whose state is the ask: however the request ends, the ask is answered. */
#include "shard/engine/follower_ask.h"
#include "core/logger.h"
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"

const char *follower_outcome_text(enum follower_outcome outcome)
{
#define FOLLOWER_OUTCOME_AS_TEXT(NAME, text) text,
    static const char *const texts[] = {FOLLOWER_OUTCOME_LIST(FOLLOWER_OUTCOME_AS_TEXT)};
#undef FOLLOWER_OUTCOME_AS_TEXT
    ASSERT(outcome < FOLLOWER_OUTCOME_COUNT);
    return texts[outcome];
}

static void answer(struct follower_ask *ask, enum follower_outcome outcome)
{
    ask->outcome = outcome;
    ask->newest = follower_emitted(ask->shard->machine->followers);
    ask->done(ask);
}

static enum follower_outcome judge(const struct follower_ask *ask)
{
    const struct follower *f = follower_find(ask->shard->machine->followers, slice_text(ask->name));
    if (f == NULL || f->generation != ask->generation) return FOLLOWER_OUTCOME_UNKNOWN;
    return f->lost ? FOLLOWER_OUTCOME_LOST : FOLLOWER_OUTCOME_OK;
}

/* ---- commands ---- */

static void command_ended(void *state)
{
    struct follower_ask *ask = state;
    answer(ask, ask->outcome);
}

static enum follower_outcome begun(struct follower_ask *ask, enum error error)
{
    const struct follower *f = follower_find(ask->shard->machine->followers, slice_text(ask->name));
    if (error != ERROR_NONE || f == NULL) {
        enum follower_verdict verdict = follower_judge(ask->shard->machine->followers, slice_text(ask->name), (uint8_t)ask->start,
                                                       ask->page.place.number);
        return verdict == FOLLOWER_NO_PLACE ? FOLLOWER_OUTCOME_NO_PLACE : FOLLOWER_OUTCOME_NOT_KEPT;
    }
    ask->generation = f->generation;
    ask->place = f->place;
    return f->lost ? FOLLOWER_OUTCOME_LOST : FOLLOWER_OUTCOME_OK;
}

static void command_applied(struct shard *s, struct request *r, enum error error)
{
    struct follower_ask *ask = r->state;
    if (ask->kind == FOLLOWER_ASK_BEGIN) ask->outcome = begun(ask, error);
    else ask->outcome = ask->kind == FOLLOWER_ASK_ACK ? judge(ask) : FOLLOWER_OUTCOME_OK;
    ask->made = ask->kind == FOLLOWER_ASK_BEGIN && ask->generation == r->logged.index;
    request_end(s, r);
}

static enum follower_outcome outcome_of(struct follower_ask *ask, enum error error)
{
    if (error == ERROR_DISK_FULL) return FOLLOWER_OUTCOME_FULL;
    if (error == ERROR_SERVER_BUSY) return FOLLOWER_OUTCOME_BUSY;
    return error == ERROR_BAD_FIELD ? begun(ask, error) : FOLLOWER_OUTCOME_FAILED;
}

static void command_run(struct shard *s, struct request *r)
{
    struct follower_ask *ask = r->state;
    enum error error = request_try_propose(s, r, r->letter->method, letter_payload(r->letter), command_applied);
    if (error == ERROR_NONE) return;
    ask->outcome = outcome_of(ask, error);
    request_end(s, r);
}

static void propose(struct follower_ask *ask, uint16_t type, struct writer *record)
{
    struct shard *s = ask->shard;
    uint16_t here = s->options.machine.shard;
    struct letter *letter = letter_make(LETTER_OWN, here, here, NULL, writer_slice(record)); /* no client behind it: never answered */
    letter->method = type;
    writer_deinit(record);
    ask->outcome = FOLLOWER_OUTCOME_FAILED; /* how it ends when it does not come to be applied */
    struct request *outer = s->running;
    s->running = NULL;
    request_start_with(s, letter, command_run, ask, command_ended);
    s->running = outer;
}

static void propose_begin(struct follower_ask *ask)
{
    struct follower_begin_record record = {.name = slice_text(ask->name),
                                           .temporary = ask->temporary,
                                           .start = (uint8_t)ask->start,
                                           .number = ask->page.place.number};
    struct writer w;
    writer_init(&w, 0);
    follower_begin_record_write(&w, &record);
    propose(ask, COMMAND_FOLLOWER_BEGIN, &w);
}

static void propose_ack(struct follower_ask *ask)
{
    const struct follower_place *place = &ask->page.place;
    struct follower_ack_record record = {.name = slice_text(ask->name),
                                         .generation = ask->generation,
                                         .number = place->number,
                                         .rebuilding = place->rebuilding,
                                         .place_kind = place->kind,
                                         .a = place->a,
                                         .b = place->b};
    struct writer w;
    writer_init(&w, 0);
    follower_ack_record_write(&w, &record);
    propose(ask, COMMAND_FOLLOWER_ACK, &w);
}

static struct follower_end_record end_record(const struct follower *f, bool lost)
{
    return (struct follower_end_record){
        .name = slice_text(f->name), .generation = f->generation, .lost = lost, .number = f->place.number};
}

static void propose_end(struct follower_ask *ask)
{
    const struct follower *f = follower_find(ask->shard->machine->followers, slice_text(ask->name));
    bool other = f != NULL && ask->generation != 0 && f->generation != ask->generation;
    if (f == NULL || other) {
        answer(ask, FOLLOWER_OUTCOME_UNKNOWN);
        return;
    }
    struct follower_end_record record = end_record(f, false);
    struct writer w;
    writer_init(&w, 0);
    follower_end_record_write(&w, &record);
    propose(ask, COMMAND_FOLLOWER_END, &w);
}

/* ---- pages ---- */

static void park(struct shard *s, struct follower_ask *ask)
{
    ask->waited = false;
    ask->next = s->asks_parked;
    s->asks_parked = ask;
}

static void page_run(struct store_job *job, struct store_view *view) /* storage thread */
{
    struct follower_ask *ask = CONTAINER_OF(job, struct follower_ask, job);
    enum result result = follower_page_read(&ask->page, view);
    ask->outcome = result == RESULT_OK ? FOLLOWER_OUTCOME_OK : FOLLOWER_OUTCOME_FAILED;
}

/* What was lost or removed while it was read may have been trimmed under it. */
static void page_done(struct store_job *job)
{
    struct follower_ask *ask = CONTAINER_OF(job, struct follower_ask, job);
    struct shard *s = ask->shard;
    s->jobs_open--;
    enum follower_outcome outcome = judge(ask);
    if (outcome == FOLLOWER_OUTCOME_OK && ask->outcome != FOLLOWER_OUTCOME_OK) {
        LOG_ERROR("follower", "what happened cannot be read from the store shard=%u name=%s number=%llu", s->options.machine.shard, ask->name,
                  (unsigned long long)ask->page.next.number);
        outcome = FOLLOWER_OUTCOME_FAILED;
    }
    if (outcome != FOLLOWER_OUTCOME_OK) writer_reset(&ask->page.bytes);
    answer(ask, outcome);
}

static bool has_news(const struct follower_ask *ask)
{
    return ask->page.place.rebuilding || ask->page.place.number < follower_emitted(ask->shard->machine->followers);
}

/* True: it was answered or is being read; false: there is nothing yet. */
static bool read_or_refuse(struct follower_ask *ask)
{
    struct shard *s = ask->shard;
    enum follower_outcome outcome = judge(ask);
    ask->page.domain = s->options.machine.domain;
    ask->page.shard = s->options.machine.shard;
    ask->page.next = ask->page.place;
    ask->page.count = 0;
    if (outcome == FOLLOWER_OUTCOME_OK && !has_news(ask)) return false;
    if (outcome != FOLLOWER_OUTCOME_OK) {
        answer(ask, outcome);
        return true;
    }
    ask->job = (struct store_job){.run = page_run, .done = page_done};
    s->jobs_open++;
    shard_submit(s, &ask->job);
    return true;
}

void follower_wake(struct shard *s)
{
    struct follower_ask *waiting = s->asks_parked;
    s->asks_parked = NULL;
    while (waiting != NULL) {
        struct follower_ask *ask = waiting;
        waiting = ask->next;
        bool waited = ask->waited;
        if (read_or_refuse(ask)) continue;
        park(s, ask);
        ask->waited = waited;
    }
}

static void answer_parked(struct shard *s, bool all, enum follower_outcome outcome)
{
    struct follower_ask *waiting = s->asks_parked;
    s->asks_parked = NULL;
    while (waiting != NULL) {
        struct follower_ask *ask = waiting;
        waiting = ask->next;
        if (all || ask->waited) {
            answer(ask, outcome);
        } else {
            park(s, ask);
            ask->waited = true;
        }
    }
}

void follower_give_up(struct shard *s) { answer_parked(s, true, FOLLOWER_OUTCOME_FAILED); }

/* ---- too far behind ---- */

static void lose(struct shard *s, const struct follower *f)
{
    struct follower_end_record record = end_record(f, true);
    struct writer w;
    writer_init(&w, 0);
    follower_end_record_write(&w, &record);
    if (request_append_own(s, COMMAND_FOLLOWER_END, writer_slice(&w)) == ERROR_NONE)
        LOG_WARN("follower",
                 "is lost: it fell behind by more than follower_backlog_max, and what it missed is not kept for it "
                 "remedy=\"ringpost follower rebuild %s\" shard=%u name=%s backlog=%llu",
                 f->name, s->options.machine.shard, f->name, (unsigned long long)follower_backlog(s->machine->followers, f));
    writer_deinit(&w);
}

void follower_tick(struct shard *s)
{
    const struct follower *f;
    if (s->machine->followed)
        for (uint32_t i = 0; (f = follower_at(s->machine->followers, i)) != NULL; i++)
            if (follower_backlog(s->machine->followers, f) > s->options.limits.follower_backlog_max) lose(s, f);
    if (s->asks_parked != NULL) answer_parked(s, false, FOLLOWER_OUTCOME_OK);
}

/* ---- status ---- */

static void fill_status(struct follower_ask *ask)
{
    const struct follower_set *set = ask->shard->machine->followers;
    const struct follower *f;
    for (ask->status_count = 0; (f = follower_at(set, ask->status_count)) != NULL; ask->status_count++) {
        struct follower_seen *seen = &ask->status[ask->status_count];
        *seen = (struct follower_seen){.lost = f->lost, .place = f->place, .backlog = follower_backlog(set, f)};
        memcpy(seen->name, f->name, sizeof seen->name);
    }
}

void follower_ask(struct shard *s, struct follower_ask *ask)
{
    ask->shard = s;
    if (s->damage != NULL || s->closing) {
        answer(ask, FOLLOWER_OUTCOME_FAILED);
        return;
    }
    switch (ask->kind) {
    case FOLLOWER_ASK_BEGIN: propose_begin(ask); return;
    case FOLLOWER_ASK_ACK: propose_ack(ask); return;
    case FOLLOWER_ASK_END: propose_end(ask); return;
    case FOLLOWER_ASK_READ:
        if (!read_or_refuse(ask)) park(s, ask);
        return;
    case FOLLOWER_ASK_STATUS:
        fill_status(ask);
        answer(ask, FOLLOWER_OUTCOME_OK);
        return;
    }
}
