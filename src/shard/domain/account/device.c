/* shard/domain/account/device.c - the list of a user's devices, and ending one: by its own logout or from another device.
 * Revoking begins a new generation of the device, so that every token of ours before it is refused; refuses a backend's tokens issued up to
 * that second; forgets the refresh token and ends the device's sessions. */
#include "shard/domain/mqtt/wills.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/bounds.h"
#include "shard/domain/account/account_internal.h"
#include "shard/domain/followed.h"
#include "shard/domain/records.h"
#include "shard/domain/room/view.h"
#include "shard/domain/delivery/session.h"

#define MS_PER_SECOND 1000u

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

static bool is_online(const struct inbox *inbox, const char *device_id)
{
    for (const struct session *s = inbox->sessions; s != NULL; s = s->next)
        if (strcmp(s->device_id, device_id) == 0) return true;
    return false;
}

/* One that takes no place is there while it is connected. */
static bool is_listed(const struct device *device, const struct inbox *inbox, uint64_t now_ms)
{
    if (device->temporary) return !device->revoked && is_online(inbox, device->device_id);
    return account_device_active(device, now_ms);
}

static void fill_device(Ringpost__V1__Device *out, struct device *device, const struct inbox *inbox)
{
    ringpost__v1__device__init(out);
    out->device_id = device->device_id;
    out->platform = device->platform;
    out->name = device->name;
    out->created_ms = device->created_ms;
    out->last_seen_ms = device->last_seen_ms;
    out->online = is_online(inbox, device->device_id);
}

void handle_devices(struct shard *shard, struct request *request)
{
    struct entity *account_entity = request_entity(shard, request, ENTITY_ACCOUNT, request->actor.user_id, 0);
    struct entity *inbox_entity = request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    if (request_waits(request)) return;
    struct account *account = account_of(account_entity);
    if (!account->entity.exists) {
        request_refuse(shard, request, ERROR_USER_NOT_FOUND);
        return;
    }

    const struct shard_ports *ports = shard_ports(shard);
    uint64_t now_ms = ports->now_ms(ports->context);
    const struct inbox *inbox = inbox_of(inbox_entity);
    uint32_t listed_count = 0, count = 0;
    for (uint32_t i = 0; i < account->device_count; i++) listed_count += is_listed(&account->devices[i], inbox, now_ms);
    struct envelope_arena *arena = shard_arena(shard);
    Ringpost__V1__Device *devices = envelope_arena_alloc(arena, listed_count * sizeof *devices);
    Ringpost__V1__Device **list = envelope_arena_alloc(arena, listed_count * sizeof(Ringpost__V1__Device *));
    if (listed_count > 0 && (devices == NULL || list == NULL)) {
        request_refuse(shard, request, ERROR_SERVER_BUSY);
        return;
    }
    for (uint32_t i = 0; i < account->device_count; i++) {
        if (!is_listed(&account->devices[i], inbox, now_ms)) continue;
        fill_device(&devices[count], &account->devices[i], inbox);
        list[count] = &devices[count];
        count++;
    }
    ASSERT(count == listed_count);
    Ringpost__V1__DevicesResponse response;
    ringpost__v1__devices_response__init(&response);
    response.devices = list;
    response.n_devices = count;
    request_reply(shard, request, &response.base);
}

/* ---- logout, revoke_device -------------------------------------------------------------------------------------------- */

void account_propose_revoke(struct shard *shard, struct request *request, uint64_t user_id, struct slice device_id,
                            void (*then)(struct shard *, struct request *, enum error))
{
    struct device_revoke_record record = {.user_id = user_id, .device_id = device_id};
    REQUEST_PROPOSE_THEN(shard, request, device_revoke, DEVICE_REVOKE, &record, then);
}

void handle_logout(struct shard *shard, struct request *request)
{
    account_propose_revoke(shard, request, request->actor.user_id, request->actor.device_id, NULL);
}

void handle_revoke_device(struct shard *shard, struct request *request)
{
    Ringpost__V1__RevokeDeviceRequest *in = REQUEST_UNPACK(shard, request, RevokeDeviceRequest);
    if (in == NULL) return;
    struct entity *account = request_entity(shard, request, ENTITY_ACCOUNT, request->actor.user_id, 0);
    if (account == NULL) return;
    struct slice device_id = slice_text(in->device_id);
    bool is_own = slice_equal(device_id, request->actor.device_id);
    if (!is_own && account_device(account_of(account), device_id) == NULL) {
        request_refuse(shard, request, ERROR_DEVICE_NOT_FOUND);
        return;
    }
    account_propose_revoke(shard, request, request->actor.user_id, device_id, NULL);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static void needs_device_revoke(struct needs *needs, const struct command *command)
{
    struct device_revoke_record record = COMMAND_RECORD(device_revoke, command);
    (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
    (void)needs_entity(needs, ENTITY_INBOX, record.user_id, 0);
    (void)needs_entity(needs, ENTITY_WILLS, record.user_id, 0);
}

static enum error check_device_revoke(struct machine *machine, const struct command *command)
{
    struct device_revoke_record record = COMMAND_RECORD(device_revoke, command);
    return machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0)->exists ? ERROR_NONE : ERROR_USER_NOT_FOUND;
}

static void tell_end(struct machine *machine, struct inbox *inbox, const struct device *device, struct slice for_device_id,
                     struct effects *effects)
{
    struct event_device_record record = {
        .device_id = slice_text(device->device_id), .name = slice_text(device->name), .for_device_id = for_device_id};
    struct event_bytes event = push_event_begin(effects);
    event_pack_device(&effects->bytes, &record);
    push_event_end(effects, &event);
    writer_reset(&effects->scratch);
    writer_u8(&effects->scratch, EVENT_DEVICE);
    event_device_record_write(&effects->scratch, &record);
    struct slice value = writer_slice(&effects->scratch);
    inbox_append(machine, inbox, event, value, state_hash_bytes(value), effects);
}

void account_end_device(struct machine *machine, struct account *account, struct device *device, struct slice for_device_id,
                        const struct command *command, struct effects *effects)
{
    struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, account->entity.key.a, 0));
    if (!device->revoked) tell_end(machine, inbox, device, for_device_id, effects);
    if (machine->followed && !device->revoked)
        followed_device(machine, FOLLOWED_DEVICE_REVOKED, account->entity.key.a, slice_text(device->device_id), effects);
    uint64_t valid_after_s = command->time_ms / MS_PER_SECOND + 1;
    if (device->valid_after_s < valid_after_s) device->valid_after_s = valid_after_s; /* a clock that stepped back opens nothing */
    device->revoked = true;
    device->generation = command->index;
    device->refresh_expires_ms = 0;
    memset(device->refresh_hash, 0, sizeof device->refresh_hash);
    device->refresh_family = 0;
    device->refresh_number = 0;
    account_put_device(account, device, effects);
    wills_drop_device(machine, account->entity.key.a, slice_text(device->device_id), effects);
    push_kick(effects, inbox, slice_text(device->device_id));
}

static void apply_device_revoke(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct device_revoke_record record = COMMAND_RECORD(device_revoke, command);
    struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    struct device *device = account_add_device(account, record.device_id, command);
    account_end_device(machine, account, device, SLICE_EMPTY, command, effects);
    account_trim_devices(account, record.device_id, machine_limit(machine, LIMIT_DEVICES_PER_USER_MAX), command->time_ms, effects);
}

COMMAND_SIZE_MAX(device_revoke, .device_id = slice_of_len(TOKEN_DEVICE_MAX))
COMMAND_ROW(device_revoke, DEVICE_REVOKE, .needs = needs_device_revoke, .check = check_device_revoke);

/* ---- revoked by a clock that was ahead ---------------------------------------------------------------------------------- */

/* Nobody can tell whether a backend's token is from before or after a revocation at a time that is still to come. It is refused, and
 * the revocation is taken for one of now: tokens issued from now on are judged rightly. */
void account_correct_revocation(struct shard *shard, const struct account *account, const struct actor_record *actor)
{
    const struct shard_ports *ports = shard_ports(shard);
    const struct device *device = actor->own == 0 ? account_device(account, actor->device_id) : NULL;
    uint64_t latest_ms = ports->now_ms(ports->context) + shard_limits(shard)->clock_skew_max_ms + MS_PER_SECOND;
    if (device == NULL || device->valid_after_s <= latest_ms / MS_PER_SECOND) return;
    struct revocation_time_record record = {.user_id = actor->user_id, .device_id = actor->device_id};
    struct writer bytes;
    writer_init(&bytes, 0);
    revocation_time_record_write(&bytes, &record);
    shard_propose_internal(shard, COMMAND_REVOCATION_TIME, actor->user_id, writer_slice(&bytes));
    writer_deinit(&bytes);
}

static void needs_revocation_time(struct needs *needs, const struct command *command)
{
    struct revocation_time_record record = COMMAND_RECORD(revocation_time, command);
    (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
}

static enum error check_revocation_time(struct machine *machine, const struct command *command)
{
    struct revocation_time_record record = COMMAND_RECORD(revocation_time, command);
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    return account_device(account, record.device_id) != NULL ? ERROR_NONE : ERROR_DEVICE_NOT_FOUND;
}

static void apply_revocation_time(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct revocation_time_record record = COMMAND_RECORD(revocation_time, command);
    struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    struct device *device = account_device(account, record.device_id);
    uint64_t valid_after_s = command->time_ms / MS_PER_SECOND + 1;
    if (device->valid_after_s <= valid_after_s) return;
    device->valid_after_s = valid_after_s;
    account_put_device(account, device, effects);
}

COMMAND_SIZE_MAX(revocation_time, .device_id = slice_of_len(TOKEN_DEVICE_MAX))
COMMAND_ROW(revocation_time, REVOCATION_TIME, .needs = needs_revocation_time, .check = check_revocation_time);
