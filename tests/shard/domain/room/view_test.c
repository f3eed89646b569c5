/* tests/shard/domain/room/view_test.c - delivery to members on several shards, rooms that grow large, and the contract's messages
 * packed by hand. */
#include "api/wire.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/room_world.h"
#include <criterion/criterion.h>

/* ---- packing against protobuf-c ---- */

static const struct message_record message = {.msg_id = 1ull << 63,
                                              .seq = 300,
                                              .sender_id = 77,
                                              .time_ms = 1700000000000,
                                              .kind = RINGPOST__V1__MESSAGE_KIND__FILE,
                                              .sender_name = {(const uint8_t *)"Ada", 3},
                                              .client_msg_id = {(const uint8_t *)"c-1", 3},
                                              .body = {(const uint8_t *)"\0\1\2", 3}};

static void check_message(const Ringpost__V1__Message *out, uint64_t room_id)
{
    cr_assert_not_null(out);
    cr_expect_eq(out->msg_id, message.msg_id);
    cr_expect_eq(out->room_id, room_id);
    cr_expect_eq(out->seq, message.seq);
    cr_expect_eq(out->sender_id, message.sender_id);
    cr_expect_str_eq(out->sender_name, "Ada");
    cr_expect_eq(out->time_ms, message.time_ms);
    cr_expect_eq((int)out->kind, message.kind);
    cr_expect_eq(out->body.len, 3);
    cr_expect_eq(memcmp(out->body.data, "\0\1\2", 3), 0);
    cr_expect_str_eq(out->client_msg_id, "c-1");
}

/* What protobuf-c makes of it must be the same bytes again: numbers, types, defaults left out, ascending order. */
static void check_same_bytes(const ProtobufCMessage *unpacked, const struct writer *packed)
{
    uint8_t again[512];
    cr_assert_leq(protobuf_c_message_get_packed_size(unpacked), sizeof again);
    size_t len = protobuf_c_message_pack(unpacked, again);
    cr_expect(slice_equal(slice_of(again, len), writer_slice(packed)));
}

Test(view, a_packed_message_is_the_contracts)
{
    struct writer out;
    writer_init(&out, 0);
    message_pack(&out, 5, &message);
    Ringpost__V1__Message *got = ringpost__v1__message__unpack(NULL, out.len, out.data);
    check_message(got, 5);
    check_same_bytes(&got->base, &out);
    WORLD_FREE(got);
    writer_reset(&out);
    struct message_record empty = {0};
    message_pack(&out, 0, &empty);
    cr_expect_eq(out.len, 0, "defaults are left out");
    writer_deinit(&out);
}

Test(view, packed_events_are_the_contracts)
{
    struct snapshot_record snapshot = {.room_id = 9,
                                       .type = TYPE_DIRECT,
                                       .name = SLICE_TEXT("room"),
                                       .owner_id = 4,
                                       .member_count = 3,
                                       .member_max = 500,
                                       .created_ms = 12345,
                                       .dismissed = 1,
                                       .joinable = 1,
                                       .large = 1};
    struct writer bytes, out;
    writer_init(&bytes, 0);
    writer_init(&out, 0);
    snapshot_record_write(&bytes, &snapshot);
    struct relay_change_record change = {.change = CHANGE_MEMBER_ROLE,
                                         .snapshot = writer_slice(&bytes),
                                         .actor_id = 11,
                                         .target_id = 12,
                                         .target_name = SLICE_TEXT("Bob"),
                                         .role = ROLE_ADMIN,
                                         .time_ms = 99,
                                         .peer_id = 13,
                                         .peer_name = SLICE_TEXT("Eve"),
                                         .head_seq = 200};
    view_pack_change(&out, &change, 150);
    Ringpost__V1__RoomChange *got = ringpost__v1__room_change__unpack(NULL, out.len, out.data);
    cr_assert_not_null(got);
    cr_expect_eq((int)got->change, CHANGE_MEMBER_ROLE);
    cr_expect(got->actor_id == 11 && got->target_id == 12 && got->time_ms == 99 && got->peer_id == 13 &&
              got->read_seq == 150);
    cr_expect_str_eq(got->target_name, "Bob");
    cr_expect_str_eq(got->peer_name, "Eve");
    cr_expect_eq((int)got->role, ROLE_ADMIN);
    const Ringpost__V1__Room *room = got->room;
    cr_expect(room->room_id == 9 && (int)room->type == TYPE_DIRECT && room->owner_id == 4 && room->member_count == 3);
    cr_expect(room->member_max == 500 && room->head_seq == 200 && room->created_ms == 12345);
    cr_expect(room->dismissed && room->joinable && room->large);
    cr_expect_str_eq(room->name, "room");
    check_same_bytes(&got->base, &out);
    WORLD_FREE(got);

    writer_reset(&out);
    wire_write_u64(&out, 1, 42);
    event_pack_message(&out, 5, &message);
    Ringpost__V1__Event *event = ringpost__v1__event__unpack(NULL, out.len, out.data);
    cr_assert_not_null(event);
    cr_expect_eq(event->sync_key, 42);
    check_message(event->message, 5);
    check_same_bytes(&event->base, &out);
    WORLD_FREE(event);

    writer_reset(&out);
    struct event_read_record read = {.room_id = 9, .read_seq = 3};
    event_pack_read(&out, &read);
    event = ringpost__v1__event__unpack(NULL, out.len, out.data);
    cr_assert(event != NULL && event->read != NULL);
    cr_expect(event->read->room_id == 9 && event->read->read_seq == 3);
    check_same_bytes(&event->base, &out);
    WORLD_FREE(event);
    writer_deinit(&bytes);
    writer_deinit(&out);
}

/* ---- several shards ---- */

#define MESSAGE (-1)

static void expect_kinds(struct world *world, uint64_t user_id, uint64_t after, const int *kinds, size_t count,
                         const char *who)
{
    Ringpost__V1__SyncResponse *sync = world_sync(world, user_id, after, 100);
    cr_assert_eq(sync->n_events, count, "%s: %zu events", who, sync->n_events);
    for (size_t i = 0; i < count; i++) {
        const Ringpost__V1__Event *event = sync->events[i];
        int kind = event->kind_case == RINGPOST__V1__EVENT__KIND_ROOM ? (int)event->room->change : MESSAGE;
        cr_expect_eq(kind, kinds[i], "%s: event %zu", who, i);
    }
    WORLD_FREE(sync);
}
#define EXPECT_KINDS(world, user, after, who, ...)                                                                     \
    expect_kinds(world, user, after, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int), who)

Test(view, members_of_every_shard_get_every_message_once_and_in_order)
{
    struct world world = world_create(fixture_options(0, 3));
    uint64_t ada = world_user(&world, 0, "ada"), users[4];
    for (uint16_t i = 0; i < 4; i++) users[i] = world_user(&world, 1 + i % 2, "somebody");
    uint64_t room_id = world_create_room(&world, ada, users, 4, false);
    cr_assert_eq(world_send(&world, users[0], room_id, "1", "from afar"), ERROR_NONE);
    cr_assert_eq(world_send(&world, ada, room_id, "1", "from here"), ERROR_NONE);
    cr_expect_eq(fixture_messages(world.shards[1], room_id), 0, "nothing has arrived yet");
    world_settle(&world);
    for (uint16_t shard = 0; shard < 3; shard++) {
        cr_expect_eq(fixture_messages(world.shards[shard], room_id), shard == 0 ? 2 : 0, "one copy, on the room's shard");
        cr_expect_eq(world_view(&world, shard, room_id)->heard_seq, 2);
    }
    for (int i = 0; i < 4; i++) EXPECT_KINDS(&world, users[i], 0, "member", CHANGE_ROOM_JOINED, MESSAGE, MESSAGE);

    cr_assert_eq(world_leave(&world, users[0], room_id), ERROR_NONE);
    cr_assert_eq(world_leave(&world, users[2], room_id), ERROR_NONE); /* the last of shard 1 */
    cr_assert_eq(world_send(&world, ada, room_id, "3", "who is left"), ERROR_NONE);
    world_settle(&world);
    cr_expect_eq(world_view(&world, 1, room_id)->heard_seq, 2, "a shard without members hears nothing");
    cr_expect_eq(world_view(&world, 2, room_id)->heard_seq, 3);
    EXPECT_KINDS(&world, users[0], 3, "who left first", CHANGE_ROOM_LEFT);
    EXPECT_KINDS(&world, users[2], 3, "who left second", CHANGE_MEMBER_LEFT, CHANGE_ROOM_LEFT);
    EXPECT_KINDS(&world, users[1], 3, "who stayed", CHANGE_MEMBER_LEFT, CHANGE_MEMBER_LEFT, MESSAGE);
    world_destroy(&world);
}

/* A shard that missed messages while it had no members: what it keeps is the head of the moment somebody came back. */
Test(view, coming_back_starts_at_the_head_of_that_moment)
{
    for (int forgetful = 0; forgetful < 2; forgetful++) {
        struct machine_options options = fixture_options(0, 2);
        if (forgetful) options.entities_max = 1;
        struct world world = world_create(options);
        for (int i = 0; i < 2; i++) world.shards[i]->forgetful = forgetful;
        uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 1, "bob");
        uint64_t room_id = world_create_room(&world, ada, &bob, 1, true);
        cr_assert_eq(world_send(&world, ada, room_id, "1", "one"), ERROR_NONE);
        cr_assert_eq(world_leave(&world, bob, room_id), ERROR_NONE);
        cr_assert_eq(world_send(&world, ada, room_id, "2", "two"), ERROR_NONE);
        cr_assert_eq(world_join(&world, bob, room_id), ERROR_NONE);
        world_settle(&world);
        cr_expect_eq(world_view(&world, 1, room_id)->head_seq, 2);
        Ringpost__V1__ConversationsResponse *page = world_conversations(&world, bob, 0, 10);
        cr_assert_eq(page->n_conversations, 1);
        cr_expect(page->conversations[0]->head_seq == 2 && page->conversations[0]->unread == 0);
        cr_expect_eq(page->conversations[0]->last_message->seq, 2, "its owner has it");
        WORLD_FREE(page);
        cr_assert_eq(world_read(&world, bob, room_id, 2), ERROR_NONE);
        cr_assert_eq(world_send(&world, ada, room_id, "3", "three"), ERROR_NONE);
        world_settle(&world);
        page = world_conversations(&world, bob, 0, 10);
        cr_expect(page->conversations[0]->head_seq == 3 && page->conversations[0]->unread == 1);
        cr_expect_eq(page->conversations[0]->last_message->seq, 3);
        WORLD_FREE(page);
        world_destroy(&world);
    }
}

/* ---- large rooms ---- */

static uint32_t room_pushes(struct world *world, uint16_t shard)
{
    return fixture_effects(world->shards[shard], PUSH_ROOM);
}

Test(view, a_room_grows_large_at_the_threshold_for_ever)
{
    struct machine_options options = fixture_options(0, 2);
    options.limits[LIMIT_FANOUT_THRESHOLD] = 3;
    struct world world = world_create(options);
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t far = world_user(&world, 1, "far"), fourth = world_user(&world, 1, "fourth"),
             fifth = world_user(&world, 0, "fifth");
    uint64_t guests[] = {bob, far};
    uint64_t room_id = world_create_room(&world, ada, guests, 2, true);
    cr_assert_eq(world_send(&world, ada, room_id, "1", "small"), ERROR_NONE);
    world_settle(&world);
    cr_expect(!world_room(&world, room_id)->large);
    cr_expect_eq(world_view(&world, 0, room_id)->local_count, 2);

    cr_assert_eq(world_join(&world, fourth, room_id), ERROR_NONE);
    world_settle(&world);
    cr_expect(world_room(&world, room_id)->large);
    for (uint16_t shard = 0; shard < 2; shard++) {
        const struct view *view = world_view(&world, shard, room_id);
        cr_expect(view->large && view->local_count == 0 && view->members == NULL, "shard %d", shard);
    }
    Ringpost__V1__SyncResponse *sync = world_sync(&world, bob, 2, 10);
    cr_assert_eq(sync->n_events, 1);
    cr_expect(sync->events[0]->room->room->large, "members learn by the change that made it large");
    WORLD_FREE(sync);

    cr_assert_eq(world_send(&world, ada, room_id, "2", "large"), ERROR_NONE);
    cr_expect_eq(room_pushes(&world, 0), 1);
    cr_expect_eq(fixture_effects(world.shards[0], PUSH_EVENT), 0);
    cr_expect_eq(fixture_effects(world.shards[0], PUSH_OTHERS), 1);
    uint64_t logged = world.shards[1]->machine->applied_index;
    world_settle(&world);
    cr_expect_eq(world.shards[1]->machine->applied_index, logged, "another shard logs nothing of it");
    EXPECT_KINDS(&world, far, 0, "far", CHANGE_ROOM_JOINED, MESSAGE, CHANGE_MEMBER_JOINED);

    cr_assert_eq(world_join(&world, fifth, room_id), ERROR_NONE);
    cr_assert_eq(world_leave(&world, fourth, room_id), ERROR_NONE);
    cr_assert_eq(world_leave(&world, fifth, room_id), ERROR_NONE);
    cr_assert_eq(world_leave(&world, bob, room_id), ERROR_NONE);
    cr_assert_eq(world_send(&world, ada, room_id, "3", "still large"), ERROR_NONE);
    cr_expect_eq(room_pushes(&world, 0), 1);
    world_settle(&world);
    EXPECT_KINDS(&world, fourth, 0, "fourth", CHANGE_ROOM_JOINED, CHANGE_ROOM_LEFT);
    EXPECT_KINDS(&world, fifth, 0, "fifth", CHANGE_ROOM_JOINED, CHANGE_ROOM_LEFT);
    EXPECT_KINDS(&world, ada, 0, "ada", CHANGE_ROOM_JOINED, MESSAGE, CHANGE_MEMBER_JOINED);
    world_destroy(&world);
}

Test(view, sync_names_the_heads_of_large_rooms_that_are_not_read)
{
    struct machine_options options = fixture_options(0, 2);
    options.limits[LIMIT_FANOUT_THRESHOLD] = 2;
    struct world world = world_create(options);
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 1, "bob"), eve = world_user(&world, 1, "eve");
    uint64_t guests[] = {bob, eve};
    uint64_t small = world_create_room(&world, ada, &bob, 1, true),
             large = world_create_room(&world, ada, guests, 2, true);
    cr_expect(world_room(&world, large)->large, "large from its first moment");
    for (int i = 0; i < 3; i++) {
        char client_id[2] = {(char)('0' + i)};
        cr_assert_eq(world_send(&world, ada, small, client_id, "hello"), ERROR_NONE);
        cr_assert_eq(world_send(&world, ada, large, client_id, "hello"), ERROR_NONE);
    }
    world_settle(&world);
    Ringpost__V1__SyncResponse *first = world_sync(&world, bob, 0, 2), *last = world_sync(&world, bob, 2, 100);
    cr_expect(first->has_more && first->n_heads == 0, "on the last page only");
    cr_assert(!last->has_more && last->n_heads == 1);
    cr_expect(last->heads[0]->room_id == large && last->heads[0]->head_seq == 3 && last->heads[0]->read_seq == 0);
    WORLD_FREE(first);
    WORLD_FREE(last);
    cr_assert_eq(world_read(&world, bob, large, 3), ERROR_NONE);
    last = world_sync(&world, bob, world_inbox(&world, bob)->head, 100);
    cr_expect_eq(last->n_heads, 0);
    WORLD_FREE(last);
    world_destroy(&world);
}

Test(view, updates_of_a_large_room_reach_every_view_and_no_inbox)
{
    struct machine_options options = fixture_options(0, 2);
    options.limits[LIMIT_FANOUT_THRESHOLD] = 2;
    struct world world = world_create(options);
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 1, "bob"), eve = world_user(&world, 1, "eve");
    uint64_t guests[] = {bob, eve};
    uint64_t room_id = world_create_room(&world, ada, guests, 2, true);
    cr_assert_eq(world_update(&world, ada, room_id, "renamed", true), ERROR_NONE);
    cr_assert_eq(world_set_role(&world, ada, room_id, bob, ROLE_ADMIN), ERROR_NONE);
    cr_assert_eq(world_dismiss(&world, ada, room_id), ERROR_NONE);
    world_settle(&world);
    cr_expect_str_eq(world_view(&world, 1, room_id)->name, "renamed");
    cr_expect(world_view(&world, 1, room_id)->dismissed);
    EXPECT_KINDS(&world, eve, 0, "eve", CHANGE_ROOM_JOINED);
    EXPECT_KINDS(&world, bob, 0, "bob", CHANGE_ROOM_JOINED, CHANGE_MEMBER_ROLE);
    world_destroy(&world);
}

/* Members come online and go while the room is large: the roster follows joins and leaves of those who are online. */
Test(view, the_roster_follows_who_is_online)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_FANOUT_THRESHOLD] = 2;
    struct world world = world_create(options);
    struct fixture *shard = world.shards[0];
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob"), eve = world_user(&world, 0, "eve");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, true);
    struct session *somewhere = (struct session *)(void *)&world; /* never looked into: only whether there is one */
    struct inbox *online[] = {world_inbox(&world, ada), world_inbox(&world, eve)};
    for (int i = 0; i < 2; i++) online[i]->sessions = somewhere;
    uint32_t count;
    (void)roster_online(delivery_of(shard->machine)->roster, room_id, &count);
    cr_expect_eq(count, 0, "a small room needs none");
    cr_assert_eq(world_join(&world, eve, room_id), ERROR_NONE);
    struct inbox *const *listed = roster_online(delivery_of(shard->machine)->roster, room_id, &count);
    cr_assert_eq(count, 2, "bob is offline");
    cr_expect((listed[0] == online[0] && listed[1] == online[1]) || (listed[0] == online[1] && listed[1] == online[0]));
    cr_assert_eq(world_leave(&world, eve, room_id), ERROR_NONE);
    listed = roster_online(delivery_of(shard->machine)->roster, room_id, &count);
    cr_assert_eq(count, 1);
    cr_expect_eq(listed[0], online[0]);
    for (int i = 0; i < 2; i++) online[i]->sessions = NULL;
    world_destroy(&world);
}
