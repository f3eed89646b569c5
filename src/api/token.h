/* api/token.h - access tokens: JWT, HS256, keys by `kid`; and opaque refresh tokens.
 * Thread: any (a ring of keys is read-only after start).         Depends: core/, libsodium, jansson.   Start at: api/api.h
 *
 *   header  {"alg":"HS256","typ":"JWT","kid":"<key name>"}
 *   claims  {"sub":"<user id>","dev":"<device id>","plt":"<platform>","iat":<s>,"exp":<s>,"gen":<generation of the device>}
 * An app's own backend mints the same tokens with the same key, but for "gen": it does not know it, and its tokens are judged by when
 * they were issued. Times may have fractions (cut off); "nbf", "aud" and "iss" may be there, and hold then. The algorithm is fixed
 * per key: anything but HS256 is refused before a signature is looked at. exp - iat may not pass the configured lifetime; leeway
 * for clocks applies to exp, iat and nbf, and only to whether a token is accepted.
 *
 * Refresh token: base64url of  u64 user id | u8 device id length | device id | u64 family | u32 number | 20 bytes of an HMAC over all
 * before. The server keeps SHA-256 of the one that is good. A login begins a family; each refresh gives its next number. Whoever
 * shows an earlier number of the family shows a used token, and one that was really given out, because the HMAC fits. */
#ifndef API_TOKEN_H
#define API_TOKEN_H

#include "core/cursor.h"
#include "core/result.h"

#define TOKEN_SIZE_MAX 4096
#define TOKEN_DEVICE_MAX 64
#define TOKEN_PLATFORM_MAX 16
#define TOKEN_KEYS_MAX 8
#define TOKEN_REFRESH_MAX 160
#define TOKEN_HASH_SIZE 32
#define TOKEN_REFRESH_MAC_SIZE 20

struct token_keys; /* the first key added signs, all verify */
NODISCARD enum result token_keys_create(struct token_keys **out);
void token_keys_destroy(struct token_keys *keys);
/* `kid`: 1-32 of A-Z a-z 0-9 _ - ; secret >= 32 bytes, copied. EXISTS, BUSY (TOKEN_KEYS_MAX), MALFORMED. */
NODISCARD enum result token_keys_add(struct token_keys *keys, const char *kid, struct slice secret);

struct token_claims {
    uint64_t user_id;
    char device_id[TOKEN_DEVICE_MAX + 1];
    char platform[TOKEN_PLATFORM_MAX + 1];
    uint64_t issued_s, expires_s;
    uint64_t generation; /* of the device when this server made the token */
    bool own;            /* this server made it: `generation` counts; false: a backend, `issued_s` does */
};

/* Appends the token. */
void token_mint(const struct token_keys *keys, const struct token_claims *claims, struct writer *out);

/* What may be wrong with a token. The text of those marked may be told to whoever shows it: they say nothing about keys, or the
 * signature fits.
 *    NAME        told   text */
#define TOKEN_FLAW_LIST(X)                                                                                             \
    X(NONE,       false, "")                                                                                           \
    X(SHAPE,      true,  "it is no JWT of three parts")                                                                \
    X(HEADER,     true,  "its header must have alg and kid, may have typ JWT, and nothing else")                       \
    X(ALGORITHM,  true,  "its alg must be HS256")                                                                      \
    X(KEY,        false, "its kid names no key of this server")                                                        \
    X(SIGNATURE,  false, "its signature does not fit")                                                                 \
    X(CLAIMS,     true,  "its claims are no JSON object")                                                              \
    X(SUBJECT,    true,  "sub must be a user id in decimal, as a string")                                              \
    X(DEVICE,     true,  "dev must be 1-64 of A-Z a-z 0-9 _ - .")                                                      \
    X(PLATFORM,   true,  "plt must be 0-16 of A-Z a-z 0-9 _ - .")                                                      \
    X(TIMES,      true,  "iat and exp must be numbers of seconds since 1970, and so must nbf and gen if they are there") \
    X(ORDER,      true,  "exp must be after iat")                                                                      \
    X(LIFETIME,   true,  "exp - iat must not be more than access_token_ttl")                                           \
    X(FUTURE,     true,  "iat is in the future")                                                                       \
    X(NOT_YET,    true,  "nbf is in the future")                                                                       \
    X(EXPIRED,    true,  "exp has passed")                                                                             \
    X(AUDIENCE,   true,  "aud names none of token_audiences")                                                          \
    X(ISSUER,     true,  "iss is none of token_issuers")
#define TOKEN_FLAW_AS_ENUM(NAME, told, text) TOKEN_FLAW_##NAME,
enum token_flaw { TOKEN_FLAW_LIST(TOKEN_FLAW_AS_ENUM) TOKEN_FLAW_COUNT };
#undef TOKEN_FLAW_AS_ENUM
const char *token_flaw_text(enum token_flaw flaw);
bool token_flaw_is_told(enum token_flaw flaw);
bool token_flaw_is_signed(enum token_flaw flaw); /* the signature fits: who holds a key has said all the rest */

struct token_terms { /* on which tokens are accepted */
    uint32_t leeway_s, lifetime_max_s;
    const char *const *audiences, *const *issuers; /* of these one, if the token names any */
    uint32_t audience_count, issuer_count;
};
/* NONE: claims are filled. Constant time over the signature. */
NODISCARD enum token_flaw token_verify(const struct token_keys *keys, struct slice token, uint64_t now_s,
                                       const struct token_terms *terms, struct token_claims *claims);

struct token_refresh {
    uint64_t user_id, family;
    uint32_t number; /* in the family, from 0 on */
    char device_id[TOKEN_DEVICE_MAX + 1];
};
/* Appends the token; the same parts give the same one. */
void token_refresh_make(const struct token_keys *keys, const struct token_refresh *refresh, struct writer *out);
/* The parts, which anybody may have written there. */
NODISCARD enum result token_refresh_parse(struct slice token, struct token_refresh *refresh);
/* One of the keys has made it. (An older version's tokens were random: they are good by their hash alone.) */
bool token_refresh_is_ours(const struct token_keys *keys, struct slice token);
void token_hash(struct slice token, uint8_t out[TOKEN_HASH_SIZE]);

/* argon2id in libsodium's own text form. Slow on purpose: never on a worker. */
#define TOKEN_PASSWORD_HASH_MAX 128
NODISCARD enum result token_password_hash(struct slice password, uint32_t passes, uint64_t memory_bytes,
                                          char out[TOKEN_PASSWORD_HASH_MAX]);
bool token_password_fits(const char *hash, struct slice password);

#endif
