/* tests/shard/engine/batch_test.c - what one batch leaves in the store: blocks, where they split, and rows that are written once. */
#include "shard/block_world.h"
#include "shard/engine/block.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/timeline.h"

static bool record_size(void *context, uint64_t seq, struct slice record)
{
    (void)seq;
    *(uint32_t *)context = record.len;
    return false;
}

static char *body_of(uint32_t len)
{
    char *body = memory_alloc((size_t)len + 1);
    memset(body, 'x', len);
    return body;
}

/* Bytes that a message takes in a block beside its body; the client ids of send_batch all have one length. */
static uint32_t overhead(struct world *world, uint64_t sender_id, uint64_t room_id)
{
    uint32_t len = 0;
    send_batch(world, sender_id, room_id, 1, "x");
    cr_assert_eq(timeline_down(&world->shards[0]->store.view, room_id, UINT64_MAX, record_size, &len), RESULT_OK);
    return len - 1 + (uint32_t)BLOCK_RECORD_HEAD_SIZE;
}

Test(batch, a_timeline_block_ends_at_its_limit)
{
    static const struct {
        const char *name;
        uint32_t count, share; /* `share` records fill a block exactly, with `more` bytes more each */
        int more;
        uint32_t rows;
    } cases[] = {
        {"one small", 1, 100, 0, 1},        {"two that fill it", 2, 2, 0, 1},      {"two, a byte too many", 2, 2, 1, 2},
        {"one that fills it", 1, 1, 0, 1},  {"one larger than a block", 1, 1, 9, 1}, {"three of those", 3, 1, 9, 3},
        {"a full one and one more", 9, 8, 0, 2}, {"many small", 128, 128, 0, 1},      {"and one more", 129, 128, 0, 2},
        {"many in several", 1000, 64, 0, 16},
    };
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t room_id = world_create_room(&world, ada, NULL, 0, false);
        uint32_t beside = overhead(&world, ada, room_id);
        uint32_t share = BLOCK_SIZE_MAX_BYTES / cases[i].share;
        char *body = body_of(share > beside ? (uint32_t)((int)(share - beside) + cases[i].more) : 1);
        uint32_t before = fixture_count(world.shards[0], KEY_MESSAGE, room_id);
        send_batch(&world, ada, room_id, cases[i].count, body);
        cr_expect_eq(fixture_count(world.shards[0], KEY_MESSAGE, room_id) - before, cases[i].rows, "%s: %u rows", cases[i].name,
                     fixture_count(world.shards[0], KEY_MESSAGE, room_id) - before);
        cr_expect_eq(fixture_messages(world.shards[0], room_id), cases[i].count + 1, "%s", cases[i].name);
        free(body);
    }
    world_destroy(&world);
}

Test(batch, events_of_a_user_are_one_row_until_the_limit)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_INBOX_EVENTS_MAX] = 100000;
    struct world world = world_create(options);
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t rooms[10];
    for (int i = 0; i < 10; i++) rooms[i] = world_create_room(&world, ada, &bob, 1, false);
    uint32_t before = fixture_count(world.shards[0], KEY_EVENT, bob);
    struct fixture *shard = world.shards[0];
    for (uint32_t i = 0; i < 500; i++) {
        char client_id[8];
        snprintf(client_id, sizeof client_id, "%u", i);
        struct send_record record = world_draft(rooms[i % 10], client_id, "x");
        cr_assert_eq(FIXTURE_PROPOSE(shard, i % 2 == 0 ? ada : bob, SEND, send, &record), ERROR_NONE);
    }
    while (shard->first != NULL) cr_assert_eq(fixture_apply(shard), ERROR_NONE);
    fixture_end_batch(shard);
    cr_expect_eq(fixture_count(shard, KEY_EVENT, bob) - before, 1);
    cr_expect_eq(fixture_events(shard, bob, 1), 10 + 500);
    cr_expect_eq(fixture_count(shard, KEY_MESSAGE, rooms[3]), 1);
    world_destroy(&world);
}

/* Whatever is missing between them, in one batch they are two blocks. */
Test(batch, numbers_that_do_not_follow_begin_a_block)
{
    struct world world = world_create(fixture_options(0, 1));
    struct fixture *shard = world.shards[0];
    struct entity *room = fixture_entity(shard, ENTITY_ROOM, id_make(0, ID_ROOM, 77), 0);
    static const uint64_t seqs[] = {3, 4, 5, 9, 10, 20};
    for (size_t i = 0; i < COUNT_OF(seqs); i++)
        memcpy(batch_record(shard->machine->batch, room, seqs[i], 1, 0, &shard->effects), "m", 1);
    fixture_end_batch(shard);
    cr_expect_eq(fixture_count(shard, KEY_MESSAGE, room->key.a), 3);
    cr_expect_eq(fixture_messages(shard, room->key.a), COUNT_OF(seqs));
    struct timeline_reader reader;
    timeline_reader_init(&reader, &shard->store.view);
    struct slice record;
    for (uint64_t seq = 1; seq < 30; seq++) {
        bool there = false;
        for (size_t i = 0; i < COUNT_OF(seqs); i++) there |= seqs[i] == seq;
        cr_expect_eq(timeline_reader_get(&reader, room->key.a, seq, &record), there ? RESULT_OK : RESULT_MISSING, "seq %d", (int)seq);
    }
    timeline_reader_deinit(&reader);
    world_destroy(&world);
}

static uint32_t puts_of(struct slice operations, uint8_t kind)
{
    uint32_t count = 0;
    struct cursor c = cursor_of(operations);
    while (cursor_left(&c) > 0) {
        uint8_t operation = cursor_u8(&c);
        struct slice key = cursor_bytes(&c);
        if (operation == 1) cursor_bytes(&c);
        count += key.data[0] == kind;
    }
    return count;
}

Test(batch, a_row_that_changes_often_is_written_once_and_as_it_is_at_the_end)
{
    struct world world = world_create(fixture_options(0, 1));
    struct fixture *shard = world.shards[0];
    uint64_t ada = world_user(&world, 0, "ada"), guests[5];
    for (int i = 0; i < 5; i++) guests[i] = world_user(&world, 0, "guest");
    uint64_t room_id = world_create_room(&world, ada, guests, 5, true);
    size_t before = shard->journal.len;
    send_batch(&world, ada, room_id, 20, "x");
    struct slice written = slice_of(shard->journal.data + before, shard->journal.len - before);
    cr_expect_eq(puts_of(written, KEY_CONVERSATION), 1, "the mark of the sender");

    /* Leaves and comes back, leaves again: what counts is the end. */
    before = shard->journal.len;
    struct slice people = world_people(guests, 1);
    struct members_remove_record leave = {.room_id = room_id, .people = people};
    struct members_add_record join = {.room_id = room_id, .people = people};
    cr_assert_eq(FIXTURE_PROPOSE(shard, guests[0], MEMBERS_REMOVE, members_remove, &leave), ERROR_NONE);
    cr_assert_eq(fixture_apply(shard), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(shard, guests[0], MEMBERS_ADD, members_add, &join), ERROR_NONE);
    cr_assert_eq(fixture_apply(shard), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(shard, guests[0], MEMBERS_REMOVE, members_remove, &leave), ERROR_NONE);
    cr_assert_eq(fixture_apply(shard), ERROR_NONE);
    fixture_end_batch(shard);
    written = slice_of(shard->journal.data + before, shard->journal.len - before);
    cr_expect_eq(puts_of(written, KEY_CONVERSATION), 1);
    cr_expect_eq(puts_of(written, KEY_ROOM), 1);
    cr_expect_eq(fixture_count(shard, KEY_CONVERSATION, guests[0]), 0, "gone");
    cr_expect_eq(fixture_count(shard, KEY_CONVERSATION, guests[1]), 1);
    world_destroy(&world);
}

/* What is in the open batch is not read back from the store, so it is not dropped. */
Test(batch, entities_of_the_open_batch_stay)
{
    struct machine_options options = fixture_options(0, 1);
    options.entities_max = 1;
    struct world world = world_create(options);
    struct fixture *shard = world.shards[0];
    uint64_t ada = world_user(&world, 0, "ada");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, false);
    for (int i = 1; i <= 3; i++) {
        char client_id[] = {(char)('0' + i), 0};
        struct send_record record = world_draft(room_id, client_id, "x");
        cr_assert_eq(FIXTURE_PROPOSE(shard, ada, SEND, send, &record), ERROR_NONE);
        cr_assert_eq(fixture_apply(shard), ERROR_NONE);
        cr_expect_eq(world_sent(shard).seq, i);
        for (int turn = 0; turn < 16; turn++) entity_table_trim(shard->machine->entities);
    }
    fixture_end_batch(shard);
    cr_expect_eq(fixture_messages(shard, room_id), 3);
    cr_expect_eq(fixture_events(shard, ada, 1), 4);
    world_destroy(&world);
}
