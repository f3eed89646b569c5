/* tests/shard/engine/bounds_test.c - what one shard accepts the others can be told: commands at the limits of their fields, and messages of every
 * size around what the log takes, from one shard to another. */
#include "shard/domain/bounds.h"
#include "shard/domain/records.h"
#include "shard/worker/rules.h"
#include "shard/shard_fixture.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>

static uint8_t filling[2 << 20];
static char name[NAME_SIZE_MAX + 1];
static uint64_t alice, bob; /* on shard 0, where their room is; on shard 1 */

static void setup(void)
{
    rig_begin(2);
    memset(filling, 'x', sizeof filling);
    for (uint32_t i = 0; i < NAME_SIZE_MAX; i += 4) memcpy(name + i, "\xf0\x9f\x98\x80", 4);
}

TestSuite(bounds, .init = setup);

static void open_rig(void)
{
    rig_open();
    alice = rig_add_user(0, name);
    bob = rig_add_user(1, "bob");
    cr_assert_eq(rig_say(alice, bob, "first", "hello"), ERROR_NONE);
}

/* ---- sizes ---- */

/* Written, not only measured. */
Test(bounds, the_largest_relay_is_that_of_a_message_with_every_field_at_its_limit)
{
    struct writer message, relay, entries, command;
    writer_init(&message, 0);
    writer_init(&relay, 0);
    writer_init(&entries, 0);
    writer_init(&command, 0);
    struct message_record record = {.sender_name = slice_of(filling, NAME_SIZE_MAX),
                                    .client_msg_id = slice_of(filling, 64),
                                    .body = slice_of(filling, 32768),
                                    .properties = slice_of(filling, PROPERTIES_SIZE_MAX)};
    message_record_write(&message, &record);
    relay_message_record_write(&relay, &(struct relay_message_record){.message = writer_slice(&message)});
    writer_u32(&entries, (uint32_t)relay.len);
    writer_raw(&entries, relay.data, relay.len);
    command_record_write(&command, &(struct command_record){0});
    relay_record_write(&command, &(struct relay_record){.entries = writer_slice(&entries)});
    cr_expect_eq(bounds_command(COMMAND_RELAY, 32768), command.len);
    cr_expect_eq(bounds_command(COMMAND_SEND, 32768) - bounds_command(COMMAND_RELAY, 32768), NAME_SIZE_MAX - 43,
                 "only the first message between two people is larger when it is accepted than when it is delivered");
    cr_expect_eq(bounds_largest_command(1 << 20), bounds_command(COMMAND_SEND, 1 << 20));
    writer_deinit(&message);
    writer_deinit(&relay);
    writer_deinit(&entries);
    writer_deinit(&command);
}

Test(bounds, a_request_that_names_the_most_people_fits)
{
    struct writer people;
    writer_init(&people, 0);
    for (uint32_t i = 0; i < ROOM_GUESTS_MAX; i++)
        person_record_write(&people, &(struct person_record){.user_id = i, .name = slice_text(name)});
    struct room_create_record create = {.name = slice_text(name),
                                        .client_room_id = slice_of(filling, CLIENT_ROOM_ID_SIZE_MAX),
                                        .owner_name = slice_text(name),
                                        .people = writer_slice(&people)};
    cr_expect_eq(bounds_command(COMMAND_ROOM_CREATE, 1), 17 + room_create_record_size(&create));
    cr_expect_lt(bounds_largest_command(1), 128 << 10, "whatever the body, every command fits the smallest segment");
    writer_deinit(&people);
}

/* ---- options ---- */

static enum result check(const char *body, const char *segment, const char *hard, char *text)
{
    static struct config config;
    char ignored[256];
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, "body-size-max", body, ignored, sizeof ignored), RESULT_OK, "%s", ignored);
    cr_assert_eq(config_set(&config, "segment-size", segment, ignored, sizeof ignored), RESULT_OK, "%s", ignored);
    cr_assert_eq(config_set(&config, "outbound-hard", hard, ignored, sizeof ignored), RESULT_OK, "%s", ignored);
    cr_assert_eq(config_set(&config, "frame-size-max", "2MiB", ignored, sizeof ignored), RESULT_OK, "%s", ignored);
    cr_assert_eq(config_set(&config, "http-body-size-max", "2MiB", ignored, sizeof ignored), RESULT_OK, "%s", ignored);
    cr_assert_eq(config_set(&config, "log-pending-max", "1MiB", ignored, sizeof ignored), RESULT_OK, "%s", ignored);
    text[0] = '\0';
    return rules_check(&config, text, 512);
}

Test(bounds, options_with_which_something_could_not_be_delivered_are_refused)
{
    char text[512];
    cr_expect_eq(check("32KiB", "64MiB", "2MiB", text), RESULT_OK);
    cr_expect_eq(check("1MiB", "64MiB", "4MiB", text), RESULT_OK, "%s", text);
    cr_expect_eq(check("1MiB", "2MiB", "4MiB", text), RESULT_OK, "%s", text);
    cr_expect_eq(check("1MiB", "1MiB", "4MiB", text), RESULT_MALFORMED);
    cr_expect_not_null(strstr(text, "must be at most "), "%s", text);
    char fits[16], larger[16];
    unsigned long value = strtoul(strstr(text, "at most ") + strlen("at most "), NULL, 10);
    snprintf(fits, sizeof fits, "%lu", value);
    snprintf(larger, sizeof larger, "%lu", value + 1);
    cr_expect_eq(check(fits, "1MiB", "4MiB", text), RESULT_OK, "%s", text);
    cr_expect_eq(check(larger, "1MiB", "4MiB", text), RESULT_MALFORMED, "exact");
    cr_expect_eq(check("32KiB", "64MiB", "32KiB", text), RESULT_MALFORMED);
    cr_expect_not_null(strstr(text, "outbound_hard"), "%s", text);
}

/* ---- messages ---- */

static enum error say(uint64_t from, uint64_t to, const char *id, uint32_t body_len, uint32_t properties_len)
{
    Ringpost__V1__Property property = RINGPOST__V1__PROPERTY__INIT, *list = &property;
    Ringpost__V1__Properties properties = RINGPOST__V1__PROPERTIES__INIT;
    static char value[PROPERTIES_SIZE_MAX + 1];
    memset(value, 'v', sizeof value);
    value[properties_len > 8 ? properties_len - 8 : 0] = '\0'; /* what stands around it packed */
    property.name = (char *)"";
    property.value = value;
    properties.user = &list;
    properties.n_user = 1;
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    in.to_user_id = to;
    in.client_msg_id = (char *)(uintptr_t)id;
    in.kind = RINGPOST__V1__MESSAGE_KIND__CUSTOM;
    in.body = (ProtobufCBinaryData){body_len, filling};
    if (properties_len > 0) in.properties = &properties;
    struct actor_record actor = rig_actor(from, "phone");
    return rig_call(&actor, 0, 0, "/v1/chat/send", &in.base);
}

/* The bodies of bob's newest entries, newest last, have these lengths. */
static void check_arrived(const uint32_t *lens, uint32_t count)
{
    struct actor_record actor = rig_actor(bob, "phone");
    uint64_t sync_key = 2; /* the room, "hello" */
    for (uint32_t i = 0; i < count; i++) {
        Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
        in.sync_key = sync_key;
        in.limit = 1;
        cr_assert_eq(rig_call(&actor, 0, 0, "/v1/chat/sync", &in.base), ERROR_NONE);
        Ringpost__V1__SyncResponse *sync = rig_replied(&ringpost__v1__sync_response__descriptor);
        cr_assert_eq(sync->n_events, 1, "message %u of %u did not arrive", i + 1, count);
        cr_expect_eq(sync->events[0]->message->body.len, lens[i]);
        sync_key = sync->sync_key;
        ringpost__v1__sync_response__free_unpacked(sync, NULL);
    }
    cr_expect_eq(stream_waiting(shard_machine(rig.shards[0])->streams), 0);
}

/* Everything else at its limit, so that the last byte of the body is the last byte of the record. */
Test(bounds, every_acknowledged_message_is_delivered, .timeout = 60)
{
    rig.pool_size_bytes = 16 << 20;
    rig.setup.options.body_size_max_bytes = commitlog_body_size_max(1 << 20, 4096) - bounds_command(COMMAND_RELAY, 0);
    open_rig();
    static const uint32_t below[] = {5000, 200, 100, 64, 50, 44, 43, 42, 20, 8, 4, 3, 2, 1, 0};
    uint32_t lens[COUNT_OF(below) * 2], count = 0;
    for (uint32_t i = 0; i < COUNT_OF(below); i++)
        for (uint32_t full = 0; full < 2; full++) {
            char id[65];
            snprintf(id, sizeof id, "%064u", count);
            lens[count] = rig.setup.options.body_size_max_bytes - below[i];
            cr_assert_eq(say(alice, bob, id, lens[count], full != 0 ? PROPERTIES_SIZE_MAX : 0), ERROR_NONE, "%u bytes below", below[i]);
            count++;
        }
    cr_expect_eq(say(alice, bob, "too large", rig.setup.options.body_size_max_bytes + 1, 0), ERROR_BODY_TOO_LARGE);
    check_arrived(lens, count);
    rig_close();
}

/* More than may wait for the disk at one time is written alone. */
Test(bounds, a_command_larger_than_what_may_be_pending_waits_for_the_log_to_be_empty, .timeout = 60)
{
    rig.pool_size_bytes = 16 << 20;
    rig.log_pending_max_bytes = 4096;
    open_rig();
    static const uint32_t lens[] = {10, 4000, 4096, 60000, 1, 65536};
    rig.letters_held = true;
    for (uint32_t i = 0; i < COUNT_OF(lens); i++) {
        char id[2] = {(char)('a' + i), 0};
        cr_assert_eq(say(alice, bob, id, lens[i], 0), ERROR_NONE, "%u", lens[i]);
    }
    rig.letters_held = false;
    rig_pump();
    check_arrived(lens, COUNT_OF(lens));
    rig_close();
}

/* ---- directories of versions that accepted what they could not deliver ---- */

static uint32_t stuck_len; /* a body that fits a SEND and no RELAY with all of it */

/* Sent with segments of 1 MiB and on its way when the process ends. */
static void get_stuck(void)
{
    rig.pool_size_bytes = 16 << 20;
    rig.setup.options.body_size_max_bytes = 1 << 20;
    open_rig();
    rig.letters_held = true;
    stuck_len = commitlog_body_limit(rig.shards[0]->log) - 17 - 47 - NAME_SIZE_MAX - 1 /* client_msg_id */;
    cr_assert_eq(say(alice, bob, "1", stuck_len + 1, 0), ERROR_BODY_TOO_LARGE);
    cr_assert_eq(say(alice, bob, "1", stuck_len, 0), ERROR_NONE);
    for (struct letter *letter; (letter = rig_take_letter()) != NULL;) letter_free(letter);
    for (uint16_t i = 0; i < 2; i++) rig_close_shard(i);
    rig.letters_held = false;
}

/* Its name fits. */
Test(bounds, a_stream_that_was_stuck_goes_on)
{
    get_stuck();
    for (uint16_t i = 0; i < 2; i++) rig_open_shard(i);
    rig_pump();
    cr_assert_eq(say(alice, bob, "2", 5, 0), ERROR_NONE);
    check_arrived((uint32_t[]){stuck_len, 5}, 2);
    rig_close();
}
