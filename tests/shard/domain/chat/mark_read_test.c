/* tests/shard/domain/chat/mark_read_test.c - the read mark: never back, never past the head, told to all devices of the user
 * alone. */
#include "shard/room_world.h"
#include <criterion/criterion.h>

Test(chat_mark_read, clamps_to_the_head_and_never_goes_back)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false);
    for (int i = 0; i < 5; i++) {
        char client_id[4] = {'m', (char)('0' + i)};
        cr_assert_eq(world_send(&world, ada, room_id, client_id, "hello"), ERROR_NONE);
    }
    world_settle(&world);
    static const struct {
        const char *name;
        uint64_t seq, want;
        bool tells;
    } cases[] = {
        {"forward", 2, 2, true},        {"the same again", 2, 2, false},  {"back", 1, 2, false},
        {"past the head", 99, 5, true}, {"past it again", 100, 5, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t head = world_inbox(&world, bob)->head;
        cr_assert_eq(world_read(&world, bob, room_id, cases[i].seq), ERROR_NONE);
        Ringpost__V1__MarkReadResponse *response = FIXTURE_REPLY(world.shards[0], mark_read_response);
        cr_expect_eq(response->read_seq, cases[i].want, "%s", cases[i].name);
        WORLD_FREE(response);
        cr_expect_eq(world_inbox(&world, bob)->head, head + cases[i].tells, "%s", cases[i].name);
    }
    Ringpost__V1__SyncResponse *sync = world_sync(&world, bob, world_inbox(&world, bob)->head - 1, 10);
    cr_assert_eq(sync->n_events, 1);
    cr_assert_not_null(sync->events[0]->read);
    cr_expect_eq(sync->events[0]->read->room_id, room_id);
    cr_expect_eq(sync->events[0]->read->read_seq, 5);
    WORLD_FREE(sync);
    world_destroy(&world);
}

Test(chat_mark_read, is_for_members)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), eve = world_user(&world, 0, "eve");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, true);
    cr_expect_eq(world_read(&world, eve, room_id, 1), ERROR_ROOM_NOT_FOUND);
    cr_assert_eq(world_join(&world, eve, room_id), ERROR_NONE);
    cr_expect_eq(world_read(&world, eve, room_id, 1), ERROR_NONE);
    cr_assert_eq(world_leave(&world, eve, room_id), ERROR_NONE);
    cr_expect_eq(world_read(&world, eve, room_id, 1), ERROR_ROOM_NOT_FOUND);
    world_destroy(&world);
}
