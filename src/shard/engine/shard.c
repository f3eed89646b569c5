/* shard/engine/shard.c - one shard's engine: opening with recovery, letters in, durable commands applied, the turn's ends.
 * Happy path of a write: see shard.h. Failure modes: a log that cannot be read refuses to open; a store that is damaged, then or later,
 * makes a shard that serves nothing (shard_damage); a full log, store backlog
 * or outbox makes new writes wait or refuses them (request.c); a failed sync ends the process (storage/commitlog.c). */
#include "shard/engine/limits.h"
#include "shard/engine/memory.h"
#include "shard/engine/records.h"
#include "shard/engine/replay.h"
#include "shard/engine/shard_internal.h"
#include "core/logger.h"
#include <stdio.h>

#define RECOVERY_BATCH_MAX 2048         /* commands between two store batches during recovery: nobody waits, so blocks may be longer */
#define ARENA_SIZE_MAX (4u << 20)       /* of one unpacked request; frames are at most 256 KiB */

/* ---- recovery ---- */

static enum result recover_command(void *context, const struct commitlog_record *record) { return replay_command(context, record); }

static void on_durable(void *context, uint64_t index)
{
    struct shard *s = context;
    ASSERT(index >= s->durable_index);
    s->durable_index = index;
}

static uint64_t log_now_ns(void *context) { return shard_now_ns(context); }

static struct commitlog_options log_options(struct shard *s)
{
    struct commitlog_options log = {.disk = s->options.disk,
                                    .shard = s->options.machine.shard,
                                    .pending_size_bytes_max = s->options.log_pending_max_bytes,
                                    .made_before = s->options.log_made_before,
                                    .look_only = s->options.look_only,
                                    .hold = true,
                                    .now_ns = log_now_ns,
                                    .durable = on_durable,
                                    .context = s,
                                    .metrics = s->options.metrics};
    s->options.ports.random(s->options.ports.context, &log.epoch_base, sizeof log.epoch_base);
    return log;
}

struct row_count {
    struct store_job job;
    const struct domain *domain;
    uint64_t rows;
    enum result result;
};

static void count_rows(struct store_job *job, struct store_view *view)
{
    struct row_count *count = CONTAINER_OF(job, struct row_count, job);
    count->result = state_hash_scan(count->domain, view, &count->rows);
}

/* Reads the whole store. */
static enum result check_rows(struct shard *s, char *text, size_t text_size)
{
    struct row_count count = {.job.run = count_rows, .domain = s->options.machine.domain};
    if (s->machine->hash.from != 1) return RESULT_OK; /* an older version did not count */
    store_run_now(s->options.store, &count.job);
    if (count.result != RESULT_OK) {
        snprintf(text, text_size, "shard %u: the store cannot be read: %s", s->options.machine.shard, result_text(count.result));
    } else if (count.rows != s->machine->hash.rows) {
        snprintf(text, text_size, "shard %u: its store has other rows than its log has given it: some are missing, or were changed by something "
                                  "else; put the directory store of this shard from a backup in its place", s->options.machine.shard);
        count.result = RESULT_CORRUPT;
    }
    return count.result;
}

static enum result recover(struct shard *s, uint64_t *replayed, char *text, size_t text_size)
{
    struct replay r = {.machine = s->machine, .store = s->options.store, .effects = &s->effects, .batch_max = RECOVERY_BATCH_MAX};
    enum result result = replay_load(&r, s->options.store_applied_index);
    if (result != RESULT_OK) {
        snprintf(text, text_size, "shard %u: the store's own records cannot be read: %s", s->options.machine.shard,
                 result_text(result));
        return result;
    }
    const struct commitlog_options log = log_options(s);
    int prefix_len = snprintf(text, text_size, "shard %u: ", s->options.machine.shard);
    result = commitlog_open(&s->log, &log, s->options.store_applied_index, recover_command, &r, text + prefix_len,
                            text_size - (size_t)prefix_len);
    replay_end(&r);
    if (result == RESULT_UNSUPPORTED && r.reason[0] != '\0') snprintf(text, text_size, "shard %u: %s", s->options.machine.shard, r.reason);
    if (result != RESULT_OK) return result;
    text[0] = '\0';
    *replayed = r.commands;
    result = replay_end_batch(&r);
    if (result != RESULT_OK) snprintf(text, text_size, "shard %u: %s", s->options.machine.shard, result_text(result));
    if (result == RESULT_OK && s->options.look_only) result = check_rows(s, text, text_size);
    s->durable_index = commitlog_durable_index(s->log);
    s->last_time_ms = s->machine->time_ms != 0 ? s->machine->time_ms : s->machine->last_id_ms;
    return result;
}

/* The first command of every start. On a disk without room it waits, and everything else that would be logged with it: reads are served. */
static void begin_incarnation(struct shard *s)
{
    s->options.ports.random(s->options.ports.context, &s->incarnation_random, sizeof s->incarnation_random);
    s->incarnation_due = true;
    if (shard_incarnate(s) != ERROR_NONE)
        LOG_WARN("shard", "no room for the first record of this start: nothing is written before there is shard=%u", s->options.machine.shard);
}

enum error shard_incarnate(struct shard *s)
{
    if (!s->incarnation_due) return ERROR_NONE;
    struct incarnation_record incarnation = incarnation_next(s->machine, s->incarnation_random);
    struct writer record;
    writer_init(&record, 0);
    incarnation_record_write(&record, &incarnation);
    s->incarnation_due = false; /* or logging it would begin with it */
    enum error error = request_append_own(s, COMMAND_INCARNATION, writer_slice(&record));
    s->incarnation_due = error != ERROR_NONE;
    writer_deinit(&record);
    return error;
}

/* The first command of a start with other limits than those in force. One that the log does not take is owed: until a tick brings it in,
 * those in force stay. */
static enum error propose_limits(struct shard *s)
{
    struct writer record;
    writer_init(&record, 0);
    enum error error = ERROR_NONE;
    if (limits_differ(s->machine, &s->options.machine, &record))
        error = request_append_own(s, COMMAND_LIMITS, writer_slice(&record));
    writer_deinit(&record);
    s->limits_owed = error != ERROR_NONE;
    return error;
}

static enum result begin_life(struct shard *s, char *text, size_t text_size)
{
    begin_incarnation(s);
    enum error error = propose_limits(s);
    if (error == ERROR_NONE || error == ERROR_DISK_FULL) return RESULT_OK;
    snprintf(text, text_size, "shard %u: the changed limits cannot be logged: %s", s->options.machine.shard, error_row(error)->message);
    return RESULT_FULL;
}

/* ---- open and close ---- */

/* Once, for those who look after the server. */
static void tell_damage(struct shard *s)
{
    metrics_add(&s->options.metrics->shards_damaged, 1);
    LOG_ERROR("shard",
              "is damaged and serves nothing; the others go on shard=%u damage=\"%s\" repair=\"stop the server, put the directory store of this "
              "shard from the latest backup in the place of the damaged one, start it: the log applies what the backup lacks; if the log "
              "does not reach back so far, restore the whole directory\"", s->options.machine.shard, s->damage);
}

/* So that an answer to a question of an earlier life is to none of this one: a number is made of the lower 48 bits, and of them half are left. */
static uint64_t first_call(const struct shard *s)
{
    uint64_t random;
    s->options.ports.random(s->options.ports.context, &random, sizeof random);
    return (random >> 17) + 1;
}

enum result shard_open(struct shard **out, const struct shard_options *options, uint64_t *replayed, char *text, size_t text_size)
{
    *out = NULL;
    *replayed = 0;
    struct shard *s = calloc(1, sizeof *s);
    if (s == NULL) return RESULT_NOMEM;
    s->options = *options;
    s->next_call = first_call(s);
    effects_init(&s->effects);
    writer_init(&s->scratch, 0);
    writer_init(&s->record, 0);
    writer_init(&s->kept, 0);
    s->sources = memory_alloc(options->machine.shard_count * sizeof *s->sources);
    enum result result = machine_create(&s->machine, &options->machine, options->metrics);
    if (result == RESULT_OK) result = envelope_arena_create(&s->arena, ARENA_SIZE_MAX);
    if (result == RESULT_OK) result = requests_init(s);
    if (result == RESULT_OK) result = recover(s, replayed, text, text_size);
    if (result == RESULT_CORRUPT && store_damage(options->store) != NULL) {
        s->damage = store_damage(options->store);
        if (!options->look_only) tell_damage(s);
        text[0] = '\0';
        result = RESULT_OK;
    } else if (result == RESULT_OK && !options->look_only) {
        result = begin_life(s, text, text_size);
    }
    if (result != RESULT_OK) {
        shard_close(s);
        return result;
    }
    for (uint16_t i = 0; i < options->machine.shard_count; i++) s->sources[i].received = stream_applied(s->machine->streams, i);
    *out = s;
    return RESULT_OK;
}

static void drop_letters(struct source *source)
{
    while (source->first != NULL) {
        struct letter *letter = source->first;
        source->first = letter->next;
        letter_free(letter);
    }
}

/* Those above before those below. */
static void end_areas(struct shard *s)
{
    const struct domain *domain = s->options.machine.domain;
    for (uint32_t i = domain->area_count; i > 0; i--)
        if (domain->areas[i - 1]->end != NULL) domain->areas[i - 1]->end(s);
}

void shard_close(struct shard *s)
{
    if (s == NULL) return;
    s->closing = true;
    for (uint16_t i = 0; i < s->options.machine.shard_count; i++) {
        if (s->sources[i].stalled != NULL) request_end(s, s->sources[i].stalled);
        drop_letters(&s->sources[i]);
    }
    calls_deinit(s);
    catch_up_deinit(s);
    follower_give_up(s);
    if (s->machine != NULL) end_areas(s);
    requests_deinit(s);
    if (s->log != NULL) commitlog_close(s->log);
    if (s->arena != NULL) envelope_arena_destroy(s->arena);
    machine_destroy(s->machine);
    effects_deinit(&s->effects);
    writer_deinit(&s->scratch);
    writer_deinit(&s->record);
    writer_deinit(&s->kept);
    free(s->sources);
    free(s);
}

void shard_begin_close(struct shard *s)
{
    s->closing = true;
    follower_give_up(s);
}

/* What a full disk has no room for was never acknowledged and may be dropped. */
bool shard_quiet(const struct shard *s) { return s->jobs_open == 0 && (s->log == NULL || !commitlog_writing(s->log)); }

void shard_set_shut(struct shard *s, bool shut)
{
    if (s->log != NULL) commitlog_set_shut(s->log, shut);
}

void shard_seal(struct shard *s)
{
    if (s->log != NULL) commitlog_seal(s->log);
}

bool shard_idle(const struct shard *s)
{
    return s->damage != NULL || (s->pending_first == NULL && commitlog_idle(s->log) && s->requests_open == 0);
}

bool shard_is_stalled(const struct shard *s) { return s->stalled_first != NULL; }

bool shard_is_full(const struct shard *s)
{
    uint64_t waiting = (uint64_t)s->requests_parked + s->call_count;
    return shard_is_stalled(s) || waiting >= (s->options.limits.requests_parked_max + 1) / 2;
}

/* ---- letters ---- */

void shard_note_letter(struct shard *s, const struct letter *letter)
{
    metrics_add(&s->options.metrics->letters_refused, 1);
    LOG_ERROR("shard", "a letter that no shard would write is refused shard=%u from=%u kind=%u method=%u bytes=%u", s->options.machine.shard,
              letter->from_shard, letter->kind, letter->method, letter->len);
}

static void refuse_letter(struct shard *s, struct letter *letter)
{
    shard_note_letter(s, letter);
    letter_free(letter);
}

static void receive_request(struct shard *s, struct letter *letter)
{
    const struct method *method = method_by_number(s->options.machine.domain, letter->method);
    ASSERT(method != NULL || letter->foreign); /* the door asked the same table */
    if (method == NULL) {
        refuse_letter(s, letter);
        return;
    }
    request_start(s, letter, letter->admitted ? method->handle : s->options.machine.domain->admit);
}

static void receive_domain(struct shard *s, struct letter *letter)
{
    const struct letter_row *row = domain_letter(s->options.machine.domain, letter->kind);
    ASSERT(row != NULL || letter->foreign);
    if (row != NULL) row->receive(s, letter);
    else refuse_letter(s, letter);
}

void shard_receive(struct shard *s, struct letter *letter)
{
    bool possible = letter->to_shard == s->options.machine.shard && letter->from_shard < s->options.machine.shard_count;
    ASSERT(possible || letter->foreign);
    if (!possible) {
        refuse_letter(s, letter);
        return;
    }
    switch (letter->kind) {
    case LETTER_REQUEST: receive_request(s, letter); break;
    case LETTER_STREAM:
        if (s->damage != NULL) letter_free(letter); /* in its source's outbox it stays */
        else relay_receive(s, letter);
        break;
    case LETTER_STREAM_ACK:
        if (s->damage == NULL) acknowledge_hear(s, letter);
        letter_free(letter);
        break;
    case LETTER_ASK_POSITION:
        catch_up_answer(s, letter);
        letter_free(letter);
        break;
    case LETTER_TELL_POSITION:
    case LETTER_ANSWERED: request_call_answer(s, letter); break;
    default: receive_domain(s, letter); break; /* replies go to workers */
    }
}

/* ---- the turn ---- */

/* `p` is off the list, and gone with its request. */
static void apply_one(struct shard *s, struct pending *p, const struct command *command)
{
    struct request *request = p->request;
    bool wants_reply = request != NULL && command->type != COMMAND_RELAY;
    if (request != NULL && command->type == COMMAND_RELAY) s->machine->carried = letter_payload(request->letter);
    machine_step(s->machine, command, request != NULL ? &request->needs : NULL, wants_reply, &s->effects);
    s->machine->carried = SLICE_EMPTY;
    s->batch_open = true;
    if (request != NULL) request_applied(s, request); /* the answer first: a kick must not overtake it */
    else free(p);
    if (s->effects.count > 0) DOMAIN_EACH(s->options.machine.domain, perform, s, &s->effects);
    metrics_add(&s->options.metrics->commands_applied, 1);
    const struct command_row *row = domain_command(s->options.machine.domain, command->type);
    if (row->count != NULL && s->effects.error == ERROR_NONE) row->count(s->options.metrics);
    if (command->type == COMMAND_INCARNATION) DOMAIN_EACH(s->options.machine.domain, started, s);
}

/* The oldest command that is durable and not applied, taken from the list; NULL: there is none, or an entity it touches is not
 * resident and on its way. */
static struct pending *take_durable(struct shard *s, struct command *command)
{
    struct pending *p = s->pending_first;
    if (p == NULL || p->index > s->durable_index) return NULL;
    enum result decoded = command_decode(command, p->type, p->index, p->body);
    ASSERT(decoded == RESULT_OK);
    if (p->request != NULL && !request_ready(s, p->request, command)) return NULL;
    s->pending_first = p->next;
    if (s->pending_first == NULL) s->pending_last = NULL;
    return p;
}

static void write_batch(struct shard *s)
{
    if (!s->batch_open) return;
    s->batch_open = false;
    machine_end_batch(s->machine, &s->effects);
    store_write(s->options.store, &s->effects.puts, s->machine->applied_index);
}

void shard_submit(struct shard *s, struct store_job *job)
{
    write_batch(s);
    store_submit(s->options.store, job);
}

/* What a command touches was written a disk write ago and has left the caches since. So, some commands before its turn its request is
 * fetched, and when that is there, the bytes and the entities that it names. */
#define AHEAD_REQUEST 6
#define AHEAD_TOUCHED 3
/* GCC takes a function that does nothing but prefetch for one without effect and leaves its calls out. */
#define FETCHES static inline __attribute__((always_inline)) void

struct lookahead {
    const struct pending *request, *touched; /* the next to fetch */
};

FETCHES fetch_request(const struct pending *p)
{
    const uint8_t *first = p->request != NULL ? (const uint8_t *)p->request : (const uint8_t *)p;
    for (size_t at = 0; at < sizeof(struct request) + sizeof(struct letter); at += CACHE_LINE) __builtin_prefetch(first + at, 1);
}

FETCHES fetch_touched(const struct pending *p)
{
    for (uint32_t at = 0; at < p->body.len && at < 4 * CACHE_LINE; at += CACHE_LINE) __builtin_prefetch(p->body.data + at);
    if (p->request == NULL) return;
    for (uint32_t i = 0; i < COUNT_OF(p->request->touches); i++) __builtin_prefetch(p->request->touches[i], 1);
    const struct needs *needs = &p->request->needs;
    for (uint32_t i = 0; i < needs->count && i < NEEDS_FEW; i++) {
        __builtin_prefetch(needs->pins[i], 1);
        __builtin_prefetch((const uint8_t *)needs->pins[i] + CACHE_LINE, 1);
    }
}

static void lookahead_step(struct lookahead *ahead)
{
    if (ahead->request != NULL) {
        fetch_request(ahead->request);
        ahead->request = ahead->request->next;
    }
    if (ahead->touched != NULL) {
        fetch_touched(ahead->touched);
        ahead->touched = ahead->touched->next;
    }
}

static struct lookahead lookahead_begin(const struct shard *s)
{
    struct lookahead ahead = {.request = s->pending_first};
    for (uint32_t i = 0; i < AHEAD_REQUEST; i++) {
        if (i == AHEAD_REQUEST - AHEAD_TOUCHED) ahead.touched = s->pending_first;
        lookahead_step(&ahead);
    }
    return ahead;
}

/* Between two stages of a turn: nothing of the shard is in the middle of something. */
static void look_for_damage(struct shard *s)
{
    s->damage = store_damage(s->options.store);
    if (s->damage == NULL) return;
    tell_damage(s);
    requests_give_up(s);
    catch_up_give_up(s);
    follower_give_up(s);
    DOMAIN_EACH(s->options.machine.domain, damaged, s);
}

const char *shard_damage(const struct shard *s) { return s->damage; }

uint32_t shard_apply(struct shard *s, uint32_t budget)
{
    uint32_t applied = 0;
    if (s->damage == NULL) look_for_damage(s);
    if (s->damage != NULL) return 0;
    struct command command;
    struct lookahead ahead = lookahead_begin(s);
    for (struct pending *p; applied < budget && (p = take_durable(s, &command)) != NULL; applied++) {
        lookahead_step(&ahead);
        apply_one(s, p, &command);
    }
    commitlog_release(s->log, s->machine->applied_index);
    write_batch(s);
    if (s->acks_owed) relay_send_acks(s);
    if (s->behind != NULL && applied > 0) catch_up_resume(s);
    if (s->asks_parked != NULL && applied > 0) follower_wake(s);
    return applied;
}

void shard_flush(struct shard *s)
{
    if (s->damage != NULL && s->log != NULL) commitlog_flush(s->log); /* what was accepted is kept for when it is whole again */
    if (s->damage != NULL) return;
    relay_retry(s); /* first: what has happened elsewhere makes room there */
    requests_retry(s);
    if (stream_has_news(s->machine->streams)) acknowledge_flush(s);
    due_turn(s);
    commitlog_flush(s->log);
    stream_pump(s->machine->streams, s->options.ports.post, s->options.ports.context);
    if (stream_lacks(s->machine->streams)) resend_read(s);
    entity_table_trim(s->machine->entities);
}

void shard_tick(struct shard *s)
{
    DOMAIN_EACH(s->options.machine.domain, tick, s);
    calls_expire(s, shard_now_ns(s));
    if (s->damage != NULL) return;
    catch_up_expire(s, shard_now_ns(s));
    commitlog_trim(s->log, store_durable_index(s->options.store));
    if (s->limits_owed) (void)propose_limits(s);
    if (stream_has_news(s->machine->streams)) acknowledge_log(s);
    if (s->machine->followed || s->asks_parked != NULL) follower_tick(s);
    uint32_t asked = stream_ask_again(s->machine->streams, shard_now_ns(s) / 1000000);
    metrics_add(&s->options.metrics->stream_asked_again, asked);
    uint64_t last = commitlog_last_index(s->log);
    if (last == s->ticked_index) commitlog_seal(s->log);
    s->ticked_index = last;
}

void shard_report_repeats(const struct shard *s, struct dedup_report *out)
{
    dedup_report(s->machine->dedup, shard_now_ms(s), out);
}

struct machine *shard_machine(struct shard *s) { return s->machine; }
struct machine *request_machine(struct shard *s) { return s->machine; }
struct commitlog *shard_log(struct shard *s) { return s->log; }
uint16_t shard_number(const struct shard *s) { return s->options.machine.shard; }
const struct shard_ports *shard_ports(const struct shard *s) { return &s->options.ports; }
const struct shard_limits *shard_limits(const struct shard *s) { return &s->options.limits; }
const struct domain_setup *shard_setup(const struct shard *s) { return s->options.setup; }
const struct token_keys *shard_token_keys(const struct shard *s) { return s->options.token_keys; }
struct metrics *shard_metrics(const struct shard *s) { return s->options.metrics; }
struct envelope_arena *shard_arena(struct shard *s) { return s->arena; }
struct writer *shard_scratch(struct shard *s)
{
    writer_reset(&s->record);
    return &s->record;
}
void shard_begin_job(struct shard *s) { s->jobs_open++; }
void shard_end_job(struct shard *s)
{
    ASSERT(s->jobs_open > 0);
    s->jobs_open--;
}
uint32_t shard_parked(const struct shard *s) { return s->requests_parked; }
struct buf_pool *shard_pool(const struct shard *s) { return s->options.pool; }
uint64_t shard_now_ms(const struct shard *s) { return s->options.ports.now_ms(s->options.ports.context); }
uint64_t shard_now_ns(const struct shard *s) { return s->options.ports.now_ns(s->options.ports.context); }
void shard_post(struct shard *s, struct letter *letter) { s->options.ports.post(s->options.ports.context, letter); }
