/* tests/shard/engine/follower_test.c - followers as state: who follows, what is emitted and kept for whom, what a page holds, and that a replay
 * gives the same. */
#include "shard/domain/domain.h"
#include "shard/engine/follower_page.h"
#include "ringpost/v1/operator.pb-c.h"
#include "shard/domain/followed.h"
#include "shard/domain/room/room.h"
#include "shard/machine_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define ALL_KINDS UINT64_MAX
#define EXPORT SLICE_TEXT("export")
#define OTHER SLICE_TEXT("other")

static struct fixture *fixture;
static uint64_t alice, bob, room_id;
static uint32_t sent, rooms;

static void setup(void)
{
    struct machine_options options = fixture_options(0, 1);
    fixture = fixture_create(&options);
    alice = fixture_add_user(fixture, "alice");
    bob = fixture_add_user(fixture, "bob");
}

static void teardown(void) { fixture_destroy(fixture); }
TestSuite(follower, .init = setup, .fini = teardown);

static enum error begin(struct slice name, enum follower_start start, uint64_t number, bool temporary)
{
    struct follower_begin_record record = {.name = name, .temporary = temporary, .start = (uint8_t)start, .number = number};
    return FIXTURE_RUN(fixture, 0, FOLLOWER_BEGIN, follower_begin, &record);
}

static const struct follower *find(struct slice name) { return follower_find(fixture->machine->followers, name); }
static uint64_t emitted(void) { return follower_emitted(fixture->machine->followers); }

static void ack_place(struct slice name, uint64_t generation, const struct follower_place *place)
{
    struct follower_ack_record record = {.name = name,
                                         .generation = generation,
                                         .number = place->number,
                                         .rebuilding = place->rebuilding,
                                         .place_kind = place->kind,
                                         .a = place->a,
                                         .b = place->b};
    cr_assert_eq(FIXTURE_RUN(fixture, 0, FOLLOWER_ACK, follower_ack, &record), ERROR_NONE);
}

static void ack(struct slice name, uint64_t number) { ack_place(name, find(name)->generation, &(struct follower_place){.number = number}); }

static void end(struct slice name, bool lost)
{
    struct follower_end_record record = {
        .name = name, .generation = find(name)->generation, .lost = lost, .number = find(name)->place.number};
    cr_assert_eq(FIXTURE_RUN(fixture, 0, FOLLOWER_END, follower_end, &record), ERROR_NONE);
}

static void make_room(void)
{
    struct writer people;
    char id[16];
    snprintf(id, sizeof id, "room %u", rooms++);
    writer_init(&people, 0);
    person_record_write(&people, &(struct person_record){.user_id = bob, .name = SLICE_TEXT("bob")});
    struct room_create_record record = {
        .name = SLICE_TEXT("team"), .client_room_id = slice_text(id), .owner_name = SLICE_TEXT("alice"), .people = writer_slice(&people)};
    cr_assert_eq(FIXTURE_RUN(fixture, alice, ROOM_CREATE, room_create, &record), ERROR_NONE);
    room_id = id_make(0, ID_ROOM, fixture->machine->next_sequence[ID_ROOM] - 1);
    writer_deinit(&people);
}

static void say(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[16], body[16];
        snprintf(id, sizeof id, "%u", sent);
        snprintf(body, sizeof body, "message %u", sent++);
        struct send_record record = {
            .room_id = room_id, .client_msg_id = slice_text(id), .sender_name = SLICE_TEXT("alice"), .body = slice_text(body)};
        cr_assert_eq(FIXTURE_RUN(fixture, alice, SEND, send, &record), ERROR_NONE);
    }
}

/* ---- pages ---- */

static struct follower_page page = {.entries_max = 1000, .bytes_max = 1 << 20, .kinds = ALL_KINDS, .bodies = true};

static uint32_t read_page(struct follower_place place)
{
    page.domain = ringpost_domain();
    page.place = place;
    writer_reset(&page.bytes);
    cr_assert_eq(follower_page_read(&page, &fixture->store.view), RESULT_OK);
    return page.count;
}

static uint32_t read_after(uint64_t number) { return read_page((struct follower_place){.number = number}); }

/* The n-th entry of the page, from 0; the caller frees it. */
static Ringpost__V1__FollowerEntry *entry_at(uint32_t n)
{
    struct cursor c = cursor_of(writer_slice(&page.bytes));
    struct slice bytes = SLICE_EMPTY;
    for (uint32_t i = 0; i <= n; i++) bytes = cursor_bytes(&c);
    cr_assert(!c.bad);
    Ringpost__V1__FollowerEntry *entry = ringpost__v1__follower_entry__unpack(NULL, bytes.len, bytes.data);
    cr_assert_not_null(entry);
    return entry;
}

static Ringpost__V1__FollowerEntry__KindCase kind_at(uint32_t n)
{
    Ringpost__V1__FollowerEntry *entry = entry_at(n);
    Ringpost__V1__FollowerEntry__KindCase kind = entry->kind_case;
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
    return kind;
}

/* ---- emitting ---- */

Test(follower, without_followers_nothing_is_emitted_and_nothing_written)
{
    make_room();
    say(3);
    cr_expect_eq(emitted(), 0);
    cr_expect_eq(fixture_count(fixture, KEY_FOLLOWED, 0), 0);
    cr_expect_not(fixture->machine->followed);
}

Test(follower, who_follows_is_told_what_happens_from_then_on_in_order)
{
    make_room();
    say(2);
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(2);
    cr_assert_eq(read_after(0), 2);
    Ringpost__V1__FollowerEntry *entry = entry_at(1);
    cr_expect_str_eq(entry->id, "0-2");
    cr_expect_eq(entry->place->number, 2);
    cr_expect_eq(entry->kind_case, RINGPOST__V1__FOLLOWER_ENTRY__KIND_MESSAGE);
    cr_expect_eq(entry->message->seq, 4);
    cr_expect_eq(entry->message->room_id, room_id);
    cr_expect_eq(entry->time_ms, entry->message->time_ms);
    cr_expect(slice_equal(slice_of(entry->message->body.data, entry->message->body.len), SLICE_TEXT("message 3")));
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
}

Test(follower, a_room_s_life_is_told)
{
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    make_room();
    struct room_update_record update = {.room_id = room_id, .name = SLICE_TEXT("crew"), .joinable = 1};
    cr_assert_eq(FIXTURE_RUN(fixture, alice, ROOM_UPDATE, room_update, &update), ERROR_NONE);
    struct role_set_record role = {.room_id = room_id, .user_id = bob, .role = ROLE_ADMIN};
    cr_assert_eq(FIXTURE_RUN(fixture, alice, ROLE_SET, role_set, &role), ERROR_NONE);
    struct writer people;
    writer_init(&people, 0);
    person_record_write(&people, &(struct person_record){.user_id = bob, .name = SLICE_TEXT("bob")});
    struct members_remove_record remove = {.room_id = room_id, .people = writer_slice(&people)};
    cr_assert_eq(FIXTURE_RUN(fixture, alice, MEMBERS_REMOVE, members_remove, &remove), ERROR_NONE);
    struct room_dismiss_record dismiss = {.room_id = room_id};
    cr_assert_eq(FIXTURE_RUN(fixture, alice, ROOM_DISMISS, room_dismiss, &dismiss), ERROR_NONE);
    writer_deinit(&people);
    static const Ringpost__V1__FollowerEntry__KindCase wanted[] = {
        RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_CREATED,  RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_JOINED,
        RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_JOINED, RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_UPDATED,
        RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROLE_CHANGED,  RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_LEFT,
        RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_DISMISSED};
    cr_assert_eq(read_after(0), COUNT_OF(wanted));
    for (uint32_t i = 0; i < COUNT_OF(wanted); i++) cr_expect_eq(kind_at(i), wanted[i], "entry %u", i);
    Ringpost__V1__FollowerEntry *entry = entry_at(0);
    cr_expect_str_eq(entry->room_created->room->name, "crew", "as it is now, not as it was");
    cr_expect_eq(entry->room_created->actor_id, alice);
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
    entry = entry_at(5);
    cr_expect_eq(entry->member_left->user_id, bob);
    cr_expect_eq(entry->member_left->actor_id, alice);
    cr_expect_eq(entry->member_left->role, RINGPOST__V1__ROLE__ADMIN);
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
}

Test(follower, an_account_and_its_devices_are_told)
{
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    struct user_create_record create = {
        .name = SLICE_TEXT("carol"), .display_name = SLICE_TEXT("Carol"), .password_hash = SLICE_TEXT("x")};
    cr_assert_eq(FIXTURE_RUN(fixture, 0, USER_CREATE, user_create, &create), ERROR_NONE);
    uint64_t carol = id_make(0, ID_USER, fixture->machine->next_sequence[ID_USER] - 1);
    struct device_put_record put = {.user_id = carol, .device_id = SLICE_TEXT("phone"), .platform = SLICE_TEXT("ios")};
    cr_assert_eq(FIXTURE_RUN(fixture, carol, DEVICE_PUT, device_put, &put), ERROR_NONE);
    cr_assert_eq(FIXTURE_RUN(fixture, carol, DEVICE_PUT, device_put, &put), ERROR_NONE, "again: it is on the list, nothing is told");
    cr_assert_eq(read_after(0), 2);
    Ringpost__V1__FollowerEntry *entry = entry_at(0);
    cr_assert_eq(entry->kind_case, RINGPOST__V1__FOLLOWER_ENTRY__KIND_USER_CREATED);
    cr_expect_eq(entry->user_created->user->user_id, carol);
    cr_expect_str_eq(entry->user_created->user->display_name, "Carol");
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
    entry = entry_at(1);
    cr_assert_eq(entry->kind_case, RINGPOST__V1__FOLLOWER_ENTRY__KIND_DEVICE_ADDED);
    cr_expect_str_eq(entry->device_added->device->platform, "ios");
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
    struct device_revoke_record revoke = {.user_id = carol, .device_id = SLICE_TEXT("phone")};
    cr_assert_eq(FIXTURE_RUN(fixture, carol, DEVICE_REVOKE, device_revoke, &revoke), ERROR_NONE);
    cr_assert_eq(read_after(2), 1);
    entry = entry_at(0);
    cr_assert_eq(entry->kind_case, RINGPOST__V1__FOLLOWER_ENTRY__KIND_DEVICE_REVOKED);
    cr_expect_str_eq(entry->device_revoked->device_id, "phone");
    cr_expect_null(entry->device_revoked->device, "a tombstone is on nobody's list");
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
}

/* ---- what is kept ---- */

Test(follower, entries_are_kept_for_the_slowest_and_go_when_all_have_them)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    cr_assert_eq(begin(OTHER, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(2100);
    ack(EXPORT, 2100);
    cr_expect_eq(fixture_count(fixture, KEY_FOLLOWED, 0), 2100, "each batch is a block");
    cr_expect_eq(follower_first_kept(fixture->machine->followers), 1);
    ack(OTHER, 1500);
    cr_expect_eq(fixture_count(fixture, KEY_FOLLOWED, 0), 601);
    cr_assert_eq(read_after(1500), 600);
    cr_expect_eq(begin(SLICE_TEXT("late"), FOLLOWER_AFTER, 1499, false), ERROR_BAD_FIELD, "that is gone");
    cr_expect_eq(begin(SLICE_TEXT("late"), FOLLOWER_AFTER, 2101, false), ERROR_BAD_FIELD, "that never was");
    cr_expect_eq(begin(SLICE_TEXT("late"), FOLLOWER_AFTER, 1500, false), ERROR_NONE);
    cr_expect_eq(find(SLICE_TEXT("late"))->place.number, 1500);
    end(SLICE_TEXT("late"), false);
    end(OTHER, false);
    cr_expect_eq(fixture_count(fixture, KEY_FOLLOWED, 0), 601, "trims are rare");
    end(EXPORT, false);
    cr_expect_eq(fixture_count(fixture, KEY_FOLLOWED, 0), 1, "the newest says how far the numbers have come");
    cr_expect_not(fixture->machine->followed);
    say(1);
    cr_expect_eq(emitted(), 2100);
}

Test(follower, a_lost_one_costs_nothing_and_hinders_nobody)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(3);
    end(EXPORT, true);
    cr_expect(find(EXPORT)->lost);
    cr_expect_not(fixture->machine->followed);
    say(3);
    cr_expect_eq(emitted(), 3);
    cr_expect_eq(follower_backlog(fixture->machine->followers, find(EXPORT)), 0);
    ack(EXPORT, 3);
    cr_expect_eq(find(EXPORT)->place.number, 0, "it is past hearing of it");
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    cr_expect(find(EXPORT)->lost, "only a rebuilding helps");
    cr_assert_eq(begin(EXPORT, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
    cr_expect_not(find(EXPORT)->lost);
    cr_expect(fixture->machine->followed);
}

Test(follower, one_that_moved_after_it_was_found_too_far_behind_is_not_lost)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(3);
    struct follower_end_record late = {.name = EXPORT, .generation = find(EXPORT)->generation, .lost = true, .number = 0};
    ack(EXPORT, 2);
    cr_assert_eq(FIXTURE_RUN(fixture, 0, FOLLOWER_END, follower_end, &late), ERROR_NONE);
    cr_expect_not(find(EXPORT)->lost);
}

Test(follower, an_ack_only_moves_its_own_follower_forward)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(5);
    ack(EXPORT, 4);
    ack(EXPORT, 2);
    cr_expect_eq(find(EXPORT)->place.number, 4);
    ack(EXPORT, 6);
    cr_expect_eq(find(EXPORT)->place.number, 4, "what has not happened is not done");
    uint64_t generation = find(EXPORT)->generation;
    end(EXPORT, false);
    cr_assert_eq(begin(EXPORT, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
    ack_place(EXPORT, generation, &(struct follower_place){.number = 5});
    cr_expect(find(EXPORT)->place.rebuilding, "an ack of the one before it");
}

/* The client says up to where, and may say anything. */
Test(follower, an_ack_within_a_rebuilding_counts_only_for_that_one)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(5);
    ack_place(EXPORT, find(EXPORT)->generation, &(struct follower_place){.number = 4, .rebuilding = true, .kind = 1, .a = 7});
    cr_expect(!find(EXPORT)->place.rebuilding && find(EXPORT)->place.number == 0, "it is not rebuilding");
    end(EXPORT, false);
    cr_assert_eq(begin(EXPORT, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
    struct follower_place place = find(EXPORT)->place;
    say(2);
    ack_place(EXPORT, find(EXPORT)->generation,
              &(struct follower_place){.number = place.number + 1, .rebuilding = true, .kind = 1, .a = 7});
    cr_expect_eq(follower_place_compare(&find(EXPORT)->place, &place), 0, "of another rebuilding");
    place.kind = 1;
    ack_place(EXPORT, find(EXPORT)->generation, &place);
    cr_expect_eq(follower_place_compare(&find(EXPORT)->place, &place), 0);
}

Test(follower, no_more_than_there_may_be)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", i);
        cr_assert_eq(begin(slice_text(name), FOLLOWER_NOW, 0, false), ERROR_NONE);
    }
    cr_expect_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_BAD_FIELD);
    end(SLICE_TEXT("f7"), false);
    cr_expect_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
}

Test(follower, one_is_removed_and_another_takes_its_place_in_one_batch)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", i);
        cr_assert_eq(begin(slice_text(name), FOLLOWER_NOW, 0, false), ERROR_NONE);
    }
    struct follower_end_record gone = {.name = SLICE_TEXT("f7"), .generation = find(SLICE_TEXT("f7"))->generation};
    cr_assert_eq(FIXTURE_PROPOSE(fixture, 0, FOLLOWER_END, follower_end, &gone), ERROR_NONE);
    cr_assert_eq(fixture_apply(fixture), ERROR_NONE);
    struct follower_begin_record come = {.name = EXPORT};
    cr_assert_eq(FIXTURE_PROPOSE(fixture, 0, FOLLOWER_BEGIN, follower_begin, &come), ERROR_NONE);
    cr_assert_eq(fixture_apply(fixture), ERROR_NONE);
    fixture_end_batch(fixture);
    struct key key = key_make(KEY_FOLLOWER);
    key_add_text(&key, SLICE_TEXT("f7"));
    struct slice value;
    cr_expect_not(fixture_get(fixture, &key, &value));
    key = key_make(KEY_FOLLOWER);
    key_add_text(&key, EXPORT);
    cr_expect(fixture_get(fixture, &key, &value));
}

Test(follower, one_that_is_removed_and_begins_again_in_one_batch_is_there)
{
    cr_assert_eq(begin(OTHER, FOLLOWER_NOW, 0, false), ERROR_NONE);
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    end(OTHER, false); /* its slot, before that of the one below, is free */
    struct follower_end_record gone = {.name = EXPORT, .generation = find(EXPORT)->generation};
    cr_assert_eq(FIXTURE_PROPOSE(fixture, 0, FOLLOWER_END, follower_end, &gone), ERROR_NONE);
    cr_assert_eq(fixture_apply(fixture), ERROR_NONE);
    struct follower_begin_record again = {.name = EXPORT};
    cr_assert_eq(FIXTURE_PROPOSE(fixture, 0, FOLLOWER_BEGIN, follower_begin, &again), ERROR_NONE);
    cr_assert_eq(fixture_apply(fixture), ERROR_NONE);
    fixture_end_batch(fixture);
    struct key key = key_make(KEY_FOLLOWER);
    key_add_text(&key, EXPORT);
    struct slice value;
    cr_expect(fixture_get(fixture, &key, &value));
}

Test(follower, a_start_forgets_those_of_connections)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    cr_assert_eq(begin(SLICE_TEXT(".1"), FOLLOWER_NOW, 0, true), ERROR_NONE);
    struct incarnation_record start = {.ordinal = 1, .random = 7};
    cr_assert_eq(FIXTURE_RUN(fixture, 0, INCARNATION, incarnation, &start), ERROR_NONE);
    cr_expect_null(find(SLICE_TEXT(".1")));
    cr_expect_not_null(find(EXPORT));
    cr_expect(fixture->machine->followed);
}

/* ---- rebuilding ---- */

static uint32_t told[64]; /* by kind */

/* In pages of `entries`, acknowledged one by one, until the rows are done. */
static void rebuild_in_pages(uint32_t entries)
{
    memset(told, 0, sizeof told);
    page.entries_max = entries;
    struct follower_place place = find(EXPORT)->place;
    cr_assert(place.rebuilding);
    for (uint32_t pages = 0; place.rebuilding; pages++) {
        cr_assert_lt(pages, 1000);
        uint32_t count = read_page(place);
        cr_expect_leq(count, entries);
        for (uint32_t i = 0; i < count; i++) {
            Ringpost__V1__FollowerEntry *entry = entry_at(i);
            cr_expect(entry->rebuilt);
            cr_expect_eq(strncmp(entry->id, "0-rebuilt-", 10), 0, "%s", entry->id);
            told[entry->kind_case]++;
            ringpost__v1__follower_entry__free_unpacked(entry, NULL);
        }
        place = page.next;
        ack_place(EXPORT, find(EXPORT)->generation, &place);
    }
    page.entries_max = 1000;
}

Test(follower, a_rebuilding_tells_all_that_is_stored_and_goes_on_with_what_happened_since)
{
    make_room();
    say(7);
    make_room();
    say(5);
    for (uint32_t entries = 1; entries <= 64; entries *= 2) {
        cr_assert_eq(begin(EXPORT, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
        uint64_t before = emitted();
        say(1);
        rebuild_in_pages(entries);
        cr_expect_eq(told[RINGPOST__V1__FOLLOWER_ENTRY__KIND_USER_CREATED], 2, "pages of %u", entries);
        cr_expect_eq(told[RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_CREATED], 2);
        cr_expect_eq(told[RINGPOST__V1__FOLLOWER_ENTRY__KIND_MEMBER_JOINED], 4);
        cr_expect_eq(told[RINGPOST__V1__FOLLOWER_ENTRY__KIND_MESSAGE], sent, "pages of %u", entries);
        cr_expect_eq(find(EXPORT)->place.number, before);
        cr_expect_eq(read_after(before), 1, "what was said since it began");
    }
}

/* A page looks at as many rooms as it says, in whichever of them something was written. */
Test(follower, rooms_without_messages_are_work_too)
{
    enum { ROOMS = 20, PAGE = 3 };
    for (int i = 0; i < ROOMS; i++) {
        make_room();
        if (i % 7 == 3) say(2);
    }
    cr_assert_eq(begin(EXPORT, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
    struct follower_place place = find(EXPORT)->place;
    place.kind = FOLLOWED_MESSAGE;
    page.entries_max = PAGE;
    uint32_t pages = 0, messages = 0;
    while (place.rebuilding) {
        cr_assert_lt(pages, 100);
        messages += read_page(place);
        uint64_t rooms_passed = page.next.a == 0 ? 0 : (page.next.a - place.a) & UINT32_MAX;
        if (place.a != 0 && page.next.rebuilding) cr_expect_leq(rooms_passed, PAGE, "page %u", pages);
        place = page.next;
        pages++;
    }
    cr_expect_eq(messages, sent);
    cr_expect_geq(pages, (ROOMS - 3 + sent) / PAGE);
    rebuild_in_pages(1);
    cr_expect_eq(told[RINGPOST__V1__FOLLOWER_ENTRY__KIND_MESSAGE], sent);
    cr_expect_eq(told[RINGPOST__V1__FOLLOWER_ENTRY__KIND_ROOM_CREATED], ROOMS);
}

Test(follower, kinds_that_are_not_wanted_are_passed_over)
{
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    make_room();
    say(2);
    page.kinds = 1ull << FOLLOWED_MESSAGE;
    cr_expect_eq(read_after(0), 2);
    cr_expect_eq(page.next.number, emitted());
    page.kinds = 1ull << FOLLOWED_USER_CREATED;
    cr_expect_eq(read_after(0), 0);
    cr_expect_eq(page.next.number, emitted(), "it is further all the same");
    page.kinds = ALL_KINDS;
}

Test(follower, without_bodies_only_names_come)
{
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    make_room();
    say(1);
    page.bodies = false;
    cr_assert_eq(read_after(0), 4);
    Ringpost__V1__FollowerEntry *entry = entry_at(3);
    cr_expect_eq(entry->message->seq, 1);
    cr_expect_eq(entry->message->body.len, 0);
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
    page.bodies = true;
}

Test(follower, what_is_not_there_any_more_does_not_come_out)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(1);
    struct key key = key_two(KEY_MESSAGE, room_id, ~1ull);
    struct writer puts;
    writer_init(&puts, 0);
    store_batch_delete(&puts, key_slice(&key)); /* as an erasure will */
    fixture_write(fixture, writer_slice(&puts));
    writer_deinit(&puts);
    cr_assert_eq(read_after(0), 1);
    Ringpost__V1__FollowerEntry *entry = entry_at(0);
    cr_expect(entry->gone);
    cr_expect_eq(entry->message->room_id, room_id);
    cr_expect_eq(entry->message->seq, 1);
    cr_expect_eq(entry->message->body.len, 0);
    ringpost__v1__follower_entry__free_unpacked(entry, NULL);
}

Test(follower, a_missing_entry_is_noticed)
{
    make_room();
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    say(3);
    struct key key = key_two(KEY_FOLLOWED, 0, 2);
    struct writer puts;
    writer_init(&puts, 0);
    store_batch_delete(&puts, key_slice(&key));
    fixture_write(fixture, writer_slice(&puts));
    writer_deinit(&puts);
    page.place = (struct follower_place){0};
    writer_reset(&page.bytes);
    page.domain = ringpost_domain();
    cr_expect_eq(follower_page_read(&page, &fixture->store.view), RESULT_CORRUPT);
}

/* ---- lives ---- */

Test(follower, a_replay_gives_the_same_followers_and_entries)
{
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    make_room();
    say(10);
    ack(EXPORT, 5);
    cr_assert_eq(begin(OTHER, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
    say(3);
    struct machine_options options = fixture_options(0, 1);
    struct fixture *again = fixture_create(&options);
    fixture_add_user(again, "alice");
    fixture_add_user(again, "bob");
    fixture_replay(fixture, again, 0);
    cr_expect_eq(follower_emitted(again->machine->followers), emitted());
    cr_expect_eq(again->journal.len, fixture->journal.len);
    cr_expect_eq(memcmp(again->journal.data, fixture->journal.data, fixture->journal.len), 0);
    fixture_destroy(again);
}

Test(follower, what_the_store_holds_is_loaded)
{
    cr_assert_eq(begin(EXPORT, FOLLOWER_NOW, 0, false), ERROR_NONE);
    cr_assert_eq(begin(OTHER, FOLLOWER_REBUILD, 0, false), ERROR_NONE);
    make_room();
    say(10);
    ack(EXPORT, 5);
    end(OTHER, true);
    struct machine_options options = fixture_options(0, 1);
    struct machine *machine;
    cr_assert_eq(machine_create(&machine, &options, NULL), RESULT_OK);
    cr_assert_eq(machine_load(machine, &fixture->store.view, fixture->machine->applied_index), RESULT_OK);
    cr_expect_eq(follower_emitted(machine->followers), emitted());
    cr_expect(machine->followed);
    cr_expect_eq(follower_find(machine->followers, EXPORT)->place.number, 5);
    cr_expect_eq(follower_find(machine->followers, EXPORT)->generation, find(EXPORT)->generation);
    cr_expect(follower_find(machine->followers, OTHER)->lost);
    machine_destroy(machine);
}
