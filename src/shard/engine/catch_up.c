/* shard/engine/catch_up.c - a request waits until this shard has heard what another one had decided before.
 * A join is acknowledged by the room's shard, and the new member's home hears of it in the stream from there, a disk write later. What the
 * member asks of the home shard in between would be answered as if the join had not been. So, before that shard says "you are no
 * member", it asks the room's shard how much it has told so far, and answers when all of that is applied here.
 * Happy path: ASK_POSITION -> TELL_POSITION {entries emitted to us} -> applied already, or wait for the streams -> run again.
 * It ends as the streams do, or after CALL_TIMEOUT_MS with a refusal. A damaged shard sends nothing either, and says so when it is asked; who waits in one that is
 * found damaged is refused. */
#include "shard/engine/shard_internal.h"

static bool has_caught_up(const struct shard *s, const struct request *r)
{
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
    if (has_caught_up(s, r)) {
        go_on(s, r);
        return;
    }
    r->stage = REQUEST_CALLING;
    r->next_behind = s->behind;
    s->behind = r;
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

void catch_up_resume(struct shard *s)
{
    struct request *waiting = s->behind;
    s->behind = NULL;
    while (waiting != NULL) {
        struct request *r = waiting;
        waiting = r->next_behind;
        r->stage = REQUEST_RUNNING;
        position_known(s, r);
    }
}

void catch_up_expire(struct shard *s, uint64_t now_ns)
{
    struct request **link = &s->behind;
    while (*link != NULL) {
        struct request *r = *link;
        if (r->awaited_until_ns > now_ns) {
            link = &r->next_behind;
            continue;
        }
        *link = r->next_behind;
        metrics_add(&s->options.metrics->calls_overdue, 1);
        request_refuse(s, r, ERROR_NO_ANSWER);
    }
}

void catch_up_give_up(struct shard *s)
{
    while (s->behind != NULL) {
        struct request *r = s->behind;
        s->behind = r->next_behind;
        request_refuse(s, r, ERROR_SHARD_DAMAGED);
    }
}

void catch_up_deinit(struct shard *s)
{
    while (s->behind != NULL) {
        struct request *r = s->behind;
        s->behind = r->next_behind;
        request_end(s, r);
    }
}
