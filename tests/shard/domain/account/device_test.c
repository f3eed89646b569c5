/* tests/shard/domain/account/device_test.c - devices: listed, admitted, revoked, counted and forgotten; refresh tokens turned over. */
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/account/account_internal.h"
#include "shard/machine_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define NOW_MS UINT64_C(1700000000500)
#define NOW_S (NOW_MS / 1000)

static uint8_t hash_a[TOKEN_HASH_SIZE] = {0xa}, hash_b[TOKEN_HASH_SIZE] = {0xb}, hash_c[TOKEN_HASH_SIZE] = {0xc};
static struct slice hash_of(const uint8_t *hash) { return hash == NULL ? SLICE_EMPTY : slice_of(hash, TOKEN_HASH_SIZE); }

static struct fixture *fixture_at(uint64_t now_ms)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_DEVICES_PER_USER_MAX] = 2;
    struct fixture *f = fixture_create(&options);
    f->now_ms = now_ms;
    return f;
}

/* A login when `hash` is given, a socket's first auth when it is NULL. */
static enum error put(struct fixture *f, uint64_t user_id, const char *device_id, const uint8_t *hash)
{
    struct device_put_record record = {.user_id = user_id,
                                       .device_id = slice_text(device_id),
                                       .platform = SLICE_TEXT("web"),
                                       .name = hash == NULL ? SLICE_EMPTY : SLICE_TEXT("My laptop"),
                                       .refresh_hash = hash_of(hash),
                                       .refresh_expires_ms = hash == NULL ? 0 : NOW_MS + 1000000};
    return FIXTURE_RUN(f, user_id, DEVICE_PUT, device_put, &record);
}

static enum error revoke(struct fixture *f, uint64_t user_id, const char *device_id)
{
    struct device_revoke_record record = {.user_id = user_id, .device_id = slice_text(device_id)};
    return FIXTURE_RUN(f, user_id, DEVICE_REVOKE, device_revoke, &record);
}

static enum error turn_over(struct fixture *f, uint64_t user_id, const char *device_id, const uint8_t *old, const uint8_t *new)
{
    struct refresh_record record = {.user_id = user_id,
                                    .device_id = slice_text(device_id),
                                    .old_hash = hash_of(old),
                                    .new_hash = hash_of(new),
                                    .refresh_expires_ms = NOW_MS + 2000000};
    return FIXTURE_RUN(f, user_id, REFRESH, refresh, &record);
}

/* A token that this server made for a generation of the device, or (`generation` NULL) one of a backend. */
static enum error admits(const struct account *account, const char *device_id, const uint64_t *generation, uint64_t issued_s)
{
    struct actor_record actor = {.device_id = slice_text(device_id),
                                 .issued_s = issued_s,
                                 .own = generation != NULL,
                                 .generation = generation == NULL ? 0 : *generation};
    return account_admits(account, &actor);
}

static struct account *account_at(struct fixture *f, uint64_t user_id)
{
    return account_of(fixture_entity(f, ENTITY_ACCOUNT, user_id, 0));
}

static struct device *device_at(struct fixture *f, uint64_t user_id, const char *device_id)
{
    return account_device(account_at(f, user_id), slice_text(device_id));
}

/* ---- admission ---- */

Test(account_device, admission)
{
    struct device devices[] = {
        {.device_id = "fresh", .generation = 5},
        {.device_id = "again", .generation = 9, .valid_after_s = NOW_S}, /* revoked before, logged in since */
        {.device_id = "gone", .generation = 8, .valid_after_s = NOW_S, .revoked = true},
        {.device_id = "tomorrow", .generation = 7, .valid_after_s = NOW_S + 86400}, /* the same, by a clock that was ahead */
    };
    struct account account = {.entity.exists = true, .devices = devices, .device_count = COUNT_OF(devices)};
    struct account nobody = {.entity.exists = false};
    static const struct {
        const char *name, *device_id;
        bool user_exists, own;
        uint64_t generation, issued_s;
        enum error want;
    } cases[] = {
        {"a backend's, a device in use", "fresh", true, false, 0, NOW_S, ERROR_NONE},
        {"a backend's, a device in use, old token", "fresh", true, false, 0, 1, ERROR_NONE},
        {"a backend's, a device never heard of", "other", true, false, 0, NOW_S, ERROR_NONE},
        {"a backend's, from before the revocation", "again", true, false, 0, NOW_S - 1, ERROR_DEVICE_REVOKED},
        {"a backend's, after it", "again", true, false, 0, NOW_S, ERROR_NONE},
        {"a backend's, a revoked device", "gone", true, false, 0, NOW_S - 1, ERROR_DEVICE_REVOKED},
        {"a backend's, a revoked device, token minted since", "gone", true, false, 0, NOW_S, ERROR_NONE},
        {"a backend's, nobody's", "fresh", false, false, 0, NOW_S, ERROR_USER_NOT_FOUND},
        {"ours, a device in use", "fresh", true, true, 5, 1, ERROR_NONE},
        {"ours, of an older generation", "again", true, true, 8, NOW_S + 10, ERROR_DEVICE_REVOKED},
        {"ours, of the generation since the new login", "again", true, true, 9, NOW_S - 10, ERROR_NONE},
        {"ours, since a revocation that is to come", "tomorrow", true, true, 7, NOW_S, ERROR_NONE},
        {"ours, of a generation that was never there", "fresh", true, true, 6, NOW_S, ERROR_DEVICE_REVOKED},
        {"ours, of a device that was forgotten", "other", true, true, 5, NOW_S, ERROR_DEVICE_REVOKED},
        {"ours, nobody's", "fresh", false, true, 5, NOW_S, ERROR_USER_NOT_FOUND},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum error error = admits(cases[i].user_exists ? &account : &nobody, cases[i].device_id,
                                  cases[i].own ? &cases[i].generation : NULL, cases[i].issued_s);
        cr_expect_eq(error, cases[i].want, "%s", cases[i].name);
    }
}

/* ---- listing ---- */

Test(account_device, a_login_lists_the_device)
{
    for (int forgetful = 0; forgetful < 2; forgetful++) {
        struct fixture *f = fixture_at(NOW_MS);
        f->forgetful = forgetful == 1;
        uint64_t user_id = fixture_add_user(f, "alice");
        cr_assert_eq(put(f, user_id, "laptop", hash_a), ERROR_NONE);
        const struct device *device = device_at(f, user_id, "laptop");
        cr_assert_not_null(device);
        cr_expect_str_eq(device->platform, "web");
        cr_expect_str_eq(device->name, "My laptop");
        cr_expect_eq(device->created_ms, NOW_MS);
        cr_expect_eq(device->last_seen_ms, NOW_MS);
        cr_expect_eq(device->refresh_expires_ms, NOW_MS + 1000000);
        cr_expect_arr_eq(device->refresh_hash, hash_a, sizeof hash_a);
        cr_expect(!device->revoked);
        fixture_destroy(f);
    }
}

Test(account_device, a_first_auth_keeps_what_a_login_left)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(put(f, user_id, "laptop", hash_a), ERROR_NONE);
    cr_assert_eq(put(f, user_id, "laptop", NULL), ERROR_NONE);
    const struct device *device = device_at(f, user_id, "laptop");
    cr_expect_arr_eq(device->refresh_hash, hash_a, sizeof hash_a);
    cr_expect_str_eq(device->name, "My laptop");
    cr_expect_eq(account_at(f, user_id)->device_count, 1);
    fixture_destroy(f);
}

Test(account_device, the_limit_counts_devices_that_are_not_revoked)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_expect_eq(put(f, user_id, "one", hash_a), ERROR_NONE);
    cr_expect_eq(put(f, user_id, "two", NULL), ERROR_NONE);
    cr_expect_eq(put(f, user_id, "three", hash_a), ERROR_TOO_MANY_DEVICES);
    cr_expect_eq(put(f, user_id, "one", hash_b), ERROR_NONE, "one that is listed logs in again");
    cr_expect_eq(revoke(f, user_id, "two"), ERROR_NONE);
    cr_expect_eq(put(f, user_id, "three", hash_a), ERROR_NONE);
    cr_expect_eq(put(f, user_id, "two", hash_a), ERROR_TOO_MANY_DEVICES, "a tombstone needs a place to come back");
    cr_expect_eq(put(f, user_id + 1, "one", hash_a), ERROR_USER_NOT_FOUND);
    fixture_destroy(f);
}

Test(account_device, a_device_that_can_get_no_tokens_any_more_takes_no_place)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_expect_eq(put(f, user_id, "one", hash_a), ERROR_NONE);
    cr_expect_eq(put(f, user_id, "minted", NULL), ERROR_NONE);
    f->now_ms = NOW_MS + 1000000 - 1;
    cr_expect_eq(put(f, user_id, "two", hash_b), ERROR_TOO_MANY_DEVICES, "its refresh token still works");
    f->now_ms = NOW_MS + 1000000;
    cr_expect_eq(account_active_count(account_at(f, user_id), f->now_ms), 1);
    cr_expect_eq(put(f, user_id, "two", NULL), ERROR_NONE);
    cr_expect_eq(put(f, user_id, "one", NULL), ERROR_TOO_MANY_DEVICES, "coming back needs a place");
    fixture_destroy(f);
}

Test(account_device, the_expired_are_forgotten_like_the_revoked)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    uint32_t records_max = 2 * ACCOUNT_RECORDS_PER_DEVICE;
    cr_assert_eq(put(f, user_id, "expired", hash_a), ERROR_NONE);
    f->now_ms = NOW_MS + 1000000;
    cr_assert_eq(put(f, user_id, "kept", NULL), ERROR_NONE);
    for (uint32_t i = 0; i < records_max - 1; i++) {
        char device_id[16];
        (void)snprintf(device_id, sizeof device_id, "device%u", i);
        f->now_ms += 1000;
        cr_assert_eq(revoke(f, user_id, device_id), ERROR_NONE);
    }
    cr_expect_eq(account_at(f, user_id)->device_count, records_max);
    cr_expect_eq(fixture_count(f, KEY_DEVICE, user_id), records_max);
    cr_expect_null(device_at(f, user_id, "expired"));
    cr_expect_not_null(device_at(f, user_id, "kept"));
    cr_expect_not_null(device_at(f, user_id, "device0"));
    fixture_destroy(f);
}

/* ---- revoking ---- */

Test(account_device, revoking_ends_tokens_and_sessions)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(put(f, user_id, "laptop", hash_a), ERROR_NONE);
    cr_assert_eq(revoke(f, user_id, "laptop"), ERROR_NONE);
    cr_assert_eq(fixture_effects(f, PUSH_KICK), 1);
    const struct effect *kick = f->effects.list;
    while (kick->kind != PUSH_KICK) kick++;
    cr_expect_eq(kick->entity, fixture_entity(f, ENTITY_INBOX, user_id, 0));
    struct slice kicked = slice_of(f->effects.bytes.data + kick->start, kick->len);
    cr_expect(slice_equal(kicked, SLICE_TEXT("laptop")));

    const struct account *account = account_at(f, user_id);
    cr_expect_eq(admits(account, "laptop", NULL, NOW_S), ERROR_DEVICE_REVOKED, "tokens of that very second too");
    cr_expect_eq(admits(account, "laptop", NULL, NOW_S + 1), ERROR_NONE);
    cr_expect_eq(turn_over(f, user_id, "laptop", hash_a, hash_b), ERROR_TOKEN_INVALID);
    cr_expect_eq(account_active_count(account_at(f, user_id), NOW_MS), 0);

    cr_assert_eq(put(f, user_id, "laptop", hash_b), ERROR_NONE);
    cr_expect_eq(admits(account_at(f, user_id), "laptop", NULL, NOW_S), ERROR_DEVICE_REVOKED,
                 "the old tokens stay dead after a new login");
    cr_expect_eq(turn_over(f, user_id, "laptop", hash_b, hash_c), ERROR_NONE);
    fixture_destroy(f);
}

Test(account_device, a_revoked_refresh_token_stays_dead_when_a_backend_brings_the_device_back)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(put(f, user_id, "laptop", hash_a), ERROR_NONE);
    cr_assert_eq(revoke(f, user_id, "laptop"), ERROR_NONE);
    cr_assert_eq(put(f, user_id, "laptop", NULL), ERROR_NONE);
    device_at(f, user_id, "laptop")->refresh_expires_ms = NOW_MS + 1000000; /* the hash alone has to refuse */
    cr_expect_eq(turn_over(f, user_id, "laptop", hash_a, hash_b), ERROR_TOKEN_INVALID);
    fixture_destroy(f);
}

Test(account_device, revoking_what_was_never_listed_leaves_a_tombstone)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(revoke(f, user_id, "minted"), ERROR_NONE);
    cr_expect_eq(admits(account_at(f, user_id), "minted", NULL, NOW_S), ERROR_DEVICE_REVOKED);
    cr_expect_eq(revoke(f, user_id + 1, "minted"), ERROR_USER_NOT_FOUND);
    fixture_destroy(f);
}

Test(account_device, a_clock_set_back_admits_nothing_again)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(revoke(f, user_id, "laptop"), ERROR_NONE);
    f->now_ms = NOW_MS - 3600 * 1000;
    cr_assert_eq(revoke(f, user_id, "laptop"), ERROR_NONE);
    cr_expect_eq(device_at(f, user_id, "laptop")->valid_after_s, NOW_S + 1);
    fixture_destroy(f);
}

Test(account_device, the_longest_revoked_is_forgotten_first)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    uint32_t records_max = 2 * ACCOUNT_RECORDS_PER_DEVICE;
    cr_assert_eq(put(f, user_id, "kept", hash_a), ERROR_NONE);
    for (uint32_t i = 0; i < records_max + 2; i++) {
        char device_id[16];
        (void)snprintf(device_id, sizeof device_id, "device%u", i);
        f->now_ms = NOW_MS + (i + 1) * 1000;
        cr_assert_eq(put(f, user_id, device_id, hash_a), ERROR_NONE);
        cr_assert_eq(revoke(f, user_id, device_id), ERROR_NONE);
        cr_assert_leq(account_at(f, user_id)->device_count, records_max);
    }
    for (int round = 0; round < 2; round++) { /* from memory, then from the store */
        cr_expect_eq(account_at(f, user_id)->device_count, records_max);
        cr_expect_eq(fixture_count(f, KEY_DEVICE, user_id), records_max);
        cr_expect_not_null(device_at(f, user_id, "kept"));
        cr_expect_null(device_at(f, user_id, "device0"));
        cr_expect_null(device_at(f, user_id, "device2"));
        cr_expect_not_null(device_at(f, user_id, "device3"));
        cr_expect_not_null(device_at(f, user_id, "device9"));
        f->forgetful = true;
        fixture_end_batch(f);
    }
    fixture_destroy(f);
}

/* Revoked in one second, and found in the store in another order than they came. */
Test(account_device, which_is_forgotten_is_the_same_when_the_account_was_loaded_meanwhile)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_DEVICES_PER_USER_MAX] = 2;
    for (int loaded = 0; loaded < 2; loaded++) {
        if (loaded) options.entities_max = 1; /* each of the two drops the other */
        struct fixture *f = fixture_create(&options);
        f->forgetful = loaded == 1;
        f->now_ms = NOW_MS;
        uint64_t user_id = fixture_add_user(f, "alice"), other_id = fixture_add_user(f, "bob");
        for (const char *device_id = "i\0h\0g\0f\0e\0d\0c\0b\0a\0"; *device_id != '\0'; device_id += 2) {
            cr_assert_eq(revoke(f, user_id, device_id), ERROR_NONE);
            cr_assert_eq(revoke(f, other_id, "phone"), ERROR_NONE);
        }
        cr_expect_eq(account_at(f, user_id)->device_count, 2 * ACCOUNT_RECORDS_PER_DEVICE);
        cr_expect_null(device_at(f, user_id, "i"), "the first one that was revoked");
        cr_expect_not_null(device_at(f, user_id, "h"));
        cr_expect_not_null(device_at(f, user_id, "b"));
        cr_expect_not_null(device_at(f, user_id, "a"));
        fixture_destroy(f);
    }
}

Test(account_device, a_revocation_by_a_clock_set_back_is_not_forgotten_at_once)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    for (const char *device_id = "1\0002\0003\0004\0005\0006\0007\0008\0"; *device_id != '\0'; device_id += 2)
        cr_assert_eq(revoke(f, user_id, device_id), ERROR_NONE);
    f->now_ms = NOW_MS - 3600 * 1000;
    cr_assert_eq(revoke(f, user_id, "stolen"), ERROR_NONE);
    cr_expect_null(device_at(f, user_id, "1"));
    cr_expect_eq(admits(account_at(f, user_id), "stolen", NULL, NOW_S - 3600), ERROR_DEVICE_REVOKED);
    fixture_destroy(f);
}

static enum error put_temporary(struct fixture *f, uint64_t user_id, const char *device_id)
{
    struct device_put_record record = {.user_id = user_id, .device_id = slice_text(device_id), .platform = SLICE_TEXT("mqtt"), .temporary = 1};
    return FIXTURE_RUN(f, user_id, DEVICE_PUT, device_put, &record);
}

Test(account_device, temporary_devices_push_out_no_tombstone)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    uint32_t records_max = 2 * ACCOUNT_RECORDS_PER_DEVICE;
    cr_assert_eq(revoke(f, user_id, "stolen"), ERROR_NONE);
    for (uint32_t i = 0; i < records_max + 3; i++) {
        char device_id[16];
        (void)snprintf(device_id, sizeof device_id, "client%u", i);
        f->now_ms = NOW_MS + (uint64_t)i * 2000;
        cr_assert_eq(put_temporary(f, user_id, device_id), ERROR_NONE);
        cr_expect_not_null(device_at(f, user_id, device_id));
    }
    cr_expect_eq(admits(account_at(f, user_id), "stolen", NULL, NOW_S), ERROR_DEVICE_REVOKED);
    cr_expect_eq(account_at(f, user_id)->device_count, records_max + 1);
    cr_expect_null(device_at(f, user_id, "client2"));
    cr_expect_not_null(device_at(f, user_id, "client3"));
    f->now_ms = NOW_MS - 3600 * 1000;
    cr_assert_eq(put_temporary(f, user_id, "back"), ERROR_NONE);
    cr_expect_not_null(device_at(f, user_id, "back"), "whose token is given out now");
    fixture_destroy(f);
}

/* ---- refreshing ---- */

Test(account_device, a_refresh_token_works_once)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(put(f, user_id, "laptop", hash_a), ERROR_NONE);
    cr_assert_eq(put(f, user_id, "bare", NULL), ERROR_NONE);
    static const uint8_t zeros[TOKEN_HASH_SIZE];
    const struct {
        const char *name, *device_id;
        const uint8_t *old, *new;
        enum error want;
    } cases[] = {
        {"the right one", "laptop", hash_a, hash_b, ERROR_NONE},
        {"the old one again", "laptop", hash_a, hash_c, ERROR_TOKEN_INVALID},
        {"one never given out", "laptop", hash_c, hash_c, ERROR_TOKEN_INVALID},
        {"no hash at all", "laptop", NULL, hash_c, ERROR_TOKEN_INVALID},
        {"the new one", "laptop", hash_b, hash_c, ERROR_NONE},
        {"of a device that has none", "bare", zeros, hash_c, ERROR_TOKEN_INVALID},
        {"of another device", "bare", hash_c, hash_a, ERROR_TOKEN_INVALID},
        {"of no device", "nowhere", hash_c, hash_a, ERROR_TOKEN_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(turn_over(f, user_id, cases[i].device_id, cases[i].old, cases[i].new), cases[i].want, "%s", cases[i].name);
    cr_expect_eq(turn_over(f, user_id + 1, "laptop", hash_c, hash_a), ERROR_TOKEN_INVALID, "no such user");
    f->now_ms = NOW_MS + 2000000;
    cr_expect_eq(turn_over(f, user_id, "laptop", hash_c, hash_a), ERROR_TOKEN_EXPIRED);
    fixture_destroy(f);
}

Test(account_device, of_two_refreshes_in_one_batch_the_second_is_refused)
{
    struct fixture *f = fixture_at(NOW_MS);
    uint64_t user_id = fixture_add_user(f, "alice");
    cr_assert_eq(put(f, user_id, "laptop", hash_a), ERROR_NONE);
    struct refresh_record record = {.user_id = user_id,
                                    .device_id = SLICE_TEXT("laptop"),
                                    .old_hash = hash_of(hash_a),
                                    .new_hash = hash_of(hash_b),
                                    .refresh_expires_ms = NOW_MS + 2000000};
    cr_assert_eq(FIXTURE_PROPOSE(f, user_id, REFRESH, refresh, &record), ERROR_NONE);
    record.new_hash = hash_of(hash_c);
    cr_assert_eq(FIXTURE_PROPOSE(f, user_id, REFRESH, refresh, &record), ERROR_NONE);
    cr_expect_eq(fixture_apply(f), ERROR_NONE);
    cr_expect_eq(fixture_apply(f), ERROR_TOKEN_INVALID);
    fixture_end_batch(f);
    cr_expect_arr_eq(device_at(f, user_id, "laptop")->refresh_hash, hash_b, sizeof hash_b);
    fixture_destroy(f);
}
