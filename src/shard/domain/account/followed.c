/* shard/domain/account/followed.c - what followers are told of accounts: somebody registered or changed their name, a device came or was logged out.
 * Emitted by register.c, display_name.c, login.c and device.c; written, as the account is now, on the storage thread. A rebuilding tells of all users;
 * devices come and go with every login, and are told only as that happens. */
#include "api/wire.h"
#include "ringpost/v1/operator.fields.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/domain/followed.h"
#include "shard/engine/reading.h"
#include "shard/domain/records.h"

/* ---- apply ---- */

void followed_user(struct machine *machine, enum followed_kind kind, uint64_t user_id, struct effects *effects)
{
    struct followed_user_record record = {.user_id = user_id, .time_ms = machine->time_ms};
    uint32_t len = followed_user_record_size(&record);
    struct writer w = {.data = follower_emit(machine, (uint8_t)kind, len, effects), .capacity = len, .size_max = len};
    followed_user_record_write(&w, &record);
}

void followed_device(struct machine *machine, enum followed_kind kind, uint64_t user_id, struct slice device_id, struct effects *effects)
{
    struct followed_device_record record = {.user_id = user_id, .time_ms = machine->time_ms, .device_id = device_id};
    uint32_t len = followed_device_record_size(&record);
    struct writer w = {.data = follower_emit(machine, (uint8_t)kind, len, effects), .capacity = len, .size_max = len};
    followed_device_record_write(&w, &record);
}

/* ---- users ---- */

static enum result write_user(struct follower_reader *reader, struct slice bytes, struct writer *entry, uint32_t field)
{
    struct followed_user_record record;
    struct cursor c = cursor_of(bytes);
    struct key key;
    struct account_record account = {0};
    bool found = true;
    if (!followed_user_record_read(&record, &c) || !cursor_done(&c)) return RESULT_CORRUPT;
    key = key_one(KEY_ACCOUNT, record.user_id);
    enum result result = reader->bodies ? reading_get(reader->view, &key, &reader->scratch, &found) : RESULT_OK;
    if (result != RESULT_OK) return result;
    c = cursor_of(writer_slice(&reader->scratch));
    if (reader->bodies && found && !account_record_read(&account, &c)) return RESULT_CORRUPT;
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_TIME_MS, record.time_ms);
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_GONE, !found);
    size_t outer = wire_message_begin(entry, field);
    size_t inner = wire_message_begin(entry, FIELD_FOLLOWED_USER_USER);
    wire_write_u64(entry, FIELD_USER_USER_ID, record.user_id);
    wire_write_bytes(entry, FIELD_USER_NAME, account.name);
    wire_write_bytes(entry, FIELD_USER_DISPLAY_NAME, account.display_name);
    wire_nest_end(entry, inner);
    wire_nest_end(entry, outer);
    return RESULT_OK;
}

struct user_scan {
    follower_take *take;
    void *context;
    bool bad;
};

static bool take_account(void *context, struct slice key, struct slice value)
{
    struct user_scan *scan = context;
    struct account_record account;
    struct cursor c = cursor_of(value);
    scan->bad = key.len != 9 || !account_record_read(&account, &c);
    if (scan->bad) return false;
    struct followed_user_record record = {.user_id = key_u64_at(key, 1), .time_ms = account.created_ms};
    uint8_t bytes[FOLLOWER_RECORD_MAX];
    struct writer w = {.data = bytes, .capacity = sizeof bytes, .size_max = sizeof bytes};
    followed_user_record_write(&w, &record);
    return scan->take(scan->context, record.user_id, 0, writer_slice(&w));
}

static enum result scan_users(struct follower_reader *reader, uint64_t a, uint64_t b, follower_take *take, void *context)
{
    (void)b;
    struct user_scan scan = {.take = take, .context = context};
    struct key from = key_one(KEY_ACCOUNT, a + 1), until = key_make(KEY_ACCOUNT + 1);
    enum result result = store_scan(reader->view, key_slice(&from), key_slice(&until), take_account, &scan);
    return result == RESULT_OK && scan.bad ? RESULT_CORRUPT : result;
}

FOLLOWED_ROW(user_created, USER_CREATED, write_user, scan_users);
FOLLOWED_ROW(user_updated, USER_UPDATED, write_user, NULL);

/* ---- devices ---- */

/* One that is revoked is a tombstone, and on nobody's list. */
static bool is_listed(const struct device_record *device) { return device->revoked == 0; }

static void write_listed(struct writer *entry, struct slice device_id, const struct device_record *device)
{
    size_t begin = wire_message_begin(entry, FIELD_FOLLOWED_DEVICE_DEVICE);
    wire_write_bytes(entry, FIELD_DEVICE_DEVICE_ID, device_id);
    wire_write_bytes(entry, FIELD_DEVICE_PLATFORM, device->platform);
    wire_write_bytes(entry, FIELD_DEVICE_NAME, device->name);
    wire_write_u64(entry, FIELD_DEVICE_CREATED_MS, device->created_ms);
    wire_write_u64(entry, FIELD_DEVICE_LAST_SEEN_MS, device->last_seen_ms);
    wire_nest_end(entry, begin);
}

static enum result write_device(struct follower_reader *reader, struct slice bytes, struct writer *entry, uint32_t field)
{
    struct followed_device_record record;
    struct device_record device = {0};
    if (!followed_device_record_is(&record, bytes)) return RESULT_CORRUPT;
    struct key key = key_one(KEY_DEVICE, record.user_id);
    key_add_text(&key, record.device_id);
    bool found = false;
    enum result result = reader->bodies ? reading_get(reader->view, &key, &reader->scratch, &found) : RESULT_OK;
    if (result != RESULT_OK) return result;
    if (found && !device_record_is(&device, writer_slice(&reader->scratch))) return RESULT_CORRUPT;
    wire_write_u64(entry, FIELD_FOLLOWER_ENTRY_TIME_MS, record.time_ms);
    size_t begin = wire_message_begin(entry, field);
    wire_write_u64(entry, FIELD_FOLLOWED_DEVICE_USER_ID, record.user_id);
    wire_write_bytes(entry, FIELD_FOLLOWED_DEVICE_DEVICE_ID, record.device_id);
    if (found && is_listed(&device)) write_listed(entry, record.device_id, &device);
    wire_nest_end(entry, begin);
    return RESULT_OK;
}

FOLLOWED_ROW(device_added, DEVICE_ADDED, write_device, NULL);
FOLLOWED_ROW(device_revoked, DEVICE_REVOKED, write_device, NULL);
