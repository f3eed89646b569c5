/* shard/domain/bounds.c - see bounds.h: a record whose fields have their largest lengths, measured by the record's own size function. */
#include "shard/domain/bounds.h"
#include "api/envelope.h"
#include "api/token.h"
#include "core/check.h"
#include "shard/door/door.h"
#include "shard/engine/records.h"

/* Only the length is looked at. */
static struct slice of_len(uint32_t len) { return (struct slice){.len = len}; }

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

static uint32_t message_bytes(uint32_t body_size_max)
{
    return message_record_size(&(struct message_record){.sender_name = of_len(NAME_SIZE_MAX),
                                                        .client_msg_id = of_len(ENVELOPE_CLIENT_MSG_ID_MAX),
                                                        .body = of_len(body_size_max),
                                                        .properties = of_len(PROPERTIES_SIZE_MAX)});
}

static uint32_t change_bytes(void)
{
    uint32_t snapshot = snapshot_record_size(&(struct snapshot_record){.name = of_len(NAME_SIZE_MAX)});
    return relay_change_record_size(&(struct relay_change_record){.snapshot = of_len(snapshot),
                                                                  .target_name = of_len(NAME_SIZE_MAX),
                                                                  .peer_name = of_len(NAME_SIZE_MAX)});
}

/* Larger bundles are cut to what the log takes; a single entry is not. */
static uint32_t relay_bytes(uint32_t body_size_max)
{
    uint32_t message = relay_message_record_size(&(struct relay_message_record){.message = of_len(message_bytes(body_size_max))});
    uint32_t entry = (uint32_t)sizeof(uint32_t) + larger(message, change_bytes());
    return relay_record_size(&(struct relay_record){.entries = of_len(entry)});
}

static uint32_t send_bytes(uint32_t body_size_max)
{
    return send_record_size(&(struct send_record){.client_msg_id = of_len(ENVELOPE_CLIENT_MSG_ID_MAX),
                                                  .sender_name = of_len(NAME_SIZE_MAX),
                                                  .peer_name = of_len(NAME_SIZE_MAX),
                                                  .body = of_len(body_size_max),
                                                  .properties = of_len(PROPERTIES_SIZE_MAX)});
}

static struct slice people(void)
{
    return of_len(ROOM_GUESTS_MAX * person_record_size(&(struct person_record){.name = of_len(NAME_SIZE_MAX)}));
}

static uint32_t account_bytes(enum command_type type)
{
    struct slice name = of_len(NAME_SIZE_MAX), device_id = of_len(TOKEN_DEVICE_MAX), hash = of_len(TOKEN_HASH_SIZE);
    if (type == COMMAND_USER_CREATE)
        return user_create_record_size(&(struct user_create_record){
            .name = of_len(USER_NAME_SIZE_MAX), .display_name = name, .password_hash = of_len(TOKEN_PASSWORD_HASH_MAX)});
    if (type == COMMAND_DEVICE_PUT)
        return device_put_record_size(&(struct device_put_record){
            .device_id = device_id, .platform = of_len(TOKEN_PLATFORM_MAX), .name = name, .refresh_hash = hash, .frees = device_id});
    if (type == COMMAND_REFRESH)
        return refresh_record_size(&(struct refresh_record){.device_id = device_id, .old_hash = hash, .new_hash = hash});
    if (type == COMMAND_DEVICE_REVOKE) return device_revoke_record_size(&(struct device_revoke_record){.device_id = device_id});
    if (type == COMMAND_REVOCATION_TIME)
        return revocation_time_record_size(&(struct revocation_time_record){.device_id = device_id});
    return seen_record_size(&(struct seen_record){.device_id = device_id});
}

static uint32_t room_bytes(enum command_type type)
{
    struct slice name = of_len(NAME_SIZE_MAX);
    if (type == COMMAND_ROOM_CREATE)
        return room_create_record_size(&(struct room_create_record){
            .name = name, .client_room_id = of_len(CLIENT_ROOM_ID_SIZE_MAX), .owner_name = name, .people = people()});
    if (type == COMMAND_ROOM_UPDATE) return room_update_record_size(&(struct room_update_record){.name = name});
    if (type == COMMAND_MEMBERS_ADD) return members_add_record_size(&(struct members_add_record){.people = people()});
    return members_remove_record_size(&(struct members_remove_record){.people = people()});
}

static uint32_t record_bytes(enum command_type type, uint32_t body_size_max)
{
    switch (type) {
    case COMMAND_RELAY: return relay_bytes(body_size_max);
    case COMMAND_LIMITS: return limits_record_size(&(struct limits_record){0});
    case COMMAND_STREAM_ACK: {
        uint32_t each = acknowledged_record_size(&(struct acknowledged_record){0});
        return stream_ack_record_size(&(struct stream_ack_record){.acks = of_len(STREAM_NEWS_MAX * each)});
    }
    case COMMAND_INCARNATION: return incarnation_record_size(&(struct incarnation_record){0});
    case COMMAND_FOLLOWER_BEGIN: return follower_begin_record_size(&(struct follower_begin_record){.name = of_len(FOLLOWER_NAME_MAX)});
    case COMMAND_FOLLOWER_ACK: return follower_ack_record_size(&(struct follower_ack_record){.name = of_len(FOLLOWER_NAME_MAX)});
    case COMMAND_FOLLOWER_END: return follower_end_record_size(&(struct follower_end_record){.name = of_len(FOLLOWER_NAME_MAX)});
    case COMMAND_USER_CREATE:
    case COMMAND_DEVICE_PUT:
    case COMMAND_REFRESH:
    case COMMAND_DEVICE_REVOKE:
    case COMMAND_REVOCATION_TIME:
    case COMMAND_SEEN: return account_bytes(type);
    case COMMAND_SEND: return send_bytes(body_size_max);
    case COMMAND_READ: return read_record_size(&(struct read_record){0});
    case COMMAND_ROOM_CREATE:
    case COMMAND_ROOM_UPDATE:
    case COMMAND_MEMBERS_ADD:
    case COMMAND_MEMBERS_REMOVE: return room_bytes(type);
    case COMMAND_ROOM_DISMISS: return room_dismiss_record_size(&(struct room_dismiss_record){0});
    case COMMAND_ROLE_SET: return role_set_record_size(&(struct role_set_record){0});
    case COMMAND_MQTT_SESSION: return MQTT_SESSION_SIZE_MAX;
    case COMMAND_RETAINED_CLEAR: return retained_clear_record_size(&(struct retained_clear_record){0});
    }
    ASSERT(!"a command of the table");
    return 0;
}

uint32_t bounds_command(enum command_type type, uint32_t body_size_max)
{
    return command_record_size(&(struct command_record){0}) + record_bytes(type, body_size_max);
}

uint32_t bounds_largest_command(uint32_t body_size_max)
{
#define COMMAND_TYPE(NAME, number, name) COMMAND_##NAME,
    static const enum command_type types[] = {COMMAND_LIST(COMMAND_TYPE)};
#undef COMMAND_TYPE
    uint32_t largest = 0;
    for (size_t i = 0; i < COUNT_OF(types); i++) largest = larger(largest, bounds_command(types[i], body_size_max));
    return largest;
}

#define JSON_FIELDS_SIZE_MAX 1024u /* names and numbers of one event */
#define JSON_ESCAPED_MAX     6u    /* bytes that one byte of a string becomes: \u0001 */

uint32_t bounds_largest_push(uint32_t body_size_max)
{
    uint32_t strings = PROPERTIES_SIZE_MAX + 3 * NAME_SIZE_MAX + ENVELOPE_CLIENT_MSG_ID_MAX;
    return (body_size_max + 2) / 3 * 4 + JSON_ESCAPED_MAX * strings + JSON_FIELDS_SIZE_MAX;
}

#define PAGE_COST_MAX    (512u << 10) /* whatever the connection would take: a page is read without a pause */
#define ANSWER_JSON_SIZE 256u /* of one that is no page */
#define HEAD_JSON_SIZE   80u  /* of a large room that moved; the last page of a sync names each */

static uint64_t page_rest(uint32_t body_size_max, uint32_t rooms_per_user_max)
{
    return bounds_largest_push(body_size_max) + (uint64_t)rooms_per_user_max * HEAD_JSON_SIZE;
}

static uint32_t clamp(uint64_t value, uint64_t max) { return (uint32_t)(value < max ? value : max); }

uint32_t bounds_page_cost(uint32_t span, uint32_t body_size_max, uint32_t rooms_per_user_max)
{
    uint64_t answers = DOOR_IN_FLIGHT_MAX * ANSWER_JSON_SIZE, rest = page_rest(body_size_max, rooms_per_user_max);
    uint64_t each = span > answers ? (span - answers) / DOOR_PAGES_IN_FLIGHT_MAX : 0;
    return each > rest ? clamp(each - rest, PAGE_COST_MAX) : 0;
}

uint32_t bounds_page_span(uint32_t body_size_max, uint32_t rooms_per_user_max)
{
    uint64_t each = page_rest(body_size_max, rooms_per_user_max) + 1;
    return clamp(DOOR_IN_FLIGHT_MAX * ANSWER_JSON_SIZE + DOOR_PAGES_IN_FLIGHT_MAX * each, UINT32_MAX);
}
