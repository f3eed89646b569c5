/* shard/domain/account/account.c - one user's account in memory and in the store: the account row and one row per device.
 * A generation of a device begins when it is made and when it is revoked, and is named by the log index of that command, so that none
 * ever comes again, not even after the row was forgotten. A revoked device stays as a tombstone, because its valid_after_s is what
 * refuses the old tokens of a backend; tombstones are few (see ACCOUNT_RECORDS_PER_DEVICE) and the oldest go first. */
#include "shard/domain/account/account_internal.h"
#include "shard/domain/keys.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"
#include <stdio.h>

#define DEVICE_KEY_PREFIX_SIZE (1 + sizeof(uint64_t)) /* kind, user; then the device id */

/* ---- validation ------------------------------------------------------------------------------------------------------- */

static bool is_identifier(struct slice text, uint32_t len_min, uint32_t len_max)
{
    if (text.len < len_min || text.len > len_max) return false;
    for (uint32_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.') return false;
    }
    return true;
}

bool account_device_id_valid(struct slice id) { return is_identifier(id, 1, TOKEN_DEVICE_MAX); }
bool account_platform_valid(struct slice platform) { return is_identifier(platform, 0, TOKEN_PLATFORM_MAX); }

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

struct device *account_device(const struct account *account, struct slice device_id)
{
    for (uint32_t i = 0; i < account->device_count; i++)
        if (slice_equal(slice_text(account->devices[i].device_id), device_id)) return &account->devices[i];
    return NULL;
}

enum error account_admits(const struct account *account, const struct actor_record *actor)
{
    if (!account->entity.exists) return ERROR_USER_NOT_FOUND;
    const struct device *device = account_device(account, actor->device_id);
    bool is_valid = actor->own != 0 ? device != NULL && device->generation == actor->generation
                                    : device == NULL || actor->issued_s >= device->valid_after_s;
    return is_valid ? ERROR_NONE : ERROR_DEVICE_REVOKED;
}

bool account_device_active(const struct device *device, uint64_t time_ms)
{
    bool has_refresh_token = device->refresh_expires_ms != 0; /* a device of an app's backend has none */
    return !device->revoked && !device->temporary && (!has_refresh_token || time_ms < device->refresh_expires_ms);
}

uint32_t account_active_count(const struct account *account, uint64_t time_ms)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < account->device_count; i++) count += account_device_active(&account->devices[i], time_ms);
    return count;
}

static struct device *append_device(struct account *account, struct slice device_id)
{
    ASSERT(device_id.len <= TOKEN_DEVICE_MAX);
    account->devices = memory_resize(account->devices, (account->device_count + 1) * sizeof *account->devices);
    struct device *device = &account->devices[account->device_count++];
    *device = (struct device){0};
    memcpy(device->device_id, device_id.data, device_id.len);
    return device;
}

struct device *account_add_device(struct account *account, struct slice device_id, const struct command *command)
{
    struct device *device = account_device(account, device_id);
    if (device != NULL) return device;
    device = append_device(account, device_id);
    device->name = memory_text(SLICE_EMPTY);
    device->created_ms = command->time_ms;
    device->generation = command->index;
    return device;
}

void account_rename_device(struct device *device, struct slice name)
{
    char *copy = memory_text(name);
    free(device->name);
    device->name = copy;
}

static bool is_temporary(const struct device *device) { return device->temporary && !device->revoked; }

/* Of two inactive devices, both temporary or neither. One that expired needs no tombstone: its access tokens expired before its refresh
 * token did. Tombstones go in the order of the log, whatever its clock said: one that is made by a clock that went back is the newest all
 * the same. Those of an older version have no generation, and go by their time. Never by their places in the list, which loading changes. */
static bool goes_before(const struct device *a, const struct device *b)
{
    if (a->revoked != b->revoked) return b->revoked;
    if (is_temporary(a) && a->last_seen_ms != b->last_seen_ms) return a->last_seen_ms < b->last_seen_ms;
    if (!a->revoked && a->refresh_expires_ms != b->refresh_expires_ms) return a->refresh_expires_ms < b->refresh_expires_ms;
    if (a->generation != b->generation) return a->generation < b->generation;
    if (a->valid_after_s != b->valid_after_s) return a->valid_after_s < b->valid_after_s;
    return strcmp(a->device_id, b->device_id) < 0;
}

static struct device *first_to_go(const struct account *account, bool temporary, struct slice kept_id, uint64_t time_ms)
{
    struct device *first = NULL;
    for (uint32_t i = 0; i < account->device_count; i++) {
        struct device *device = &account->devices[i];
        if (is_temporary(device) != temporary || account_device_active(device, time_ms)) continue;
        if (slice_equal(slice_text(device->device_id), kept_id)) continue;
        if (first == NULL || goes_before(device, first)) first = device;
    }
    return first;
}

static struct key device_key(const struct account *account, const struct device *device)
{
    struct key key = key_one(KEY_DEVICE, account->entity.key.a);
    key_add_text(&key, slice_text(device->device_id));
    return key;
}

static void forget_device(struct account *account, struct device *device, struct effects *effects)
{
    struct key key = device_key(account, device);
    effects_delete_row(effects, &key, &device->row_hash);
    free(device->name);
    struct device *last = &account->devices[--account->device_count];
    memmove(device, device + 1, (size_t)((char *)last - (char *)device)); /* order kept: it is the order of the list */
}

static void trim_kind(struct account *account, bool temporary, struct slice kept_id, uint64_t records_max, uint64_t time_ms,
                      struct effects *effects)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < account->device_count; i++) count += is_temporary(&account->devices[i]) == temporary;
    for (; count > records_max; count--) {
        struct device *first = first_to_go(account, temporary, kept_id, time_ms);
        if (first == NULL) return; /* the limit was lowered below what is in use */
        forget_device(account, first, effects);
    }
}

void account_trim_devices(struct account *account, struct slice kept_id, uint32_t devices_max, uint64_t time_ms, struct effects *effects)
{
    uint64_t records_max = (uint64_t)devices_max * ACCOUNT_RECORDS_PER_DEVICE;
    if (account->device_count <= records_max) return;
    trim_kind(account, true, kept_id, records_max, time_ms, effects);
    trim_kind(account, false, kept_id, records_max, time_ms, effects);
}

/* ---- the store -------------------------------------------------------------------------------------------------------- */

void account_put(struct account *account, struct effects *effects)
{
    struct key key = key_one(KEY_ACCOUNT, account->entity.key.a);
    struct account_record record = {.name = slice_text(account->name),
                                    .display_name = slice_text(account->display_name),
                                    .password_hash = slice_text(account->password_hash),
                                    .created_ms = account->created_ms};
    EFFECTS_PUT_ROW(effects, &key, account, &record, &account->entity.row_hash);
}

void account_put_device(const struct account *account, struct device *device, struct effects *effects)
{
    struct key key = device_key(account, device);
    struct device_record record = {.platform = slice_text(device->platform),
                                   .name = slice_text(device->name),
                                   .created_ms = device->created_ms,
                                   .last_seen_ms = device->last_seen_ms,
                                   .valid_after_s = device->valid_after_s,
                                   .revoked = device->revoked ? 1 : 0,
                                   .temporary = device->temporary,
                                   .refresh_hash = slice_of(device->refresh_hash, sizeof device->refresh_hash),
                                   .refresh_expires_ms = device->refresh_expires_ms,
                                   .generation = device->generation,
                                   .family = device->refresh_family,
                                   .refresh_number = device->refresh_number,
                                   .refreshed_ms = device->refreshed_ms};
    EFFECTS_PUT_ROW(effects, &key, device, &record, &device->row_hash);
}

static bool account_read(struct entity *fresh, struct slice value)
{
    struct account *account = account_of(fresh);
    struct account_record record;
    if (!account_record_is(&record, value)) return false;
    account->name = memory_text(record.name);
    account->display_name = memory_text(record.display_name);
    account->password_hash = memory_text(record.password_hash);
    account->created_ms = record.created_ms;
    return true;
}

struct device_scan {
    struct account *account;
    bool corrupt;
};

static bool load_device(void *context, struct slice key, struct slice value)
{
    struct device_scan *scan = context;
    struct device_record record;
    struct cursor cursor = cursor_of(value);
    scan->corrupt = !device_record_read(&record, &cursor) || !cursor_done(&cursor) || key.len <= DEVICE_KEY_PREFIX_SIZE ||
                    key.len > DEVICE_KEY_PREFIX_SIZE + TOKEN_DEVICE_MAX || record.platform.len > TOKEN_PLATFORM_MAX ||
                    record.refresh_hash.len != TOKEN_HASH_SIZE;
    if (scan->corrupt) return false;
    struct slice device_id = slice_of(key.data + DEVICE_KEY_PREFIX_SIZE, key.len - DEVICE_KEY_PREFIX_SIZE);
    struct device *device = append_device(scan->account, device_id);
    if (record.platform.len > 0) memcpy(device->platform, record.platform.data, record.platform.len);
    memcpy(device->refresh_hash, record.refresh_hash.data, TOKEN_HASH_SIZE);
    device->name = memory_text(record.name);
    device->created_ms = record.created_ms;
    device->last_seen_ms = record.last_seen_ms;
    device->valid_after_s = record.valid_after_s;
    device->refresh_expires_ms = record.refresh_expires_ms;
    device->revoked = record.revoked != 0;
    device->temporary = record.temporary != 0;
    device->generation = record.generation;
    device->refresh_family = record.family;
    device->refresh_number = record.refresh_number;
    device->refreshed_ms = record.refreshed_ms;
    device->row_hash = state_hash_row(key, value);
    return true;
}

static enum result account_load(struct entity *fresh, struct store_view *view)
{
    struct account *account = account_of(fresh);
    struct key from = key_one(KEY_DEVICE, account->entity.key.a), until = key_after(KEY_DEVICE, account->entity.key.a);
    struct device_scan scan = {.account = account};
    enum result res = store_scan(view, key_slice(&from), key_slice(&until), load_device, &scan);
    return res == RESULT_OK && scan.corrupt ? RESULT_CORRUPT : res;
}

static void account_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    struct account *account = account_of(entity);
    for (uint32_t i = 0; i < account->device_count; i++) free(account->devices[i].name);
    free(account->devices);
    free(account->name);
    free(account->display_name);
    free(account->password_hash);
}

const struct entity_type account_type = {.kind = ENTITY_ACCOUNT,
                                         .name = "account",
                                         .size_bytes = sizeof(struct account),
                                         .rare = true,
                                         .row_key = KEY_ACCOUNT,
                                         .read = account_read,
                                         .load = account_load,
                                         .drop = account_drop};

void account_fill_user(Ringpost__V1__User *out, uint64_t user_id, char *name, char *display_name)
{
    ringpost__v1__user__init(out);
    out->user_id = user_id;
    out->name = name;
    out->display_name = display_name;
}
