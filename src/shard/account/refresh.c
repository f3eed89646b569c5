/* shard/account/refresh.c - a refresh token for a new pair; it works once.
 * The device's row keeps the hash of the one token that is good. Two requests with one token both pass the first look; the second is
 * refused when its command is applied, because the first has changed the hash. */
#include "shard/account/account_internal.h"
#include "shard/records.h"
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

static void refresh_on_durable(struct shard *shard, struct request *request, enum error error)
{
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    struct grant *grant = request->state;
    struct account *account = account_of(machine_entity(request_machine(shard), ENTITY_ACCOUNT, grant->user_id, 0));
    grant_mint_access(shard, grant, account);
    Ringpost__V1__RefreshResponse response;
    ringpost__v1__refresh_response__init(&response);
    response.user_id = grant->user_id;
    response.access_token = (char *)grant->access_token.data;
    response.access_expires_ms = grant->access_expires_ms;
    response.refresh_token = (char *)grant->refresh_token.data;
    response.refresh_expires_ms = grant->refresh_expires_ms;
    request_reply(shard, request, &response.base);
}

static void propose_refresh(struct shard *shard, struct request *request, const struct grant *grant, struct slice old_hash)
{
    struct refresh_record record = {.user_id = grant->user_id,
                                    .device_id = slice_text(grant->device_id),
                                    .old_hash = old_hash,
                                    .new_hash = slice_of(grant->refresh_hash, sizeof grant->refresh_hash),
                                    .refresh_expires_ms = grant->refresh_expires_ms};
    struct writer bytes;
    writer_init(&bytes, 0);
    refresh_record_write(&bytes, &record);
    request_propose_then(shard, request, COMMAND_REFRESH, writer_slice(&bytes), refresh_on_durable);
    writer_deinit(&bytes);
}

void handle_refresh(struct shard *shard, struct request *request)
{
    Ringpost__V1__RefreshRequest *in = REQUEST_UNPACK(shard, request, RefreshRequest);
    if (in == NULL) return;
    uint64_t user_id = 0;
    char device_id[TOKEN_DEVICE_MAX + 1];
    if (token_refresh_parse(slice_text(in->refresh_token), &user_id, device_id) != RESULT_OK) {
        request_refuse(shard, request, ERROR_TOKEN_INVALID);
        return;
    }
    struct entity *account = request_entity(shard, request, ENTITY_ACCOUNT, user_id, 0);
    if (account == NULL) return;

    uint8_t hash[TOKEN_HASH_SIZE];
    token_hash(slice_text(in->refresh_token), hash);
    const struct shard_ports *ports = shard_ports(shard);
    enum error error = refresh_fits(account_of(account), slice_text(device_id), slice_of(hash, sizeof hash),
                                    ports->now_ms(ports->context));
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    propose_refresh(shard, request, grant_make(shard, request, user_id, device_id), slice_of(hash, sizeof hash));
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

void needs_refresh(struct needs *needs, const struct command *command)
{
    struct refresh_record record = COMMAND_RECORD(refresh, command);
    (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
}

enum error check_refresh(struct machine *machine, const struct command *command)
{
    struct refresh_record record = COMMAND_RECORD(refresh, command);
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    return refresh_fits(account, record.device_id, record.old_hash, command->time_ms);
}

void apply_refresh(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct refresh_record record = COMMAND_RECORD(refresh, command);
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    struct device *device = account_device(account, record.device_id);
    ASSERT(device != NULL && record.new_hash.len == sizeof device->refresh_hash);
    memcpy(device->refresh_hash, record.new_hash.data, sizeof device->refresh_hash);
    device->refresh_expires_ms = record.refresh_expires_ms;
    device->last_seen_ms = command->time_ms;
    account_put_device(account, device, effects);
}
