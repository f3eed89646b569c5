/* shard/engine/catch_up.c - a request waits until this shard has heard what another one had decided before.
 * A join is acknowledged by the room's shard, and the new member's home hears of it in the stream from there, a disk write later. What the
 * member asks of the home shard in between would be answered as if the join had not been. So, before that shard says "you are no
 * member", it asks the room's shard how much it has told so far, and answers when all of that is applied here.
 * Happy path: ASK_POSITION -> TELL_POSITION {entries emitted to us} -> applied already, or wait for the streams -> run again.
 * Who waits for the streams is parked, and counts as such; those that may go on do so in the order they came.
 * It ends as the streams do, or after CALL_TIMEOUT_MS with a refusal. A damaged shard sends nothing either, and says so when it is asked; who waits in one that is
 * found damaged is refused. */
#include "shard/engine/shard_internal.h"

static bool has_caught_up(const struct shard *s, const struct request *r, uint64_t now_ns)
{
    (void)now_ns;
    return stream_applied(s->machine->streams, r->awaited_peer) >= r->awaited;
}

static bool on_position(struct shard *s, struct request *r, struct letter *letter)
{
    (void)s;
    struct cursor c = cursor_of(letter_payload(letter));
    r->awaited = cursor_u64(&c);
    return cursor_done(&c);
}

static void go_on(struct shard *s, struct request *r)
{
    r->caught_up = true;
    request_run(s, r);
}

static void position_known(struct shard *s, struct request *r)
{
    if (has_caught_up(s, r, 0)) {
        go_on(s, r);
        return;
    }
    if (!request_wait(s, r, REQUEST_CALLING)) return;
    r->next_behind = NULL;
    if (s->behind == NULL) s->behind = r;
    else s->behind_last->next_behind = r;
    s->behind_last = r;
}

bool request_catch_up(struct shard *s, struct request *r, uint16_t peer)
{
    uint16_t here = s->options.machine.shard;
    if (r->caught_up || peer == here || peer >= s->options.machine.shard_count) return true;
    uint64_t call = request_call_begin(s, r, on_position, position_known);
    if (call == 0) return false;
    r->awaited_peer = peer;
    r->awaited_until_ns = shard_now_ns(s) + CALL_TIMEOUT_MS * 1000000ull;
    request_call_ask(s, call, letter_create(LETTER_ASK_POSITION, here, peer, 0));
    return false;
}

void catch_up_answer(struct shard *s, const struct letter *question)
{
    if (question->from_shard == s->options.machine.shard) { /* what happens here is never behind */
        shard_note_letter(s, question);
        return;
    }
    uint64_t emitted = stream_position(s->machine->streams, question->from_shard).emitted;
    struct letter *letter = letter_make(LETTER_TELL_POSITION, s->options.machine.shard, question->from_shard, NULL,
                                        slice_of((const uint8_t *)&emitted, sizeof emitted));
    letter->number = question->number;
    if (s->damage != NULL) letter->error = ERROR_SHARD_DAMAGED;
    shard_post(s, letter);
}

/* ---- out of the list ---- */

typedef bool leaves_f(const struct shard *shard, const struct request *request, uint64_t now_ns);

/* Those that leave, in order; next_leaving() gives one after the other. */
static struct request *take_leaving(struct shard *s, leaves_f *leaves, uint64_t now_ns)
{
    struct request *leaving = NULL, **last = &leaving, **link = &s->behind;
    s->behind_last = NULL;
    while (*link != NULL) {
        struct request *r = *link;
        if (leaves(s, r, now_ns)) {
            *link = r->next_behind;
            r->next_behind = NULL;
            *last = r;
            last = &r->next_behind;
        } else {
            s->behind_last = r;
            link = &r->next_behind;
        }
    }
    return leaving;
}

/* NULL: there are no more. */
static struct request *next_leaving(struct shard *s, struct request **leaving)
{
    struct request *r = *leaving;
    if (r == NULL) return NULL;
    *leaving = r->next_behind;
    request_resume(s, r);
    return r;
}

void catch_up_resume(struct shard *s)
{
    struct request *leaving = take_leaving(s, has_caught_up, 0);
    for (struct request *r; (r = next_leaving(s, &leaving)) != NULL;) go_on(s, r);
}

static bool is_overdue(const struct shard *s, const struct request *r, uint64_t now_ns)
{
    (void)s;
    return r->awaited_until_ns <= now_ns;
}

void catch_up_expire(struct shard *s, uint64_t now_ns)
{
    struct request *leaving = take_leaving(s, is_overdue, now_ns);
    for (struct request *r; (r = next_leaving(s, &leaving)) != NULL;) {
        metrics_add(&s->options.metrics->calls_overdue, 1);
        request_refuse(s, r, ERROR_NO_ANSWER);
    }
}

static bool is_anyone(const struct shard *s, const struct request *r, uint64_t now_ns)
{
    (void)s;
    (void)r;
    (void)now_ns;
    return true;
}

void catch_up_give_up(struct shard *s)
{
    struct request *leaving = take_leaving(s, is_anyone, 0);
    for (struct request *r; (r = next_leaving(s, &leaving)) != NULL;) request_refuse(s, r, ERROR_SHARD_DAMAGED);
}

void catch_up_deinit(struct shard *s)
{
    struct request *leaving = take_leaving(s, is_anyone, 0);
    for (struct request *r; (r = next_leaving(s, &leaving)) != NULL;) request_end(s, r);
}
