/* tests/shard/domain/account/login_test.c - a person's way through one whole shard: register, log in, authenticate a socket, refresh, list,
 * log out, revoke. The log is on a disk in memory and the store beside it; passwords are hashed when the test pumps. */
#include "shard/shard_fixture.h"
#include "shard/domain/records.h"
#include "shard/engine/request.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define NOW_MS UINT64_C(1700000000500)
#define ACCESS_TTL_S 600
#define REFRESH_TTL_S 3600

static void setup(void)
{
    rig_begin(1);
    cr_assert_eq(rig.now_ms, NOW_MS);
    cr_assert_eq(rig.setup.options.access_token_ttl_s, ACCESS_TTL_S);
    cr_assert_eq(rig.setup.options.refresh_token_ttl_s, REFRESH_TTL_S);
    rig_open();
}

TestSuite(account_login, .init = setup, .fini = rig_close);

/* ---- calls ---- */

static enum error do_register(const char *name, const char *password)
{
    Ringpost__V1__RegisterRequest in = RINGPOST__V1__REGISTER_REQUEST__INIT;
    char name_copy[64], password_copy[320];
    in.name = strcpy(name_copy, name);
    in.password = strcpy(password_copy, password);
    return rig_call(NULL, 0, 0, "/v1/account/register", &in.base);
}

static enum error do_login(const char *name, const char *password, const char *device_id)
{
    Ringpost__V1__LoginRequest in = RINGPOST__V1__LOGIN_REQUEST__INIT;
    char name_copy[64], password_copy[320], device_copy[80], platform[] = "web";
    in.name = strcpy(name_copy, name);
    in.password = strcpy(password_copy, password);
    in.device_id = strcpy(device_copy, device_id);
    in.platform = platform;
    return rig_call(NULL, 0, 0, "/v1/account/login", &in.base);
}

static enum error do_refresh(const char *token)
{
    Ringpost__V1__RefreshRequest in = RINGPOST__V1__REFRESH_REQUEST__INIT;
    char copy[256];
    in.refresh_token = strcpy(copy, token);
    return rig_call(NULL, 0, 0, "/v1/account/refresh", &in.base);
}

static struct actor_record actor_of(const struct token_claims *claims)
{
    return (struct actor_record){.user_id = claims->user_id,
                                 .issued_s = claims->issued_s,
                                 .expires_s = claims->expires_s,
                                 .own = claims->own,
                                 .generation = claims->generation,
                                 .device_id = slice_text(claims->device_id),
                                 .platform = slice_text(claims->platform)};
}

static enum error do_auth(const struct token_claims *claims, uint64_t session_id)
{
    Ringpost__V1__AuthRequest in = RINGPOST__V1__AUTH_REQUEST__INIT;
    struct actor_record actor = actor_of(claims);
    return rig_call(&actor, 0, session_id, "/v1/account/auth", &in.base);
}

static enum error do_logout(const struct token_claims *claims)
{
    Ringpost__V1__LogoutRequest in = RINGPOST__V1__LOGOUT_REQUEST__INIT;
    struct actor_record actor = actor_of(claims);
    return rig_call(&actor, 0, 0, "/v1/account/logout", &in.base);
}

static enum error do_revoke(const struct token_claims *claims, const char *device_id)
{
    Ringpost__V1__RevokeDeviceRequest in = RINGPOST__V1__REVOKE_DEVICE_REQUEST__INIT;
    char copy[80];
    in.device_id = strcpy(copy, device_id);
    struct actor_record actor = actor_of(claims);
    return rig_call(&actor, 0, 0, "/v1/account/revoke_device", &in.base);
}

static enum error do_devices(const struct token_claims *claims)
{
    Ringpost__V1__DevicesRequest in = RINGPOST__V1__DEVICES_REQUEST__INIT;
    struct actor_record actor = actor_of(claims);
    return rig_call(&actor, 0, 0, "/v1/account/devices", &in.base);
}

static Ringpost__V1__DevicesResponse *devices_of(const struct token_claims *claims)
{
    (void)do_devices(claims);
    return rig_replied(&ringpost__v1__devices_response__descriptor);
}

static struct token_claims claims_of(const char *access_token)
{
    struct token_claims claims;
    static const struct token_terms terms = {.leeway_s = 30, .lifetime_max_s = ACCESS_TTL_S};
    uint64_t now_s = (rig.now_ms + (uint64_t)rig.clock_error_ms) / 1000;
    cr_assert_eq(token_verify(rig.keys, slice_text(access_token), now_s, &terms, &claims), TOKEN_FLAW_NONE);
    cr_expect(claims.own);
    return claims;
}

/* As a backend mints them now. */
static struct token_claims minted_for(const struct token_claims *claims, const char *device_id)
{
    uint64_t now_s = (rig.now_ms + (uint64_t)rig.clock_error_ms) / 1000;
    struct token_claims minted = {.user_id = claims->user_id, .issued_s = now_s, .expires_s = now_s + ACCESS_TTL_S};
    strcpy(minted.device_id, device_id);
    strcpy(minted.platform, "kiosk");
    return minted;
}

/* Registered and logged in; the claims of the access token, and the refresh token. */
static struct token_claims log_in(const char *device_id, char refresh_token[256])
{
    if (do_register("alice", "correct horse") != ERROR_NONE) cr_assert_eq(rig.reply->error, ERROR_NAME_TAKEN);
    cr_assert_eq(do_login("alice", "correct horse", device_id), ERROR_NONE);
    Ringpost__V1__LoginResponse *login = rig_replied(&ringpost__v1__login_response__descriptor);
    struct token_claims claims = claims_of(login->access_token);
    cr_assert_lt(strlen(login->refresh_token), 256);
    if (refresh_token != NULL) strcpy(refresh_token, login->refresh_token);
    ringpost__v1__login_response__free_unpacked(login, NULL);
    return claims;
}

/* ---- register and login ---- */

Test(account_login, register_refuses_what_it_must)
{
    char long_password[258];
    memset(long_password, 'x', 257);
    long_password[257] = '\0';
    const struct {
        const char *name, *password;
        enum error want;
    } cases[] = {
        {"alice", "correct horse", ERROR_NONE},     {"alice", "another one", ERROR_NAME_TAKEN},
        {"Bob", "correct horse", ERROR_BAD_FIELD},  {"", "correct horse", ERROR_BAD_FIELD},
        {"bob", "seven77", ERROR_BAD_FIELD},        {"bob", "eight888", ERROR_NONE},
        {"carol", long_password, ERROR_BAD_FIELD},  {"carol", long_password + 1, ERROR_NONE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(do_register(cases[i].name, cases[i].password), cases[i].want, "case %zu", i);
    rig.passwords_busy = true;
    cr_expect_eq(do_register("dave", "correct horse"), ERROR_SERVER_BUSY);
}

Test(account_login, login_answers_with_tokens_that_fit)
{
    cr_assert_eq(do_register("alice", "correct horse"), ERROR_NONE);
    Ringpost__V1__RegisterResponse *registered = rig_replied(&ringpost__v1__register_response__descriptor);
    cr_assert_eq(do_login("Alice", "correct horse", "laptop"), ERROR_NONE, "names are looked up in lower case");
    Ringpost__V1__LoginResponse *login = rig_replied(&ringpost__v1__login_response__descriptor);
    cr_expect_eq(login->user_id, registered->user_id);
    cr_expect_str_eq(login->user->name, "alice");
    cr_expect_str_eq(login->user->display_name, "alice");
    cr_expect_eq(login->access_expires_ms, NOW_MS / 1000 * 1000 + ACCESS_TTL_S * 1000);
    cr_expect_eq(login->refresh_expires_ms, NOW_MS + REFRESH_TTL_S * 1000);
    struct token_claims claims = claims_of(login->access_token);
    cr_expect_eq(claims.user_id, registered->user_id);
    cr_expect_str_eq(claims.device_id, "laptop");
    cr_expect_str_eq(claims.platform, "web");
    cr_expect_eq(claims.issued_s, NOW_MS / 1000);
    ringpost__v1__register_response__free_unpacked(registered, NULL);
    ringpost__v1__login_response__free_unpacked(login, NULL);
}

Test(account_login, an_unknown_name_and_a_wrong_password_look_the_same)
{
    cr_assert_eq(do_register("alice", "correct horse"), ERROR_NONE);
    static const struct {
        const char *name, *password, *device_id;
        enum error want;
        uint32_t want_hashes;
    } cases[] = {
        {"alice", "correct house", "laptop", ERROR_WRONG_PASSWORD, 1},
        {"nobody", "correct horse", "laptop", ERROR_WRONG_PASSWORD, 1},
        {"no name at all", "correct horse", "laptop", ERROR_WRONG_PASSWORD, 1},
        {"alice", "", "laptop", ERROR_WRONG_PASSWORD, 1},
        {"alice", "correct horse", "", ERROR_BAD_FIELD, 0},
        {"alice", "correct horse", "lap top", ERROR_BAD_FIELD, 0},
        {"alice", "correct horse", "laptop", ERROR_NONE, 1},
    };
    static const struct {
        uint8_t noted;
        bool user_known;
    } notes[COUNT_OF(cases)] = {{REFUSAL_WRONG_PASSWORD + 1, true}, {REFUSAL_UNKNOWN_USER + 1, false},
                                {REFUSAL_UNKNOWN_USER + 1, false}, {REFUSAL_WRONG_PASSWORD + 1, true}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        rig.hash_count = 0;
        cr_expect_eq(do_login(cases[i].name, cases[i].password, cases[i].device_id), cases[i].want, "case %zu", i);
        cr_expect_eq(rig.hash_count, cases[i].want_hashes, "case %zu", i);
        cr_expect_eq(rig.reply->noted, notes[i].noted, "case %zu: what the log tells apart", i);
        cr_expect_eq(rig.reply->number != 0, notes[i].user_known, "case %zu", i);
    }
}

Test(account_login, devices_are_limited)
{
    struct token_claims one = log_in("one", NULL), two = log_in("two", NULL), three = log_in("three", NULL);
    cr_expect_eq(do_auth(&one, 0), ERROR_NONE);
    cr_expect_eq(do_auth(&two, 0), ERROR_NONE);
    cr_expect_eq(do_auth(&three, 0), ERROR_NONE);
    cr_expect_eq(do_login("alice", "correct horse", "four"), ERROR_TOO_MANY_DEVICES, "all of them are connected");
    cr_expect_eq(do_revoke(&three, "one"), ERROR_NONE);
    cr_expect_eq(do_login("alice", "correct horse", "four"), ERROR_NONE);
}

/* The stream's only event is the end of that device. */
static void expect_end(uint64_t user_id, const char *device_id, const char *for_device_id)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    struct actor_record actor = rig_actor(user_id, "one");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/sync", &in.base), ERROR_NONE);
    Ringpost__V1__SyncResponse *page = rig_replied(&ringpost__v1__sync_response__descriptor);
    cr_assert_eq(page->n_events, 1);
    cr_assert_eq(page->events[0]->kind_case, RINGPOST__V1__EVENT__KIND_DEVICE);
    cr_expect_str_eq(page->events[0]->device->device_id, device_id);
    cr_expect_str_eq(page->events[0]->device->for_device_id, for_device_id);
    ringpost__v1__sync_response__free_unpacked(page, NULL);
}

/* Throw-away devices never lock a person out: who is not there gives way, the one unseen for longest first, and the others hear it. */
Test(account_login, an_idle_device_gives_its_place)
{
    struct token_claims one = log_in("one", NULL), two, three, four;
    rig.now_ms += 1000;
    two = log_in("two", NULL);
    rig.now_ms += 1000;
    three = log_in("three", NULL);
    cr_expect_eq(do_auth(&one, 0), ERROR_NONE);
    rig.hash_count = 0;
    four = log_in("four", NULL);
    cr_expect_eq(rig.hash_count, 1, "what the command needs is there before the password is looked at");
    cr_expect_eq(do_devices(&two), ERROR_DEVICE_REVOKED, "unseen for longest of those without a connection");
    cr_expect_eq(do_devices(&one), ERROR_NONE);
    cr_expect_eq(do_devices(&three), ERROR_NONE);
    cr_expect_eq(do_devices(&four), ERROR_NONE);
    expect_end(one.user_id, "two", "four");
    for (int i = 0; i < 20; i++) { /* private windows */
        char device_id[16];
        snprintf(device_id, sizeof device_id, "window%d", i);
        cr_expect_eq(do_login("alice", "correct horse", device_id), ERROR_NONE);
    }
    cr_expect_eq(do_devices(&one), ERROR_NONE, "who is connected stays");
}

/* ---- refresh ---- */

Test(account_login, a_refresh_token_is_traded_once)
{
    char token[256];
    struct token_claims claims = log_in("laptop", token);
    rig.now_ms += 300 * 1000;
    cr_assert_eq(do_refresh(token), ERROR_NONE);
    Ringpost__V1__RefreshResponse *fresh = rig_replied(&ringpost__v1__refresh_response__descriptor);
    cr_expect_eq(fresh->user_id, claims.user_id);
    cr_expect_eq(claims_of(fresh->access_token).issued_s, claims.issued_s + 300);
    cr_expect_str_eq(claims_of(fresh->access_token).platform, "web");
    cr_expect_str_neq(fresh->refresh_token, token);
    cr_expect_eq(do_refresh("garbage"), ERROR_TOKEN_INVALID);
    cr_expect_eq(do_refresh(""), ERROR_TOKEN_INVALID);
    cr_expect_eq(do_refresh(fresh->refresh_token), ERROR_NONE, "the new one, in spite of that");
    ringpost__v1__refresh_response__free_unpacked(fresh, NULL);
}

Test(account_login, a_refresh_token_ends)
{
    char token[256];
    (void)log_in("laptop", token);
    rig.now_ms += REFRESH_TTL_S * 1000;
    cr_expect_eq(do_refresh(token), ERROR_TOKEN_EXPIRED);
}

/* A refresh that answers; its tokens. */
static struct token_claims refreshed(const char *token, char next[256])
{
    cr_assert_eq(do_refresh(token), ERROR_NONE);
    Ringpost__V1__RefreshResponse *fresh = rig_replied(&ringpost__v1__refresh_response__descriptor);
    strcpy(next, fresh->refresh_token);
    struct token_claims claims = claims_of(fresh->access_token);
    ringpost__v1__refresh_response__free_unpacked(fresh, NULL);
    return claims;
}

Test(account_login, a_lost_answer_to_a_refresh_comes_again)
{
    char first[256], second[256], again[256], third[256];
    (void)log_in("laptop", first);
    (void)refreshed(first, second);
    rig.now_ms += rig.setup.options.refresh_grace_ms - 1;
    struct token_claims claims = refreshed(first, again);
    cr_expect_str_eq(again, second);
    cr_expect_eq(do_devices(&claims), ERROR_NONE);
    (void)refreshed(again, third);
    cr_expect_str_neq(third, second);
    rig_close_shard(0);
    rig_open_shard(0);
    (void)refreshed(again, second);
    cr_expect_str_eq(third, second, "after a restart, too");
}

Test(account_login, two_refreshes_at_once_get_the_same_token)
{
    char token[256], next[256];
    (void)log_in("laptop", token);
    Ringpost__V1__RefreshRequest in = RINGPOST__V1__REFRESH_REQUEST__INIT;
    in.refresh_token = token;
    rig.reply_count = 0;
    rig_send(NULL, 0, 0, "/v1/account/refresh", &in.base);
    rig_send(NULL, 0, 0, "/v1/account/refresh", &in.base);
    cr_assert_eq(rig.reply_count, 0, "both wait for the log");
    rig_pump();
    cr_assert_eq(rig.reply_count, 2);
    Ringpost__V1__RefreshResponse *second = rig_replied(&ringpost__v1__refresh_response__descriptor);
    (void)refreshed(token, next);
    cr_expect_str_eq(next, second->refresh_token);
    ringpost__v1__refresh_response__free_unpacked(second, NULL);
}

Test(account_login, a_used_refresh_token_ends_its_family)
{
    static const struct {
        const char *name;
        uint32_t refreshes; /* since the token that is shown again */
        bool late;          /* after the grace */
        bool other_family;  /* logged in again since */
        enum error want_after; /* of the access token that was good until then */
    } cases[] = {
        {"the one before, in time", 1, false, false, ERROR_NONE},
        {"the one before, too late", 1, true, false, ERROR_DEVICE_REVOKED},
        {"an older one", 2, false, false, ERROR_DEVICE_REVOKED},
        {"one of an earlier login", 2, true, true, ERROR_NONE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char old[256], token[256];
        struct token_claims claims = log_in("laptop", old);
        strcpy(token, old);
        for (uint32_t n = 0; n < cases[i].refreshes; n++) claims = refreshed(token, token);
        if (cases[i].late) rig.now_ms += rig.setup.options.refresh_grace_ms;
        if (cases[i].other_family) claims = log_in("laptop", token);
        cr_assert_eq(do_auth(&claims, 0), ERROR_NONE);
        rig.end_count = 0;
        bool ends = cases[i].want_after != ERROR_NONE;
        bool repeats = !ends && !cases[i].other_family;
        cr_expect_eq(do_refresh(old), repeats ? ERROR_NONE : ERROR_TOKEN_INVALID, "%s", cases[i].name);
        cr_expect_eq(rig.reply->noted, repeats ? 0 : REFUSAL_TOKEN + 1, "%s", cases[i].name);
        cr_expect_eq(rig.end_count, ends, "%s: sockets end, too", cases[i].name);
        cr_expect_eq(do_devices(&claims), cases[i].want_after, "%s", cases[i].name);
        cr_expect_eq(do_refresh(token), ends ? ERROR_TOKEN_INVALID : ERROR_NONE, "%s", cases[i].name);
        session_close(rig.bound);
        rig.bound = NULL;
    }
}

/* ---- clocks that are wrong ---- */

#define DAY_MS INT64_C(86400000)

Test(account_login, a_refresh_token_judged_expired_is_good_again_when_the_clock_is)
{
    char token[256];
    (void)log_in("laptop", token);
    rig.clock_error_ms = 32 * DAY_MS;
    cr_expect_eq(do_refresh(token), ERROR_TOKEN_EXPIRED);
    (void)log_in("phone", NULL); /* writes with that time */
    rig_close_shard(0);
    rig_open_shard(0);
    rig.clock_error_ms = 0;
    char next[256];
    struct token_claims claims = refreshed(token, next);
    cr_expect_eq(do_auth(&claims, 0), ERROR_NONE);
}

Test(account_login, a_logout_tomorrow_does_not_lock_out_today)
{
    struct token_claims before = log_in("laptop", NULL), minted = minted_for(&before, "laptop");
    rig.clock_error_ms = DAY_MS;
    cr_expect_eq(do_logout(&before), ERROR_NONE);
    rig.clock_error_ms = 0;
    cr_expect_eq(do_auth(&before, 0), ERROR_DEVICE_REVOKED);
    cr_expect_eq(do_devices(&minted), ERROR_DEVICE_REVOKED, "issued before");
    struct token_claims after = log_in("laptop", NULL);
    cr_expect_eq(after.issued_s, rig.now_ms / 1000);
    cr_expect_eq(do_devices(&after), ERROR_NONE);
    cr_expect_eq(do_auth(&after, 0), ERROR_NONE);
    rig.now_ms += 2000;
    minted = minted_for(&before, "laptop");
    cr_expect_eq(do_devices(&minted), ERROR_NONE, "the first refusal has told that the time of the logout was wrong");
}

/* ---- devices of a backend ---- */

Test(account_login, a_backends_device_is_known_from_its_first_request)
{
    struct token_claims claims = log_in("laptop", NULL), kiosk = minted_for(&claims, "kiosk");
    cr_expect_eq(do_revoke(&claims, "kiosk"), ERROR_DEVICE_NOT_FOUND);
    cr_expect_eq(do_devices(&kiosk), ERROR_NONE);
    Ringpost__V1__DevicesResponse *devices = devices_of(&claims);
    cr_assert_eq(devices->n_devices, 2);
    cr_expect_str_eq(devices->devices[1]->device_id, "kiosk");
    cr_expect_str_eq(devices->devices[1]->platform, "kiosk");
    ringpost__v1__devices_response__free_unpacked(devices, NULL);
    uint64_t commands = rig.metrics.commands_proposed;
    cr_expect_eq(do_devices(&kiosk), ERROR_NONE);
    cr_expect_eq(rig.metrics.commands_proposed, commands, "known: nothing is written");

    struct token_claims tablet = minted_for(&claims, "tablet"), fourth = minted_for(&claims, "fourth");
    cr_expect_eq(do_devices(&tablet), ERROR_NONE);
    cr_expect_eq(do_auth(&claims, 0), ERROR_NONE);
    cr_expect_eq(do_auth(&kiosk, 0), ERROR_NONE);
    cr_expect_eq(do_auth(&tablet, 0), ERROR_NONE);
    cr_expect_eq(do_devices(&fourth), ERROR_TOO_MANY_DEVICES);
    cr_expect_eq(do_revoke(&claims, "kiosk"), ERROR_NONE);
    cr_expect_eq(do_devices(&kiosk), ERROR_DEVICE_REVOKED);
    cr_expect_eq(rig.reply->noted, REFUSAL_TOKEN + 1);
    cr_expect_eq(do_devices(&fourth), ERROR_NONE);
    rig.now_ms += 2000;
    kiosk = minted_for(&claims, "kiosk");
    cr_expect_eq(do_auth(&fourth, 0), ERROR_NONE);
    cr_expect_eq(do_devices(&kiosk), ERROR_TOO_MANY_DEVICES, "coming back needs a place");
}

/* ---- sockets ---- */

Test(account_login, a_token_that_has_expired_opens_no_socket)
{
    struct token_claims claims = log_in("laptop", NULL);
    rig.now_ms += ACCESS_TTL_S * 1000;
    cr_expect_eq(do_devices(&claims), ERROR_NONE, "the door's leeway has let it pass");
    cr_expect_eq(do_auth(&claims, 0), ERROR_TOKEN_EXPIRED);
    cr_expect_null(rig.bound);
}

Test(account_login, auth_binds_the_socket)
{
    struct token_claims claims = log_in("laptop", NULL);
    cr_assert_eq(do_auth(&claims, 0), ERROR_NONE);
    Ringpost__V1__AuthResponse *auth = rig_replied(&ringpost__v1__auth_response__descriptor);
    cr_expect_eq(auth->user_id, claims.user_id);
    cr_expect_str_eq(auth->name, "alice");
    cr_expect_eq(auth->sync_key, 0);
    cr_expect_eq(auth->expires_ms, claims.expires_s * 1000);
    ringpost__v1__auth_response__free_unpacked(auth, NULL);
    cr_assert_not_null(rig.bound);
    cr_expect_str_eq(rig.bound->device_id, "laptop");
    cr_expect_str_eq(session_platform(rig.bound), "web");
}

Test(account_login, auth_lists_a_device_that_a_backend_vouches_for)
{
    struct token_claims claims = log_in("laptop", NULL);
    struct token_claims minted = minted_for(&claims, "kiosk");
    cr_assert_eq(do_auth(&minted, 0), ERROR_NONE);
    cr_assert_not_null(rig.bound);
    Ringpost__V1__DevicesResponse *devices = devices_of(&claims);
    cr_assert_eq(devices->n_devices, 2);
    cr_expect_str_eq(devices->devices[0]->device_id, "laptop");
    cr_expect(!devices->devices[0]->online);
    cr_expect_str_eq(devices->devices[1]->device_id, "kiosk");
    cr_expect(devices->devices[1]->online);
    ringpost__v1__devices_response__free_unpacked(devices, NULL);
}

Test(account_login, a_device_revoked_while_it_is_being_listed_gets_no_session)
{
    struct token_claims claims = log_in("laptop", NULL), minted = minted_for(&claims, "kiosk");
    struct actor_record actor = actor_of(&minted);
    struct device_revoke_record revoke = {.user_id = claims.user_id, .device_id = SLICE_TEXT("tablet")};
    struct writer bytes;
    writer_init(&bytes, 0);
    device_revoke_record_write(&bytes, &revoke);
    shard_propose_internal(rig.shards[0], COMMAND_DEVICE_REVOKE, claims.user_id, writer_slice(&bytes));
    rig_pump(); /* what a revocation needs is resident: the next one is in the log at once */
    writer_reset(&bytes);
    revoke.device_id = SLICE_TEXT("kiosk");
    device_revoke_record_write(&bytes, &revoke);
    Ringpost__V1__AuthRequest auth = RINGPOST__V1__AUTH_REQUEST__INIT;
    rig.reply_count = 0;
    shard_propose_internal(rig.shards[0], COMMAND_DEVICE_REVOKE, claims.user_id, writer_slice(&bytes));
    rig_send(&actor, 0, 0, "/v1/account/auth", &auth.base); /* admitted: the revocation is not durable yet */
    writer_deinit(&bytes);
    cr_assert_eq(rig.reply_count, 0);
    rig_pump();
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_DEVICE_REVOKED);
    cr_expect_null(rig.bound);
    Ringpost__V1__DevicesResponse *devices = devices_of(&claims);
    cr_expect_eq(devices->n_devices, 1, "nor a place on the list");
    ringpost__v1__devices_response__free_unpacked(devices, NULL);
}

Test(account_login, auth_of_a_socket_that_is_gone_leaves_no_session)
{
    struct token_claims claims = log_in("laptop", NULL);
    rig.connection_gone = true;
    cr_expect_eq(do_auth(&claims, 0), ERROR_COUNT, "nobody is answered");
    Ringpost__V1__DevicesResponse *devices = devices_of(&claims);
    cr_assert_eq(devices->n_devices, 1);
    cr_expect(!devices->devices[0]->online);
    ringpost__v1__devices_response__free_unpacked(devices, NULL);
}

Test(account_login, auth_again_extends_and_never_shortens)
{
    struct token_claims claims = log_in("laptop", NULL);
    cr_assert_eq(do_auth(&claims, 0), ERROR_NONE);
    struct session *session = rig.bound;
    uint64_t session_id = session->id;
    struct token_claims other_device = minted_for(&claims, "phone"), other_user = claims, longer = claims;
    other_user.user_id++;
    longer.issued_s += 100;
    longer.expires_s += 100;
    const struct {
        const char *name;
        const struct token_claims *claims;
        uint64_t session_id;
        enum error want;
        uint64_t want_expires_s;
    } cases[] = {
        {"a newer token", &longer, session_id, ERROR_NONE, longer.expires_s},
        {"the older one again", &claims, session_id, ERROR_NONE, longer.expires_s},
        {"another device", &other_device, session_id, ERROR_OTHER_USER, longer.expires_s},
        {"another user, who does not exist", &other_user, session_id, ERROR_USER_NOT_FOUND, longer.expires_s},
        {"a session that is gone", &longer, session_id + (1ull << 32), ERROR_OTHER_USER, longer.expires_s},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_expect_eq(do_auth(cases[i].claims, cases[i].session_id), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(session->expires_s, cases[i].want_expires_s, "%s", cases[i].name);
        cr_expect_eq(rig.bound, session, "%s", cases[i].name);
    }
}

/* ---- the end of a device ---- */

Test(account_login, logout_ends_session_and_tokens)
{
    char token[256];
    struct token_claims claims = log_in("laptop", token), other = log_in("phone", NULL);
    cr_assert_eq(do_auth(&claims, 0), ERROR_NONE);
    cr_expect_eq(do_logout(&claims), ERROR_NONE);
    cr_expect_eq(rig.end_count, 1);
    cr_expect_eq(rig.close_code, CLOSE_REVOKED);
    cr_expect_eq(do_auth(&claims, 0), ERROR_DEVICE_REVOKED);
    cr_expect_eq(do_logout(&claims), ERROR_DEVICE_REVOKED, "admission refuses the old token everywhere");
    cr_expect_eq(do_refresh(token), ERROR_TOKEN_INVALID);
    Ringpost__V1__DevicesResponse *devices = devices_of(&other);
    cr_assert_eq(devices->n_devices, 1);
    cr_expect_str_eq(devices->devices[0]->device_id, "phone");
    ringpost__v1__devices_response__free_unpacked(devices, NULL);

    struct token_claims again = log_in("laptop", NULL); /* within the same second */
    cr_expect_eq(again.issued_s, claims.issued_s);
    cr_expect_eq(do_auth(&claims, 0), ERROR_DEVICE_REVOKED);
    session_close(rig.bound);
    rig.bound = NULL;
    cr_expect_eq(do_auth(&again, 0), ERROR_NONE);
}

Test(account_login, one_device_revokes_another)
{
    struct token_claims laptop = log_in("laptop", NULL), phone = log_in("phone", NULL);
    cr_assert_eq(do_auth(&laptop, 0), ERROR_NONE);
    cr_expect_eq(do_revoke(&phone, "tablet"), ERROR_DEVICE_NOT_FOUND);
    cr_expect_eq(do_revoke(&phone, ""), ERROR_DEVICE_NOT_FOUND);
    cr_expect_eq(do_revoke(&phone, "laptop"), ERROR_NONE);
    cr_expect_eq(rig.end_count, 1);
    cr_expect_eq(do_auth(&laptop, 0), ERROR_DEVICE_REVOKED);
    cr_expect_eq(do_revoke(&phone, "phone"), ERROR_NONE, "itself");
    cr_expect_eq(do_revoke(&phone, "phone"), ERROR_DEVICE_REVOKED);
}

Test(account_login, all_of_it_survives_a_restart)
{
    char token[256];
    struct token_claims laptop = log_in("laptop", token), phone = log_in("phone", NULL);
    cr_assert_eq(do_revoke(&laptop, "phone"), ERROR_NONE);
    rig_close_shard(0);
    fake_store_crash(rig.stores[0], NULL); /* any prefix is left of the store; the log has the rest */
    rig_open_shard(0);
    cr_expect_eq(do_auth(&phone, 0), ERROR_DEVICE_REVOKED);
    cr_expect_eq(do_register("alice", "correct horse"), ERROR_NAME_TAKEN);
    cr_expect_eq(do_devices(&laptop), ERROR_NONE, "of its generation");
    cr_expect_eq(do_refresh(token), ERROR_NONE);
    cr_expect_eq(do_login("alice", "correct horse", "phone"), ERROR_NONE);
}

/* ---- looking people up ---- */

Test(account_login, users_are_found_by_name_or_id)
{
    struct token_claims claims = log_in("laptop", NULL);
    struct actor_record actor = actor_of(&claims);
    char alice[] = "Alice", nobody[] = "nobody", empty[] = "";
    const struct {
        char *name;
        uint64_t user_id;
        enum error want;
    } cases[] = {
        {alice, 0, ERROR_NONE},
        {empty, claims.user_id, ERROR_NONE},
        {nobody, 0, ERROR_USER_NOT_FOUND},
        {empty, claims.user_id + 1, ERROR_USER_NOT_FOUND},
        {empty, 0, ERROR_BAD_FIELD},
        {alice, claims.user_id, ERROR_BAD_FIELD},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Ringpost__V1__UserRequest in = RINGPOST__V1__USER_REQUEST__INIT;
        in.name = cases[i].name;
        in.user_id = cases[i].user_id;
        cr_expect_eq(rig_call(&actor, 0, 0, "/v1/account/user", &in.base), cases[i].want, "case %zu", i);
        if (cases[i].want != ERROR_NONE) continue;
        Ringpost__V1__UserResponse *found = rig_replied(&ringpost__v1__user_response__descriptor);
        cr_expect_eq(found->user->user_id, claims.user_id);
        cr_expect_str_eq(found->user->name, "alice");
        ringpost__v1__user_response__free_unpacked(found, NULL);
    }
}
