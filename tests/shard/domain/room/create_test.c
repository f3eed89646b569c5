/* tests/shard/domain/room/create_test.c - making a group: everybody is told once, and a repeat makes no second room. */
#include "shard/room_world.h"
#include <criterion/criterion.h>

static struct room_create_record draft(const char *client_id, const char *name, struct slice people)
{
    return (struct room_create_record){.name = slice_text(name),
                                       .client_room_id = slice_text(client_id),
                                       .owner_name = SLICE_TEXT("ada"),
                                       .people = people};
}

Test(room_create, each_first_member_is_told_once_of_the_whole_room)
{
    struct world world = world_create(fixture_options(0, 3));
    uint64_t users[9];
    for (uint16_t i = 0; i < 9; i++) users[i] = world_user(&world, i % 3, "somebody");
    uint64_t room_id = world_create_room(&world, users[0], users + 1, 8, false);
    cr_expect_eq(stream_waiting(world.shards[0]->machine->streams), 6, "one relay for each of the six elsewhere");
    world_settle(&world);
    for (int i = 0; i < 9; i++) {
        Ringpost__V1__SyncResponse *sync = world_sync(&world, users[i], 0, 10);
        cr_assert_eq(sync->n_events, 1, "user %d", i);
        const Ringpost__V1__RoomChange *change = sync->events[0]->room;
        cr_expect_eq(change->change, RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED);
        cr_expect_eq(change->target_id, users[i]);
        cr_expect_eq(change->actor_id, users[0]);
        cr_expect_eq(change->role, i == 0 ? RINGPOST__V1__ROLE__OWNER : RINGPOST__V1__ROLE__MEMBER);
        cr_expect_eq(change->room->room_id, room_id);
        cr_expect_eq(change->room->member_count, 9);
        cr_expect_eq(world_inbox(&world, users[i])->room_count, 1);
        WORLD_FREE(sync);
    }
    for (uint16_t i = 0; i < 3; i++) cr_expect_eq(fixture_count(world.shards[i], KEY_LOCAL, room_id), 3);
    world_destroy(&world);
}

Test(room_create, a_repeat_gives_the_first_room_again)
{
    struct world world = world_create(fixture_options(0, 1));
    struct fixture *shard = world.shards[0];
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob"), eve = world_user(&world, 0, "eve");
    struct room_create_record record = draft("same", "room", world_people(&bob, 1));
    uint64_t ids[3];
    cr_assert_eq(FIXTURE_PROPOSE(shard, ada, ROOM_CREATE, room_create, &record), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(shard, ada, ROOM_CREATE, room_create, &record), ERROR_NONE, "in one batch");
    for (int i = 0; i < 3; i++) {
        if (i == 2) fixture_end_batch(shard);
        cr_assert_eq(i < 2 ? fixture_apply(shard) : FIXTURE_RUN(shard, ada, ROOM_CREATE, room_create, &record),
                     ERROR_NONE);
        Ringpost__V1__CreateRoomResponse *response = FIXTURE_REPLY(shard, create_room_response);
        ids[i] = response->room->room_id;
        cr_expect_str_eq(response->room->name, "room");
        cr_expect_eq(response->room->member_count, 2);
        cr_expect_eq(response->room->owner_id, ada);
        cr_expect_eq(response->room->member_max, 500);
        cr_expect_gt(response->room->created_ms, 0);
        WORLD_FREE(response);
    }
    cr_expect(ids[0] == ids[1] && ids[1] == ids[2]);
    cr_expect_eq(world_inbox(&world, ada)->room_count, 1);

    record = draft("same", "another name", world_people(&bob, 1));
    cr_expect_eq(FIXTURE_RUN(shard, ada, ROOM_CREATE, room_create, &record), ERROR_CLIENT_ID_CONFLICT);
    record = draft("same", "room", world_people(&eve, 1));
    cr_expect_eq(FIXTURE_RUN(shard, ada, ROOM_CREATE, room_create, &record), ERROR_CLIENT_ID_CONFLICT);
    record = draft("same", "room", world_people(&bob, 1));
    record.history = RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN;
    cr_expect_eq(FIXTURE_RUN(shard, ada, ROOM_CREATE, room_create, &record), ERROR_CLIENT_ID_CONFLICT);
    record.history = RINGPOST__V1__ROOM_HISTORY__ALL;
    cr_expect_eq(FIXTURE_RUN(shard, ada, ROOM_CREATE, room_create, &record), ERROR_NONE, "the same, said");
    record = draft("same", "room", world_people(&eve, 1));
    cr_expect_eq(FIXTURE_RUN(shard, bob, ROOM_CREATE, room_create, &record), ERROR_NONE, "ids are the creator's own");
    record = draft("", "room", SLICE_EMPTY);
    for (int i = 0; i < 2; i++) cr_expect_eq(FIXTURE_RUN(shard, ada, ROOM_CREATE, room_create, &record), ERROR_NONE);
    cr_expect_eq(world_inbox(&world, ada)->room_count, 3, "without an id every request makes a room");
    world_destroy(&world);
}

Test(room_create, first_members_count_against_the_limit)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_ROOM_MEMBERS_MAX] = 3;
    struct world world = world_create(options);
    uint64_t u[4];
    for (int i = 0; i < 4; i++) u[i] = world_user(&world, 0, "somebody");
    struct room_create_record record = draft("", "room", world_people(u + 1, 3));
    cr_expect_eq(FIXTURE_RUN(world.shards[0], u[0], ROOM_CREATE, room_create, &record), ERROR_ROOM_FULL);
    record = draft("", "room", world_people(u + 1, 2));
    cr_expect_eq(FIXTURE_RUN(world.shards[0], u[0], ROOM_CREATE, room_create, &record), ERROR_NONE);
    world_destroy(&world);
}

/* Somebody asked for the next id before it was given: the entity that says "no such room" is resident. */
Test(room_create, an_id_asked_for_too_early_is_no_obstacle)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), next = id_make(0, ID_ROOM, 1);
    cr_expect_eq(world_join(&world, ada, next), ERROR_ROOM_NOT_FOUND);
    cr_expect_eq(world_read(&world, ada, next, 1), ERROR_ROOM_NOT_FOUND);
    cr_expect_eq(world_create_room(&world, ada, NULL, 0, false), next);
    cr_expect_eq(world_send(&world, ada, next, "m", "hello"), ERROR_NONE);
    world_destroy(&world);
}
