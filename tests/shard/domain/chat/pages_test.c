/* tests/shard/domain/chat/pages_test.c - history, sync and conversations, page by page. */
#include "shard/room_world.h"
#include "api/json.h"
#include <criterion/criterion.h>
#include <stdio.h>

static void send_many(struct world *world, uint64_t sender_id, uint64_t room_id, int first, int last)
{
    for (int i = first; i <= last; i++) {
        char client_id[16];
        snprintf(client_id, sizeof client_id, "m%d", i);
        cr_assert_eq(world_send(world, sender_id, room_id, client_id, client_id), ERROR_NONE);
    }
}

Test(chat_pages, history_goes_down_and_up)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, false);
    send_many(&world, ada, room_id, 1, 10);
    static const struct {
        const char *name;
        bool upwards;
        uint64_t seq; /* asked for */
        uint32_t limit;
        uint64_t first, last; /* seq of the first and the last message of the page, 0: none */
        bool has_more;
        uint64_t next;
    } cases[] = {
        {"newest", false, 0, 3, 10, 8, true, 8},
        {"next down", false, 8, 3, 7, 5, true, 5},
        {"the rest", false, 5, 10, 4, 1, false, 1},
        {"exactly the rest", false, 5, 4, 4, 1, false, 1},
        {"before the first", false, 1, 3, 0, 0, false, 1},
        {"past the head", false, 99, 2, 10, 9, true, 9},
        {"up from the first", true, 0, 3, 1, 3, true, 3},
        {"up", true, 2, 3, 3, 5, true, 5},
        {"up to the end", true, 8, 3, 9, 10, false, 10},
        {"up from the head", true, 10, 3, 0, 0, false, 10},
        {"up from beyond", true, UINT64_MAX, 3, 0, 0, false, UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Ringpost__V1__HistoryResponse *page =
            world_history(&world, room_id, cases[i].upwards, cases[i].seq, cases[i].limit);
        const char *name = cases[i].name;
        size_t count =
            cases[i].first == 0 ? 0 : (size_t)llabs((long long)cases[i].last - (long long)cases[i].first) + 1;
        cr_assert_eq(page->n_messages, count, "%s: %zu messages", name, page->n_messages);
        if (count > 0) {
            cr_expect_eq(page->messages[0]->seq, cases[i].first, "%s", name);
            cr_expect_eq(page->messages[count - 1]->seq, cases[i].last, "%s", name);
        }
        cr_expect_eq(page->has_more, cases[i].has_more, "%s", name);
        cr_expect_eq(page->next_seq, cases[i].next, "%s: next %d", name, (int)page->next_seq);
        cr_expect_eq(page->head_seq, 10, "%s", name);
        WORLD_FREE(page);
    }
    world_destroy(&world);
}

/* Large bodies: a page ends early and the next one goes on, in both directions. */
Test(chat_pages, history_pages_are_bounded_by_size)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, false);
    static char body[40001];
    memset(body, 'x', sizeof body - 1);
    for (int i = 0; i < 12; i++) {
        char client_id[4] = {'m', (char)('a' + i)};
        cr_assert_eq(world_send(&world, ada, room_id, client_id, body), ERROR_NONE);
    }
    for (int up = 0; up < 2; up++) {
        uint64_t at = 0, seen = 0, pages = 0;
        for (bool more = true; more; pages++) {
            Ringpost__V1__HistoryResponse *page = world_history(&world, room_id, up != 0, at, 200);
            cr_assert_gt(page->n_messages, 0);
            for (size_t i = 0; i < page->n_messages; i++, seen++)
                cr_assert_eq(page->messages[i]->seq, up ? seen + 1 : 12 - seen, "in order, none twice");
            at = page->next_seq;
            more = page->has_more;
            WORLD_FREE(page);
        }
        cr_expect_eq(seen, 12);
        cr_expect_gt(pages, 2);
    }
    world_destroy(&world);
}

/* Texts that become six times as long as JSON, of messages without a body: what a page may have then is no more. */
Test(chat_pages, pages_are_bounded_by_their_size_as_json)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, false);
    static char client_id[61], body[5];
    memset(client_id, '\1', sizeof client_id - 1);
    for (int i = 0; i < 300; i++) {
        snprintf(client_id, 5, "%04d", i);
        client_id[4] = '\1';
        cr_assert_eq(world_send(&world, ada, room_id, client_id, body), ERROR_NONE);
    }
    Ringpost__V1__HistoryResponse *page = world_history(&world, room_id, true, 0, 200);
    struct writer json;
    writer_init(&json, 0);
    json_from_message(&page->base, &json, false);
    cr_expect(page->has_more && page->n_messages < 200, "%zu messages", page->n_messages);
    cr_expect_leq(json.len, WORLD_PAGE_COST_MAX + 1024);
    cr_expect_gt(json.len, WORLD_PAGE_COST_MAX / 2);
    writer_deinit(&json);
    WORLD_FREE(page);
    world_destroy(&world);
}

Test(chat_pages, sync_gives_every_entry_once_and_in_order)
{
    struct world world = world_create(fixture_options(0, 2));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 1, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, false);
    send_many(&world, ada, room_id, 1, 9);
    world_settle(&world);
    uint64_t key = 0, seen = 0;
    for (bool more = true; more;) {
        Ringpost__V1__SyncResponse *page = world_sync(&world, bob, key, 4);
        cr_assert(!page->reset && page->n_events > 0 && page->n_events <= 4);
        for (size_t i = 0; i < page->n_events; i++, seen++) {
            cr_expect_eq(page->events[i]->sync_key, seen + 1);
            if (seen == 0)
                cr_expect_eq(page->events[i]->room->change, RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED);
            else
                cr_expect_eq(page->events[i]->message->seq, seen);
        }
        key = page->sync_key;
        more = page->has_more;
        WORLD_FREE(page);
    }
    cr_expect_eq(seen, 10);
    Ringpost__V1__SyncResponse *none = world_sync(&world, bob, key, 4);
    cr_expect(none->n_events == 0 && none->sync_key == 10 && !none->has_more && !none->reset);
    WORLD_FREE(none);
    world_destroy(&world);
}

/* Entries go when the head is a multiple of what is kept, and then only whole blocks. */
Test(chat_pages, sync_window_forgets_the_oldest_and_resets_who_is_behind_it)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_INBOX_EVENTS_MAX] = 5;
    struct world world = world_create(options);
    uint64_t ada = world_user(&world, 0, "ada");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, false); /* entry 1 */
    static const uint64_t first_there[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6, 6, 6, 6, 6, 11}; /* by head, from 0 */
    for (int i = 1; i <= 14; i++) {
        send_many(&world, ada, room_id, i, i);
        uint64_t head = (uint64_t)i + 1;
        cr_expect_eq(fixture_events(world.shards[0], ada, 0), head - first_there[head] + 1, "head %d", (int)head);
    }
    static const struct {
        uint64_t sync_key;
        bool reset;
        size_t events;
    } cases[] = {{0, true, 0},   {9, true, 0},  {10, false, 5},       {11, false, 4},
                 {15, false, 0}, {16, true, 0}, {UINT64_MAX, true, 0}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Ringpost__V1__SyncResponse *page = world_sync(&world, ada, cases[i].sync_key, 100);
        cr_expect_eq(page->reset, cases[i].reset, "from %d", (int)cases[i].sync_key);
        cr_expect_eq(page->n_events, cases[i].events, "from %d", (int)cases[i].sync_key);
        cr_expect_eq(page->sync_key, 15);
        cr_expect(!page->has_more);
        WORLD_FREE(page);
    }
    world_destroy(&world);
}

/* The window was smaller once: entries that would be kept today are gone. */
Test(chat_pages, sync_resets_where_an_older_limit_let_go)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_INBOX_EVENTS_MAX] = 10;
    struct world world = world_create(options);
    uint64_t ada = world_user(&world, 0, "ada");
    uint64_t room_id = world_create_room(&world, ada, NULL, 0, false); /* entry 1 */
    send_many(&world, ada, room_id, 1, 9);                             /* entries 2-10 */
    world.shards[0]->machine->options.limits[LIMIT_INBOX_EVENTS_MAX] = 4;
    send_many(&world, ada, room_id, 10, 11); /* entries 11, 12; 1-8 go */
    world.shards[0]->machine->options.limits[LIMIT_INBOX_EVENTS_MAX] = 100;
    send_many(&world, ada, room_id, 12, 12); /* entry 13 */
    static const struct {
        uint64_t sync_key;
        bool reset;
    } cases[] = {{0, true}, {3, true}, {7, true}, {8, false}, {9, false}, {13, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Ringpost__V1__SyncResponse *page = world_sync(&world, ada, cases[i].sync_key, 100);
        cr_expect_eq(page->reset, cases[i].reset, "from %d", (int)cases[i].sync_key);
        cr_expect(!page->has_more, "from %d", (int)cases[i].sync_key);
        cr_expect_eq(page->sync_key, 13, "from %d", (int)cases[i].sync_key);
        cr_expect_eq(page->n_events, cases[i].reset ? 0 : 13 - cases[i].sync_key);
        WORLD_FREE(page);
    }
    world_destroy(&world);
}

Test(chat_pages, conversations_show_head_unread_and_the_last_message)
{
    struct world world = world_create(fixture_options(0, 2));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 1, "bob");
    uint64_t rooms[3];
    for (int i = 0; i < 3; i++) rooms[i] = world_create_room(&world, ada, &bob, 1, false);
    send_many(&world, ada, rooms[1], 1, 4);
    world_settle(&world);
    cr_assert_eq(world_read(&world, bob, rooms[1], 3), ERROR_NONE);
    cr_assert_eq(world_send_to(&world, ada, bob, "d", "psst"), ERROR_NONE);
    world_settle(&world);

    uint64_t cursor = 0, seen = 0;
    for (bool more = true; more;) {
        Ringpost__V1__ConversationsResponse *page = world_conversations(&world, bob, cursor, 3);
        cr_expect_eq(page->sync_key, world_inbox(&world, bob)->head);
        for (size_t i = 0; i < page->n_conversations; i++, seen++) {
            const Ringpost__V1__Conversation *c = page->conversations[i];
            if (seen == 3) {
                cr_expect_eq(c->room->type, RINGPOST__V1__ROOM_TYPE__DIRECT);
                cr_expect_eq(c->peer_id, ada);
                cr_expect_str_eq(c->peer_name, "sender");
                cr_expect_eq(c->unread, 1);
                continue;
            }
            cr_expect_eq(c->room->room_id, rooms[seen]);
            cr_expect_str_eq(c->room->name, "the room");
            cr_expect_eq(c->head_seq, seen == 1 ? 4 : 0);
            cr_expect_eq(c->read_seq, seen == 1 ? 3 : 0);
            cr_expect_eq(c->unread, seen == 1 ? 1 : 0);
            cr_expect_eq(c->last_message != NULL, seen == 1);
            if (c->last_message != NULL) cr_expect_eq(c->last_message->seq, 4);
        }
        cursor = page->next_cursor;
        more = page->has_more;
        WORLD_FREE(page);
    }
    cr_expect_eq(seen, 4);
    world_destroy(&world);
}

Test(chat_pages, members_come_in_ascending_order)
{
    struct world world = world_create(fixture_options(0, 2));
    uint64_t users[7];
    for (uint16_t i = 0; i < 7; i++) users[i] = world_user(&world, i % 2, "somebody");
    uint64_t room_id = world_create_room(&world, users[0], users + 1, 6, false);
    uint64_t cursor = 0, last = 0, seen = 0;
    for (bool more = true; more;) {
        Ringpost__V1__MembersResponse *page = world_members(&world, room_id, cursor, 3);
        for (size_t i = 0; i < page->n_members; i++, seen++) {
            cr_expect_gt(page->members[i]->user_id, last);
            last = page->members[i]->user_id;
            cr_expect_eq(page->members[i]->role,
                         last == users[0] ? RINGPOST__V1__ROLE__OWNER : RINGPOST__V1__ROLE__MEMBER);
        }
        cursor = page->next_cursor;
        more = page->has_more;
        WORLD_FREE(page);
    }
    cr_expect_eq(seen, 7);
    world_destroy(&world);
}
