/* layers: api core */
/* tests/fuzz/token_fuzz.c - tokens under a fixed key. The first byte chooses: 'c' the rest is claims, which are signed
 * properly so that they get past the signature; 'r' a refresh token; anything else an access token as it is. What
 * verifies must come back after minting. */
#include "api/token.h"
#include "core/check.h"
#include <sodium.h>

#define SECRET  "0123456789abcdef0123456789abcdef"
#define HEADER  "{\"alg\":\"HS256\",\"kid\":\"k1\"}"
#define NOW     1000000u
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append_base64url(struct writer *out, struct slice bytes)
{
    size_t text_size = sodium_base64_encoded_len(bytes.len, VARIANT);
    char *room = (char *)writer_reserve(out, text_size);
    ASSERT(room != NULL);
    sodium_bin2base64(room, text_size, bytes.data, bytes.len, VARIANT);
    out->len--;
}

static void sign(struct writer *out, struct slice claims)
{
    uint8_t signature[crypto_auth_hmacsha256_BYTES];
    append_base64url(out, SLICE_TEXT(HEADER));
    writer_u8(out, '.');
    append_base64url(out, claims);
    crypto_auth_hmacsha256(signature, out->data, out->len, (const uint8_t *)SECRET);
    writer_u8(out, '.');
    append_base64url(out, slice_of(signature, sizeof signature));
}

static void try_access(const struct token_keys *keys, struct slice token)
{
    struct token_claims claims, again;
    static const struct token_terms terms = {.leeway_s = 30, .lifetime_max_s = 3600};
    if (token_verify(keys, token, NOW, &terms, &claims) != TOKEN_FLAW_NONE) return;
    struct writer minted = {0};
    token_mint(keys, &claims, &minted);
    enum token_flaw flaw = token_verify(keys, writer_slice(&minted), NOW, &terms, &again);
    ASSERT(flaw == TOKEN_FLAW_NONE);
    ASSERT(memcmp(&claims, &again, sizeof claims) == 0);
    writer_deinit(&minted);
}

/* A refresh token of ours has one spelling: made again from its parts it is the same. */
static void try_refresh(const struct token_keys *keys, struct slice token)
{
    struct token_refresh refresh;
    if (token_refresh_parse(token, &refresh) != RESULT_OK) return;
    struct writer made = {0};
    token_refresh_make(keys, &refresh, &made);
    ASSERT(token_refresh_is_ours(keys, writer_slice(&made)));
    ASSERT(token_refresh_is_ours(keys, token) == slice_equal(writer_slice(&made), token));
    writer_deinit(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token_keys *keys;
    if (size == 0 || token_keys_create(&keys) != RESULT_OK) return 0;
    enum result res = token_keys_add(keys, "k1", SLICE_TEXT(SECRET));
    ASSERT(res == RESULT_OK);
    struct writer token = {0};
    if (data[0] == 'c') {
        sign(&token, slice_of(data + 1, size - 1));
        try_access(keys, writer_slice(&token));
    } else if (data[0] == 'r') {
        try_refresh(keys, slice_of(data + 1, size - 1));
    } else {
        try_access(keys, slice_of(data, size));
    }
    writer_deinit(&token);
    token_keys_destroy(keys);
    return 0;
}
