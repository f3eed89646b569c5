/* tests/api/token_test.c - tokens: ours, those of an app's backend, and every way to forge one. */
#include "api/token.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>

#define SECRET       "0123456789abcdef0123456789abcdef"
#define OTHER_SECRET "another secret that is long enough, too"
#define NOW          1000000u
#define LEEWAY       30u
#define LIFETIME     3600u
#define HEADER       "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"
#define CLAIMS       "{\"sub\":\"42\",\"dev\":\"phone-1\",\"plt\":\"ios\",\"iat\":1000000,\"exp\":1003600}"

static const char *const audiences[] = {"ringpost", "chat.example.com"}, *const issuers[] = {"ringpost"};
static const struct token_terms terms = {.leeway_s = LEEWAY,
                                         .lifetime_max_s = LIFETIME,
                                         .audiences = audiences,
                                         .audience_count = COUNT_OF(audiences),
                                         .issuers = issuers,
                                         .issuer_count = COUNT_OF(issuers)};
static struct token_keys *keys;
static struct writer out;
static void setup(void)
{
    enum result res = token_keys_create(&keys);
    cr_assert_eq(res, RESULT_OK);
    res = token_keys_add(keys, "k1", SLICE_TEXT(SECRET));
    cr_assert_eq(res, RESULT_OK);
    res = token_keys_add(keys, "k2", SLICE_TEXT(OTHER_SECRET));
    cr_assert_eq(res, RESULT_OK);
    writer_init(&out, 0);
}
static void teardown(void)
{
    token_keys_destroy(keys);
    writer_deinit(&out);
}
TestSuite(token, .init = setup, .fini = teardown);

/* ---- keys ------------------------------------------------------------------------------------------------------ */

Test(token, keys_have_names_sizes_and_a_limit)
{
    static const char long_name[] = "123456789012345678901234567890123";
    cr_expect_eq(token_keys_add(keys, "k1", SLICE_TEXT(SECRET)), RESULT_EXISTS);
    cr_expect_eq(token_keys_add(keys, "", SLICE_TEXT(SECRET)), RESULT_MALFORMED);
    cr_expect_eq(token_keys_add(keys, "a.b", SLICE_TEXT(SECRET)), RESULT_MALFORMED);
    cr_expect_eq(token_keys_add(keys, "a\"b", SLICE_TEXT(SECRET)), RESULT_MALFORMED);
    cr_expect_eq(token_keys_add(keys, long_name, SLICE_TEXT(SECRET)), RESULT_MALFORMED);
    cr_expect_eq(token_keys_add(keys, "short", slice_of(SECRET, 31)), RESULT_MALFORMED);
    cr_expect_eq(token_keys_add(keys, long_name + 1, SLICE_TEXT(SECRET)), RESULT_OK);
    for (int i = 3; i < TOKEN_KEYS_MAX; i++) {
        char kid[8];
        snprintf(kid, sizeof kid, "n%d", i);
        cr_expect_eq(token_keys_add(keys, kid, SLICE_TEXT(SECRET)), RESULT_OK);
    }
    cr_expect_eq(token_keys_add(keys, "one-more", SLICE_TEXT(SECRET)), RESULT_BUSY);
}

/* ---- minting --------------------------------------------------------------------------------------------------- */

Test(token, minted_tokens_verify)
{
    struct token_claims minted = {.user_id = UINT64_MAX,
                                  .device_id = "D_-.9",
                                  .platform = "",
                                  .issued_s = NOW,
                                  .expires_s = NOW + LIFETIME},
                        got;
    token_mint(keys, &minted, &out);
    cr_assert_eq(token_verify(keys, writer_slice(&out), NOW, &terms, &got), TOKEN_FLAW_NONE);
    cr_expect_not(got.own);
    cr_expect_eq(got.user_id, minted.user_id);
    cr_expect_str_eq(got.device_id, minted.device_id);
    cr_expect_str_eq(got.platform, "");
    cr_expect_eq(got.issued_s, minted.issued_s);
    cr_expect_eq(got.expires_s, minted.expires_s);
}

Test(token, longest_claims_fit)
{
    struct token_claims minted = {.user_id = UINT64_MAX,
                                  .issued_s = INT64_MAX - LIFETIME,
                                  .expires_s = INT64_MAX,
                                  .own = true,
                                  .generation = INT64_MAX},
                        got;
    memset(minted.device_id, 'd', TOKEN_DEVICE_MAX);
    memset(minted.platform, 'p', TOKEN_PLATFORM_MAX);
    token_mint(keys, &minted, &out);
    cr_assert_eq(token_verify(keys, writer_slice(&out), INT64_MAX - 10, &terms, &got), TOKEN_FLAW_NONE);
    cr_expect_str_eq(got.device_id, minted.device_id);
    cr_expect(got.own);
    cr_expect_eq(got.generation, minted.generation);
}

/* Made by Python's hmac, json and base64 as an app's backend would: other order of members, no "typ", times with fractions, a list of
 * audiences. */
Test(token, a_backends_token_verifies)
{
    static const char token[] = "eyJraWQiOiAiazEiLCAiYWxnIjogIkhTMjU2In0."
                                "eyJleHAiOiAxMDAwNjAwLjc1LCAiaWF0IjogMTAwMDAwMC4yNSwgInBsdCI6ICJ3ZWIiLCAiZGV2IjogIndlYi03IiwgInN1YiI6I"
                                "CIyODE0NzQ5NzY3MTA2NTciLCAiaXNzIjogInJpbmdwb3N0IiwgImF1ZCI6IFsib3RoZXIiLCAiY2hhdC5leGFtcGxlLmNvbSJdfQ."
                                "Vxw-SNkOo1RX07cLIy3vbHuXC7h7VLLvN8N0lYUq_o4";
    struct token_claims got;
    cr_assert_eq(token_verify(keys, SLICE_TEXT(token), NOW + 5, &terms, &got), TOKEN_FLAW_NONE);
    cr_expect_eq(got.user_id, 281474976710657);
    cr_expect_str_eq(got.device_id, "web-7");
    cr_expect_str_eq(got.platform, "web");
    cr_expect_eq(got.issued_s, NOW);
    cr_expect_eq(got.expires_s, NOW + 600);
    cr_expect_not(got.own);
}

/* ---- forging --------------------------------------------------------------------------------------------------- */

static void append_base64url(const void *bytes, size_t len)
{
    char text[2048];
    sodium_bin2base64(text, sizeof text, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    writer_raw(&out, text, strlen(text));
}

/* A token of any header and claims, properly signed with `secret`. */
static struct slice forge(const char *header, const char *claims, const char *secret)
{
    writer_reset(&out);
    append_base64url(header, strlen(header));
    writer_u8(&out, '.');
    append_base64url(claims, strlen(claims));
    uint8_t signature[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, (const uint8_t *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, out.data, out.len);
    crypto_auth_hmacsha256_final(&state, signature);
    writer_u8(&out, '.');
    append_base64url(signature, sizeof signature);
    return writer_slice(&out);
}

static enum token_flaw flaw_of(struct slice token)
{
    struct token_claims claims;
    return token_verify(keys, token, NOW, &terms, &claims);
}

static enum result verify(struct slice token)
{
    enum token_flaw flaw = flaw_of(token);
    if (flaw == TOKEN_FLAW_EXPIRED) return RESULT_TIMEOUT;
    return flaw == TOKEN_FLAW_NONE ? RESULT_OK : RESULT_MALFORMED;
}

Test(token, headers_are_exactly_ours)
{
    static const struct {
        const char *header, *secret;
        enum result want;
    } cases[] = {
        {HEADER, SECRET, RESULT_OK},
        {"{\"kid\":\"k1\",\"alg\":\"HS256\"}", SECRET, RESULT_OK},
        {"{\"alg\":\"HS256\",\"kid\":\"k2\"}", OTHER_SECRET, RESULT_OK},
        {"{\"alg\":\"HS256\",\"kid\":\"k2\"}", SECRET, RESULT_MALFORMED},
        {HEADER, OTHER_SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"none\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"None\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"hs256\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS384\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":[\"HS256\"],\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"k3\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"K1\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":1}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWE\"}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\",\"crit\":[\"exp\"]}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\",\"jwk\":{}}", SECRET, RESULT_MALFORMED},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\",\"kid\":\"k1\"}", SECRET, RESULT_MALFORMED},
        {"[\"HS256\",\"k1\"]", SECRET, RESULT_MALFORMED},
        {"", SECRET, RESULT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(verify(forge(cases[i].header, CLAIMS, cases[i].secret)), cases[i].want, "%s", cases[i].header);
}

Test(token, claims_are_checked_one_by_one)
{
#define WHO  "\"sub\":\"42\",\"dev\":\"d\",\"plt\":\"web\""
#define WHEN "\"iat\":1000000,\"exp\":1003600"
    static const struct {
        const char *claims;
        enum result want;
    } cases[] = {
        {"{" WHO "," WHEN "}", RESULT_OK},
        {"{" WHO "," WHEN ",\"iss\":\"ringpost\",\"roles\":[1]}", RESULT_OK},
        {"{" WHO "," WHEN ",\"nbf\":1000030}", RESULT_OK},
        {"{" WHO "," WHEN ",\"nbf\":1000031}", RESULT_MALFORMED},
        {"{" WHO "," WHEN ",\"nbf\":\"soon\"}", RESULT_MALFORMED},
        {"{\"sub\":42,\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"0\",\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"042\",\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"18446744073709551616\",\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"alice\",\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"a b\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"é\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"12345678901234567890123456789012345678901234567890123456789012345\",\"plt\":"
         "\"\"," WHEN "}",
         RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"plt\":\"web\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"d\",\"plt\":\"\"," WHEN "}", RESULT_OK},
        {"{\"sub\":\"42\",\"dev\":\"d\",\"plt\":\"12345678901234567\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"d\",\"plt\":\"<b>\"," WHEN "}", RESULT_MALFORMED},
        {"{\"sub\":\"42\",\"dev\":\"d\"," WHEN "}", RESULT_MALFORMED},
        {"{" WHO ",\"exp\":1003600}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000000}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":\"1000000\",\"exp\":1003600}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000000.0,\"exp\":1003600}", RESULT_OK},
        {"{" WHO ",\"iat\":1000000.9,\"exp\":1.0036009e6,\"nbf\":1000030.9}", RESULT_OK},
        {"{" WHO ",\"iat\":-0.5,\"exp\":1003600}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000000,\"exp\":1e300}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":-1,\"exp\":1003600}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000030,\"exp\":1003600}", RESULT_OK},
        {"{" WHO ",\"iat\":1000031,\"exp\":1003600}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000000,\"exp\":1003601}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":0,\"exp\":9223372036854775807}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000000,\"exp\":1000000}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":1000010,\"exp\":1000009}", RESULT_MALFORMED},
        {"{" WHO ",\"iat\":999000,\"exp\":999971}", RESULT_OK},
        {"{" WHO ",\"iat\":999000,\"exp\":999970}", RESULT_TIMEOUT},
        {"{" WHO ",\"iat\":1,\"exp\":2}", RESULT_TIMEOUT},
        {"{" WHO "," WHEN ",\"sub\":\"43\"}", RESULT_MALFORMED},
        {"[]", RESULT_MALFORMED},
        {"", RESULT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(verify(forge(HEADER, cases[i].claims, SECRET)), cases[i].want, "%s", cases[i].claims);
}

Test(token, the_flaw_is_named)
{
    static const struct {
        const char *header, *claims, *secret;
        enum token_flaw want;
        bool want_told;
    } cases[] = {
        {HEADER, CLAIMS, SECRET, TOKEN_FLAW_NONE, false},
        {"{}", CLAIMS, SECRET, TOKEN_FLAW_ALGORITHM, true},
        {"[]", CLAIMS, SECRET, TOKEN_FLAW_SHAPE, true},
        {"{\"alg\":\"HS512\",\"kid\":\"k1\"}", CLAIMS, SECRET, TOKEN_FLAW_ALGORITHM, true},
        {"{\"alg\":\"HS256\"}", CLAIMS, SECRET, TOKEN_FLAW_HEADER, true},
        {"{\"alg\":\"HS256\",\"kid\":\"k3\"}", CLAIMS, SECRET, TOKEN_FLAW_KEY, false},
        {HEADER, CLAIMS, OTHER_SECRET, TOKEN_FLAW_SIGNATURE, false},
        {HEADER, "no object", SECRET, TOKEN_FLAW_CLAIMS, true},
        {HEADER, "{\"sub\":42,\"dev\":\"d\",\"plt\":\"web\"," WHEN "}", SECRET, TOKEN_FLAW_SUBJECT, true},
        {HEADER, "{\"sub\":\"42\",\"dev\":\"\",\"plt\":\"web\"," WHEN "}", SECRET, TOKEN_FLAW_DEVICE, true},
        {HEADER, "{\"sub\":\"42\",\"dev\":\"d\"," WHEN "}", SECRET, TOKEN_FLAW_PLATFORM, true},
        {HEADER, "{" WHO ",\"iat\":\"now\",\"exp\":1003600}", SECRET, TOKEN_FLAW_TIMES, true},
        {HEADER, "{" WHO "," WHEN ",\"gen\":\"1\"}", SECRET, TOKEN_FLAW_TIMES, true},
        {HEADER, "{" WHO "," WHEN ",\"gen\":1.5}", SECRET, TOKEN_FLAW_TIMES, true},
        {HEADER, "{" WHO ",\"iat\":1000000,\"exp\":1000000.5}", SECRET, TOKEN_FLAW_ORDER, true},
        {HEADER, "{" WHO ",\"iat\":1000000,\"exp\":1003601}", SECRET, TOKEN_FLAW_LIFETIME, true},
        {HEADER, "{" WHO ",\"iat\":1000031,\"exp\":1003600}", SECRET, TOKEN_FLAW_FUTURE, true},
        {HEADER, "{" WHO "," WHEN ",\"nbf\":1000031}", SECRET, TOKEN_FLAW_NOT_YET, true},
        {HEADER, "{" WHO ",\"iat\":999000,\"exp\":999970}", SECRET, TOKEN_FLAW_EXPIRED, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":\"other\"}", SECRET, TOKEN_FLAW_AUDIENCE, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":\"\"}", SECRET, TOKEN_FLAW_AUDIENCE, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":[]}", SECRET, TOKEN_FLAW_AUDIENCE, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":[\"other\",7]}", SECRET, TOKEN_FLAW_AUDIENCE, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":null}", SECRET, TOKEN_FLAW_AUDIENCE, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":{\"a\":\"ringpost\"}}", SECRET, TOKEN_FLAW_AUDIENCE, true},
        {HEADER, "{" WHO "," WHEN ",\"aud\":\"ringpost\"}", SECRET, TOKEN_FLAW_NONE, false},
        {HEADER, "{" WHO "," WHEN ",\"aud\":[\"other\",\"ringpost\"]}", SECRET, TOKEN_FLAW_NONE, false},
        {HEADER, "{" WHO "," WHEN ",\"iss\":\"evil\"}", SECRET, TOKEN_FLAW_ISSUER, true},
        {HEADER, "{" WHO "," WHEN ",\"iss\":[\"ringpost\"]}", SECRET, TOKEN_FLAW_ISSUER, true},
        {HEADER, "{" WHO "," WHEN ",\"iss\":\"Ringpost\"}", SECRET, TOKEN_FLAW_ISSUER, true},
        {HEADER, "{" WHO "," WHEN ",\"iss\":\"ringpost\"}", SECRET, TOKEN_FLAW_NONE, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum token_flaw flaw = flaw_of(forge(cases[i].header, cases[i].claims, cases[i].secret));
        cr_expect_eq(flaw, cases[i].want, "case %zu: %s", i, token_flaw_text(flaw));
        cr_expect_eq(token_flaw_is_told(flaw), cases[i].want_told, "case %zu", i);
    }
    cr_expect_eq(flaw_of(SLICE_TEXT("a.b")), TOKEN_FLAW_SHAPE);
}

Test(token, no_prefix_verifies)
{
    struct slice token = forge(HEADER, CLAIMS, SECRET);
    cr_assert_eq(verify(token), RESULT_OK);
    for (uint32_t len = 0; len < token.len; len++) cr_expect_eq(verify(slice_of(token.data, len)), RESULT_MALFORMED);
}

Test(token, no_changed_byte_verifies)
{
    static const char replacements[] = "A_-.=b0+/ \"\x80\xff";
    struct slice token = forge(HEADER, CLAIMS, SECRET);
    for (uint32_t i = 0; i < token.len; i++) {
        uint8_t kept = out.data[i];
        for (size_t n = 0; n < sizeof replacements; n++) { /* the NUL, too */
            if ((uint8_t)replacements[n] == kept) continue;
            out.data[i] = (uint8_t)replacements[n];
            cr_expect_eq(verify(token), RESULT_MALFORMED, "byte %u", i);
        }
        out.data[i] = kept;
    }
    cr_expect_eq(verify(token), RESULT_OK);
}

Test(token, shapes_that_are_no_token)
{
    static const char *const cases[] = {"", ".", "..", "...", "a.b.c", "e30.e30.", "e30.e30.e30"};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(verify(slice_text(cases[i])), RESULT_MALFORMED, "%s", cases[i]);
    cr_expect_eq(verify(SLICE_EMPTY), RESULT_MALFORMED);
    (void)forge(HEADER, CLAIMS, SECRET);
    writer_raw(&out, ".AAAA", 5);
    cr_expect_eq(verify(writer_slice(&out)), RESULT_MALFORMED, "a fourth part");
    writer_reset(&out);
    for (uint32_t i = 0; i <= TOKEN_SIZE_MAX; i++) writer_u8(&out, i % 100 == 0 ? '.' : 'A');
    cr_expect_eq(verify(writer_slice(&out)), RESULT_MALFORMED, "too large");
}

/* The signature is cut off and the header says it is not needed. */
Test(token, unsigned_tokens_are_refused)
{
    struct slice token = forge("{\"alg\":\"none\",\"kid\":\"k1\"}", CLAIMS, SECRET);
    while (token.data[token.len - 1] != '.') token.len--;
    cr_expect_eq(verify(token), RESULT_MALFORMED);
    token = forge(HEADER, CLAIMS, SECRET);
    while (token.data[token.len - 1] != '.') token.len--;
    cr_expect_eq(verify(token), RESULT_MALFORMED);
}

/* ---- refresh tokens and passwords ------------------------------------------------------------------------------ */

Test(token, refresh_tokens_come_back)
{
    struct token_refresh made = {.family = UINT64_MAX - 7, .number = UINT32_MAX - 9}, got;
    for (uint32_t len = 1; len <= TOKEN_DEVICE_MAX; len++) {
        made.device_id[len - 1] = 'x';
        made.user_id = UINT64_MAX - len;
        writer_reset(&out);
        token_refresh_make(keys, &made, &out);
        cr_expect_leq(out.len, TOKEN_REFRESH_MAX);
        cr_assert_eq(token_refresh_parse(writer_slice(&out), &got), RESULT_OK);
        cr_expect_eq(memcmp(&got, &made, sizeof got), 0);
        cr_expect(token_refresh_is_ours(keys, writer_slice(&out)));
        for (uint32_t cut = 0; cut < out.len; cut++) {
            cr_expect_eq(token_refresh_parse(slice_of(out.data, cut), &got), RESULT_MALFORMED);
            cr_expect_not(token_refresh_is_ours(keys, slice_of(out.data, cut)));
        }
    }
}

Test(token, only_a_key_makes_refresh_tokens)
{
    struct token_keys *others;
    cr_assert_eq(token_keys_create(&others), RESULT_OK);
    cr_assert_eq(token_keys_add(others, "k2", SLICE_TEXT(OTHER_SECRET)), RESULT_OK);
    struct token_refresh refresh = {.user_id = 42, .device_id = "phone", .family = 7, .number = 3};
    token_refresh_make(others, &refresh, &out);
    cr_expect(token_refresh_is_ours(keys, writer_slice(&out)), "any of the keys will do");
    writer_reset(&out);
    token_refresh_make(keys, &refresh, &out);
    cr_expect_not(token_refresh_is_ours(others, writer_slice(&out)));
    for (uint32_t i = 0; i < out.len; i++) {
        uint8_t kept = out.data[i];
        out.data[i] = kept == 'A' ? 'B' : 'A';
        cr_expect_not(token_refresh_is_ours(keys, writer_slice(&out)), "byte %u", i);
        out.data[i] = kept;
    }
    token_keys_destroy(others);
}

Test(token, bad_refresh_tokens_are_refused)
{
    uint8_t bytes[8 + 1 + 3 + 8 + 4 + 20] = {1, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'};
    static const struct {
        const char *name;
        size_t at;
        uint8_t value;
        enum result want;
    } cases[] = {
        {"untouched", 9, 'a', RESULT_OK},
        {"no user", 0, 0, RESULT_MALFORMED},
        {"no device", 8, 0, RESULT_MALFORMED},
        {"device too short", 8, 2, RESULT_MALFORMED},
        {"device too long", 8, 4, RESULT_MALFORMED},
        {"device beyond the end", 8, 255, RESULT_MALFORMED},
        {"device of bad characters", 10, ' ', RESULT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t changed[sizeof bytes];
        memcpy(changed, bytes, sizeof bytes);
        changed[cases[i].at] = cases[i].value;
        writer_reset(&out);
        append_base64url(changed, sizeof changed);
        struct token_refresh refresh;
        cr_expect_eq(token_refresh_parse(writer_slice(&out), &refresh), cases[i].want, "%s", cases[i].name);
        cr_expect_not(token_refresh_is_ours(keys, writer_slice(&out)), "%s", cases[i].name);
    }
}

Test(token, hashes_are_sha256)
{
    static const uint8_t want[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    uint8_t hash[TOKEN_HASH_SIZE];
    token_hash(SLICE_TEXT("abc"), hash);
    cr_expect_eq(memcmp(hash, want, sizeof want), 0);
}

Test(token, passwords_fit_their_own_hash_only)
{
    char hash[TOKEN_PASSWORD_HASH_MAX], again[TOKEN_PASSWORD_HASH_MAX];
    cr_assert_eq(token_password_hash(SLICE_TEXT("correct horse"), 1, 8192, hash), RESULT_OK);
    cr_assert_eq(token_password_hash(SLICE_TEXT("correct horse"), 1, 8192, again), RESULT_OK);
    cr_expect_eq(strncmp(hash, "$argon2id$v=19$m=8,t=1,p=1$", 27), 0, "%s", hash);
    cr_expect_str_neq(hash, again, "each has its own salt");
    cr_expect(token_password_fits(hash, SLICE_TEXT("correct horse")));
    cr_expect_not(token_password_fits(hash, SLICE_TEXT("correct horsf")));
    cr_expect_not(token_password_fits(hash, SLICE_TEXT("")));
    cr_expect_not(token_password_fits("", SLICE_TEXT("correct horse")));
    cr_expect_not(token_password_fits("$argon2id$v=19$", SLICE_TEXT("correct horse")));
    cr_expect_eq(token_password_hash(SLICE_TEXT("x"), 0, 0, hash), RESULT_NOMEM);
}
