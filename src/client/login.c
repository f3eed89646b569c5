/* client/login.c - from the server's hello to READY, and a new token before the old one ends.
 * Happy path: the kept access token is good: auth, READY. When it is (nearly) over or was not taken: lock the identity file, look whether
 * another process already brought a newer one, otherwise spend the refresh token, save, unlock, auth.
 * Failure modes: a refused refresh or a second refused auth is REFUSED (log in again). No answer: the connection is given up and the
 * next one tries again. A identity file that cannot be written is survived: the tokens live on in this process. */
#include "client/client_internal.h"
#include "core/check.h"
#include "core/clock.h"
#include <string.h>

#define LOGIN_LOCK_RETRY_MS 100
#define LOGIN_TOKEN_MARGIN_MS 30000 /* a token that ends sooner is replaced before it is used */
#define LOGIN_RENEW_MARGIN_MS 60000 /* an open connection gets its next token so long before the end */
#define LOGIN_RENEW_RETRY_MS 5000

static void login_authenticate(struct client *client);
static void login_begin_refresh(struct client *client, uint64_t now_ns);

static bool login_token_is_fresh(const struct client *client)
{
    return client->identity->access_token[0] != '\0' && client->identity->access_expires_ms > clock_wall_ms() + LOGIN_TOKEN_MARGIN_MS;
}

static bool is_unauthenticated(const Ringpost__V1__Error *error)
{
    return strcmp(error->code, "UNAUTHENTICATED") == 0 || strcmp(error->code, "PERMISSION_DENIED") == 0;
}

/* Neither refused nor done: give this connection up, or, when it still works with the old token, try again in a while. */
static void login_retry(struct client *client, const char *why)
{
    identity_unlock(client->identity);
    client->login_step = LOGIN_IDLE;
    if (client->state != CLIENT_READY)
        client_lose(client, why);
    else
        client->renew_at_ns = after_ms(clock_monotonic_ns(), LOGIN_RENEW_RETRY_MS);
}

/* ---- auth ---- */

static uint64_t login_renew_at(uint64_t expires_ms)
{
    uint64_t wall_ms = clock_wall_ms(), now_ns = clock_monotonic_ns();
    if (expires_ms <= wall_ms) return CLIENT_NEVER; /* our clocks differ: the server will say when it is over */
    uint64_t left_ms = expires_ms - wall_ms;
    uint64_t margin_ms = left_ms / 4 < LOGIN_RENEW_MARGIN_MS ? left_ms / 4 : LOGIN_RENEW_MARGIN_MS;
    return after_ms(now_ns, left_ms - margin_ms);
}

static void login_on_auth(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct client *client = context;
    ASSERT(client->login_step == LOGIN_AUTHENTICATING);
    client->login_step = LOGIN_IDLE;
    if (result != RESULT_OK || (response->error == NULL && response->result_case != RINGPOST__V1__RESPONSE__RESULT_AUTH)) {
        login_retry(client, "the server did not answer the login");
    } else if (response->error == NULL) {
        client->token_refused = client->refresh_tried = false;
        client->renew_at_ns = login_renew_at(response->auth->expires_ms);
        client_stream_on_auth(client, response->auth->sync_key, response->auth->stream_epoch);
        if (client->state != CLIENT_READY) client_become_ready(client);
    } else if (!is_unauthenticated(response->error)) {
        login_retry(client, response->error->message);
    } else if (client->refresh_tried || strcmp(response->error->reason, "other_user") == 0) {
        client_refuse(client, response->error->message);
    } else {
        client->token_refused = true;
        login_begin_refresh(client, clock_monotonic_ns());
    }
}

static void login_authenticate(struct client *client)
{
    Ringpost__V1__AuthRequest auth;
    ringpost__v1__auth_request__init(&auth);
    Ringpost__V1__Request request;
    ringpost__v1__request__init(&request);
    auth.access_token = client->identity->access_token;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_AUTH;
    request.auth = &auth;
    client->login_step = LOGIN_AUTHENTICATING;
    if (client->state != CLIENT_READY) client->state = CLIENT_AUTHENTICATING;
    if (client_calls_add(client, &request, CLIENT_TIMEOUT_MS, true, login_on_auth, client) != RESULT_OK)
        login_retry(client, "too many calls under way");
}

/* ---- refresh ---- */

static void login_on_refresh(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct client *client = context;
    struct identity *identity = client->identity;
    ASSERT(client->login_step == LOGIN_REFRESHING);
    if (result != RESULT_OK || (response->error == NULL && response->result_case != RINGPOST__V1__RESPONSE__RESULT_REFRESH)) {
        login_retry(client, "the server did not answer the renewal of the login");
        return;
    }
    if (response->error != NULL) {
        if (is_unauthenticated(response->error))
            client_refuse(client, response->error->message);
        else
            login_retry(client, response->error->message);
        return;
    }
    const Ringpost__V1__RefreshResponse *fresh = response->refresh;
    enum result res = identity_set_tokens(identity, fresh->access_token, fresh->access_expires_ms, fresh->refresh_token,
                                         fresh->refresh_expires_ms);
    if (res != RESULT_OK) {
        login_retry(client, "the server sent a token that is too long");
        return;
    }
    res = identity_save(identity);
    (void)res; /* see failure modes above */
    identity_unlock(identity);
    client->token_refused = false;
    login_authenticate(client);
}

static void login_refresh(struct client *client)
{
    Ringpost__V1__RefreshRequest refresh;
    ringpost__v1__refresh_request__init(&refresh);
    Ringpost__V1__Request request;
    ringpost__v1__request__init(&request);
    refresh.refresh_token = client->identity->refresh_token;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_REFRESH;
    request.refresh = &refresh;
    client->login_step = LOGIN_REFRESHING;
    client->refresh_tried = true;
    if (client->state != CLIENT_READY) client->state = CLIENT_REFRESHING;
    if (client_calls_add(client, &request, CLIENT_TIMEOUT_MS, true, login_on_refresh, client) != RESULT_OK)
        login_retry(client, "too many calls under way");
}

/* The lock is ours: what does the file say now? */
static void login_with_lock(struct client *client)
{
    struct identity *identity = client->identity;
    uint64_t user_id = identity->user_id;
    char refused[TOKEN_SIZE_MAX + 1];
    memcpy(refused, identity->access_token, sizeof refused);
    enum result res = identity_reload(identity);
    bool is_other_token = strcmp(refused, identity->access_token) != 0;
    explicit_bzero(refused, sizeof refused);
    if (res != RESULT_OK) {
        login_retry(client, "the identity file cannot be read");
    } else if (identity->user_id != user_id) {
        client_refuse(client, "this profile was logged out");
    } else if (login_token_is_fresh(client) && (is_other_token || (!client->token_refused && client->state != CLIENT_READY))) {
        identity_unlock(identity);
        client->token_refused = false;
        login_authenticate(client);
    } else {
        login_refresh(client);
    }
}

static void login_begin_refresh(struct client *client, uint64_t now_ns)
{
    ASSERT(client->login_step == LOGIN_IDLE || client->login_step == LOGIN_LOCKING);
    client->login_step = LOGIN_LOCKING;
    if (client->state != CLIENT_READY) client->state = CLIENT_REFRESHING;
    enum result res = identity_lock(client->identity, false);
    if (res == RESULT_BUSY)
        client->lock_retry_at_ns = after_ms(now_ns, LOGIN_LOCK_RETRY_MS);
    else if (res == RESULT_OK)
        login_with_lock(client);
    else
        login_retry(client, "the identity file cannot be locked");
}

/* ---- called by client.c ---- */

void client_login_start(struct client *client, uint64_t now_ns)
{
    ASSERT(client->login_step == LOGIN_IDLE && client->state == CLIENT_CONNECTING);
    client->renew_at_ns = CLIENT_NEVER;
    if (client->identity == NULL)
        client_become_ready(client);
    else if (login_token_is_fresh(client) && !client->token_refused)
        login_authenticate(client);
    else
        login_begin_refresh(client, now_ns);
}

void client_login_turn(struct client *client, uint64_t now_ns)
{
    if (now_ns < client_login_due_ns(client)) return;
    client->renew_at_ns = CLIENT_NEVER;
    login_begin_refresh(client, now_ns);
}

void client_login_end(struct client *client)
{
    if (client->login_step != LOGIN_IDLE) identity_unlock(client->identity);
    client->login_step = LOGIN_IDLE;
    client->renew_at_ns = CLIENT_NEVER;
    client->refresh_tried = false;
}

uint64_t client_login_due_ns(const struct client *client)
{
    if (client->login_step == LOGIN_LOCKING) return client->lock_retry_at_ns;
    if (client->login_step == LOGIN_IDLE && client->state == CLIENT_READY) return client->renew_at_ns;
    return CLIENT_NEVER;
}
