/* tests/shard/domain/account/text_test.c - what names, device ids and platforms may be, and where a name lives. */
#include "shard/domain/account/account.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define TEN "0123456789"

struct text_case {
    const char *name;
    struct slice text;
    bool want;
};

Test(account_text, names)
{
    static const struct text_case cases[] = {
        {"one letter", {(const uint8_t *)"a", 1}, true},
        {"all that is allowed", {(const uint8_t *)"az09_-.", 7}, true},
        {"empty", {(const uint8_t *)"", 0}, false},
        {"32", {(const uint8_t *)TEN TEN TEN "12", 32}, true},
        {"33", {(const uint8_t *)TEN TEN TEN "123", 33}, false},
        {"upper case", {(const uint8_t *)"Alice", 5}, false},
        {"blank", {(const uint8_t *)"al ice", 6}, false},
        {"not ASCII", {(const uint8_t *)"al\xc3\xad" "ce", 6}, false},
        {"NUL inside", {(const uint8_t *)"al\0ice", 6}, false},
        {"slash", {(const uint8_t *)"a/b", 3}, false},
        {"before a", {(const uint8_t *)"`", 1}, false},
        {"after z", {(const uint8_t *)"{", 1}, false},
        {"before 0", {(const uint8_t *)"/", 1}, false},
        {"after 9", {(const uint8_t *)":", 1}, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(account_name_valid(cases[i].text), cases[i].want, "%s", cases[i].name);
}

Test(account_text, device_ids_and_platforms)
{
    static const struct {
        const char *name;
        const char *text;
        bool want_device, want_platform;
    } cases[] = {
        {"one", "x", true, true},
        {"empty", "", false, true},
        {"all kinds", "Az09_-.", true, true},
        {"16", TEN "123456", true, true},
        {"17", TEN "1234567", true, false},
        {"64", TEN TEN TEN TEN TEN TEN "1234", true, false},
        {"65", TEN TEN TEN TEN TEN TEN "12345", false, false},
        {"blank", "a b", false, false},
        {"colon", "a:b", false, false},
        {"not ASCII", "\xc3\xa9", false, false},
        {"before A", "@", false, false},
        {"after Z", "[", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_expect_eq(account_device_id_valid(slice_text(cases[i].text)), cases[i].want_device, "%s", cases[i].name);
        cr_expect_eq(account_platform_valid(slice_text(cases[i].text)), cases[i].want_platform, "%s", cases[i].name);
    }
}

static bool same_place(struct account_place x, struct account_place y)
{
    return x.shard == y.shard && x.hash_high == y.hash_high && x.hash_low == y.hash_low;
}

Test(account_text, a_name_has_one_place)
{
    struct account_place alice = account_place_of(SLICE_TEXT("alice"), 4);
    cr_expect(same_place(account_place_of(SLICE_TEXT("ALIce"), 4), alice), "upper case is read as lower case");
    cr_expect(!same_place(account_place_of(SLICE_TEXT("alice2"), 4), alice));
    cr_expect(!same_place(account_place_of(SLICE_TEXT(""), 4), alice));
    /* The place is stored for ever: keys of existing stores are made of it. */
    cr_expect_eq(alice.hash_high, account_place_of(SLICE_TEXT("alice"), 64).hash_high, "the hash does not depend on the shards");
    char longer[] = TEN TEN TEN TEN;
    cr_expect_lt(account_place_of(slice_text(longer), 4).shard, 4);
}

Test(account_text, names_spread_over_the_shards)
{
    uint32_t counts[4] = {0};
    for (uint32_t i = 0; i < 400; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "user%u", i);
        counts[account_place_of(slice_of(name, (size_t)len), 4).shard]++;
    }
    for (uint32_t shard = 0; shard < 4; shard++) cr_expect_gt(counts[shard], 50, "shard %u has %u", shard, counts[shard]);
}
