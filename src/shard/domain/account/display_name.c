/* shard/domain/account/display_name.c - somebody wants to be called otherwise.
 * Happy path: USER_RENAME -> durable -> account and inbox have the name, and whoever looks at the user is told. One row is written, however
 * many rooms the user is in: messages keep the name of their sender, and lists look names up when they are read (delivery/names.h). */
#include "shard/domain/account/account_internal.h"
#include "shard/domain/bounds.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/fields.h"
#include "shard/domain/followed.h"
#include "shard/domain/records.h"
#include "shard/engine/memory.h"

static void needs_user_rename(struct needs *needs, const struct command *command)
{
    (void)needs_entity(needs, ENTITY_ACCOUNT, command->actor_id, 0);
    (void)needs_entity(needs, ENTITY_INBOX, command->actor_id, 0);
}

static enum error check_user_rename(struct machine *machine, const struct command *command)
{
    return machine_entity(machine, ENTITY_ACCOUNT, command->actor_id, 0)->exists ? ERROR_NONE : ERROR_USER_NOT_FOUND;
}

static void rename_user(struct machine *machine, struct account *account, struct slice display_name, struct effects *effects)
{
    struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, account->entity.key.a, 0));
    free(account->display_name);
    account->display_name = memory_text(display_name);
    account_put(account, effects);
    inbox_set_names(inbox, slice_text(account->name), display_name);
    push_user(effects, inbox);
    if (machine->followed) followed_user(machine, FOLLOWED_USER_UPDATED, account->entity.key.a, effects);
}

static void apply_user_rename(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, command->actor_id, 0));
    struct slice display_name = COMMAND_RECORD(user_rename, command).display_name;
    if (display_name.len == 0) display_name = slice_text(account->name);
    if (!slice_equal(display_name, slice_text(account->display_name))) rename_user(machine, account, display_name, effects);
}

static void answer_user_rename(struct machine *machine, const struct command *command, struct effects *effects)
{
    const struct account *account = account_of(machine_entity(machine, ENTITY_ACCOUNT, command->actor_id, 0));
    Ringpost__V1__User user;
    account_fill_user(&user, command->actor_id, account->name, account->display_name);
    Ringpost__V1__SetDisplayNameResponse response = RINGPOST__V1__SET_DISPLAY_NAME_RESPONSE__INIT;
    response.user = &user;
    effects_reply(effects, &response.base);
}

COMMAND_SIZE_MAX(user_rename, .display_name = slice_of_len(NAME_SIZE_MAX))
COMMAND_ROW(user_rename, USER_RENAME, .needs = needs_user_rename, .check = check_user_rename, .answer = answer_user_rename);

void handle_set_display_name(struct shard *shard, struct request *request)
{
    Ringpost__V1__SetDisplayNameRequest *in = REQUEST_UNPACK(shard, request, SetDisplayNameRequest);
    struct name_text name;
    if (in == NULL || !field_clean_name(shard, request, &name, "display_name", in->display_name, false)) return;
    struct user_rename_record record = {.display_name = name_slice(&name)};
    REQUEST_PROPOSE(shard, request, user_rename, USER_RENAME, &record);
}
