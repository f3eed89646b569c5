/* shard/domain/presence/seen.c - the command that remembers when a user and one of their devices were last here. */
#include "shard/domain/bounds.h"
#include "shard/domain/presence/seen.h"
#include "shard/domain/account/account.h"
#include "shard/domain/records.h"
#include "shard/engine/request.h"

#define SEEN_LOADS_MAX 64 /* accounts that are read at a time so that a device's row can be written */

/* When a crowd leaves at once, reading all its accounts would hold up everybody else, or the stop: users are remembered, devices not. */
static bool seen_device_costs_too_much(struct shard *shard, uint64_t user_id)
{
    if (shard_parked(shard) < SEEN_LOADS_MAX) return false;
    return entity_find(shard_machine(shard)->entities, (struct entity_key){.a = user_id, .kind = ENTITY_ACCOUNT}) == NULL;
}

static bool device_is_here(const struct inbox *inbox, struct slice device_id)
{
    for (const struct session *session = inbox->sessions; session != NULL; session = session->next)
        if (slice_equal(slice_text(session->device_id), device_id)) return true;
    return false;
}

static void seen_note(struct shard *shard, const struct inbox *inbox, struct slice device_id)
{
    struct seen_record record = {.user_id = inbox->entity.key.a, .device_id = device_id};
    if (seen_device_costs_too_much(shard, record.user_id)) record.device_id = SLICE_EMPTY;
    struct writer bytes;
    writer_init(&bytes, 0);
    seen_record_write(&bytes, &record);
    shard_propose_internal(shard, COMMAND_SEEN, record.user_id, writer_slice(&bytes));
    writer_deinit(&bytes);
}

void seen_session_closed(const struct session *session)
{
    struct slice device_id = slice_text(session->device_id);
    if (!device_is_here(session->inbox, device_id)) seen_note(session->shard, session->inbox, device_id);
}

static void needs_seen(struct needs *needs, const struct command *command)
{
    struct seen_record record = COMMAND_RECORD(seen, command);
    (void)needs_entity(needs, ENTITY_INBOX, record.user_id, 0);
    if (record.device_id.len > 0) (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
}

static enum error check_seen(struct machine *machine, const struct command *command)
{
    struct seen_record record = COMMAND_RECORD(seen, command);
    return machine_entity(machine, ENTITY_INBOX, record.user_id, 0)->exists ? ERROR_NONE : ERROR_USER_NOT_FOUND;
}

static void apply_seen(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct seen_record record = COMMAND_RECORD(seen, command);
    struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, record.user_id, 0));
    if (inbox->last_seen_ms != command->time_ms) { /* the newer command is right, also where a clock was ahead before */
        inbox->last_seen_ms = command->time_ms;
        batch_row(machine->batch, &inbox->entity);
    }
    if (record.device_id.len == 0) return;
    struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    struct device *device = account_device(account, record.device_id);
    if (device != NULL && device->last_seen_ms != command->time_ms) {
        device->last_seen_ms = command->time_ms;
        account_put_device(account, device, effects);
    }
}

COMMAND_SIZE_MAX(seen, .device_id = slice_of_len(TOKEN_DEVICE_MAX))
COMMAND_ROW(seen, SEEN, .needs = needs_seen, .check = check_seen);
