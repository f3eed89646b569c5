/* shard/engine/call.c - questions to other shards, and the one most asked: who are these people?
 * Happy path: request_call_begin registers the waiting request and the number of letters it expects; each answer names the call
 * by number; after the last one `then` runs. A shard asks itself through the same letters.
 * Failure mode: an answer with an error refuses the request. Calls end only with their answers: rings lose nothing. */
#include "shard/engine/memory.h"
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"

#define CALLS_MAX 65536 /* under way per shard; beyond it request_call_begin gives 0 and the request is refused */

/* ---- calls ---- */

uint64_t request_call_begin(struct shard *s, struct request *r, uint32_t answers,
                            void (*on_answer)(struct shard *, struct request *, struct letter *),
                            void (*then)(struct shard *, struct request *))
{
    ASSERT(answers > 0 && r->stage == REQUEST_RUNNING);
    if (s->call_count == s->call_capacity) {
        if (s->call_capacity == CALLS_MAX) {
            request_refuse(s, r, ERROR_SERVER_BUSY);
            return 0;
        }
        uint32_t capacity = s->call_capacity == 0 ? 64 : s->call_capacity * 2;
        s->calls = memory_resize(s->calls, capacity * sizeof *s->calls);
        memset(s->calls + s->call_capacity, 0, (capacity - s->call_capacity) * sizeof *s->calls);
        s->call_capacity = capacity;
    }
    uint32_t at = (uint32_t)(s->next_call % s->call_capacity);
    while (s->calls[at].number != 0) at = (at + 1) % s->call_capacity;
    uint64_t number = s->next_call++ << 16 | at; /* the place in the table, and what tells it from an older one */
    s->calls[at] = (struct call){number, r, answers, on_answer, then};
    s->call_count++;
    r->stage = REQUEST_CALLING;
    return number;
}

void request_call_answer(struct shard *s, struct letter *letter)
{
    uint32_t at = (uint32_t)(letter->number & 0xffff);
    ASSERT(at < s->call_capacity && s->calls[at].number == letter->number);
    struct call *call = &s->calls[at];
    struct request *r = call->request;
    if (letter->error != ERROR_NONE) r->letter->error = letter->error; /* remembered until the last answer is in */
    else call->on_answer(s, r, letter);
    letter_free(letter);
    if (--call->answers_left > 0) return;
    void (*then)(struct shard *, struct request *) = call->then;
    *call = (struct call){0};
    s->call_count--;
    r->stage = REQUEST_RUNNING;
    if (r->letter->error != ERROR_NONE) request_refuse(s, r, (enum error)r->letter->error);
    else then(s, r);
}

void calls_deinit(struct shard *s)
{
    for (uint32_t i = 0; i < s->call_capacity; i++)
        if (s->calls[i].number != 0) request_end(s, s->calls[i].request);
    free(s->calls);
    s->calls = NULL;
    s->call_capacity = 0;
}

/* ---- people ---- */

#define ANSWER_FIELDS(F) F(u64, user_id) F(u8, exists) F(u32, group_count) F(u32, unanswered_count) F(bytes, name) F(bytes, user_name)
RECORD(answer, ANSWER_FIELDS)

struct people {
    struct people_answer *answers; /* in the order asked */
    uint32_t count;
    struct letter *letters; /* kept: names are borrowed from them */
};

void people_free(struct people *p)
{
    if (p == NULL) return;
    while (p->letters != NULL) {
        struct letter *l = p->letters;
        p->letters = l->next;
        letter_free(l);
    }
    free(p->answers);
    free(p);
}

static void people_on_answer(struct shard *s, struct request *r, struct letter *letter)
{
    (void)s;
    struct people *p = r->people;
    struct letter *kept = letter_make(letter->kind, letter->from_shard, letter->to_shard, NULL, letter_payload(letter));
    kept->next = p->letters;
    p->letters = kept;
    struct cursor c = cursor_of(letter_payload(kept));
    while (cursor_left(&c) > 0) {
        struct answer_record record;
        bool read = answer_record_read(&record, &c);
        ASSERT(read);
        for (uint32_t i = 0; i < p->count; i++)
            if (p->answers[i].user_id == record.user_id)
                p->answers[i] = (struct people_answer){record.user_id, record.exists != 0, record.group_count, record.unanswered_count,
                                                       record.name, record.user_name};
    }
}

/* One letter to each shard that owns some of the ids. */
static void people_ask(struct shard *s, uint64_t call, const uint64_t *ids, uint32_t count)
{
    struct writer w;
    writer_init(&w, 0);
    for (uint16_t shard = 0; shard < s->options.machine.shard_count; shard++) {
        writer_reset(&w);
        for (uint32_t i = 0; i < count; i++)
            if (id_partition(ids[i]) == shard) writer_u64(&w, ids[i]);
        if (w.len == 0) continue;
        struct letter *letter = letter_make(LETTER_ASK_PEOPLE, s->options.machine.shard, shard, NULL, writer_slice(&w));
        letter->number = call;
        shard_post(s, letter);
    }
    writer_deinit(&w);
}

static uint32_t people_shards(const struct shard *s, const uint64_t *ids, uint32_t count)
{
    uint32_t shards = 0;
    for (uint16_t shard = 0; shard < s->options.machine.shard_count; shard++) {
        bool any = false;
        for (uint32_t i = 0; i < count && !any; i++) any = id_partition(ids[i]) == shard;
        shards += any;
    }
    return shards;
}

bool request_people(struct shard *s, struct request *r, const uint64_t *ids, uint32_t count, const struct people_answer **people)
{
    if (r->people != NULL) {
        ASSERT(r->people->count == count);
        *people = r->people->answers;
        return true;
    }
    r->people = memory_alloc(sizeof *r->people);
    r->people->answers = memory_alloc((size_t)count * sizeof *r->people->answers + 1);
    r->people->count = count;
    for (uint32_t i = 0; i < count; i++) r->people->answers[i].user_id = ids[i];
    *people = r->people->answers;
    uint32_t shards = people_shards(s, ids, count);
    if (shards == 0) return true; /* ids of no shard here: nobody exists */
    uint64_t call = request_call_begin(s, r, shards, people_on_answer, request_run);
    if (call != 0) people_ask(s, call, ids, count);
    return false;
}

/* The asked shard. */
void people_run(struct shard *s, struct request *r)
{
    struct slice ids = letter_payload(r->letter);
    ASSERT(ids.len % 8 == 0);
    struct cursor c = cursor_of(ids);
    while (cursor_left(&c) > 0) request_entity(s, r, ENTITY_INBOX, cursor_u64(&c), 0);
    if (request_waits(r)) return;
    struct writer w;
    writer_init(&w, 0);
    c = cursor_of(ids);
    while (cursor_left(&c) > 0) {
        uint64_t id = cursor_u64(&c);
        const struct inbox *inbox = inbox_of(request_entity(s, r, ENTITY_INBOX, id, 0));
        struct answer_record record = {.user_id = id, .exists = inbox->entity.exists, .group_count = inbox_group_count(inbox),
                                       .unanswered_count = inbox->unanswered_count};
        if (inbox->entity.exists) {
            record.name = slice_text(inbox->display_name);
            record.user_name = slice_text(inbox->name);
        }
        answer_record_write(&w, &record);
    }
    struct letter *letter =
        letter_make(LETTER_TELL_PEOPLE, s->options.machine.shard, r->letter->from_shard, NULL, writer_slice(&w));
    letter->number = r->letter->number;
    writer_deinit(&w);
    request_end(s, r);
    shard_post(s, letter);
}
