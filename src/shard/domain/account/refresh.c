/* shard/domain/account/refresh.c - a refresh token for a new pair; each works once.
 * The device's row keeps the hash of the one token that is good, its family (all that descend from one login) and its number there.
 * Two requests with one token both pass the first look; the second finds at its turn that the first has changed the hash.
 *
 * A token that is not good any more but was (its family is the device's, its number lower) is shown again for one of two reasons:
 *   - the answer that brought its successor was lost: if it is the one before the good one, and that is not older than refresh_grace,
 *     it gets the same successor again (which its parts give), and nothing changes
 *   - two have it, and one of them has stolen it: nobody knows which, so the whole family ends: the device is revoked
 * The graces of clocks that step are those of refreshed_ms: a time that is far from now is no reason to be generous. */
#include "shard/domain/bounds.h"
#include "shard/domain/account/account_internal.h"
#include "shard/domain/records.h"
#include "shard/domain/setup.h"
#include <sodium.h>

/* May this hash still be traded? */
static enum error refresh_fits(const struct account *account, struct slice device_id, struct slice hash, uint64_t now_ms)
{
    const struct device *device = account->entity.exists ? account_device(account, device_id) : NULL;
    if (device == NULL || device->revoked || hash.len != TOKEN_HASH_SIZE) return ERROR_TOKEN_INVALID;
    if (sodium_is_zero(device->refresh_hash, sizeof device->refresh_hash)) return ERROR_TOKEN_INVALID;
    if (sodium_memcmp(device->refresh_hash, hash.data, TOKEN_HASH_SIZE) != 0) return ERROR_TOKEN_INVALID;
    return now_ms < device->refresh_expires_ms ? ERROR_NONE : ERROR_TOKEN_EXPIRED;
}

static void refresh_reply(struct shard *shard, struct request *request, struct account *account)
{
    struct grant *grant = request->state;
    grant_mint_access(shard, grant, account);
    Ringpost__V1__RefreshResponse response;
    ringpost__v1__refresh_response__init(&response);
    response.user_id = grant->refresh.user_id;
    response.access_token = (char *)grant->access_token.data;
    response.access_expires_ms = grant->access_expires_ms;
    response.refresh_token = (char *)grant->refresh_token.data;
    response.refresh_expires_ms = grant->refresh_expires_ms;
    request_reply(shard, request, &response.base);
}

static void refuse_token(struct shard *shard, struct request *request, enum error error, const char *detail, uint64_t user_id)
{
    bool peer = error == ERROR_TOKEN_INVALID || error == ERROR_TOKEN_EXPIRED;
    if (peer) request_refuse_peer(shard, request, error, detail, REFUSAL_TOKEN, user_id);
    else request_refuse(shard, request, error);
}

/* ---- a token that was used before -------------------------------------------------------------------------------------- */

enum used { USED_NEVER, USED_ANSWER_LOST, USED_AGAIN };

static enum used used_before(struct shard *shard, const struct account *account, struct slice token)
{
    struct token_refresh shown;
    if (token_refresh_parse(token, &shown) != RESULT_OK) return USED_NEVER;
    const struct device *device = account->entity.exists ? account_device(account, slice_text(shown.device_id)) : NULL;
    if (device == NULL || device->refresh_family == 0 || shown.family != device->refresh_family) return USED_NEVER;
    if (shown.number >= device->refresh_number || !token_refresh_is_ours(shard_token_keys(shard), token)) return USED_NEVER;
    const struct shard_ports *ports = shard_ports(shard);
    uint64_t now_ms = ports->now_ms(ports->context), grace_ms = domain_options(shard)->refresh_grace_ms;
    bool recent = now_ms < device->refreshed_ms + grace_ms && device->refreshed_ms < now_ms + grace_ms;
    return shown.number + 1 == device->refresh_number && recent ? USED_ANSWER_LOST : USED_AGAIN;
}

static void refresh_on_family_ended(struct shard *shard, struct request *request, enum error error)
{
    Ringpost__V1__RefreshRequest *in = REQUEST_UNPACK(shard, request, RefreshRequest);
    if (in == NULL) return;
    struct token_refresh shown;
    bool parsed = token_refresh_parse(slice_text(in->refresh_token), &shown) == RESULT_OK;
    ASSERT(parsed);
    if (error != ERROR_NONE) request_refuse(shard, request, error);
    else refuse_token(shard, request, ERROR_TOKEN_INVALID, "the refresh token was used before: its device is logged out", shown.user_id);
}

/* The same answer as the first time; its access token is new. */
static void refresh_repeat(struct shard *shard, struct request *request, struct account *account, const char *device_id)
{
    const struct device *device = account_device(account, slice_text(device_id));
    struct token_refresh refresh = {
        .user_id = account->entity.key.a, .family = device->refresh_family, .number = device->refresh_number};
    memcpy(refresh.device_id, device->device_id, sizeof refresh.device_id);
    struct grant *grant = grant_make(shard, request, &refresh);
    grant->refresh_expires_ms = device->refresh_expires_ms;
    bool same = sodium_memcmp(grant->refresh_hash, device->refresh_hash, sizeof grant->refresh_hash) == 0;
    if (same) refresh_reply(shard, request, account);
    else refuse_token(shard, request, ERROR_TOKEN_INVALID, NULL, refresh.user_id); /* made with another key */
}

/* `error`: why the token cannot be traded. */
static void refresh_not_good(struct shard *shard, struct request *request, struct account *account, enum error error)
{
    Ringpost__V1__RefreshRequest *in = REQUEST_UNPACK(shard, request, RefreshRequest);
    if (in == NULL) return;
    struct token_refresh shown;
    struct slice token = slice_text(in->refresh_token);
    enum used used = error == ERROR_TOKEN_INVALID ? used_before(shard, account, token) : USED_NEVER;
    bool parsed = token_refresh_parse(token, &shown) == RESULT_OK;
    ASSERT(parsed); /* by handle_refresh() */
    if (used == USED_NEVER) refuse_token(shard, request, error, NULL, account->entity.exists ? shown.user_id : 0);
    else if (used == USED_ANSWER_LOST) refresh_repeat(shard, request, account, shown.device_id);
    else account_propose_revoke(shard, request, shown.user_id, slice_text(shown.device_id), refresh_on_family_ended);
}

/* ---- trading ------------------------------------------------------------------------------------------------------------ */

static void refresh_on_durable(struct shard *shard, struct request *request, enum error error)
{
    const struct grant *grant = request->state;
    struct account *account = account_of(machine_entity(request_machine(shard), ENTITY_ACCOUNT, grant->refresh.user_id, 0));
    if (error == ERROR_NONE) refresh_reply(shard, request, account);
    else refresh_not_good(shard, request, account, error);
}

static void propose_refresh(struct shard *shard, struct request *request, const struct grant *grant, struct slice old_hash)
{
    struct refresh_record record = {.user_id = grant->refresh.user_id,
                                    .device_id = slice_text(grant->refresh.device_id),
                                    .old_hash = old_hash,
                                    .new_hash = slice_of(grant->refresh_hash, sizeof grant->refresh_hash),
                                    .refresh_expires_ms = grant->refresh_expires_ms,
                                    .family = grant->refresh.family,
                                    .number = grant->refresh.number};
    REQUEST_PROPOSE_THEN(shard, request, refresh, REFRESH, &record, refresh_on_durable);
}

/* Account and inbox stay pinned to the end: whatever has to be proposed later finds all it needs. */
void handle_refresh(struct shard *shard, struct request *request)
{
    Ringpost__V1__RefreshRequest *in = REQUEST_UNPACK(shard, request, RefreshRequest);
    if (in == NULL) return;
    struct token_refresh refresh;
    if (token_refresh_parse(slice_text(in->refresh_token), &refresh) != RESULT_OK) {
        refuse_token(shard, request, ERROR_TOKEN_INVALID, NULL, 0);
        return;
    }
    struct entity *entity = request_entity(shard, request, ENTITY_ACCOUNT, refresh.user_id, 0);
    (void)request_entity(shard, request, ENTITY_INBOX, refresh.user_id, 0);
    if (request_waits(request)) return;

    uint8_t hash[TOKEN_HASH_SIZE];
    token_hash(slice_text(in->refresh_token), hash);
    const struct shard_ports *ports = shard_ports(shard);
    struct account *account = account_of(entity);
    enum error error = refresh_fits(account, slice_text(refresh.device_id), slice_of(hash, sizeof hash), ports->now_ms(ports->context));
    if (error != ERROR_NONE) {
        refresh_not_good(shard, request, account, error);
        return;
    }
    const struct device *device = account_device(account, slice_text(refresh.device_id));
    refresh.family = device->refresh_family;
    refresh.number = device->refresh_number + 1;
    propose_refresh(shard, request, grant_make(shard, request, &refresh), slice_of(hash, sizeof hash));
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static void needs_refresh(struct needs *needs, const struct command *command)
{
    struct refresh_record record = COMMAND_RECORD(refresh, command);
    (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
}

static enum error check_refresh(struct machine *machine, const struct command *command)
{
    struct refresh_record record = COMMAND_RECORD(refresh, command);
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    return refresh_fits(account, record.device_id, record.old_hash, command->time_ms);
}

static void apply_refresh(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct refresh_record record = COMMAND_RECORD(refresh, command);
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    struct device *device = account_device(account, record.device_id);
    ASSERT(device != NULL && record.new_hash.len == sizeof device->refresh_hash);
    memcpy(device->refresh_hash, record.new_hash.data, sizeof device->refresh_hash);
    device->refresh_expires_ms = record.refresh_expires_ms;
    device->refresh_family = record.family;
    device->refresh_number = record.number;
    device->refreshed_ms = command->time_ms;
    device->last_seen_ms = command->time_ms;
    account_put_device(account, device, effects);
}

COMMAND_SIZE_MAX(refresh, .device_id = slice_of_len(TOKEN_DEVICE_MAX), .old_hash = slice_of_len(TOKEN_HASH_SIZE),
                          .new_hash = slice_of_len(TOKEN_HASH_SIZE))
COMMAND_ROW(refresh, REFRESH, .needs = needs_refresh, .check = check_refresh);
