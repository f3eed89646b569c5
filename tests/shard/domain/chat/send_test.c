/* tests/shard/domain/chat/send_test.c - one path for a message: seq without holes, one result per client id, one room per
 * pair. */
#include "shard/domain/delivery/pushes.h"
#include "shard/room_world.h"
#include <criterion/criterion.h>
#include <stdio.h>

Test(chat_send, seq_has_no_holes_and_every_ack_names_its_message)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false), last_id = 0;
    for (uint64_t i = 1; i <= 20; i++) {
        char client_id[8];
        snprintf(client_id, sizeof client_id, "m%d", (int)i);
        cr_assert_eq(world_send(&world, i % 2 == 0 ? ada : bob, room_id, client_id, "hello"), ERROR_NONE);
        struct world_sent sent = world_sent(world.shards[0]);
        cr_expect_eq(sent.seq, i);
        cr_expect_eq(sent.room_id, room_id);
        cr_expect_gt(sent.msg_id, last_id);
        cr_expect_eq(id_type(sent.msg_id), ID_MESSAGE);
        last_id = sent.msg_id;
    }
    cr_expect_eq(fixture_messages(world.shards[0], room_id), 20);
    world_destroy(&world);
}

/* What `count` messages of one batch to a room of ten cost the store. */
Test(chat_send, a_batch_costs_one_timeline_row_and_one_row_of_small_events_per_member)
{
    struct world world = world_create(fixture_options(0, 1));
    struct fixture *shard = world.shards[0];
    uint64_t users[10];
    for (int i = 0; i < 10; i++) users[i] = world_user(&world, 0, "somebody");
    uint64_t room_id = world_create_room(&world, users[0], users + 1, 9, false);
    for (uint32_t count = 1; count <= 3; count++) {
        size_t before = shard->journal.len;
        for (uint32_t i = 0; i < count; i++) {
            char client_id[] = {'m', (char)('0' + count), (char)('0' + i), 0};
            struct send_record record = world_draft(room_id, client_id, "a body");
            cr_assert_eq(FIXTURE_PROPOSE(shard, users[0], SEND, send, &record), ERROR_NONE);
        }
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_eq(fixture_apply(shard), ERROR_NONE);
            cr_assert_eq(fixture_effects(shard, PUSH_EVENT), 10, "for everybody, the sender's other devices too");
            for (uint32_t n = 1; n < 10; n++)
                cr_expect_eq(shard->effects.list[n].start, shard->effects.list[0].start, "packed once");
        }
        fixture_end_batch(shard);
        struct cursor c = cursor_of(slice_of(shard->journal.data + before, shard->journal.len - before));
        uint32_t messages = 0, events = 0, marks = 0, others = 0;
        while (cursor_left(&c) > 0) {
            cr_assert_eq(cursor_u8(&c), 1);
            struct slice key = cursor_bytes(&c), value = cursor_bytes(&c);
            messages += key.data[0] == KEY_MESSAGE;
            events += key.data[0] == KEY_EVENT && value.len == 4 + count * (4 + 18);
            marks += key.data[0] == KEY_CONVERSATION;
            others += key.data[0] == KEY_META || key.data[0] == KEY_REPEATS;
        }
        cr_expect_eq(messages, 1);
        cr_expect_eq(events, 10);
        cr_expect_eq(marks, 1, "the sender has read it");
        cr_expect_eq(others, 2);
    }
    world_destroy(&world);
}

Test(chat_send, a_repeat_gives_the_first_result_again)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false);
    cr_assert_eq(world_send(&world, ada, room_id, "same", "hello"), ERROR_NONE);
    struct world_sent first = world_sent(world.shards[0]);
    size_t written = world.shards[0]->journal.len;
    cr_assert_eq(world_send(&world, ada, room_id, "same", "hello"), ERROR_NONE);
    struct world_sent again = world_sent(world.shards[0]);
    cr_expect_eq(memcmp(&first, &again, sizeof first), 0);
    cr_expect_eq(world.shards[0]->journal.len, written, "a repeat writes nothing");
    cr_expect_eq(world_room(&world, room_id)->head_seq, 1);

    cr_expect_eq(world_send(&world, ada, room_id, "same", "other"), ERROR_CLIENT_ID_CONFLICT);
    cr_expect_eq(world_send(&world, bob, room_id, "same", "other"), ERROR_NONE, "ids are the sender's own");
    uint64_t other_room = world_create_room(&world, ada, &bob, 1, false);
    cr_expect_eq(world_send(&world, ada, other_room, "same", "other"), ERROR_NONE, "and the room's own");
    world_destroy(&world);
}

/* One that is sent again with anything changed is another message under the same id. */
Test(chat_send, all_that_the_sender_gives_makes_a_repeat)
{
    struct world world = world_create(fixture_options(0, 1));
    struct fixture *shard = world.shards[0];
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false);
    struct send_record first = world_draft(room_id, "same", "hello");
    first.properties = SLICE_TEXT("\x12\x04text");
    first.kind = RINGPOST__V1__MESSAGE_KIND__CUSTOM;
    struct send_record body = first, kind = first, properties = first, none = first, renamed = first;
    body.body = SLICE_TEXT("hullo");
    kind.kind = RINGPOST__V1__MESSAGE_KIND__FILE;
    properties.properties = SLICE_TEXT("\x12\x04test");
    none.properties = SLICE_EMPTY;
    renamed.sender_name = SLICE_TEXT("Ada, who has another name now");
    const struct {
        const char *name;
        const struct send_record *send;
        enum error want;
    } cases[] = {{"first", &first, ERROR_NONE},
                 {"again", &first, ERROR_NONE},
                 {"another body", &body, ERROR_CLIENT_ID_CONFLICT},
                 {"another kind", &kind, ERROR_CLIENT_ID_CONFLICT},
                 {"other properties", &properties, ERROR_CLIENT_ID_CONFLICT},
                 {"no properties", &none, ERROR_CLIENT_ID_CONFLICT},
                 {"what the server adds does not count", &renamed, ERROR_NONE}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_assert_eq(FIXTURE_PROPOSE(shard, ada, SEND, send, cases[i].send), ERROR_NONE, "%s", cases[i].name);
        cr_expect_eq(fixture_apply(shard), cases[i].want, "%s", cases[i].name);
        fixture_end_batch(shard);
    }
    cr_expect_eq(fixture_messages(shard, room_id), 1);
    world_destroy(&world);
}

Test(chat_send, a_repeat_and_a_conflict_are_seen_within_one_batch)
{
    struct world world = world_create(fixture_options(0, 1));
    struct fixture *shard = world.shards[0];
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false);
    struct send_record hello = world_draft(room_id, "same", "hello"), other = world_draft(room_id, "same", "other");
    cr_assert_eq(FIXTURE_PROPOSE(shard, ada, SEND, send, &hello), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(shard, ada, SEND, send, &hello), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(shard, ada, SEND, send, &other), ERROR_NONE, "nothing is applied yet");
    cr_expect_eq(fixture_apply(shard), ERROR_NONE);
    struct world_sent first = world_sent(shard);
    cr_expect_eq(fixture_apply(shard), ERROR_NONE);
    struct world_sent again = world_sent(shard);
    cr_expect_eq(memcmp(&first, &again, sizeof first), 0);
    cr_expect_eq(fixture_apply(shard), ERROR_CLIENT_ID_CONFLICT);
    fixture_end_batch(shard);
    cr_expect_eq(fixture_messages(shard, room_id), 1);
    world_destroy(&world);
}

Test(chat_send, a_repeat_is_answered_even_when_the_sender_has_left_or_the_room_was_dismissed)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false);
    cr_assert_eq(world_send(&world, bob, room_id, "b", "hello"), ERROR_NONE);
    cr_assert_eq(world_leave(&world, bob, room_id), ERROR_NONE);
    cr_expect_eq(world_send(&world, bob, room_id, "b", "hello"), ERROR_NONE);
    cr_expect_eq(world_sent(world.shards[0]).seq, 1);
    cr_expect_eq(world_send(&world, bob, room_id, "new", "hello"), ERROR_ROOM_NOT_FOUND);
    cr_assert_eq(world_dismiss(&world, ada, room_id), ERROR_NONE);
    cr_expect_eq(world_send(&world, ada, room_id, "new", "hello"), ERROR_ROOM_DISMISSED);
    cr_expect_eq(world_send(&world, ada, id_make(0, ID_ROOM, 4242), "new", "hello"), ERROR_ROOM_NOT_FOUND);
    world_destroy(&world);
}

/* Both write first, in one batch; what is cold is dropped in between, as when a batch is applied over two turns. */
Test(chat_send, two_first_messages_make_one_room)
{
    for (uint16_t peer_shard = 0; peer_shard < 2; peer_shard++) {
        struct machine_options options = fixture_options(0, 2);
        options.entities_max = 1;
        struct world world = world_create(options);
        struct fixture *shard = world.shards[0];
        uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, peer_shard, "bob");
        struct send_record from_ada = world_draft_to(ada, bob, "a", "hi bob"),
                           from_bob = world_draft_to(bob, ada, "b", "hi ada");
        cr_assert_eq(FIXTURE_PROPOSE(shard, ada, SEND, send, &from_ada), ERROR_NONE);
        cr_assert_eq(FIXTURE_PROPOSE(shard, bob, SEND, send, &from_bob), ERROR_NONE);
        cr_assert_eq(fixture_apply(shard), ERROR_NONE);
        struct world_sent first = world_sent(shard);
        for (int i = 0; i < 16; i++) entity_table_trim(shard->machine->entities);
        cr_assert_eq(fixture_apply(shard), ERROR_NONE);
        struct world_sent second = world_sent(shard);
        fixture_end_batch(shard);
        world_settle(&world);
        cr_expect_eq(first.room_id, second.room_id);
        cr_expect_eq(first.seq, 1);
        cr_expect_eq(second.seq, 2);
        cr_expect_eq(world_send_to(&world, bob, ada, "c", "again"), ERROR_NONE);
        cr_expect_eq(world_sent(shard).seq, 3, "a later one finds it by the pair");
        world_settle(&world);

        uint64_t people[2] = {ada, bob};
        for (int i = 0; i < 2; i++) {
            Ringpost__V1__SyncResponse *sync = world_sync(&world, people[i], 0, 100);
            cr_assert_eq(sync->n_events, 4, "joined, then three messages; got %zu", sync->n_events);
            const Ringpost__V1__RoomChange *joined = sync->events[0]->room;
            cr_assert_not_null(joined);
            cr_expect_eq(joined->change, RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED);
            cr_expect_eq(joined->peer_id, people[1 - i]);
            cr_expect_eq(joined->target_id, people[i]);
            cr_expect_eq(joined->room->type, RINGPOST__V1__ROOM_TYPE__DIRECT);
            cr_expect_eq(joined->room->member_count, 2);
            cr_expect_eq(joined->room->member_max, 2);
            for (uint64_t seq = 1; seq <= 3; seq++) cr_expect_eq(sync->events[seq]->message->seq, seq);
            WORLD_FREE(sync);
        }
        world_destroy(&world);
    }
}

Test(chat_send, a_conversation_of_two_takes_no_operation_of_groups)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob"), eve = world_user(&world, 0, "eve");
    cr_assert_eq(world_send_to(&world, ada, bob, "a", "hi"), ERROR_NONE);
    uint64_t room_id = world_sent(world.shards[0]).room_id;
    cr_expect_eq(world_join(&world, eve, room_id), ERROR_ROOM_NOT_FOUND, "a stranger learns nothing of it");
    cr_expect_eq(world_join(&world, bob, room_id), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_invite(&world, ada, room_id, &eve, 1), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_leave(&world, ada, room_id), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_remove(&world, ada, room_id, &bob, 1), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_set_role(&world, ada, room_id, bob, ROLE_ADMIN), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_update(&world, ada, room_id, "x", true), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_dismiss(&world, ada, room_id), ERROR_ROOM_IS_DIRECT);
    cr_expect_eq(world_send(&world, eve, room_id, "e", "me too"), ERROR_ROOM_NOT_FOUND);
    world_destroy(&world);
}
