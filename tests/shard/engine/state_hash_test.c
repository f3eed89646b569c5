/* tests/shard/engine/state_hash_test.c - the state in one number: what changes it, what does not, and that a machine read from the store goes on from it. */
#include "shard/engine/state_hash.h"
#include "shard/room_world.h"
#include <criterion/criterion.h>

static struct slice text(const char *chars) { return slice_text(chars); }

/* ---- the sums ---- */

Test(state_hash, of_a_record_is_of_its_place_and_its_bytes)
{
    uint64_t a = state_hash_bytes(text("a")), b = state_hash_bytes(text("b")), hash = state_hash_record(KEY_MESSAGE, 7, 8, a);
    cr_expect_eq(state_hash_record(KEY_MESSAGE, 7, 8, a), hash);
    cr_expect_neq(state_hash_record(KEY_EVENT, 7, 8, a), hash);
    cr_expect_neq(state_hash_record(KEY_MESSAGE, 8, 7, a), hash);
    cr_expect_neq(state_hash_record(KEY_MESSAGE, 7, 9, a), hash);
    cr_expect_neq(state_hash_record(KEY_MESSAGE, 7, 8, b), hash);
    cr_expect_neq(hash + state_hash_record(KEY_MESSAGE, 7, 9, b), state_hash_record(KEY_MESSAGE, 7, 8, b) + state_hash_record(KEY_MESSAGE, 7, 9, a),
                  "two that have changed places");
}

/* A field that a message gets anew belongs into its hash. What the sender gave comes as the hash of the content, seq is the record's number. */
Test(state_hash, of_a_message_is_of_all_its_fields)
{
    static const char *const elsewhere[] = {"seq", "client_msg_id", "kind", "body", "properties"};
    const struct message_record zero = {0};
    uint64_t hash = room_message_hash(&zero, 5);
    cr_expect_neq(room_message_hash(&zero, 6), hash);
#define CHANGE_u8(field) changed.field = 1;
#define CHANGE_u64(field) changed.field = 1;
#define CHANGE_bytes(field) changed.field = SLICE_TEXT("x");
#define STEP(version)
#define CHANGED(type, field)                                                                                           \
    do {                                                                                                               \
        struct message_record changed = zero;                                                                          \
        bool is_elsewhere = false;                                                                                     \
        CHANGE_##type(field) for (size_t i = 0; i < COUNT_OF(elsewhere); i++) is_elsewhere |= strcmp(elsewhere[i], #field) == 0; \
        cr_expect(is_elsewhere || room_message_hash(&changed, 5) != hash, #field);                                     \
    } while (0);
    MESSAGE_FIELDS(CHANGED, STEP)
}

Test(state_hash, of_rows_is_of_what_is_there_whatever_was_there_before)
{
    struct effects effects;
    effects_init(&effects);
    struct key key = key_one(KEY_ROOM, 1), other = key_one(KEY_ROOM, 2);
    uint64_t row = 0, second = 0;
    effects_put_row(&effects, &key, text("first"), &row);
    uint64_t one = effects.rows_changed;
    cr_expect_eq(one, state_hash_row(key_slice(&key), text("first")));
    effects_put_row(&effects, &key, text("other"), &row);
    cr_expect_neq(effects.rows_changed, one);
    effects_put_row(&effects, &other, text("first"), &second);
    cr_expect_neq(second, one, "the same value under another key");
    effects_put_row(&effects, &key, text("first"), &row);
    effects_delete_row(&effects, &other, &second);
    cr_expect_eq(effects.rows_changed, one);
    effects_delete_row(&effects, &key, &row);
    cr_expect_eq(effects.rows_changed, 0);
    cr_expect_eq(row, 0);
    effects_put_row(&effects, &key, SLICE_EMPTY, &row);
    cr_expect_neq(effects.rows_changed, 0, "a row that says nothing but that it is there");
    effects_deinit(&effects);
}

/* ---- a machine ---- */

static uint64_t ada, bob, room_id;

/* A room on shard 0 with somebody of each of two shards. */
static struct world talk(void)
{
    struct world world = world_create(fixture_options(0, 2));
    ada = world_user(&world, 0, "ada");
    bob = world_user(&world, 1, "bob");
    room_id = world_create_room(&world, ada, &bob, 1, true);
    cr_assert_eq(world_send(&world, ada, room_id, "1", "hello"), ERROR_NONE);
    world_settle(&world);
    return world;
}

static uint64_t hash_of(const struct world *world, uint16_t shard) { return machine_state_hash(world->shards[shard]->machine); }

Test(state_hash, changes_with_whatever_a_command_changes)
{
    struct world world = talk();
    uint64_t before = hash_of(&world, 0), there = hash_of(&world, 1);
    cr_assert_eq(world_send(&world, ada, room_id, "1", "hello"), ERROR_NONE, "again: nothing comes of it but the log index");
    struct machine *machine = world.shards[0]->machine;
    machine->applied_index--;
    cr_expect_eq(hash_of(&world, 0), before);
    machine->applied_index++;
    before = hash_of(&world, 0);
    cr_assert_eq(world_read(&world, ada, room_id, 1), ERROR_NONE);
    cr_expect_neq(hash_of(&world, 0), before);
    before = hash_of(&world, 0);
    cr_assert_eq(world_send(&world, ada, room_id, "2", "hello again"), ERROR_NONE);
    cr_expect_neq(hash_of(&world, 0), before);
    cr_expect_eq(hash_of(&world, 1), there, "which has not heard of it");
    world_settle(&world);
    cr_expect_neq(hash_of(&world, 1), there);
    world_destroy(&world);
}

/* Each part of what is no row counts by itself. */
Test(state_hash, counts_the_counters_and_the_positions)
{
    struct world world = talk();
    struct machine *machine = world.shards[0]->machine;
    uint64_t *const parts[] = {&machine->applied_index, &machine->hash.rows, &machine->hash.records, &machine->next_sequence[ID_USER],
                               &machine->next_sequence[ID_ROOM], &machine->next_sequence[ID_MESSAGE], &machine->last_id_ms};
    uint64_t hash = machine_state_hash(machine);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        ++*parts[i];
        cr_expect_neq(machine_state_hash(machine), hash, "part %zu", i);
        --*parts[i];
    }
    cr_expect_eq(machine_state_hash(machine), hash);
    stream_mark_applied(machine->streams, 1, stream_applied(machine->streams, 1) + 1, 1);
    cr_expect_neq(machine_state_hash(machine), hash);
    world_destroy(&world);
}

Test(state_hash, goes_on_in_a_machine_that_was_read_from_the_store)
{
    struct world world = talk();
    for (uint16_t shard = 0; shard < 2; shard++) {
        struct fixture *live = world.shards[shard];
        struct machine_options options = fixture_options(shard, 2);
        struct machine *loaded;
        cr_assert_eq(machine_create(&loaded, &options, NULL), RESULT_OK);
        cr_assert_eq(machine_load(loaded, &live->store.view, live->machine->applied_index), RESULT_OK);
        cr_expect_eq(machine_state_hash(loaded), machine_state_hash(live->machine), "shard %u", shard);
        cr_expect_eq(loaded->hash.from, 1);
        machine_destroy(loaded);
    }
    world_destroy(&world);
}

/* Its rows are not counted; what happens to them from now on is. */
Test(state_hash, of_a_directory_of_an_older_version_counts_from_its_first_command_here)
{
    struct world world = talk();
    struct fixture *live = world.shards[0];
    struct key key = key_make(KEY_META);
    struct slice value;
    cr_assert(fixture_get(live, &key, &value));
    struct meta_record meta;
    struct cursor c = cursor_of(value);
    cr_assert(meta_record_read(&meta, &c));
    struct writer older;
    writer_init(&older, 0);
    writer_u8(&older, 1);
    const uint64_t fields[] = {meta.next_user, meta.next_room, meta.next_message, meta.last_id_ms};
    for (size_t i = 0; i < COUNT_OF(fields); i++) writer_u64(&older, fields[i]);
    fixture_put(live, &key, writer_slice(&older));
    writer_deinit(&older);

    struct machine_options options = fixture_options(0, 2);
    struct machine *loaded;
    cr_assert_eq(machine_create(&loaded, &options, NULL), RESULT_OK);
    cr_assert_eq(machine_load(loaded, &live->store.view, 20), RESULT_OK);
    cr_expect_eq(loaded->hash.from, 21);
    cr_expect_eq(loaded->hash.rows, 0);
    cr_expect_eq(loaded->next_sequence[ID_ROOM], meta.next_room);
    machine_destroy(loaded);
    world_destroy(&world);
}
