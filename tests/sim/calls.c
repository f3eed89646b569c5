/* tests/sim/calls.c - see calls.h. One section per method: make the request, take the answer.
 * Any call may be refused; what a refusal may not be is listed in expect_refusal(). A call whose answer a crash swallowed has happened
 * or not: the oracle is told so, and a device that must know asks again. */
#include "shard/domain/domain.h"
#include "sim/calls.h"
#include "sim/letters.h"
#include "core/check.h"
#include "shard/domain/account/account.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/methods.h"
#include "shard/domain/delivery/session.h"
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define PATIENCE_NS 3000000u

struct call_type {
    const char *name;
    uint32_t method;
    /* `message`: the response, of the method's type. */
    void (*answered)(struct world *world, struct call *call, const void *message);
    void (*refused)(struct world *world, struct call *call, enum error error); /* may be NULL */
    void (*lost)(struct world *world, struct call *call);                      /* may be NULL: as if refused */
};

/* One for each method of the contract: answered, then `.refused = ...`, `.lost = ...`. */
#define CALL_TYPE(name_, ...)                                                                                          \
    static const struct call_type name_##_type = {.name = #name_, .method = METHOD_##name_, .answered = __VA_ARGS__}
#define CALL_NUMBER(name_, number, ...) METHOD_##name_ = number,
enum { METHODS(CALL_NUMBER) };

const char *calls_name(const struct call *call) { return call->type->name; }

/* ---- from a device to a shard and back -------------------------------------------------------------------------------- */

static struct call *begin(struct world *w, struct app *d, const struct call_type *type, enum lane lane)
{
    struct call *call = calloc(1, sizeof *call);
    ASSERT(call != NULL);
    call->type = type;
    call->device = d;
    call->lane = lane;
    call->claims = d->claims;
    call->began_s = world_now_s(w);
    call->clock_steps = w->clock_steps;
    call->clock_eras = w->clock_eras;
    call->clock_was_right = world_clock_is_right(w);
    call->began_right_ms = world_right_ms(w);
    call->is_member = -1;
    for (uint32_t i = 0; i < USERS_MAX; i++) call->name_versions[i] = w->oracle->names[i].version;
    writer_init(&call->payload, 0);
    return call;
}

static void end(struct call *call)
{
    if (call->is_repeat) call->device->person->repeats_open--;
    writer_deinit(&call->payload);
    free(call);
}

static struct origin origin_of(const struct call *call)
{
    return (struct origin){.slot = call->device->number, .generation = call->request_id};
}

static void post(struct world *w, const struct call *call, const struct method *method)
{
    bool is_open = method->access == ACCESS_OPEN;
    const struct token_claims *claims = &call->claims;
    struct actor_record actor = {.user_id = claims->user_id,
                                 .issued_s = claims->issued_s,
                                 .expires_s = claims->expires_s,
                                 .own = claims->own,
                                 .generation = claims->generation,
                                 .device_id = slice_text(claims->device_id),
                                 .platform = slice_text(claims->platform)};
    uint16_t to = id_partition(claims->user_id);
    if (is_open) {
        enum error error = method->route(method, writer_slice(&call->payload), 0, world_shard_count(w), &to);
        EXPECT(error == ERROR_NONE, "%s cannot be routed", call->type->name);
    }
    struct letter *letter = letter_make(LETTER_REQUEST, 0, to, is_open ? NULL : &actor, writer_slice(&call->payload));
    letter->origin = origin_of(call);
    letter->method = method->number;
    letter->admitted = is_open || method->number == METHOD_auth;
    if (method->number == METHOD_auth && call->device->link->session != NULL)
        letter->number = call->device->link->session->id;
    world_post_from_outside(w, letter);
}

/* Sends it off. The answer may come before this returns: the call must not be touched again. */
static bool go(struct world *w, struct call *call, const ProtobufCMessage *request)
{
    struct app *d = call->device;
    const struct method *method = method_by_number(ringpost_domain(), call->type->method);
    ASSERT(method != NULL && d->lanes[call->lane] == NULL);
    if (request != NULL) envelope_pack(&call->payload, request);
    call->request_id = w->people->next_request_id++;
    call->link_generation = d->link == NULL ? 0 : d->link->generation;
    call->asked_ns = w->now_ns;
    call->next = w->people->calls;
    w->people->calls = call;
    d->lanes[call->lane] = call;
    bool fresh = call->claims.user_id == d->claims.user_id && call->claims.issued_s == d->claims.issued_s;
    bool by_session = app_is_connected(d) && fresh && method->number != METHOD_auth;
    bool by_socket = method->access == ACCESS_SOCKET || call->lane == LANE_SYNC; /* pushes go on after a sync by the same socket */
    call->over_session = by_session && method->access != ACCESS_OPEN && (by_socket || dice_percent(&w->dice, 70));
    call->must_fail |= !call->over_session && method->access != ACCESS_OPEN && app_is_revoked(d, &call->claims);
    report_hash_u64(call->request_id, d->number);
    report_hash(writer_slice(&call->payload));
    TRACE("device %u asks: %s, request %lu, token of %lu at %lu%s", d->number, call->type->name, (unsigned long)call->request_id, (unsigned long)call->claims.issued_s, (unsigned long)world_now_s(w),
          call->over_session ? " by its session" : "");
    if (call->over_session) {
        call->expires_s = d->link->doubtful ? 0 : d->link->expires_s;
        struct origin origin = origin_of(call);
        session_request(d->link->session, method, writer_slice(&call->payload), &origin);
    } else {
        post(w, call, method);
    }
    return true;
}

/* The clock was right from before the call on. */
static bool under_right_clock(const struct world *w, const struct call *call)
{
    return call->clock_was_right && world_clock_is_right(w) && call->clock_eras == w->clock_eras;
}

/* What is never an ordinary outcome of what devices ask here. */
static void expect_refusal(const struct world *w, const struct call *call, const struct letter *letter)
{
    enum error error = (enum error)letter->error;
    struct slice detail = letter_payload(letter);
    bool bad = error == ERROR_BAD_REQUEST || error == ERROR_BAD_FIELD;
    bool possible = error != ERROR_INTERNAL && error != ERROR_UNKNOWN_METHOD && error != ERROR_BODY_TOO_LARGE &&
                    error != ERROR_METHOD_NOT_ALLOWED && (!bad || call->may_be_bad);
    bool early = error == ERROR_TOKEN_EXPIRED && under_right_clock(w, call) && !call->device->doubtful && call->over_session &&
                 call->expires_s * 1000 > world_right_ms(w) + CLOCK_SKEW_MS;
    bool writes = !method_by_number(ringpost_domain(), call->type->method)->is_read || !call->claims.own; /* a backend's device has to be listed */
    EXPECT(error != ERROR_DISK_FULL || (w->was_full && writes), "%s is refused: the disk is full", call->type->name);
    EXPECT(!early, "%s is refused because of a token that expires in %lu s", call->type->name,
           (unsigned long)(call->expires_s - world_right_ms(w) / 1000));
    EXPECT(error < ERROR_COUNT && possible, "%s is refused: %s %.*s", call->type->name, error_row(error)->reason,
           (int)detail.len, (const char *)detail.data);
}

static void after_refusal(struct world *w, struct app *d, const struct call *call, enum error error)
{
    bool same_token = call->claims.issued_s == d->claims.issued_s;
    if (error_row(error)->retryable) d->patience_ns = w->now_ns + PATIENCE_NS;
    if (error == ERROR_DISK_FULL) d->patience_ns = w->now_ns + 10 * PATIENCE_NS;
    if (error == ERROR_TOO_MANY_DEVICES) d->patience_ns = w->now_ns + 100 * PATIENCE_NS;
    if (error == ERROR_TOO_MANY_DEVICES && same_token && !d->claims.own) app_forget_token(w, d); /* a backend's: it may not come in */
    if ((error == ERROR_DEVICE_REVOKED || error == ERROR_TOKEN_INVALID) && same_token) app_forget_token(w, d);
    bool of_refresh = call->type->method == METHOD_refresh; /* good again when the clock is */
    if (error == ERROR_TOKEN_EXPIRED && !of_refresh && (same_token || call->over_session)) app_forget_token(w, d);
}

void calls_answer(struct world *w, struct call *call, const struct letter *letter)
{
    struct slice payload = letter_payload(letter);
    if (letter->error == ERROR_SHARD_DAMAGED) { /* what was in the log by then happens when the shard is whole again */
        EXPECT(w->damaged, "%s is refused: nothing is damaged", call->type->name);
        w->people->refusals++;
        call->device->patience_ns = w->now_ns + 10 * PATIENCE_NS;
        calls_lose(w, call);
        return;
    }
    if (letter->error == ERROR_NO_ANSWER) { /* nobody knows */
        w->people->refusals++;
        call->device->patience_ns = w->now_ns + PATIENCE_NS;
        calls_lose(w, call);
        return;
    }
    if (letter->error != ERROR_NONE) {
        w->people->refusals++;
        expect_refusal(w, call, letter);
        after_refusal(w, call->device, call, (enum error)letter->error);
        if (call->type->refused != NULL) call->type->refused(w, call, (enum error)letter->error);
    } else {
        w->people->answers++;
        EXPECT(!call->must_fail, "%s of device %u should have been refused", call->type->name, call->device->number);
        ProtobufCMessage *message =
            protobuf_c_message_unpack(envelope_response_descriptor(call->type->method), NULL, payload.len, payload.data);
        EXPECT(message != NULL, "the answer to %s cannot be read", call->type->name);
        call->type->answered(w, call, message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    end(call);
}

void calls_lose(struct world *w, struct call *call)
{
    if (call->type->lost != NULL) call->type->lost(w, call);
    else if (call->type->refused != NULL) call->type->refused(w, call, ERROR_NOT_READY);
    end(call);
}

static uint64_t hash_of_text(const char *text) { return XXH3_64bits(text, strlen(text)) | 1; }

/* ---- register --------------------------------------------------------------------------------------------------------- */

static void register_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__RegisterResponse *r = message;
    struct person *person = call->device->person;
    struct account_place place = account_place_of(slice_text(person->name), world_shard_count(w));
    EXPECT(id_type(r->user_id) == ID_USER && id_partition(r->user_id) == place.shard, "a user id that names no user");
    oracle_learn(w->oracle, FACT_NAME, hash_of_text(person->name), 0, r->user_id, "owner of a name");
    oracle_learn(w->oracle, FACT_USER, r->user_id, 0, hash_of_text(person->name), "name of a user");
    EXPECT(person->user_id == 0, "person %u is registered twice", person->number);
    person->user_id = w->oracle->user_ids[person->number] = r->user_id;
}

static void register_refused(struct world *w, struct call *call, enum error error)
{
    (void)w;
    if (error == ERROR_NAME_TAKEN) call->device->person->name_number += USERS_MAX; /* perhaps by itself, before a crash */
}

CALL_TYPE(register, register_answered, .refused = register_refused);

bool calls_register(struct world *w, struct app *d)
{
    struct person *person = d->person;
    Ringpost__V1__RegisterRequest request = RINGPOST__V1__REGISTER_REQUEST__INIT;
    char display_name[DISPLAY_NAME_MAX];
    snprintf(person->name, sizeof person->name, "name-%u", person->name_number);
    oracle_name_text(person->number, 0, display_name);
    request.name = person->name;
    request.password = person->password;
    request.display_name = display_name;
    struct call *call = begin(w, d, &register_type, LANE_MAIN);
    call->must_fail = facts_find(w->oracle->facts, FACT_NAME, hash_of_text(person->name), 0) != NULL;
    return go(w, call, &request.base);
}

/* ---- login, refresh, logout ------------------------------------------------------------------------------------------- */

/* `number` 1: of another device than this one's token is for. */
static void take_tokens(struct world *w, struct call *call, const char *access_token, const char *refresh_token)
{
    struct app *d = call->device;
    struct token_claims claims;
    bool same_clock = call->clock_eras == w->clock_eras; /* since it was made, certainly */
    const struct token_terms terms = {.leeway_s = same_clock ? w->profile.options.token_leeway_s + 5 : UINT32_MAX,
                                      .lifetime_max_s = w->profile.options.access_token_ttl_s};
    enum token_flaw flaw = token_verify(w->keys, slice_text(access_token), world_now_s(w), &terms, &claims);
    EXPECT(flaw == TOKEN_FLAW_NONE, "a token that is not valid: %s", token_flaw_text(flaw));
    EXPECT(claims.own, "a token of the server that does not say so");
    if (record_first_lists_only) claims.own = false; /* those of the older version had no generation: they count by time */
    if (!claims.own) claims.generation = 0;
    d->doubtful = !under_right_clock(w, call);
    if (d->generation < claims.generation) d->generation = claims.generation;
    EXPECT(claims.user_id == d->person->user_id && strcmp(claims.device_id, d->device_id) == 0, "a token of somebody else");
    d->claims = claims;
    EXPECT(strlen(refresh_token) <= TOKEN_REFRESH_MAX, "a refresh token of %zu bytes", strlen(refresh_token));
    memcpy(d->refresh_token, refresh_token, strlen(refresh_token) + 1);
}

static void login_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__LoginResponse *r = message;
    EXPECT(r->user_id == call->device->person->user_id, "logged in as somebody else");
    take_tokens(w, call, r->access_token, r->refresh_token);
    call->device->used_is_newest = false;
}

static void login_refused(struct world *w, struct call *call, enum error error)
{
    EXPECT(error != ERROR_WRONG_PASSWORD || call->must_fail, "the right password of person %u does not fit", call->device->person->number);
    EXPECT(error != ERROR_USER_NOT_FOUND, "person %u is not known any more", call->device->person->number);
    (void)w;
}

static void login_lost(struct world *w, struct call *call) { (void)w, (void)call; }

CALL_TYPE(login, login_answered, .refused = login_refused, .lost = login_lost);

/* A token that an app's own backend has made. */
static void mint_token(struct world *w, struct app *d)
{
    uint64_t now_s = world_now_s(w);
    d->claims = (struct token_claims){
        .user_id = d->person->user_id, .platform = "backend", .issued_s = now_s, .expires_s = now_s + w->profile.options.access_token_ttl_s};
    memcpy(d->claims.device_id, d->device_id, sizeof d->device_id);
    d->doubtful = !world_clock_is_right(w);
}

bool calls_login(struct world *w, struct app *d)
{
    if (dice_one_in(&w->dice, 4)) {
        mint_token(w, d);
        return false;
    }
    Ringpost__V1__LoginRequest request = RINGPOST__V1__LOGIN_REQUEST__INIT;
    struct call *call = begin(w, d, &login_type, LANE_MAIN);
    call->must_fail = dice_one_in(&w->dice, 12);
    request.name = d->person->name;
    request.password = call->must_fail ? (char *)"not the password" : d->person->password;
    request.device_id = d->device_id;
    request.platform = (char *)"sim";
    return go(w, call, &request.base);
}

static void refresh_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__RefreshResponse *r = message;
    struct app *d = call->device;
    bool repeated = call->successor[0] != '\0';
    EXPECT(!repeated || strcmp(call->successor, r->refresh_token) == 0, "device %u: a used refresh token has two successors", d->number);
    uint64_t grace_ms = w->profile.options.refresh_grace_ms + CLOCK_SKEW_MS;
    EXPECT(!repeated || !under_right_clock(w, call) || d->doubtful || call->began_s * 1000 <= d->refreshed_ms + grace_ms,
           "device %u: a refresh token that was used long ago works", d->number);
    if (!repeated) memcpy(d->used_token, d->refresh_token, sizeof d->used_token);
    if (!repeated) d->refreshed_ms = world_now_ms(w);
    bool newest = !repeated || strcmp(d->refresh_token, r->refresh_token) == 0;
    take_tokens(w, call, r->access_token, r->refresh_token);
    d->used_is_newest = newest;
}

static void refresh_refused(struct world *w, struct call *call, enum error error)
{
    struct app *d = call->device;
    bool early = error == ERROR_TOKEN_EXPIRED && under_right_clock(w, call) && !d->doubtful && !call->must_fail;
    EXPECT(!early, "device %u: a refresh token of a day has expired", d->number);
    if (error == ERROR_TOKEN_INVALID) d->used_is_newest = false;
    if (error == ERROR_TOKEN_INVALID && !call->must_fail) d->refresh_token[0] = '\0';
}

/* It may have been used up; a used one may have ended its family. */
static void refresh_lost(struct world *w, struct call *call)
{
    (void)w;
    call->device->used_is_newest = false;
    if (!call->must_fail) call->device->refresh_token[0] = '\0';
}

CALL_TYPE(refresh, refresh_answered, .refused = refresh_refused, .lost = refresh_lost);

static bool call_refresh(struct world *w, struct app *d)
{
    bool again = d->used_token[0] != '\0' && dice_one_in(&w->dice, 3);
    if (d->refresh_token[0] == '\0' && (!again || d->used_is_newest)) return false; /* it does not know what its newest is */
    Ringpost__V1__RefreshRequest request = RINGPOST__V1__REFRESH_REQUEST__INIT;
    request.refresh_token = again ? d->used_token : d->refresh_token;
    struct call *call = begin(w, d, &refresh_type, LANE_MAIN);
    if (again && d->used_is_newest) memcpy(call->successor, d->refresh_token, sizeof call->successor);
    call->must_fail = again && call->successor[0] == '\0';
    return go(w, call, &request.base);
}

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

static void revoke_answered(struct world *w, struct call *call, const void *message)
{
    (void)message;
    struct app *d = people_app(w->people, call->number);
    bool by_generation = !record_first_lists_only; /* the older version has none, and no token of a generation has come from it */
    if (by_generation && d->revoked_below <= call->generation) d->revoked_below = call->generation + 1;
    /* The command's time may be one after the clock was set back; and who had another clock cannot tell at all. */
    uint64_t began_s = call->clock_steps == w->clock_steps ? call->began_s : call->began_s - CLOCK_STEP_S_MAX;
    bool told = under_right_clock(w, call) && d->revoked_before_s < began_s + 1;
    if (told) d->revoked_before_s = began_s + 1;
    if (d->claims.user_id != 0 && app_is_revoked(d, &d->claims)) app_forget_token(w, d);
}

CALL_TYPE(logout, revoke_answered);
CALL_TYPE(revoke_device, revoke_answered);

static bool call_logout(struct world *w, struct app *d)
{
    struct call *call = begin(w, d, &logout_type, LANE_MAIN);
    call->number = d->number;
    call->generation = d->generation;
    Ringpost__V1__LogoutRequest request = RINGPOST__V1__LOGOUT_REQUEST__INIT;
    return go(w, call, &request.base);
}

static bool call_revoke(struct world *w, struct app *d)
{
    struct app *other = &d->person->devices[dice_below(&w->dice, w->people->device_count)];
    struct call *call = begin(w, d, &revoke_device_type, LANE_MAIN);
    call->number = other->number;
    call->generation = other->generation;
    Ringpost__V1__RevokeDeviceRequest request = RINGPOST__V1__REVOKE_DEVICE_REQUEST__INIT;
    request.device_id = other->device_id;
    return go(w, call, &request.base);
}

static void devices_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__DevicesResponse *r = message;
    /* One that had expired by a wrong clock has given up its place and takes it again. */
    EXPECT(r->n_devices <= w->profile.devices_max_ever || w->profile.clock_leaps, "device %u's user has %zu devices", call->device->number,
           r->n_devices);
}

CALL_TYPE(devices, devices_answered);

/* With the token it has, or with one that was revoked. */
static bool call_devices(struct world *w, struct app *d)
{
    struct call *call = begin(w, d, &devices_type, LANE_MAIN);
    if (d->old_claims.user_id != 0 && dice_percent(&w->dice, 70)) call->claims = d->old_claims;
    Ringpost__V1__DevicesRequest request = RINGPOST__V1__DEVICES_REQUEST__INIT;
    return go(w, call, &request.base);
}

/* ---- auth ------------------------------------------------------------------------------------------------------------- */

/* Still the connection that the call was made by. */
static bool same_link(const struct call *call)
{
    return call->device->link != NULL && call->device->link->generation == call->number;
}

static void auth_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__AuthResponse *r = message;
    struct app *d = call->device;
    EXPECT(r->user_id == d->person->user_id, "the session of somebody else");
    EXPECT(r->sync_key >= call->floor, "the stream of user %u went back from %lu to %lu", d->person->number,
           (unsigned long)call->floor, (unsigned long)r->sync_key);
    if (same_link(call)) d->link->expires_s = r->expires_ms / 1000;
    (void)w;
    d->wants_sync = true;
}

static void auth_refused(struct world *w, struct call *call, enum error error)
{
    (void)error;
    if (same_link(call) && call->device->link->state == LINK_AUTHENTICATING) app_disconnect(w, call->device);
}

/* The connections went with the process. */
static void auth_lost(struct world *w, struct call *call) { (void)w, (void)call; }

CALL_TYPE(auth, auth_answered, .refused = auth_refused, .lost = auth_lost);

bool calls_auth(struct world *w, struct app *d)
{
    Ringpost__V1__AuthRequest request = RINGPOST__V1__AUTH_REQUEST__INIT;
    struct call *call = begin(w, d, &auth_type, LANE_MAIN);
    if (d->link == NULL) app_connect(w, d);
    call->number = d->link->generation;
    d->link->claims = d->claims;
    d->link->doubtful |= d->doubtful;
    call->floor = d->person->newest_event;
    return go(w, call, &request.base);
}

/* ---- user ------------------------------------------------------------------------------------------------------------- */

/* An answer shows that user under that name. `certainly`: the one that was there when it was asked for, or a later one. */
static int32_t saw_name(const struct world *w, const struct call *call, uint64_t user_id, const char *name, bool certainly)
{
    uint32_t user = oracle_user_index(w->oracle, user_id);
    if (user == USERS_MAX) return -1;
    return oracle_saw_name(w->oracle, user, name, certainly ? call->name_versions[user] : UINT32_MAX);
}

/* Lists keep the names that were stored where a shard does not answer. */
static bool lists_are_told(const struct world *w, const struct call *call)
{
    return !letters_are_lossy(w) && !w->damaged && w->now_ns - call->asked_ns < CALL_TIMEOUT_MS * 1000000ull;
}

static void user_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__UserResponse *r = message;
    (void)saw_name(w, call, r->user->user_id, r->user->display_name, true);
    oracle_learn(w->oracle, FACT_USER, r->user->user_id, 0, hash_of_text(r->user->name), "name of a user");
    oracle_learn(w->oracle, FACT_NAME, hash_of_text(r->user->name), 0, r->user->user_id, "owner of a name");
}

CALL_TYPE(user, user_answered);

/* Ids are in order: anybody can guess the next one. */
static uint64_t next_id(struct world *w, enum id_type type)
{
    uint16_t shard = (uint16_t)dice_below(&w->dice, world_shard_count(w));
    return id_make(shard, type, shard_machine(w->nodes[shard].shard)->next_sequence[type] + dice_below(&w->dice, 2));
}

/* Somebody's id, or one that may be given out soon. */
static uint64_t some_user_id(struct world *w)
{
    uint64_t user_id = w->people->persons[dice_below(&w->dice, w->people->person_count)].user_id;
    if (user_id != 0 && !dice_one_in(&w->dice, 20)) return user_id;
    return next_id(w, ID_USER);
}

static bool call_user(struct world *w, struct app *d)
{
    Ringpost__V1__UserRequest request = RINGPOST__V1__USER_REQUEST__INIT;
    if (dice_one_in(&w->dice, 2)) request.name = w->people->persons[dice_below(&w->dice, w->people->person_count)].name;
    if (request.name[0] == '\0') request.user_id = some_user_id(w);
    return go(w, begin(w, d, &user_type, LANE_MAIN), &request.base);
}

/* ---- set_display_name ------------------------------------------------------------------------------------------------- */

static void set_display_name_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__SetDisplayNameResponse *r = message;
    char wanted[DISPLAY_NAME_MAX];
    oracle_name_text(call->device->person->number, call->number, wanted);
    EXPECT(strcmp(r->user->display_name, wanted) == 0, "user %u is called \"%s\" and wanted \"%s\"", call->device->person->number,
           r->user->display_name, wanted);
    oracle_name_end(w->oracle, call->device->person->number, (int)call->number);
}

static void set_display_name_refused(struct world *w, struct call *call, enum error error)
{
    (void)error;
    oracle_name_end(w->oracle, call->device->person->number, -1);
}

static void set_display_name_lost(struct world *w, struct call *call) { oracle_name_end(w->oracle, call->device->person->number, -2); }

CALL_TYPE(set_display_name, set_display_name_answered, .refused = set_display_name_refused, .lost = set_display_name_lost);

static bool call_set_display_name(struct world *w, struct app *d)
{
    Ringpost__V1__SetDisplayNameRequest request = RINGPOST__V1__SET_DISPLAY_NAME_REQUEST__INIT;
    struct call *call = begin(w, d, &set_display_name_type, LANE_MAIN);
    char name[DISPLAY_NAME_MAX];
    call->number = oracle_name_begin(w->oracle, d->person->number);
    oracle_name_text(d->person->number, call->number, name);
    request.display_name = name;
    return go(w, call, &request.base);
}

/* ---- send ------------------------------------------------------------------------------------------------------------- */

static void learn_direct(struct world *w, const struct attempt *a)
{
    if (a->to_user_id == 0) return;
    uint64_t low = a->sender_id < a->to_user_id ? a->sender_id : a->to_user_id;
    oracle_learn(w->oracle, FACT_DIRECT, low, a->sender_id + a->to_user_id - low, a->room_id, "room of two");
    struct known_room *room = oracle_room(w->oracle, a->room_id);
    room->direct = true;
    uint32_t users[2] = {oracle_user_index(w->oracle, a->sender_id), oracle_user_index(w->oracle, a->to_user_id)};
    for (uint32_t i = 0; i < 2; i++)
        if (users[i] < USERS_MAX && room->members[users[i]].version == 0) room->members[users[i]].known = 1;
}

/* A message is of the time in which it was first asked for, or asked for again. */
static void expect_right_time(const struct world *w, const struct call *call, const struct attempt *a,
                              const Ringpost__V1__SendResponse *r)
{
    uint64_t latest_ms = world_right_ms(w) + CLOCK_SKEW_MS + CLOCK_STEP_S_MAX * 1000, forgiven_ms = 2 * CLOCK_SKEW_MS + CLOCK_STEP_S_MAX * 1000;
    if (a->acked || a->doubtful || !under_right_clock(w, call)) return;
    EXPECT(r->time_ms <= latest_ms, "m%u is of a time %lu s from now", call->number, (unsigned long)((r->time_ms - world_right_ms(w)) / 1000));
    EXPECT(r->time_ms + forgiven_ms >= a->first_right_ms, "m%u is of a time %lu s before it was sent", call->number,
           (unsigned long)((a->first_right_ms - r->time_ms) / 1000));
}

static void send_answered(struct world *w, struct call *call, const void *message)
{
    const struct attempt *a = &w->oracle->attempts[call->number];
    bool first = !a->acked && call->floor == 0;
    expect_right_time(w, call, a, message);
    oracle_saw_ack(w->oracle, call->number, message);
    learn_direct(w, a);
    EXPECT(!first || call->is_member != 0, "somebody who is no member sent m%u", call->number);
    if (call->device->sending == call->number + 1) call->device->sending = 0;
}

static bool membership_unchanged(struct world *w, const struct call *call)
{
    uint32_t user = oracle_user_index(w->oracle, call->claims.user_id);
    return user < USERS_MAX && oracle_room(w->oracle, call->room_id)->members[user].version == call->version;
}

/* An answer has said that the caller is a member, and nothing has happened since. */
static void expect_known_member(struct world *w, const struct call *call, enum error error)
{
    bool denied = error == ERROR_ROOM_NOT_FOUND;
    EXPECT(!denied || call->is_member != 1 || !membership_unchanged(w, call), "device %u is a member of room %lx, but: %s",
           call->device->number, (unsigned long)call->room_id, error_row(error)->reason);
}

static void send_refused(struct world *w, struct call *call, enum error error)
{
    expect_known_member(w, call, error);
    EXPECT(error != ERROR_CLIENT_ID_CONFLICT || call->must_fail, "m%u was sent by nobody before, but: conflict", call->number);
    bool final = !error_row(error)->retryable && error != ERROR_DEVICE_REVOKED && error != ERROR_TOKEN_INVALID;
    if (final && call->device->sending == call->number + 1) call->device->sending = 0;
}

/* It will be sent again, under the same id. */
static void send_lost(struct world *w, struct call *call) { (void)w, (void)call; }

CALL_TYPE(send, send_answered, .refused = send_refused, .lost = send_lost);

static void note_membership(struct world *w, struct call *call, uint64_t room_id)
{
    call->room_id = room_id;
    if (room_id == 0) return;
    uint32_t user = oracle_user_index(w->oracle, call->claims.user_id);
    const struct known_room *room = oracle_room(w->oracle, room_id);
    if (user == USERS_MAX) return;
    call->version = room->members[user].version;
    call->history_version = room->history_version;
    call->is_member = room->members[user].under_way > 0 ? -1 : room->members[user].known;
}

/* `again`: it was asked for before; else now is its first time. */
static void begin_try(struct world *w, struct call *call, struct first_try *first, bool again)
{
    struct person *person = call->device->person;
    struct first_try now = oracle_first_try(w->oracle, person);
    call->is_repeat = again;
    if (again) person->repeats_open++;
    else *first = now;
}

static bool send_attempt(struct world *w, struct app *d, uint32_t number, enum variant variant)
{
    struct attempt *a = &w->oracle->attempts[number];
    if (a->first_right_ms == 0) a->first_right_ms = world_right_ms(w);
    a->doubtful |= !world_clock_is_right(w);
    Ringpost__V1__SendRequest request = RINGPOST__V1__SEND_REQUEST__INIT;
    Ringpost__V1__Properties properties = RINGPOST__V1__PROPERTIES__INIT;
    char client_id[24], text[ATTEMPT_TEXT_MAX], content_type[24];
    attempt_client_id(number, client_id);
    struct slice body = attempt_body(number, variant, text);
    attempt_content_type(number, w->plant == PLANT_properties_ignored ? VARIANT_SAME : variant, content_type);
    properties.content_type = content_type;
    if (content_type[0] != '\0') request.properties = &properties;
    request.to_user_id = a->to_user_id;
    request.room_id = a->to_user_id != 0 ? 0 : a->room_id;
    request.client_msg_id = client_id;
    request.kind = (Ringpost__V1__MessageKind)a->kind;
    request.body.len = body.len;
    request.body.data = (uint8_t *)text;
    struct call *call = begin(w, d, &send_type, LANE_MAIN);
    call->number = number;
    call->must_fail = variant != VARIANT_SAME;
    call->floor = a->tries++;
    begin_try(w, call, &a->first, call->floor > 0);
    note_membership(w, call, a->room_id);
    return go(w, call, &request.base);
}

bool calls_send(struct world *w, struct app *d)
{
    const struct attempt *a = &w->oracle->attempts[d->sending - 1];
    if (d->person->repeats_open > 0) return false;
    if (a->tries == 0 || oracle_is_promised(w->oracle, d->person, &a->first)) return send_attempt(w, d, a->number, VARIANT_SAME);
    d->sending = 0; /* it may have left the window: give it up */
    return false;
}

/* A room, mostly one the caller may be in; NULL: there is none. */
static struct known_room *some_room(struct world *w, const struct app *d)
{
    struct oracle *o = w->oracle;
    if (o->room_count == 0) return NULL;
    for (uint32_t tries = 0; tries < 6; tries++) {
        struct known_room *room = &o->rooms[dice_below(&w->dice, o->room_count)];
        if (room->members[d->person->number].known == 1) return room;
    }
    return &o->rooms[dice_below(&w->dice, o->room_count)];
}

/* The same, but rather a group. */
static struct known_room *some_group(struct world *w, const struct app *d)
{
    struct known_room *room = NULL;
    for (uint32_t tries = 0; tries < 4 && (room == NULL || room->direct); tries++) room = some_room(w, d);
    return room;
}

/* Already answered, however long ago, as long as it is promised: the same again, or the same id with something else. */
static bool send_again(struct world *w, struct app *d)
{
    const struct oracle *o = w->oracle;
    uint32_t count = 0, number = 0;
    for (uint32_t i = 0; i < o->attempt_count; i++) {
        const struct attempt *a = &o->attempts[i];
        if (!a->acked || a->sender_id != d->person->user_id || !oracle_is_promised(o, d->person, &a->first)) continue;
        if (dice_one_in(&w->dice, ++count)) number = i;
    }
    if (count == 0) return false;
    return send_attempt(w, d, number, dice_one_in(&w->dice, 3) ? dice_between(&w->dice, 1, VARIANT_COUNT - 1) : VARIANT_SAME);
}

bool calls_talk(struct world *w, struct app *d)
{
    if (d->person->repeats_open > 0) return false;
    bool drowned = w->profile.has_babbler && d->person->number != 0; /* what it sent is what is pushed out */
    if (dice_one_in(&w->dice, drowned ? 2 : 6) && send_again(w, d)) return true;
    const struct known_room *room = dice_one_in(&w->dice, 3) ? some_room(w, d) : some_group(w, d);
    uint64_t to_user_id = 0, room_id = 0;
    if (room != NULL && dice_percent(&w->dice, 80)) room_id = room->room_id;
    else to_user_id = some_user_id(w);
    if (to_user_id == d->person->user_id) return false;
    d->sending = oracle_attempt(w->oracle, d->person->user_id, room_id, to_user_id, dice_below(&w->dice, 7)) + 1;
    return calls_send(w, d);
}

/* ---- history ---------------------------------------------------------------------------------------------------------- */

/* Nothing is known of an id that is only guessed. */
static bool is_known(const struct world *w, uint64_t room_id)
{
    for (uint32_t i = 0; i < w->oracle->room_count; i++)
        if (w->oracle->rooms[i].room_id == room_id) return true;
    return false;
}

/* What is hidden from who came later: exactly that, where it is certain. */
static void expect_hidden(struct world *w, const struct call *call, const Ringpost__V1__HistoryResponse *r)
{
    EXPECT(r->hidden_seq <= r->head_seq, "seq %lu of %lu is hidden", (unsigned long)r->hidden_seq, (unsigned long)r->head_seq);
    if (!is_known(w, call->room_id) || call->is_member != 1 || !membership_unchanged(w, call)) return;
    const struct known_room *room = oracle_room(w->oracle, call->room_id);
    uint64_t hidden_seq;
    if (room->history_version != call->history_version) return;
    if (!oracle_knows_hidden(room, oracle_user_index(w->oracle, call->claims.user_id), &hidden_seq)) return;
    EXPECT(r->hidden_seq == hidden_seq, "device %u may read room %lx from behind seq %lu, and is shown it from behind seq %lu",
           call->device->number, (unsigned long)call->room_id, (unsigned long)hidden_seq, (unsigned long)r->hidden_seq);
}

static void history_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__HistoryResponse *r = message;
    bool upwards = call->number == 1;
    EXPECT(call->is_member != 0 || !membership_unchanged(w, call), "history for somebody who is no member");
    EXPECT(r->head_seq >= call->floor, "room %lx went back from %lu to %lu", (unsigned long)call->room_id,
           (unsigned long)call->floor, (unsigned long)r->head_seq);
    expect_hidden(w, call, r);
    uint64_t after = call->seq < r->hidden_seq ? r->hidden_seq : call->seq;
    uint64_t first = upwards ? after + 1 : call->seq == 0 || call->seq > r->head_seq ? r->head_seq : call->seq - 1;
    EXPECT(r->n_messages == 0 ? first <= r->hidden_seq || first > r->head_seq : r->messages[0]->seq == first,
           "a page of room %lx does not begin at seq %lu", (unsigned long)call->room_id, (unsigned long)first);
    for (size_t i = 0; i < r->n_messages; i++) {
        oracle_saw_message(w->oracle, r->messages[i]);
        EXPECT(r->messages[i]->room_id == call->room_id, "a message of another room");
        EXPECT(r->messages[i]->seq > r->hidden_seq, "seq %lu of room %lx is shown and hidden", (unsigned long)r->messages[i]->seq,
               (unsigned long)call->room_id);
        if (i == 0) continue;
        uint64_t before = r->messages[i - 1]->seq, seq = r->messages[i]->seq;
        EXPECT(upwards ? seq == before + 1 : seq + 1 == before, "room %lx: seq %lu after %lu", (unsigned long)call->room_id,
               (unsigned long)seq, (unsigned long)before);
    }
    if (r->n_messages == 0) return;
    bool finished = r->messages[r->n_messages - 1]->seq == (upwards ? r->head_seq : r->hidden_seq + 1);
    EXPECT(finished == !r->has_more, "a page of room %lx that ends with seq %lu says that there is %s", (unsigned long)call->room_id,
           (unsigned long)r->messages[r->n_messages - 1]->seq, r->has_more ? "more" : "no more");
}

static void member_call_refused(struct world *w, struct call *call, enum error error) { expect_known_member(w, call, error); }

CALL_TYPE(history, history_answered, .refused = member_call_refused);

/* A known room, or one that may be made soon. */
static uint64_t some_room_id(struct world *w, const struct app *d)
{
    const struct known_room *room = some_room(w, d);
    if (room != NULL && !dice_one_in(&w->dice, 4)) return room->room_id;
    return next_id(w, ID_ROOM);
}

static bool call_history(struct world *w, struct app *d)
{
    Ringpost__V1__HistoryRequest request = RINGPOST__V1__HISTORY_REQUEST__INIT;
    struct call *call = begin(w, d, &history_type, LANE_MAIN);
    request.room_id = call->room_id = some_room_id(w, d);
    request.limit = dice_between(&w->dice, 1, 12);
    if (is_known(w, request.room_id)) note_membership(w, call, request.room_id);
    call->floor = is_known(w, request.room_id) ? oracle_room(w->oracle, request.room_id)->head_seq : 0;
    if (dice_one_in(&w->dice, 2)) {
        request.direction_case = RINGPOST__V1__HISTORY_REQUEST__DIRECTION_AFTER_SEQ;
        request.after_seq = call->seq = dice_between(&w->dice, 0, (uint32_t)call->floor + 3);
        call->number = 1;
    } else if (dice_one_in(&w->dice, 2)) {
        request.direction_case = RINGPOST__V1__HISTORY_REQUEST__DIRECTION_BEFORE_SEQ;
        request.before_seq = call->seq = dice_between(&w->dice, 1, (uint32_t)call->floor + 3);
    }
    return go(w, call, &request.base);
}

/* ---- sync ------------------------------------------------------------------------------------------------------------- */

/* A shard remembers so many lives of a stream, and what was said before the first command of a life counts for the one before; one that was
 * restored knows nothing of those it lost. */
static void expect_reset(const struct world *w, const struct app *d, const Ringpost__V1__SyncResponse *r)
{
    bool window_is_small = w->profile.inbox_events_min_ever < 100000;
    bool long_ago = w->lives - d->epoch_life + 1 >= INBOX_INCARNATIONS_MAX;
    bool of_a_lost_life = d->epoch_life >= w->copy_life && d->epoch_life < w->restore_life;
    bool may_be = r->reset_reason == RINGPOST__V1__RESET_REASON__TOO_OLD ? window_is_small : long_ago || of_a_lost_life;
    EXPECT(r->n_events == 0 && may_be && r->reset_reason != RINGPOST__V1__RESET_REASON__NO_RESET, "device %u is reset: reason %d", d->number,
           (int)r->reset_reason);
}

static void sync_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__SyncResponse *r = message;
    struct app *d = call->device;
    uint64_t asked = call->number;
    bool same_connection = call->over_session && d->link != NULL && d->link->generation == call->link_generation;
    d->in_step |= same_connection;
    if (r->reset) {
        expect_reset(w, d, r);
        if (r->reset_reason == RINGPOST__V1__RESET_REASON__OTHER_STREAM) app_forget(d);
        d->seen_count = 0;
        d->reloading = true;
        d->cursor = 0;
        return;
    }
    EXPECT(r->reset_reason == RINGPOST__V1__RESET_REASON__NO_RESET, "a reason without a reset");
    EXPECT(r->stream_epoch[0] != '\0' && strlen(r->stream_epoch) < sizeof d->stream_epoch, "a sync without an epoch");
    memcpy(d->stream_epoch, r->stream_epoch, strlen(r->stream_epoch) + 1);
    d->epoch_life = w->lives;
    for (size_t i = 0; i < r->n_events; i++) {
        EXPECT(r->events[i]->sync_key == asked + i + 1, "the stream of user %u has a hole: %lu where %lu should be",
               d->person->number, (unsigned long)r->events[i]->sync_key, (unsigned long)(asked + i + 1));
        app_take_event(w, d, r->events[i]);
    }
    EXPECT(r->sync_key == asked + r->n_events, "a page of %zu events from %lu ends at %lu", r->n_events, (unsigned long)asked,
           (unsigned long)r->sync_key);
    EXPECT(r->has_more || r->sync_key >= call->floor, "the stream of user %u went back from %lu to %lu", d->person->number,
           (unsigned long)call->floor, (unsigned long)r->sync_key);
    for (size_t i = 0; i < r->n_heads; i++) {
        app_take_head(d, r->heads[i]->room_id, r->heads[i]->head_seq);
        app_room(d, r->heads[i]->room_id)->read_seq = r->heads[i]->read_seq;
    }
    if (r->has_more) d->wants_sync = true;
}

static void sync_refused(struct world *w, struct call *call, enum error error)
{
    (void)w, (void)error;
    call->device->wants_sync = true;
}

CALL_TYPE(sync, sync_answered, .refused = sync_refused);

bool calls_sync(struct world *w, struct app *d)
{
    Ringpost__V1__SyncRequest request = RINGPOST__V1__SYNC_REQUEST__INIT;
    struct call *call = begin(w, d, &sync_type, LANE_SYNC);
    request.sync_key = d->sync_key;
    request.stream_epoch = d->stream_epoch;
    request.limit = dice_one_in(&w->dice, 3) ? dice_between(&w->dice, 1, 5) : 0;
    call->number = (uint32_t)d->sync_key;
    call->floor = d->person->newest_event;
    d->wants_sync = false;
    return go(w, call, &request.base);
}

/* ---- conversations: starting over, or comparing ------------------------------------------------------------------------ */

static void reload_row(struct app *d, uint64_t as_of, const Ringpost__V1__Conversation *c)
{
    struct app_room *room = app_room(d, c->room->room_id);
    room->as_of = as_of;
    room->member = true;
    room->large = c->room->large;
    room->read_seq = c->read_seq;
    app_take_head(d, room->room_id, c->head_seq);
}

static void compare_row(const struct app *d, const Ringpost__V1__Conversation *c)
{
    struct app_room none = {0};
    const struct app_room *room = &none;
    for (uint32_t i = 0; i < d->room_count; i++)
        if (d->rooms[i].room_id == c->room->room_id) room = &d->rooms[i];
    EXPECT(room->member, "device %u does not know that it is in room %lx", d->number, (unsigned long)c->room->room_id);
    bool as_read = room->large ? room->read_seq <= c->read_seq : room->read_seq == c->read_seq; /* no stream tells of all that is large */
    EXPECT(as_read, "device %u has read room %lx up to %lu, not %lu", d->number,
           (unsigned long)c->room->room_id, (unsigned long)room->read_seq, (unsigned long)c->read_seq);
    EXPECT(room->large == c->room->large, "device %u does not know how large room %lx is", d->number, (unsigned long)c->room->room_id);
    bool unread = c->head_seq > c->read_seq; /* sync tells the heads of large rooms only with unread messages */
    EXPECT(room->head_seq == c->head_seq || (room->large && !unread), "device %u believes that room %lx ends at %lu, not %lu", d->number,
           (unsigned long)c->room->room_id, (unsigned long)room->head_seq, (unsigned long)c->head_seq);
    EXPECT(c->unread == c->head_seq - c->read_seq, "room %lx: %lu unread", (unsigned long)c->room->room_id, (unsigned long)c->unread);
}

/* The list, at rest, by what is certain of the room and of when its reader came in. */
static void compare_gate(const struct world *w, const struct app *d, const Ringpost__V1__Conversation *c)
{
    const struct known_room *room = oracle_room(w->oracle, c->room->room_id);
    const struct membership *m = &room->members[d->person->number];
    uint64_t hidden_seq;
    bool known = oracle_knows_hidden(room, d->person->number, &hidden_seq), joined = m->known == 1 && m->joined_known;
    bool there = c->last_message != NULL;
    EXPECT(!known || !there || c->head_seq > hidden_seq, "device %u is shown seq %lu of room %lx, and came in at %lu", d->number,
           (unsigned long)c->head_seq, (unsigned long)c->room->room_id, (unsigned long)hidden_seq);
    EXPECT(!joined || there || c->head_seq == m->joined_seq, "device %u is not shown seq %lu of room %lx, and came in at %lu", d->number,
           (unsigned long)c->head_seq, (unsigned long)c->room->room_id, (unsigned long)m->joined_seq);
    EXPECT(!joined || c->read_seq >= m->joined_seq, "device %u has unread messages of room %lx from before it came in", d->number,
           (unsigned long)c->room->room_id);
    EXPECT(room->since_join < 0 || (c->room->history == RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN) == (room->since_join == 1),
           "device %u sees another history of room %lx", d->number, (unsigned long)c->room->room_id);
}

static void finish_pages(struct app *d, bool comparing)
{
    if (!comparing) {
        d->reloading = false;
        d->sync_key = d->reload_key;
        memcpy(d->stream_epoch, d->reload_epoch, sizeof d->stream_epoch);
        d->wants_sync = true;
        return;
    }
    uint32_t member_count = 0;
    for (uint32_t i = 0; i < d->room_count; i++) member_count += d->rooms[i].member;
    EXPECT(member_count == d->compared_count, "device %u believes to be in %u rooms, not %u", d->number, member_count,
           d->compared_count);
    d->wants_compare = false;
}

static void conversations_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__ConversationsResponse *r = message;
    struct app *d = call->device;
    bool comparing = call->number == 1;
    if (!comparing && !d->reloading) return; /* it was logged out meanwhile, and begins anew */
    if (comparing && (d->wants_sync || d->reloading || r->sync_key != d->sync_key)) { /* moved on meanwhile: later, again */
        EXPECT(w->settling, "a comparison while the world is not at rest");
        d->cursor = d->compared_count = 0;
        d->wants_sync = true;
        return;
    }
    if (!comparing && call->floor == 0) {
        d->reload_key = r->sync_key; /* later pages are newer, and each room knows how new */
        snprintf(d->reload_epoch, sizeof d->reload_epoch, "%s", r->stream_epoch);
        d->epoch_life = w->lives;
        for (uint32_t i = 0; i < d->room_count; i++) d->rooms[i].member = false;
    }
    for (size_t i = 0; i < r->n_conversations; i++) {
        const Ringpost__V1__Conversation *c = r->conversations[i];
        oracle_saw_room(w->oracle, c->room);
        if (c->last_message != NULL) oracle_saw_message(w->oracle, c->last_message);
        if (c->peer_id != 0) (void)saw_name(w, call, c->peer_id, c->peer_name, lists_are_told(w, call));
        if (comparing) {
            compare_row(d, c);
            compare_gate(w, d, c);
        } else reload_row(d, r->sync_key, c);
    }
    d->compared_count += (uint32_t)r->n_conversations;
    d->cursor = r->next_cursor;
    EXPECT(!r->has_more || r->n_conversations > 0, "an empty page that is not the last");
    if (r->has_more) return;
    finish_pages(d, comparing);
    if (comparing) app_expect_memory(w, d);
}

CALL_TYPE(conversations, conversations_answered);

bool calls_conversations(struct world *w, struct app *d)
{
    Ringpost__V1__ConversationsRequest request = RINGPOST__V1__CONVERSATIONS_REQUEST__INIT;
    struct call *call = begin(w, d, &conversations_type, LANE_SYNC);
    call->number = d->reloading ? 0 : 1;
    request.cursor = call->floor = d->cursor;
    request.limit = dice_between(&w->dice, 1, 6);
    if (d->cursor == 0) d->compared_count = 0;
    return go(w, call, &request.base);
}

/* ---- mark_read, typing ------------------------------------------------------------------------------------------------ */

static void mark_read_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__MarkReadResponse *r = message;
    if (!membership_unchanged(w, call)) return;
    struct membership *m = &oracle_room(w->oracle, call->room_id)->members[call->device->person->number];
    EXPECT(r->read_seq >= call->floor, "a read mark went back from %lu to %lu", (unsigned long)call->floor,
           (unsigned long)r->read_seq);
    if (m->read_floor < r->read_seq) m->read_floor = r->read_seq;
}

CALL_TYPE(mark_read, mark_read_answered, .refused = member_call_refused);

static bool call_mark_read(struct world *w, struct app *d)
{
    struct known_room *room = some_room(w, d);
    if (room == NULL) return false;
    Ringpost__V1__MarkReadRequest request = RINGPOST__V1__MARK_READ_REQUEST__INIT;
    struct call *call = begin(w, d, &mark_read_type, LANE_MAIN);
    note_membership(w, call, room->room_id);
    call->floor = room->members[d->person->number].read_floor;
    request.room_id = room->room_id;
    request.seq = dice_between(&w->dice, 1, (uint32_t)room->head_seq + 2);
    return go(w, call, &request.base);
}

static void nothing_answered(struct world *w, struct call *call, const void *message) { (void)w, (void)call, (void)message; }

CALL_TYPE(typing, nothing_answered);

static bool call_typing(struct world *w, struct app *d)
{
    Ringpost__V1__TypingRequest request = RINGPOST__V1__TYPING_REQUEST__INIT;
    request.room_id = some_room_id(w, d);
    return go(w, begin(w, d, &typing_type, LANE_MAIN), &request.base);
}

/* ---- rooms: making ---------------------------------------------------------------------------------------------------- */

/* Nobody else is in a room that was just made, but whom somebody has tried to bring in since. */
static void others_are_outside(struct world *w, struct known_room *room)
{
    for (uint32_t user = 0; user < USERS_MAX; user++) {
        if (w->oracle->user_ids[user] == 0 || room->members[user].version != 0) continue;
        room->members[user].known = 0;
        room->members[user].version++;
    }
}

static void create_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__CreateRoomResponse *r = message;
    oracle_saw_room(w->oracle, r->room);
    uint64_t key = XXH3_64bits_withSeed(&call->number, sizeof call->number, call->claims.user_id);
    oracle_learn(w->oracle, FACT_CLIENT_ROOM, key, 0, r->room->room_id, "room made by one request");
    struct known_room *room = oracle_room(w->oracle, r->room->room_id);
    bool since_join = call->history == RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN;
    EXPECT((r->room->history == RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN) == since_join, "room %lx is made with another history",
           (unsigned long)r->room->room_id);
    if (room->history_version == 0) room->since_join = since_join;
    for (uint32_t i = 0; i < call->user_count; i++) {
        uint32_t user = oracle_user_index(w->oracle, call->user_ids[i]);
        if (user == USERS_MAX || room->members[user].version != 0) continue;
        room->members[user].known = 1;
        room->members[user].joined_known = true;
        if (room->role_changes == 0) room->members[user].role = i == 0 ? RINGPOST__V1__ROLE__OWNER : RINGPOST__V1__ROLE__MEMBER;
        room->members[user].version++;
    }
    others_are_outside(w, room);
}

CALL_TYPE(create_room, create_answered);

/* Some others, each at most once; the count. */
static uint32_t some_people(struct world *w, const struct app *d, uint64_t *user_ids, uint32_t most)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->people->person_count && count < most; i++) {
        const struct person *person = &w->people->persons[i];
        if (person != d->person && person->user_id != 0 && dice_one_in(&w->dice, 3)) user_ids[count++] = person->user_id;
    }
    return count;
}

/* One that was asked for before, as long as it is promised, or the next. */
static struct client_room *some_client_room(struct world *w, struct person *person)
{
    uint32_t count = COUNT_OF(person->client_rooms), i = dice_below(&w->dice, count);
    struct client_room *room = &person->client_rooms[i];
    bool known = room->number != 0 && oracle_is_promised(w->oracle, person, &room->first);
    uint32_t number = room->number == 0 ? i + 1 : room->number + count;
    if (!known) *room = (struct client_room){.number = number, .of_older = record_first_lists_only};
    return room;
}

/* What a request asks for follows from its number, so that a repeat is the same request. */
static bool call_create(struct world *w, struct app *d)
{
    if (d->person->repeats_open > 0) return false;
    static const uint32_t names = 5;
    Ringpost__V1__CreateRoomRequest request = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    struct call *call = begin(w, d, &create_room_type, LANE_MAIN);
    char name[24], client_id[24];
    struct client_room *room = some_client_room(w, d->person);
    call->number = room->number;
    struct dice own = {.state = call->claims.user_id * 64 + call->number};
    call->user_ids[call->user_count++] = d->person->user_id;
    for (uint32_t i = 0; i < w->people->person_count; i++) {
        const struct person *person = &w->people->persons[i];
        bool wanted = person != d->person && dice_one_in(&own, 3);
        if (wanted && person->user_id == 0) { /* not yet registered: the same request is not possible now */
            end(call);
            return false;
        }
        if (wanted) call->user_ids[call->user_count++] = person->user_id;
    }
    snprintf(name, sizeof name, "Room %u", dice_below(&own, names));
    snprintf(client_id, sizeof client_id, "r%u", call->number);
    request.name = name;
    request.joinable = dice_percent(&own, 60);
    if (!room->of_older) request.history = (Ringpost__V1__RoomHistory)dice_below(&own, 3);
    call->history = (int)request.history;
    request.client_room_id = client_id;
    request.member_ids = call->user_ids + 1;
    request.n_member_ids = call->user_count - 1;
    begin_try(w, call, &room->first, room->first.sends != 0);
    return go(w, call, &request.base);
}

/* ---- rooms: coming and going ------------------------------------------------------------------------------------------ */

static void memberships_begin(struct world *w, const struct call *call)
{
    for (uint32_t i = 0; i < call->user_count; i++) oracle_membership_begin(w->oracle, call->room_id, call->user_ids[i]);
}

static void memberships_end(struct world *w, const struct call *call, int outcome, uint64_t head_seq)
{
    for (uint32_t i = 0; i < call->user_count; i++) oracle_membership_end(w->oracle, call->room_id, call->user_ids[i], outcome, head_seq);
}

static void membership_refused(struct world *w, struct call *call, enum error error)
{
    (void)error;
    memberships_end(w, call, -1, 0);
}

static void membership_lost(struct world *w, struct call *call) { memberships_end(w, call, -2, 0); }

static void join_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__JoinRoomResponse *r = message;
    oracle_saw_room(w->oracle, r->room);
    memberships_end(w, call, 1, r->room->head_seq);
}

static void invite_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__InviteResponse *r = message;
    oracle_saw_room(w->oracle, r->room);
    memberships_end(w, call, 1, r->room->head_seq);
}

static void leave_answered(struct world *w, struct call *call, const void *message)
{
    (void)message;
    memberships_end(w, call, 0, 0);
}

static void remove_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__RemoveMembersResponse *r = message;
    oracle_saw_room(w->oracle, r->room);
    memberships_end(w, call, 0, 0);
}

CALL_TYPE(join_room, join_answered, .refused = membership_refused, .lost = membership_lost);
CALL_TYPE(leave_room, leave_answered, .refused = membership_refused, .lost = membership_lost);
CALL_TYPE(invite, invite_answered, .refused = membership_refused, .lost = membership_lost);
CALL_TYPE(remove_members, remove_answered, .refused = membership_refused, .lost = membership_lost);

static bool call_join(struct world *w, struct app *d)
{
    struct oracle *o = w->oracle;
    if (o->room_count == 0) return false;
    const struct known_room *room = &o->rooms[dice_below(&w->dice, o->room_count)];
    if (!room->joinable && !dice_one_in(&w->dice, 5)) return false;
    Ringpost__V1__JoinRoomRequest request = RINGPOST__V1__JOIN_ROOM_REQUEST__INIT;
    struct call *call = begin(w, d, &join_room_type, LANE_MAIN);
    request.room_id = call->room_id = room->room_id;
    call->user_ids[call->user_count++] = d->person->user_id;
    memberships_begin(w, call);
    return go(w, call, &request.base);
}

static bool call_leave(struct world *w, struct app *d)
{
    const struct known_room *room = some_group(w, d);
    if (room == NULL) return false;
    Ringpost__V1__LeaveRoomRequest request = RINGPOST__V1__LEAVE_ROOM_REQUEST__INIT;
    struct call *call = begin(w, d, &leave_room_type, LANE_MAIN);
    request.room_id = call->room_id = room->room_id;
    call->user_ids[call->user_count++] = d->person->user_id;
    memberships_begin(w, call);
    return go(w, call, &request.base);
}

static bool call_invite(struct world *w, struct app *d)
{
    const struct known_room *room = some_group(w, d);
    if (room == NULL) return false;
    Ringpost__V1__InviteRequest request = RINGPOST__V1__INVITE_REQUEST__INIT;
    struct call *call = begin(w, d, &invite_type, LANE_MAIN);
    request.room_id = call->room_id = room->room_id;
    call->user_count = some_people(w, d, call->user_ids, 4);
    if (call->user_count == 0) {
        end(call);
        return false;
    }
    request.user_ids = call->user_ids;
    request.n_user_ids = call->user_count;
    memberships_begin(w, call);
    return go(w, call, &request.base);
}

static bool call_remove(struct world *w, struct app *d)
{
    const struct known_room *room = some_group(w, d);
    if (room == NULL) return false;
    Ringpost__V1__RemoveMembersRequest request = RINGPOST__V1__REMOVE_MEMBERS_REQUEST__INIT;
    struct call *call = begin(w, d, &remove_members_type, LANE_MAIN);
    request.room_id = call->room_id = room->room_id;
    call->user_count = some_people(w, d, call->user_ids, 2);
    if (call->user_count == 0) {
        end(call);
        return false;
    }
    request.user_ids = call->user_ids;
    request.n_user_ids = call->user_count;
    memberships_begin(w, call);
    return go(w, call, &request.base);
}

/* ---- rooms: roles, names, ends ---------------------------------------------------------------------------------------- */

static void forget_roles(struct known_room *room)
{
    for (uint32_t i = 0; i < USERS_MAX; i++) room->members[i].role = -1;
}

static void role_answered(struct world *w, struct call *call, const void *message)
{
    (void)message;
    struct known_room *room = oracle_room(w->oracle, call->room_id);
    bool alone = --room->role_changes == 0 && call->floor == 0;
    uint32_t target = oracle_user_index(w->oracle, call->user_ids[0]);
    struct membership *m = &room->members[target], *own = &room->members[call->device->person->number];
    forget_roles(room);
    if (!alone || target == USERS_MAX || m->under_way > 0 || m->version != call->version) return;
    m->role = (int8_t)call->number;
    if (call->number == RINGPOST__V1__ROLE__OWNER && m != own && own->under_way == 0) own->role = RINGPOST__V1__ROLE__ADMIN;
}

static void role_refused(struct world *w, struct call *call, enum error error)
{
    (void)error;
    struct known_room *room = oracle_room(w->oracle, call->room_id);
    room->role_changes--;
    forget_roles(room);
}

CALL_TYPE(set_role, role_answered, .refused = role_refused);

static bool call_set_role(struct world *w, struct app *d)
{
    struct known_room *room = some_group(w, d);
    struct person *person = &w->people->persons[dice_below(&w->dice, w->people->person_count)];
    if (room == NULL || person->user_id == 0) return false;
    Ringpost__V1__SetRoleRequest request = RINGPOST__V1__SET_ROLE_REQUEST__INIT;
    struct call *call = begin(w, d, &set_role_type, LANE_MAIN);
    request.room_id = call->room_id = room->room_id;
    request.user_id = call->user_ids[0] = person->user_id;
    call->number = dice_one_in(&w->dice, 5) ? RINGPOST__V1__ROLE__OWNER : dice_below(&w->dice, 2);
    request.role = (Ringpost__V1__Role)call->number;
    call->floor = room->role_changes++; /* others under way */
    call->version = room->members[person->number].version;
    return go(w, call, &request.base);
}

static void update_ends(struct world *w, const struct call *call, int outcome)
{
    if (call->history != RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN) oracle_history_end(w->oracle, call->room_id, outcome);
}

static void update_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__UpdateRoomResponse *r = message;
    oracle_saw_room(w->oracle, r->room);
    EXPECT(call->history == RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN || (int)r->room->history == call->history,
           "room %lx has another history than was asked for", (unsigned long)call->room_id);
    update_ends(w, call, call->history == RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN);
}

static void update_refused(struct world *w, struct call *call, enum error error)
{
    (void)error;
    update_ends(w, call, -1);
}

static void update_lost(struct world *w, struct call *call) { update_ends(w, call, -2); }

CALL_TYPE(update_room, update_answered, .refused = update_refused, .lost = update_lost);
CALL_TYPE(dismiss_room, nothing_answered);

static bool call_update(struct world *w, struct app *d)
{
    const struct known_room *room = some_group(w, d);
    if (room == NULL) return false;
    Ringpost__V1__UpdateRoomRequest request = RINGPOST__V1__UPDATE_ROOM_REQUEST__INIT;
    char name[24];
    snprintf(name, sizeof name, "Renamed %u", dice_below(&w->dice, 100));
    struct call *call = begin(w, d, &update_room_type, LANE_MAIN);
    request.room_id = call->room_id = room->room_id;
    if (dice_one_in(&w->dice, 2)) request.name = name;
    request.joinable = dice_percent(&w->dice, 70);
    uint32_t history = dice_below(&w->dice, 3);
    if (!record_first_lists_only) request.history = (Ringpost__V1__RoomHistory)history;
    call->history = (int)request.history;
    if (call->history != RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN) oracle_history_begin(w->oracle, room->room_id);
    return go(w, call, &request.base);
}

static bool call_dismiss(struct world *w, struct app *d)
{
    struct known_room *room = some_group(w, d);
    if (room == NULL || !dice_one_in(&w->dice, 4)) return false;
    Ringpost__V1__DismissRoomRequest request = RINGPOST__V1__DISMISS_ROOM_REQUEST__INIT;
    room->ended = true;
    request.room_id = room->room_id;
    return go(w, begin(w, d, &dismiss_room_type, LANE_MAIN), &request.base);
}

static void get_room_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__GetRoomResponse *r = message;
    oracle_saw_room(w->oracle, r->room);
    EXPECT(call->is_member != 0 || !membership_unchanged(w, call), "room %lx shows itself to one who is no member",
           (unsigned long)call->room_id);
    EXPECT(r->room->head_seq >= call->floor, "room %lx went back from %lu to %lu", (unsigned long)call->room_id,
           (unsigned long)call->floor, (unsigned long)r->room->head_seq);
}

CALL_TYPE(get_room, get_room_answered, .refused = member_call_refused);

static bool call_get_room(struct world *w, struct app *d)
{
    Ringpost__V1__GetRoomRequest request = RINGPOST__V1__GET_ROOM_REQUEST__INIT;
    struct call *call = begin(w, d, &get_room_type, LANE_MAIN);
    request.room_id = call->room_id = some_room_id(w, d);
    if (is_known(w, request.room_id)) note_membership(w, call, request.room_id);
    if (is_known(w, request.room_id)) call->floor = oracle_room(w->oracle, request.room_id)->head_seq;
    return go(w, call, &request.base);
}

static void members_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__MembersResponse *r = message;
    EXPECT(r->n_members <= w->profile.room_members_max_ever, "room %lx has %zu members", (unsigned long)call->room_id, r->n_members);
    for (size_t i = 0; i < r->n_members; i++)
        (void)saw_name(w, call, r->members[i]->user_id, r->members[i]->name, lists_are_told(w, call));
    for (size_t i = 1; i < r->n_members; i++)
        EXPECT(r->members[i - 1]->user_id < r->members[i]->user_id, "members of room %lx out of order", (unsigned long)call->room_id);
}

CALL_TYPE(members, members_answered, .refused = member_call_refused);

static bool call_members(struct world *w, struct app *d)
{
    const struct known_room *room = some_group(w, d);
    if (room == NULL) return false;
    Ringpost__V1__MembersRequest request = RINGPOST__V1__MEMBERS_REQUEST__INIT;
    struct call *call = begin(w, d, &members_type, LANE_MAIN);
    note_membership(w, call, room->room_id);
    request.room_id = room->room_id;
    request.limit = dice_below(&w->dice, 5);
    return go(w, call, &request.base);
}

/* ---- presence --------------------------------------------------------------------------------------------------------- */

static void presence_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__PresenceResponse *r = message;
    for (size_t i = 0; i < r->n_presence; i++) {
        (void)saw_name(w, call, r->presence[i]->user_id, r->presence[i]->display_name, true);
        uint32_t user = oracle_user_index(w->oracle, r->presence[i]->user_id);
        if (user == USERS_MAX || call->number == 0) continue; /* a guessed id; or the world was not at rest */
        EXPECT(r->presence[i]->online == person_is_online(w->people, &w->people->persons[user]), "user %u is said to be %s", user,
               r->presence[i]->online ? "here" : "away");
    }
}

CALL_TYPE(presence, presence_answered);

bool calls_presence(struct world *w, struct app *d)
{
    if (d->lanes[LANE_MAIN] != NULL) return false;
    Ringpost__V1__PresenceRequest request = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    struct call *call = begin(w, d, &presence_type, LANE_MAIN);
    call->number = w->comparing;
    for (uint32_t i = 0; i < w->people->person_count; i++) call->user_ids[call->user_count++] = some_user_id(w);
    request.user_ids = call->user_ids;
    request.n_user_ids = call->user_count;
    return go(w, call, &request.base);
}

static void subscribe_answered(struct world *w, struct call *call, const void *message)
{
    const Ringpost__V1__SubscribeResponse *r = message;
    struct app *d = call->device;
    if (!same_link(call)) return;
    d->watches = call->floor == (d->subscribed_twice ? 2 : 1); /* later ones still get pushes of earlier ones */
    if (!d->watches) return;
    for (uint32_t i = 0; i < call->user_count; i++) d->watched[oracle_user_index(w->oracle, call->user_ids[i])] = true;
    for (size_t i = 0; i < r->n_presence; i++) { /* a change may have been pushed, and read, before this answer */
        uint32_t user = oracle_user_index(w->oracle, r->presence[i]->user_id);
        int32_t called = saw_name(w, call, r->presence[i]->user_id, r->presence[i]->display_name, true);
        if (user == USERS_MAX || d->online[user] >= 0) continue;
        d->online[user] = r->presence[i]->online != 0;
        d->called[user] = called;
    }
}

CALL_TYPE(subscribe, subscribe_answered);

static bool subscribe(struct world *w, struct app *d)
{
    Ringpost__V1__SubscribeRequest request = RINGPOST__V1__SUBSCRIBE_REQUEST__INIT;
    struct call *call = begin(w, d, &subscribe_type, LANE_MAIN);
    call->number = d->link->generation;
    call->floor = ++d->subscriptions;
    call->user_count = some_people(w, d, call->user_ids, USERS_MAX);
    request.user_ids = call->user_ids;
    request.n_user_ids = call->user_count;
    uint64_t room_ids[2];
    for (uint32_t n = dice_below(&w->dice, 3); n > 0; n--) {
        const struct known_room *room = some_room(w, d);
        if (room != NULL) room_ids[request.n_room_ids++] = room->room_id;
    }
    request.room_ids = room_ids;
    d->watches = false;
    for (uint32_t i = 0; i < USERS_MAX; i++) {
        d->online[i] = -1;
        d->watched[i] = false;
    }
    return go(w, call, &request.base);
}

/* Or two at once: the second one counts. */
static bool call_subscribe(struct world *w, struct app *d)
{
    if (!app_is_connected(d)) return false;
    bool twice = d->subscriptions == 0 && dice_one_in(&w->dice, 3);
    (void)subscribe(w, d);
    if (!twice || !app_is_connected(d)) return true;
    d->lanes[LANE_MAIN] = NULL;
    d->subscribed_twice = true;
    return subscribe(w, d);
}

/* ---- what no app should ask --------------------------------------------------------------------------------------------- */

static const struct call_type bad_send_type = {.name = "bad send", .method = METHOD_send, .answered = nothing_answered};
static const struct call_type bad_history_type = {.name = "bad history", .method = METHOD_history, .answered = nothing_answered};
static const struct call_type bad_mark_type = {.name = "bad mark_read", .method = METHOD_mark_read, .answered = nothing_answered};
static const struct call_type bad_create_type = {.name = "bad create_room", .method = METHOD_create_room, .answered = nothing_answered};

/* Bytes that are no message, or a field that no value may have. */
static bool call_badly(struct world *w, struct app *d)
{
    static const struct call_type *const types[] = {&bad_send_type, &bad_history_type, &bad_mark_type, &bad_create_type};
    struct call *call = begin(w, d, types[dice_below(&w->dice, COUNT_OF(types))], LANE_MAIN);
    call->must_fail = call->may_be_bad = true;
    if (dice_one_in(&w->dice, 2)) {
        for (uint32_t n = dice_between(&w->dice, 1, 20); n > 0; n--) writer_u8(&call->payload, (uint8_t)(0xff - dice_below(&w->dice, 8)));
        return go(w, call, NULL);
    }
    Ringpost__V1__MarkReadRequest mark = RINGPOST__V1__MARK_READ_REQUEST__INIT; /* room 1 lives on shard 0 and is none */
    Ringpost__V1__HistoryRequest history = RINGPOST__V1__HISTORY_REQUEST__INIT;
    Ringpost__V1__SendRequest send = RINGPOST__V1__SEND_REQUEST__INIT;
    Ringpost__V1__CreateRoomRequest create = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    mark.room_id = history.room_id = send.room_id = 1;
    history.limit = 1000;
    const ProtobufCMessage *message = call->type == &bad_send_type      ? &send.base
                                      : call->type == &bad_history_type ? &history.base
                                      : call->type == &bad_mark_type    ? &mark.base
                                                                        : &create.base;
    return go(w, call, message);
}

/* ---- choosing --------------------------------------------------------------------------------------------------------- */

bool calls_choose(struct world *w, struct app *d)
{
    static const struct {
        uint32_t weight;
        bool (*call)(struct world *, struct app *);
    } choices[] = {{14, call_create},  {14, call_join},   {8, call_leave},   {10, call_invite}, {5, call_remove},
                   {6, call_set_role}, {4, call_update}, {2, call_dismiss}, {14, call_mark_read}, {10, call_history},
                   {6, call_get_room}, {4, call_members}, {3, call_typing}, {4, call_subscribe}, {3, calls_presence},
                   {3, call_user},    {3, call_set_display_name}, {2, call_refresh}, {2, call_badly}, {1, call_logout},  {1, call_revoke},  {2, call_devices}};
    uint32_t total = 0, i = 0;
    for (size_t n = 0; n < COUNT_OF(choices); n++) total += choices[n].weight;
    for (uint32_t at = dice_below(&w->dice, total); at >= choices[i].weight; i++) at -= choices[i].weight;
    return choices[i].call(w, d);
}

/* A method that no device ever calls is an error here: "undeclared". */
#define CALL_IS_THERE(name_, ...) +sizeof name_##_type
_Static_assert(0 METHODS(CALL_IS_THERE) > 0, "every method has a CALL_TYPE");
