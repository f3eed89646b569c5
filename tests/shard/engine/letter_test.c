/* tests/shard/engine/letter_test.c - letters: an actor, a payload, or neither, in one block. */
#include "shard/engine/letter.h"
#include "core/check.h"
#include <criterion/criterion.h>

Test(letter, a_fresh_one_is_empty)
{
    struct letter *letter = letter_create(LETTER_STREAM_ACK, 3, 4, 0);
    cr_expect(letter->kind == LETTER_STREAM_ACK && letter->from_shard == 3 && letter->to_shard == 4);
    cr_expect(letter->next == NULL && letter->number == 0 && letter->error == 0 && !letter->admitted && letter->method == 0);
    cr_expect(letter->origin.slot == 0 && letter->origin.generation == 0 && letter->retry_after_ms == 0);
    cr_expect_eq(letter_payload(letter).len, 0);
    letter_free(letter);
    letter_free(NULL);
}

Test(letter, actor_and_payload_come_back)
{
    static const struct actor_record nobody = {0};
    static const struct actor_record alice = {.user_id = 7,
                                              .issued_s = 8,
                                              .expires_s = UINT64_MAX,
                                              .device_id = {(const uint8_t *)"laptop", 6},
                                              .platform = {(const uint8_t *)"web", 3},
                                              .name = {(const uint8_t *)"Alice", 5}};
    static const struct {
        const char *name;
        const struct actor_record *actor;
        struct slice payload;
    } cases[] = {
        {"neither", NULL, {NULL, 0}},
        {"a payload", NULL, {(const uint8_t *)"payload", 7}},
        {"an actor", &alice, {NULL, 0}},
        {"both", &alice, {(const uint8_t *)"payload", 7}},
        {"an actor without anything", &nobody, {(const uint8_t *)"p", 1}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct letter *letter = letter_make(LETTER_REQUEST, 1, 2, cases[i].actor, cases[i].payload);
        struct actor_record actor;
        cr_expect(slice_equal(letter_payload(letter), cases[i].payload), "%s", cases[i].name);
        cr_expect_eq(letter_actor(letter, &actor), cases[i].actor != NULL, "%s", cases[i].name);
        const struct actor_record *want = cases[i].actor == NULL ? &nobody : cases[i].actor;
        cr_expect(actor.user_id == want->user_id && actor.issued_s == want->issued_s && actor.expires_s == want->expires_s);
        cr_expect(slice_equal(actor.device_id, want->device_id) && slice_equal(actor.platform, want->platform) &&
                  slice_equal(actor.name, want->name));
        letter_free(letter);
    }
}

Test(letter, an_actor_cut_short_is_none)
{
    struct actor_record alice = {.user_id = 7, .device_id = SLICE_TEXT("laptop")}, actor;
    struct letter *letter = letter_make(LETTER_REQUEST, 0, 0, &alice, SLICE_TEXT("payload"));
    letter->actor_len--;
    cr_expect(!letter_actor(letter, &actor));
    letter->actor_len += 2;
    cr_expect(!letter_actor(letter, &actor), "one byte of the payload more");
    letter_free(letter);
}
