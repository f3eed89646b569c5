/* tests/shard/engine/replay_test.c - a log read again: batches that end by themselves, and commands that only a newer version knows. */
#include "shard/engine/replay.h"
#include "shard/machine_fixture.h"
#include "storage/fake_store.h"
#include <criterion/criterion.h>

static struct replay replay;
static struct effects effects;
static struct fake_store *store;
static struct writer body;

static void setup(void)
{
    struct machine_options options = fixture_options(0, 1);
    store = fake_store_create(1);
    effects_init(&effects);
    writer_init(&body, 0);
    replay = (struct replay){.store = fake_store_base(store), .effects = &effects, .batch_max = 2};
    cr_assert_eq(machine_create(&replay.machine, &options, NULL), RESULT_OK);
    cr_assert_eq(replay_load(&replay, 0), RESULT_OK);
}

static void teardown(void)
{
    replay_end(&replay);
    machine_destroy(replay.machine);
    effects_deinit(&effects);
    writer_deinit(&body);
    fake_store_destroy(store);
}

TestSuite(replay, .init = setup, .fini = teardown);

static enum result apply(uint64_t index, uint16_t type)
{
    struct commitlog_record record = {.index = index, .type = type, .segment = 0x1f, .offset = 4096, .body = writer_slice(&body)};
    return replay_command(&replay, &record);
}

static void begin_body(void)
{
    writer_reset(&body);
    command_record_write(&body, &(struct command_record){.time_ms = 1700000000000});
}

static enum result start(uint32_t ordinal)
{
    begin_body();
    incarnation_record_write(&body, &(struct incarnation_record){.ordinal = ordinal, .random = 7});
    return apply(ordinal, COMMAND_INCARNATION);
}

Test(replay, a_batch_ends_after_so_many_commands_and_at_the_end)
{
    cr_assert_eq(start(1), RESULT_OK);
    cr_expect_eq(fake_store_applied(store), 0);
    cr_assert_eq(start(2), RESULT_OK);
    cr_expect_eq(fake_store_applied(store), 2);
    cr_assert_eq(start(3), RESULT_OK);
    cr_assert_eq(replay_end_batch(&replay), RESULT_OK);
    cr_expect_eq(fake_store_applied(store), 3);
    cr_assert_eq(replay_end_batch(&replay), RESULT_OK, "nothing to do");
    cr_expect_eq(replay.commands, 3);
    cr_expect_eq(replay.machine->incarnations.newest, 3);
}

/* The log vouches for its bytes: whatever is unknown in it, somebody has written it so. */
Test(replay, a_command_of_a_newer_version_is_refused_with_its_number_and_its_place)
{
    cr_assert_eq(start(1), RESULT_OK);
    begin_body();
    cr_expect_eq(apply(2, 999), RESULT_UNSUPPORTED);
    cr_expect_str_eq(replay.reason, "record 2 of the log (segment 000000000000001f.log, offset 4096) was written by a newer version: it is command "
                                    "999, which this version does not know; go on with the newer version");
    begin_body();
    send_record_write(&body, &(struct send_record){0});
    body.data[command_record_size(&(struct command_record){0})] = send_record_version + 1;
    cr_expect_eq(apply(2, COMMAND_SEND), RESULT_UNSUPPORTED);
    cr_expect_not_null(strstr(replay.reason, "command 20 (SEND) in form 3, of which this version knows up to 2"), "%s", replay.reason);
    body.data[0] = command_record_version + 1;
    cr_expect_eq(apply(2, COMMAND_SEND), RESULT_UNSUPPORTED, "the frame of all commands");
    writer_reset(&body);
    cr_expect_eq(apply(2, COMMAND_SEND), RESULT_CORRUPT, "no command at all");
    cr_expect_eq(replay.machine->applied_index, 1);
    cr_assert_eq(start(2), RESULT_OK, "it can go on with what it knows");
}
