/* api/token.h - access tokens: JWT, HS256, keys by `kid`; and opaque refresh tokens.
 * Thread: any (a ring of keys is read-only after start).         Depends: core/, libsodium, jansson.   Start at: api/api.h
 *
 * An app's own backend mints the same tokens with the same key:
 *   header  {"alg":"HS256","typ":"JWT","kid":"<key name>"}
 *   claims  {"sub":"<user id>","dev":"<device id>","plt":"<platform>","iat":<s>,"exp":<s>}
 * The algorithm is fixed per key: anything but HS256 is refused before a signature is looked at. exp - iat may not pass the
 * configured lifetime; leeway for clocks applies to exp and iat.
 *
 * Refresh token: base64url of  u64 user id | u8 device id length | device id | 32 random bytes ; the server keeps SHA-256 of it. */
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
};

/* Appends the token. */
void token_mint(const struct token_keys *keys, const struct token_claims *claims, struct writer *out);
/* MALFORMED: not a token of ours, wrong signature, unknown key, lifetime too long; TIMEOUT: expired. Constant time over the signature. */
NODISCARD enum result token_verify(const struct token_keys *keys, struct slice token, uint64_t now_s, uint32_t leeway_s,
                                   uint32_t lifetime_max_s, struct token_claims *claims);

/* Refresh tokens: `random` = 32 bytes. */
void token_refresh_make(uint64_t user_id, const char *device_id, const uint8_t random[32], struct writer *out);
NODISCARD enum result token_refresh_parse(struct slice token, uint64_t *user_id, char device_id[TOKEN_DEVICE_MAX + 1]);
void token_hash(struct slice token, uint8_t out[TOKEN_HASH_SIZE]);

/* argon2id in libsodium's own text form. Slow on purpose: never on a worker. */
#define TOKEN_PASSWORD_HASH_MAX 128
NODISCARD enum result token_password_hash(struct slice password, uint32_t passes, uint64_t memory_bytes,
                                          char out[TOKEN_PASSWORD_HASH_MAX]);
bool token_password_fits(const char *hash, struct slice password);

#endif
