/* shard/domain/account/login.c - name and password for a pair of tokens, and the command that lists a device (also used by auth.c).
 * Happy path: name -> user -> account -> argon2id off the worker -> DEVICE_PUT with the hash of a new refresh token -> durable ->
 * access token minted, both answered. An unknown name costs one argon2id too and gets the same answer as a wrong password. */
#include "shard/domain/fields.h"
#include "shard/domain/account/account_internal.h"
#include "shard/domain/account/hashing.h"
#include "shard/domain/bounds.h"
#include "shard/domain/followed.h"
#include "shard/domain/records.h"

#define PASSWORD_SIZE_MAX 256

static const char *wrong_field(const Ringpost__V1__LoginRequest *in)
{
    if (strlen(in->password) > PASSWORD_SIZE_MAX) return "password: must be at most 256 bytes";
    if (!account_device_id_valid(slice_text(in->device_id))) return "device_id: must be 1-64 of A-Z a-z 0-9 _ - .";
    if (!account_platform_valid(slice_text(in->platform))) return "platform: must be 0-16 of A-Z a-z 0-9 _ - .";
    return NULL;
}

static struct entity *name_entity(struct shard *shard, struct request *request, const char *name)
{
    struct account_place place = account_place_of(slice_text(name), request_machine(shard)->options.shard_count);
    return request_entity(shard, request, ENTITY_NAME, place.hash_high, place.hash_low);
}

static void login_on_durable(struct shard *shard, struct request *request, enum error error)
{
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    struct grant *grant = request->state;
    struct account *account = account_of(machine_entity(request_machine(shard), ENTITY_ACCOUNT, grant->refresh.user_id, 0));
    grant_mint_access(shard, grant, account);
    Ringpost__V1__User user;
    account_fill_user(&user, grant->refresh.user_id, account->name, account->display_name);
    Ringpost__V1__LoginResponse response;
    ringpost__v1__login_response__init(&response);
    response.user_id = grant->refresh.user_id;
    response.access_token = (char *)grant->access_token.data;
    response.access_expires_ms = grant->access_expires_ms;
    if (!grant->temporary) {
        response.refresh_token = (char *)grant->refresh_token.data;
        response.refresh_expires_ms = grant->refresh_expires_ms;
    }
    response.user = &user;
    request_reply(shard, request, &response.base);
}

/* Resident since handle_login. */
static struct account *login_account(struct shard *shard, struct request *request, const struct name *name)
{
    return account_of(request_entity(shard, request, ENTITY_ACCOUNT, name->user_id, 0));
}

static void login_on_verified(struct shard *shard, struct request *request, struct password_job *job)
{
    Ringpost__V1__LoginRequest *in = REQUEST_UNPACK(shard, request, LoginRequest);
    struct name_text device_name;
    if (in == NULL || !field_clean_name(shard, request, &device_name, "device_name", in->device_name, false)) return;
    if (job->result != RESULT_OK) {
        request_refuse(shard, request, ERROR_SERVER_BUSY);
        return;
    }
    const struct name *name = name_of(name_entity(shard, request, in->name)); /* pinned since handle_login */
    if (!job->verify || !job->fits) { /* one answer for both, but not one line in the log */
        request_refuse_peer(shard, request, ERROR_WRONG_PASSWORD, NULL, job->verify ? REFUSAL_WRONG_PASSWORD : REFUSAL_UNKNOWN_USER,
                            job->verify ? name->user_id : 0);
        return;
    }
    struct slice frees = SLICE_EMPTY; /* what is looked at is pinned since handle_login, unless the list has become full since */
    if (!in->temporary && !account_find_place(shard, request, login_account(shard, request, name), slice_text(in->device_id), &frees)) return;
    struct token_refresh refresh = {.user_id = name->user_id};
    memcpy(refresh.device_id, in->device_id, strlen(in->device_id) + 1); /* wrong_field() has looked at it */
    struct grant *grant = grant_make(shard, request, &refresh);
    struct device_put_record record = {.user_id = refresh.user_id,
                                       .device_id = slice_text(in->device_id),
                                       .platform = slice_text(in->platform),
                                       .name = name_slice(&device_name),
                                       .temporary = in->temporary != 0,
                                       .frees = frees};
    if (!in->temporary) {
        record.refresh_hash = slice_of(grant->refresh_hash, sizeof grant->refresh_hash);
        record.refresh_expires_ms = grant->refresh_expires_ms;
        record.family = grant->refresh.family;
    }
    grant->temporary = in->temporary != 0;
    REQUEST_PROPOSE_THEN(shard, request, device_put, DEVICE_PUT, &record, login_on_durable);
}

void handle_login(struct shard *shard, struct request *request)
{
    Ringpost__V1__LoginRequest *in = REQUEST_UNPACK(shard, request, LoginRequest);
    if (in == NULL) return;
    const char *wrong = wrong_field(in);
    if (wrong != NULL) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, wrong);
        return;
    }
    struct name_text device_name; /* cleaned before the hash, so that a wrong one costs none */
    if (!field_clean_name(shard, request, &device_name, "device_name", in->device_name, false)) return;
    /* Both entities stay pinned to the end, so that the proposal after the hash finds all it needs and this never runs twice. */
    struct entity *name = name_entity(shard, request, in->name);
    if (name == NULL) return;
    const char *stored_hash = NULL; /* unknown name: making a hash takes as long as trying one */
    if (name->exists) {
        struct entity *account = request_entity(shard, request, ENTITY_ACCOUNT, name_of(name)->user_id, 0);
        struct slice frees;
        if (account == NULL) return;
        bool looks_for_place = account->exists && !in->temporary;
        if (looks_for_place && !account_find_place(shard, request, account_of(account), slice_text(in->device_id), &frees)) return;
        if (account->exists) stored_hash = account_of(account)->password_hash;
    }
    request_hash_password(shard, request, in->password, stored_hash, login_on_verified);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static void needs_device_put(struct needs *needs, const struct command *command)
{
    struct device_put_record record = COMMAND_RECORD(device_put, command);
    (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
    if (record.frees.len == 0) return;
    (void)needs_entity(needs, ENTITY_INBOX, record.user_id, 0);
    (void)needs_entity(needs, ENTITY_WILLS, record.user_id, 0);
}

/* The device that gives its place, if that is needed and it still has one. */
static struct device *device_freed(const struct machine *machine, const struct account *account, const struct device_put_record *record,
                                   uint64_t time_ms)
{
    bool is_full = account_active_count(account, time_ms) >= machine_limit(machine, LIMIT_DEVICES_PER_USER_MAX);
    struct device *device = is_full && record->frees.len > 0 ? account_device(account, record->frees) : NULL;
    return device != NULL && account_device_active(device, time_ms) ? device : NULL;
}

static enum error check_device_put(struct machine *machine, const struct command *command)
{
    struct device_put_record record = COMMAND_RECORD(device_put, command);
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    if (!account->entity.exists) return ERROR_USER_NOT_FOUND;
    const struct device *device = account_device(account, record.device_id);
    if (device != NULL && record.issued_s != 0 && record.issued_s < device->valid_after_s) return ERROR_DEVICE_REVOKED; /* meanwhile */
    if (device != NULL && account_device_active(device, command->time_ms)) return ERROR_NONE;
    if (record.temporary != 0) return ERROR_NONE;
    uint32_t active = account_active_count(account, command->time_ms);
    if (device_freed(machine, account, &record, command->time_ms) != NULL) active--;
    return active < machine_limit(machine, LIMIT_DEVICES_PER_USER_MAX) ? ERROR_NONE : ERROR_TOO_MANY_DEVICES;
}

static void apply_device_put(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct device_put_record record = COMMAND_RECORD(device_put, command);
    struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    struct device *device = account_device(account, record.device_id);
    bool is_listed = device != NULL && account_device_active(device, command->time_ms);
    struct device *freed = is_listed ? NULL : device_freed(machine, account, &record, command->time_ms);
    if (freed != NULL) account_end_device(machine, account, freed, record.device_id, command, effects);
    device = account_add_device(account, record.device_id, command);
    device->temporary = record.temporary != 0 && !is_listed;
    if (device->revoked) device->created_ms = command->time_ms; /* a tombstone logs in again: it is new on the list */
    device->revoked = false;
    device->last_seen_ms = command->time_ms;
    ASSERT(record.platform.len < sizeof device->platform);
    memset(device->platform, 0, sizeof device->platform);
    if (record.platform.len > 0) memcpy(device->platform, record.platform.data, record.platform.len);
    if (record.name.len > 0) account_rename_device(device, record.name);
    if (record.refresh_hash.len > 0) { /* auth.c brings none and leaves the device the one it has */
        ASSERT(record.refresh_hash.len == sizeof device->refresh_hash);
        memcpy(device->refresh_hash, record.refresh_hash.data, sizeof device->refresh_hash);
        device->refresh_expires_ms = record.refresh_expires_ms;
        device->refresh_family = record.family;
        device->refresh_number = 0;
    }
    account_put_device(account, device, effects);
    if (machine->followed && !is_listed) followed_device(machine, FOLLOWED_DEVICE_ADDED, record.user_id, record.device_id, effects);
    account_trim_devices(account, record.device_id, machine_limit(machine, LIMIT_DEVICES_PER_USER_MAX), command->time_ms, effects);
}

COMMAND_SIZE_MAX(device_put, .device_id = slice_of_len(TOKEN_DEVICE_MAX), .platform = slice_of_len(TOKEN_PLATFORM_MAX),
                             .name = slice_of_len(NAME_SIZE_MAX), .refresh_hash = slice_of_len(TOKEN_HASH_SIZE),
                             .frees = slice_of_len(TOKEN_DEVICE_MAX))
COMMAND_ROW(device_put, DEVICE_PUT, .needs = needs_device_put, .check = check_device_put);
