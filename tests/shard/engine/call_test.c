/* tests/shard/engine/call_test.c - questions to other shards whose answers are lost, late, repeated, or none that a shard would give. */
#include "shard/domain/letters.h"
#include "shard/engine/shard_internal.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>

static uint64_t ada, bob, eve; /* on shards 0, 1, 2 */

static void setup(void)
{
    rig_begin(3);
    rig_open();
    ada = rig_add_user(0, "ada");
    bob = rig_add_user(1, "bob");
    eve = rig_add_user(2, "eve");
    rig_know(ada, "phone");
}

TestSuite(call, .init = setup, .fini = rig_close);

static struct letter *answers[4]; /* kept from ada's shard, in the order they came */
static uint32_t answer_count;

/* ada asks who of all is there; the shards have answered, and she has not heard it. */
static void ask(void)
{
    Ringpost__V1__PresenceRequest in = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    uint64_t ids[] = {bob, eve};
    in.user_ids = ids;
    in.n_user_ids = 2;
    struct actor_record actor = rig_actor(ada, "phone");
    rig.letters_held = true;
    rig.reply_count = 0;
    rig_send(&actor, 0, 0, "/v1/presence/get", &in.base);
    for (bool moved = true; moved;) {
        moved = rig_turn();
        struct letter *letter = rig_take_letter();
        if (letter == NULL) continue;
        moved = true;
        if (letter->kind == LETTER_WATCHED) answers[answer_count++] = letter;
        else shard_receive(rig.shards[letter->to_shard], letter);
    }
    rig.letters_held = false;
    cr_assert_eq(answer_count, 2);
    cr_assert_eq(rig.reply_count, 0);
}

static void give(struct letter *letter)
{
    shard_receive(rig.shards[0], letter);
    rig_pump();
}

static void tick_after(uint32_t ms)
{
    rig.now_ms += ms;
    shard_tick(rig.shards[0]);
    rig_pump();
}

Test(call, is_refused_when_an_answer_does_not_come_in_time)
{
    ask();
    give(answers[0]);
    tick_after(CALL_TIMEOUT_MS - 1);
    cr_expect_eq(rig.reply_count, 0);
    tick_after(1);
    cr_assert_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_NO_ANSWER);
    cr_expect_eq(rig.reply->retry_after_ms, 1000);
    cr_expect_eq(rig.metrics.calls_overdue, 1);
    cr_expect(error_row(ERROR_NO_ANSWER)->retryable);
    give(answers[1]); /* late */
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.metrics.answers_late, 1);
}

Test(call, an_answer_that_comes_again_counts_once)
{
    ask();
    give(letter_copy(answers[0]));
    give(answers[0]);
    cr_expect_eq(rig.reply_count, 0, "the other one is missing still");
    cr_expect_eq(rig.metrics.answers_late, 1);
    struct letter *again = letter_copy(answers[1]);
    give(answers[1]);
    cr_assert_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
    give(again);
    cr_expect_eq(rig.metrics.answers_late, 2);
    cr_expect_eq(rig.reply_count, 1);
}

Test(call, an_answer_to_an_earlier_call_is_none_to_this)
{
    ask();
    struct letter *old = letter_copy(answers[0]);
    give(answers[0]);
    give(answers[1]);
    answer_count = 0;
    ask();
    give(old);
    give(answers[1]);
    cr_expect_eq(rig.reply_count, 0);
    give(answers[0]);
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
}

Test(call, answers_of_those_who_were_not_asked_are_dropped)
{
    ask();
    struct letter *other = letter_copy(answers[0]);
    other->from_shard = 0;
    give(other);
    other = letter_copy(answers[0]);
    other->number = UINT64_MAX;
    give(other);
    cr_expect_eq(rig.metrics.answers_late, 2);
    other = letter_copy(answers[0]);
    other->from_shard = 77; /* there is none */
    other->foreign = true;
    give(other);
    cr_expect_eq(rig.metrics.letters_refused, 1);
    give(answers[0]);
    give(answers[1]);
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
}

/* As it is after a restart: what the earlier life asked is answered now. */
Test(call, answers_to_questions_of_an_earlier_life_are_dropped)
{
    uint64_t first = request_last_call(rig.shards[0]);
    ask();
    struct letter *old[2] = {letter_copy(answers[0]), letter_copy(answers[1])};
    give(answers[0]);
    give(answers[1]);
    rig_close_shard(0);
    rig_open_shard(0);
    cr_expect_neq(request_last_call(rig.shards[0]), first, "each life counts from elsewhere");
    answer_count = 0;
    ask();
    give(old[0]);
    give(old[1]);
    cr_expect_eq(rig.reply_count, 0);
    give(answers[0]);
    give(answers[1]);
    cr_expect_eq(rig.reply_count, 1);
}

Test(call, an_answer_that_cannot_be_read_fails_the_request)
{
    ask();
    for (uint32_t i = 0; i < 2; i++) answers[i]->len = i; /* not even how it went; that it went well, or badly */
    answers[1]->bytes[0] = 0xff;
    give(answers[0]);
    give(answers[1]);
    cr_assert_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_INTERNAL);
    cr_expect_eq(rig.metrics.letters_refused, 2);
}
