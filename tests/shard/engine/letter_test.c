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

/* One with something everywhere. */
static struct letter *full_letter(void)
{
    static const struct actor_record alice = {.user_id = 7, .device_id = {(const uint8_t *)"laptop", 6}};
    struct letter *letter = letter_make(LETTER_REQUEST, 0x0102, 0x0304, &alice, SLICE_TEXT("payload"));
    letter->method = 0x0506;
    letter->error = ERROR_NOT_READY;
    letter->noted = 1;
    letter->admitted = true;
    letter->retry_after_ms = 0x0708090a;
    letter->number = UINT64_C(0x0b0c0d0e0f101112);
    letter->origin = (struct origin){.worker = 1, .slot = 5, .generation = UINT64_C(0x1314151617181920)};
    letter->address_class = 4;
    return letter;
}

Test(letter, bytes_make_the_same_letter)
{
    struct letter *letter = full_letter();
    struct writer first, second;
    writer_init(&first, 0);
    writer_init(&second, 0);
    letter_encode(letter, &first);
    cr_expect_eq(first.len, LETTER_ENCODED_SIZE_MIN + letter->len);
    struct letter *again = letter_decode(writer_slice(&first));
    cr_assert_not_null(again);
    cr_expect(again->foreign && !letter->foreign);
    letter_encode(again, &second);
    cr_expect(slice_equal(writer_slice(&first), writer_slice(&second)));
    struct actor_record actor;
    cr_expect(letter_actor(again, &actor) && actor.user_id == 7 && slice_equal(actor.device_id, SLICE_TEXT("laptop")));
    cr_expect(slice_equal(letter_payload(again), SLICE_TEXT("payload")));
    cr_expect(again->kind == LETTER_REQUEST && again->from_shard == 0x0102 && again->to_shard == 0x0304 && again->method == 0x0506);
    cr_expect(again->error == ERROR_NOT_READY && again->noted == 1 && again->admitted && again->retry_after_ms == 0x0708090a);
    cr_expect(again->number == UINT64_C(0x0b0c0d0e0f101112) && again->origin.worker == 1 && again->origin.slot == 5 &&
              again->origin.generation == UINT64_C(0x1314151617181920) && again->address_class == 4);
    cr_expect(again->next == NULL && again->parcel == NULL);
    letter_free(letter);
    letter_free(again);
    writer_deinit(&first);
    writer_deinit(&second);
}

Test(letter, bytes_that_are_no_letter_are_refused)
{
    static const struct {
        const char *name;
        uint32_t at;
        uint8_t value;
    } cases[] = {
        {"another length", 0, 1},  {"another version", 4, 1},    {"a kind there is not", 5, LETTER_KIND_COUNT},
        {"an error there is not", 12, ERROR_COUNT}, {"a refusal there is not", 13, 255}, {"neither admitted nor not", 14, 2},
        {"an actor longer than the letter", 45, 1},   {"an actor that is none", LETTER_ENCODED_SIZE_MIN, 99},
    };
    struct letter *letter = full_letter();
    struct writer good;
    writer_init(&good, 0);
    letter_encode(letter, &good);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t was = good.data[cases[i].at];
        good.data[cases[i].at] = cases[i].value;
        cr_expect_null(letter_decode(writer_slice(&good)), "%s", cases[i].name);
        good.data[cases[i].at] = was;
    }
    for (uint32_t len = 0; len < good.len; len++) cr_expect_null(letter_decode(slice_of(good.data, len)), "%u bytes", len);
    letter_free(letter);
    writer_deinit(&good);
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
