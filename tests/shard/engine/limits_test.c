/* tests/shard/engine/limits_test.c - limits change through the log: what was decided under the old ones is decided the same when it is replayed
 * under others, and the new ones hold from then on. */
#include "shard/domain/domain.h"
#include "shard/shard_fixture.h"
#include "shard/engine/limits.h"
#include "shard/domain/records.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void set_old_limits(void)
{
    rig.machine.limits[LIMIT_ROOM_MEMBERS_MAX] = 3;
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 2;
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 5;
    rig.machine.limits[LIMIT_DEVICES_PER_USER_MAX] = 3; /* the phone, too */
    rig.machine.limits[LIMIT_DEDUP_ENTRIES] = 2048;
    rig.machine.limits[LIMIT_REPEAT_WINDOW_MS] = 60000;
    rig.machine.limits[LIMIT_REPEATS_PER_SENDER] = 10;
}

static void set_smaller_limits(void)
{
    rig.machine.limits[LIMIT_ROOM_MEMBERS_MAX] = 2;
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 1;
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 2;
    rig.machine.limits[LIMIT_DEVICES_PER_USER_MAX] = 1;
    rig.machine.limits[LIMIT_DEDUP_ENTRIES] = 1024;
    rig.machine.limits[LIMIT_REPEAT_WINDOW_MS] = 30000;
    rig.machine.limits[LIMIT_REPEATS_PER_SENDER] = 2;
}

static void set_larger_limits(void)
{
    rig.machine.limits[LIMIT_ROOM_MEMBERS_MAX] = 10;
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 9;
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 100;
    rig.machine.limits[LIMIT_DEVICES_PER_USER_MAX] = 9;
    rig.machine.limits[LIMIT_DEDUP_ENTRIES] = 4096;
    rig.machine.limits[LIMIT_REPEAT_WINDOW_MS] = 600000;
    rig.machine.limits[LIMIT_REPEATS_PER_SENDER] = 100;
}

static uint64_t users[4], room_id;

static enum error join(uint32_t user)
{
    Ringpost__V1__JoinRoomRequest in = RINGPOST__V1__JOIN_ROOM_REQUEST__INIT;
    in.room_id = room_id;
    struct actor_record actor = rig_actor(users[user], "phone");
    return rig_call(&actor, 0, 0, "/v1/room/join", &in.base);
}

static enum error come_with(const char *device_id)
{
    Ringpost__V1__AuthRequest in = RINGPOST__V1__AUTH_REQUEST__INIT;
    struct actor_record actor = rig_actor(users[0], device_id);
    return rig_call(&actor, 0, 0, "/v1/account/auth", &in.base);
}

/* Something for each of the limits to decide. */
static void live(void)
{
    static const char *const names[] = {"alice", "bob", "carol", "dave"};
    for (uint32_t i = 0; i < COUNT_OF(users); i++) users[i] = rig_add_user(0, names[i]);
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    char name[] = "room";
    in.name = name;
    in.joinable = true;
    struct actor_record alice = rig_actor(users[0], "phone");
    cr_assert_eq(rig_call(&alice, 0, 0, "/v1/room/create", &in.base), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *made = rig_replied(&ringpost__v1__create_room_response__descriptor);
    room_id = made->room->room_id;
    ringpost__v1__create_room_response__free_unpacked(made, NULL);
    cr_expect_eq(join(1), ERROR_NONE);
    cr_expect_eq(join(2), ERROR_NONE, "which makes the room large");
    cr_expect_eq(join(3), ERROR_ROOM_FULL);
    for (int i = 0; i < 8; i++) {
        char id[2] = {(char)('a' + i), '\0'};
        cr_expect_eq(rig_say(users[0], users[1], id, "hello"), ERROR_NONE);
    }
    cr_expect_eq(come_with("phone"), ERROR_NONE, "who is connected keeps the place");
    cr_expect_eq(come_with("laptop"), ERROR_NONE);
    cr_expect_eq(come_with("tablet"), ERROR_NONE);
    cr_expect_eq(come_with("kiosk"), ERROR_TOO_MANY_DEVICES);
}

static bool digest_row(void *context, struct slice key, struct slice value)
{
    uint64_t *digest = context;
    if (key.data[0] == KEY_INCARNATION) return true; /* every start adds one */
    if (key.data[0] == KEY_META) value.len -= (uint32_t)(4 * sizeof(uint64_t)); /* what counts it */
    if (key.data[0] != KEY_REPEATS) *digest = XXH3_64bits_withSeed(key.data, key.len, *digest); /* else the last index of a batch */
    *digest = XXH3_64bits_withSeed(value.data, value.len, *digest);
    return true;
}

/* The process ends and the store has lost everything: the log alone says what happened. The state right after the replay. */
static uint64_t replay(void)
{
    rig_close_shard(0);
    fake_store_crash_to(rig.stores[0], 0, NULL);
    rig_open_shard(0);
    uint64_t digest = 0;
    cr_assert_eq(store_scan(fake_store_view(rig.stores[0]), SLICE_EMPTY, SLICE_EMPTY, digest_row, &digest), RESULT_OK);
    return digest;
}

static uint32_t member_count(void)
{
    struct entity_key key = {.a = room_id, .kind = ENTITY_ROOM};
    Ringpost__V1__GetRoomRequest in = RINGPOST__V1__GET_ROOM_REQUEST__INIT;
    in.room_id = key.a;
    struct actor_record actor = rig_actor(users[0], "phone");
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/room/get", &in.base), ERROR_NONE);
    Ringpost__V1__GetRoomResponse *found = rig_replied(&ringpost__v1__get_room_response__descriptor);
    uint32_t count = found->room->member_count;
    ringpost__v1__get_room_response__free_unpacked(found, NULL);
    return count;
}

Test(limits, a_replay_under_other_limits_decides_the_same, .fini = rig_close)
{
    rig_begin(1);
    set_old_limits();
    rig_open();
    live();
    uint64_t want = replay();
    cr_expect_eq(replay(), want, "the same limits again");
    set_smaller_limits();
    cr_expect_eq(replay(), want, "smaller ones");
    rig_pump();
    cr_expect_eq(member_count(), 3, "who was let in stays in");
    cr_expect_eq(join(3), ERROR_ROOM_FULL);
    cr_expect_eq(come_with("kiosk"), ERROR_TOO_MANY_DEVICES);
    cr_expect_eq(come_with("laptop"), ERROR_NONE, "who was listed stays listed");
    uint64_t smaller = replay();
    set_larger_limits();
    cr_expect_eq(replay(), smaller, "larger ones");
    rig_pump();
    cr_expect_eq(join(3), ERROR_NONE);
    cr_expect_eq(come_with("kiosk"), ERROR_NONE);
    uint64_t larger = replay();
    set_old_limits();
    cr_expect_eq(replay(), larger, "both changes stand in the log");
}

Test(limits, only_a_change_is_logged, .fini = rig_close)
{
    rig_begin(1);
    set_old_limits();
    rig_open();
    rig_pump();
    cr_expect_eq(commitlog_last_index(shard_log(rig.shards[0])), 2, "a new shard begins with its first start and its limits");
    for (uint32_t i = 1; i <= 2; i++) {
        rig_close_shard(0);
        rig_open_shard(0);
        rig_pump();
        cr_expect_eq(commitlog_last_index(shard_log(rig.shards[0])), 2 + i, "the start alone");
    }
    rig.machine.limits[LIMIT_INBOX_EVENTS_MAX]++;
    rig_close_shard(0);
    rig_open_shard(0);
    rig_pump();
    cr_expect_eq(commitlog_last_index(shard_log(rig.shards[0])), 6);
    cr_expect_eq(shard_machine(rig.shards[0])->options.limits[LIMIT_INBOX_EVENTS_MAX], rig.machine.limits[LIMIT_INBOX_EVENTS_MAX]);
    rig.machine.entities_max++; /* apply does not read it */
    rig_close_shard(0);
    rig_open_shard(0);
    rig_pump();
    cr_expect_eq(commitlog_last_index(shard_log(rig.shards[0])), 7);
}

static void tick(void)
{
    shard_tick(rig.shards[0]);
    rig_pump();
}

/* A start on a full disk owes them; when there is room, the log may have no room for another reason. */
Test(limits, those_that_are_owed_are_tried_again_until_the_log_has_them, .fini = rig_close)
{
    rig_begin(1);
    rig.log_pending_max_bytes = 4096;
    set_old_limits();
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    struct shard *s = rig.shards[0];
    set_larger_limits();
    memcpy(s->options.machine.limits, rig.machine.limits, sizeof rig.machine.limits);
    s->limits_owed = true;
    shard_set_shut(s, true);
    tick();
    cr_expect_eq(machine_limit(s->machine, LIMIT_ROOM_MEMBERS_MAX), 3, "full");
    shard_set_shut(s, false);
    rig.disks_held = true;
    cr_assert_eq(rig_say(alice, bob, "1", "a write under way, and no room beside it"), ERROR_COUNT);
    tick();
    rig.disks_held = false;
    rig_pump();
    cr_expect_eq(machine_limit(s->machine, LIMIT_ROOM_MEMBERS_MAX), 3, "busy");
    tick();
    cr_expect_eq(machine_limit(s->machine, LIMIT_ROOM_MEMBERS_MAX), 10);
    uint64_t last = commitlog_last_index(shard_log(s));
    tick();
    cr_expect_leq(commitlog_last_index(shard_log(s)), last + 1, "a seal, and not the limits again");
}

/* ---- the store's record ---- */

struct load {
    struct store_job job;
    struct machine *machine;
    enum result result;
};

static void load_run(struct store_job *job, struct store_view *view)
{
    struct load *load = CONTAINER_OF(job, struct load, job);
    load->result = limits_load(load->machine, view);
}

Test(limits, what_is_stored_is_in_force_and_foreign_bytes_are_refused)
{
    struct machine_options options = {.domain = ringpost_domain(), .shard_count = 1, .entities_max = 10, .outbox_entries_max = 10,
                                      .timers_resident_max = 4,
                                      .limits = {[LIMIT_ROOM_MEMBERS_MAX] = 1, [LIMIT_FANOUT_THRESHOLD] = 1, [LIMIT_INBOX_EVENTS_MAX] = 16,
                                                 [LIMIT_DEVICES_PER_USER_MAX] = 1, [LIMIT_DEDUP_ENTRIES] = 1024}};
    const uint32_t stored[7] = {[LIMIT_ROOM_MEMBERS_MAX] = 7, [LIMIT_FANOUT_THRESHOLD] = 6, [LIMIT_INBOX_EVENTS_MAX] = 50,
                                [LIMIT_DEVICES_PER_USER_MAX] = 4, [LIMIT_DEDUP_ENTRIES] = 2048, [LIMIT_REPEATS_PER_SENDER] = 9};
    static const struct {
        uint8_t form;
        uint32_t count, cut;
        enum result result;
    } rows[] = {{1, 5, 0, RESULT_OK},      {1, 5, 1, RESULT_CORRUPT}, {2, 7, 0, RESULT_OK},      {2, 7, 1, RESULT_CORRUPT},
                {2, 5, 0, RESULT_CORRUPT}, {1, 7, 0, RESULT_CORRUPT}, {0, 5, 0, RESULT_CORRUPT}, {200, 7, 0, RESULT_CORRUPT}};
    for (uint32_t row = 0; row < COUNT_OF(rows); row++) {
        struct fake_store *store = fake_store_create(1);
        struct writer batch, value, record;
        writer_init(&batch, 0);
        writer_init(&value, 0);
        writer_init(&record, 0);
        writer_u8(&value, rows[row].form);
        for (uint32_t i = 0; i < rows[row].count; i++) writer_u32(&value, stored[i]);
        struct key key = key_make(KEY_LIMITS);
        store_batch_put(&batch, key_slice(&key), slice_of(value.data, value.len - rows[row].cut));
        cr_assert_eq(store_write_now(fake_store_base(store), &batch, 1), RESULT_OK);
        struct load load = {.job = {.run = load_run}};
        cr_assert_eq(machine_create(&load.machine, &options, NULL), RESULT_OK);
        cr_expect(limits_differ(load.machine, &options, &record), "nothing is known yet");
        store_run_now(fake_store_base(store), &load.job);
        cr_expect_eq(load.result, rows[row].result, "row %u", row);
        cr_expect_eq(machine_limit(load.machine, LIMIT_ROOM_MEMBERS_MAX), rows[row].result == RESULT_OK ? 7 : 1);
        if (rows[row].result == RESULT_OK)
            cr_expect_eq(machine_limit(load.machine, LIMIT_REPEATS_PER_SENDER), rows[row].form == 1 ? 0 : 9, "one that came later is 0");
        cr_expect_eq(load.machine->options.entities_max, 10);
        cr_expect(limits_differ(load.machine, &options, &record));
        machine_destroy(load.machine);
        writer_deinit(&batch);
        writer_deinit(&value);
        writer_deinit(&record);
        fake_store_destroy(store);
    }
}

/* A limit of a later version may not be 0; a log of before knows nothing of it. */
Test(limits, a_record_is_held_to_what_it_has)
{
    struct limit_row later = *ringpost_domain()->limits[LIMIT_REPEATS_PER_SENDER];
    struct domain domain = *ringpost_domain();
    later.least = 1;
    domain.limits[LIMIT_REPEATS_PER_SENDER] = &later;
    struct machine_options options = {.domain = &domain, .shard_count = 1, .entities_max = 10, .outbox_entries_max = 10,
                                      .timers_resident_max = 4,
                                      .limits = {[LIMIT_ROOM_MEMBERS_MAX] = 1, [LIMIT_FANOUT_THRESHOLD] = 1, [LIMIT_INBOX_EVENTS_MAX] = 16,
                                                 [LIMIT_DEVICES_PER_USER_MAX] = 1, [LIMIT_DEDUP_ENTRIES] = 1024,
                                                 [LIMIT_REPEATS_PER_SENDER] = 1}};
    struct machine *machine;
    cr_assert_eq(machine_create(&machine, &options, NULL), RESULT_OK);
    struct writer record;
    writer_init(&record, 0);
    writer_u8(&record, 1);
    for (uint32_t i = 0; i < 5; i++) writer_u32(&record, 5000);
    const struct command command = {.type = COMMAND_LIMITS, .body = writer_slice(&record)};
    cr_expect_eq(domain_command(&domain, COMMAND_LIMITS)->check(machine, &command), ERROR_NONE);
    writer_deinit(&record);
    machine_destroy(machine);
}
