/* api/token.c - access tokens as in RFC 7519 over RFC 7515, refresh tokens, passwords; the mathematics is libsodium's.
 * A token passes these gates in this order: size and three parts; header (algorithm, key name); signature in constant
 * time; claims; clock; audience and issuer. Until the signature fits nothing of the claims is decoded. base64url is read strictly (no
 * padding, no stray bits), so a token has exactly one spelling. */
#include "api/token.h"
#include "api/base64.h"
#include "api/json_internal.h"
#include "core/check.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KID_MAX             32
#define SECRET_SIZE_MIN     32
#define SIGNATURE_SIZE      crypto_auth_hmacsha256_BYTES
#define SIGNATURE_TEXT_LEN  43 /* base64url of 32 bytes */
#define VARIANT             sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define REFRESH_PARTS_MAX   (sizeof(uint64_t) + 1 + TOKEN_DEVICE_MAX + sizeof(uint64_t) + sizeof(uint32_t))
#define REFRESH_PURPOSE     "ringpost refresh" /* keeps these HMACs apart from those of access tokens */
#define CLAIMS_TEXT_MAX     352
#define TIME_REAL_MAX       9007199254740992.0 /* up to here every second has its own double */

_Static_assert(TOKEN_HASH_SIZE == crypto_hash_sha256_BYTES, "token_hash() is SHA-256");
_Static_assert(TOKEN_PASSWORD_HASH_MAX >= crypto_pwhash_STRBYTES, "libsodium's text form fits");

struct key {
    char kid[KID_MAX + 1];
    uint8_t *secret; /* owned; wiped when freed */
    uint32_t secret_size;
};

struct token_keys {
    struct key keys[TOKEN_KEYS_MAX];
    uint32_t count;
};

/* ---- keys ------------------------------------------------------------------------------------------------------ */

static bool is_name(const char *text, size_t len, size_t len_min, size_t len_max, bool dots_allowed)
{
    if (len < len_min || len > len_max) return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_allowed = is_letter || (c >= '0' && c <= '9') || c == '_' || c == '-' || (c == '.' && dots_allowed);
        if (!is_allowed) return false;
    }
    return true;
}

static bool is_device(const char *text, size_t len)
{
    return is_name(text, len, 1, TOKEN_DEVICE_MAX, true);
}
static bool is_platform(const char *text, size_t len)
{
    return is_name(text, len, 0, TOKEN_PLATFORM_MAX, true);
}

enum result token_keys_create(struct token_keys **out)
{
    *out = NULL;
    if (sodium_init() < 0) return RESULT_UNSUPPORTED;
    *out = calloc(1, sizeof **out);
    return *out == NULL ? RESULT_NOMEM : RESULT_OK;
}

void token_keys_destroy(struct token_keys *keys)
{
    if (keys == NULL) return;
    for (uint32_t i = 0; i < keys->count; i++) {
        sodium_memzero(keys->keys[i].secret, keys->keys[i].secret_size);
        free(keys->keys[i].secret);
    }
    free(keys);
}

static const struct key *find_key(const struct token_keys *keys, const char *kid)
{
    for (uint32_t i = 0; i < keys->count; i++)
        if (strcmp(keys->keys[i].kid, kid) == 0) return &keys->keys[i];
    return NULL;
}

enum result token_keys_add(struct token_keys *keys, const char *kid, struct slice secret)
{
    if (!is_name(kid, strlen(kid), 1, KID_MAX, false) || secret.len < SECRET_SIZE_MIN) return RESULT_MALFORMED;
    if (find_key(keys, kid) != NULL) return RESULT_EXISTS;
    if (keys->count == TOKEN_KEYS_MAX) return RESULT_BUSY;
    uint8_t *copy = malloc(secret.len);
    if (copy == NULL) return RESULT_NOMEM;
    memcpy(copy, secret.data, secret.len);
    struct key *key = &keys->keys[keys->count++];
    *key = (struct key){.secret = copy, .secret_size = secret.len};
    memcpy(key->kid, kid, strlen(kid) + 1);
    return RESULT_OK;
}

static void sign(const struct key *key, struct slice text, uint8_t signature[SIGNATURE_SIZE])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key->secret, key->secret_size);
    crypto_auth_hmacsha256_update(&state, text.data, text.len);
    crypto_auth_hmacsha256_final(&state, signature);
    sodium_memzero(&state, sizeof state);
}

/* ---- base64url ------------------------------------------------------------------------------------------------- */

static void write_base64url(struct writer *out, struct slice bytes)
{
    size_t size = sodium_base64_encoded_len(bytes.len, VARIANT); /* with a NUL, which is dropped again */
    uint8_t *room = writer_reserve(out, size);
    if (room == NULL) return;
    sodium_bin2base64((char *)room, size, bytes.data, bytes.len, VARIANT);
    out->len--;
}

static bool read_base64url(struct slice text, uint8_t *bytes, size_t size_max, size_t *len)
{
    return base64_decode(text, VARIANT, bytes, size_max, len);
}

/* ---- access tokens: making ------------------------------------------------------------------------------------- */

void token_mint(const struct token_keys *keys, const struct token_claims *claims, struct writer *out)
{
    ASSERT(keys->count > 0);
    ASSERT(claims->user_id != 0);
    ASSERT(is_device(claims->device_id, strlen(claims->device_id)));
    ASSERT(is_platform(claims->platform, strlen(claims->platform)));
    const struct key *key = &keys->keys[0];
    char text[CLAIMS_TEXT_MAX];
    size_t begin = out->len;

    int len = snprintf(text, sizeof text, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->kid);
    ASSERT(len > 0 && (size_t)len < sizeof text);
    write_base64url(out, slice_of(text, (size_t)len));
    writer_u8(out, '.');
    len = snprintf(text, sizeof text,
                   "{\"sub\":\"%" PRIu64 "\",\"dev\":\"%s\",\"plt\":\"%s\",\"iat\":%" PRIu64 ",\"exp\":%" PRIu64,
                   claims->user_id, claims->device_id, claims->platform, claims->issued_s, claims->expires_s);
    if (claims->own) len += snprintf(text + len, sizeof text - (size_t)len, ",\"gen\":%" PRIu64, claims->generation);
    ASSERT(len > 0 && (size_t)len + 1 < sizeof text);
    text[len++] = '}';
    write_base64url(out, slice_of(text, (size_t)len));
    if (out->failed) return;

    uint8_t signature[SIGNATURE_SIZE];
    sign(key, slice_of(out->data + begin, out->len - begin), signature);
    writer_u8(out, '.');
    write_base64url(out, slice_of(signature, sizeof signature));
}

/* ---- access tokens: verifying ---------------------------------------------------------------------------------- */

struct token_parts {
    struct slice header, claims, signature; /* base64url */
    struct slice signed_text;               /* header '.' claims */
};

static bool split(struct slice token, struct token_parts *parts)
{
    if (token.len == 0 || token.len > TOKEN_SIZE_MAX) return false;
    const uint8_t *end = token.data + token.len;
    const uint8_t *first = memchr(token.data, '.', token.len);
    if (first == NULL) return false;
    const uint8_t *second = memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL) return false;
    parts->header = slice_of(token.data, (size_t)(first - token.data));
    parts->claims = slice_of(first + 1, (size_t)(second - first - 1));
    parts->signature = slice_of(second + 1, (size_t)(end - second - 1)); /* a third '.' fails as base64 */
    parts->signed_text = slice_of(token.data, (size_t)(second - token.data));
    return true;
}

/* A part decoded and parsed; a new reference, or NULL. */
static json_t *parse_part(struct slice part)
{
    uint8_t bytes[TOKEN_SIZE_MAX];
    size_t len;
    if (!read_base64url(part, bytes, sizeof bytes, &len)) return NULL;
    return json_tree_parse(slice_of(bytes, len), NULL, 0);
}

static bool is_string(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* The header is exactly what we mint: HS256, a known key, perhaps "typ". Any other member ("crit", "jwk", "zip" ...) would change
 * what the token means, so it is refused. */
static enum token_flaw read_header(const struct token_keys *keys, const json_t *header, const struct key **key)
{
    const json_t *kid = json_object_get(header, "kid"), *type = json_object_get(header, "typ");
    if (!is_string(json_object_get(header, "alg"), "HS256")) return TOKEN_FLAW_ALGORITHM;
    if (!json_is_string(kid) || (type != NULL && !is_string(type, "JWT"))) return TOKEN_FLAW_HEADER;
    if (json_object_size(header) != (type == NULL ? 2u : 3u)) return TOKEN_FLAW_HEADER;
    *key = find_key(keys, json_string_value(kid));
    return *key == NULL ? TOKEN_FLAW_KEY : TOKEN_FLAW_NONE;
}

static bool signature_fits(const struct key *key, const struct token_parts *parts)
{
    uint8_t given[SIGNATURE_SIZE], computed[SIGNATURE_SIZE];
    size_t len;
    if (parts->signature.len != SIGNATURE_TEXT_LEN) return false;
    if (!read_base64url(parts->signature, given, sizeof given, &len) || len != sizeof given) return false;
    sign(key, parts->signed_text, computed);
    return sodium_memcmp(given, computed, sizeof given) == 0;
}

/* A time claim: a JSON number, never a string; a fraction is cut off. */
static bool read_time(const json_t *value, uint64_t *seconds)
{
    if (!json_is_real(value)) return json_is_integer(value) && json_tree_u64(value, INT64_MAX, seconds);
    double number = json_real_value(value);
    if (!(number >= 0 && number < TIME_REAL_MAX)) return false;
    *seconds = (uint64_t)number;
    return true;
}

static enum token_flaw read_who(const json_t *object, struct token_claims *claims)
{
    const json_t *subject = json_object_get(object, "sub"), *device = json_object_get(object, "dev"),
                 *platform = json_object_get(object, "plt");
    if (!json_is_string(subject) || !json_tree_u64(subject, UINT64_MAX, &claims->user_id) || claims->user_id == 0)
        return TOKEN_FLAW_SUBJECT;
    if (!json_is_string(device) || !is_device(json_string_value(device), json_string_length(device))) return TOKEN_FLAW_DEVICE;
    if (!json_is_string(platform) || !is_platform(json_string_value(platform), json_string_length(platform)))
        return TOKEN_FLAW_PLATFORM;
    memcpy(claims->device_id, json_string_value(device), json_string_length(device) + 1);
    memcpy(claims->platform, json_string_value(platform), json_string_length(platform) + 1);
    return TOKEN_FLAW_NONE;
}

static enum token_flaw read_times(const json_t *object, struct token_claims *claims, uint64_t *not_before_s)
{
    const json_t *not_before = json_object_get(object, "nbf"), *generation = json_object_get(object, "gen");
    *not_before_s = 0;
    claims->own = generation != NULL;
    bool fine = read_time(json_object_get(object, "iat"), &claims->issued_s) &&
                read_time(json_object_get(object, "exp"), &claims->expires_s) &&
                (not_before == NULL || read_time(not_before, not_before_s)) &&
                (generation == NULL || (json_is_integer(generation) && json_tree_u64(generation, INT64_MAX, &claims->generation)));
    return fine ? TOKEN_FLAW_NONE : TOKEN_FLAW_TIMES;
}

static enum token_flaw check_times(const struct token_claims *claims, uint64_t not_before_s, uint64_t now_s,
                                   const struct token_terms *terms)
{
    if (claims->expires_s <= claims->issued_s) return TOKEN_FLAW_ORDER;
    if (claims->expires_s - claims->issued_s > terms->lifetime_max_s) return TOKEN_FLAW_LIFETIME;
    if (claims->issued_s > now_s + terms->leeway_s) return TOKEN_FLAW_FUTURE;
    if (not_before_s > now_s + terms->leeway_s) return TOKEN_FLAW_NOT_YET;
    return now_s >= claims->expires_s + terms->leeway_s ? TOKEN_FLAW_EXPIRED : TOKEN_FLAW_NONE;
}

static bool is_one_of(const json_t *value, const char *const *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (is_string(value, names[i])) return true;
    return false;
}

/* RFC 7519, 4.1.1 and 4.1.3: who is not among those that a token is for must refuse it. `aud` is one name or a list. */
static enum token_flaw check_parties(const json_t *object, const struct token_terms *terms)
{
    const json_t *audience = json_object_get(object, "aud"), *issuer = json_object_get(object, "iss");
    if (issuer != NULL && !is_one_of(issuer, terms->issuers, terms->issuer_count)) return TOKEN_FLAW_ISSUER;
    if (audience == NULL || is_one_of(audience, terms->audiences, terms->audience_count)) return TOKEN_FLAW_NONE;
    for (size_t i = 0; i < json_array_size(audience); i++)
        if (is_one_of(json_array_get(audience, i), terms->audiences, terms->audience_count)) return TOKEN_FLAW_NONE;
    return TOKEN_FLAW_AUDIENCE;
}

static enum token_flaw check_claims(const json_t *object, uint64_t now_s, const struct token_terms *terms,
                                    struct token_claims *claims)
{
    if (object == NULL) return TOKEN_FLAW_CLAIMS;
    uint64_t not_before_s;
    enum token_flaw flaw = read_who(object, claims);
    if (flaw == TOKEN_FLAW_NONE) flaw = read_times(object, claims, &not_before_s);
    if (flaw == TOKEN_FLAW_NONE) flaw = check_times(claims, not_before_s, now_s, terms);
    if (flaw == TOKEN_FLAW_NONE) flaw = check_parties(object, terms);
    return flaw;
}

enum token_flaw token_verify(const struct token_keys *keys, struct slice token, uint64_t now_s, const struct token_terms *terms,
                             struct token_claims *claims)
{
    *claims = (struct token_claims){0};
    struct token_parts parts;
    if (!split(token, &parts)) return TOKEN_FLAW_SHAPE;
    const struct key *key = NULL;
    json_t *header = parse_part(parts.header);
    enum token_flaw flaw = header == NULL ? TOKEN_FLAW_SHAPE : read_header(keys, header, &key);
    json_decref(header);
    if (flaw != TOKEN_FLAW_NONE) return flaw;
    if (!signature_fits(key, &parts)) return TOKEN_FLAW_SIGNATURE;

    json_t *object = parse_part(parts.claims);
    flaw = check_claims(object, now_s, terms, claims);
    json_decref(object);
    return flaw;
}

static const struct {
    const char *text;
    bool told;
} flaws[] = {
#define FLAW_AS_ROW(NAME, is_told, words) [TOKEN_FLAW_##NAME] = {.text = words, .told = is_told},
    TOKEN_FLAW_LIST(FLAW_AS_ROW)
#undef FLAW_AS_ROW
};

const char *token_flaw_text(enum token_flaw flaw)
{
    ASSERT(flaw < TOKEN_FLAW_COUNT);
    return flaws[flaw].text;
}

bool token_flaw_is_signed(enum token_flaw flaw) { return flaw == TOKEN_FLAW_NONE || flaw > TOKEN_FLAW_SIGNATURE; }

bool token_flaw_is_told(enum token_flaw flaw)
{
    ASSERT(flaw < TOKEN_FLAW_COUNT);
    return flaws[flaw].told;
}

/* ---- refresh tokens -------------------------------------------------------------------------------------------- */

static void refresh_mac(const struct key *key, struct slice parts, uint8_t mac[SIGNATURE_SIZE])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key->secret, key->secret_size);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)REFRESH_PURPOSE, sizeof REFRESH_PURPOSE);
    crypto_auth_hmacsha256_update(&state, parts.data, parts.len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
}

void token_refresh_make(const struct token_keys *keys, const struct token_refresh *refresh, struct writer *out)
{
    size_t device_len = strlen(refresh->device_id);
    ASSERT(keys->count > 0);
    ASSERT(refresh->user_id != 0);
    ASSERT(is_device(refresh->device_id, device_len));
    uint8_t mac[SIGNATURE_SIZE];
    struct writer parts;
    writer_init(&parts, 0);
    writer_u64(&parts, refresh->user_id);
    writer_u8(&parts, (uint8_t)device_len);
    writer_raw(&parts, refresh->device_id, device_len);
    writer_u64(&parts, refresh->family);
    writer_u32(&parts, refresh->number);
    refresh_mac(&keys->keys[0], writer_slice(&parts), mac);
    writer_raw(&parts, mac, TOKEN_REFRESH_MAC_SIZE);
    write_base64url(out, writer_slice(&parts));
    sodium_memzero(mac, sizeof mac);
    if (parts.data != NULL) sodium_memzero(parts.data, parts.capacity);
    writer_deinit(&parts);
}

enum result token_refresh_parse(struct slice token, struct token_refresh *refresh)
{
    uint8_t bytes[TOKEN_REFRESH_MAX];
    size_t len;
    *refresh = (struct token_refresh){0};
    if (token.len == 0 || token.len > TOKEN_REFRESH_MAX) return RESULT_MALFORMED;
    if (!read_base64url(token, bytes, sizeof bytes, &len)) return RESULT_MALFORMED;
    struct cursor c = cursor_of(slice_of(bytes, len));
    refresh->user_id = cursor_u64(&c);
    uint8_t device_len = cursor_u8(&c);
    const char *device = (const char *)cursor_take(&c, device_len);
    refresh->family = cursor_u64(&c);
    refresh->number = cursor_u32(&c);
    (void)cursor_take(&c, TOKEN_REFRESH_MAC_SIZE);
    if (!cursor_done(&c) || refresh->user_id == 0 || !is_device(device, device_len)) return RESULT_MALFORMED;
    memcpy(refresh->device_id, device, device_len);
    return RESULT_OK;
}

bool token_refresh_is_ours(const struct token_keys *keys, struct slice token)
{
    uint8_t bytes[TOKEN_REFRESH_MAX], mac[SIGNATURE_SIZE];
    size_t len;
    if (token.len == 0 || token.len > TOKEN_REFRESH_MAX || !read_base64url(token, bytes, sizeof bytes, &len)) return false;
    if (len <= TOKEN_REFRESH_MAC_SIZE || len > REFRESH_PARTS_MAX + TOKEN_REFRESH_MAC_SIZE) return false;
    len -= TOKEN_REFRESH_MAC_SIZE;
    bool ours = false;
    for (uint32_t i = 0; i < keys->count && !ours; i++) {
        refresh_mac(&keys->keys[i], slice_of(bytes, len), mac);
        ours = sodium_memcmp(mac, bytes + len, TOKEN_REFRESH_MAC_SIZE) == 0;
    }
    return ours;
}

void token_hash(struct slice token, uint8_t out[TOKEN_HASH_SIZE])
{
    crypto_hash_sha256(out, token.data, token.len);
}

/* ---- passwords ------------------------------------------------------------------------------------------------- */

enum result token_password_hash(struct slice password, uint32_t passes, uint64_t memory_bytes,
                                char out[TOKEN_PASSWORD_HASH_MAX])
{
    if (sodium_init() < 0) return RESULT_UNSUPPORTED;
    int hashed = crypto_pwhash_str(out, (const char *)password.data, password.len, passes, memory_bytes);
    return hashed == 0 ? RESULT_OK : RESULT_NOMEM;
}

bool token_password_fits(const char *hash, struct slice password)
{
    if (sodium_init() < 0) return false;
    return crypto_pwhash_str_verify(hash, (const char *)password.data, password.len) == 0;
}
