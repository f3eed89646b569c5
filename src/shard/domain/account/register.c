/* shard/domain/account/register.c - a new user: name, password hash, account and empty stream, all on the shard of the name.
 * Happy path: the name looks free -> the password is hashed off the worker -> USER_CREATE -> durable -> the id is given out.
 * Two who want one name at the same time both pass the first look; the second is refused when its command is applied. */
#include "shard/domain/fields.h"
#include "shard/domain/account/account_internal.h"
#include "shard/domain/account/hashing.h"
#include "shard/domain/bounds.h"
#include "shard/domain/followed.h"
#include "shard/domain/keys.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"

#define PASSWORD_SIZE_MIN 8
#define PASSWORD_SIZE_MAX 256

static const char *wrong_field(const Ringpost__V1__RegisterRequest *in)
{
    size_t password_size = strlen(in->password);
    if (!account_name_valid(slice_text(in->name))) return "name: must be 1-32 of a-z 0-9 _ - .";
    if (password_size < PASSWORD_SIZE_MIN || password_size > PASSWORD_SIZE_MAX) return "password: must be 8-256 bytes";
    return NULL;
}

static void register_on_hashed(struct shard *shard, struct request *request, struct password_job *job)
{
    Ringpost__V1__RegisterRequest *in = REQUEST_UNPACK(shard, request, RegisterRequest);
    struct name_text display_name;
    if (in == NULL || !field_clean_name(shard, request, &display_name, "display_name", in->display_name, false)) return;
    if (job->result != RESULT_OK) {
        request_refuse(shard, request, ERROR_SERVER_BUSY);
        return;
    }
    struct user_create_record record = {.name = slice_text(in->name),
                                        .display_name = name_slice(&display_name),
                                        .password_hash = slice_text(job->hash)};
    if (record.display_name.len == 0) record.display_name = record.name;
    REQUEST_PROPOSE(shard, request, user_create, USER_CREATE, &record);
}

void handle_register(struct shard *shard, struct request *request)
{
    Ringpost__V1__RegisterRequest *in = REQUEST_UNPACK(shard, request, RegisterRequest);
    if (in == NULL) return;
    const char *wrong = wrong_field(in);
    if (wrong != NULL) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, wrong);
        return;
    }
    struct name_text display_name; /* cleaned before the hash, so that a wrong one costs none */
    if (!field_clean_name(shard, request, &display_name, "display_name", in->display_name, false)) return;
    struct account_place place =
        account_place_of(slice_text(in->name), request_machine(shard)->options.shard_count);
    /* Pinned from here to the end, so that the proposal after the hash finds all it needs and this never runs twice. */
    struct entity *name = request_entity(shard, request, ENTITY_NAME, place.hash_high, place.hash_low);
    if (name == NULL) return;
    if (name->exists) {
        request_refuse(shard, request, ERROR_NAME_TAKEN);
        return;
    }
    request_hash_password(shard, request, in->password, NULL, register_on_hashed);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static struct account_place place_of(const struct machine *machine, const struct user_create_record *record)
{
    return account_place_of(record->name, machine->options.shard_count);
}

static void needs_user_create(struct needs *needs, const struct command *command)
{
    struct user_create_record record = COMMAND_RECORD(user_create, command);
    struct account_place place = place_of(needs->machine, &record);
    (void)needs_entity(needs, ENTITY_NAME, place.hash_high, place.hash_low);
}

static struct name *name_wanted(struct machine *machine, const struct user_create_record *record)
{
    struct account_place place = place_of(machine, record);
    return name_of(machine_entity(machine, ENTITY_NAME, place.hash_high, place.hash_low));
}

static enum error check_user_create(struct machine *machine, const struct command *command)
{
    struct user_create_record record = COMMAND_RECORD(user_create, command);
    return name_wanted(machine, &record)->entity.exists ? ERROR_NAME_TAKEN : ERROR_NONE;
}

static void take_name(struct name *name, uint64_t user_id, struct slice text, struct effects *effects)
{
    ASSERT(!name->entity.exists);
    name->entity.exists = true;
    name->user_id = user_id;
    struct key key = key_two(KEY_NAME, name->entity.key.a, name->entity.key.b);
    struct name_record row = {.user_id = user_id, .name = text};
    EFFECTS_PUT_ROW(effects, &key, name, &row, &name->entity.row_hash);
}

static void apply_user_create(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct user_create_record record = COMMAND_RECORD(user_create, command);
    uint64_t user_id = machine_next_id(machine, ID_USER);
    take_name(name_wanted(machine, &record), user_id, record.name, effects);

    struct entity *fresh = entity_create(machine->entities, (struct entity_key){.kind = ENTITY_ACCOUNT, .a = user_id});
    struct account *account = account_of(fresh);
    account->entity.exists = true;
    account->name = memory_text(record.name);
    account->display_name = memory_text(record.display_name);
    account->password_hash = memory_text(record.password_hash);
    account->created_ms = command->time_ms;
    account_put(account, effects);

    fresh = entity_create(machine->entities, (struct entity_key){.kind = ENTITY_INBOX, .a = user_id});
    struct inbox *inbox = inbox_of(fresh);
    inbox->entity.exists = true;
    inbox_set_names(inbox, record.name, record.display_name);
    batch_row(machine->batch, &inbox->entity);
    if (machine->followed) followed_user(machine, FOLLOWED_USER_CREATED, user_id, effects);
    effects->result = user_id;
}

static void answer_user_create(struct machine *machine, const struct command *command, struct effects *effects)
{
    (void)machine, (void)command;
    Ringpost__V1__RegisterResponse response = RINGPOST__V1__REGISTER_RESPONSE__INIT;
    response.user_id = effects->result;
    effects_reply(effects, &response.base);
}

COMMAND_SIZE_MAX(user_create, .name = slice_of_len(USER_NAME_SIZE_MAX), .display_name = slice_of_len(NAME_SIZE_MAX),
                              .password_hash = slice_of_len(TOKEN_PASSWORD_HASH_MAX))
COMMAND_ROW(user_create, USER_CREATE, .needs = needs_user_create, .check = check_user_create, .answer = answer_user_create);
