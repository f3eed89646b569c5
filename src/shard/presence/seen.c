/* shard/presence/seen.c - the command that remembers when a user and one of their devices were last here. */
#include "shard/presence/seen.h"
#include "shard/account/account.h"
#include "shard/records.h"
#include "shard/request.h"

void seen_note(struct shard *shard, const struct inbox *inbox, struct slice device_id)
{
    struct seen_record record = {.user_id = inbox->entity.key.a, .device_id = device_id};
    struct writer bytes;
    writer_init(&bytes, 0);
    seen_record_write(&bytes, &record);
    shard_propose_internal(shard, COMMAND_SEEN, record.user_id, writer_slice(&bytes));
    writer_deinit(&bytes);
}

void needs_seen(struct needs *needs, const struct command *command)
{
    struct seen_record record = COMMAND_RECORD(seen, command);
    (void)needs_entity(needs, ENTITY_INBOX, record.user_id, 0);
    (void)needs_entity(needs, ENTITY_ACCOUNT, record.user_id, 0);
}

enum error check_seen(struct machine *machine, const struct command *command)
{
    struct seen_record record = COMMAND_RECORD(seen, command);
    return machine_entity(machine, ENTITY_INBOX, record.user_id, 0)->exists ? ERROR_NONE : ERROR_USER_NOT_FOUND;
}

void apply_seen(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct seen_record record = COMMAND_RECORD(seen, command);
    struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, record.user_id, 0));
    struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, record.user_id, 0));
    if (inbox->last_seen_ms < command->time_ms) {
        inbox->last_seen_ms = command->time_ms;
        batch_row(machine->batch, &inbox->entity);
    }
    struct device *device = account_device(account, record.device_id);
    if (device != NULL && device->last_seen_ms < command->time_ms) {
        device->last_seen_ms = command->time_ms;
        account_put_device(account, device, effects);
    }
}
