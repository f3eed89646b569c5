/* perf/users.c - see the header.
 * Registration is one session with many requests under way: the server hashes passwords on threads of its own, and it is their
 * speed that counts here (start it with --password-ops 1 --password-memory 1MiB). */
#include "perf/users.h"
#include "perf/calls.h"
#include "perf/session.h"
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

#define TOKEN_LIFE_S        1800
#define REGISTERING_MAX     64
#define REGISTER_TIMEOUT_NS (600 * NS_PER_S)
#define NAME_MAX_SIZE       32
#define ACROSS_TRIES_MAX    8
#define PLAIN_ID_FIRST      (1ull << 38) /* ids as long as Ringpost's, and so are the topics */

/* ---- tokens ---- */

void token_mint_init(struct token_mint *mint, const char *data_dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/keys/default", data_dir);
    FILE *file = fopen(path, "rb");
    if (file == NULL) perf_die("%s: %s", path, strerror(errno));
    if (fread(mint->key, 1, TOKEN_KEY_SIZE, file) != TOKEN_KEY_SIZE) perf_die("%s: not a key of 32 bytes", path);
    (void)fclose(file);
    if (sodium_init() < 0) perf_die("libsodium does not start");
}

static size_t put_base64(char *at, size_t room, const void *data, size_t len)
{
    (void)sodium_bin2base64(at, room, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(at);
}

size_t token_mint_write(const struct token_mint *mint, uint64_t user_id, char text[TOKEN_TEXT_MAX])
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"default\"}";
    char claims[160];
    uint8_t signature[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    long long now_s = (long long)time(NULL);
    int claims_len = snprintf(claims, sizeof claims, "{\"sub\":\"%llu\",\"dev\":\"" TOKEN_DEVICE "\",\"plt\":\"bench\",\"iat\":%lld,\"exp\":%lld}",
                              (unsigned long long)user_id, now_s, now_s + TOKEN_LIFE_S);
    size_t len = put_base64(text, TOKEN_TEXT_MAX, header, sizeof header - 1);
    text[len++] = '.';
    len += put_base64(text + len, TOKEN_TEXT_MAX - len, claims, (size_t)claims_len);
    crypto_auth_hmacsha256_init(&state, mint->key, TOKEN_KEY_SIZE);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)text, len);
    crypto_auth_hmacsha256_final(&state, signature);
    text[len++] = '.';
    return len + put_base64(text + len, TOKEN_TEXT_MAX - len, signature, sizeof signature);
}

/* ---- the file of ids ---- */

void users_init(struct users *users, const char *path)
{
    *users = (struct users){.path = path};
    FILE *file = path == NULL ? NULL : fopen(path, "rb");
    if (file == NULL) return;
    (void)fseek(file, 0, SEEK_END);
    users->count = (uint32_t)((size_t)ftell(file) / sizeof *users->ids);
    rewind(file);
    users->ids = perf_alloc(users->count, sizeof *users->ids);
    if (fread(users->ids, sizeof *users->ids, users->count, file) != users->count) perf_die("%s: cannot be read", path);
    (void)fclose(file);
}

void users_deinit(struct users *users)
{
    free(users->ids);
    *users = (struct users){0};
}

static void users_save(const struct users *users)
{
    FILE *file = fopen(users->path, "wb");
    if (file == NULL || fwrite(users->ids, sizeof *users->ids, users->count, file) != users->count || fclose(file) != 0)
        perf_die("%s: %s", users->path, strerror(errno));
}

/* ---- registration ---- */

struct registration {
    struct users *users;
    uint32_t asked, done;
};

static void fill_register(Ringpost__V1__Request *request, Ringpost__V1__RegisterRequest *in, char name[NAME_MAX_SIZE], uint32_t index)
{
    static char password[] = "a benchmark's password";
    *in = (Ringpost__V1__RegisterRequest)RINGPOST__V1__REGISTER_REQUEST__INIT;
    *request = (Ringpost__V1__Request)RINGPOST__V1__REQUEST__INIT;
    snprintf(name, NAME_MAX_SIZE, "bench-%u", index);
    in->name = name;
    in->password = password;
    request->id = index + 1;
    request->method_case = RINGPOST__V1__REQUEST__METHOD_REGISTER;
    request->register_ = in;
}

static void register_next(struct session *session, uint32_t index)
{
    Ringpost__V1__RegisterRequest in;
    Ringpost__V1__Request request;
    char name[NAME_MAX_SIZE];
    fill_register(&request, &in, name, index);
    session->driver->call(session, &request);
}

static void registration_on_answer(struct session *session, const struct answer *answer)
{
    struct registration *registration = session->context;
    uint32_t index = (uint32_t)answer->id - 1;
    struct wire_field field;
    struct slice in = answer->result;
    if (answer->refused && !answer->retryable)
        perf_die("bench-%u cannot be registered: %.*s (the file of users must belong to the data directory)", index,
                 (int)answer->reason.len, (const char *)answer->reason.data);
    if (answer->refused) {
        register_next(session, index);
        return;
    }
    while (wire_next(&in, &field))
        if (field.number == 1) registration->users->ids[index] = field.value;
    registration->done++;
}

static void registration_on_closed(struct session *session, const char *reason)
{
    (void)session;
    perf_die("registration: %s", reason);
}

static const struct session_events registration_events = {.on_answer = registration_on_answer, .on_closed = registration_on_closed};

static bool session_is_ready(void *context)
{
    return ((const struct session *)context)->state == SESSION_READY;
}

static struct session *registration_session(struct loop *loop, uint64_t user_id, struct registration *registration)
{
    struct login login = {.user_id = user_id};
    struct session *session = session_open(loop, &driver_tcp, &login, &registration_events, registration);
    if (!loop_until(loop, session_is_ready, session, 10)) perf_die("registration: no login in 10 s");
    return session;
}

/* Who has not logged in may ask one thing at a time: enough for the very first user. */
static void register_first(struct loop *loop, struct registration *registration)
{
    Ringpost__V1__RegisterRequest in;
    Ringpost__V1__Request request;
    char name[NAME_MAX_SIZE];
    struct session *session = registration_session(loop, 0, registration);
    fill_register(&request, &in, name, 0);
    Ringpost__V1__Response *response = call_wait(session, &request);
    registration->users->ids[0] = response->register_->user_id;
    ringpost__v1__response__free_unpacked(response, NULL);
    session_close(session);
    registration->asked = registration->done = 1;
}

void users_need(struct users *users, struct loop *loop, uint32_t count)
{
    if (users->count >= count) return;
    uint64_t *ids = perf_alloc(count, sizeof *ids);
    if (users->count > 0) memcpy(ids, users->ids, users->count * sizeof *ids);
    free(users->ids);
    users->ids = ids;
    if (loop->broker.plain) {
        for (; users->count < count; users->count++) ids[users->count] = PLAIN_ID_FIRST + users->count;
        return;
    }
    struct registration registration = {.users = users, .asked = users->count, .done = users->count};
    if (registration.done == 0) register_first(loop, &registration);
    struct session *session = registration_session(loop, ids[0], &registration);
    uint64_t deadline = perf_now_ns() + REGISTER_TIMEOUT_NS;
    while (registration.done < count) {
        for (; registration.asked < count && registration.asked - registration.done < REGISTERING_MAX; registration.asked++)
            register_next(session, registration.asked);
        loop_turn(loop, 10 * NS_PER_MS);
        if (perf_now_ns() > deadline) perf_die("registered only %u of %u users", registration.done, count);
    }
    session_close(session);
    loop_turn(loop, 0);
    users->count = count;
    users_save(users);
}

static uint16_t shard_of(uint64_t user_id) { return (uint16_t)(user_id >> 48); }

/* Takes people of one shard as first and of any other as second of a pair; returns how many pairs are whole. */
static uint32_t pair_up(const struct users *users, uint64_t *ids, uint32_t pairs)
{
    uint32_t taken[2] = {0, 0};
    for (uint32_t i = 0; i < users->count; i++) {
        uint32_t side = shard_of(users->ids[i]) != shard_of(users->ids[0]);
        if (taken[side] < pairs) ids[2 * taken[side]++ + side] = users->ids[i];
    }
    return taken[0] < taken[1] ? taken[0] : taken[1];
}

uint64_t *users_across(struct users *users, struct loop *loop, uint32_t pairs)
{
    uint64_t *ids = perf_alloc(2 * pairs, sizeof *ids);
    users_need(users, loop, 2 * pairs);
    for (uint32_t tries = 0; pair_up(users, ids, pairs) < pairs; tries++) {
        if (tries == ACROSS_TRIES_MAX) perf_die("--across 1 needs a server with at least two shards");
        users_need(users, loop, users->count + pairs);
    }
    return ids;
}
