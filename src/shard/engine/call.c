/* shard/engine/call.c - questions to other shards.
 * Happy path: request_call_begin registers the waiting request, request_call_ask whom it asks; each answer names the call by number and
 * comes from one of them; after the last one `then` runs. A shard asks itself through the same letters.
 * Failure modes: an answer with an error refuses the request (unless request_call_forgive() says that it does not matter); so does an answer that does not come in time, for a letter may be lost, and
 * what comes later is dropped. Questions change nothing but who watches whom, so the one who asked may ask again. */
#include "shard/engine/memory.h"
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"

#define CALLS_MAX 65536 /* under way per shard; beyond it request_call_begin gives 0 and the request is refused */

/* Bits of 64 shards in a word. */
static uint32_t askee_words(const struct shard *s) { return (s->options.machine.shard_count + 63u) / 64u; }

static uint64_t *askee_word(struct shard *s, uint32_t at, uint16_t shard) { return &s->call_askees[at * askee_words(s) + shard / 64u]; }

static uint64_t askee_bit(uint16_t shard) { return UINT64_C(1) << shard % 64u; }

static void calls_grow(struct shard *s)
{
    uint32_t capacity = s->call_capacity == 0 ? 64 : s->call_capacity * 2, words = askee_words(s), more = capacity - s->call_capacity;
    s->calls = memory_resize(s->calls, capacity * sizeof *s->calls);
    s->call_askees = memory_resize(s->call_askees, (size_t)capacity * words * sizeof *s->call_askees);
    memset(s->calls + s->call_capacity, 0, more * sizeof *s->calls);
    memset(s->call_askees + (size_t)s->call_capacity * words, 0, (size_t)more * words * sizeof *s->call_askees);
    s->call_capacity = capacity;
}

uint64_t request_call_begin(struct shard *s, struct request *r, bool (*on_answer)(struct shard *, struct request *, struct letter *),
                            void (*then)(struct shard *, struct request *))
{
    ASSERT(r->stage == REQUEST_RUNNING);
    if (s->call_count == CALLS_MAX) {
        request_refuse(s, r, ERROR_SERVER_BUSY);
        return 0;
    }
    if (s->call_count == s->call_capacity) calls_grow(s);
    uint32_t at = (uint32_t)(s->next_call % s->call_capacity);
    while (s->calls[at].number != 0) at = (at + 1) % s->call_capacity;
    uint64_t number = s->next_call++ << 16 | at; /* the place in the table, and what tells it from an older one */
    s->calls[at] = (struct call){.number = number,
                                 .request = r,
                                 .until_ns = shard_now_ns(s) + CALL_TIMEOUT_MS * 1000000ull,
                                 .on_answer = on_answer,
                                 .then = then};
    s->call_count++;
    r->stage = REQUEST_CALLING;
    return number;
}

uint64_t request_last_call(const struct shard *s) { return (s->next_call << 16) - 1; }

static struct call *call_find(struct shard *s, uint64_t number)
{
    uint32_t at = (uint32_t)(number & 0xffff);
    return number != 0 && at < s->call_capacity && s->calls[at].number == number ? &s->calls[at] : NULL;
}

void request_call_ask(struct shard *s, uint64_t number, struct letter *letter)
{
    struct call *call = call_find(s, number);
    ASSERT(call != NULL);
    uint64_t *word = askee_word(s, (uint32_t)(call - s->calls), letter->to_shard), bit = askee_bit(letter->to_shard);
    ASSERT((*word & bit) == 0);
    *word |= bit;
    call->answers_left++;
    letter->number = number;
    shard_post(s, letter);
}

void request_call_forgive(struct shard *s, uint64_t number)
{
    struct call *call = call_find(s, number);
    ASSERT(call != NULL);
    call->forgives = true;
}

/* Its request goes on, or is refused for what an answer said. */
static void call_end(struct shard *s, struct call *call)
{
    struct request *r = call->request;
    void (*then)(struct shard *, struct request *) = call->then;
    uint32_t at = (uint32_t)(call - s->calls);
    bool forgives = call->forgives;
    *call = (struct call){0};
    memset(&s->call_askees[at * askee_words(s)], 0, askee_words(s) * sizeof *s->call_askees);
    s->call_count--;
    r->stage = REQUEST_RUNNING;
    if (forgives) r->letter->error = ERROR_NONE;
    if (r->letter->error != ERROR_NONE) request_refuse(s, r, (enum error)r->letter->error);
    else then(s, r);
}

/* The call whose question this answers for the first time. */
static struct call *call_answered(struct shard *s, const struct letter *letter)
{
    struct call *call = call_find(s, letter->number);
    if (call == NULL || letter->from_shard >= s->options.machine.shard_count) return NULL;
    uint64_t *word = askee_word(s, (uint32_t)(call - s->calls), letter->from_shard), bit = askee_bit(letter->from_shard);
    if ((*word & bit) == 0) return NULL;
    *word &= ~bit;
    call->answers_left--;
    return call;
}

void request_call_answer(struct shard *s, struct letter *letter)
{
    struct call *call = call_answered(s, letter);
    if (call == NULL) {
        metrics_add(&s->options.metrics->answers_late, 1);
        letter_free(letter);
        return;
    }
    struct request *r = call->request;
    enum error error = letter->error < ERROR_COUNT ? (enum error)letter->error : ERROR_INTERNAL;
    if (error == ERROR_NONE && !call->on_answer(s, r, letter)) {
        shard_note_letter(s, letter);
        error = ERROR_INTERNAL;
    }
    if (error != ERROR_NONE) r->letter->error = (uint8_t)error; /* remembered until the last answer is in */
    letter_free(letter);
    if (call->answers_left == 0) call_end(s, call);
}

void calls_expire(struct shard *s, uint64_t now_ns)
{
    for (uint32_t i = 0; i < s->call_capacity && s->call_count > 0; i++) {
        struct call *call = &s->calls[i];
        if (call->number == 0 || call->until_ns > now_ns) continue;
        metrics_add(&s->options.metrics->calls_overdue, 1);
        call->request->letter->error = ERROR_NO_ANSWER;
        call_end(s, call);
    }
}

void calls_deinit(struct shard *s)
{
    for (uint32_t i = 0; i < s->call_capacity; i++)
        if (s->calls[i].number != 0) request_end(s, s->calls[i].request);
    free(s->calls);
    free(s->call_askees);
    s->calls = NULL;
    s->call_askees = NULL;
    s->call_capacity = 0;
}
