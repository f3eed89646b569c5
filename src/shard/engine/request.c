/* shard/engine/request.c - running handlers, waiting for loads, joining the log, answering.
 * Happy path: run -> request_propose -> needs resident -> check -> append -> … applied -> reply. An entity that is not resident
 * parks the request on its load; the loads of one entity are shared by all who wait for it, and they run on in the order they came.
 * No room for a command (log, store backlog, outbox): a session's request stalls, which stops the reading from sessions (door.h), and
 * is run again in a later turn, the oldest first; what has no session, and could not be stopped, is refused. */
#include "shard/engine/memory.h"
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"
#include "core/logger.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define REPLY_SIZE_MIN 4096
#define RETRY_AFTER_MS 1000
#define RETRIES_PER_TURN 1000
#define STALLED_NS_MAX 10000000000ull

struct waiter {
    struct waiter *next;
    struct request *request;
};

struct loading { /* one entity on its way from the storage thread */
    struct store_job job;
    struct loading *hash_next;
    struct shard *shard;
    struct entity *fresh;
    struct waiter *first, *last;
    uint64_t started_ns;
    enum result result;
    bool too_early; /* the entity was made after the job was asked */
};

static void on_created(void *context, struct entity_key key);

enum result requests_init(struct shard *s)
{
    s->loading = calloc(LOADING_BUCKETS, sizeof(struct loading *));
    s->machine->on_created = on_created;
    s->machine->on_created_context = s;
    return s->loading == NULL ? RESULT_NOMEM : RESULT_OK;
}

/* ---- life ---- */

/* Thousands of requests are under way at a time, nearly all small: their blocks, letter included, have one size and are used again. */
#define REQUEST_BLOCK_SIZE 1024
#ifdef __SANITIZE_ADDRESS__
static const uint32_t blocks_kept_max = 0; /* a request that is used after its end is found */
#else
static const uint32_t blocks_kept_max = 4096;
#endif

struct request_block { /* a free one */
    struct request_block *next;
};

static struct request *request_create(struct shard *s, uint32_t inside_size)
{
    bool pooled = sizeof(struct request) + inside_size <= REQUEST_BLOCK_SIZE;
    size_t size = pooled ? REQUEST_BLOCK_SIZE : sizeof(struct request) + inside_size;
    struct request_block *block = pooled ? s->free_blocks : NULL;
    if (block != NULL) {
        s->free_blocks = block->next;
        s->free_block_count--;
        __builtin_prefetch(block->next, 1); /* freed a batch ago */
    } else {
        block = malloc(size);
        if (block == NULL) check_fatal("out of memory: %zu bytes for a request", size);
    }
    struct request *r = (struct request *)block;
    *r = (struct request){.pooled = pooled};
    needs_init(&r->needs, s->machine);
    s->requests_open++;
    return r;
}

static void request_destroy(struct shard *s, struct request *r)
{
    if (r->letter != (struct letter *)r->inside) letter_free(r->letter);
    if (r->pooled && s->free_block_count < blocks_kept_max) {
        struct request_block *block = (struct request_block *)r;
        block->next = s->free_blocks;
        s->free_blocks = block;
        s->free_block_count++;
    } else {
        free(r);
    }
    ASSERT(s->requests_open > 0);
    s->requests_open--;
}

static void refuse_damaged(struct shard *s, struct request *r) { request_refuse(s, r, ERROR_SHARD_DAMAGED); }

static void request_begin(struct shard *s, struct request *r, struct letter *letter, request_run_f run)
{
    r->letter = letter;
    r->run = s->damage == NULL ? run : refuse_damaged;
    letter_actor(letter, &r->actor);
    request_run(s, r);
}

void request_start_with(struct shard *s, struct letter *letter, request_run_f run, void *state, void (*free_state)(void *state))
{
    ASSERT(letter->parcel == NULL);
    struct request *r = request_create(s, 0);
    r->state = state;
    r->free_state = free_state;
    request_begin(s, r, letter, run);
}

void request_start(struct shard *s, struct letter *letter, request_run_f run)
{
    if (letter->parcel == NULL) {
        request_start_with(s, letter, run, NULL, NULL);
        return;
    }
    struct request *r = request_create(s, letter_room(letter));
    struct letter *own = letter_copy_to(r->inside, letter);
    letter_free(letter);
    request_begin(s, r, own, run);
}

void request_start_here(struct shard *s, const struct method *method, const struct actor_record *actor, struct slice payload,
                        const struct origin *origin, uint64_t session_id)
{
    struct request *r = request_create(s, letter_size(actor, payload));
    struct letter *letter = (struct letter *)r->inside;
    letter_fill(letter, LETTER_REQUEST, s->options.machine.shard, s->options.machine.shard, actor, payload);
    letter->origin = *origin;
    letter->method = method->number;
    letter->number = session_id;
    letter->admitted = true;
    request_begin(s, r, letter, method->handle);
}

void request_set_aside(struct shard *s, struct request *r)
{
    ASSERT(r->stage == REQUEST_RUNNING && (s->running == r || s->running == NULL)); /* its handler, or what goes on after the log */
    s->running = NULL;
}

void request_end(struct shard *s, struct request *r)
{
    if (s->running == r) s->running = NULL;
    needs_release(&r->needs);
    if (r->state != NULL && r->free_state != NULL) r->free_state(r->state);
    if (r->lookup != NULL) r->free_lookup(r->lookup);
    bool secret = r->letter->kind == LETTER_REQUEST && r->actor.user_id == 0; /* register, login: holds a password */
    if (secret) explicit_bzero(r->letter->bytes, r->letter->len);
    request_destroy(s, r);
}

/* ---- waiting for entities ---- */

static struct loading **loading_bucket(struct shard *s, struct entity_key key)
{
    uint64_t words[3] = {key.a, key.b, (uint64_t)key.kind};
    return &s->loading[XXH3_64bits(words, sizeof words) % LOADING_BUCKETS];
}

/* Somebody asked for an id before it was given. If what was made is evicted again before the answer arrives, "does not exist" must
 * not come to stand in its place. */
static void on_created(void *context, struct entity_key key)
{
    struct shard *s = context;
    for (struct loading *l = *loading_bucket(s, key); l != NULL; l = l->hash_next)
        if (entity_key_equal(l->fresh->key, key)) l->too_early = true;
}

static void load_run(struct store_job *job, struct store_view *view) /* storage thread */
{
    struct loading *l = CONTAINER_OF(job, struct loading, job);
    l->result = entity_load(l->shard->machine, l->fresh, view);
}

/* A session is not read from while its requests must wait. */
static bool of_session(const struct request *r) { return r->letter->kind == LETTER_REQUEST && r->letter->number != 0; }

/* Requests of clients that wait are bounded: those of sessions by what is read, the others here; false: this one was refused. */
bool request_wait(struct shard *s, struct request *r, enum request_state stage)
{
    bool bounded = r->letter->kind == LETTER_REQUEST && !of_session(r);
    if (bounded && s->requests_parked >= s->options.limits.requests_parked_max) {
        request_refuse(s, r, ERROR_SERVER_BUSY);
        return false;
    }
    r->stage = stage;
    s->requests_parked++;
    metrics_add(&s->options.metrics->requests_parked, 1);
    return true;
}

void request_resume(struct shard *s, struct request *r)
{
    r->stage = REQUEST_RUNNING;
    ASSERT(s->requests_parked > 0);
    s->requests_parked--;
    metrics_sub(&s->options.metrics->requests_parked, 1);
}

static void request_loaded(struct shard *s, struct request *r, enum result result)
{
    ASSERT(r->stage == REQUEST_PARKED && r->loads_waiting > 0);
    if (result != RESULT_OK) r->needs.missing_count = NEEDS_MISSING_MAX + 1; /* remembered until the last load is back */
    if (--r->loads_waiting > 0) return;
    request_resume(s, r);
    bool failed = r->needs.missing_count > NEEDS_MISSING_MAX;
    r->needs.missing_count = 0;
    bool damaged = failed && store_damage(s->options.store) != NULL;
    if (damaged && r->letter->kind == LETTER_STREAM) {
        request_end(s, r); /* its source keeps it */
        return;
    }
    if (failed && r->letter->kind == LETTER_STREAM)
        check_fatal("shard %u: the store cannot be read: a stream from another shard cannot go on", s->options.machine.shard);
    if (failed) request_refuse(s, r, ERROR_INTERNAL);
    else request_run(s, r);
}

static void load_done(struct store_job *job)
{
    struct loading *l = CONTAINER_OF(job, struct loading, job);
    struct shard *s = l->shard;
    struct entity_key key = l->fresh->key;
    /* While what was made is resident it is the newest there is, and what a load brings meanwhile would be old when that is evicted. */
    if (l->too_early && l->result == RESULT_OK && entity_find(s->machine->entities, key) == NULL) {
        entity_discard(s->machine, l->fresh);
        l->fresh = entity_fresh(s->machine, key);
        l->too_early = false;
        shard_submit(s, &l->job);
        return;
    }
    s->jobs_open--;
    struct loading **link = loading_bucket(s, key);
    while (*link != l) link = &(*link)->hash_next;
    *link = l->hash_next;
    metrics_observe(&s->options.metrics->store_read_ns, shard_now_ns(s) - l->started_ns);
    struct entity *resident = NULL;
    if (l->result == RESULT_OK) {
        resident = entity_adopt(s->machine->entities, l->fresh);
        entity_pin(resident); /* the first waiter's run must not cost the second its entity */
    } else {
        LOG_ERROR("shard", "cannot load an entity shard=%u kind=%s a=%llu b=%llu error=\"%s\"", s->options.machine.shard,
                  entity_type_of(s->machine, l->fresh)->name, (unsigned long long)l->fresh->key.a,
                  (unsigned long long)l->fresh->key.b, result_text(l->result));
        entity_discard(s->machine, l->fresh);
    }
    for (struct waiter *w = l->first; w != NULL;) {
        struct waiter *next = w->next;
        request_loaded(s, w->request, l->result);
        free(w);
        w = next;
    }
    entity_unpin(s->machine->entities, &resident);
    free(l);
}

static struct loading *loading_start(struct shard *s, struct entity_key key)
{
    struct loading **bucket = loading_bucket(s, key);
    for (struct loading *l = *bucket; l != NULL; l = l->hash_next)
        if (entity_key_equal(l->fresh->key, key)) return l;
    struct loading *l = memory_alloc(sizeof *l);
    l->shard = s;
    l->fresh = entity_fresh(s->machine, key);
    l->job.run = load_run;
    l->job.done = load_done;
    l->job.loads = true;
    l->started_ns = shard_now_ns(s);
    l->hash_next = *bucket;
    *bucket = l;
    metrics_add(&s->options.metrics->store_reads, 1);
    s->jobs_open++;
    shard_submit(s, &l->job);
    return l;
}

static void request_park(struct shard *s, struct request *r)
{
    ASSERT(r->needs.missing_count > 0);
    if (!request_wait(s, r, REQUEST_PARKED)) return;
    r->loads_waiting = r->needs.missing_count;
    for (uint32_t i = 0; i < r->loads_waiting; i++) {
        struct loading *l = loading_start(s, r->needs.missing[i]);
        struct waiter *w = memory_alloc(sizeof *w);
        w->request = r;
        if (l->last != NULL) l->last->next = w;
        else l->first = w;
        l->last = w;
    }
}

/* After a handler or a continuation of one: what it unpacked dies, and if it only found entities missing it waits for them. */
static void request_ran(struct shard *s, struct request *r)
{
    bool still = s->running == r && r->stage == REQUEST_RUNNING;
    s->running = NULL;
    envelope_arena_reset(s->arena);
    if (still) request_park(s, r);
}

void request_run(struct shard *s, struct request *r)
{
    ASSERT(r->stage == REQUEST_RUNNING && s->running == NULL);
    r->needs.missing_count = 0;
    s->running = r;
    r->run(s, r);
    request_ran(s, r);
}

struct entity *request_entity(struct shard *s, struct request *r, uint32_t kind, uint64_t a, uint64_t b)
{
    (void)s;
    return needs_entity(&r->needs, kind, a, b);
}

bool request_waits(const struct request *r) { return r->needs.missing_count > 0; }

void *request_unpack(struct shard *s, struct request *r)
{
    const ProtobufCMessageDescriptor *descriptor = envelope_request_descriptor(r->letter->method);
    struct slice payload = letter_payload(r->letter);
    ProtobufCMessage *message = NULL;
    enum result result = envelope_unpack(s->arena, descriptor, payload, &message);
    if (result == RESULT_OK) return message;
    request_refuse(s, r, result == RESULT_NOMEM ? ERROR_BODY_TOO_LARGE : ERROR_BAD_REQUEST); /* another try would not fit either */
    return NULL;
}

/* ---- joining the log ---- */

/* A stream entry has happened elsewhere and is never refused; it waits until the store has caught up (relay.c tries again). */
static enum error may_write(const struct shard *s, bool is_own)
{
    if (s->damage != NULL) return ERROR_SHARD_DAMAGED;
    if (is_own && s->closing) return ERROR_NOT_READY;
    if (is_own && stream_full(s->machine->streams)) return ERROR_SERVER_BUSY;
    if (store_backlog_bytes(s->options.store) > s->options.limits.store_backlog_max_bytes) return ERROR_SERVER_BUSY;
    return ERROR_NONE;
}

/* The command in s->scratch goes into the log batch and waits in order. */
static enum error append(struct shard *s, uint16_t type, struct request *r)
{
    uint64_t index = 0;
    enum result result = commitlog_append(s->log, type, writer_slice(&s->scratch), &index);
    if (result == RESULT_FULL) return ERROR_DISK_FULL;
    if (result != RESULT_OK) return result == RESULT_TOO_LARGE ? ERROR_BODY_TOO_LARGE : ERROR_SERVER_BUSY;
    struct pending *p = r != NULL ? &r->logged : memory_alloc(sizeof *p);
    *p = (struct pending){.index = index,
                          .request = r,
                          .body = slice_of(commitlog_appended(s->log), s->scratch.len),
                          .type = type};
    if (s->pending_last != NULL) s->pending_last->next = p;
    else s->pending_first = p;
    s->pending_last = p;
    metrics_add(&s->options.metrics->commands_proposed, 1);
    return ERROR_NONE;
}

/* The log's newest time is farther ahead of the clock than clocks may differ. */
static bool is_ahead(const struct shard *s, uint64_t now_ms) { return s->last_time_ms > now_ms + s->options.limits.clock_skew_max_ms; }

uint64_t request_time_ms(const struct shard *s)
{
    uint64_t now_ms = shard_now_ms(s);
    return is_ahead(s, now_ms) || s->last_time_ms < now_ms ? now_ms : s->last_time_ms;
}

/* Never before the log's newest time, but where that is farther ahead of the clock than clocks may differ: it was taken from a clock
 * that was wrong, and would stand still until that time has come. */
static uint64_t command_time_ms(struct shard *s)
{
    uint64_t now_ms = shard_now_ms(s);
    if (is_ahead(s, now_ms)) {
        LOG_WARN("shard", "the log's newest time is ahead of the clock: its time goes back shard=%u by_ms=%llu",
                 s->options.machine.shard, (unsigned long long)(s->last_time_ms - now_ms));
        metrics_add(&s->options.metrics->log_time_set_back, 1);
        s->last_time_ms = now_ms;
    } else if (s->last_time_ms < now_ms) {
        s->last_time_ms = now_ms;
    }
    return s->last_time_ms;
}

static struct command frame_command(struct shard *s, uint16_t type, uint64_t actor_id, struct slice record)
{
    struct command_record frame = {.time_ms = command_time_ms(s), .actor_id = actor_id};
    writer_reset(&s->scratch);
    command_record_write(&s->scratch, &frame);
    writer_raw(&s->scratch, record.data, record.len);
    return (struct command){.type = type, .time_ms = frame.time_ms, .actor_id = actor_id, .body = record};
}

enum error request_append_own(struct shard *s, uint16_t type, struct slice record)
{
    enum error error = shard_incarnate(s);
    if (error != ERROR_NONE) return error;
    frame_command(s, type, 0, record);
    return append(s, type, NULL);
}

enum error request_try_propose(struct shard *s, struct request *r, uint16_t type, struct slice record,
                               void (*then)(struct shard *, struct request *, enum error))
{
    const struct command_row *row = domain_command(s->options.machine.domain, type);
    struct command command = frame_command(s, type, r->actor.user_id, record);
    command_needs(row, &r->needs, &command);
    if (request_waits(r)) return ERROR_NONE;
    s->machine->pinned = &r->needs;
    enum error error = command_check(row, s->machine, &command);
    s->machine->pinned = NULL;
    if (error == ERROR_NONE) error = may_write(s, type != COMMAND_RELAY);
    if (error == ERROR_NONE && s->incarnation_due) {
        error = shard_incarnate(s);
        (void)frame_command(s, type, r->actor.user_id, record); /* that of the incarnation stood in its place */
    }
    if (error == ERROR_NONE) error = append(s, type, r);
    if (error != ERROR_NONE) return error;
    r->stage = REQUEST_LOGGED;
    r->then = then;
    r->entities_made = s->machine->entities_made;
    return ERROR_NONE;
}

/* Its handler can be run again, and a client that is not read from can wait; but not for ever: the store's disk may be full. */
static bool may_stall(const struct shard *s, const struct request *r)
{
    bool overdue = r->stalled_ns != 0 && shard_now_ns(s) - r->stalled_ns > STALLED_NS_MAX;
    return of_session(r) && r->state == NULL && !overdue;
}

static void stall(struct shard *s, struct request *r)
{
    bool waits = request_wait(s, r, REQUEST_STALLED);
    ASSERT(waits);
    if (r->stalled_ns == 0) r->stalled_ns = shard_now_ns(s);
    bool first = s->stalled_first == NULL || s->retried == r; /* it keeps its place */
    r->next_stalled = first ? s->stalled_first : NULL;
    if (first) s->stalled_first = r;
    else s->stalled_last->next_stalled = r;
    if (r->next_stalled == NULL) s->stalled_last = r;
}

static struct request *unstall(struct shard *s)
{
    struct request *r = s->stalled_first;
    s->stalled_first = r->next_stalled;
    if (s->stalled_first == NULL) s->stalled_last = NULL;
    request_resume(s, r);
    return r;
}

static void give_up(struct shard *s, struct request *r)
{
    if (r->letter->kind == LETTER_STREAM) request_end(s, r);
    else request_refuse(s, r, ERROR_SHARD_DAMAGED);
}

void requests_give_up(struct shard *s)
{
    while (s->pending_first != NULL) {
        struct pending *p = s->pending_first;
        s->pending_first = p->next;
        if (p->request != NULL) give_up(s, p->request);
        else free(p);
    }
    s->pending_last = NULL;
    while (s->stalled_first != NULL) give_up(s, unstall(s));
}

void requests_retry(struct shard *s)
{
    for (uint32_t n = 0; n < RETRIES_PER_TURN && s->stalled_first != NULL; n++) {
        bool waits = may_stall(s, s->stalled_first) && may_write(s, true) == ERROR_SERVER_BUSY;
        if (waits) return;
        struct request *r = unstall(s);
        s->retried = r;
        request_run(s, r);
        s->retried = NULL;
        if (s->stalled_first == r) return;
    }
}

void request_propose_then(struct shard *s, struct request *r, uint16_t type, struct slice record,
                          void (*then)(struct shard *, struct request *, enum error))
{
    bool in_line = s->stalled_first != NULL && s->retried != r; /* nobody passes those who wait */
    enum error error = in_line ? ERROR_SERVER_BUSY : request_try_propose(s, r, type, record, then);
    if (error == ERROR_SERVER_BUSY && may_stall(s, r)) stall(s, r);
    else if (error != ERROR_NONE) request_refuse(s, r, error);
}

void request_propose(struct shard *s, struct request *r, uint16_t type, struct slice record)
{
    request_propose_then(s, r, type, record, NULL);
}

static void internal_run(struct shard *s, struct request *r)
{
    enum error error = request_try_propose(s, r, r->letter->method, letter_payload(r->letter), NULL);
    if (error != ERROR_NONE) request_end(s, r);
}

void shard_propose_internal(struct shard *s, uint16_t type, uint64_t actor_id, struct slice record)
{
    if (may_write(s, true) != ERROR_NONE) return;
    struct actor_record actor = {.user_id = actor_id};
    uint16_t here = s->options.machine.shard;
    struct letter *letter = letter_make(LETTER_OWN, here, here, &actor, record); /* no client behind it: never answered */
    letter->method = type;
    struct request *outer = s->running; /* may be called from within a handler's effects */
    s->running = NULL;
    request_start(s, letter, internal_run);
    s->running = outer;
}

bool request_ready(struct shard *s, struct request *r, const struct command *command)
{
    ASSERT(r->stage == REQUEST_LOGGED);
    if (r->entities_made == s->machine->entities_made) return true;
    r->needs.missing_count = 0;
    command_needs(domain_command(s->options.machine.domain, command->type), &r->needs, command);
    for (uint32_t i = 0; i < r->needs.missing_count; i++) loading_start(s, r->needs.missing[i]);
    return r->needs.missing_count == 0;
}

void request_applied(struct shard *s, struct request *r)
{
    ASSERT(r->stage == REQUEST_LOGGED);
    struct effects *effects = &s->effects;
    r->stage = REQUEST_RUNNING;
    if (r->then != NULL) r->then(s, r, effects->error);
    else if (effects->error != ERROR_NONE) request_refuse(s, r, effects->error);
    else request_reply_packed(s, r, writer_slice(&effects->reply));
}

/* ---- reading ---- */

static void read_run(struct store_job *job, struct store_view *view) /* storage thread */
{
    struct read_job *j = CONTAINER_OF(job, struct read_job, job);
    j->read(j, view);
}

static void read_done(struct store_job *job)
{
    struct read_job *j = CONTAINER_OF(job, struct read_job, job);
    struct shard *s = j->shard;
    struct request *r = j->request;
    s->jobs_open--;
    ASSERT(r->stage == REQUEST_READING);
    request_resume(s, r);
    metrics_observe(&s->options.metrics->store_read_ns, shard_now_ns(s) - j->started_ns);
    if (j->error != ERROR_NONE) request_refuse(s, r, j->error);
    else if (j->then != NULL) j->then(s, r, j);
    else request_reply_packed(s, r, writer_slice(&j->reply));
    writer_deinit(&j->reply);
    free(j);
}

void request_read_then(struct shard *s, struct request *r, void (*read)(struct read_job *, struct store_view *), const void *params,
                       uint32_t size, void (*then)(struct shard *, struct request *, struct read_job *))
{
    if (!request_wait(s, r, REQUEST_READING)) return;
    struct read_job *j = memory_alloc(sizeof *j + size);
    j->shard = s;
    j->request = r;
    j->read = read;
    j->then = then;
    j->page_cost_max = s->options.limits.page_cost_max;
    j->job.run = read_run;
    j->job.done = read_done;
    j->started_ns = shard_now_ns(s);
    writer_init(&j->reply, 0);
    if (size > 0) memcpy(j->params, params, size);
    metrics_add(&s->options.metrics->store_reads, 1);
    s->jobs_open++;
    shard_submit(s, &j->job);
}

void request_read(struct shard *s, struct request *r, void (*read)(struct read_job *, struct store_view *), const void *params,
                  uint32_t size)
{
    request_read_then(s, r, read, params, size, NULL);
}

/* ---- work elsewhere ---- */

void request_job_begin(struct shard *s, struct request *r)
{
    r->stage = REQUEST_CALLING;
    shard_begin_job(s);
}

void request_job_end(struct shard *s, struct request *r, void (*then)(struct shard *, struct request *, void *), void *context)
{
    ASSERT(r->stage == REQUEST_CALLING);
    r->stage = REQUEST_RUNNING;
    shard_end_job(s);
    ASSERT(s->running == NULL);
    s->running = r; /* `then` is a continuation of the handler: it may find needs missing */
    then(s, r, context);
    request_ran(s, r);
}

/* ---- answers ---- */

/* Another shard's question that failed: it must hear that, or its request would wait for ever. */
static void answer_question(struct shard *s, const struct letter *question, uint16_t kind, enum error error)
{
    struct letter *reply = letter_create(kind, s->options.machine.shard, question->from_shard, 0);
    reply->number = question->number;
    reply->error = (uint8_t)error;
    shard_post(s, reply);
}

/* The memory of answers is the shard's: as large as the largest so far. */
static struct letter *reply_letter(struct shard *s, struct slice payload)
{
    uint32_t size = letter_size(NULL, payload);
    if (size > s->reply_size) {
        s->reply_size = size < REPLY_SIZE_MIN ? REPLY_SIZE_MIN : size;
        s->reply = memory_resize(s->reply, s->reply_size);
    }
    letter_fill(s->reply, LETTER_REPLY, s->options.machine.shard, 0, NULL, payload);
    return s->reply;
}

/* A shard asked, for one of its users: it is told what became of that. */
static void answer_shard(struct shard *s, const struct answer *answer)
{
    const uint8_t error = (uint8_t)answer->error;
    if (answer->origin->slot >= s->options.machine.shard_count) return; /* of a letter that no shard wrote */
    struct letter *letter = letter_make(LETTER_ANSWERED, s->options.machine.shard, (uint16_t)answer->origin->slot, NULL, slice_of(&error, 1));
    letter->number = answer->origin->generation;
    shard_post(s, letter);
}

void request_answer(struct shard *s, const struct answer *answer)
{
    if (answer->origin->worker == ORIGIN_SHARD) {
        answer_shard(s, answer);
        return;
    }
    struct letter *reply = reply_letter(s, answer->payload);
    reply->origin = *answer->origin;
    reply->method = answer->method;
    reply->error = (uint8_t)answer->error;
    reply->retry_after_ms = answer->retry_after_ms;
    reply->noted = answer->noted;
    reply->number = answer->user_id;
    s->options.ports.reply(s->options.ports.context, reply);
}

static void answer(struct shard *s, struct request *r, enum error error, struct slice payload)
{
    const struct letter *question = r->letter;
    if (error == ERROR_INTERNAL && store_damage(s->options.store) != NULL) error = ERROR_SHARD_DAMAGED; /* a read met it */
    const struct letter_row *row = domain_letter(s->options.machine.domain, question->kind);
    if (row != NULL && row->answer != 0 && error != ERROR_NONE) answer_question(s, question, row->answer, error);
    if (question->kind == LETTER_REQUEST) {
        bool busy = error == ERROR_SERVER_BUSY || error == ERROR_DISK_FULL || error == ERROR_NO_ANSWER;
        request_answer(s, &(struct answer){.origin = &question->origin,
                                           .method = question->method,
                                           .error = error,
                                           .retry_after_ms = busy ? RETRY_AFTER_MS : 0,
                                           .payload = payload});
    }
    request_end(s, r);
}

void request_reply_packed(struct shard *s, struct request *r, struct slice packed) { answer(s, r, ERROR_NONE, packed); }

void request_reply(struct shard *s, struct request *r, const ProtobufCMessage *message)
{
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, message);
    request_reply_packed(s, r, writer_slice(&packed));
    writer_deinit(&packed);
}

void request_refuse(struct shard *s, struct request *r, enum error error) { answer(s, r, error, SLICE_EMPTY); }

void request_refuse_letter(struct shard *s, struct request *r)
{
    shard_note_letter(s, r->letter);
    request_refuse(s, r, ERROR_BAD_REQUEST);
}

void request_refuse_because(struct shard *s, struct request *r, enum error error, const char *detail)
{
    answer(s, r, error, slice_text(detail));
}

void request_refuse_peer(struct shard *s, struct request *r, enum error error, const char *detail, enum refusal refusal,
                         uint64_t user_id)
{
    ASSERT(r->letter->kind == LETTER_REQUEST);
    request_answer(s, &(struct answer){.origin = &r->letter->origin,
                                       .method = r->letter->method,
                                       .error = error,
                                       .payload = detail == NULL ? SLICE_EMPTY : slice_text(detail),
                                       .noted = (uint8_t)(refusal + 1),
                                       .user_id = user_id});
    request_end(s, r);
}

void requests_deinit(struct shard *s)
{
    while (s->pending_first != NULL) { /* closed without being idle: nobody hears of these, the log may still have them */
        struct pending *p = s->pending_first;
        s->pending_first = p->next;
        if (p->request != NULL) request_end(s, p->request);
        else free(p);
    }
    while (s->stalled_first != NULL) request_end(s, unstall(s));
    while (s->free_blocks != NULL) {
        struct request_block *block = s->free_blocks;
        s->free_blocks = block->next;
        free(block);
    }
    free(s->reply);
    free(s->loading);
}
