/* tests/shard/worker/mailbox_test.c - letters between workers: order, overflow, and a fair share for everybody. */
#include "shard/domain/letters.h"
#include "shard/worker/mailbox.h"
#include "shard/engine/memory.h"
#include <criterion/criterion.h>
#include <pthread.h>

#define SLOTS 4
#define TAKE_MAX 8

static struct mailbox *new_mailbox(uint32_t workers)
{
    struct mailbox *mailbox = NULL;
    cr_assert_eq(mailbox_create(&mailbox, workers, SLOTS), RESULT_OK);
    return mailbox;
}

static bool post(struct mailbox *mailbox, uint32_t from, uint32_t to, uint64_t number)
{
    struct letter *letter = letter_create(LETTER_NOTIFY, 0, 0, 0);
    letter->number = number;
    return mailbox_post(mailbox, from, to, letter);
}

/* Takes up to TAKE_MAX and writes their numbers. */
static uint32_t take(struct mailbox *mailbox, uint32_t to, uint64_t numbers[TAKE_MAX])
{
    struct letter *letters[TAKE_MAX];
    uint32_t count = mailbox_take(mailbox, to, letters, TAKE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = letters[i]->number;
        letter_free(letters[i]);
    }
    return count;
}

Test(mailbox, letters_arrive_in_order_after_a_publish)
{
    struct mailbox *mailbox = new_mailbox(2);
    uint64_t numbers[TAKE_MAX];
    cr_assert(post(mailbox, 0, 1, 1) && post(mailbox, 0, 1, 2));
    cr_expect_eq(take(mailbox, 1, numbers), 0);
    (void)mailbox_publish(mailbox, 0);
    cr_assert(mailbox_readable(mailbox, 1));
    cr_assert_eq(take(mailbox, 1, numbers), 2);
    cr_expect(numbers[0] == 1 && numbers[1] == 2);
    mailbox_destroy(mailbox);
}

Test(mailbox, too_many_under_way_come_in_order_and_congest)
{
    struct mailbox *mailbox = new_mailbox(2);
    uint64_t numbers[TAKE_MAX], next = 1;
    for (uint64_t n = 1; n <= 2 * SLOTS + 1; n++) cr_expect_eq(post(mailbox, 0, 1, n), n <= SLOTS, "letter %lu", (unsigned long)n);
    cr_expect(mailbox_congested(mailbox, 0));
    for (int round = 0; round < 3; round++) {
        (void)mailbox_publish(mailbox, 0);
        uint32_t count = take(mailbox, 1, numbers);
        for (uint32_t i = 0; i < count; i++) cr_expect_eq(numbers[i], next++);
    }
    cr_expect_eq(next, 2 * SLOTS + 2);
    cr_expect_not(mailbox_congested(mailbox, 0));
    mailbox_destroy(mailbox);
}

Test(mailbox, many_turns_that_nobody_looks_at_wait_in_order)
{
    enum { TURNS = 300 };
    struct mailbox *mailbox = NULL;
    cr_assert_eq(mailbox_create(&mailbox, 2, TURNS), RESULT_OK);
    uint64_t numbers[TAKE_MAX], next = 1;
    for (uint64_t turn = 1; turn <= TURNS; turn++) {
        cr_assert(post(mailbox, 0, 1, turn) || mailbox_congested(mailbox, 0));
        (void)mailbox_publish(mailbox, 0);
    }
    cr_expect(mailbox_congested(mailbox, 0), "some of them are not published");
    for (uint32_t round = 0; round <= TURNS; round++) {
        uint32_t count = take(mailbox, 1, numbers);
        for (uint32_t i = 0; i < count; i++) cr_expect_eq(numbers[i], next++);
        (void)mailbox_publish(mailbox, 0);
    }
    cr_expect_eq(next, TURNS + 1);
    cr_expect_not(mailbox_congested(mailbox, 0));
    mailbox_destroy(mailbox);
}

static const struct actor_record somebody = {.user_id = 7, .name = {(const uint8_t *)"ada", 3}};

/* Small requests and answers stand together, in several parcels, between letters that stand alone. */
Test(mailbox, what_arrives_is_what_was_posted)
{
    enum { LETTERS = 400 };
    static uint8_t payload[3000];
    static const struct {
        uint16_t kind;
        const struct actor_record *actor;
        uint32_t len;
    } kinds[] = {{LETTER_REQUEST, &somebody, 100}, {LETTER_REQUEST, NULL, 50},         {LETTER_STREAM, NULL, 20},
                 {LETTER_REPLY, NULL, 0},          {LETTER_REQUEST, &somebody, 3000}, {LETTER_REPLY, NULL, 2500}};
    struct mailbox *mailbox = NULL;
    cr_assert_eq(mailbox_create(&mailbox, 2, LETTERS), RESULT_OK);
    for (uint32_t n = 0; n < LETTERS; n++) {
        size_t i = n % COUNT_OF(kinds);
        memset(payload, (int)n, sizeof payload);
        struct letter *letter = letter_make(kinds[i].kind, 0, 1, kinds[i].actor, slice_of(payload, kinds[i].len));
        letter->number = n;
        cr_expect(kinds[i].kind == LETTER_REPLY ? mailbox_post_copy(mailbox, 0, 1, letter) : mailbox_post(mailbox, 0, 1, letter));
        if (kinds[i].kind == LETTER_REPLY) letter_free(letter);
    }
    (void)mailbox_publish(mailbox, 0);
    struct letter *letters[LETTERS];
    cr_assert_eq(mailbox_take(mailbox, 1, letters, LETTERS), LETTERS);
    for (uint32_t n = 0; n < LETTERS; n++) {
        size_t i = n % COUNT_OF(kinds);
        struct actor_record actor;
        memset(payload, (int)n, sizeof payload);
        cr_expect(letters[n]->kind == kinds[i].kind && letters[n]->number == n && letters[n]->next == NULL);
        cr_expect(slice_equal(letter_payload(letters[n]), slice_of(payload, kinds[i].len)));
        cr_expect_eq(letter_actor(letters[n], &actor), kinds[i].actor != NULL);
        bool small = kinds[i].len < PARCEL_LETTER_SIZE_MAX, secret = kinds[i].kind == LETTER_REQUEST && kinds[i].actor == NULL;
        cr_expect_eq(letters[n]->parcel != NULL, small && !secret && kinds[i].kind != LETTER_STREAM, "letter %u", n);
    }
    for (uint32_t n = LETTERS; n-- > 0;) letter_free(letters[n]);
    mailbox_destroy(mailbox);
}

Test(mailbox, a_full_queue_to_oneself_leaves_room_for_peers)
{
    struct mailbox *mailbox = new_mailbox(2);
    uint64_t numbers[TAKE_MAX], from_peer = 0;
    for (uint64_t n = 1; n <= 3 * TAKE_MAX; n++) cr_assert(post(mailbox, 1, 1, n));
    cr_assert(post(mailbox, 0, 1, 1000));
    (void)mailbox_publish(mailbox, 0);
    uint32_t count = take(mailbox, 1, numbers);
    for (uint32_t i = 0; i < count; i++) from_peer += numbers[i] == 1000;
    cr_expect_eq(from_peer, 1);
    cr_expect_geq(count, TAKE_MAX / 2);
    mailbox_destroy(mailbox);
}

Test(mailbox, a_worker_alone_takes_all_its_own)
{
    struct mailbox *mailbox = new_mailbox(1);
    uint64_t numbers[TAKE_MAX];
    for (uint64_t n = 1; n <= TAKE_MAX + 1; n++) cr_assert(post(mailbox, 0, 0, n));
    cr_expect_eq(take(mailbox, 0, numbers), TAKE_MAX);
    cr_expect(mailbox_readable(mailbox, 0));
    mailbox_destroy(mailbox); /* frees the one left */
}

/* ---- two workers at once ---- */

#define EXCHANGED 20000

struct worker {
    struct mailbox *mailbox;
    struct doorbell bell;
    uint32_t number;
    uint64_t received; /* from the other, each the next one */
    bool in_order;
};

/* One alone, one moved into a parcel, one copied into it. */
static void post_any(struct mailbox *mailbox, uint32_t from, uint32_t to, uint64_t number)
{
    static const uint16_t kinds[] = {LETTER_NOTIFY, LETTER_REQUEST, LETTER_REPLY};
    uint16_t kind = kinds[number % COUNT_OF(kinds)];
    struct letter *letter = letter_make(kind, 0, 0, &somebody, SLICE_TEXT("hello"));
    letter->number = number;
    if (kind != LETTER_REPLY) {
        (void)mailbox_post(mailbox, from, to, letter);
    } else {
        (void)mailbox_post_copy(mailbox, from, to, letter);
        letter_free(letter);
    }
}

/* Sends and takes like a worker does: both keep more under way than the rings hold, so both are congested all the time. */
static void *work(void *context)
{
    struct worker *w = context;
    uint32_t peer = 1 - w->number;
    for (uint64_t sent = 0; w->received < EXCHANGED || sent < EXCHANGED || mailbox_congested(w->mailbox, w->number);) {
        for (uint32_t i = 0; i < 2 * SLOTS && sent < EXCHANGED && !mailbox_congested(w->mailbox, w->number); i++)
            post_any(w->mailbox, w->number, peer, ++sent);
        uint64_t numbers[TAKE_MAX];
        uint32_t count = take(w->mailbox, w->number, numbers);
        for (uint32_t i = 0; i < count; i++) w->in_order = numbers[i] == ++w->received && w->in_order;
        (void)mailbox_publish(w->mailbox, w->number);
        if (count > 0) continue;
        doorbell_sleep(&w->bell);
        if (!mailbox_readable(w->mailbox, w->number)) doorbell_wait(&w->bell, 1);
        doorbell_awake(&w->bell);
    }
    return NULL;
}

Test(mailbox, two_congested_workers_do_not_wait_for_each_other)
{
    struct mailbox *mailbox = new_mailbox(2);
    struct worker workers[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = (struct worker){.mailbox = mailbox, .number = i, .in_order = true};
        cr_assert_eq(doorbell_init(&workers[i].bell), RESULT_OK);
        mailbox_set_doorbell(mailbox, i, &workers[i].bell);
    }
    for (uint32_t i = 0; i < 2; i++) cr_assert_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (uint32_t i = 0; i < 2; i++) cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (uint32_t i = 0; i < 2; i++) {
        cr_expect_eq(workers[i].received, EXCHANGED);
        cr_expect(workers[i].in_order);
        doorbell_deinit(&workers[i].bell);
    }
    mailbox_destroy(mailbox);
}

Test(mailbox, every_peer_gets_a_turn)
{
    enum { WORKERS = 5 };
    struct mailbox *mailbox = new_mailbox(WORKERS);
    bool heard[WORKERS] = {[0] = true};
    for (uint32_t from = 1; from < WORKERS; from++)
        for (uint64_t n = 0; n < SLOTS; n++) cr_assert(post(mailbox, from, 0, from));
    for (uint32_t from = 1; from < WORKERS; from++) (void)mailbox_publish(mailbox, from);
    uint64_t numbers[TAKE_MAX];
    for (uint32_t turn = 0; turn < WORKERS; turn++) {
        uint32_t count = take(mailbox, 0, numbers);
        for (uint32_t i = 0; i < count; i++) heard[numbers[i]] = true;
    }
    for (uint32_t from = 0; from < WORKERS; from++) cr_expect(heard[from], "worker %u", from);
    cr_expect(!mailbox_readable(mailbox, 0));
    mailbox_destroy(mailbox);
}
